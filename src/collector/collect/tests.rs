#![allow(clippy::unwrap_used)]

use axum::http::Method;

use super::*;
use crate::collector::fixture::{Act, CELLS, HISTOGRAM, HOUR, MONDAY, World, known_task, span, week};
use crate::collector::release::Cell;
use crate::collector::store::CollectorStore as _;

const OWN: &str = "tag:arras.example,2026:error:";

fn estimates(release: &Release) -> Vec<Option<i128>> {
    let estimate = |cell: &Cell| match cell {
        Cell::Shown(estimate) => Some(estimate.estimate),
        Cell::Suppressed => None,
    };
    release.buckets.iter().map(|bucket| estimate(&bucket.cell)).collect()
}

async fn refused(world: &World, acts: &[Act]) -> CollectError {
    world.leader.plan(acts);
    world.collector().collect(world.task.task.id(), week()).await.unwrap_err()
}

#[tokio::test]
async fn pending_then_ready() {
    let world = World::new().await;
    let collector = world.collector();
    let id = world.task.task.id();
    world.leader.plan(&[Act::Created, Act::Pending, Act::Pending, Act::Ready(CELLS.to_vec())]);
    let release = collector.collect(id, week()).await.unwrap();
    assert_eq!(estimates(&release), [Some(1024), Some(8451), Some(40), None, None]);
    assert_eq!((release.sequence, release.report_count), (1, 19_785));

    let asked = world.leader.asked();
    let methods: Vec<&Method> = asked.iter().map(|(method, ..)| method).collect();
    assert_eq!(methods, [Method::POST, Method::GET, Method::GET, Method::GET]);
    assert_eq!(asked[0].2, world.request());
    // Asked for again, also after a restart, it is the release that is kept, and the leader hears nothing.
    assert_eq!(collector.collect(id, week()).await.unwrap(), release);
    drop(collector);
    assert_eq!(world.collector().collect(id, week()).await.unwrap(), release);
    assert_eq!(world.leader.asked().len(), 4);
}

#[tokio::test]
async fn an_answer_may_come_at_once() {
    let world = World::new().await;
    world.leader.plan(&[Act::Ready(CELLS.to_vec())]);
    assert_eq!(world.collector().collect(world.task.task.id(), week()).await.unwrap().sequence, 1);
}

#[tokio::test]
async fn several_at_once_get_one_release() {
    let world = World::new().await;
    let collector = world.collector();
    let id = world.task.task.id();
    world.leader.plan(&[Act::Created, Act::Ready(CELLS.to_vec())]);
    let (a, b, c) = tokio::join!(
        collector.collect(id, week()),
        collector.collect(id, week()),
        collector.collect(id, week())
    );
    let a = a.unwrap();
    assert!(b.unwrap() == a && c.unwrap() == a);
    assert_eq!(world.leader.asked().len(), 2);
    assert!(collector.0.turns.lock().unwrap().is_empty(), "nobody waits any more");
}

#[tokio::test]
async fn a_restart_in_between_follows_the_same_job() {
    let world = World::new().await;
    let id = world.task.task.id();
    world.leader.plan(&[Act::Created, Act::Pending]);
    let error = world.impatient().collect(id, week()).await.unwrap_err();
    assert!(matches!(error, CollectError::StillPending { .. }), "{error}");
    assert!(error.to_string().contains("ask for the same window again"), "{error}");

    world.leader.plan(&[Act::Ready(CELLS.to_vec())]);
    // As a process does when it starts.
    let collector = world.collector();
    collector.resume().await.unwrap();
    let asked = world.leader.asked();
    assert_eq!(asked.len(), 1, "one look at the job, and no second request");
    assert_eq!(asked[0].0, Method::GET);
    assert_eq!(collector.collect(id, week()).await.unwrap().sequence, 1);
}

