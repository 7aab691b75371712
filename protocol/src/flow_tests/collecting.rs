//! Aggregate shares that must not open, or not combine.

use super::*;
use crate::hpke::Opener;
use crate::vdaf::VdafError;

fn collected() -> (Parties, Outcome, CollectionJobResp) {
    let parties = Parties::of(sum_task());
    let reports: Vec<_> =
        (0..3).map(|seed| parties.make(seed, &Measurement::Vector(vec![1, 2, 3, 0]))).collect();
    let outcome = parties.aggregate(&reports);
    let response = parties.response(&outcome, [&[0; 4], &[0; 4]]);
    (parties, outcome, response)
}

#[test]
fn the_associated_data_is_task_configuration_and_request() {
    // By hand, as DAP-18 section 4.6.7 says.
    let (parties, outcome, response) = collected();
    for (sealed, role, bucket) in
        [(&response.leader_share, 2, &outcome.leader), (&response.helper_share, 3, &outcome.helper)]
    {
        let info = [b"dap-18 aggregate share".as_slice(), &[role, 0]].concat();
        let aad = [
            parties.task.id().as_bytes().as_slice(),
            &parties.task.configuration().to_bytes(),
            &parties.query().to_bytes(),
        ]
        .concat();
        let sealed = sealed.as_ref();
        assert_eq!(sealed.config_id, COLLECTOR_CONFIG);
        let opened = Opener::new(&parties.collector, &info).unwrap().open(sealed.enc, &aad, sealed.payload);
        assert_eq!(opened, Ok(bucket.share.encode()));
    }
}

#[test]
fn shares_swapped_between_the_roles_do_not_open() {
    let (parties, _, mut response) = collected();
    std::mem::swap(&mut response.leader_share, &mut response.helper_share);
    assert_eq!(parties.open(&response, 0), Err(CollectError::Open(Role::Leader)));
    let (parties, _, mut response) = collected();
    response.helper_share = response.leader_share.clone();
    assert_eq!(parties.open(&response, 0), Err(CollectError::Open(Role::Helper)));
}

#[test]
fn shares_for_another_query_task_key_or_configuration_do_not_open() {
    let (parties, outcome, response) = collected();
    let open = |task: &Task, key: &PrivateKey, config_id, query: &CollectionJobReq| {
        open_and_unshard(task, key, config_id, query, &response, 0)
    };
    let query = parties.query();
    assert_eq!(open(&parties.task, &parties.collector, COLLECTOR_CONFIG, &query), Ok(vec![3, 6, 9, 0]));

    let refused = Err(CollectError::Open(Role::Leader));
    let longer = CollectionJobReq::time_interval(Interval::new(parties.now(), Duration(2)).unwrap());
    assert_eq!(open(&parties.task, &parties.collector, COLLECTOR_CONFIG, &longer), refused);
    let mut with_extension = query.clone();
    with_extension.extensions = extensions(&[(0xff01, &[0, 0, 0, 1])]);
    assert_eq!(open(&parties.task, &parties.collector, COLLECTOR_CONFIG, &with_extension), refused);
    let other = Draft { min_batch_size: 99, ..sum_task() }.task().unwrap();
    assert_eq!(open(&other, &parties.collector, COLLECTOR_CONFIG, &query), refused);
    assert_eq!(open(&parties.task, &parties.leader, COLLECTOR_CONFIG, &query), refused);
    assert_eq!(
        open(&parties.task, &parties.collector, 8, &query),
        Err(CollectError::ConfigId { role: Role::Leader, found: COLLECTOR_CONFIG, expected: 8 })
    );

    // Only the helper's is for another query.
    let mut mixed = response.clone();
    mixed.helper_share = parties.seal(Role::Helper, &longer, &outcome.helper, &[0; 4]);
    assert_eq!(parties.open(&mixed, 0), Err(CollectError::Open(Role::Helper)));
}

#[test]
fn changed_shares_do_not_open() {
    let (parties, _, response) = collected();
    let length = response.leader_share.to_bytes().len();
    // The head of the ciphertext is its id, then the length of `enc`.
    for index in (3..35).chain([39, length - 1]) {
        let mut bytes = response.leader_share.to_bytes();
        bytes[index] ^= 1;
        let mut changed = response.clone();
        changed.leader_share = HpkeCiphertext::from_bytes(&bytes).unwrap();
        let result = parties.open(&changed, 0);
        // The top bit of an X25519 key is ignored by the exchange, but it is part of the key schedule.
        assert_eq!(result, Err(CollectError::Open(Role::Leader)), "byte {index}");
    }
}

#[test]
fn a_share_of_another_batch_is_found_out_by_its_range() {
    let (parties, outcome, _) = collected();
    let others = parties.aggregate(&[parties.make(60, &Measurement::Vector(vec![0, 0, 0, 1]))]);
    let mixed = Outcome { helper: others.helper, ..outcome };
    // The slack of the policy: 40 times 14.
    let response = parties.response(&mixed, [&[0; 4], &[0; 4]]);
    let error = parties.open(&response, 560).unwrap_err();
    assert!(matches!(error, CollectError::Vdaf(VdafError::CellOutOfRange { .. })), "{error}");
}

#[test]
fn noise_beyond_the_slack_is_found_out() {
    let (parties, outcome, _) = collected();
    // Three reports of at most 7 a cell: 21 and the slack are the highest, the slack below 0 the lowest.
    let open = |noise: i128| parties.open(&parties.response(&outcome, [&[0, 0, 0, noise], &[0; 4]]), 100);
    assert_eq!(open(121), Ok(vec![3, 6, 9, 121]));
    assert_eq!(open(-100), Ok(vec![3, 6, 9, -100]));
    for noise in [122, -101] {
        assert_eq!(open(noise), Err(CollectError::Vdaf(VdafError::CellOutOfRange { cell: 3 })));
    }
}

#[test]
fn a_collector_of_another_suite_gets_nothing() {
    let (parties, outcome, _) = collected();
    let mut config = HpkeConfig::new(COLLECTOR_CONFIG, &parties.collector.public_key());
    config.kem_id = 0x10;
    let noised = outcome.leader.share.clone().add_noise(&[0; 4]).unwrap();
    let sealed =
        seal_aggregate_share(&mut rng(1), &parties.task, Role::Leader, &config, &parties.query(), &noised);
    assert_eq!(sealed, Err(crate::collection::SealError::UnsupportedHpkeConfig));
}
