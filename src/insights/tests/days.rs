//! Which days and windows are in a number.

use super::*;

const SUNDAY: Date = date(2026, 11, 8);

/// What the calendar lists of some days, both included.
fn by_calendar_of(world: &World, first: Date, last: Date) -> Vec<Listed> {
    let time = world.day(first)..world.day(last.tomorrow().unwrap());
    crate::insights::coverage::by_calendar((&world.advertiser, &world.generations), time, world.now)
}

#[test]
fn cost_is_of_the_days_that_are_released_and_says_so() {
    let mut world = World::new(Cadence::Day, "Europe/Berlin", MONDAY);
    let campaign = world.campaign();
    let days = world.windows(MONDAY, SUNDAY);
    for (index, day) in days.iter().enumerate() {
        if index != 2 {
            world.release(0, day.clone(), &[0, 1_000], (index != 4).then_some(&[0, 500]));
        }
    }
    world.deliver(campaign, MONDAY, SUNDAY, 10_000);
    let row = world.rows(&world.query(MONDAY, SUNDAY)).remove(0);
    assert_eq!((row.spend, row.cpa_spend, row.roas_spend), (Some(70_000), Some(60_000), Some(50_000)));
    assert_eq!((shown(&row.conversions).estimate, minor(&row.cpa)), (6_000, 10));
    // 5 days of 500 units of 1 EUR for 500 EUR
    assert_eq!(shown(&row.roas).estimate, 5_000);
    let Coverage { windows, released, value_released, days: of, whole_days, whole_value_days, missing } =
        (*row.coverage).clone();
    assert_eq!((windows, released, of, whole_days, whole_value_days), (7, 6, 7, 6, 5));
    // Value is of one window less than the conversions beside it; nothing had said so.
    assert_eq!(value_released, 5);
    assert_eq!(missing.len(), 1);
    assert_eq!((missing[0].span.from().seconds(), missing[0].why), (days[2].start, MissingWhy::NotReleased));

    let daily = Query { granularity: Granularity::Day, ..world.query(MONDAY, SUNDAY) };
    let rows = world.rows(&daily);
    assert_eq!(rows.len(), 7);
    assert_eq!(rows[2].conversions, Measure::null(NullReason::NotReleased));
    assert_eq!((rows[2].spend, rows[2].cpa), (Some(10_000), Measure::null(NullReason::NotReleased)));
    assert_eq!(rows[4].value, Measure::null(NullReason::NotReleased));
    assert!(rows[4].cpa.shown().is_some());
}

/// Beside 6,000 conversions of a week the cost of the one day that had delivery numbers was "too few to show, the conversions that this
/// belongs to are": of which, nobody said.
#[test]
fn a_cost_of_too_few_compared_days_says_that_it_is_they() {
    let mut world = World::new(Cadence::Day, "Europe/Berlin", MONDAY);
    let campaign = world.campaign();
    for (index, day) in world.windows(MONDAY, SUNDAY).into_iter().enumerate() {
        let count = if index == 0 { 1 } else { 1_000 };
        world.release(0, day, &[0, count], Some(&[0, count]));
    }
    world.deliver(campaign, MONDAY, MONDAY, 10_000);
    let row = world.rows(&world.query(MONDAY, SUNDAY)).remove(0);
    assert_eq!((shown(&row.conversions).estimate, row.coverage.whole_days), (6_001, 1));
    let few = Measure::suppressed(Suppression::ComparedDaysSuppressed);
    assert_eq!((row.cpa, row.roas), (few, few));
    // Where those of the row are too few themselves, that is the reason.
    let row = world.rows(&world.query(MONDAY, MONDAY)).remove(0);
    let few = Measure::suppressed(Suppression::ConversionsSuppressed);
    assert_eq!((row.conversions, row.cpa), (Measure::suppressed(Suppression::BelowThreshold), few));
}

