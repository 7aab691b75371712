//! A collector with advertisers, its schedule, and a leader that answers for all their tasks: real stores, real sealed shares over
//! HTTP, and time that stands where a test puts it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::collection::seal_aggregate_share;
use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::{CollectionJobReq, CollectionJobResp, HpkeConfig, MediaType, Role, TaskId};
use arras_protocol::signed::SigningKey;
use arras_protocol::vdaf::AggregateShare;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use ring::rand::SystemRandom;

use crate::access::Access;
use crate::advertising::Advertising;
use crate::aggregator::ManualClock;
use crate::collector::{Collector, CollectorDisk, CollectorParts, Timing};
use crate::config::SecretString;
use crate::insights::Insights;
use crate::metrics::{CollectorMetrics, ScheduleMetrics};
use crate::net::auth::{BearerToken, TokenHash};
use crate::net::client::PeerClient;
use crate::net::problem::{DapError, OwnError, ProblemDocument};
use crate::registry::fixture::NOW;
use crate::registry::{AdvertiserId, NewAdvertiser, Registry, Setup};
use crate::schedule::driver::Driver;
use crate::schedule::{Measures, Schedule, ScheduleParts, WindowState, WindowStatus};
use crate::store::StoreError;
use crate::tasks::TaskFolder;

pub(super) const DAY: u64 = 86_400;
const KEY_ID: u8 = 3;

/// What the leader does about a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The answer.
    Ready,
    /// It is not there.
    Away,
    /// A refusal.
    Dap(DapError),
    /// One of ours.
    Own(OwnError),
    /// It works on it.
    Pending,
}

pub(super) const TOO_FEW: Act = Act::Dap(DapError::InvalidBatchSize);
pub(super) const NO_BUDGET: Act = Act::Own(OwnError::BudgetExhausted);

/// A window as the leader is asked for it: task, from, to.
pub(super) type Asked = (TaskId, u64, u64);

type Rule = Box<dyn FnMut(Asked) -> Act + Send>;

struct Script {
    rule: Rule,
    asked: Vec<Asked>,
    /// The requests that were answered, byte for byte.
    answered: HashMap<Asked, Vec<u8>>,
}

/// A leader on a loopback port.
#[derive(Clone)]
pub(super) struct Leader {
    endpoint: String,
    tasks: TaskFolder,
    collector: HpkeConfig,
    script: Arc<Mutex<Script>>,
}

impl Leader {
    async fn start(collector: HpkeConfig, tasks: TaskFolder) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        let script = Script { rule: Box::new(|_| Act::Ready), asked: Vec::new(), answered: HashMap::new() };
        let leader = Self { endpoint, tasks, collector, script: Arc::new(Mutex::new(script)) };
        let router = Router::new().route("/tasks/{task}/collection_jobs", post(answer));
        let router = router.with_state(leader.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        leader
    }

    /// What it does from now on.
    pub(super) fn plan(&self, rule: impl FnMut(Asked) -> Act + Send + 'static) {
        self.script.lock().unwrap().rule = Box::new(rule);
    }

    /// What it was asked since the last time.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.script.lock().unwrap().asked)
    }

    /// The windows that it answered, ever.
    pub(super) fn answered(&self) -> Vec<Asked> {
        self.script.lock().unwrap().answered.keys().copied().collect()
    }
}

