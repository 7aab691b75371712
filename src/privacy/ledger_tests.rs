//! Tests of the ledger's arithmetic: the examples, then what holds for any sequence.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, num::NonZeroU32};

use arras_protocol::messages::TaskId;
use arras_protocol::task::NAME_BYTES_MAX;
use proptest::prelude::*;

use super::{
    ledger::{
        BudgetSource, Charge, EPOCH_SECONDS, Epoch, LedgerError, MAX_EPOCHS_PER_QUERY, SourceRules, admit,
        admit_task, charges,
    },
    noise::MicroEpsilon,
};

const DAY: u64 = 86_400;
const START: u64 = 1_700_000_000;

fn source() -> BudgetSource {
    BudgetSource::new("shop.example").unwrap()
}

fn rules(cap: u64) -> SourceRules {
    SourceRules { epoch_start: START, cap }
}

fn touched(start: u64, end: u64) -> Result<(u64, u64), LedgerError> {
    rules(0).epochs_touched(start, end).map(|range| (range.start().0, range.end().0))
}

#[test]
fn names_are_short_printable_ascii() {
    for name in ["a", "shop.example", "!~", &"x".repeat(NAME_BYTES_MAX)] {
        assert_eq!(BudgetSource::new(name).unwrap().as_str(), name);
    }
    for name in ["", " ", "a b", "tab\t", "line\n", "nul\0", "caf\u{e9}", &"x".repeat(NAME_BYTES_MAX + 1)] {
        let error = BudgetSource::new(name).unwrap_err();
        assert_eq!(error, LedgerError::Name { length: name.len() });
        assert_eq!(name.parse::<BudgetSource>().unwrap_err(), error);
    }
}

#[test]
fn an_interval_touches_the_epochs_it_has_a_second_in() {
    assert_eq!(touched(START, START + 1), Ok((0, 0)));
    assert_eq!(touched(START, START + EPOCH_SECONDS), Ok((0, 0)));
    assert_eq!(touched(START, START + EPOCH_SECONDS + 1), Ok((0, 1)));
    assert_eq!(touched(START + EPOCH_SECONDS - 1, START + EPOCH_SECONDS), Ok((0, 0)));
    assert_eq!(touched(START + EPOCH_SECONDS - 1, START + EPOCH_SECONDS + 1), Ok((0, 1)));
    assert_eq!(touched(START + EPOCH_SECONDS, START + 2 * EPOCH_SECONDS), Ok((1, 1)));
    assert!(touched(u64::MAX - 1, u64::MAX).is_ok());
}

#[test]
fn impossible_and_overlong_intervals_are_refused() {
    assert_eq!(touched(START, START), Err(LedgerError::EmptyInterval { end: START, start: START }));
    assert!(matches!(touched(START + 1, START), Err(LedgerError::EmptyInterval { .. })));
    assert_eq!(
        touched(START - 1, START + 5),
        Err(LedgerError::BeforeFirstEpoch { epoch_start: START, start: START - 1 })
    );
    // A leap year that starts in an epoch's last second is the most that fits.
    let last_second = START + EPOCH_SECONDS - 1;
    assert_eq!(touched(last_second, last_second + 366 * DAY), Ok((0, MAX_EPOCHS_PER_QUERY - 1)));
    let end = START + MAX_EPOCHS_PER_QUERY * EPOCH_SECONDS;
    assert_eq!(touched(START, end), Ok((0, MAX_EPOCHS_PER_QUERY - 1)));
    let one_more = MAX_EPOCHS_PER_QUERY + 1;
    assert_eq!(touched(START, end + 1), Err(LedgerError::TooManyEpochs { touched: one_more }));
    assert!(matches!(touched(START, u64::MAX), Err(LedgerError::TooManyEpochs { .. })));
}

