#![allow(clippy::unwrap_used)]

use super::*;
use crate::collector::fixture::{Act, CELLS, HISTOGRAM, VALUES, World, week};
use crate::collector::release::Cell;

fn refusal(error: CollectError) -> ConversionsError {
    let CollectError::Conversions(error) = error else { panic!("{error}") };
    error
}

/// A value window was collected, and its budget spent, whatever became of its conversions.
#[tokio::test]
async fn a_value_window_waits_for_its_conversions_and_costs_nothing_until_then() {
    let world = World::new().await;
    let id = world.task.task.id();
    let values = world.add_task(VALUES, |file| file.conversions = Some(id));
    let collector = world.collector();
    world.leader.plan(&[Act::Status(500)]);
    let error = collector.collect(values.task.id(), week()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("arras collect --task {id} --from 2026-11-02T00:00:00Z")), "{text}");
    assert!(matches!(refusal(error), ConversionsError::NotReleased { .. }));
    assert_eq!(world.leader.asked(), [], "nothing was asked, so nothing was spent");
    assert_eq!(collector.all_collections(values.task.id()).unwrap(), []);

    world.leader.plan(&[Act::Ready(CELLS.to_vec())]);
    let conversions = collector.collect(id, week()).await.unwrap();
    world.leader.serve(&values);
    world.leader.plan(&[Act::Ready(vec![7, 90_000, -3, 1_000_000, 55])]);
    let release = collector.collect(values.task.id(), week()).await.unwrap();
    for bucket in 0..5 {
        assert_eq!(release.shows(bucket), conversions.shows(bucket), "{bucket}");
    }
    assert!(release.shows(2) && !release.shows(3), "a small value shows, a large one does not");
    let Cell::Shown(estimate) = &release.buckets[2].cell else { panic!("shown") };
    assert_eq!(estimate.estimate, -3, "values are not cut at the threshold, nor at 0");
    assert_eq!(release.conversions.as_ref().unwrap().sequence, conversions.sequence);
    // It stays what it is, also if the task that it followed is gone.
    world.remove_task(id);
    assert_eq!(collector.collect(values.task.id(), week()).await.unwrap(), release);
}

/// "Nothing was asked or spent" was said of a window, too, that the leader had been asked for before a task was removed.
#[tokio::test]
async fn a_window_that_was_asked_for_waits_for_a_task_that_went_away() {
    let world = World::new().await;
    let id = world.task.task.id();
    let values = world.add_task(VALUES, |file| file.conversions = Some(id));
    let collector = world.impatient();
    world.leader.plan(&[Act::Ready(CELLS.to_vec())]);
    collector.collect(id, week()).await.unwrap();
    world.leader.serve(&values);
    world.leader.plan(&[Act::Created, Act::Pending]);
    let error = collector.collect(values.task.id(), week()).await.unwrap_err();
    assert!(matches!(error, CollectError::StillPending { .. }), "{error}");

    world.remove_task(id);
    let error = collector.collect(values.task.id(), week()).await.unwrap_err();
    assert!(matches!(refusal(error), ConversionsError::Unknown { .. }));
    let [kept] = &collector.all_collections(values.task.id()).unwrap()[..] else { panic!("one window") };
    assert!(
        matches!(kept.stage, Stage::UnderWay { location: Some(_), .. }),
        "it may have been charged: {kept:?}"
    );
    // It goes on where it was.
    world.add_task(HISTOGRAM, |_| ());
    world.leader.plan(&[Act::Ready(vec![7, 90_000, -3, 1_000_000, 55])]);
    let release = collector.collect(values.task.id(), week()).await.unwrap();
    assert_eq!(release.conversions.as_ref().unwrap().sequence, 1);
    assert!(world.leader.asked().iter().all(|(method, ..)| method == "GET"), "the same job");
}

#[tokio::test]
async fn tasks_that_do_not_fit_are_refused_with_what_to_do() {
    let world = World::new().await;
    let counting = world.task.task.id();
    let collector = world.collector();
    world.leader.plan(&[Act::Status(500)]);
    let longer = "{ type = \"l1-bound-sum\", length = 6, max_value = 1000 }";
    let nobody = TaskId::new([9; 32]);
    let other = world.add_task(VALUES, |file| file.name = "other".to_owned()).task.id();
    for (vdaf, named, swapped, about) in [
        (VALUES, None, false, "does not say which task counts"),
        (longer, Some(counting), false, "another number of buckets"),
        (VALUES, Some(counting), true, "campaigns are others"),
        (VALUES, Some(nobody), false, "does not know task"),
        (VALUES, Some(other), false, "does not count"),
    ] {
        let task = world.add_task(vdaf, |file| {
            file.conversions = named;
            if swapped {
                file.campaigns.swap(0, 1);
            }
        });
        let error = collector.collect(task.task.id(), week()).await.unwrap_err();
        assert!(error.to_string().contains(about), "{about}: {error}");
        let _refused = refusal(error);
    }
    assert_eq!(world.leader.asked(), []);
    // What counts needs none, and values of at most 1 are counts.
    for vdaf in [HISTOGRAM, "{ type = \"l1-bound-sum\", length = 5, max_value = 1 }"] {
        let task = world.add_task(vdaf, |_| ());
        assert!(collector.conversions_of(&task, week()).unwrap().is_none());
    }
}
