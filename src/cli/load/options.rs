//! The command line of `arras load`, and what is wrong with it.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use arras_protocol::task::Task;

use super::process;
use super::servers::MIN_BATCH_SIZE;
use crate::aggregator::report_len;
use crate::collector::Moment;
use crate::tasks::TaskFile;
use crate::tasks::author::VdafChoice;

/// Reports that are made unless it is said otherwise: seconds of work.
const REPORTS_DEFAULT: u64 = 20_000;

/// Most bytes of reports: they are made beforehand and held in memory, so that making them takes nothing from the
/// sending.
const BYTES_MAX: u64 = 4 << 30;

/// Most connections; the server takes 2,048.
const CONNECTIONS_MAX: i64 = 2_000;

/// Most reports in a request: what an upload may have.
const REPORTS_PER_REQUEST_MAX: i64 = 10_000;

/// Longest time of sending, in seconds: a day.
const DURATION_MAX: i64 = 86_400;

/// The command line of `arras load`.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "switches, each an option of its own")]
pub struct Args {
    /// Load aggregators that are running: the file of a task that they take part in. Otherwise a leader, a helper and a
    /// collector are started for it, each in a process of its own on loopback, without TLS.
    #[arg(long, value_name = "FILE")]
    pub task: Option<PathBuf>,
    /// The certificate of the authority that issued those of the running aggregators.
    #[arg(long, value_name = "FILE", requires = "task")]
    pub ca: Option<PathBuf>,
    /// When the reports say that they were made, such as 2026-11-02T09:30:00Z, or POSIX seconds; otherwise now, of
    /// which no window is over yet.
    #[arg(long, value_name = "TIME", requires = "task")]
    pub time: Option<Moment>,
    /// Of which running process the CPU time is the leader's.
    #[arg(long, value_name = "PID", requires = "task")]
    pub leader_pid: Option<u32>,
    /// Of which running process the CPU time is the helper's.
    #[arg(long, value_name = "PID", requires = "task")]
    pub helper_pid: Option<u32>,
    /// What the reports measure: count, histogram:LENGTH or l1boundsum:LENGTH:MAX.
    #[arg(long, value_name = "VDAF", default_value = "histogram:64", conflicts_with = "task")]
    pub vdaf: VdafOption,
    /// Reports; made beforehand. Unless said: as many as rate and duration ask for, or 20000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub reports: Option<u64>,
    /// Reports that are due in a second, whether the server keeps up or not; 0 sends as fast as it answers.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub rate: u32,
    /// Stop sending after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=DURATION_MAX))]
    pub duration: Option<u32>,
    /// Connections, each with one request at a time.
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(1..=CONNECTIONS_MAX))]
    pub connections: u32,
    /// Reports in a request.
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=REPORTS_PER_REQUEST_MAX))]
    pub reports_per_request: u32,
    /// The only CPU that the leader may use, from 0; of the servers that are started for it.
    #[arg(long, value_name = "CPU", conflicts_with = "task")]
    pub pin_leader: Option<usize>,
    /// The only CPU that the helper and the collector may use.
    #[arg(long, value_name = "CPU", conflicts_with = "task")]
    pub pin_helper: Option<usize>,
    /// The only CPU that the sending may use. Reports are made on all.
    #[arg(long, value_name = "CPU")]
    pub pin_generator: Option<usize>,
    /// Then wait until all reports are aggregated, and collect them.
    #[arg(long, conflicts_with = "task")]
    pub collect: bool,
    /// Let all reports wait at the leader, the helper being away; kill the leader, start it again, then start the
    /// helper.
    #[arg(long, requires = "collect")]
    pub backlog: bool,
    /// Leave the helper away: what the leader alone costs.
    #[arg(long, conflicts_with_all = ["task", "collect"])]
    pub no_helper: bool,
    /// Where the stores of the servers lie; otherwise a temporary folder.
    #[arg(long, value_name = "DIR", conflicts_with = "task")]
    pub dir: Option<PathBuf>,
    /// The arras that is started for it; otherwise this one.
    #[arg(long, value_name = "FILE", conflicts_with = "task")]
    pub program: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A VDAF on the command line.
#[derive(Clone, Copy, Debug)]
pub struct VdafOption(pub VdafChoice);

/// Why a text is no VDAF.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected count, histogram:LENGTH or l1boundsum:LENGTH:MAX, such as histogram:64 or l1boundsum:64:127"
)]
pub struct NotAVdaf;

impl FromStr for VdafOption {
    type Err = NotAVdaf;

    fn from_str(text: &str) -> Result<Self, NotAVdaf> {
        let parts: Vec<&str> = text.split(':').collect();
        let vdaf = match parts.as_slice() {
            ["count"] => VdafChoice::Count {},
            ["histogram", length] => VdafChoice::Histogram { length: length.parse().map_err(|_| NotAVdaf)? },
            ["l1boundsum", length, max] => VdafChoice::L1BoundSum {
                length: length.parse().map_err(|_| NotAVdaf)?,
                max_value: max.parse().map_err(|_| NotAVdaf)?,
            },
            _ => return Err(NotAVdaf),
        };
        Ok(Self(vdaf))
    }
}

/// The CPUs of the servers that are started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pins {
    pub(super) leader: Option<usize>,
    pub(super) helper: Option<usize>,
}

impl Args {
    pub(super) fn pins(&self) -> Pins {
        Pins { leader: self.pin_leader, helper: self.pin_helper }
    }

