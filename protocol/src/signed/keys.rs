//! Ed25519 keys, their names, and how they are written.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::sha256;

/// Bytes of a public key (RFC 8032 section 5.1.5).
const PUBLIC_LEN: usize = 32;

/// Bytes of a signature (RFC 8032 section 5.1.6).
pub(super) const SIGNATURE_LEN: usize = 64;

/// Why something is no Ed25519 public key that may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not 32 bytes of unpadded base64url.
    #[error(
        "an Ed25519 public key is 32 bytes in unpadded base64url; ask the signer for the text of its key"
    )]
    Text,
    /// Not the encoding of a point, or a point of small order, under which signatures can be made without a key.
    #[error("these bytes are no usable Ed25519 public key; ask the signer for the right one")]
    Point,
    /// A JWK of another kind.
    #[error("the JWK is none of an Ed25519 key: expected \"kty\": \"OKP\" and \"crv\": \"Ed25519\"")]
    Kind,
    /// A JWK whose `kid` is not its thumbprint.
    #[error("the JWK's \"kid\" is not the thumbprint of its key (RFC 7638); one of both was changed")]
    Id,
}

/// A private signing key: zeroed when dropped, never printed, not cloned.
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    public: PublicKey,
}

impl SigningKey {
    /// Bytes of a private key (RFC 8032 section 5.1.5).
    pub const LEN: usize = 32;

    /// A new key from 32 bytes of `rng`.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        rng.fill_bytes(bytes.as_mut_slice());
        Self::from_bytes(&bytes)
    }

    /// The key of 32 stored bytes. Costs a fixed-base multiplication.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(bytes);
        let public = PublicKey::of(key.verifying_key());
        Self { key, public }
    }

    /// The 32 secret bytes, for storing the key. The caller keeps them from logs and zeroes copies.
    pub fn expose_bytes(&self) -> &[u8; Self::LEN] {
        self.key.as_bytes()
    }

    /// What others verify with.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Deterministic (RFC 8032 section 5.1.6): the same bytes give the same signature.
    pub(super) fn sign_bytes(&self, bytes: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.key.sign(bytes).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.public.id).finish_non_exhaustive()
    }
}

/// A key that verifies, with its name. Written as unpadded base64url of its 32 bytes, or as a [`Jwk`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    key: ed25519_dalek::VerifyingKey,
    id: KeyId,
}

impl PublicKey {
    fn of(key: ed25519_dalek::VerifyingKey) -> Self {
        Self { key, id: KeyId::of(key.as_bytes()) }
    }

    /// From the encoding of RFC 8032 section 5.1.5. [`KeyError::Point`] for bytes that are no point, or one of small
    /// order.
    pub fn from_bytes(bytes: &[u8; PUBLIC_LEN]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Point)?;
        // The encoding is what is named and compared: two encodings of one point would be two keys.
        if key.is_weak() || key.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyError::Point);
        }
        Ok(Self::of(key))
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8; PUBLIC_LEN] {
        self.key.as_bytes()
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// As JSON carries it.
    pub fn to_jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: self.to_string(),
            kid: Some(self.id.to_string()),
            alg: Some("EdDSA".to_owned()),
            r#use: Some("sig".to_owned()),
        }
    }

    /// Whether `signature` is one of `bytes`; stricter than RFC 8032 asks for (no small-order points, no second
    /// encoding of a scalar), so that a valid signature cannot be turned into another one.
    pub(super) fn verify_bytes(&self, bytes: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.key.verify_strict(bytes, &signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.to_string()).finish()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&bytes32(text).ok_or(KeyError::Text)?)
    }
}

/// A public key as a JSON Web Key (RFC 7517, RFC 8037 section 2). Private parts have no field, and a document that has
/// some does not bring them in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `"OKP"`.
    pub kty: String,
    /// `"Ed25519"`.
    pub crv: String,
    /// The key in unpadded base64url.
    pub x: String,
    /// The thumbprint, if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// `"EdDSA"`, if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// `"sig"`, if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#use: Option<String>,
}

impl TryFrom<&Jwk> for PublicKey {
    type Error = KeyError;

    /// Refuses other kinds of key, and a `kid` that is not the key's thumbprint.
    fn try_from(jwk: &Jwk) -> Result<Self, KeyError> {
        let may_be = |given: &Option<String>, expected| given.as_deref().is_none_or(|text| text == expected);
        if jwk.kty != "OKP"
            || jwk.crv != "Ed25519"
            || !may_be(&jwk.alg, "EdDSA")
            || !may_be(&jwk.r#use, "sig")
        {
            return Err(KeyError::Kind);
        }
        let key: Self = jwk.x.parse()?;
        if may_be(&jwk.kid, &key.id.to_string()) { Ok(key) } else { Err(KeyError::Id) }
    }
}

/// The name of a key: its JWK thumbprint (RFC 7638, RFC 8037 appendix A.3), in unpadded base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KeyId::LEN]);

impl KeyId {
    /// Bytes of a thumbprint: SHA-256.
    pub const LEN: usize = 32;

    fn of(public: &[u8; PUBLIC_LEN]) -> Self {
        // RFC 7638 section 3.2: the required members in the order of their names, without white space.
        let x = URL_SAFE_NO_PAD.encode(public);
        let members = format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{x}\"}}");
        Self(sha256(members.as_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        bytes32(text).map(Self).ok_or(KeyError::Text)
    }
}

fn bytes32(text: &str) -> Option<[u8; 32]> {
    // A long text is not decoded first to be refused then.
    if text.len() != 43 {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}
