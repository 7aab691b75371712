//! The service `arras`: private conversion measurement by two aggregators.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod net;
