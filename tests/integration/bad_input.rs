//! Bad input: a clear error, nothing lost, nothing else harmed.

use std::sync::Arc;

use arras::aggregator::ManualClock;
use arras::net::problem::{DapError, ErrorType, OwnError};
use arras::tasks::author::VdafChoice;
use arras_client::upload::UploadError;
use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::{
    AggregateShareReq, AggregationJobInitReq, CollectionJobReq, Extension, Extensions, HpkeCiphertextRef,
    HpkeConfig, MediaType, Report, ReportError, ReportId, ReportUploadStatus, TaskId, UploadErrors,
};
use arras_protocol::report::ReportMaker;
use arras_protocol::vdaf::Measurement;

use crate::harness::{Deployment, NOW, Options, PATIENCE, PRECISION, Role, WINDOW, eventually, read};

pub async fn upload_raw(
    deployment: &Deployment,
    task: TaskId,
    body: Vec<u8>,
) -> Result<Vec<ReportUploadStatus>, arras::net::problem::ProblemDocument> {
    let url = format!("{}tasks/{task}/reports", deployment.leader_url());
    let request =
        deployment.http.post(url).header("content-type", MediaType::UploadRequest.as_str()).body(body);
    let body = read(request.send().await.unwrap()).await?;
    Ok(UploadErrors::from_bytes(&body).unwrap().status)
}

/// Uploads the usual reports and checks that exactly they are counted: what went before did no harm.
pub async fn still_works(deployment: &Deployment) {
    deployment.upload(&deployment.one_hots(64)).await;
    let collected = deployment.collect().await.unwrap();
    assert_eq!((collected.sums, collected.report_count), (vec![1; 64], 64));
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_and_oversized_uploads() {
    let deployment =
        Deployment::start(Options { extra: "limits = { max_body_bytes = 262144 }", ..Options::default() })
            .await;
    let whole = deployment.report(0).to_bytes();
    for length in [1, 15, 16, 40, whole.len() - 1] {
        let problem =
            upload_raw(&deployment, deployment.task.id(), whole[..length].to_vec()).await.unwrap_err();
        assert_eq!(*problem.kind(), ErrorType::Dap(DapError::InvalidMessage));
        assert_eq!(problem.task_id().unwrap(), deployment.task.id().to_string());
        assert!(problem.detail().unwrap().contains("ends in the middle"), "{:?}", problem.detail());
    }
    let problem = upload_raw(&deployment, deployment.task.id(), vec![0; 262_145]).await.unwrap_err();
    assert_eq!(*problem.kind(), ErrorType::Own(OwnError::TooLarge));
    assert!(problem.detail().unwrap().contains("262144"));
    let url = format!("{}tasks/{}/reports", deployment.leader_url(), deployment.task.id());
    let wrong_type =
        deployment.http.post(url).header("content-type", "text/plain").body(whole).send().await.unwrap();
    assert_eq!(*read(wrong_type).await.unwrap_err().kind(), ErrorType::Own(OwnError::UnsupportedMediaType));
    still_works(&deployment).await;
    deployment.stop().await;
}

/// The shortest things that decode as reports took many times their size in memory.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_too_many_reports_is_refused() {
    let deployment = Deployment::start(Options::default()).await;
    let mut shortest = deployment.report(0);
    shortest.public_share.clear();
    shortest.leader_share = HpkeCiphertextRef { config_id: 0, enc: &[0], payload: &[0] }.to_owned();
    shortest.helper_share = shortest.leader_share.clone();
    let body = shortest.to_bytes().repeat(10_001);
    let problem = upload_raw(&deployment, deployment.task.id(), body).await.unwrap_err();
    assert_eq!(*problem.kind(), ErrorType::Own(OwnError::TooLarge));
    assert!(problem.detail().unwrap().contains("more than 10000 reports"), "{:?}", problem.detail());
    still_works(&deployment).await;
    deployment.stop().await;
}

