//! What a client may not make.

use super::*;
use crate::report::ReportMakingError;
use crate::task::tests::interval;
use crate::vdaf::VdafError;

#[test]
fn a_privacy_budget_is_for_the_attribution_profile_alone() {
    let budget = MicroEpsilon::from_micro(1).ok();
    let vector = Measurement::Vector(vec![0; 4]);
    for (draft, given, made) in [
        (Draft::attribution(), budget, true),
        (Draft::attribution(), None, false),
        (sum_task(), None, true),
        (sum_task(), budget, false),
        (Draft::plain(VdafConfig::l1_bound_sum(4, 7).unwrap()), None, true),
        (Draft::plain(VdafConfig::l1_bound_sum(4, 7).unwrap()), budget, false),
    ] {
        let parties = Parties::of(draft);
        let result = parties.maker().make(&mut rng(1), NOW, &vector, given);
        let profile = parties.task.profile();
        assert_eq!(result.is_ok(), made, "{profile:?}");
        match result {
            Ok(report) => {
                let data = report.metadata.public_extensions.get(0xff01).map(<[u8]>::to_vec);
                assert_eq!(data, given.map(|_| vec![0, 0, 0, 1]));
            }
            Err(error) => assert_eq!(error, ReportMakingError::PrivacyBudget),
        }
    }
}

#[test]
fn times_are_truncated_and_kept_to_the_interval() {
    let hour = NOW / 3_600;
    let parties = Parties::of(sum_task().with(0x0001, &interval(hour, 2)));
    let zero = Measurement::Vector(vec![0; 4]);
    let make = |seconds| parties.maker().make(&mut rng(1), seconds, &zero, None);
    assert_eq!(make(hour * 3_600 - 1), Err(ReportMakingError::OutsideTaskInterval));
    assert_eq!(make(hour * 3_600).unwrap().metadata.time, Time(hour));
    assert_eq!(make(hour * 3_600 + 7_199).unwrap().metadata.time, Time(hour + 1));
    assert_eq!(make(hour * 3_600 + 7_200), Err(ReportMakingError::OutsideTaskInterval));
}

#[test]
fn measurements_of_another_vdaf_and_keys_of_another_suite_are_refused() {
    let parties = Parties::of(sum_task());
    for wrong in
        [Measurement::Count(true), Measurement::Vector(vec![8, 0, 0, 0]), Measurement::Vector(vec![1; 3])]
    {
        let error = parties.maker().make(&mut rng(1), NOW, &wrong, None).unwrap_err();
        assert!(matches!(error, ReportMakingError::Measurement(VdafError::Measurement(_))), "{error}");
    }
    let ours = HpkeConfig::new(1, &parties.leader.public_key());
    let mut other = ours.clone();
    other.aead_id = 3;
    let refused = |leader, helper| ReportMaker::new(&parties.task, leader, helper).err();
    assert_eq!(refused(&other, &ours), Some(ReportMakingError::UnsupportedHpkeConfig(Role::Leader)));
    assert_eq!(refused(&ours, &other), Some(ReportMakingError::UnsupportedHpkeConfig(Role::Helper)));
    assert_eq!(refused(&ours, &ours), None);
}

#[test]
fn every_report_has_its_own_id_and_keys() {
    let parties = Parties::of(sum_task());
    let mut rng = rng(9);
    let zero = Measurement::Vector(vec![0; 4]);
    let maker = parties.maker();
    let first = maker.make(&mut rng, NOW, &zero, None).unwrap();
    let second = maker.make(&mut rng, NOW, &zero, None).unwrap();
    assert_ne!(first.metadata.report_id, second.metadata.report_id);
    assert_ne!(first.leader_share.as_ref().enc, second.leader_share.as_ref().enc);
    assert_ne!(first.leader_share.as_ref().enc, first.helper_share.as_ref().enc);
    assert_ne!(first.public_share, second.public_share);
}
