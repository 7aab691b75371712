//! The planner against what it stands for: simulated releases, the ledger, and its own promises.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

mod calendars;
mod played;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use arras_protocol::epsilon::MicroEpsilon;
use arras_protocol::task::MAX_EPSILON;
use arras_protocol::vdaf::VdafConfig;
use proptest::prelude::*;

use super::*;
use crate::privacy::ledger::{BudgetSource, EPOCH_SECONDS, SourceRules};

/// A setting of named campaigns: 16 buckets, k = 1, epsilon 1 of 10 a week.
pub(super) fn setting(campaigns: &[(&str, u64)]) -> Setting {
    let campaign = |(name, per_week): &(&str, u64)| Campaign {
        name: (*name).to_owned(),
        per_week: *per_week,
        average_value: None,
    };
    Setting {
        campaigns: campaigns.iter().map(campaign).collect(),
        rest_per_week: 20_000,
        counts: terms(VdafConfig::histogram(16).unwrap(), "1", 1),
        values: None,
        threshold: None,
        source: BudgetSource::new("shop.example").unwrap(),
        rules: SourceRules { epoch_start: 0, cap: 10_000_000 },
        time_precision: Some(3_600),
        windows: Windows::WithEpochs,
        min_batch_size: 100,
        target: None,
        solve_epsilon: false,
    }
}

fn terms(vdaf: VdafConfig, epsilon: &str, contributions: u32) -> Terms {
    Terms {
        vdaf,
        epsilon: epsilon.parse().unwrap(),
        contributions: NonZeroU32::new(contributions).unwrap(),
        cap: None,
    }
}

/// With a value task of at most 1,000 units of 0.10 a report.
fn with_values(mut setting: Setting, average: &str, epsilon: &str) -> Setting {
    for campaign in &mut setting.campaigns {
        campaign.average_value = Some(average.parse().unwrap());
    }
    let terms = terms(VdafConfig::l1_bound_sum(16, 1_000).unwrap(), epsilon, 1);
    setting.values = Some(Values { terms, unit: "0.1".parse().unwrap(), currency: "EUR".to_owned() });
    setting
}

fn micro(epsilon: u32) -> MicroEpsilon {
    MicroEpsilon::from_micro(epsilon).unwrap()
}

fn choice<'a>(plan: &'a Plan<'_>, window: Window) -> &'a Choice {
    plan.choices.iter().find(|choice| choice.window == window).unwrap()
}

/// Both aggregators add scale 2: 95% are within 8, see the table in the tests of `accuracy`.
#[test]
fn the_numbers_are_those_of_releases() {
    let setting = setting(&[("spring", 7_000), ("niche", 30)]);
    let plan = Plan::new(&setting).unwrap();
    let day = choice(&plan, Window::Day);
    assert_eq!((day.counts.scale.to_string().as_str(), day.counts.half_width), ("2", 8));
    assert!((day.campaigns[0].expected - 1_000.0).abs() < 1e-9);
    assert!((day.campaigns[0].relative_error - 0.008).abs() < 1e-12);
    assert!(day.campaigns[0].useful && !day.campaigns[1].useful);
    assert_eq!(day.smallest_useful, 32, "8 of 32 are a quarter");
    assert!(
        day.empty_shown <= 1e-3
            && day.counts.noise.empty_shown_chance(u128::from(day.threshold) - 1, 16) > 1e-3
    );
    assert_eq!(choice(&plan, Window::Week).week.half_width, Some(8), "a week is one window");
    assert_eq!(plan.recommended().window, Window::Day);
}