/// The helper kept the answer "too early" to a job of which it counted nothing. The leader put the reports back and made
/// the same job of them again, which got the kept answer however late it was. Now such a job has no answer before its
/// time; of one in which some reports count, the others are put back.
#[tokio::test(flavor = "multi_thread")]
async fn reports_too_early_for_the_helper_are_counted_when_its_clock_is_right() {
    let mut deployment = Deployment::start(Options::default()).await;
    deployment.stop_role(Role::Helper).await;
    deployment.helper_clock = Arc::new(ManualClock::new(NOW - 2 * PRECISION));
    deployment.start_role(Role::Helper);
    let mut reports: Vec<_> = (0..20).map(|bucket| deployment.report_at(bucket, NOW)).collect();
    reports.extend((20..30).map(|bucket| deployment.report(bucket)));
    deployment.upload(&reports).await;
    let leader = deployment.leader.as_ref().unwrap().leader().unwrap();
    eventually("the helper found them too early", || leader.counters().put_back >= 20).await;
    assert_eq!(leader.counters().aggregated, 10);
    deployment.helper_clock.set(NOW);
    deployment.settled(30).await;
    deployment.clock.set(NOW + PRECISION);
    deployment.helper_clock.set(NOW + PRECISION);
    let collected = deployment.collect_window(&Deployment::query(NOW / PRECISION, 1)).await.unwrap();
    assert_eq!(collected.report_count, 20);
    deployment.stop().await;
}

/// Clients choose the times of their reports: a job could touch more buckets than one transaction can write, and was
/// then tried for ever.
#[tokio::test(flavor = "multi_thread")]
async fn reports_of_very_many_buckets_are_aggregated() {
    let options = Options {
        vdaf: VdafChoice::Histogram { length: 4096 },
        extra: "limits = { job_size = 600, max_body_bytes = 33554432 }",
        ..Options::default()
    };
    let deployment = Deployment::start(options).await;
    let first = WINDOW - 600;
    let reports: Vec<_> = (0..600).map(|hour| deployment.report_at(7, (first + hour) * PRECISION)).collect();
    for reports in reports.chunks(100) {
        deployment.upload(reports).await;
    }
    let collected = deployment.collect_window(&Deployment::query(first + 400, 100)).await.unwrap();
    assert_eq!((collected.report_count, collected.sums[7]), (100, 100));
    deployment.settled(600).await;
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_tasks_and_paths() {
    let deployment = Deployment::start(Options::default()).await;
    let body = deployment.report(0).to_bytes();
    let problem = upload_raw(&deployment, TaskId::new([7; 32]), body).await.unwrap_err();
    assert_eq!(*problem.kind(), ErrorType::Dap(DapError::UnrecognizedTask));
    for (path, expected) in [
        ("tasks/not-an-id/reports", ErrorType::Dap(DapError::InvalidMessage)),
        ("nowhere", ErrorType::Own(OwnError::NotFound)),
        ("hpke_config", ErrorType::Own(OwnError::MethodNotAllowed)),
    ] {
        let url = format!("{}{path}", deployment.leader_url());
        let request = deployment.http.post(url).header("content-type", MediaType::UploadRequest.as_str());
        let problem = read(request.body(vec![1]).send().await.unwrap()).await.unwrap_err();
        assert_eq!(*problem.kind(), expected, "{path}");
    }
    // The helper tells nobody but the leader which tasks there are.
    for task in [deployment.task.id(), TaskId::new([7; 32])] {
        let url = format!("{}tasks/{task}/aggregation_jobs", deployment.helper_url());
        let problem = read(deployment.http.post(url).send().await.unwrap()).await.unwrap_err();
        assert_eq!(*problem.kind(), ErrorType::Own(OwnError::Unauthorized), "{task}");
    }
    still_works(&deployment).await;
    deployment.stop().await;
}

/// Reports that can be refused at upload are, each alone and in the order of the request.
#[tokio::test(flavor = "multi_thread")]
async fn refused_reports_do_not_touch_their_neighbours() {
    let deployment = Deployment::start(Options::default()).await;
    let (leader, helper) = deployment.hpke_configs();
    let unknown = HpkeConfig::new(99, &leader.public_key().unwrap());
    let maker = ReportMaker::new(&deployment.task, &unknown, helper).unwrap();
    let outdated = maker.make(&mut rand::rng(), WINDOW * PRECISION, &Measurement::Bucket(1), None).unwrap();
    let early = deployment.report_at(1, NOW + 2 * PRECISION);
    let old = deployment.report_at(1, NOW - 31 * 86_400);
    let mut short_share = deployment.report(1);
    short_share.public_share.pop();
    let extended = with_public_extension(&deployment.report(1));
    let reports =
        [deployment.report(0), outdated, early, deployment.report(1), old, short_share, deployment.report(2)];
    let mut body = Vec::new();
    for report in &reports {
        report.encode(&mut body);
    }
    body.extend_from_slice(&extended);
    let statuses = upload_raw(&deployment, deployment.task.id(), body).await.unwrap();
    let expected = [
        (1, ReportError::OutdatedConfig),
        (2, ReportError::ReportTooEarly),
        (4, ReportError::ReportDropped),
        (5, ReportError::InvalidMessage),
    ];
    for ((index, error), status) in expected.into_iter().zip(&statuses) {
        assert_eq!(*status, ReportUploadStatus { report_id: reports[index].metadata.report_id, error });
    }
    assert_eq!(statuses.len(), 5);
    assert_eq!(statuses[4].error, ReportError::InvalidMessage, "an unknown extension");
    deployment.upload(&(3..64).map(|bucket| deployment.report(bucket)).collect::<Vec<_>>()).await;
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64]);
    deployment.stop().await;
}

