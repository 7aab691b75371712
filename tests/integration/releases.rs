//! The release gate from outside: what is refused, what stays refused, what is published.

use arras::collector::{KeySet, Moment, Release, Span};
use arras::net::problem::{DapError, ErrorType, OwnError};
use arras_protocol::messages::{CollectionJobReq, ReportError, Url};
use arras_protocol::signed::{self, DocumentType};

use crate::harness::{Deployment, NOW, Options, PATIENCE, PRECISION, Role, StandIn, WINDOW, read};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_below_its_size_is_refused_and_may_grow() {
    let deployment = Deployment::start(Options { min_batch_size: 30, ..Options::default() }).await;
    deployment.upload(&deployment.one_hots(29)).await;
    let problem = deployment.collect().await.unwrap_err();
    assert_eq!(*problem.kind(), ErrorType::Dap(DapError::InvalidBatchSize));
    let detail = problem.detail().unwrap();
    assert!(detail.contains("fewer than the 30 reports"), "{detail}");
    assert!(!detail.contains("29"), "how many there are is not told: {detail}");
    // The refusal opened the window again: one more report, and the same request succeeds.
    deployment.upload(&[deployment.report(29)]).await;
    let collected = deployment.collect().await.unwrap();
    assert_eq!(collected.report_count, 30);
    assert!((0..64).all(|cell| collected.sums[cell] == i128::from(cell < 30)));
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_collected_once() {
    let deployment = Deployment::start(Options::default()).await;
    deployment.upload(&deployment.one_hots(64)).await;
    deployment.collect().await.unwrap();
    for (start, hours) in [(WINDOW, 2), (WINDOW - 1, 2), (WINDOW - 3, 9)] {
        let problem = deployment.collect_window(&Deployment::query(start, hours)).await.unwrap_err();
        assert_eq!(*problem.kind(), ErrorType::Dap(DapError::BatchOverlap), "{start} {hours}");
    }
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_for_a_collected_window_are_refused() {
    let deployment = Deployment::start(Options::default()).await;
    deployment.upload(&deployment.one_hots(64)).await;
    deployment.collect().await.unwrap();
    let late = deployment.report(3);
    let statuses =
        deployment.uploader().upload(deployment.task.id(), std::slice::from_ref(&late)).await.unwrap();
    assert_eq!(statuses.len(), 1);
    assert_eq!(statuses[0].error, ReportError::BatchCollected);
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_make_no_batch_are_refused() {
    let deployment = Deployment::start(Options::default()).await;
    for (start, hours) in [(WINDOW, 0), (WINDOW + 10, 1), (WINDOW, 500)] {
        let problem = deployment.collect_window(&Deployment::query(start, hours)).await.unwrap_err();
        assert_eq!(*problem.kind(), ErrorType::Dap(DapError::BatchInvalid), "{start} {hours}");
    }
    deployment.stop().await;
}

/// The cap is 2.5 epsilon a week and a release spends 1: the third window of the week is refused, says what is
/// left, and stays refused; the week after has a budget of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_refuses_and_says_what_is_left() {
    let mut deployment = Deployment::start(Options { cap: "2.5", ..Options::default() }).await;
    for hour in 0..4 {
        let reports: Vec<_> =
            (0..20).map(|bucket| deployment.report_at(bucket, (WINDOW + hour) * PRECISION)).collect();
        deployment.upload(&reports).await;
    }
    for hour in 0..2 {
        deployment.collect_window(&Deployment::query(WINDOW + hour, 1)).await.unwrap();
    }
    for _ in 0..2 {
        let problem = deployment.collect_window(&Deployment::query(WINDOW + 2, 1)).await.unwrap_err();
        assert_eq!(*problem.kind(), ErrorType::Own(OwnError::BudgetExhausted));
        let detail = problem.detail().unwrap();
        assert!(detail.contains("only 0.5 is left") && detail.contains("stays refused"), "{detail}");
        assert!(detail.starts_with("the leader refuses: ") && detail.contains("its cap of 2.5"), "{detail}");
        // A restart changes nothing about it.
        deployment.stop_role(Role::Leader).await;
        deployment.start_role(Role::Leader);
    }
    deployment.stop().await;
}

/// Whose budget it is, and which of its caps, is told to whoever asked, to the last word: who reads it has to know which
/// operator can help, and how.
#[tokio::test(flavor = "multi_thread")]
async fn who_refuses_says_so_and_by_which_cap() {
    let cases = [
        (Options { task_caps: [Some("0.5"); 2], ..Options::default() }, "the leader refuses: ", "`task_cap`"),
        (Options { helper_cap: Some("0.5"), ..Options::default() }, "the helper refused: ", "`cap`"),
        (
            Options { task_caps: [None, Some("0.5")], ..Options::default() },
            "the helper refused: ",
            "`task_cap`",
        ),
    ];
    for (options, who, key) in cases {
        let deployment = Deployment::start(options).await;
        deployment.upload(&deployment.one_hots(64)).await;
        let moment = |hours: u64| Moment::from_seconds(hours * PRECISION).unwrap();
        let window = Span::new(moment(WINDOW), moment(WINDOW + 1)).unwrap();
        let collector = deployment.collector.as_ref().unwrap().collector().unwrap();
        let (refused, ()) = tokio::join!(collector.collect(deployment.task.id(), window), deployment.tick());
        let said = refused.unwrap_err().to_string();
        for part in
            [who, key, "only 0.5 is left", "stays refused", "`arras budget` says what was spent on what"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        let names_task = said.contains(&deployment.task.id().to_string());
        assert_eq!(names_task, key == "`task_cap`", "{said}");
        deployment.stop().await;
    }
}

/// A query that the budget can never allow closed its whole window to uploads until it was refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_beyond_the_budget_closes_no_window() {
    let deployment = Deployment::start(Options { cap: "0.5", ..Options::default() }).await;
    // The longer one begins before the budget source does.
    let never = ErrorType::Dap(DapError::BatchInvalid);
    for (hours, kind) in [(1, ErrorType::Own(OwnError::BudgetExhausted)), (WINDOW, never)] {
        let answer = deployment.create_collection(&Deployment::query(WINDOW + 1 - hours, hours)).await;
        assert!(answer.headers().get("location").is_none(), "no job is made");
        let problem = read(answer).await.unwrap_err();
        assert_eq!(*problem.kind(), kind, "{hours}");
        deployment.upload(&deployment.one_hots(10)).await;
    }
    deployment.stop().await;
}

/// Creates a collection of reports that are all through, and waits until the leader asks the helper for it: then it cannot
/// be deleted any more.
async fn asking(deployment: &Deployment, request: &CollectionJobReq) {
    let started = std::time::Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "the helper is not asked");
        let created = deployment.create_collection(request).await;
        let location = created.headers().get("location").unwrap().to_str().unwrap().to_owned();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let url = Url::new(deployment.leader_url().as_str().trim_end_matches('/')).unwrap();
        let deleted = deployment.http.delete(format!("{url}{location}"));
        let deleted = deleted.bearer_auth(deployment.loopback.collector_token.expose()).send().await.unwrap();
        if deleted.status() == 409 {
            return;
        }
    }
}