/// An advertiser that never had values summed was told to ask for later days.
#[test]
fn values_that_are_never_summed_are_not_those_of_later_days() {
    let mut world = World::new(Cadence::Day, "Europe/Berlin", MONDAY);
    world.campaign();
    let before = world.query(date(2026, 10, 19), date(2026, 10, 25));
    let row = world.rows(&before).remove(0);
    let not_yet = Measure::null(NullReason::NotMeasured);
    assert_eq!((row.conversions, row.value), (not_yet, not_yet), "values are summed later");
    for generation in &mut world.generations {
        std::sync::Arc::make_mut(generation).value = None;
    }
    let row = world.rows(&before).remove(0);
    assert_eq!((row.conversions, row.value), (not_yet, Measure::null(NullReason::ValuesNotSummed)));
}

#[test]
fn windows_longer_than_a_row_leave_its_delivery_numbers() {
    let mut world = World::new(Cadence::Week, "Europe/Berlin", MONDAY);
    let campaign = world.campaign();
    for week in world.windows(MONDAY, SUNDAY) {
        world.release(0, week, &[0, 1_000], Some(&[0, 500]));
    }
    world.deliver(campaign, MONDAY, SUNDAY, 10_000);
    let daily = Query { granularity: Granularity::Day, ..world.query(MONDAY, SUNDAY) };
    for row in world.rows(&daily) {
        assert_eq!((row.spend, row.impressions), (Some(10_000), Some(1_000)));
        for none in [row.conversions, row.value, row.cpa, row.roas] {
            assert_eq!(none, Measure::null(NullReason::WindowsAreLonger));
        }
        assert_eq!(row.coverage.missing[0].why, MissingWhy::CutByPeriod);
    }
    for granularity in [Granularity::Week, Granularity::Total] {
        let row = world.rows(&Query { granularity, ..world.query(MONDAY, SUNDAY) }).remove(0);
        assert_eq!((shown(&row.conversions).estimate, row.cpa_spend), (1_000, Some(70_000)));
    }
    // A range that cuts the week has none of it; one that has more has it, and the week's spend for its cost.
    let cut = world.rows(&world.query(MONDAY, date(2026, 11, 7))).remove(0);
    assert_eq!(cut.conversions, Measure::null(NullReason::WindowsAreLonger));
    world.deliver(campaign, date(2026, 11, 9), date(2026, 11, 10), 10_000);
    let more = world.rows(&world.query(MONDAY, date(2026, 11, 10))).remove(0);
    assert_eq!((more.spend, more.cpa_spend, more.coverage.whole_days), (Some(90_000), Some(70_000), 7));
}

#[test]
fn hours_make_days_of_every_length() {
    let mut world = World::new(Cadence::Hour, "Europe/Berlin", date(2026, 10, 24));
    let campaign = world.campaign();
    let (first, last) = (date(2026, 10, 24), date(2026, 10, 26));
    let hours = world.windows(first, last);
    assert_eq!(hours.len(), 73);
    for hour in &hours {
        world.release(0, hour.clone(), &[0, 100], None);
    }
    world.deliver(campaign, first, last, 24_000);
    let daily = Query { granularity: Granularity::Day, ..world.query(first, last) };
    let rows = world.rows(&daily);
    let found: Vec<_> =
        rows.iter().map(|row| (shown(&row.conversions).estimate, row.coverage.windows)).collect();
    assert_eq!(found, [(2_400, 24), (2_500, 25), (2_400, 24)]);
    assert!(rows.iter().all(|row| row.coverage.complete() && row.coverage.whole_days == 1));
}

