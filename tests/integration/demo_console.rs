//! `arras demo --console`: somebody who has just built Arras looks at a console with four weeks of numbers.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cli::{Served, arras, command, done};
use crate::harness::PATIENCE;

/// A small file of journeys: `alpha` is shown on most days, `beta` in most weeks, `gamma` never.
const JOURNEYS: &str = "path,total_conversions,total_conversion_value,total_null\n\
                        beta > alpha,1000,3500.5,9000\nalpha > beta,300,900,6000\nbeta > gamma,8,20,300\n";

/// A demo with a console, killed when the test ends.
pub struct Demo {
    served: Served,
    /// Where it keeps its things.
    temporary: tempfile::TempDir,
    /// Of the console.
    pub url: String,
    pub email: String,
    pub password: String,
    pub key: String,
    /// The advertiser, and the configuration of the roles.
    pub report: [String; 2],
}

impl Demo {
    /// Starts a small one and waits until it says where the console is.
    pub fn start() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let journeys = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(journeys.path(), JOURNEYS).unwrap();
        let mut child =
            command(&["demo", "--console", "--json", "--journeys", journeys.path().to_str().unwrap()])
                .env("TMPDIR", temporary.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let served = Served::of(child);
        let started = Instant::now();
        let line = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with('{'));
        let line =
            line.unwrap_or_else(|| panic!("it ended after {:?} without a line of JSON", started.elapsed()));
        std::thread::spawn(move || lines.for_each(drop));
        let said: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        let (url, email, password, key) = (text("url"), text("email"), text("password"), text("key"));
        let report = [text("advertiser"), text("config")];
        Self { served, temporary, url, email, password, key, report }
    }

    /// The collector's endpoint, without a slash at its end.
    pub fn endpoint(&self) -> &str {
        self.url.trim_end_matches("/console")
    }

    /// Ctrl-C; its exit code, and how many things it left behind.
    pub fn stop(self) -> (Option<i32>, usize) {
        let left = |path: &Path| std::fs::read_dir(path).unwrap().count();
        assert_eq!(left(self.temporary.path()), 1, "its folder is looked for in another place than it is");
        kill_process(Pid::from_raw(self.served.pid().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
        let code = self.served.ended();
        (code, left(self.temporary.path()))
    }
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .tls_backend_preconfigured(arras::net::tls::client_config(None).unwrap())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

/// What a browser would send back of the cookies that an answer sets.
fn cookies(answer: &reqwest::Response) -> String {
    let set = answer.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    set.map(|cookie| cookie.split(';').next().unwrap()).collect::<Vec<_>>().join("; ")
}

/// The value of a hidden field.
fn hidden(page: &str, name: &str) -> String {
    let field = page.split("<input").find(|field| field.contains(&format!("name=\"{name}\""))).unwrap();
    field.split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_with_a_console_lets_somebody_in_and_leaves_nothing_behind() {
    let demo = tokio::task::spawn_blocking(Demo::start).await.unwrap();
    let http = client();
    // Signed out, there is only the way in.
    let out = http.get(format!("{}/overview", demo.url)).send().await.unwrap();
    assert!(out.status().is_redirection(), "{}", out.status());
    let form = http.get(format!("{}/sign-in", demo.url)).send().await.unwrap();
    assert_eq!(form.status(), 200);
    let before = cookies(&form);
    let csrf = hidden(&form.text().await.unwrap(), "csrf");
    let answer = http
        .post(format!("{}/sign-in", demo.url))
        .header("cookie", before)
        .header("origin", demo.endpoint())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("csrf={csrf}&email={}&password={}", demo.email.replace('@', "%40"), demo.password))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_redirection(), "{}", answer.status());
    let page =
        http.get(format!("{}/campaigns", demo.url)).header("cookie", cookies(&answer)).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    for text in ["Demo shop", &demo.email, "alpha", "beta", "gamma"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(page.to_lowercase().contains("invented"), "{page}");

    let insights = http
        .get(format!("{}/v1/insights?level=campaign&granularity=total", demo.endpoint()))
        .bearer_auth(&demo.key)
        .send()
        .await
        .unwrap();
    assert_eq!(insights.status(), 200);
    let insights = insights.text().await.unwrap();
    assert!(insights.contains("\"alpha\"") && insights.contains("suppressed"), "{insights}");

    // Nobody could try the commands of operators: the demo told the administrator's token to nobody.
    let [advertiser, config] = demo.report.clone();
    let asked = move || done(&["report", &advertiser, "--config", &config]);
    let report = tokio::task::spawn_blocking(asked).await.unwrap();
    assert!(report.contains("alpha") && report.contains("gamma"), "{report}");

    let stopped = tokio::task::spawn_blocking(|| demo.stop()).await.unwrap();
    assert_eq!(stopped, (Some(0), 0));
}

/// Keys, stores and reports were left behind when somebody changed their mind early.
#[test]
fn a_demo_with_a_console_that_is_interrupted_early_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let content = || std::fs::read_dir(temporary.path()).unwrap().flatten().map(|entry| entry.path());
    let child = command(&["demo", "--console"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    let served = Served::of(child);
    let started = Instant::now();
    while !content().any(|folder| folder.join("leader/store").exists()) {
        assert!(started.elapsed() < PATIENCE, "it does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!((served.ended(), content().count()), (Some(130), 0));
}

#[test]
fn a_demo_with_a_console_refuses_what_makes_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, rows: &str| {
        let path = dir.path().join(name);
        let header = "path,total_conversions,total_conversion_value,total_null\n";
        std::fs::write(&path, format!("{header}{rows}")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let many = (0..16).map(|channel| format!("channel {channel},50,1,1\n")).collect::<Vec<_>>().concat();
    let (many, unseen) = (file("many.csv", &many), file("unseen.csv", "a\u{200b}b,500,1,1\n"));
    let kept = dir.path().join("kept");
    let kept = kept.to_str().unwrap();
    for (arguments, named) in [
        (vec!["--epsilon", "2"], "--epsilon"),
        (vec!["--threshold", "20"], "--threshold"),
        (vec!["--keep", kept, "--journeys", &many], "16 channels"),
        (vec!["--keep", kept, "--journeys", &unseen], "cannot be a campaign"),
    ] {
        let ended = arras(&[&["demo", "--console"], arguments.as_slice()].concat());
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.error);
        assert!(ended.error.contains(named), "{named}: {}", ended.error);
    }
    assert_eq!(std::fs::read_dir(kept).unwrap().count(), 0, "the folder can be named again");
}
