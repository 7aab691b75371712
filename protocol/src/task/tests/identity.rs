//! Ids and keys, computed a second time from the primitives.

use base64::Engine as _;
use ring::{digest, hmac};

use super::*;
use crate::codec::Decode as _;

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

/// HKDF (RFC 5869) for one block of output, written with HMAC alone.
fn hkdf(salt: &[u8], secret: &[u8], info: &[u8]) -> Vec<u8> {
    let pseudorandom = hmac_sha256(salt, secret);
    hmac_sha256(&pseudorandom, &[info, &[1]].concat())
}

#[test]
fn the_hkdf_here_is_that_of_rfc_5869() {
    // RFC 5869 A.1, whose 42 bytes of output begin with the first block.
    let salt = hex::decode("000102030405060708090a0b0c").unwrap();
    let info = hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap();
    let block = hkdf(&salt, &[0x0b; 22], &info);
    assert_eq!(hex::encode(block), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
}

#[test]
fn a_task_id_is_the_salted_hash_of_the_configuration() {
    for draft in [Draft::plain(VdafConfig::Count), Draft::arras(VdafConfig::Count), Draft::attribution()] {
        let configuration = draft.configuration();
        let salted = [sha256(b"dap-taskprov task id"), configuration.to_bytes()].concat();
        assert_eq!(configuration.task_id().as_bytes().as_slice(), sha256(&salted));
        let task = Task::new(configuration.clone()).unwrap();
        assert_eq!(task.id(), configuration.task_id());
        assert_eq!(task.vdaf_context(), [b"dap-18", task.id().as_bytes().as_slice()].concat());
        assert_eq!(task.aad_prefix(), [task.id().as_bytes().as_slice(), &configuration.to_bytes()].concat(),);
    }
}

#[test]
fn every_field_makes_another_task() {
    let base = || Draft::arras(VdafConfig::histogram(4).unwrap());
    let other_policy = PrivacyPolicy { threshold: 41, ..policy(&VdafConfig::histogram(4).unwrap()) };
    let drafts = [
        base(),
        Draft { task_info: b"Sales".to_vec(), ..base() },
        Draft { leader: "https://leader.example", ..base() },
        Draft { helper: "https://HELPER.example/", ..base() },
        Draft { time_precision: 3_601, ..base() },
        Draft { min_batch_size: 101, ..base() },
        Draft { batch_mode: BATCH_MODE_COLLECTOR_SELECTED, ..base() },
        Draft { vdaf: VdafConfig::Histogram { length: 4, chunk_length: 1 }, ..base() },
        base().with(TASK_EXTENSION_PRIVACY_POLICY, &other_policy.to_bytes()),
        base().with(TASK_EXTENSION_BUDGET_SOURCE, b"shop2.example"),
        base().with(TASK_EXTENSION_TASK_INTERVAL, &interval(1, 2)),
    ];
    let ids: std::collections::HashSet<_> =
        drafts.iter().map(|draft| draft.clone().configuration().task_id()).collect();
    assert_eq!(ids.len(), drafts.len());
}

#[test]
fn a_verify_key_is_hkdf_of_the_shared_secret() {
    let id = TaskId::new(std::array::from_fn(|index| u8::try_from(index).unwrap()));
    for byte in [0, 1, 0xff] {
        let expected = hkdf(&sha256(b"dap-taskprov"), &[byte; 32], id.as_bytes());
        assert_eq!(VerifySecret::new([byte; 32]).verify_key(id).expose().as_slice(), expected);
    }
    let secret = VerifySecret::new([7; 32]);
    assert_ne!(secret.verify_key(id).expose(), secret.verify_key(TaskId::new([0; 32])).expose());
}

#[test]
fn keys_are_not_printed() {
    let secret = VerifySecret::new([0xc7; 32]);
    let key = secret.verify_key(TaskId::new([1; 32]));
    assert_eq!(format!("{secret:?} {key:?}"), "VerifySecret(..) VerifyKey(..)");
}

/// The example header of taskprov section 3.2: a plain task that counts, of 60 seconds, 10 reports and a
/// task interval. It is a valid configuration of DAP-18, and one that Arras takes part in.
#[test]
fn the_example_of_taskprov_decodes() {
    let header = "BHRlc3QAG2h0dHBzOi8vbGVhZGVyLmV4YW1wbGUuY29tLwAbaHR0cHM6Ly9oZWxwZXIuZXhhbXBsZS5jb20v\
                  AAAAAAAAADwAAAAAAAAACgEAAAAAAAEAAAAUAAEAEAAAAAAAAAA8AAAAAAAAAGQ=";
    let bytes = base64::engine::general_purpose::STANDARD.decode(header).unwrap();
    let configuration = TaskConfiguration::from_bytes(&bytes).unwrap();
    assert_eq!(configuration.to_bytes(), bytes);
    assert_eq!(configuration.task_info(), b"test");
    assert_eq!(configuration.leader.as_str(), "https://leader.example.com/");
    assert_eq!(configuration.helper.as_str(), "https://helper.example.com/");
    let salted = [sha256(b"dap-taskprov task id"), bytes].concat();
    assert_eq!(configuration.task_id().as_bytes().as_slice(), sha256(&salted));

    let task = Task::new(configuration).unwrap();
    assert_eq!(task.profile(), Profile::Plain);
    assert_eq!(task.configuration().time_precision.seconds(), 60);
    assert_eq!(task.configuration().min_batch_size, 10);
    assert_eq!(task.vdaf().config(), &VdafConfig::Count);
    assert_eq!(
        task.interval().map(|interval| (interval.start(), interval.end())),
        Some((Time(60), Time(160)))
    );
    assert_eq!((task.policy(), task.budget_source(), task.collector_identity()), (None, None, None));
}
