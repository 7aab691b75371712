//! Making a report (DAP-18 section 4.4.2.1): shard the measurement, seal each share to its aggregator.

use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::codepoints::REPORT_EXTENSION_PRIVACY_BUDGET;
use crate::epsilon::MicroEpsilon;
use crate::hpke::{HpkeError, Sealer};
use crate::messages::{
    Extension, Extensions, HpkeCiphertext, HpkeConfig, Report, ReportId, ReportMetadata, Role, Time,
    encode_plaintext_input_share, encode_report_header,
};
use crate::task::{Profile, Task};
use crate::vdaf::{Measurement, VdafError};

/// Why a report cannot be made. The caller is at fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportMakingError {
    /// The measurement is not one of the task's VDAF.
    #[error("the measurement: {0}")]
    Measurement(#[source] VdafError),
    /// An aggregator's HPKE configuration is not of the suite that Arras speaks.
    #[error("the {0:?}'s HPKE configuration is not X25519, HKDF-SHA256, AES-128-GCM")]
    UnsupportedHpkeConfig(Role),
    /// Sealing failed.
    #[error("sealing: {0}")]
    Hpke(#[from] HpkeError),
    /// Reports of the Attribution profile carry the budget that they spent, others must not.
    #[error("a privacy budget must be given for tasks of the attribution profile, and for no others")]
    PrivacyBudget,
    /// The time is outside of the task's interval.
    #[error("the task does not take reports of this time")]
    OutsideTaskInterval,
}

/// HPKE's `info` for an input share (DAP-18 section 4.4.2.1).
pub(crate) fn input_share_info(recipient: Role) -> Vec<u8> {
    let mut info = b"dap-18 input share".to_vec();
    info.extend_from_slice(&[Role::Client as u8, recipient as u8]);
    info
}

/// Makes the reports of one task. What depends on the task and the recipients alone is computed once.
#[derive(Debug)]
pub struct ReportMaker<'t> {
    task: &'t Task,
    leader: (u8, Sealer),
    helper: (u8, Sealer),
}

impl<'t> ReportMaker<'t> {
    /// For a task and its aggregators' HPKE configurations.
    pub fn new(task: &'t Task, leader: &HpkeConfig, helper: &HpkeConfig) -> Result<Self, ReportMakingError> {
        let sealer = |config: &HpkeConfig, role| {
            let key = config.public_key().ok_or(ReportMakingError::UnsupportedHpkeConfig(role))?;
            Ok::<_, ReportMakingError>((config.id, Sealer::new(&key, &input_share_info(role))))
        };
        Ok(Self { task, leader: sealer(leader, Role::Leader)?, helper: sealer(helper, Role::Helper)? })
    }

    /// Makes a report of a measurement at a POSIX time in seconds, which is truncated to the task's
    /// precision before anything else. `privacy_budget` is given for tasks of the Attribution
    /// profile, and only for them.
    pub fn make(
        &self,
        rng: &mut impl CryptoRng,
        posix_seconds: u64,
        measurement: &Measurement,
        privacy_budget: Option<MicroEpsilon>,
    ) -> Result<Report, ReportMakingError> {
        let report_id = ReportId::random(rng);
        self.make_as(rng, report_id, posix_seconds, measurement, privacy_budget)
    }

    /// The same under an id that was drawn before. Only what is the same report may have the same id: the
    /// aggregators count whichever copy comes first, and no other.
    pub fn make_as(
        &self,
        rng: &mut impl CryptoRng,
        report_id: ReportId,
        posix_seconds: u64,
        measurement: &Measurement,
        privacy_budget: Option<MicroEpsilon>,
    ) -> Result<Report, ReportMakingError> {
        let time = self.task.configuration().time_precision.truncate(posix_seconds);
        self.check_time(time)?;
        let public_extensions = match (self.task.profile(), privacy_budget) {
            (Profile::Attribution, Some(budget)) => {
                let data = budget.get().to_be_bytes().to_vec();
                Extensions::new(vec![Extension { kind: REPORT_EXTENSION_PRIVACY_BUDGET, data }])
                    // Cannot fail: one extension of four bytes.
                    .expect("one short extension")
            }
            (Profile::Arras | Profile::Plain, None) => Extensions::none(),
            _ => return Err(ReportMakingError::PrivacyBudget),
        };
        let metadata = ReportMetadata { report_id, time, public_extensions };
        let sharded = self
            .task
            .vdaf()
            .shard(self.task.vdaf_context(), measurement, metadata.report_id.as_bytes())
            .map_err(ReportMakingError::Measurement)?;
        let header = encode_report_header(&metadata, &sharded.public_share);
        let aad = [self.task.aad_prefix(), &header].concat();
        // Both shares together are the measurement, so none of their copies made here outlives the call.
        let input_shares = [sharded.leader_share, sharded.helper_share].map(Zeroizing::new);
        let mut seal = |(config_id, sealer): &(u8, Sealer), share: &[u8]| {
            let plaintext = Zeroizing::new(encode_plaintext_input_share(&Extensions::none(), share));
            Ok::<_, HpkeError>(HpkeCiphertext::new(*config_id, sealer.seal(rng, &aad, &plaintext)?))
        };
        let leader_share = seal(&self.leader, &input_shares[0])?;
        let helper_share = seal(&self.helper, &input_shares[1])?;
        Ok(Report { metadata, public_share: sharded.public_share, leader_share, helper_share })
    }

    fn check_time(&self, time: Time) -> Result<(), ReportMakingError> {
        match self.task.interval() {
            Some(interval) if !interval.contains(time) => Err(ReportMakingError::OutsideTaskInterval),
            _ => Ok(()),
        }
    }
}
