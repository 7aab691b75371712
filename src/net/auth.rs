//! Bearer tokens (DAP-18 section 3.5 leaves the choice of request authentication open).
//!
//! A token is written down in full only where it is sent from; the receiving
//! side keeps its SHA-256, so that reading the receiver's file gives no access.

use std::fmt;
use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::SecureRandom;
use serde::{Deserialize, Deserializer, de};
use subtle::ConstantTimeEq;

use crate::config::secret::{NoRandomness, Secret, SecretString};

/// Random bytes in a generated token: guessing 256 bits is out of reach, and
/// SHA-256 without a salt is then enough to store it.
const TOKEN_BYTES: usize = 32;

/// A token shorter than this (characters) may have been chosen by a person; an
/// unsalted hash would not protect it.
pub const TOKEN_CHARACTERS_MIN: usize = 32;

/// What an Authorization header may carry: longer ones are not hashed.
const TOKEN_CHARACTERS_MAX: usize = 512;

/// Why a text is no bearer token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// Characters outside RFC 6750's b64token, or nothing at all, or too long.
    #[error("a token is 1 to 512 characters out of A-Z a-z 0-9 - . _ ~ + / and trailing =")]
    Characters,
}

/// A token as its holder sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BearerToken(SecretString);

impl BearerToken {
    /// Accepts RFC 6750's b64token, so that the text fits into a header as it is.
    pub fn new(text: SecretString) -> Result<Self, TokenError> {
        let body = text.expose().trim_end_matches('=');
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        if body.is_empty() || text.expose().len() > TOKEN_CHARACTERS_MAX || !body.bytes().all(allowed) {
            return Err(TokenError::Characters);
        }
        Ok(Self(text))
    }

    /// A fresh token of 32 random bytes.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, NoRandomness> {
        let bytes = Secret::<TOKEN_BYTES>::generate(random)?;
        Ok(Self(SecretString::new(URL_SAFE_NO_PAD.encode(bytes.expose()))))
    }

    /// The text of the token.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What the receiving side stores.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.expose())
    }

    /// `Bearer <token>`, marked sensitive so that HTTP libraries do not log it.
    pub fn header(&self) -> HeaderValue {
        let text = SecretString::new(format!("Bearer {}", self.expose()));
        // Cannot fail: b64token is a subset of visible ASCII, which every header value may hold.
        let mut value = HeaderValue::from_str(text.expose()).expect("a b64token fits into a header");
        value.set_sensitive(true);
        value
    }
}

impl<'de> Deserialize<'de> for BearerToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(SecretString::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// SHA-256 of a token's text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token's text.
    pub fn of(token: &str) -> Self {
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        // Cannot fail: the digest of this algorithm has always 32 bytes.
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            // Both digits were checked above.
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Whether a presented token is this one. The time taken depends on the
    /// presented text's length only.
    pub fn matches(&self, presented: &str) -> bool {
        Self::of(presented).0.ct_eq(&self.0).into()
    }

    /// Whether the request's Authorization header holds this token.
    pub fn authorizes(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|token| self.matches(token))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = String::with_capacity(64);
        for byte in self.0 {
            write!(hex, "{byte:02x}")?;
        }
        f.write_str(&hex)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_hex(&String::deserialize(deserializer)?).ok_or_else(|| {
            // The value is not repeated: a token may have been put here by mistake.
            de::Error::custom("expected the SHA-256 of a token as 64 hexadecimal digits")
        })
    }
}

/// The token in a request's Authorization header; none if the header is missing,
/// doubled (which of the two would count?) or of another scheme.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() || value.len() > TOKEN_CHARACTERS_MAX + "Bearer ".len() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn header_is_parsed_strictly() {
        assert_eq!(bearer(&headers(&["Bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer abc"])), Some("abc"));
        for wrong in [&[][..], &["Bearer"], &["Bearer "], &["Basic abc"], &["abc"], &["Bearer a", "Bearer b"]]
        {
            assert_eq!(bearer(&headers(wrong)), None, "{wrong:?}");
        }
        assert_eq!(bearer(&headers(&[&format!("Bearer {}", "a".repeat(513))])), None);
    }

    #[test]
    fn hash_of_a_known_token() {
        // FIPS 180-2 appendix B.1: SHA-256("abc").
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash = TokenHash::from_hex(hex).unwrap();
        assert!(hash.matches("abc") && !hash.matches("abd") && !hash.matches(""));
        assert_eq!(hash.to_string(), hex);
        assert!(hash.authorizes(&headers(&["Bearer abc"])) && !hash.authorizes(&headers(&[])));
        assert_eq!(TokenHash::from_hex(&hex[1..]), None);
        assert_eq!(TokenHash::from_hex(&hex.replace('b', "g")), None);
        assert_eq!(TokenHash::from_hex(&format!("+{}", &hex[1..])), None);
    }

    #[test]
    fn tokens_fit_into_headers() {
        let token = BearerToken::generate(&ring::rand::SystemRandom::new()).unwrap();
        assert!(token.expose().len() >= TOKEN_CHARACTERS_MIN);
        assert!(token.header().is_sensitive());
        assert!(!format!("{token:?}").contains(token.expose()));
        for wrong in ["", "=", "a b", "a\nb", "a\u{e9}", "a=b"] {
            assert_eq!(BearerToken::new(SecretString::new(wrong)), Err(TokenError::Characters), "{wrong}");
        }
    }
}
