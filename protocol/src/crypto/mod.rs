//! SHA-256, HMAC-SHA256 and AES-128-GCM by two libraries behind one interface.
//!
//! An aggregator (feature `open`) takes ring, whose assembly is the faster. Everybody else takes the RustCrypto crates,
//! which need no C compiler, so that an app can build its client for any target that Rust knows. Both are held
//! against the same vectors, and against each other.

#[cfg(any(not(feature = "open"), test))]
mod pure;
#[cfg(any(feature = "open", test))]
mod ring;
#[cfg(test)]
mod tests;

#[cfg(not(feature = "open"))]
use pure as backend;
#[cfg(feature = "open")]
use ring as backend;

pub(crate) use backend::{AeadKey, HmacKey, Sha256};

/// Bytes of an output of SHA-256 and HMAC-SHA256.
pub(crate) const HASH_LEN: usize = 32;
/// Bytes of an AES-128-GCM key.
pub(crate) const KEY_LEN: usize = 16;
/// Bytes of its nonce.
pub(crate) const NONCE_LEN: usize = 12;
/// Bytes of its tag.
pub(crate) const AEAD_TAG_LEN: usize = 16;

/// Encryption or decryption failed; of the libraries here neither says more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AeadFailed;

/// The SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; HASH_LEN] {
    let mut hash = Sha256::new();
    hash.update(bytes);
    hash.finish()
}
