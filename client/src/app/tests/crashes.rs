//! Whatever write fails at whatever moment: a budget is never spent less than what leaves the device.

use std::collections::{BTreeMap, BTreeSet};

use arras_protocol::messages::{ReportId, TaskId};
use proptest::prelude::*;

use super::*;
use crate::app::kept::Kept;

/// A step of a device's life.
#[derive(Clone, Debug)]
enum Step {
    Click(u64),
    Convert(u8),
    Send,
    Consent(bool),
    /// So many more writes succeed, and whether the next one happens although it fails.
    FailAfter(u64, bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..1_000_u64).prop_map(Step::Click),
        4 => (0..6_u8).prop_map(Step::Convert),
        2 => Just(Step::Send),
        1 => any::<bool>().prop_map(Step::Consent),
        3 => (0..5_u64, any::<bool>()).prop_map(|(writes, happens)| Step::FailAfter(writes, happens)),
        3 => Just(Step::Restart),
    ]
}

/// What the leaders of all tasks have got.
#[derive(Default)]
struct Leaders {
    got: BTreeMap<TaskId, BTreeSet<[u8; 16]>>,
    sizes: BTreeMap<TaskId, BTreeSet<usize>>,
}

impl Leaders {
    /// Takes all that is sent. An answer is lost if the disk fails before the app could keep it.
    fn take(&mut self, app: &mut Tested) {
        while let Ok(Some(request)) = app.next_request(NOW) {
            for report in UploadRequestRef::from_bytes(&request.body, 100).unwrap().reports {
                let id: &ReportId = &report.header.report_id;
                self.got.entry(request.task).or_default().insert(*id.as_bytes());
                self.sizes.entry(request.task).or_default().insert(report.encoded.len());
            }
            if app.answered(&mut rand::rng(), &request, Ok(&[]), NOW).is_err() {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// At most k reports of a task ever arrive, of one size, and an event makes one report for each task at most.
    #[test]
    fn no_crash_gives_a_budget_back(steps in proptest::collection::vec(step(), 1..40)) {
        let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
        let mut app = ready(&storage, &files);
        let mut leaders = Leaders::default();
        let mut counted = BTreeSet::new();
        for step in steps {
            match step {
                Step::Click(at) => drop(app.click(ad("tents"), NOW + at)),
                Step::Convert(id) => {
                    let told = app.conversion(&mut rand::rng(), purchase(&id.to_string()), NOW);
                    if let Ok(Converted::Reported(_)) = told {
                        prop_assert!(counted.insert(id), "an event counted twice");
                    }
                }
                Step::Send => leaders.take(&mut app),
                // Both erase which events were counted; k bounds what comes of that.
                Step::Consent(given) => {
                    drop(app.set_consent(given, NOW));
                    counted.clear();
                }
                Step::FailAfter(writes, happens) => files.fail_after(writes, happens),
                Step::Restart => {
                    files.mend();
                    app = open(&storage, &files).unwrap();
                }
            }
        }
        files.mend();
        leaders.take(&mut open(&storage, &files).unwrap());
        for (task, ids) in &leaders.got {
            prop_assert!(ids.len() <= 2, "{} reports of task {task}", ids.len());
        }
        prop_assert!(leaders.sizes.values().all(|sizes| sizes.len() == 1));
    }

    #[test]
    fn any_state_file_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Kept::from_bytes(&bytes);
    }

    /// A flipped digit was another time, and gave a task its reports of the week again.
    #[test]
    fn a_changed_state_file_is_refused(at in any::<proptest::sample::Index>(), flip in 1..=u8::MAX) {
        let mut app = app();
        app.conversion(&mut rng(), purchase("1"), NOW).unwrap();
        let mut bytes = app.kept.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(Kept::from_bytes(&bytes).is_err());
        bytes[at] ^= flip;
        prop_assert_eq!(Kept::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    }
}

/// Each write of a conversion fails in turn, done or not.
#[test]
fn a_conversion_that_is_cut_short_makes_one_report_or_none() {
    for writes in 0..4 {
        for happens in [false, true] {
            let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
            let mut app = ready(&storage, &files);
            app.click(ad("tents"), NOW).unwrap();
            files.fail_after(writes, happens);
            let first = app.conversion(&mut rng(), lead("1"), NOW);
            files.mend();
            let mut app = open(&storage, &files).unwrap();
            let left = app.journal(NOW).budgets[0].reports_left[0].1;
            let waiting = u32::try_from(app.waiting()).unwrap();
            assert!(waiting <= 2 - left, "a report that was not paid for: {writes} {happens}");
            let again = app.conversion(&mut rng(), lead("1"), NOW).unwrap();
            let expected = if left == 2 { Converted::Reported(1) } else { Converted::Duplicate };
            assert_eq!(again, expected, "{writes} {happens}: {first:?}");
            assert!(app.waiting() <= 1);
            // What the journal calls waiting is there.
            let journal = app.journal(NOW);
            let reports = journal.conversions.iter().flat_map(|entry| &entry.reports);
            let said = reports.filter(|report| report.state == ReportState::Waiting).count();
            assert_eq!(said, app.waiting());
        }
    }
}

/// A withdrawal that a crash cuts short is done at the next start.
#[test]
fn a_withdrawal_that_is_cut_short_is_finished() {
    for writes in 0..4 {
        for happens in [false, true] {
            let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
            let mut app = ready(&storage, &files);
            app.click(ad("tents"), NOW).unwrap();
            app.conversion(&mut rng(), lead("1"), NOW).unwrap();
            files.fail_after(writes, happens);
            let _ = app.set_consent(false, NOW);
            files.mend();
            let app = open(&storage, &files).unwrap();
            let journal = app.journal(NOW);
            assert!(!journal.consent.given() && journal.remembered.is_empty(), "{writes} {happens}");
            assert!(journal.conversions.is_empty() && app.waiting() == 0, "{writes} {happens}");
        }
    }
}
