//! What the device's own budget is charged, and that nothing gives it back.

use super::*;

/// One that has a budget for a single lead.
fn narrow(lookback_days: u32) -> Tested {
    let rules = AppRules { advertiser_budget: 250_000, lookback_days, ..rules() };
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
