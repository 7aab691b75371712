//! `arras admin tasks`, `manifest`, `value-advice` and `windows`: what whoever runs the aggregators and signs manifests needs.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use jiff::civil::Date;
use serde_json::Value;

use super::ask::{AdminError, Ask, encoded};
use super::campaigns::{day, days};
use super::{With, print};
use crate::cli::Failure;
use crate::text::counted;

#[derive(Debug, Subcommand)]
pub(super) enum TasksCommand {
    /// Write the files of an advertiser's tasks into a folder, for `arras task add` at both aggregators.
    Export(With<ExportArgs>),
}

#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// The advertiser's id or name.
    advertiser: String,
    /// The folder; made if it is not there. Files that are there already must be the same.
    folder: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManifestArgs {
    /// The advertiser's id or name.
    advertiser: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct AdviceArgs {
    /// The advertiser's id or name.
    advertiser: String,
    /// What an order is worth on average, as a decimal such as 49.90.
    #[arg(long, value_name = "AMOUNT", requires = "largest", conflicts_with = "orders")]
    average: Option<String>,
    /// What the dearest orders are worth that should count whole.
    #[arg(long, value_name = "AMOUNT", requires = "average")]
    largest: Option<String>,
    /// What past orders were worth, with commas between; instead of the two.
    #[arg(long, value_name = "AMOUNTS")]
    orders: Option<String>,
    /// Orders of a campaign in one window, if they can be guessed.
    #[arg(long, value_name = "COUNT")]
    orders_per_window: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct WindowsArgs {
    /// The advertiser's id or name.
    advertiser: String,
    /// The first day.
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<Date>,
    /// The last day.
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: Option<Date>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl TasksCommand {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let Self::Export(args) = self;
        let ask = args.ask()?;
        let generations = Ask::run(async {
            let path = ask.advertiser(&args.own.advertiser).await?;
            ask.list(&format!("{path}/tasks"), "").await
        })?;
        let folder = &args.own.folder;
        let failed = |path: &Path, error| AdminError::File { path: path.display().to_string(), error };
        fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        let tasks: Vec<&Value> = generations
            .iter()
            .flat_map(|one| [&one["conversions"], &one["value"]])
            .filter(|task| !task.is_null())
            .collect();
        for task in &tasks {
            let (Some(id), Some(file)) = (task["task"].as_str(), task["file"].as_str()) else { continue };
            // The id becomes a name of a file here: nothing but an id may be one.
            if id.parse::<arras_protocol::messages::TaskId>().is_err() {
                return Err("the collector names a task by what is no id; nothing was written".into());
            }
            let path = folder.join(format!("{id}.toml"));
            match fs::read_to_string(&path) {
                Ok(there) if there == file => {}
                Ok(_) => {
                    let text = "another file is there; remove it if it is not used, or choose another folder";
                    return Err(failed(&path, std::io::Error::other(text)).into());
                }
                Err(_) => fs::write(&path, file).map_err(|error| failed(&path, error))?,
            }
        }
        if tasks.is_empty() {
            writeln!(out, "no task yet: the advertiser's first campaign makes them")?;
            return Ok(());
        }
        writeln!(
            out,
            "{} in {folder}\nNext, at both aggregators: arras task add {folder}/*.toml --config ROLE.toml",
            counted(tasks.len(), "task"),
            folder = folder.display()
        )?;
        Ok(())
    }
}

pub(super) fn manifest(args: &With<ManifestArgs>, out: &mut dyn Write) -> Result<(), Failure> {
    let ask = args.ask()?;
    let reply = Ask::run(async {
        let path = ask.advertiser(&args.own.advertiser).await?;
        ask.get_as(&format!("{path}/manifest-file"), "application/toml").await
    })?;
    Ok(out.write_all(&reply.body)?)
}

pub(super) fn advice(args: &With<AdviceArgs>, out: &mut dyn Write) -> Result<(), Failure> {
    let (ask, own) = (args.ask()?, &args.own);
    let given = [
        ("average", own.average.clone()),
        ("largest", own.largest.clone()),
        ("orders", own.orders.clone()),
        ("orders_per_window", own.orders_per_window.map(|count| count.to_string())),
    ];
    let query: Vec<String> =
        given.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(&value?)))).collect();
    let query = query.join("&");
    let advice: Value = Ask::run(async {
        let path = ask.advertiser(&own.advertiser).await?;
        ask.get(&format!("{path}/value-advice?{query}")).await
    })?;
    if own.json {
        return Ok(print::entry(out, &advice, true)?);
    }
    let take = &advice["recommended"];
    writeln!(out, "take --value-unit {} --value-max {}\n", take["unit"], take["max_value"])?;
    for sentences in [&take["explanation"], &advice["another_event"]["explanation"]] {
        for sentence in sentences.as_array().into_iter().flatten() {
            writeln!(out, "{}", print::cell(sentence))?;
        }
    }
    writeln!(out, "{}", print::cell(&advice["on_devices"]))?;
    Ok(())
}

pub(super) fn windows(args: &With<WindowsArgs>, out: &mut dyn Write) -> Result<(), Failure> {
    let (ask, own) = (args.ask()?, &args.own);
    let all = Ask::run(async {
        let path = ask.advertiser(&own.advertiser).await?;
        ask.list(&format!("{path}/windows"), &days(own.from, own.to)).await
    })?;
    let columns = [
        ("from", "from"),
        ("to", "to"),
        ("measures", "measures"),
        ("state", "state"),
        ("release", "sequence"),
        ("next", "next"),
        ("reason", "reason"),
    ];
    let none = "no window in this range: nothing was counted then";
    Ok(print::entries(out, &all, &columns, own.json, none)?)
}
