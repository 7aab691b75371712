//! `cargo bench --bench floor`: HPKE open and verification in both roles, in a bare loop on one thread. One
//! iteration is 500 reports.
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench prints ratios"
)]

use criterion::{BenchmarkId, Criterion, Throughput};

mod common;

/// Reports an iteration takes through: one aggregation job.
const REPORTS: usize = 500;

fn floor(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("floor");
    group.sample_size(10);
    for (name, vdaf) in common::TASKS {
        let floor = common::Floor::new(name, vdaf, REPORTS);
        group.throughput(Throughput::Elements(floor.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| bencher.iter(|| floor.run()));
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    floor(&mut criterion);
    criterion.final_summary();
}
