//! The file in which an author describes a task, in the words of people who buy ads.

use std::num::NonZeroU32;

use arras_protocol::codec::{CodecError, Encode as _};
use arras_protocol::codepoints::{
    BATCH_MODE_TIME_INTERVAL, TASK_EXTENSION_BUDGET_SOURCE, TASK_EXTENSION_PRIVACY_POLICY,
};
use arras_protocol::epsilon::MicroEpsilon;
use arras_protocol::messages::{Extension, Extensions, TaskConfiguration, TaskId, TimePrecision, Url};
use arras_protocol::policy::{Mechanism, PrivacyPolicy};
use arras_protocol::task::{Profile, Task, TaskError};
use arras_protocol::vdaf::{VdafConfig, VdafError};
use serde::{Deserialize, Serialize};

use crate::privacy::accuracy::Noise;
use crate::privacy::ledger::{BudgetSource, LedgerError};
use crate::privacy::noise::{NoiseError, Scale};
use crate::tasks::provisioned::{PlainTerms, ProvisionedFile, is_value, optional_id};

/// Longest name of a campaign, in bytes: names of all of 4,096 buckets must fit one signed release, also if each
/// character is written as an escape of six.
pub const CAMPAIGN_BYTES_MAX: usize = 128;

/// Why a task file makes no task. Its author is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskFileError {
    /// It is not TOML, or a key is missing, unknown or of another type.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A value is out of the range that the protocol can carry.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// The VDAF's parameters are not valid.
    #[error("vdaf: {0}")]
    Vdaf(#[from] VdafError),
    /// The task is refused.
    #[error("{0}")]
    Task(#[from] TaskError),
    /// The budget source has no name that a ledger takes.
    #[error("budget_source: {0}")]
    BudgetSource(LedgerError),
    /// The policy's noise cannot be drawn.
    #[error("epsilon: {0}")]
    Noise(#[from] NoiseError),
    /// No threshold was given, and that of the noise is none that a policy can carry.
    #[error(
        "the noise of epsilon {epsilon} is so wide that no threshold below 2^64 keeps empty buckets from being \
         shown: raise epsilon, or give the `threshold` that you want"
    )]
    NoThreshold {
        /// The task's.
        epsilon: MicroEpsilon,
    },
    /// More campaigns than the histogram has room for.
    #[error(
        "{campaigns} campaigns do not fit {length} buckets: bucket 0 is \"not attributed\", each campaign \
         takes one more"
    )]
    TooManyCampaigns {
        /// Campaigns listed.
        campaigns: usize,
        /// Buckets of the VDAF.
        length: usize,
    },
    /// A campaign's name that is too long.
    #[error("the campaign that starts {0:?} has a name of more than {CAMPAIGN_BYTES_MAX} bytes; shorten it")]
    LongCampaign(String),
    /// Values without conversions.
    #[error(
        "a task that sums values has to say which task counts its conversions, since a value may be shown only where \
         enough conversions were counted: make a task of the same buckets and campaigns that counts them \
         (`vdaf = {{ type = \"histogram\", ... }}`), and write its id here as `conversions = \"TASK ID\"`"
    )]
    NoConversions,
    /// Conversions of a task that counts.
    #[error("`conversions` is for tasks that sum values (l1-bound-sum with a max_value above 1); remove it")]
    ConversionsOfCounts,
    /// Two campaigns of one name.
    #[error("campaign {0:?} is listed twice")]
    RepeatedCampaign(String),
}

/// What a task measures.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "type")]
pub enum VdafChoice {
    /// How many.
    Count {},
    /// How many in each bucket.
    Histogram {
        /// Buckets.
        length: u32,
    },
    /// The sum of a capped value in each bucket.
    L1BoundSum {
        /// Buckets.
        length: u32,
        /// The largest sum over the buckets of one report.
        max_value: u64,
    },
}

/// Which kind of task; see [`Profile`]. Tasks of the Attribution profile are built by browsers, not here.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileChoice {
    /// The policy is bound to the task.
    Arras,
    /// Plain DAP: the policy stays with the operators.
    Plain,
}

/// A task as its author describes it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TaskFile {
    /// Tells the task apart from others that are the same but for it; 1 to 255 bytes, public.
    pub name: String,
    /// Which kind.
    pub profile: ProfileChoice,
    /// The leader's endpoint, byte for byte.
    pub leader: String,
    /// The helper's endpoint, byte for byte.
    pub helper: String,
    /// What is measured.
    pub vdaf: VdafChoice,
    /// Unit of times, in seconds; windows are whole multiples of it.
    pub time_precision: u64,
    /// Fewest reports in a window that is released.
    pub min_batch_size: u64,
    /// What the release of one window spends.
    pub epsilon: MicroEpsilon,
    /// Reports that one device may send in any 7 days.
    pub contributions: NonZeroU32,
    /// The smallest noised count that is shown. Left out, it is the smallest with which at most one release in a
    /// thousand shows any bucket that nobody is in. In a task that sums values it decides nothing: its conversions' does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u64>,
    /// Whose budget is spent.
    pub budget_source: String,
    /// The name of the collector in the aggregators' configurations.
    pub collector: String,
    /// Names of campaigns: the first has bucket 1, and so on. Only the collector keeps them.
    #[serde(default)]
    pub campaigns: Vec<String>,
    /// Of a task that sums values: the id of the task that counts its conversions, with the same buckets and campaigns.
    /// A value is shown where they are. Only the collector keeps it; it is no part of the task's id.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_id")]
    pub conversions: Option<TaskId>,
}

