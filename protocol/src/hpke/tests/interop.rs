//! Each side against the crate `hpke`.

use hpke::{Deserializable, Kem as _, OpModeR, OpModeS, Serializable, single_shot_open};
use rand::RngExt;

use super::super::{Opener, PrivateKey, PublicKey, Sealer};
use super::{random_bytes, seeded};

type Aead = hpke::aead::AesGcm128;
type Kdf = hpke::kdf::HkdfSha256;
type Kem = hpke::kem::X25519HkdfSha256;
type TheirPrivateKey = <Kem as hpke::Kem>::PrivateKey;
type TheirPublicKey = <Kem as hpke::Kem>::PublicKey;
type TheirEnc = <Kem as hpke::Kem>::EncappedKey;

/// Plaintext lengths: empty, around the blocks of AES and of the vector code, beyond 64 KiB.
const LENGTHS: [usize; 16] =
    [0, 1, 15, 16, 17, 31, 64, 80, 127, 128, 1_000, 1_650, 5_300, 18_500, 65_536, 70_001];

#[test]
fn their_public_key_is_ours() {
    for seed in 0..20 {
        let key = PrivateKey::generate(&mut seeded(seed));
        let theirs = TheirPrivateKey::from_bytes(key.expose_bytes()).unwrap();
        assert_eq!(Kem::sk_to_pk(&theirs).to_bytes().as_slice(), key.public_key().as_bytes());
    }
}

#[test]
fn they_open_what_we_seal() {
    let mut rng = seeded(20);
    for len in LENGTHS {
        let key = PrivateKey::generate(&mut rng);
        let (info_len, aad_len) = (rng.random_range(0..300), rng.random_range(0..3_000));
        let (info, aad) = (random_bytes(&mut rng, info_len), random_bytes(&mut rng, aad_len));
        let plaintext = random_bytes(&mut rng, len);
        let sealed = Sealer::new(&key.public_key(), &info).seal(&mut rng, &aad, &plaintext).unwrap();

        let opened = single_shot_open::<Aead, Kdf, Kem>(
            &OpModeR::Base,
            &TheirPrivateKey::from_bytes(key.expose_bytes()).unwrap(),
            &TheirEnc::from_bytes(&sealed.enc).unwrap(),
            &info,
            &sealed.ciphertext,
            &aad,
        );
        assert_eq!(opened.unwrap(), plaintext, "{len} bytes");
    }
}

#[test]
fn we_open_what_they_seal() {
    let mut rng = seeded(21);
    for len in LENGTHS {
        let (theirs, public) = Kem::gen_keypair_with_rng(&mut rng);
        let (info_len, aad_len) = (rng.random_range(0..300), rng.random_range(0..3_000));
        let (info, aad) = (random_bytes(&mut rng, info_len), random_bytes(&mut rng, aad_len));
        let plaintext = random_bytes(&mut rng, len);
        let (enc, ciphertext) = hpke::single_shot_seal_with_rng::<Aead, Kdf, Kem>(
            &OpModeS::Base,
            &public,
            &info,
            &plaintext,
            &aad,
            &mut rng,
        )
        .unwrap();

        let key = PrivateKey::from_bytes(theirs.to_bytes().as_slice().try_into().unwrap());
        let opener = Opener::new(&key, &info).unwrap();
        assert_eq!(opener.open(&enc.to_bytes(), &aad, &ciphertext), Ok(plaintext), "{len} bytes");
    }
}

#[test]
fn one_sealer_and_one_opener_serve_many_messages() {
    let mut rng = seeded(22);
    let key = PrivateKey::generate(&mut rng);
    let public = TheirPublicKey::from_bytes(key.public_key().as_bytes()).unwrap();
    assert_eq!(PublicKey::try_from(public.to_bytes().as_slice()), Ok(key.public_key()));
    let (sealer, opener) = (Sealer::new(&key.public_key(), b"info"), Opener::new(&key, b"info").unwrap());
    for number in 0..100_u32 {
        let plaintext = number.to_be_bytes();
        let sealed = sealer.seal(&mut rng, b"aad", &plaintext).unwrap();
        assert_eq!(opener.open(&sealed.enc, b"aad", &sealed.ciphertext).unwrap(), plaintext);
    }
}
