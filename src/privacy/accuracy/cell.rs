//! The noise of one published cell, in closed form: the sum Z = X + Y of two independent discrete Laplace
//! variables of one scale s. With a = e^(-1/s):
//!
//! - P[Z = k] = ((1-a)/(1+a))^2 a^|k| (|k| + (1+a^2)/(1-a^2))
//! - P[Z >= t] = a^t/(1+a)^2 ((1-a) t + a + (1+a^2)/(1+a)), for t >= 1
//!
//! Both follow from the convolution, the sum over i of a^(|i|+|k-i|): a geometric series outside of 0..=k, constant
//! inside.

/// P[Z >= t] for t >= 1 and `x` = 1/s.
pub(super) fn upper_tail(x: f64, t: f64) -> f64 {
    let a = (-x).exp();
    let one_minus_a = -(-x).exp_m1();
    // Every term is positive, so nothing cancels.
    (-t * x).exp() / (1.0 + a).powi(2) * (one_minus_a * t + a + (1.0 + a * a) / (1.0 + a))
}
