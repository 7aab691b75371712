//! Uploads that come at the same time are stored together, and answered each by itself.

use arras_protocol::codec::{Decode as _, Encode};
use arras_protocol::messages::{MediaType, Report, ReportError, UploadErrors};
use tokio::task::JoinSet;

use crate::harness::{Deployment, Options};

/// An upload, and what is to be said of it: how many of its reports are refused, as what; `None` if it as a whole is.
struct Expected {
    body: Vec<u8>,
    refused: Option<(usize, ReportError)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_at_the_same_time_are_answered_each_by_itself() {
    let deployment = Deployment::start(Options::default()).await;
    let early = |bucket| deployment.report_at(bucket, u64::MAX / 2);
    let body = |reports: &[Report]| reports.iter().flat_map(Encode::to_bytes).collect::<Vec<u8>>();
    let mut uploads = Vec::new();
    for bucket in 0..30 {
        let report = deployment.report(bucket);
        uploads.push(Expected { body: body(&[report]), refused: Some((0, ReportError::ReportReplayed)) });
        let mixed = [early(bucket), deployment.report(bucket + 30), early(bucket)];
        uploads.push(Expected { body: body(&mixed), refused: Some((2, ReportError::ReportTooEarly)) });
        uploads.push(Expected { body: vec![7; 5], refused: None });
    }
    let url = format!("{}tasks/{}/reports", deployment.leader_url(), deployment.task.id());
    let mut sent = JoinSet::new();
    for Expected { body, refused } in uploads {
        let request = deployment.http.post(&url).header("content-type", MediaType::UploadRequest.as_str());
        sent.spawn(async move {
            let response = request.body(body).send().await.unwrap();
            let (status, answer) = (response.status().as_u16(), response.bytes().await.unwrap());
            let Some((count, error)) = refused else {
                assert_eq!(status, 400);
                return;
            };
            assert_eq!(status, 200);
            let errors = UploadErrors::from_bytes(&answer).unwrap().status;
            assert_eq!(errors.iter().map(|status| status.error).collect::<Vec<_>>(), vec![error; count]);
        });
    }
    sent.join_all().await;
    let collected = deployment.collect().await.unwrap();
    let ones: Vec<i128> = (0..64).map(|bucket| i128::from(bucket < 60)).collect();
    assert_eq!((collected.sums, collected.report_count), (ones, 60));
    deployment.stop().await;
}

/// Of copies that come at the same time one counts, and the others hear of a replay when the first is durable.
#[tokio::test(flavor = "multi_thread")]
async fn of_copies_at_the_same_time_one_is_accepted() {
    let deployment = Deployment::start(Options::default()).await;
    let reports = deployment.one_hots(12);
    let mut sent = JoinSet::new();
    for report in &reports {
        for _ in 0..10 {
            let (uploader, id, report) = (deployment.uploader(), deployment.task.id(), report.clone());
            sent.spawn(async move { uploader.upload(id, &[report]).await.unwrap().len() });
        }
    }
    let refused: usize = sent.join_all().await.into_iter().sum();
    assert_eq!(refused, 12 * 9);
    let collected = deployment.collect().await.unwrap();
    let ones: Vec<i128> = (0..64).map(|bucket| i128::from(bucket < 12)).collect();
    assert_eq!(collected.sums, ones);
    deployment.stop().await;
}

/// A leader looks for a task that it does not know at most every two seconds. Requests that came while it looked were once
/// told that there is no such task: of the first 2,000 reports of a task that had just been added, 64 were taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_first_uploads_of_a_new_task_come_at_once() {
    let mut deployment = Deployment::start(Options::default()).await;
    deployment.task = deployment.add_task("added later");
    let reports = deployment.one_hots(48);
    let mut sent = JoinSet::new();
    for report in reports {
        let (uploader, id) = (deployment.uploader(), deployment.task.id());
        sent.spawn(async move { uploader.upload(id, &[report]).await.unwrap().len() });
    }
    assert_eq!(sent.join_all().await, [0; 48]);
    deployment.stop().await;
}
