//! Dispatch: one object-safe trait over the instances of Prio3, and [`Vdaf`] on top.

use super::measurement::{self, Measurement, Sharded, ToPrio};
use super::share::{OutputShare, WireField};
use super::{NONCE_LEN, Part, Step, VERIFY_KEY_LEN, VdafConfig, VdafError};
use prio::codec::{Decode, Encode, ParameterizedDecode};
use prio::field::{Field64, Field128, FieldElement};
use prio::flp::Type;
use prio::flp::gadgets::{Mul, ParallelSum};
use prio::flp::types::{Count, Histogram, L1BoundSum};
use prio::topology::ping_pong::{PingPongError, PingPongMessage, PingPongState, PingPongTopology};
use prio::vdaf::Client;
use prio::vdaf::prio3::{Prio3, Prio3InputShare, Prio3PublicShare, Prio3VerifyState};
use prio::vdaf::xof::XofTurboShake128;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroize;

/// Length of a seed in bytes (VDAF-18 section 6.2.1). The helper's share is one
/// seed, or two with joint randomness.
pub(super) const SEED_LEN: usize = 32;

/// Aggregators of a task: leader and helper.
const AGGREGATORS: u8 = 2;

/// Proofs in a report: one, as in every type of Prio3 that has a number (VDAF-18 section 7.4).
const PROOFS: u8 = 1;

/// The leader's and the helper's aggregator id (VDAF-18 section 5.7).
const LEADER: usize = 0;
const HELPER: usize = 1;

/// A VDAF ready to run. Cheap to clone and to share between threads.
#[derive(Clone)]
pub struct Vdaf {
    config: VdafConfig,
    scheme: Arc<dyn Scheme>,
}

impl fmt::Debug for Vdaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vdaf").field(&self.config).finish()
    }
}

/// What the leader remembers of a report between its request and the helper's
/// answer. Not stored: after a restart, `leader_init` on the same report with the
/// same key gives the same state and the same message.
#[derive(Clone)]
pub struct LeaderState {
    config: VdafConfig,
    inner: StateInner,
}

impl fmt::Debug for LeaderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderState").field("config", &self.config).finish_non_exhaustive()
    }
}

/// prio's state, by field. Only [`WireField`] looks inside.
#[derive(Clone)]
pub(super) enum StateInner {
    F64(Prio3VerifyState<Field64, SEED_LEN>),
    F128(Prio3VerifyState<Field128, SEED_LEN>),
}

impl Vdaf {
    /// Checks the configuration and prepares the VDAF.
    pub fn new(config: VdafConfig) -> Result<Self, VdafError> {
        config.validate()?;
        Ok(Self { config, scheme: build(&config)? })
    }

    /// The configuration this VDAF was made from.
    pub fn config(&self) -> &VdafConfig {
        &self.config
    }

    /// Splits a measurement (VDAF-18 section 5.1). `nonce` is the report id, `ctx` is
    /// "dap-18" and the task id (DAP-18 section 4.4.2.1).
    ///
    /// The one function of this package that draws randomness by itself: prio takes
    /// it from the operating system's generator and its API has no way to pass it in.
    pub fn shard(
        &self,
        ctx: &[u8],
        measurement: &Measurement,
        nonce: &[u8; NONCE_LEN],
    ) -> Result<Sharded, VdafError> {
        self.scheme.shard(&self.config, ctx, measurement, nonce)
    }

    /// The leader's first step (`ping_pong_leader_init`, DAP-18 section 4.5.3.1).
    /// Returns what to remember and the encoded message for the helper.
    pub fn leader_init(
        &self,
        verify_key: &[u8; VERIFY_KEY_LEN],
        ctx: &[u8],
        nonce: &[u8; NONCE_LEN],
        public_share: &[u8],
        input_share: &[u8],
    ) -> Result<(LeaderState, Vec<u8>), VdafError> {
        let report = ReportShare { verify_key, ctx, nonce, public_share, input_share };
        let (inner, outbound) = self.scheme.leader_init(&report)?;
        Ok((LeaderState { config: self.config, inner }, outbound))
    }

    /// The helper's only step (`ping_pong_helper_init`, DAP-18 section 4.5.3.2).
    /// Returns its output share and the encoded answer. The share may be
    /// accumulated if the report can be committed; the leader needs the answer.
    pub fn helper_init(
        &self,
        verify_key: &[u8; VERIFY_KEY_LEN],
        ctx: &[u8],
        nonce: &[u8; NONCE_LEN],
        public_share: &[u8],
        input_share: &[u8],
        inbound: &[u8],
    ) -> Result<(OutputShare, Vec<u8>), VdafError> {
        let report = ReportShare { verify_key, ctx, nonce, public_share, input_share };
        self.scheme.helper_init(&report, inbound)
    }

