//! What the demo prints.
#![allow(clippy::cast_precision_loss, reason = "figures for people, far below 2^52")]

use std::io::{self, Write};
use std::path::PathBuf;

use arras_protocol::epsilon::DisplayMicro;
use serde_json::json;

use super::setup::CAP;
use super::stages::{Stage, Stages};
use crate::collector::{Release, table};

/// What came out, and what only a demo knows.
pub(super) struct Outcome {
    pub(super) release: Release,
    /// The true count of each bucket, by last touch.
    pub(super) truth: Vec<u64>,
    pub(super) stages: Stages,
    pub(super) conversions: u64,
    pub(super) kept: Option<PathBuf>,
    /// Of the budget that was charged, in micro-epsilon.
    pub(super) spent: u64,
    /// What the budget allows in an epoch, in micro-epsilon.
    pub(super) cap: u64,
}

/// Microseconds of CPU time for each report.
fn cpu_per_report(stage: &Stage) -> Option<f64> {
    stage.reports.map(|reports| stage.cpu.as_secs_f64() * 1e6 / reports as f64)
}

fn reports_per_second(stage: &Stage) -> Option<f64> {
    stage.reports.map(|reports| reports as f64 / stage.elapsed.as_secs_f64().max(1e-9))
}

impl Outcome {
    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{}", table(&self.release, Some(&self.truth)))?;
        writeln!(out)?;
        writeln!(
            out,
            "budget of {}: {} epsilon spent of {CAP} in this week, {} left",
            self.release.charge.budget_source,
            DisplayMicro(self.spent),
            DisplayMicro(self.cap.saturating_sub(self.spent)),
        )?;
        writeln!(out)?;
        writeln!(out, "{:44} {:>9} {:>12} {:>14}", "stage", "seconds", "reports/s", "CPU us/report")?;
        for stage in &self.stages.finished {
            let rate = reports_per_second(stage).map(|rate| format!("{rate:.0}")).unwrap_or_default();
            let cpu = cpu_per_report(stage).map(|cpu| format!("{cpu:.0}")).unwrap_or_default();
            writeln!(out, "{:44} {:>9.2} {rate:>12} {cpu:>14}", stage.name, stage.elapsed.as_secs_f64())?;
        }
        let (total, count) = (self.stages.total().as_secs_f64(), self.conversions);
        writeln!(out, "{:44} {total:>9.2} {:>12.0}", "all", count as f64 / total.max(1e-9))?;
        writeln!(out)?;
        writeln!(out, "The true counts are printed because a demo knows them; nobody in the system does.")?;
        if let Some(dir) = &self.kept {
            writeln!(
                out,
                "Kept in {}: arras serve --config {}",
                dir.display(),
                dir.join("arras.toml").display()
            )?;
        }
        Ok(())
    }

    pub(super) fn print_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let stages: Vec<_> = self
            .stages
            .finished
            .iter()
            .map(|stage| {
                json!({
                    "name": stage.name,
                    "seconds": stage.elapsed.as_secs_f64(),
                    "cpu_seconds": stage.cpu.as_secs_f64(),
                    "reports": stage.reports,
                    "reports_per_second": reports_per_second(stage),
                    "cpu_microseconds_per_report": cpu_per_report(stage),
                })
            })
            .collect();
        let document = json!({
            "release": self.release,
            "true_counts": self.truth,
            "budget": {
                "source": self.release.charge.budget_source,
                "cap": CAP,
                "spent": DisplayMicro(self.spent).to_string(),
                "left": DisplayMicro(self.cap.saturating_sub(self.spent)).to_string(),
            },
            "reports": self.conversions,
            "stages": stages,
            "seconds": self.stages.total().as_secs_f64(),
        });
        serde_json::to_writer_pretty(&mut *out, &document)?;
        writeln!(out)
    }
}
