//! Reports that must not count, each between reports that must.

use super::*;
use crate::task::tests::interval;

/// What is done to a finished report, and who refuses it.
type Changed = (&'static str, fn(&mut Report), By);
/// What is done to the shares before they are sealed, who refuses the report and why.
type Altered = (&'static str, fn(&mut Sharded), By, ReportError);

/// Of the good reports around the bad one.
const GOOD: [u64; 4] = [1, 2, 0, 3];

/// The bad report is refused for this reason by this party, alone; the two good ones around it count.
fn check(parties: &Parties, name: &str, bad: &Report, by: By, error: ReportError) {
    let good = [100, 101].map(|seed| parties.make(seed, &Measurement::Vector(GOOD.to_vec())));
    let [first, last] = good;
    let outcome = parties.aggregate(&[first, bad.clone(), last]);
    assert_eq!(outcome.refused, [(bad.metadata.report_id, by, error)], "{name}");
    assert_eq!(outcome.leader.report_count, 2, "{name}");
    assert_eq!(parties.sums(&outcome), GOOD.map(|cell| 2 * i128::from(cell)), "{name}");
}

fn good(parties: &Parties) -> Report {
    parties.make(7, &Measurement::Vector(vec![0, 7, 0, 0]))
}

fn by_hand(parties: &Parties) -> ByHand<'_> {
    ByHand::new(parties, Measurement::Vector(vec![0, 7, 0, 0]))
}

/// The ciphertext with one byte changed, counted from the end.
fn flipped(sealed: &HpkeCiphertext, from_end: usize) -> HpkeCiphertext {
    let mut bytes = sealed.to_bytes();
    let index = bytes.len() - 1 - from_end;
    bytes[index] ^= 1;
    HpkeCiphertext::from_bytes(&bytes).unwrap()
}

fn with_config(sealed: &HpkeCiphertext, config_id: u8) -> HpkeCiphertext {
    let mut bytes = sealed.to_bytes();
    bytes[0] = config_id;
    HpkeCiphertext::from_bytes(&bytes).unwrap()
}

/// The encapsulated key with one byte changed.
fn other_enc(sealed: &HpkeCiphertext) -> HpkeCiphertext {
    let mut bytes = sealed.to_bytes();
    bytes[3] ^= 1;
    HpkeCiphertext::from_bytes(&bytes).unwrap()
}

#[test]
fn changed_on_the_way() {
    let parties = Parties::of(sum_task());
    let changed = |change: fn(&mut Report)| {
        let mut report = good(&parties);
        change(&mut report);
        report
    };
    let cases: [Changed; 11] = [
        ("leader's tag", |report| report.leader_share = flipped(&report.leader_share, 0), By::Leader),
        ("leader's ciphertext", |report| report.leader_share = flipped(&report.leader_share, 40), By::Leader),
        ("leader's enc", |report| report.leader_share = other_enc(&report.leader_share), By::Leader),
        ("helper's tag", |report| report.helper_share = flipped(&report.helper_share, 0), By::Helper),
        ("helper's enc", |report| report.helper_share = other_enc(&report.helper_share), By::Helper),
        (
            "leader's config id",
            |report| report.leader_share = with_config(&report.leader_share, 9),
            By::Leader,
        ),
        (
            "helper's config id",
            |report| report.helper_share = with_config(&report.helper_share, 9),
            By::Helper,
        ),
        (
            "shares swapped",
            |report| std::mem::swap(&mut report.leader_share, &mut report.helper_share),
            By::Leader,
        ),
        ("public share", |report| report.public_share[0] ^= 1, By::Leader),
        ("time", |report| report.metadata.time.0 -= 1, By::Leader),
        ("report id", |report| report.metadata.report_id = ReportId::new([9; 16]), By::Leader),
    ];
    for (name, change, by) in cases {
        check(&parties, name, &changed(change), by, ReportError::HpkeDecryptError);
    }
}

#[test]
fn a_share_for_one_aggregator_is_none_for_the_other() {
    // Even with one key and one configuration id for both, the role in HPKE's `info` keeps them apart.
    let mut parties = Parties::of(sum_task());
    parties.helper = PrivateKey::from_bytes(*parties.leader.expose_bytes());
    let mut swapped = good(&parties);
    let leader_share = with_config(&swapped.helper_share, LEADER_CONFIG);
    swapped.helper_share = with_config(&swapped.leader_share, HELPER_CONFIG);
    swapped.leader_share = leader_share;
    check(&parties, "swapped", &swapped, By::Leader, ReportError::HpkeDecryptError);

    // Sealed to the right roles, but each with the other's input share inside.
    let parties = Parties::of(sum_task());
    let inside = ByHand {
        alter: |sharded| std::mem::swap(&mut sharded.leader_share, &mut sharded.helper_share),
        ..by_hand(&parties)
    };
    let report = inside.seal(8, &parties.leader, &parties.helper);
    check(&parties, "swapped inside", &report, By::Leader, ReportError::InvalidMessage);
}

#[test]
fn dishonest_shares() {
    let parties = Parties::of(sum_task());
    // The leader's share: 15 bits of measurement, the proof, a blind of 32 bytes.
    let cases: [Altered; 10] = [
        ("measurement", |sharded| sharded.leader_share[0] ^= 1, By::Helper, ReportError::VdafVerifyError),
        (
            "proof",
            |sharded| {
                let index = sharded.leader_share.len() - 32 - 16;
                sharded.leader_share[index] ^= 1;
            },
            By::Helper,
            ReportError::VdafVerifyError,
        ),
        (
            "leader's blind",
            |sharded| *sharded.leader_share.last_mut().unwrap() ^= 1,
            By::Helper,
            ReportError::VdafVerifyError,
        ),
        ("helper's seed", |sharded| sharded.helper_share[0] ^= 1, By::Helper, ReportError::VdafVerifyError),
        ("helper's blind", |sharded| sharded.helper_share[63] ^= 1, By::Helper, ReportError::VdafVerifyError),
        ("leader's part", |sharded| sharded.public_share[0] ^= 1, By::Helper, ReportError::VdafVerifyError),
        ("helper's part", |sharded| sharded.public_share[63] ^= 1, By::Helper, ReportError::VdafVerifyError),
        (
            "short public share",
            |sharded| sharded.public_share.truncate(63),
            By::Leader,
            ReportError::InvalidMessage,
        ),
        (
            "long leader's share",
            |sharded| sharded.leader_share.push(0),
            By::Leader,
            ReportError::InvalidMessage,
        ),
        (
            "short helper's share",
            |sharded| sharded.helper_share.truncate(63),
            By::Helper,
            ReportError::InvalidMessage,
        ),
    ];
    for (name, alter, by, error) in cases {
        let report = ByHand { alter, ..by_hand(&parties) }.seal(8, &parties.leader, &parties.helper);
        check(&parties, name, &report, by, error);
    }
    // An element that is not below the modulus does not decode.
    let alter: fn(&mut Sharded) = |sharded| sharded.leader_share[..16].fill(0xff);
    let report = ByHand { alter, ..by_hand(&parties) }.seal(8, &parties.leader, &parties.helper);
    check(&parties, "no field element", &report, By::Leader, ReportError::InvalidMessage);
}

/// What binds a report to the policy: the same task id, the same keys, one number of the policy different.
#[test]
fn a_share_sealed_under_another_configuration_does_not_open() {
    let parties = Parties::of(sum_task());
    let vdaf = *parties.task.vdaf().config();
    let other_policy = crate::policy::PrivacyPolicy {
        epsilon: MicroEpsilon::from_micro(1_000_001).unwrap(),
        ..crate::task::tests::policy(&vdaf)
    };
    let others = [
        sum_task().with(crate::codepoints::TASK_EXTENSION_PRIVACY_POLICY, &other_policy.to_bytes()),
        Draft { min_batch_size: 101, ..sum_task() },
        Draft { task_info: b"sale".to_vec(), ..sum_task() },
        Draft { helper: "https://helper2.example/", ..sum_task() },
    ];
    for other in others {
        let by_hand = ByHand { configuration: other.configuration(), ..by_hand(&parties) };
        let report = by_hand.seal(8, &parties.leader, &parties.helper);
        check(&parties, "configuration", &report, By::Leader, ReportError::HpkeDecryptError);
    }
    // Sealed right, sharded for another task: the proof does not verify.
    let context = [b"dap-18".as_slice(), &[1; 32]].concat();
    let report = ByHand { context, ..by_hand(&parties) }.seal(8, &parties.leader, &parties.helper);
    check(&parties, "context", &report, By::Helper, ReportError::VdafVerifyError);
}

#[test]
fn times_that_are_refused() {
    let parties = Parties::of(sum_task());
    let Time(now) = parties.now();
    let at = |parties: &Parties, time| {
        ByHand { time: Time(time), ..by_hand(parties) }.seal(8, &parties.leader, &parties.helper)
    };
    for time in [now - 10, now, now + 1] {
        assert_eq!(parties.aggregate(&[at(&parties, time)]).refused, [], "{time}");
    }
    check(&parties, "late", &at(&parties, now - 11), By::Leader, ReportError::ReportDropped);
    check(&parties, "zero", &at(&parties, 0), By::Leader, ReportError::ReportDropped);
    check(&parties, "early", &at(&parties, now + 2), By::Leader, ReportError::ReportTooEarly);
    check(&parties, "last", &at(&parties, u64::MAX), By::Leader, ReportError::ReportTooEarly);

    // The task's interval goes first: what lies outside of it is refused for good.
    let limited = Parties::of(sum_task().with(0x0001, &interval(now, 1)));
    assert_eq!(limited.aggregate(&[at(&limited, now)]).refused, []);
    check(&limited, "before", &at(&limited, now - 1), By::Leader, ReportError::TaskNotStarted);
    check(&limited, "long before", &at(&limited, 0), By::Leader, ReportError::TaskNotStarted);
    check(&limited, "after", &at(&limited, now + 1), By::Leader, ReportError::TaskExpired);
    check(&limited, "long after", &at(&limited, now + 50), By::Leader, ReportError::TaskExpired);
}

#[test]
fn unknown_extensions_are_refused_by_whoever_sees_them() {
    let parties = Parties::of(sum_task());
    let none = Extensions::none;
    let seal =
        |public, leader, helper| {
            ByHand { public_extensions: public, private_extensions: [leader, helper], ..by_hand(&parties) }
                .seal(8, &parties.leader, &parties.helper)
        };
    let one = || extensions(&[(0x0001, b"x")]);
    let budget = || extensions(&[(0xff01, &[0, 0, 0, 1])]);
    let invalid = ReportError::InvalidMessage;
    check(&parties, "public", &seal(one(), none(), none()), By::Leader, invalid);
    check(&parties, "budget in another profile", &seal(budget(), none(), none()), By::Leader, invalid);
    check(&parties, "leader's", &seal(none(), one(), none()), By::Leader, invalid);
    check(&parties, "helper's", &seal(none(), none(), one()), By::Helper, invalid);
    check(&parties, "budget in private", &seal(none(), budget(), none()), By::Leader, invalid);
}

#[test]
fn the_privacy_budget_of_the_attribution_profile() {
    let parties = Parties::of(Draft::attribution());
    let seal = |list: &[(u16, &[u8])]| {
        ByHand { public_extensions: extensions(list), ..by_hand(&parties) }.seal(
            8,
            &parties.leader,
            &parties.helper,
        )
    };
    assert_eq!(parties.aggregate(&[seal(&[(0xff01, &[0, 0, 0, 1])])]).refused, []);
    let cases: [&[(u16, &[u8])]; 6] = [
        &[],
        &[(0xff01, &[0, 0, 1])],
        &[(0xff01, &[0, 0, 0, 0, 1])],
        &[(0xff01, &[0; 4])],
        &[(0xff01, &[0, 0, 0, 1]), (0xff02, b"")],
        &[(0xff02, &[0, 0, 0, 1])],
    ];
    for list in cases {
        check(&parties, &format!("{list:?}"), &seal(list), By::Leader, ReportError::InvalidMessage);
    }
}

/// The owned types cannot hold such lists, so the bytes are changed.
#[test]
fn extensions_out_of_order_or_twice() {
    let parties = Parties::of(Draft::attribution());
    let bytes = good(&parties).to_bytes();
    let budget = [0xff, 0x01, 0, 4, 0, 0x0f, 0x42, 0x40];
    assert_eq!(bytes[24..34], [[0, 8].as_slice(), &budget].concat());
    let id = ReportId::new(bytes[..16].try_into().unwrap());
    let lists = [
        [budget.as_slice(), &budget].concat(),
        [budget.as_slice(), &[0, 1, 0, 0]].concat(),
        budget[..7].to_vec(),
    ];
    for list in lists {
        let length = u16::try_from(list.len()).unwrap().to_be_bytes();
        let changed = [&bytes[..24], &length, &list, &bytes[34..]].concat();
        let (pending, request) = parties.request_of_bytes(&[bytes.clone(), changed].concat());
        assert_eq!(
            pending.iter().map(|result| result.as_ref().err().copied()).collect::<Vec<_>>(),
            [None, Some((id, ReportError::InvalidMessage))]
        );
        assert_eq!(AggregationJobInitReq::from_bytes(&request, usize::MAX).unwrap().verify_inits.len(), 1);
    }
}
