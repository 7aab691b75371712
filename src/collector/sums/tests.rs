#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_precision_loss)]

use std::sync::Arc;

use arras_protocol::signed::{self, DocumentType};

use super::*;
use crate::collector::errors::CollectError;
use crate::collector::fixture::{
    CELLS, HISTOGRAM, HOUR, MONDAY, VALUES, World, draft_following, signer, span,
};
use crate::collector::release::{Draft, Estimate, Published, Release};
use crate::collector::store::{BeginError, Begun, Collection, CollectorStore, Summed, WithCells};
use crate::collector::{Collector, Signature, how_summed, sum_table};
use crate::store::StoreError;
use crate::tasks::provisioned::KnownTask;
use arras_protocol::messages::{Interval, TaskId};

const DAY: u64 = 24 * HOUR;

fn days(from: u64, to: u64) -> Span {
    span(MONDAY + from * DAY, MONDAY + to * DAY)
}

fn interval(task: &KnownTask, window: Span) -> Interval {
    window.interval(task.task.configuration().time_precision).unwrap()
}

/// Releases a window with these noised cells.
fn release(
    collector: &Collector,
    task: &KnownTask,
    window: Span,
    cells: &[i128],
    follows: Option<&Release>,
) -> Release {
    let (id, interval) = (task.task.id(), interval(task, window));
    collector.store().begin(id, interval, b"request", 0).unwrap();
    let draft = draft_following(task, window, cells, follows);
    collector.store().finish(id, interval, draft).unwrap().into_release()
}

fn wanted(range: Span, campaigns: &[&str]) -> Wanted {
    Wanted { range, campaigns: campaigns.iter().map(ToString::to_string).collect() }
}

fn sum(collector: &Collector, task: &KnownTask, range: Span, campaigns: &[&str]) -> Result<Sum, SumError> {
    collector.sum(task.task.id(), &wanted(range, campaigns)).map_err(|error| match error {
        CollectError::Sum(error) => error,
        other => panic!("{other}"),
    })
}

fn shown(row: &SumRow) -> &Estimate {
    let Cell::Shown(estimate) = &row.cell else { panic!("suppressed: {row:?}") };
    estimate
}

/// The distribution of `draws` discrete Laplace variables of a scale, by adding them one by one; its middle is at `reach`.
fn convolved(scale: f64, draws: usize, reach: usize) -> Vec<f64> {
    let a = (-1.0 / scale).exp();
    let one: Vec<f64> = (0..=2 * reach)
        .map(|k| (1.0 - a) / (1.0 + a) * (-(k.abs_diff(reach) as f64) / scale).exp())
        .collect();
    let mut all = one.clone();
    for _ in 1..draws {
        all = (0..=2 * reach)
            .map(|k| {
                // k - reach = (i - reach) + (j - reach)
                (0..=2 * reach).filter_map(|i| Some(all[i] * one.get((k + reach).checked_sub(i)?)?)).sum()
            })
            .collect();
    }
    all
}

fn within(distribution: &[f64], half_width: usize) -> f64 {
    let middle = distribution.len() / 2;
    distribution[middle - half_width..=middle + half_width].iter().sum()
}