async fn answer(State(leader): State<Leader>, Path(task): Path<String>, body: Bytes) -> Response {
    let task: TaskId = task.parse().unwrap();
    let request = CollectionJobReq::from_bytes(&body).unwrap();
    let known = leader.tasks.load(task).unwrap().unwrap();
    let precision = known.task.configuration().time_precision;
    let interval = request.as_time_interval().unwrap().batch_interval;
    let asked = (task, interval.start().posix_seconds(precision), interval.end().posix_seconds(precision));
    let act = {
        let mut script = leader.script.lock().unwrap();
        script.asked.push(asked);
        (script.rule)(asked)
    };
    match act {
        Act::Ready => {
            let mut script = leader.script.lock().unwrap();
            // What a leader answered is closed: it would refuse whatever overlaps it, and give another request no answer.
            for ((other, from, to), kept) in &script.answered {
                let same = *other == task && *from == asked.1 && *to == asked.2;
                assert!(!same || kept == &body.to_vec(), "another request for an answered window");
                assert!(same || *other != task || *to <= asked.1 || asked.2 <= *from, "windows overlap");
            }
            script.answered.insert(asked, body.to_vec());
            let cells = vec![10_000; known.task.vdaf().config().output_len()];
            let seal = |role, noise: &[i128]| {
                let share = AggregateShare::zero(known.task.vdaf().config()).add_noise(noise).unwrap();
                seal_aggregate_share(&mut rand::rng(), &known.task, role, &leader.collector, &request, &share)
                    .unwrap()
            };
            let response = CollectionJobResp {
                report_count: 20_000,
                interval,
                leader_share: seal(Role::Leader, &cells),
                helper_share: seal(Role::Helper, &vec![0; cells.len()]),
            };
            let content_type = [(header::CONTENT_TYPE, MediaType::CollectionJobResp.as_str())];
            (content_type, response.to_bytes()).into_response()
        }
        Act::Away => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Act::Pending => {
            let place = format!("/tasks/{task}/collection_jobs/job");
            (StatusCode::CREATED, [(header::LOCATION, place)]).into_response()
        }
        Act::Dap(kind) => ProblemDocument::dap(kind).with_detail("said the leader").into_response(),
        Act::Own(kind) => ProblemDocument::own(kind).with_detail("said the leader").into_response(),
    }
}

/// A place on a disk, with a leader.
pub(crate) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) leader: Leader,
    pub(crate) clock: Arc<ManualClock>,
    key: [u8; 32],
}

/// A collector that runs there.
pub(crate) struct Running {
    pub(super) registry: Registry,
    pub(super) collector: Collector,
    pub(super) schedule: Schedule,
    pub(super) driver: Driver,
    disk: Arc<CollectorDisk>,
    clock: Arc<ManualClock>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let key = PrivateKey::generate(&mut rand::rng());
        let dir = tempfile::tempdir().unwrap();
        let config = HpkeConfig::new(KEY_ID, &key.public_key());
        let leader = Leader::start(config, TaskFolder::new(&dir.path().join("tasks"))).await;
        Self { dir, leader, clock: Arc::new(ManualClock::new(NOW)), key: *key.expose_bytes() }
    }

    pub(super) fn disk(&self) -> CollectorDisk {
        CollectorDisk::open(&self.dir.path().join("store"), &self.dir.path().join("mark")).unwrap()
    }

    /// Opens everything; what ran before must be gone.
    pub(crate) fn start(&self) -> Running {
        self.start_on(self.disk()).unwrap()
    }

    pub(super) fn start_on(&self, disk: CollectorDisk) -> Result<Running, StoreError> {
        let (disk, tasks) = (Arc::new(disk), TaskFolder::new(&self.dir.path().join("tasks")));
        let token = BearerToken::new(SecretString::new("leader-token")).unwrap();
        let short = Duration::from_millis(1);
        let timing = Timing {
            poll_min: short,
            poll_max: short,
            poll_default: short,
            retry_first: short,
            retry_max: short,
            unreachable_max: Duration::ZERO,
            pending_max: Duration::ZERO,
            answer_max: Duration::from_secs(600),
        };
        let collector = Collector::new(CollectorParts {
            store: Arc::clone(&disk) as _,
            tasks: tasks.clone(),
            manifests: None,
            leader: PeerClient::new(self.leader.endpoint.parse().unwrap(), Some(token), None).unwrap(),
            keys: vec![(KEY_ID, PrivateKey::from_bytes(self.key))],
            signer: Arc::new(SigningKey::from_bytes(&[5; 32])),
            former_keys: Vec::new(),
            epoch_starts: vec![("shop.example".to_owned(), NOW - 70 * DAY)],
            admin_token: TokenHash::of("admin"),
            clock: Arc::clone(&self.clock) as _,
            timing,
            metrics: CollectorMetrics::default(),
        });
        let setup = Setup {
            leader: self.leader.endpoint.parse().unwrap(),
            helper: "http://127.0.0.1:9/".parse().unwrap(),
            collector: "advertiser".to_owned(),
            tasks,
        };
        let random = Arc::new(SystemRandom::new());
        let registry = Registry::open(Arc::clone(&disk), setup, random.clone()).unwrap();
        let schedule = Schedule::open(ScheduleParts {
            collector: collector.clone(),
            disk: Arc::clone(&disk),
            registry: registry.clone(),
            clock: Arc::clone(&self.clock) as _,
            random,
            metrics: ScheduleMetrics::default(),
        })?;
        let driver = Driver::new(schedule.clone());
        Ok(Running { registry, collector, schedule, driver, disk, clock: Arc::clone(&self.clock) })
    }
}

