//! The tail of a sum of any number of discrete Laplace variables of any scales.
//!
//! One variable of scale 1/x has the generating function M(z) = (1-a)^2 / ((1-az)(1-a/z)), a = e^-x, and a sum
//! of independent ones the product. Its tail is a contour integral (Cauchy's formula, summed over k >= t),
//!
//! P[Z >= t] = 1/(2 pi i) * integral of prod M_j(z)^(n_j) * z^-t / (z-1) dz,
//!
//! on any curve that leaves 0, 1 and every a_j to its left and every 1/a_j to its right. With v = z^(1/2) - z^(-1/2)
//! and v_j = 2 sinh(x_j/2) the poles are at plus and minus v_j, and the integral becomes
//!
//! integral of prod (1 - v^2/v_j^2)^(-n_j) * e^(-(2t-1) asinh(v/2)) / (v sqrt(1 + v^2/4)) dv.
//!
//! It falls as |v|^-(2t+2) at least, so the curve may be open at infinity. Here it crosses the real axis at the
//! integrand's saddle and opens to the right as a hyperbola, between the directions in which one of the two factors
//! grows. There the trapezoidal rule converges geometrically: halving the step squares the error. So a tail costs
//! about two hundred evaluations, however large the scales and however many the variables; nothing is tabulated,
//! binned or cut off. (Such contours: Weideman and Trefethen, Math. Comp. 76, 2007; the saddle: Lugannani and Rice,
//! Adv. Appl. Prob. 12, 1980.)
//!
//! What is left is rounding, some 10^-16 for each unit of the integrand's logarithm: relative to the tail itself and
//! not to 1, so that small tails are as exact as large ones.

/// Independent variables of one scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Group {
    /// 1/scale, above 0.
    pub(super) inverse: f64,
    /// How many variables.
    pub(super) draws: f64,
}

/// How far the hyperbola bends: its asymptotes rise at 68 degrees. The powers of M of many variables stay small above
/// 45 degrees, the exponential below 90: this is the middle.
const BEND: f64 = 0.4;

/// The step of the trapezoidal rule. Around the curve the integrand is well-behaved for an angle of 22 degrees, or
/// 0.39: the error is e^(-2 pi 0.39/STEP) = 10^-25 times what the integrand grows within that angle, which is less
/// than 10^7 for tails down to 10^-50.
const STEP: f64 = 1.0 / 24.0;

/// Terms below this part of the largest no longer count.
const NEGLIGIBLE: f64 = 1e-18;

/// The integrand falls as e^-4u at least once it is away from the poles, at the latest at u = 42 for scales of
/// 2^60: this is never reached.
const STEPS_MAX: u32 = 64 * 24;

/// The inverse scale from which noise is treated as that of this scale, outward: at 1/200 a draw is not 0 once in
/// 10^86, and e^200 still squares within a float.
const INVERSE_MAX: f64 = 200.0;

/// P[Z >= t] for t >= 1. Without groups Z is 0.
pub(super) fn upper_tail(groups: &[Group], t: f64) -> f64 {
    let clamped = |group: &Group| Group { inverse: group.inverse.min(INVERSE_MAX), ..*group };
    let groups: Vec<Group> = groups.iter().map(clamped).collect();
    let Some(least) = groups.iter().map(|group| group.inverse).reduce(f64::min) else { return 0.0 };
    let integrand = Integrand { groups: groups.iter().map(Pole::of).collect(), t };
    let saddle = saddle(&groups, least, t);
    // Where the curve crosses the axis, and how far that is from the nearest pole on its right.
    let left = 2.0 * (saddle / 2.0).sinh();
    let right = 4.0 * ((least + saddle) / 4.0).cosh() * ((least - saddle) / 4.0).sinh();
    let width = (left / (1.0 + BEND)).min(right);
    let (scale, first) = integrand.at(Complex(left, 0.0));
    // On the axis the integrand is real and the curve goes straight up: half of the first term.
    let mut largest = width * first.0;
    let mut sum = 0.5 * largest;
    for step in 1..STEPS_MAX {
        let u = f64::from(step) * STEP;
        let (sinh, cosh) = (u.sinh(), u.cosh());
        let v = Complex(left + width * BEND * (cosh - 1.0), width * sinh);
        let (log, direction) = integrand.at(v);
        let Complex(re, im) = direction.times(Complex(width * BEND * sinh, width * cosh));
        let size = (log - scale).exp();
        sum += size * im;
        let size = size * re.hypot(im);
        if size < NEGLIGIBLE * largest {
            break;
        }
        largest = largest.max(size);
    }
    (scale.exp() * STEP / std::f64::consts::PI * sum).clamp(0.0, 1.0)
}

