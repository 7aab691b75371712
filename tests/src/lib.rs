//! Holds nothing: the tests are in `integration/`.
#![forbid(unsafe_code)]
