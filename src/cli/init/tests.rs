#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::ExitCode;

use ring::rand::SystemRandom;
use tempfile::TempDir;

use super::*;
use arras_protocol::task::NAME_BYTES_MAX;

use crate::config::{Config, Severity};

fn args(dir: &Path) -> Args {
    Args {
        dir: dir.to_owned(),
        host: "127.0.0.1".to_owned(),
        ports: vec![8443, 8444, 8445],
        operations_ports: Vec::new(),
        budget_source: "example.com".to_owned(),
    }
}

fn initialised(change: impl FnOnce(&mut Args)) -> Result<TempDir, InitError> {
    let dir = tempfile::tempdir().unwrap();
    let mut args = args(&dir.path().join("made"));
    change(&mut args);
    make(&args, SystemTime::now(), &SystemRandom::new(), &mut Vec::new())?;
    Ok(dir)
}

fn file(dir: &TempDir, role: &str) -> PathBuf {
    dir.path().join(format!("made/{role}/{role}.toml"))
}

const ROLES: [&str; 3] = ["leader", "helper", "collector"];

#[test]
fn check_finds_no_problems() {
    for host in ["127.0.0.1", "::1", "dap.example.com", "192.0.2.7"] {
        let dir = initialised(|args| host.clone_into(&mut args.host)).unwrap();
        for role in ROLES {
            let config = Config::load(&file(&dir, role)).unwrap();
            assert_eq!(config.problems(SystemTime::now()), [], "{role} at {host}");
            let present = [config.leader.is_some(), config.helper.is_some(), config.collector.is_some()];
            assert_eq!(present, ROLES.map(|name| name == role));
            assert!(Config::load_for_start(&file(&dir, role), SystemTime::now()).is_ok());

            let code = crate::cli::run([
                OsString::from("arras"),
                "check".into(),
                "--config".into(),
                file(&dir, role).into(),
            ]);
            assert_eq!(code, ExitCode::SUCCESS);
        }
    }
}

#[test]
fn the_three_fit_together() {
    let dir = initialised(|_| ()).unwrap();
    let [leader, helper, collector] = ROLES.map(|role| Config::load(&file(&dir, role)).unwrap());
    let (leader, helper) = (leader.leader.unwrap(), helper.helper.unwrap());
    let collector = collector.collector.unwrap();
    assert_eq!(leader.helper.endpoint, helper.endpoint);
    assert_eq!(helper.leader_endpoint, leader.endpoint);
    assert_eq!(collector.leader.endpoint, leader.endpoint);
    assert!(helper.leader_token_sha256.matches(leader.helper.token.expose()));
    assert!(leader.collector[0].token_sha256.matches(collector.leader.token.expose()));
    let admin = fs::read_to_string(dir.path().join("made/admin/token")).unwrap();
    assert!(collector.admin_token_sha256.matches(&admin));
    for config in [leader.collector[0].hpke_config, helper.collector[0].hpke_config] {
        assert_eq!(config, collector.hpke[0].config());
    }
    assert_eq!(leader.verify_secret[0].secret, helper.verify_secret[0].secret);
    assert_eq!(leader.collector[0].budget_source[0].cap.get(), 10_000_000);
    assert_eq!(leader.endpoint.as_str(), "https://127.0.0.1:8443/");
}

/// Values of at least 32 characters: keys, tokens, hashes, PEM.
fn long_strings(value: &toml::Value, found: &mut BTreeSet<String>) {
    match value {
        toml::Value::String(text) if text.len() >= 32 => {
            found.insert(text.clone());
        }
        toml::Value::Array(list) => list.iter().for_each(|value| long_strings(value, found)),
        toml::Value::Table(table) => table.values().for_each(|value| long_strings(value, found)),
        _ => (),
    }
}

#[test]
fn no_file_holds_another_roles_secret() {
    let dir = initialised(|_| ()).unwrap();
    let texts = ROLES.map(|role| fs::read_to_string(file(&dir, role)).unwrap());
    let strings = texts.clone().map(|text| {
        let mut found = BTreeSet::new();
        long_strings(&toml::Value::Table(text.parse().unwrap()), &mut found);
        found
    });
    let configs = ROLES.map(|role| Config::load(&file(&dir, role)).unwrap());
    let leader = configs[0].leader.as_ref().unwrap();
    let collector = configs[2].collector.as_ref().unwrap();
    // What two files may both hold: the shared secret, and the collector's public key.
    let verify_secret = leader.verify_secret[0].secret.to_base64().to_string();
    let public = collector.hpke[0].config().to_base64();
    let shared = |one: usize, other: usize| -> BTreeSet<String> {
        strings[one].intersection(&strings[other]).cloned().collect()
    };
    assert_eq!(shared(0, 1), BTreeSet::from([verify_secret.clone(), public]));
    assert_eq!(shared(0, 2), BTreeSet::new());
    assert_eq!(shared(1, 2), BTreeSet::new());
    assert_eq!(strings.each_ref().map(BTreeSet::len), [7, 6, 5], "the search finds another number of values");

    // Not inside another value or a comment either; the admin's token nowhere.
    let admin = fs::read_to_string(dir.path().join("made/admin/token")).unwrap();
    for (owner, found) in strings.iter().enumerate() {
        for (reader, text) in texts.iter().enumerate().filter(|(reader, _)| *reader != owner) {
            let leaked = found.iter().filter(|value| text.contains(*value)).count();
            assert_eq!(leaked, shared(owner, reader).len());
        }
        assert!(!texts[owner].contains(&admin));
    }
    let authority = fs::read_to_string(dir.path().join("made/ca.pem")).unwrap();
    assert!(!authority.contains("PRIVATE"));
}

