//! Budgets as a table for people.

use std::fmt::Write as _;

use crate::operations::budget::{BudgetReport, EpochReport, SourceReport, TaskReport, WindowReport};
use crate::text::{counted, printable};

/// All of a report; `from` says where it comes from.
pub(super) fn table(report: &BudgetReport, from: &str) -> String {
    let mut out = format!("{} ({from})\n", report.role);
    if report.sources.is_empty() {
        out += match report.role.as_str() {
            // It keeps no ledger: it knows what it released.
            "collector" => "\nnothing was released yet\n",
            _ => "\nno budget source is configured and nothing was ever spent\n",
        };
    }
    for source in &report.sources {
        out.push('\n');
        write_source(&mut out, source, &report.role);
    }
    if !report.disagreements.is_empty() {
        out += "\nTHE LEDGER AND THE COLLECTED WINDOWS DISAGREE; this role does not start (docs/operating.md, \"A ledger \
                that disagrees\"):\n";
        for what in &report.disagreements {
            // Writing to a String does not fail.
            let _ = writeln!(out, "  {}", printable(what));
        }
    }
    out.push('\n');
    out
}

fn write_source(out: &mut String, source: &SourceReport, role: &str) {
    let _ = write!(out, "budget source {}", printable(&source.source));
    if let Some(collector) = &source.collector {
        let _ = write!(out, " of collector {}", printable(collector));
    }
    out.push('\n');
    match (&source.cap, &source.epoch_start) {
        (Some(cap), Some(start)) => {
            let _ = writeln!(out, "  cap {cap} epsilon in each epoch of 7 days; epoch 0 started at {start}");
        }
        (None, Some(start)) if role == "collector" => {
            let _ = writeln!(out, "  what this collector's releases cost; epoch 0 started at {start}");
        }
        (None, None) if role == "collector" => {
            out.push_str(
                "  this collector was not told when epochs start (collector.budget_source), so it cannot add up\n",
            );
        }
        _ => out.push_str("  not in the configuration: nothing more can be spent of it\n"),
    }
    if let Some(moved) = &source.moved_to {
        let _ = writeln!(
            out,
            "  epoch_start is {moved} in the configuration now: every release is refused until it is set back"
        );
    }
    write_epochs(out, source);
    write_windows(out, source);
}

fn write_epochs(out: &mut String, source: &SourceReport) {
    if source.epochs.is_empty() {
        out.push_str("  nothing was spent in any epoch\n");
        return;
    }
    let mut rows = vec![["epoch", "from", "to", "spent", "left", "by task"].map(str::to_owned)];
    for EpochReport { epoch, start, end, spent, left, tasks } in &source.epochs {
        let left = left.clone().unwrap_or_else(|| "-".to_owned());
        let mut tasks = tasks.iter().map(of_task);
        let first = tasks.next().unwrap_or_default();
        rows.push([epoch.to_string(), start.clone(), end.clone(), spent.clone(), left, first]);
        rows.extend(
            tasks.map(|task| {
                [String::new(), String::new(), String::new(), String::new(), String::new(), task]
            }),
        );
    }
    out.push('\n');
    write_rows(out, &rows, &[0, 3, 4]);
    if source.epochs_left_out > 0 {
        let left_out = counted(source.epochs_left_out, "epoch");
        let _ = writeln!(out, "  {left_out} before these not listed");
    }
    if let (Some(cap), None) = (&source.cap, &source.moved_to) {
        let _ = writeln!(out, "  every other epoch has {cap} left");
    }
}

fn of_task(task: &TaskReport) -> String {
    let mut text = format!("{} to {}", task.spent, named(task.name.as_ref(), &task.task));
    if let (Some(cap), Some(left)) = (&task.cap, &task.left) {
        let _ = write!(text, ", of its own cap of {cap}: {left} left");
    }
    text
}

fn named(name: Option<&String>, id: &str) -> String {
    name.map_or_else(|| id.to_owned(), |name| format!("{} ({id})", printable(name)))
}

