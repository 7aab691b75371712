//! Running a list of operations, and what is checked on the way and at the end.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};
use std::time::Duration;

use arras::aggregator::block_inline;
use arras::collector::{Cell, CollectError, Collector, Moment, Release, Span};
use arras::net::client::PeerClient;
use arras::net::problem::{DapError, ErrorType, OwnError};
use arras::privacy::ledger::Epoch;
use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::messages::{
    AggregationJobInitReq, CollectionJobReq, MediaType, ReportError, Time, UploadErrors,
};
use axum::http::{Method, Request, header};
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::model::{Window, keys_in};
use crate::operation::{NODES, Operation, Party};
use crate::simulation::{Setup, Simulation};
use crate::world::{COST, FIRST_HOUR, HOURS, Key, MIN_BATCH, PRECISION, SLOTS, interval, source, world};

/// How long all that is under way may take once nothing goes wrong any more. The longest pauses of the roles are a
/// minute.
const SETTLES_WITHIN: Duration = Duration::from_secs(1_800);

/// A run in which nothing was wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Requests that were delivered.
    pub deliveries: u64,
    /// Windows that were released.
    pub releases: u64,
    /// Reports in them.
    pub reports: u64,
    /// A number of all that went over the network: the same for the same run.
    pub trace: u64,
}

thread_local! {
    /// The panics of this thread while it simulates.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Has panics of simulating threads kept: the roles survive some of them.
fn keep_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let earlier = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let kept = PANICS.with_borrow_mut(|panics| {
                panics.as_mut().map(|panics| panics.push(info.to_string())).is_some()
            });
            if !kept {
                earlier(info);
            }
        }));
    });
}

/// Runs a list of operations. The seed decides about all that the list leaves open.
pub fn run(seed: u64, operations: &[Operation], setup: Setup) -> Result<Passed, Vec<String>> {
    keep_panics();
    PANICS.set(Some(Vec::new()));
    let mut chance = Chance::new(seed);
    let mut pace = chance.fork();
    block_inline(Some(Box::new(move || Duration::from_millis(pace.below(12).saturating_sub(8)))));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("always: a runtime without I/O needs nothing");
    let outcome =
        panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(act(operations, setup, &mut chance))));
    drop(runtime);
    block_inline(None);
    let mut wrong = PANICS.take().unwrap_or_default();
    match outcome {
        Ok(Ok(passed)) if wrong.is_empty() => return Ok(passed),
        Ok(Ok(_)) | Err(_) => {}
        Ok(Err(violations)) => wrong.extend(violations),
    }
    Err(wrong)
}

async fn act(operations: &[Operation], setup: Setup, chance: &mut Chance) -> Result<Passed, Vec<String>> {
    let simulation = Simulation::new(setup, chance);
    let outcome = act_in(&simulation, operations).await;
    for party in NODES {
        simulation.end(party, false);
    }
    outcome.map_err(|error| {
        let mut violations = std::mem::take(&mut simulation.model().violations);
        violations.extend(error.0);
        violations
    })?;
    let model = simulation.model();
    if !model.violations.is_empty() {
        return Err(model.violations.clone());
    }
    Ok(Passed {
        deliveries: model.deliveries,
        releases: model.released.len() as u64,
        reports: model.released.values().flat_map(|released| &released.counted).sum::<i128>() as u64,
        trace: model.trace,
    })
}

/// The run ends here.
struct Wrong(Option<String>);

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self(Some(what))
    }
}

async fn act_in(simulation: &Arc<Simulation>, operations: &[Operation]) -> Result<(), Wrong> {
    for party in NODES {
        simulation.start(party)?;
    }
    for operation in operations {
        take(simulation, *operation).await;
        check(simulation)?;
    }
    conclude(simulation).await?;
    check(simulation)
}

