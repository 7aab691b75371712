//! Of how many windows and days numbers are, where that is not all of them: spend of 28 days beside conversions of 10 invites to divide
//! one by the other.

use maud::{Markup, html};

use super::layout::Nav;
use crate::insights::{Coverage, Row};
use crate::text::counted;

/// Which numbers of a row are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShownOf {
    pub(crate) value: bool,
    pub(crate) cpa: bool,
    pub(crate) roas: bool,
}

/// What is not whole about a row, in sentences. Nothing if all of it is.
pub(super) fn sentences(row: &Row) -> Vec<String> {
    let [value, cpa, roas] = [&row.value, &row.cpa, &row.roas].map(|measure| measure.shown().is_some());
    sentences_of(&row.coverage, ShownOf { value, cpa, roas })
}

/// The same of what a row covers and shows.
pub(crate) fn sentences_of(coverage: &Coverage, shown: ShownOf) -> Vec<String> {
    let Coverage { windows, released, value_released, days, whole_days, whole_value_days, .. } = *coverage;
    let ShownOf { value, cpa, roas } = shown;
    let mut all = Vec::new();
    if released < windows {
        all.push(format!("Conversions are of {released} of {}.", counted(windows, "window")));
    }
    if value && value_released < released {
        all.push(format!("Value is of {value_released} of {} of conversions.", counted(released, "window")));
    }
    let compared =
        |what: &str, of: u32| format!("{what} spend with the same {of} of {}.", counted(days, "day"));
    match (cpa && whole_days < days, roas && whole_value_days < days) {
        (true, true) if whole_days == whole_value_days => {
            all.push(compared("CPA and ROAS compare", whole_days));
        }
        (of_cpa, of_roas) => {
            all.extend(of_cpa.then(|| compared("CPA compares", whole_days)));
            all.extend(of_roas.then(|| compared("ROAS compares", whole_value_days)));
        }
    }
    all
}

/// The line above numbers, if any of them is not of everything.
pub(super) fn line(row: &Row) -> Markup {
    let all = sentences(row);
    html! {
        @if !all.is_empty() {
            p class="notice" {
                (all.join(" ")) " What is missing is not 0. "
                a href=(Nav::Releases.path()) { "Where each window stands" }
            }
        }
    }
}

/// The mark on a row whose numbers are of other windows or days than those of the account.
pub(super) fn mark(row: &Row, account: Option<&Row>) -> Markup {
    let differs = account.is_some_and(|account| *account.coverage != *row.coverage);
    let all = if differs { sentences(row) } else { Vec::new() };
    let own = account.filter(|_| differs).map(|account| account.coverage.windows);
    let short = own.filter(|windows| row.coverage.windows < *windows && row.coverage.windows > 0);
    html! {
        @if short.is_some() { div class="small soft" { "Counted in " (counted(row.coverage.windows, "window")) "." } }
        @for sentence in all { div class="small soft" { (sentence) } }
    }
}

/// How a number of now and one of before may be compared: not if one is of more windows than the other.
pub(super) fn comparable(now: u32, before: u32, both_complete: bool) -> Result<(), String> {
    if now == before || both_complete {
        return Ok(());
    }
    Err(format!("of {before} then, and of {} now", counted(now, "window")))
}