/// A report with one public extension of an unknown type.
fn with_public_extension(report: &Report) -> Vec<u8> {
    let bytes = report.to_bytes();
    let (head, tail) = bytes.split_at(24);
    // The list's length, then type, length and no data.
    [head, &[0, 4, 0, 9, 0, 0], &tail[2..]].concat()
}

/// A report id counts once: in one request, in two, in many at once, and across restarts.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_sent_again_counts_once() {
    let mut deployment = Deployment::start(Options::default()).await;
    let reports = deployment.one_hots(64);
    let twice: Vec<Report> =
        reports.iter().take(5).flat_map(|report| [report.clone(), report.clone()]).collect();
    let statuses = deployment.uploader().upload(deployment.task.id(), &twice).await.unwrap();
    assert_eq!(statuses.len(), 5);
    assert!(statuses.iter().all(|status| status.error == ReportError::ReportReplayed));

    let mut at_once = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (uploader, task, reports) = (deployment.uploader(), deployment.task.id(), reports.clone());
        at_once.spawn(async move { uploader.upload(task, &reports).await.unwrap().len() });
    }
    let refused: usize = at_once.join_all().await.into_iter().sum();
    assert_eq!(64 * 16 - refused, 59, "each of the reports that were new is accepted once");

    for role in [Role::Leader, Role::Helper] {
        deployment.stop_role(role).await;
    }
    for role in [Role::Helper, Role::Leader] {
        deployment.start_role(role);
    }
    assert_eq!(deployment.uploader().upload(deployment.task.id(), &reports).await.unwrap().len(), 64);
    let collected = deployment.collect().await.unwrap();
    assert_eq!((collected.sums, collected.report_count), (vec![1; 64], 64));
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_out_of_range_are_refused_by_the_client() {
    let deployment = Deployment::start(Options::default()).await;
    let make =
        |measurement| deployment.maker().make(&mut rand::rng(), WINDOW * PRECISION, &measurement, None);
    for wrong in [Measurement::Bucket(64), Measurement::Bucket(u32::MAX), Measurement::Count(true)] {
        assert!(make(wrong).unwrap_err().to_string().contains("measurement"));
    }
    deployment.stop().await;
}

