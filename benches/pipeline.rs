//! `cargo bench --bench pipeline`: from upload to release through the whole service, with real fsync, beside the
//! floor measured in the same run.
//!
//! All three roles and the uploader run in this process, so its CPU time holds also the uploader's HTTP client,
//! which the service does not pay for: the ratio is an upper bound. Reports are made beforehand. Options:
//! `--reports N` (default 20000), `--dir DIR` (where the stores lie; default: the target folder's file system).
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench prints ratios"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arras::cli::demo::cpu_time;
use arras::collector::{Moment, Span};
use arras::config::loopback::Loopback;
use arras::service::{Environment, Service};
use arras::tasks::TaskFolder;
use arras::tasks::author::VdafChoice;
use arras_client::upload::{Uploader, fetch_hpke_configs};

mod common;

/// Reports in an upload request, and requests under way at once.
const REPORTS_PER_REQUEST: usize = 100;
const UPLOADS_AT_ONCE: usize = 8;

/// Reports for the floor's own measurement.
const FLOOR_REPORTS: usize = 4_000;

const DAY: u64 = 86_400;

fn main() {
    let (reports, dir) = options();
    println!(
        "{:20} {:>12} {:>12} {:>8} {:>12} {:>10}",
        "task", "floor us", "pipeline us", "ratio", "reports/s", "stage"
    );
    for (name, vdaf) in common::TASKS {
        // The floor before and after, so that a machine that changes its speed meanwhile is seen.
        let before = floor(name, vdaf);
        let pipeline = pipeline(name, vdaf, reports, &dir);
        let after = floor(name, vdaf);
        let floor = f64::midpoint(before, after);
        let cpu = pipeline.cpu.as_secs_f64() * 1e6 / reports as f64;
        let rate = reports as f64 / pipeline.elapsed.as_secs_f64();
        println!("{name:20} {floor:12.1} {cpu:12.1} {:8.2} {rate:12.0} {:>10}", cpu / floor, "all");
    }
}

fn options() -> (usize, PathBuf) {
    let mut reports = 20_000;
    let mut dir = common::target_dir();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--reports" => reports = arguments.next().and_then(|n| n.parse().ok()).expect("--reports N"),
            "--dir" => dir = arguments.next().expect("--dir DIR").into(),
            // What cargo adds.
            _ => {}
        }
    }
    (reports, dir)
}

/// CPU microseconds for each report, both roles.
fn floor(name: &str, vdaf: VdafChoice) -> f64 {
    let floor = common::Floor::new(name, vdaf, FLOOR_REPORTS);
    let before = cpu_time();
    floor.run();
    cpu_time().saturating_sub(before).as_secs_f64() * 1e6 / floor.len() as f64
}

struct Measured {
    cpu: Duration,
    elapsed: Duration,
}

fn pipeline(name: &str, vdaf: VdafChoice, count: usize, dir: &Path) -> Measured {
    let dir = tempfile::Builder::new().prefix("arras-bench-").tempdir_in(dir).expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let day = (now / DAY - 1) * DAY;
        let mut loopback = Loopback::new("2026-01-05", "100", "").expect("three roles");
        let config = loopback.write(dir.path()).expect("a configuration");
        let file = common::task_file(name, vdaf, &loopback.leader.endpoint, &loopback.helper.endpoint);
        let (task, provisioned) = file.build().expect("a valid task");
        for role in ["leader", "helper", "collector"] {
            TaskFolder::new(&dir.path().join(role).join("tasks"))
                .add(task.id(), &provisioned)
                .expect("a task");
        }
        let service =
            Service::start(&config, &Environment::real(), loopback.take_listeners()).expect("a service");
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(arras::net::tls::client_config(None).expect("no roots"))
            .no_proxy()
            .build()
            .expect("a client");
        let configuration = task.configuration();
        let leader = fetch_hpke_configs(&http, &configuration.leader).await.expect("configurations");
        let helper = fetch_hpke_configs(&http, &configuration.helper).await.expect("configurations");
        let (leader, helper) = (leader.supported().expect("ours"), helper.supported().expect("ours"));
        let reports = common::make_reports(&task, vdaf, leader, helper, day, count);
        let requests: Vec<Vec<u8>> = reports.chunks(REPORTS_PER_REQUEST).map(<[_]>::concat).collect();

        let (cpu, started) = (cpu_time(), Instant::now());
        let mut requests = requests.into_iter();
        let mut under_way = tokio::task::JoinSet::new();
        loop {
            while under_way.len() < UPLOADS_AT_ONCE {
                let Some(body) = requests.next() else { break };
                let uploader = Uploader::new(http.clone(), configuration.leader.clone());
                let id = task.id();
                under_way.spawn(async move { uploader.upload_encoded(id, body).await });
            }
            let Some(uploaded) = under_way.join_next().await else { break };
            assert_eq!(uploaded.expect("no panic").expect("an answer"), []);
        }
        let moment = |seconds| Moment::from_seconds(seconds).expect("a day of this century");
        let window = Span::new(moment(day), moment(day + DAY)).expect("a day");
        let release =
            service.collector().expect("a collector").collect(task.id(), window).await.expect("a release");
        assert_eq!(release.report_count, count as u64);
        let measured = Measured { cpu: cpu_time().saturating_sub(cpu), elapsed: started.elapsed() };
        service.stop().await;
        measured
    })
}
