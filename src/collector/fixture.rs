//! What the tests of this folder share: a task, a collector, and a leader that seals real shares.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::collection::seal_aggregate_share;
use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::{
    CollectionJobReq, CollectionJobResp, HpkeConfig, Interval, MediaType, Role, Time,
};
use arras_protocol::signed::SigningKey;
use arras_protocol::task::Task;
use arras_protocol::vdaf::AggregateShare;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

use super::collect::Timing;
use super::release::{Charged, Draft, Opened, Release};
use super::span::Span;
use super::store::{CollectorDisk, CollectorStore};
use super::{Collector, CollectorParts};
use crate::aggregator::ManualClock;
use crate::config::SecretString;
use crate::net::auth::{BearerToken, TokenHash};
use crate::net::client::PeerClient;
use crate::tasks::provisioned::KnownTask;
use crate::tasks::{TaskFile, TaskFolder};

/// 2026-11-02T00:00:00Z, a Monday.
pub(crate) const MONDAY: u64 = 1_793_577_600;
pub(crate) const HOUR: u64 = 3600;
/// The id of the collector's key.
pub(super) const KEY_ID: u8 = 3;
pub(super) const ADMIN_TOKEN: &str = "admin-token-for-tests-0123456789abcdef";
/// What the task's reports add up to, with noise: not attributed, alpha, beta, gamma, a spare bucket.
pub(super) const CELLS: [i128; 5] = [1024, 8451, 40, 39, -3];

/// Values of the same buckets.
pub(crate) const VALUES: &str = "{ type = \"l1-bound-sum\", length = 5, max_value = 1000 }";

pub(crate) const HISTOGRAM: &str = "{ type = \"histogram\", length = 5 }";

pub(crate) fn span(from: u64, to: u64) -> Span {
    let moment = |seconds: u64| seconds.to_string().parse().unwrap();
    Span::new(moment(from), moment(to)).unwrap()
}

/// The window that most tests ask for: a week.
pub(super) fn week() -> Span {
    span(MONDAY, MONDAY + 7 * 24 * HOUR)
}

/// Adds a task to a folder of tasks.
pub(crate) fn known_task(folder: &Path, leader: &str, vdaf: &str) -> KnownTask {
    known_task_with(folder, leader, vdaf, |_| ())
}

/// The same of a file that is changed first. A file of the same task is replaced, as an operator does.
pub(crate) fn known_task_with(
    folder: &Path,
    leader: &str,
    vdaf: &str,
    change: impl FnOnce(&mut TaskFile),
) -> KnownTask {
    let text = format!(
        "name = \"conversions\"\nprofile = \"arras\"\nleader = \"{leader}\"\nhelper = \"http://127.0.0.1:9/\"\n\
         vdaf = {vdaf}\ntime_precision = {HOUR}\nmin_batch_size = 100\nepsilon = \"1\"\ncontributions = 2\n\
         threshold = 40\nbudget_source = \"shop.example\"\ncollector = \"advertiser\"\n\
         campaigns = [\"alpha\", \"beta\", \"gamma\"]\n"
    );
    let mut file = TaskFile::parse(&text).unwrap();
    change(&mut file);
    let (task, file) = file.build().unwrap();
    let _ = std::fs::remove_file(folder.join(format!("{}.toml", task.id())));
    let folder = TaskFolder::new(folder);
    folder.add(task.id(), &file).unwrap();
    folder.load(task.id()).unwrap().unwrap()
}

/// A draft as the collector makes it of opened cells.
pub(crate) fn draft(task: &KnownTask, window: Span, cells: &[i128]) -> Draft {
    draft_following(task, window, cells, None)
}

/// The collector's signing key.
pub(crate) fn signer() -> Arc<SigningKey> {
    Arc::new(SigningKey::from_bytes(&[5; 32]))
}

/// The same of values that follow a release of conversions.
pub(crate) fn draft_following(
    task: &KnownTask,
    window: Span,
    cells: &[i128],
    conversions: Option<&Release>,
) -> Draft {
    draft_charged(task, window, cells, conversions, Some(MONDAY - 21 * 24 * HOUR))
}

/// The same of a collector that was told that epochs start then, or nothing.
pub(super) fn draft_charged(
    task: &KnownTask,
    window: Span,
    cells: &[i128],
    conversions: Option<&Release>,
    epoch_start: Option<u64>,
) -> Draft {
    let reports = Interval::new(
        Time(window.from().seconds() / HOUR),
        arras_protocol::messages::Duration((window.to().seconds() - window.from().seconds()) / HOUR),
    );
    let charge = Charged::of(task, window, epoch_start).unwrap();
    let opened = Opened {
        window,
        reports: reports.unwrap(),
        report_count: 19_785,
        cells: cells.to_vec().into(),
        charge,
        collector_hpke: KEY_ID,
    };
    Draft::new(task, opened, conversions, &signer()).unwrap()
}

