//! Verify keys (taskprov section 3.4): derived from a secret that this pair of aggregators shares.

use ring::{digest, hkdf};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

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
        struct Length;
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                VERIFY_KEY_LEN
            }
        }
        let salt = digest::digest(&digest::SHA256, b"dap-taskprov");
        let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, salt.as_ref()).extract(&self.0);
        let mut key = [0; VERIFY_KEY_LEN];
        pseudorandom
            .expand(&[task_id.as_bytes()], Length)
            .and_then(|output| output.fill(&mut key))
            // Cannot fail: HKDF-SHA256 gives up to 8,160 bytes, and the buffer has the length asked for.
            .expect("32 bytes are within HKDF's limit");
        let out = VerifyKey(key);
        key.zeroize();
        out
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
