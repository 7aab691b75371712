//! `arras admin advertiser`.

use std::io::Write;
use std::num::NonZeroU32;

use arras_protocol::epsilon::MicroEpsilon;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::{OfAdvertiser, With, print};
use crate::cli::Failure;
use crate::registry::{Cadence, Currency, EventKind, Name, TimeZone, Touches};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create an advertiser.
    Create(With<CreateArgs>),
    /// List all advertisers.
    List(With<ListArgs>),
    /// Show an advertiser.
    Show(With<OfAdvertiser>),
    /// Change an advertiser's name, waiting time, events or terms.
    Change(With<ChangeArgs>),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Terms; those that are left out stay, or are the interface's.
#[derive(Debug, clap::Args)]
struct Terms {
    /// What the release of a window spends of the privacy budget.
    #[arg(long, value_name = "E")]
    epsilon: Option<MicroEpsilon>,
    /// Conversions that one device may report in any 7 days.
    #[arg(long, value_name = "K")]
    contributions: Option<NonZeroU32>,
    /// Fewest reports with which a window is released.
    #[arg(long, value_name = "N")]
    min_batch: Option<u64>,
    /// Sum values, too: minor units of the currency that are 1 in the sum, see `arras admin value-advice`.
    #[arg(long, value_name = "MINOR")]
    value_unit: Option<u64>,
    /// The most that one conversion adds, in these units.
    #[arg(long, value_name = "UNITS")]
    value_max: Option<u64>,
    /// What the release of a window of values spends; as much as that of its conversions unless said otherwise.
    #[arg(long, value_name = "E")]
    value_epsilon: Option<MicroEpsilon>,
}

impl Terms {
    /// These terms put over others; `None` if none is given.
    fn over(&self, before: Option<&Value>) -> Result<Option<Value>, Failure> {
        let mut terms = before.and_then(Value::as_object).cloned().unwrap_or_default();
        let given = [
            self.epsilon.map(|epsilon| ("epsilon".to_owned(), json!(epsilon))),
            self.contributions.map(|most| ("contributions".to_owned(), json!(most))),
            self.min_batch.map(|fewest| ("min_batch_size".to_owned(), json!(fewest))),
        ]
        .into_iter()
        .flatten()
        .collect::<Map<_, _>>();
        let values =
            [self.value_unit, self.value_max].iter().any(Option::is_some) || self.value_epsilon.is_some();
        if given.is_empty() && !values {
            return Ok(None);
        }
        terms.extend(given);
        if values {
            let before = terms.get("value").cloned().unwrap_or(Value::Null);
            let number = |given: Option<u64>, member: &str| given.or_else(|| before[member].as_u64());
            let (Some(unit), Some(max)) =
                (number(self.value_unit, "unit"), number(self.value_max, "max_value"))
            else {
                return Err(Failure::Usage(
                    "values need --value-unit and --value-max; `arras admin value-advice` says which"
                        .to_owned(),
                ));
            };
            let same = before.get("epsilon").or_else(|| terms.get("epsilon")).cloned().unwrap_or(json!("1"));
            let epsilon = self.value_epsilon.map_or(same, |epsilon| json!(epsilon));
            terms.insert("value".to_owned(), json!({ "epsilon": epsilon, "unit": unit, "max_value": max }));
        }
        Ok(Some(Value::Object(terms)))
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// Its name.
    name: Name,
    /// The host at which people convert, such as shop.example.
    #[arg(long, value_name = "HOST")]
    site: String,
    /// In which its days begin, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE")]
    time_zone: TimeZone,
    /// Of values, such as EUR.
    #[arg(long, value_name = "CODE")]
    currency: Currency,
    /// A kind of event that is counted, such as order_created; may be repeated.
    #[arg(long = "event", value_name = "KIND", required = true)]
    events: Vec<EventKind>,
    /// How often numbers are released: hour, day or week.
    #[arg(long, value_name = "LENGTH", default_value = "day", value_parser = word::<Cadence>)]
    cadence: Cadence,
    /// Seconds that a window waits for late reports.
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u32>,
    /// Tell conversions after views and after clicks apart.
    #[arg(long)]
    touches_apart: bool,
    #[command(flatten)]
    terms: Terms,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ChangeArgs {
    /// The advertiser's id or name.
    advertiser: String,
    /// Another name.
    #[arg(long)]
    name: Option<Name>,
    /// Seconds that a window waits for late reports.
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u32>,
    /// Count another kind of event, too; may be repeated. Opens new tasks.
    #[arg(long = "add-event", value_name = "KIND")]
    events: Vec<EventKind>,
    #[command(flatten)]
    terms: Terms,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A word, as in JSON.
pub(super) fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::from(text)).map_err(|error| error.to_string())
}

impl Command {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Create(args) => create(args, out),
            Self::List(args) => {
                let ask = args.ask()?;
                let all = Ask::run(ask.list("v1/advertisers", ""))?;
                let columns = [
                    ("id", "id"),
                    ("name", "name"),
                    ("site", "site"),
                    ("zone", "time_zone"),
                    ("events", "events"),
                ];
                let none = "no advertiser yet; create one with: arras admin advertiser create";
                Ok(print::entries(out, &all, &columns, args.own.json, none)?)
            }
            Self::Show(args) => {
                let ask = args.ask()?;
                let shown: Value = Ask::run(async {
                    let path = ask.advertiser(&args.own.advertiser).await?;
                    ask.get(&path).await
                })?;
                Ok(print::entry(out, &shown, args.own.json)?)
            }
            Self::Change(args) => change(args, out),
        }
    }
}

