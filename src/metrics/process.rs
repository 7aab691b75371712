//! The process itself, under the names that every exporter uses, and which build it is.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use rustix::time::{ClockId, clock_gettime};

use super::{Labels, gauge};

#[derive(Debug)]
pub(super) struct ProcessMetrics {
    cpu_seconds: Counter<f64, AtomicU64>,
    resident_bytes: Gauge,
}

impl ProcessMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let process = Self { cpu_seconds: Counter::default(), resident_bytes: Gauge::default() };
        let labels: Labels<1> = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("arras_build", "The version that runs", Info::new(labels));
        registry.register("process_cpu_seconds", "CPU time of the process", process.cpu_seconds.clone());
        registry.register(
            "process_resident_memory_bytes",
            "Memory of the process, 0 where the system does not tell",
            process.resident_bytes.clone(),
        );
        process
    }

    pub(super) fn sample(&self) {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        #[allow(clippy::cast_precision_loss, reason = "for display")]
        let used = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
        // Two scrapes at once could otherwise subtract.
        self.cpu_seconds.inc_by((used - self.cpu_seconds.get()).max(0.0));
        self.resident_bytes.set(gauge(resident_bytes().unwrap_or(0)));
    }
}

/// What Linux says: `VmRSS:     1234 kB`.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