fn write_windows(out: &mut String, source: &SourceReport) {
    if source.windows.is_empty() {
        return;
    }
    let mut rows = vec![["charged window from", "to", "epochs", "epsilon", "task"].map(str::to_owned)];
    for window in &source.windows {
        let epochs = match (window.first_epoch, window.last_epoch) {
            (Some(first), Some(last)) if first == last => first.to_string(),
            (Some(first), Some(last)) => format!("{first} to {last}"),
            _ => "?".to_owned(),
        };
        rows.push([
            window.from.clone(),
            window.to.clone(),
            epochs,
            window.epsilon_per_epoch.clone(),
            task_of(window),
        ]);
    }
    out.push('\n');
    write_rows(out, &rows, &[3]);
    if source.windows_left_out > 0 {
        let _ = writeln!(
            out,
            "  {} before these counted and not listed",
            counted(source.windows_left_out, "window")
        );
    }
}

fn task_of(window: &WindowReport) -> String {
    let task = named(window.name.as_ref(), &window.task);
    if window.answered { task } else { format!("{task}; paid for, its answer is not kept yet") }
}

/// Columns two blanks apart; those in `right` end below one another.
fn write_rows<const N: usize>(out: &mut String, rows: &[[String; N]], right: &[usize]) {
    let widths: Vec<usize> =
        (0..N).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if right.contains(&column) {
                write!(line, "  {cell:>width$}")
            } else {
                write!(line, "  {cell:<width$}")
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> BudgetReport {
        let task = |task: &str, name: Option<&str>, cap: Option<&str>, left: Option<&str>| TaskReport {
            task: task.to_owned(),
            name: name.map(str::to_owned),
            spent: "1.5".to_owned(),
            cap: cap.map(str::to_owned),
            left: left.map(str::to_owned),
        };
        let tasks = vec![
            task("AAAA", Some("conversions\u{202e}"), Some("2"), Some("0.5")),
            task("BBBB", None, None, None),
        ];
        let window = |from: &str, first, last, answered| WindowReport {
            task: "AAAA".to_owned(),
            name: Some("conversions".to_owned()),
            from: from.to_owned(),
            to: "2027-01-18T01:00:00Z".to_owned(),
            first_epoch: Some(first),
            last_epoch: Some(last),
            epsilon_per_epoch: "1.5".to_owned(),
            answered,
        };
        let epoch = EpochReport {
            epoch: 1,
            start: "2027-01-11T00:00:00Z".to_owned(),
            end: "2027-01-18T00:00:00Z".to_owned(),
            spent: "3".to_owned(),
            left: Some("7".to_owned()),
            tasks,
        };
        let source = SourceReport {
            source: "shop.example".to_owned(),
            collector: Some("advertiser".to_owned()),
            cap: Some("10".to_owned()),
            epoch_start: Some("2027-01-04T00:00:00Z".to_owned()),
            moved_to: None,
            epochs_left_out: 0,
            epochs: vec![epoch],
            windows: vec![
                window("2027-01-12T00:00:00Z", 1, 1, true),
                window("2027-01-17T23:00:00Z", 1, 2, false),
            ],
            windows_left_out: 3,
        };
        BudgetReport { role: "leader".to_owned(), sources: vec![source], disagreements: Vec::new() }
    }

    #[test]
    fn budgets_are_read_at_a_glance() {
        let expected = "\
leader (asked)

budget source shop.example of collector advertiser
  cap 10 epsilon in each epoch of 7 days; epoch 0 started at 2027-01-04T00:00:00Z

  epoch  from                  to                    spent  left  by task
      1  2027-01-11T00:00:00Z  2027-01-18T00:00:00Z      3     7  1.5 to conversions  (AAAA), of its own cap of 2: 0.5 left
                                                                  1.5 to BBBB
  every other epoch has 10 left

  charged window from   to                    epochs  epsilon  task
  2027-01-12T00:00:00Z  2027-01-18T01:00:00Z  1           1.5  conversions (AAAA)
  2027-01-17T23:00:00Z  2027-01-18T01:00:00Z  1 to 2      1.5  conversions (AAAA); paid for, its answer is not kept yet
  3 windows before these counted and not listed

";
        assert_eq!(table(&report(), "asked"), expected);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut report = report();
        report.disagreements.push("shop.example: in epoch 1".to_owned());
        report.sources[0].moved_to = Some("2027-01-05T00:00:00Z".to_owned());
        let text = table(&report, "read");
        assert!(text.contains("DISAGREE") && text.contains("\n  shop.example: in epoch 1\n"), "{text}");
        assert!(text.contains("until it is set back"), "{text}");
        report.sources[0].cap = None;
        assert!(table(&report, "read").contains("not in the configuration"));
        report.sources.clear();
        assert!(table(&report, "read").contains("nothing was ever spent"));
    }
}
