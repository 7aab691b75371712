//! What stands between a sum over people and its publication: noise, the budget
//! ledger, the display threshold, and the intervals that tell a reader how far
//! off a noised number can be.
//!
//! Everything up to and including the noise is integers and exact rationals.
//! Floats appear only in [`accuracy`], which describes numbers already noised.

pub mod accuracy;
pub mod gate;
pub mod ledger;
pub mod noise;
pub mod threshold;

#[cfg(test)]
mod ledger_tests;
#[cfg(test)]
mod noise_tests;
#[cfg(test)]
mod trap_tests;
