//! The vectors of RFC 9180 and of Wycheproof; each file names where it comes from.

use serde_json::Value;
use zeroize::Zeroizing;

#[cfg(feature = "open")]
use super::super::x25519::aws_lc;
use super::super::{
    AEAD_ID, ENC_LEN, HpkeError, KDF_ID, KEM_ID, Opener, PrivateKey, PublicKey, Sealer,
    kdf::Schedule,
    x25519::{DhOutput, dalek},
};
use super::seeded;

fn bytes(vector: &Value, name: &str) -> Vec<u8> {
    hex::decode(vector[name].as_str().unwrap()).unwrap()
}

fn key(vector: &Value, name: &str) -> [u8; ENC_LEN] {
    bytes(vector, name).try_into().unwrap()
}

fn rfc9180() -> Value {
    serde_json::from_str(include_str!("../../../vectors/rfc9180/a1_1_base.json")).unwrap()
}

#[test]
fn rfc9180_names_this_suite() {
    let vector = rfc9180();
    assert_eq!(vector["mode"], 0);
    assert_eq!(vector["kem_id"], KEM_ID);
    assert_eq!(vector["kdf_id"], KDF_ID);
    assert_eq!(vector["aead_id"], AEAD_ID);
}

#[test]
fn rfc9180_key_schedule() {
    let vector = rfc9180();
    let recipient = PrivateKey::from_bytes(key(&vector, "skRm"));
    assert_eq!(recipient.public_key().as_bytes(), &key(&vector, "pkRm"));
    let ephemeral = Zeroizing::new(key(&vector, "skEm"));
    let enc = key(&vector, "enc");
    assert_eq!(dalek::public_key(&ephemeral), enc);

    let schedule = Schedule::new(&recipient.public_key(), &bytes(&vector, "info"));
    assert_eq!(schedule.context().as_slice(), bytes(&vector, "key_schedule_context"));
    let dh = dalek::Secret::new(&ephemeral).unwrap().agree(&key(&vector, "pkRm")).unwrap();
    let shared_secret = schedule.extract_and_expand(&dh, &enc);
    assert_eq!(*shared_secret, key(&vector, "shared_secret"));
    let message_key = schedule.key_schedule(&shared_secret);
    assert_eq!(message_key.key.as_slice(), bytes(&vector, "key"));
    assert_eq!(message_key.nonce.as_slice(), bytes(&vector, "base_nonce"));
}

#[test]
fn rfc9180_seals_and_opens() {
    let vector = rfc9180();
    let encryption = &vector["encryption"];
    assert_eq!(encryption["sequence_number"], 0);
    let (info, aad) = (bytes(&vector, "info"), bytes(encryption, "aad"));
    let (plaintext, ciphertext) = (bytes(encryption, "pt"), bytes(encryption, "ct"));

    let sealer = Sealer::new(&PublicKey::from_bytes(key(&vector, "pkRm")), &info);
    let ephemeral = Zeroizing::new(key(&vector, "skEm"));
    let sealed = sealer.seal_with(&ephemeral, &aad, &plaintext).unwrap();
    assert_eq!(sealed.enc, key(&vector, "enc"));
    assert_eq!(sealed.ciphertext, ciphertext);

    let opener = Opener::new(&PrivateKey::from_bytes(key(&vector, "skRm")), &info).unwrap();
    assert_eq!(opener.open(&bytes(&vector, "enc"), &aad, &ciphertext), Ok(plaintext));
}

fn wycheproof() -> Vec<Value> {
    let mut file: Value =
        serde_json::from_str(include_str!("../../../vectors/wycheproof/x25519_test.json")).unwrap();
    serde_json::from_value(file["tests"].take()).unwrap()
}

fn has_zero_result(test: &Value) -> bool {
    test["flags"].as_array().unwrap().iter().any(|flag| flag == "ZeroSharedSecret")
}

/// Runs every vector through one library. "Acceptable" ones (twist, non-canonical keys) have a
/// result that RFC 7748 defines, so they must come out right too, unless it is zero.
fn check_wycheproof(
    agree: impl Fn(&Zeroizing<[u8; ENC_LEN]>, &[u8; ENC_LEN]) -> Result<DhOutput, HpkeError>,
) {
    let (mut computed, mut refused) = (0, 0);
    for test in wycheproof() {
        let output = agree(&Zeroizing::new(key(&test, "private")), &key(&test, "public"));
        if has_zero_result(&test) {
            assert_eq!(test["result"], "acceptable");
            assert_eq!(key(&test, "shared"), [0; ENC_LEN]);
            assert_eq!(output.err(), Some(HpkeError::WeakKey), "test {}", test["tcId"]);
            refused += 1;
        } else {
            assert_eq!(output.map(|output| *output), Ok(key(&test, "shared")), "test {}", test["tcId"]);
            computed += 1;
        }
    }
    assert_eq!((computed, refused), (487, 31), "the whole file was read");
}

#[test]
fn wycheproof_x25519_by_dalek() {
    check_wycheproof(|private, public| dalek::Secret::new(private)?.agree(public));
}

#[test]
#[cfg(feature = "open")]
fn wycheproof_x25519_by_aws_lc() {
    check_wycheproof(|private, public| aws_lc::Secret::new(private)?.agree(public));
}

#[test]
#[cfg(feature = "open")]
fn both_libraries_agree() {
    let mut rng = seeded(10);
    for _ in 0..200 {
        let private = Zeroizing::new(*PrivateKey::generate(&mut rng).expose_bytes());
        // Random bytes: half of them are points of the twist.
        let peer = *PrivateKey::generate(&mut rng).expose_bytes();
        let by_dalek = dalek::Secret::new(&private).unwrap().agree(&peer).unwrap();
        let by_aws_lc = aws_lc::Secret::new(&private).unwrap().agree(&peer).unwrap();
        assert_eq!(*by_dalek, *by_aws_lc);
        let public = dalek::public_key(&private);
        assert_eq!(aws_lc::Secret::new(&private).unwrap().public_key(), Ok(public));
        assert_eq!(dalek::Secret::new(&private).unwrap().public_key(), Ok(public));
    }
}

#[test]
fn weak_points_are_refused_by_both_sides() {
    let mut rng = seeded(11);
    let recipient = PrivateKey::generate(&mut rng);
    let opener = Opener::new(&recipient, b"info").unwrap();
    let weak: Vec<_> = wycheproof().into_iter().filter(has_zero_result).collect();
    assert_eq!(weak.len(), 31);
    for test in weak {
        let point = key(&test, "public");
        let sealer = Sealer::new(&PublicKey::from_bytes(point), b"info");
        assert_eq!(sealer.seal(&mut rng, b"aad", b"plaintext"), Err(HpkeError::WeakKey));
        assert_eq!(opener.open(&point, b"aad", &[0; 32]), Err(HpkeError::WeakKey));
    }
}