#[test]
fn a_day_of_which_an_hour_is_missing_is_no_whole_one() {
    let mut world = World::new(Cadence::Hour, "UTC", MONDAY);
    let campaign = world.campaign();
    let hours = world.windows(MONDAY, date(2026, 11, 3));
    for hour in hours.iter().enumerate().filter(|(at, _)| *at != 7).map(|(_, hour)| hour) {
        world.release(0, hour.clone(), &[0, 100], None);
    }
    world.deliver(campaign, MONDAY, date(2026, 11, 3), 24_000);
    let row = world.rows(&world.query(MONDAY, date(2026, 11, 3))).remove(0);
    assert_eq!((shown(&row.conversions).estimate, row.cpa_spend), (4_700, Some(24_000)));
    assert_eq!(minor(&row.cpa), 10);
    let day = world.rows(&world.query(MONDAY, MONDAY)).remove(0);
    assert_eq!(day.cpa, Measure::null(NullReason::NoWholeDay));
}

#[test]
fn spend_that_is_not_uploaded_yet_is_not_nothing() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    let (campaign, other) = (world.campaign(), world.campaign());
    for day in world.windows(MONDAY, SUNDAY) {
        world.release(0, day, &[0, 1_000, 1_000], None);
    }
    world.deliver(campaign, MONDAY, date(2026, 11, 4), 10_000);
    let row = world.rows(&world.query(MONDAY, SUNDAY)).remove(0);
    assert_eq!((shown(&row.conversions).estimate, row.coverage.whole_days), (7_000, 3));
    assert_eq!((row.cpa_spend, minor(&row.cpa)), (Some(30_000), 10));
    // Numbers of another campaign say nothing about this one.
    world.deliver(other, MONDAY, SUNDAY, 10_000);
    let rows = world.rows(&world.query(MONDAY, SUNDAY));
    let told = |row: &Row| (row.coverage.whole_days, row.cpa_spend, minor(&row.cpa));
    assert_eq!((told(&rows[0]), told(&rows[1])), ((3, Some(30_000), 10), (7, Some(70_000), 10)));
}

/// An advertiser uploads one file for each platform. One was three days behind the other, and the cost per conversion of its campaigns
/// was of seven days of conversions and four of spend: too good by almost half, and nothing said so. What was known of any
/// campaign had been taken as known of all.
#[test]
fn an_upload_of_one_platform_says_nothing_of_another() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    let (early, late, never) = (world.campaign(), world.campaign(), world.campaign());
    for day in world.windows(MONDAY, SUNDAY) {
        world.release(0, day, &[0, 1_000, 1_000, 1_000], Some(&[0, 500, 500, 500]));
    }
    world.deliver(early, MONDAY, SUNDAY, 10_000);
    world.deliver(late, MONDAY, date(2026, 11, 5), 10_000);
    let rows = world.rows(&world.query(MONDAY, SUNDAY));
    let told = |row: &Row| (row.coverage.whole_days, row.cpa_spend, minor(&row.cpa));
    assert_eq!((told(&rows[0]), told(&rows[1])), ((7, Some(70_000), 10), (4, Some(40_000), 10)));
    let back = |row: &Row| (row.coverage.whole_value_days, row.roas_spend, shown(&row.roas).estimate);
    assert_eq!((back(&rows[0]), back(&rows[1])), ((7, Some(70_000), 5_000), (4, Some(40_000), 5_000)));
    assert_eq!(
        (rows[2].campaign.as_ref().unwrap().id, rows[2].cpa),
        (never, Measure::null(NullReason::NoSpend))
    );
    // Together each is compared for its own days, and one of which nothing is known not at all.
    let account = Query { level: Level::Account, ..world.query(MONDAY, SUNDAY) };
    let row = world.rows(&account).remove(0);
    assert_eq!((shown(&row.conversions).estimate, told(&row)), (21_000, (7, Some(110_000), 10)));
    // One that ended, and is known to its end, spends nothing afterwards, which others are known of.
    std::sync::Arc::make_mut(&mut world.campaigns[1]).end = Some(date(2026, 11, 5));
    let row = world.rows(&world.query(MONDAY, SUNDAY)).remove(1);
    assert_eq!(told(&row), (7, Some(40_000), 6));
}

