//! What pages say of windows and days that are not in their numbers.

use std::sync::Arc;

use super::pages::{advertiser, campaign_of, coverage, overview_of, row, table_of};
use crate::console::campaigns::{Key, Order};
use crate::insights::{Coverage, Row};

const ORDER: Order = Order { key: Key::Name, descending: false };

fn with(row: Row, change: impl FnOnce(&mut Coverage)) -> Row {
    let mut coverage = (*row.coverage).clone();
    change(&mut coverage);
    Row { coverage: Arc::new(coverage), ..row }
}

fn complete(row: Row) -> Row {
    with(row, |coverage| {
        *coverage = Coverage {
            windows: 28,
            released: 28,
            value_released: 28,
            days: 28,
            whole_days: 28,
            whole_value_days: 28,
            missing: Vec::new(),
        };
    })
}

/// The table and the overview had spend of 28 days beside conversions of 10 of 28 windows, and nothing said so.
#[test]
fn pages_say_of_how_many_windows_and_days_their_numbers_are() {
    let campaign = campaign_of(1, "Spring");
    let few = |row: Row| {
        with(row, |coverage| {
            (coverage.released, coverage.value_released, coverage.whole_days) = (10, 8, 10);
            coverage.whole_value_days = 8;
        })
    };
    let (of, account) = (row(Some(&campaign), 8_445, 8, &coverage()), row(None, 14_337, 12, &coverage()));
    let said = [
        "Conversions are of 10 of 28 windows.",
        "Value is of 8 of 10 windows of conversions.",
        "CPA compares spend with the same 10 of 28 days.",
        "ROAS compares spend with the same 8 of 28 days.",
    ];
    let table = |of: Row, account: Row| table_of(&[Arc::clone(&campaign)], vec![of], account, ORDER, 1);
    let overview = |account: Row| overview_of(&[Arc::clone(&campaign)], vec![], account.clone(), account);
    for html in [table(few(of.clone()), few(account.clone())), overview(few(account.clone()))] {
        for sentence in said {
            assert_eq!(html.matches(sentence).count(), 1, "{sentence}");
        }
    }
    let whole = table(complete(of.clone()), complete(account.clone()));
    assert!(!whole.contains("Conversions are of") && !whole.contains("compares"));
    assert!(!overview(complete(account.clone())).contains("Conversions are of"));
    // A campaign that differs from the account is marked in its row.
    let html = table(few(of), complete(account));
    let own = html.split("Spring</a>").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(said.iter().all(|sentence| own.contains(sentence)), "{own}");
}

/// A shop that is counted for 30 days read "28 days before: 120 (more)": two days then, 28 now. And with yesterday not yet released a quiet
/// week read "(less)".
#[test]
fn numbers_of_more_windows_than_before_are_not_called_more() {
    let campaigns = [campaign_of(1, "Spring")];
    let (now, before) = (row(None, 14_337, 12, &coverage()), row(None, 3_000, 12, &coverage()));
    let page = |now: Row, before: Row| overview_of(&campaigns, vec![], now, before);
    assert!(page(complete(now.clone()), complete(before.clone())).contains("28 days before: 3,000 (more)"));
    assert!(page(now.clone(), before.clone()).contains("28 days before: 3,000 (more)"), "as many windows");
    let short = with(before, |coverage| {
        (coverage.windows, coverage.released, coverage.value_released) = (2, 2, 2);
    });
    let html = page(complete(now), short);
    assert!(html.contains("28 days before: 3,000 (of 2 then, and of 28 windows now)"));
    assert!(!html.contains("3,000 (more)"));
}

/// A file had 28 days of spend and 10 days of conversions, and no column that said so.
#[test]
fn an_export_says_of_how_many_windows_and_days_its_numbers_are() {
    let campaign = campaign_of(1, "Spring");
    let of = Row { cpa_spend: Some(12_345), ..row(Some(&campaign), 8_445, 8, &coverage()) };
    let range = crate::console::range::Range::last(28, jiff::civil::date(2026, 11, 24), None);
    let answer = crate::insights::Table { rows: vec![of] };
    let file = crate::console::export::campaigns(&advertiser("Shop"), &range, &answer).unwrap();
    let mut reader = csv::Reader::from_reader(file.as_slice());
    let header = reader.headers().unwrap().clone();
    let row = reader.records().next().unwrap().unwrap();
    let at = |name: &str| row[header.iter().position(|column| column == name).unwrap()].to_owned();
    let found =
        ["windows", "windows_released", "windows_with_value", "days", "cpa_days", "cpa_spend", "roas_days"];
    assert_eq!(found.map(at), ["28", "25", "25", "28", "25", "123.45", "25"]);
}
