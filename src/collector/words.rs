//! The words for numbers: the one place that decides how a noised number, its noise and its cost are put to a reader.

use crate::collector::release::{Charged, Estimate, NoiseScales, Policy, Release};
use crate::collector::sums::{Gap, GapReason, NoiseShare, Sum};
use crate::collector::table::short;
use crate::text::{counted, printable};

/// A noised number as a reader sees it. Where it cannot be told from nothing, that is what is said, with what is known:
/// a negative count, which noise makes of a small one, is never shown as a count.
///
/// It cannot be told from nothing if its interval reaches 0 and it is no further from 0 than half of the way to the upper
/// end (a third of the upper end): an estimate that just touches 0 is still the best guess.
pub(crate) fn number(cell: &Estimate) -> String {
    match told(cell.estimate, cell.low, cell.high) {
        Told::Number(number) => number.to_string(),
        Told::AboutNothing { at_most: 0 } => "about 0".to_owned(),
        Told::AboutNothing { at_most } => format!("about 0, at most {at_most}"),
    }
}

/// A noised value as a reader sees it. One that reaches 0 is not near it: few conversions can be worth much.
pub(crate) fn value(cell: &Estimate) -> String {
    match told(cell.estimate, cell.low, cell.high) {
        Told::Number(number) => number.to_string(),
        Told::AboutNothing { .. } => "unclear".to_owned(),
    }
}

/// What a reader is told of a noised number, see `number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The estimate, or the upper end of its interval where that is less: noise can lift a number above what can be, such as
    /// the number of all reports, and a number outside of its own interval would only puzzle.
    Number(u128),
    /// That it cannot be told from nothing.
    AboutNothing {
        /// The upper end of what it can be; 0 if nothing is known of that.
        at_most: u128,
    },
}

/// Decides between the two for an estimate and the ends of its interval.
pub fn told(estimate: i128, low: u128, high: u128) -> Told {
    match u128::try_from(estimate) {
        Ok(number) if low > 0 || number.saturating_mul(3) > high => Told::Number(number.min(high)),
        _ => Told::AboutNothing { at_most: high },
    }
}

/// The interval as a reader sees it.
pub(super) fn interval(cell: &Estimate) -> String {
    format!("{} to {}", cell.low, cell.high)
}

/// Why a part of a range is not in a sum.
pub(super) fn gap(gap: &Gap) -> String {
    let of = gap.release.map_or_else(String::new, |sequence| format!(" (release {sequence})"));
    let why = match gap.why {
        GapReason::NotCollected => "was not collected",
        GapReason::Failed => "was asked for and not collected; the collector's list of failures says why",
        GapReason::UnderWay => "is being collected",
        GapReason::NotOver => "is not over yet",
        GapReason::WithoutCells => "was released before numbers were kept for sums",
        GapReason::WithoutConversions => "has no release of its conversions",
    };
    format!("{why}{of}")
}

/// `"2/1"` as `2`.
fn scale(text: &str) -> &str {
    text.strip_suffix("/1").unwrap_or(text)
}

/// What each aggregator added.
pub(crate) fn scales(noise: &NoiseScales) -> String {
    let (leader, helper) = (scale(&noise.leader), scale(&noise.helper));
    if leader == helper {
        format!("scale {leader} from each of the two aggregators")
    } else {
        format!("scale {leader} from the leader and {helper} from the helper")
    }
}

/// The noise of so many windows.
pub(super) fn noise_share(share: &NoiseShare) -> String {
    format!("scale {} in {}", scale(&share.scale), counted(share.windows, "window"))
}

/// What decides which buckets are shown.
pub(crate) fn threshold(release: &Release) -> String {
    match &release.conversions {
        None => format!("{}; below it a number is suppressed", release.policy.threshold),
        Some(conversions) => {
            format!("a value is shown where release {} shows its conversions", conversions.sequence)
        }
    }
}

/// What a release cost.
pub(crate) fn charged(charge: &Charged) -> String {
    let to = format!("{} epsilon to {}", charge.epsilon_per_epoch, short(&charge.budget_source));
    match &charge.epochs {
        None => format!("{to} in each epoch of 7 days that the window touches"),
        Some(epochs) => {
            let starts: Vec<&str> = epochs.iter().map(|epoch| epoch.start.as_str()).collect();
            let noun = if starts.len() == 1 { "the epoch" } else { "each of the epochs" };
            format!("{to} in {noun} that started {}", starts.join(", "))
        }
    }
}

