#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use jiff::civil::date;

use super::*;

fn zone(name: &str) -> TimeZone {
    name.parse().unwrap()
}

fn seconds(moment: &str) -> u64 {
    u64::try_from(moment.parse::<Timestamp>().unwrap().as_second()).unwrap()
}

/// The length of a day in minutes.
fn minutes(zone: &TimeZone, day: Date) -> u64 {
    let range = DayRange::day(day).seconds(zone);
    (range.end - range.start) / 60
}

#[test]
fn days_are_as_long_as_they_are_there() {
    for (name, day, long) in [
        ("UTC", date(2026, 3, 29), 1_440),
        ("Europe/Berlin", date(2026, 3, 28), 1_440),
        ("Europe/Berlin", date(2026, 3, 29), 1_380),
        ("Europe/Berlin", date(2026, 10, 25), 1_500),
        ("America/New_York", date(2026, 11, 1), 1_500),
        ("America/New_York", date(2026, 3, 8), 1_380),
        // Half an hour of summer time.
        ("Australia/Lord_Howe", date(2026, 10, 4), 1_410),
        ("Australia/Lord_Howe", date(2026, 4, 5), 1_470),
        // Clocks skip midnight, and begin the day at one.
        ("America/Santiago", date(2026, 9, 6), 1_380),
        ("Asia/Beirut", date(2026, 3, 29), 1_380),
        ("Africa/Cairo", date(2026, 4, 24), 1_380),
        // They go back at midnight: the hour before comes twice.
        ("America/Santiago", date(2026, 4, 4), 1_500),
        ("America/Havana", date(2024, 11, 3), 1_500),
        // A whole day was skipped when the zone crossed the date line.
        ("Pacific/Apia", date(2011, 12, 30), 0),
        ("Pacific/Apia", date(2011, 12, 31), 1_440),
    ] {
        assert_eq!(minutes(&zone(name), day), long, "{name} {day}");
    }
    let start = |name: &str, day: Date| day_start(&zone(name), day);
    assert_eq!(start("America/Santiago", date(2026, 9, 6)), seconds("2026-09-06T04:00:00Z"));
    assert_eq!(start("Asia/Kathmandu", date(2026, 11, 2)), seconds("2026-11-01T18:15:00Z"));
    assert_eq!(start("Asia/Kolkata", date(2026, 11, 2)), seconds("2026-11-01T18:30:00Z"));
    assert_eq!(start("Pacific/Chatham", date(2026, 11, 2)), seconds("2026-11-01T10:15:00Z"));
    assert_eq!(start("Europe/Berlin", date(1970, 1, 1)), 0, "nothing is before 1970");
}

#[test]
fn weeks_begin_on_monday_and_hours_make_up_days() {
    let berlin = zone("Europe/Berlin");
    let week = Calendar::new(berlin.clone(), Cadence::Week);
    let window = week.window_at(seconds("2026-10-25T22:59:59Z")).unwrap();
    // Seven days, of which the last has 25 hours.
    assert_eq!(window.to_string(), "2026-10-18T22:00:00Z to 2026-10-25T23:00:00Z");
    assert_eq!(
        week.days_of(window),
        DayRange::new(date(2026, 10, 19), date(2026, 10, 25)).unwrap(),
        "whatever its length"
    );
    for (name, day, count, last) in [
        ("Europe/Berlin", date(2026, 10, 25), 25, 3_600),
        ("Europe/Berlin", date(2026, 3, 29), 23, 3_600),
        ("Asia/Kathmandu", date(2026, 3, 29), 24, 3_600),
        ("Australia/Lord_Howe", date(2026, 10, 4), 24, 1_800),
        ("Australia/Lord_Howe", date(2026, 4, 5), 25, 1_800),
    ] {
        let zone = zone(name);
        let range = DayRange::day(day).seconds(&zone);
        let hours: Vec<Span> = Calendar::new(zone, Cadence::Hour).windows(range.start, range.end).collect();
        let length = |span: &Span| span.to().seconds() - span.from().seconds();
        assert_eq!((hours.len(), length(hours.last().unwrap())), (count, last), "{name} {day}");
        assert_eq!(
            (hours[0].from().seconds(), hours.last().unwrap().to().seconds()),
            (range.start, range.end),
            "{name} {day}"
        );
    }
}

#[test]
fn ranges_of_days_are_ranges_of_seconds() {
    let range = DayRange::new(date(2026, 3, 28), date(2026, 3, 30)).unwrap();
    assert_eq!((range.days(), range.iter().count()), (3, 3));
    assert!(range.contains(date(2026, 3, 30)) && !range.contains(date(2026, 3, 31)));
    let seconds_of = range.seconds(&zone("Europe/Berlin"));
    assert_eq!(seconds_of, seconds("2026-03-27T23:00:00Z")..seconds("2026-03-30T22:00:00Z"));
    assert_eq!(DayRange::new(date(2026, 3, 2), date(2026, 3, 1)), None);
    let week = DayRange::week_of(date(2026, 11, 1));
    assert_eq!((week.first(), week.last(), week.days()), (date(2026, 10, 26), date(2026, 11, 1), 7));
    assert_eq!(DayRange::week_of(week.first()), week);
    assert_eq!(DayRange::new(date(2024, 1, 1), date(2024, 12, 31)).unwrap().days(), 366);
}

