//! kill -9 of leader, helper and collector at random moments under load.
//!
//! Failure: an acknowledged report that is not counted exactly once; a report without an answer that is counted more than
//! once; a window that is not released, or twice; a release or a collection that changes when it is asked for again;
//! ledgers that differ from the releases; a process that does not start again. No failure: an upload that breaks, a slow
//! answer, a report without an answer that is not counted.
//!
//! `ARRAS_KILL_SECONDS=3600` goes on with fresh stores for an hour.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arras::collector::{Cell, Release};
use arras::config::loopback::BUDGET_SOURCE;
use arras::privacy::ledger::{BudgetSource, Epoch};
use arras::store::{AggregatorStore, HelperDisk, LeaderDisk, StoreOptions};
use arras::tasks::author::VdafChoice;
use arras_client::upload::Uploader;
use arras_protocol::messages::{CollectionJobReq, Interval, Report, ReportError, Time};
use rand::RngExt as _;

use crate::harness::{Options, PATIENCE, PRECISION};
use crate::processes::Processes;

/// Windows of the load; they are uploaded and collected one after the other, overlapping.
const WINDOWS: usize = 5;

/// Reports of a window, each in a bucket of its own.
const REPORTS: usize = 120;

/// Of those, how many are sent once, whatever comes back; all others until they are answered.
const SENT_ONCE: usize = 24;

/// Reports in an upload request.
const REPORTS_PER_REQUEST: usize = 4;

/// Uploads of a window at the same time.
const UPLOADERS: usize = 4;

/// Between the beginnings of two windows.
const STAGGER: Duration = Duration::from_millis(700);

/// What became of the reports of a window.
#[derive(Default)]
struct Outcome {
    /// Answered as stored, or as stored before.
    acknowledged: Vec<usize>,
    unanswered: Vec<usize>,
}

