//! `arras demo`: the whole system on one machine, on real journeys, in under a minute.
//!
//! Nothing is shortened for it: the three roles run as they do apart, with their own keys and stores, and speak
//! HTTP to each other; only TLS is left out, since nothing leaves the machine. What a demo has that the
//! system has not is the truth: it prints the true counts beside the released ones.

mod clients;
mod console;
mod journeys;
mod output;
mod setup;
mod stages;

use std::fs;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arras_protocol::epsilon::MicroEpsilon;
use arras_protocol::task::Task;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::journeys::Journeys;
use self::output::Outcome;
use self::stages::Stages;
pub use self::stages::cpu_time;
use crate::aggregator::leader::Leader;
use crate::cli::Failure;
use crate::collector::{Moment, Span};
use crate::config::Config;
use crate::config::loopback::Loopback;
use crate::net::{descriptors, shutdown};
use crate::privacy::ledger::{BudgetSource, SourceRules};
use crate::service::{Environment, Service};
use crate::store::{INTAKE_RESERVE_BYTES, free_bytes};
use crate::tasks::TaskFolder;

/// The ChannelAttribution data set; see `examples/README.md` for origin and licence.
const JOURNEYS: &[u8] = include_bytes!("../../../examples/journeys.csv");

/// Largest journeys file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// How often the progress of aggregation is looked at.
const WATCH: Duration = Duration::from_millis(50);

/// What the built-in journeys take in the stores, in bytes, once each conversion is reported.
const ROOM_BYTES: u64 = 128 << 20;

/// The exit code after a signal, as shells have it for Ctrl-C.
const INTERRUPTED: u8 = 130;

const DAY: u64 = 86_400;

/// Arguments of `arras demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Journeys to replay: CSV with the columns path, total_conversions, total_conversion_value, total_null.
    #[arg(long, value_name = "FILE")]
    journeys: Option<PathBuf>,
    /// What the release spends; smaller is more private and noisier.
    #[arg(long, value_name = "E", default_value = "1", allow_negative_numbers = true)]
    epsilon: MicroEpsilon,
    /// The smallest noised count that is shown; left out it is 40, or what keeps empty buckets hidden at a small
    /// epsilon.
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    threshold: Option<u64>,
    /// Keep stores, keys and configuration in this folder, which must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Show what an advertiser sees: four weeks of the journeys in the console, until Ctrl-C.
    #[arg(long, conflicts_with_all = ["epsilon", "threshold"])]
    console: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the demo and prints what came out.