/// Tokens open what they are for and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_refused() {
    let deployment = Deployment::start(Options::default()).await;
    deployment.upload(&deployment.one_hots(20)).await;
    let query = Deployment::query(WINDOW, 1);
    let collection = format!("{}tasks/{}/collection_jobs", deployment.leader_url(), deployment.task.id());
    let share = format!("{}tasks/{}/aggregate_shares", deployment.helper_url(), deployment.task.id());
    let jobs = format!("{}tasks/{}/aggregation_jobs", deployment.helper_url(), deployment.task.id());
    let share_request = AggregateShareReq::time_interval(
        query.clone(),
        query.as_time_interval().unwrap().batch_interval,
        20,
        [0; 32],
    );
    let tokens = &deployment.loopback;
    for (url, kind, body, token) in [
        (&collection, MediaType::CollectionJobReq, query.to_bytes(), None),
        (&collection, MediaType::CollectionJobReq, query.to_bytes(), Some(tokens.leader_token.expose())),
        (&collection, MediaType::CollectionJobReq, query.to_bytes(), Some(tokens.admin_token.expose())),
        (
            &share,
            MediaType::AggregateShareReq,
            share_request.to_bytes(),
            Some(tokens.collector_token.expose()),
        ),
        (&share, MediaType::AggregateShareReq, share_request.to_bytes(), None),
        (&jobs, MediaType::AggregationJobInitReq, vec![0; 10], None),
    ] {
        let mut request = deployment.http.post(url).header("content-type", kind.as_str()).body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers().get("www-authenticate").unwrap(), "Bearer");
        assert_eq!(*read(response).await.unwrap_err().kind(), ErrorType::Own(OwnError::Unauthorized));
    }
    deployment.stop().await;
}

/// A tag on any page may fetch configurations and upload; both hold nothing of anybody's.
#[tokio::test(flavor = "multi_thread")]
async fn browsers_may_upload_from_any_page() {
    let deployment = Deployment::start(Options::default()).await;
    let reports = format!("{}tasks/{}/reports", deployment.leader_url(), deployment.task.id());
    let preflight = deployment
        .http
        .request(reqwest::Method::OPTIONS, reports)
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .send()
        .await
        .unwrap();
    assert!(preflight.status().is_success());
    assert_eq!(preflight.headers().get("access-control-allow-origin").unwrap(), "*");
    assert_eq!(preflight.headers().get("access-control-allow-headers").unwrap(), "content-type");
    for url in [deployment.leader_url(), deployment.helper_url()] {
        let response = deployment.http.get(format!("{url}hpke_config")).send().await.unwrap();
        assert_eq!(response.headers().get("access-control-allow-origin").unwrap(), "*");
        assert_eq!(response.headers().get("cache-control").unwrap(), "max-age=86400");
        assert_eq!(response.headers().get("content-type").unwrap(), MediaType::HpkeConfigList.as_str());
    }
    deployment.stop().await;
}

/// What the HTTP framework answers by itself was plain text and without CORS headers: a page that uploaded could not
/// even see that it was refused.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_refused_is_a_problem_document() {
    let deployment = Deployment::start(Options::default()).await;
    let (leader, helper, task) = (deployment.leader_url(), deployment.helper_url(), deployment.task.id());
    let refused = async |method: &str, url: String| {
        let method: reqwest::Method = method.parse().unwrap();
        let response = deployment.http.request(method, &url).send().await.unwrap();
        let any_origin = response.headers().contains_key("access-control-allow-origin");
        (read(response).await.expect_err(&url), any_origin)
    };
    for (method, url, status, any_origin) in [
        ("POST", format!("{leader}tasks/%ff/reports"), 400, true),
        ("PUT", format!("{leader}tasks/{task}/reports"), 405, true),
        ("POST", format!("{leader}hpke_config"), 405, true),
        ("POST", format!("{helper}hpke_config"), 405, true),
        ("POST", format!("{leader}tasks/%ff/collection_jobs"), 400, false),
        ("GET", format!("{leader}tasks/{task}/collection_jobs/%ff"), 400, false),
        ("PATCH", format!("{leader}tasks/{task}/collection_jobs"), 405, false),
        ("POST", format!("{helper}tasks/%ff/aggregation_jobs"), 400, false),
        ("DELETE", format!("{helper}tasks/{task}/aggregate_shares/%ff"), 400, false),
        ("PUT", format!("{helper}tasks/{task}/aggregate_shares"), 405, false),
        ("GET", format!("{leader}tasks"), 404, false),
        ("GET", format!("{helper}%ff"), 404, false),
    ] {
        let (problem, allowed) = refused(method, url.clone()).await;
        assert_eq!((problem.status().as_u16(), allowed), (status, any_origin), "{method} {url}: {problem}");
    }
    deployment.stop().await;
}