/// A day that was left out of every upload counted as one on which nothing was spent.
#[test]
fn a_day_that_nobody_uploaded_is_not_one_without_spend() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    let (campaign, other) = (world.campaign(), world.campaign());
    for day in world.windows(MONDAY, SUNDAY) {
        world.release(0, day, &[0, 1_000, 1_000], None);
    }
    world.deliver(campaign, MONDAY, date(2026, 11, 3), 10_000);
    world.deliver(campaign, date(2026, 11, 6), SUNDAY, 10_000);
    world.deliver(other, date(2026, 11, 4), date(2026, 11, 4), 10_000);
    let row = world.rows(&world.query(MONDAY, SUNDAY)).remove(0);
    // The 4th is known of another, so this one spent nothing then; the 5th is known of none.
    assert_eq!((row.coverage.whole_days, row.cpa_spend, minor(&row.cpa)), (6, Some(50_000), 8));
}

/// Days of a week that is not compared as a whole gave their spend, and its conversions were left out: cost was too high.
#[test]
fn spend_of_a_week_is_compared_whole_or_not_at_all() {
    let mut world = World::new(Cadence::Week, "UTC", MONDAY);
    let campaign = world.campaign();
    let end = date(2026, 11, 15);
    for week in world.windows(MONDAY, end) {
        world.release(0, week, &[0, 1_000], None);
    }
    for last in [date(2026, 11, 11), date(2026, 11, 13)] {
        world.deliver(campaign, MONDAY, last, 10_000);
        let row = world.rows(&world.query(MONDAY, end)).remove(0);
        assert_eq!((shown(&row.conversions).estimate, row.coverage.whole_days), (2_000, 7));
        assert_eq!((row.cpa_spend, minor(&row.cpa)), (Some(70_000), 70));
    }
    // Nor does what another has of those days make them known.
    let other = world.campaign();
    world.deliver(other, MONDAY, end, 10_000);
    let row = world.rows(&world.query(MONDAY, end)).remove(0);
    assert_eq!((row.cpa_spend, minor(&row.cpa)), (Some(70_000), 70));
}

#[test]
fn a_campaign_is_counted_from_when_it_was_created() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    world.campaign();
    let noon = world.day(date(2026, 11, 4)) + 12 * 3_600;
    let late = world.campaign_since(noon);
    for day in world.windows(MONDAY, SUNDAY) {
        world.release(0, day, &[0, 1_000, 100], None);
    }
    world.deliver(late, MONDAY, SUNDAY, 10_000);
    let rows = world.rows(&world.query(MONDAY, SUNDAY));
    let (all, since) = (&rows[0], &rows[1]);
    // Its windows before hold nothing but noise; that of the day on which it was created counts, and its cost is of whole days.
    assert_eq!((shown(&since.conversions).estimate, since.coverage.windows), (500, 5));
    assert_eq!((since.coverage.whole_days, since.cpa_spend, minor(&since.cpa)), (4, Some(40_000), 100));
    assert_eq!(since.coverage.missing[0].why, MissingWhy::NotMeasured);
    let error = |row: &Row| shown(&row.conversions).standard_error.unwrap();
    assert!((error(all) / error(since) - (7.0_f64 / 5.0).sqrt()).abs() < 1e-9);
    let before = world.rows(&world.query(MONDAY, date(2026, 11, 3))).remove(1);
    assert_eq!(before.conversions, Measure::null(NullReason::NotMeasured));
}

