//! Values and their conversions, through both aggregators and over HTTP.

use arras::collector::{Cell, CollectError, ConversionsError, Moment, Release, Span, Sum, table};
use arras::privacy::ledger::{BudgetSource, Epoch};
use arras::tasks::author::VdafChoice;
use arras_protocol::messages::TaskId;
use arras_protocol::vdaf::Measurement;

use crate::harness::{Deployment, NOW, Options, PRECISION, WINDOW, task_file};

const LARGEST: u64 = 127;

fn window() -> Span {
    let moment = |hours: u64| Moment::from_seconds(hours * PRECISION).unwrap();
    Span::new(moment(WINDOW), moment(WINDOW + 1)).unwrap()
}

async fn collect(deployment: &Deployment, task: TaskId) -> Result<Release, CollectError> {
    let collector = deployment.collector.as_ref().unwrap().collector().unwrap();
    let (collected, ()) = tokio::join!(collector.collect(task, window()), deployment.tick());
    collected
}

async fn spent(deployment: &Deployment) -> u64 {
    let leader = deployment.leader.as_ref().unwrap().leader().unwrap();
    let source = || BudgetSource::new(arras::config::loopback::BUDGET_SOURCE).unwrap();
    let mut all = 0;
    for epoch in 0..10 {
        all += leader.spent(source(), Epoch(epoch)).await.unwrap();
    }
    all
}

/// A value was shown if it passed a threshold that is a number of conversions: four people who spent much were shown,
/// twenty who spent little were not.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_collected_after_their_conversions_and_show_where_they_do() {
    let options = Options { threshold: 5, ..Options::default() };
    let mut deployment = Deployment::start(options).await;
    let counting = deployment.task.id();
    let vdaf = VdafChoice::L1BoundSum { length: 64, max_value: LARGEST };
    let endpoints =
        (deployment.loopback.leader.endpoint.clone(), deployment.loopback.helper.endpoint.clone());
    let options = Options { vdaf, threshold: 5, ..Options::default() };
    let mut file = task_file(&options, "values", &endpoints.0, &endpoints.1);
    file.conversions = Some(counting);
    file.check_conversions().unwrap();
    let values = deployment.add_task_file(&file);
    deployment.clock.set(NOW + 60);

    // Bucket 1: four purchases of the largest value. 2: twenty of 1 each. 3: ten of nothing.
    let purchases = [(1, 4, LARGEST), (2, 20, 1), (3, 10, 0)];
    let conversions: Vec<_> = purchases
        .iter()
        .flat_map(|(bucket, count, _)| (0..*count).map(|_| *bucket))
        .map(|bucket| deployment.report(bucket))
        .collect();
    deployment.upload(&conversions).await;
    deployment.task = values;
    let values = deployment.task.id();
    let sums: Vec<_> = purchases
        .iter()
        .flat_map(|(bucket, count, value)| (0..*count).map(move |_| (*bucket as usize, *value)))
        .map(|(bucket, value)| {
            let mut cells = vec![0; 64];
            cells[bucket] = value;
            let measurement = Measurement::Vector(cells);
            deployment.maker().make(&mut rand::rng(), WINDOW * PRECISION, &measurement, None).unwrap()
        })
        .collect();
    deployment.upload(&sums).await;

    let refused = collect(&deployment, values).await.unwrap_err();
    assert!(matches!(refused, CollectError::Conversions(ConversionsError::NotReleased { .. })), "{refused}");
    assert_eq!(spent(&deployment).await, 0, "refused before anything was spent");
    let counted = collect(&deployment, counting).await.unwrap();
    let release = collect(&deployment, values).await.unwrap();
    assert_eq!(spent(&deployment).await, 2_000_000, "an epsilon each");
    let shown = |release: &Release| (0..64).filter(|bucket| release.shows(*bucket)).collect::<Vec<_>>();
    assert_eq!((shown(&counted), shown(&release)), (vec![2, 3], vec![2, 3]));
    let Cell::Shown(small) = &release.buckets[2].cell else { panic!("shown") };
    assert_eq!(small.estimate, 20);
    assert_eq!(release.conversions.as_ref().unwrap().sequence, counted.sequence);
    assert!(table(&release, None).contains("where release 1 shows its conversions"));

    // A sum of values, over HTTP.
    let (endpoint, token) = (&deployment.loopback.collector.endpoint, &deployment.loopback.admin_token);
    let (from, to) = (WINDOW * PRECISION, (WINDOW + 3) * PRECISION);
    let url = format!("{endpoint}v1/tasks/{values}/sums?from={from}&to={to}");
    let answer = deployment.http.get(url).bearer_auth(token.expose()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let sum = Sum::from_json(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!((sum.windows.len(), sum.gaps.len()), (1, 1));
    assert_eq!(sum.conversions, Some(counting.to_string()));
    assert_eq!(sum.rows[1].cell, Cell::Suppressed, "508 of four people");
    deployment.stop().await;
}
