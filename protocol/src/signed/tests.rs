#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;

/// RFC 8037 appendix A.1: the private key `d` and the public key `x`.
const D: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

/// Our own: the key of RFC 8037, type manifest, document `{"a":1}`. Made by Python's `cryptography` (OpenSSL), not by this
/// code.
const GOLDEN: &str = include_str!("../../vectors/arras-1/signed_document.jws");

fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn rfc_key() -> SigningKey {
    SigningKey::from_bytes(&bytes(D).try_into().unwrap())
}

fn other_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

#[test]
fn known_answers_of_rfc_8037() {
    let key = rfc_key();
    assert_eq!(key.public_key().to_string(), X);
    // Appendix A.3: the thumbprint.
    assert_eq!(key.public_key().id().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    // Appendix A.4: the signature over header and payload.
    let input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let expected = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(URL_SAFE_NO_PAD.encode(key.sign_bytes(input.as_bytes())), expected);
    let signature = bytes(expected).try_into().unwrap();
    assert!(key.public_key().verify_bytes(input.as_bytes(), &signature));
    // Its header is not ours: a valid signature with a header of another layout is refused all the same.
    let theirs = format!("{input}.{expected}");
    assert_eq!(verify(&[*key.public_key()], DocumentType::Release, &theirs), Err(SignError::Malformed));
}

#[test]
fn the_golden_document_stays_as_it_is() {
    let key = rfc_key();
    let text = sign(&key, DocumentType::Manifest, b"{\"a\":1}").unwrap();
    assert_eq!(text, GOLDEN.trim_end());
    let verified = verify(&[*key.public_key()], DocumentType::Manifest, GOLDEN).unwrap();
    assert_eq!(verified.document(), b"{\"a\":1}");
    assert_eq!(verified.key(), key.public_key().id());
}

#[test]
fn a_document_is_verified_by_its_key_and_for_its_type_only() {
    let (key, other) = (rfc_key(), other_key());
    let text = sign(&key, DocumentType::Release, b"document").unwrap();
    let both = [*other.public_key(), *key.public_key()];
    assert_eq!(verify(&both, DocumentType::Release, &text).unwrap().into_document(), b"document");
    let unknown = SignError::UnknownKey(key.public_key().id());
    assert_eq!(verify(&both[..1], DocumentType::Release, &text), Err(unknown.clone()));
    assert_eq!(verify(&[], DocumentType::Release, &text), Err(unknown));
    let typed = SignError::Type { expected: "arras-manifest+json", found: "arras-release+json".to_owned() };
    assert_eq!(verify(&both, DocumentType::Manifest, &text), Err(typed.clone()));
    // Taking it apart needs no key, and says whose it claims to be.
    let apart = read_unverified(DocumentType::Release, &text).unwrap();
    assert_eq!(apart, (b"document".to_vec(), key.public_key().id()));
    assert_eq!(read_unverified(DocumentType::Manifest, &text), Err(typed));
    for wrong in ["", "a.b.c", &format!("{text}.x"), text.rsplit_once('.').unwrap().0] {
        assert_eq!(read_unverified(DocumentType::Release, wrong), Err(SignError::Malformed), "{wrong}");
    }
}

#[test]
fn headers_are_compared_and_not_negotiated() {
    let key = rfc_key();
    let id = key.public_key().id();
    for header in [
        format!("{{\"alg\":\"none\",\"kid\":\"{id}\",\"typ\":\"arras-release+json\"}}"),
        format!("{{\"alg\":\"HS256\",\"kid\":\"{id}\",\"typ\":\"arras-release+json\"}}"),
        format!("{{\"kid\":\"{id}\",\"alg\":\"EdDSA\",\"typ\":\"arras-release+json\"}}"),
        format!("{{\"alg\":\"EdDSA\",\"kid\":\"{id}\",\"typ\":\"arras-release+json\",\"crit\":[]}}"),
        format!("{{\"alg\":\"EdDSA\", \"kid\":\"{id}\",\"typ\":\"arras-release+json\"}}"),
        format!("{{\"alg\":\"EdDSA\",\"kid\":\"{id}\",\"typ\":\"x\",\"typ\":\"arras-release+json\"}}"),
        format!("{{\"alg\":\"EdDSA\",\"jwk\":{{\"x\":\"{X}\"}},\"typ\":\"arras-release+json\"}}"),
        "{}".to_owned(),
        String::new(),
    ] {
        // Signed by the right key, so that nothing but the header is wrong.
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode("x"));
        let signature = URL_SAFE_NO_PAD.encode(key.sign_bytes(signed.as_bytes()));
        let text = format!("{signed}.{signature}");
        let error = verify(&[*key.public_key()], DocumentType::Release, &text).unwrap_err();
        assert_eq!(error, SignError::Malformed, "{header}");
    }
}

