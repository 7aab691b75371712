//! The courier sends what is due, and keeps nobody waiting.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arras_protocol::hpke::Sealed;
use arras_protocol::messages::{Extensions, HpkeCiphertext, Report, ReportId, ReportMetadata, TaskId, Time};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::files::MemoryFiles;
use crate::queue::QueueRules;

const NOW: u64 = 1_800_000_000;

type Shared = Arc<Mutex<Queue<MemoryFiles>>>;

fn report(id: u8) -> Report {
    let sealed = || HpkeCiphertext::new(1, Sealed { enc: [id; 32], ciphertext: vec![id; 64] });
    Report {
        metadata: ReportMetadata {
            report_id: ReportId::new([id; 16]),
            time: Time(1),
            public_extensions: Extensions::none(),
        },
        public_share: vec![],
        leader_share: sealed(),
        helper_share: sealed(),
    }
}

fn outbox(reports: u8, rules: QueueRules) -> Shared {
    let mut queue = Queue::open(MemoryFiles::default(), rules).unwrap();
    for id in 1..=reports {
        let leader = Url::new("https://leader.example/").unwrap();
        queue.push(&mut StdRng::seed_from_u64(1), TaskId::new([1; 32]), &leader, &report(id), NOW).unwrap();
    }
    Arc::new(Mutex::new(queue))
}

fn one_by_one() -> QueueRules {
    QueueRules { jitter_seconds: 0, reports_per_request: 1, ..QueueRules::default() }
}

/// Answers what it is told to, and looks at the outbox while it sends.
struct Line {
    answers: Mutex<VecDeque<Result<(), SendFailure>>>,
    outbox: Shared,
    sent: AtomicU64,
}

impl Line {
    fn courier(outbox: &Shared, answers: &[Result<(), SendFailure>]) -> Courier<Self> {
        let answers = Mutex::new(answers.iter().copied().collect());
        Courier::new(Self { answers, outbox: Arc::clone(outbox), sent: AtomicU64::new(0) })
    }
}

impl Transport for Line {
    async fn send(&self, _: &UploadRequest) -> Result<Vec<ReportUploadStatus>, SendFailure> {
        tokio::task::yield_now().await;
        // An app that converts now is not kept waiting.
        assert!(self.outbox.try_lock().is_ok(), "the outbox is locked while a request is under way");
        self.sent.fetch_add(1, Ordering::SeqCst);
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(())).map(|()| Vec::new())
    }
}

#[tokio::test]
async fn what_is_due_is_sent_and_what_failed_stays() {
    let outbox = outbox(4, one_by_one());
    let courier = Line::courier(&outbox, &[Ok(()), Err(SendFailure::default())]);
    let mut rng = StdRng::seed_from_u64(1);
    // After the failure the task pauses.
    assert_eq!(courier.deliver_due(&outbox, &mut rng, &|| NOW).await.unwrap(), 2);
    assert_eq!(outbox.lock().unwrap().len(), 3);
    assert_eq!(courier.deliver_due(&outbox, &mut rng, &|| NOW + 60).await.unwrap(), 3);
    assert!(outbox.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn it_comes_back_by_itself_and_when_it_is_woken() {
    let outbox = outbox(1, QueueRules { jitter_seconds: 600, ..QueueRules::default() });
    let courier = Arc::new(Line::courier(&outbox, &[Err(SendFailure { retry_after: Some(100) })]));
    let began = tokio::time::Instant::now();
    let clock = move || NOW + began.elapsed().as_secs();
    let (running, outbox_of_run) = (Arc::clone(&courier), Arc::clone(&outbox));
    let run = tokio::spawn(async move {
        running.run(&outbox_of_run, &mut StdRng::seed_from_u64(1), &clock).await.map(|_| ())
    });
    // The pause is up to 30 seconds longer than what was asked for.
    tokio::time::sleep(Duration::from_secs(600 + 130 + 2)).await;
    assert_eq!(courier.transport.sent.load(Ordering::SeqCst), 2, "once, and again after the pause");
    assert!(outbox.lock().unwrap().is_empty());
    // Nothing waits, so it sleeps for an hour; a new report that is due at once need not.
    let leader = Url::new("https://leader.example/").unwrap();
    let made = clock() - 600;
    let mut rng = StdRng::seed_from_u64(2);
    outbox.lock().unwrap().push(&mut rng, TaskId::new([1; 32]), &leader, &report(9), made).unwrap();
    courier.wake();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(outbox.lock().unwrap().is_empty());
    run.abort();
}

/// Never answers.
struct Silence;

impl Transport for Silence {
    async fn send(&self, _: &UploadRequest) -> Result<Vec<ReportUploadStatus>, SendFailure> {
        std::future::pending().await
    }
}

/// An app that went to the background dropped the future while a request was under way, and its reports were in no other
/// request until the process ended.
#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_leaves_nothing_under_way() {
    let outbox = outbox(2, QueueRules { jitter_seconds: 0, ..QueueRules::default() });
    let mut rng = StdRng::seed_from_u64(1);
    let silent = Courier::new(Silence);
    let clock = || NOW;
    let dropped =
        tokio::time::timeout(Duration::from_secs(1), silent.deliver_due(&outbox, &mut rng, &clock)).await;
    assert!(dropped.is_err());
    let courier = Line::courier(&outbox, &[]);
    assert_eq!(courier.deliver_due(&outbox, &mut rng, &clock).await.unwrap(), 1);
    assert!(outbox.lock().unwrap().is_empty());
}
