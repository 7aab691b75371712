//! Output shares, their sums, and the proof that a sum carries noise.
//!
//! One share alone is uniformly random and says nothing about any measurement;
//! together with the other aggregator's it says everything. `Debug` therefore prints
//! lengths only, and comparison takes constant time.

use super::scheme::{SEED_LEN, StateInner};
use super::{Part, VdafConfig, VdafError};
use prio::field::{Field64, Field128, FieldElement, FieldElementWithInteger, NttFriendlyFieldElement};
use prio::vdaf::prio3::Prio3VerifyState;
use std::fmt;
use subtle::ConstantTimeEq;

/// One aggregator's share of one verified report.
#[derive(Clone, PartialEq, Eq)]
pub struct OutputShare(Elements);

/// One aggregator's share of a sum of reports.
///
/// It can be stored and read back, but it must not leave the aggregator: only
/// [`Noised`] shares are for the collector.
#[derive(Clone, PartialEq, Eq)]
pub struct AggregateShare(Elements);

/// A value to which noise was added. The field is private and
/// [`AggregateShare::add_noise`] is the only constructor, so a function that takes a
/// `Noised<AggregateShare>` cannot be handed an exact sum. Sealing to the collector
/// is such a function; the service's release gate is the one caller of `add_noise`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noised<T>(T);

impl OutputShare {
    pub(super) fn new<F: WireField>(elements: &[F]) -> Self {
        Self(F::wrap(elements.to_vec()))
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are no cells, which no configuration allows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The field elements, little endian (VDAF-18 section 6.1).
    pub fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }
}

impl fmt::Debug for OutputShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputShare").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl AggregateShare {
    /// The share of no reports.
    pub fn zero(config: &VdafConfig) -> Self {
        let len = config.output_len();
        Self(match config {
            VdafConfig::Count => Elements::F64(vec![Field64::zero(); len]),
            VdafConfig::Histogram { .. } | VdafConfig::L1BoundSum { .. } => {
                Elements::F128(vec![Field128::zero(); len])
            }
        })
    }

    /// Adds a report.
    pub fn accumulate(&mut self, output_share: &OutputShare) -> Result<(), VdafError> {
        self.0.add(&output_share.0)
    }

    /// Adds the reports of another share.
    pub fn merge(&mut self, other: &Self) -> Result<(), VdafError> {
        self.0.add(&other.0)
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are no cells, which no configuration allows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The field elements, little endian (VDAF-18 section 6.1).
    pub fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    /// Reads what [`AggregateShare::encode`] writes. Another number of cells and any
    /// element that is not smaller than the field's modulus are errors.
    pub fn decode(config: &VdafConfig, bytes: &[u8]) -> Result<Self, VdafError> {
        let mut share = Self::zero(config);
        share.0.read(bytes).ok_or(VdafError::Malformed(Part::AggregateShare))?;
        Ok(share)
    }

    /// Adds one noise term to each cell, modulo the field; exact, negative terms too.
    ///
    /// The share is gone afterwards, error or not: an exact share must not be left
    /// beside a noised one. Nothing is added unless every term fits.
    pub fn add_noise(mut self, noise: &[i128]) -> Result<Noised<Self>, VdafError> {
        self.0.add_integers(noise)?;
        Ok(Noised(self))
    }

    /// The share's cells as integers from 0 to the modulus, and the modulus.
    pub(super) fn into_integers(self) -> (Vec<u128>, u128) {
        fn integers<F: WireField>(elements: &[F]) -> (Vec<u128>, u128) {
            (elements.iter().map(|element| element.to_u128()).collect(), F::modulus_u128())
        }
        match self.0 {
            Elements::F64(elements) => integers(&elements),
            Elements::F128(elements) => integers(&elements),
        }
    }
}

impl fmt::Debug for AggregateShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateShare").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Noised<AggregateShare> {
    /// The bytes to seal to the collector (DAP-18 section 4.6.7).
    pub fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }
}

/// Half of the field, rounded down: the largest number whose negative is told apart.
pub(super) fn half_of_field(config: &VdafConfig) -> u128 {
    let modulus = match config {
        VdafConfig::Count => Field64::modulus_u128(),
        VdafConfig::Histogram { .. } | VdafConfig::L1BoundSum { .. } => Field128::modulus_u128(),
    };
    modulus / 2
}

/// A vector over the field that the configuration's VDAF uses.
#[derive(Clone)]
pub(super) enum Elements {
    F64(Vec<Field64>),
    F128(Vec<Field128>),
}

