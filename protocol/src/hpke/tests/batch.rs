//! Opening fails where it must, and one envelope's failure is its own.

use super::super::{ENC_LEN, Envelope, HpkeError, Opener, PrivateKey, Sealed, Sealer, TAG_LEN};
use super::{random_bytes, seeded};

const INFO: &[u8] = b"dap-18 input share";
const TASK: &[u8] = b"the task's constant part of the associated data";

/// A report as it lies in memory before it is opened.
struct Report {
    sealed: Sealed,
    own_aad: Vec<u8>,
    plaintext: Vec<u8>,
}

impl Report {
    fn envelope(&self) -> Envelope<'_> {
        Envelope { enc: &self.sealed.enc, aad: [TASK, &self.own_aad], ciphertext: &self.sealed.ciphertext }
    }
}

/// An opener and `count` reports for it, each of its own lengths (the first is empty).
fn reports(seed: u64, count: usize) -> (Opener, Vec<Report>) {
    let mut rng = seeded(seed);
    let key = PrivateKey::generate(&mut rng);
    let sealer = Sealer::new(&key.public_key(), INFO);
    let reports = (0..count)
        .map(|number| {
            let plaintext = random_bytes(&mut rng, 37 * number);
            // Longer and shorter in turn: what a longer one left in the buffer must not be used.
            let own_aad = random_bytes(&mut rng, if number % 2 == 0 { 200 - number } else { number });
            let sealed = sealer.seal(&mut rng, &[TASK, &own_aad].concat(), &plaintext).unwrap();
            Report { sealed, own_aad, plaintext }
        })
        .collect();
    (Opener::new(&key, INFO).unwrap(), reports)
}

#[test]
fn a_batch_equals_its_messages_one_by_one() {
    let (opener, reports) = reports(30, 40);
    let envelopes: Vec<_> = reports.iter().map(Report::envelope).collect();
    let opened = opener.open_batch(&envelopes);
    assert_eq!(opened.len(), reports.len());
    for (report, opened) in reports.iter().zip(&opened) {
        let sealed = &report.sealed;
        let alone = opener.open(&sealed.enc, &[TASK, &report.own_aad].concat(), &sealed.ciphertext);
        assert_eq!(opened, &alone);
        assert_eq!(opened.as_ref(), Ok(&report.plaintext));
    }
    assert!(opener.open_batch(&[]).is_empty());
}

#[test]
fn where_the_associated_data_is_split_does_not_matter() {
    let (opener, reports) = reports(31, 2);
    let report = &reports[1];
    let whole = [TASK, &report.own_aad].concat();
    let envelopes: Vec<_> = (0..=whole.len())
        .map(|at| Envelope { aad: [&whole[..at], &whole[at..]], ..report.envelope() })
        .collect();
    for opened in opener.open_batch(&envelopes) {
        assert_eq!(opened.as_ref(), Ok(&report.plaintext));
    }
}

/// Puts `bad` in place of each of three envelopes in turn, and expects it to fail so, alone.
fn fails_alone(opener: &Opener, reports: &[Report], bad: &Envelope<'_>, with: HpkeError, what: &str) {
    for place in 0..reports.len() {
        let mut envelopes: Vec<_> = reports.iter().map(Report::envelope).collect();
        envelopes[place] = *bad;
        for (number, opened) in opener.open_batch(&envelopes).into_iter().enumerate() {
            if number == place {
                assert_eq!(opened, Err(with), "{what} at {place}");
            } else {
                assert_eq!(opened.as_ref(), Ok(&reports[number].plaintext), "{what} at {place}");
            }
        }
    }
}

#[test]
fn a_tampered_envelope_fails_alone() {
    let (opener, reports) = reports(32, 3);
    let report = &reports[2];
    let (good, failed) = (report.envelope(), HpkeError::OpenFailed);
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    // The first bit of the body, the last of the body, the first and last byte of the tag.
    let len = good.ciphertext.len();
    for at in [0, len - TAG_LEN - 1, len - TAG_LEN, len - 1] {
        let ciphertext = flipped(good.ciphertext, at);
        fails_alone(&opener, &reports, &Envelope { ciphertext: &ciphertext, ..good }, failed, "ciphertext");
    }
    for at in [0, ENC_LEN - 1] {
        let enc = flipped(good.enc, at);
        fails_alone(&opener, &reports, &Envelope { enc: &enc, ..good }, failed, "enc");
    }
    // The key schedule takes the encapsulated key as bytes, so that another encoding of the same
    // point, which gives the same shared point, does not open either.
    let mut enc = good.enc.to_vec();
    enc[ENC_LEN - 1] ^= 0x80;
    fails_alone(&opener, &reports, &Envelope { enc: &enc, ..good }, failed, "top bit of enc");
    let task = flipped(TASK, 0);
    fails_alone(&opener, &reports, &Envelope { aad: [&task, good.aad[1]], ..good }, failed, "task's aad");
    let own = flipped(good.aad[1], 0);
    fails_alone(&opener, &reports, &Envelope { aad: [TASK, &own], ..good }, failed, "report's aad");
    fails_alone(&opener, &reports, &Envelope { aad: [TASK, &[]], ..good }, failed, "aad cut off");
    let swapped = Envelope { ciphertext: &reports[1].sealed.ciphertext, ..good };
    fails_alone(&opener, &reports, &swapped, failed, "another report's ciphertext");
}

#[test]
fn a_truncated_envelope_fails_alone() {
    let (opener, reports) = reports(33, 3);
    let good = reports[2].envelope();
    for len in [0, 1, ENC_LEN - 1] {
        let bad = Envelope { enc: &good.enc[..len], ..good };
        fails_alone(&opener, &reports, &bad, HpkeError::KeyLength(len), "short enc");
    }
    let long = [good.enc, &[0]].concat();
    let bad = Envelope { enc: &long, ..good };
    fails_alone(&opener, &reports, &bad, HpkeError::KeyLength(ENC_LEN + 1), "long enc");
    for len in [0, 1, TAG_LEN - 1, TAG_LEN, good.ciphertext.len() - 1] {
        let bad = Envelope { ciphertext: &good.ciphertext[..len], ..good };
        fails_alone(&opener, &reports, &bad, HpkeError::OpenFailed, "short ciphertext");
    }
    let bad = Envelope { enc: &[0; ENC_LEN], ..good };
    fails_alone(&opener, &reports, &bad, HpkeError::WeakKey, "weak enc");
}

#[test]
fn another_key_or_info_does_not_open() {
    let mut rng = seeded(34);
    let key = PrivateKey::generate(&mut rng);
    let sealed = Sealer::new(&key.public_key(), INFO).seal(&mut rng, TASK, b"plaintext").unwrap();
    let open = |key: &PrivateKey, info: &[u8]| {
        Opener::new(key, info).unwrap().open(&sealed.enc, TASK, &sealed.ciphertext)
    };
    assert_eq!(open(&key, INFO).unwrap(), b"plaintext");
    assert_eq!(open(&key, b"dap-18 aggregate share"), Err(HpkeError::OpenFailed));
    assert_eq!(open(&PrivateKey::generate(&mut rng), INFO), Err(HpkeError::OpenFailed));
}
