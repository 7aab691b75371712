//! Two aggregators and a collector over real HTTP. One binary: it links once.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that panics has failed")]
#![allow(clippy::duplicate_mod, reason = "the client's examples share a file")]
#![allow(unreachable_pub, missing_docs, reason = "one binary, nothing is exported")]

mod advertisers;
mod api;
mod backpressure;
mod bad_input;
mod browser;
mod budget;
mod cli;
mod console_attacks;
mod demo_console;
mod devices;
mod flows;
mod forged;
mod harness;
mod load;
mod operations;
mod plan;
mod processes;
mod releases;
mod requests;
mod restarts;
mod runbook;
mod tidy;
mod uploads;
mod values;
mod what_leaves;
