//! Leader, helper and collector as processes that a test kills.

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
use arras_client::upload::fetch_hpke_configs;
use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::{CollectionJobReq, CollectionJobResp, HpkeConfig, MediaType, Report, Url};
use arras_protocol::report::ReportMaker;
use arras_protocol::task::Task;
use arras_protocol::vdaf::Measurement;
use tokio::sync::Mutex;

use crate::harness::{Options, PATIENCE, PRECISION, task_file};

/// Names the configuration that a child process serves.
const CHILD: &str = "ARRAS_TEST_SERVE";

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
pub struct Process {
    config: PathBuf,
    /// Answers when the role serves.
    probe: String,
    child: Child,
}

impl Process {
    async fn start(config: PathBuf, probe: String, http: &reqwest::Client) -> Self {
        let child = spawn(&config);
        let mut process = Self { config, probe, child };
        process.ready(http).await;
        process
    }

    async fn ready(&mut self, http: &reqwest::Client) {
        let started = std::time::Instant::now();
        while !http.get(&self.probe).send().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(started.elapsed() < PATIENCE, "the process does not serve");
            assert!(self.child.try_wait().unwrap().is_none(), "the process ended: {}", self.config.display());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
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
        .args(["--exact", "processes::child_process", "--nocapture"])
        .env(CHILD, config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The three roles, each in a process and with a store of its own, and one task.
pub struct Processes {
    pub dir: tempfile::TempDir,
    pub task: Task,
    pub http: reqwest::Client,
    pub collector_url: String,
    pub admin_token: String,
    collector_token: String,
    key: (u8, PrivateKey),
    /// Leader, helper, collector.
    roles: [Mutex<Process>; 3],
}

impl Processes {
    pub async fn start(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let loopback = Loopback::new("2026-01-05", options.cap, options.extra).unwrap();
        let file = task_file(&options, "kill", &loopback.leader.endpoint, &loopback.helper.endpoint);
        let (task, provisioned) = file.build().unwrap();
        let setups =
            [("leader", &loopback.leader), ("helper", &loopback.helper), ("collector", &loopback.collector)];
        for (role, setup) in setups {
            TaskFolder::new(&dir.path().join(role).join("tasks")).add(task.id(), &provisioned).unwrap();
            write_config(&dir.path().join(format!("{role}.toml")), &setup.toml).unwrap();
        }
        let collector = Config::load(&dir.path().join("collector.toml")).unwrap().collector.unwrap();
        let collector_url = loopback.collector.endpoint.clone();
        let collector_token = loopback.collector_token.expose().to_owned();
        let admin_token = loopback.admin_token.expose().to_owned();
        // Frees the ports for the children.
        drop(loopback);
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(arras::net::tls::client_config(None).unwrap())
            .no_proxy()
            .build()
            .unwrap();
        let configuration = task.configuration();
        let path = |role: &str| dir.path().join(format!("{role}.toml"));
        let helper =
            Process::start(path("helper"), format!("{}hpke_config", configuration.helper), &http).await;
        let leader =
            Process::start(path("leader"), format!("{}hpke_config", configuration.leader), &http).await;
        let serving = format!("{collector_url}healthz");
        let collecting = Process::start(path("collector"), serving, &http).await;
        let key = (collector.hpke[0].id, PrivateKey::from_bytes(*collector.hpke[0].private_key.expose()));
        let roles = [leader, helper, collecting].map(Mutex::new);
        Self { dir, task, http, collector_url, admin_token, collector_token, key, roles }
    }

    /// SIGKILL of one of leader (0), helper (1) and collector (2), and a new process on the same store.
    pub async fn kill(&self, role: usize) {
        let mut process = self.roles[role].lock().await;
        process.end();
        process.child = spawn(&process.config);
        process.ready(&self.http).await;
    }

    /// Ends all of them for good.
    pub async fn end(&self) {
        for role in &self.roles {
            role.lock().await.end();
        }
    }

    /// Reports of a window, one for each of the first buckets.
    pub async fn make_reports(&self, window: u64, buckets: u32) -> Vec<Report> {
        let configuration = self.task.configuration();
        let config = async |endpoint: &Url| -> HpkeConfig {
            loop {
                // The process may just have been killed.
                if let Ok(configs) = fetch_hpke_configs(&self.http, endpoint).await {
                    return configs.supported().unwrap().clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (leader, helper) = (config(&configuration.leader).await, config(&configuration.helper).await);
        let maker = ReportMaker::new(&self.task, &leader, &helper).unwrap();
        let report = |bucket| {
            let measurement = Measurement::Bucket(bucket);
            maker.make(&mut rand::rng(), window * PRECISION, &measurement, None).unwrap()
        };
        (0..buckets).map(report).collect()
    }

    /// Collects at the leader as a DAP collector does, as often as it takes. Gives the answer's bytes and the sums.
    pub async fn collect(&self, request: &CollectionJobReq) -> (Vec<u8>, Vec<i128>) {
        let url = format!("{}tasks/{}/collection_jobs", self.task.configuration().leader, self.task.id());
        let started = std::time::Instant::now();
        loop {
            assert!(started.elapsed() < PATIENCE, "the collection is not ready");
            let sent = self
                .http
                .post(&url)
                .header("content-type", MediaType::CollectionJobReq.as_str())
                .bearer_auth(&self.collector_token)
                .body(request.to_bytes())
                .send()
                .await;
            // A broken connection is what these tests are about; everything else must be a success.
            if let Ok(response) = sent {
                let status = response.status();
                let body = response.bytes().await.unwrap_or_default();
                assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
                if let Ok(response) = CollectionJobResp::from_bytes(&body) {
                    let slack = 2 * self.task.policy().unwrap().noise_slack();
                    let (id, key) = &self.key;
                    let sums = arras_protocol::collection::open_and_unshard(
                        &self.task, key, *id, request, &response, slack,
                    );
                    return (body.to_vec(), sums.unwrap());
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
