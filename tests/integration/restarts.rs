//! kill -9 of leader and helper at random moments under load. Failure: an acknowledged report that is not counted
//! exactly once; a report without an answer that is counted more than once; a collection that differs from the
//! reports. No failure: an upload that breaks, a slow answer, a report without an answer that is not counted.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arras::aggregator::SystemClock;
use arras::config::Config;
use arras::config::loopback::{Loopback, write_config};
use arras::privacy::noise::NoNoise;
use arras::service::{Environment, Listeners, Service};
use arras::tasks::TaskFolder;
use arras::tasks::author::VdafChoice;
use arras_client::upload::{Uploader, fetch_hpke_configs};
use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::{
    CollectionJobReq, CollectionJobResp, HpkeConfig, Interval, MediaType, Report, Time, Url,
};
use arras_protocol::report::ReportMaker;
use arras_protocol::task::Task;
use arras_protocol::vdaf::Measurement;
use rand::RngExt as _;

use crate::harness::{Options, PATIENCE, PRECISION, task_file};

/// Names the configuration that a child process serves.
const CHILD: &str = "ARRAS_TEST_SERVE";

/// Reports of the load, each in a bucket of its own.
const REPORTS: u32 = 400;

/// Reports in an upload request.
const REPORTS_PER_REQUEST: usize = 4;

/// How often one of the two is killed.
const KILLS: usize = 10;

/// Not a test by itself: what the child processes run. Killing them is the test.
#[test]
fn child_process() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = Config::load(Path::new(&path)).unwrap();
        let environment = Environment { clock: Arc::new(SystemClock), noise: Arc::new(|| Box::new(NoNoise)) };
        let mut service = Service::start(&config, &environment, Listeners::default()).unwrap();
        service.failed().await;
    });
}

/// A role in a process of its own.
struct Process {
    config: PathBuf,
    endpoint: Url,
    child: Child,
}

impl Process {
    async fn start(config: PathBuf, endpoint: &Url, http: &reqwest::Client) -> Self {
        let child = spawn(&config);
        let mut process = Self { config, endpoint: endpoint.clone(), child };
        process.ready(http).await;
        process
    }

