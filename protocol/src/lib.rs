//! x

pub mod vdaf;
