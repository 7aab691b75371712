//! Where the demo's time goes.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A finished stage.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) name: &'static str,
    /// Wall time.
    pub(super) elapsed: Duration,
    /// CPU time of the whole process.
    pub(super) cpu: Duration,
    /// Reports that went through it.
    pub(super) reports: Option<u64>,
}

/// A stop watch that also counts CPU time.
pub(super) struct Stages {
    pub(super) finished: Vec<Stage>,
    since: Instant,
    cpu_since: Duration,
}

impl Stages {
    pub(super) fn start() -> Self {
        Self { finished: Vec::new(), since: Instant::now(), cpu_since: cpu_time() }
    }

    /// Ends a stage and begins the next.
    pub(super) fn end(&mut self, name: &'static str) {
        self.push(name, None);
    }

    /// Ends a stage that reports went through.
    pub(super) fn end_of(&mut self, name: &'static str, reports: u64) {
        self.push(name, Some(reports));
    }

    /// A stage of a name that was there already is another part of that one.
    fn push(&mut self, name: &'static str, reports: Option<u64>) {
        let (now, cpu) = (Instant::now(), cpu_time());
        let (elapsed, used) = (now - self.since, cpu.saturating_sub(self.cpu_since));
        (self.since, self.cpu_since) = (now, cpu);
        if let Some(stage) = self.finished.iter_mut().find(|stage| stage.name == name) {
            stage.elapsed += elapsed;
            stage.cpu += used;
            stage.reports = stage.reports.zip(reports).map(|(earlier, more)| earlier + more);
        } else {
            self.finished.push(Stage { name, elapsed, cpu: used, reports });
        }
    }

    pub(super) fn total(&self) -> Duration {
        self.finished.iter().map(|stage| stage.elapsed).sum()
    }
}

/// CPU time of all threads of this process so far.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_stage_are_one() {
        let mut stages = Stages::start();
        stages.end("start");
        for (made, summed) in [(3, 3), (4, 4)] {
            stages.end_of("make", made);
            stages.end_of("sum", summed);
        }
        let found: Vec<_> = stages.finished.iter().map(|stage| (stage.name, stage.reports)).collect();
        assert_eq!(found, [("start", None), ("make", Some(7)), ("sum", Some(7))]);
    }
}