/// Three windows: gamma is suppressed in each, and shown in their sum.
#[tokio::test]
async fn a_sum_is_of_all_cells_with_the_interval_of_all_their_noise() {
    let world = World::new().await;
    let (collector, task) = (world.collector(), &world.task);
    let all = [[1024, 8451, 40, 39, -3], [900, 8000, 41, 38, -5], [1000, 7777, 44, 39, 2]];
    for (day, cells) in (0..).zip(all) {
        let release = release(&collector, task, days(day, day + 1), &cells, None);
        assert!(!release.shows(3) && !release.shows(4));
    }
    let sum = sum(&collector, task, days(0, 3), &[]).unwrap();
    assert_eq!((sum.windows.len(), &sum.gaps[..], sum.report_count), (3, &[][..], 3 * 19_785));
    let names: Vec<_> = sum.rows.iter().map(|row| row.campaign.as_deref()).collect();
    assert_eq!(names, [None, Some("alpha"), Some("beta"), Some("gamma"), None, None]);
    assert!(sum.rows[0].not_attributed);
    // What each release suppressed is in it: over shown numbers alone gamma would be 0, and beta 125 of more.
    let estimates: Vec<_> = sum.rows[..4].iter().map(|row| shown(row).estimate).collect();
    assert_eq!(estimates, [2924, 24_228, 125, 116]);
    assert_eq!(sum.rows[4].cell, Cell::Suppressed, "-3 - 5 + 2 is below the threshold");
    let total = &sum.rows[5];
    assert_eq!((&total.buckets[..], shown(total).estimate), (&[1, 2, 3][..], 24_228 + 125 + 116));
    // The noise of 3 windows is that of 6 draws of scale 2, of all three campaigns of 18.
    for (row, draws) in [(&sum.rows[2], 6), (total, 18)] {
        let exact = convolved(2.0, draws, 200);
        let Estimate { estimate, low, high, standard_error } = shown(row);
        let width = usize::try_from(high - estimate.unsigned_abs()).unwrap();
        assert_eq!(estimate.unsigned_abs() - low, width as u128);
        assert!(within(&exact, width) >= 0.95 && within(&exact, width - 1) < 0.95, "{draws}: {width}");
        let variance: f64 = (0..).zip(&exact).map(|(k, p)| f64::from(k - 200).powi(2) * p).sum();
        assert_eq!(*standard_error, format!("{:.3}", variance.sqrt()));
    }
    // One number's interval is 8 wide on each side; added up they would be 24 and 72.
    assert!(shown(&sum.rows[2]).high - 125 < 24 && shown(total).high - 24_469 < 72);
    // The threshold: no more than one in a thousand documents shows any of its 6 numbers if all are empty.
    let chance = |row: &SumRow, draws| {
        let tail: f64 = convolved(2.0, draws, 200)[200 + row.threshold as usize..].iter().sum();
        1.0 - (1.0 - tail).powi(6)
    };
    assert_eq!(sum.rows[2].threshold, 40, "the policy's is more");
    assert!(chance(&sum.rows[2], 6) <= 1e-3 && chance(total, 18) <= 1e-3);
    let lower = SumRow { threshold: total.threshold - 1, ..total.clone() };
    assert!(total.threshold == 40 || chance(&lower, 18) > 1e-3);
}

#[tokio::test]
async fn chosen_campaigns_are_summed_together() {
    let world = World::new().await;
    let (collector, task) = (world.collector(), &world.task);
    release(&collector, task, days(0, 1), &CELLS, None);
    let of = |campaigns: &[&str]| sum(&collector, task, days(0, 1), campaigns);
    let both = of(&["gamma", "beta"]).unwrap();
    let values: Vec<_> = both.rows.iter().map(|row| (row.campaign.as_deref(), &row.buckets[..])).collect();
    assert_eq!(values, [(Some("gamma"), &[3][..]), (Some("beta"), &[2]), (None, &[3, 2])]);
    assert_eq!(both.rows[0].cell, Cell::Suppressed);
    assert_eq!(shown(&both.rows[2]).estimate, 39 + 40);
    assert_eq!(of(&["beta"]).unwrap().rows.len(), 1);
    assert!(matches!(of(&["beta", "beta"]), Err(SumError::Repeated(_))));
    let unknown = of(&["delta"]).unwrap_err().to_string();
    assert!(unknown.contains("\"delta\"") && unknown.contains("alpha, beta, gamma"), "{unknown}");
    // A number of one window is that of its release, interval and all.
    let kept = collector.store().release(1).unwrap().unwrap();
    assert_eq!(of(&["beta"]).unwrap().rows[0].cell, kept.release().buckets[2].cell);
}

