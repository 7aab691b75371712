#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse as _, Response};
use ring::rand::SystemRandom;

use super::*;
use crate::cli::console::ConsoleError;
use crate::cli::init;
use crate::config::{self, Config};
use crate::net::problem::{OwnError, ProblemDocument};
use crate::net::{server, tls};

const GOLDEN: &str = include_str!("../../collector/release/golden.json");
const TASK: &str = "9MKYayWc47bPs_lazxNEEC_16X0g5T8x1ufmh8HmZKc";

/// The files that `arras init` makes, and something that answers like a collector over TLS.
struct Place {
    dir: tempfile::TempDir,
    listener: Option<TcpListener>,
    /// How many times it answers 202 first.
    pending: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

#[derive(Clone)]
struct Fake {
    token: config::Collector,
    pending: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

async fn answer(State(fake): State<Fake>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    fake.asked.lock().unwrap().push((uri.path().to_owned(), String::from_utf8(body.to_vec()).unwrap()));
    if !fake.token.admin_token_sha256.authorizes(&headers) {
        return ProblemDocument::own(OwnError::Unauthorized).into_response();
    }
    if !uri.path().contains(TASK) {
        return ProblemDocument::own(OwnError::BudgetExhausted)
            .with_detail("nothing is left")
            .into_response();
    }
    let count = |left: usize| left.checked_sub(1);
    if fake.pending.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_ok() {
        return (StatusCode::ACCEPTED, [(header::RETRY_AFTER, "0")], "{}").into_response();
    }
    GOLDEN.into_response()
}

impl Place {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        // The other two are not used; any ports but this one.
        let others = [1, 2, 3].into_iter().filter(|other| *other != port).take(2);
        let dir = tempfile::tempdir().unwrap();
        let args = init::Args {
            dir: dir.path().join("made"),
            host: "127.0.0.1".to_owned(),
            ports: others.chain([port]).collect(),
            operations_ports: Vec::new(),
            budget_source: "shop.example".to_owned(),
        };
        init::make(&args, SystemTime::now(), &SystemRandom::new(), &mut Vec::new()).unwrap();
        Self { dir, listener: Some(listener), pending: Arc::default(), asked: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("made").join(name)
    }

    /// Runs a command line against the collector, and against none if it was not started.
    fn collect(&self, options: &[&str]) -> Result<String, Failure> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let config = self.path("collector/collector.toml");
        let mut line = vec!["collect", "--config", config.to_str().unwrap()];
        line.extend(options);
        let line = <Line as clap::Parser>::try_parse_from(line).unwrap();
        let mut out = Vec::new();
        run(&line.args, &mut out).map(|_| String::from_utf8(out).unwrap())
    }

    /// The same with the collector running meanwhile.
    fn with_collector<T>(&mut self, work: impl FnOnce(&Self) -> T) -> T {
        let collector = Config::load(&self.path("collector/collector.toml")).unwrap().collector.unwrap();
        let own = collector.tls.as_ref().unwrap();
        let tls =
            tls::server_config(&own.certificate.read().unwrap(), &own.private_key.read().unwrap()).unwrap();
        let fake = Fake { token: collector, pending: self.pending.clone(), asked: self.asked.clone() };
        let app = Router::new().fallback(answer).with_state(fake);
        let listener = self.listener.take().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move { server::serve(app, listener, Some(tls), std::future::pending()).await });
        work(self)
    }
}

/// Why the collector was not asked, or what it refused.
fn of_console(collected: Result<String, Failure>) -> ConsoleError {
    match collected.unwrap_err() {
        Failure::Failed(error) => *error.downcast().unwrap(),
        Failure::Usage(usage) => panic!("{usage}"),
    }
}

const WEEK: [&str; 6] = ["--task", TASK, "--from", "2026-11-02T00:00:00Z", "--to", "2026-11-09T00:00:00Z"];

#[test]
fn prints_the_table_or_the_document_over_tls() {
    let mut place = Place::new();
    place.pending.store(2, Ordering::SeqCst);
    place.with_collector(|place| {
        assert_eq!(place.collect(&WEEK).unwrap(), include_str!("../../collector/table/golden.txt"));
        let document = place.collect(&[&WEEK[..], &["--json"]].concat()).unwrap();
        assert_eq!(document.trim_end(), GOLDEN.trim_end());
        let asked = place.asked.lock().unwrap();
        assert_eq!(asked.len(), 4, "twice 202, then two releases");
        let request =
            (format!("/v1/tasks/{TASK}/releases"), r#"{"from":1793577600,"to":1794182400}"#.to_owned());
        assert!(asked.iter().all(|found| *found == request), "{asked:?}");
    });
}

#[test]
fn refusals_say_what_to_do() {
    let mut place = Place::new();
    let other = place.path("other-token");
    fs::write(&other, "another-token-for-tests-0123456789abcdef\n").unwrap();
    place.with_collector(|place| {
        let token_file = ["--token-file", other.to_str().unwrap()];
        let refused = of_console(place.collect(&[&WEEK[..], &token_file].concat()));
        assert!(matches!(refused, ConsoleError::WrongToken(_)), "{refused}");
        let unknown = "A".repeat(43);
        let window = ["--task", &unknown, "--from", "0", "--to", "3600"];
        assert_eq!(place.collect(&window).unwrap_err().to_string(), "nothing is left");
    });
}

#[test]
fn without_a_collector_it_says_how_to_start_one() {
    let mut place = Place::new();
    // Nobody listens any more.
    drop(place.listener.take());
    let text = place.collect(&WEEK).unwrap_err().to_string();
    assert!(text.contains("arras serve --config") && text.contains("collector.toml"), "{text}");
    fs::remove_file(place.path("admin/token")).unwrap();
    assert!(matches!(of_console(place.collect(&WEEK)), ConsoleError::NoToken));
    let missing = place.path("missing");
    let token_file = ["--token-file", missing.to_str().unwrap()];
    let unread = of_console(place.collect(&[&WEEK[..], &token_file].concat()));
    assert!(matches!(unread, ConsoleError::File { .. }), "{unread}");
    let leader = place.path("leader/leader.toml");
    let wrong = ["--config", leader.to_str().unwrap()];
    let args = |extra: &[&str]| {
        let mut line = vec!["arras", "collect"];
        line.extend(extra);
        line.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(crate::cli::run(args(&[&WEEK[..], &wrong].concat())), ExitCode::from(crate::cli::FAILED));
}

#[test]
fn a_wrong_command_line_is_told_from_a_refusal() {
    let place = Place::new();
    let config = place.path("collector/collector.toml");
    let config = config.to_str().unwrap();
    for (from, to, task) in [("7200", "3600", TASK), ("yesterday", "3600", TASK), ("0", "3600", "short")] {
        let line = ["arras", "collect", "--config", config, "--task", task, "--from", from, "--to", to];
        assert_eq!(crate::cli::run(line), ExitCode::from(crate::cli::USAGE), "{from} {to} {task}");
        let sum = ["release", "sum"].iter().chain(&line[2..]);
        let line: Vec<&str> = std::iter::once("arras").chain(sum.copied()).collect();
        assert_eq!(crate::cli::run(line), ExitCode::from(crate::cli::USAGE), "{from} {to} {task}");
    }
}
