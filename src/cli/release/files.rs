//! Releases in files: verified with keys from another file, or shown as they are.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::Path;

use arras_protocol::signed::{self, DocumentType, PublicKey, SIGNED_BYTES_MAX, SignError};

use super::ReleaseCommandError;
use crate::collector::{KeySet, Release, how_made, table};

/// A set of a hundred keys has 20 kB; more is another file.
const KEYS_BYTES_MAX: usize = 64 << 10;

pub(super) fn verify(
    file: &Path,
    keys: &Path,
    (json, explain): (bool, bool),
    out: &mut dyn Write,
) -> Result<(), ReleaseCommandError> {
    let known = read_keys(keys)?;
    let text = read(file, SIGNED_BYTES_MAX + 2)?;
    let not_verified = |error| ReleaseCommandError::NotVerified { path: file.to_owned(), error };
    let text = std::str::from_utf8(&text).map_err(|_| not_verified(SignError::Malformed))?;
    let verified = signed::verify(&known, DocumentType::Release, text).map_err(not_verified)?;
    let release = parse(file, verified.document())?;
    if json {
        out.write_all(verified.document())?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "verified: signed by key {}", verified.key())?;
    print(&release, explain, out)
}

pub(super) fn show(file: &Path, explain: bool, out: &mut dyn Write) -> Result<(), ReleaseCommandError> {
    let bytes = read(file, SIGNED_BYTES_MAX + 2)?;
    let signed_text = std::str::from_utf8(&bytes).ok().filter(|text| !text.trim_start().starts_with('{'));
    let release = match signed_text {
        Some(text) => {
            let apart = signed::read_unverified(DocumentType::Release, text);
            let (document, _) = apart.map_err(|error| ReleaseCommandError::Document {
                path: file.to_owned(),
                error: error.into(),
            })?;
            parse(file, &document)?
        }
        None => parse(file, &bytes)?,
    };
    writeln!(out, "NOT verified: `arras release verify` does that, with the collector's keys")?;
    print(&release, explain, out)
}

fn print(release: &Release, explain: bool, out: &mut dyn Write) -> Result<(), ReleaseCommandError> {
    write!(out, "{}", table(release, None))?;
    if explain {
        writeln!(out, "\nHow these numbers were made\n")?;
        write!(out, "{}", how_made(release))?;
    }
    Ok(())
}

fn parse(file: &Path, document: &[u8]) -> Result<Release, ReleaseCommandError> {
    Release::from_json(document)
        .map_err(|error| ReleaseCommandError::Document { path: file.to_owned(), error })
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
    let wrong = |reason: String| ReleaseCommandError::Keys { path: path.to_owned(), reason };
    let bytes = read(path, KEYS_BYTES_MAX)?;
    if let Some(key) = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse::<PublicKey>().ok())
    {
        return Ok(vec![key]);
    }
    let set: KeySet = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    let keys = set.public_keys().map_err(|error| wrong(error.to_string()))?;
    if keys.is_empty() { Err(wrong("there is no Ed25519 key in it".to_owned())) } else { Ok(keys) }
}