/// Where ln M(e^y) - t y - ln(1 - e^-y) is least for y between 0 and `least`: there the curve crosses the real axis.
/// The function is convex, so its derivative is searched. Any point between would do; the best one is not needed.
fn saddle(groups: &[Group], least: f64, t: f64) -> f64 {
    let slope = |y: f64| {
        // (coth(low) - coth(high)) / 2, without the cancellation of nearly equal numbers.
        let one = |group: &Group| {
            let (low, high) = ((group.inverse - y) / 2.0, f64::midpoint(group.inverse, y));
            group.draws * 0.5 * y.sinh() / (low.sinh() * high.sinh())
        };
        groups.iter().map(one).sum::<f64>() - t - y.exp_m1().recip()
    };
    let (mut low, mut high) = (0.0, least);
    // 40 halvings: the saddle of 10^6 variables is at a thousandth of the range, that of 10^18 at a billionth.
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if slope(middle) < 0.0 { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// What M of one group needs: 1/v_j^2, and how many times.
struct Pole {
    weight: f64,
    draws: f64,
}

impl Pole {
    fn of(group: &Group) -> Self {
        Self { weight: (2.0 * (group.inverse / 2.0).sinh()).powi(-2), draws: group.draws }
    }
}

struct Integrand {
    groups: Vec<Pole>,
    t: f64,
}

impl Integrand {
    /// The integrand as e^(a real number) times a complex one, which is of moderate size.
    fn at(&self, v: Complex) -> (f64, Complex) {
        let square = v.times(v);
        let quarter = Complex(square.0 / 4.0, square.1 / 4.0);
        let root = Complex(1.0 + quarter.0, quarter.1).sqrt();
        // e^asinh(v/2) - 1 = v/2 + sqrt(1 + v^2/4) - 1
        let Complex(re, im) = quarter.over(Complex(1.0 + root.0, root.1));
        let asinh = Complex(v.0 / 2.0 + re, v.1 / 2.0 + im).ln_1p();
        let times = 2.0 * self.t - 1.0;
        let (mut log, mut phase) = (-times * asinh.0, -times * asinh.1);
        for Pole { weight, draws } in &self.groups {
            let Complex(re, im) = Complex(-weight * square.0, -weight * square.1).ln_1p();
            log -= draws * re;
            phase -= draws * im;
        }
        (log, Complex(phase.cos(), phase.sin()).over(v.times(root)))
    }
}

/// As little of complex numbers as is needed.
#[derive(Clone, Copy)]
struct Complex(f64, f64);

impl Complex {
    fn times(self, Self(c, d): Self) -> Self {
        let Self(a, b) = self;
        Self(a * c - b * d, a * d + b * c)
    }

    fn over(self, Self(c, d): Self) -> Self {
        let size = c.hypot(d);
        let Self(re, im) = self.times(Self(c / size, -d / size));
        Self(re / size, im / size)
    }

    /// The root with a real part of at least 0; `self` is not negative.
    fn sqrt(self) -> Self {
        let Self(re, im) = self;
        let size = re.hypot(im);
        if re >= 0.0 {
            let root = f64::midpoint(size, re).sqrt();
            Self(root, im / (2.0 * root))
        } else {
            let root = f64::midpoint(size, -re).sqrt();
            Self(im.abs() / (2.0 * root), root.copysign(im))
        }
    }

    /// ln(1 + self), precise for small numbers and for numbers close to -1.
    fn ln_1p(self) -> Self {
        let Self(re, im) = self;
        let beyond = re.mul_add(2.0 + re, im * im);
        let log = if beyond > -0.5 { 0.5 * beyond.ln_1p() } else { (1.0 + re).hypot(im).ln() };
        Self(log, im.atan2(1.0 + re))
    }
}
