//! What the numbers mean, in plain words.

use maud::{Markup, html};

use super::layout::{Nav, Page};
use super::measures::TOO_FEW;
use super::parts;

/// The page.
pub fn view() -> Page {
    Page::new("What these numbers mean", Nav::Help)
        .lead("Conversions are counted without anybody learning who converted. That has a price, and each number says how high it is.")
        .body(html! { div class="panel" { div class="prose" { (how()) (intervals()) (few()) (costs()) (value()) (waiting()) (budget()) } } })
}

fn how() -> Markup {
    html! {
        h2 id="how" { "How a conversion becomes a number" }
        ol {
            li { "A device remembers which of your ads it showed. When its owner converts, the device itself works out which campaign led there." }
            li { "It splits the answer into two halves that say nothing alone, and sends each to another server, called an aggregator. Neither sees who did what." }
            li { "Each aggregator adds up its halves of a whole window (an hour, a day or a week), and adds a little random noise before it gives the sum away." }
            li { "The two sums together are the number of conversions, off by that noise. Nobody has ever seen the exact one." }
        }
        p { "Impressions, clicks and spend are what you uploaded: exact, and not private." }
    }
}

fn intervals() -> Markup {
    html! {
        h2 id="intervals" { "8,445, and below it 8,437 to 8,453" }
        p {
            "The large number is the best guess. The true number is in the interval below it for at least 19 of 20 numbers, less often for those only just large enough to be shown. "
            "Noise has the same size whatever it is added to: it hardly matters to 8,000 conversions, and drowns 5."
        }
        figure {
            div class="sample" { (parts::interval_bar(30.0, 45.0, 60.0, 100.0)) }
            figcaption class="small soft" { "As a bar: the wide part is the interval, the mark the best guess, the left end is 0." }
        }
        p { "To compare two campaigns, look at whether their intervals overlap. If they do, the difference may be noise." }
        p {
            "Noise adds up more slowly than numbers do: a sum over a month is relatively much more precise than its days. "
            "A sum is of everything that it covers, of days too small to be shown as well; so it may be larger than what you get by "
            "adding the days you see."
        }
        h2 id="about-0" { "about 0, at most 12" }
        p { "The number cannot be told from nothing. Noise may make such a number negative; rather than a negative count you read what is known: with 95% it is not above 12." }
        h2 id="unclear" { "unclear" }
        p { "A value or a return of which only the interval can be told: it may be anything in it. It does " strong { "not" } " mean 0, even where the interval begins there." }
    }
}

fn few() -> Markup {
    html! {
        h2 id="too-few" { "\u{201c}" (TOO_FEW) "\u{201d}" }
        p {
            "A number below a threshold could be noise alone, so it is not shown. It does " strong { "not" } " mean 0. "
            "A longer range, or several campaigns together, may be large enough. A value is shown where its conversions are."
        }
        p {
            "The threshold of these pages is that of a whole table, with a row for all campaigns together; a release has its own, which can be "
            "lower by one or two. So a release may show a number that is just too small for these pages."
        }
        p {
            "In a chart of a small campaign the days that are shown are its lucky ones: those that noise, or chance, lifted over the threshold. "
            "They tend to be too high. "
            "The sum over a range is not lifted so."
        }
        p { a href=(Nav::Planner.path()) { "The planner" } " says from how many conversions on a campaign is shown." }
    }
}

fn costs() -> Markup {
    html! {
        h2 id="costs" { "CPA and ROAS" }
        p {
            strong { "CPA" } " is spend divided by conversions, " strong { "ROAS" } " is value divided by spend. Spend is exact, so all their "
            "uncertainty is that of the noised number, and their intervals are made from its interval."
        }
        p {
            "They compare the same days: only days of which all windows are released, from a campaign's first to its last day with delivery "
            "numbers. A day between them without a row counts as one without spend, unless no campaign has a row for it. Where a number would "
            "mislead, there is none, and the reason stands in its place; for instance where there may have been no conversion at all, so that "
            "the cost of one has no upper end."
        }
    }
}

fn value() -> Markup {
    html! {
        h2 id="value" { "What value counts" }
        p {
            "A device counts what an order is worth in whole steps, rounded down, and at most a maximum an order; a campaign\u{2019}s page says "
            "which. So value falls short of your turnover by half a step an order on average, and by whatever is above the maximum. The interval is "
            "about what devices counted: it holds noise, not that. Compare campaigns and weeks by it, and take turnover from your shop."
        }
    }
}

fn waiting() -> Markup {
    html! {
        h2 id="windows" { "Why a day has no number yet" }
        p {
            "Numbers are released window by window, once, after the window is over and late reports had time to come. "
            a href=(Nav::Releases.path()) { "The page of releases" } " says of each window where it stands and, if something is in the way, what to do."
        }
    }
}

fn budget() -> Markup {
    html! {
        h2 id="budget" { "What the privacy budget is" }
        p {
            "Each released number tells a little about the people in it. How much in a week is limited, by the operators of the aggregators; "
            "the measure of it is called epsilon. A window that the limit does not allow is not released. "
            a href=(Nav::Budget.path()) { "The budget page" } " says what is spent."
        }
    }
}
