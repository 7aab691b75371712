//! `arras release sum`: asks the running collector for a sum.

use std::fmt::Write as _;
use std::io::Write;

use arras_protocol::messages::TaskId;
use axum::http::StatusCode;

use crate::cli::Failure;
use crate::cli::console::{self, Console};
use crate::collector::{Moment, Signature, Span, Sum, how_summed, sum_table};

/// How a sum is printed.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) json: bool,
    pub(super) signed: bool,
    pub(super) explain: bool,
}

pub(super) fn run(
    args: &console::Args,
    task: TaskId,
    (from, to): (Moment, Moment),
    campaigns: &[String],
    form: Form,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let range = console::span(from, to)?;
    let console = Console::new(args)?;
    let signed = if form.signed { "/signed" } else { "" };
    let path = format!("v1/tasks/{task}/sums{signed}?{}", query(range, campaigns));
    let reply = Console::block_on(console.get(&path))??;
    if reply.status != StatusCode::OK {
        return Err(console.refusal(&reply).into());
    }
    if form.json || form.signed {
        out.write_all(&reply.body)?;
        writeln!(out)?;
        return Ok(());
    }
    let sum = Sum::from_json(&reply.body).map_err(|error| console::unreadable(&error))?;
    write!(out, "{}", sum_table(&sum))?;
    if form.explain {
        writeln!(out, "\nHow these numbers were made\n")?;
        write!(out, "{}", how_summed(&sum, Signature::Unchecked))?;
    }
    Ok(())
}

/// Percent-encoded, since names of campaigns may hold anything.
fn query(range: Span, campaigns: &[String]) -> String {
    let mut query = format!("from={}&to={}", range.from().seconds(), range.to().seconds());
    for campaign in campaigns {
        query.push_str("&campaign=");
        for byte in campaign.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
                query.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(query, "%{byte:02X}");
            }
        }
    }
    query
}
