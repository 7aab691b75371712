//! Checks against the published vectors and against another implementation, and the failures that
//! must stay alone.
#![allow(clippy::unwrap_used)]
#![allow(clippy::similar_names, reason = "sealer and sealed, opener and opened are the words for it")]

mod batch;
mod interop;
mod vectors;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{ENC_LEN, HpkeError, Opener, PrivateKey, PublicKey, Sealer};

/// Randomness that is the same in every run.
fn seeded(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn random_bytes(rng: &mut StdRng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes
}

#[test]
fn debug_shows_no_key_bytes() {
    // 0xc7 is 199 and "c7" in hex: neither may appear, in whatever form bytes are printed.
    let key = PrivateKey::from_bytes([0xc7; ENC_LEN]);
    let public = PublicKey::from_bytes([0xc7; ENC_LEN]);
    let opener = Opener::new(&key, b"info").unwrap();
    let sealer = Sealer::new(&public, b"info");
    for (shown, name) in [
        (format!("{key:?} {key:#?}"), "PrivateKey"),
        (format!("{public:?} {public:#?}"), "PublicKey"),
        (format!("{opener:?} {opener:#?}"), "Opener"),
        (format!("{sealer:?} {sealer:#?}"), "Sealer"),
    ] {
        assert!(shown.contains(name), "{shown}");
        assert!(!shown.contains("199") && !shown.to_lowercase().contains("c7"), "{shown}");
    }
}

#[test]
fn opener_and_sealer_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Opener>();
    shared::<Sealer>();
    shared::<PrivateKey>();
}

#[test]
fn keys_survive_their_bytes() {
    let key = PrivateKey::generate(&mut seeded(1));
    let again = PrivateKey::from_bytes(*key.expose_bytes());
    assert!(key.public_key() == again.public_key());
    let public = PublicKey::try_from(key.public_key().as_bytes().as_slice()).unwrap();
    assert!(public == key.public_key());
    assert_ne!(PrivateKey::generate(&mut seeded(2)).expose_bytes(), key.expose_bytes());
}

#[test]
fn public_keys_of_other_lengths_are_refused() {
    for len in [0, 31, 33, 64] {
        let refused = PublicKey::try_from(vec![9; len].as_slice());
        assert_eq!(refused.err(), Some(HpkeError::KeyLength(len)));
    }
}

#[test]
fn every_message_has_its_own_key() {
    let mut rng = seeded(3);
    let sealer = Sealer::new(&PrivateKey::generate(&mut rng).public_key(), b"info");
    let first = sealer.seal(&mut rng, b"aad", b"the same words").unwrap();
    let second = sealer.seal(&mut rng, b"aad", b"the same words").unwrap();
    assert_ne!(first.enc, second.enc);
    assert_ne!(first.ciphertext, second.ciphertext);
}

#[test]
#[cfg(target_pointer_width = "64")]
fn a_plaintext_beyond_the_limit_of_gcm_is_refused() {
    use super::{MAX_PLAINTEXT_LEN, TAG_LEN, seal::ciphertext_len};

    let longest = usize::try_from(MAX_PLAINTEXT_LEN).unwrap();
    assert_eq!(ciphertext_len(0), Ok(TAG_LEN));
    assert_eq!(ciphertext_len(longest), Ok(longest + TAG_LEN));
    assert_eq!(ciphertext_len(longest + 1), Err(HpkeError::TooLong));
    assert_eq!(ciphertext_len(usize::MAX), Err(HpkeError::TooLong));
}