/// What is checked after each operation; the rest when it happens.
fn check(simulation: &Simulation) -> Result<(), Wrong> {
    for party in [Party::Leader, Party::Helper] {
        // A store in doubt says nothing.
        if let Some(Ok(spent)) = simulation.store(party).map(|store| store.spent(&source(), Epoch(0))) {
            simulation.model().ledger(party, spent);
        }
    }
    if simulation.model().violations.is_empty()
        && PANICS.with_borrow(|p| p.as_ref().is_none_or(Vec::is_empty))
    {
        Ok(())
    } else {
        Err(Wrong(None))
    }
}

async fn take(simulation: &Arc<Simulation>, operation: Operation) {
    match operation {
        Operation::Upload { task, hour, first, count } => {
            upload(simulation, slots(task, hour, first, count));
        }
        Operation::UploadTwice { task, hour, first, count } => {
            upload(simulation, slots(task, hour, first, count));
            upload(simulation, slots(task, hour, first, count));
        }
        Operation::UploadTwin { task, hour, slot } => {
            // The last hour has none after it that is ever over.
            let hour = hour.min(HOURS - 2);
            upload(simulation, vec![Key { task, hour, slot, twin: true }]);
        }
        Operation::Wait { millis } => sleep(Duration::from_millis(millis.into())).await,
        Operation::Jump { party, seconds } => simulation.jump(party, seconds.into()),
        Operation::NextHour => simulation.next_hour(),
        Operation::End { party } => simulation.end(party, false),
        Operation::Power { party } => simulation.end(party, true),
        Operation::Start => {
            for party in NODES {
                // What was armed to fail may fail it.
                drop(simulation.start(party));
            }
        }
        Operation::Fail { party, after, how } => simulation.arm(party, after, how),
        Operation::Full { party, is } => simulation.set_full(party, is),
        Operation::Cut { link, is } => simulation.with_weather(|weather, _| {
            let link = Operation::link(link);
            if is {
                weather.cut.insert(link)
            } else {
                weather.cut.remove(&link)
            };
        }),
        Operation::Weather { lost, twice, millis } => simulation.with_weather(|weather, _| {
            (weather.lost, weather.twice, weather.millis) = (lost, twice, millis);
        }),
        Operation::Collect { party, task, hour, hours } => collect(simulation, party, (task, hour, hours)),
        Operation::Delete { task, hour, hours } => delete(simulation, (task, hour, hours)),
        Operation::Repeat { number } => repeat(simulation, number),
        Operation::Repack { number } => repack(simulation, number),
    }
}

fn slots(task: u8, hour: u8, first: u8, count: u8) -> Vec<Key> {
    (0..count).map(|at| Key { task, hour, slot: (first + at) % SLOTS, twin: false }).collect()
}

fn upload(simulation: &Arc<Simulation>, keys: Vec<Key>) {
    let client = simulation.client(Party::Client, Party::Leader);
    let simulation = Arc::clone(simulation);
    tokio::spawn(async move { upload_now(&simulation, &client, &keys).await });
}

/// Uploads reports of one task in one request; whether all of them are acknowledged.
async fn upload_now(simulation: &Simulation, client: &PeerClient, keys: &[Key]) -> bool {
    let Some(first) = keys.first() else { return true };
    let world = world();
    let task = world.tasks[usize::from(first.task)].id();
    let mut body = Vec::new();
    for key in keys {
        simulation.model().sends(*key);
        body.extend_from_slice(&world.report(*key).encoded);
    }
    let path = format!("tasks/{task}/reports");
    let Ok(reply) = client.post(&path, MediaType::UploadRequest.as_str(), body).await else { return false };
    let mut model = simulation.model();
    if reply.status.is_client_error() {
        model.violated(format!("an upload was refused: {}", String::from_utf8_lossy(&reply.body)));
    }
    if !reply.status.is_success() {
        return false;
    }
    let Ok(errors) = UploadErrors::from_bytes(&reply.body) else {
        model.violated("the answer to an upload does not decode");
        return false;
    };
    let mut all = true;
    for key in keys {
        let id = world.report(*key).id;
        match errors.status.iter().find(|status| status.report_id == id).map(|status| status.error) {
            None | Some(ReportError::ReportReplayed) => model.acknowledge(*key),
            Some(ReportError::BatchCollected | ReportError::ReportTooEarly) => all = false,
            Some(other) => {
                model.violated(format!("a good report was refused: {other:?}"));
                all = false;
            }
        }
    }
    all
}