#[tokio::test]
async fn what_a_sum_does_not_cover_is_named() {
    let world = World::new().await;
    let task = &world.task;
    let store: Arc<dyn CollectorStore> = Arc::new(Forgetful { store: world.store(), forgotten: 2 });
    let collector = world.collector_of(store, &world.leader.endpoint);
    release(&collector, task, days(1, 2), &CELLS, None);
    release(&collector, task, days(2, 3), &CELLS, None);
    let id = task.task.id();
    collector.store().begin(id, interval(task, days(3, 4)), b"x", 0).unwrap();
    collector.store().begin(id, interval(task, days(5, 6)), b"x", 0).unwrap();
    collector.store().fail(id, interval(task, days(5, 6)), "too few reports").unwrap();
    let found = sum(&collector, task, days(0, 7), &["alpha"]).unwrap();
    assert_eq!(found.windows, [Covered { sequence: 1, window: days(1, 2) }]);
    assert_eq!(shown(&found.rows[0]).estimate, CELLS[1]);
    let gaps: Vec<_> = found.gaps.iter().map(|gap| (gap.span, gap.why, gap.release)).collect();
    assert_eq!(
        gaps,
        [
            (days(0, 1), GapReason::NotCollected, None),
            (days(2, 3), GapReason::WithoutCells, Some(2)),
            (days(3, 4), GapReason::UnderWay, None),
            (days(4, 5), GapReason::NotCollected, None),
            (days(5, 6), GapReason::Failed, None),
            (days(6, 7), GapReason::NotCollected, None),
        ]
    );
    let table = sum_table(&found);
    for (span, why) in [
        (days(0, 1), "was not collected"),
        (days(2, 3), "was released before numbers were kept for sums (release 2)"),
        (days(3, 4), "is being collected"),
        (days(5, 6), "was asked for and not collected"),
    ] {
        assert!(table.contains(&format!("not in it  {span}: {why}")), "{table}");
    }
    // What the leader said is for the administrator, not for a document.
    let document = String::from_utf8(found.to_json()).unwrap();
    assert!(!document.contains("too few") && !table.contains("too few"), "{document}");
    // A window is whole or not in it.
    for range in [span(MONDAY + DAY + HOUR, MONDAY + 2 * DAY), span(MONDAY, MONDAY + 2 * DAY - HOUR)] {
        let error = sum(&collector, task, range, &[]).unwrap_err();
        assert!(matches!(error, SumError::CutsWindow { sequence: 1, .. }), "{error}");
    }
    for (range, why) in
        [(days(2, 3), "release 2"), (days(4, 5), "was not collected"), (days(5, 7), "too few")]
    {
        let error = sum(&collector, task, range, &[]).unwrap_err().to_string();
        assert!(error.contains("nothing to add up") && error.contains(why), "{error}");
    }
}

/// A signed sum gave the reason of one failed hour to the whole gap around it, and said of next week that it had not been
/// collected.
#[tokio::test]
async fn a_failure_is_told_of_what_was_asked_for_alone() {
    let world = World::new().await;
    let (collector, task) = (world.collector(), &world.task);
    release(&collector, task, days(2, 3), &CELLS, None);
    let failed = |from: u64, to: u64| {
        let window = interval(task, span(MONDAY + from * HOUR, MONDAY + to * HOUR));
        collector.store().begin(task.task.id(), window, b"x", 0).unwrap();
        collector.store().fail(task.task.id(), window, "the leader refuses").unwrap();
    };
    // Two that overlap, one that touches the next, one that reaches into what was released.
    for (from, to) in [(2, 4), (3, 6), (6, 7), (20, 22)] {
        failed(from, to);
    }
    world.clock.set(MONDAY + 3 * DAY + 90 * 60);
    let found = sum(&collector, task, days(0, 5), &[]).unwrap();
    let at = |hours: u64| MONDAY + hours * HOUR;
    let parts: Vec<_> =
        found.gaps.iter().map(|gap| (gap.span.from().seconds(), gap.span.to().seconds(), gap.why)).collect();
    assert_eq!(
        parts,
        [
            (at(0), at(2), GapReason::NotCollected),
            (at(2), at(7), GapReason::Failed),
            (at(7), at(20), GapReason::NotCollected),
            (at(20), at(22), GapReason::Failed),
            (at(22), at(48), GapReason::NotCollected),
            (at(72), at(73), GapReason::NotCollected),
            // The step that is not over counts to what is to come.
            (at(73), at(120), GapReason::NotOver),
        ]
    );
    // Each moment of the range is in one window or one gap.
    let covered: u64 = parts.iter().map(|(from, to, _)| to - from).sum();
    assert_eq!(covered + DAY, 5 * DAY);
    let error = sum(&collector, task, span(at(3), at(5)), &[]).unwrap_err().to_string();
    assert!(error.contains("it was asked for and not collected: the leader refuses;"), "{error}");
    let error = sum(&collector, task, days(4, 5), &[]).unwrap_err().to_string();
    assert!(error.contains("is not over yet"), "{error}");
}

