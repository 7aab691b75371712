//! Verifying a whole aggregation job, as functions without I/O (DAP-18 section 4.5.3).
//!
//! Each report fails alone: a function returns one result for each report, in order, and no result
//! depends on another report. The functions take slices, so that a service can cut a job into
//! pieces for its threads.

use crate::codepoints::REPORT_EXTENSION_PRIVACY_BUDGET;
use crate::crypto::sha256;
use crate::epsilon::MicroEpsilon;
use crate::hpke::{Envelope, HpkeError, Opener, PrivateKey};
use crate::messages::{
    AggregationJobResp, HpkeCiphertextRef, HpkeConfig, HpkeConfigList, PlaintextInputShareRef, ReportError,
    ReportHeaderRef, ReportId, ReportRef, Role, Time, VerifyInitRef, VerifyResult,
};
use crate::report::input_share_info;
use crate::task::{Profile, Task, VerifyKey};
use crate::vdaf::{AggregateShare, LeaderState, OutputShare, Part, VdafError};

/// Opens the input shares of one aggregator, under each of its HPKE configurations.
#[derive(Debug)]
pub struct InputShareOpener {
    openers: Vec<(u8, Opener)>,
}

impl InputShareOpener {
    /// For the leader or the helper, from its configurations' ids and private keys.
    pub fn new<'k>(
        role: Role,
        keys: impl IntoIterator<Item = (u8, &'k PrivateKey)>,
    ) -> Result<Self, HpkeError> {
        let info = input_share_info(role);
        let openers = keys
            .into_iter()
            .map(|(id, key)| Ok((id, Opener::new(key, &info)?)))
            .collect::<Result<_, HpkeError>>()?;
        Ok(Self { openers })
    }

    /// Whether a configuration of this id exists.
    pub fn knows(&self, config_id: u8) -> bool {
        self.openers.iter().any(|(id, _)| *id == config_id)
    }

    /// Opens many shares of one task; each fails alone. An unknown configuration id is a
    /// `hpke_decrypt_error`, as DAP-18 section 4.5.3.3 says.
    fn open(
        &self,
        task: &Task,
        shares: &[(ReportHeaderRef<'_>, HpkeCiphertextRef<'_>)],
    ) -> Vec<Result<Vec<u8>, ReportError>> {
        let mut results: Vec<_> = shares.iter().map(|_| Err(ReportError::HpkeDecryptError)).collect();
        // One batch for each configuration: nearly always that is one batch.
        for (id, opener) in &self.openers {
            let indices: Vec<usize> =
                (0..shares.len()).filter(|&index| shares[index].1.config_id == *id).collect();
            let envelopes: Vec<_> = indices
                .iter()
                .map(|&index| {
                    let (header, ciphertext) = &shares[index];
                    Envelope {
                        enc: ciphertext.enc,
                        aad: [task.aad_prefix(), header.encoded],
                        ciphertext: ciphertext.payload,
                    }
                })
                .collect();
            for (index, opened) in indices.into_iter().zip(opener.open_batch(&envelopes)) {
                results[index] = opened.map_err(|_| ReportError::HpkeDecryptError);
            }
        }
        results
    }
}

/// The list that an aggregator publishes at `hpke_config`, in the order of preference given.
pub fn hpke_config_list<'k>(
    keys: impl IntoIterator<Item = (u8, &'k PrivateKey)>,
) -> Result<HpkeConfigList, crate::codec::CodecError> {
    HpkeConfigList::new(keys.into_iter().map(|(id, key)| HpkeConfig::new(id, &key.public_key())).collect())
}

/// Which times of reports an aggregator accepts; all in the task's time precision.
#[derive(Clone, Copy, Debug)]
pub struct TimeWindow {
    /// A later report is too early.
    pub latest: Time,
    /// An earlier report is dropped: whether it counted already can no longer be told.
    pub earliest: Time,
}