fn collect(simulation: &Arc<Simulation>, party: Party, window: Window) {
    let (Some(collector), life) = (simulation.collector(party), simulation.life(party)) else { return };
    let kept = Arc::clone(simulation);
    let collecting = tokio::spawn(async move { drop(collect_now(&kept, &collector, window).await) });
    simulation.belongs_to(party, life, collecting.abort_handle());
}

/// Collects a window, and compares what the collector makes of it with what the leader has answered.
async fn collect_now(
    simulation: &Simulation,
    collector: &Collector,
    window: Window,
) -> Result<(), CollectError> {
    let (task, hour, hours) = window;
    let posix = |hour: u8| (FIRST_HOUR + u64::from(hour)) * PRECISION;
    let moment = |seconds| Moment::from_seconds(seconds).expect("always: it is 2027");
    let span = Span::new(moment(posix(hour)), moment(posix(hour + hours))).expect("always: hours is not 0");
    let outcome = collector.collect(world().tasks[usize::from(task)].id(), span).await;
    let mut model = simulation.model();
    match &outcome {
        Ok(release) => {
            let found: Option<Vec<i128>> = release.buckets.iter().map(|bucket| shown(&bucket.cell)).collect();
            let expected = model.released.get(&window).map(|released| released.cells.clone());
            if found != expected || found.is_none() {
                model.violated(format!("a release of {window:?} is not what was answered: {release:?}"));
            }
        }
        Err(error) if passes(error) => {}
        Err(error) => model.violated(format!("{window:?} cannot be collected: {error}")),
    }
    outcome.map(|_: Release| ())
}

fn shown(cell: &Cell) -> Option<i128> {
    match cell {
        Cell::Shown(estimate) => Some(estimate.estimate),
        Cell::Suppressed => None,
    }
}

/// Whether an error may happen in a world like this.
fn passes(error: &CollectError) -> bool {
    match error {
        // Too few reports, no budget, collected by somebody else, deleted; a leader whose clock is behind.
        CollectError::Refused(refused) => matches!(
            refused.problem().kind(),
            ErrorType::Dap(DapError::InvalidBatchSize | DapError::BatchOverlap | DapError::BatchInvalid)
                | ErrorType::Own(OwnError::BudgetExhausted | OwnError::Gone)
        ),
        CollectError::NotOver { .. }
        | CollectError::OverlapsUnderWay(_)
        | CollectError::OverlapsReleased { .. }
        | CollectError::StillPending { .. }
        | CollectError::Unreachable { .. }
        | CollectError::NoRoom(_)
        | CollectError::Store(_) => true,
        // Deleted again and again.
        CollectError::BadAnswer(reason) => reason.contains("is not found at the address"),
        _ => false,
    }
}

fn delete(simulation: &Arc<Simulation>, window: Window) {
    let Some(path) = simulation.model().collection_path(window) else { return };
    let client = simulation.client(Party::First, Party::Leader);
    tokio::spawn(async move { drop(client.delete(&path).await) });
}

fn repeat(simulation: &Arc<Simulation>, number: u16) {
    let request = {
        let model = simulation.model();
        let count = model.requests.len().max(1);
        model.requests.iter().rev().nth(usize::from(number) % count).cloned()
    };
    if let Some((to, request)) = request {
        drop(simulation.deliver(to, request));
    }
}

/// Sends a part of an old job as a new one: the helper has claimed all of its reports, so it must refuse each.
fn repack(simulation: &Arc<Simulation>, number: u16) {
    let job = {
        let model = simulation.model();
        let count = model.whole_jobs.len().max(1);
        model.whole_jobs.iter().rev().nth(usize::from(number) % count).cloned()
    };
    let Some((task, body)) = job else { return };
    let Ok(mut request) = AggregationJobInitReq::from_bytes(&body, usize::MAX) else { return };
    if request.verify_inits.len() > 1 {
        let left_out = simulation.below(request.verify_inits.len() as u64) as usize;
        request.verify_inits.remove(left_out);
    }
    let world = world();
    let url = format!("{}tasks/{}/aggregation_jobs", world.helper.as_str(), world.tasks[task].id());
    let request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(header::AUTHORIZATION, world.leader_token.header())
        .header(header::CONTENT_TYPE, MediaType::AggregationJobInitReq.as_str())
        .body(Bytes::from(request.to_bytes()));
    if let Ok(request) = request {
        drop(simulation.deliver(Party::Helper, request));
    }
}