/// Where nothing was released the answer was "can be summed: was not collected", or a refusal of many sentences that ended
/// within a word, and a campaign that the task does not have was not noticed.
#[tokio::test]
async fn an_empty_range_is_told_in_whole_sentences() {
    let world = World::new().await;
    let (collector, task) = (world.collector(), &world.task);
    let (id, window) = (task.task.id(), interval(task, days(1, 2)));
    let refusal = format!("the budget does not allow it. Ask for other weeks. {}", "x".repeat(1_000));
    collector.store().begin(id, window, b"x", 0).unwrap();
    collector.store().fail(id, window, &refusal).unwrap();
    let told = |range, campaigns: &[&str]| sum(&collector, task, range, campaigns).unwrap_err().to_string();
    let [first, second] = [days(0, 1), days(1, 2)];
    assert_eq!(
        told(first, &["beta"]),
        format!("there is nothing to add up from {first}: it was not collected; `arras collect` does that")
    );
    let why = "was asked for and not collected: the budget does not allow it; `arras collect` tries again and says more";
    assert_eq!(told(second, &[]), format!("there is nothing to add up from {second}: it {why}"));
    let range = days(1, 3);
    assert_eq!(
        told(range, &[]),
        format!("there is nothing to add up from {range}: its first part, from {second}, {why}")
    );
    assert_eq!(
        told(first, &["beta", "delta"]),
        format!(
            "the task has no campaign \"delta\"; it has: alpha, beta, gamma. And nothing was released from {first}"
        )
    );
}

/// The last row was "(these 3 together)", below rows of which it has some and others not.
#[tokio::test]
async fn the_row_of_all_campaigns_says_so() {
    let world = World::new().await;
    release(&world.collector(), &world.task, days(0, 1), &CELLS, None);
    let table = sum_table(&sum(&world.collector(), &world.task, days(0, 1), &[]).unwrap());
    assert!(table.contains("\n(the 3 campaigns together) "), "{table}");
}

/// A sum of values named the task that its task's file has today; releases had followed another.
#[tokio::test]
async fn the_conversions_of_a_sum_are_those_that_its_windows_followed() {
    let world = World::new().await;
    let (collector, one) = (world.collector(), &world.task);
    let other = world.add_task(HISTOGRAM, |file| file.name = "other".to_owned());
    let values = world.add_task(VALUES, |file| file.conversions = Some(one.task.id()));
    for (day, counting) in [(0, one), (1, &other)] {
        let conversions = release(&collector, counting, days(day, day + 1), &CELLS, None);
        release(&collector, &values, days(day, day + 1), &[0, 9000, 5, 5, 5], Some(&conversions));
    }
    for named in [None, Some(other.task.id()), Some(one.task.id())] {
        // A file that names none is made by hand; it is not added.
        let values = named
            .map_or(Arc::clone(&values), |id| world.add_task(VALUES, |file| file.conversions = Some(id)));
        for (day, followed) in [(0, one), (1, &other)] {
            let found = sum(&collector, &values, days(day, day + 1), &[]).unwrap();
            assert_eq!(found.conversions, Some(followed.task.id().to_string()), "{named:?}");
            assert_eq!(found.rows[3].cell, Cell::Suppressed, "39 conversions");
        }
        let error = sum(&collector, &values, days(0, 2), &[]).unwrap_err();
        let SumError::OtherConversions { window, .. } = &error else { panic!("{error}") };
        assert_eq!(*window, days(1, 2));
        assert!(error.to_string().contains("ask for the windows before and from then on apart"), "{error}");
    }
}

/// The threshold was for as many numbers as were asked for: campaigns that were asked for one by one had a lower one, and
/// of thousands of empty ones some were shown.
#[tokio::test]
async fn a_threshold_does_not_depend_on_what_is_asked_for() {
    let world = World::new().await;
    let collector = world.collector();
    let task = world.add_task(HISTOGRAM, |file| file.threshold = Some(1));
    for day in 0..3 {
        release(&collector, &task, days(day, day + 1), &CELLS, None);
    }
    let threshold =
        |campaigns: &[&str]| sum(&collector, &task, days(0, 3), campaigns).unwrap().rows[0].threshold;
    let all = threshold(&[]);
    let exact = convolved(2.0, 6, 200);
    let chance = |threshold: u128| {
        let tail: f64 = exact[200 + usize::try_from(threshold).unwrap()..].iter().sum();
        // Five buckets, and all campaigns together.
        1.0 - (1.0 - tail).powi(6)
    };
    assert!(chance(all) <= 1e-3 && chance(all - 1) > 1e-3, "{all}");
    assert_eq!([threshold(&["beta"]), threshold(&["gamma", "alpha"])], [all, all]);
}

