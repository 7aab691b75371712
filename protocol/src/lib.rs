//! DAP-18 with Prio3 as Arras speaks it: everything that travels, and what protects it.
//!
//! No I/O, no clock, no runtime: every function takes the time, the randomness and the bytes that it
//! works on, so that a client on a phone, two aggregators and an auditor run the same code. The
//! README of this crate is the protocol written for auditors; `vectors/` holds test vectors.
#![forbid(unsafe_code)]

pub mod codec;
pub mod codepoints;
pub mod collection;
mod crypto;
pub mod epsilon;
pub mod hpke;
pub mod manifest;
pub mod messages;
pub mod policy;
pub mod report;
pub mod signed;
pub mod task;
pub mod vdaf;
pub mod verification;

#[cfg(test)]
mod flow_tests;
#[cfg(test)]
mod vector_tests;
