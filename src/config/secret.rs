//! Values that must not leak through a log, a comparison's timing or freed memory.
//!
//! What this does not reach: the TOML parser's own copies of the text while a
//! file is loaded, and copies that the compiler makes on the stack.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SecureRandom;
use serde::{Deserialize, Deserializer, de};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The operating system's generator gave no bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random number generator failed; check that /dev/urandom can be read")]
#[non_exhaustive]
pub struct NoRandomness;

/// `N` secret bytes; base64url without padding in a file.
///
/// Boxed, so that moving the value does not leave copies behind.
#[derive(Clone)]
pub struct Secret<const N: usize>(Box<Zeroizing<[u8; N]>>);

impl<const N: usize> Secret<N> {
    /// Takes the bytes.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(Box::new(Zeroizing::new(bytes)))
    }

    /// Fresh random bytes.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, NoRandomness> {
        let mut secret = Self::new([0; N]);
        random.fill(secret.0.as_mut_slice()).map_err(|_| NoRandomness)?;
        Ok(secret)
    }

    /// The bytes themselves. Whoever calls this answers for where they go.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// As a file carries it.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.expose()))
    }

    /// Whether all bytes are equal: what a placeholder looks like, and what a
    /// generator produces with probability 256^(1-N).
    pub fn is_placeholder(&self) -> bool {
        let bytes = self.expose();
        bytes.iter().all(|byte| *byte == bytes[0])
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secret").finish_non_exhaustive()
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<'de, const N: usize> Deserialize<'de> for Secret<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        // The message must not repeat the value: it ends up on a screen or in a log.
        let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes()).map(Zeroizing::new).map_err(|_| {
            de::Error::custom(format!(
                "expected {N} bytes in base64url without padding; this is not base64url"
            ))
        })?;
        let array: [u8; N] = bytes.as_slice().try_into().map_err(|_| {
            let found = bytes.len();
            de::Error::custom(format!("expected {N} bytes in base64url without padding, found {found} bytes"))
        })?;
        Ok(Self::new(array))
    }
}

/// A secret text: a token or a private key in PEM.
#[derive(Clone)]
pub struct SecretString(Zeroizing<String>);

impl SecretString {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretString").finish_non_exhaustive()
    }
}

impl PartialEq for SecretString {
    /// Constant time for texts of one length; the length itself is not hidden.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretString {}

impl<'de> Deserialize<'de> for SecretString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        key: Secret<4>,
    }

    #[test]
    fn round_trip_and_wrong_lengths() {
        let secret = Secret::new([1, 2, 3, 250]);
        let text = format!("key = \"{}\"", secret.to_base64().as_str());
        assert_eq!(toml::from_str::<File>(&text).unwrap().key, secret);

        for wrong in ["AQID", "AQID-gU", "AQID+g", "AQID-g==", ""] {
            let error = toml::from_str::<File>(&format!("key = \"{wrong}\"")).unwrap_err();
            assert!(error.message().contains("4 bytes"), "{wrong}: {error}");
            assert!(wrong.is_empty() || !error.message().contains(wrong), "the value is repeated");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let shown = format!("{:?} {:?}", Secret::new([171; 4]), SecretString::new("hunter2"));
        assert!(!shown.contains("171") && !shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn equality_and_placeholders() {
        assert_eq!(SecretString::new("a"), SecretString::new("a"));
        assert_ne!(SecretString::new("a"), SecretString::new("ab"));
        assert_ne!(Secret::new([1, 2]), Secret::new([1, 3]));
        assert!(Secret::new([0; 8]).is_placeholder() && Secret::new([7; 8]).is_placeholder());
        let random = ring::rand::SystemRandom::new();
        assert!(!Secret::<32>::generate(&random).unwrap().is_placeholder());
    }
}
