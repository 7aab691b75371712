//! Requests to the aggregators that are wrong as a whole: a problem document that says how, and nothing changed.

use arras::config::loopback::BUDGET_SOURCE;
use arras::net::problem::{DapError, ErrorType, OwnError};
use arras_protocol::codec::Encode as _;
use arras_protocol::messages::{
    AggregateShareReq, AggregationJobInitReq, Extension, Extensions, MediaType, TaskId,
};

use crate::bad_input::still_works;
use crate::harness::{Deployment, OTHER_COLLECTOR, Options, WINDOW, read, task_file};

/// The three resources that take messages from other servers: where, what, with which token.
fn resources(deployment: &Deployment) -> [(String, MediaType, String); 3] {
    let (id, tokens) = (deployment.task.id(), &deployment.loopback);
    let (leader, helper) = (deployment.leader_url(), deployment.helper_url());
    let (collector, peer) = (tokens.collector_token.expose(), tokens.leader_token.expose());
    [
        (format!("{leader}tasks/{id}/collection_jobs"), MediaType::CollectionJobReq, collector.to_owned()),
        (format!("{helper}tasks/{id}/aggregation_jobs"), MediaType::AggregationJobInitReq, peer.to_owned()),
        (format!("{helper}tasks/{id}/aggregate_shares"), MediaType::AggregateShareReq, peer.to_owned()),
    ]
}

async fn refused(deployment: &Deployment, to: &(String, MediaType, String), body: Vec<u8>) -> ErrorType {
    let (url, kind, token) = to;
    let request =
        deployment.http.post(url).header("content-type", kind.as_str()).bearer_auth(token).body(body);
    let problem = read(request.send().await.unwrap()).await.unwrap_err();
    assert!(problem.detail().is_some_and(|detail| !detail.is_empty()), "{url}");
    problem.kind().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_oversized_and_overlong_messages() {
    let extra = "limits = { max_body_bytes = 262144 }";
    let deployment = Deployment::start(Options { extra, ..Options::default() }).await;
    let query = Deployment::query(WINDOW, 1);
    let interval = query.as_time_interval().unwrap().batch_interval;
    let share = AggregateShareReq::time_interval(query.clone(), interval, 64, [0; 32]).to_bytes();
    let job = AggregationJobInitReq {
        verification_key_id: 1,
        agg_param: &[],
        extensions: Extensions::none(),
        verify_inits: Vec::new(),
    };
    let whole = [query.to_bytes(), job.to_bytes(), share];
    for (to, whole) in resources(&deployment).iter().zip(&whole) {
        // Not at every byte: refusals of shares wait for their tick, too.
        for length in (0..whole.len()).step_by(11).chain([whole.len() - 1]) {
            let kind = refused(&deployment, to, whole[..length].to_vec()).await;
            assert_eq!(kind, ErrorType::Dap(DapError::InvalidMessage), "{} cut at {length}", to.0);
        }
        // One byte more than a message: not ignored. For a job it is the beginning of a report that breaks off.
        let kind = refused(&deployment, to, [whole.as_slice(), &[0]].concat()).await;
        assert_eq!(kind, ErrorType::Dap(DapError::InvalidMessage), "{}", to.0);
        let kind = refused(&deployment, to, vec![0; 262_145]).await;
        assert_eq!(kind, ErrorType::Own(OwnError::TooLarge), "{}", to.0);
    }
    still_works(&deployment).await;
    deployment.stop().await;
}

/// Prio3 has no aggregation parameter and jobs no extension that is known; one that is there changes what is meant, so
/// it is not passed over (DAP-18 sections 4.5.3.1 and 4.6.2).
#[tokio::test(flavor = "multi_thread")]
async fn parameters_and_extensions_that_are_not_known() {
    let deployment = Deployment::start(Options::default()).await;
    let [collection, jobs, _] = resources(&deployment);
    let unknown = || Extensions::new(vec![Extension { kind: 0xFA00, data: vec![1, 2, 3] }]).unwrap();
    let job = |agg_param, extensions| {
        let verify_inits = Vec::new();
        AggregationJobInitReq { verification_key_id: 1, agg_param, extensions, verify_inits }.to_bytes()
    };
    for (to, body, expected) in [
        (&jobs, job(&[1], Extensions::none()), DapError::InvalidAggregationParameter),
        (&jobs, job(&[], unknown()), DapError::UnsupportedExtension),
        (&jobs, job(&[], Extensions::none()), DapError::InvalidMessage),
    ] {
        assert_eq!(refused(&deployment, to, body).await, ErrorType::Dap(expected));
    }
    let mut query = Deployment::query(WINDOW, 1);
    query.extensions = unknown();
    let kind = refused(&deployment, &collection, query.to_bytes()).await;
    assert_eq!(kind, ErrorType::Dap(DapError::UnsupportedExtension));
    // A job is complete after one round: there is no second step to post.
    let step = (format!("{}/{}", jobs.0, "AAAAAAAAAAAAAAAAAAAAAA"), jobs.1, jobs.2);
    assert_eq!(refused(&deployment, &step, vec![0; 4]).await, ErrorType::Dap(DapError::StepMismatch));
    still_works(&deployment).await;
    deployment.stop().await;
}

/// Two collectors at one leader: neither's token opens a task of the other's, and a task that names one collector and the
/// other's budget source is not taken part in.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_one_collector_and_its_sources() {
    let deployment = Deployment::start(Options { two_collectors: true, ..Options::default() }).await;
    deployment.upload(&deployment.one_hots(64)).await;
    let (other_name, other_source, other_token) = OTHER_COLLECTOR;
    let file = |name: &str, collector: &str, source: &str| {
        let endpoints = (&deployment.loopback.leader.endpoint, &deployment.loopback.helper.endpoint);
        let mut file = task_file(&Options::default(), name, endpoints.0, endpoints.1);
        (file.collector, file.budget_source) = (collector.to_owned(), source.to_owned());
        file
    };
    let others = deployment.add_task_file(&file("others", other_name, other_source));
    let mixed = deployment.add_task_file(&file("mixed", other_name, BUDGET_SOURCE));
    deployment.clock.set(arras::aggregator::Clock::now(&*deployment.clock) + 60);
    let ask = async |task: TaskId, token: &str| {
        let url = format!("{}tasks/{task}/collection_jobs", deployment.leader_url());
        let request = deployment
            .http
            .post(url)
            .header("content-type", MediaType::CollectionJobReq.as_str())
            .bearer_auth(token)
            .body(Deployment::query(WINDOW, 1).to_bytes());
        read(request.send().await.unwrap()).await.map_err(|problem| problem.kind().clone())
    };
    let own_token = deployment.loopback.collector_token.expose();
    let unauthorized = Err(ErrorType::Own(OwnError::Unauthorized));
    assert_eq!(ask(deployment.task.id(), other_token).await, unauthorized);
    assert_eq!(ask(others.id(), own_token).await, unauthorized);
    let unrecognized = Err(ErrorType::Dap(DapError::UnrecognizedTask));
    for token in [own_token, other_token] {
        assert_eq!(ask(mixed.id(), token).await, unrecognized);
    }
    // Each opens its own.
    assert!(ask(others.id(), other_token).await.is_ok());
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64]);
    deployment.stop().await;
}
