//! Plans by a calendar against the ledger's own rule, window by window over a year.

use std::ops::Range;

use super::*;
use crate::privacy::ledger::{self, Charge, Epoch};
use crate::registry::TimeZone;
use crate::schedule::planned_windows;

/// 2026-09-07, a Monday; the year from there on has both changes of clocks.
const MONDAY: u64 = 1_788_739_200;
const DAY: u64 = 86_400;

fn by_calendar(zone: &str, epoch_start: u64) -> Setting {
    let mut setting = setting(&[("spring", 7_000)]);
    setting.rules.epoch_start = epoch_start;
    setting.time_precision = Some(900);
    let zone: TimeZone = zone.parse().unwrap();
    setting.windows = planned_windows(&zone, &setting.rules, MONDAY + 10 * DAY);
    setting
}

fn windows_of(setting: &Setting, window: Window) -> &[Range<u64>] {
    let Windows::Calendar(windows) = &setting.windows else { panic!("no calendar") };
    windows.of(window)
}

/// What each epoch is charged for and what of that is admitted, found by asking the ledger for each window in turn, without
/// the first and the last epoch.
fn asked(setting: &Setting, window: Window) -> Vec<Share> {
    let mut spent: BTreeMap<Epoch, u64> = BTreeMap::new();
    let mut shares: BTreeMap<Epoch, Share> = BTreeMap::new();
    for interval in windows_of(setting, window) {
        let charges: Vec<Charge> = ledger::charges(
            &setting.source,
            &setting.rules,
            interval.clone(),
            setting.counts.epsilon,
            setting.counts.contributions,
        )
        .unwrap();
        let so_far = |_: &_, epoch| spent.get(&epoch).copied().unwrap_or(0);
        let admitted = ledger::admit(&charges, so_far, &setting.rules).is_ok();
        for charge in charges {
            let share = shares.entry(charge.epoch).or_insert(Share { of: 0, admitted: 0 });
            share.of += 1;
            share.admitted += u64::from(admitted);
            *spent.entry(charge.epoch).or_default() += if admitted { charge.micro_epsilon } else { 0 };
        }
    }
    shares.pop_first();
    shares.pop_last();
    shares.into_values().collect()
}

/// Windows were taken to begin with epochs, which begin at 00:00 UTC. Those of an advertiser begin with its own midnight, and
/// weeks on Monday: one that lies across the end of an epoch is charged to both. So "7 of 7" was promised where one day in two
/// weeks is refused, and "1 of 1" where every other week is.
#[test]
fn a_year_of_windows_is_carried_as_the_ledger_carries_it() {
    let thursday = MONDAY + 3 * DAY;
    for (zone, epoch_start) in [
        ("UTC", MONDAY),
        ("UTC", thursday),
        ("Europe/London", MONDAY),
        ("Europe/Berlin", MONDAY),
        ("Europe/Berlin", thursday),
        ("America/New_York", MONDAY),
        ("Atlantic/Azores", MONDAY),
        ("Asia/Kolkata", MONDAY),
        ("Australia/Lord_Howe", MONDAY),
    ] {
        let mut setting = by_calendar(zone, epoch_start);
        for (window, caps) in
            [(Window::Hour, [10, 168, 169]), (Window::Day, [6, 7, 8]), (Window::Week, [0, 1, 2])]
        {
            let alignment = Alignment::new(&setting, window).unwrap();
            for cap in caps {
                setting.rules.cap = cap * 1_000_000;
                let planned = Carried::play(&setting, &alignment, &setting.terms()).unwrap();
                let shares = asked(&setting, window);
                let context = format!("{zone} from {epoch_start}, {window:?}, cap {cap}: {planned:?}");
                assert!(shares.len() >= 52, "{context}: a year has {} epochs", shares.len());
                assert_eq!(Some(planned.most), shares.iter().map(|share| share.of).max(), "{context}");
                let refused = |share: &Share| share.of - share.admitted;
                let poorest = shares.iter().map(|share| (refused(share), share.of)).max();
                assert_eq!(poorest, Some((refused(&planned.poorest), planned.poorest.of)), "{context}");
                assert_eq!(planned.is_whole(), shares.iter().all(|share| refused(share) == 0), "{context}");
                let often = |wanted: &Share| shares.iter().filter(|share| *share == wanted).count();
                let most_often = shares.iter().map(often).max();
                assert_eq!(Some(often(&planned.usual)), most_often, "{context}");
            }
        }
    }
}