pub fn run(args: &Args, now: SystemTime, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let journeys = read_journeys(args.journeys.as_deref()).map_err(Failure::Usage)?;
    let dir = Folder::new(args.keep.as_deref()).map_err(Failure::Usage)?;
    require_room(dir.path(), bytes_needed(args.console)).map_err(Failure::Usage)?;
    let now = now
        .duration_since(UNIX_EPOCH)
        .map_err(|_| Failure::Usage("this machine's clock is before 1970".to_owned()))?;
    descriptors::raise();
    if args.console {
        return console::run(args, &journeys, &dir, now.as_secs(), out);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let played = runtime.block_on(async {
        tokio::select! {
            // First, so that signals are waited for before there is anything to clear away.
            biased;
            () = shutdown::requested() => None,
            played = play(args, &journeys, dir.path(), now.as_secs()) => Some(played),
        }
    });
    // Files of keys and stores go with `dir`, after the last thread that might write one.
    drop(runtime);
    let Some(outcome) = played.transpose()? else { return Ok(ExitCode::from(INTERRUPTED)) };
    let printed = if args.json { outcome.print_json(out) } else { outcome.print(out) };
    match printed {
        // Whoever reads has read enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        printed => Ok(printed.map(|()| ExitCode::SUCCESS)?),
    }
}

fn read_journeys(path: Option<&Path>) -> Result<Journeys, String> {
    let Some(path) = path else {
        return Journeys::parse(JOURNEYS).map_err(|error| error.to_string());
    };
    let named = |error: &dyn std::fmt::Display| format!("--journeys {}: {error}", path.display());
    let length = fs::metadata(path).map_err(|error| named(&error))?.len();
    if length > MAX_FILE_BYTES {
        return Err(named(&format!("larger than {MAX_FILE_BYTES} bytes")));
    }
    let text = fs::read(path).map_err(|error| named(&error))?;
    let journeys = Journeys::parse(&text).map_err(|error| named(&error))?;
    let conversions = journeys.conversions();
    if conversions < setup::MIN_BATCH_SIZE {
        return Err(named(&format!(
            "{conversions} conversions, and nothing is released about fewer than {}; use a longer file",
            setup::MIN_BATCH_SIZE
        )));
    }
    Ok(journeys)
}

/// Free space that the demo asks for, in bytes: what the stores keep in reserve, and room for the built-in journeys. With a
/// console each conversion is reported twice, as one and with its value.
fn bytes_needed(console: bool) -> u64 {
    INTAKE_RESERVE_BYTES + if console { 2 * ROOM_BYTES } else { ROOM_BYTES }
}

/// A store that finds no room says so to clients; here the person can be told what to do.
fn require_room(dir: &Path, needed: u64) -> Result<(), String> {
    // A file system that does not tell is tried.
    let Ok(free) = free_bytes(dir) else { return Ok(()) };
    if free >= needed {
        return Ok(());
    }
    Err(format!(
        "{} MiB are free below {}, the demo needs {} MiB; name a folder on another disk with --keep, or set TMPDIR",
        free >> 20,
        dir.display(),
        needed >> 20
    ))
}

/// Where the roles keep their things: a temporary folder, or one that stays.
enum Folder {
    Temporary(tempfile::TempDir),
    Kept(PathBuf),
}

impl Folder {
    fn new(keep: Option<&Path>) -> Result<Self, String> {
        let Some(path) = keep else {
            let folder = tempfile::Builder::new().prefix("arras-demo-").tempdir();
            return folder.map(Self::Temporary).map_err(|error| format!("no temporary folder: {error}"));
        };
        let named = |error: &dyn std::fmt::Display| format!("--keep {}: {error}", path.display());
        fs::create_dir_all(path).map_err(|error| named(&error))?;
        if fs::read_dir(path).map_err(|error| named(&error))?.next().is_some() {
            return Err(named(&"the folder is not empty"));
        }
        Ok(Self::Kept(path.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }
}

async fn play(args: &Args, journeys: &Journeys, dir: &Path, now: u64) -> Result<Outcome, Failure> {
    // The journeys carry no dates; they are replayed as yesterday's, whose windows are over.
    let day = (now / DAY - 1) * DAY;
    let epoch_start = date(day - (day / DAY + 3) % 7 * DAY)?;
    let mut loopback = Loopback::new(&epoch_start, setup::CAP, "")?;
    let endpoints = (loopback.leader.endpoint.as_str(), loopback.helper.endpoint.as_str());
    let file = setup::task_file(endpoints, &journeys.channels, args.epsilon, args.threshold);
    // All but the options is ours and valid; of the options only epsilon can be refused by a task.
    let (task, provisioned) =
        file.build().map_err(|error| Failure::Usage(format!("--epsilon {}: {error}", args.epsilon)))?;
    // Written last: a folder that is to be kept stays empty if an option is refused.
    let config = loopback.write(dir)?;
    for folder in setup::task_folders(&config) {
        TaskFolder::new(&folder).add(task.id(), &provisioned)?;
    }
    let mut stages = Stages::start();
    let service = Service::start(&config, &Environment::real(), loopback.take_listeners())?;
    stages.end("start leader, helper and collector");
    let released = replay(args, journeys, &task, &service, &mut stages, day).await;
    let spent = spent_of_budget(&config, day, &service).await;
    service.stop().await;
    let release = released?;
    // Bucket 0 is "not attributed": every conversion of the file has a touch.
    let truth = std::iter::once(0).chain(journeys.last_touch_counts()).collect();
    let (spent, cap) = spent?;
    let kept = args.keep.clone();
    Ok(Outcome { release, truth, stages, conversions: journeys.conversions(), kept, spent, cap })
}

/// What the leader's ledger says is spent in the day's week, and what it allows, in micro-epsilon.
async fn spent_of_budget(config: &Config, day: u64, service: &Service) -> Result<(u64, u64), Failure> {
    let collectors = config.leader.iter().flat_map(|leader| &leader.collector);
    let source =
        collectors.flat_map(|collector| &collector.budget_source).next().ok_or("no budget source")?;
    let rules = SourceRules { epoch_start: source.epoch_start.unix_seconds(), cap: source.cap.get().into() };
    let epoch = *rules.epochs_touched(day, day + DAY)?.start();
    let leader = service.leader().ok_or("no leader")?;
    Ok((leader.spent(BudgetSource::new(&source.name)?, epoch).await?, rules.cap))
}

/// A POSIX second's date in UTC.
fn date(posix_seconds: u64) -> Result<String, Failure> {
    let seconds = i64::try_from(posix_seconds)?;
    let date = time::OffsetDateTime::from_unix_timestamp(seconds)?;
    Ok(date.date().to_string())
}

async fn replay(
    args: &Args,
    journeys: &Journeys,
    task: &Task,
    service: &Service,
    stages: &mut Stages,
    day: u64,
) -> Result<crate::collector::Release, Failure> {
    let total = journeys.conversions();
    let quiet = args.json || !std::io::stderr().is_terminal();

    let clients = clients::Clients::connect(task).await?;
    let leader = service.leader().ok_or("the demo's configuration has a leader")?;
    let mut sent = 0;
    // In parts, each of them through before the next is made, so that the stages do not mix.
    for part in clients::over_the_day(journeys, day).chunks(clients::REPORTS_AT_ONCE) {
        let bar = progress(quiet, "attribute, shard and seal", total);
        bar.set_position(sent);
        let reports = clients.make_reports(task, part, &bar)?;
        bar.finish_and_clear();
        stages.end_of("clients: attribute, shard and seal", part.len() as u64);

        let bar = progress(quiet, "upload and aggregate", total);
        clients.upload(task.id(), reports).await?;
        sent += part.len() as u64;
        aggregated(leader, sent, &bar).await;
        bar.finish_and_clear();
        stages.end_of("aggregators: store, open, verify and sum", part.len() as u64);
    }

    let window = Span::new(Moment::from_seconds(day)?, Moment::from_seconds(day + DAY)?)?;
    let collector = service.collector().ok_or("the demo's configuration has a collector")?;
    let release = collector.collect(task.id(), window).await?;
    stages.end("collect: noise, seal, combine, publish");
    Ok(release)
}

/// Waits until a leader is through with so many reports.
async fn aggregated(leader: &Leader, sent: u64, bar: &ProgressBar) {
    loop {
        let counters = leader.counters();
        let rejected: u64 = counters.rejected.iter().map(|(_, count)| count).sum();
        let done = counters.aggregated + rejected + counters.lost;
        bar.set_position(done);
        if done >= sent {
            return;
        }
        tokio::time::sleep(WATCH).await;
    }
}

fn progress(quiet: bool, what: &'static str, total: u64) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let style = ProgressStyle::with_template("{msg:28} [{bar:40}] {pos}/{len} {per_sec} {eta} left");
    let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what);
    // The template is a constant; a style that did not parse would only look plainer.
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
