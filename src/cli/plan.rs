//! `arras plan`: what a measurement will be able to say, before anything is measured.

mod measured;
mod source;

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{Read as _, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use arras_protocol::epsilon::{EpsilonError, MicroEpsilon};
use arras_protocol::task::{MAX_CONTRIBUTIONS, MIN_MIN_BATCH_SIZE};
use arras_protocol::vdaf::{MIN_HISTOGRAM_LENGTH, VdafConfig};
use clap::ValueEnum;

use self::measured::Measured;
use self::source::{configured, task_cap};
use super::Failure;
use crate::config::roles::BudgetSource as ConfiguredSource;
use crate::planner::{
    self, About, Amount, Campaign, Fraction, Plan, PlanError, Setting, Terms, Values, Windows, read_campaigns,
};
use crate::privacy::ledger::{BudgetSource, SourceRules};
use crate::registry::TimeZone;
use crate::schedule::planned_windows;

/// Largest list of campaigns that is read, in bytes: 4,095 lines of a name and two numbers.
const LIST_BYTES_MAX: u64 = 1 << 20;

/// The cap unless it is given or configured: that of the example configurations.
const CAP_DEFAULT: &str = "10";

/// Epsilon of a release unless it is given or in a task file: that of the example task.
const EPSILON_DEFAULT: &str = "1";

/// When the first epoch starts unless that is configured, POSIX seconds: on a Monday, as `arras init` configures it.
const EPOCH_START_DEFAULT: u64 = 4 * 86_400;

/// What the budget is called unless a task or the command line names its source.
const SOURCE_DEFAULT: &str = "(unnamed)";

/// Arguments of `arras plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A campaign and its expected conversions, such as spring=700; may be repeated.
    #[arg(long, value_name = "NAME=COUNT", value_parser = campaign)]
    campaign: Vec<(String, u64)>,
    /// A CSV file of campaigns with the columns campaign, conversions and, for values, value.
    #[arg(long, value_name = "FILE")]
    campaigns: Option<PathBuf>,
    /// What the expected conversions are of.
    #[arg(long, value_enum, default_value = "week")]
    per: Per,
    /// Expected conversions that no campaign gets; they make reports, too.
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = whole, allow_negative_numbers = true)]
    not_attributed: u64,
    /// The file of a conversions task, for buckets, reports of a device, epsilon and threshold.
    #[arg(long, value_name = "FILE")]
    task: Option<PathBuf>,
    /// The configuration of a leader or helper, for the cap and the epochs of the budget.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The budget source in that configuration, if it has several.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Plan the windows of an advertiser in this time zone, such as Europe/Berlin: days from midnight, weeks from Monday.
    /// Otherwise windows begin with epochs, as they can if they are asked for by hand.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<TimeZone>,
    /// Buckets of the histogram; otherwise as many as the campaigns need.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    buckets: Option<u32>,
    /// Reports of a task that one device may send in any 7 days; 1 unless a task says otherwise.
    #[arg(long, value_name = "K", value_parser = reports, allow_negative_numbers = true)]
    contributions: Option<NonZeroU32>,
    /// What the release of a window spends; 1 unless a task says otherwise.
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epsilon: Option<MicroEpsilon>,
    /// What an epoch of 7 days may spend; 10 unless a configuration says otherwise.
    #[arg(long, value_name = "E", value_parser = cap, allow_negative_numbers = true)]
    cap: Option<MicroEpsilon>,
    /// The smallest noised count that is shown; otherwise the smallest that empty buckets hardly ever reach.
    #[arg(long, value_name = "T", value_parser = whole, allow_negative_numbers = true)]
    threshold: Option<u64>,
    /// The fewest reports with which a window is released; 10 unless a task says otherwise.
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    min_batch: Option<u64>,
    /// Plan values, too: the most that one report can add, in the value task's units.
    #[arg(long, value_name = "UNITS", value_parser = whole, allow_negative_numbers = true)]
    max_value: Option<u64>,
    /// The file of a value task, for its maximum and epsilon.
    #[arg(long, value_name = "FILE", conflicts_with = "max_value")]
    value_task: Option<PathBuf>,
    /// What a conversion is worth on average.
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    average_value: Option<Amount>,
    /// What one unit of the value task is worth; 1 unless it is given.
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    unit: Option<Amount>,
    /// What the currency is called.
    #[arg(long, value_name = "NAME")]
    currency: Option<String>,
    /// What the release of a window's values spends; otherwise as much as that of its conversions.
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    value_epsilon: Option<MicroEpsilon>,
    /// Solve for the smallest epsilon that reaches this error, such as 10%; with --epsilon for the window that does.
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    target_error: Option<Fraction>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Draw a chart into this file, too: error by size of a campaign, for each window.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// What expected conversions are counted of.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Per {
    /// Of a day.
    Day,
    /// Of a week.
    Week,
}

impl Per {
    /// How many of it a week has.
    fn in_a_week(self) -> u64 {
        match self {
            Self::Day => 7,
            Self::Week => 1,
        }
    }
}

