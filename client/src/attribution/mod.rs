//! W3C Attribution Level 1 on a device, without a browser: impressions are saved, conversions attributed to them, and
//! budgets spent, all of it locally; what leaves is an encrypted report.
//!
//! Source: w3c/attribution, commit 9fab4e8, `api.bs`; quoted headings and algorithms are its. Where it slips, what is
//! meant is done, and the places are listed in the crate's README.
//!
//! # How to embed it
//! 1. [`Engine::open`] with a [`Config`] (aggregation services by their URL, limits, budgets) and a [`Storage`]:
//!    [`FileStore`] keeps the state through crashes, [`MemoryStore`] forgets it.
//! 2. When an ad is shown: [`Engine::save_impression`] with [`ImplicitInputs`] (the site where it is shown and the time)
//!    and [`ImpressionOptions`].
//! 3. When somebody converts: [`Engine::measure_conversion`] with the conversion site, the time and
//!    [`ConversionOptions`] gives a [`Measured`], of which [`Measured::report`] makes the report of the standard's
//!    own task; [`Engine::measure_conversion_report`] does both. An app that reports to other tasks takes the cells
//!    from [`Measured::histogram`] and makes its own report of them.
//! 4. Now and then: [`Engine::maintain`]. When the person asks: [`Engine::set_enabled`],
//!    [`Engine::clear_browsing_history`], [`Engine::impressions`], [`Engine::budgets`].
//!
//! Browsers ask [`Activation`] before 2 and 3, and serve `Clear-Site-Data` with
//! [`Engine::clear_impressions_for_site`]. An app is its own site: its developer's domain.
//!
//! There is no clock and no generator inside: times come with the inputs, draws from [`Randomness`] (for example
//! `Uniform(rand::rng())`). What a conversion spends is durable before its histogram is handed out. An engine is owned
//! by one thread at a time, which makes the standard's "attribution budget lock".

mod activation;
mod budget;
mod codec;
mod credit;
mod engine;
mod error;
mod file;
mod moment;
mod options;
#[cfg(any(test, feature = "replay"))]
pub mod replay;
mod report;
mod site;
mod state;
mod storage;

pub use activation::{Activation, Feature};
pub(crate) use budget::largest_deduction;
pub(crate) use engine::SingleEpoch;
pub use engine::{BudgetLeft, Engine, Measured, Outcome, Randomness, Uniform};
pub use error::AttributionError;
pub use file::FileStore;
pub use moment::{EpochIndex, Moment};
pub use options::{
    AggregationService, Config, ConversionOptions, ImplicitInputs, ImpressionOptions, MAX_EPSILON, Protocol,
};
pub use report::{DapService, ReportError, Reported};
pub use site::Site;
pub use state::{Change, Impression, MAX_BUDGET_ROWS, MAX_IMPRESSIONS};
pub use storage::{MemoryStore, Storage, StorageError};

/// The cell of a task's histogram for conversions that no impression led to. They make a report like all others, so that
/// the existence of a report says nothing about ads.
pub const NOT_ATTRIBUTED: u32 = 0;
