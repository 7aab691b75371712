//! Arras: private conversion measurement. Two aggregators count conversions per campaign without
//! either seeing a report, and add noise before anyone sees a count.
#![forbid(unsafe_code)]

// What can put a disk or a network in memory in the place of the real ones must not be releasable by accident.
#[cfg(all(feature = "test-seams", not(debug_assertions)))]
compile_error!(
    "the feature `test-seams` lets disks and networks fail on purpose and is refused in a build without debug \
     assertions: build the release without it"
);

pub mod access;
pub mod advertising;
pub mod aggregator;
pub mod api;
pub mod cli;
pub mod collector;
pub mod config;
pub mod console;
pub mod insights;
pub mod metrics;
pub mod net;
mod operations;
mod places;
pub mod planner;
pub mod privacy;
pub mod registry;
pub mod schedule;
pub mod service;
pub mod store;
pub mod tasks;
mod text;
mod turns;
