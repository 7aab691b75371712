//! A deployment for tests: leader, helper and collector as three services on loopback, each with its own
//! store, on a clock that the test moves and with noise that the test chooses.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arras::aggregator::{ManualClock, NoiseFactory};
use arras::config::Config;
use arras::config::loopback::{BUDGET_SOURCE, COLLECTOR, Loopback, write_config};
use arras::net::problem::ProblemDocument;
use arras::privacy::noise::NoNoise;
use arras::service::{Environment, Listeners, Service};
use arras::tasks::author::{ProfileChoice, VdafChoice};
use arras::tasks::{TaskFile, TaskFolder};
use arras_client::upload::{Uploader, fetch_hpke_configs};
use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::{
    CollectionJobReq, CollectionJobResp, HpkeConfig, Interval, MediaType, Report, Time, Url,
};
use arras_protocol::report::ReportMaker;
use arras_protocol::task::Task;
use arras_protocol::vdaf::Measurement;

use crate::operations::value;

/// Unit of times of the tasks here, in seconds.
pub const PRECISION: u64 = 3_600;

/// The first window: an hour on a Friday in 2027.
pub const WINDOW: u64 = 1_800_000_000 / PRECISION;

/// The clocks stand some hours after the first window.
pub const NOW: u64 = (WINDOW + 10) * PRECISION + 17;

/// How long a test waits for something that must happen. Generous, since it only matters when the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The DAP collector's view of a released batch: noised sums and what the leader says of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Collected {
    pub sums: Vec<i128>,
    pub report_count: u64,
    pub interval: Interval,
    pub body: Vec<u8>,
}

#[derive(Clone, Copy)]
pub enum Role {
    Leader,
    Helper,
    Collector,
}