/// Checks what can be told from a report's public part (DAP-18 section 4.5.3.4).
///
/// The task's interval comes before the window: a report that lies after the task's end and ahead of the
/// clock is refused for good, and not put back until its time has come. An upload that is outside of the
/// interval is answered with `report_dropped` instead of `task_not_started` and `task_expired` (DAP-18 section
/// 4.4.2.2); that is the caller's to translate.
pub fn check_header(
    task: &Task,
    header: &ReportHeaderRef<'_>,
    window: TimeWindow,
) -> Result<(), ReportError> {
    if let Some(interval) = task.interval() {
        if header.time < interval.start() {
            return Err(ReportError::TaskNotStarted);
        }
        if header.time >= interval.end() {
            return Err(ReportError::TaskExpired);
        }
    }
    if header.time > window.latest {
        return Err(ReportError::ReportTooEarly);
    }
    if header.time < window.earliest {
        return Err(ReportError::ReportDropped);
    }
    let mut acceptable = true;
    let mut budget_given = false;
    header
        .check_extensions(|kind, data| match (task.profile(), kind) {
            (Profile::Attribution, REPORT_EXTENSION_PRIVACY_BUDGET) => {
                budget_given = privacy_budget(data).is_some();
            }
            _ => acceptable = false,
        })
        .map_err(|_| ReportError::InvalidMessage)?;
    let budget_due = task.profile() == Profile::Attribution;
    if acceptable && budget_given == budget_due { Ok(()) } else { Err(ReportError::InvalidMessage) }
}

/// Reads the data of a `privacy_budget` report extension: micro-epsilon in four bytes. A report that spent
/// nothing has no place in any release, and the W3C's API refuses an epsilon of 0.
fn privacy_budget(data: &[u8]) -> Option<MicroEpsilon> {
    MicroEpsilon::from_micro(u32::from_be_bytes(data.try_into().ok()?)).ok()
}

/// Reads an opened share. No private extension is known, so any is a reason to refuse.
fn input_share(plaintext: &[u8]) -> Result<&[u8], ReportError> {
    let share = PlaintextInputShareRef::from_bytes(plaintext).map_err(|_| ReportError::InvalidMessage)?;
    if share.private_extensions.is_empty() { Ok(share.payload) } else { Err(ReportError::InvalidMessage) }
}

/// A share that does not decode is an `invalid_message` (DAP-18 section 4.5.3.4). A message of the other
/// aggregator that does not decode leaves the verification in the state `Rejected`, which is a
/// `vdaf_verify_error` (section 4.5.3.2).
fn vdaf_report_error(error: &VdafError) -> ReportError {
    match error {
        VdafError::Malformed(Part::Message) => ReportError::VdafVerifyError,
        _ if error.is_malformed() => ReportError::InvalidMessage,
        _ => ReportError::VdafVerifyError,
    }
}

/// The leader's side of a report that is being verified.
#[derive(Debug)]
pub struct LeaderVerification {
    /// Kept until the helper answers.
    pub state: LeaderState,
    /// For the helper; goes into the job's request.
    pub message: Vec<u8>,
}