impl TaskFile {
    /// Reads a file's text.
    pub fn parse(text: &str) -> Result<Self, TaskFileError> {
        Ok(toml::from_str(text)?)
    }

    /// The VDAF with its parameters.
    pub fn vdaf_config(&self) -> Result<VdafConfig, VdafError> {
        match self.vdaf {
            VdafChoice::Count {} => Ok(VdafConfig::Count),
            VdafChoice::Histogram { length } => VdafConfig::histogram(length),
            VdafChoice::L1BoundSum { length, max_value } => VdafConfig::l1_bound_sum(length, max_value),
        }
    }

    /// Whether the file says what decides which buckets are shown: of values, and of them only, another task.
    pub fn check_conversions(&self) -> Result<(), TaskFileError> {
        match (is_value(&self.vdaf_config()?), self.conversions) {
            (true, None) => Err(TaskFileError::NoConversions),
            (false, Some(_)) => Err(TaskFileError::ConversionsOfCounts),
            _ => Ok(()),
        }
    }

    /// The task of it, and the file that the roles keep.
    pub fn build(&self) -> Result<(Task, ProvisionedFile), TaskFileError> {
        let vdaf = self.vdaf_config()?;
        self.check_campaigns(vdaf.output_len())?;
        BudgetSource::new(&self.budget_source).map_err(TaskFileError::BudgetSource)?;
        let policy = PrivacyPolicy {
            mechanism: Mechanism::DiscreteLaplace,
            epsilon: self.epsilon,
            sensitivity: vdaf.l1_sensitivity(),
            contributions: self.contributions,
            threshold: self.threshold_for(&vdaf)?,
        };
        arras_protocol::task::check_policy(&policy, &vdaf)?;
        let (extensions, plain) = match self.profile {
            ProfileChoice::Arras => (self.arras_extensions(&policy)?, None),
            ProfileChoice::Plain => (Extensions::none(), Some(self.plain_terms(policy.threshold))),
        };
        let task = Task::new(TaskConfiguration::new(
            self.name.as_bytes(),
            Url::new(self.leader.clone())?,
            Url::new(self.helper.clone())?,
            TimePrecision::from_seconds(self.time_precision)?,
            self.min_batch_size,
            BATCH_MODE_TIME_INTERVAL,
            &vdaf,
            extensions,
        )?)?;
        debug_assert_eq!(task.profile() == Profile::Arras, self.profile == ProfileChoice::Arras);
        let file = ProvisionedFile::new(
            &task,
            self.collector.clone(),
            plain,
            self.campaigns.clone(),
            self.conversions,
        );
        Ok((task, file))
    }

    fn arras_extensions(&self, policy: &PrivacyPolicy) -> Result<Extensions, CodecError> {
        Extensions::new(vec![
            Extension { kind: TASK_EXTENSION_BUDGET_SOURCE, data: self.budget_source.as_bytes().to_vec() },
            Extension { kind: TASK_EXTENSION_PRIVACY_POLICY, data: policy.to_bytes() },
        ])
    }

    /// The threshold of the file, or the default for this noise and as many buckets as the task has.
    fn threshold_for(&self, vdaf: &VdafConfig) -> Result<u64, TaskFileError> {
        if let Some(threshold) = self.threshold {
            return Ok(threshold);
        }
        let noise = Noise::of_cell(&Scale::new(vdaf.l1_sensitivity(), self.epsilon)?);
        let buckets = u64::try_from(vdaf.output_len()).unwrap_or(u64::MAX);
        let threshold = noise.default_threshold(buckets);
        u64::try_from(threshold).map_err(|_| TaskFileError::NoThreshold { epsilon: self.epsilon })
    }

    fn plain_terms(&self, threshold: u64) -> PlainTerms {
        PlainTerms {
            epsilon: self.epsilon,
            contributions: self.contributions,
            threshold,
            budget_source: self.budget_source.clone(),
        }
    }

    fn check_campaigns(&self, length: usize) -> Result<(), TaskFileError> {
        let campaigns = self.campaigns.len();
        if campaigns > 0 && campaigns >= length {
            return Err(TaskFileError::TooManyCampaigns { campaigns, length });
        }
        for (index, name) in self.campaigns.iter().enumerate() {
            if name.len() > CAMPAIGN_BYTES_MAX {
                return Err(TaskFileError::LongCampaign(name.chars().take(20).collect()));
            }
            if self.campaigns[..index].contains(name) {
                return Err(TaskFileError::RepeatedCampaign(name.clone()));
            }
        }
        Ok(())
    }
}
