//! Sealing: `SealBase` (RFC 9180 section 6.1).

use std::fmt;

use rand::CryptoRng;
use zeroize::Zeroizing;

use super::{ENC_LEN, HpkeError, MAX_PLAINTEXT_LEN, PublicKey, TAG_LEN, kdf::Schedule, x25519::Secret};

/// A sealed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The encapsulated key.
    pub enc: [u8; ENC_LEN],
    /// The encrypted plaintext, then [`TAG_LEN`] bytes of tag.
    pub ciphertext: Vec<u8>,
}

/// Seals messages to one recipient under one `info`.
pub struct Sealer {
    schedule: Schedule,
}

impl Sealer {
    /// Computes all that depends on the recipient and `info` alone. A weak recipient's key is
    /// refused by [`Sealer::seal`].
    pub fn new(recipient: &PublicKey, info: &[u8]) -> Self {
        Self { schedule: Schedule::new(recipient, info) }
    }

    /// Seals `plaintext` and authenticates `aad`, with an ephemeral key of 32 bytes from `rng`.
    ///
    /// # Errors
    /// [`HpkeError::WeakKey`] if the recipient's key is a point of small order,
    /// [`HpkeError::TooLong`] if the plaintext exceeds [`MAX_PLAINTEXT_LEN`].
    pub fn seal(&self, rng: &mut impl CryptoRng, aad: &[u8], plaintext: &[u8]) -> Result<Sealed, HpkeError> {
        let mut ephemeral = Zeroizing::new([0; ENC_LEN]);
        rng.fill_bytes(ephemeral.as_mut_slice());
        self.seal_with(&ephemeral, aad, plaintext)
    }

    /// Seals with a given ephemeral key, which must never seal twice: key and nonce of the AEAD
    /// follow from it.
    pub(super) fn seal_with(
        &self,
        ephemeral: &Zeroizing<[u8; ENC_LEN]>,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Sealed, HpkeError> {
        let ciphertext_len = ciphertext_len(plaintext.len())?;
        let secret = Secret::new(ephemeral)?;
        let dh = secret.agree(self.schedule.recipient().as_bytes())?;
        let enc = secret.public_key()?;
        let (key, nonce) = self.schedule.message_key(&dh, &enc).into_aead();

        let mut ciphertext = Vec::with_capacity(ciphertext_len);
        ciphertext.extend_from_slice(plaintext);
        // The length is the only reason to refuse.
        key.seal(&nonce, aad, &mut ciphertext).map_err(|_| HpkeError::TooLong)?;
        Ok(Sealed { enc, ciphertext })
    }
}

/// Bytes of the ciphertext of so many bytes of plaintext, checked before anything is allocated.
pub(super) fn ciphertext_len(plaintext_len: usize) -> Result<usize, HpkeError> {
    if u64::try_from(plaintext_len).is_ok_and(|len| len <= MAX_PLAINTEXT_LEN) {
        plaintext_len.checked_add(TAG_LEN).ok_or(HpkeError::TooLong)
    } else {
        Err(HpkeError::TooLong)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}
