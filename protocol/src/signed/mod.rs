//! Signed documents: a JSON Web Signature (RFC 7515, compact serialization) by Ed25519 (RFC 8032, as `EdDSA` of
//! RFC 8037) over the exact bytes of a document.
//!
//! ```text
//! BASE64URL({"alg":"EdDSA","kid":"<thumbprint>","typ":"<type>"}) . BASE64URL(document) . BASE64URL(signature)
//! ```
//!
//! Any JOSE library can verify one. What differs from a general one is what is accepted: the protected header must be,
//! byte for byte, the one that this module would write for the expected type and a known key. Nothing in it is
//! negotiated, so there is no algorithm to confuse, no key to smuggle in (`jwk`, `jku`, `x5u`) and no `crit`. The type is
//! part of what is signed and separates the domains: a release is never taken for a manifest, although one key may have
//! signed both.

mod document;
mod keys;

pub use document::{
    DOCUMENT_BYTES_MAX, DocumentType, SIGNED_BYTES_MAX, SignError, Verified, read_unverified, sign, verify,
};
pub use keys::{Jwk, KeyError, KeyId, PublicKey, SigningKey};

#[cfg(test)]
mod tests;
