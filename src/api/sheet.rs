//! Tables as CSV (RFC 4180): what opens in a spreadsheet, and does nothing there but be read.

use std::borrow::Cow;

use super::refusal::Refusal;
use crate::text::{csv_cell, csv_writer};

/// A table that is being written: a header, then rows.
pub(super) struct Sheet {
    writer: csv::Writer<Vec<u8>>,
}

/// A cell.
pub(super) enum Cell<'a> {
    /// A text that somebody chose: it may look like a formula, and is then kept from being one.
    Text(&'a str),
    /// A number, a date or an id of ours.
    Plain(Cow<'a, str>),
    /// Nothing.
    Empty,
}

impl<'a> Cell<'a> {
    /// Something of ours.
    pub(super) fn plain(text: &'a str) -> Self {
        Self::Plain(Cow::Borrowed(text))
    }

    /// Something of ours, if it is there.
    pub(super) fn of(value: Option<impl ToString>) -> Self {
        value.map_or(Self::Empty, |value| Self::Plain(Cow::Owned(value.to_string())))
    }
}

impl Sheet {
    /// A table with this header.
    pub(super) fn new(header: &[&str]) -> Result<Self, Refusal> {
        let mut writer = csv_writer();
        writer.write_record(header).map_err(|error| Refusal::internal(&error))?;
        Ok(Self { writer })
    }

    /// A row; it has as many cells as the header.
    pub(super) fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), Refusal> {
        let cells = cells.iter().map(|cell| match cell {
            Cell::Text(text) => csv_cell(text),
            Cell::Plain(text) => Cow::Borrowed(text.as_ref()),
            Cell::Empty => Cow::Borrowed(""),
        });
        for cell in cells {
            self.writer.write_field(cell.as_bytes()).map_err(|error| Refusal::internal(&error))?;
        }
        self.writer.write_record(None::<&[u8]>).map_err(|error| Refusal::internal(&error))
    }

    /// The whole table.
    pub(super) fn finish(self) -> Result<Vec<u8>, Refusal> {
        self.writer.into_inner().map_err(|error| Refusal::internal(error.error()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_no_formulas_and_numbers_stay_numbers() {
        let mut sheet = Sheet::new(&["name", "number"]).unwrap();
        sheet.row(&[Cell::Text("=1+1"), Cell::of(Some(-3))]).unwrap();
        sheet.row(&[Cell::Text("a \"b\", c"), Cell::Empty]).unwrap();
        let text = String::from_utf8(sheet.finish().unwrap()).unwrap();
        assert_eq!(text, "name,number\r\n'=1+1,-3\r\n\"a \"\"b\"\", c\",\r\n");
    }
}