/// The leader's answer to a request for what is promised to others.
async fn refused_for_now(deployment: &Deployment, request: &CollectionJobReq) {
    let answer = deployment.create_collection(request).await;
    assert!(answer.headers().contains_key("retry-after"));
    let problem = read(answer).await.unwrap_err();
    assert_eq!(*problem.kind(), ErrorType::Own(OwnError::Overloaded), "{problem:?}");
    let detail = problem.detail().unwrap();
    assert!(detail.contains("all but 0.5 of what is left there is promised"), "{detail}");
    assert!(!detail.contains("stays refused"), "{detail}");
}

/// Two tasks of one budget, which has enough for one of them. The leader found enough for either, asked the helper for
/// both, and could pay for one: the other's window opened again after the helper had closed it.
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_not_promised_to_two_tasks() {
    let mut deployment = Deployment::start(Options { cap: "1.5", ..Options::default() }).await;
    let mut other = deployment.add_task("another");
    deployment.clock.set(NOW + 60);
    for _ in 0..2 {
        std::mem::swap(&mut deployment.task, &mut other);
        deployment.upload(&deployment.one_hots(64)).await;
    }
    deployment.settled(128).await;
    // Nothing is answered by the helper, so a collection stands where the leader has asked it.
    deployment.stop_role(Role::Helper).await;
    let request = Deployment::query(WINDOW, 1);
    asking(&deployment, &request).await;
    std::mem::swap(&mut deployment.task, &mut other);
    refused_for_now(&deployment, &request).await;
    // Also by a leader that has to read what it promised.
    deployment.stop_role(Role::Leader).await;
    deployment.start_role(Role::Leader);
    refused_for_now(&deployment, &request).await;
    deployment.start_role(Role::Helper);
    std::mem::swap(&mut deployment.task, &mut other);
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64]);
    std::mem::swap(&mut deployment.task, &mut other);
    let problem = deployment.collect().await.unwrap_err();
    assert_eq!(*problem.kind(), ErrorType::Own(OwnError::BudgetExhausted), "{problem:?}");
    assert!(problem.detail().unwrap().contains("stays refused"), "{problem:?}");
    deployment.stop().await;
}

