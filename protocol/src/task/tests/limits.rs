//! Each safety limit at its last allowed value and one step beyond.

use super::*;
use crate::vdaf::{MAX_L1_VALUE, fits_field};

fn unsafe_reason(result: Result<impl Sized, TaskError>) -> Option<String> {
    match result {
        Ok(_) => None,
        Err(TaskError::Unsafe(reason)) => Some(reason),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn limits_of_the_configuration() {
    for base in [Draft::plain(VdafConfig::Count), Draft::arras(VdafConfig::Count)] {
        let batch = |min_batch_size| unsafe_reason(Draft { min_batch_size, ..base.clone() }.task());
        assert_eq!(batch(10), None);
        assert_eq!(batch(9).as_deref(), Some("min_batch_size is 9, the least allowed is 10"));
        assert!(batch(0).is_some() && batch(1).is_some());
        assert_eq!(batch(1 << 32), None);
        assert!(batch((1 << 32) + 1).unwrap().contains("above 4294967296"));
        assert!(batch(u64::MAX).is_some());

        let precision = |time_precision| unsafe_reason(Draft { time_precision, ..base.clone() }.task());
        assert_eq!(precision(60), None);
        assert_eq!(precision(59).as_deref(), Some("time_precision is 59 s, allowed are 60 to 604800 s"));
        assert_eq!(precision(604_800), None);
        assert!(precision(604_801).is_some() && precision(1).is_some() && precision(u64::MAX).is_some());
    }
}

#[test]
fn limits_of_a_policy() {
    let vdaf = VdafConfig::l1_bound_sum(4, 7).unwrap();
    let base = policy(&vdaf);
    let task = |policy: PrivacyPolicy| {
        let draft = Draft::arras(vdaf).with(TASK_EXTENSION_PRIVACY_POLICY, &policy.to_bytes());
        let reason = unsafe_reason(draft.task());
        // An operator's policy for a plain task is held to the same.
        assert_eq!(unsafe_reason(check_policy(&policy, &vdaf)), reason);
        reason
    };
    assert_eq!(task(base), None);
    for sensitivity in [0, 7, 13, 15, u64::MAX] {
        let reason = task(PrivacyPolicy { sensitivity, ..base }).unwrap();
        assert_eq!(reason, format!("the policy's sensitivity is {sensitivity}, the VDAF implies 14"));
    }
    let epsilon = |micro| task(PrivacyPolicy { epsilon: MicroEpsilon::from_micro(micro).unwrap(), ..base });
    assert_eq!(epsilon(1), None);
    assert_eq!(epsilon(10_000_000), None);
    assert_eq!(epsilon(10_000_001).as_deref(), Some("epsilon is 10.000001, the most allowed is 10"));
    let contributions =
        |number: u32| task(PrivacyPolicy { contributions: number.try_into().unwrap(), ..base });
    assert_eq!(contributions(1_000), None);
    assert!(contributions(1_001).unwrap().contains("contributions is 1001"));
    assert_eq!(task(PrivacyPolicy { threshold: u64::MAX, ..base }), None);
}

/// With the limits on batches, bounds and epsilon no supported VDAF can overflow its field; the check is
/// there for those to come. What it relies on is kept here.
#[test]
fn the_largest_batch_with_the_widest_noise_fits_every_field() {
    for vdaf in [
        VdafConfig::Count,
        VdafConfig::histogram(4096).unwrap(),
        VdafConfig::l1_bound_sum(2, MAX_L1_VALUE).unwrap(),
    ] {
        let widest = PrivacyPolicy { epsilon: MicroEpsilon::from_micro(1).unwrap(), ..policy(&vdaf) };
        assert_eq!(check_policy(&widest, &vdaf), Ok(()));
        assert!(fits_field(&vdaf, MAX_BATCH_REPORTS, widest.noise_slack()));
    }
}

#[test]
fn slack_is_forty_times_the_scale_rounded_up() {
    let slack = |sensitivity, micro| {
        let epsilon = MicroEpsilon::from_micro(micro).unwrap();
        PrivacyPolicy { epsilon, sensitivity, ..policy(&VdafConfig::Count) }.noise_slack()
    };
    assert_eq!(slack(2, 1_000_000), 80);
    assert_eq!(slack(1, 3_000_000), 14);
    assert_eq!(slack(1, 10_000_000), 4);
    assert_eq!(slack(u64::MAX, 1), u128::from(u64::MAX) * 40_000_000);
}
