//! Holds nothing: the tests are in `integration/`.
