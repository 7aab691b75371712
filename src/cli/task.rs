//! `arras task`: takes part in tasks, and explains them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arras_protocol::messages::TaskId;

use crate::config::Config;
use crate::tasks::{TaskFile, TaskFolder, explain};

/// Arguments of `arras task`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Take part in the task that a file describes. Its id follows from its content: every role adds the same file.
    Add {
        /// The task file.
        file: PathBuf,
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

type Failure = Box<dyn std::error::Error>;

/// Runs the command.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Add { file, config } => add(file, config, out)?,
        Command::List { config } => list(config, out)?,
        Command::Show { id, config } => show(*id, config, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn add(file: &Path, config: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let (task, provisioned) = TaskFile::parse(&text)
        .and_then(|file| file.build())
        .map_err(|error| format!("{}: {error}", file.display()))?;
    for (role, folder) in folders(&Config::load(config)?) {
        let new = folder.add(task.id(), &provisioned)?;
        let known = folder.load(task.id())?.ok_or("the task's file is gone again")?;
        let verb = if new { "takes part in" } else { "took part already in" };
        writeln!(out, "the {role} {verb}\n{}", explain::explain(&known))?;
    }
    writeln!(out, "a role that is being served finds the task by itself within seconds")?;
    Ok(())
}

fn list(config: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    for (role, folder) in folders(&Config::load(config)?) {
        let ids = folder.ids()?;
        writeln!(out, "{role}: {} task(s)", ids.len())?;
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
    for (_, folder) in folders(&Config::load(config)?) {
        if let Some(known) = folder.load(id)? {
            write!(out, "{}", explain::explain(&known))?;
            return Ok(());
        }
    }
    Err(format!("no role of {} takes part in task {id}", config.display()).into())
}

/// The folders of tasks of a configuration's roles.
fn folders(config: &Config) -> Vec<(&'static str, TaskFolder)> {
    let leader = config.leader.as_ref().map(|role| ("leader", &role.tasks));
    let helper = config.helper.as_ref().map(|role| ("helper", &role.tasks));
    let collector = config.collector.as_ref().map(|role| ("collector", &role.tasks));
    [leader, helper, collector]
        .into_iter()
        .flatten()
        .map(|(role, path)| (role, TaskFolder::new(path)))
        .collect()
}