#[test]
fn a_budget_is_found_out_by_playing_the_ledger() {
    let admitted = |cap: u64, epsilon: &str, contributions| {
        let mut setting = setting(&[("spring", 7_000)]);
        setting.rules.cap = cap;
        setting.counts = terms(setting.counts.vdaf, epsilon, contributions);
        let plan = Plan::new(&setting).unwrap();
        plan.choices
            .iter()
            .map(|choice| (choice.budget.poorest.admitted, choice.budget.poorest.of))
            .collect::<Vec<_>>()
    };
    assert_eq!(admitted(10_000_000, "1", 1), [(10, 168), (7, 7), (1, 1)]);
    assert_eq!(admitted(10_000_000, "1", 2), [(5, 168), (5, 7), (1, 1)], "k counts");
    assert_eq!(admitted(9_999_999, "1", 1), [(9, 168), (7, 7), (1, 1)], "the last must fit whole");
    assert_eq!(admitted(999_999, "1", 1), [(0, 168), (0, 7), (0, 1)]);
    assert_eq!(admitted(168, "0.000001", 1), [(168, 168), (7, 7), (1, 1)]);
}

/// A plan that knew only the cap of the source promised windows that a task's own limit refused.
#[test]
fn the_limit_of_a_single_task_counts_beside_the_cap() {
    let mut setting = with_values(setting(&[("spring", 7_000), ("niche", 30)]), "45.50", "0.5");
    setting.rules.cap = 30_000_000;
    let admitted =
        |setting: &Setting| choice(&Plan::new(setting).unwrap(), Window::Day).budget.poorest.admitted;
    assert_eq!(admitted(&setting), 7);
    setting.counts.cap = Some(4_999_999);
    assert_eq!(admitted(&setting), 4);
    setting.values.as_mut().unwrap().terms.cap = Some(1_000_000);
    assert_eq!(admitted(&setting), 2, "the lower of both decides");
    setting.counts.cap = Some(7_000_000);
    setting.values.as_mut().unwrap().terms.cap = None;
    assert_eq!(admitted(&setting), 7, "what values spend is not held against conversions");
    setting.values = None;
    setting.counts.cap = Some(1_000_000);
    let plan = Plan::new(&setting).unwrap();
    let Some(Advice::TooSmall { steps, .. }) = plan.advice.last() else { panic!("{:?}", plan.advice) };
    let is_limited = |step: &Step| matches!(step, Step::MoreEpsilon { cap: None, task_caps: true, .. });
    assert!(steps.iter().any(is_limited), "{steps:?}");
}

/// With an epsilon that stays, a target is reached by the window.
#[test]
fn a_target_can_be_solved_for_the_window() {
    let with_target = |target: &str| {
        let mut setting = setting(&[("spring", 700)]);
        setting.target = Some(target.parse().unwrap());
        let plan = Plan::new(&setting).unwrap();
        assert!(plan.choices.iter().all(|choice| choice.counts.terms == setting.counts));
        (plan.recommended().window, plan.recommended().useful())
    };
    // 95% are within 8: of 100 a day that is 8%, of 700 a week 1.1%.
    assert_eq!(with_target("8%"), (Window::Day, 1));
    assert_eq!(with_target("7.9999%"), (Window::Week, 1));
    assert_eq!(with_target("1%").1, 0);
}

/// Weeks of a task whose times are in weeks begin on Thursdays, as 1970 did. Epochs that begin on Mondays are touched by
/// two of them each, so that the budget seemed to carry twice what it does.
#[test]
fn windows_across_epochs_are_charged_to_both() {
    let mut setting = setting(&[("spring", 7_000)]);
    setting.time_precision = Some(EPOCH_SECONDS);
    setting.rules.epoch_start = 4 * 86_400;
    setting.rules.cap = 1_500_000;
    let plan = Plan::new(&setting).unwrap();
    assert_eq!(plan.choices.len(), 1, "hours and days are no multiples of a week");
    let week = &plan.choices[0];
    assert!(week.budget.straddles);
    assert_eq!(week.budget.poorest, Share { of: 2, admitted: 1 }, "every other week is refused");
    assert!(plan.advice.iter().any(|advice| matches!(advice, Advice::Straddles { .. })));
    setting.rules.cap = 2_000_000;
    assert!(Plan::new(&setting).unwrap().choices[0].budget.is_whole());
    setting.rules = SourceRules { epoch_start: 0, cap: 1_000_000 };
    assert!(Plan::new(&setting).unwrap().choices[0].budget.is_whole());
}