    async fn ready(&mut self, http: &reqwest::Client) {
        let started = std::time::Instant::now();
        while fetch_hpke_configs(http, &self.endpoint).await.is_err() {
            assert!(started.elapsed() < PATIENCE, "the process does not serve");
            assert!(self.child.try_wait().unwrap().is_none(), "the process ended: {}", self.config.display());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGKILL, and a new process on the same store.
    async fn kill(&mut self, http: &reqwest::Client) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.config);
        self.ready(http).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whatever became of the test, no process is left behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(config: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "restarts::child_process", "--nocapture"])
        .env(CHILD, config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// What became of the uploads so far.
#[derive(Default)]
struct Load {
    acknowledged: Vec<u32>,
    unanswered: Vec<u32>,
}

/// Uploads until all reports are sent; a request that breaks is not repeated.
async fn upload_all(
    uploader: Uploader,
    task: arras_protocol::messages::TaskId,
    reports: Vec<Report>,
) -> Load {
    let mut load = Load::default();
    for (chunk, reports) in reports.chunks(REPORTS_PER_REQUEST).enumerate() {
        let buckets = (0..reports.len()).map(|index| (chunk * REPORTS_PER_REQUEST + index) as u32);
        match uploader.upload(task, reports).await {
            Ok(refused) => {
                assert_eq!(refused, []);
                load.acknowledged.extend(buckets);
            }
            Err(_) => load.unanswered.extend(buckets),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    load
}

struct Collector {
    http: reqwest::Client,
    leader: Url,
    token: String,
    key: PrivateKey,
    key_id: u8,
}

impl Collector {
    /// Collects as a DAP collector does, as often as it takes.
    async fn collect(&self, task: &Task, request: &CollectionJobReq) -> Vec<i128> {
        let url = format!("{}tasks/{}/collection_jobs", self.leader, task.id());
        let started = std::time::Instant::now();
        loop {
            assert!(started.elapsed() < PATIENCE, "the collection is not ready");
            let sent = self
                .http
                .post(&url)
                .header("content-type", MediaType::CollectionJobReq.as_str())
                .bearer_auth(&self.token)
                .body(request.to_bytes())
                .send()
                .await;
            // A broken connection is what this test is about; everything else must be a success.
            if let Ok(response) = sent {
                let status = response.status();
                let body = response.bytes().await.unwrap_or_default();
                assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
                if let Ok(response) = CollectionJobResp::from_bytes(&body) {
                    let slack = 2 * task.policy().unwrap().noise_slack();
                    return arras_protocol::collection::open_and_unshard(
                        task,
                        &self.key,
                        self.key_id,
                        request,
                        &response,
                        slack,
                    )
                    .unwrap();
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_random_moments_loses_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let window = now / PRECISION - 2;
    let loopback = Loopback::new("2026-01-05", "100", "").unwrap();
    let options = Options { vdaf: VdafChoice::Histogram { length: REPORTS }, ..Options::default() };
    let file = task_file(&options, "kill", &loopback.leader.endpoint, &loopback.helper.endpoint);
    let (task, provisioned) = file.build().unwrap();
    for (role, setup) in
        [("leader", &loopback.leader), ("helper", &loopback.helper), ("collector", &loopback.collector)]
    {
        TaskFolder::new(&dir.path().join(role).join("tasks")).add(task.id(), &provisioned).unwrap();
        write_config(&dir.path().join(format!("{role}.toml")), &setup.toml).unwrap();
    }
    let collector = Config::load(&dir.path().join("collector.toml")).unwrap().collector.unwrap();
    let token = loopback.collector_token.expose().to_owned();
    // Frees the ports for the children.
    drop(loopback);
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(arras::net::tls::client_config(None).unwrap())
        .no_proxy()
        .build()
        .unwrap();
    let configuration = task.configuration();
    let mut helper = Process::start(dir.path().join("helper.toml"), &configuration.helper, &http).await;
    let mut leader = Process::start(dir.path().join("leader.toml"), &configuration.leader, &http).await;

    let reports = make_reports(&task, &http, window).await;
    let load = tokio::spawn(upload_all(
        Uploader::new(http.clone(), configuration.leader.clone()),
        task.id(),
        reports,
    ));
    for _ in 0..KILLS {
        let (pause, which) = { (rand::rng().random_range(0..250), rand::rng().random::<bool>()) };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if which { leader.kill(&http).await } else { helper.kill(&http).await }
    }
    let load = load.await.unwrap();
    assert!(!load.acknowledged.is_empty(), "nothing got through: the test tested nothing");

    let collector = Collector {
        http: http.clone(),
        leader: configuration.leader.clone(),
        token,
        key: PrivateKey::from_bytes(*collector.hpke[0].private_key.expose()),
        key_id: collector.hpke[0].id,
    };
    let interval = Interval::new(Time(window), arras_protocol::messages::Duration(1)).unwrap();
    let request = CollectionJobReq::time_interval(interval);
    // The collection is interrupted too.
    let sums = tokio::select! {
        sums = collector.collect(&task, &request) => sums,
        () = async {
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_millis(150)).await;
                leader.kill(&http).await;
                helper.kill(&http).await;
            }
            std::future::pending::<()>().await;
        } => unreachable!("the killing goes on until the collection is ready"),
    };
    for bucket in &load.acknowledged {
        assert_eq!(sums[*bucket as usize], 1, "acknowledged report {bucket}");
    }
    for bucket in &load.unanswered {
        assert!((0..=1).contains(&sums[*bucket as usize]), "report {bucket} without an answer");
    }
    // Once more: the same result, not another one.
    assert_eq!(collector.collect(&task, &request).await, sums);
}

async fn make_reports(task: &Task, http: &reqwest::Client, window: u64) -> Vec<Report> {
    let configuration = task.configuration();
    let config = async |endpoint: &Url| -> HpkeConfig {
        fetch_hpke_configs(http, endpoint).await.unwrap().supported().unwrap().clone()
    };
    let (leader, helper) = (config(&configuration.leader).await, config(&configuration.helper).await);
    let maker = ReportMaker::new(task, &leader, &helper).unwrap();
    (0..REPORTS)
        .map(|bucket| {
            maker.make(&mut rand::rng(), window * PRECISION, &Measurement::Bucket(bucket), None).unwrap()
        })
        .collect()
}
