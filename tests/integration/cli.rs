//! The command line as people use it: processes of their own, real output, real exit codes, TLS, the real clock and
//! real noise.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use arras::config::Config;
use arras::tasks::{TaskFile, TaskFolder};
use arras_client::upload::{Uploader, fetch_hpke_configs};
use arras_protocol::messages::{Report, TaskId};
use arras_protocol::report::ReportMaker;
use arras_protocol::task::Task;
use arras_protocol::vdaf::Measurement;
use rand::RngExt as _;

use crate::harness::PATIENCE;

/// The arguments for a child, separated by newlines.
pub const ARGUMENTS: &str = "ARRAS_TEST_ARGUMENTS";

/// Stands before the child's own output, which follows what the test runner prints.
const OUTPUT: &str = "--- output of arras ---";

/// Further from the truth than this is a number only with a chance below e^-25 a cell: each of two noises has
/// scale 2.
pub const FAR: i128 = 60;

/// Not a test by itself: what the child processes run.
#[test]
fn command_line() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    writeln!(std::io::stdout(), "{OUTPUT}").unwrap();
    let code = arras::cli::run(std::iter::once("arras").chain(arguments.lines()));
    // An exit code can be returned and shown, but not read.
    let digits: String = format!("{code:?}").chars().filter(char::is_ascii_digit).collect();
    std::process::exit(digits.parse().unwrap());
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "cli::command_line", "--nocapture"])
        .env(ARGUMENTS, arguments.join("\n"))
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null());
    command
}

pub struct Ended {
    pub code: i32,
    pub out: String,
    pub error: String,
}

fn ended(output: Output) -> Ended {
    let out = String::from_utf8(output.stdout).unwrap();
    let out = out.split_once(&format!("{OUTPUT}\n")).map_or(String::new(), |(_, own)| own.to_owned());
    Ended { code: output.status.code().unwrap(), out, error: String::from_utf8(output.stderr).unwrap() }
}

/// Runs a command that must come to an end: one that goes on being served is killed, and fails the test.
pub fn arras(arguments: &[&str]) -> Ended {
    let child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let (done, output) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    if let Ok(output) = output.recv_timeout(PATIENCE) {
        return ended(output.unwrap());
    }
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    panic!("did not end: {arguments:?}");
}

/// Runs a command that must succeed, and returns what it printed.
pub fn done(arguments: &[&str]) -> String {
    let Ended { code, out, error } = arras(arguments);
    assert_eq!(code, 0, "{arguments:?}: {out}{error}");
    out
}

/// A process that is being served, killed when the test ends.
pub struct Served(Child);

impl Served {
    /// Whatever else is to be killed when the test ends.
    pub fn of(child: Child) -> Self {
        Self(child)
    }

