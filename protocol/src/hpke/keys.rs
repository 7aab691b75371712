//! X25519 keys as the protocol carries them.

use std::fmt;

use rand::CryptoRng;
use zeroize::Zeroizing;

use super::{ENC_LEN, HpkeError, x25519::dalek};

/// A recipient's X25519 public key in the encoding of RFC 7748 5.
///
/// Any 32 bytes are one; a point of small order is found out when it is used
/// ([`HpkeError::WeakKey`]).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; ENC_LEN]);

impl PublicKey {
    /// Takes the 32 bytes of an encoded key.
    pub const fn from_bytes(bytes: [u8; ENC_LEN]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the encoded key.
    pub const fn as_bytes(&self) -> &[u8; ENC_LEN] {
        &self.0
    }
}

impl TryFrom<&[u8]> for PublicKey {
    type Error = HpkeError;

    /// Fails with [`HpkeError::KeyLength`] unless there are 32 bytes.
    fn try_from(bytes: &[u8]) -> Result<Self, HpkeError> {
        bytes.try_into().map(Self).map_err(|_| HpkeError::KeyLength(bytes.len()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not secret, but it tells whose reports a log line is about.
        f.debug_tuple("PublicKey").finish_non_exhaustive()
    }
}

/// A recipient's X25519 private key: zeroed when dropped, never printed, not cloned.
pub struct PrivateKey(Zeroizing<[u8; ENC_LEN]>);

impl PrivateKey {
    /// Makes a new key from 32 bytes of `rng`.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; ENC_LEN]);
        rng.fill_bytes(bytes.as_mut_slice());
        Self(bytes)
    }

    /// Takes the 32 bytes of a stored key. They are clamped when used (RFC 7748 5), not here: the
    /// key is given back as it came.
    pub fn from_bytes(bytes: [u8; ENC_LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The 32 secret bytes, for storing the key. The caller keeps them from logs and zeroes copies.
    pub fn expose_bytes(&self) -> &[u8; ENC_LEN] {
        &self.0
    }

    /// The public key that belongs to this key. Costs a fixed-base multiplication.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(dalek::public_key(&self.0))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").finish_non_exhaustive()
    }
}
