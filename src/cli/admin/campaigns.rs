//! `arras admin campaign` and `arras admin delivery`.

use std::fs;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::advertisers::word;
use super::ask::{AdminError, Ask};
use super::{OfAdvertiser, With, print};
use crate::cli::Failure;
use crate::registry::{Currency, EventKind, Name, Status};
use crate::text::counted;

/// Where campaigns are looked for.
const CAMPAIGNS: (&str, &str, &str, &str) = ("campaigns", "name", "campaign", "arras admin campaign list");

/// Largest file of delivery numbers that is read, in bytes: what the interface takes, and a byte to notice more.
const FILE_BYTES_MAX: u64 = (2 << 20) + 1;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a campaign.
    Create(With<CreateArgs>),
    /// List an advertiser's campaigns.
    List(With<OfAdvertiser>),
    /// Change a campaign's status, days or goal.
    Change(With<ChangeArgs>),
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// The advertiser's id or name.
    advertiser: String,
    /// The campaign's name.
    name: Name,
    /// Its first day, such as 2026-11-02.
    #[arg(long, value_name = "DAY", value_parser = day)]
    start: Date,
    /// Its last day, if it is known.
    #[arg(long, value_name = "DAY", value_parser = day)]
    end: Option<Date>,
    /// Of its spend; the advertiser's unless said otherwise.
    #[arg(long, value_name = "CODE")]
    currency: Option<Currency>,
    /// The kind of event that it is for; the advertiser's first one unless said otherwise.
    #[arg(long, value_name = "KIND")]
    goal: Option<EventKind>,
    /// active, paused or ended.
    #[arg(long, default_value = "active", value_parser = word::<Status>)]
    status: Status,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ChangeArgs {
    /// The advertiser's id or name.
    advertiser: String,
    /// The campaign's id or name.
    campaign: String,
    /// active, paused or ended.
    #[arg(long, value_parser = word::<Status>)]
    status: Option<Status>,
    /// Another first day.
    #[arg(long, value_name = "DAY", value_parser = day)]
    start: Option<Date>,
    /// Another last day.
    #[arg(long, value_name = "DAY", value_parser = day, conflicts_with = "no_end")]
    end: Option<Date>,
    /// It has no last day.
    #[arg(long)]
    no_end: bool,
    /// Another goal.
    #[arg(long, value_name = "KIND")]
    goal: Option<EventKind>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Create(args) => create(args, out),
            Self::List(args) => {
                let ask = args.ask()?;
                let all = Ask::run(async {
                    let path = ask.advertiser(&args.own.advertiser).await?;
                    ask.list(&format!("{path}/campaigns"), "").await
                })?;
                let columns = [
                    ("id", "id"),
                    ("name", "name"),
                    ("status", "status"),
                    ("start", "start"),
                    ("end", "end"),
                    ("currency", "currency"),
                    ("goal", "goal"),
                ];
                let none = "no campaign yet; create one with: arras admin campaign create";
                Ok(print::entries(out, &all, &columns, args.own.json, none)?)
            }
            Self::Change(args) => change(args, out),
        }
    }
}

fn create(args: &With<CreateArgs>, out: &mut dyn Write) -> Result<(), Failure> {
    let (ask, own) = (args.ask()?, &args.own);
    let mut body = json!({ "name": own.name, "start": own.start, "status": own.status });
    if let Some(end) = own.end {
        body["end"] = json!(end);
    }
    if let Some(currency) = own.currency {
        body["currency"] = json!(currency);
    }
    if let Some(goal) = own.goal {
        body["goal"] = json!(goal);
    }
    let (created, opened, advertiser) = Ask::run(async {
        let path = ask.advertiser(&own.advertiser).await?;
        let tasks = format!("{path}/tasks");
        let before = ask.list(&tasks, "").await?.len();
        let created: Value = ask.post(&format!("{path}/campaigns"), &body).await?;
        // It is created, whatever comes of these questions.
        let opened = ask.list(&tasks, "").await.is_ok_and(|after| after.len() > before);
        let advertiser = if opened { ask.get(&path).await.unwrap_or(Value::Null) } else { Value::Null };
        Ok((created, opened, advertiser))
    })?;
    print::entry(out, &created, own.json)?;
    if opened && !own.json {
        print::warnings(out, &advertiser)?;
        writeln!(
            out,
            "\nThis opened new tasks. Next: arras admin tasks export, and arras task add with its files at both aggregators, before \
             devices report; then arras admin manifest."
        )?;
    }
    Ok(())
}

