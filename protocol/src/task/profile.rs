//! The three shapes a task may have, each refusing the others' fields.

use crate::codec::{CodecError, Decode as _};
use crate::codepoints::{
    BATCH_MODE_COLLECTOR_SELECTED, BATCH_MODE_TIME_INTERVAL, TASK_EXTENSION_BUDGET_SOURCE,
    TASK_EXTENSION_COLLECTOR_IDENTITY, TASK_EXTENSION_PRIVACY_POLICY, TASK_EXTENSION_TASK_INTERVAL,
};
use crate::messages::{Interval, TaskConfiguration};
use crate::policy::PrivacyPolicy;
use crate::vdaf::{VdafConfig, VdafError};

/// Which kind of task it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Arras's own: `privacy_policy` and `budget_source`, time-interval batches. Other
    /// implementations of DAP must refuse it, since they do not know its extensions.
    Arras,
    /// What a browser with the W3C's Attribution API builds: collector-selected batches,
    /// `collector_identity` and `budget_source`, everything else fixed.
    Attribution,
    /// None of these extensions; the policy comes from the operators' configuration.
    Plain,
}

impl Profile {
    /// Its name in task files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arras => "arras",
            Self::Attribution => "attribution",
            Self::Plain => "plain",
        }
    }
}

/// Why Arras does not take part in a task. The author of the configuration is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// An extension's data does not decode.
    #[error("a task extension does not decode: {0}")]
    Codec(#[from] CodecError),
    /// Extensions are mandatory to support (DAP-18 section 4.2.2).
    #[error("the task has extensions that Arras does not know: {}", hex_list(.0))]
    UnknownExtensions(Vec<u16>),
    /// The VDAF is not supported, or its parameters are not valid.
    #[error("the task's VDAF: {0}")]
    Vdaf(#[source] VdafError),
    /// The batch mode is not supported.
    #[error("batch mode {0:#04x} is not supported: time_interval is 0x01, collector_selected 0xf0")]
    BatchMode(u8),
    /// A field does not go with the profile.
    #[error("a task of the {} profile: {reason}", .profile.name())]
    Shape {
        /// The profile that the task's fields point to.
        profile: Profile,
        /// What does not fit.
        reason: &'static str,
    },
    /// The task would not protect anybody.
    #[error("the task is refused as unsafe: {0}")]
    Unsafe(String),
}

fn hex_list(kinds: &[u16]) -> String {
    kinds.iter().map(|kind| format!("{kind:#06x}")).collect::<Vec<_>>().join(", ")
}

/// What a configuration's extensions say.
pub(super) struct Fields {
    pub(super) profile: Profile,
    pub(super) policy: Option<PrivacyPolicy>,
    pub(super) budget_source: Option<String>,
    pub(super) collector_identity: Option<String>,
    pub(super) interval: Option<Interval>,
}

/// Reads the extensions and decides the profile.
pub(super) fn classify(configuration: &TaskConfiguration) -> Result<Fields, TaskError> {
    let extensions = &configuration.extensions;
    let unknown = extensions.unknown(&[
        TASK_EXTENSION_TASK_INTERVAL,
        TASK_EXTENSION_COLLECTOR_IDENTITY,
        TASK_EXTENSION_BUDGET_SOURCE,
        TASK_EXTENSION_PRIVACY_POLICY,
    ]);
    if !unknown.is_empty() {
        return Err(TaskError::UnknownExtensions(unknown));
    }
    let policy = extensions.get(TASK_EXTENSION_PRIVACY_POLICY).map(PrivacyPolicy::from_bytes).transpose()?;
    let interval = extensions.get(TASK_EXTENSION_TASK_INTERVAL).map(Interval::from_bytes).transpose()?;
    let budget_source = extensions.get(TASK_EXTENSION_BUDGET_SOURCE).map(name).transpose()?;
    let collector_identity = extensions.get(TASK_EXTENSION_COLLECTOR_IDENTITY).map(name).transpose()?;
    let profile = match configuration.batch_mode {
        BATCH_MODE_COLLECTOR_SELECTED => Profile::Attribution,
        BATCH_MODE_TIME_INTERVAL if policy.is_some() => Profile::Arras,
        BATCH_MODE_TIME_INTERVAL => Profile::Plain,
        other => return Err(TaskError::BatchMode(other)),
    };
    Ok(Fields { profile, policy, budget_source, collector_identity, interval })
}

/// Longest name of a budget source or collector, in bytes: that of a domain (RFC 1035 section 2.3.4), as
/// sources are typically sites or apps.
pub const NAME_BYTES_MAX: usize = 253;

/// Whether this can name a budget source or collector: 1 to [`NAME_BYTES_MAX`] bytes of visible ASCII
/// without spaces, so that two names that look the same are.
pub fn is_name(data: &[u8]) -> bool {
    (1..=NAME_BYTES_MAX).contains(&data.len()) && data.iter().all(u8::is_ascii_graphic)
}

fn name(data: &[u8]) -> Result<String, CodecError> {
    match std::str::from_utf8(data) {
        Ok(text) if is_name(data) => Ok(text.to_owned()),
        _ => Err(CodecError::Invalid {
            field: "budget_source or collector_identity",
            reason: "must be 1 to 253 bytes of printable ASCII",
        }),
    }
}

/// Time precision of the W3C's tasks, in seconds (Attribution Level 1, "construct a DAP report").
pub const ATTRIBUTION_TIME_PRECISION: u64 = 5;
/// Minimum batch size of the W3C's tasks, in reports (the same place).
pub const ATTRIBUTION_MIN_BATCH_SIZE: u64 = 20;

/// Checks that the fields are those of the profile and no others.
pub(super) fn check_shape(
    profile: Profile,
    configuration: &TaskConfiguration,
    interval: Option<Interval>,
    vdaf: &VdafConfig,
) -> Result<(), TaskError> {
    let extensions = &configuration.extensions;
    let has = |kind| extensions.get(kind).is_some();
    let require = |condition: bool, reason: &'static str| {
        if condition { Ok(()) } else { Err(TaskError::Shape { profile, reason }) }
    };
    require(configuration.batch_config().is_empty(), "batch_config must be empty")?;
    require(
        configuration.leader.as_str() != configuration.helper.as_str(),
        "leader and helper must have different endpoints",
    )?;
    if let Some(interval) = interval {
        require(interval.duration().0 > 0, "task_interval must not be empty")?;
    }
    match profile {
        Profile::Arras => {
            require(!configuration.task_info().is_empty(), "task_info must not be empty")?;
            require(has(TASK_EXTENSION_BUDGET_SOURCE), "budget_source is missing")?;
            require(
                !has(TASK_EXTENSION_COLLECTOR_IDENTITY),
                "collector_identity belongs to the attribution profile",
            )
        }
        Profile::Plain => {
            require(!configuration.task_info().is_empty(), "task_info must not be empty")?;
            require(
                !has(TASK_EXTENSION_BUDGET_SOURCE),
                "budget_source needs a privacy_policy beside it (arras profile)",
            )?;
            require(
                !has(TASK_EXTENSION_COLLECTOR_IDENTITY),
                "collector_identity belongs to the attribution profile",
            )
        }
        Profile::Attribution => {
            require(configuration.task_info().is_empty(), "task_info must be empty")?;
            require(has(TASK_EXTENSION_BUDGET_SOURCE), "budget_source is missing")?;
            require(has(TASK_EXTENSION_COLLECTOR_IDENTITY), "collector_identity is missing")?;
            require(!has(TASK_EXTENSION_PRIVACY_POLICY), "privacy_policy belongs to the arras profile")?;
            require(!has(TASK_EXTENSION_TASK_INTERVAL), "task_interval is not part of it")?;
            require(
                configuration.time_precision.seconds() == ATTRIBUTION_TIME_PRECISION,
                "time_precision must be 5 seconds",
            )?;
            require(configuration.min_batch_size == ATTRIBUTION_MIN_BATCH_SIZE, "min_batch_size must be 20")?;
            require(attribution_vdaf(vdaf), "the VDAF must be L1BoundSum with the W3C's chunk length")
        }
    }
}

/// Whether this is the VDAF that "construct a DAP report" builds.
fn attribution_vdaf(vdaf: &VdafConfig) -> bool {
    let VdafConfig::L1BoundSum { length, max_value, .. } = *vdaf else { return false };
    VdafConfig::attribution_histogram(length, max_value).is_ok_and(|built| built == *vdaf)
}
