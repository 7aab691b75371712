//! Prio3 as Arras uses it: two aggregators, one round, one dispatching type.
//!
//! [`Vdaf`] runs the instance that a task names by its [`VdafConfig`]; everything
//! that crosses the wire goes in and comes out as bytes. The names follow VDAF-18
//! section 5.7.1 ("ping-pong topology"), on which DAP-18 section 4.5.3
//! is built: `leader_init` sends an `initialize` message, `helper_init` answers
//! with `finish`, `leader_finish` takes that answer.
//!
//! A type of Prio3 is added by a variant of [`VdafConfig`], a line in
//! `scheme::build` and a function that turns a [`Measurement`] into prio's.
//!
//! What the types rule out:
//! - a share of one configuration added to a share of another ([`AggregateShare`]);
//! - sealing a share that has no noise: only [`Noised`] shares are for the collector;
//! - reading a wrapped sum as a huge count: [`unshard()`] knows signs and ranges.

mod config;
mod measurement;
mod scheme;
mod share;
mod unshard;

#[cfg(test)]
mod forgery_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod sensitivity_tests;
#[cfg(test)]
mod vector_tests;

pub use config::{
    MAX_L1_VALUE, MAX_LEADER_SHARE_LEN, MAX_LENGTH, MIN_HISTOGRAM_LENGTH, VDAF_COUNT, VDAF_HISTOGRAM,
    VDAF_L1_BOUND_SUM, VdafConfig,
};
pub use measurement::{Measurement, Sharded};
pub use scheme::{LeaderState, Vdaf};
pub use share::{AggregateShare, Noised, OutputShare};
pub use unshard::{fits_field, unshard};

use std::fmt;

/// Length of a verification key in bytes (VDAF-18 section 7.1, XofTurboShake128).
pub const VERIFY_KEY_LEN: usize = 32;

/// Length of a nonce in bytes. DAP's report id is the nonce (DAP-18 section 4.5.3.1).
pub const NONCE_LEN: usize = 16;

/// What failed, and by whose fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VdafError {
    /// The task names a VDAF that this build does not run.
    #[error("VDAF type {0} is not supported: use 1 (Prio3Count), 4 (Prio3Histogram) or 7 (Prio3L1BoundSum)")]
    UnknownType(u32),
    /// The task's VDAF configuration is too short or too long for its type.
    #[error("the configuration of VDAF type {vdaf_type} has {got} bytes, {want} are needed")]
    ConfigLength {
        /// VDAF type, as in the task.
        vdaf_type: u32,
        /// Bytes found.
        got: usize,
        /// Bytes the type's encoding has.
        want: usize,
    },
    /// A parameter of the configuration is outside what we accept.
    #[error("the VDAF's {name} is {value}: choose a number from {min} to {max}")]
    ConfigRange {
        /// The parameter, as the specifications spell it.
        name: &'static str,
        /// What the configuration says.
        value: u64,
        /// Smallest number accepted.
        min: u64,
        /// Largest number accepted.
        max: u64,
    },
    /// Each parameter is fine, but one report would be too large.
    #[error(
        "a report's leader share would have {len} bytes, more than {max}: use fewer cells, a smaller \
         max_value or a better chunk_length"
    )]
    ShareTooLong {
        /// Bytes of the leader's input share.
        len: usize,
        /// [`MAX_LEADER_SHARE_LEN`].
        max: usize,
    },
    /// The caller's measurement does not fit the task. The text names the range,
    /// never the measurement.
    #[error("the measurement does not fit the task: {0}")]
    Measurement(String),
    /// Bytes of a peer or a client do not decode; who sent them is at fault.
    #[error("{0} does not decode")]
    Malformed(Part),
    /// Verification ended in the state Rejected (VDAF-18 section 5.7): the client
    /// cheated, or a peer did not follow the protocol.
    #[error("the report was rejected in {step}: {reason}")]
    Rejected {
        /// Where verification stopped.
        step: Step,
        /// prio's words; they carry no secret.
        reason: String,
    },
    /// Shares or states of different configurations were mixed: a bug of the caller.
    #[error("shares of different VDAF configurations cannot be combined")]
    ConfigMismatch,
    /// The noise has another length than the share: a bug of the caller.
    #[error("{got} noise terms were given for {want} cells")]
    NoiseLength {
        /// Terms given.
        got: usize,
        /// Cells of the share.
        want: usize,
    },
    /// A noise term is not smaller than half the field and could not be undone.
    #[error("the noise of cell {cell} does not fit the field: use a larger epsilon or a smaller maximum")]
    NoiseTooLarge {
        /// Index of the cell, from 0.
        cell: usize,
    },
    /// True sum and noise together could wrap around the field.
    #[error("{reports} reports with their noise may exceed the VDAF's field: collect smaller batches")]
    FieldTooSmall {
        /// Reports in the batch.
        reports: u64,
    },
    /// A cell is further from every possible sum than noise can carry it: one of
    /// the aggregate shares is wrong.
    #[error(
        "cell {cell} of the aggregate is outside every possible range: an aggregate share is wrong or \
         belongs to another batch"
    )]
    CellOutOfRange {
        /// Index of the cell, from 0.
        cell: usize,
    },
    /// prio refused what was checked before: a bug of ours.
    #[error("prio refused a checked input: {0}")]
    Internal(String),
}

impl VdafError {
    /// True if bytes did not decode (DAP's `invalid_message`), false if they did
    /// and the report failed verification (`vdaf_verify_error`).
    ///
    /// DAP-18 section 4.5.3.4 asks for `invalid_message` where an input share does
    /// not decode. A ping-pong message that does not decode counts as malformed
    /// here too, but by section 4.5.3.2 it is a `vdaf_verify_error` (the state is
    /// `Rejected`): tell it by [`Part::Message`].
    pub fn is_malformed(&self) -> bool {
        matches!(self, Self::Malformed(_))
    }
}

/// The thing that did not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// An aggregate share, sent by an aggregator.
    AggregateShare,
    /// An input share, made by the client.
    InputShare,
    /// A ping-pong message, sent by the other aggregator.
    Message,
    /// The public share, made by the client.
    PublicShare,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AggregateShare => "the aggregate share",
            Self::InputShare => "the input share",
            Self::Message => "the verification message",
            Self::PublicShare => "the public share",
        })
    }
}

/// The step of verification that rejected a report, by VDAF-18's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// `verify_init`: an aggregator's own share.
    VerifyInit,
    /// `verifier_shares_to_message`: the proof, checked over both verifier shares.
    VerifierSharesToMessage,
    /// `verify_next`: the joint randomness.
    VerifyNext,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VerifyInit => "verify_init",
            Self::VerifierSharesToMessage => "verifier_shares_to_message",
            Self::VerifyNext => "verify_next",
        })
    }
}
