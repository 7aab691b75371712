//! Noise: discrete Laplace of an exact rational scale.
//!
//! Every aggregator adds the full noise of a release to its own share, so that
//! one honest aggregator suffices. The scale is a ratio of integers and the
//! sampler is exact, so that no rounding weakens the guarantee.

use std::fmt::{self, Display, Formatter};

use arras_protocol::epsilon::MICRO_PER_EPSILON;
pub use arras_protocol::epsilon::{EpsilonError, MicroEpsilon};
use dashu::{
    integer::{IBig, UBig},
    rational::RBig,
};
use opendp::traits::samplers::sample_discrete_laplace;

// A binary that can leave out its noise must not be releasable by accident.
#[cfg(all(feature = "test-noise", not(debug_assertions)))]
compile_error!(
    "the feature `test-noise` replaces the privacy noise by fixed numbers and is refused \
     in a build without debug assertions: build the release without it"
);

/// The largest scale that is accepted, 2^60. Noise of that size drowns any count;
/// the bound keeps interval half-widths within `u64` and samples far inside `i128`.
pub const MAX_SCALE: u64 = 1 << 60;

/// Why there is no noise. No noise means no release: callers must not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoiseError {
    /// A sample beyond `i128`, which chance does not explain. The value stays unsaid.
    #[error(
        "a noise sample does not fit 128 bits, so nothing was released; try again, then check the sampler"
    )]
    OutOfRange,
    /// The sampler failed, in practice for lack of randomness from the operating system.
    #[error(
        "the noise could not be sampled, so nothing was released: {reason}; check the system's randomness"
    )]
    Sampler {
        /// What the sampler said.
        reason: String,
    },
    /// A scale above [`MAX_SCALE`].
    #[error(
        "sensitivity {l1_sensitivity} at epsilon {epsilon} needs noise of a scale above 2^60; \
         raise epsilon or lower the sensitivity"
    )]
    ScaleTooLarge {
        /// The epsilon that was asked for.
        epsilon: MicroEpsilon,
        /// The L1 sensitivity that was asked for.
        l1_sensitivity: u64,
    },
    /// A sensitivity of zero would mean no noise at all.
    #[error("the L1 sensitivity is 0, which would mean no noise; give the one that the VDAF implies")]
    ZeroSensitivity,
}

/// The scale of discrete Laplace noise: sensitivity / epsilon, exactly.
///
/// Noise X of scale s has P[X = k] = (1-a)/(1+a) a^|k| with a = e^(-1/s).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    exact: RBig,
    // The same number in lowest terms; both fit u128 by construction.
    numerator: u128,
    denominator: u128,
}

impl Scale {
    /// The scale that makes a vector of L1 sensitivity `l1_sensitivity` (in units
    /// of the counted thing, at least 1) epsilon-private.
    pub fn new(l1_sensitivity: u64, epsilon: MicroEpsilon) -> Result<Self, NoiseError> {
        if l1_sensitivity == 0 {
            return Err(NoiseError::ZeroSensitivity);
        }
        // Below 2^64 * 2^20 and below 2^32 * 2^60: no overflow.
        let scaled = u128::from(l1_sensitivity) * u128::from(MICRO_PER_EPSILON);
        let divisor = u128::from(epsilon.get());
        if scaled > divisor * u128::from(MAX_SCALE) {
            return Err(NoiseError::ScaleTooLarge { epsilon, l1_sensitivity });
        }
        let common = greatest_common_divisor(scaled, divisor);
        let (numerator, denominator) = (scaled / common, divisor / common);
        let exact = RBig::from_parts(IBig::from(numerator), UBig::from(denominator));
        Ok(Self { exact, numerator, denominator })
    }

    /// The numerator in lowest terms, at least 1.
    pub fn numerator(&self) -> u128 {
        self.numerator
    }

    /// The denominator in lowest terms, at least 1.
    pub fn denominator(&self) -> u128 {
        self.denominator
    }
}