#[cfg(unix)]
#[test]
fn modes_let_nobody_else_in() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = initialised(|_| ()).unwrap();
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    for path in ["made/leader/leader.toml", "made/helper/helper.toml", "made/collector/collector.toml"] {
        assert_eq!(mode(path), 0o600, "{path}");
    }
    assert_eq!(mode("made/admin/token"), 0o600);
    for path in ["made", "made/leader", "made/helper", "made/collector", "made/admin", "made/leader/tasks"] {
        assert_eq!(mode(path), 0o700, "{path}");
    }
}

#[test]
fn refuses_what_it_cannot_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("precious"), "x").unwrap();
    let error = make(&args(dir.path()), SystemTime::now(), &SystemRandom::new(), &mut Vec::new());
    assert!(matches!(error, Err(InitError::NotEmpty(_))));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something was written");

    for ports in [&[1, 2][..], &[1, 2, 2], &[1, 2, 3, 4], &[0, 1, 2]] {
        let error = initialised(|args| args.ports = ports.to_vec()).unwrap_err();
        assert!(matches!(error, InitError::Ports), "{ports:?}");
    }
    for (ports, operations) in
        [([1, 2, 3], &[1, 4, 5][..]), ([1, 2, 3], &[4, 4, 5]), ([1, 2, 1_001], &[]), ([1, 2, 65_000], &[])]
    {
        let error = initialised(|args| {
            args.ports = ports.to_vec();
            args.operations_ports = operations.to_vec();
        });
        assert!(matches!(error.unwrap_err(), InitError::OperationsPorts), "{ports:?} {operations:?}");
    }
    for host in ["", "a b", "a/b", "a:1", "u@a", "0x7f.1", "a?b"] {
        let error = initialised(|args| host.clone_into(&mut args.host)).unwrap_err();
        assert!(matches!(error, InitError::Host(_)), "{host:?}: {error}");
    }
    for source in ["a b".to_owned(), "x".repeat(NAME_BYTES_MAX + 1)] {
        let error = initialised(|args| args.budget_source = source).unwrap_err();
        assert!(matches!(error, InitError::BudgetSource(_)));
    }
}

#[test]
fn metrics_are_on_this_machine_whatever_the_host() {
    for (given, expected) in [(vec![], [9443, 9444, 9445]), (vec![7, 8, 9], [7, 8, 9])] {
        let dir = initialised(|args| {
            args.host = "192.0.2.7".to_owned();
            args.operations_ports = given;
        });
        let dir = dir.unwrap();
        for (role, port) in ROLES.into_iter().zip(expected) {
            let config = Config::load(&file(&dir, role)).unwrap();
            assert_eq!(config.operations.unwrap().listen, ([127, 0, 0, 1], port).into());
        }
    }
}

#[test]
fn quotes_in_names_do_no_harm() {
    let dir = initialised(|args| args.budget_source = "a\"b\\c".to_owned()).unwrap();
    let leader = Config::load(&file(&dir, "leader")).unwrap().leader.unwrap();
    assert_eq!(leader.collector[0].budget_source[0].name, "a\"b\\c");
}

#[test]
fn the_example_task_is_toml() {
    let dir = initialised(|_| ()).unwrap();
    let text = fs::read_to_string(dir.path().join("made/tasks-examples/conversions.toml")).unwrap();
    let task: toml::Table = text.parse().unwrap();
    assert_eq!(task["vdaf"]["length"].as_integer(), Some(16));
    assert_eq!(task["leader"].as_str(), Some("https://127.0.0.1:8443/"));
}

#[test]
fn epochs_start_on_a_monday() {
    let day = |days: u64| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(days * 86_400 + 3_600);
    // 2026-01-05 was a Monday, 20,458 days after 1970-01-01.
    for days in 20_458..20_465 {
        assert_eq!(monday_before_last(day(days + 7)).unwrap().to_string(), "2026-01-05");
    }
    assert_eq!(monday_before_last(day(20_472)).unwrap().to_string(), "2026-01-12");
}

#[test]
fn wrong_command_lines_and_findings_have_their_codes() {
    assert_eq!(crate::cli::run(["arras", "check"]), ExitCode::from(2));
    assert_eq!(crate::cli::run(["arras", "check", "--config", "/nonexistent"]), ExitCode::from(1));
    assert_eq!(crate::cli::run(["arras", "--help"]), ExitCode::SUCCESS);
}

#[test]
fn certificates_end() {
    let dir = initialised(|_| ()).unwrap();
    let config = Config::load(&file(&dir, "leader")).unwrap();
    let in_days = |days: u64| SystemTime::now() + std::time::Duration::from_secs(days * 86_400);
    let found = |days| -> Vec<(Severity, String)> {
        config.problems(in_days(days)).into_iter().map(|problem| (problem.severity, problem.key)).collect()
    };
    let keys = ["leader.tls.certificate", "leader.helper.ca"].map(str::to_owned);
    assert_eq!(found(600), []);
    assert_eq!(found(710), keys.clone().map(|key| (Severity::Warning, key)));
    assert_eq!(found(731), keys.map(|key| (Severity::Error, key)));
    let early = SystemTime::now() - std::time::Duration::from_secs(2 * 86_400);
    assert!(config.problems(early).iter().any(|problem| problem.message.contains("not valid yet")));
}