impl World {
    pub(super) fn clock_now(&self) -> u64 {
        crate::aggregator::Clock::now(self.clock.as_ref())
    }

    /// Ends what runs, wherever it is, and starts anew.
    pub(super) async fn restart(&self, running: Running) -> Running {
        drop(running);
        self.closed().await;
        self.start()
    }

    /// Waits until blocking calls of a collector that is gone have let go of the store.
    pub(super) async fn closed(&self) {
        let (store, mark) = (self.dir.path().join("store"), self.dir.path().join("mark"));
        while let Err(StoreError::Locked { .. }) = CollectorDisk::open(&store, &mark) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Running {
    /// An advertiser with one campaign, from [`NOW`] on.
    pub(crate) fn advertiser(&self, new: NewAdvertiser) -> AdvertiserId {
        crate::registry::fixture::with_campaigns(&self.registry, new, &["Summer"])
    }

    /// The same with these campaigns.
    pub(crate) fn advertiser_with(&self, new: NewAdvertiser, campaigns: &[&str]) -> AdvertiserId {
        crate::registry::fixture::with_campaigns(&self.registry, new, campaigns)
    }

    /// What API and console stand on.
    pub(crate) fn advertising(&self) -> Advertising {
        let clock: Arc<dyn crate::aggregator::Clock> = Arc::clone(&self.clock) as _;
        let store = Arc::clone(&self.disk) as _;
        Advertising {
            collector: self.collector.clone(),
            registry: self.registry.clone(),
            access: Access::open(Arc::clone(&self.disk), Arc::new(SystemRandom::new())).unwrap(),
            insights: Insights::open(
                store,
                self.registry.clone(),
                Some(self.schedule.clone()),
                Arc::clone(&clock),
            )
            .unwrap(),
            schedule: self.schedule.clone(),
            caps: Arc::default(),
            turns: crate::turns::Turns::new(),
            clock,
        }
    }

    /// Collects until nothing is due at this time.
    pub(crate) async fn catch_up(&mut self) {
        loop {
            self.driver.begin().await;
            if !self.driver.end().await {
                return;
            }
        }
    }

    /// Windows of an advertiser, all of them.
    pub(super) fn windows(&self, advertiser: AdvertiserId) -> Vec<WindowStatus> {
        self.schedule.0.rows.check();
        self.schedule.windows(advertiser, 0, u64::MAX).unwrap()
    }

    /// The states of the windows of one measure, in order.
    pub(super) fn states(&self, advertiser: AdvertiserId, measures: Measures) -> Vec<WindowState> {
        let of = self.windows(advertiser).into_iter().filter(|status| status.measures == measures);
        of.map(|status| status.state).collect()
    }
}
