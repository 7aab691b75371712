//! What an operator sees: metrics and health over HTTP, and logs of real processes that say nothing of anybody.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use arras::config::loopback::{Loopback, write_config};
use arras::tasks::TaskFolder;
use arras_client::upload::{Uploader, fetch_hpke_configs};
use arras_protocol::messages::{MediaType, Report};
use arras_protocol::report::ReportMaker;
use arras_protocol::task::Task;
use arras_protocol::vdaf::Measurement;

use crate::cli::{ARGUMENTS, now};
use crate::harness::{Deployment, Options, PATIENCE, PRECISION, Role, read, task_file};

/// The configuration's section for metrics and health, on a port that the system chooses.
pub const OPERATIONS: &str = "[operations]\nlisten = \"127.0.0.1:0\"";

/// The value of a series in what was scraped.
pub fn value(text: &str, series: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    // A whole number, which some are written as 1.0.
    Some(line.strip_suffix(".0").unwrap_or(line).parse().unwrap())
}

async fn get(http: &reqwest::Client, address: SocketAddr, path: &str) -> (u16, String) {
    let response = http.get(format!("http://{address}{path}")).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// What the leader and the helper of a deployment tell.
async fn scrape(deployment: &Deployment) -> [String; 2] {
    let mut texts = [String::new(), String::new()];
    for (service, text) in [&deployment.leader, &deployment.helper].into_iter().zip(&mut texts) {
        let address = service.as_ref().unwrap().operations_address().unwrap();
        let (status, body) = get(&deployment.http, address, "/metrics").await;
        assert_eq!(status, 200);
        *text = body;
    }
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_counted() {
    let deployment = Deployment::start(Options { extra: OPERATIONS, ..Options::default() }).await;
    let reports = deployment.one_hots(64);
    deployment.upload(&reports).await;
    deployment.settled(64).await;
    assert_eq!(deployment.uploader().upload(deployment.task.id(), &reports[..3]).await.unwrap().len(), 3);
    deployment.collect().await.unwrap();
    let [leader, helper] = scrape(&deployment).await;
    for (text, series, expected) in [
        (&leader, "arras_reports_accepted_total{role=\"leader\"}", 64),
        (&leader, "arras_reports_refused_total{role=\"leader\",reason=\"report_replayed\"}", 3),
        (&leader, "arras_reports_aggregated_total{role=\"leader\"}", 64),
        (&leader, "arras_reports_lost_total{role=\"leader\"}", 0),
        (&leader, "arras_reports_waiting{role=\"leader\"}", 0),
        (&leader, "arras_oldest_report_age_seconds{role=\"leader\"}", 0),
        (&leader, "arras_jobs_open{role=\"leader\"}", 0),
        (&leader, "arras_collections_total{role=\"leader\",outcome=\"ready\"}", 1),
        (&leader, "arras_store_seconds_count{role=\"leader\",operation=\"append\"}", 2),
        (&leader, "arras_tasks{role=\"leader\"}", 1),
        (&helper, "arras_reports_aggregated_total{role=\"helper\"}", 64),
        (&helper, "arras_aggregate_shares_total{role=\"helper\",outcome=\"released\"}", 1),
    ] {
        assert_eq!(value(text, series), Some(expected), "{series}\n{text}");
    }
    let uploads = "arras_http_requests_total{role=\"leader\",route=\"/tasks/{task}/reports\",method=\"POST\",status=\"2xx\"}";
    assert_eq!(value(&leader, uploads), Some(2), "{leader}");
    for series in [
        "arras_jobs_total{role=\"leader\",outcome=\"committed\"}",
        "arras_job_seconds_count{role=\"leader\",step=\"commit\"}",
        "arras_store_seconds_count{role=\"leader\",operation=\"commit\"}",
        "arras_store_seconds_count{role=\"leader\",operation=\"sync\"}",
        "arras_disk_free_bytes{role=\"leader\"}",
        "arras_store_bytes_max{role=\"leader\"}",
        "arras_http_connections_max{role=\"leader\"}",
    ] {
        assert!(value(&leader, series).unwrap() > 0, "{series}\n{leader}");
    }
    let all = format!("{leader}{helper}");
    assert!(!all.contains(&deployment.task.id().to_string()), "no task ids in labels");
    assert!(reports.iter().all(|report| !all.contains(&report.metadata.report_id.to_string())));
    deployment.stop().await;
}

/// What waits while the helper is away, and how old it is: as old as the start of the report's hour.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_seen() {
    let mut deployment = Deployment::start(Options { extra: OPERATIONS, ..Options::default() }).await;
    deployment.stop_role(Role::Helper).await;
    deployment.upload(&deployment.one_hots(64)).await;
    let address = deployment.leader.as_ref().unwrap().operations_address().unwrap();
    let unreachable = "arras_jobs_total{role=\"leader\",outcome=\"unreachable\"}";
    let mut text = String::new();
    let started = std::time::Instant::now();
    while value(&text, unreachable).is_none_or(|attempts| attempts < 2) {
        assert!(started.elapsed() < PATIENCE, "no attempts are counted: {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        text = get(&deployment.http, address, "/metrics").await.1;
    }
    assert_eq!(value(&text, "arras_reports_waiting{role=\"leader\"}"), Some(64), "{text}");
    assert!(value(&text, "arras_jobs_open{role=\"leader\"}").unwrap() >= 1, "{text}");
    let age = crate::harness::NOW - crate::harness::WINDOW * PRECISION;
    assert_eq!(value(&text, "arras_oldest_report_age_seconds{role=\"leader\"}"), Some(age), "{text}");
    deployment.start_role(Role::Helper);
    deployment.settled(64).await;
    deployment.stop().await;
}

/// What is not ready says why, and is ready again when that has passed.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_what_a_role_needs() {
    let deployment = Deployment::start(Options { extra: OPERATIONS, ..Options::default() }).await;
    let address = deployment.leader.as_ref().unwrap().operations_address().unwrap();
    let ready = async || get(&deployment.http, address, "/readyz").await;
    let started = std::time::Instant::now();
    // Its driver may not have begun.
    while ready().await.0 != 200 {
        assert!(started.elapsed() < PATIENCE, "{:?}", ready().await);
    }
    let tasks = deployment.config_path("leader").with_file_name("leader").join("tasks");
    let away = tasks.with_file_name("away");
    std::fs::rename(&tasks, &away).unwrap();
    let (status, body) = ready().await;
    assert_eq!(status, 503);
    assert!(body.starts_with("leader: ") && body.contains("tasks") && body.lines().count() == 1, "{body}");
    assert_eq!(get(&deployment.http, address, "/healthz").await, (200, "ok\n".to_owned()));
    std::fs::rename(&away, &tasks).unwrap();
    assert_eq!(ready().await, (200, "ready\n".to_owned()));
    assert_eq!(get(&deployment.http, address, "/other").await.0, 404);
    deployment.stop().await;
}

/// A role as `arras serve` plays it, with everything that it writes.
struct Logged {
    child: Child,
    operations: SocketAddr,
    log: Option<JoinHandle<String>>,
}

/// The most that our own crates log.
const EVERYTHING: &str = "arras=trace,arras_protocol=trace,arras_client=trace";

impl Logged {
    fn start(config: &Path, format: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cli::command_line", "--nocapture"])
            .env(ARGUMENTS, format!("serve\n--config\n{}", config.display()))
            .envs([("ARRAS_LOG", EVERYTHING), ("ARRAS_LOG_FORMAT", format), ("RUST_BACKTRACE", "0")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let said = lines.find_map(|line| Some(line.split_once("health are at http://")?.1.to_owned()));
        let said = said.unwrap_or_else(|| panic!("{} is not served", config.display()));
        let operations = said.split_once('/').unwrap().0.parse().unwrap();
        // The rest goes on being read, or the child would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, operations, log: Some(log) }
    }

    /// SIGTERM; what it logged.
    fn stop(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client's address that nothing else has.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

const USER_AGENT: &str = "Somebodys-Phone/7";

/// Two parties and a collector in processes of their own, and what must not be in their logs.
struct Flow {
    dir: tempfile::TempDir,
    http: reqwest::Client,
    loopback: Loopback,
    task: Task,
    /// With what it is.
    secrets: Vec<(&'static str, String)>,
}

impl Flow {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut loopback = Loopback::new("2026-01-05", "100", OPERATIONS).unwrap();
        let file =
            task_file(&Options::default(), "logged", &loopback.leader.endpoint, &loopback.helper.endpoint);
        let (task, provisioned) = file.build().unwrap();
        loopback.collector.toml += "\n";
        loopback.collector.toml += OPERATIONS;
        for (role, setup) in [
            ("leader", &mut loopback.leader),
            ("helper", &mut loopback.helper),
            ("collector", &mut loopback.collector),
        ] {
            TaskFolder::new(&dir.path().join(role).join("tasks")).add(task.id(), &provisioned).unwrap();
            write_config(&dir.path().join(format!("{role}.toml")), &setup.toml).unwrap();
            // The port is the child's.
            drop(setup.listener.take());
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(arras::net::tls::client_config(None).unwrap())
            .no_proxy()
            .local_address(IpAddr::V4(CLIENT))
            .user_agent(USER_AGENT)
            .build()
            .unwrap();
        let secrets = vec![
            ("a token", loopback.collector_token.expose().to_owned()),
            ("a token", loopback.leader_token.expose().to_owned()),
            ("a token", loopback.admin_token.expose().to_owned()),
            ("a client's address", CLIENT.to_string()),
            ("a user agent", USER_AGENT.to_owned()),
        ];
        Self { dir, http, loopback, task, secrets }
    }

    fn start(&self, role: &str, format: &str) -> Logged {
        Logged::start(&self.dir.path().join(format!("{role}.toml")), format)
    }

    async fn reports(&mut self, window: u64) -> Vec<Report> {
        let configuration = self.task.configuration();
        let mut configs = Vec::new();
        for endpoint in [&configuration.leader, &configuration.helper] {
            let list = fetch_hpke_configs(&self.http, endpoint).await.unwrap();
            configs.push(list.supported().unwrap().clone());
        }
        let maker = ReportMaker::new(&self.task, &configs[0], &configs[1]).unwrap();
        let make =
            |bucket| maker.make(&mut rand::rng(), window * PRECISION, &Measurement::Bucket(bucket), None);
        let reports: Vec<_> = (0..40).map(|bucket| make(bucket).unwrap()).collect();
        for report in &reports {
            let id = report.metadata.report_id;
            let hex = u128::from_be_bytes(*id.as_bytes());
            self.secrets.extend([("a report id", id.to_string()), ("a report id", format!("{hex:032x}"))]);
            self.secrets.push(("a report id", format!("{:?}", id.as_bytes())));
        }
        reports
    }

    /// Requests that are refused, each with something that should not be kept.
    async fn misuse(&mut self) {
        let leader = self.task.configuration().leader.as_str().to_owned();
        let task = self.task.id();
        let wrong = "not-the-right-token-but-0ne-of-s0mebody";
        self.secrets.push(("a wrong token", wrong.to_owned()));
        let url = format!("{leader}tasks/{task}/collection_jobs");
        for (url, kind) in [
            (url.clone(), MediaType::CollectionJobReq),
            (format!("{url}/SoMeCapabiLityUrL12345w"), MediaType::CollectionJobReq),
            (format!("{leader}tasks/{task}/reports?q=Que5tion"), MediaType::UploadRequest),
        ] {
            let request = self.http.post(url).header("content-type", kind.as_str()).bearer_auth(wrong);
            assert!(!request.body("gArbage".to_owned()).send().await.unwrap().status().is_success());
        }
        self.secrets.push(("a path", "SoMeCapabiLityUrL12345w".to_owned()));
        self.secrets.push(("a query", "Que5tion".to_owned()));
        self.secrets.push(("a body", "gArbage".to_owned()));
    }

    /// Has the collector collect the window, as its administrator.
    async fn collect(&self, window: u64) {
        let port = self.loopback.collector.endpoint.trim_start_matches("http://");
        let url = format!("http://{port}v1/tasks/{}/releases", self.task.id());
        let body = format!("{{\"from\":{},\"to\":{}}}", window * PRECISION, (window + 1) * PRECISION);
        let started = std::time::Instant::now();
        loop {
            let request = self.http.post(&url).bearer_auth(self.loopback.admin_token.expose());
            let response = request.body(body.clone()).send().await.unwrap();
            let status = response.status().as_u16();
            let said = read(response).await.unwrap();
            if status == 200 {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{status}: {}", String::from_utf8_lossy(&said));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Everything from upload to release, with a helper that is away at first; the logs of all three.
    async fn run(&mut self, format: &str) -> Vec<String> {
        let window = now() / PRECISION - 2;
        let (leader, helper) = (self.start("leader", format), self.start("helper", format));
        let collector = self.start("collector", format);
        let reports = self.reports(window).await;
        let mut logs = vec![helper.stop()];
        let uploader = Uploader::new(self.http.clone(), self.task.configuration().leader.clone());
        assert_eq!(uploader.upload(self.task.id(), &reports).await.unwrap(), []);
        assert_eq!(uploader.upload(self.task.id(), &reports[..2]).await.unwrap().len(), 2);
        self.misuse().await;
        let started = std::time::Instant::now();
        loop {
            let (_, text) = get(&self.http, leader.operations, "/metrics").await;
            let unreachable = "arras_jobs_total{role=\"leader\",outcome=\"unreachable\"}";
            if value(&text, unreachable).is_some_and(|attempts| attempts > 0) {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "the helper is not missed: {text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let helper = self.start("helper", format);
        self.collect(window).await;
        logs.extend([leader.stop(), helper.stop(), collector.stop()]);
        logs
    }

    fn check(&self, log: &str) {
        for (what, secret) in &self.secrets {
            assert!(!log.contains(secret), "{what}, {secret}, is in the log:\n{log}");
        }
        let ours: BTreeSet<&str> = [&self.loopback.leader, &self.loopback.helper, &self.loopback.collector]
            .into_iter()
            .map(|setup| setup.endpoint.trim_start_matches("http://").trim_end_matches('/'))
            .collect();
        let task = self.task.id().to_string();
        let is_id_byte = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        for word in log.split(|c: char| !(is_id_byte(c) || c == '.' || c == ':')) {
            let word = word.trim_end_matches([':', '.']);
            assert!(
                !word.starts_with("127.0.0.") || ours.contains(word),
                "the address {word} is in the log:\n{log}"
            );
        }
        for word in log.split(|c| !is_id_byte(c)) {
            let random = word.len() >= 22
                && word.chars().any(|c| c.is_ascii_digit())
                && word.chars().any(|c| c.is_ascii_lowercase())
                && word.chars().any(|c| c.is_ascii_uppercase());
            assert!(!random || word == task, "{word}, which looks like an id, is in the log:\n{log}");
        }
    }
}

/// At the most verbose level of our own crates, in both formats, a log holds no report id, no address or user agent of
/// a client, no token, and no id of a job or collection, which are what their URLs can be used by.
#[tokio::test(flavor = "multi_thread")]
async fn logs_say_nothing_of_anybody() {
    for format in ["text", "json"] {
        let mut flow = Flow::new();
        let logs = flow.run(format).await;
        for log in &logs {
            flow.check(log);
        }
        // They do say something.
        let leader = &logs[1];
        for part in ["/tasks/{task}/reports", "the helper did not take a job", "answered"] {
            assert!(leader.contains(part), "{part}: {leader}");
        }
        assert!(logs[2].contains("/tasks/{task}/aggregation_jobs"), "{}", logs[2]);
        if format == "json" {
            for line in logs.iter().flat_map(|log| log.lines()) {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(event["level"].is_string() && event["fields"]["message"].is_string(), "{line}");
            }
            let request = leader.lines().find(|line| line.contains("answered")).unwrap();
            let request: serde_json::Value = serde_json::from_str(request).unwrap();
            assert!(
                request["span"]["route"].is_string() && request["fields"]["status"].is_u64(),
                "{request}"
            );
        }
    }
}

/// Each row of the tables of limits names constants or types that are in the file that it names.
#[test]
fn the_limits_that_are_documented_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("docs/limits.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let mut found = 0;
    for (limit, _) in rows {
        let (file, names) =
            limit.trim_end_matches('`').split_once("` `").unwrap_or_else(|| panic!("{limit}"));
        let source =
            std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        for name in names.split("`, `") {
            // A constant, or a type whose fields are the limits.
            let there = [format!("const {name}: "), format!("struct {name} {{")];
            assert!(there.iter().any(|text| source.contains(text)), "{file} has no {name}");
        }
        found += 1;
    }
    assert!(found > 30, "only {found} rows found");
}
