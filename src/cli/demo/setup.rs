//! The demo's task: conversions by channel.

use std::num::NonZeroU32;
use std::path::PathBuf;

use arras_protocol::epsilon::MicroEpsilon;

use crate::config::Config;
use crate::config::loopback::{BUDGET_SOURCE, COLLECTOR};
use crate::privacy::accuracy::Noise;
use crate::privacy::noise::Scale;
use crate::tasks::TaskFile;
use crate::tasks::author::{ProfileChoice, VdafChoice};

/// What the demo's budget allows in a week, in epsilon: enough for one release at the largest epsilon.
pub(super) const CAP: &str = "10";

/// Unit of times in the demo's task, in seconds: an hour.
pub(super) const TIME_PRECISION: u64 = 3_600;

/// Fewest reports of a release in the demo.
pub(super) const MIN_BATCH_SIZE: u64 = 100;

/// Sizes of histograms, so that a task's size does not tell how many campaigns there are.
const LENGTHS: [u32; 3] = [16, 64, 256];

/// The folders of provisioned tasks of all roles.
pub(super) fn task_folders(config: &Config) -> Vec<PathBuf> {
    let of_aggregators = config.aggregators().map(|role| role.tasks.to_owned());
    of_aggregators.chain(config.collector.iter().map(|role| role.tasks.clone())).collect()
}

/// What the demo shows at epsilon 1, where 23 would do: the journeys' two small channels, of 5 and 2 conversions, stay
/// suppressed but for a chance of one in many millions, so that the printed table is the same each time.
const THRESHOLD: u64 = 40;

/// [`THRESHOLD`], or the default of a task of this noise where that is more: at a small epsilon 40 is mere noise.
/// `None`, if there is none, leaves it to the task to say so.
fn default_threshold(length: u32, epsilon: MicroEpsilon) -> Option<u64> {
    let scale = Scale::new(2, epsilon).ok()?;
    let enough = Noise::of_cell(&scale).default_threshold(length.into());
    u64::try_from(enough).ok().map(|enough| enough.max(THRESHOLD))
}

/// One histogram: bucket 0 is "not attributed", then a bucket for each channel.
pub(super) fn task_file(
    endpoints: (&str, &str),
    channels: &[String],
    epsilon: MicroEpsilon,
    threshold: Option<u64>,
) -> TaskFile {
    let needed = u32::try_from(channels.len() + 1).unwrap_or(u32::MAX);
    let length = LENGTHS.into_iter().find(|length| *length >= needed).unwrap_or(needed);
    TaskFile {
        name: "demo/conversions".to_owned(),
        profile: ProfileChoice::Arras,
        leader: endpoints.0.to_owned(),
        helper: endpoints.1.to_owned(),
        vdaf: VdafChoice::Histogram { length },
        time_precision: TIME_PRECISION,
        min_batch_size: MIN_BATCH_SIZE,
        epsilon,
        contributions: NonZeroU32::MIN,
        threshold: threshold.or_else(|| default_threshold(length, epsilon)),
        budget_source: BUDGET_SOURCE.to_owned(),
        collector: COLLECTOR.to_owned(),
        campaigns: channels.to_vec(),
        conversions: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::privacy::accuracy::EMPTY_SHOWN_CHANCE;

    #[test]
    fn the_demo_hides_empty_buckets_at_every_epsilon() {
        let threshold = |length, epsilon: &str| default_threshold(length, epsilon.parse().unwrap()).unwrap();
        assert_eq!((threshold(16, "1"), threshold(16, "10"), threshold(256, "1")), (40, 40, 40));
        for (length, epsilon) in [(16, "0.01"), (64, "0.1"), (256, "0.5"), (256, "10"), (4096, "1")] {
            let noise = Noise::of_cell(&Scale::new(2, epsilon.parse().unwrap()).unwrap());
            let chance = noise.empty_shown_chance(threshold(length, epsilon).into(), length.into());
            assert!(chance <= EMPTY_SHOWN_CHANCE, "{length} {epsilon}: {chance}");
        }
        // At epsilon 0.1 the number 40 alone would have shown empty buckets nearly always.
        let noise = Noise::of_cell(&Scale::new(2, "0.1".parse().unwrap()).unwrap());
        assert!(noise.empty_shown_chance(THRESHOLD.into(), 16) > 0.9);
        assert_eq!(threshold(16, "0.1"), 218);
    }

    /// Channels of 5 and 2 conversions at a threshold of 40.
    #[test]
    fn the_small_channels_stay_suppressed() {
        let noise = Noise::of_cell(&Scale::new(2, "1".parse().unwrap()).unwrap());
        let shown = noise.tail(i128::from(THRESHOLD) - 5) + noise.tail(i128::from(THRESHOLD) - 2);
        assert!(shown < 1e-6, "{shown}");
    }
}
