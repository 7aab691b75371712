//! Signing and verifying documents.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::keys::{KeyId, PublicKey, SIGNATURE_LEN, SigningKey};

/// The largest document, in bytes. A release of 4,096 buckets with long campaign names is about 1.5 MB; a manifest is
/// far smaller.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;

/// The largest signed document, in bytes: base64url of the largest document, and 512 for the header and the signature.
pub const SIGNED_BYTES_MAX: usize = DOCUMENT_BYTES_MAX / 3 * 4 + 4 + 512;

const _: () = assert!(HEADER_BYTES_MAX / 3 * 4 + SIGNATURE_LEN / 3 * 4 + 16 < 512);

/// The longest header that is decoded to say what is wrong with it.
const HEADER_BYTES_MAX: usize = 256;

const BEFORE_KID: &str = "{\"alg\":\"EdDSA\",\"kid\":\"";
const BEFORE_TYP: &str = "\",\"typ\":\"";
const AFTER_TYP: &str = "\"}";

/// What kind of document is signed: the header's `typ`, which separates the domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DocumentType {
    /// What an advertiser publishes for devices: `arras-manifest+json`.
    Manifest,
    /// What a collected batch says: `arras-release+json`.
    Release,
    /// The sum of several releases: `arras-sum+json`.
    Sum,
}

impl DocumentType {
    /// The header's `typ`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "arras-manifest+json",
            Self::Release => "arras-release+json",
            Self::Sum => "arras-sum+json",
        }
    }
}

/// Why a document cannot be signed or is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// Larger than [`DOCUMENT_BYTES_MAX`].
    #[error("the document has more than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge,
    /// Not three parts of unpadded base64url, or a header that is not the fixed one.
    #[error(
        "this is no signed document of ours: expected header.document.signature in unpadded base64url with \
         the fixed header of Ed25519; get the file from its publisher again"
    )]
    Malformed,
    /// Signed as another kind of document.
    #[error("this is signed as {found}, expected {expected}; give the file to the command for that kind")]
    Type {
        /// What was asked for.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// Signed by a key that is not among the given ones.
    #[error(
        "this is signed by key {0}, which is none of those given; get the signer's keys from a place that you trust"
    )]
    UnknownKey(KeyId),
    /// The signature is not one of these bytes.
    #[error("the signature does not match: the document was changed after it was signed, or damaged")]
    Signature,
}

/// A document whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    document: Vec<u8>,
    key: KeyId,
}

impl Verified {
    /// The exact bytes that were signed.
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// The exact bytes that were signed.
    pub fn into_document(self) -> Vec<u8> {
        self.document
    }

    /// Whose signature it is.
    pub fn key(&self) -> KeyId {
        self.key
    }
}

fn header(kind: DocumentType, key: KeyId) -> String {
    let header = format!("{BEFORE_KID}{key}{BEFORE_TYP}{}{AFTER_TYP}", kind.as_str());
    URL_SAFE_NO_PAD.encode(header)
}

/// Signs the bytes of a document. Deterministic: the same key, type and bytes give the same text.
///
/// [`SignError::TooLarge`] above [`DOCUMENT_BYTES_MAX`].
pub fn sign(key: &SigningKey, kind: DocumentType, document: &[u8]) -> Result<String, SignError> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(SignError::TooLarge);
    }
    let mut text = header(kind, key.public_key().id());
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(document, &mut text);
    let signature = key.sign_bytes(text.as_bytes());
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    Ok(text)
}

/// Verifies a document of type `kind` that one of `keys` must have signed. White space around the text, such as the end
/// of a file's last line, is not looked at; nothing else is lenient.
///
/// The error says what is wrong; nothing of the document is given out before its signature is verified.
pub fn verify(keys: &[PublicKey], kind: DocumentType, text: &str) -> Result<Verified, SignError> {
    let text = text.trim_ascii();
    if text.len() > SIGNED_BYTES_MAX {
        return Err(SignError::TooLarge);
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(SignError::Malformed)?;
    let (head, document) = signed.split_once('.').ok_or(SignError::Malformed)?;
    let key = keys.iter().find(|key| header(kind, key.id()) == head).ok_or_else(|| why_no_key(kind, head))?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| SignError::Malformed)?;
    let signature: [u8; SIGNATURE_LEN] = signature.try_into().map_err(|_| SignError::Malformed)?;
    if !key.verify_bytes(signed.as_bytes(), &signature) {
        return Err(SignError::Signature);
    }
    // The decoder refuses padding, line breaks and bits left over, so there is one text for these bytes.
    let document = URL_SAFE_NO_PAD.decode(document).map_err(|_| SignError::Malformed)?;
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(SignError::TooLarge);
    }
    Ok(Verified { document, key: key.id() })
}

/// Takes a signed text apart without verifying it: the document, and whose signature it says it has. For texts of one's
/// own store, and to show what a file holds to somebody who is told that it was not verified.
pub fn read_unverified(kind: DocumentType, text: &str) -> Result<(Vec<u8>, KeyId), SignError> {
    let text = text.trim_ascii();
    if text.len() > SIGNED_BYTES_MAX {
        return Err(SignError::TooLarge);
    }
    let mut parts = text.split('.');
    let (Some(head), Some(document), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SignError::Malformed);
    };
    let (key, found) = read_header(head).ok_or(SignError::Malformed)?;
    if found != kind.as_str() {
        return Err(SignError::Type { expected: kind.as_str(), found });
    }
    Ok((URL_SAFE_NO_PAD.decode(document).map_err(|_| SignError::Malformed)?, key))
}

/// What to say about a header that belongs to no given key. Only words depend on what is read here.
fn why_no_key(kind: DocumentType, head: &str) -> SignError {
    match read_header(head) {
        Some((_, found)) if found != kind.as_str() => SignError::Type { expected: kind.as_str(), found },
        Some((id, _)) => SignError::UnknownKey(id),
        None => SignError::Malformed,
    }
}

/// The key and the type of a header that has our layout.
fn read_header(head: &str) -> Option<(KeyId, String)> {
    if head.len() > HEADER_BYTES_MAX {
        return None;
    }
    let header = String::from_utf8(URL_SAFE_NO_PAD.decode(head).ok()?).ok()?;
    let (kid, typ) = header.strip_prefix(BEFORE_KID)?.split_once(BEFORE_TYP)?;
    let typ = typ.strip_suffix(AFTER_TYP)?;
    let plain = typ.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'));
    plain.then_some((kid.parse::<KeyId>().ok()?, typ.to_owned()))
}
