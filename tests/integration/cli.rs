//! The command line as people use it: processes of their own, real output, real exit codes, TLS, the real clock and
//! real noise.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use arras::config::Config;
use arras::tasks::TaskFolder;
use arras_client::upload::{Uploader, fetch_hpke_configs};
use arras_protocol::messages::{Report, TaskId};
use arras_protocol::report::ReportMaker;
use arras_protocol::task::Task;
use arras_protocol::vdaf::Measurement;

use crate::harness::PATIENCE;

/// The arguments for a child, separated by newlines.
const ARGUMENTS: &str = "ARRAS_TEST_ARGUMENTS";

/// Stands before the child's own output, which follows what the test runner prints.
const OUTPUT: &str = "--- output of arras ---";

/// Further from the truth than this is a number only with a chance below e^-25 a cell: each of two noises has
/// scale 2.
const FAR: i128 = 60;

/// Not a test by itself: what the child processes run.
#[test]
fn command_line() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    println!("{OUTPUT}");
    let code = arras::cli::run(std::iter::once("arras").chain(arguments.lines()));
    // An exit code can be returned and shown, but not read.
    let digits: String = format!("{code:?}").chars().filter(char::is_ascii_digit).collect();
    std::process::exit(digits.parse().unwrap());
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "cli::command_line", "--nocapture"])
        .env(ARGUMENTS, arguments.join("\n"))
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null());
    command
}

struct Ended {
    code: i32,
    out: String,
    error: String,
}

fn ended(output: Output) -> Ended {
    let out = String::from_utf8(output.stdout).unwrap();
    let out = out.split_once(&format!("{OUTPUT}\n")).map_or(String::new(), |(_, own)| own.to_owned());
    Ended { code: output.status.code().unwrap(), out, error: String::from_utf8(output.stderr).unwrap() }
}

fn arras(arguments: &[&str]) -> Ended {
    ended(command(arguments).output().unwrap())
}

/// Runs a command that must succeed, and returns what it printed.
fn done(arguments: &[&str]) -> String {
    let Ended { code, out, error } = arras(arguments);
    assert_eq!(code, 0, "{arguments:?}: {out}{error}");
    out
}

/// A role that is being served, killed when the test ends.
struct Served(Child);

