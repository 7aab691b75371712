//! What a reader is told of a threshold, and which one a file without any gets.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::privacy::noise::Scale;
use crate::tasks::TaskFile;

fn file(vdaf: &str, epsilon: &str, threshold: &str) -> TaskFile {
    let text = format!(
        "name = \"n\"\nprofile = \"arras\"\nvdaf = {vdaf}\ntime_precision = 3600\nmin_batch_size = 100\n\
         epsilon = \"{epsilon}\"\ncontributions = 1\n{threshold}\nbudget_source = \"shop.example\"\n\
         collector = \"advertiser\"\nleader = \"https://leader.example/\"\nhelper = \"https://helper.example/\"\n"
    );
    TaskFile::parse(&text).unwrap()
}

fn threshold_of(vdaf: &str, epsilon: &str, threshold: &str) -> u64 {
    file(vdaf, epsilon, threshold).build().unwrap().0.policy().unwrap().threshold
}

const HISTOGRAM: &str = "{ type = \"histogram\", length = 16 }";

/// These numbers are part of the ids of tasks whose files have no threshold: another one is another task.
#[test]
fn a_file_without_a_threshold_gets_the_one_that_keeps_empty_buckets_hidden() {
    let value = "{ type = \"l1-bound-sum\", length = 16, max_value = 1000 }";
    let one = "{ type = \"l1-bound-sum\", length = 1, max_value = 1000 }";
    for (vdaf, buckets, sensitivity, epsilon, expected) in [
        ("{ type = \"count\" }", 1, 1, "1", 9),
        (HISTOGRAM, 16, 2, "1", 23),
        (HISTOGRAM, 16, 2, "0.1", 218),
        (HISTOGRAM, 16, 2, "10", 3),
        ("{ type = \"histogram\", length = 4096 }", 4096, 2, "1", 34),
        (value, 16, 2_000, "1", 21_694),
        (one, 1, 1_000, "1", 7_805),
    ] {
        let threshold = threshold_of(vdaf, epsilon, "");
        let noise = Noise::of_cell(&Scale::new(sensitivity, epsilon.parse().unwrap()).unwrap());
        let chance = |t: u64| noise.empty_shown_chance(t.into(), buckets);
        assert!(chance(threshold) <= EMPTY_SHOWN_CHANCE, "{vdaf} {epsilon}: {threshold}");
        assert!(chance(threshold - 1) > EMPTY_SHOWN_CHANCE, "{vdaf} {epsilon}: {threshold}");
        assert_eq!(threshold, expected, "{vdaf} {epsilon}");
    }
}

#[test]
fn a_threshold_that_is_given_is_taken_low_or_not() {
    for threshold in [0, 5, 22, 40, u64::MAX] {
        // TOML's integers end at 2^63.
        let given = threshold.min(i64::MAX.unsigned_abs());
        assert_eq!(threshold_of(HISTOGRAM, "1", &format!("threshold = {given}")), given);
    }
}

#[test]
fn noise_beyond_any_threshold_asks_for_one() {
    let vdaf = "{ type = \"l1-bound-sum\", length = 2, max_value = 4294967295 }";
    assert!(threshold_of(vdaf, "0.000001", "threshold = 7") == 7);
    // A scale of 2^53: the threshold is far below 2^64. No task reaches the error; the formula's own limit does.
    assert!(threshold_of(vdaf, "0.000001", "") > 1 << 53);
    let widest = Noise::of_cell(&Scale::new(crate::privacy::noise::MAX_SCALE, "1".parse().unwrap()).unwrap());
    assert!(widest.default_threshold(4096) > u128::from(u64::MAX));
}

#[test]
fn a_reader_is_told_what_a_threshold_does() {
    let noise = Noise::of_cell(&Scale::new(2, "1".parse().unwrap()).unwrap());
    let enough = in_words(23, &noise, 16);
    assert!(enough.contains("counts below 23 are not shown"), "{enough}");
    assert!(enough.contains("shows any bucket that nobody is in with a chance of 1 in 1"), "{enough}");
    assert!(!enough.contains("low for this noise"), "{enough}");
    let low = in_words(5, &noise, 16);
    assert!(low.contains("low for this noise") && low.contains(" in 100,"), "{low}");
    assert!(low.ends_with("a threshold of 23 would make that 1 in 1000"), "{low}");
    let never = in_words(60, &noise, 16);
    assert!(never.ends_with("with a chance of less than 1 in 1000000"), "{never}");
}

#[test]
fn odds_are_never_made_smaller() {
    let cases = [
        (1.0, "100 in 100"),
        (0.991, "100 in 100"),
        (0.1, "1 in 10"),
        (0.0011, "1 in 909"),
        (1e-3, "1 in 1000"),
    ];
    for (chance, text) in cases {
        assert_eq!(odds(chance), text);
    }
}
