//! HPKE keys in a configuration: X25519 key pairs and collectors' HpkeConfigs.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curve25519_dalek::MontgomeryPoint;
use ring::rand::SecureRandom;
use serde::{Deserialize, Deserializer, de};

use super::secret::{NoRandomness, Secret};

/// DHKEM(X25519, HKDF-SHA256), RFC 9180 section 7.1.
const KEM_X25519_HKDF_SHA256: u16 = 0x0020;
/// HKDF-SHA256, RFC 9180 section 7.2.
const KDF_HKDF_SHA256: u16 = 0x0001;
/// AES-128-GCM, RFC 9180 section 7.3.
const AEAD_AES_128_GCM: u16 = 0x0001;

/// A private HPKE key and the id under which its public key is advertised.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HpkeKey {
    /// The HpkeConfigId (DAP-18 4.1), unique among this role's keys.
    pub id: u8,
    /// The X25519 private key.
    pub private_key: Secret<32>,
}

impl HpkeKey {
    /// What others encrypt to.
    pub fn config(&self) -> HpkeConfig {
        let public_key = MontgomeryPoint::mul_base_clamped(*self.private_key.expose()).to_bytes();
        HpkeConfig { id: self.id, public_key }
    }
}

/// A fresh X25519 key pair under an id.
pub fn generate_hpke_keypair(random: &dyn SecureRandom, id: u8) -> Result<HpkeKey, NoRandomness> {
    // RFC 9180 7.1.2 does not ask for clamping: X25519 itself clamps on every use.
    Ok(HpkeKey { id, private_key: Secret::generate(random)? })
}

/// DAP's HpkeConfig (DAP-18 4.5.1) with the one suite that Arras speaks:
/// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HpkeConfig {
    /// The HpkeConfigId.
    pub id: u8,
    /// The X25519 public key.
    pub public_key: [u8; 32],
}

/// Why a text is no HpkeConfig that Arras can use.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HpkeConfigError {
    /// Not base64url.
    #[error("an HpkeConfig is written in base64url without padding")]
    Base64,
    /// Not an HpkeConfig, or one whose public key has another length.
    #[error("expected a DAP HpkeConfig of 41 bytes, found {0} bytes; ask the collector for the right one")]
    Length(usize),
    /// Another HPKE suite.
    #[error(
        "the HpkeConfig names another suite; Arras speaks DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM"
    )]
    Suite,
}

impl HpkeConfig {
    /// DAP's encoding of it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.id];
        for word in [KEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_128_GCM, 32] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&self.public_key);
        out
    }

    /// The encoding in base64url, as configuration files carry it.
    pub fn to_base64(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.encode())
    }

    /// Reads what [`HpkeConfig::to_base64`] writes.
    pub fn from_base64(text: &str) -> Result<Self, HpkeConfigError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| HpkeConfigError::Base64)?;
        let wrong_length = HpkeConfigError::Length(bytes.len());
        let (id, rest) = bytes.split_first().ok_or(HpkeConfigError::Length(0))?;
        let (suite, rest) = rest.split_at_checked(6).ok_or(HpkeConfigError::Length(bytes.len()))?;
        let (length, key) = rest.split_at_checked(2).ok_or(HpkeConfigError::Length(bytes.len()))?;
        let ours = [KEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_128_GCM];
        if suite != ours.map(u16::to_be_bytes).concat() {
            return Err(HpkeConfigError::Suite);
        }
        match <[u8; 32]>::try_from(key) {
            Ok(public_key) if length == [0, 32] => Ok(Self { id: *id, public_key }),
            _ => Err(wrong_length),
        }
    }
}

impl fmt::Display for HpkeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

impl<'de> Deserialize<'de> for HpkeConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_base64(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn public_key_of_rfc_9180() {
        // RFC 9180 A.1.1: skRm and pkRm.
        let private = hex::decode("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8");
        let public = hex::decode("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
        let key = HpkeKey { id: 1, private_key: Secret::new(private.unwrap().try_into().unwrap()) };
        assert_eq!(key.config().public_key.as_slice(), public.unwrap());
    }

    #[test]
    fn config_round_trip_and_refusals() {
        let key = generate_hpke_keypair(&ring::rand::SystemRandom::new(), 7).unwrap();
        let config = key.config();
        assert_eq!(HpkeConfig::from_base64(&config.to_base64()).unwrap(), config);

        let bytes = config.encode();
        assert_eq!(bytes.len(), 41);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        for length in [0, 1, 6, 8, 40] {
            assert!(HpkeConfig::from_base64(&text(&bytes[..length])).is_err(), "{length}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(HpkeConfig::from_base64(&text(&longer)), Err(HpkeConfigError::Length(42)));
        for position in 1..7 {
            let mut other = bytes.clone();
            other[position] ^= 1;
            assert_eq!(HpkeConfig::from_base64(&text(&other)), Err(HpkeConfigError::Suite));
        }
        assert_eq!(HpkeConfig::from_base64("+"), Err(HpkeConfigError::Base64));
    }
}
