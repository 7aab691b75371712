//! What must work: reports in, counts out, each report counted once.

use std::sync::Arc;

use arras::privacy::noise::FixedNoise;
use arras::tasks::author::{ProfileChoice, VdafChoice};
use arras_protocol::codec::Encode as _;
use arras_protocol::messages::{AggregateShareReq, MediaType, ReportError};
use arras_protocol::vdaf::Measurement;

use crate::harness::{Deployment, NOW, Options, PRECISION, Role, StandIn, WINDOW, eventually, read};

#[tokio::test(flavor = "multi_thread")]
async fn every_report_is_counted_once() {
    let deployment = Deployment::start(Options::default()).await;
    let reports = deployment.one_hots(64);
    for chunk in reports.chunks(10) {
        deployment.upload(chunk).await;
    }
    let collected = deployment.collect().await.unwrap();
    assert_eq!(collected.sums, vec![1; 64]);
    assert_eq!(collected.report_count, 64);
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_dap_tasks_work_the_same() {
    let options = Options { profile: ProfileChoice::Plain, ..Options::default() };
    let deployment = Deployment::start(options).await;
    deployment.upload(&deployment.one_hots(64)).await;
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64]);
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_and_capped_values_are_summed() {
    let deployment = Deployment::start(Options { vdaf: VdafChoice::Count {}, ..Options::default() }).await;
    let reports: Vec<_> = (0..20)
        .map(|n| {
            let measurement = Measurement::Count(n % 3 == 0);
            deployment.maker().make(&mut rand::rng(), WINDOW * PRECISION, &measurement, None).unwrap()
        })
        .collect();
    deployment.upload(&reports).await;
    assert_eq!(deployment.collect().await.unwrap().sums, [7]);
    deployment.stop().await;

    let vdaf = VdafChoice::L1BoundSum { length: 4, max_value: 127 };
    let deployment = Deployment::start(Options { vdaf, ..Options::default() }).await;
    let reports: Vec<_> = (0..20)
        .map(|n| {
            let measurement = Measurement::Vector(vec![n, 0, 1, 100 - n]);
            deployment.maker().make(&mut rand::rng(), WINDOW * PRECISION, &measurement, None).unwrap()
        })
        .collect();
    deployment.upload(&reports).await;
    assert_eq!(deployment.collect().await.unwrap().sums, [190, 0, 20, 1_810]);
    deployment.stop().await;
}

/// Each aggregator adds its own full noise: the released numbers are off by the sum of both, and negative sums
/// stay negative.
#[tokio::test(flavor = "multi_thread")]
async fn both_aggregators_add_their_own_noise() {
    let noise =
        Arc::new(|| Box::new(FixedNoise::new(vec![-3, 5])) as Box<dyn arras::privacy::noise::NoiseSource>);
    let deployment = Deployment::start(Options { noise, ..Options::default() }).await;
    deployment.upload(&deployment.one_hots(64)).await;
    let sums = deployment.collect().await.unwrap().sums;
    let expected: Vec<i128> = (0..64).map(|cell| if cell % 2 == 0 { 1 - 6 } else { 1 + 10 }).collect();
    assert_eq!(sums, expected);
    deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_apart() {
    let deployment = Deployment::start(Options::default()).await;
    let mut reports = Vec::new();
    for hour in 0..3_u64 {
        for bucket in 0..20 {
            reports.push(deployment.report_at(bucket + 20 * hour as u32, (WINDOW + hour) * PRECISION + 59));
        }
    }
    deployment.upload(&reports).await;
    let middle = deployment.collect_window(&Deployment::query(WINDOW + 1, 1)).await.unwrap();
    assert_eq!(middle.report_count, 20);
    assert!((0..64).all(|cell| middle.sums[cell] == i128::from((20..40).contains(&cell))));
    let first = deployment.collect_window(&Deployment::query(WINDOW, 1)).await.unwrap();
    assert!((0..64).all(|cell| first.sums[cell] == i128::from(cell < 20)));
    let last = deployment.collect_window(&Deployment::query(WINDOW + 2, 5)).await.unwrap();
    assert!((0..64).all(|cell| last.sums[cell] == i128::from((40..60).contains(&cell))));
    assert_eq!(
        (last.interval.start().0, last.interval.end().0),
        (WINDOW + 2, WINDOW + 3),
        "the smallest interval"
    );
    deployment.stop().await;
}

/// The answer to a retry is the same to the byte: fresh noise could be averaged away.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_collection_gets_the_same_bytes() {
    let noise = Arc::new(|| {
        Box::new(arras::privacy::noise::OpendpNoise) as Box<dyn arras::privacy::noise::NoiseSource>
    });
    let mut deployment = Deployment::start(Options { noise, ..Options::default() }).await;
    deployment.upload(&deployment.one_hots(64)).await;
    let first = deployment.collect().await.unwrap();
    assert_eq!(deployment.collect().await.unwrap(), first);
    for role in [Role::Leader, Role::Helper] {
        deployment.stop_role(role).await;
    }
    for role in [Role::Helper, Role::Leader] {
        deployment.start_role(role);
    }
    assert_eq!(deployment.collect().await.unwrap(), first, "also after a restart of both");
    deployment.stop().await;
}