/// What the leader does with the next request; the last one is repeated.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// 201 and where the job is.
    Created,
    /// 201 and a place that is not the leader's.
    CreatedElsewhere,
    /// 202, empty.
    Pending,
    /// The answer, with these cells.
    Ready(Vec<i128>),
    /// The answer, the two shares in each other's place.
    Swapped,
    /// The answer to another window.
    OtherWindow,
    /// The answer for fewer reports than the task allows.
    TooFew,
    /// 200 of the right type, and bytes that are no answer.
    Garbage,
    /// 200 of another type.
    Html,
    /// A problem document.
    Problem(&'static str, u16),
    /// A status without a document.
    Status(u16),
}

#[derive(Default)]
struct Script {
    acts: Vec<Act>,
    requests: Vec<(Method, String, Vec<u8>)>,
}

/// A leader on a loopback port.
#[derive(Clone)]
pub(super) struct FakeLeader {
    pub(super) endpoint: String,
    script: Arc<Mutex<Script>>,
    task: Arc<Mutex<Option<Arc<KnownTask>>>>,
    collector: HpkeConfig,
}

impl FakeLeader {
    async fn start(collector: HpkeConfig) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/dap/", listener.local_addr().unwrap());
        let leader = Self { endpoint, script: Arc::default(), task: Arc::default(), collector };
        let router = Router::new().fallback(answer).with_state(leader.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        leader
    }

    /// Says what it does from now on, and forgets what it was asked.
    pub(super) fn plan(&self, acts: &[Act]) {
        *self.script.lock().unwrap() = Script { acts: acts.to_vec(), requests: Vec::new() };
    }

    /// Which task it answers for from now on.
    pub(super) fn serve(&self, task: &Arc<KnownTask>) {
        *self.task.lock().unwrap() = Some(Arc::clone(task));
    }

    /// What it was asked: method, path, body.
    pub(super) fn asked(&self) -> Vec<(Method, String, Vec<u8>)> {
        self.script.lock().unwrap().requests.clone()
    }

    fn next(&self, request: (Method, String, Vec<u8>)) -> Act {
        let mut script = self.script.lock().unwrap();
        script.requests.push(request);
        if script.acts.len() > 1 { script.acts.remove(0) } else { script.acts[0].clone() }
    }

    fn response(&self, task: &Task, request: &CollectionJobReq, cells: &[i128]) -> CollectionJobResp {
        let seal = |role, noise: &[i128]| {
            let share = AggregateShare::zero(task.vdaf().config()).add_noise(noise).unwrap();
            seal_aggregate_share(&mut rand::rng(), task, role, &self.collector, request, &share).unwrap()
        };
        // Split as shares are: neither half says anything by itself.
        let mask: Vec<i128> = (1..).map(|i| 123_456_789_012_345_678 * i).take(cells.len()).collect();
        let masked: Vec<i128> = cells.iter().zip(&mask).map(|(cell, mask)| cell + mask).collect();
        let unmask: Vec<i128> = mask.iter().map(|mask| -mask).collect();
        CollectionJobResp {
            report_count: 19_785,
            interval: request.as_time_interval().unwrap().batch_interval,
            leader_share: seal(Role::Leader, &masked),
            helper_share: seal(Role::Helper, &unmask),
        }
    }
}

async fn answer(
    State(leader): State<FakeLeader>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let task = leader.task.lock().unwrap().clone().unwrap();
    assert_eq!(headers[header::AUTHORIZATION], "Bearer leader-token");
    let jobs = format!("/dap/tasks/{}/collection_jobs", task.task.id());
    if method == Method::POST {
        assert_eq!(uri.path(), jobs);
        assert!(MediaType::CollectionJobReq.matches(headers[header::CONTENT_TYPE].to_str().unwrap()));
    } else {
        assert_eq!(uri.path(), format!("{jobs}/job-1"));
    }
    let request =
        CollectionJobReq::time_interval(week().interval(task.task.configuration().time_precision).unwrap());
    let ready = |response: CollectionJobResp| {
        let content_type = [(header::CONTENT_TYPE, MediaType::CollectionJobResp.as_str())];
        (content_type, response.to_bytes()).into_response()
    };
    let good = |cells: &[i128]| leader.response(&task.task, &request, cells);
    match leader.next((method, uri.path().to_owned(), body.to_vec())) {
        Act::Created => (StatusCode::CREATED, [(header::LOCATION, format!("{jobs}/job-1"))]).into_response(),
        Act::CreatedElsewhere => {
            (StatusCode::CREATED, [(header::LOCATION, "http://127.0.0.1:1/job-1")]).into_response()
        }
        Act::Pending => (StatusCode::ACCEPTED, [(header::RETRY_AFTER, "0")]).into_response(),
        Act::Ready(cells) => ready(good(&cells)),
        Act::Swapped => {
            let mut response = good(&CELLS);
            std::mem::swap(&mut response.leader_share, &mut response.helper_share);
            ready(response)
        }
        Act::OtherWindow => {
            let mut response = good(&CELLS);
            let start = Time(response.interval.start().0 - 1);
            response.interval = Interval::new(start, response.interval.duration()).unwrap();
            ready(response)
        }
        Act::TooFew => ready(CollectionJobResp { report_count: 99, ..good(&CELLS) }),
        Act::Garbage => {
            ([(header::CONTENT_TYPE, MediaType::CollectionJobResp.as_str())], "garbage").into_response()
        }
        Act::Html => ([(header::CONTENT_TYPE, "text/html")], "<p>hello").into_response(),
        Act::Problem(kind, status) => {
            let body = format!("{{\"type\":\"{kind}\",\"detail\":\"said the leader\"}}");
            let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
            (StatusCode::from_u16(status).unwrap(), content_type, body).into_response()
        }
        Act::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
    }
}

