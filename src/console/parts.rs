//! What pages are made of: tables, cards, empty states, buttons.

use maud::{Markup, Render, html};

use super::icons;
use crate::insights::Row;

/// A column of a [`Table`].
#[derive(Clone, Debug)]
pub struct Column {
    label: String,
    numeric: bool,
    sort: Option<Sort>,
}

/// Where a click on a column's head leads.
#[derive(Clone, Debug)]
pub struct Sort {
    /// The same page, sorted by this column; the other way round if it is already.
    pub href: String,
    /// Which way the table is sorted by it, if it is.
    pub descending: Option<bool>,
}

impl Column {
    /// Of text.
    pub fn text(label: impl Into<String>) -> Self {
        Self { label: label.into(), numeric: false, sort: None }
    }

    /// Of numbers, which end at the right.
    pub fn number(label: impl Into<String>) -> Self {
        Self { label: label.into(), numeric: true, sort: None }
    }

    /// Sortable.
    #[must_use]
    pub fn sorted(mut self, sort: Sort) -> Self {
        self.sort = Some(sort);
        self
    }
}

/// A table with a caption and a head, which becomes a card for each row on a phone. The first cell of a row names it. Roles are
/// written out, since browsers take a table's meaning away when a style sheet lays it out as anything else.
#[derive(Clone, Debug)]
pub struct Table {
    caption: Markup,
    unseen: bool,
    columns: Vec<Column>,
    rows: Vec<Vec<Markup>>,
    foot: Option<Vec<Markup>>,
}

impl Table {
    /// A table with a caption.
    pub fn new(caption: impl Render, columns: Vec<Column>) -> Self {
        Self { caption: html! { (caption) }, unseen: false, columns, rows: Vec::new(), foot: None }
    }

    /// With a caption for screen readers only, where a heading says it already.
    #[must_use]
    pub fn unseen_caption(mut self) -> Self {
        self.unseen = true;
        self
    }

    /// Adds a row; a cell for each column.
    pub fn row(&mut self, cells: Vec<Markup>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// The row of totals.
    pub fn foot(&mut self, cells: Vec<Markup>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.foot = Some(cells);
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn head(&self) -> Markup {
        html! {
            thead role="rowgroup" {
                tr role="row" {
                    @for column in &self.columns {
                        th role="columnheader" scope="col" class=[column.numeric.then_some("num")]
                            aria-sort=[column.sort.as_ref().and_then(|sort| sort.descending).map(direction)] {
                            @if let Some(sort) = &column.sort {
                                a href=(sort.href) { (column.label) (icons::sorting(sort.descending)) }
                            } @else {
                                (column.label)
                            }
                        }
                    }
                }
            }
        }
    }

    fn cells(&self, cells: &[Markup]) -> Markup {
        html! {
            tr role="row" {
                @for (index, (cell, column)) in cells.iter().zip(&self.columns).enumerate() {
                    @if index == 0 {
                        th role="rowheader" scope="row" { (cell) }
                    } @else {
                        td role="cell" class=[column.numeric.then_some("num")] data-label=(column.label) {
                            div { (cell) }
                        }
                    }
                }
            }
        }
    }
}

impl Render for Table {
    fn render(&self) -> Markup {
        html! {
            div class="table" {
                div class="table-scroll" {
                    table class="cardy" role="table" {
                        caption class=[self.unseen.then_some("unseen")] { (self.caption) }
                        (self.head())
                        tbody role="rowgroup" { @for row in &self.rows { (self.cells(row)) } }
                        @if let Some(foot) = &self.foot { tfoot role="rowgroup" { (self.cells(foot)) } }
                    }
                }
            }
        }
    }
}

fn direction(descending: bool) -> &'static str {
    if descending { "descending" } else { "ascending" }
}

/// An empty place: what is not here yet, why, and what to do for it.
pub fn empty(title: &str, text: impl Render, actions: impl Render) -> Markup {
    html! {
        div class="empty" {
            (icons::loom())
            h2 { (title) }
            p { (text) }
            div class="actions" { (actions) }
        }
    }
}

/// One number of an overview, with what stands below it.
pub fn card(label: &str, big: impl Render, below: impl Render) -> Markup {
    html! {
        div class="card" {
            dt { (label) }
            dd {
                span class="big" { (big) }
                span class="small" { (below) }
            }
        }
    }
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Neither good nor bad.
    Plain,
    /// Fine.
    Good,
    /// Waiting, or to be looked at.
    Wait,
    /// Failed or refused.
    Bad,
    /// Worth knowing.
    Info,
}

/// A word about how something stands. The colour says nothing that the word does not.
pub fn badge(tone: Tone, word: impl Render) -> Markup {
    let class = match tone {
        Tone::Plain => "badge",
        Tone::Good => "badge badge-good",
        Tone::Wait => "badge badge-wait",
        Tone::Bad => "badge badge-bad",
        Tone::Info => "badge badge-info",
    };
    html! { span class=(class) { (word) } }
}

/// A mark beside delivery numbers that nobody measured.
pub fn invented() -> Markup {
    html! { span class="invented" { "invented" } }
}

/// Below an exact number: that it is, or that nobody measured it.
pub fn exactness(row: &Row) -> Markup {
    html! { @if row.invented { (invented()) } @else { "exact" } }
}

/// A number with its interval as a small bar, on a scale from 0 to `most`.
pub fn interval_bar(low: f64, estimate: f64, high: f64, most: f64) -> Markup {
    let most = if most > 0.0 { most } else { 1.0 };
    let at = |value: f64| (value / most).clamp(0.0, 1.0) * 100.0;
    let (low, estimate, high) = (at(low), at(estimate), at(high));
    // A reach that is too narrow to be seen is drawn two hundredths wide, as the mark is.
    let width = (high - low).max(2.0);
    html! {
        svg class="interval" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect class="track" x="0" y="4" width="100" height="4" rx="2" {}
            rect class="reach" x=(tenths(low.min(98.0))) y="3" width=(tenths(width)) height="6" rx="1" {}
            rect class="mark" x=(tenths((estimate - 1.0).clamp(0.0, 98.0))) y="0" width="2" height="12" rx="1" {}
        }
    }
}