#[test]
fn values_spend_the_same_budget_and_are_shown_with_their_counts() {
    let setting = with_values(setting(&[("spring", 7_000), ("tiny", 2)]), "45.50", "0.5");
    let plan = Plan::new(&setting).unwrap();
    let day = choice(&plan, Window::Day);
    assert_eq!((day.budget.poorest.admitted, day.budget.cost), (6, 1_500_000), "1.5 of 10 epsilon each");
    let values = day.values.as_ref().unwrap();
    assert_eq!(values.scale.to_string(), "4000", "2 * 1000 / 0.5");
    let value = day.campaigns[0].value.unwrap();
    assert!((value.expected - 45_500.0).abs() < 1e-6 && !value.is_cut);
    assert!((value.half_width - values.half_width as f64 * 0.1).abs() < 1e-6);
    assert!(!day.campaigns[1].useful);
    // Worth 250.00 on average, of which a report adds 100.00 at most.
    let setting = with_values(super::tests::setting(&[("spring", 7_000)]), "250", "0.5");
    let plan = Plan::new(&setting).unwrap();
    let value = choice(&plan, Window::Day).campaigns[0].value.unwrap();
    assert!(value.is_cut && (value.expected - 100_000.0).abs() < 1e-6);
    assert!(plan.advice.iter().any(|advice| matches!(advice, Advice::Cut { .. })));
}

#[test]
fn advice_keeps_its_word() {
    let setting = setting(&[("spring", 7_000), ("niche", 30), ("small", 20), ("none", 0)]);
    let plan = Plan::new(&setting).unwrap();
    let steps = |name: &str| {
        let of = |advice: &&Advice| matches!(advice, Advice::TooSmall { campaign, .. } if campaign == name);
        let Some(Advice::TooSmall { steps, .. }) = plan.advice.iter().find(of) else { panic!("{name}") };
        steps.clone()
    };
    for (name, per_week) in [("niche", 30), ("small", 20)] {
        let steps = steps(name);
        assert_eq!(steps.len(), 3, "{steps:?}");
        for step in steps {
            let mut changed = setting.clone();
            match step {
                Step::LongerWindow { weeks } => changed.campaigns[1].per_week = per_week * weeks,
                Step::Merge { with, per_week } => {
                    assert_eq!(with.len(), 1, "one is enough: {with:?}");
                    assert_eq!(per_week, 50);
                    changed.campaigns[1].per_week = per_week;
                }
                Step::MoreEpsilon { epsilons, cap, task_caps } => {
                    assert_eq!((cap, task_caps), (None, false));
                    changed.campaigns[1].per_week = per_week;
                    changed.counts.epsilon = epsilons[0];
                    let less = micro(epsilons[0].get() - 1);
                    let mut less_than = changed.clone();
                    less_than.counts.epsilon = less;
                    let plan = Plan::new(&less_than).unwrap();
                    assert!(!choice(&plan, Window::Week).campaigns[1].useful, "{less} is enough");
                }
                Step::SmallerBatch { .. } => panic!("there are enough reports"),
                Step::FewerContributions { .. } => panic!("one report cannot be fewer"),
                Step::LowerThreshold { .. } => panic!("none was set"),
            }
            assert!(choice(&Plan::new(&changed).unwrap(), Window::Week).campaigns[1].useful);
        }
    }
    // Nothing can be added to nothing but another campaign.
    assert_eq!(
        steps("none"),
        [Step::Merge { with: vec!["niche".to_owned(), "small".to_owned()], per_week: 50 }]
    );
}