/// How a deployment differs from the usual.
pub struct Options {
    pub vdaf: VdafChoice,
    pub profile: ProfileChoice,
    pub min_batch_size: u64,
    pub threshold: u64,
    pub cap: &'static str,
    /// The helper's, if it is another.
    pub helper_cap: Option<&'static str>,
    /// Caps of each task, the leader's and the helper's.
    pub task_caps: [Option<&'static str>; 2],
    pub noise: NoiseFactory,
    /// Lines for the aggregators' sections.
    pub extra: &'static str,
    /// Whether the aggregators know [`OTHER_COLLECTOR`], too.
    pub two_collectors: bool,
}

/// A second collector: its name, its budget source, its token.
pub const OTHER_COLLECTOR: (&str, &str, &str) =
    ("other", "other.example", "token-of-another-collector-0123456789abcdef");

impl Default for Options {
    fn default() -> Self {
        Self {
            vdaf: VdafChoice::Histogram { length: 64 },
            profile: ProfileChoice::Arras,
            min_batch_size: 10,
            threshold: 0,
            cap: "10",
            helper_cap: None,
            task_caps: [None; 2],
            noise: Arc::new(|| Box::new(NoNoise)),
            extra: "",
            two_collectors: false,
        }
    }
}

pub struct Deployment {
    dir: tempfile::TempDir,
    pub loopback: Loopback,
    pub task: Task,
    pub clock: Arc<ManualClock>,
    /// The same, unless a test puts another one here before it starts the helper again.
    pub helper_clock: Arc<ManualClock>,
    noise: NoiseFactory,
    pub leader: Option<Service>,
    pub helper: Option<Service>,
    pub collector: Option<Service>,
    pub http: reqwest::Client,
    hpke: (HpkeConfig, HpkeConfig),
}

/// A task file for endpoints.
pub fn task_file(options: &Options, name: &str, leader: &str, helper: &str) -> TaskFile {
    TaskFile {
        name: name.to_owned(),
        profile: options.profile,
        leader: leader.to_owned(),
        helper: helper.to_owned(),
        vdaf: options.vdaf,
        time_precision: PRECISION,
        min_batch_size: options.min_batch_size,
        epsilon: "1".parse().unwrap(),
        contributions: NonZeroU32::MIN,
        threshold: Some(options.threshold),
        budget_source: BUDGET_SOURCE.to_owned(),
        collector: COLLECTOR.to_owned(),
        campaigns: Vec::new(),
        conversions: None,
    }
}

/// Appends [`OTHER_COLLECTOR`] to the aggregators' configurations, which end in their list of collectors.
fn register_other_collector(loopback: &mut Loopback) {
    let (name, source, token) = OTHER_COLLECTOR;
    let key = arras::config::keys::generate_hpke_keypair(&ring::rand::SystemRandom::new(), 4).unwrap();
    let config = key.config().to_base64();
    let token_hash = arras::net::auth::TokenHash::of(token);
    let collector = format!(
        "hpke_config = \"{config}\"\nbudget_source = [{{ name = \"{source}\", epoch_start = \"2027-01-04\", cap = \"10\" }}]\n"
    );
    let entry =
        |role: &str, token: &str| format!("\n[[{role}.collector]]\nname = \"{name}\"\n{collector}{token}");
    loopback.leader.toml += &entry("leader", &format!("token_sha256 = \"{token_hash}\"\n"));
    loopback.helper.toml += &entry("helper", "");
}

impl Deployment {
    pub async fn start(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut loopback = Loopback::new("2027-01-04", options.cap, options.extra).unwrap();
        if let Some(cap) = options.helper_cap {
            let toml = &mut loopback.helper.toml;
            *toml = toml.replace(&format!("cap = \"{}\"", options.cap), &format!("cap = \"{cap}\""));
        }
        let caps = [options.cap, options.helper_cap.unwrap_or(options.cap)];
        let roles = [&mut loopback.leader, &mut loopback.helper];
        for ((role, cap), task_cap) in roles.into_iter().zip(caps).zip(options.task_caps) {
            if let Some(task_cap) = task_cap {
                let with = format!("cap = \"{cap}\", task_cap = \"{task_cap}\" }}]");
                role.toml = role.toml.replace(&format!("cap = \"{cap}\" }}]"), &with);
            }
        }
        if options.two_collectors {
            register_other_collector(&mut loopback);
        }
        let file = task_file(&options, "test", &loopback.leader.endpoint, &loopback.helper.endpoint);
        let (task, provisioned) = file.build().unwrap();
        for (role, setup) in
            [("leader", &loopback.leader), ("helper", &loopback.helper), ("collector", &loopback.collector)]
        {
            TaskFolder::new(&dir.path().join(role).join("tasks")).add(task.id(), &provisioned).unwrap();
            write_config(&dir.path().join(format!("{role}.toml")), &setup.toml).unwrap();
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(arras::net::tls::client_config(None).unwrap())
            .no_proxy()
            .build()
            .unwrap();
        // Replaced below, once the aggregators tell.
        let unknown = HpkeConfig::new(0, &PrivateKey::generate(&mut rand::rng()).public_key());
        let clock = Arc::new(ManualClock::new(NOW));
        let mut deployment = Self {
            dir,
            loopback,
            task,
            helper_clock: Arc::clone(&clock),
            clock,
            noise: options.noise,
            leader: None,
            helper: None,
            collector: None,
            http,
            hpke: (unknown.clone(), unknown),
        };
        for role in [Role::Helper, Role::Leader, Role::Collector] {
            deployment.start_role(role);
        }
        let configuration = deployment.task.configuration();
        let leader = fetch_hpke_configs(&deployment.http, &configuration.leader).await.unwrap();
        let helper = fetch_hpke_configs(&deployment.http, &configuration.helper).await.unwrap();
        deployment.hpke = (leader.supported().unwrap().clone(), helper.supported().unwrap().clone());
        deployment
    }

    /// Adds a task to all roles, which find it by themselves once the clock has moved.
    pub fn add_task(&self, name: &str) -> Task {
        let endpoints = (&self.loopback.leader.endpoint, &self.loopback.helper.endpoint);
        let file = task_file(&Options::default(), name, endpoints.0, endpoints.1);
        self.add_task_file(&file)
    }

    /// As [`Self::add_task`], for any task.
    pub fn add_task_file(&self, file: &TaskFile) -> Task {
        let (task, provisioned) = file.build().unwrap();
        for role in ["leader", "helper", "collector"] {
            let folder = TaskFolder::new(&self.dir.path().join(role).join("tasks"));
            assert!(folder.add(task.id(), &provisioned).unwrap());
            assert!(!folder.add(task.id(), &provisioned).unwrap(), "adding again changes nothing");
        }
        task
    }

    pub fn config_path(&self, role: &str) -> PathBuf {
        self.dir.path().join(format!("{role}.toml"))
    }

    /// Publishes the manifest that a file describes, at a POSIX second of its publisher's clock; what is said of it.
    pub async fn publish_manifest(&self, file: PathBuf, now: u64) -> String {
        let config = self.config_path("collector");
        let args = arras::cli::manifest::Args { file, config, ca: None, renumber: false };
        let publish = move || {
            let (now, mut said) = (UNIX_EPOCH + Duration::from_secs(now), Vec::new());
            arras::cli::manifest::run(&args, now, &mut said).map_err(|error| error.to_string())?;
            Ok::<_, String>(String::from_utf8(said).unwrap())
        };
        tokio::task::spawn_blocking(publish).await.unwrap().unwrap()
    }

    pub fn start_role(&mut self, role: Role) {
        let (name, setup) = match role {
            Role::Leader => ("leader", &mut self.loopback.leader),
            Role::Helper => ("helper", &mut self.loopback.helper),
            Role::Collector => ("collector", &mut self.loopback.collector),
        };
        // The first start takes the bound socket; later ones bind the configured port again.
        let listener = setup.listener.take();
        let config = Config::load(&self.config_path(name)).unwrap();
        let listeners = match role {
            Role::Leader => Listeners { leader: listener, ..Listeners::default() },
            Role::Helper => Listeners { helper: listener, ..Listeners::default() },
            Role::Collector => Listeners { collector: listener, ..Listeners::default() },
        };
        let clock = if matches!(role, Role::Helper) { &self.helper_clock } else { &self.clock };
        let environment =
            Environment { clock: Arc::<ManualClock>::clone(clock), noise: Arc::clone(&self.noise) };
        let service = Service::start(&config, &environment, listeners).unwrap();
        match role {
            Role::Leader => self.leader = Some(service),
            Role::Helper => self.helper = Some(service),
            Role::Collector => self.collector = Some(service),
        }
    }

    pub async fn stop_role(&mut self, role: Role) {
        let service = match role {
            Role::Leader => self.leader.take(),
            Role::Helper => self.helper.take(),
            Role::Collector => self.collector.take(),
        };
        if let Some(service) = service {
            service.stop().await;
        }
    }

    pub async fn stop(mut self) {
        for role in [Role::Collector, Role::Leader, Role::Helper] {
            self.stop_role(role).await;
        }
    }

    pub fn maker(&self) -> ReportMaker<'_> {
        ReportMaker::new(&self.task, &self.hpke.0, &self.hpke.1).unwrap()
    }