#[test]
fn a_day_on_which_a_task_follows_another_needs_the_windows_of_both() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    let campaign = world.campaign();
    let noon = world.day(date(2026, 11, 4)) + 12 * 3_600;
    world.open_generation(noon, 100);
    let days = world.windows(MONDAY, SUNDAY);
    world.deliver(campaign, MONDAY, SUNDAY, 10_000);
    for day in &days[..2] {
        world.release(0, day.clone(), &[0, 1_000], None);
    }
    for day in &days[2..] {
        world.release(1, day.clone(), &[0, 500], None);
    }
    let row = world.rows(&world.query(MONDAY, SUNDAY)).remove(0);
    // What devices still send to the old task is waited for.
    assert_eq!((shown(&row.conversions).estimate, row.coverage.whole_days), (4_500, 2));
    assert_eq!((row.coverage.windows, row.coverage.released), (12, 7));
    world.release(0, days[2].clone(), &[0, 500], None);
    let row = world.rows(&world.query(MONDAY, SUNDAY)).remove(0);
    assert_eq!((shown(&row.conversions).estimate, row.coverage.whole_days), (5_000, 3));
    for day in &days[3..] {
        world.release(0, day.clone(), &[0, 60], None);
    }
    let row = world.rows(&world.query(MONDAY, SUNDAY)).remove(0);
    assert_eq!((shown(&row.conversions).estimate, row.coverage.whole_days), (5_240, 7));
    assert_eq!((row.coverage.windows, row.coverage.released, row.coverage.complete()), (12, 12, true));
}

/// For as long as a manifest holds, devices report to a task that another follows. Where the budget refused those windows, their
/// conversions were missing from a cost that was said to be of whole days, and nothing was missing from the coverage.
#[test]
fn what_still_went_to_the_task_before_is_waited_for_unless_it_is_too_little() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    let campaign = world.campaign();
    let change = world.day(date(2026, 11, 4));
    world.open_generation(change, 100);
    let days = world.windows(MONDAY, SUNDAY);
    world.deliver(campaign, MONDAY, SUNDAY, 10_000);
    for (at, day) in days.iter().enumerate() {
        world.release(usize::from(at >= 2), day.clone(), &[0, 1_000], Some(&[0, 500]));
    }
    let mut listed = by_calendar_of(&world, MONDAY, SUNDAY);
    assert_eq!(listed.len(), 7 + 5, "the old task's too, from the change on");
    let states = [
        MissingWhy::RefusedByBudget,
        MissingWhy::TooFewReports,
        MissingWhy::Failed,
        MissingWhy::TooFewReports,
        MissingWhy::Waiting,
    ];
    let late = listed.iter_mut().filter(|window| window.generation == 1 && window.from >= change);
    late.zip(states).for_each(|(window, state)| window.missing = Some(state));
    world.listed = Some(listed);
    let row = world.rows(&world.query(MONDAY, SUNDAY)).remove(0);
    let coverage = &row.coverage;
    assert_eq!((coverage.windows, coverage.released, coverage.value_released), (10, 7, 7));
    // Those of the 2nd, the 3rd, and of the two days on which too little went to the old task.
    assert_eq!((coverage.whole_days, coverage.whole_value_days), (4, 4));
    assert_eq!((row.cpa_spend, minor(&row.cpa)), (Some(40_000), 10));
    let missing: Vec<_> = coverage.missing.iter().map(|missing| missing.why).collect();
    assert_eq!(
        missing,
        [
            MissingWhy::RefusedByBudget,
            MissingWhy::LateReportsTooFew,
            MissingWhy::Failed,
            MissingWhy::LateReportsTooFew,
            MissingWhy::Waiting,
        ]
    );
    // Nobody follows the old manifest after the month in which it may still be signed and that for which it holds.
    let later = date(2027, 1, 8);
    assert!(by_calendar_of(&world, later, later).iter().all(|window| window.generation == 2));
}

/// While an advertiser sets up its first campaigns, tasks follow each other before any device hears of them.
#[test]
fn a_task_of_which_nothing_was_ever_released_is_not_waited_for() {
    let mut world = World::new(Cadence::Day, "UTC", date(2026, 11, 1));
    let campaign = world.campaign();
    world.open_generation(world.day(MONDAY), 100);
    world.deliver(campaign, MONDAY, SUNDAY, 10_000);
    for day in world.windows(MONDAY, SUNDAY) {
        world.release(1, day, &[0, 1_000], None);
    }
    let row = world.rows(&world.query(MONDAY, SUNDAY)).remove(0);
    assert_eq!((row.coverage.windows, row.coverage.released, row.coverage.whole_days), (7, 7, 7));
    assert!(row.coverage.complete());
}