/// What is promised counts against the cap of a task as it does against that of its source: of two windows of one task, the
/// cap has enough for one. The refusal of the other said that it stays refused until an operator raises the cap, and once
/// the helper had refused the first one the same request was granted.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_not_promised_more_than_its_cap() {
    let options = Options { task_caps: [Some("1.5"); 2], ..Options::default() };
    let mut deployment = Deployment::start(options).await;
    for hour in 0..2 {
        let reports: Vec<_> =
            (0..20).map(|bucket| deployment.report_at(bucket, (WINDOW + hour) * PRECISION)).collect();
        deployment.upload(&reports).await;
    }
    deployment.settled(40).await;
    deployment.stop_role(Role::Helper).await;
    asking(&deployment, &Deployment::query(WINDOW, 1)).await;
    let other = Deployment::query(WINDOW + 1, 1);
    refused_for_now(&deployment, &other).await;
    let refusal = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: 59\r\n\r\n\
                   {\"type\":\"urn:ietf:params:ppm:dap:error:batchMismatch\"     }";
    let stand_in = StandIn::at(deployment.helper_url(), refusal).await;
    let problem = deployment.collect_window(&Deployment::query(WINDOW, 1)).await.unwrap_err();
    assert_eq!(*problem.kind(), ErrorType::Dap(DapError::BatchMismatch), "{problem:?}");
    stand_in.stop().await;
    deployment.start_role(Role::Helper);
    assert_eq!(deployment.collect_window(&other).await.unwrap().report_count, 20);
    deployment.stop().await;
}

/// What was handed out is the release for ever, byte for byte, and verifies with the published key, over HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_release_stays_byte_for_byte() {
    let mut deployment = Deployment::start(Options { threshold: 5, ..Options::default() }).await;
    let reports: Vec<_> = (0..40).map(|n| deployment.report(n % 3)).collect();
    deployment.upload(&reports).await;
    let moment = |hours: u64| Moment::from_seconds(hours * PRECISION).unwrap();
    let window = Span::new(moment(WINDOW), moment(WINDOW + 1)).unwrap();
    let collector = deployment.collector.as_ref().unwrap().collector().unwrap();
    let (collected, ()) = tokio::join!(collector.collect(deployment.task.id(), window), deployment.tick());
    let release = collected.unwrap();
    let mut first = None;
    for restart in [false, true] {
        if restart {
            deployment.stop_role(Role::Collector).await;
            deployment.start_role(Role::Collector);
        }
        let (endpoint, token) = (&deployment.loopback.collector.endpoint, &deployment.loopback.admin_token);
        let get = async |path: &str| {
            let request = deployment.http.get(format!("{endpoint}{path}"));
            let answer = request.bearer_auth(token.expose()).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            answer.text().await.unwrap()
        };
        // The keys are public.
        let keys = deployment.http.get(format!("{endpoint}keys")).send().await.unwrap().text().await.unwrap();
        let keys: KeySet = serde_json::from_str(&keys).unwrap();
        let keys = keys.public_keys().unwrap();
        let (document, text) = (get("v1/releases/1").await, get("v1/releases/1/signed").await);
        let verified = signed::verify(&keys, DocumentType::Release, &text).unwrap();
        assert_eq!(verified.document(), document.as_bytes());
        assert_eq!(Release::from_json(document.as_bytes()).unwrap(), release);
        let flipped = text.replacen("ey", "fy", 1);
        assert!(signed::verify(&keys, DocumentType::Release, &flipped).is_err());
        assert_eq!(*first.get_or_insert_with(|| (document.clone(), text.clone())), (document, text));
    }
    deployment.stop().await;
}

/// The collector's view: the threshold hides what is below it, and the release says what it cost.
#[tokio::test(flavor = "multi_thread")]
async fn the_collector_publishes_and_suppresses() {
    let deployment = Deployment::start(Options { threshold: 5, ..Options::default() }).await;
    let mut reports = Vec::new();
    for (bucket, count) in [(1, 4), (2, 5), (3, 40)] {
        reports.extend((0..count).map(|_| deployment.report(bucket)));
    }
    deployment.upload(&reports).await;
    let moment = |hours: u64| Moment::from_seconds(hours * PRECISION).unwrap();
    let window = Span::new(moment(WINDOW), moment(WINDOW + 1)).unwrap();
    let collector = deployment.collector.as_ref().unwrap().collector().unwrap();
    let (collected, ()) = tokio::join!(collector.collect(deployment.task.id(), window), deployment.tick());
    let release = collected.unwrap();
    assert_eq!(release.report_count, 49);
    let json = serde_json::to_value(&release).unwrap();
    let shown: Vec<u64> = json["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|bucket| !bucket.to_string().contains("suppressed"))
        .map(|bucket| bucket["bucket"].as_u64().unwrap())
        .collect();
    assert_eq!(shown, [2, 3], "{json}");
    // Asked for again, it is the same release.
    assert_eq!(collector.collect(deployment.task.id(), window).await.unwrap(), release);
    deployment.stop().await;
}
