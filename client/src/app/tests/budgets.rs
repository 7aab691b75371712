//! What the device's own budget is charged, and that nothing gives it back.

use arras_protocol::manifest::{ManifestDocument, Measures};
use arras_protocol::vdaf::VdafConfig;

use super::*;

/// One that has a budget for a single lead.
fn narrow(lookback_days: u32) -> Tested {
    with_budget(250_000, lookback_days)
}

fn with_budget(advertiser_budget: u32, lookback_days: u32) -> Tested {
    let rules = AppRules { advertiser_budget, lookback_days, ..rules() };
    let mut app = App::open(rules, MemoryStore::default(), MemoryFiles::default(), NOW).unwrap();
    app.set_consent(true, NOW).unwrap();
    app.update_manifest(&mut rng(), SHOP, &Publisher::new(1).manifest(1, NOW), NOW).unwrap();
    app
}

fn click_and_lead(app: &mut Tested, id: &str) -> Option<String> {
    app.click(ad("tents"), NOW).unwrap();
    assert_eq!(app.conversion(&mut rng(), lead(id), NOW).unwrap(), Converted::Reported(1));
    attributed(app).pop().unwrap()
}

/// Somebody who gave devices the sum of the epsilons, 0.41 for conversions and 0.59 for values, got no value, ever: the first of
/// them costs 410,001 millionths in the standard's doubles, and nothing shows in a report that it was made without a budget.
#[test]
fn a_conversion_costs_what_is_said_to_the_millionth() {
    let histogram = VdafConfig::histogram(16).unwrap();
    let sum = VdafConfig::l1_bound_sum(16, 500).unwrap();
    for (vdaf, epsilon, cost) in [
        (histogram, "1", 1_000_000),
        (histogram, "0.41", 410_001),
        (histogram, "0.82", 820_001),
        (sum, "0.59", 590_000),
        (sum, "0.19", 190_001),
        (sum, "0.000001", 1),
    ] {
        assert_eq!(conversion_cost(&vdaf, epsilon.parse().unwrap()), u64::from(cost), "{epsilon}");
        for (budget, campaign) in [(cost, Some("tents".to_owned())), (cost - 1, None)] {
            let mut app = with_budget(budget, 30);
            let document = one_task(&vdaf, epsilon).sign(&Publisher::new(1).signing_key).unwrap();
            app.update_manifest(&mut rng(), SHOP, &document, NOW).unwrap();
            app.click(ad("tents"), NOW).unwrap();
            // All that the sum allows.
            let dear = Event { value: Some(50_000), ..purchase("1") };
            assert_eq!(app.conversion(&mut rng(), dear, NOW).unwrap(), Converted::Reported(1));
            assert_eq!(attributed(&app), [campaign], "{epsilon} of {budget}");
        }
    }
}

/// A manifest with this task alone, which counts purchases.
fn one_task(vdaf: &VdafConfig, epsilon: &str) -> ManifestDocument {
    let publisher = Publisher::new(1);
    let measures = if vdaf.enforced_max() == 1 { (Measures::Count, 1) } else { (Measures::Value, 100) };
    let configuration = Publisher::configuration_at(vdaf, 2, epsilon);
    let tasks = vec![publisher.task(&configuration, measures, &[("purchase", 0)])];
    ManifestDocument { tasks, ..publisher.document(2, NOW) }
}

/// A look back of less than a week is of one epoch, for which the standard takes half: without the ads there would be
/// a histogram of zeros. The report of a `Histogram` task has a 1 in the cell for "not attributed" then, so it differs by twice as
/// much, and two reports of an epsilon left where one was paid for.
#[test]
fn a_short_look_back_costs_a_histogram_the_whole_epsilon() {
    for lookback_days in [1, 6, 30] {
        let mut app = narrow(lookback_days);
        let reports = ["1", "2"].map(|id| click_and_lead(&mut app, id));
        assert_eq!(reports, [Some("tents".to_owned()), None], "{lookback_days} days");
    }
}

/// Erasing forgot the budgets and closed the weeks up to the one that the clock showed: a phone that had booted in 1970 had all
/// of this week's budget again, and so had one that erased twice, the second time with a clock that was set back.
#[test]
fn erasing_with_a_clock_that_is_behind_gives_no_budget_back() {
    for clocks in [&[NOW - 60 * 86_400][..], &[0], &[NOW, NOW - 60 * 86_400], &[NOW, 0]] {
        let mut app = narrow(30);
        assert!(click_and_lead(&mut app, "1").is_some());
        for clock in clocks {
            app.erase(*clock).unwrap();
        }
        assert_eq!(click_and_lead(&mut app, "2"), None, "{clocks:?}");
    }
}