    pub(super) fn sending(&self) -> Option<Duration> {
        self.duration.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// How many reports are made.
    pub(super) fn wanted(&self) -> u64 {
        let by_rate = || match (self.rate, self.duration) {
            (0, _) | (_, None) => REPORTS_DEFAULT,
            (rate, Some(seconds)) => u64::from(rate) * u64::from(seconds),
        };
        self.reports.unwrap_or_else(by_rate)
    }

    /// What is wrong with the values together, or on this machine; names the option.
    pub(super) fn check(&self) -> Result<(), String> {
        let cpus = process::allowed();
        let pins =
            [("leader", self.pin_leader), ("helper", self.pin_helper), ("generator", self.pin_generator)];
        for (name, cpu) in pins {
            if let Some(cpu) = cpu.filter(|cpu| !cpus.contains(cpu)) {
                return Err(format!("--pin-{name} {cpu}: the CPUs that may be used are {cpus:?}"));
            }
        }
        for (name, pid) in [("leader", self.leader_pid), ("helper", self.helper_pid)] {
            if let Some(pid) = pid.filter(|pid| process::cpu_time(*pid).is_none()) {
                return Err(format!("--{name}-pid {pid}: there is no such process"));
            }
        }
        if self.rate > 0 && self.rate < self.reports_per_request {
            let (rate, reports) = (self.rate, self.reports_per_request);
            return Err(format!(
                "--rate {rate}: less than a request a second; choose at least --reports-per-request, {reports}"
            ));
        }
        if self.collect && self.wanted() < MIN_BATCH_SIZE {
            let wanted = self.wanted();
            return Err(format!("--reports {wanted}: nothing is released about fewer than {MIN_BATCH_SIZE}"));
        }
        if let Some(dir) = self.dir.as_deref().filter(|dir| !dir.is_dir()) {
            return Err(format!("--dir {}: there is no such folder", dir.display()));
        }
        Ok(())
    }

    /// Whether the reports of a task can be held.
    pub(super) fn check_size(&self, task: &Task) -> Result<(), String> {
        let (wanted, each) = (self.wanted(), report_len(task) as u64);
        let most = BYTES_MAX / each;
        if wanted > most {
            let name = if self.reports.is_some() { "reports" } else { "duration" };
            return Err(format!(
                "--{name}: {wanted} reports of up to {each} bytes do not fit the {BYTES_MAX} bytes of memory that \
                 are taken for them; at most {most} do"
            ));
        }
        Ok(())
    }
}

/// The task that a file describes.
pub(super) fn read_task(path: &Path) -> Result<(Task, VdafChoice), String> {
    let named = |error: &dyn std::fmt::Display| format!("--task {}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
    let file = TaskFile::parse(&text).map_err(|error| named(&error))?;
    let (task, _) = file.build().map_err(|error| named(&error))?;
    Ok((task, file.vdaf))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, String> {
        let words = std::iter::once("load").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn bad_values_are_refused_by_the_name_of_their_option() {
        for (line, option) in [
            ("--reports 0", "--reports"),
            ("--reports many", "--reports"),
            ("--rate -1", "-1"),
            ("--rate 1e9", "--rate"),
            ("--duration 0", "--duration"),
            ("--duration 86401", "--duration"),
            ("--connections 0", "--connections"),
            ("--connections 2001", "--connections"),
            ("--reports-per-request 0", "--reports-per-request"),
            ("--reports-per-request 10001", "--reports-per-request"),
            ("--vdaf median", "--vdaf"),
            ("--vdaf histogram", "--vdaf"),
            ("--vdaf l1boundsum:64", "--vdaf"),
            ("--pin-leader x", "--pin-leader"),
            ("--leader-pid 1", "--task"),
            ("--task t.toml --collect", "--collect"),
            ("--backlog", "--collect"),
            ("--time 1793577600", "--task"),
            ("--task t.toml --time noon", "--time"),
            ("--no-helper --collect", "--no-helper"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(option), "{line}: {error}");
        }
    }

    #[test]
    fn values_that_do_not_go_together_are_refused_by_name() {
        for (line, option) in [
            ("--pin-generator 1000", "--pin-generator 1000"),
            ("--rate 10 --reports-per-request 64", "--rate 10"),
            ("--collect --reports 99", "--reports 99"),
            ("--dir /nowhere/at/all", "--dir /nowhere/at/all"),
            ("--task t.toml --leader-pid 4294967295", "--leader-pid 4294967295"),
        ] {
            let error = parse(line).unwrap().check().unwrap_err();
            assert!(error.contains(option), "{line}: {error}");
        }
        assert_eq!(parse("").unwrap().check(), Ok(()));
        let error = read_task(Path::new("/nowhere/task.toml")).unwrap_err();
        assert!(error.starts_with("--task /nowhere/task.toml: "), "{error}");
    }

    #[test]
    fn reports_are_counted_by_rate_and_duration_unless_said() {
        assert_eq!(parse("").unwrap().wanted(), REPORTS_DEFAULT);
        assert_eq!(parse("--rate 500 --duration 3").unwrap().wanted(), 1_500);
        assert_eq!(parse("--rate 500 --duration 3 --reports 7").unwrap().wanted(), 7);
        assert_eq!(parse("--duration 3").unwrap().wanted(), REPORTS_DEFAULT);
    }

    #[test]
    fn more_reports_than_memory_is_taken_for_are_refused() {
        let text = include_str!("../../../examples/conversions.toml");
        let (task, _) = TaskFile::parse(text).unwrap().build().unwrap();
        assert_eq!(parse("--reports 1000000").unwrap().check_size(&task), Ok(()));
        let error = parse("--reports 1000000000").unwrap().check_size(&task).unwrap_err();
        assert!(error.starts_with("--reports: "), "{error}");
        let error = parse("--rate 1000000 --duration 3600").unwrap().check_size(&task).unwrap_err();
        assert!(error.starts_with("--duration: "), "{error}");
    }
}
