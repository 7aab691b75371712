//! What a person has forgotten is gone, whatever fails on the way.

use super::*;

/// Whether anything is left of what the person has withdrawn.
fn is_empty(app: &Tested) -> bool {
    let journal = app.journal(NOW);
    !journal.consent.given()
        && journal.remembered.is_empty()
        && journal.conversions.is_empty()
        && app.waiting() == 0
}

/// A file that could not be removed ended a withdrawal with "refused" already set: the second "no" found nothing to do, the next
/// conversion recorded it, and the attributed reports stayed in the queue and were sent, also after a restart.
#[test]
fn a_withdrawal_that_fails_is_finished_by_the_next_call_or_start() {
    let mut failed = 0;
    for (writes, happens) in (0..6).flat_map(|writes| [(writes, false), (writes, true)]) {
        for again in [Some(false), Some(true), None] {
            let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
            let mut app = ready(&storage, &files);
            app.click(ad("tents"), NOW).unwrap();
            app.conversion(&mut rng(), purchase("1"), NOW).unwrap();
            files.fail_after(writes, happens);
            let withdrawn = app.set_consent(false, NOW).is_ok();
            files.mend();
            if withdrawn {
                continue;
            }
            failed += 1;
            assert!(app.next_request(NOW).unwrap().is_none(), "nothing is sent in between");
            assert_eq!(app.next_due_in(NOW), None);
            if let Some(given) = again {
                app.set_consent(given, NOW).unwrap();
                assert_eq!(app.consent().given(), given);
                // Who changes their mind has withdrawn all the same: what was before is gone.
                assert!(app.waiting() == 0 && app.kept.journal.is_empty());
            } else {
                app.conversion(&mut rng(), lead("2"), NOW).unwrap();
                app = open(&storage, &files).unwrap();
            }
            if again != Some(true) {
                assert!(is_empty(&app), "{writes} {happens} {again:?}");
                assert!(is_empty(&open(&storage, &files).unwrap()), "{writes} {happens} {again:?}");
            }
        }
    }
    assert!(failed > 0);
}

/// A report's file that was written although the write failed was in no list of what waits. A withdrawal, or an erasure, left it
/// where it was and said that all was gone; the next start found it and sent it, attributed, against a recorded "no".
#[test]
fn a_report_that_was_kept_although_its_write_failed_is_erased_too() {
    for erase in [Tested::erase, |app: &mut Tested, now| app.set_consent(false, now)] {
        let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
        let mut app = ready(&storage, &files);
        app.click(ad("tents"), NOW).unwrap();
        // The app's own file, then the report.
        files.fail_after(1, true);
        let failed = app.conversion(&mut rng(), lead("1"), NOW);
        assert!(matches!(failed, Err(AppError::Queue(_))), "{failed:?}");
        files.mend();
        assert_eq!(open(&storage, &files).unwrap().waiting(), 1, "it was written");
        erase(&mut app, NOW).unwrap();
        assert_eq!(open(&storage, &files).unwrap().waiting(), 0);
    }
}

/// The engine was switched on for a "yes" that then could not be recorded, and stayed on: ads were kept, and attributed reports
/// made and sent, of a person whose recorded answer was "no", in the journal too.
#[test]
fn a_yes_that_is_not_recorded_is_none() {
    for happens in [false, true] {
        let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
        let mut app = ready(&storage, &files);
        app.set_consent(false, NOW - 2 * WEEK).unwrap();
        files.fail_after(0, happens);
        app.set_consent(true, NOW).unwrap_err();
        files.mend();
        assert!(app.engine.is_enabled() && !app.consent().given());
        app.click(ad("tents"), NOW).unwrap();
        app.conversion(&mut rng(), lead("1"), NOW).unwrap();
        assert!(app.journal(NOW).remembered.is_empty());
        assert_eq!(attributed(&app), [None]);
        // Told again, it holds.
        app.set_consent(true, NOW).unwrap();
        app.click(ad("tents"), NOW).unwrap();
        app.conversion(&mut rng(), lead("2"), NOW).unwrap();
        assert_eq!(attributed(&app), [None, Some("tents".to_owned())]);
    }
}

/// The file had the second of every conversion, with the task, for good: what and when the person had bought.
#[test]
fn what_is_left_after_erasing_is_hours_of_the_last_week() {
    let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
    let mut app = ready(&storage, &files);
    app.conversion(&mut rng(), lead("1"), NOW + 17).unwrap();
    app.erase(NOW + 18).unwrap();
    let kept = String::from_utf8(files.read(kept::FILE).unwrap().unwrap()).unwrap();
    assert!(kept.contains(&NOW.to_string()) && !kept.contains(&(NOW + 17).to_string()), "{kept}");
    app.erase(NOW + 2 * WEEK).unwrap();
    let kept = String::from_utf8(files.read(kept::FILE).unwrap().unwrap()).unwrap();
    assert!(kept.contains("\"times\":[]"), "{kept}");
}
