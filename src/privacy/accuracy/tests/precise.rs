//! The distribution of noise by brute force, in whole numbers of 320 bits after the point.
//!
//! No float is in here, no closed form and no contour: e^(-1/scale) is its series, and adding a variable is a
//! convolution, done as two passes of a recursive filter. Every step rounds off less than 2^-319, so tails down to
//! 10^-70 are right to 20 digits, and a probability can be compared with a rational number exactly.

use dashu::base::Approximation;
use dashu::integer::UBig;

/// Bits after the point.
const BITS: usize = 320;

/// More of them for the series, since squaring a number 40 times loses 40 bits.
const GUARD: usize = 64;

/// How many scales beyond the last number that is asked for the grid reaches: e^-120 is 10^-52 of it.
const SCALES_BEYOND: u64 = 120;

pub(super) fn one() -> UBig {
    UBig::ONE << BITS
}

/// e^(-numerator/denominator), for exponents up to some hundred.
pub(super) fn exp_neg(numerator: u128, denominator: u128) -> UBig {
    let mut halvings = 0_usize;
    while numerator > denominator << halvings {
        halvings += 1;
    }
    let (numerator, denominator) = (UBig::from(numerator), UBig::from(denominator) << halvings);
    let mut term = UBig::ONE << (BITS + GUARD);
    let (mut plus, mut minus) = (UBig::ZERO, UBig::ZERO);
    let mut n = 0_u32;
    while term > UBig::ZERO {
        if n.is_multiple_of(2) {
            plus += &term;
        } else {
            minus += &term;
        }
        n += 1;
        term = term * &numerator / (&denominator * UBig::from(n));
    }
    let mut power = plus - minus;
    for _ in 0..halvings {
        power = (&power * &power) >> (BITS + GUARD);
    }
    power >> GUARD
}

/// a * b.
pub(super) fn times(a: &UBig, b: &UBig) -> UBig {
    (a * b) >> BITS
}

/// a / b.
pub(super) fn over(a: &UBig, b: &UBig) -> UBig {
    (a << BITS) / b
}

pub(super) fn to_f64(value: &UBig) -> f64 {
    let value = match value.to_f64() {
        Approximation::Exact(value) | Approximation::Inexact(value, _) => value,
    };
    value / (2.0_f64).powi(320)
}

/// The distribution of a sum of independent discrete Laplace variables.
pub(super) struct Precise {
    /// P[Z = k] for k from 0, which is P[Z = -k] too.
    masses: Vec<UBig>,
    /// P[Z >= k], up to what is off the grid.
    tails: Vec<UBig>,
}

impl Precise {
    /// Of so many draws of each scale (numerator, denominator), good for numbers up to `most`.
    pub(super) fn of(draws: &[(u128, u128, u64)], most: u64) -> Self {
        let widest = draws.iter().map(|(n, d, _)| n.div_ceil(*d)).max().unwrap_or(1);
        let reach = most + SCALES_BEYOND * u64::try_from(widest).expect("a scale of a test") + 10;
        let reach = usize::try_from(reach).expect("a grid of a test");
        let mut masses = vec![UBig::ZERO; 2 * reach + 1];
        masses[reach] = one();
        for (numerator, denominator, draws) in draws {
            let a = exp_neg(*denominator, *numerator);
            let rest = one() - &a;
            for _ in 0..*draws {
                filter(masses.iter_mut(), &a, &rest);
                filter(masses.iter_mut().rev(), &a, &rest);
            }
        }
        let masses = masses.split_off(reach);
        let mut tails = masses.clone();
        for k in (0..reach).rev() {
            let next = tails[k + 1].clone();
            tails[k] += next;
        }
        Self { masses, tails }
    }

    /// The noise of one cell: two draws.
    pub(super) fn of_cell((numerator, denominator): (u128, u128), most: u64) -> Self {
        Self::of(&[(numerator, denominator, 2)], most)
    }

    /// P[Z = k].
    pub(super) fn mass(&self, k: i64) -> &UBig {
        &self.masses[index(k.unsigned_abs())]
    }

    /// P[Z >= t] for t >= 0.
    pub(super) fn tail(&self, t: u64) -> &UBig {
        &self.tails[index(t)]
    }

    /// How far the grid goes.
    pub(super) fn reach(&self) -> i64 {
        i64::try_from(self.masses.len()).expect("a grid of a test") - 1
    }

    /// P[low <= Z <= high].
    pub(super) fn between(&self, low: i64, high: i64) -> UBig {
        (low..=high).map(|k| self.mass(k)).fold(UBig::ZERO, |sum, mass| sum + mass)
    }
}

/// y[k] = a y[k-1] + (1-a) x[k].
fn filter<'a>(masses: impl Iterator<Item = &'a mut UBig>, a: &UBig, rest: &UBig) {
    let mut last = UBig::ZERO;
    for mass in masses {
        last = times(a, &last) + times(rest, mass);
        mass.clone_from(&last);
    }
}

fn index(k: u64) -> usize {
    usize::try_from(k).expect("a number of a test")
}

/// The reference itself: e^-1 to 80 digits (any table), and one draw against its definition in rational numbers.
#[test]
fn the_brute_force_is_right() {
    let digits = "36787944117144232159552377016146086744581113103176783450783680169746149574489980";
    let e = one() * UBig::from_str_radix(digits, 10).expect("digits") / UBig::from(10_u32).pow(80);
    let difference = |a: &UBig, b: &UBig| if a > b { a - b } else { b - a };
    assert!(difference(&exp_neg(1, 1), &e) < UBig::ONE << (BITS - 260));
    assert!(difference(&exp_neg(3 << 60, 1 << 60), &times(&times(&e, &e), &e)) < UBig::ONE << (BITS - 258));
    // One draw: (1-a)/(1+a) a^|k|.
    let draw = Precise::of(&[(3, 2, 1)], 100);
    let a = exp_neg(2, 3);
    let middle = over(&(one() - &a), &(one() + &a));
    for k in [0, 1, 7, 60] {
        let exact = times(&middle, &exp_neg(2 * k, 3));
        let mass = draw.mass(i64::try_from(k).expect("small"));
        assert!(difference(mass, &exact) < UBig::ONE << 40, "{k}");
    }
    // All of it is 1.
    let all = draw.between(-draw.reach(), draw.reach());
    assert!(difference(&all, &one()) < UBig::ONE << (BITS - 200));
}