/// Prio3 has no aggregation parameter: with one, a report could be verified under two of them. And what an extension
/// that is not known asks for cannot be ignored.
#[tokio::test(flavor = "multi_thread")]
async fn aggregation_parameters_and_unknown_extensions_are_refused() {
    let deployment = Deployment::start(Options::default()).await;
    let (leader, helper, task) = (deployment.leader_url(), deployment.helper_url(), deployment.task.id());
    let plain = Deployment::query(WINDOW, 1);
    let interval = plain.as_time_interval().unwrap().batch_interval;
    let parameter = {
        let bytes = plain.to_bytes();
        // After the mode, the query with its length, and in the place of an empty parameter.
        let bytes = [&bytes[..19], &[0, 0, 0, 1, 7], &bytes[23..]].concat();
        CollectionJobReq::from_bytes(&bytes).unwrap()
    };
    assert_eq!(parameter.agg_param(), [7]);
    let unknown = Extensions::new(vec![Extension { kind: 0xff77, data: vec![1] }]).unwrap();
    let mut extended = plain;
    extended.extensions = unknown.clone();
    let share = |query: &CollectionJobReq| {
        AggregateShareReq::time_interval(query.clone(), interval, 20, [0; 32]).to_bytes()
    };
    let job = |agg_param, extensions| {
        AggregationJobInitReq { verification_key_id: 1, agg_param, extensions, verify_inits: Vec::new() }
            .to_bytes()
    };
    let tokens = &deployment.loopback;
    let (collector, peer) = (tokens.collector_token.expose(), tokens.leader_token.expose());
    let (collections, shares, jobs) = (
        (format!("{leader}tasks/{task}/collection_jobs"), MediaType::CollectionJobReq, collector),
        (format!("{helper}tasks/{task}/aggregate_shares"), MediaType::AggregateShareReq, peer),
        (format!("{helper}tasks/{task}/aggregation_jobs"), MediaType::AggregationJobInitReq, peer),
    );
    for (to, parameter, extended) in [
        (collections, parameter.to_bytes(), extended.to_bytes()),
        (shares, share(&parameter), share(&extended)),
        (jobs, job(&[7], Extensions::none()), job(&[], unknown)),
    ] {
        let (url, kind, token) = to;
        for (body, error) in
            [(parameter, DapError::InvalidAggregationParameter), (extended, DapError::UnsupportedExtension)]
        {
            let request = deployment.http.post(&url).header("content-type", kind.as_str()).bearer_auth(token);
            let problem = read(request.body(body).send().await.unwrap()).await.unwrap_err();
            assert_eq!(*problem.kind(), ErrorType::Dap(error), "{url}");
            let listed: &[u16] = if error == DapError::UnsupportedExtension { &[0xff77] } else { &[] };
            assert_eq!(problem.unsupported_extensions(), listed, "{url}");
        }
    }
    still_works(&deployment).await;
    deployment.stop().await;
}