/// A damaged file could only be removed, which gave each task its reports of the week again, and the budget of reports that wait.
#[test]
fn a_damaged_file_is_given_up_without_giving_anything_back() {
    let (storage, mut files) = (MemoryStore::default(), MemoryFiles::default());
    let mut app = ready(&storage, &files);
    app.click(ad("tents"), NOW).unwrap();
    for id in ["1", "2"] {
        app.conversion(&mut rng(), lead(id), NOW).unwrap();
    }
    drop(app);
    let mut bytes = files.read(kept::FILE).unwrap().unwrap();
    let at = bytes.windows(8).position(|text| text == b"\"times\":").unwrap() + 12;
    bytes[at] ^= 1;
    files.replace(kept::FILE, &bytes).unwrap();
    let damaged = open(&storage, &files).unwrap_err();
    assert!(matches!(damaged, AppError::State(StateError::Damaged(_))), "{damaged}");
    let replace =
        |storage: &MemoryStore, now| App::replace_damaged(rules(), storage.clone(), files.clone(), now);
    let mut app = replace(&storage, NOW).unwrap();
    assert_eq!((app.consent(), app.waiting()), (Consent::Unasked, 0));
    assert!(app.journal(NOW).remembered.is_empty());
    app.set_consent(true, NOW).unwrap();
    app.click(ad("tents"), NOW).unwrap();
    for id in ["purchase", "again"] {
        assert_eq!(app.conversion(&mut rng(), purchase(id), NOW).unwrap(), Converted::Spent);
    }
    drop(app);
    // What is not damaged is not given up.
    let mut app = replace(&storage, NOW).unwrap();
    assert!(app.consent().given());
    let older = app.update_manifest(&mut rng(), SHOP, &Publisher::new(1).manifest(0, NOW), NOW);
    assert!(matches!(older, Err(AppError::Manifest(ManifestError::Older { .. }))));
}

/// What was counted for a task stayed for ever, in memory and in a file that each call writes whole.
#[test]
fn tasks_that_are_over_are_forgotten_without_giving_reports_back() {
    let mut app = app();
    let task = |number: u32| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        arras_protocol::messages::TaskId::new(id)
    };
    let tasks = 0..300;
    let taken = tasks.filter(|number| {
        let room = app.kept.has_room_for(task(*number));
        if room {
            app.kept.count(task(*number), NOW, 2);
        }
        room
    });
    assert_eq!(taken.count(), 256);
    assert_eq!(app.conversion(&mut rng(), lead("1"), NOW).unwrap(), Converted::Spent, "there is no room");
    app.maintain(NOW + 4 * WEEK).unwrap();
    assert!(app.kept.sent.is_empty());
    assert_eq!(app.kept.sent_of(task(7)).left(NOW + WEEK, 2), 0, "the clock was set back");
    assert_eq!(app.kept.sent_of(task(7)).left(NOW + 4 * WEEK, 2), 2);
}

/// An app's ads are all seen at its own site, of which the engine kept 1,000: a thousand views of other campaigns pushed a
/// click out, and the conversion went to a view. Now one site may have the whole store.
#[test]
fn views_do_not_push_out_a_click() {
    let mut app = app();
    app.click(ad("tents"), NOW).unwrap();
    for second in 0..1_100 {
        app.impression(ad("boots"), NOW + second).unwrap();
    }
    app.conversion(&mut rng(), lead("1"), NOW + 1_100).unwrap();
    assert_eq!(attributed(&app), [Some("tents".to_owned())]);
    assert_eq!(app.journal(NOW).remembered.len(), 1_101);
}

/// What would only be noticed when somebody converts.
#[test]
fn rules_that_no_call_could_keep_are_refused_at_the_start() {
    let shop = rules().advertisers[0].clone();
    for wrong in [
        AppRules { lookback_days: 0, ..rules() },
        AppRules { lookback_days: 31, ..rules() },
        AppRules { advertisers: vec![shop.clone(), shop], ..rules() },
    ] {
        assert!(App::open(wrong, MemoryStore::default(), MemoryFiles::default(), NOW).is_err());
    }
}

/// A phone that opened the app before its clock was set dropped the manifest that it had, and its conversions were lost until
/// the next one was fetched.
#[test]
fn a_manifest_is_kept_until_the_clock_is_right() {
    let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
    drop(ready(&storage, &files));
    let mut app = App::open(rules(), storage, files, 0).unwrap();
    assert!(matches!(app.conversion(&mut rng(), lead("1"), 0), Err(AppError::NoManifest)));
    assert_eq!(app.conversion(&mut rng(), lead("1"), NOW).unwrap(), Converted::Reported(1));
}