    /// The leader's last step (`ping_pong_leader_continued`, DAP-18 section 4.5.3.1, after the response).
    pub fn leader_finish(
        &self,
        ctx: &[u8],
        state: LeaderState,
        inbound: &[u8],
    ) -> Result<OutputShare, VdafError> {
        if state.config != self.config {
            return Err(VdafError::ConfigMismatch);
        }
        self.scheme.leader_finish(ctx, state.inner, inbound)
    }

    /// Exact length of an encoded public share in bytes.
    pub fn public_share_len(&self) -> usize {
        self.scheme.public_share_len()
    }

    /// Exact length of the leader's encoded input share in bytes.
    pub fn leader_share_len(&self) -> usize {
        self.scheme.leader_share_len()
    }

    /// Exact length of the helper's encoded input share in bytes.
    pub fn helper_share_len(&self) -> usize {
        self.scheme.helper_share_len()
    }
}

/// What one aggregator holds of a report, and what it verifies it with.
pub(super) struct ReportShare<'a> {
    verify_key: &'a [u8; VERIFY_KEY_LEN],
    ctx: &'a [u8],
    nonce: &'a [u8; NONCE_LEN],
    public_share: &'a [u8],
    input_share: &'a [u8],
}

/// One instance of Prio3, bytes in and bytes out.
pub(super) trait Scheme: Send + Sync {
    fn shard(
        &self,
        config: &VdafConfig,
        ctx: &[u8],
        measurement: &Measurement,
        nonce: &[u8; NONCE_LEN],
    ) -> Result<Sharded, VdafError>;
    fn leader_init(&self, report: &ReportShare<'_>) -> Result<(StateInner, Vec<u8>), VdafError>;
    fn helper_init(
        &self,
        report: &ReportShare<'_>,
        inbound: &[u8],
    ) -> Result<(OutputShare, Vec<u8>), VdafError>;
    fn leader_finish(&self, ctx: &[u8], state: StateInner, inbound: &[u8]) -> Result<OutputShare, VdafError>;
    fn public_share_len(&self) -> usize;
    fn leader_share_len(&self) -> usize;
    fn helper_share_len(&self) -> usize;
}

/// The instance that `config` names. The parameters' ranges are checked before
/// ([`VdafConfig::validate`]); what prio refuses beyond them is [`VdafError::Internal`].
pub(super) fn build(config: &VdafConfig) -> Result<Arc<dyn Scheme>, VdafError> {
    type Sum = ParallelSum<Field128, Mul>;
    let id = config.vdaf_type();
    match *config {
        VdafConfig::Count => instance(id, Ok(Count::<Field64>::new()), measurement::count),
        VdafConfig::Histogram { length, chunk_length } => {
            let flp = Histogram::<Field128, Sum>::new(length as usize, chunk_length as usize);
            instance(id, flp, measurement::bucket)
        }
        VdafConfig::L1BoundSum { length, max_value, chunk_length } => {
            let flp =
                L1BoundSum::<Field128, Sum>::new(max_value.into(), length as usize, chunk_length as usize);
            instance(id, flp, measurement::vector)
        }
    }
}

fn instance<T>(
    id: u32,
    flp: Result<T, prio::flp::FlpError>,
    to_prio: ToPrio<T::Measurement>,
) -> Result<Arc<dyn Scheme>, VdafError>
where
    T: Type + Send + Sync + 'static,
    T::Field: WireField,
    T::Measurement: Zeroize,
{
    let flp = flp.map_err(internal)?;
    let prio3 = Prio3::new(AGGREGATORS, PROOFS, id, flp.clone()).map_err(internal)?;
    Ok(Arc::new(Instance { prio3, flp, to_prio }))
}

struct Instance<T: Type> {
    prio3: Prio3<T, XofTurboShake128, SEED_LEN>,
    /// The same circuit as inside `prio3`, which does not tell the lengths of its parts.
    flp: T,
    to_prio: ToPrio<T::Measurement>,
}

impl<T> Instance<T>
where
    T: Type,
    T::Field: WireField,
{
    fn seeds_len(&self, with_joint_randomness: usize) -> usize {
        if self.flp.joint_rand_len() > 0 { with_joint_randomness * SEED_LEN } else { 0 }
    }

    fn decode(
        &self,
        report: &ReportShare<'_>,
        aggregator: usize,
    ) -> Result<(Prio3PublicShare<SEED_LEN>, Prio3InputShare<T::Field, SEED_LEN>), VdafError> {
        let public = Prio3PublicShare::get_decoded_with_param(&self.prio3, report.public_share)
            .map_err(|_| VdafError::Malformed(Part::PublicShare))?;
        let input = Prio3InputShare::get_decoded_with_param(&(&self.prio3, aggregator), report.input_share)
            .map_err(|_| VdafError::Malformed(Part::InputShare))?;
        Ok((public, input))
    }
}

impl<T> Scheme for Instance<T>
where
    T: Type + Send + Sync,
    T::Field: WireField,
    T::Measurement: Zeroize,
{
    fn shard(
        &self,
        config: &VdafConfig,
        ctx: &[u8],
        measurement: &Measurement,
        nonce: &[u8; NONCE_LEN],
    ) -> Result<Sharded, VdafError> {
        let measurement = measurement::checked(self.to_prio, config, measurement)?;
        let (public, inputs) = self.prio3.shard(ctx, &measurement, nonce).map_err(internal)?;
        let [leader, helper] = inputs.as_slice() else {
            return Err(VdafError::Internal(format!("{} input shares", inputs.len())));
        };
        Ok(Sharded {
            public_share: public.get_encoded().map_err(internal)?,
            leader_share: leader.get_encoded().map_err(internal)?,
            helper_share: helper.get_encoded().map_err(internal)?,
        })
    }

    fn leader_init(&self, report: &ReportShare<'_>) -> Result<(StateInner, Vec<u8>), VdafError> {
        let (public, input) = self.decode(report, LEADER)?;
        let ReportShare { verify_key, ctx, nonce, .. } = *report;
        let continued = self
            .prio3
            .leader_initialized(verify_key, ctx, &(), nonce, &public, &input)
            .map_err(|error| rejected(&error))?;
        let outbound = continued.message.get_encoded().map_err(internal)?;
        Ok((T::Field::wrap_state(continued.verifier_state), outbound))
    }

    fn helper_init(
        &self,
        report: &ReportShare<'_>,
        inbound: &[u8],
    ) -> Result<(OutputShare, Vec<u8>), VdafError> {
        let (public, input) = self.decode(report, HELPER)?;
        let inbound = decode_message(inbound)?;
        let ReportShare { verify_key, ctx, nonce, .. } = *report;
        let state = self
            .prio3
            .helper_initialized(verify_key, ctx, &(), nonce, &public, &input, &inbound)
            .and_then(|continuation| continuation.evaluate(ctx, &self.prio3))
            .map_err(|error| rejected(&error))?;
        match state {
            PingPongState::FinishedWithOutbound { output_share, message } => {
                Ok((OutputShare::new(output_share.as_ref()), message.get_encoded().map_err(internal)?))
            }
            // One round: the helper always ends with an answer to send.
            _ => Err(VdafError::Internal("the helper needs another round".to_owned())),
        }
    }

    fn leader_finish(&self, ctx: &[u8], state: StateInner, inbound: &[u8]) -> Result<OutputShare, VdafError> {
        let state = T::Field::unwrap_state(state).ok_or(VdafError::ConfigMismatch)?;
        let inbound = decode_message(inbound)?;
        let state = self
            .prio3
            .leader_continued(ctx, &(), state, &inbound)
            .and_then(|continuation| continuation.evaluate(ctx, &self.prio3))
            .map_err(|error| rejected(&error))?;
        match state {
            PingPongState::Finished { output_share } => Ok(OutputShare::new(output_share.as_ref())),
            // One round: the helper's answer is the last message.
            _ => Err(VdafError::Internal("the leader needs another round".to_owned())),
        }
    }

    fn public_share_len(&self) -> usize {
        self.seeds_len(usize::from(AGGREGATORS))
    }

    fn leader_share_len(&self) -> usize {
        let elements = self.flp.input_len() + self.flp.proof_len() * usize::from(PROOFS);
        elements * T::Field::ENCODED_SIZE + self.seeds_len(1)
    }

    fn helper_share_len(&self) -> usize {
        SEED_LEN + self.seeds_len(1)
    }
}

fn decode_message(bytes: &[u8]) -> Result<PingPongMessage, VdafError> {
    PingPongMessage::get_decoded(bytes).map_err(|_| VdafError::Malformed(Part::Message))
}

/// Sorts prio's errors into "does not decode" and "rejected at this step". A message
/// of the wrong kind (an `initialize` where `finish` is due) does not decode as what
/// this step takes.
fn rejected(error: &PingPongError) -> VdafError {
    let (step, reason) = match error {
        PingPongError::VdafVerifyInit(reason) => (Step::VerifyInit, reason),
        PingPongError::VdafVerifierSharesToMessage(reason) => (Step::VerifierSharesToMessage, reason),
        PingPongError::VdafVerifyNext(reason) => (Step::VerifyNext, reason),
        PingPongError::CodecVerifierShare(_)
        | PingPongError::CodecVerifierMessage(_)
        | PingPongError::PeerMessageMismatch { .. } => return VdafError::Malformed(Part::Message),
        other => return internal(other),
    };
    VdafError::Rejected { step, reason: reason.to_string() }
}

fn internal(error: impl fmt::Display) -> VdafError {
    VdafError::Internal(error.to_string())
}