/// Nothing goes wrong any more: everything starts again, comes to an end, and is collected.
async fn conclude(simulation: &Arc<Simulation>) -> Result<(), Wrong> {
    simulation.with_weather(|weather, _| *weather = crate::network::Weather::default());
    for party in NODES {
        simulation.disarm(party);
        simulation.set_full(party, false);
        simulation.end(party, false);
    }
    simulation.agree_on_time((FIRST_HOUR + u64::from(HOURS) + 1) * PRECISION + 100);
    for party in NODES {
        let started = simulation.start(party);
        started.map_err(|error| format!("the {party:?} does not start again: {error}"))?;
    }
    settle(simulation).await?;
    compare_aggregators(simulation)?;
    for task in 0..world().tasks.len() as u8 {
        for hour in 0..HOURS {
            upload_rest(simulation, task, hour).await?;
        }
    }
    settle(simulation).await?;
    compare_aggregators(simulation)?;
    let (first, second) = (Party::First, Party::Second);
    for task in 0..world().tasks.len() as u8 {
        for hour in 0..=HOURS {
            collect_rest(simulation, if hour % 2 == 0 { first } else { second }, (task, hour, 1)).await?;
        }
    }
    settle(simulation).await?;
    ask_again(simulation).await;
    compare_ledgers(simulation)?;
    simulation.model().check_end();
    check_all_are_collected(simulation)
}

