//! `arras budget`: what was spent of each budget source, on what, and what is left.
//!
//! A running role holds its store, so the process is asked, at the address of its `[operations]`; when nothing answers
//! there, the stores are read.

mod table;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use axum::http::StatusCode;

use super::Failure;
use crate::collector::CollectorDisk;
use crate::config::Config;
use crate::net::client::{ClientError, PeerClient};
use crate::net::endpoint::Endpoint;
use crate::operations::budget::{self, BudgetReport, BudgetReports};
use crate::service;
use crate::store::{Accounts, StoreError};
use crate::tasks::TaskFolder;

/// The command line of `arras budget`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file of a role, running or not.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Only this budget source.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// Prints what each role of the configuration knows of budgets. Fails if a ledger disagrees with its windows, after it
/// has printed both.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let config = Config::load(&args.config)?;
    let (mut reports, from) = match ask(&config, args.source.as_deref())? {
        Some((reports, address)) => (reports, format!("asked at {address}")),
        None => (read(&config)?, "read from its store, as it is not running".to_owned()),
    };
    if let Some(wanted) = &args.source {
        only(&mut reports, wanted)?;
    }
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &reports)?;
        writeln!(out)?;
    } else {
        for report in &reports.roles {
            write!(out, "{}", table::table(report, &from))?;
        }
    }
    out.flush()?;
    let agree = reports.roles.iter().all(|report| report.disagreements.is_empty());
    Ok(if agree { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) })
}

fn only(reports: &mut BudgetReports, wanted: &str) -> Result<(), Failure> {
    let names = |reports: &BudgetReports| {
        let mut names: Vec<String> = reports
            .roles
            .iter()
            .flat_map(|report| &report.sources)
            .map(|source| source.source.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    };
    let known = names(reports);
    if !known.iter().any(|name| name == wanted) {
        let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
        return Err(format!("no budget source is called {wanted:?}; those known here: {known}").into());
    }
    reports.roles.iter_mut().for_each(|report| report.sources.retain(|source| source.source == wanted));
    Ok(())
}

/// Asks the running process. `None` if it cannot be running as far as one can tell from here: it has no address, or
/// nothing listens there.
fn ask(config: &Config, source: Option<&str>) -> Result<Option<(BudgetReports, String)>, Failure> {
    let Some(operations) = &config.operations else { return Ok(None) };
    let url = format!("http://{}/", operations.listen);
    let client = PeerClient::new(url.parse::<Endpoint>()?, None, None)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut reference = "budget".to_owned();
    if let Some(source) = source {
        let mut asked = reqwest::Url::parse("http://localhost/")?;
        asked.query_pairs_mut().append_pair("source", source);
        reference = format!("budget?{}", asked.query().unwrap_or_default());
    }
    let reply = match runtime.block_on(client.get(&reference)) {
        Ok(reply) => reply,
        Err(ClientError::NotConnected { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if reply.status != StatusCode::OK {
        let said = String::from_utf8_lossy(&reply.body);
        let said = crate::text::printable(&said.chars().take(500).collect::<String>());
        return Err(format!("what listens at {url} answers {}: {}", reply.status, said.trim()).into());
    }
    let reports: BudgetReports = serde_json::from_slice(&reply.body).map_err(|error| {
        format!("what listens at {url} does not answer as this version of arras does: {error}")
    })?;
    let plays: Vec<&str> = reports.roles.iter().map(|report| report.role.as_str()).collect();
    let missing: Vec<&str> = roles(config).into_iter().filter(|role| !plays.contains(role)).collect();
    if !missing.is_empty() {
        return Err(format!(
            "the process at {url} plays {}, and not {}: give each process an operations.listen of its own",
            plays.join(", "),
            missing.join(", ")
        )
        .into());
    }
    Ok(Some((reports, url)))
}

fn roles(config: &Config) -> Vec<&'static str> {
    let roles = [
        config.leader.as_ref().map(|_| "leader"),
        config.helper.as_ref().map(|_| "helper"),
        config.collector.as_ref().map(|_| "collector"),
    ];
    roles.into_iter().flatten().collect()
}

/// Reads the stores of roles that are not running.
fn read(config: &Config) -> Result<BudgetReports, Failure> {
    let mut roles = Vec::new();
    for aggregator in config.aggregators() {
        let (role, tasks) = (aggregator.name, TaskFolder::new(aggregator.tasks));
        let collectors = service::collectors(&aggregator)?;
        let accounts = Accounts::of_stopped(&service::store_options(&aggregator), role);
        let accounts = accounts.map_err(|error| held(role, error))?;
        roles.push(budget::of_aggregator(role, accounts.as_ref(), &collectors, &tasks));
    }
    if let Some(collector) = &config.collector {
        let tasks = TaskFolder::new(&collector.tasks);
        roles.push(if collector.store.join("state").exists() {
            let disk = CollectorDisk::open(&collector.store, &collector.watermark)
                .map_err(|error| held("collector", error))?;
            let epoch_start = |name: &str| {
                let source = collector.budget_source.iter().find(|source| source.name == name);
                source.map(|source| source.epoch_start.unix_seconds())
            };
            budget::of_collector(&disk, &tasks, epoch_start)?
        } else {
            let role = "collector".to_owned();
            BudgetReport { role, sources: Vec::new(), disagreements: Vec::new() }
        });
    }
    Ok(BudgetReports { roles })
}

/// A store that somebody uses although nobody could be asked.
fn held(role: &str, error: StoreError) -> Failure {
    match error {
        StoreError::Locked { path } => format!(
            "the {role} is running ({} is in use), and its configuration names no address at which it can be asked: add \
             [operations] with `listen = \"127.0.0.1:PORT\"` and restart it, or stop it and ask again",
            path.display()
        )
        .into(),
        other => other.into(),
    }
}