/// A report sealed to somebody else's key, under the id of the leader's configuration.
#[tokio::test(flavor = "multi_thread")]
async fn reports_to_other_keys_are_rejected_alone() {
    let deployment = Deployment::start(Options::default()).await;
    let (leader, helper) = deployment.hpke_configs();
    let stranger = PrivateKey::generate(&mut rand::rng()).public_key();
    let configs = [
        (HpkeConfig::new(leader.id, &stranger), helper.clone()),
        (leader.clone(), HpkeConfig::new(helper.id, &stranger)),
        (leader.clone(), HpkeConfig::new(helper.id + 1, &helper.public_key().unwrap())),
    ];
    for (leader, helper) in configs {
        let maker = ReportMaker::new(&deployment.task, &leader, &helper).unwrap();
        let report = maker.make(&mut rand::rng(), WINDOW * PRECISION, &Measurement::Bucket(3), None).unwrap();
        deployment.upload(&[report]).await;
    }
    deployment.settled(3).await;
    let counters = deployment.leader.as_ref().unwrap().leader().unwrap().counters();
    assert_eq!(counters.rejected, [(ReportError::HpkeDecryptError, 3)]);
    still_works(&deployment).await;
    deployment.stop().await;
}

/// A made-up id that nobody used does not exist, whatever it looks like.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_jobs_are_not_found() {
    let deployment = Deployment::start(Options::default()).await;
    let id = ReportId::new([1; 16]);
    let task = deployment.task.id();
    let (leader, helper) = (deployment.leader_url(), deployment.helper_url());
    let (collector_token, leader_token) =
        (&deployment.loopback.collector_token, &deployment.loopback.leader_token);
    for (url, token, expected) in [
        (
            format!("{leader}tasks/{task}/collection_jobs/{id}"),
            collector_token,
            ErrorType::Own(OwnError::NotFound),
        ),
        (
            format!("{helper}tasks/{task}/aggregation_jobs/{id}"),
            leader_token,
            ErrorType::Dap(DapError::UnrecognizedAggregationJob),
        ),
        (
            format!("{helper}tasks/{task}/aggregate_shares/{id}"),
            leader_token,
            ErrorType::Own(OwnError::NotFound),
        ),
    ] {
        let response = deployment.http.get(url).bearer_auth(token.expose()).send().await.unwrap();
        assert_eq!(*read(response).await.unwrap_err().kind(), expected);
    }
    deployment.stop().await;
}

/// A full store answers 503 with a time to come back, keeps what it has, and takes reports again once the queue is
/// worked off.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_says_so_and_recovers() {
    let extra = "limits = { max_store_bytes = 4194304, max_body_bytes = 1048576 }";
    let mut deployment = Deployment::start(Options { extra, ..Options::default() }).await;
    deployment.stop_role(Role::Helper).await;
    let report = deployment.report(0).to_bytes().len();
    let per_request = 200_000 / report;
    let mut accepted = vec![0_i128; 64];
    let mut full = None;
    for request in 0..60_u32 {
        let bucket = request % 64;
        let reports: Vec<_> = (0..per_request).map(|_| deployment.report(bucket)).collect();
        match deployment.uploader().upload(deployment.task.id(), &reports).await {
            Ok(refused) => {
                assert_eq!(refused, []);
                accepted[bucket as usize] += per_request as i128;
            }
            Err(UploadError::Refused { status, retry_after, detail }) => {
                assert_eq!((status, retry_after.is_some()), (503, true), "{detail}");
                assert!(detail.contains("no space is left"), "{detail}");
                full = Some(request);
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(full.is_some_and(|request| request > 5), "the store fills up: {full:?}");
    deployment.start_role(Role::Helper);
    let total: i128 = accepted.iter().sum();
    deployment.settled(u64::try_from(total).unwrap()).await;
    // Space comes back as whole files; until then the answer stays 503.
    let more = deployment.one_hots(64);
    let started = std::time::Instant::now();
    while let Err(error) = deployment.uploader().upload(deployment.task.id(), &more).await {
        assert!(matches!(error, UploadError::Refused { status: 503, .. }), "{error}");
        assert!(started.elapsed() < PATIENCE, "no space comes back");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let expected: Vec<i128> = accepted.iter().map(|count| count + 1).collect();
    assert_eq!(deployment.collect().await.unwrap().sums, expected, "nothing is lost, nothing counts twice");
    deployment.stop().await;
}

/// The story: two reports of one id and different times passed the leader, and the helper refused the job that held
/// both as a whole; up to 500 reports of others were lost with it.
#[tokio::test(flavor = "multi_thread")]
async fn one_id_with_two_times_costs_nobody_else_a_report() {
    let deployment = Deployment::start(Options::default()).await;
    let mut twin = deployment.report_at(7, (WINDOW + 1) * PRECISION);
    let reports = deployment.one_hots(64);
    twin.metadata.report_id = reports[9].metadata.report_id;
    deployment.upload(&reports[..32]).await;
    let statuses = deployment.uploader().upload(deployment.task.id(), &[twin]).await.unwrap();
    assert_eq!(statuses[0].error, ReportError::ReportReplayed);
    deployment.upload(&reports[32..]).await;
    deployment.settled(64).await;
    assert_eq!(deployment.leader.as_ref().unwrap().leader().unwrap().counters().lost, 0);
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64]);
    deployment.stop().await;
}

/// The story: the encapsulated key of the helper's share was not measured at upload. A few hundred reports with keys of
/// 64 kB made a job that no helper takes, and the task's queue stood still.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_length_are_refused_at_upload() {
    let deployment = Deployment::start(Options::default()).await;
    let bytes = deployment.report(0).to_bytes();
    let share = bytes.len() - (1 + 2 + 32 + 4 + 6 + 64 + 16);
    let mut long = bytes[..=share].to_vec();
    long.extend_from_slice(&40_000_u16.to_be_bytes());
    long.extend_from_slice(&vec![9; 40_000]);
    long.extend_from_slice(&bytes[share + 3 + 32..]);
    let statuses = upload_raw(&deployment, deployment.task.id(), long).await.unwrap();
    assert_eq!(statuses[0].error, ReportError::InvalidMessage);
    still_works(&deployment).await;
    deployment.stop().await;
}

