//! What must hold, in plain terms, and what was seen so far.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arras::aggregator::leader::CounterValues;
use arras_protocol::codec::Decode as _;
use arras_protocol::collection::open_and_unshard;
use arras_protocol::messages::{
    AggregationJobInitReq, AggregationJobResp, CollectionJobReq, CollectionJobResp, Interval, ReportError,
    ReportId, Time, VerifyResult,
};
use axum::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use tokio::time::Instant;

use crate::operation::Party;
use crate::world::{CELLS, CONFIG_IDS, FIRST_HOUR, HOURS, Key, SLOTS, world};

/// The leader's noise is a multiple of this, the helper's of the next: so a cell says what was counted, and with
/// which noise of whom.
const LEADER_UNIT: i128 = 64;
const HELPER_UNIT: i128 = 8_192;

/// Vectors of noise that can be told apart.
const DRAWS: i128 = 90;

/// How far noise may be from 0 for whoever opens shares: more than any of it.
const SLACK: u128 = 1 << 40;

/// Requests that are remembered to be repeated.
const REQUESTS_MAX: usize = 3_000;

/// How long the leader leaves a job alone at most, whatever the helper asks for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A window: task, first hour, number of hours.
pub type Window = (u8, u8, u8);

/// A released window.
#[derive(Clone, Debug)]
pub struct Released {
    /// What was counted in each cell.
    pub counted: Vec<i128>,
    /// With noise, as a collector gets it.
    pub cells: Vec<i128>,
}

#[derive(Default)]
pub struct Model {
    /// Reports that were sent at all.
    pub sent: BTreeSet<Key>,
    /// Reports that were acknowledged when no other report of their id had been sent.
    pub acknowledged: BTreeSet<Key>,
    /// Ids of which one of two reports was acknowledged, by the first of them.
    pub acknowledged_ids: BTreeSet<Key>,
    /// By which of the helper's jobs a report was claimed.
    claimed: HashMap<(usize, ReportId, Time), Arc<Bytes>>,
    /// Requests to the aggregators, to be repeated.
    pub requests: Vec<(Party, Request<Bytes>)>,
    /// Until when a process of the leader was asked not to send a job again.
    patience: HashMap<(u64, Bytes), Instant>,
    /// Jobs of which the helper has claimed all reports, to be made again in part: task and body.
    pub whole_jobs: Vec<(usize, Bytes)>,
    seen_requests: BTreeSet<Vec<u8>>,
    /// The helper's answers to requests for aggregate shares.
    shares: HashMap<(String, Bytes), Bytes>,
    /// Collection jobs by their paths.
    collections: BTreeMap<String, (usize, CollectionJobReq)>,
    /// Their answers.
    answers: BTreeMap<String, Bytes>,
    pub released: BTreeMap<Window, Released>,
    /// Vectors of noise that were drawn.
    drawn: BTreeMap<Party, i128>,
    /// What was seen to be spent, by aggregator.
    spent: BTreeMap<Party, u64>,
    /// Requests that changed something and their answers, as one number: equal for equal runs.
    pub trace: u64,
    pub deliveries: u64,
    /// What must not be.
    pub violations: Vec<String>,
}

