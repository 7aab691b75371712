#![allow(clippy::unwrap_used)]
use clap::Parser as _;
use serde_json::{Value, json};

use super::*;

#[derive(clap::Parser)]
struct Whole {
    #[command(flatten)]
    args: Args,
}

fn published() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("client/scenarios/w3c-attribution-9fab4e8")
}

fn config() -> PathBuf {
    published().join("CONFIG.json")
}

/// The output, and whether the exit code is 0.
fn run_on(config: &Path, scenarios: &[PathBuf], print: bool) -> (String, bool) {
    let mut words = vec!["arras".to_owned(), "replay".to_owned()];
    words.extend(print.then(|| "--print".to_owned()));
    words.extend(
        [config]
            .into_iter()
            .chain(scenarios.iter().map(PathBuf::as_path))
            .map(|path| path.display().to_string()),
    );
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&Whole::parse_from(words).args, &mut out, &mut err).unwrap();
    let code = format!("{code:?}");
    let success = code == format!("{:?}", ExitCode::SUCCESS);
    assert!(success || code == format!("{:?}", ExitCode::from(1)));
    // Standard output is for results alone: each line of `--print` is JSON.
    assert!(err.is_empty() || out.is_empty());
    out.append(&mut err);
    (String::from_utf8(out).unwrap(), success)
}

fn write(folder: &Path, name: &str, value: &Value) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, value.to_string()).unwrap();
    path
}

#[test]
fn all_published_scenarios_pass_and_are_a_line_each() {
    let files = std::fs::read_dir(published()).unwrap().map(|entry| entry.unwrap().path());
    let json: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    let (out, success) = run_on(&config(), &json, false);
    assert!(success, "{out}");
    assert_eq!(out.lines().filter(|line| line.starts_with("pass ")).count(), 26);
    assert_eq!(out.lines().last(), Some("26 scenarios passed, 0 failed"));
    assert!(!out.contains("CONFIG.json"));
}

#[test]
fn a_wrong_expectation_fails_with_the_first_difference() {
    let folder = tempfile::tempdir().unwrap();
    let basic = published().join("basic.json");
    let mut wrong: Value = serde_json::from_slice(&std::fs::read(&basic).unwrap()).unwrap();
    wrong["events"][2]["expected"] = json!([0, 4, 0]);
    let wrong = write(folder.path(), "wrong.json", &wrong);
    let (out, success) = run_on(&config(), &[wrong.clone(), basic.clone()], false);
    assert!(!success);
    let difference = "event 3 (measureConversion at 3 s): expected [0,4,0], computed [0,5,0]";
    let expected = format!(
        "FAIL {}: {difference}\npass {}\n1 scenario passed, 1 failed\n",
        wrong.display(),
        basic.display()
    );
    assert_eq!(out, expected);
    let (out, success) = run_on(&config(), std::slice::from_ref(&wrong), true);
    let line: Value = serde_json::from_str(&out).unwrap();
    assert!(!success && line["pass"] == json!(false));
    assert_eq!(line["difference"], json!(difference));
}

#[test]
fn computed_outputs_are_json() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({ "aggregationService": "https://agg-service.example", "histogramSize": 2 });
    let scenario = json!({ "events": [
        { "seconds": 1, "event": "saveImpression", "site": "news.example", "options": { "histogramIndex": 1 } },
        { "seconds": 2, "event": "measureConversion", "site": "shop.example", "options": options },
        { "seconds": 3, "event": "measureConversion", "site": "localhost", "options": options },
        { "seconds": 4, "event": "clearImpressionsForSite", "site": "news.example" },
    ]});
    let path = write(folder.path(), "new.json", &scenario);
    let (out, success) = run_on(&config(), std::slice::from_ref(&path), true);
    assert!(success, "{out}");
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        line["outputs"],
        json!([
            { "seconds": 1, "event": "saveImpression", "output": null },
            { "seconds": 2, "event": "measureConversion", "output": [0, 1] },
            { "seconds": 3, "event": "measureConversion", "output": { "error": "DOMException", "name": "SyntaxError" } },
            { "seconds": 4, "event": "clearImpressionsForSite", "output": null },
        ])
    );
    assert!(!run_on(&config(), &[path], false).1, "a check needs expectations");
}

#[test]
fn files_that_are_none_fail_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.json");
    let (out, success) = run_on(&config(), std::slice::from_ref(&missing), false);
    assert!(!success && out.starts_with(&format!("FAIL {}: it cannot be read", missing.display())), "{out}");
    let (out, success) = run_on(&missing, std::slice::from_ref(&missing), false);
    assert!(!success && out.starts_with("error: "), "{out}");
    let array = write(folder.path(), "array.json", &json!([]));
    let (out, success) = run_on(&config(), &[array], false);
    assert!(!success && out.contains("impl/e2e.schema.json"), "{out}");
    let (out, success) = run_on(&config(), &[config()], false);
    assert!(!success, "nothing was run: {out}");
}
