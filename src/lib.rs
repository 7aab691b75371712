//! The service `arras`: private conversion measurement by two aggregators.
#![forbid(unsafe_code)]

pub mod config;
pub mod net;