impl Served {
    /// Starts a role and waits until it says that it listens.
    fn start(config: &str) -> Self {
        let mut child = command(&["serve", "--config", config]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let served = Self(child);
        let listens = lines.by_ref().map_while(Result::ok).any(|line| line.contains("listens on"));
        assert!(listens, "{config} is not served");
        // The rest goes on being read, or the child would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        served
    }

    /// SIGTERM; the exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_ports() -> String {
    let listeners: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<_> =
        listeners.iter().map(|listener| listener.local_addr().unwrap().port().to_string()).collect();
    ports.join(",")
}

const HOUR: u64 = 3_600;

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

async fn upload(task: &Task, ca: &[u8], counts: &[u32], posix_seconds: u64) {
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(arras::net::tls::client_config(Some(ca)).unwrap())
        .https_only(true)
        .no_proxy()
        .build()
        .unwrap();
    let configuration = task.configuration();
    let leader = fetch_hpke_configs(&http, &configuration.leader).await.unwrap();
    let helper = fetch_hpke_configs(&http, &configuration.helper).await.unwrap();
    let maker = ReportMaker::new(task, leader.supported().unwrap(), helper.supported().unwrap()).unwrap();
    let report =
        |bucket| maker.make(&mut rand::rng(), posix_seconds, &Measurement::Bucket(bucket), None).unwrap();
    let reports: Vec<Report> = (0_u32..)
        .zip(counts)
        .flat_map(|(bucket, count)| (0..*count).map(move |_| bucket))
        .map(report)
        .collect();
    let uploader = Uploader::new(http, configuration.leader.clone());
    assert_eq!(uploader.upload(task.id(), &reports).await.unwrap(), []);
}

#[test]
fn the_roles_apart_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let roles = dir.path().join("roles");
    let path = |name: &str| roles.join(name).to_str().unwrap().to_owned();
    done(&["init", &path(""), "--ports", &free_ports(), "--budget-source", "shop.example"]);
    let configs = ["leader", "helper", "collector"].map(|role| path(&format!("{role}/{role}.toml")));
    let mut ids = Vec::new();
    for config in &configs {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(config).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{config}");
        assert!(done(&["check", "--config", config]).contains("no problems"));
        let added = done(&["task", "add", &path("tasks-examples/conversions.toml"), "--config", config]);
        let id = added.lines().find_map(|line| line.strip_prefix("task ")).unwrap().to_owned();
        assert!(done(&["task", "list", "--config", config]).contains(&id));
        let shown = done(&["task", "show", &id, "--config", config]);
        assert!(
            shown.contains("discrete Laplace noise of scale 2") && shown.contains("shop.example"),
            "{shown}"
        );
        ids.push(id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "one file, one task");

    let serve = || [1, 0, 2].map(|role: usize| Served::start(&configs[role]));
    let served = serve();
    let folder = Config::load(Path::new(&configs[0])).unwrap().leader.unwrap().tasks;
    let task = TaskFolder::new(&folder).load(ids[0].parse::<TaskId>().unwrap()).unwrap().unwrap().task;
    let window = now() / HOUR * HOUR - 2 * HOUR;
    let ca = std::fs::read(path("ca.pem")).unwrap();
    let counts = [30, 100, 0, 200];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(upload(&task, &ca, &counts, window));
    runtime.block_on(upload(&task, &ca, &[20], window + HOUR));

    let (from, to, later) =
        (window.to_string(), (window + HOUR).to_string(), (window + 2 * HOUR).to_string());
    let collect = |from: &str, to: &str, more: &[&str]| {
        let usual = ["collect", "--config", &configs[2], "--task", &ids[0], "--from", from, "--to", to];
        arras(&[&usual, more].concat())
    };
    let Ended { code, out, error } = collect(&from, &to, &["--json"]);
    assert_eq!(code, 0, "{error}");
    let release: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(release["report_count"], 330);
    for (bucket, count) in counts.iter().enumerate() {
        let shown = &release["buckets"][bucket]["shown"]["estimate"];
        if *count >= 100 {
            let estimate: i128 = shown.as_str().unwrap().parse().unwrap();
            assert!((estimate - i128::from(*count)).abs() < FAR, "{release}");
        } else if *count == 0 {
            assert!(shown.is_null(), "{release}");
        }
    }
    let table = collect(&from, &to, &[]);
    assert!(table.code == 0 && table.out.contains("suppressed"), "{}", table.out);

    let refused = collect(&to, &later, &[]);
    assert_eq!(refused.code, 1);
    assert!(refused.error.contains("error:") && !refused.error.contains("panicked"), "{}", refused.error);

    for role in served {
        assert_eq!(role.stop(), Some(0), "SIGTERM is no failure");
    }
    let served = serve();
    assert_eq!(collect(&from, &to, &["--json"]).out, out, "after a restart of all: the same release");
    drop(served);
}

#[test]
fn check_and_serve_refuse_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let roles = dir.path().join("roles");
    done(&["init", roles.to_str().unwrap(), "--ports", &free_ports()]);
    let original = roles.join("leader/leader.toml");
    let text = std::fs::read_to_string(&original).unwrap();
    let cases = [
        ("endpoint = \"https://127.0.0.1", "endpoint = \"http://192.0.2.1", "http"),
        ("watermark = \"", "watermark = \"store/", "watermark"),
        ("id_key = \"", "id_keys = \"", "id_keys"),
    ];
    for (index, (from, to, named)) in cases.into_iter().enumerate() {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let path = roles.join(format!("leader/changed-{index}.toml"));
        arras::config::loopback::write_config(&path, &changed).unwrap_err();
        let path = path.to_str().unwrap();
        for arguments in [["check", "--config", path], ["serve", "--config", path]] {
            let Ended { code, out, error } = arras(&arguments);
            assert_eq!(code, 1, "{arguments:?} {out}{error}");
            assert!(out.contains(named) || error.contains(named), "{named}: {out}{error}");
        }
    }
    let mut open = std::fs::metadata(&original).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut open, 0o644);
    std::fs::set_permissions(&original, open).unwrap();
    let refused = arras(&["serve", "--config", original.to_str().unwrap()]);
    assert!(refused.code == 1 && refused.error.contains("chmod"), "{}", refused.error);
    assert_eq!(arras(&["serve"]).code, 2);
    assert_eq!(arras(&["no-such-command"]).code, 2);
}