/// What the epochs of a release were charged with it, if that is known.
pub(crate) fn spent(charge: &Charged) -> Option<String> {
    let epochs = charge.epochs.as_ref()?;
    let spent: Option<Vec<&str>> = epochs.iter().map(|epoch| epoch.spent.as_deref()).collect();
    let noun = if epochs.len() == 1 { "that epoch" } else { "those epochs" };
    Some(format!(
        "{} epsilon in {noun} when this was released, by this collector's own releases",
        spent?.join(", ")
    ))
}

/// What is known of the signature of a document that is put into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// It was verified.
    Verified,
    /// It was not looked at: nothing may be said that rests on it.
    Unchecked,
}

/// Whose signature a document has, or says that it has; `key` is the one that it names.
pub(super) fn signed(key: Option<&str>, claimed: bool) -> String {
    match key {
        Some(key) if claimed => format!("by key {}, it says; not checked", printable(key)),
        Some(key) => format!("by key {}", printable(key)),
        None => "no; it is from before releases were signed".to_owned(),
    }
}

/// What the signature shows, or would show, and what it does not.
fn vouched(signature: Signature) -> &'static str {
    match signature {
        Signature::Verified => {
            "The signature shows that this is what the collector published, unchanged. It does not show that the \
             aggregators counted and added noise as they should."
        }
        Signature::Unchecked => {
            "No signature was checked here: `arras release verify` does that, with the collector's keys. Even a good one \
             does not show that the aggregators counted and added noise as they should."
        }
    }
}

/// Whose the policy is, and that nobody sees it kept.
fn terms(policy: &Policy) -> &'static str {
    if policy.bound {
        "Whether it did cannot be seen from here."
    } else {
        "Whether it did cannot be seen from here, and neither whether the aggregators' operators configured this policy: \
         the task itself does not carry one, these are the collector's own terms, and all that follows holds if the \
         aggregators' are the same."
    }
}

/// What is true of the numbers that are shown, which is not what is true of all.
fn selected(release: &Release) -> &'static str {
    match &release.conversions {
        None => {
            "Of the numbers that are shown it holds less often just above the threshold: what noise made large is shown, \
             what it made small is not."
        }
        // Which values are shown depends on noise that is independent of theirs.
        Some(_) => "That holds for the values that are shown, too.",
    }
}

/// How the numbers of a release were made, in sentences for whoever reads one for the first time.
pub fn how_made(release: &Release, signature: Signature) -> String {
    let policy = &release.policy;
    let percent = release.confidence.trim_start_matches("0.");
    let k = counted(policy.contributions, "report");
    let shown = match &release.conversions {
        None => format!(
            "A number below {} is suppressed. That is for the reader's sake, since such numbers are mostly noise; privacy \
             rests on the noise alone.",
            policy.threshold
        ),
        Some(conversions) => format!(
            "A value is shown where release {} of task {} shows its conversions: the threshold is a number of conversions \
             and says nothing about values.",
            conversions.sequence,
            printable(&conversions.task)
        ),
    };
    let spent = release.charge.epochs.iter().flatten().any(|epoch| epoch.spent.is_some());
    let view = if spent {
        " What it says was spent then is what this collector's own releases cost; the ledgers that refuse are the \
         aggregators', and know more."
    } else {
        ""
    };
    let paragraphs = [
        format!(
            "{} reports were collected, each split between two aggregators ({} and {}), of which neither saw a report. How \
             many reports there were is exact and public.",
            release.report_count,
            quoted(&release.leader),
            quoted(&release.helper)
        ),
        format!(
            "The policy asks each aggregator to add {} noise to every bucket of its own share before it gives it away: {}. \
             {} A number is then off by the sum of two such noises; the standard error and the {percent}% interval \
             count both, exactly. Of all numbers of such releases, before any was suppressed, at least {percent} of 100 \
             have the truth in their interval. {}",
            policy.mechanism,
            scales(&release.noise),
            terms(policy),
            selected(release)
        ),
        format!(
            "The scale is the sensitivity {} divided by epsilon {}: if one report were another, the odds of any outcome \
             would change by a factor of at most e^{} (one honest aggregator suffices). A device sends at most {k} of \
             this task in any 7 days, so the release costs {} epsilon of the budget of {} in every epoch of 7 days that its window \
             touches.{view}",
            policy.sensitivity,
            policy.epsilon,
            policy.epsilon,
            release.charge.epsilon_per_epoch,
            quoted(&release.charge.budget_source)
        ),
        shown,
        vouched(signature).to_owned(),
    ];
    let mut out = String::new();
    for paragraph in paragraphs {
        wrap(&mut out, &paragraph);
        out.push('\n');
    }
    out
}