#[test]
fn a_release_charges_contributions_times_epsilon_to_each_epoch() {
    let three = NonZeroU32::new(3).unwrap();
    let interval = START + 6 * DAY..START + 8 * DAY;
    let made = charges(&source(), &rules(0), interval, "0.5".parse().unwrap(), three).unwrap();
    let expected = |epoch| Charge { source: source(), epoch: Epoch(epoch), micro_epsilon: 1_500_000 };
    assert_eq!(made, [expected(0), expected(1)]);
    // The largest product still fits.
    let most = MicroEpsilon::from_micro(u32::MAX).unwrap();
    let made = charges(&source(), &rules(0), START..START + 1, most, NonZeroU32::MAX).unwrap();
    assert_eq!(made[0].micro_epsilon, u64::from(u32::MAX) * u64::from(u32::MAX));
}

#[test]
fn a_refusal_says_what_is_left_and_what_helps() {
    let charge = Charge { source: source(), epoch: Epoch(7), micro_epsilon: 1_500_000 };
    let spent = |_: &BudgetSource, _| 9_000_000;
    assert_eq!(admit(std::slice::from_ref(&charge), spent, &rules(10_500_000)), Ok(()));
    let error = admit(std::slice::from_ref(&charge), spent, &rules(10_250_000)).unwrap_err();
    let epoch_start = START + 7 * EPOCH_SECONDS;
    assert_eq!(
        error,
        LedgerError::Spent {
            asked: 1_500_000,
            cap: 10_250_000,
            epoch: Epoch(7),
            epoch_start,
            left: 1_250_000,
            needed: 10_500_000,
            source: source()
        }
    );
    assert_eq!(
        error.to_string(),
        "this release asks for 1.5 epsilon of budget source shop.example in epoch 7 (the week from \
         2024-01-02T22:13:20Z), and of its cap of 10.25 only 1.25 is left; nothing was charged or released. Budget \
         does not come back with time: this window stays refused unless the operator of the aggregator that refuses \
         raises `cap` of budget_source shop.example to 10.5 or more in its configuration file and restarts it; there, \
         `arras budget` says what was spent on what"
    );
    // That suffices for all epochs, also those after the first that does not allow it.
    let later = Charge { epoch: Epoch(8), ..charge.clone() };
    let uneven = |_: &BudgetSource, Epoch(epoch)| if epoch == 7 { 9_000_000 } else { 9_700_000 };
    let both = [charge.clone(), later];
    let refused = admit(&both, uneven, &rules(10_250_000)).unwrap_err();
    assert!(matches!(refused, LedgerError::Spent { epoch: Epoch(7), needed: 11_200_000, .. }), "{refused:?}");
    assert_eq!(admit(&both, uneven, &rules(11_200_000)), Ok(()));
    // A lowered cap leaves nothing rather than wrapping around.
    let lowered = admit(std::slice::from_ref(&charge), spent, &rules(8_000_000)).unwrap_err();
    assert!(matches!(lowered, LedgerError::Spent { left: 0, .. }));
    // The task's own cap says so, and names the task and the other key.
    let task = TaskId::new([7; TaskId::LEN]);
    let of_task = |cap| admit_task(std::slice::from_ref(&charge), |_| 500_000, &rules(u64::MAX), task, cap);
    assert_eq!(of_task(2_000_000), Ok(()));
    let error = of_task(1_750_000).unwrap_err();
    let (asked, cap, left, needed, epoch) = (1_500_000, 1_750_000, 1_250_000, 2_000_000, Epoch(7));
    assert_eq!(
        error,
        LedgerError::TaskSpent { asked, cap, epoch, epoch_start, left, needed, source: source(), task }
    );
    let text = error.to_string();
    for part in [
        &format!("task {task}"),
        "the 1.75 that",
        "only 1.25 is left",
        "`task_cap` of budget_source shop.example",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn charges_to_one_epoch_are_measured_together() {
    let charge = Charge { source: source(), epoch: Epoch(0), micro_epsilon: 6 };
    let twice = [charge.clone(), charge];
    assert_eq!(admit(&twice, |_, _| 0, &rules(12)), Ok(()));
    assert!(matches!(
        admit(&twice, |_, _| 0, &rules(11)),
        Err(LedgerError::Spent { asked: 12, left: 11, .. })
    ));
    let most = Charge { source: source(), epoch: Epoch(0), micro_epsilon: u64::MAX };
    let overflow = admit(&[most.clone(), most], |_, _| 0, &rules(u64::MAX));
    assert_eq!(overflow, Err(LedgerError::Overflow { epoch: Epoch(0), source: source() }));
    assert_eq!(admit(&[], |_, _| 0, &rules(0)), Ok(()));
}

/// One random query: the source's name, start and length in hours, epsilon, k.
type Query = (bool, u64, u64, u32, u32);

fn queries() -> impl Strategy<Value = Vec<Query>> {
    let query = (any::<bool>(), 0_u64..2_000, 1_u64..1_000, 1_u32..3_000_000, 1_u32..5);
    prop::collection::vec(query, 1..60)
}

proptest! {
    #[test]
    fn touched_epochs_are_those_that_overlap(
        epoch_start in 0_u64..4_000_000_000, offset in 0_u64..100_000_000,
        length in 1..=MAX_EPOCHS_PER_QUERY * EPOCH_SECONDS,
    ) {
        let (start, end) = (epoch_start + offset, epoch_start + offset + length);
        let rules = SourceRules { epoch_start, cap: 0 };
        let overlaps = |epoch: u64| {
            let opens = epoch_start + epoch * EPOCH_SECONDS;
            start < opens + EPOCH_SECONDS && opens < end
        };
        let count = (0..300).filter(|epoch| overlaps(*epoch)).count() as u64;
        match rules.epochs_touched(start, end) {
            Ok(range) => {
                let (first, last) = (range.start().0, range.end().0);
                prop_assert_eq!(count, last - first + 1);
                prop_assert!((first..=last).all(overlaps));
            }
            Err(error) => {
                prop_assert_eq!(error, LedgerError::TooManyEpochs { touched: count });
                prop_assert!(count > MAX_EPOCHS_PER_QUERY);
            }
        }
    }

    /// Against a plain sum: no sequence of queries gets an epoch above its cap, and
    /// a refusal is never given while everything would have fitted.
    #[test]
    fn no_sequence_of_queries_exceeds_the_cap(queries in queries(), cap in 0_u64..30_000_000) {
        let mut book: BTreeMap<(BudgetSource, Epoch), u64> = BTreeMap::new();
        for (other, start, hours, micro, contributions) in queries {
            let source = BudgetSource::new(if other { "other" } else { "shop" }).unwrap();
            let start = START + start * 3600;
            let made = charges(
                &source,
                &rules(cap),
                start..start + hours * 3600,
                MicroEpsilon::from_micro(micro).unwrap(),
                NonZeroU32::new(contributions).unwrap(),
            )
            .unwrap();
            let key = |charge: &Charge| (charge.source.clone(), charge.epoch);
            let before = book.clone();
            let spent = |source: &BudgetSource, epoch| *before.get(&(source.clone(), epoch)).unwrap_or(&0);
            let mut after = book.clone();
            for charge in &made {
                *after.entry(key(charge)).or_default() += charge.micro_epsilon;
            }
            let fits = after.values().all(|total| *total <= cap);
            let admitted = admit(&made, spent, &rules(cap));
            prop_assert_eq!(admitted.is_ok(), fits);
            match admitted {
                Ok(()) => book = after,
                Err(LedgerError::Spent { asked, left, epoch, .. }) => {
                    prop_assert!(asked > left);
                    prop_assert_eq!(left + spent(&source, epoch), cap);
                }
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
        prop_assert!(book.values().all(|total| *total <= cap));
    }
}