/// The leader's first step for the reports of a job: check, open, initialise verification.
pub fn leader_init(
    task: &Task,
    verify_key: &VerifyKey,
    opener: &InputShareOpener,
    window: TimeWindow,
    reports: &[ReportRef<'_>],
) -> Vec<Result<LeaderVerification, ReportError>> {
    let shares: Vec<_> = reports.iter().map(|report| (report.header, report.leader_share)).collect();
    open_checked(task, opener, window, &shares)
        .into_iter()
        .zip(reports)
        .map(|(plaintext, report)| {
            let plaintext = plaintext?;
            let (state, message) = task
                .vdaf()
                .leader_init(
                    verify_key.expose(),
                    task.vdaf_context(),
                    report.header.report_id.as_bytes(),
                    report.header.public_share,
                    input_share(&plaintext)?,
                )
                .map_err(|error| vdaf_report_error(&error))?;
            Ok(LeaderVerification { state, message })
        })
        .collect()
}

/// A report that the helper verified: it counts unless it turns out to be a replay.
#[derive(Debug)]
pub struct HelperVerification {
    /// What will be summed.
    pub output_share: OutputShare,
    /// For the leader; goes into the job's response.
    pub message: Vec<u8>,
}

/// The helper's only step for the reports of a job: check, open, verify.
pub fn helper_verify(
    task: &Task,
    verify_key: &VerifyKey,
    opener: &InputShareOpener,
    window: TimeWindow,
    inits: &[VerifyInitRef<'_>],
) -> Vec<Result<HelperVerification, ReportError>> {
    let shares: Vec<_> = inits
        .iter()
        .map(|init| (init.report_share.header, init.report_share.encrypted_input_share))
        .collect();
    open_checked(task, opener, window, &shares)
        .into_iter()
        .zip(inits)
        .map(|(plaintext, init)| {
            let plaintext = plaintext?;
            let header = &init.report_share.header;
            let (output_share, message) = task
                .vdaf()
                .helper_init(
                    verify_key.expose(),
                    task.vdaf_context(),
                    header.report_id.as_bytes(),
                    header.public_share,
                    input_share(&plaintext)?,
                    init.payload,
                )
                .map_err(|error| vdaf_report_error(&error))?;
            Ok(HelperVerification { output_share, message })
        })
        .collect()
}

/// Opens those shares whose public part is in order.
fn open_checked(
    task: &Task,
    opener: &InputShareOpener,
    window: TimeWindow,
    shares: &[(ReportHeaderRef<'_>, HpkeCiphertextRef<'_>)],
) -> Vec<Result<Vec<u8>, ReportError>> {
    let checked: Vec<_> = shares.iter().map(|(header, _)| check_header(task, header, window)).collect();
    let to_open: Vec<_> =
        shares.iter().zip(&checked).filter(|(_, check)| check.is_ok()).map(|(share, _)| *share).collect();
    let mut opened = opener.open(task, &to_open).into_iter();
    checked
        .into_iter()
        // There is one opened share for each check that passed.
        .map(|check| check.and_then(|()| opened.next().unwrap_or(Err(ReportError::HpkeDecryptError))))
        .collect()
}

/// A report of the leader's that waits for the helper's answer.
#[derive(Debug)]
pub struct PendingReport {
    /// Its id.
    pub report_id: ReportId,
    /// Its time.
    pub time: Time,
    /// The leader's state.
    pub state: LeaderState,
}

/// The helper's answer does not fit the request: the job must be abandoned (DAP-18 section 4.5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobMismatch {
    /// Another number of reports, other reports or another order.
    #[error("the helper's response does not list the reports of the request in their order")]
    Reports,
    /// Prio3 takes one round; "finish" cannot come here.
    #[error("the helper's response has a message type that cannot follow the request")]
    MessageType,
}

/// A report whose verification is over for the leader.
#[derive(Debug)]
pub struct FinishedReport {
    /// Its id.
    pub report_id: ReportId,
    /// Its time.
    pub time: Time,
    /// What will be summed, or why it does not count.
    pub outcome: Result<OutputShare, ReportError>,
}

/// Checks that a response answers a request, before any state is consumed.
pub fn check_response(report_ids: &[ReportId], response: &AggregationJobResp) -> Result<(), JobMismatch> {
    if report_ids.len() != response.verify_resps.len() {
        return Err(JobMismatch::Reports);
    }
    for (id, resp) in report_ids.iter().zip(&response.verify_resps) {
        if *id != resp.report_id {
            return Err(JobMismatch::Reports);
        }
        if resp.result == VerifyResult::Finish {
            return Err(JobMismatch::MessageType);
        }
    }
    Ok(())
}

/// The leader's last step: the helper's answer to each pending report. The response was checked by
/// [`check_response`]; the two slices are in the same order.
pub fn leader_finish(
    task: &Task,
    pending: Vec<PendingReport>,
    results: &[VerifyResult],
) -> Vec<FinishedReport> {
    pending
        .into_iter()
        .zip(results)
        .map(|(report, result)| {
            let outcome = match result {
                VerifyResult::Continue(message) => task
                    .vdaf()
                    .leader_finish(task.vdaf_context(), report.state, message)
                    .map_err(|error| vdaf_report_error(&error)),
                VerifyResult::Reject(error) => Err(*error),
                VerifyResult::Finish => Err(ReportError::InvalidMessage),
            };
            FinishedReport { report_id: report.report_id, time: report.time, outcome }
        })
        .collect()
}

/// What an aggregator knows of one batch bucket, or of what one job adds to it (DAP-18
/// section 4.5.4.3).
#[derive(Clone, Debug)]
pub struct BatchBucket {
    /// The sum of output shares.
    pub share: AggregateShare,
    /// How many.
    pub report_count: u64,
    /// XOR of the SHA-256 of their ids.
    pub checksum: [u8; 32],
}

impl BatchBucket {
    /// An empty one.
    pub fn empty(task: &Task) -> Self {
        Self { share: AggregateShare::zero(task.vdaf().config()), report_count: 0, checksum: [0; 32] }
    }

    /// Adds one report.
    pub fn add(&mut self, report_id: ReportId, output_share: &OutputShare) -> Result<(), VdafError> {
        self.share.accumulate(output_share)?;
        self.report_count += 1;
        let hash = sha256(report_id.as_bytes());
        xor(&mut self.checksum, &hash);
        Ok(())
    }

    /// Adds all reports of another.
    pub fn merge(&mut self, other: &Self) -> Result<(), VdafError> {
        self.share.merge(&other.share)?;
        self.report_count += other.report_count;
        xor(&mut self.checksum, &other.checksum);
        Ok(())
    }
}

fn xor(checksum: &mut [u8; 32], other: &[u8]) {
    for (byte, other) in checksum.iter_mut().zip(other) {
        *byte ^= other;
    }
}
