//! x

pub mod hpke;
