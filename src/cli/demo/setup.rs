//! The demo's task: conversions by channel.

use std::num::NonZeroU32;
use std::path::PathBuf;

use arras_protocol::epsilon::MicroEpsilon;

use crate::config::Config;
use crate::config::loopback::{BUDGET_SOURCE, COLLECTOR};
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
    let folders = [
        config.leader.as_ref().map(|role| role.tasks.clone()),
        config.helper.as_ref().map(|role| role.tasks.clone()),
        config.collector.as_ref().map(|role| role.tasks.clone()),
    ];
    folders.into_iter().flatten().collect()
}

/// One histogram: bucket 0 is "not attributed", then a bucket for each channel.
pub(super) fn task_file(
    endpoints: (&str, &str),
    channels: &[String],
    epsilon: MicroEpsilon,
    threshold: u64,
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
        threshold,
        budget_source: BUDGET_SOURCE.to_owned(),
        collector: COLLECTOR.to_owned(),
        campaigns: channels.to_vec(),
        conversions: None,
    }
}