#[tokio::test]
async fn a_crash_before_the_answer_sends_the_same_bytes_again() {
    let world = World::new().await;
    let id = world.task.task.id();
    let error = refused(&world, &[Act::Status(503)]).await;
    assert!(matches!(error, CollectError::Unreachable { .. }), "{error}");
    let first = world.leader.asked();
    assert!(first.len() > 1, "it was tried again");
    assert!(first.iter().all(|request| request == &first[0]));
    // What is under way does not let a window pass that overlaps it.
    let error = world.collector().collect(id, span(MONDAY, MONDAY + HOUR)).await.unwrap_err();
    assert!(matches!(error, CollectError::OverlapsUnderWay(window) if window == week()), "{error}");

    world.leader.plan(&[Act::Created, Act::Ready(CELLS.to_vec())]);
    assert_eq!(world.collector().collect(id, week()).await.unwrap().sequence, 1);
    assert_eq!(world.leader.asked()[0], first[0]);
}

#[tokio::test]
async fn a_job_that_is_lost_is_asked_for_anew() {
    let world = World::new().await;
    let acts = [Act::Created, Act::Status(404), Act::Created, Act::Ready(CELLS.to_vec())];
    world.leader.plan(&acts);
    assert_eq!(world.collector().collect(world.task.task.id(), week()).await.unwrap().sequence, 1);
    let bodies: Vec<_> =
        world.leader.asked().into_iter().filter(|(method, ..)| method == Method::POST).collect();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0], bodies[1]);
}

#[tokio::test]
async fn trouble_that_passes_is_not_the_callers() {
    let world = World::new().await;
    let overloaded = Act::Problem("tag:arras.example,2026:error:overloaded", 503);
    let acts = [overloaded, Act::Created, Act::Status(500), Act::Pending, Act::Ready(CELLS.to_vec())];
    world.leader.plan(&acts);
    assert_eq!(world.collector().collect(world.task.task.id(), week()).await.unwrap().sequence, 1);
}

#[tokio::test]
async fn a_leader_that_is_not_there_is_named() {
    let world = World::new().await;
    let task = known_task(&world.dir.path().join("tasks"), "http://127.0.0.1:1/", HISTOGRAM);
    let collector = world.collector_of(world.store(), "http://127.0.0.1:1/");
    let error = collector.collect(task.task.id(), week()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, CollectError::Unreachable { .. }), "{text}");
    assert!(text.contains("http://127.0.0.1:1/") && text.contains("ask for the same window again"), "{text}");
    // The other task of the folder belongs to another leader.
    let error = collector.collect(world.task.task.id(), week()).await.unwrap_err();
    assert!(matches!(error, CollectError::OtherLeader { .. }), "{error}");
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let dap = "urn:ietf:params:ppm:dap:error:";
    for (kind, status, words) in [
        (format!("{dap}invalidBatchSize"), 400, "too few reports"),
        (format!("{dap}batchOverlap"), 400, "starts where the last one ended"),
        (format!("{OWN}budgetExhausted"), 403, "privacy budget of shop.example"),
        (format!("{dap}batchInvalid"), 400, "not over yet"),
        (format!("{dap}unrecognizedTask"), 404, "folders of tasks"),
        (format!("{dap}batchMismatch"), 400, "compare"),
        (format!("{OWN}unauthorized"), 401, "token"),
        (format!("{OWN}gone"), 410, "no longer keeps"),
        ("urn:x:new".to_owned(), 400, "the leader refuses"),
    ] {
        let kind: &'static str = kind.leak();
        for acts in [vec![Act::Problem(kind, status)], vec![Act::Created, Act::Problem(kind, status)]] {
            let world = World::new().await;
            let error = refused(&world, &acts).await;
            let text = error.to_string();
            assert!(matches!(error, CollectError::Refused(_)), "{kind}: {text}");
            assert!(text.contains(words) && text.contains("said the leader"), "{kind}: {text}");
            assert_eq!(world.store().failures(world.task.task.id(), 9).unwrap().len(), 1);
            // The window may be asked for again.
            world.leader.plan(&[Act::Created, Act::Ready(CELLS.to_vec())]);
            assert_eq!(world.collector().collect(world.task.task.id(), week()).await.unwrap().sequence, 1);
        }
    }
}

