//! A plan as plain text, for terminals.

use std::fmt::Write as _;

use arras_protocol::epsilon::DisplayMicro;

use super::choice::{Choice, Outlook};
use super::window::{Carried, Windows, epochs_begin};
use super::{HIDDEN_CHANCE, Plan, SHOWN_CHANCE, Setting};
use crate::privacy::noise::Scale;
use crate::text::{counted, printable};

/// Longest name that is printed whole, in characters.
const NAME_CHARACTERS_MAX: usize = 40;

/// Width that sentences are wrapped to.
const LINE_CHARACTERS_MAX: usize = 110;

/// The text of a plan.
pub fn table(plan: &Plan<'_>) -> String {
    let mut out = String::new();
    for (label, text) in header(plan) {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{label:<11}{text}");
    }
    out.push('\n');
    write_rows(&mut out, &windows(plan));
    let _ = writeln!(
        out,
        "(threshold: the smallest noised count that is shown; visible from, useful from: the fewest conversions in a\n\
         window that are shown with a chance of 95%, and whose error is small enough, too; released: windows of an epoch\n\
         that the budget carries; week's sum: of all its windows added up, 95% are within this)\n\n\
         95% half-width of each campaign's conversions, and the chance to be shown in a window:\n"
    );
    write_rows(&mut out, &campaigns(plan, |outlook| Some(count_cell(outlook))));
    if let Some(values) = &plan.setting.values {
        let currency = currency(&values.currency);
        let _ = writeln!(
            out,
            "\n95% half-width of each campaign's value, of what is expected{currency}; shown if its conversions are:\n"
        );
        write_rows(&mut out, &campaigns(plan, value_cell));
    }
    out.push('\n');
    write_wrapped(&mut out, &recommendation(plan));
    for advice in &plan.advice {
        write_wrapped(&mut out, &advice.to_string());
    }
    out
}

fn header(plan: &Plan<'_>) -> Vec<(&'static str, String)> {
    let setting = plan.setting;
    let buckets = setting.counts.vdaf.output_len();
    let mut lines = vec![
        (
            "campaigns",
            format!(
                "{} in {}; {} a week, evenly spread",
                setting.campaigns.len(),
                counted(buckets, "bucket"),
                counted(setting.reports_per_week(), "conversion")
            ),
        ),
        (
            "budget",
            format!(
                "{} epsilon in each epoch of 7 days; a device sends at most {} in any 7 days",
                DisplayMicro(setting.rules.cap),
                counted(setting.counts.contributions, "report")
            ),
        ),
        ("windows", calendar(setting)),
        (
            "noise",
            format!(
                "{} from each of the two aggregators; sensitivity {}",
                setting.counts.policy().mechanism.name(),
                setting.counts.vdaf.l1_sensitivity()
            ),
        ),
    ];
    if let Some(values) = &setting.values {
        lines.push((
            "values",
            format!(
                "up to {}{} a report, the rest of it is cut; sensitivity {}",
                money(values.maximum()),
                currency(&values.currency),
                values.terms.vdaf.l1_sensitivity()
            ),
        ));
    }
    let aim = if setting.target.is_some() { "target" } else { "useful" };
    let share = setting.useful_error();
    lines.push((
        aim,
        format!("shown with a chance of 95%, and the 95% half-width at most {share} of the number"),
    ));
    lines
}

/// Which windows are planned.
fn calendar(setting: &Setting) -> String {
    match &setting.windows {
        Windows::WithEpochs => {
            "begin with epochs, as they can if they are asked for by hand; --time-zone plans an advertiser's"
                .to_owned()
        }
        Windows::Calendar(windows) => format!(
            "by the calendar of {}, as an advertiser's; epochs begin on {}",
            printable(&windows.zone),
            epochs_begin(setting.rules.epoch_start)
        ),
    }
}

/// How many windows of an epoch the budget carries, and of how many; in the poorest epoch, and in most if that is another
/// number.
pub fn released(choice: &Choice) -> String {
    let Carried { poorest, usual, .. } = choice.budget;
    let poorest_of = format!("{} of {}", poorest.admitted, poorest.of);
    if usual == poorest {
        return poorest_of;
    }
    format!("{} of {}, at worst {poorest_of}", usual.admitted, usual.of)
}

