//! The privacy policy that an Arras task is bound to.
//!
//! It is a task extension, so it is part of what a task's id is the hash of and of the associated
//! data of every sealed share: parties that disagree about it cannot open each other's reports.
//! That makes misconfiguration show at once. It is no protection from a dishonest aggregator, which
//! can open and then add less noise: there the guarantee rests on the honest one.

use std::num::NonZeroU32;

use crate::codec::{CodecError, Decode, Encode, Reader};
use crate::epsilon::{MICRO_PER_EPSILON, MicroEpsilon};

/// How the noise is distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Mechanism {
    /// Discrete Laplace of scale sensitivity / epsilon, which gives pure epsilon.
    DiscreteLaplace = 1,
}

impl Mechanism {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::DiscreteLaplace => "discrete Laplace",
        }
    }
}

/// What every release of a task's batches must do for the people in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrivacyPolicy {
    /// Distribution of the noise.
    pub mechanism: Mechanism,
    /// What one release of one batch spends.
    pub epsilon: MicroEpsilon,
    /// L1 change of the aggregate when one report is replaced; must equal what the VDAF implies.
    pub sensitivity: u64,
    /// k: how many reports one device may send to this task in any 7 days, however long windows
    /// are. The client enforces it; a release is charged for k of them in every epoch that its
    /// window touches.
    pub contributions: NonZeroU32,
    /// The smallest noised count that is shown.
    pub threshold: u64,
}

/// How many noise scales "cannot be noise any more" is away. A cell of a result carries two draws, one of each
/// aggregator; their sum is further from 0 than this with a chance of about 21 e^-40, below 10^-15. Yet it
/// is only some 5 bits wider than the noise itself.
pub const SLACK_SCALES: u128 = 40;

impl PrivacyPolicy {
    /// The version of the encoding.
    pub const VERSION: u8 = 1;

    /// [`SLACK_SCALES`] times the noise scale, rounded up: the bound for "cannot be noise any more".
    pub fn noise_slack(&self) -> u128 {
        // Below 2^6 * 2^64 * 2^20: no overflow.
        (SLACK_SCALES * u128::from(self.sensitivity) * u128::from(MICRO_PER_EPSILON))
            .div_ceil(u128::from(self.epsilon.get()))
    }
}

impl Encode for PrivacyPolicy {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(Self::VERSION);
        out.push(self.mechanism as u8);
        out.extend_from_slice(&self.epsilon.get().to_be_bytes());
        out.extend_from_slice(&self.sensitivity.to_be_bytes());
        out.extend_from_slice(&self.contributions.get().to_be_bytes());
        out.extend_from_slice(&self.threshold.to_be_bytes());
    }
}

impl Decode for PrivacyPolicy {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        if reader.u8("policy.version")? != Self::VERSION {
            return Err(CodecError::Invalid { field: "policy.version", reason: "only version 1 is known" });
        }
        if reader.u8("policy.mechanism")? != Mechanism::DiscreteLaplace as u8 {
            return Err(CodecError::Invalid {
                field: "policy.mechanism",
                reason: "only discrete_laplace(1) is known",
            });
        }
        let epsilon = MicroEpsilon::from_micro(reader.u32("policy.epsilon")?)
            .map_err(|_| CodecError::Invalid { field: "policy.epsilon", reason: "must not be 0" })?;
        let sensitivity = reader.u64("policy.sensitivity")?;
        let contributions = NonZeroU32::new(reader.u32("policy.contributions")?)
            .ok_or(CodecError::Invalid { field: "policy.contributions", reason: "must not be 0" })?;
        let threshold = reader.u64("policy.threshold")?;
        Ok(Self { mechanism: Mechanism::DiscreteLaplace, epsilon, sensitivity, contributions, threshold })
    }
}