/// How the numbers of a sum were made.
pub fn how_summed(sum: &Sum, signature: Signature) -> String {
    let percent = sum.confidence.trim_start_matches("0.");
    let follows = match &sum.conversions {
        None => String::new(),
        Some(task) => format!(
            " A value is shown where the sum of the conversions of the same windows, which task {} counts, reaches its \
             threshold.",
            printable(task)
        ),
    };
    let selected = if sum.conversions.is_none() {
        " Of those that are shown it holds less often just above their threshold."
    } else {
        ""
    };
    let gaps = if sum.gaps.is_empty() {
        "The range is covered from end to end."
    } else {
        "Parts of the range are not in it; they are named, with the reason, and are not 0."
    };
    let paragraphs = [
        format!(
            "Every noised number of {} was added up, also those that their releases suppress, and nothing was cut at 0 or \
             at a threshold before: a sum of the shown numbers alone would be too large. {gaps}",
            counted(sum.windows.len(), "window")
        ),
        format!(
            "Each of these numbers has the noise of two aggregators in it. The {percent}% interval is that of the sum of all \
             this noise, exactly; of many numbers it is much narrower than their intervals added up. Noise grows with the \
             root of how many numbers are added, so one release of the whole range would have had less. Of all sums, before \
             any was suppressed, at least {percent} of 100 have the truth in their interval.{selected}"
        ),
        format!(
            "A sum is suppressed below the largest threshold of its releases, or, if that is more, below what shows any of \
             the task's numbers with nothing in it at most once in a thousand such sums of all of them.{follows} The threshold is for the reader's sake: two sums that \
             differ in one number can be subtracted, which gives that number with its noise. Privacy rests on the noise."
        ),
        format!(
            "It cost no budget: whatever is computed from numbers that are noised already reveals no more than they do. {}",
            vouched(signature)
        ),
    ];
    let mut out = String::new();
    for paragraph in paragraphs {
        wrap(&mut out, &paragraph);
        out.push('\n');
    }
    out
}

/// A text that others chose, within a sentence: marked as such, and kept on one line by blanks that do not break, so that
/// no line begins with words of theirs.
fn quoted(text: &str) -> String {
    format!("\"{}\"", short(text).replace(' ', "\u{a0}"))
}

/// Characters in a line of prose.
const LINE_CHARACTERS: usize = 100;

/// All texts of a document that are put into sentences come through here, see [`super::table`].
fn wrap(out: &mut String, paragraph: &str) {
    let mut width = 0;
    for word in printable(paragraph).split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > LINE_CHARACTERS {
            out.push('\n');
            width = 0;
        }
        if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(estimate: i128, low: u128, high: u128) -> Estimate {
        Estimate { estimate, standard_error: "4.000".to_owned(), low, high }
    }

    #[test]
    fn what_cannot_be_told_from_nothing_is_said_to_be_nothing() {
        for (value, low, high, words) in [
            (8451, 8443, 8459, "8451"),
            (9, 1, 17, "9"),
            // Its interval touches 0, and it is still the best guess.
            (8, 0, 16, "8"),
            (5, 0, 13, "5"),
            (4, 0, 12, "about 0, at most 12"),
            (0, 0, 8, "about 0, at most 8"),
            (-3, 0, 8, "about 0, at most 8"),
            (i128::MIN, 0, 8, "about 0, at most 8"),
            (i128::MAX, 1, u128::MAX, "170141183460469231731687303715884105727"),
        ] {
            assert_eq!(number(&estimate(value, low, high)), words, "{value} {low} {high}");
        }
        // More than there are reports: of 19,785 people, all of whom converted, the demo counted "19917 (19775 to 19785)".
        assert_eq!(number(&estimate(19_917, 19_775, 19_785)), "19785");
        assert_eq!(
            (value(&estimate(180, 0, 863)), value(&estimate(400, 0, 863))),
            ("unclear".to_owned(), "400".to_owned())
        );
        // No interval of ours leaves a negative number without reaching 0; if a document did, it shows no count either.
        assert_eq!(number(&estimate(-3, 1, 5)), "about 0, at most 5");
    }

    #[test]
    fn scales_that_differ_are_both_named() {
        let noise = |leader: &str, helper: &str| {
            scales(&NoiseScales { leader: leader.to_owned(), helper: helper.to_owned() })
        };
        assert_eq!(noise("2/1", "2/1"), "scale 2 from each of the two aggregators");
        assert_eq!(noise("20/3", "4/1"), "scale 20/3 from the leader and 4 from the helper");
    }
}