fn windows(plan: &Plan<'_>) -> Vec<Vec<String>> {
    let head = [
        "window",
        "epsilon",
        "scale",
        "std error",
        "95% within",
        "threshold",
        "visible from",
        "useful from",
        "released",
        "week's sum",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for choice in &plan.choices {
        let sum = match choice.week.half_width {
            Some(half_width) => format!("+/-{half_width}"),
            None => "not whole".to_owned(),
        };
        rows.push(vec![
            choice.window.name().to_owned(),
            choice.counts.terms.epsilon.to_string(),
            scale(&choice.counts.scale),
            format!("{:.1}", choice.counts.standard_error),
            choice.counts.half_width.to_string(),
            choice.threshold.to_string(),
            choice.smallest_visible.to_string(),
            choice.smallest_useful.to_string(),
            released(choice),
            sum,
        ]);
        if let Some((values, task)) = choice.values.as_ref().zip(plan.setting.values.as_ref()) {
            rows.push(vec![
                "  value".to_owned(),
                values.terms.epsilon.to_string(),
                scale(&values.scale),
                money(values.standard_error * task.unit.get()),
                money(wide(values.half_width) * task.unit.get()),
            ]);
        }
    }
    rows
}

fn campaigns(plan: &Plan<'_>, cell: impl Fn(&Outlook) -> Option<String>) -> Vec<Vec<String>> {
    let mut head = vec!["campaign".to_owned(), "a week".to_owned()];
    head.extend(plan.choices.iter().map(|choice| choice.window.name().to_owned()));
    let mut rows = vec![head];
    for (index, campaign) in plan.setting.campaigns.iter().enumerate() {
        let mut row = vec![short(&campaign.name), campaign.per_week.to_string()];
        let cells = plan
            .choices
            .iter()
            .map(|choice| cell(&choice.campaigns[index]).unwrap_or_else(|| "-".to_owned()));
        row.extend(cells);
        rows.push(row);
    }
    rows
}

fn count_cell(outlook: &Outlook) -> String {
    if outlook.chance_shown < HIDDEN_CHANCE {
        return "hidden".to_owned();
    }
    format!("{}, shown {}", percent(outlook.relative_error), chance(outlook.chance_shown))
}

fn value_cell(outlook: &Outlook) -> Option<String> {
    let value = outlook.value?;
    if outlook.chance_shown < HIDDEN_CHANCE {
        return Some("hidden".to_owned());
    }
    let cut = if value.is_cut { ", cut" } else { "" };
    Some(format!("{} of {}{cut}", percent(value.relative_error), money(value.expected)))
}

/// What to do, in a sentence.
pub fn recommendation(plan: &Plan<'_>) -> String {
    let choice: &Choice = plan.recommended();
    let window = choice.window.one();
    let all = counted(plan.setting.campaigns.len(), "campaign");
    let useful = choice.useful();
    let shows = match plan.setting.target {
        Some(target) => format!("reaches {target} for {useful} of {all}"),
        None => format!("give useful numbers for {useful} of {all}"),
    };
    if !choice.is_released() {
        return nothing_released(plan, choice);
    }
    match plan.setting.target {
        Some(target) if useful == 0 => {
            return format!("Within this budget no campaign reaches {target} in any of these windows.");
        }
        None if useful == 0 => {
            return "Under these terms no campaign has a useful number in any of these windows.".to_owned();
        }
        _ => {}
    }
    let epsilons: Vec<String> = [Some(&choice.counts), choice.values.as_ref()]
        .into_iter()
        .flatten()
        .map(|precision| precision.terms.epsilon.to_string())
        .collect();
    let epsilons = epsilons.join(" (conversions) and ") + if epsilons.len() > 1 { " (values)" } else { "" };
    let cost = epoch_cost(plan, choice);
    match plan.setting.target {
        Some(_) => format!(
            "Take windows of {window}: an epsilon of {epsilons} a release {shows}, and an epoch then costs {cost}."
        ),
        None => format!("Take windows of {window}: they {shows}, and an epoch costs {cost}."),
    }
}

/// What an epoch costs; the most that one does, too, if that is another number.
fn epoch_cost(plan: &Plan<'_>, choice: &Choice) -> String {
    let (usual, most) = (choice.budget.usual_epoch_cost(), choice.budget.epoch_cost());
    let cap = DisplayMicro(plan.setting.rules.cap);
    let at_most = if most == usual { String::new() } else { format!(", at most {}", DisplayMicro(most)) };
    format!("{} of {cap} epsilon{at_most}", DisplayMicro(usual))
}

/// Why no length of windows is released whole: the one to take is not, so none is.
fn nothing_released(plan: &Plan<'_>, choice: &Choice) -> String {
    let carried = plan.choices.iter().any(|choice| choice.budget.is_whole());
    if !carried {
        return format!(
            "No windows are all carried by this budget: a release costs {} epsilon of a cap of {}.",
            DisplayMicro(choice.budget.cost),
            DisplayMicro(plan.setting.rules.cap)
        );
    }
    let some = plan.choices.iter().any(|choice| choice.enough_reports);
    let which = if some { "No window that this budget carries" } else { "No window" };
    let setting = plan.setting;
    let (a_week, needed) = (counted(setting.reports_per_week(), "report"), setting.min_batch_size);
    format!("{which} gets enough reports to be released: {a_week} a week, and a batch needs {needed}.")
}

/// Lines no longer than [`LINE_CHARACTERS_MAX`] where words allow; what goes on is set in.
fn write_wrapped(out: &mut String, text: &str) {
    for line in text.lines() {
        // An entry of a list is set in already; what goes on below it is set in as far as its text.
        let text = line.trim_start();
        let lead = line.len() - text.len();
        let indent = if lead > 0 { lead + 2 } else { 2 };
        let mut written = " ".repeat(lead);
        let mut width = lead;
        for (index, word) in text.split(' ').enumerate() {
            let characters = word.chars().count();
            if index > 0 && width + 1 + characters > LINE_CHARACTERS_MAX {
                let _ = write!(written, "\n{:indent$}{word}", "");
                width = indent + characters;
            } else {
                let space = if index > 0 { " " } else { "" };
                let _ = write!(written, "{space}{word}");
                width += space.len() + characters;
            }
        }
        let _ = writeln!(out, "{written}");
    }
}

/// Columns as wide as their widest cell; the first is flushed left, numbers right.
fn write_rows(out: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(line, "{cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// A name as it is printed, cut to a length.
pub(super) fn short(name: &str) -> String {
    if name.chars().count() <= NAME_CHARACTERS_MAX {
        return printable(name);
    }
    let cut: String = name.chars().take(NAME_CHARACTERS_MAX - 3).collect();
    format!("{}...", printable(&cut))
}

/// The exact scale if it is short, otherwise rounded; JSON has it exactly.
fn scale(scale: &Scale) -> String {
    let exact = scale.to_string();
    if exact.len() <= 8 {
        exact
    } else {
        format!("{:.2}", wide(scale.numerator()) / wide(scale.denominator()))
    }
}

fn currency(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" {}", short(name)) }
}

fn money(amount: f64) -> String {
    format!("{amount:.2}")
}

/// A relative error, with three digits or so.
pub(super) fn percent(part: f64) -> String {
    let percent = part * 100.0;
    match percent {
        p if p >= 100_000.0 => "beyond".to_owned(),
        p if p >= 100.0 => format!("{p:.0}%"),
        p if p >= 1.0 => format!("{p:.1}%"),
        p => format!("{p:.2}%"),
    }
}

/// A chance, never rounded to certainty nor up to what counts as shown.
fn chance(chance: f64) -> String {
    match chance * 100.0 {
        p if p >= 99.95 => ">99.9%".to_owned(),
        p if chance < SHOWN_CHANCE => format!("{:.1}%", (p * 10.0).floor() / 10.0),
        p => format!("{p:.1}%"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "display: 53 bits of a number are plenty")]
fn wide(number: u128) -> f64 {
    number as f64
}
