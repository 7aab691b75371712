//! HKDF-SHA256 as HPKE labels it (RFC 9180 4), and the key schedule built on it (4.1 and 5.1).
//!
//! Everything HPKE expands here fits in one SHA-256 output, so HKDF-Expand is always its first
//! block: one HMAC. The labelled inputs are fed to HMAC piece by piece, without being put together.

use zeroize::Zeroizing;

use crate::crypto::{AeadKey, HASH_LEN, HmacKey, KEY_LEN, NONCE_LEN};

use super::{AEAD_ID, ENC_LEN, KDF_ID, KEM_ID, PublicKey, x25519::DhOutput};

/// Bytes of the key schedule context: the mode and two hashes.
const CONTEXT_LEN: usize = 1 + 2 * HASH_LEN;
/// `mode_base`, RFC 9180 5.
const MODE_BASE: u8 = 0;
/// `HPKE-v1`, in front of every label.
const VERSION: &[u8] = b"HPKE-v1";

const KEM: [u8; 2] = KEM_ID.to_be_bytes();
const KDF: [u8; 2] = KDF_ID.to_be_bytes();
const AEAD: [u8; 2] = AEAD_ID.to_be_bytes();
/// `suite_id` inside the KEM (RFC 9180 section 4.1).
const KEM_SUITE: &[u8] = &[b'K', b'E', b'M', KEM[0], KEM[1]];
/// `suite_id` everywhere else (RFC 9180 section 5.1).
const HPKE_SUITE: &[u8] = &[b'H', b'P', b'K', b'E', KEM[0], KEM[1], KDF[0], KDF[1], AEAD[0], AEAD[1]];

/// Every pseudorandom key, and the KEM's shared secret.
type Secret32 = Zeroizing<[u8; HASH_LEN]>;

/// LabeledExtract (RFC 9180 4), its salt given as a prepared HMAC key.
fn labeled_extract(salt: &HmacKey, suite: &[u8], label: &[u8], ikm: &[u8]) -> Secret32 {
    salt.sign(&[VERSION, suite, label, ikm])
}

/// LabeledExpand (RFC 9180 4) for up to 32 bytes, `info` given in two pieces.
fn labeled_expand<const LEN: usize>(
    prk: &HmacKey,
    suite: &[u8],
    label: &[u8],
    info: [&[u8]; 2],
) -> Zeroizing<[u8; LEN]> {
    const { assert!(LEN <= HASH_LEN, "more than HKDF-Expand's first block") };
    #[allow(clippy::cast_possible_truncation, reason = "at most 32, asserted above")]
    let length = (LEN as u16).to_be_bytes();
    let block = prk.sign(&[&length, VERSION, suite, label, info[0], info[1], &[1]]);
    let mut output = Zeroizing::new([0; LEN]);
    output.copy_from_slice(&block[..LEN]);
    output
}

/// The part of the key schedule that depends on the recipient and `info` alone. Holds no secret.
pub(super) struct Schedule {
    /// The HMAC key of the empty salt that LabeledExtract has in the KEM.
    empty_salt: HmacKey,
    recipient: PublicKey,
    /// `key_schedule_context`.
    context: [u8; CONTEXT_LEN],
}

impl Schedule {
    pub(super) fn new(recipient: &PublicKey, info: &[u8]) -> Self {
        let empty_salt = HmacKey::new(&[]);
        let psk_id_hash = labeled_extract(&empty_salt, HPKE_SUITE, b"psk_id_hash", &[]);
        let info_hash = labeled_extract(&empty_salt, HPKE_SUITE, b"info_hash", info);
        let mut context = [MODE_BASE; CONTEXT_LEN];
        context[1..=HASH_LEN].copy_from_slice(psk_id_hash.as_slice());
        context[1 + HASH_LEN..].copy_from_slice(info_hash.as_slice());
        Self { empty_salt, recipient: *recipient, context }
    }

    /// The public key the schedule is for.
    pub(super) fn recipient(&self) -> &PublicKey {
        &self.recipient
    }

    /// The key of one message, from its key exchange and its encapsulated key.
    pub(super) fn message_key(&self, dh: &DhOutput, enc: &[u8; ENC_LEN]) -> MessageKey {
        self.key_schedule(&self.extract_and_expand(dh, enc))
    }

    /// ExtractAndExpand (RFC 9180 section 4.1): the KEM's shared secret.
    pub(super) fn extract_and_expand(&self, dh: &DhOutput, enc: &[u8; ENC_LEN]) -> Secret32 {
        let eae_prk = labeled_extract(&self.empty_salt, KEM_SUITE, b"eae_prk", dh.as_slice());
        let prk = HmacKey::new(eae_prk.as_slice());
        labeled_expand(&prk, KEM_SUITE, b"shared_secret", [enc, self.recipient.as_bytes()])
    }

    /// KeySchedule (RFC 9180 section 5.1) in base mode, where the pre-shared key is empty.
    pub(super) fn key_schedule(&self, shared_secret: &Secret32) -> MessageKey {
        let salt = HmacKey::new(shared_secret.as_slice());
        let secret = labeled_extract(&salt, HPKE_SUITE, b"secret", &[]);
        let prk = HmacKey::new(secret.as_slice());
        MessageKey {
            key: labeled_expand(&prk, HPKE_SUITE, b"key", [&self.context, &[]]),
            nonce: labeled_expand(&prk, HPKE_SUITE, b"base_nonce", [&self.context, &[]]),
        }
    }

    #[cfg(test)]
    pub(super) fn context(&self) -> &[u8; CONTEXT_LEN] {
        &self.context
    }
}

/// The AEAD key of one message and the nonce of its sequence number 0, which is `base_nonce`.
pub(super) struct MessageKey {
    pub(super) key: Zeroizing<[u8; KEY_LEN]>,
    pub(super) nonce: Zeroizing<[u8; NONCE_LEN]>,
}

impl MessageKey {
    /// Hands the key to the AEAD. By value: one key and nonce encrypt one message.
    pub(super) fn into_aead(self) -> (AeadKey, Zeroizing<[u8; NONCE_LEN]>) {
        (AeadKey::new(&self.key), self.nonce)
    }
}
