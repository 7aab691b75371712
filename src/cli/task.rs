//! `arras task`: takes part in tasks, and explains them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arras_protocol::messages::TaskId;

use super::{Failure, named};
use crate::config::Config;
use crate::config::roles::AnyCollector;
use crate::net::endpoint::Endpoint;
use crate::tasks::{TaskFile, TaskFolder, explain};
use crate::text::counted;

/// Arguments of `arras task`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Take part in the tasks that files describe. A task's id follows from its file: every role adds the same ones.
    Add {
        /// The task files, in any order. None is added if one of them cannot be.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The configuration of the role (or roles) that takes part.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// List the tasks that a role takes part in.
    List {
        /// The role's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Explain a task.
    Show {
        /// The task's id.
        id: TaskId,
        /// The role's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

/// Runs the command.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Add { files, config } => add(files, config, out)?,
        Command::List { config } => list(config, out)?,
        Command::Show { id, config } => show(*id, config, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn add(files: &[PathBuf], path: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let mut tasks = Vec::with_capacity(files.len());
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| named(file, error))?;
        let described = TaskFile::parse(&text).and_then(|described| {
            described.check_conversions()?;
            Ok((described.build()?, described))
        });
        let (built, described) = described.map_err(|error| named(file, error))?;
        tasks.push((file, built, described));
    }
    let config = Config::load(path)?;
    let roles = roles(&config);
    // A role leaves out what its configuration does not cover: better said now than in its log.
    for (file, _, described) in &tasks {
        for role in &roles {
            role.covers(described).map_err(|why| {
                let role = format!("the {} of {} cannot take part", role.name, path.display());
                format!("{}: {role}: {why}", file.display())
            })?;
        }
    }
    // Values are shown by the task that counts their conversions, so a role never has the one without the other. Only
    // tasks of values name one.
    tasks.sort_by_key(|(.., described)| described.conversions.is_some());
    for (_, (task, provisioned), _) in &tasks {
        for role in &roles {
            let new = role.folder.add(task.id(), provisioned)?;
            let known = role.folder.load(task.id())?.ok_or("the task's file is gone again")?;
            let verb = if new { "takes part in" } else { "took part already in" };
            writeln!(out, "the {} {verb}\n{}", role.name, explain::explain(&known))?;
        }
    }
    writeln!(out, "a role that is being served finds new tasks by itself within seconds")?;
    Ok(())
}

fn list(config: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    for Role { name: role, folder, .. } in roles(&Config::load(config)?) {
        let ids = folder.ids()?;
        writeln!(out, "{role}: {}", counted(ids.len(), "task"))?;
        for id in ids {
            match folder.load(id) {
                Ok(Some(known)) => writeln!(out, "  {id}  {}", explain::name(&known.task))?,
                Ok(None) => {}
                Err(error) => writeln!(out, "  {id}  cannot be used: {error}")?,
            }
        }
    }
    Ok(())
}

fn show(id: TaskId, config: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    for Role { folder, .. } in roles(&Config::load(config)?) {
        if let Some(known) = folder.load(id)? {
            write!(out, "{}", explain::explain(&known))?;
            return Ok(());
        }
    }
    Err(format!("no role of {} takes part in task {id}", config.display()).into())
}

/// A role of a configuration, and what its tasks have to agree with.
struct Role<'a> {
    name: &'static str,
    folder: TaskFolder,
    /// The pair's endpoints, each with its key; the collector knows only the leader's.
    leader: (&'static str, &'a Endpoint),
    helper: Option<(&'static str, &'a Endpoint)>,
    /// The collectors that an aggregator knows, with their budget sources; none for the collector, which keeps
    /// no ledger.
    collectors: Option<Vec<AnyCollector<'a>>>,
}

fn roles(config: &Config) -> Vec<Role<'_>> {
    let aggregators = config.aggregators().map(|role| Role {
        name: role.name,
        folder: TaskFolder::new(role.tasks),
        leader: role.leader,
        helper: Some(role.helper),
        collectors: Some(role.collectors()),
    });
    let collector = config.collector.iter().map(|role| Role {
        name: "collector",
        folder: TaskFolder::new(&role.tasks),
        leader: ("collector.leader.endpoint", &role.leader.endpoint),
        helper: None,
        collectors: None,
    });
    aggregators.chain(collector).collect()
}

impl Role<'_> {
    /// Whether the role's configuration covers a task; the error says what does not fit and what to do.
    fn covers(&self, task: &TaskFile) -> Result<(), String> {
        same("leader", &task.leader, self.leader)?;
        if let Some(helper) = self.helper {
            same("helper", &task.helper, helper)?;
        }
        let Some(collectors) = &self.collectors else { return Ok(()) };
        let role = self.name;
        let collector = collectors.iter().find(|known| known.name == task.collector).ok_or_else(|| {
            format!(
                "its collector is {:?}, and no [[{role}.collector]] has this name; correct `collector` in \
                 the task file or add the collector to the configuration",
                task.collector
            )
        })?;
        if collector.budget_sources.iter().any(|source| source.name == task.budget_source) {
            return Ok(());
        }
        Err(format!(
            "its budget source is {:?}, which collector {:?} does not have; correct `budget_source` in the \
             task file or add a [[{role}.collector.budget_source]] to the configuration",
            task.budget_source, task.collector
        ))
    }
}

/// Byte for byte: a URL that merely means the same makes another task.
fn same(party: &str, theirs: &str, (key, ours): (&str, &Endpoint)) -> Result<(), String> {
    if theirs == ours.as_str() {
        return Ok(());
    }
    Err(format!(
        "its {party} is {theirs}, but {key} is {}; they have to be the same byte for byte",
        ours.as_str()
    ))
}
