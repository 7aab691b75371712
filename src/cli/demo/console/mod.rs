//! `arras demo --console`: what an advertiser sees, over four weeks that are over.
//!
//! The shop is made first, then leader and helper run and devices send them reports of 28 days, dated as they would have been;
//! only then the collector starts, finds the windows due, and collects them by itself as it would have day by day. What is
//! invented is when people bought, and what the ads cost; everything else is as in earnest.

mod delivery;
mod orders;
mod output;
mod shop;

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::ToSpan as _;
use ring::rand::SystemRandom;

use self::output::Ready;
use self::shop::{Shop, ZONE};
use super::clients::{Clients, REPORTS_AT_ONCE};
use super::journeys::Journeys;
use super::{Args, DAY, Folder, INTERRUPTED, date, progress};
use crate::access::{ApiKey, Password, Scope};
use crate::advertising::Advertising;
use crate::aggregator::work::blocking;
use crate::cli::Failure;
use crate::config::loopback::{CONFIG_FILE, Loopback};
use crate::config::{Config, Secret, SecretString};
use crate::net::shutdown;
use crate::registry::TimeZone;
use crate::schedule::{DayRange, WindowState, WindowStatus, day_at};
use crate::service::{Environment, Listeners, Service};

/// Days that are over, each with a window. Aggregators take no report that is older than 30 days, and the first of the days
/// began up to 29 days and an hour ago.
const DAYS: i64 = 28;

/// What the budget allows in a week, in epsilon: a day spends 1 for its conversions and 1 for their values, and with the
/// days that begin in one week and end in the next, eight of them touch a week.
const CAP: &str = "20";

const EMAIL: &str = "demo@shop.example";

/// Random bytes of the password.
const PASSWORD_BYTES: usize = 15;

/// How often it is looked whether windows are released.
const LOOK: Duration = Duration::from_millis(250);

/// The roles, as two processes would have them: what devices talk to, and what advertisers talk to.
struct Roles {
    aggregators: Service,
    collector: Service,
}

impl Roles {
    /// Returns when one of them has ended although nobody asked for it.
    async fn failed(&mut self) {
        tokio::select! {
            () = self.aggregators.failed() => {}
            () = self.collector.failed() => {}
        }
    }

    async fn stop(self) {
        self.collector.stop().await;
        self.aggregators.stop().await;
    }
}

/// Prepares, says where the console is, and keeps it there until it is told to stop.
pub(super) fn run(
    args: &Args,
    journeys: &Journeys,
    folder: &Folder,
    now: u64,
    out: &mut dyn Write,
) -> Result<ExitCode, Failure> {
    shop::check(journeys).map_err(Failure::Usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let begun = Instant::now();
        let (ready, mut roles) = tokio::select! {
            // First, so that signals are waited for before there is anything to clear away.
            biased;
            () = shutdown::requested() => return Ok(ExitCode::from(INTERRUPTED)),
            ready = prepare(args, journeys, folder.path(), now) => ready?,
        };
        let ready = Ready { seconds: begun.elapsed().as_secs(), ..ready };
        let printed = if args.json { ready.print_json(out) } else { ready.print(out) };
        let ended = async {
            // Nobody knows the password, so nobody can sign in.
            printed?;
            tokio::select! {
                () = shutdown::requested() => Ok(ExitCode::SUCCESS),
                () = roles.failed() => Err("a role ended; run it again, with ARRAS_LOG=info to see why".into()),
            }
        }
        .await;
        roles.stop().await;
        ended
    })
}

async fn prepare(args: &Args, journeys: &Journeys, dir: &Path, now: u64) -> Result<(Ready, Roles), Failure> {
    let quiet = args.json || !io::stderr().is_terminal();
    let zone: TimeZone = ZONE.parse()?;
    let days = days_before(&zone, now)?;
    let (mut loopback, mut config) = configure(dir, days, &zone)?;
    let shop = shop::open(&config, journeys, (days, &zone), now)?;

    let mut listeners = loopback.take_listeners();
    let collector = Listeners { collector: listeners.collector.take(), ..Listeners::default() };
    let collector_config = config.collector.take();
    let aggregators = Service::start(&config, &Environment::real(), listeners)?;
    replay(&shop, &aggregators, journeys, (days, &zone), quiet).await?;

    (config.leader, config.helper, config.collector) = (None, None, collector_config);
    let collector = Service::start(&config, &Environment::real(), collector)?;
    let advertising = collector.advertising().ok_or("the demo's collector has advertisers")?.clone();
    let (password, key) = let_in(&advertising, &shop, now).await?;
    let windows = released(&advertising, &shop, days.seconds(&zone), quiet).await?;
    let ready = Ready {
        endpoint: loopback.collector.endpoint.clone(),
        email: EMAIL,
        password,
        key,
        days,
        campaigns: journeys.channels.len(),
        conversions: journeys.conversions(),
        windows,
        advertiser: shop::NAME,
        config: dir.join(CONFIG_FILE),
        kept: args.keep.is_some(),
        seconds: 0,
    };
    Ok((ready, Roles { aggregators, collector }))
}