/// No step asked whether a batch has enough reports: whole weeks of ten reports were to be released at another epsilon, where a
/// batch needs fifty. And if only that was in the way, nothing was said but to take longer windows.
#[test]
fn advice_reaches_the_smallest_batch() {
    let cases = [
        // A campaign, all others, epsilon, the smallest batch.
        (10, 0, "1", 50),
        (10, 60, "0.3", 200),
        (700, 0, "1", 1_000),
        (30, 0, "1", 40),
    ];
    let mut kinds = (0, 0);
    for (per_week, rest, epsilon, min_batch_size) in cases {
        let mut setting = setting(&[("niche", per_week)]);
        setting.rest_per_week = rest;
        setting.counts = terms(setting.counts.vdaf, epsilon, 1);
        setting.min_batch_size = min_batch_size;
        let plan = Plan::new(&setting).unwrap();
        assert!(!plan.recommended().is_released() && plan.choices.iter().all(|choice| choice.useful() == 0));
        let Some(Advice::TooSmall { steps, .. }) = plan.advice.last() else { panic!("{:?}", plan.advice) };
        assert!(!steps.is_empty(), "{per_week} of {min_batch_size}: no way out");
        for step in steps {
            let mut changed = setting.clone();
            match step {
                Step::LongerWindow { weeks } => {
                    kinds.0 += 1;
                    // A week of so many times the conversions.
                    changed.campaigns[0].per_week *= weeks;
                    changed.rest_per_week *= weeks;
                }
                Step::SmallerBatch { min_batch_size } => {
                    kinds.1 += 1;
                    changed.min_batch_size = min_batch_size + 1;
                    assert!(!choice(&Plan::new(&changed).unwrap(), Window::Week).is_released());
                    changed.min_batch_size = *min_batch_size;
                }
                other => panic!("{other:?} makes no larger batch"),
            }
            let changed = Plan::new(&changed).unwrap();
            let week = choice(&changed, Window::Week);
            assert!(week.is_released() && week.campaigns[0].useful, "{step:?}");
        }
    }
    assert_eq!(kinds, (4, 1), "{kinds:?}");
}

#[test]
fn fewer_reports_of_a_device_buy_more_epsilon() {
    let mut setting = setting(&[("niche", 30)]);
    setting.counts = terms(setting.counts.vdaf, "1", 4);
    let plan = Plan::new(&setting).unwrap();
    let Some(Advice::TooSmall { steps, .. }) = plan.advice.last() else { panic!("{:?}", plan.advice) };
    let three = NonZeroU32::new(3).unwrap();
    let step = Step::FewerContributions { contributions: three, epsilon: micro(1_333_333) };
    assert!(steps.contains(&step), "{steps:?}");
    let mut changed = setting.clone();
    changed.counts = terms(setting.counts.vdaf, "1.333333", 3);
    let changed = Plan::new(&changed).unwrap();
    assert!(choice(&changed, Window::Week).campaigns[0].useful);
    assert!(choice(&changed, Window::Week).budget.cost <= choice(&plan, Window::Week).budget.cost);
}

/// Under a cap that carries no week, merging and fewer reports were proposed although nothing would be released.
#[test]
fn what_the_budget_refuses_is_helped_by_a_larger_cap_alone() {
    let mut setting = setting(&[("spring", 7_000), ("niche", 30)]);
    setting.counts = terms(setting.counts.vdaf, "1", 3);
    setting.rules.cap = 500_000;
    let plan = Plan::new(&setting).unwrap();
    let small: Vec<&Advice> =
        plan.advice.iter().filter(|advice| matches!(advice, Advice::TooSmall { .. })).collect();
    let [Advice::TooSmall { campaign, steps, .. }] = &small[..] else { panic!("{small:?}") };
    assert_eq!(campaign, "niche");
    let [Step::MoreEpsilon { epsilons, cap: Some(cap), task_caps: false }] = &steps[..] else {
        panic!("{steps:?}")
    };
    setting.counts.epsilon = epsilons[0];
    setting.rules.cap = *cap;
    let plan = Plan::new(&setting).unwrap();
    let week = choice(&plan, Window::Week);
    assert!(week.budget.is_whole() && week.campaigns[1].useful);
    setting.rules.cap = cap - 1;
    assert!(!choice(&Plan::new(&setting).unwrap(), Window::Week).budget.is_whole());
}