#[test]
fn every_changed_character_is_noticed() {
    let key = rfc_key();
    let keys = [*key.public_key(), *other_key().public_key()];
    let text = sign(&key, DocumentType::Release, b"{\"buckets\":[1,2,3]}").unwrap();
    for position in 0..text.len() {
        for other in *b"A_b.0= " {
            let mut changed = text.clone().into_bytes();
            if changed[position] == other {
                continue;
            }
            changed[position] = other;
            let changed = String::from_utf8(changed).unwrap();
            // A space at an end is trimmed, and then a character is missing.
            assert!(verify(&keys, DocumentType::Release, &changed).is_err(), "{position}: {changed}");
        }
    }
    for length in 0..text.len() {
        assert!(verify(&keys, DocumentType::Release, &text[..length]).is_err());
    }
    for added in ["A", ".", "=", ".AAAA"] {
        assert!(verify(&keys, DocumentType::Release, &format!("{text}{added}")).is_err());
    }
    assert!(verify(&keys, DocumentType::Release, &format!("  {text}\r\n")).is_ok());
}

/// The group's order: adding it to a signature's scalar gives a second signature, which RFC 8032 section 5.1.7 refuses.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn a_signature_cannot_be_turned_into_another_one() {
    let key = rfc_key();
    let mut signature = key.sign_bytes(b"bytes");
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    assert!(key.public_key().verify_bytes(b"bytes", &key.sign_bytes(b"bytes")));
    assert!(!key.public_key().verify_bytes(b"bytes", &signature));
}

#[test]
fn weak_and_doubly_encoded_keys_are_refused() {
    // The identity and the other point of y = 0: small order, anybody can sign for them.
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(PublicKey::from_bytes(&identity), Err(KeyError::Point));
    assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(KeyError::Point));
    // y = p + 1 is the identity once more, not reduced.
    let mut unreduced = [0xff; 32];
    unreduced[0] = 0xee;
    unreduced[31] = 0x7f;
    assert_eq!(PublicKey::from_bytes(&unreduced), Err(KeyError::Point));
    for text in ["", "AAAA", &X[..42], &format!("{X}A"), &X.replace('_', "/")] {
        assert_eq!(text.parse::<PublicKey>(), Err(KeyError::Text), "{text}");
    }
}

#[test]
fn keys_travel_as_jwk() {
    let key = rfc_key();
    let jwk = key.public_key().to_jwk();
    let json = serde_json::to_string(&jwk).unwrap();
    assert_eq!(
        json,
        format!(
            "{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{X}\",\
             \"kid\":\"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k\",\"alg\":\"EdDSA\",\"use\":\"sig\"}}"
        )
    );
    assert_eq!(PublicKey::try_from(&jwk).unwrap(), *key.public_key());
    // Appendix A.2 of RFC 8037: the least that a JWK may hold.
    let least: Jwk =
        serde_json::from_str(&format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{X}\"}}")).unwrap();
    assert_eq!(PublicKey::try_from(&least).unwrap(), *key.public_key());
    let refused = |change: fn(&mut Jwk), error| {
        let mut changed = jwk.clone();
        change(&mut changed);
        assert_eq!(PublicKey::try_from(&changed), Err(error));
    };
    refused(|jwk| jwk.kty = "EC".to_owned(), KeyError::Kind);
    refused(|jwk| jwk.crv = "X25519".to_owned(), KeyError::Kind);
    refused(|jwk| jwk.alg = Some("RS256".to_owned()), KeyError::Kind);
    refused(|jwk| jwk.r#use = Some("enc".to_owned()), KeyError::Kind);
    refused(|jwk| jwk.kid = Some(X.to_owned()), KeyError::Id);
    refused(|jwk| jwk.x = "AAAA".to_owned(), KeyError::Text);
}

#[test]
fn private_keys_do_not_show_in_debug() {
    let key = other_key();
    let shown = format!("{key:?}");
    assert!(shown.contains(&key.public_key().id().to_string()), "{shown}");
    assert!(!shown.contains("7, 7") && !shown.contains("0707"), "{shown}");
    assert_eq!(key.expose_bytes(), &[7; 32]);
}

#[test]
fn too_large_documents_are_refused() {
    let key = rfc_key();
    let largest = vec![b'x'; DOCUMENT_BYTES_MAX];
    let text = sign(&key, DocumentType::Sum, &largest).unwrap();
    assert!(text.len() <= SIGNED_BYTES_MAX);
    assert_eq!(verify(&[*key.public_key()], DocumentType::Sum, &text).unwrap().document(), largest);
    let larger = vec![b'x'; DOCUMENT_BYTES_MAX + 1];
    assert_eq!(sign(&key, DocumentType::Sum, &larger), Err(SignError::TooLarge));
    let padded = "A".repeat(SIGNED_BYTES_MAX + 1);
    assert_eq!(verify(&[*key.public_key()], DocumentType::Sum, &padded), Err(SignError::TooLarge));
}

proptest! {
    #[test]
    fn any_document_comes_back_as_it_was(document in prop::collection::vec(any::<u8>(), 0..200), seed: [u8; 32]) {
        let key = SigningKey::from_bytes(&seed);
        let text = sign(&key, DocumentType::Sum, &document).unwrap();
        let verified = verify(&[*key.public_key()], DocumentType::Sum, &text).unwrap();
        prop_assert_eq!(verified.document(), &document[..]);
        prop_assert_eq!(PublicKey::from_bytes(key.public_key().as_bytes()), Ok(*key.public_key()));
    }

    #[test]
    fn any_text_is_judged_without_a_panic(text: String) {
        let key = rfc_key();
        prop_assert!(verify(&[*key.public_key()], DocumentType::Sum, &text).is_err());
    }
}