/// The story: the check for known ids looked at id and time while reports were on their way to the disk, so two
/// reports of one id and different times in one upload met in one job, which the helper refused as a whole.
#[tokio::test(flavor = "multi_thread")]
async fn one_id_with_two_times_in_one_upload_costs_nobody_else_a_report() {
    let mut deployment = Deployment::start(Options::default()).await;
    let mut reports = deployment.one_hots(64);
    let mut twin = deployment.report_at(7, (WINDOW + 1) * PRECISION);
    twin.metadata.report_id = reports[9].metadata.report_id;
    reports.insert(10, twin);
    let statuses = deployment.uploader().upload(deployment.task.id(), &reports).await.unwrap();
    assert_eq!(statuses.len(), 1);
    assert_eq!(statuses[0].error, ReportError::ReportReplayed);
    // And when the ids are read back from the disk.
    deployment.stop_role(Role::Leader).await;
    deployment.start_role(Role::Leader);
    assert_eq!(deployment.uploader().upload(deployment.task.id(), &reports).await.unwrap().len(), 65);
    let collected = deployment.collect().await.unwrap();
    assert_eq!((collected.sums, collected.report_count), (vec![1; 64], 64));
    deployment.stop().await;
}

/// The story: a helper that takes smaller jobs than the leader makes answered invalidMessage, and the leader gave up
/// every report of every job for what an operator could have mended.
#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_takes_smaller_jobs_loses_nobody_a_report() {
    let mut deployment = Deployment::start(Options::default()).await;
    deployment.stop_role(Role::Helper).await;
    let path = deployment.config_path("helper");
    let right = std::fs::read_to_string(&path).unwrap();
    let smaller =
        right.replacen("[[helper.collector]]", "limits = { job_size = 10 }\n[[helper.collector]]", 1);
    std::fs::write(&path, smaller).unwrap();
    deployment.start_role(Role::Helper);
    deployment.upload(&deployment.one_hots(64)).await;
    deployment.attempted("put_off").await;
    let counters = deployment.leader.as_ref().unwrap().leader().unwrap().counters();
    assert_eq!((counters.lost, counters.aggregated), (0, 0), "the job waits: {counters:?}");
    deployment.stop_role(Role::Helper).await;
    std::fs::write(&path, right).unwrap();
    deployment.start_role(Role::Helper);
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64]);
    deployment.stop().await;
}
