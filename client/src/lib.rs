//! What a device does: it keeps impressions, attributes conversions to campaigns, makes encrypted
//! reports and uploads them. Impressions and attribution never leave it.
//!
//! [`app`] is what an app embeds; [`attribution`] is its engine: W3C Attribution Level 1.
//!
//! Without the feature `upload` the crate has no async runtime, and does no I/O but that of
//! [`attribution::FileStore`] and [`files`].
#![forbid(unsafe_code)]

pub mod app;
pub mod attribution;
mod contributions;
pub mod files;
#[cfg(test)]
mod fixture;
pub mod queue;
#[cfg(feature = "upload")]
pub mod upload;

pub use contributions::CONTRIBUTION_SECONDS;
