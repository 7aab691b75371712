//! Insights: what an advertiser asks of its numbers, in the words of an ads manager: impressions, clicks, spend,
//! conversions, value, cost per conversion, return on spend; by campaign, kind of event, and day, week or range.
//!
//! Delivery numbers (impressions, clicks, spend) are exact. Conversions and values are noised, and a number made of
//! them says how far off it can be, or why it is not there. Three rules hold for every noised number here:
//!
//! - A sum is of all noised cells that it covers, never of those alone that their releases show: what noise made small
//!   would be missing, and the sum too large.
//! - Its interval and its threshold come from the exact noise of all these cells, as in sums of the collector.
//! - What is computed from it and from spend (cost per conversion, return on spend) takes spend and conversions of the
//!   same days, and is left out where it would mislead.

mod answer;
mod coverage;
mod days;
mod facts;
mod lane;
mod measure;
mod money;
mod noises;
mod numbers;
mod period;
mod query;
mod row;
mod service;
mod shelf;
mod spent;
mod table;

pub use answer::{Books, Delivery, answer};
pub use coverage::Listed;
pub use facts::{Entry, FactError, Facts, Terms};
pub use measure::{Measure, NullReason, Number, Suppression, Unit};
pub use money::Rate;
pub use noises::{NOISES_MAX, Noises};
pub use query::{
    Field, FieldSet, Granularity, Level, QUERY_DAYS_DEFAULT, QUERY_DAYS_MAX, QUERY_ROWS_MAX, Query,
    QueryError, last_day,
};
pub use service::Insights;
pub use table::{Coverage, Missing, MissingWhy, Row, Table};

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