fn change(args: &With<ChangeArgs>, out: &mut dyn Write) -> Result<(), Failure> {
    let (ask, own) = (args.ask()?, &args.own);
    let end = own.end.map(|day| json!(day)).or_else(|| own.no_end.then_some(Value::Null));
    let given = [
        ("status", own.status.map(|status| json!(status))),
        ("start", own.start.map(|day| json!(day))),
        ("end", end),
        ("goal", own.goal.map(|goal| json!(goal))),
    ];
    let body: Map<_, _> =
        given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    if body.is_empty() {
        return Err(Failure::Usage("name what is to be changed; see --help".to_owned()));
    }
    let changed = Ask::run(async {
        let path = ask.advertiser(&own.advertiser).await?;
        let path = ask.of(&path, CAMPAIGNS, &own.campaign).await?;
        ask.patch(&path, &Value::Object(body)).await
    })?;
    Ok(print::entry(out, &changed, own.json)?)
}

#[derive(Debug, Subcommand)]
pub(super) enum DeliveryCommand {
    /// Take a CSV file with the columns day, campaign, impressions, clicks and spend: all of it, or nothing.
    Upload(With<UploadArgs>),
    /// Print delivery numbers as CSV.
    List(With<DeliveryArgs>),
}

#[derive(Debug, clap::Args)]
pub(super) struct UploadArgs {
    /// The advertiser's id or name.
    advertiser: String,
    /// The file; - for the standard input.
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct DeliveryArgs {
    /// The advertiser's id or name.
    advertiser: String,
    /// The first day.
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<Date>,
    /// The last day.
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: Option<Date>,
}

/// A day of a command line.
pub(crate) fn day(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| "a day is written like 2026-11-24".to_owned())
}

/// `&from=DAY&to=DAY`, as far as they are given.
pub(crate) fn days(from: Option<Date>, to: Option<Date>) -> String {
    let from = from.map_or_else(String::new, |day| format!("&from={day}"));
    to.map_or(from.clone(), |day| format!("{from}&to={day}"))
}

impl DeliveryCommand {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Upload(args) => {
                let bytes = read(&args.own.file)?;
                let ask = args.ask()?;
                let taken = Ask::run(async {
                    let path = ask.advertiser(&args.own.advertiser).await?;
                    ask.put_csv(&format!("{path}/delivery"), bytes).await
                })?;
                let (new, changed, same) = (&taken["inserted"], &taken["changed"], &taken["same"]);
                writeln!(out, "taken: {new} new, {changed} changed, {same} as before")?;
                match taken["before_start"].as_u64() {
                    None | Some(0) => Ok(()),
                    Some(early) => Ok(writeln!(
                        out,
                        "note: {} of days before the campaign's first day; check the file, or the campaign's days",
                        counted(early, "row")
                    )?),
                }
            }
            Self::List(args) => {
                let ask = args.ask()?;
                Ask::run(async {
                    let path = ask.advertiser(&args.own.advertiser).await?;
                    let first = format!("{path}/delivery?limit=1000{}", days(args.own.from, args.own.to));
                    csv(&ask, first, out).await
                })
            }
        }
    }
}

/// Prints all pages of a table as one.
pub(crate) async fn csv(ask: &Ask, first: String, out: &mut dyn Write) -> Result<(), Failure> {
    let mut next = Some(first);
    let mut header = true;
    while let Some(path) = next {
        let reply = ask.get_as(&path, "text/csv").await?;
        let body = &reply.body;
        let rows = if header {
            0
        } else {
            body.iter().position(|byte| *byte == b'\n').map_or(body.len(), |at| at + 1)
        };
        out.write_all(&body[rows..])?;
        header = false;
        let link = reply.headers.get("link").and_then(|link| link.to_str().ok());
        next = link.and_then(|link| Some(link.strip_prefix("</")?.split_once('>')?.0.to_owned()));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().take(FILE_BYTES_MAX).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
    };
    read.map_err(|error| AdminError::File { path: path.display().to_string(), error })?;
    Ok(bytes)
}