#[test]
fn what_cannot_be_measured_is_said() {
    let plan_of = |setting: &Setting| Plan::new(setting).map(|plan| plan.advice);
    let advice = plan_of(&setting(&[("none", 0)])).unwrap();
    assert!(advice.last().unwrap().to_string().contains("cannot be measured"), "{advice:?}");
    let mut few = setting(&[("spring", 700)]);
    few.rest_per_week = 0;
    let reports = plan_of(&few).unwrap();
    let about = |window| {
        reports
            .iter()
            .any(|advice| matches!(advice, Advice::TooFewReports { window: of, .. } if *of == window))
    };
    assert!(about(Window::Hour) && !about(Window::Day), "100 of 100 are enough: {reports:?}");
}

type Change = fn(&mut Setting);

#[test]
fn wrong_questions_are_refused_by_name() {
    let refused = |change: fn(&mut Setting)| {
        let mut setting = with_values(setting(&[("spring", 700), ("summer", 70)]), "10", "1");
        change(&mut setting);
        Plan::new(&setting).unwrap_err()
    };
    let cases: [(Change, About, &str); 9] = [
        (|s| s.campaigns.clear(), About::Campaigns, "at least one"),
        (|s| s.campaigns[1].name = "spring".to_owned(), About::Campaigns, "twice"),
        (|s| s.campaigns[1].name.clear(), About::Campaigns, "no name"),
        (|s| s.campaigns[1].per_week = CONVERSIONS_MAX + 1, About::Campaigns, "correct it"),
        (|s| s.counts.vdaf = VdafConfig::histogram(2).unwrap(), About::Buckets, "do not fit 2 buckets"),
        (|s| s.counts.epsilon = micro(MAX_EPSILON + 1), About::Counts, "most allowed is 10"),
        (
            |s| s.values.as_mut().unwrap().terms.vdaf = VdafConfig::l1_bound_sum(8, 9).unwrap(),
            About::Values,
            "same",
        ),
        (|s| s.campaigns.iter_mut().for_each(|c| c.average_value = None), About::Values, "on average"),
        (|s| s.time_precision = Some(7_000), About::TimePrecision, "divisor of a week"),
    ];
    for (change, about, word) in cases {
        let error = refused(change);
        assert!(error.about == about && error.reason.contains(word), "{word}: {error:?}");
    }
}

#[test]
fn lists_of_campaigns_are_read_whole_or_refused() {
    let read = |text: &str| read_campaigns(text.as_bytes(), 7);
    let campaigns = read("campaign,conversions,value\nspring, 100 ,45.50\n\"a, b\",3,\n").unwrap();
    assert_eq!(campaigns[0].per_week, 700);
    assert_eq!(campaigns[0].average_value, Some("45.5".parse().unwrap()));
    assert_eq!((&*campaigns[1].name, campaigns[1].average_value), ("a, b", None));
    assert_eq!(read("conversions,campaign\n3,a\n").unwrap()[0].per_week, 21);
    for (text, word) in [
        ("spring,100\nsummer,3\n", "first line must name"),
        ("campaign,conversions\nspring,-1\n", "line 2: conversions is \"-1\"; write a whole number"),
        ("campaign,conversions\n\n\"a\nb\",3\nspring,1.5\n", "line 5: conversions is \"1.5\""),
        ("campaign,conversions\nspring\n", "line: 2"),
        ("campaign,conversions,value\nspring,1,0\n", "line 2: value: \"0\" is no amount"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(word), "{text}: {error}");
    }
    let many: Vec<String> = (0..=CAMPAIGNS_MAX).map(|index| format!("c{index},1\n")).collect();
    assert!(
        read(&format!("campaign,conversions\n{}", many.concat()))
            .unwrap_err()
            .reason
            .contains("at most 4095")
    );
}

