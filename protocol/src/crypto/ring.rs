//! By ring.

use ::ring::{aead, digest, hmac};
use zeroize::Zeroizing;

use super::{AEAD_TAG_LEN, AeadFailed, HASH_LEN, KEY_LEN, NONCE_LEN};

/// A hash under way.
pub(crate) struct Sha256(digest::Context);

impl Sha256 {
    pub(crate) fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> [u8; HASH_LEN] {
        let mut output = [0; HASH_LEN];
        output.copy_from_slice(self.0.finish().as_ref());
        output
    }
}

/// A key of HMAC-SHA256, prepared for many messages.
pub(crate) struct HmacKey(hmac::Key);

impl HmacKey {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// HMAC of the pieces in a row, as a buffer that is zeroed when dropped.
    pub(crate) fn sign(&self, pieces: &[&[u8]]) -> Zeroizing<[u8; HASH_LEN]> {
        let mut context = hmac::Context::with_key(&self.0);
        for piece in pieces {
            context.update(piece);
        }
        let mut output = Zeroizing::new([0; HASH_LEN]);
        output.copy_from_slice(context.sign().as_ref());
        output
    }
}

/// A key of AES-128-GCM. Its methods take it by value: one key encrypts one message here.
pub(crate) struct AeadKey(aead::LessSafeKey);

impl AeadKey {
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Self {
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, key)
            // Cannot fail: the array has the length that it asks for.
            .expect("ring refuses AES-128 keys for their length only, and KEY_LEN is its length");
        Self(aead::LessSafeKey::new(key))
    }

    /// Encrypts in place; the tag goes to the end.
    pub(crate) fn seal(
        self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        message: &mut Vec<u8>,
    ) -> Result<(), AeadFailed> {
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        self.0.seal_in_place_append_tag(nonce, aead::Aad::from(aad), message).map_err(|_| AeadFailed)
    }

    /// Decrypts in place.
    pub(crate) fn open(
        self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        tag: &[u8; AEAD_TAG_LEN],
        message: &mut [u8],
    ) -> Result<(), AeadFailed> {
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let tag = aead::Tag::from(*tag);
        let opened = self.0.open_in_place_separate_tag(nonce, aead::Aad::from(aad), tag, message, 0..);
        opened.map(|_| ()).map_err(|_| AeadFailed)
    }
}