impl Elements {
    fn len(&self) -> usize {
        match self {
            Self::F64(elements) => elements.len(),
            Self::F128(elements) => elements.len(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::F64(elements) => encode(elements),
            Self::F128(elements) => encode(elements),
        }
    }

    fn add(&mut self, other: &Self) -> Result<(), VdafError> {
        match (self, other) {
            (Self::F64(left), Self::F64(right)) => add(left, right),
            (Self::F128(left), Self::F128(right)) => add(left, right),
            _ => Err(VdafError::ConfigMismatch),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        match self {
            Self::F64(elements) => read(elements, bytes),
            Self::F128(elements) => read(elements, bytes),
        }
    }

    fn add_integers(&mut self, integers: &[i128]) -> Result<(), VdafError> {
        match self {
            Self::F64(elements) => add_integers(elements, integers),
            Self::F128(elements) => add_integers(elements, integers),
        }
    }
}

impl PartialEq for Elements {
    /// Constant time in the elements; the field and the length are no secrets.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::F64(left), Self::F64(right)) => left.ct_eq(right).into(),
            (Self::F128(left), Self::F128(right)) => left.ct_eq(right).into(),
            _ => false,
        }
    }
}

impl Eq for Elements {}

fn encode<F: FieldElement>(elements: &[F]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(elements.len() * F::ENCODED_SIZE);
    for element in elements {
        // Cannot fail: it writes a field element to a vector.
        element.encode(&mut bytes).expect("a field element has an encoding");
    }
    bytes
}

fn add<F: FieldElement>(left: &mut [F], right: &[F]) -> Result<(), VdafError> {
    if left.len() != right.len() {
        return Err(VdafError::ConfigMismatch);
    }
    for (left, right) in left.iter_mut().zip(right) {
        *left += *right;
    }
    Ok(())
}

fn read<F: FieldElement>(elements: &mut [F], bytes: &[u8]) -> Option<()> {
    if bytes.len() != elements.len() * F::ENCODED_SIZE {
        return None;
    }
    for (element, bytes) in elements.iter_mut().zip(bytes.chunks_exact(F::ENCODED_SIZE)) {
        // prio refuses a number that is not below the modulus.
        *element = F::get_decoded(bytes).ok()?;
    }
    Some(())
}

fn add_integers<F: WireField>(elements: &mut [F], integers: &[i128]) -> Result<(), VdafError> {
    if integers.len() != elements.len() {
        return Err(VdafError::NoiseLength { got: integers.len(), want: elements.len() });
    }
    // All terms before any addition: an error must not leave a share noised in part.
    let reduced: Vec<F> = integers
        .iter()
        .enumerate()
        .map(|(cell, integer)| F::from_i128(*integer).ok_or(VdafError::NoiseTooLarge { cell }))
        .collect::<Result<_, _>>()?;
    add(elements, &reduced)
}

/// The fields that our VDAFs compute in, as far as dispatch needs to tell them apart.
pub(super) trait WireField: NttFriendlyFieldElement + Send + Sync {
    fn wrap(elements: Vec<Self>) -> Elements;
    fn wrap_state(state: Prio3VerifyState<Self, SEED_LEN>) -> StateInner;
    fn unwrap_state(state: StateInner) -> Option<Prio3VerifyState<Self, SEED_LEN>>;
    fn to_u128(self) -> u128;
    /// `None` unless the number is below the modulus.
    fn from_u128(integer: u128) -> Option<Self>;
    fn modulus_u128() -> u128;

    /// `None` unless the absolute value is below half of the modulus.
    fn from_i128(integer: i128) -> Option<Self> {
        let absolute = integer.unsigned_abs();
        // The modulus is odd: at most its half rounded down means below its half.
        if absolute > Self::modulus_u128() / 2 {
            return None;
        }
        let element = Self::from_u128(absolute)?;
        Some(if integer < 0 { -element } else { element })
    }
}

impl WireField for Field64 {
    fn wrap(elements: Vec<Self>) -> Elements {
        Elements::F64(elements)
    }

    fn wrap_state(state: Prio3VerifyState<Self, SEED_LEN>) -> StateInner {
        StateInner::F64(state)
    }

    fn unwrap_state(state: StateInner) -> Option<Prio3VerifyState<Self, SEED_LEN>> {
        match state {
            StateInner::F64(state) => Some(state),
            StateInner::F128(_) => None,
        }
    }

    fn to_u128(self) -> u128 {
        u64::from(self).into()
    }

    fn from_u128(integer: u128) -> Option<Self> {
        let integer = u64::try_from(integer).ok()?;
        (integer < Self::modulus()).then(|| Self::from(integer))
    }

    fn modulus_u128() -> u128 {
        Self::modulus().into()
    }
}

impl WireField for Field128 {
    fn wrap(elements: Vec<Self>) -> Elements {
        Elements::F128(elements)
    }

    fn wrap_state(state: Prio3VerifyState<Self, SEED_LEN>) -> StateInner {
        StateInner::F128(state)
    }

    fn unwrap_state(state: StateInner) -> Option<Prio3VerifyState<Self, SEED_LEN>> {
        match state {
            StateInner::F128(state) => Some(state),
            StateInner::F64(_) => None,
        }
    }

    fn to_u128(self) -> u128 {
        u128::from(self)
    }

    fn from_u128(integer: u128) -> Option<Self> {
        (integer < Self::modulus()).then(|| Self::from(integer))
    }

    fn modulus_u128() -> u128 {
        Self::modulus()
    }
}
