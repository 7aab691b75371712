//! By the RustCrypto crates, of which prio brings all but GCM anyway.
//!
//! Constant time: AES by the processor's instructions or bitsliced, GHASH by carry-less multiplication or in
//! constant-time integer arithmetic; none of them looks anything up by a secret.

use aes_gcm::Aes128Gcm;
use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use hmac::Mac as _;
use sha2::Digest as _;
use zeroize::Zeroizing;

use super::{AEAD_TAG_LEN, AeadFailed, HASH_LEN, KEY_LEN, NONCE_LEN};

/// A hash under way.
pub(crate) struct Sha256(sha2::Sha256);

impl Sha256 {
    pub(crate) fn new() -> Self {
        Self(sha2::Sha256::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> [u8; HASH_LEN] {
        self.0.finalize().into()
    }
}

/// A key of HMAC-SHA256, prepared for many messages.
pub(crate) struct HmacKey(hmac::Hmac<sha2::Sha256>);

impl HmacKey {
    pub(crate) fn new(secret: &[u8]) -> Self {
        let key = hmac::Hmac::new_from_slice(secret)
            // Cannot fail: HMAC takes keys of any length.
            .expect("HMAC takes keys of any length");
        Self(key)
    }

    /// HMAC of the pieces in a row, as a buffer that is zeroed when dropped.
    pub(crate) fn sign(&self, pieces: &[&[u8]]) -> Zeroizing<[u8; HASH_LEN]> {
        let mut context = self.0.clone();
        for piece in pieces {
            context.update(piece);
        }
        Zeroizing::new(context.finalize().into_bytes().into())
    }
}

/// A key of AES-128-GCM. Its methods take it by value: one key encrypts one message here.
pub(crate) struct AeadKey(Aes128Gcm);

impl AeadKey {
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(Aes128Gcm::new(key.into()))
    }

    /// Encrypts in place; the tag goes to the end.
    pub(crate) fn seal(
        self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        message: &mut Vec<u8>,
    ) -> Result<(), AeadFailed> {
        let tag = self
            .0
            .encrypt_inout_detached(nonce.into(), aad, message.as_mut_slice().into())
            .map_err(|_| AeadFailed)?;
        message.extend_from_slice(&tag);
        Ok(())
    }

    /// Decrypts in place; a message that fails is left as it was.
    pub(crate) fn open(
        self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        tag: &[u8; AEAD_TAG_LEN],
        message: &mut [u8],
    ) -> Result<(), AeadFailed> {
        self.0.decrypt_inout_detached(nonce.into(), aad, message.into(), tag.into()).map_err(|_| AeadFailed)
    }
}