/// The same in numbers that can be counted on a calendar.
#[test]
fn an_epoch_pays_for_eight_days_and_two_weeks_where_midnight_is_not_that_of_utc() {
    let of = |zone: &str, epoch_start, window| {
        let setting = by_calendar(zone, epoch_start);
        let alignment = Alignment::new(&setting, window).unwrap();
        let carried = Carried::play(&setting, &alignment, &setting.terms()).unwrap();
        (carried.usual.of, carried.most, carried.straddles)
    };
    assert_eq!(of("UTC", MONDAY, Window::Day), (7, 7, false));
    assert_eq!(of("UTC", MONDAY, Window::Week), (1, 1, false));
    assert_eq!(of("Europe/Berlin", MONDAY, Window::Day), (8, 8, true));
    assert_eq!(of("Europe/Berlin", MONDAY, Window::Week), (2, 2, true));
    assert_eq!(of("Europe/Berlin", MONDAY, Window::Hour), (168, 168, false));
    assert_eq!(of("Asia/Kolkata", MONDAY, Window::Hour), (169, 169, true));
    // At the time of UTC in summer, an hour behind it in winter.
    assert_eq!(of("Atlantic/Azores", MONDAY, Window::Day), (7, 8, true));
    assert_eq!(of("Atlantic/Azores", MONDAY, Window::Week), (1, 2, true));
    // Weeks begin on Mondays, epochs on Thursdays.
    assert_eq!(of("UTC", MONDAY + 3 * DAY, Window::Week), (2, 2, true));
    assert_eq!(of("UTC", MONDAY + 3 * DAY, Window::Day), (7, 7, false));
}

/// What is said where windows lie across epochs names the calendar, and what the cap must be.
#[test]
fn windows_across_epochs_are_told_of_with_their_time_zone() {
    let mut setting = by_calendar("Europe/Berlin", MONDAY);
    setting.rules.cap = 7_000_000;
    let plan = Plan::new(&setting).unwrap();
    let day = choice(&plan, Window::Day);
    assert_eq!(day.budget.poorest, Share { of: 8, admitted: 7 });
    assert!(!day.budget.is_whole() && choice(&plan, Window::Week).budget.is_whole());
    assert_eq!(plan.recommended().window, Window::Week);
    let said: Vec<String> = plan.advice.iter().map(ToString::to_string).collect();
    let about_days = said.iter().find(|text| text.contains("not for 7")).unwrap();
    assert!(
        about_days.contains("Europe/Berlin") && about_days.contains("Monday at 00:00 UTC"),
        "{about_days}"
    );
    assert!(recommendation(&plan).contains("2 of 7 epsilon"), "{}", recommendation(&plan));
    setting.rules.cap = 8_000_000;
    assert_eq!(Plan::new(&setting).unwrap().recommended().window, Window::Day);
    // Where the two halves of the year differ, both are told.
    let mut azores = by_calendar("Atlantic/Azores", MONDAY);
    azores.rules.cap = 7_000_000;
    let plan = Plan::new(&azores).unwrap();
    assert_eq!(released(choice(&plan, Window::Day)), "7 of 7, at worst 7 of 8");
    assert!(recommendation(&plan).ends_with("1 of 7 epsilon, at most 2."), "{}", recommendation(&plan));
}

/// Tasks whose precision is coarser than the calendar's steps have no such windows.
#[test]
fn windows_that_are_no_multiples_of_the_precision_are_not_planned() {
    let mut setting = by_calendar("Asia/Kolkata", MONDAY);
    setting.time_precision = Some(3_600);
    let error = Plan::new(&setting).unwrap_err();
    assert!(error.about == About::TimePrecision && error.reason.contains("900"), "{error:?}");
    setting.time_precision = Some(1_800);
    assert_eq!(Plan::new(&setting).unwrap().choices.len(), 3);
}
