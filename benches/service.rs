//! `cargo bench --bench service`: what a report costs the whole service, leader and helper with their stores, from upload
//! to release, beside the floor measured in the same run.
//!
//! Each role is a process of its own, started by `arras load`: real fsync, HTTP kept alive on loopback, no TLS.
//! Leader and helper have CPU 0, which the floor is measured on too; the generator has CPU 1. Only the CPU time of
//! leader and helper counts. Options: `--reports N` (default 100000), `--runs N`, `--only TASK`, `--dir DIR`.
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench prints ratios"
)]

use std::path::PathBuf;

use arras::cli::demo::cpu_time;
use arras::tasks::author::VdafChoice;
use serde_json::Value;

use crate::common::number;

mod common;

/// Reports for the floor's own measurement.
const FLOOR_REPORTS: usize = 4_000;

/// The CPUs of the servers and of the generator.
const SERVERS: usize = 0;
const GENERATOR: usize = 1;

struct Options {
    reports: usize,
    runs: usize,
    only: Option<String>,
    dir: PathBuf,
}

fn main() {
    let options = options();
    println!(
        "{:20} {:>9} {:>10} {:>10} {:>10} {:>12} {:>7} {:>10} {:>10} {:>10}",
        "task",
        "floor us",
        "upload us",
        "leader us",
        "helper us",
        "service us",
        "ratio",
        "accepted/s",
        "leader MB",
        "helper MB"
    );
    for _ in 0..options.runs {
        for (name, vdaf) in common::TASKS {
            if options.only.as_ref().is_none_or(|only| only == name) {
                measure(name, vdaf, &options);
            }
        }
    }
}

fn measure(name: &str, vdaf: VdafChoice, options: &Options) {
    // Before and after, so that a machine that changes its speed meanwhile is seen.
    let before = floor(name, vdaf);
    let found = load(vdaf, options);
    let floor = f64::midpoint(before, floor(name, vdaf));
    let cpu = |role: &str, until: &str| number(&found["servers"][role][until]["cpu_microseconds_per_report"]);
    let megabytes = |role: &str| number(&found["servers"][role]["released"]["resident_bytes_max"]) / 1e6;
    let (leader, helper) = (cpu("leader", "released"), cpu("helper", "released"));
    let (service, rate) = (leader + helper, number(&found["accepted_per_second"]));
    println!(
        "{name:20} {floor:9.1} {:10.1} {leader:10.1} {helper:10.1} {service:12.1} {:7.2} {rate:10.0} {:10.0} {:10.0}",
        cpu("leader", "accepted"),
        service / floor,
        megabytes("leader"),
        megabytes("helper"),
    );
}

fn options() -> Options {
    let mut options = Options { reports: 100_000, runs: 1, only: None, dir: common::target_dir() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--reports" => options.reports = count(arguments.next(), "--reports N"),
            "--runs" => options.runs = count(arguments.next(), "--runs N"),
            "--only" => options.only = Some(arguments.next().expect("--only TASK")),
            "--dir" => options.dir = arguments.next().expect("--dir DIR").into(),
            // What cargo adds.
            _ => {}
        }
    }
    options
}

fn count(text: Option<String>, option: &str) -> usize {
    text.and_then(|text| text.parse().ok()).expect(option)
}

/// CPU microseconds for each report, both roles, on the servers' CPU.
fn floor(name: &str, vdaf: VdafChoice) -> f64 {
    let floor = common::Floor::new(name, vdaf, FLOOR_REPORTS);
    let cpu = std::thread::spawn(move || {
        let mut cpus = rustix::thread::CpuSet::new();
        cpus.set(SERVERS);
        rustix::thread::sched_setaffinity(None, &cpus).expect("CPU 0");
        let before = cpu_time();
        floor.run();
        cpu_time().saturating_sub(before).as_secs_f64() * 1e6 / floor.len() as f64
    });
    cpu.join().expect("no panic")
}

fn load(vdaf: VdafChoice, options: &Options) -> Value {
    let vdaf = match vdaf {
        VdafChoice::Count {} => "count".to_owned(),
        VdafChoice::Histogram { length } => format!("histogram:{length}"),
        VdafChoice::L1BoundSum { length, max_value } => format!("l1boundsum:{length}:{max_value}"),
    };
    let [reports, servers, generator] = [options.reports, SERVERS, GENERATOR].map(|n| n.to_string());
    let arguments = [
        ["--vdaf", &vdaf],
        ["--reports", &reports],
        ["--pin-leader", &servers],
        ["--pin-helper", &servers],
        ["--pin-generator", &generator],
    ];
    common::arras_load(&[arguments.as_flattened(), &["--collect"]].concat(), &options.dir)
}
