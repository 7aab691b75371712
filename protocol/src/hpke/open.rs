//! Opening: `OpenBase` (RFC 9180 section 6.1), one message or many.

use std::fmt;

use zeroize::Zeroizing;

use super::{ENC_LEN, HpkeError, PrivateKey, TAG_LEN, kdf::Schedule, x25519::Secret};

/// A message to be opened, borrowed from wherever it was received.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The encapsulated key; [`ENC_LEN`] bytes, or the envelope fails.
    pub enc: &'a [u8],
    /// The associated data in two parts that count as one string: the part that all reports of a
    /// task share, then the report's own.
    pub aad: [&'a [u8]; 2],
    /// The encrypted plaintext and its tag.
    pub ciphertext: &'a [u8],
}

/// Opens messages sealed to one private key under one `info`. Threads may share it.
pub struct Opener {
    secret: Secret,
    schedule: Schedule,
}

impl Opener {
    /// Computes all that depends on the key and `info` alone.
    ///
    /// # Errors
    /// [`HpkeError::KeyRejected`] if the cryptographic library cannot load the key.
    pub fn new(key: &PrivateKey, info: &[u8]) -> Result<Self, HpkeError> {
        let secret = Secret::new(&Zeroizing::new(*key.expose_bytes()))?;
        Ok(Self { secret, schedule: Schedule::new(&key.public_key(), info) })
    }

    /// Opens one message. `aad` is the associated data it was sealed with.
    ///
    /// # Errors
    /// [`HpkeError::KeyLength`] if `enc` has not [`ENC_LEN`] bytes, [`HpkeError::WeakKey`] if it is a
    /// point of small order, [`HpkeError::OpenFailed`] for everything else.
    pub fn open(&self, enc: &[u8], aad: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, HpkeError> {
        let enc: &[u8; ENC_LEN] = enc.try_into().map_err(|_| HpkeError::KeyLength(enc.len()))?;
        // Before the key exchange, which costs a thousand times more than this check.
        let (body, tag) = ciphertext.split_last_chunk::<TAG_LEN>().ok_or(HpkeError::OpenFailed)?;
        let dh = self.secret.agree(enc)?;
        let (key, nonce) = self.schedule.message_key(&dh, enc).into_aead();

        let mut plaintext = body.to_vec();
        key.open(&nonce, aad, tag, &mut plaintext).map_err(|_| HpkeError::OpenFailed)?;
        Ok(plaintext)
    }

    /// Opens each envelope as [`Opener::open`] would; the results stand in the order of the
    /// envelopes, and one that fails does not touch the others. Runs on the calling thread: a
    /// caller with more cores splits the slice.
    ///
    /// Callers with many reports use this rather than a loop over `open`. It keeps one buffer for
    /// the associated data, and it sees all encapsulated keys at once, so that a vectorised X25519
    /// (several points, one scalar) can take the place of the loop without a change of interface.
    pub fn open_batch(&self, envelopes: &[Envelope<'_>]) -> Vec<Result<Vec<u8>, HpkeError>> {
        let longest = envelopes.iter().map(|envelope| envelope.aad[0].len() + envelope.aad[1].len()).max();
        let mut aad = Vec::with_capacity(longest.unwrap_or(0));
        envelopes
            .iter()
            .map(|envelope| {
                aad.clear();
                aad.extend_from_slice(envelope.aad[0]);
                aad.extend_from_slice(envelope.aad[1]);
                self.open(envelope.enc, &aad, envelope.ciphertext)
            })
            .collect()
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}