/// Beyond some cells a sum is refused before they are read.
#[tokio::test]
async fn windows_of_many_buckets_are_bounded_by_their_cells() {
    let world = World::new().await;
    let collector = world.collector();
    let wide = "{ type = \"histogram\", length = 4096 }";
    let task = world.add_task(wide, |file| file.threshold = Some(40));
    let most = SUM_CELLS_MAX / 4096;
    let start = MONDAY - 600 * HOUR;
    let hour = |n: usize| span(start + n as u64 * HOUR, start + (n as u64 + 1) * HOUR);
    for n in 0..=most {
        collector.store().begin(task.task.id(), interval(&task, hour(n)), b"x", 0).unwrap();
    }
    let range = |n: usize| Span::new(hour(0).from(), hour(n - 1).to()).unwrap();
    let error = sum(&collector, &task, range(most + 1), &[]).unwrap_err();
    assert_eq!(error, SumError::TooMany { most });
    let error = sum(&collector, &task, range(most), &[]).unwrap_err();
    assert!(matches!(error, SumError::Nothing { .. }), "{error}");
}

/// The layout, by which programs read a sum: every field, every reason, and the signed text of another implementation.
#[test]
fn the_document_is_the_golden_one() {
    let golden = include_str!("golden.json");
    let sum = Sum::from_json(golden.as_bytes()).unwrap();
    assert_eq!(serde_json::to_string_pretty(&sum).unwrap().trim_end(), golden.trim_end());
    let vector = include_str!("../../../protocol/vectors/arras-1/sum.jws").trim_end();
    assert_eq!(signed::sign(&signer(), DocumentType::Sum, &sum.to_json()).unwrap(), vector);
    let verified = signed::verify(&[*signer().public_key()], DocumentType::Sum, vector).unwrap();
    assert_eq!(Sum::from_json(verified.document()).unwrap(), sum);
}

#[tokio::test]
async fn a_bucket_that_changed_its_campaign_is_not_summed() {
    let world = World::new().await;
    let collector = world.collector();
    let of = |names: &'static [&'static str]| {
        let change = move |file: &mut crate::tasks::TaskFile| {
            file.campaigns = names.iter().map(ToString::to_string).collect();
        };
        world.add_task(crate::collector::fixture::HISTOGRAM, change)
    };
    release(&collector, &of(&["alpha"]), days(0, 1), &CELLS, None);
    // A campaign that comes later is no change.
    let task = of(&["alpha", "beta"]);
    release(&collector, &task, days(1, 2), &CELLS, None);
    let found = sum(&collector, &task, days(0, 2), &["beta"]).unwrap();
    assert_eq!((found.windows.len(), shown(&found.rows[0]).estimate), (2, 80));
    release(&collector, &of(&["beta", "alpha"]), days(2, 3), &CELLS, None);
    let error = sum(&collector, &task, days(0, 3), &[]).unwrap_err();
    assert!(
        matches!(&error, SumError::OtherCampaign { bucket: 1, window, .. } if *window == days(2, 3)),
        "{error}"
    );
    assert!(
        sum(&collector, &task, days(0, 2), &[]).is_ok() && sum(&collector, &task, days(2, 3), &[]).is_ok()
    );
}