/// Short pauses; patience enough for a slow machine, but for a leader that is not there.
fn timing() -> Timing {
    let short = Duration::from_millis(2);
    Timing {
        poll_min: short,
        poll_max: short,
        poll_default: short,
        retry_first: short,
        retry_max: short,
        unreachable_max: Duration::from_millis(200),
        pending_max: Duration::from_secs(600),
        answer_max: Duration::from_secs(600),
    }
}

/// A collector with its leader, in a folder of its own.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) leader: FakeLeader,
    pub(super) task: Arc<KnownTask>,
    pub(super) clock: Arc<ManualClock>,
    key: [u8; 32],
}

impl World {
    pub(super) async fn new() -> Self {
        let key = PrivateKey::generate(&mut rand::rng());
        let leader = FakeLeader::start(HpkeConfig::new(KEY_ID, &key.public_key())).await;
        let dir = tempfile::tempdir().unwrap();
        let task = Arc::new(known_task(&dir.path().join("tasks"), &leader.endpoint, HISTOGRAM));
        *leader.task.lock().unwrap() = Some(Arc::clone(&task));
        let clock = Arc::new(ManualClock::new(MONDAY + 8 * 24 * HOUR));
        Self { dir, leader, task, clock, key: *key.expose_bytes() }
    }

    pub(super) fn store(&self) -> Arc<CollectorDisk> {
        let (store, mark) = (self.dir.path().join("store"), self.dir.path().join("mark"));
        Arc::new(CollectorDisk::open(&store, &mark).unwrap())
    }

    /// Adds a task to the collector's folder, or puts it there anew.
    pub(super) fn add_task(&self, vdaf: &str, change: impl FnOnce(&mut TaskFile)) -> Arc<KnownTask> {
        let folder = self.dir.path().join("tasks");
        Arc::new(known_task_with(&folder, &self.leader.endpoint, vdaf, change))
    }

    pub(super) fn remove_task(&self, id: arras_protocol::messages::TaskId) {
        std::fs::remove_file(self.dir.path().join(format!("tasks/{id}.toml"))).unwrap();
    }

    /// A collector on the store of this world; the one before must be gone.
    pub(super) fn collector(&self) -> Collector {
        self.collector_of(self.store(), &self.leader.endpoint)
    }

    /// One that does not wait for a pending job at all.
    pub(super) fn impatient(&self) -> Collector {
        let timing = Timing { pending_max: Duration::ZERO, ..timing() };
        self.make(self.store(), &self.leader.endpoint, timing)
    }

    /// One whose interface lets nobody wait.
    pub(super) fn brisk(&self) -> Collector {
        let timing = Timing { answer_max: Duration::ZERO, ..timing() };
        self.make(self.store(), &self.leader.endpoint, timing)
    }

    /// One whose interface lets nobody wait for long, and which gives up a leader that is out of reach later than
    /// that, as the real one does.
    pub(super) fn hurried(&self) -> Collector {
        let timing = Timing {
            answer_max: Duration::from_millis(50),
            unreachable_max: Duration::from_millis(400),
            ..timing()
        };
        self.make(self.store(), &self.leader.endpoint, timing)
    }

    pub(super) fn collector_of(&self, store: Arc<dyn CollectorStore>, leader: &str) -> Collector {
        self.make(store, leader, timing())
    }

    fn make(&self, store: Arc<dyn CollectorStore>, leader: &str, timing: Timing) -> Collector {
        let token = BearerToken::new(SecretString::new("leader-token")).unwrap();
        Collector::new(CollectorParts {
            store,
            tasks: TaskFolder::new(&self.dir.path().join("tasks")),
            manifests: Some(self.dir.path().join("manifests")),
            leader: PeerClient::new(leader.parse().unwrap(), Some(token), None).unwrap(),
            keys: vec![(KEY_ID, PrivateKey::from_bytes(self.key))],
            signer: signer(),
            former_keys: Vec::new(),
            epoch_starts: vec![("shop.example".to_owned(), MONDAY - 21 * 24 * HOUR)],
            admin_token: TokenHash::of(ADMIN_TOKEN),
            clock: Arc::clone(&self.clock) as _,
            timing,
            metrics: crate::metrics::CollectorMetrics::default(),
        })
    }

    /// The request that a collector sends for the week.
    pub(super) fn request(&self) -> Vec<u8> {
        let precision = self.task.task.configuration().time_precision;
        let request = CollectionJobReq::time_interval(week().interval(precision).unwrap());
        assert_eq!(CollectionJobReq::from_bytes(&request.to_bytes()).unwrap(), request);
        request.to_bytes()
    }
}