/// Uploads reports as a client does that wants to be sure; buckets from `first` on.
async fn upload(processes: &Processes, reports: &[Report], first: usize, outcome: &mut Outcome) {
    let uploader = Uploader::new(processes.http.clone(), processes.task.configuration().leader.clone());
    let started = Instant::now();
    for (chunk, reports) in reports.chunks(REPORTS_PER_REQUEST).enumerate() {
        let first = first + chunk * REPORTS_PER_REQUEST;
        let buckets = first..first + reports.len();
        loop {
            assert!(started.elapsed() < PATIENCE, "the leader takes nothing");
            match uploader.upload(processes.task.id(), reports).await {
                Ok(refused) => {
                    // An earlier copy arrived, and its answer did not.
                    let replayed = |error| matches!(error, ReportError::ReportReplayed);
                    assert!(refused.iter().all(|status| replayed(status.error)), "{refused:?}");
                    outcome.acknowledged.extend(buckets);
                    break;
                }
                Err(_) if first < SENT_ONCE => {
                    outcome.unanswered.extend(buckets);
                    break;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// Has the collector release a window, as often as it takes; the document's bytes.
async fn release(processes: &Processes, window: u64) -> Vec<u8> {
    let url = format!("{}v1/tasks/{}/releases", processes.collector_url, processes.task.id());
    let body = format!("{{\"from\":\"{}\",\"to\":\"{}\"}}", window * PRECISION, (window + 1) * PRECISION);
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < 2 * PATIENCE, "window {window} is not released");
        let sent =
            processes.http.post(&url).bearer_auth(&processes.admin_token).body(body.clone()).send().await;
        if let Ok(response) = sent {
            let status = response.status().as_u16();
            if let Ok(body) = response.bytes().await {
                match status {
                    200 => return body.to_vec(),
                    // It takes longer, or an aggregator is away just now.
                    202 | 502 | 504 => {}
                    _ => panic!("{status}: {}", String::from_utf8_lossy(&body)),
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Uploads and collects a window; its outcome and its release.
async fn live(processes: Arc<Processes>, window: u64) -> (Outcome, Vec<u8>) {
    let reports = processes.make_reports(window, REPORTS as u32).await;
    let share = REPORTS / UPLOADERS;
    let parts = (0..UPLOADERS).map(|part| {
        let (processes, reports) =
            (Arc::clone(&processes), reports[part * share..(part + 1) * share].to_vec());
        tokio::spawn(async move {
            let mut outcome = Outcome::default();
            upload(&processes, &reports, part * share, &mut outcome).await;
            outcome
        })
    });
    let mut all = Outcome::default();
    for part in parts.collect::<Vec<_>>() {
        let part = part.await.unwrap();
        all.acknowledged.extend(part.acknowledged);
        all.unanswered.extend(part.unanswered);
    }
    (all, release(&processes, window).await)
}

/// Kills one after the other until it is told to stop; how often.
async fn kill(processes: Arc<Processes>, stop: Arc<AtomicBool>, kills: Arc<AtomicUsize>) {
    while !stop.load(Ordering::SeqCst) {
        let (pause, role) = { (rand::rng().random_range(0..300), rand::rng().random_range(0..3)) };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        processes.kill(role).await;
        kills.fetch_add(1, Ordering::SeqCst);
    }
}

fn check(outcome: &Outcome, document: &[u8]) {
    let release = Release::from_json(document).unwrap();
    let count = |bucket: &usize| match &release.buckets[*bucket].cell {
        Cell::Shown(estimate) => estimate.estimate,
        Cell::Suppressed => panic!("nothing is suppressed at a threshold of 0"),
    };
    assert_eq!(outcome.acknowledged.len() + outcome.unanswered.len(), REPORTS);
    for bucket in &outcome.acknowledged {
        assert_eq!(count(bucket), 1, "acknowledged report {bucket}");
    }
    let surplus: i128 = outcome.unanswered.iter().map(count).sum();
    assert!(outcome.unanswered.iter().all(|bucket| (0..=1).contains(&count(bucket))));
    assert_eq!(i128::from(release.report_count), outcome.acknowledged.len() as i128 + surplus);
}

/// What an aggregator has spent, in micro-epsilon, in all epochs.
fn spent(store: &impl AggregatorStore) -> u64 {
    let source = BudgetSource::new(BUDGET_SOURCE).unwrap();
    (0..1_000).map(|epoch| store.spent(&source, Epoch(epoch)).unwrap()).sum()
}

async fn round() -> usize {
    let options =
        Options { vdaf: VdafChoice::Histogram { length: REPORTS as u32 }, cap: "100", ..Options::default() };
    let processes = Arc::new(Processes::start(options).await);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let windows: Vec<u64> = (0..WINDOWS as u64).map(|back| now / PRECISION - 2 - back).collect();
    let (stop, kills) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let killer = tokio::spawn(kill(Arc::clone(&processes), Arc::clone(&stop), Arc::clone(&kills)));
    let mut lives = Vec::new();
    for window in &windows {
        lives.push(tokio::spawn(live(Arc::clone(&processes), *window)));
        tokio::time::sleep(STAGGER).await;
    }
    let mut released = Vec::new();
    for life in lives {
        released.push(life.await.unwrap());
    }
    let mut collected = Vec::new();
    for window in &windows {
        let interval = Interval::new(Time(*window), arras_protocol::messages::Duration(1)).unwrap();
        let request = CollectionJobReq::time_interval(interval);
        collected.push((request.clone(), processes.collect(&request).await));
    }
    stop.store(true, Ordering::SeqCst);
    killer.await.unwrap();
    for ((outcome, document), window) in released.iter().zip(&windows) {
        check(outcome, document);
        assert_eq!(release(&processes, *window).await, *document, "the release of a window stays");
    }
    for (request, answer) in &collected {
        assert!(processes.collect(request).await == *answer, "the same request gets the same bytes");
    }
    processes.end().await;
    let store = |role: &str| StoreOptions {
        dir: processes.dir.path().join(role).join("store"),
        watermark: processes.dir.path().join(role).join("watermark"),
        max_bytes: 1 << 30,
        cache_bytes: 8 << 20,
        segment_bytes: None,
    };
    let charged = WINDOWS as u64 * 1_000_000;
    assert_eq!(spent(&LeaderDisk::open(&store("leader")).unwrap()), charged, "the leader's ledger");
    assert_eq!(spent(&HelperDisk::open(&store("helper")).unwrap()), charged, "the helper's ledger");
    kills.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_random_moments_loses_and_repeats_nothing() {
    let seconds = std::env::var("ARRAS_KILL_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (started, mut rounds, mut kills) = (Instant::now(), 0, 0);
    loop {
        kills += round().await;
        rounds += 1;
        if started.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
    }
    #[allow(clippy::print_stderr, reason = "what a long run has done is worth knowing")]
    if seconds > 0 {
        eprintln!("{rounds} rounds of {WINDOWS} windows with {REPORTS} reports, {kills} kills");
    }
    assert!(kills >= 3 * rounds, "only {kills} kills in {rounds} rounds: the test tested nothing");
}