    /// Starts a role and waits until it says that it listens.
    pub fn start(config: &str) -> Self {
        let mut child = command(&["serve", "--config", config]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let served = Self(child);
        let listens = lines.by_ref().map_while(Result::ok).any(|line| line.contains("listens on"));
        assert!(listens, "{config} is not served");
        // The rest goes on being read, or the child would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        served
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// SIGTERM; the exit code.
    pub fn stop(self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.ended()
    }

    /// Waits for its end; the exit code.
    pub fn ended(mut self) -> Option<i32> {
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

/// Three ports for a role each, and three a thousand further for their metrics. From below those that the system hands
/// out itself (32,768 on Linux), so that no connection takes them before the roles do; each is given out once.
pub fn free_ports() -> String {
    static NEXT: std::sync::OnceLock<AtomicU16> = std::sync::OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(rand::rng().random_range(20_000..31_000)));
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let candidates = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
    let free = candidates.filter(|port| is_free(*port) && is_free(*port + 1_000)).take(3);
    free.map(|port| port.to_string()).collect::<Vec<_>>().join(",")
}

fn mode(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub const HOUR: u64 = 3_600;

pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Uploads reports of each bucket, all of one time; trusts one authority, or speaks plain HTTP if there is none.
async fn upload(task: &Task, ca: Option<&[u8]>, counts: &[u32], posix_seconds: u64) {
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(arras::net::tls::client_config(ca).unwrap())
        .https_only(ca.is_some())
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

/// What somebody does who was handed a release, and has the collector's keys from elsewhere.
fn verify_offline(dir: &Path, collector: &str, signed: &str, document: &str) {
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (release, keys) = (
        write("release.jws", signed),
        write("keys.json", &done(&["release", "keys", "--config", collector])),
    );
    let table = done(&["release", "verify", &release, "--keys", &keys, "--explain"]);
    for text in ["verified: signed by key", "spring", "How these numbers were made", "shop.example"] {
        assert!(table.contains(text), "{text}: {table}");
    }
    assert_eq!(done(&["release", "verify", &release, "--keys", &keys, "--json"]), document);
    // What was not checked is not spoken for.
    let shown = done(&["release", "show", &release, "--explain"]);
    for text in ["NOT verified", "it says; not checked", "No signature was checked here"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert!(!shown.contains("signature shows"), "{shown}");
    // One byte of the document, and one of the signature.
    for at in [signed.len() / 2, signed.len() - 10] {
        let mut changed = signed.as_bytes().to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = write("changed.jws", std::str::from_utf8(&changed).unwrap());
        let refused = arras(&["release", "verify", &changed, "--keys", &keys]);
        assert_eq!((refused.code, refused.out.as_str()), (1, ""), "nothing of it is printed");
        assert!(
            refused.error.contains("NOT VERIFIED") && refused.error.contains("changed"),
            "{}",
            refused.error
        );
    }
    // Another collector's key.
    let line = done(&["release", "new-key"]);
    let text = std::fs::read_to_string(collector).unwrap();
    let own = text.lines().find(|line| line.starts_with("signing_key = ")).unwrap();
    let folder = Path::new(collector).parent().unwrap();
    let other = folder.join("other.toml").to_str().unwrap().to_owned();
    std::fs::write(&other, text.replace(own, line.trim())).unwrap();
    let others = write("others.json", &done(&["release", "keys", "--config", &other]));
    let refused = arras(&["release", "verify", &release, "--keys", &others]);
    assert!(refused.code == 1 && refused.error.contains("none of those given"), "{}", refused.error);
    // Signed by a key that is known, naming another: it was printed as signed by both.
    let signer = arras_protocol::signed::SigningKey::from_bytes(&[5; 32]);
    let kind = arras_protocol::signed::DocumentType::Release;
    let two =
        write("two.jws", &arras_protocol::signed::sign(&signer, kind, document.trim().as_bytes()).unwrap());
    let one = write("one.txt", &signer.public_key().to_string());
    let refused = arras(&["release", "verify", &two, "--keys", &one]);
    assert!(refused.code == 1 && refused.out.is_empty(), "{}", refused.out);
    assert!(refused.error.contains("and says that its key is"), "{}", refused.error);
    // The key was changed: listed among the former ones, the old one still verifies what it signed.
    let set: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&keys).unwrap()).unwrap();
    let former = format!("{}\nformer_signing_keys = [{}]", line.trim(), set["keys"][0]["x"]);
    std::fs::write(&other, text.replace(own, &former)).unwrap();
    let changed = write("changed.json", &done(&["release", "keys", "--config", &other]));
    assert!(done(&["release", "verify", &release, "--keys", &changed]).starts_with("verified"));
    // Without any key it is shown, and said not to be verified.
    let shown = done(&["release", "show", &release]);
    assert!(shown.starts_with("NOT verified") && shown.contains("spring"), "{shown}");
    let shown = done(&["release", "show", &write("release.json", document), "--explain"]);
    assert!(shown.contains("How these numbers were made"), "{shown}");
    // A configuration from before releases were signed says what to do.
    std::fs::write(&other, text.replace(own, "")).unwrap();
    let checked = arras(&["check", "--config", &other]);
    assert!(checked.code == 1 && checked.out.contains("arras release new-key"), "{}", checked.out);
    std::fs::remove_file(&other).unwrap();
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
        assert_eq!(mode(config), 0o600, "{config}");
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
    runtime.block_on(upload(&task, Some(&ca), &counts, window));
    runtime.block_on(upload(&task, Some(&ca), &[20], window + HOUR));

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
    for (bucket, count) in counts.iter().chain([0; 12].iter()).enumerate() {
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
    for (shown, name) in [(1, "spring"), (3, "autumn")] {
        let estimate = release["buckets"][shown]["shown"]["estimate"].as_str().unwrap();
        let row = table.out.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(row.split_whitespace().nth(1), Some(estimate), "the same numbers: {row}");
    }
    assert_eq!(collect(&from, &to, &["--json"]).out, out, "asked for again: the same release");
    let signed = collect(&from, &to, &["--signed"]).out;
    verify_offline(dir.path(), &configs[2], &signed, &out);

    let refused = collect(&to, &later, &[]);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    let said = refused.error.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(said.contains("too few reports") && said.contains("Ask again when more have come"), "{said}");
    // A budget of last week exists, one of last year does not.
    let early = collect("2020-01-01T00:00:00Z", "2020-01-01T01:00:00Z", &[]);
    assert!(early.code == 1 && early.error.contains("ask for a later interval"), "{}", early.error);

    for role in served {
        assert_eq!(role.stop(), Some(0), "SIGTERM is no failure");
    }
    let served = serve();
    assert_eq!(collect(&from, &to, &["--json"]).out, out, "after a restart of all: the same release");
    assert_eq!(collect(&from, &to, &["--signed"]).out, signed, "and the same signed bytes");
    let get = |number: &str, more: &str| arras(&["release", "get", number, more, "--config", &configs[2]]);
    assert_eq!(get("1", "--signed").out, signed);
    let sum = |more: &[&str]| {
        let usual =
            ["release", "sum", "--config", &configs[2], "--task", &ids[0], "--from", &from, "--to", &later];
        arras(&[&usual, more].concat())
    };
    let explained = sum(&["--explain"]);
    // The hour after had too few reports; it is named, without what the leader said, and not taken for 0.
    for text in ["sum of     1 window", "was asked for and not collected", "autumn", "Every noised number"] {
        assert!(explained.out.contains(text), "{text}: {} {}", explained.out, explained.error);
    }
    let (file, keys) = (dir.path().join("sum.jws"), dir.path().join("keys.json"));
    std::fs::write(&file, sum(&["--signed", "--campaign", "spring", "--campaign", "autumn"]).out).unwrap();
    let (file, keys) = (file.to_str().unwrap(), keys.to_str().unwrap());
    let verified = done(&["release", "verify", file, "--keys", keys]);
    assert!(
        verified.contains("verified: signed by key") && verified.contains("(the 2 campaigns together)"),
        "{verified}"
    );
    let none = get("2", "--json");
    assert!(none.code == 1 && none.error.contains("no release of this number"), "{}", none.error);
    for role in served {
        assert_eq!(role.stop(), Some(0));
    }
    let stopped = collect(&from, &to, &[]);
    assert!(stopped.code == 1 && stopped.error.contains("arras serve --config"), "{}", stopped.error);
}

/// What a server would leave out with no more than a line in its log is refused while somebody is looking.
#[test]
fn a_role_takes_no_task_that_it_cannot_play_its_part_in() {
    let dir = tempfile::tempdir().unwrap();
    let roles = dir.path().join("roles");
    done(&["init", roles.to_str().unwrap(), "--ports", &free_ports(), "--budget-source", "shop.example"]);
    let example = std::fs::read_to_string(roles.join("tasks-examples/conversions.toml")).unwrap();
    let file = dir.path().join("task.toml");
    let config = |role: &str| roles.join(format!("{role}/{role}.toml")).to_str().unwrap().to_owned();
    let add = |role: &str, from: &str, to: &str| {
        let changed = example.replace(from, to);
        assert!(from == to || changed != example, "{from}");
        std::fs::write(&file, changed).unwrap();
        arras(&["task", "add", file.to_str().unwrap(), "--config", &config(role)])
    };
    for (role, from, to, named) in [
        ("leader", "\"advertiser\"", "\"somebody\"", "[[leader.collector]]"),
        ("helper", "\"shop.example\"", "\"shop\"", "[[helper.collector.budget_source]]"),
        ("leader", "leader = \"https://127.0.0.1", "leader = \"https://localhost", "leader.endpoint"),
        ("helper", "helper = \"https://127.0.0.1", "helper = \"https://localhost", "helper.endpoint"),
        (
            "collector",
            "leader = \"https://127.0.0.1",
            "leader = \"https://localhost",
            "collector.leader.endpoint",
        ),
        ("leader", "epsilon = \"1\"", "epsilon = \"11\"", "most allowed is 10"),
        ("leader", "contributions = 1", "contribution = 1", "contribution"),
        // Values say which task counts their conversions; counts say no such thing.
        (
            "leader",
            "type = \"histogram\", length = 16",
            "type = \"l1-bound-sum\", length = 16, max_value = 100",
            "conversions = \"TASK ID\"",
        ),
        (
            "collector",
            "contributions = 1",
            "contributions = 1\nconversions = \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
            "for tasks that sum values",
        ),
        ("collector", "contributions = 1", "contributions = 1\nconversions = \"short\"", "TaskId"),
        ("leader", "\"spring\"", &format!("\"{}\"", "s".repeat(129)), "more than 128 bytes"),
    ] {
        let refused = add(role, from, to);
        assert_eq!(refused.code, 1, "{}", refused.out);
        assert!(refused.error.contains(named), "{named}: {}", refused.error);
        assert!(done(&["task", "list", "--config", &config(role)]).contains("0 tasks"), "{named}");
    }

    let added = add("collector", "", "");
    assert!(added.code == 0 && added.out.contains("takes part in"), "{}", added.error);
    let again = add("collector", "", "");
    assert!(again.code == 0 && again.out.contains("took part already in"), "{}", again.error);
    // Names of campaigns are no part of the id.
    let other = add("collector", "[\"spring\", ", "[");
    assert!(other.code == 1 && other.error.contains("other campaigns"), "{}", other.error);
}

#[test]
fn the_examples_task_file_makes_a_task() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/conversions.toml"))
        .unwrap();
    let (task, _) = TaskFile::parse(&text).unwrap().build().unwrap();
    assert_eq!(task.vdaf().config().output_len(), 16);
    // The file leaves it out and says what it gets.
    assert_eq!(task.policy().unwrap().threshold, 23);
    assert!(text.contains("that nobody is in: 23 for this noise and 16 buckets"));
}

/// `arras task add tasks/*.toml`, as the README had it, took one file and called the second one unexpected; and files that are
/// listed by their names do not say that conversions come before the values that they decide about.
#[test]
fn tasks_are_added_together_conversions_first_and_all_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let roles = dir.path().join("roles");
    done(&["init", roles.to_str().unwrap(), "--ports", &free_ports(), "--budget-source", "shop.example"]);
    let conversions = std::fs::read_to_string(roles.join("tasks-examples/conversions.toml")).unwrap();
    let counting = TaskFile::parse(&conversions).unwrap().build().unwrap().0.id();
    let (counts, sums) =
        ("type = \"histogram\", length = 16", "type = \"l1-bound-sum\", length = 16, max_value = 9");
    let values = conversions.replace(counts, sums) + &format!("conversions = \"{counting}\"\n");
    let summing = TaskFile::parse(&values).unwrap().build().unwrap().0.id();
    let stranger = conversions.replace("collector = \"advertiser\"", "collector = \"somebody\"");
    assert!(stranger != conversions && summing != counting);
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (values, conversions) = (write("1.toml", &values), write("2.toml", &conversions));
    let stranger = write("3.toml", &stranger);
    let leader = roles.join("leader/leader.toml").to_str().unwrap().to_owned();

    let refused = arras(&["task", "add", &values, &conversions, &stranger, "--config", &leader]);
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(refused.error.contains(&stranger) && refused.error.contains("\"somebody\""), "{}", refused.error);
    assert!(done(&["task", "list", "--config", &leader]).contains("0 tasks"));

    let added = done(&["task", "add", &values, &conversions, "--config", &leader]);
    let ids: Vec<&str> = added.lines().filter_map(|line| line.strip_prefix("task ")).collect();
    assert_eq!(ids, [counting.to_string(), summing.to_string()]);
    assert!(done(&["task", "list", "--config", &leader]).contains("2 tasks"));
    let none = arras(&["task", "add", "--config", &leader]);
    assert!(none.code == 2 && none.error.contains("FILE"), "{}", none.error);
}

#[test]
fn check_and_serve_refuse_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let roles = dir.path().join("roles");
    done(&["init", roles.to_str().unwrap(), "--ports", &free_ports()]);
    let original = roles.join("leader/leader.toml");
    let text = std::fs::read_to_string(&original).unwrap();
    let cases = [
        ("endpoint = \"https://127.0.0.1", "endpoint = \"http://192.0.2.1", "leader.endpoint", "use https"),
        ("watermark = \"", "watermark = \"store/", "leader.watermark", "choose a place outside"),
        ("id_key = \"", "id_keys = \"", "leader.id_keys", "unknown field"),
        ("private_key = \"", "private_key = \"A", "leader.hpke.private_key", "base64url"),
    ];
    let check = |path: &str, key: &str, advice: &str| {
        for arguments in [["check", "--config", path], ["serve", "--config", path]] {
            let Ended { code, out, error } = arras(&arguments);
            assert_eq!(code, 1, "{arguments:?} {out}{error}");
            let said = format!("{out}{error}");
            assert!(said.contains(key) && said.contains(advice), "{arguments:?} {key}, {advice}: {said}");
        }
    };
    for (index, (from, to, key, advice)) in cases.into_iter().enumerate() {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let path = roles.join(format!("leader/changed-{index}.toml"));
        // It writes before it refuses.
        arras::config::loopback::write_config(&path, &changed).unwrap_err();
        check(path.to_str().unwrap(), key, advice);
    }
    let original = original.to_str().unwrap();
    std::fs::set_permissions(original, std::fs::Permissions::from_mode(0o644)).unwrap();
    check(original, "the file", &format!("chmod 600 {original}"));
    check("/does/not/exist.toml", "/does/not/exist.toml", "check the path");
    assert!(!roles.join("leader/store").exists(), "a refused start leaves no store behind");

    for usage in [&["serve"][..], &["no-such-command"], &["check", "--configs", original], &[]] {
        let Ended { code, error, .. } = arras(usage);
        assert!(code == 2 && error.contains("Usage:"), "{usage:?}: {code} {error}");
    }
}

/// The second of two servers on one port says which port, and does not end the first.
#[test]
fn a_taken_address_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let roles = dir.path().join("roles");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let free = free_ports();
    let (free, _) = free.rsplit_once(',').unwrap();
    done(&["init", roles.to_str().unwrap(), "--ports", &format!("{},{free}", taken.port())]);
    let refused = arras(&["serve", "--config", roles.join("leader/leader.toml").to_str().unwrap()]);
    assert_eq!(refused.code, 1);
    for part in [taken.to_string().as_str(), "leader.listen"] {
        assert!(refused.error.contains(part), "{part}: {}", refused.error);
    }
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
    // Both were taken for numbers that do not matter.
    let wrong_value = file("value.csv", &format!("{header}a,1,1,1\na,200,abc,1\n"));
    let wrong_null = file("null.csv", &format!("{header}a,1,1,1\na,200,1,xyz\n"));
    // Ran all stages before its collection was refused, with advice to ask again when more have come.
    let too_few = file("few.csv", &format!("{header}a > b,98,1,1\na,1,1,1\n"));
    for (arguments, named) in [
        (vec!["--journeys", "/does/not/exist.csv"], "--journeys"),
        (vec!["--journeys", &too_few], "few.csv: 99 conversions"),
        (vec!["--journeys", &wrong_header], "line 1"),
        (vec!["--journeys", &wrong_line], "line 3"),
        (vec!["--journeys", &wrong_value], "line 3: total_conversion_value"),
        (vec!["--journeys", &wrong_null], "line 3: total_null"),
        (vec!["--epsilon", "0"], "--epsilon"),
        // Was taken for an option of its own, so that the message named none that there is.
        (vec!["--epsilon", "-1"], "--epsilon"),
        (vec!["--threshold", "-1"], "--threshold"),
        (vec!["--epsilon", "one"], "--epsilon"),
        (vec!["--epsilon", "11"], "--epsilon"),
        (vec!["--threshold", "many"], "--threshold"),
        (vec!["--threshold=-1"], "--threshold"),
        (vec!["--keep", dir.path().to_str().unwrap()], "--keep"),
    ] {
        let Ended { code, error, .. } = arras(&[&["demo"], arguments.as_slice()].concat());
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.contains(named), "{named}: {error}");
    }
    let kept = dir.path().join("kept");
    assert_eq!(arras(&["demo", "--epsilon", "11", "--keep", kept.to_str().unwrap()]).code, 2);
    assert_eq!(std::fs::read_dir(kept).unwrap().count(), 0, "the folder can be named again");
}

