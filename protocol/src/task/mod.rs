//! Tasks: a configuration that was checked, with all that follows from it alone.

mod keys;
mod profile;
mod safety;

#[cfg(test)]
pub(crate) mod tests;

pub use keys::{VerifyKey, VerifySecret};
pub use profile::{
    ATTRIBUTION_MIN_BATCH_SIZE, ATTRIBUTION_TIME_PRECISION, NAME_BYTES_MAX, Profile, TaskError, is_name,
};
pub use safety::{
    MAX_BATCH_REPORTS, MAX_CONTRIBUTIONS, MAX_EPSILON, MAX_TIME_PRECISION_SECONDS, MIN_MIN_BATCH_SIZE,
    MIN_TIME_PRECISION_SECONDS, check_policy,
};

use crate::codec::Encode as _;
use crate::messages::{Interval, TaskConfiguration, TaskId};
use crate::policy::PrivacyPolicy;
use crate::vdaf::{Vdaf, VdafConfig};

/// Domain separation of DAP-18: the prefix of the VDAF's context (HPKE's `info` strings have their own).
const DAP: &[u8] = b"dap-18";

/// A task that Arras takes part in: it fits one of the three profiles and is not trivially unsafe.
#[derive(Debug)]
pub struct Task {
    id: TaskId,
    configuration: TaskConfiguration,
    profile: Profile,
    vdaf: Vdaf,
    policy: Option<PrivacyPolicy>,
    budget_source: Option<String>,
    collector_identity: Option<String>,
    interval: Option<Interval>,
    aad_prefix: Vec<u8>,
    vdaf_context: Vec<u8>,
}

impl Task {
    /// Checks a configuration against the profiles and the safety limits.
    pub fn new(configuration: TaskConfiguration) -> Result<Self, TaskError> {
        let fields = profile::classify(&configuration)?;
        let vdaf_config = VdafConfig::decode(configuration.vdaf_type, configuration.vdaf_configuration())
            .map_err(TaskError::Vdaf)?;
        profile::check_shape(fields.profile, &configuration, fields.interval, &vdaf_config)?;
        safety::check_configuration(fields.profile, &configuration)?;
        if let Some(policy) = &fields.policy {
            safety::check_policy(policy, &vdaf_config)?;
        }
        let id = configuration.task_id();
        let mut aad_prefix = Vec::new();
        id.encode(&mut aad_prefix);
        configuration.encode(&mut aad_prefix);
        Ok(Self {
            id,
            profile: fields.profile,
            vdaf: Vdaf::new(vdaf_config).map_err(TaskError::Vdaf)?,
            policy: fields.policy,
            budget_source: fields.budget_source,
            collector_identity: fields.collector_identity,
            interval: fields.interval,
            aad_prefix,
            vdaf_context: [DAP, id.as_bytes()].concat(),
            configuration,
        })
    }

    /// The hash of its configuration.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// What all parties agree on.
    pub fn configuration(&self) -> &TaskConfiguration {
        &self.configuration
    }

    /// Which of the three shapes it has.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// What it computes.
    pub fn vdaf(&self) -> &Vdaf {
        &self.vdaf
    }

    /// The policy bound to it; only in the Arras profile.
    pub fn policy(&self) -> Option<&PrivacyPolicy> {
        self.policy.as_ref()
    }

    /// Whose budget its releases spend; in the Arras and Attribution profiles.
    pub fn budget_source(&self) -> Option<&str> {
        self.budget_source.as_deref()
    }

    /// Who collects; only in the Attribution profile.
    pub fn collector_identity(&self) -> Option<&str> {
        self.collector_identity.as_deref()
    }

    /// When reports may be made, if that is limited.
    pub fn interval(&self) -> Option<Interval> {
        self.interval
    }

    /// The part of `InputShareAad` that is the same for all reports: task id and configuration.
    pub(crate) fn aad_prefix(&self) -> &[u8] {
        &self.aad_prefix
    }

    /// The VDAF's context string: `"dap-18" || task_id` (DAP-18 section 4.4.2.1).
    pub fn vdaf_context(&self) -> &[u8] {
        &self.vdaf_context
    }
}
