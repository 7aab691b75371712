//! Aggregate shares on their way to the collector (DAP-18 sections 4.6.6 and 4.6.7).

use rand::CryptoRng;

use crate::codec::Encode as _;
use crate::hpke::{HpkeError, Opener, PrivateKey, Sealer};
use crate::messages::{
    AggregateShareAad, CollectionJobReq, CollectionJobResp, HpkeCiphertext, HpkeCiphertextRef, HpkeConfig,
    Role,
};
use crate::task::Task;
use crate::vdaf::{AggregateShare, Noised, VdafError, unshard};

/// HPKE's `info` for an aggregate share.
fn aggregate_share_info(sender: Role) -> Vec<u8> {
    let mut info = b"dap-18 aggregate share".to_vec();
    info.extend_from_slice(&[sender as u8, Role::Collector as u8]);
    info
}

fn aad(task: &Task, request: &CollectionJobReq) -> Vec<u8> {
    AggregateShareAad {
        task_id: task.id(),
        task_configuration: task.configuration(),
        collection_job_req: request,
    }
    .to_bytes()
}

/// Why an aggregate share cannot be sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The collector's configuration is not of the suite that Arras speaks.
    #[error("the collector's HPKE configuration is not X25519, HKDF-SHA256, AES-128-GCM")]
    UnsupportedHpkeConfig,
    /// Sealing failed.
    #[error("sealing: {0}")]
    Hpke(#[from] HpkeError),
}

/// Seals an aggregator's share to the collector. Only a share with noise in it can be sealed.
pub fn seal_aggregate_share(
    rng: &mut impl CryptoRng,
    task: &Task,
    sender: Role,
    collector: &HpkeConfig,
    request: &CollectionJobReq,
    share: &Noised<AggregateShare>,
) -> Result<HpkeCiphertext, SealError> {
    let key = collector.public_key().ok_or(SealError::UnsupportedHpkeConfig)?;
    let sealer = Sealer::new(&key, &aggregate_share_info(sender));
    let sealed = sealer.seal(rng, &aad(task, request), &share.encode())?;
    Ok(HpkeCiphertext::new(collector.id, sealed))
}

/// Why a collector cannot read what it collected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// A share is sealed to another configuration.
    #[error("the {role:?} sealed its share to HPKE configuration {found}, this collector's is {expected}")]
    ConfigId {
        /// Whose share.
        role: Role,
        /// The id that the share names.
        found: u8,
        /// The collector's.
        expected: u8,
    },
    /// A share does not open: the parties disagree about the task, the query or the key.
    #[error("the {0:?}'s aggregate share does not open: task, query or key differ between the parties")]
    Open(Role),
    /// The shares do not make a result.
    #[error("{0}")]
    Vdaf(#[from] VdafError),
    /// The key cannot be used.
    #[error("the collector's key: {0}")]
    Key(#[from] HpkeError),
}

/// Opens both shares and combines them: one signed integer for each cell, noise included, nothing
/// clamped. `slack` is how far noise may reach; a cell outside of what reports and noise can give is
/// an error.
pub fn open_and_unshard(
    task: &Task,
    key: &PrivateKey,
    config_id: u8,
    request: &CollectionJobReq,
    response: &CollectionJobResp,
    slack: u128,
) -> Result<Vec<i128>, CollectError> {
    let aad = aad(task, request);
    let open = |role: Role, sealed: HpkeCiphertextRef<'_>| {
        if sealed.config_id != config_id {
            return Err(CollectError::ConfigId { role, found: sealed.config_id, expected: config_id });
        }
        Opener::new(key, &aggregate_share_info(role))?
            .open(sealed.enc, &aad, sealed.payload)
            .map_err(|_| CollectError::Open(role))
    };
    let leader = open(Role::Leader, response.leader_share.as_ref())?;
    let helper = open(Role::Helper, response.helper_share.as_ref())?;
    Ok(unshard(task.vdaf().config(), &leader, &helper, response.report_count, slack)?)
}