    pub fn hpke_configs(&self) -> (&HpkeConfig, &HpkeConfig) {
        (&self.hpke.0, &self.hpke.1)
    }

    /// A report of a bucket in the first window.
    pub fn report(&self, bucket: u32) -> Report {
        self.report_at(bucket, WINDOW * PRECISION)
    }

    pub fn report_at(&self, bucket: u32, posix_seconds: u64) -> Report {
        self.maker().make(&mut rand::rng(), posix_seconds, &Measurement::Bucket(bucket), None).unwrap()
    }

    /// Reports of the first `count` buckets, one each: a cell above 1 is a replay, one of 0 a loss.
    pub fn one_hots(&self, count: u32) -> Vec<Report> {
        (0..count).map(|bucket| self.report(bucket)).collect()
    }

    pub fn uploader(&self) -> Uploader {
        Uploader::new(self.http.clone(), self.task.configuration().leader.clone())
    }

    /// Uploads reports that must all be accepted.
    pub async fn upload(&self, reports: &[Report]) {
        assert_eq!(self.uploader().upload(self.task.id(), reports).await.unwrap(), []);
    }

    pub fn leader_url(&self) -> &Url {
        &self.task.configuration().leader
    }

    pub fn helper_url(&self) -> &Url {
        &self.task.configuration().helper
    }

    /// The request for a number of hours from the first window on.
    pub fn query(start: u64, hours: u64) -> CollectionJobReq {
        let interval = Interval::new(Time(start), arras_protocol::messages::Duration(hours)).unwrap();
        CollectionJobReq::time_interval(interval)
    }

