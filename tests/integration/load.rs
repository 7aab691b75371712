//! `arras load`, with few reports: that it measures what it says, not how fast anything is.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::cli::{ARGUMENTS, Ended, FAR, HOUR, Served, arras, done, free_ports, now};

/// A program that is `arras` for whoever starts it: this test binary plays it.
fn program(dir: &Path) -> String {
    let path = dir.join("arras");
    let test = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\n{ARGUMENTS}=\"$(printf '%s\\n' \"$@\")\" exec '{}' --exact cli::command_line --nocapture\n",
        test.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn load(dir: &Path, options: &[&str]) -> Value {
    load_of("histogram:16", dir, options)
}

fn load_of(vdaf: &str, dir: &Path, options: &[&str]) -> Value {
    let (program, dir) = (program(dir), dir.to_str().unwrap().to_owned());
    let usual = ["load", "--json", "--vdaf", vdaf, "--program", &program, "--dir", &dir];
    serde_json::from_str(&done(&[&usual, options].concat())).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn a_load_is_accepted_collected_and_accounted_for() {
    let dir = tempfile::tempdir().unwrap();
    let found = load(
        dir.path(),
        &[
            "--reports",
            "203",
            "--reports-per-request",
            "10",
            "--rate",
            "1000",
            "--connections",
            "4",
            "--collect",
        ],
    );
    // It fails itself if the release has another number of reports.
    assert_eq!((&found["accepted"], &found["not_sent"]), (&203.into(), &0.into()), "{found}");
    assert!(found["rejected"].as_object().unwrap().is_empty(), "{found}");
    assert_eq!(found["latency_from"], "due");
    let latencies = ["p50", "p99", "p99.9", "max"].map(|name| number(&found["latency_microseconds"][name]));
    assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{found}");
    // The last of 21 requests is due after 200 ms, and none is sent before it is due.
    assert!(number(&found["seconds"]) >= 0.2, "{found}");
    for role in ["leader", "helper"] {
        let costs = &found["servers"][role];
        let cpu = |until: &str| number(&costs[until]["cpu_seconds"]);
        assert!(cpu("released") > 0.0 && cpu("released") >= cpu("accepted"), "{role}: {found}");
        assert!(number(&costs["released"]["resident_bytes_max"]) > 1e6, "{role}: {found}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "only the program is left in the folder");
}

/// Values are collected after their conversions, which a load run has to make first.
#[test]
fn a_load_of_values_is_collected() {
    let dir = tempfile::tempdir().unwrap();
    let found = load_of("l1boundsum:4:7", dir.path(), &["--reports", "120", "--collect"]);
    // It fails itself if the release has another number of reports.
    assert_eq!((&found["accepted"], &found["not_sent"]), (&120.into(), &0.into()), "{found}");
}

#[test]
fn waiting_reports_survive_the_leader() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--reports", "130", "--reports-per-request", "13", "--connections", "2"];
    let found = load(dir.path(), &[&options[..], &["--collect", "--backlog"]].concat());
    assert_eq!((&found["accepted"], &found["latency_from"]), (&130.into(), &"sent".into()), "{found}");
    let backlog = &found["backlog"];
    assert!(number(&backlog["leader_restart_seconds"]) > 0.0, "{found}");
    assert!(number(&backlog["disk_bytes"]) > 130.0 * number(&found["bytes_per_report"]), "{found}");
    let helper = number(&found["servers"]["helper"]["accepted"]["cpu_seconds"]);
    assert!(helper <= 0.0, "it was away: {found}");
}

/// Aggregators of somebody's own, over TLS, without any secret of theirs.
#[test]
fn running_aggregators_are_loaded_too() {
    let dir = tempfile::tempdir().unwrap();
    let roles = dir.path().join("roles");
    let path = |name: &str| roles.join(name).to_str().unwrap().to_owned();
    done(&["init", &path(""), "--ports", &free_ports(), "--budget-source", "shop.example"]);
    let (task, ca) = (path("tasks-examples/conversions.toml"), path("ca.pem"));
    let configs = ["leader/leader.toml", "helper/helper.toml"].map(&path);
    for config in &configs {
        done(&["task", "add", &task, "--config", config]);
    }
    let served = [Served::start(&configs[0]), Served::start(&configs[1])];
    let pids = [served[0].pid().to_string(), served[1].pid().to_string()];
    let usual = ["load", "--task", &task, "--ca", &ca, "--reports", "60", "--reports-per-request", "20"];
    let who = ["--leader-pid", &pids[0], "--helper-pid", &pids[1]];
    let out = done(&[&usual[..], &who, &["--json"]].concat());
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["accepted"], 60, "{found}");
    assert!(number(&found["servers"]["helper"]["accepted"]["resident_bytes"]) > 1e6, "{found}");
    let said = done(&usual);
    assert!(said.contains("accepted   60 in ") && said.contains("rejected   none"), "{said}");

    // A server that is not there refuses nobody silently.
    for role in served {
        assert_eq!(role.stop(), Some(0));
    }
    let ended = arras(&usual);
    assert!(ended.code == 1 && ended.error.contains("error: "), "{}", ended.error);
}

/// The README's way from nothing to a first number of one's own. It ended in "too few reports", since no command sent any
/// for a window that is over.
#[test]
fn a_load_of_an_hour_that_is_over_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let roles = dir.path().join("roles");
    let path = |name: &str| roles.join(name).to_str().unwrap().to_owned();
    done(&["init", &path(""), "--ports", &free_ports()]);
    let (task, ca) = (path("tasks-examples/conversions.toml"), path("ca.pem"));
    let configs = ["helper", "leader", "collector"].map(|role| path(&format!("{role}/{role}.toml")));
    for config in &configs {
        done(&["task", "add", &task, "--config", config]);
    }
    let listed = done(&["task", "list", "--config", &configs[2]]);
    let id =
        listed.lines().find(|line| line.contains("conversions")).unwrap().split_whitespace().next().unwrap();
    let served = configs.each_ref().map(|config| Served::start(config));
    let from = now() / HOUR * HOUR - 2 * HOUR;
    let (from, to) = (from.to_string(), (from + HOUR).to_string());
    done(&["load", "--task", &task, "--ca", &ca, "--reports", "2000", "--time", &from]);
    let collect = ["collect", "--config", &configs[2], "--task", id, "--from", &from, "--to", &to];
    let release: Value = serde_json::from_str(&done(&[&collect[..], &["--json"]].concat())).unwrap();
    assert_eq!(release["report_count"], 2_000);
    for (bucket, campaign) in (1..).zip(["spring", "summer", "autumn"]) {
        let bucket = &release["buckets"][bucket];
        assert_eq!(bucket["campaign"], campaign);
        let estimate: i128 = bucket["shown"]["estimate"].as_str().unwrap().parse().unwrap();
        assert!((estimate - 2_000 / 16).abs() < FAR, "{bucket}");
    }
    for role in served {
        assert_eq!(role.stop(), Some(0));
    }
}

/// A load of which 1,936 of 2,000 reports were refused ended as if all was well.
#[test]
fn a_load_that_is_refused_fails() {
    let dir = tempfile::tempdir().unwrap();
    let roles = dir.path().join("roles");
    let path = |name: &str| roles.join(name).to_str().unwrap().to_owned();
    done(&["init", &path(""), "--ports", &free_ports(), "--budget-source", "shop.example"]);
    let served = ["leader/leader.toml", "helper/helper.toml"].map(|config| Served::start(&path(config)));
    // Nobody was told of the task.
    let (task, ca) = (path("tasks-examples/conversions.toml"), path("ca.pem"));
    let usual = ["load", "--task", &task, "--ca", &ca, "--reports", "6", "--reports-per-request", "2"];
    let Ended { code, out, error } = arras(&usual);
    assert_eq!((code, error.as_str()), (1, ""), "{out}");
    assert!(out.contains("accepted   0 in "), "{out}");
    assert!(out.lines().last().unwrap().starts_with("REFUSED: 6 of 6 reports"), "{out}");
    let Ended { code, out, .. } = arras(&[&usual[..], &["--json"]].concat());
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &found["accepted"]), (1, &0.into()), "{found}");
    for role in served {
        assert_eq!(role.stop(), Some(0));
    }
}

#[test]
fn bad_values_are_refused_by_name() {
    for (arguments, named) in [
        (&["--reports", "0"][..], "--reports"),
        (&["--connections", "many"], "--connections"),
        (&["--vdaf", "histogram:0"], "--vdaf"),
        (&["--vdaf", "l1boundsum:64:0"], "--vdaf"),
        (&["--pin-generator", "1000"], "--pin-generator 1000"),
        (&["--reports", "99", "--collect"], "--reports 99"),
        (&["--reports", "99999999999"], "--reports"),
        (&["--dir", "/does/not/exist"], "--dir /does/not/exist"),
        (&["--task", "/does/not/exist"], "--task /does/not/exist"),
        (&["--task", "t", "--collect"], "--collect"),
    ] {
        let ended = arras(&[&["load"], arguments].concat());
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{arguments:?}: {}", ended.error);
        assert!(ended.error.contains(named), "{named}: {}", ended.error);
    }
}
