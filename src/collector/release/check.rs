//! Texts of a document that are numbers, names of keys or fixed words are held to that when it is read. Tables and
//! explanations put them into lines and sentences, and whoever made a file would choose what a line says.

use arras_protocol::policy::Mechanism;

use super::{Cell, ReadError, Release};

/// Longer than any scale or decimal of ours: two numbers of 64 bits.
const NUMBER_CHARACTERS_MAX: usize = 48;

/// Longer than an id or a key's name, which has 32 bytes in base64url.
const ID_CHARACTERS_MAX: usize = 64;

/// An error that names the field, unless all is well.
pub(in crate::collector) fn field(name: &'static str, well: bool) -> Result<(), ReadError> {
    if well { Ok(()) } else { Err(ReadError::Field(name)) }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `1` or `0.25`.
fn decimal(text: &str) -> bool {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    text.len() <= NUMBER_CHARACTERS_MAX && digits(whole) && digits(part)
}

/// `20/3`.
pub(in crate::collector) fn scale(text: &str) -> bool {
    text.len() <= NUMBER_CHARACTERS_MAX
        && text.split_once('/').is_some_and(|(above, below)| digits(above) && digits(below))
}

/// Base64url.
pub(in crate::collector) fn id(text: &str) -> bool {
    text.len() <= ID_CHARACTERS_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// `0.95`.
pub(in crate::collector) fn confidence(text: &str) -> bool {
    decimal(text) && text.starts_with("0.")
}

/// RFC 3339 in UTC, or seconds.
fn moment(text: &str) -> bool {
    text.len() <= NUMBER_CHARACTERS_MAX
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b'T' | b'Z'))
}

pub(in crate::collector) fn cell(cell: &Cell) -> Result<(), ReadError> {
    match cell {
        Cell::Shown(estimate) => field("standard_error", decimal(&estimate.standard_error)),
        Cell::Suppressed => Ok(()),
    }
}

impl Release {
    pub(super) fn check(&self) -> Result<(), ReadError> {
        field("task", id(&self.task))?;
        field("conversions", self.conversions.as_ref().is_none_or(|conversions| id(&conversions.task)))?;
        field("mechanism", self.policy.mechanism == Mechanism::DiscreteLaplace.name())?;
        field("noise", scale(&self.noise.leader) && scale(&self.noise.helper))?;
        field("confidence", confidence(&self.confidence))?;
        field("epsilon_per_epoch", decimal(&self.charge.epsilon_per_epoch))?;
        for epoch in self.charge.epochs.iter().flatten() {
            field("start", moment(&epoch.start))?;
            field("spent", epoch.spent.as_deref().is_none_or(decimal))?;
        }
        field("signing", self.keys.as_ref().is_none_or(|keys| id(&keys.signing)))?;
        self.buckets.iter().try_for_each(|bucket| cell(&bucket.cell))
    }
}