impl Display for Scale {
    /// The exact decimal number if it is finite (`0.4`), otherwise the fraction (`20/3`).
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut odd_part = self.denominator;
        for prime in [2, 5] {
            while odd_part.is_multiple_of(prime) {
                odd_part /= prime;
            }
        }
        if odd_part != 1 {
            return write!(f, "{}/{}", self.numerator, self.denominator);
        }
        write!(f, "{}", self.numerator / self.denominator)?;
        let mut rest = self.numerator % self.denominator;
        if rest > 0 {
            f.write_str(".")?;
        }
        // Long division; it ends after 31 digits at the most, as the denominator is below 2^32.
        while rest > 0 {
            rest *= 10;
            write!(f, "{}", rest / self.denominator)?;
            rest %= self.denominator;
        }
        Ok(())
    }
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Where noise comes from.
///
/// A contract, because everything rests on it: samples are independent of each
/// other and of anything else, follow the discrete Laplace distribution of
/// `scale` exactly, and are not reproducible by anyone. A source that cannot
/// promise a sample returns an error; it never returns a weaker one.
pub trait NoiseSource: Send {
    /// Draws one sample.
    fn discrete_laplace(&mut self, scale: &Scale) -> Result<i128, NoiseError>;
}

/// OpenDP's exact sampler, the one source of a release build.
///
/// Its generator is ChaCha20 seeded by the operating system (the thread's
/// generator of rand 0.7) and cannot be passed in, which is why there is a trait
/// around it. It is not constant time: how long a sample takes depends on its
/// value. Noise is therefore never drawn inside a timed request.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpendpNoise;

impl NoiseSource for OpendpNoise {
    fn discrete_laplace(&mut self, scale: &Scale) -> Result<i128, NoiseError> {
        let sample = sample_discrete_laplace(scale.exact.clone())
            .map_err(|error| NoiseError::Sampler { reason: error.to_string() })?;
        fit(sample)
    }
}

/// Fails closed: a sample that had to be cut would be weaker noise.
pub(super) fn fit(sample: IBig) -> Result<i128, NoiseError> {
    i128::try_from(sample).map_err(|_| NoiseError::OutOfRange)
}

/// Draws noise for a vector: exactly `cells` samples, or an error.
///
/// It sees no data, so how often and in which order it draws cannot depend on
/// any. One failed draw fails the whole vector.
pub fn noise_vector(
    source: &mut dyn NoiseSource,
    scale: &Scale,
    cells: usize,
) -> Result<Vec<i128>, NoiseError> {
    (0..cells).map(|_| source.discrete_laplace(scale)).collect()
}

#[cfg(any(test, feature = "test-noise"))]
pub use for_tests::{FixedNoise, NoNoise, TEST_NOISE_MARKER};

/// Sources that protect nobody, for tests that count. They exist in this crate's
/// own unit tests and with the feature `test-noise`, which does not compile
/// without debug assertions: no release binary contains them.
#[cfg(any(test, feature = "test-noise"))]
mod for_tests {
    use std::fmt::{self, Debug, Formatter};

    use super::{NoiseError, NoiseSource, Scale};

    /// Every binary built with `test-noise` contains this string and no release
    /// binary does, so that a search of the binary's bytes tells them apart.
    /// `used` keeps it where nothing prints it.
    #[used]
    pub static TEST_NOISE_MARKER: &str = "ARRAS-TEST-NOISE-SOURCE";

    /// Adds nothing.
    #[derive(Clone, Copy, Default)]
    pub struct NoNoise;

    impl NoiseSource for NoNoise {
        fn discrete_laplace(&mut self, _scale: &Scale) -> Result<i128, NoiseError> {
            Ok(0)
        }
    }

    impl Debug for NoNoise {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            write!(f, "NoNoise({TEST_NOISE_MARKER})")
        }
    }

    /// Hands out given numbers again and again, and remembers what it was asked.
    #[derive(Clone)]
    pub struct FixedNoise {
        values: Vec<i128>,
        asked: Vec<Scale>,
    }

    impl FixedNoise {
        /// Cycles through `values`; without any, every draw fails.
        pub fn new(values: Vec<i128>) -> Self {
            Self { values, asked: Vec::new() }
        }

        /// The scale of each draw so far, in order.
        pub fn asked(&self) -> &[Scale] {
            &self.asked
        }
    }

    impl NoiseSource for FixedNoise {
        fn discrete_laplace(&mut self, scale: &Scale) -> Result<i128, NoiseError> {
            let turn = self.asked.len().checked_rem(self.values.len());
            self.asked.push(scale.clone());
            let value = turn.and_then(|turn| self.values.get(turn)).copied();
            value.ok_or_else(|| NoiseError::Sampler { reason: "no fixed numbers were given".to_owned() })
        }
    }

    impl Debug for FixedNoise {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            write!(f, "FixedNoise({TEST_NOISE_MARKER}, {} draws)", self.asked.len())
        }
    }
}
