//! What is wrong with a configuration whose values are well-formed one by one.

mod across;
mod collectors;
mod role;

use std::fmt;
use std::time::SystemTime;

use super::{Config, Operations};
use crate::net::descriptors;
use crate::net::server::CONNECTIONS_MAX;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Severity {
    /// The process does not start with it.
    Error,
    /// The process starts; somebody should know.
    Warning,
}

/// Something wrong with a configuration, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The key with its tables.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.key, self.message)
    }
}

#[derive(Default)]
struct Findings(Vec<Problem>);

impl Findings {
    fn error(&mut self, key: impl Into<String>, message: impl fmt::Display) {
        self.add(Severity::Error, key.into(), &message);
    }

    fn warning(&mut self, key: impl Into<String>, message: impl fmt::Display) {
        self.add(Severity::Warning, key.into(), &message);
    }

    fn add(&mut self, severity: Severity, key: String, message: &dyn fmt::Display) {
        self.0.push(Problem { severity, key, message: message.to_string() });
    }
}

/// Permission bits that let anybody but the owner in.
const OTHERS: u32 = 0o077;

pub(super) fn find(config: &Config, now: SystemTime) -> Vec<Problem> {
    let mut findings = Findings::default();
    if let Some(mode) = config.mode.filter(|mode| mode & OTHERS != 0) {
        let file = config.path.display();
        findings.error(
            "the file",
            format_args!(
                "holds secrets and has mode {mode:04o}; run: chmod 600 {file}, and consider its \
                 secrets known to whoever could read it"
            ),
        );
    }
    let views = role::views(config);
    if views.is_empty() {
        findings.error("the file", "has no role; add a section [leader], [helper] or [collector]");
    }
    for view in &views {
        role::check(view, now, &mut findings);
    }
    for aggregator in config.aggregators() {
        collectors::check(aggregator.name, &aggregator.collectors(), now, &mut findings);
    }
    if let Some(collector) = &config.collector {
        collectors::check_signing_key(collector, &mut findings);
        collectors::check_limits(collector, &mut findings);
        collectors::check_advertising(collector, &mut findings);
    }
    for source in config.collector.iter().flat_map(|collector| &collector.budget_source) {
        let key = format!("collector.budget_source ({:?})", source.name);
        collectors::check_name(&key, &source.name, &mut findings);
    }
    if let Some(operations) = &config.operations {
        check_operations(operations, &views, &mut findings);
    }
    across::check(config, &views, &mut findings);
    open_files(descriptors::attainable(), (config.servers(), config.led_tasks()), &mut findings);
    findings.0
}

/// The limit of the shell that checks: a service manager's may be another, but mostly is not.
fn open_files(limit: Option<u64>, (servers, tasks): (usize, usize), findings: &mut Findings) {
    let connections = descriptors::connections_under(limit, servers, tasks);
    let Some(limit) = limit.filter(|_| connections < CONNECTIONS_MAX) else { return };
    let reserved = descriptors::reserved(tasks);
    findings.warning(
        "this machine",
        format_args!(
            "a process may open {limit} files here (ulimit -Hn), {reserved} of which are for the stores, so that \
             each role takes only {connections} connections at once instead of {CONNECTIONS_MAX}; raise the hard limit"
        ),
    );
}

fn check_operations(operations: &Operations, views: &[role::View<'_>], findings: &mut Findings) {
    let listen = operations.listen;
    if !listen.ip().is_loopback() {
        findings.error(
            "operations.listen",
            "other machines can reach this address, and it asks for no token; listen on 127.0.0.1, and let what \
             collects metrics elsewhere ask a proxy or an agent on this machine",
        );
    }
    for view in views.iter().filter(|view| view.listen == listen && listen.port() != 0) {
        let role = view.role;
        findings.error("operations.listen", format_args!("is the {role}'s; choose another port"));
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_open_files_are_a_warning() {
        let found = |limit, servers| {
            let mut findings = Findings::default();
            open_files(limit, (servers, 0), &mut findings);
            findings.0.iter().map(Problem::to_string).collect::<Vec<_>>()
        };
        assert_eq!([found(None, 3), found(Some(4_096), 1), found(Some(1 << 20), 3)].concat(), [""; 0]);
        let low = found(Some(1_024), 3);
        assert!(low.len() == 1 && low[0].starts_with("warning: this machine: "), "{low:?}");
        assert!(low[0].contains("1024 files") && low[0].contains("only 256 connections"), "{low:?}");
    }
}
