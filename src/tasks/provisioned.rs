//! The folder of tasks that a role takes part in: one file a task, named by the task's id.
//!
//! A server looks into its folder at start and whenever it hears of a task that it does not know, so a
//! task can be added while it runs. A file never changes: other parameters are another task.

use std::fs;
use std::io::{self, Write as _};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::epsilon::MicroEpsilon;
use arras_protocol::messages::{TaskConfiguration, TaskId};
use arras_protocol::policy::{Mechanism, PrivacyPolicy};
use arras_protocol::task::{Profile, Task, TaskError, check_policy};
use arras_protocol::vdaf::VdafConfig;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::privacy::ledger::BudgetSource;
use crate::store::sync_parent;

/// Why a provisioned task cannot be used. The file was made by another version, or by hand.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// The folder or file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file does not hold a provisioned task.
    #[error("{}: {reason}; remove it and add the task again", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The task is there already, with other values for what is not part of its id.
    #[error(
        "{} holds this task with another collector, other campaigns, conversions or terms. They are not part of its \
         id, and what a role takes part in is not changed behind its back: to change collector, campaigns or \
         conversions remove that file, add the task again and restart the role; for another epsilon, other \
         contributions or another budget source make a new task with another name",
        path.display()
    )]
    Differs {
        /// Which.
        path: PathBuf,
    },
    /// The task in it is refused.
    #[error("{}: {error}", path.display())]
    Task {
        /// Which.
        path: PathBuf,
        /// Why.
        error: TaskError,
    },
}

/// The operator's terms for a plain DAP task, whose configuration carries no policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainTerms {
    /// What the release of one window spends.
    pub epsilon: MicroEpsilon,
    /// Reports that one device may send in any 7 days.
    pub contributions: NonZeroU32,
    /// The smallest noised count that is shown.
    pub threshold: u64,
    /// Whose budget is spent.
    pub budget_source: String,
}

/// A task as a role keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvisionedFile {
    /// The encoded `TaskConfiguration` in base64url.
    configuration: String,
    /// The collector, by its name in the aggregators' configurations.
    pub collector: String,
    /// Names of campaigns; the first has bucket 1.
    #[serde(default)]
    pub campaigns: Vec<String>,
    /// Of a task that sums values: the task that counts its conversions.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_id")]
    pub conversions: Option<TaskId>,
    /// Only for tasks of the plain profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<PlainTerms>,
}

impl ProvisionedFile {
    pub(super) fn new(
        task: &Task,
        collector: String,
        plain: Option<PlainTerms>,
        campaigns: Vec<String>,
        conversions: Option<TaskId>,
    ) -> Self {
        let configuration = URL_SAFE_NO_PAD.encode(task.configuration().to_bytes());
        Self { configuration, collector, campaigns, conversions, plain }
    }

    /// The task in it; `path` is where it was read, for errors.
    pub fn known(self, path: &Path) -> Result<KnownTask, ProvisionError> {
        let malformed = |reason: String| ProvisionError::Malformed { path: path.to_owned(), reason };
        let bytes =
            URL_SAFE_NO_PAD.decode(&self.configuration).map_err(|error| malformed(error.to_string()))?;
        let configuration =
            TaskConfiguration::from_bytes(&bytes).map_err(|error| malformed(error.to_string()))?;
        let refused = |error| ProvisionError::Task { path: path.to_owned(), error };
        let task = Task::new(configuration).map_err(refused)?;
        let (policy, budget_source) = match (task.profile(), task.policy(), &self.plain) {
            (Profile::Arras, Some(policy), None) => {
                (*policy, task.budget_source().unwrap_or_default().to_owned())
            }
            (Profile::Plain, None, Some(terms)) => {
                let source =
                    BudgetSource::new(&terms.budget_source).map_err(|error| malformed(error.to_string()))?;
                (plain_policy(&task, terms), source.as_str().to_owned())
            }
            (Profile::Attribution, ..) => {
                return Err(malformed(
                    "tasks of the attribution profile need collector-selected batches, which this version \
                     does not aggregate"
                        .to_owned(),
                ));
            }
            _ => {
                return Err(malformed(
                    "[plain] is for tasks of the plain profile, and needed there".to_owned(),
                ));
            }
        };
        check_policy(&policy, task.vdaf().config()).map_err(refused)?;
        Ok(KnownTask {
            task,
            policy,
            budget_source,
            collector: self.collector,
            campaigns: self.campaigns,
            conversions: self.conversions,
        })
    }
}

/// A task with what its operator knows of it.
#[derive(Debug)]
pub struct KnownTask {
    /// The task.
    pub task: Task,
    /// Its policy, bound to it or the operator's.
    pub policy: PrivacyPolicy,
    /// Whose budget it spends.
    pub budget_source: String,
    /// The collector's name.
    pub collector: String,
    /// Names of campaigns; the first has bucket 1.
    pub campaigns: Vec<String>,
    /// Of a task that sums values: the task that counts its conversions, if its file says so.
    pub conversions: Option<TaskId>,
}

