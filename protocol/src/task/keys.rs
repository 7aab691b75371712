//! Verify keys (taskprov section 3.4): derived from a secret that this pair of aggregators shares.

use zeroize::ZeroizeOnDrop;

use crate::crypto::{HASH_LEN, HmacKey, sha256};
use crate::messages::TaskId;
use crate::vdaf::VERIFY_KEY_LEN;

/// The secret that two aggregators exchanged out of band (`verify_key_init`). Whoever knows it can
/// make invalid reports that verify.
#[derive(ZeroizeOnDrop)]
pub struct VerifySecret([u8; Self::LEN]);

impl VerifySecret {
    /// Its length is fixed by taskprov.
    pub const LEN: usize = 32;

    /// From its bytes.
    pub fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The verify key of a task; fixed for the task's life, since its security proof wants it chosen
    /// before any report (DAP-18 section 8.6.2).
    pub fn verify_key(&self, task_id: TaskId) -> VerifyKey {
        // HKDF (RFC 5869) with one block of output, which is one HMAC.
        const { assert!(VERIFY_KEY_LEN == HASH_LEN, "a verify key is HKDF-Expand's first block") };
        let pseudorandom = HmacKey::new(&sha256(b"dap-taskprov")).sign(&[&self.0]);
        VerifyKey(*HmacKey::new(pseudorandom.as_slice()).sign(&[task_id.as_bytes(), &[1]]))
    }
}

impl std::fmt::Debug for VerifySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifySecret(..)")
    }
}

/// The key with which both aggregators verify the reports of one task.
#[derive(Clone, ZeroizeOnDrop)]
pub struct VerifyKey([u8; VERIFY_KEY_LEN]);

impl VerifyKey {
    /// For the VDAF.
    pub(crate) fn expose(&self) -> &[u8; VERIFY_KEY_LEN] {
        &self.0
    }
}

impl std::fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifyKey(..)")
    }
}
