//! x
pub mod epsilon;
