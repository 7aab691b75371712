//! HPKE keys in a configuration: X25519 key pairs and collectors' HpkeConfigs.

use arras_protocol::codec::{CodecError, Decode as _, Encode as _};
use arras_protocol::hpke::{PrivateKey, PublicKey};
use arras_protocol::messages;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SecureRandom;
use serde::{Deserialize, Deserializer, de};

use super::secret::{NoRandomness, Secret};

/// A private HPKE key and the id under which its public key is advertised.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HpkeKey {
    /// The HpkeConfigId (DAP-18 section 4.1), unique among this role's keys.
    pub id: u8,
    /// The X25519 private key.
    pub private_key: Secret<32>,
}

impl HpkeKey {
    /// What others encrypt to.
    pub fn config(&self) -> HpkeConfig {
        HpkeConfig { id: self.id, public_key: self.private().public_key() }
    }

    /// The key for opening.
    pub fn private(&self) -> PrivateKey {
        PrivateKey::from_bytes(*self.private_key.expose())
    }
}

/// A fresh X25519 key pair under an id.
pub fn generate_hpke_keypair(random: &dyn SecureRandom, id: u8) -> Result<HpkeKey, NoRandomness> {
    // RFC 9180 section 7.1.2 does not ask for clamping: X25519 itself clamps on every use.
    Ok(HpkeKey { id, private_key: Secret::generate(random)? })
}

/// A collector's `HpkeConfig` (DAP-18 section 4.4.1) of the one suite that Arras speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HpkeConfig {
    /// The HpkeConfigId.
    pub id: u8,
    /// The X25519 public key.
    pub public_key: PublicKey,
}

/// Why a text is no HpkeConfig that Arras can use.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HpkeConfigError {
    /// Not base64url.
    #[error("an HpkeConfig is written in base64url without padding")]
    Base64,
    /// Not an HpkeConfig.
    #[error("this is not a DAP HpkeConfig ({0}); ask the collector for the right one")]
    Codec(#[from] CodecError),
    /// Another HPKE suite, or a key of another length.
    #[error(
        "the HpkeConfig names another suite; Arras speaks DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM"
    )]
    Suite,
}

impl HpkeConfig {
    /// As messages carry it.
    pub fn message(&self) -> messages::HpkeConfig {
        messages::HpkeConfig::new(self.id, &self.public_key)
    }

    /// The encoding in base64url, as configuration files carry it.
    pub fn to_base64(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.message().to_bytes())
    }

    /// Reads what [`HpkeConfig::to_base64`] writes.
    pub fn from_base64(text: &str) -> Result<Self, HpkeConfigError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| HpkeConfigError::Base64)?;
        let config = messages::HpkeConfig::from_bytes(&bytes)?;
        let public_key = config.public_key().ok_or(HpkeConfigError::Suite)?;
        Ok(Self { id: config.id, public_key })
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
        assert_eq!(key.config().public_key.as_bytes().as_slice(), public.unwrap());
    }

    #[test]
    fn config_round_trip_and_refusals() {
        let key = generate_hpke_keypair(&ring::rand::SystemRandom::new(), 7).unwrap();
        let config = key.config();
        assert_eq!(HpkeConfig::from_base64(&config.to_base64()).unwrap(), config);

        let bytes = config.message().to_bytes();
        assert_eq!(bytes.len(), 41);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        for length in [0, 1, 6, 8, 40] {
            assert!(matches!(
                HpkeConfig::from_base64(&text(&bytes[..length])),
                Err(HpkeConfigError::Codec(_))
            ));
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(HpkeConfig::from_base64(&text(&longer)), Err(HpkeConfigError::Codec(_))));
        for position in 1..7 {
            let mut other = bytes.clone();
            other[position] ^= 1;
            assert_eq!(HpkeConfig::from_base64(&text(&other)), Err(HpkeConfigError::Suite));
        }
        assert_eq!(HpkeConfig::from_base64("+"), Err(HpkeConfigError::Base64));
    }
}