/// Ctrl-C left a folder with private keys, tokens and reports behind, under a name that nobody is told.
#[test]
fn a_demo_that_is_interrupted_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let content = || std::fs::read_dir(temporary.path()).unwrap().flatten().map(|entry| entry.path());
    let mut child = command(&["demo"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let started = Instant::now();
    // By then the signal is waited for.
    while !content().any(|folder| folder.join("leader/store").exists()) {
        assert!(child.try_wait().unwrap().is_none() && started.elapsed() < PATIENCE, "it does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(Served(child).ended(), Some(130));
    assert_eq!(content().count(), 0);
}

#[test]
fn init_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (full, fresh) = (dir.path().to_str().unwrap().to_owned(), dir.path().join("new"));
    std::fs::write(dir.path().join("a"), "a").unwrap();
    let fresh = fresh.to_str().unwrap();
    for (arguments, named) in [
        ([full.as_str(), "--ports", "1,2,3"], "is not empty"),
        ([fresh, "--ports", "1,2"], "--ports"),
        ([fresh, "--host", "a b"], "--host"),
        ([fresh, "--budget-source", "a b"], "--budget-source"),
    ] {
        let Ended { code, error, .. } = arras(&[&["init"], arguments.as_slice()].concat());
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.contains(named), "{named}: {error}");
    }
}

#[test]
fn a_small_demo_prints_a_release_and_keeps_what_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let journeys = dir.path().join("journeys.csv");
    let all =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/journeys.csv")).unwrap();
    let some: Vec<&str> = all.lines().take(300).collect();
    std::fs::write(&journeys, some.join("\n")).unwrap();
    let kept = dir.path().join("kept");
    let (journeys, kept_dir) = (journeys.to_str().unwrap(), kept.to_str().unwrap());
    let Ended { code, out, error } = arras(&["demo", "--journeys", journeys, "--keep", kept_dir]);
    assert_eq!(code, 0, "{error}");
    assert!(!error.contains('['), "no progress bar where nobody watches: {error}");
    for line in ["suppressed", "discrete Laplace", "1 epsilon spent of 10", "CPU us/report"] {
        assert!(out.contains(line), "{line}: {out}");
    }
    assert!(kept.join("arras.toml").exists() && kept.join("leader/store").exists());
    the_sample_is_of_a_run(&out);

    let out = done(&["demo", "--journeys", journeys, "--json", "--epsilon", "0.5"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["release"]["noise"], serde_json::json!({ "leader": "4/1", "helper": "4/1" }));
    let truth: Vec<u64> = serde_json::from_value(json["true_counts"].clone()).unwrap();
    // Last touch by hand: a line's conversions go to the last channel of its path.
    let mut expected = std::collections::BTreeMap::<&str, u64>::new();
    for line in &some[1..] {
        let (path, rest) = line.split_once(',').unwrap();
        let conversions: u64 = rest.split(',').next().unwrap().parse().unwrap();
        path.split(" > ").for_each(|channel| *expected.entry(channel).or_default() += 0);
        *expected.get_mut(path.rsplit(" > ").next().unwrap()).unwrap() += conversions;
    }
    assert_eq!(truth[0], 0, "every conversion of the file has a touch");
    assert_eq!(truth[1..], expected.values().copied().collect::<Vec<_>>());
    assert_eq!(json["release"]["report_count"], truth.iter().sum::<u64>());
    assert!(json["stages"].as_array().unwrap().len() >= 4);
}

/// The README's sample of the demo told of a budget in words that no release had any more. Its numbers, ids and the channels
/// that are shown are another run's; all other words must be this one's.
fn the_sample_is_of_a_run(run: &str) {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let sample = readme.split("```").find(|block| block.starts_with("\nrelease ")).unwrap();
    let form = |line: &str| {
        // An id may have no digit.
        let is_own = |word: &&str| word.len() >= 43 || word.contains(|c: char| c.is_ascii_digit());
        let words: Vec<&str> =
            line.split_whitespace().map(|word| if is_own(&word) { "#" } else { word }).collect();
        words.join(" ")
    };
    let row = |line: &str| match form(line) {
        form if form.starts_with('(') => form,
        form => form.split_once(' ').map(|(_, cells)| format!("CHANNEL {cells}")).unwrap(),
    };
    let forms = |text: &str| {
        let mut parts = text.trim_start().split("\n\n");
        let header: Vec<String> = parts.next().unwrap().lines().map(form).collect();
        let table = parts.next().unwrap();
        let head = form(table.lines().next().unwrap());
        let rows: BTreeSet<String> = table.lines().skip(1).map(row).collect();
        (header, head, rows, form(parts.next().unwrap().trim_end()))
    };
    let (sample, run) = (forms(sample), forms(run));
    assert!(run.0.len() > 5 && run.2.len() > 3 && run.3.starts_with("budget of "), "{run:?}");
    assert_eq!(sample, run);
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
    let watermark = || std::fs::read(kept.join("leader/watermark")).unwrap();
    let at_backup = watermark();
    // Something more happens after the backup. What moves the watermark is not an upload, which can be lost but not
    // be counted twice, but what the leader does with it.
    let served = Served::start(config);
    let folder = TaskFolder::new(&Config::load(Path::new(config)).unwrap().leader.unwrap().tasks);
    let [id] = folder.ids().unwrap().try_into().unwrap();
    let task = folder.load(id).unwrap().unwrap().task;
    tokio::runtime::Runtime::new().unwrap().block_on(upload(&task, None, &[0, 3], now()));
    let started = Instant::now();
    while watermark() == at_backup {
        assert!(started.elapsed() < PATIENCE, "nothing was aggregated");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(served.stop(), Some(0));
    std::fs::remove_dir_all(&store).unwrap();
    copy(&backup, &store);
    let refused = arras(&["serve", "--config", config]);
    assert_eq!(refused.code, 1);
    for part in ["an older copy was put in its place", "watermark", "Put the newest copy back"] {
        assert!(refused.error.contains(part), "{part}: {}", refused.error);
    }
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
