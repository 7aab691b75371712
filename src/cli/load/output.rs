//! What `arras load` prints.
#![allow(clippy::cast_precision_loss, reason = "figures for people, far below 2^52")]

use std::io::{self, Write};
use std::time::Duration;

use arras_protocol::task::Task;
use serde_json::{Value, json};

use super::generator::Sent;
use super::options::Args;
use super::reports::Request;

/// The quantiles that are printed, in parts of 1,000.
const QUANTILES: [(&str, f64); 3] = [("p50", 500.0), ("p99", 990.0), ("p99.9", 999.0)];

/// What a server has used since the sending began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) cpu: Duration,
    /// Memory now and at most, in bytes.
    pub(super) resident: (u64, u64),
}

/// What a role cost.
#[derive(Clone, Debug)]
pub(super) struct Costs {
    pub(super) role: &'static str,
    /// Until all was accepted.
    pub(super) accepted: Used,
    /// Until all was released.
    pub(super) released: Option<Used>,
}

/// What waiting reports took.
#[derive(Clone, Debug)]
pub(super) struct Backlog {
    /// Bytes on disk while all waited, and after they were released.
    pub(super) disk_full: u64,
    pub(super) disk_after: u64,
    /// The leader's memory, now and at most, while all waited, and after its restart.
    pub(super) resident: (u64, u64),
    pub(super) resident_restarted: (u64, u64),
    /// How long the leader took to start on them.
    pub(super) restart: Duration,
}

/// What came out.
pub(super) struct Outcome {
    what: String,
    bytes_per_report: f64,
    reports: u64,
    per_request: u32,
    connections: u32,
    rate: u32,
    sent: Sent,
    costs: Vec<Costs>,
    /// From the last answer to the release.
    pub(super) released: Option<Duration>,
    pub(super) backlog: Option<Backlog>,
}

impl Outcome {
    pub(super) fn new(args: &Args, task: &Task, requests: &[Request], sent: Sent, costs: Vec<Costs>) -> Self {
        let bytes: usize = requests.iter().map(|request| request.body.len()).sum();
        let reports: u64 = requests.iter().map(|request| u64::from(request.reports)).sum();
        Self {
            what: format!("{:?}", task.vdaf().config()),
            bytes_per_report: bytes as f64 / reports.max(1) as f64,
            reports,
            per_request: args.reports_per_request,
            connections: args.connections,
            rate: args.rate,
            sent,
            costs,
            released: None,
            backlog: None,
        }
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.sent.elapsed.as_secs_f64().max(1e-9)
    }

