//! The file of a task that is planned: its author's, or the one that a role keeps of it.

use std::num::NonZeroU32;
use std::path::Path;

use arras_protocol::epsilon::MicroEpsilon;
use arras_protocol::messages::TaskId;
use arras_protocol::vdaf::VdafConfig;

use super::{of_file, read, usage};
use crate::cli::Failure;
use crate::tasks::{KnownTask, ProvisionedFile, TaskFile};

/// Largest task file that is read, in bytes.
const TASK_BYTES_MAX: u64 = 1 << 20;

/// What a task's file says.
pub(super) struct Measured {
    pub(super) id: TaskId,
    pub(super) vdaf: VdafConfig,
    pub(super) epsilon: MicroEpsilon,
    pub(super) contributions: NonZeroU32,
    /// `None` for the one that is the default with this noise.
    pub(super) threshold: Option<u64>,
    pub(super) budget_source: String,
    pub(super) time_precision: u64,
    pub(super) min_batch_size: u64,
}

impl Measured {
    pub(super) fn read(option: &str, path: &Path) -> Result<Self, Failure> {
        let wrong = |reason: String| usage(of_file(option, path), reason);
        let text = String::from_utf8(read(option, path, TASK_BYTES_MAX)?)
            .map_err(|_| wrong("is no text; name a task file".to_owned()))?;
        // A role keeps a task under its id, encoded.
        if let Ok(kept) = toml::from_str::<ProvisionedFile>(&text) {
            return kept.known(path).map(|known| Self::kept(&known)).map_err(|error| usage(option, error));
        }
        let file = TaskFile::parse(&text).map_err(|error| wrong(error.to_string()))?;
        // A task that no role would take part in is not worth a plan.
        let (task, _) = file.build().map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            id: task.id(),
            vdaf: file.vdaf_config().map_err(|error| wrong(error.to_string()))?,
            epsilon: file.epsilon,
            contributions: file.contributions,
            threshold: file.threshold,
            budget_source: file.budget_source,
            time_precision: file.time_precision,
            min_batch_size: file.min_batch_size,
        })
    }

    fn kept(known: &KnownTask) -> Self {
        let configuration = known.task.configuration();
        Self {
            id: known.task.id(),
            vdaf: *known.task.vdaf().config(),
            epsilon: known.policy.epsilon,
            contributions: known.policy.contributions,
            threshold: Some(known.policy.threshold),
            budget_source: known.budget_source.clone(),
            time_precision: configuration.time_precision.seconds(),
            min_batch_size: configuration.min_batch_size,
        }
    }
}
