//! What a device does: it keeps impressions, attributes conversions to campaigns, makes encrypted
//! reports and uploads them. Impressions and attribution never leave it.
//!
//! Without the feature `upload` the crate has no async runtime and does no I/O.
#![forbid(unsafe_code)]

pub mod attribution;
mod contributions;
pub mod device;
pub mod files;
pub mod queue;
mod saved;
#[cfg(feature = "upload")]
pub mod upload;

pub use attribution::{Bucket, Impressions, NOT_ATTRIBUTED};
pub use contributions::CONTRIBUTION_SECONDS;
pub use device::{Conversion, ConversionError, Device};
