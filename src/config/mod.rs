//! x
pub mod keys;
pub mod secret;
