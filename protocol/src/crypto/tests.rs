//! The two libraries against each other. The published vectors run through whichever is built in, and `.ci/run` builds both.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{AEAD_TAG_LEN, AeadFailed, pure, ring, sha256};

#[test]
fn the_hash_is_sha_256() {
    // FIPS 180-2 B.1.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hex::encode(sha256(b"abc")), expected);
}

proptest! {
    #[test]
    fn both_libraries_hash_alike(
        secret in proptest::collection::vec(any::<u8>(), 0..150),
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..5),
    ) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let (mut one, mut other) = (ring::Sha256::new(), pure::Sha256::new());
        for piece in &pieces {
            one.update(piece);
            other.update(piece);
        }
        prop_assert_eq!(one.finish(), other.finish());
        prop_assert_eq!(*ring::HmacKey::new(&secret).sign(&pieces), *pure::HmacKey::new(&secret).sign(&pieces));
    }

    #[test]
    fn each_library_opens_what_the_other_sealed(
        key: [u8; 16], nonce: [u8; 12],
        aad in proptest::collection::vec(any::<u8>(), 0..100),
        plaintext in proptest::collection::vec(any::<u8>(), 0..3_000),
        flip in any::<proptest::sample::Index>(),
    ) {
        let (mut one, mut other) = (plaintext.clone(), plaintext.clone());
        ring::AeadKey::new(&key).seal(&nonce, &aad, &mut one).unwrap();
        pure::AeadKey::new(&key).seal(&nonce, &aad, &mut other).unwrap();
        prop_assert_eq!(&one, &other);
        let (body, tag) = one.split_last_chunk::<AEAD_TAG_LEN>().unwrap();
        let mut opened = body.to_vec();
        prop_assert_eq!(pure::AeadKey::new(&key).open(&nonce, &aad, tag, &mut opened), Ok(()));
        prop_assert_eq!(&opened, &plaintext);
        let mut opened = body.to_vec();
        prop_assert_eq!(ring::AeadKey::new(&key).open(&nonce, &aad, tag, &mut opened), Ok(()));
        prop_assert_eq!(&opened, &plaintext);

        other[flip.index(one.len())] ^= 1;
        let (body, tag) = other.split_last_chunk::<AEAD_TAG_LEN>().unwrap();
        let mut opened = body.to_vec();
        prop_assert_eq!(pure::AeadKey::new(&key).open(&nonce, &aad, tag, &mut opened), Err(AeadFailed));
    }
}
