//! What a device does: it keeps impressions, attributes conversions to campaigns, makes encrypted
//! reports and uploads them. Impressions and attribution never leave it.
//!
//! [`attribution`] is the engine: W3C Attribution Level 1. [`device`] is the smaller one of apps that count last touches.
//!
//! Without the feature `upload` the crate has no async runtime, and does no I/O but that of
//! [`attribution::FileStore`] and [`files`].
#![forbid(unsafe_code)]

pub mod app;
pub mod attribution;
mod contributions;
pub mod device;
pub mod files;
mod impressions;
pub mod queue;
mod saved;
#[cfg(feature = "upload")]
pub mod upload;

pub use contributions::CONTRIBUTION_SECONDS;
pub use device::{Conversion, ConversionError, Device};
pub use impressions::{Bucket, Impressions, NOT_ATTRIBUTED};
