//! Releases in files: verified with keys from another file, or shown as they are.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::Path;

use arras_protocol::signed::{self, DocumentType, PublicKey, SIGNED_BYTES_MAX, SignError};

use super::ReleaseCommandError;
use crate::cli::Failure;
use crate::collector::{
    KeySet, ReadError, Release, Signature, Sum, claimed_sum_table, claimed_table, how_made, how_summed,
    sum_table, table,
};
use crate::text::printable;

/// A set of a hundred keys has 20 kB; more is another file.
const KEYS_BYTES_MAX: usize = 64 << 10;

pub(super) fn verify(
    file: &Path,
    keys: &Path,
    (json, explain): (bool, bool),
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let known = read_keys(keys)?;
    let text = read(file, SIGNED_BYTES_MAX + 2)?;
    let not_verified = |error| ReleaseCommandError::NotVerified { path: file.to_owned(), error };
    let text = std::str::from_utf8(&text).map_err(|_| not_verified(SignError::Malformed))?;
    let (kind, verified) = match signed::verify(&known, DocumentType::Release, text) {
        // What it is is part of what is signed; only its own kind is tried next.
        Err(SignError::Type { found, .. }) if found == DocumentType::Sum.as_str() => {
            (DocumentType::Sum, signed::verify(&known, DocumentType::Sum, text).map_err(not_verified)?)
        }
        other => (DocumentType::Release, other.map_err(not_verified)?),
    };
    let document = Document::read(file, kind, verified.document())?;
    // Who signed is what was verified; a document that names another key would have this print both.
    let (says, key) = (document.signing_key().unwrap_or("none"), verified.key().to_string());
    if says != key {
        let (path, says) = (file.to_owned(), printable(says));
        return Err(ReleaseCommandError::OtherKey { path, says, key }.into());
    }
    if json {
        out.write_all(verified.document())?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "verified: signed by key {}", verified.key())?;
    document.print(explain, Signature::Verified, out)
}

pub(super) fn show(file: &Path, explain: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let bytes = read(file, SIGNED_BYTES_MAX + 2)?;
    let signed_text = std::str::from_utf8(&bytes).ok().filter(|text| !text.trim_start().starts_with('{'));
    let unreadable = |error: ReadError| ReleaseCommandError::Document { path: file.to_owned(), error };
    let document = match signed_text {
        Some(text) => {
            let (kind, apart) = match signed::read_unverified(DocumentType::Release, text) {
                Err(SignError::Type { found, .. }) if found == DocumentType::Sum.as_str() => {
                    (DocumentType::Sum, signed::read_unverified(DocumentType::Sum, text))
                }
                other => (DocumentType::Release, other),
            };
            Document::read(file, kind, &apart.map_err(|error| unreadable(error.into()))?.0)?
        }
        // A JSON document does not say what it is: a release has a number.
        None => match Document::read(file, DocumentType::Release, &bytes) {
            Err(error) => Document::read(file, DocumentType::Sum, &bytes).map_err(|_| error)?,
            release => release?,
        },
    };
    writeln!(out, "NOT verified: `arras release verify` does that, with the collector's keys")?;
    document.print(explain, Signature::Unchecked, out)
}

/// What a file holds.
enum Document {
    Release(Box<Release>),
    Sum(Box<Sum>),
}

impl Document {
    fn read(file: &Path, kind: DocumentType, json: &[u8]) -> Result<Self, ReleaseCommandError> {
        let document = if kind == DocumentType::Sum {
            Sum::from_json(json).map(|sum| Self::Sum(Box::new(sum)))
        } else {
            Release::from_json(json).map(|release| Self::Release(Box::new(release)))
        };
        document.map_err(|error| ReleaseCommandError::Document { path: file.to_owned(), error })
    }

    /// The key that it says it is signed with.
    fn signing_key(&self) -> Option<&str> {
        match self {
            Self::Release(release) => release.keys.as_ref().map(|keys| keys.signing.as_str()),
            Self::Sum(sum) => Some(&sum.keys.signing),
        }
    }

    fn print(&self, explain: bool, signature: Signature, out: &mut dyn Write) -> Result<(), Failure> {
        let table = match (self, signature) {
            (Self::Release(release), Signature::Verified) => table(release, None),
            (Self::Release(release), Signature::Unchecked) => claimed_table(release),
            (Self::Sum(sum), Signature::Verified) => sum_table(sum),
            (Self::Sum(sum), Signature::Unchecked) => claimed_sum_table(sum),
        };
        let words = match self {
            Self::Release(release) => how_made(release, signature),
            Self::Sum(sum) => how_summed(sum, signature),
        };
        write!(out, "{table}")?;
        if explain {
            writeln!(out, "\nHow these numbers were made\n")?;
            write!(out, "{words}")?;
        }
        Ok(())
    }
}

fn read(path: &Path, most: usize) -> Result<Vec<u8>, ReleaseCommandError> {
    let failed = |error| ReleaseCommandError::File { path: path.to_owned(), error };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > most { Err(ReleaseCommandError::TooLarge(path.to_owned())) } else { Ok(bytes) }
}

/// A JWK set, or one key as text.
fn read_keys(path: &Path) -> Result<Vec<PublicKey>, ReleaseCommandError> {
    let wrong =
        |reason: String| ReleaseCommandError::Keys { path: path.to_owned(), reason: printable(&reason) };
    let bytes = read(path, KEYS_BYTES_MAX)?;
    if let Some(key) = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse::<PublicKey>().ok())
    {
        return Ok(vec![key]);
    }
    let set: KeySet = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    let keys = set.public_keys().map_err(|error| wrong(error.to_string()))?;
    if keys.is_empty() { Err(wrong("there is no Ed25519 key in it".to_owned())) } else { Ok(keys) }
}