/// Waits until no report waits, no job and no collection is open.
async fn settle(simulation: &Arc<Simulation>) -> Result<(), Wrong> {
    let began = Instant::now();
    loop {
        sleep(Duration::from_secs(2)).await;
        check(simulation)?;
        let store = simulation.leader_store().ok_or_else(|| "the leader has ended".to_owned())?;
        let mut left = Vec::new();
        for task in &world().tasks {
            let backlog = store.backlog(task.id()).map_err(|error| error.to_string())?;
            let open = store.open_collections(task.id()).map_err(|error| error.to_string())?;
            if backlog > 0 || !open.is_empty() {
                left.push(format!("{backlog} reports and {open:?}"));
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if began.elapsed() > SETTLES_WITHIN {
            return Err(format!("it does not come to an end: {}", left.join("; ")).into());
        }
    }
}

/// No job is half done: both aggregators have the same reports in each hour, all that were acknowledged and none that
/// was not sent.
fn compare_aggregators(simulation: &Simulation) -> Result<(), Wrong> {
    let stores = [Party::Leader, Party::Helper].map(|party| simulation.store(party));
    let [Some(leader), Some(helper)] = stores else {
        return Err("an aggregator has ended".to_owned().into());
    };
    for (number, task) in world().tasks.iter().enumerate() {
        for hour in 0..=HOURS {
            let at = interval(hour, 1);
            let of_leader = leader.summarize(task, at).map_err(|error| error.to_string())?;
            let of_helper = helper.summarize(task, at).map_err(|error| error.to_string())?;
            if of_leader != of_helper {
                return Err(format!(
                    "hour {hour} of task {number}: the leader has {of_leader:?}, the helper {of_helper:?}"
                )
                .into());
            }
            if of_leader.1 {
                continue;
            }
            let model = simulation.model();
            let keys = keys_in((number as u8, hour, 1));
            let count =
                |set: &std::collections::BTreeSet<Key>| keys.iter().filter(|key| set.contains(key)).count();
            let (least, most) = (count(&model.acknowledged) as u64, count(&model.sent) as u64);
            if !(least..=most).contains(&of_leader.0.report_count) {
                return Err(format!(
                    "hour {hour} of task {number} has {} reports, not {least} to {most}",
                    of_leader.0.report_count
                )
                .into());
            }
        }
    }
    Ok(())
}

/// Uploads what is left of an hour that is not collected: then all of it must be counted.
async fn upload_rest(simulation: &Arc<Simulation>, task: u8, hour: u8) -> Result<(), Wrong> {
    let client = simulation.client(Party::Client, Party::Leader);
    let keys = slots(task, hour, 0, SLOTS);
    for _ in 0..200 {
        let store = simulation.store(Party::Leader).ok_or_else(|| "the leader has ended".to_owned())?;
        let summary = store.summarize(&world().tasks[usize::from(task)], interval(hour, 1));
        let (_, collected) = summary.map_err(|error| error.to_string())?;
        if collected || upload_now(simulation, &client, &keys).await {
            return Ok(());
        }
        check(simulation)?;
        // The store is full, until what is in it is worked off.
        sleep(Duration::from_secs(5)).await;
    }
    Err(format!("hour {hour} of task {task} cannot be uploaded").into())
}

/// Collects an hour that is not collected yet.
async fn collect_rest(simulation: &Arc<Simulation>, party: Party, window: Window) -> Result<(), Wrong> {
    let collector = simulation.collector(party).ok_or_else(|| "a collector has ended".to_owned())?;
    match collect_now(simulation, &collector, window).await {
        Err(
            error @ (CollectError::StillPending { .. }
            | CollectError::Unreachable { .. }
            | CollectError::NoRoom(_)
            | CollectError::Store(_)),
        ) => Err(format!("{window:?} is not collected: {error}").into()),
        _ => check(simulation),
    }
}

/// Every collection that was ever asked for is asked for again: the model compares the answers.
async fn ask_again(simulation: &Arc<Simulation>) {
    let client = simulation.client(Party::First, Party::Leader);
    let requests: Vec<(usize, CollectionJobReq)> = simulation.model().collection_requests();
    for (task, request) in requests {
        let path = format!("tasks/{}/collection_jobs", world().tasks[task].id());
        drop(client.post(&path, MediaType::CollectionJobReq.as_str(), request.to_bytes()).await);
    }
}

/// What both aggregators have spent is what the releases cost, as the ledger has it and as the tasks' windows add up.
fn compare_ledgers(simulation: &Simulation) -> Result<(), Wrong> {
    let charges = simulation.model().charges();
    for party in [Party::Leader, Party::Helper] {
        let store = simulation.store(party).ok_or_else(|| format!("the {party:?} has ended"))?;
        let spent = store.spent(&source(), Epoch(0)).map_err(|error| error.to_string())?;
        if spent != charges * COST {
            return Err(format!("{charges} releases were charged; the {party:?} has spent {spent}").into());
        }
        let ever = || Time(0)..Time(u64::MAX);
        let of_tasks = world().tasks.iter().map(|task| store.spent_by_task(task.id(), ever()));
        let of_tasks = of_tasks.sum::<Result<u64, _>>().map_err(|error| error.to_string())?;
        if of_tasks != spent {
            return Err(format!("the {party:?} has spent {spent}, its windows cost {of_tasks}").into());
        }
    }
    Ok(())
}

/// Unless the budget is used up, each hour with enough reports is released by now, or its answer was deleted.
fn check_all_are_collected(simulation: &Simulation) -> Result<(), Wrong> {
    let store = simulation.store(Party::Leader).ok_or_else(|| "the leader has ended".to_owned())?;
    let spent = store.spent(&source(), Epoch(0)).map_err(|error| error.to_string())?;
    if spent + COST > simulation.budget() {
        return Ok(());
    }
    for (number, task) in world().tasks.iter().enumerate() {
        for hour in 0..=HOURS {
            let (summary, collected) =
                store.summarize(task, interval(hour, 1)).map_err(|error| error.to_string())?;
            if !collected && summary.report_count >= MIN_BATCH {
                return Err(format!("hour {hour} of task {number} was not collected").into());
            }
        }
    }
    Ok(())
}