/// The days that are over in a time zone.
fn days_before(zone: &TimeZone, now: u64) -> Result<DayRange, Failure> {
    let today = day_at(zone, now);
    let day = |before: i64| today.checked_sub(before.days());
    Ok(DayRange::new(day(DAYS)?, day(1)?).ok_or("there are no days before today")?)
}

/// Configurations of all roles, with budget epochs from the Monday on or before the first day.
fn configure(dir: &Path, days: DayRange, zone: &TimeZone) -> Result<(Loopback, Config), Failure> {
    let first = days.seconds(zone).start / DAY * DAY;
    // 1970 began on a Thursday.
    let monday = first - (first / DAY + 3) % 7 * DAY;
    let loopback = Loopback::new(&date(monday)?, CAP, "")?;
    let config = loopback.write(dir)?;
    Ok((loopback, config))
}

/// Four weeks of reports, made, sent and aggregated.
async fn replay(
    shop: &Shop,
    aggregators: &Service,
    journeys: &Journeys,
    (days, zone): (DayRange, &TimeZone),
    quiet: bool,
) -> Result<(), Failure> {
    let clients = Clients::connect(&shop.conversions).await?;
    let leader = aggregators.leader().ok_or("the demo's configuration has a leader")?;
    let orders = orders::spread(journeys, days, zone);
    let (made, through) = ("attribute, shard and seal", "upload and aggregate");
    let (bars, mut sent) = ([journeys.conversions(), 2 * journeys.conversions()], 0);
    for part in orders.chunks(REPORTS_AT_ONCE / 2) {
        let bar = progress(quiet, made, bars[0]);
        bar.set_position(sent / 2);
        let bodies = shop.make_reports(&clients, part, &bar)?;
        bar.finish_and_clear();
        let bar = progress(quiet, through, bars[1]);
        let (conversions, values): (Vec<_>, Vec<_>) = bodies.into_iter().unzip();
        clients.upload(shop.conversions.id(), conversions).await?;
        clients.upload(shop.value.id(), values).await?;
        sent += 2 * part.len() as u64;
        super::aggregated(leader, sent, &bar).await;
        bar.finish_and_clear();
    }
    let counters = leader.counters();
    let lost = counters.lost + counters.rejected.iter().map(|(_, count)| count).sum::<u64>();
    if lost > 0 { Err(format!("{lost} of {sent} reports were not counted").into()) } else { Ok(()) }
}

/// Makes somebody who may sign in, and a key for the API; gives the password and the key.
async fn let_in(advertising: &Advertising, shop: &Shop, now: u64) -> Result<(SecretString, ApiKey), Failure> {
    let (access, advertiser) = (advertising.access.clone(), shop.advertiser);
    let made = blocking(move || -> Result<_, Failure> {
        let secret = Secret::<PASSWORD_BYTES>::generate(&SystemRandom::new())?;
        let password = SecretString::new(secret.to_base64().as_str());
        let typed = Password::new(password.clone())?;
        access.create_user(advertiser, EMAIL.parse()?, &typed, Scope::Admin, now)?;
        let (_, key) = access.create_key(advertiser, "demo".parse()?, Scope::Manage, None, now)?;
        Ok((password, key))
    });
    made.await
}

/// What became of the windows that are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Windows {
    /// There are numbers.
    pub(super) released: usize,
    /// There are not, since too few people bought.
    pub(super) too_few: usize,
    /// It is not known yet.
    pub(super) pending: usize,
}

impl Windows {
    /// Fails at a window that was refused or failed: a demo gives no reason for either.
    fn of(windows: &[WindowStatus]) -> Result<Self, Failure> {
        let mut count = Self::default();
        for status in windows {
            match &status.state {
                WindowState::Released { .. } => count.released += 1,
                WindowState::TooFewReports { .. } => count.too_few += 1,
                WindowState::UnderWay { .. } | WindowState::Failed { next_try: Some(_), .. } => {
                    count.pending += 1;
                }
                WindowState::Open { .. } | WindowState::Waiting { .. } => {}
                WindowState::RefusedByBudget { reason, .. } | WindowState::Failed { reason, .. } => {
                    return Err(format!("the window {}: {reason}", status.window).into());
                }
            }
        }
        Ok(count)
    }

    fn settled(self) -> usize {
        self.released + self.too_few
    }
}

/// Waits until the schedule is through with the windows that are over.
async fn released(
    advertising: &Advertising,
    shop: &Shop,
    over: std::ops::Range<u64>,
    quiet: bool,
) -> Result<Windows, Failure> {
    let bar = progress(quiet, "collect windows", 0);
    loop {
        let (schedule, advertiser, over) = (advertising.schedule.clone(), shop.advertiser, over.clone());
        let windows = blocking(move || schedule.windows(advertiser, over.start, over.end)).await?;
        let windows = Windows::of(&windows)?;
        bar.set_length((windows.settled() + windows.pending) as u64);
        bar.set_position(windows.settled() as u64);
        if windows.pending == 0 && windows.settled() > 0 {
            bar.finish_and_clear();
            return Ok(windows);
        }
        tokio::time::sleep(LOOK).await;
    }
}