/// A coordinate with one decimal.
fn tenths(value: f64) -> String {
    format!("{value:.1}")
}

/// Links to the pages of a list before and after this one.
pub fn pager(what: &str, before: Option<&str>, after: Option<&str>) -> Markup {
    html! {
        @if before.is_some() || after.is_some() {
            nav class="pager" aria-label=(format!("Pages of {what}")) {
                span { @if let Some(before) = before { a class="button quiet" rel="prev" href=(before) { "Before" } } }
                span { @if let Some(after) = after { a class="button quiet" rel="next" href=(after) { "Next" } } }
            }
        }
    }
}

/// A text field of a form, with its label, a hint and what is wrong with it.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The name in the form.
    pub name: &'a str,
    /// The id in the page, where it has to be another than the name.
    pub id: &'a str,
    /// What a browser may fill it in with, as in HTML's `autocomplete`; nothing is said if it is left out.
    pub fill: Option<&'a str>,
    /// What people read.
    pub label: &'a str,
    /// The input's type.
    pub kind: &'a str,
    /// What is in it.
    pub value: &'a str,
    /// A sentence below it.
    pub hint: Option<&'a str>,
    /// What is wrong with it.
    pub problem: Option<&'a str>,
    /// Whether it must be filled in.
    pub required: bool,
}

impl<'a> Field<'a> {
    /// A field that must be filled in.
    pub fn new(name: &'a str, label: &'a str, kind: &'a str, value: &'a str) -> Self {
        Self { name, id: name, fill: None, label, kind, value, hint: None, problem: None, required: true }
    }

    /// One that may stay empty.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// With another id than its name, since a page may have several forms.
    #[must_use]
    pub fn id(mut self, id: &'a str) -> Self {
        self.id = id;
        self
    }

    /// With what a browser may fill it in with, such as `current-password`.
    #[must_use]
    pub fn fill(mut self, fill: &'a str) -> Self {
        self.fill = Some(fill);
        self
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: &'a str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// With what is wrong with it.
    #[must_use]
    pub fn problem(mut self, problem: Option<&'a str>) -> Self {
        self.problem = problem;
        self
    }
}

/// The ids of a field's hint and problem, for `aria-describedby`.
pub fn described_by(name: &str, hint: bool, problem: bool) -> Option<String> {
    let ids: Vec<String> = [(hint, "hint"), (problem, "problem")]
        .into_iter()
        .filter(|(there, _)| *there)
        .map(|(_, what)| format!("{name}-{what}"))
        .collect();
    if ids.is_empty() { None } else { Some(ids.join(" ")) }
}

impl Render for Field<'_> {
    fn render(&self) -> Markup {
        let described = described_by(self.id, self.hint.is_some(), self.problem.is_some());
        html! {
            div class="field" {
                label for=(self.id) { (self.label) @if !self.required { " " span class="soft" { "(optional)" } } }
                input id=(self.id) name=(self.name) type=(self.kind) value=(self.value) required[self.required]
                    autocomplete=[self.fill]
                    aria-describedby=[described] aria-invalid=[self.problem.map(|_| "true")];
                @if let Some(hint) = self.hint { p class="hint" id=(format!("{}-hint", self.id)) { (hint) } }
                @if let Some(problem) = self.problem {
                    p class="problem" id=(format!("{}-problem", self.id)) { (problem) }
                }
            }
        }
    }
}

/// A choice of a form: value and what people read of each.
pub fn select(
    name: &str,
    label: &str,
    options: &[(String, String)],
    chosen: &str,
    hint: Option<&str>,
) -> Markup {
    html! {
        div class="field" {
            label for=(name) { (label) }
            select id=(name) name=(name) aria-describedby=[described_by(name, hint.is_some(), false)] {
                @for (value, text) in options { option value=(value) selected[value == chosen] { (text) } }
            }
            @if let Some(hint) = hint { p class="hint" id=(format!("{name}-hint")) { (hint) } }
        }
    }
}