fn campaign(text: &str) -> Result<(String, u64), String> {
    // The last one: a name may hold any character.
    let (name, count) = text.rsplit_once('=').unwrap_or((text, ""));
    match count.parse() {
        Ok(count) if !name.is_empty() => Ok((name.to_owned(), count)),
        _ => Err("a campaign is given by its name and a whole number of conversions, such as spring=700"
            .to_owned()),
    }
}

fn whole(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "write a whole number below 2^64, such as 100".to_owned())
}

fn reports(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| format!("write a whole number from 1 to {MAX_CONTRIBUTIONS}"))
}

fn cap(text: &str) -> Result<MicroEpsilon, String> {
    text.parse().map_err(|error| match error {
        EpsilonError::Zero(_) => {
            "nothing is ever released under it; write what an epoch may spend, such as 10".to_owned()
        }
        error => error.to_string(),
    })
}

fn usage(option: impl Display, reason: impl Display) -> Failure {
    Failure::Usage(format!("{option}: {reason}"))
}

/// An option with the file that it names.
fn of_file(option: &str, path: &Path) -> String {
    format!("{option} {}", path.display())
}

/// Plans, prints and draws.
pub fn run(args: &Args, now: SystemTime, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    // Before 1970 there is no window, whatever the clock says.
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let setting = setting(args, now)?;
    let plan = Plan::new(&setting).map_err(|error| usage(option(args, &error), error.reason))?;
    if let Some(path) = &args.svg {
        let wrong = |error: &dyn Display| format!("--svg {}: {error}", path.display());
        let svg = planner::chart(&plan).map_err(|error| wrong(&error))?;
        fs::write(path, svg).map_err(|error| wrong(&error))?;
    }
    if args.json {
        writeln!(out, "{:#}", planner::json(&plan))?;
    } else {
        write!(out, "{}", planner::table(&plan))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The option that an error is about: that of the file from which the value came, if it came from one.
fn option(args: &Args, error: &PlanError) -> String {
    let from = |file: &Option<PathBuf>, option: &str, other: &str| match file {
        Some(path) => of_file(option, path),
        None => other.to_owned(),
    };
    match error.about {
        About::Buckets if args.buckets.is_some() => "--buckets".to_owned(),
        About::Buckets | About::Counts | About::TimePrecision => {
            from(&args.task, "--task", "--epsilon, --contributions, --buckets")
        }
        About::Source => from(&args.config, "--config", "--cap"),
        About::Values if args.average_value.is_none() && args.value_task.is_none() => {
            "--max-value, --average-value".to_owned()
        }
        About::Values => from(&args.value_task, "--value-task", "--max-value"),
        About::Campaigns => from(&args.campaigns, "--campaigns", "--campaign"),
    }
}

fn setting(args: &Args, now: u64) -> Result<Setting, Failure> {
    if let (Some(_), Some(_), None) = (args.target_error, args.value_epsilon, args.epsilon) {
        return Err(usage(
            "--value-epsilon",
            "--target-error solves for every epsilon; leave this one out, or give --epsilon, too, to solve for the \
             window only",
        ));
    }
    let task = args.task.as_deref().map(|path| Measured::read("--task", path)).transpose()?;
    let named = args.source.as_deref().or(task.as_ref().map(|task| &*task.budget_source));
    let configured = args.config.as_deref().map(|path| configured(path, named)).transpose()?;
    let campaigns = campaigns(args)?;
    let counts = counts(args, task.as_ref(), configured.as_ref(), campaigns.len())?;
    let values = values(args, &counts, named, configured.as_ref())?;
    let (source, rules) = budget(args, named, configured.as_ref())?;
    let windows = match &args.time_zone {
        None => Windows::WithEpochs,
        Some(zone) => planned_windows(zone, &rules, now),
    };
    let own = task.as_ref();
    Ok(Setting {
        campaigns,
        rest_per_week: args.not_attributed.saturating_mul(args.per.in_a_week()),
        counts,
        values,
        threshold: args.threshold.or(own.and_then(|task| task.threshold)),
        source,
        rules,
        time_precision: own.map(|task| task.time_precision),
        windows,
        min_batch_size: min_batch_size(args, own)?,
        target: args.target_error,
        solve_epsilon: args.target_error.is_some() && args.epsilon.is_none(),
    })
}

/// What the command line says, otherwise the task's file, otherwise the least that aggregators accept.
fn min_batch_size(args: &Args, task: Option<&Measured>) -> Result<u64, Failure> {
    match args.min_batch.or(task.map(|task| task.min_batch_size)).unwrap_or(MIN_MIN_BATCH_SIZE) {
        few if few < MIN_MIN_BATCH_SIZE => {
            Err(usage("--min-batch", format!("is {few}, the least allowed is {MIN_MIN_BATCH_SIZE}")))
        }
        enough => Ok(enough),
    }
}

/// A file's text, if it is no larger than such a file is.
fn read(option: &str, path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let wrong = |reason: String| usage(of_file(option, path), reason);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > bytes_max {
        return Err(wrong(format!("is larger than {bytes_max} bytes; name another file")));
    }
    Ok(bytes)
}

fn campaigns(args: &Args) -> Result<Vec<Campaign>, Failure> {
    let periods = args.per.in_a_week();
    let mut campaigns = match &args.campaigns {
        None => Vec::new(),
        Some(path) => read_campaigns(&read("--campaigns", path, LIST_BYTES_MAX)?, periods)
            .map_err(|error| usage(of_file("--campaigns", path), error.reason))?,
    };
    campaigns.extend(args.campaign.iter().map(|(name, count)| Campaign {
        name: name.clone(),
        per_week: count.saturating_mul(periods),
        average_value: None,
    }));
    for campaign in &mut campaigns {
        campaign.average_value = campaign.average_value.or(args.average_value);
    }
    Ok(campaigns)
}

/// The terms of the conversions task: what the command line says, otherwise its file, otherwise the usual.
fn counts(
    args: &Args,
    task: Option<&Measured>,
    source: Option<&ConfiguredSource>,
    campaigns: usize,
) -> Result<Terms, Failure> {
    let vdaf = match (args.buckets, task) {
        (_, Some(task)) if task.vdaf.enforced_max() > 1 => {
            return Err(usage(
                "--task",
                "this is a value task; name it with --value-task, and its conversions task here",
            ));
        }
        (None, Some(task)) => task.vdaf,
        (buckets, _) => {
            // One for each campaign, and one for conversions that none gets.
            let needed = u32::try_from(campaigns).unwrap_or(u32::MAX).saturating_add(1);
            let length = buckets.unwrap_or(needed.max(MIN_HISTOGRAM_LENGTH));
            let option = if buckets.is_some() { "--buckets" } else { "--campaign, --campaigns" };
            VdafConfig::histogram(length).map_err(|error| usage(option, error))?
        }
    };
    let epsilon = match args.epsilon.or(task.map(|task| task.epsilon)) {
        Some(epsilon) => epsilon,
        None => EPSILON_DEFAULT.parse().map_err(|error| usage("--epsilon", error))?,
    };
    let contributions = args.contributions.or(task.map(|task| task.contributions)).unwrap_or(NonZeroU32::MIN);
    Ok(Terms { vdaf, epsilon, contributions, cap: task_cap(source, task) })
}

fn values(
    args: &Args,
    counts: &Terms,
    named: Option<&str>,
    source: Option<&ConfiguredSource>,
) -> Result<Option<Values>, Failure> {
    let terms = match (&args.value_task, args.max_value) {
        (Some(path), _) => {
            let task = Measured::read("--value-task", path)?;
            let (own, other) = (&*task.budget_source, named.unwrap_or_default());
            if named.is_some_and(|named| named != own) {
                return Err(usage(
                    of_file("--value-task", path),
                    format!("spends the budget of {own:?} and not of {other:?}; plan each task by itself"),
                ));
            }
            Terms {
                vdaf: task.vdaf,
                epsilon: args.value_epsilon.unwrap_or(task.epsilon),
                contributions: args.contributions.unwrap_or(task.contributions),
                cap: task_cap(source, Some(&task)),
            }
        }
        (None, Some(maximum)) => {
            // As many buckets as the conversions task, of which none has more than 4096.
            let length = u32::try_from(counts.vdaf.output_len()).unwrap_or(u32::MAX);
            let vdaf =
                VdafConfig::l1_bound_sum(length, maximum).map_err(|error| usage("--max-value", error))?;
            let epsilon = args.value_epsilon.unwrap_or(counts.epsilon);
            Terms { vdaf, epsilon, contributions: counts.contributions, cap: task_cap(source, None) }
        }
        (None, None) => {
            let given = [
                ("--average-value", args.average_value.is_some()),
                ("--unit", args.unit.is_some()),
                ("--currency", args.currency.is_some()),
                ("--value-epsilon", args.value_epsilon.is_some()),
            ];
            return match given.into_iter().find(|(_, is_given)| *is_given) {
                Some((option, _)) => Err(usage(option, "needs --max-value or --value-task to plan values")),
                None => Ok(None),
            };
        }
    };
    let unit = args.unit.unwrap_or(Amount::ONE);
    Ok(Some(Values { terms, unit, currency: args.currency.clone().unwrap_or_default() }))
}

/// Whose budget, and its rules.
fn budget(
    args: &Args,
    named: Option<&str>,
    configured: Option<&ConfiguredSource>,
) -> Result<(BudgetSource, SourceRules), Failure> {
    let name = configured.map(|source| &*source.name).or(named).unwrap_or(SOURCE_DEFAULT);
    let cap = match args.cap.or(configured.map(|source| source.cap)) {
        Some(cap) => cap,
        None => CAP_DEFAULT.parse().map_err(|error| usage("--cap", error))?,
    };
    let rules = SourceRules {
        epoch_start: configured.map_or(EPOCH_START_DEFAULT, |source| source.epoch_start.unix_seconds()),
        cap: u64::from(cap.get()),
    };
    let source = BudgetSource::new(name).map_err(|error| usage("--source", error))?;
    Ok((source, rules))
}

#[cfg(test)]
mod tests;