#[tokio::test]
async fn sums_of_values_follow_the_sums_of_their_conversions() {
    let world = World::new().await;
    let (collector, counting) = (world.collector(), &world.task);
    let values = world.add_task(VALUES, |file| file.conversions = Some(counting.task.id()));
    for (day, (counts, sums)) in (0..).zip([
        ([1024, 8451, 40, 30, -3], [0, 90_000, -3, 500_000, 800_000]),
        ([1024, 8451, 40, 31, -3], [0, 90_000, -4, 400_000, 900_000]),
    ]) {
        let conversions = release(&collector, counting, days(day, day + 1), &counts, None);
        release(&collector, &values, days(day, day + 1), &sums, Some(&conversions));
    }
    let counted = sum(&collector, counting, days(0, 2), &[]).unwrap();
    let found = sum(&collector, &values, days(0, 2), &[]).unwrap();
    assert_eq!(found.conversions, Some(counting.task.id().to_string()));
    for (value, count) in found.rows.iter().zip(&counted.rows) {
        let is_shown = |row: &SumRow| matches!(row.cell, Cell::Shown(_));
        assert_eq!((is_shown(value), value.threshold), (is_shown(count), count.threshold), "{value:?}");
    }
    // 61 conversions, none of the windows alone: what they were worth shows; 1,700,000 of nobody does not.
    assert_eq!(shown(&found.rows[3]).estimate, 900_000);
    assert_eq!(found.rows[4].cell, Cell::Suppressed);
    // A negative value is shown in words.
    assert_eq!(shown(&found.rows[2]).estimate, -7);
    let table = sum_table(&found);
    assert!(table.contains("unclear") && !table.contains("-7"), "{table}");
    assert!(
        how_summed(&found, Signature::Verified)
            .replace('\n', " ")
            .contains("sum of the conversions of the same windows")
    );
    // Values of conversions that are not kept are a gap.
    drop(collector);
    let store: Arc<dyn CollectorStore> = Arc::new(Forgetful { store: world.store(), forgotten: 1 });
    let collector = world.collector_of(store, &world.leader.endpoint);
    let found = sum(&collector, &values, days(0, 2), &[]).unwrap();
    assert_eq!((found.windows.len(), found.gaps.len()), (1, 1));
}

#[tokio::test]
async fn a_sum_is_signed_as_a_sum() {
    let world = World::new().await;
    let (collector, task) = (world.collector(), &world.task);
    release(&collector, task, days(0, 1), &CELLS, None);
    let sum = sum(&collector, task, days(0, 2), &[]).unwrap();
    let text = signed::sign(collector.signer(), DocumentType::Sum, &sum.to_json()).unwrap();
    let keys = [*signer().public_key()];
    let verified = signed::verify(&keys, DocumentType::Sum, &text).unwrap();
    assert_eq!(Sum::from_json(verified.document()).unwrap(), sum);
    assert_eq!(sum.keys.signing, verified.key().to_string());
    assert!(signed::verify(&keys, DocumentType::Release, &text).is_err());
    let newer = String::from_utf8(sum.to_json()).unwrap().replacen("\"version\":1", "\"version\":2", 1);
    assert!(matches!(Sum::from_json(newer.as_bytes()), Err(ReadError::Version(2))));
    // What the release suppresses is in no word of it.
    let text = String::from_utf8(sum.to_json()).unwrap();
    assert!(!text.contains("\"39\"") && !text.contains("\"-3\""), "{text}");
}

/// A store that has lost the cells of one release, as of one from before they were kept.
struct Forgetful {
    store: Arc<crate::collector::CollectorDisk>,
    forgotten: u64,
}

impl CollectorStore for Forgetful {
    fn begin(
        &self,
        task: TaskId,
        interval: Interval,
        request: &[u8],
        release_bytes: u64,
    ) -> Result<Begun, BeginError> {
        self.store.begin(task, interval, request, release_bytes)
    }

    fn set_location(&self, task: TaskId, interval: Interval, to: Option<&str>) -> Result<(), StoreError> {
        self.store.set_location(task, interval, to)
    }

    fn finish(&self, task: TaskId, interval: Interval, draft: Draft) -> Result<Published, StoreError> {
        self.store.finish(task, interval, draft)
    }

    fn fail(&self, task: TaskId, interval: Interval, reason: &str) -> Result<(), StoreError> {
        self.store.fail(task, interval, reason)
    }

    fn release(&self, sequence: u64) -> Result<Option<Published>, StoreError> {
        self.store.release(sequence)
    }

    fn with_cells(&self, sequence: u64) -> Result<Option<WithCells>, StoreError> {
        if sequence == self.forgotten { Ok(None) } else { self.store.with_cells(sequence) }
    }

    fn last_sequence(&self) -> Result<u64, StoreError> {
        self.store.last_sequence()
    }

    fn summed(&self, sequence: u64) -> Result<Option<Summed>, StoreError> {
        if sequence == self.forgotten { Ok(None) } else { self.store.summed(sequence) }
    }

    fn collections(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<Collection>, StoreError> {
        self.store.collections(task, after, limit)
    }

    fn charged(&self, source: &str) -> Result<Vec<(u64, u64)>, StoreError> {
        self.store.charged(source)
    }

    fn failures(&self, task: TaskId, limit: usize) -> Result<Vec<Collection>, StoreError> {
        self.store.failures(task, limit)
    }
}