/// A task's id as files carry it.
pub(super) mod optional_id {
    use arras_protocol::messages::TaskId;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    #[expect(clippy::ref_option, reason = "serde asks for this signature")]
    pub(in crate::tasks) fn serialize<S: Serializer>(
        id: &Option<TaskId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        id.as_ref().map(ToString::to_string).serialize(serializer)
    }

    pub(in crate::tasks) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<TaskId>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
    }
}

/// Whether a VDAF sums values: a threshold, which is a number of conversions, says nothing about its buckets.
pub fn is_value(vdaf: &VdafConfig) -> bool {
    matches!(vdaf, VdafConfig::L1BoundSum { max_value, .. } if *max_value > 1)
}

/// A folder of provisioned tasks.
#[derive(Clone, Debug)]
pub struct TaskFolder {
    path: PathBuf,
}

impl TaskFolder {
    /// The folder need not exist yet: it is made when the first task is added.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Adds a task, durably and at once: a reader sees the whole file or none. A task that is there already
    /// stays as it is, and is refused if `file` says something else; returns whether it is new.
    pub fn add(&self, id: TaskId, file: &ProvisionedFile) -> Result<bool, ProvisionError> {
        let new_folder = !self.path.exists();
        fs::create_dir_all(&self.path).map_err(|error| self.io(&self.path, error))?;
        if new_folder {
            sync_parent(&self.path).map_err(|error| self.io(&self.path, error))?;
        }
        let target = self.file(id);
        // Until the folder is synced the name is in memory only; whoever added the file may have come no further.
        let sync = || sync_parent(&target).map_err(|error| self.io(&target, error));
        match fs::read_to_string(&target) {
            Ok(text) => {
                Self::same(&target, &text, file)?;
                return sync().map(|()| false);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(self.io(&target, error)),
        }
        let text = toml::to_string(file)
            .map_err(|error| ProvisionError::Malformed { path: target.clone(), reason: error.to_string() })?;
        let mut temporary =
            tempfile::NamedTempFile::new_in(&self.path).map_err(|error| self.io(&target, error))?;
        temporary.write_all(text.as_bytes()).map_err(|error| self.io(&target, error))?;
        temporary.as_file().sync_all().map_err(|error| self.io(&target, error))?;
        temporary.persist(&target).map_err(|error| self.io(&target, error.error))?;
        sync().map(|()| true)
    }

    fn same(path: &Path, text: &str, file: &ProvisionedFile) -> Result<(), ProvisionError> {
        let there: ProvisionedFile = toml::from_str(text).map_err(|error| ProvisionError::Malformed {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        if there == *file { Ok(()) } else { Err(ProvisionError::Differs { path: path.to_owned() }) }
    }

    /// Why the folder cannot be looked into; also that it is gone.
    pub fn check(&self) -> Result<(), ProvisionError> {
        fs::read_dir(&self.path).map(drop).map_err(|error| self.io(&self.path, error))
    }

    /// The ids of all tasks in the folder.
    pub fn ids(&self) -> Result<Vec<TaskId>, ProvisionError> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.io(&self.path, error)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| self.io(&self.path, error))?.file_name();
            if let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".toml")) {
                ids.extend(id.parse::<TaskId>().ok());
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Reads a task; `None` if there is none of this id.
    pub fn load(&self, id: TaskId) -> Result<Option<KnownTask>, ProvisionError> {
        let path = self.file(id);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io(&path, error)),
        };
        let file: ProvisionedFile = toml::from_str(&text)
            .map_err(|error| ProvisionError::Malformed { path: path.clone(), reason: error.to_string() })?;
        let known = file.known(&path)?;
        if known.task.id() != id {
            let reason = "its name is not the id of the task in it".to_owned();
            return Err(ProvisionError::Malformed { path, reason });
        }
        Ok(Some(known))
    }

    fn file(&self, id: TaskId) -> PathBuf {
        self.path.join(format!("{id}.toml"))
    }

    #[expect(clippy::unused_self, reason = "reads like the other constructors of errors here")]
    fn io(&self, path: &Path, error: io::Error) -> ProvisionError {
        ProvisionError::Io { path: path.to_owned(), error }
    }
}

fn plain_policy(task: &Task, terms: &PlainTerms) -> PrivacyPolicy {
    PrivacyPolicy {
        mechanism: Mechanism::DiscreteLaplace,
        epsilon: terms.epsilon,
        sensitivity: task.vdaf().config().l1_sensitivity(),
        contributions: terms.contributions,
        threshold: terms.threshold,
    }
}
