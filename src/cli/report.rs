//! `arras report`: what an advertiser's campaigns cost, and what came of them.

mod table;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use clap::ValueEnum;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};

use super::admin::ask::{AdminError, Ask};
use super::admin::{csv, day, days};
use super::{Failure, console};
use crate::console::format::nearest;
use crate::insights::{Number, Unit};

/// The command line of `arras report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    console: console::Args,
    /// The advertiser's id or name.
    advertiser: String,
    /// The first day, in the advertiser's time zone; 27 days before the last one unless said otherwise.
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<Date>,
    /// The last day, included; yesterday unless said otherwise, or last Sunday where windows are weeks.
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: Option<Date>,
    /// How it is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people.
    Table,
    /// A table for spreadsheets.
    Csv,
    /// As the interface answers.
    Json,
}

/// A row of insights, as far as a report shows it.
#[derive(Debug, Deserialize)]
struct Row {
    date_start: Date,
    date_stop: Date,
    campaign_name: Option<String>,
    currency: Option<crate::registry::Currency>,
    value_currency: crate::registry::Currency,
    impressions: Option<u64>,
    clicks: Option<u64>,
    spend: Option<u64>,
    conversions: Option<Measure>,
    value: Option<Measure>,
    cpa: Option<Measure>,
    roas: Option<Measure>,
    #[serde(default)]
    why: BTreeMap<String, String>,
    #[serde(default)]
    invented: bool,
    coverage: Coverage,
}

/// A noised number, or why it is suppressed.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Measure {
    Shown { estimate: f64, low: f64, high: f64 },
    Suppressed { suppressed: String },
}

impl Measure {
    /// The number, if it is shown, in whole ones of its unit: what words are made of. Numbers of JSON are read as doubles, which hold
    /// those of up to 2^53 exactly; decimals of a cost or a return are whole hundredths or thousandths.
    fn shown(&self, unit: Unit) -> Option<Number> {
        let Self::Shown { estimate, low, high } = self else { return None };
        let steps = f64::from(unit.steps());
        let whole = |number: f64| nearest(number * steps);
        let end = |number: f64| whole(number).max(0).unsigned_abs();
        Some(Number {
            estimate: whole(*estimate),
            low: end(*low),
            high: end(*high),
            // No word is made of it.
            standard_error: None,
            unit,
        })
    }
}

/// Which windows a row covers.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Coverage {
    windows: u32,
    released: u32,
    value_released: u32,
    days: u32,
    whole_days: u32,
    whole_value_days: u32,
    #[serde(default)]
    missing: Vec<Missing>,
}

/// Why a part of the period is not in the numbers.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Missing {
    why: String,
}

/// Asks and prints.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let ask = Ask::new(&args.console)?;
    let days = days(args.from, args.to);
    Ask::run(async {
        let path = ask.advertiser(&args.advertiser).await?;
        let id = path.rsplit('/').next().unwrap_or_default();
        let query = |level: &str| format!("&advertiser={id}&level={level}{days}");
        match args.format {
            Format::Csv => csv(&ask, format!("v1/insights?limit=1000{}", query("campaign")), out).await?,
            Format::Json => {
                let campaigns = ask.list("v1/insights", &query("campaign")).await?;
                let total = ask.list("v1/insights", &query("account")).await?;
                let document = json!({ "campaigns": campaigns, "total": total.first() });
                writeln!(out, "{}", serde_json::to_string_pretty(&document)?)?;
            }
            Format::Table => {
                let rows = read(ask.list("v1/insights", &query("campaign")).await?)?;
                let total = read(ask.list("v1/insights", &query("account")).await?)?;
                out.write_all(table::report(&rows, total.first(), table::width()).as_bytes())?;
            }
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn read(rows: Vec<Value>) -> Result<Vec<Row>, AdminError> {
    rows.into_iter().map(|row| serde_json::from_value(row).map_err(AdminError::Answer)).collect()
}
