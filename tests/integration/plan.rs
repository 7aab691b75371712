//! `arras plan` over the real command line, and its word against the ledgers of running aggregators.

use arras::net::problem::{ErrorType, OwnError};
use serde_json::Value;

use crate::cli::{Ended, arras, done, free_ports};
use crate::harness::{Deployment, Options, PRECISION, WINDOW};

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&done(&[&["plan", "--json"], arguments].concat())).unwrap()
}

/// The plan reads cap and epochs from the leader's own configuration, and says how many hours they carry: exactly so
/// many are released, whichever they are, and the next is refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_budget_carries_as_many_windows_as_planned() {
    let deployment = Deployment::start(Options { cap: "3.5", ..Options::default() }).await;
    let leader = deployment.config_path("leader");
    let leader = leader.to_str().unwrap().to_owned();
    let planned = tokio::task::spawn_blocking(move || {
        json(&["--campaign", "a=7000", "--buckets", "64", "--epsilon", "1", "--config", &leader])
    });
    let planned = planned.await.unwrap();
    assert_eq!(planned["cap"], "3.5");
    let hour = &planned["windows"][0];
    assert_eq!((&hour["window"], &hour["seconds"]), (&"hour".into(), &PRECISION.into()));
    let carried = hour["windows_carried"].as_u64().unwrap();
    assert!((1..8).contains(&carried), "{hour}");
    for hour in 0..=carried {
        let reports: Vec<_> =
            (0..20).map(|bucket| deployment.report_at(bucket, (WINDOW + hour) * PRECISION)).collect();
        deployment.upload(&reports).await;
    }
    // The last first: the order of time does not matter.
    for hour in (1..=carried).rev() {
        deployment.collect_window(&Deployment::query(WINDOW + hour, 1)).await.unwrap();
    }
    let problem = deployment.collect_window(&Deployment::query(WINDOW, 1)).await.unwrap_err();
    assert_eq!(*problem.kind(), ErrorType::Own(OwnError::BudgetExhausted));
    deployment.stop().await;
}

#[test]
fn a_plan_from_what_init_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    done(&["init", &path("roles"), "--ports", &free_ports(), "--budget-source", "shop.example"]);
    std::fs::write(path("list.csv"), "campaign,conversions\nspring,1000\nsummer,40\n").unwrap();
    let task = path("roles/tasks-examples/conversions.toml");
    let (config, list, svg) = (path("roles/helper/helper.toml"), path("list.csv"), path("plan.svg"));
    let usual = ["--task", &task, "--config", &config, "--campaigns", &list, "--per", "day"];
    let planned = json(&[&usual[..], &["--svg", &svg]].concat());
    assert_eq!((&planned["budget_source"], &planned["cap"]), (&"shop.example".into(), &"10".into()));
    assert_eq!(planned["windows"][1]["windows_carried"], 7);
    assert_eq!(planned["windows"][1]["charged_to_two_epochs"], false, "days begin where epochs do");
    assert!(std::fs::read_to_string(&svg).unwrap().starts_with("<svg "));
    let berlin = json(&[&usual[..], &["--time-zone", "Europe/Berlin"]].concat());
    assert_eq!(berlin["windows"][1]["windows_in_epoch"], 8, "days there begin before epochs do");
    let text = done(&[&["plan"], &usual[..]].concat());
    assert!(text.contains("\nspring ") && text.contains("Take windows of "), "{text}");

    let Ended { code, out, error } =
        arras(&["plan", "--campaign", "spring=3", "--config", &path("roles/collector/collector.toml")]);
    assert_eq!((code, out.as_str()), (2, ""), "{error}");
    assert!(error.contains("error: --config ") && error.contains("leader or helper"), "{error}");
    let wrong = arras(&["plan", "--campaign", "spring"]);
    assert!(wrong.code == 2 && wrong.error.contains("spring=700"), "{}", wrong.error);
    let both = arras(&["plan", "--campaign", "spring=3", "--max-value", "9", "--value-task", "value.toml"]);
    assert!(both.code == 2 && both.error.contains("cannot be used with"), "{}", both.error);
}