#[test]
fn percentages_and_amounts_are_exact() {
    for (text, shown) in [("10%", "10%"), ("2.5%", "2.5%"), ("0.0001%", "0.0001%"), ("100%", "100%")] {
        assert_eq!(text.parse::<Fraction>().unwrap().to_string(), shown);
    }
    for text in ["10", "0%", "100.0001%", "-1%", "1e1%", "0.00001%", "%", ".5%", "18446744073709551616%"] {
        assert!(text.parse::<Fraction>().unwrap_err().contains("write it like"), "{text}");
    }
    assert_eq!("0.1".parse::<Fraction>(), Err("\"0.1\" is no percentage from 0.0001% to 100%; write it like 10%, with at most four digits behind the point".to_owned()));
    assert!(("45.50".parse::<Amount>().unwrap().get() - 45.5).abs() < 1e-12);
    for text in ["0", "-1", "1,5", "1e3", "0.0000001", "1000000000001", ""] {
        assert!(text.parse::<Amount>().is_err(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Noise is per window, so the number of a longer one is never further off relative to itself.
    #[test]
    fn a_longer_window_is_never_less_precise(
        per_week in 0_u64..10_000_000, epsilon in 1_u32..=MAX_EPSILON, length in 2_u32..300,
    ) {
        let mut setting = setting(&[("any", per_week)]);
        setting.counts = Terms { vdaf: VdafConfig::histogram(length).unwrap(), epsilon: micro(epsilon), ..setting.counts };
        let plan = Plan::new(&setting).unwrap();
        for pair in plan.choices.windows(2) {
            let (shorter, longer) = (&pair[0].campaigns[0], &pair[1].campaigns[0]);
            prop_assert!(longer.relative_error <= shorter.relative_error);
            prop_assert!(longer.chance_shown >= shorter.chance_shown);
            prop_assert!(longer.useful || !shorter.useful);
        }
    }

    /// What is solved for reaches the target when it is planned, fits under the cap, and is the least that does.
    #[test]
    fn a_solved_epsilon_reaches_the_target_and_one_millionth_less_does_not(
        counts in prop::collection::vec(1_u64..1_000_000, 1..4),
        target in 1_u32..100, cap in 1_u64..100_000_000, contributions in 1_u32..5,
        threshold in prop::option::of(0_u64..500), values: bool,
    ) {
        let names = ["a", "b", "c"];
        let campaigns: Vec<(&str, u64)> = names.into_iter().zip(counts).collect();
        let mut setting = setting(&campaigns);
        setting.target = Some(format!("{target}%").parse().unwrap());
        setting.solve_epsilon = true;
        setting.rules.cap = cap;
        setting.threshold = threshold;
        setting.counts.contributions = NonZeroU32::new(contributions).unwrap();
        if values {
            setting = with_values(setting, "12.34", "1");
        }
        // With the target still there as the error that is useful, but with terms that are given.
        let reached = |setting: &Setting, window| -> Vec<bool> {
            let alignment = Alignment::new(setting, window).unwrap();
            let choice = Choice::new(setting, alignment, &setting.terms()).unwrap();
            choice.campaigns.iter().map(|campaign| campaign.useful).collect()
        };
        for choice in Plan::new(&setting).unwrap().choices {
            let useful: Vec<bool> = choice.campaigns.iter().map(|campaign| campaign.useful).collect();
            if !useful.contains(&true) {
                continue;
            }
            prop_assert!(choice.budget.is_whole(), "beyond the cap: {:?}", choice.budget);
            let mut planned = setting.clone();
            planned.counts = choice.counts.terms;
            if let (Some(task), Some(values)) = (&mut planned.values, &choice.values) {
                task.terms = values.terms;
            }
            prop_assert_eq!(&reached(&planned, choice.window), &useful);
            let mut less = planned.clone();
            less.counts.epsilon = micro(planned.counts.epsilon.get() - 1);
            prop_assert_ne!(&reached(&less, choice.window), &useful);
            if let Some(task) = &planned.values {
                let mut less = planned.clone();
                let epsilon = micro(task.terms.epsilon.get() - 1);
                less.values = Some(Values { terms: task.terms.with_epsilon(epsilon), ..task.clone() });
                prop_assert_ne!(&reached(&less, choice.window), &useful);
            }
        }
    }
}
