//! What the benches share: tasks, keys, reports made beforehand, the floor, and `arras load`.
#![allow(dead_code, reason = "each bench uses a part")]

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;

use arras::cli::load::measurement;
use arras::tasks::TaskFile;
use arras::tasks::author::{ProfileChoice, VdafChoice};
use arras_protocol::codec::Encode as _;
use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::{
    AggregationJobInitReq, Extensions, HpkeConfig, ReportRef, ReportShareRef, Role, Time, VerifyInitRef,
    VerifyResult,
};
use arras_protocol::report::ReportMaker;
use arras_protocol::task::{Task, VerifySecret};
use arras_protocol::verification::{
    BatchBucket, InputShareOpener, PendingReport, TimeWindow, helper_verify, leader_finish, leader_init,
};
use rayon::prelude::*;
use serde_json::Value;

/// The tasks that are measured: name, VDAF.
pub const TASKS: [(&str, VdafChoice); 4] = [
    ("histogram-16", VdafChoice::Histogram { length: 16 }),
    ("histogram-64", VdafChoice::Histogram { length: 64 }),
    ("histogram-256", VdafChoice::Histogram { length: 256 }),
    ("l1boundsum-64-127", VdafChoice::L1BoundSum { length: 64, max_value: 127 }),
];

/// Reports in an aggregation job of the floor; the service's default.
const JOB: usize = 500;

/// A task file for a VDAF and a pair of endpoints.
pub fn task_file(name: &str, vdaf: VdafChoice, leader: &str, helper: &str) -> TaskFile {
    TaskFile {
        name: name.to_owned(),
        profile: ProfileChoice::Arras,
        leader: leader.to_owned(),
        helper: helper.to_owned(),
        vdaf,
        time_precision: 3_600,
        min_batch_size: 100,
        epsilon: "1".parse().expect("an epsilon"),
        contributions: NonZeroU32::MIN,
        threshold: Some(40),
        budget_source: "shop.example".to_owned(),
        collector: "advertiser".to_owned(),
        campaigns: Vec::new(),
        conversions: None,
    }
}

/// Runs `arras load` and reads what it measured.
pub fn arras_load(arguments: &[&str], dir: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_arras"))
        .args(["load", "--json"])
        .args(arguments)
        .arg("--dir")
        .arg(dir)
        .output()
        .expect("arras");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A number in what `arras load` measured.
pub fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number in what arras load prints")
}

/// The folder on whose file system the stores lie, unless it is said otherwise.
pub fn target_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target")
}

/// Makes reports, on all cores.
pub fn make_reports(
    task: &Task,
    vdaf: VdafChoice,
    leader: &HpkeConfig,
    helper: &HpkeConfig,
    posix_seconds: u64,
    count: usize,
) -> Vec<Vec<u8>> {
    let maker = ReportMaker::new(task, leader, helper).expect("supported configurations");
    (0..count)
        .into_par_iter()
        .map(|n| {
            let report = maker.make(&mut rand::rng(), posix_seconds, &measurement(vdaf, n), None);
            report.expect("a measurement in range").to_bytes()
        })
        .collect()
}

/// Both roles' keys and reports for them, without any service.
pub struct Floor {
    task: Task,
    leader: InputShareOpener,
    helper: InputShareOpener,
    secret: VerifySecret,
    reports: Vec<Vec<u8>>,
}

impl Floor {
    /// For a task, with this many reports.
    pub fn new(name: &str, vdaf: VdafChoice, count: usize) -> Self {
        let file = task_file(name, vdaf, "https://leader.example/", "https://helper.example/");
        let (task, _) = file.build().expect("a valid task");
        let (leader, helper) =
            (PrivateKey::generate(&mut rand::rng()), PrivateKey::generate(&mut rand::rng()));
        let configs = (HpkeConfig::new(1, &leader.public_key()), HpkeConfig::new(2, &helper.public_key()));
        let reports = make_reports(&task, vdaf, &configs.0, &configs.1, 1_800_000_000, count);
        Self {
            leader: InputShareOpener::new(Role::Leader, [(1, &leader)]).expect("a valid key"),
            helper: InputShareOpener::new(Role::Helper, [(2, &helper)]).expect("a valid key"),
            secret: VerifySecret::new([7; 32]),
            reports,
            task,
        }
    }

    /// How many reports a run takes through.
    pub fn len(&self) -> usize {
        self.reports.len()
    }

    /// Opens and verifies all reports in both roles and sums them, in a bare loop on one thread: what no service
    /// can do without.
    pub fn run(&self) {
        let key = self.secret.verify_key(self.task.id());
        let window = TimeWindow { latest: Time(u64::MAX), earliest: Time(0) };
        for job in self.reports.chunks(JOB) {
            let reports: Vec<_> =
                job.iter().map(|bytes| ReportRef::from_bytes(bytes).expect("our own")).collect();
            let inits: Vec<_> = leader_init(&self.task, &key, &self.leader, window, &reports)
                .into_iter()
                .map(|result| result.expect("a valid report"))
                .collect();
            let verify_inits = reports.iter().zip(&inits).map(|(report, init)| VerifyInitRef {
                report_share: ReportShareRef {
                    header: report.header,
                    encrypted_input_share: report.helper_share,
                },
                payload: &init.message,
            });
            let request = AggregationJobInitReq {
                verification_key_id: 1,
                agg_param: &[],
                extensions: Extensions::none(),
                verify_inits: verify_inits.collect(),
            };
            let verified: Vec<_> =
                helper_verify(&self.task, &key, &self.helper, window, &request.verify_inits)
                    .into_iter()
                    .map(|result| result.expect("a valid report"))
                    .collect();
            let mut helper_sum = BatchBucket::empty(&self.task);
            for (report, verified) in reports.iter().zip(&verified) {
                helper_sum.add(report.header.report_id, &verified.output_share).expect("of one task");
            }
            let results: Vec<_> =
                verified.into_iter().map(|verified| VerifyResult::Continue(verified.message)).collect();
            let pending = reports.iter().zip(inits).map(|(report, init)| PendingReport {
                report_id: report.header.report_id,
                time: report.header.time,
                state: init.state,
            });
            let mut leader_sum = BatchBucket::empty(&self.task);
            for report in leader_finish(&self.task, pending.collect(), &results) {
                let share = report.outcome.expect("a valid report");
                leader_sum.add(report.report_id, &share).expect("of one task");
            }
            assert_eq!(leader_sum.checksum, helper_sum.checksum);
        }
    }
}
