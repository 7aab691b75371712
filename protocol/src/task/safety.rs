//! Tasks that would not protect anybody are refused, by clients and aggregators alike (DAP-18 section
//! 8.6: opt out of parameters that are trivially insecure).

use crate::messages::TaskConfiguration;
use crate::policy::PrivacyPolicy;
use crate::task::{Profile, TaskError};
use crate::vdaf::{VdafConfig, fits_field};

/// Smallest minimum batch size, in reports. Below it the exact `report_count` and the interval alone
/// say much about who took part; noise does not cover those. (The W3C's tasks fix 20.)
pub const MIN_MIN_BATCH_SIZE: u64 = 10;

/// Largest epsilon of one release, in millionths. At 10 an adversary's odds about one report may change by a
/// factor of 22,026: beyond it "private" would be a word.
pub const MAX_EPSILON: u32 = 10_000_000;

/// Finest time precision of a time-interval task, in seconds. Times are public; a finer one would
/// single out reports. (The W3C's tasks fix 5 seconds, with collector-selected batches.)
pub const MIN_TIME_PRECISION_SECONDS: u64 = 60;

/// Coarsest time precision, in seconds: 7 days, the length of a budget epoch. A bucket that spans
/// more would be charged to epochs in which nobody asked anything.
pub const MAX_TIME_PRECISION_SECONDS: u64 = 7 * 24 * 3600;

/// Most reports of one device in any 7 days that a release may be charged for. More would cost more
/// than any sensible cap.
pub const MAX_CONTRIBUTIONS: u32 = 1_000;

/// Most reports in one batch: sums of this many must stay below half of the field.
pub const MAX_BATCH_REPORTS: u64 = 1 << 32;

pub(super) fn check_configuration(
    profile: Profile,
    configuration: &TaskConfiguration,
) -> Result<(), TaskError> {
    if profile == Profile::Attribution {
        // Its values are fixed, see `check_shape`.
        return Ok(());
    }
    if configuration.min_batch_size < MIN_MIN_BATCH_SIZE {
        return Err(TaskError::Unsafe(format!(
            "min_batch_size is {}, the least allowed is {MIN_MIN_BATCH_SIZE}",
            configuration.min_batch_size
        )));
    }
    if configuration.min_batch_size > MAX_BATCH_REPORTS {
        return Err(TaskError::Unsafe(format!(
            "min_batch_size is above {MAX_BATCH_REPORTS}: no batch may be so large"
        )));
    }
    let seconds = configuration.time_precision.seconds();
    if !(MIN_TIME_PRECISION_SECONDS..=MAX_TIME_PRECISION_SECONDS).contains(&seconds) {
        return Err(TaskError::Unsafe(format!(
            "time_precision is {seconds} s, allowed are {MIN_TIME_PRECISION_SECONDS} to \
             {MAX_TIME_PRECISION_SECONDS} s"
        )));
    }
    Ok(())
}

/// Checks a policy, bound to a task or given by an operator, against the VDAF that it is for.
pub fn check_policy(policy: &PrivacyPolicy, vdaf: &VdafConfig) -> Result<(), TaskError> {
    if policy.sensitivity != vdaf.l1_sensitivity() {
        return Err(TaskError::Unsafe(format!(
            "the policy's sensitivity is {}, the VDAF implies {}",
            policy.sensitivity,
            vdaf.l1_sensitivity()
        )));
    }
    if policy.epsilon.get() > MAX_EPSILON {
        return Err(TaskError::Unsafe(format!("epsilon is {}, the most allowed is 10", policy.epsilon)));
    }
    if policy.contributions.get() > MAX_CONTRIBUTIONS {
        return Err(TaskError::Unsafe(format!(
            "contributions is {}, the most allowed is {MAX_CONTRIBUTIONS}",
            policy.contributions
        )));
    }
    if !fits_field(vdaf, MAX_BATCH_REPORTS, policy.noise_slack()) {
        return Err(TaskError::Unsafe("sums and noise could exceed half of the VDAF's field".to_owned()));
    }
    Ok(())
}