    /// Sends a collection request as the collector does.
    pub async fn create_collection(&self, request: &CollectionJobReq) -> reqwest::Response {
        let url = format!("{}tasks/{}/collection_jobs", self.leader_url(), self.task.id());
        self.http
            .post(url)
            .header("content-type", MediaType::CollectionJobReq.as_str())
            .bearer_auth(self.loopback.collector_token.expose())
            .body(request.to_bytes())
            .send()
            .await
            .unwrap()
    }

    /// Collects the first window as a DAP collector would, without the collector role.
    pub async fn collect(&self) -> Result<Collected, ProblemDocument> {
        self.collect_window(&Self::query(WINDOW, 1)).await
    }

    pub async fn collect_window(&self, request: &CollectionJobReq) -> Result<Collected, ProblemDocument> {
        let created = self.create_collection(request).await;
        let location = created.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        let mut answer = read(created).await?;
        let started = std::time::Instant::now();
        while answer.is_empty() {
            assert!(started.elapsed() < PATIENCE, "the collection is not ready");
            // The clock stands still, so the tick on which answers become readable is brought about by hand.
            self.clock.set(arras::aggregator::Clock::now(&*self.clock) + 1);
            tokio::time::sleep(Duration::from_millis(20)).await;
            let url = Url::new(self.leader_url().as_str().trim_end_matches('/')).unwrap();
            let url = format!("{url}{}", location.as_ref().unwrap());
            let polled =
                self.http.get(url).bearer_auth(self.loopback.collector_token.expose()).send().await.unwrap();
            answer = read(polled).await?;
        }
        let response = CollectionJobResp::from_bytes(&answer).unwrap();
        let config = Config::load(&self.config_path("collector")).unwrap().collector.unwrap();
        let key = PrivateKey::from_bytes(*config.hpke[0].private_key.expose());
        let slack = 2 * self.task.policy().map_or(1_000, arras_protocol::policy::PrivacyPolicy::noise_slack);
        let sums = arras_protocol::collection::open_and_unshard(
            &self.task,
            &key,
            config.hpke[0].id,
            request,
            &response,
            slack,
        )
        .unwrap();
        Ok(Collected { sums, report_count: response.report_count, interval: response.interval, body: answer })
    }

    /// Moves the standing clock for as long as something else runs, as [`Self::collect_window`] does.
    pub async fn tick(&self) {
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.clock.set(arras::aggregator::Clock::now(&*self.clock) + 1);
        }
    }

    /// Waits until an attempt of the leader's at an aggregation job has had this outcome, as a label of its metrics.
    pub async fn attempted(&self, outcome: &str) {
        let series = format!("arras_jobs_total{{role=\"leader\",outcome=\"{outcome}\"}}");
        let leader = self.leader.as_ref().unwrap();
        eventually(&series, || value(&leader.metrics().encode().unwrap(), &series) > Some(0)).await;
    }

    /// Waits until the leader has brought this many reports to an end since its start.
    pub async fn settled(&self, reports: u64) {
        let leader = self.leader.as_ref().unwrap().leader().unwrap();
        eventually("the reports are through", || {
            let counters = leader.counters();
            let rejected: u64 = counters.rejected.iter().map(|(_, count)| count).sum();
            counters.aggregated + rejected + counters.lost >= reports
        })
        .await;
    }
}

/// Waits for something that must become true.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The body of a success, or the problem.
pub async fn read(response: reqwest::Response) -> Result<Vec<u8>, ProblemDocument> {
    let status = response.status();
    let content_type = response
        .headers()
        .get("content-type")
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default();
    let body = response.bytes().await.unwrap();
    if status.is_success() {
        return Ok(body.to_vec());
    }
    Err(ProblemDocument::parse(status, &content_type, &body).expect("errors are problem documents"))
}

/// Something else that listens in a role's place, and gives the same answer to every request.
pub struct StandIn {
    answered: Arc<std::sync::atomic::AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

impl StandIn {
    /// `answer` is all of an HTTP response. The role must have been stopped.
    pub async fn at(endpoint: &Url, answer: &'static str) -> Self {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let address = endpoint.as_str().trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let answered = Arc::<std::sync::atomic::AtomicUsize>::default();
        let count = Arc::clone(&answered);
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 64 << 10];
                // The whole request or a part of it: the answer is the same.
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        });
        Self { answered, serving }
    }

    pub fn answered(&self) -> usize {
        self.answered.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Frees the address.
    pub async fn stop(self) {
        self.serving.abort();
        let _ = self.serving.await;
    }
}
