//! `arras budget`: what an operator sees of budgets, of roles that run and of stores at rest.

use std::fs;
use std::net::SocketAddr;

use arras::collector::{Moment, Span};
use arras::net::problem::{DapError, ErrorType, OwnError};
use arras::privacy::ledger::Epoch;
use arras::store::{AggregatorStore as _, HelperDisk, State, StateBatch, StoreOptions};
use arras::tasks::author::ProfileChoice;
use serde_json::Value;

use crate::cli::{Ended, arras, done};
use crate::harness::{Deployment, Options, PRECISION, Role, WINDOW};
use crate::operations::OPERATIONS;

/// The configuration of a role with the address that its running process was given.
fn asked(deployment: &Deployment, role: &str, address: SocketAddr) -> String {
    let text = fs::read_to_string(deployment.config_path(role)).unwrap();
    let (from, to) = ("listen = \"127.0.0.1:0\"", format!("listen = \"{address}\""));
    assert!(text.contains(from));
    let path = deployment.config_path(&format!("{role}-asked"));
    fs::write(&path, text.replace(from, &to)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn json(config: &str) -> Value {
    serde_json::from_str(&done(&["budget", "--json", "--config", config])).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A deployment that has released two hours of one week, the first of them by the collector.
async fn released() -> Deployment {
    let options = Options { task_caps: [Some("3"); 2], extra: OPERATIONS, ..Options::default() };
    let deployment = Deployment::start(options).await;
    for hour in 0..2 {
        let reports: Vec<_> =
            (0..20).map(|bucket| deployment.report_at(bucket, (WINDOW + hour) * PRECISION)).collect();
        deployment.upload(&reports).await;
    }
    let moment = |hours: u64| Moment::from_seconds(hours * PRECISION).unwrap();
    let window = Span::new(moment(WINDOW), moment(WINDOW + 1)).unwrap();
    let collector = deployment.collector.as_ref().unwrap().collector().unwrap();
    let (released, ()) = tokio::join!(collector.collect(deployment.task.id(), window), deployment.tick());
    released.unwrap();
    deployment.collect_window(&Deployment::query(WINDOW + 1, 1)).await.unwrap();
    deployment
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_are_told_by_roles_that_run_and_read_from_stores_at_rest() {
    let mut deployment = released().await;
    let config =
        |deployment: &Deployment, role: &str| deployment.config_path(role).to_str().unwrap().to_owned();
    let id = deployment.task.id().to_string();
    let address =
        |service: &Option<arras::service::Service>| service.as_ref().unwrap().operations_address().unwrap();
    let leader = asked(&deployment, "leader", address(&deployment.leader));
    let helper = asked(&deployment, "helper", address(&deployment.helper));
    let table = done(&["budget", "--config", &leader, "--source", "shop.example"]);
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut has =
        |row: &str| assert!(rows.any(|line| line == row), "{row} comes not or too late in:\n{table}");
    has(&format!("leader (asked at http://{}/)", address(&deployment.leader)));
    has("budget source shop.example of collector advertiser");
    has("cap 10 epsilon in each epoch of 7 days; epoch 0 started at 2027-01-04T00:00:00Z");
    has(&format!(
        "1 2027-01-11T00:00:00Z 2027-01-18T00:00:00Z 2 8 2 to test ({id}), of its own cap of 3: 1 left"
    ));
    has("every other epoch has 10 left");
    has(&format!("2027-01-15T08:00:00Z 2027-01-15T09:00:00Z 1 1 test ({id})"));
    has(&format!("2027-01-15T09:00:00Z 2027-01-15T10:00:00Z 1 1 test ({id})"));
    let told = [json(&leader), json(&helper)];
    for (told, role) in told.iter().zip(["leader", "helper"]) {
        let source = &told["roles"][0]["sources"][0];
        assert_eq!((text(&told["roles"][0]["role"]), text(&source["source"])), (role, "shop.example"));
        assert_eq!((text(&source["epochs"][0]["spent"]), text(&source["epochs"][0]["left"])), ("2", "8"));
        assert_eq!(
            (source["epochs"][0]["epoch"].as_u64(), text(&source["windows"][1]["task"])),
            (Some(1), &*id)
        );
        assert_eq!(source["windows"].as_array().unwrap().len(), 2);
    }
    // Where a role runs and cannot be asked, it says how it could be.
    for role in ["leader", "helper", "collector"] {
        let Ended { code, error, .. } = arras(&["budget", "--config", &config(&deployment, role)]);
        assert!(code == 1 && error.contains("add [operations]"), "{role}: {code} {error}");
    }
    let Ended { code, error, .. } = arras(&["budget", "--config", &leader, "--source", "shop"]);
    assert!(code == 1 && error.contains("known here: shop.example"), "{code} {error}");
    for role in [Role::Leader, Role::Helper, Role::Collector] {
        deployment.stop_role(role).await;
    }
    // The same without the processes: nothing answers at the addresses any more.
    assert_eq!([json(&leader), json(&helper)], told);
    assert!(
        done(&["budget", "--config", &helper])
            .starts_with("helper (read from its store, as it is not running)")
    );
    // The collector knows what it released and when epochs start; caps are the aggregators' to know. What it has added up stays
    // in its store, also if it is not told of epochs any more.
    let told = fs::read_to_string(deployment.config_path("collector")).unwrap();
    let untold: Vec<_> = told.lines().filter(|line| !line.starts_with("budget_source")).collect();
    assert_eq!(untold.len() + 1, told.lines().count());
    fs::write(deployment.config_path("collector-untold"), untold.join("\n")).unwrap();
    for name in ["collector", "collector-untold"] {
        let collector = json(&config(&deployment, name));
        let source = &collector["roles"][0]["sources"][0];
        assert_eq!((text(&source["source"]), &source["cap"]), ("shop.example", &Value::Null));
        let windows = source["windows"].as_array().unwrap();
        assert_eq!((windows.len(), text(&windows[0]["epsilon_per_epoch"])), (1, "1"));
        assert_eq!(text(&windows[0]["from"]), "2027-01-15T08:00:00Z");
        let epochs = source["epochs"].as_array().unwrap();
        assert_eq!((epochs.len(), epochs[0]["epoch"].as_u64()), (1, Some(1)), "{name}");
        assert_eq!((text(&epochs[0]["spent"]), &epochs[0]["left"]), ("1", &Value::Null), "{name}");
    }
    deployment.stop().await;
}

/// A row of the ledger that somebody lowered: the role does not start and says how to find out, and the command still
/// shows both sides.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_changed_stops_a_role_and_can_be_looked_at() {
    let mut deployment = released().await;
    deployment.stop_role(Role::Helper).await;
    let helper = deployment.config_path("helper");
    let folder = helper.parent().unwrap().join("helper");
    {
        let state =
            State::open(&folder.join("store/state"), &folder.join("watermark"), "helper", 1 << 20).unwrap();
        let (key, value) = state.scan_prefix(b"l", None, 10).unwrap().pop().unwrap();
        let mut batch = StateBatch::default();
        let less = u64::from_be_bytes(*value.first_chunk().unwrap()) - 500_000;
        batch.insert(&key, &[less.to_be_bytes().as_slice(), &value[8..]].concat()).unwrap();
        let _ = state.lock().commit(batch).unwrap();
    }
    let helper = helper.to_str().unwrap();
    let what = "in epoch 1 (the week from 2027-01-11T00:00:00Z) the ledger has 1.5 epsilon spent, and the windows cost 2";
    for _ in 0..2 {
        let Ended { code, error, .. } = arras(&["serve", "--config", helper]);
        assert!(
            code == 1 && error.contains(what) && error.contains("arras budget --config FILE"),
            "{code} {error}"
        );
        let Ended { code, out, .. } = arras(&["budget", "--config", helper]);
        assert!(code == 1 && out.contains("DISAGREE") && out.contains(what), "{code} {out}");
    }
    deployment.stop().await;
}

/// What the helper's ledger has spent in epoch 1. Stops it and starts it again.
async fn spent_at_helper(deployment: &mut Deployment) -> u64 {
    deployment.stop_role(Role::Helper).await;
    let folder = deployment.config_path("helper").parent().unwrap().join("helper");
    let options = StoreOptions {
        dir: folder.join("store"),
        watermark: folder.join("watermark"),
        max_bytes: 64 << 20,
        cache_bytes: 4 << 20,
        segment_bytes: None,
    };
    let spent =
        HelperDisk::open(&options).unwrap().spent(&"shop.example".parse().unwrap(), Epoch(1)).unwrap();
    deployment.start_role(Role::Helper);
    spent
}

/// The leader's operator moved `epoch_start` after a release. The leader asked the helper for the next window all the same,
/// which charged and closed it; then the leader's own store refused, for ever. The collector heard nothing, and each window
/// that it asked for cost the helper's budget.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_epochs_were_moved_refuses_before_the_helper_is_charged() {
    let mut deployment = released().await;
    let before = spent_at_helper(&mut deployment).await;
    let path = deployment.config_path("leader");
    let text = fs::read_to_string(&path).unwrap();
    let (first, moved) = ("epoch_start = \"2027-01-04\"", "epoch_start = \"2027-01-03\"");
    assert!(text.contains(first));
    deployment.stop_role(Role::Leader).await;
    fs::write(&path, text.replace(first, moved)).unwrap();
    deployment.start_role(Role::Leader);
    let window = WINDOW + 2;
    let reports: Vec<_> = (0..20).map(|bucket| deployment.report_at(bucket, window * PRECISION)).collect();
    for reports in reports.chunks(10) {
        deployment.upload(reports).await;
        let problem = deployment.collect_window(&Deployment::query(window, 1)).await.unwrap_err();
        assert_eq!(*problem.kind(), ErrorType::Own(OwnError::BudgetExhausted));
        let detail = problem.detail().unwrap();
        assert!(
            detail.starts_with("the leader refuses: ") && detail.contains("set epoch_start back"),
            "{detail}"
        );
    }
    assert_eq!(spent_at_helper(&mut deployment).await, before, "the helper was not asked");
    deployment.stop_role(Role::Leader).await;
    fs::write(&path, text).unwrap();
    deployment.start_role(Role::Leader);
    assert_eq!(deployment.collect_window(&Deployment::query(window, 1)).await.unwrap().report_count, 20);
    deployment.stop().await;
}

/// The terms of a plain task are in its file. An operator lowered `contributions` after devices had reported, and the
/// release was charged for fewer reports than they had sent; or named another source, and it was charged to a fresh budget.
#[tokio::test(flavor = "multi_thread")]
async fn terms_that_were_changed_in_a_plain_tasks_file_leave_it_out() {
    let options = Options { profile: ProfileChoice::Plain, ..Options::default() };
    let mut deployment = Deployment::start(options).await;
    deployment.upload(&deployment.one_hots(20)).await;
    let file = format!("leader/tasks/{}.toml", deployment.task.id());
    let path = deployment.config_path("leader").parent().unwrap().join(file);
    let first = fs::read_to_string(&path).unwrap();
    let changes = [("contributions = 1", "contributions = 2"), ("epsilon = \"1\"", "epsilon = \"0.5\"")];
    for (from, to) in changes {
        assert!(first.contains(from), "{first}");
        deployment.stop_role(Role::Leader).await;
        fs::write(&path, first.replace(from, to)).unwrap();
        deployment.start_role(Role::Leader);
        let refused = deployment.collect().await.unwrap_err();
        assert_eq!(*refused.kind(), ErrorType::Dap(DapError::UnrecognizedTask), "{to}");
        let uploaded = deployment.uploader().upload(deployment.task.id(), &deployment.one_hots(1)).await;
        assert!(uploaded.is_err(), "{to}");
    }
    // Set back, it is taken up again; the threshold is not among what is kept.
    deployment.stop_role(Role::Leader).await;
    fs::write(&path, first.replace("threshold = 0", "threshold = 7")).unwrap();
    deployment.start_role(Role::Leader);
    assert_eq!(deployment.collect().await.unwrap().report_count, 20);
    deployment.stop().await;
}