fn create(args: &With<CreateArgs>, out: &mut dyn Write) -> Result<(), Failure> {
    let (ask, own) = (args.ask()?, &args.own);
    let touches = if own.touches_apart { Touches::Apart } else { Touches::Together };
    let mut body = json!({
        "name": own.name,
        "site": own.site,
        "time_zone": own.time_zone,
        "currency": own.currency,
        "events": own.events,
        "cadence": own.cadence,
        "touches": touches,
    });
    if let Some(grace) = own.grace {
        body["grace_seconds"] = json!(grace);
    }
    if let Some(terms) = own.terms.over(None)? {
        body["terms"] = terms;
    }
    let created = Ask::run(ask.post("v1/advertisers", &body))?;
    print::entry(out, &created, own.json)?;
    if !own.json {
        writeln!(out, "\nNext: arras admin campaign create, which makes its tasks.")?;
    }
    Ok(())
}

fn change(args: &With<ChangeArgs>, out: &mut dyn Write) -> Result<(), Failure> {
    let (ask, own) = (args.ask()?, &args.own);
    let changed = Ask::run(async {
        let path = ask.advertiser(&own.advertiser).await?;
        let before: Value = ask.get(&path).await?;
        let mut body = Map::new();
        if let Some(name) = &own.name {
            body.insert("name".to_owned(), json!(name));
        }
        if let Some(grace) = own.grace {
            body.insert("grace_seconds".to_owned(), json!(grace));
        }
        if !own.events.is_empty() {
            let mut events = before["events"].as_array().cloned().unwrap_or_default();
            events.extend(own.events.iter().map(|event| json!(event)));
            body.insert("events".to_owned(), Value::Array(events));
        }
        if let Some(terms) = own.terms.over(Some(&before["terms"]))? {
            body.insert("terms".to_owned(), terms);
        }
        if body.is_empty() {
            return Err(Failure::Usage("name what is to be changed; see --help".to_owned()));
        }
        let opens = body.contains_key("events") || body.contains_key("terms");
        Ok((ask.patch(&path, &Value::Object(body)).await?, opens))
    })?;
    print::entry(out, &changed.0, own.json)?;
    if changed.1 && !own.json {
        writeln!(
            out,
            "\nThis opens new tasks. Next: arras admin tasks export, for the operators of both aggregators."
        )?;
    }
    Ok(())
}
