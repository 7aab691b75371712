//! Plans against releases that are played with the real sampler: what is printed must be what happens.

use super::*;
use crate::privacy::noise::{NoiseSource as _, OpendpNoise, Scale};
use crate::privacy::threshold::Threshold;

/// Releases that are played for each number.
const RELEASES: u32 = 20_000;

/// A frequency further than this many standard errors from its probability is none of it but once in 10^9 tests.
const SIGMAS: f64 = 6.2;

/// What both aggregators add to a cell.
fn noise(scale: &Scale) -> i128 {
    OpendpNoise.discrete_laplace(scale).unwrap() + OpendpNoise.discrete_laplace(scale).unwrap()
}

/// How often something happened in [`RELEASES`], held against how often it should.
fn agrees(happened: u32, chance: f64) -> bool {
    let releases = f64::from(RELEASES);
    // A count of rare things is not normal; five are more than chance ever makes of none.
    let error = (chance * (1.0 - chance) * releases).sqrt();
    (f64::from(happened) - chance * releases).abs() <= SIGMAS * error + 5.0
}

fn how_often(mut what: impl FnMut() -> bool) -> u32 {
    (0..RELEASES).filter(|_| what()).count().try_into().unwrap()
}

#[test]
fn campaigns_are_shown_and_off_as_often_as_planned() {
    // Of which some are around the threshold in each window.
    let setting = setting(&[("large", 7_000), ("middle", 130), ("small", 20), ("smaller", 14), ("none", 0)]);
    let plan = Plan::new(&setting).unwrap();
    let mut between = 0;
    for choice in &plan.choices {
        let threshold = Threshold::new(choice.threshold);
        for (campaign, outlook) in setting.campaigns.iter().zip(&choice.campaigns) {
            let count = i128::from(campaign.per_week * choice.window.seconds() / EPOCH_SECONDS);
            let shown = how_often(|| threshold.show(count + noise(&choice.counts.scale)).value().is_some());
            between += u32::from((0.05..0.95).contains(&outlook.chance_shown));
            assert!(agrees(shown, outlook.chance_shown), "{campaign:?} {:?}: {shown}", choice.window);
        }
        let (width, scale) = (choice.counts.half_width, &choice.counts.scale);
        let within = how_often(|| noise(scale).unsigned_abs() <= width);
        let chance = 1.0 - 2.0 * choice.counts.noise.tail(i128::try_from(width).unwrap() + 1);
        assert!(chance >= 0.95 && agrees(within, chance), "{:?}: {within}", choice.window);
    }
    assert!(between >= 2, "nothing was near the threshold: {plan:?}");
}

/// The smallest campaign that a plan calls visible is shown in 95 of 100 releases, and one conversion less is not.
#[test]
fn the_smallest_visible_campaign_is_visible() {
    let setting = setting(&[("any", 100)]);
    let plan = Plan::new(&setting).unwrap();
    let choice = choice(&plan, Window::Week);
    let chance = |count: u64| {
        let one = super::setting(&[("smallest", count)]);
        let plan = Plan::new(&one).unwrap();
        super::choice(&plan, Window::Week).campaigns[0].chance_shown
    };
    let smallest = choice.smallest_visible;
    assert!(chance(smallest) >= SHOWN_CHANCE && chance(smallest - 1) < SHOWN_CHANCE);
    let threshold = Threshold::new(choice.threshold);
    let shown =
        how_often(|| threshold.show(i128::from(smallest) + noise(&choice.counts.scale)).value().is_some());
    assert!(agrees(shown, chance(smallest)), "{shown}");
}

/// A week added up from its days is off by seven times two noises.
#[test]
fn the_sum_of_a_week_is_off_as_often_as_planned() {
    let setting = setting(&[("any", 7_000)]);
    let plan = Plan::new(&setting).unwrap();
    let day = choice(&plan, Window::Day);
    let width = day.week.half_width.unwrap();
    let off = how_often(|| (0..7).map(|_| noise(&day.counts.scale)).sum::<i128>().unsigned_abs() > width);
    assert!(agrees(off, 0.05) || off < RELEASES / 20, "{off}");
    let wider =
        how_often(|| (0..7).map(|_| noise(&day.counts.scale)).sum::<i128>().unsigned_abs() > width * 9 / 10);
    assert!(wider > RELEASES / 20, "a tenth narrower is not enough: {wider}");
    assert!(choice(&plan, Window::Hour).week.half_width.is_none(), "10 of 168 hours are no week");
}

/// Any empty bucket of a release is shown less than once in a thousand releases.
#[test]
fn empty_buckets_are_shown_as_rarely_as_planned() {
    let setting = setting(&[("any", 7_000)]);
    let plan = Plan::new(&setting).unwrap();
    let choice = choice(&plan, Window::Week);
    let threshold = Threshold::new(choice.threshold);
    let scale = &choice.counts.scale;
    let shown = how_often(|| (0..16).any(|_| threshold.show(noise(scale)).value().is_some()));
    assert!(agrees(shown, choice.empty_shown), "{shown}");
}

/// Values are added in the task's units and told in the currency.
#[test]
fn values_are_off_as_often_as_planned() {
    let setting = with_values(setting(&[("any", 7_000)]), "45.50", "0.5");
    let plan = Plan::new(&setting).unwrap();
    let day = choice(&plan, Window::Day);
    let (values, outlook) = (day.values.as_ref().unwrap(), day.campaigns[0].value.unwrap());
    let within = how_often(|| noise(&values.scale).unsigned_abs() as f64 * 0.1 <= outlook.half_width + 1e-6);
    let chance = 1.0 - 2.0 * values.noise.tail(i128::try_from(values.half_width).unwrap() + 1);
    assert!(chance >= 0.95 && agrees(within, chance), "{within}");
}