#[test]
fn the_demo_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let header = "path,total_conversions,total_conversion_value,total_null\n";
    let wrong_header = file("header.csv", "a,b\n1,2\n");
    let wrong_line = file("line.csv", &format!("{header}a > b,1,1,1\na,many,1,1\n"));
    for (arguments, named) in [
        (vec!["--journeys", "/does/not/exist.csv"], "--journeys"),
        (vec!["--journeys", &wrong_header], "line 1"),
        (vec!["--journeys", &wrong_line], "line 3"),
        (vec!["--epsilon", "0"], "--epsilon"),
        (vec!["--epsilon", "one"], "--epsilon"),
        (vec!["--epsilon", "11"], "--epsilon"),
        (vec!["--threshold", "many"], "--threshold"),
        (vec!["--keep", dir.path().to_str().unwrap()], "--keep"),
    ] {
        let Ended { code, error, .. } = arras(&[&["demo"], arguments.as_slice()].concat());
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.contains(named), "{named}: {error}");
    }
}

#[test]
fn a_small_demo_prints_a_release_and_keeps_what_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let journeys = dir.path().join("journeys.csv");
    let rows = "path,total_conversions,total_conversion_value,total_null\na > b,300,1,1\nb > a,150,1,1\nb > c,1,1,1\n";
    std::fs::write(&journeys, rows).unwrap();
    let kept = dir.path().join("kept");
    let (journeys, kept_dir) = (journeys.to_str().unwrap(), kept.to_str().unwrap());
    let Ended { code, out, error } = arras(&["demo", "--journeys", journeys, "--keep", kept_dir]);
    assert_eq!(code, 0, "{error}");
    assert!(!error.contains('['), "no progress bar where nobody watches: {error}");
    for line in ["suppressed", "discrete Laplace", "1 epsilon spent of 10", "CPU us/report"] {
        assert!(out.contains(line), "{line}: {out}");
    }
    assert!(kept.join("arras.toml").exists() && kept.join("leader/store").exists());

    let out = done(&["demo", "--journeys", journeys, "--json", "--epsilon", "0.5"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["true_counts"], serde_json::json!([0, 150, 300, 1]));
    assert_eq!(json["release"]["noise_scale"], "4/1");
    assert_eq!(json["release"]["report_count"], 451);
    assert!(json["stages"].as_array().unwrap().len() >= 4);
}

/// A restored backup would aggregate again what was aggregated, and draw noise again for what was released.
#[test]
fn a_restored_backup_refuses_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    let journeys = dir.path().join("journeys.csv");
    let rows = "path,total_conversions,total_conversion_value,total_null\na,200,1,1\n";
    std::fs::write(&journeys, rows).unwrap();
    done(&["demo", "--journeys", journeys.to_str().unwrap(), "--keep", kept.to_str().unwrap()]);
    let store = kept.join("leader/store");
    let config = kept.join("arras.toml");
    let config = config.to_str().unwrap();
    let backup = dir.path().join("backup");
    copy(&store, &backup);
    // Something more happens after the backup: another task is opted in to.
    let mut file =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/conversions.toml"))
            .unwrap();
    let loaded = Config::load(Path::new(config)).unwrap();
    let (leader, helper) = (loaded.leader.unwrap(), loaded.helper.unwrap());
    file = file.replace("https://127.0.0.1:8443/", leader.endpoint.as_str());
    file = file
        .replace("https://127.0.0.1:8444/", helper.endpoint.as_str())
        .replace("example.com", "shop.example");
    let task = dir.path().join("task.toml");
    std::fs::write(&task, file).unwrap();
    done(&["task", "add", task.to_str().unwrap(), "--config", config]);
    assert_eq!(Served::start(config).stop(), Some(0));
    std::fs::remove_dir_all(&store).unwrap();
    copy(&backup, &store);
    let refused = arras(&["serve", "--config", config]);
    assert_eq!(refused.code, 1);
    assert!(refused.error.contains("older") && refused.error.contains("watermark"), "{}", refused.error);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
