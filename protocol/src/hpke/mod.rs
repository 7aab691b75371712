//! Hybrid public key encryption (RFC 9180), base mode, single shot, for one suite:
//! DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.
//!
//! A [`Sealer`] is made once for a recipient and an `info` string, an [`Opener`] once for a private
//! key and an `info` string. Whatever depends on these alone is computed then, so that opening one
//! report costs little more than one X25519. Each message has its own encapsulated key, and
//! therefore its own AEAD key, under which only sequence number 0 is ever used. Secret export and
//! the modes with a pre-shared key or a sender's key are absent: DAP uses none of them.
//!
//! Private keys, ephemeral keys, shared secrets, AEAD keys and nonces are kept in buffers that are
//! zeroed when dropped. The states that the libraries expand from them, and copies the compiler
//! leaves on the stack, are out of this module's reach.

mod kdf;
mod keys;
mod open;
mod seal;
#[cfg(test)]
mod tests;
mod x25519;

pub use keys::{PrivateKey, PublicKey};
pub use open::{Envelope, Opener};
pub use seal::{Sealed, Sealer};

/// DHKEM(X25519, HKDF-SHA256), RFC 9180 section 7.1.
pub const KEM_ID: u16 = 0x0020;
/// HKDF-SHA256, RFC 9180 section 7.2.
pub const KDF_ID: u16 = 0x0001;
/// AES-128-GCM, RFC 9180 section 7.3.
pub const AEAD_ID: u16 = 0x0001;
/// Bytes of an encapsulated key (`Nenc`), and of every X25519 key (`Npk`, `Nsk`).
pub const ENC_LEN: usize = 32;
/// Bytes by which a ciphertext is longer than its plaintext (`Nt`).
pub const TAG_LEN: usize = 16;
/// The longest plaintext in bytes: GCM's block counter has 32 bits, and two of its values are taken
/// (NIST SP 800-38D 5.2.1.1).
pub const MAX_PLAINTEXT_LEN: u64 = (1 << 36) - 32;

/// Why a key was refused or a message was not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HpkeError {
    /// A key or an encapsulated key has the wrong number of bytes. Whoever sent or configured it
    /// is at fault.
    #[error("an X25519 key has 32 bytes, this one has {0}; check that it is not cut off or still encoded")]
    KeyLength(usize),
    /// The cryptographic library could not load a private key of the right length; it lacks
    /// memory.
    #[error("the private key could not be loaded; check that the process has memory left")]
    KeyRejected,
    /// The key exchange gives zero: the other party's key is a point of small order, which no
    /// honest party makes (RFC 9180 section 7.1.4).
    #[error("the other party's X25519 key is a weak point; ask for a freshly generated key")]
    WeakKey,
    /// The ciphertext was not made for this key, `info` and associated data, or was changed on the
    /// way. Which of these it was cannot be told.
    #[error("the message does not open; check that both parties hold the same key and task configuration")]
    OpenFailed,
    /// The plaintext exceeds [`MAX_PLAINTEXT_LEN`]. The caller is at fault.
    #[error("the message is longer than AES-GCM can encrypt; split it")]
    TooLong,
}
