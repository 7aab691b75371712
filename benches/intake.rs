//! `cargo bench --bench intake`: what one leader on one core takes in, Histogram of 64 buckets, and how long uploads wait
//! for their answer. An answer means that the reports are durable.
//!
//! The leader has CPU 0, the generator CPU 1; each is a process of its own, HTTP is kept alive on loopback without
//! TLS. First the helper is away, so that the leader accepts and does little else, then it works beside the leader on
//! CPU 0. Beside the leader without load stands what a bare append and `fdatasync` of one report takes on the
//! same file system. Options: `--runs N`, `--dir DIR`.
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench prints what it measures"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::number;

mod common;

/// A load: its name, options, and whether the helper is there.
const LOADS: [(&str, &str, bool); 6] = [
    ("64 a request, saturated", "--reports 200000 --connections 16", false),
    ("1 a request, saturated", "--reports 40000 --reports-per-request 1 --connections 128", false),
    ("1 a request, 2,000/s", "--rate 2000 --duration 20 --reports-per-request 1 --connections 128", false),
    ("1 a request, idle", "--rate 50 --duration 20 --reports-per-request 1 --connections 16", false),
    ("64 a request, 12,800/s", "--rate 12800 --duration 15 --connections 16", true),
    ("1 a request, 2,000/s", "--rate 2000 --duration 20 --reports-per-request 1 --connections 128", true),
];

/// Syncs of the bare loop, a report each, and the pause between two.
const SYNCS: usize = 500;
const REPORT_BYTES: usize = 1_896;
const PAUSE: Duration = Duration::from_millis(20);

fn main() {
    let (runs, dir) = options();
    println!(
        "{:24} {:>8} {:>11} {:>11} {:>8} {:>8} {:>8} {:>14} {:>10}",
        "load",
        "helper",
        "reports/s",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "CPU us/request",
        "leader MB"
    );
    for _ in 0..runs {
        for (name, arguments, helper) in LOADS {
            measure(name, arguments, helper, &dir);
        }
        let (p50, p99, max) = bare_syncs(&dir);
        println!("{:56} {p50:8.2} {p99:8.2} {max:8.2}", "(append and fdatasync alone)");
    }
}

fn options() -> (usize, PathBuf) {
    let (mut runs, mut dir) = (1, common::target_dir());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--runs" => runs = arguments.next().and_then(|n| n.parse().ok()).expect("--runs N"),
            "--dir" => dir = arguments.next().expect("--dir DIR").into(),
            // What cargo adds.
            _ => {}
        }
    }
    (runs, dir)
}

fn measure(name: &str, arguments: &str, helper: bool, dir: &Path) {
    let mut all: Vec<&str> = arguments.split(' ').collect();
    all.extend(["--pin-leader", "0", "--pin-helper", "0", "--pin-generator", "1"]);
    if !helper {
        all.push("--no-helper");
    }
    let found = common::arras_load(&all, dir);
    assert_eq!(found["rejected"].as_object().map(serde_json::Map::len), Some(0), "{found}");
    let latency = |name: &str| number(&found["latency_microseconds"][name]) / 1e3;
    let leader = &found["servers"]["leader"]["accepted"];
    let requests = number(&found["requests_per_second"]) * number(&found["seconds"]);
    println!(
        "{name:24} {:>8} {:11.0} {:11.0} {:8.2} {:8.2} {:8.2} {:14.1} {:10.0}",
        if helper { "beside" } else { "away" },
        number(&found["accepted_per_second"]),
        number(&found["requests_per_second"]),
        latency("p50"),
        latency("p99"),
        latency("max"),
        number(&leader["cpu_seconds"]) * 1e6 / requests,
        number(&leader["resident_bytes_max"]) / 1e6,
    );
}

/// p50, p99 and maximum of syncs of one report each, in milliseconds.
fn bare_syncs(dir: &Path) -> (f64, f64, f64) {
    let mut file = tempfile::tempfile_in(dir).expect("a file");
    let mut millis: Vec<f64> = (0..SYNCS)
        .map(|_| {
            std::thread::sleep(PAUSE);
            let started = Instant::now();
            file.write_all(&[0xa5; REPORT_BYTES]).and_then(|()| file.sync_data()).expect("a sync");
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    millis.sort_by(f64::total_cmp);
    (millis[SYNCS / 2], millis[SYNCS * 99 / 100], millis[SYNCS - 1])
}