    /// Microseconds of CPU time for each accepted report.
    fn per_report(&self, used: &Used) -> f64 {
        used.cpu.as_secs_f64() * 1e6 / self.sent.accepted.max(1) as f64
    }

    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let pace = if self.rate == 0 {
            "as fast as they are answered".to_owned()
        } else {
            format!("{} due in a second", self.rate)
        };
        writeln!(
            out,
            "reports    {} of {:.0} bytes ({}), {} in a request, {} connections, {pace}",
            self.reports, self.bytes_per_report, self.what, self.per_request, self.connections
        )?;
        writeln!(
            out,
            "accepted   {} in {:.2} s: {:.0} reports/s in {:.0} requests/s",
            self.sent.accepted,
            self.sent.elapsed.as_secs_f64(),
            self.per_second(self.sent.accepted),
            self.per_second(self.sent.latencies.len()),
        )?;
        if self.sent.left > 0 {
            writeln!(out, "not sent   {}, because time was over", self.sent.left)?;
        }
        let none = if self.sent.rejected.is_empty() { "   none" } else { "" };
        writeln!(out, "rejected{none}")?;
        for (reason, count) in &self.sent.rejected {
            writeln!(out, "  {count:>9} {reason}")?;
        }
        self.print_latencies(out)?;
        self.print_costs(out)?;
        self.print_backlog(out)?;
        match self.refused() {
            0 => Ok(()),
            refused => writeln!(
                out,
                "\nREFUSED: {refused} of {} reports were not accepted; the reasons are under \"rejected\"",
                self.reports
            ),
        }
    }

    /// Reports that were sent and not accepted.
    pub(super) fn refused(&self) -> u64 {
        self.sent.rejected.values().sum()
    }

    fn print_latencies(&self, out: &mut dyn Write) -> io::Result<()> {
        let from = if self.rate == 0 { "sent" } else { "due" };
        writeln!(out, "\nmilliseconds from when a request was {from} to its answer")?;
        let millis = |micros: u64| micros as f64 / 1e3;
        for (name, per_mille) in QUANTILES {
            writeln!(out, "  {name:8} {:>9.2}", millis(self.sent.latencies.quantile_micros(per_mille)))?;
        }
        writeln!(out, "  {:8} {:>9.2}", "max", millis(self.sent.latencies.max_micros()))
    }

    fn print_costs(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.costs.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n{:10} {:>22} {:>22} {:>12}",
            "", "CPU us/report accepted", "until released", "RSS MB"
        )?;
        let mut all = (0.0, 0.0);
        for costs in &self.costs {
            let accepted = self.per_report(&costs.accepted);
            let released = costs.released.as_ref().map(|used| self.per_report(used));
            all = (all.0 + accepted, all.1 + released.unwrap_or_default());
            let most = costs.released.as_ref().unwrap_or(&costs.accepted).resident.1;
            let released = released.map(|cpu| format!("{cpu:.1}")).unwrap_or_default();
            writeln!(out, "{:10} {accepted:>22.1} {released:>22} {:>12.0}", costs.role, most as f64 / 1e6)?;
        }
        if let Some(elapsed) = self.released {
            writeln!(out, "{:10} {:>22.1} {:>22.1}", "both", all.0, all.1)?;
            writeln!(out, "released   {:.2} s after the last answer", elapsed.as_secs_f64())?;
        }
        Ok(())
    }

    fn print_backlog(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(backlog) = &self.backlog else { return Ok(()) };
        let mega = |bytes: u64| bytes as f64 / 1e6;
        writeln!(
            out,
            "backlog    all waited in {:.0} MB of disk and {:.0} MB of memory; the leader, killed, started on them \
             in {:.2} s and had {:.0} MB (at most {:.0}); after the release {:.0} MB of disk were left",
            mega(backlog.disk_full),
            mega(backlog.resident.1),
            backlog.restart.as_secs_f64(),
            mega(backlog.resident_restarted.0),
            mega(backlog.resident_restarted.1),
            mega(backlog.disk_after),
        )
    }

    pub(super) fn print_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let latencies: serde_json::Map<String, Value> = QUANTILES
            .into_iter()
            .map(|(name, per_mille)| (name.to_owned(), self.sent.latencies.quantile_micros(per_mille).into()))
            .chain([("max".to_owned(), self.sent.latencies.max_micros().into())])
            .collect();
        let used = |used: &Used| {
            json!({
                "cpu_seconds": used.cpu.as_secs_f64(),
                "cpu_microseconds_per_report": self.per_report(used),
                "resident_bytes": used.resident.0,
                "resident_bytes_max": used.resident.1,
            })
        };
        let servers: serde_json::Map<String, Value> = self
            .costs
            .iter()
            .map(|costs| {
                let released = costs.released.as_ref().map(used);
                (costs.role.to_owned(), json!({ "accepted": used(&costs.accepted), "released": released }))
            })
            .collect();
        let backlog = self.backlog.as_ref().map(|backlog| {
            json!({
                "disk_bytes": backlog.disk_full,
                "disk_bytes_after_release": backlog.disk_after,
                "leader_resident_bytes_max": backlog.resident.1,
                "leader_restart_seconds": backlog.restart.as_secs_f64(),
                "leader_resident_bytes_after_restart": backlog.resident_restarted.0,
                "leader_resident_bytes_max_after_restart": backlog.resident_restarted.1,
            })
        });
        let document = json!({
            "vdaf": self.what,
            "reports": self.reports,
            "bytes_per_report": self.bytes_per_report,
            "reports_per_request": self.per_request,
            "connections": self.connections,
            "rate": self.rate,
            "accepted": self.sent.accepted,
            "not_sent": self.sent.left,
            "rejected": self.sent.rejected,
            "seconds": self.sent.elapsed.as_secs_f64(),
            "accepted_per_second": self.per_second(self.sent.accepted),
            "requests_per_second": self.per_second(self.sent.latencies.len()),
            "latency_from": if self.rate == 0 { "sent" } else { "due" },
            "latency_microseconds": latencies,
            "servers": servers,
            "released_seconds_after_last_answer": self.released.map(|elapsed| elapsed.as_secs_f64()),
            "backlog": backlog,
        });
        serde_json::to_writer_pretty(&mut *out, &document)?;
        writeln!(out)
    }
}