/// A leader that gives up waiting asks again while the first request is still worked on. The second found the window
/// collected, by the first, and was told so: the leader took that for final.
#[tokio::test(flavor = "multi_thread")]
async fn identical_aggregate_share_requests_at_once_get_the_same_bytes() {
    let deployment = Deployment::start(Options::default()).await;
    let reports = deployment.one_hots(64);
    deployment.upload(&reports).await;
    deployment.settled(64).await;
    let mut checksum = [0; 32];
    for report in &reports {
        let hash = ring::digest::digest(&ring::digest::SHA256, report.metadata.report_id.as_bytes());
        checksum.iter_mut().zip(hash.as_ref()).for_each(|(byte, other)| *byte ^= other);
    }
    let query = Deployment::query(WINDOW, 1);
    let interval = query.as_time_interval().unwrap().batch_interval;
    let request = AggregateShareReq::time_interval(query, interval, 64, checksum).to_bytes();
    let url = format!("{}tasks/{}/aggregate_shares", deployment.helper_url(), deployment.task.id());
    let mut at_once = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let request = deployment
            .http
            .post(&url)
            .header("content-type", MediaType::AggregateShareReq.as_str())
            .bearer_auth(deployment.loopback.leader_token.expose())
            .body(request.clone());
        at_once.spawn(async move { read(request.send().await.unwrap()).await });
    }
    let answers: Vec<_> = at_once.join_all().await.into_iter().map(Result::unwrap).collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "noise was drawn twice");
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64], "the leader gets it, too");
    deployment.stop().await;
}

/// A helper that is away during aggregation costs nothing but time.
#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_comes_back_loses_no_report() {
    let mut deployment = Deployment::start(Options::default()).await;
    deployment.stop_role(Role::Helper).await;
    deployment.upload(&deployment.one_hots(64)).await;
    deployment.attempted("unreachable").await;
    deployment.start_role(Role::Helper);
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64]);
    deployment.stop().await;
}

/// The age of a report was judged again when its job was made and when the helper verified it: what had waited while the
/// helper was away, or met a clock that was ahead for a moment, was acknowledged and thrown away.
#[tokio::test(flavor = "multi_thread")]
async fn reports_that_waited_for_longer_than_their_age_count() {
    let extra = "limits = { max_report_age_seconds = 172800 }";
    let mut deployment = Deployment::start(Options { extra, ..Options::default() }).await;
    deployment.stop_role(Role::Helper).await;
    deployment.upload(&deployment.one_hots(64)).await;
    deployment.clock.set(NOW + 40 * 86_400);
    let old = deployment.report(3);
    let refused = deployment.uploader().upload(deployment.task.id(), &[old]).await.unwrap();
    assert_eq!(refused[0].error, ReportError::ReportDropped, "at upload, age is judged");
    deployment.start_role(Role::Helper);
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64]);
    deployment.stop().await;
}

/// A proxy's page in the place of the helper's answer was taken for the end of a collection: the window opened again, and
/// reports were acknowledged that the helper, which had charged for the batch and closed it, refuses. So was the
/// helper's own word that the window is closed.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_answers_for_the_helper_opens_no_window() {
    let answers = [
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 20\r\nconnection: close\r\n\r\n<h1>maintenance</h1>",
        "HTTP/1.1 200 OK\r\ncontent-type: application/ppm-dap;message=aggregate-share\r\ncontent-length: 3\r\n\
         connection: close\r\n\r\nabc",
        "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: 53\r\n\
         connection: close\r\n\r\n{\"type\":\"urn:ietf:params:ppm:dap:error:batchOverlap\"}",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ];
    for answer in answers {
        if let Some((head, body)) = answer.split_once("\r\n\r\n")
            && let Some((_, length)) = head.split_once("content-length: ")
        {
            let length: usize = length.split('\r').next().unwrap().parse().unwrap();
            assert_eq!(length, body.len(), "{answer}");
        }
        let mut deployment = Deployment::start(Options::default()).await;
        deployment.upload(&deployment.one_hots(64)).await;
        deployment.settled(64).await;
        deployment.stop_role(Role::Helper).await;
        let stand_in = StandIn::at(deployment.helper_url(), answer).await;
        let query = Deployment::query(WINDOW, 1);
        let created = deployment.create_collection(&query).await;
        assert_eq!(created.status(), 201, "{answer}");
        // The leader asks again: it did not take the first answer for the last.
        eventually("it asks twice", || stand_in.answered() >= 2).await;
        let late = deployment.report(3);
        let refused = deployment.uploader().upload(deployment.task.id(), &[late]).await.unwrap();
        assert_eq!(refused[0].error, ReportError::BatchCollected, "{answer}");
        stand_in.stop().await;
        deployment.start_role(Role::Helper);
        assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64], "{answer}");
        deployment.stop().await;
    }
}

/// A task that is added while the aggregators run is found by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_can_be_added_while_running() {
    let mut deployment = Deployment::start(Options::default()).await;
    deployment.task = deployment.add_task("added later");
    deployment.clock.set(NOW + 60);
    deployment.upload(&deployment.one_hots(64)).await;
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64]);
    deployment.stop().await;
}