#[test]
fn windows_are_those_that_share_a_time_with_the_range() {
    let days = Calendar::new(zone("Europe/Berlin"), Cadence::Day);
    let from = seconds("2026-11-01T23:00:00Z");
    let of = |from: u64, to: u64| days.windows(from, to).count();
    assert_eq!((of(from, from), of(from, from + 1), of(from - 1, from)), (0, 1, 1));
    assert_eq!((of(from - 1, from + 1), of(from, from + 86_400), of(from, from + 86_401)), (2, 1, 2));
    assert_eq!(of(from, from - 1), 0);
    // The end of all calendars is an end and no loop.
    let end = Calendar::new(TimeZone::UTC, Cadence::Week);
    assert!(end.windows(LAST_SECOND - 40 * 86_400, u64::MAX).count() <= 7);
    assert_eq!(end.window_at(u64::MAX), None);
    assert_eq!(days.window_at(0).unwrap().from().seconds(), 0);
}

/// Every zone of the database that can be chosen, around every change of its clocks from 2020 to 2040: windows of all lengths
/// follow each other, begin and end on whole steps, and a day begins with the first second that has its date.
#[test]
fn windows_tile_time_in_every_zone() {
    let (first, last) = (seconds("2020-01-01T00:00:00Z"), seconds("2041-01-01T00:00:00Z"));
    let (mut zones, mut changes, mut lengths) = (0, 0, BTreeSet::new());
    for name in jiff::tz::db().available() {
        let Ok(zone) = name.as_str().parse::<TimeZone>() else { continue };
        zones += 1;
        let mut around: Vec<u64> = vec![first, seconds("2030-06-15T12:00:00Z")];
        let start = Timestamp::from_second(i64::try_from(first).unwrap()).unwrap();
        let of_zone = zone.rules().following(start).map(|change| change.timestamp().as_second());
        let of_zone = of_zone.map(|change| u64::try_from(change).unwrap());
        around.extend(of_zone.take_while(|change| *change < last));
        changes += around.len() - 2;
        for moment in around {
            check_around(&zone, moment, &mut lengths);
        }
    }
    assert!(zones > 400 && changes > 5_000, "{zones} zones with {changes} changes");
    // Hours of days: 23 to 25, with the half hours of Lord Howe.
    let expected = [82_800, 84_600, 86_400, 88_200, 90_000];
    assert!(lengths.is_superset(&expected.into()), "{lengths:?}");
    assert!(lengths.iter().all(|length| (72_000..=100_800).contains(length)), "{lengths:?}");
}

fn check_around(zone: &TimeZone, moment: u64, lengths: &mut BTreeSet<u64>) {
    let (from, to) = (moment - 86_400, moment + 86_400);
    for cadence in [Cadence::Hour, Cadence::Day, Cadence::Week] {
        let calendar = Calendar::new(zone.clone(), cadence);
        let mut next = None;
        for window in calendar.windows(from, to) {
            let (start, end) = (window.from().seconds(), window.to().seconds());
            assert!(start % STEP_SECONDS == 0 && end % STEP_SECONDS == 0, "{zone:?} {window}");
            assert!(next.is_none_or(|next| next == start), "{zone:?} {window} does not follow");
            for second in [start, start + 1, u64::midpoint(start, end), end - 1] {
                assert_eq!(calendar.window_at(second), Some(window), "{zone:?} {second}");
            }
            if cadence == Cadence::Day {
                lengths.insert(end - start);
                check_day(zone, start);
            }
            if cadence == Cadence::Week {
                assert_eq!(day_at(zone, start).weekday(), jiff::civil::Weekday::Monday, "{zone:?} {window}");
            }
            next = Some(end);
        }
        assert!(next.is_some_and(|next| next >= to), "{zone:?} {cadence:?} ends early");
    }
}

/// The second has the date of the day, and no second of the two hours before it has: nothing was moved to a step.
fn check_day(zone: &TimeZone, start: u64) {
    let date_of = |second: u64| {
        let moment = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
        zone.rules().to_datetime(moment).date()
    };
    let day = day_at(zone, start);
    assert_eq!(date_of(start), day, "{zone:?}");
    for before in [1, 900, 1_800, 3_600, 7_200] {
        assert!(date_of(start - before) < day, "{zone:?} {day}, {before} s before");
    }
}