/// A campaign that was over for so long that the next task has no slot for it read "nothing of this period is released yet",
/// beside windows of which all were released.
#[test]
fn a_campaign_without_a_place_in_later_tasks_is_no_longer_counted() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    let (_, gone) = (world.campaign(), world.campaign());
    world.open_generation(world.day(date(2026, 11, 4)), 100);
    std::sync::Arc::make_mut(&mut world.generations[1]).slots[1] = None;
    let later = date(2027, 1, 10);
    for day in world.windows(later, later) {
        world.release(1, day, &[0, 1_000, 700], None);
    }
    let rows = world.rows(&world.query(later, later));
    assert_eq!(shown(&rows[0].conversions).estimate, 1_000);
    assert_eq!(
        (rows[1].campaign.as_ref().unwrap().id, rows[1].conversions),
        (gone, Measure::null(NullReason::NoLongerCounted))
    );
    assert_eq!((rows[1].coverage.windows, rows[1].coverage.missing[0].why), (0, MissingWhy::NotMeasured));
    assert_eq!((rows[0].coverage.windows, rows[0].coverage.complete()), (1, true));
}

#[test]
fn currencies_are_not_mixed() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    let (euros, dollars) = (world.campaign(), world.campaign());
    std::sync::Arc::make_mut(&mut world.campaigns[1]).currency = "USD".parse().unwrap();
    for day in world.windows(MONDAY, MONDAY) {
        world.release(0, day, &[0, 1_000, 1_000], Some(&[0, 500, 500]));
    }
    world.deliver(euros, MONDAY, MONDAY, 10_000);
    world.deliver(dollars, MONDAY, MONDAY, 10_000);
    let account = Query { level: Level::Account, ..world.query(MONDAY, MONDAY) };
    let row = world.rows(&account).remove(0);
    assert_eq!((row.currency, row.spend, row.clicks, row.cpc), (None, None, Some(40), None));
    assert_eq!(row.cpa, Measure::null(NullReason::CurrenciesDiffer));
    assert!(row.value.shown().is_some() && row.ctr.is_some());
    let rows = world.rows(&world.query(MONDAY, MONDAY));
    assert_eq!(shown(&rows[1].cpa).unit, Unit::Price("USD".parse().unwrap()));
    assert_eq!(rows[1].roas, Measure::null(NullReason::CurrenciesDiffer));
    assert!(rows[0].roas.shown().is_some());
}

#[test]
fn what_the_schedule_says_of_a_window_is_why_it_is_missing() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    world.campaign();
    let days = world.windows(MONDAY, date(2026, 11, 6));
    world.release(0, days[0].clone(), &[0, 1_000], None);
    let states = [
        Some(MissingWhy::UnderWay),
        Some(MissingWhy::TooFewReports),
        Some(MissingWhy::TooFewReports),
        Some(MissingWhy::Waiting),
        None,
    ];
    let listed = |(day, missing): (&std::ops::Range<u64>, &Option<MissingWhy>)| Listed {
        generation: 1,
        from: day.start,
        to: day.end,
        missing: *missing,
    };
    world.listed = Some(days.iter().zip(&states).map(listed).collect());
    world.now = days[4].end + 1;
    let row = world.rows(&world.query(MONDAY, SUNDAY)).remove(0);
    let missing: Vec<_> = row.coverage.missing.iter().map(|m| (m.span.from().seconds(), m.why)).collect();
    assert_eq!(
        missing,
        [
            (days[1].start, MissingWhy::TooFewReports),
            (days[3].start, MissingWhy::Waiting),
            (days[4].start, MissingWhy::Unreadable),
            (days[4].end, MissingWhy::Open),
        ]
    );
    assert_eq!((row.coverage.windows, row.coverage.released), (5, 1));
}