impl Model {
    pub fn violated(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    pub fn trace(&mut self, what: &[u8]) {
        for byte in what {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Noise for a release.
    pub fn draw(&mut self, party: Party) -> i128 {
        let drawn = self.drawn.entry(party).or_default();
        *drawn += 1;
        let unit = if party == Party::Leader { LEADER_UNIT } else { HELPER_UNIT };
        unit * (1 + (*drawn - 1) % DRAWS)
    }

    fn was_drawn(&self, party: Party, number: i128) -> bool {
        (1..=DRAWS).contains(&number) && number <= self.drawn.get(&party).copied().unwrap_or(0)
    }

    /// A client sends a report.
    pub fn sends(&mut self, key: Key) {
        self.sent.insert(key);
    }

    /// A client hears that a report is stored, or that its id is known.
    pub fn acknowledge(&mut self, key: Key) {
        if self.sent.contains(&key.other()) {
            self.acknowledged_ids.insert(Key { twin: false, ..key });
        } else {
            self.acknowledged.insert(key);
        }
    }

    /// A leader's process has ended, or is about to.
    pub fn leader_ended(&mut self, counters: &CounterValues) {
        // An upload that failed may leave reports that a restart finds behind the end that a window was closed at. Nobody
        // was told of them, and they come too late; that no others do, the releases say.
        let wrong = counters.rejected.iter().any(|(reason, _)| *reason != ReportError::BatchCollected);
        if counters.lost > 0 || wrong {
            self.violated(format!(
                "good reports were lost ({}) or rejected: {:?}",
                counters.lost, counters.rejected
            ));
        }
    }

    /// A ledger was read.
    pub fn ledger(&mut self, party: Party, spent: u64) {
        let before = self.spent.insert(party, spent).unwrap_or(0);
        if spent < before {
            self.violated(format!("the {party:?}'s ledger has fallen from {before} to {spent}"));
        }
        let of = |party| self.spent.get(&party).copied().unwrap_or(0);
        let (leader, helper) = (of(Party::Leader), of(Party::Helper));
        if party == Party::Helper && leader > helper {
            self.violated(format!("the leader has spent {leader}, the helper {helper}"));
        }
    }

    /// Distinct requests for aggregate shares that the helper has answered: each was charged.
    pub fn charges(&self) -> u64 {
        self.shares.len() as u64
    }

    /// Collection requests that were ever made: task and body.
    pub fn collection_requests(&self) -> Vec<(usize, CollectionJobReq)> {
        self.collections.values().cloned().collect()
    }

    /// The address of a collection job.
    pub fn collection_path(&self, window: Window) -> Option<String> {
        let found = self
            .collections
            .iter()
            .find(|(_, (task, request))| window_of(*task, request).is_some_and(|found| found == window));
        found.map(|(path, _)| path.clone())
    }

    /// A request is delivered.
    pub fn delivered(&mut self, to: Party, request: &Request<Bytes>) {
        self.deliveries += 1;
        let path = request.uri().path();
        tracing::debug!(to = ?to, method = %request.method(), kind = kind_of(path), bytes = request.body().len(), "delivered");
        self.trace(format!("{to:?} {} {}", request.method(), kind_of(path)).as_bytes());
        let key = [request.method().as_str().as_bytes(), path.as_bytes(), request.body()].concat();
        if self.requests.len() < REQUESTS_MAX
            && request.method() != Method::GET
            && !(to == Party::Leader && request.method() == Method::DELETE)
            && self.seen_requests.insert(key)
        {
            self.requests.push((to, request.clone()));
        }
    }

    /// A role has answered, whether or not anybody hears it.
    pub fn answered(&mut self, to: Party, request: &Request<Bytes>, response: &Response<Bytes>) {
        let path = request.uri().path().to_owned();
        self.trace(format!("{to:?} {}", response.status()).as_bytes());
        let Some(task) = task_of(&path) else { return };
        let body = response.body();
        let said = String::from_utf8_lossy(body);
        if said.contains("batchMismatch") || said.contains("batch_mismatch") {
            self.violated(format!("the aggregators disagree about a batch: {said}"));
        }
        let ok = response.status().is_success();
        match (to, request.method()) {
            (Party::Helper, &Method::POST) if path.ends_with("/aggregation_jobs") && ok => {
                self.job_answered(task, request.body(), body);
            }
            (Party::Helper, &Method::POST) if path.ends_with("/aggregate_shares") && ok => {
                self.share_answered(path, request.body(), body);
            }
            (Party::Leader, &Method::POST) if path.ends_with("/collection_jobs") && ok => {
                let location = response.headers().get(header::LOCATION);
                let location = location.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
                match CollectionJobReq::from_bytes(request.body()) {
                    Ok(request) => drop(self.collections.insert(location.clone(), (task, request))),
                    Err(error) => self.violated(format!("a collection request does not decode: {error}")),
                }
                self.collection_answered(&location, body);
            }
            (Party::Leader, &Method::GET) if response.status() == StatusCode::OK => {
                self.collection_answered(&path, body);
            }
            _ => {}
        }
    }

    /// A process of the leader sends a job.
    pub fn leader_sends(&mut self, job: &(u64, Bytes)) {
        if self.patience.get(job).is_some_and(|until| Instant::now() < *until) {
            self.violated("the leader sends a job again before the time that the helper asked for");
        }
    }

    /// A process of the leader hears what became of a job.
    pub fn leader_hears(&mut self, job: (u64, Bytes), response: &Response<Bytes>) {
        let wish = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        if let Some(seconds) = wish.and_then(|text| text.parse().ok()) {
            self.patience.insert(job, Instant::now() + Duration::from_secs(seconds).min(PATIENCE));
        }
    }

    fn job_answered(&mut self, task: usize, request: &Bytes, body: &Bytes) {
        let decoded = AggregationJobInitReq::from_bytes(request, usize::MAX)
            .ok()
            .zip(AggregationJobResp::from_bytes(body).ok());
        let Some((init, response)) = decoded else {
            self.violated("an aggregation job or its response does not decode");
            return;
        };
        let job = Arc::new(request.clone());
        let mut all = true;
        for (init, verified) in init.verify_inits.iter().zip(&response.verify_resps) {
            if !matches!(verified.result, VerifyResult::Continue(_)) {
                all = false;
                continue;
            }
            let header = &init.report_share.header;
            let earlier =
                self.claimed.entry((task, header.report_id, header.time)).or_insert_with(|| Arc::clone(&job));
            if **earlier != *job {
                self.violations.push("the helper has claimed a report in two jobs".to_owned());
            }
        }
        if all && !self.whole_jobs.iter().any(|(_, body)| body == request) {
            self.whole_jobs.push((task, request.clone()));
        }
    }

    fn share_answered(&mut self, path: String, request: &Bytes, body: &Bytes) {
        let first = self.shares.entry((path, request.clone())).or_insert_with(|| body.clone());
        if first != body {
            self.violated("the helper has given two aggregate shares for one request");
        }
    }

    fn collection_answered(&mut self, path: &str, body: &Bytes) {
        if body.is_empty() {
            return;
        }
        if let Some(first) = self.answers.get(path) {
            if first != body {
                self.violated("the leader has given two answers to one collection");
            }
            return;
        }
        self.answers.insert(path.to_owned(), body.clone());
        let Some((task, request)) = self.collections.get(path).cloned() else {
            self.violated("a collection was answered that nobody asked for");
            return;
        };
        if let Err(what) = self.release(task, &request, body) {
            self.violated(what);
        }
    }

    /// Opens what a collector would open, and compares it with the reports.
    fn release(&mut self, task: usize, request: &CollectionJobReq, body: &Bytes) -> Result<(), String> {
        let response = CollectionJobResp::from_bytes(body).map_err(|e| format!("an answer: {e}"))?;
        let window = window_of(task, request).ok_or("a window that nobody asked for")?;
        let world = world();
        let key = &world.collector_key;
        let cells = open_and_unshard(&world.tasks[task], key, CONFIG_IDS[2], request, &response, SLACK)
            .map_err(|error| format!("a released batch does not open: {error}"))?;
        let of_leader = |cell: &i128| cell / LEADER_UNIT % (HELPER_UNIT / LEADER_UNIT);
        let (by_leader, by_helper) = (of_leader(&cells[0]), cells[0] / HELPER_UNIT);
        let noised = |cell: &i128| of_leader(cell) == by_leader && cell / HELPER_UNIT == by_helper;
        if !cells.iter().all(noised)
            || !self.was_drawn(Party::Leader, by_leader)
            || !self.was_drawn(Party::Helper, by_helper)
        {
            return Err(format!("a release without the noise of both: {cells:?}"));
        }
        let counted: Vec<i128> = cells.iter().map(|cell| cell % LEADER_UNIT).collect();
        let total: i128 = counted.iter().sum();
        if total != i128::from(response.report_count) {
            return Err(format!("{} reports were released, the cells hold {total}", response.report_count));
        }
        if let Some(other) = self.released.keys().find(|other| overlap(**other, window)) {
            return Err(format!("{window:?} was released although {other:?} had been"));
        }
        self.released.insert(window, Released { counted, cells });
        self.check_release(window)
    }

    /// Each acknowledged report is counted once, each other one at most once, and nothing else.
    fn check_release(&self, window: Window) -> Result<(), String> {
        let Released { counted, .. } = &self.released[&window];
        let mut expected = vec![(false, false); usize::from(CELLS)];
        for key in keys_in(window) {
            expected[key.cell()].0 |= self.sent.contains(&key);
            expected[key.cell()].1 |= self.acknowledged.contains(&key);
        }
        for (cell, (found, (sent, acknowledged))) in counted.iter().zip(expected).enumerate() {
            let most = i128::from(sent);
            let least = i128::from(acknowledged);
            if !(least..=most).contains(found) {
                return Err(format!(
                    "in the release of {window:?} cell {cell} holds {found}, not {least} to {most}"
                ));
            }
        }
        Ok(())
    }

    /// All that can only be told at the end: each acknowledged report is in a release, if its window was released.
    pub fn check_end(&mut self) {
        for window in self.released.keys().copied().collect::<Vec<_>>() {
            if let Err(what) = self.check_release(window) {
                self.violated(what);
            }
        }
        for first in self.acknowledged_ids.clone() {
            let counts: Vec<Option<i128>> =
                [first, first.other()].iter().map(|key| self.count_of(*key)).collect();
            if let [Some(one), Some(other)] = counts[..]
                && one + other == 0
            {
                self.violated(format!("an acknowledged id is not counted: {first:?}"));
            }
        }
    }

    /// How often a report is counted, if its window was released.
    pub fn count_of(&self, key: Key) -> Option<i128> {
        let window = self.released.iter().find(|(window, _)| {
            window.0 == key.task && (window.1..window.1 + window.2).contains(&key.window())
        });
        window.map(|(_, released)| released.counted[key.cell()])
    }
}

/// All reports of a window that there can be.
pub fn keys_in((task, hour, hours): Window) -> Vec<Key> {
    let mut keys = Vec::new();
    for window in hour..hour + hours {
        for slot in 0..SLOTS {
            if window < HOURS {
                keys.push(Key { task, hour: window, slot, twin: false });
            }
            if let Some(hour) = window.checked_sub(1) {
                keys.push(Key { task, hour, slot, twin: true });
            }
        }
    }
    keys
}

fn overlap(one: Window, other: Window) -> bool {
    one.0 == other.0 && one.1 < other.1 + other.2 && other.1 < one.1 + one.2
}

fn window_of(task: usize, request: &CollectionJobReq) -> Option<Window> {
    window(task, request.as_time_interval().ok()?.batch_interval)
}

fn window(task: usize, interval: Interval) -> Option<Window> {
    let hour = interval.start().0.checked_sub(FIRST_HOUR)?;
    Some((u8::try_from(task).ok()?, u8::try_from(hour).ok()?, u8::try_from(interval.duration().0).ok()?))
}

/// The number of the task that a path is about.
fn task_of(path: &str) -> Option<usize> {
    world().tasks.iter().position(|task| path.contains(&task.id().to_string()))
}

/// A path without the ids in it, which differ from process to process.
fn kind_of(path: &str) -> String {
    let task = task_of(path).map_or_else(String::new, |task| task.to_string());
    let kind =
        path.split('/').find(|part| part.contains("_jobs") || part.contains("_shares") || *part == "reports");
    format!("{task} {}", kind.unwrap_or_default())
}
