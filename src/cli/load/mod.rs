//! `arras load`: how many reports a second aggregators take in, how long an upload waits, and what a report costs.
//!
//! By itself it starts a leader, a helper and a collector, each in a process of its own, with real syncs, on loopback
//! without TLS; or it loads aggregators that are running. Reports are made beforehand and are real: each is another
//! one, sealed to both aggregators. How requests are timed is in `latency.rs`.

mod connection;
mod generator;
mod latency;
mod options;
mod output;
mod process;
mod reports;
mod servers;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arras_client::upload::fetch_hpke_configs;
use arras_protocol::messages::HpkeConfig;
use arras_protocol::task::Task;
use rustix::process::Signal;

use self::connection::Target;
use self::generator::{Plan, Sent};
use self::latency::Schedule;
pub use self::options::{Args, NotAVdaf, VdafOption};
use self::output::{Backlog, Costs, Outcome, Used};
pub use self::reports::measurement;
use self::reports::{Request, Wanted};
use self::servers::{MIN_BATCH_SIZE, Own};
use crate::cli::Failure;
use crate::collector::Moment;
use crate::tasks::author::VdafChoice;

const DAY: u64 = 86_400;

/// Loads and prints what came of it. It fails if any report was rejected: scripts look at nothing else.
pub fn run(args: &Args, now: SystemTime, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    args.check().map_err(Failure::Usage)?;
    let now = now.duration_since(UNIX_EPOCH)?.as_secs();
    let outcome = match &args.task {
        Some(file) => running(args, file, now)?,
        None => own(args, now)?,
    };
    let printed = if args.json { outcome.print_json(out) } else { outcome.print(out) };
    printed?;
    Ok(if outcome.refused() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Loads aggregators that are running, with reports of now unless it is said otherwise.
fn running(args: &Args, file: &Path, now: u64) -> Result<Outcome, Failure> {
    let (task, vdaf) = options::read_task(file).map_err(Failure::Usage)?;
    args.check_size(&task).map_err(Failure::Usage)?;
    let named = |path: &PathBuf, error: std::io::Error| format!("--ca {}: {error}", path.display());
    let ca = args.ca.as_ref().map(|path| std::fs::read(path).map_err(|error| named(path, error)));
    let ca = ca.transpose().map_err(Failure::Usage)?;
    let made = args.time.map_or(now, Moment::seconds);
    let requests = make_requests(args, args.wanted(), &task, vdaf, (made, 0), ca.as_deref())?;
    let cpu = || [args.leader_pid, args.helper_pid].map(|pid| pid.and_then(process::cpu_time));
    let before = cpu();
    let sent = send(args, &task, &requests, ca.as_deref())?;
    let used = cpu().into_iter().zip(before).map(|(after, before)| after?.checked_sub(before?));
    let pids = [args.leader_pid, args.helper_pid];
    let costs = ["leader", "helper"].into_iter().zip(used).zip(pids).map(|((role, cpu), pid)| {
        let resident = pid.and_then(process::resident_bytes);
        Some(Costs { role, accepted: Used { cpu: cpu?, resident: resident? }, released: None })
    });
    Ok(Outcome::new(args, &task, &requests, sent, costs.flatten().collect()))
}

/// Starts aggregators, loads them with reports of yesterday, and stops them.
fn own(args: &Args, now: u64) -> Result<Outcome, Failure> {
    let vdaf = args.vdaf.0;
    let would_be = servers::would_be(vdaf).map_err(|error| Failure::Usage(format!("--vdaf: {error}")))?;
    args.check_size(&would_be).map_err(Failure::Usage)?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()?,
    };
    let folder = tempfile::Builder::new()
        .prefix("arras-load-")
        .tempdir_in(args.dir.clone().unwrap_or_else(std::env::temp_dir))?;
    let mut own = Own::new(folder.path(), &program, vdaf, args.pins())?;
    own.helper.start()?;
    own.leader.start()?;
    if args.collect {
        own.collector.start()?;
    }
    // A day whose windows are over, so that it can be collected.
    let day = (now / DAY - 1) * DAY;
    if let Some((counting, length)) = own.counting.as_ref().filter(|_| args.collect) {
        // Values wait for their conversions. They are released before anything is measured.
        let vdaf = VdafChoice::Histogram { length: *length };
        let requests = make_requests(args, MIN_BATCH_SIZE, counting, vdaf, (day, DAY), None)?;
        let _sent = send(args, counting, &requests, None)?;
        let _release = own.collect(counting, day, day + DAY)?;
    }
    let requests = make_requests(args, args.wanted(), &own.task, vdaf, (day, DAY), None)?;
    if args.backlog || args.no_helper {
        own.helper.end(Signal::TERM)?;
    }
    let before = [own.leader.cpu_time(), own.helper.cpu_time()];
    let sent = send(args, &own.task, &requests, None)?;
    let accepted = used(&own, before);
    let backlog = if args.backlog { Some(restart(&mut own)?) } else { None };
    let released = if args.collect { Some(release(&own, before, day, &sent)?) } else { None };
    let disk_after = own.disk_bytes();
    own.stop()?;
    let costs =
        ["leader", "helper"].into_iter().zip(accepted).enumerate().map(|(index, (role, accepted))| Costs {
            role,
            accepted,
            released: released.as_ref().map(|(_, used)| used[index]),
        });
    let mut outcome = Outcome::new(args, &own.task, &requests, sent, costs.collect());
    outcome.released = released.map(|(elapsed, _)| elapsed);
    outcome.backlog = backlog.map(|backlog| Backlog { disk_after, ..backlog });
    Ok(outcome)
}

/// What leader and helper have used since then.
fn used(own: &Own, before: [Duration; 2]) -> [Used; 2] {
    let now = |server: &servers::Server, before| Used {
        cpu: server.cpu_time().saturating_sub(before),
        resident: server.resident_bytes(),
    };
    [now(&own.leader, before[0]), now(&own.helper, before[1])]
}

/// Kills the leader on its waiting reports, starts it again, and lets the helper come.
fn restart(own: &mut Own) -> Result<Backlog, Failure> {
    let (disk_full, resident) = (own.disk_bytes(), own.leader.resident_bytes());
    own.leader.end(Signal::KILL)?;
    let restart = own.leader.start()?;
    let resident_restarted = own.leader.resident_bytes();
    own.helper.start()?;
    Ok(Backlog { disk_full, resident, restart, resident_restarted, disk_after: 0 })
}

/// Collects the day; how long that took, with the aggregation that it waits for, and what was used until then.
fn release(
    own: &Own,
    before: [Duration; 2],
    day: u64,
    sent: &Sent,
) -> Result<(Duration, [Used; 2]), Failure> {
    let started = Instant::now();
    let release = own.collect(&own.task, day, day + DAY)?;
    if release.report_count != sent.accepted {
        let (released, accepted) = (release.report_count, sent.accepted);
        return Err(format!("{accepted} reports were accepted, {released} are in the release").into());
    }
    Ok((started.elapsed(), used(own, before)))
}

/// Asks the aggregators for their keys and makes the requests.
fn make_requests(
    args: &Args,
    reports: u64,
    task: &Task,
    vdaf: VdafChoice,
    (from, over): (u64, u64),
    ca: Option<&[u8]>,
) -> Result<Vec<Request>, Failure> {
    let (leader, helper) = hpke_configs(task, ca)?;
    let wanted = Wanted {
        vdaf,
        reports: usize::try_from(reports)?,
        per_request: args.reports_per_request as usize,
        from,
        over,
    };
    reports::make(task, &leader, &helper, &wanted)
}

fn hpke_configs(task: &Task, ca: Option<&[u8]>) -> Result<(HpkeConfig, HpkeConfig), Failure> {
    let http = crate::net::client::device_client(ca)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let configuration = task.configuration();
    let fetched = runtime.block_on(async {
        let leader = fetch_hpke_configs(&http, &configuration.leader).await?;
        Ok::<_, Failure>((leader, fetch_hpke_configs(&http, &configuration.helper).await?))
    });
    let (leader, helper) = fetched?;
    let supported = "an aggregator offers no HPKE configuration that this client speaks";
    Ok((leader.supported().ok_or(supported)?.clone(), helper.supported().ok_or(supported)?.clone()))
}

fn send(args: &Args, task: &Task, requests: &[Request], ca: Option<&[u8]>) -> Result<Sent, Failure> {
    let tls = crate::net::tls::client_config(ca)?;
    let target = Target::new(&task.configuration().leader, task.id(), tls)?;
    let plan = Plan {
        schedule: Schedule::new(args.rate, args.reports_per_request),
        connections: args.connections as usize,
        duration: args.sending(),
        cpu: args.pin_generator,
    };
    generator::run(&target, requests, &plan)
}