#[tokio::test]
async fn answers_that_are_none_are_refused() {
    for (acts, words) in [
        (vec![Act::Garbage], "cannot be used"),
        (vec![Act::Html], "Content-Type"),
        (vec![Act::Status(200)], "without saying where the job is"),
        (vec![Act::CreatedElsewhere], "not below its endpoint"),
        (vec![Act::OtherWindow], "not within the window"),
        (vec![Act::TooFew], "99 reports"),
        (vec![Act::Status(400)], "400"),
        (vec![Act::Status(302)], "302"),
        (vec![Act::Created, Act::Status(404)], "not found at the address"),
    ] {
        let world = World::new().await;
        let lost = matches!(acts.get(1), Some(Act::Status(404)));
        // A job that is never there: created and lost in turns.
        let acts = if lost { (0..5).flat_map(|_| [Act::Created, Act::Status(404)]).collect() } else { acts };
        let error = refused(&world, &acts).await;
        let text = error.to_string();
        assert!(matches!(error, CollectError::BadAnswer(_)), "{text}");
        assert!(text.contains(words), "{text}");
        assert_eq!(world.store().release(1).unwrap(), None);
    }
}

#[tokio::test]
async fn shares_that_do_not_fit_are_refused_without_their_numbers() {
    let world = World::new().await;
    let error = refused(&world, &[Act::Swapped]).await;
    assert!(error.to_string().contains("Leader's aggregate share does not open"), "{error}");

    // 19,785 reports and 40 scales of 2, twice: up to 19,945 and down to -160.
    for (cell, ok) in [(19_945, true), (19_946, false), (-160, true), (-161, false)] {
        let world = World::new().await;
        world.leader.plan(&[Act::Ready(vec![100, 100, cell, 100, 100])]);
        let collected = world.collector().collect(world.task.task.id(), week()).await;
        assert_eq!(collected.is_ok(), ok, "{cell}");
        if let Err(error) = collected {
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("cell 2 of the aggregate") && !shown.contains("199"), "{shown}");
            assert!(!shown.contains("161") && !shown.contains("hpke_config"), "{shown}");
        }
    }

    // A key that the shares are not for: another collector with the same task.
    let (world, other) = (World::new().await, World::new().await);
    world.leader.plan(&[Act::Ready(CELLS.to_vec())]);
    let id = known_task(&other.dir.path().join("tasks"), &world.leader.endpoint, HISTOGRAM).task.id();
    let collector = other.collector_of(other.store(), &world.leader.endpoint);
    let error = collector.collect(id, week()).await.unwrap_err();
    assert!(matches!(error, CollectError::Shares(_)), "{error}");
    assert!(error.to_string().contains("keys"), "{error}");
}

#[tokio::test]
async fn windows_that_cannot_be_are_refused_before_anything_is_sent() {
    let world = World::new().await;
    let collector = world.collector();
    let id = world.task.task.id();
    world.leader.plan(&[Act::Status(500)]);
    let now = MONDAY + 8 * 24 * HOUR;
    let collect = |from, to| collector.collect(id, span(from, to));
    assert!(matches!(collect(MONDAY, MONDAY + 1).await, Err(CollectError::Window(_))));
    assert!(matches!(collect(MONDAY + 1, MONDAY + HOUR).await, Err(CollectError::Window(_))));
    let error = collect(MONDAY, now + HOUR).await.unwrap_err();
    assert!(matches!(error, CollectError::NotOver { .. }), "{error}");
    let error = collect(MONDAY - 22 * 24 * HOUR, MONDAY).await.unwrap_err();
    assert!(matches!(error, CollectError::Epochs(_)), "{error}");
    let error = collector.collect(TaskId::new([1; 32]), week()).await.unwrap_err();
    assert!(matches!(error, CollectError::UnknownTask(_)), "{error}");
    assert_eq!(world.leader.asked(), []);
    assert_eq!(collector.all_collections(id).unwrap(), []);
}

#[tokio::test]
async fn a_window_that_overlaps_a_release_is_refused_by_name() {
    let world = World::new().await;
    let collector = world.collector();
    world.leader.plan(&[Act::Ready(CELLS.to_vec())]);
    collector.collect(world.task.task.id(), week()).await.unwrap();
    let error = collector.collect(world.task.task.id(), span(MONDAY, MONDAY + HOUR)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("release 1") && text.contains(&week().to_string()), "{text}");
    assert_eq!(world.leader.asked().len(), 1);
}
