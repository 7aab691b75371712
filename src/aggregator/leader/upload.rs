//! Uploads (DAP-18 section 4.4.2.2): each report is judged alone, those that are accepted are durable before
//! the answer.

use arras_protocol::codec::{CodecError, Encode as _};
use arras_protocol::hpke::{ENC_LEN, TAG_LEN};
use arras_protocol::messages::{
    MediaType, ReportError, ReportRef, ReportUploadStatus, UploadErrors, UploadRequestRef,
};
use arras_protocol::verification::check_header;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::aggregator::ProvisionedTask;
use crate::aggregator::api::{Problem, message};
use crate::aggregator::leader::{Counters, Leader};
use crate::net::problem::OwnError;
use crate::store::{NewReport, ReportKey};

/// Reports in one upload. Each takes some 200 bytes beside the body while it is judged, which for the shortest things
/// that decode as a report would be many times the body.
const REPORTS_PER_UPLOAD: usize = 10_000;

/// Length of the two empty-or-not prefixes of a `PlaintextInputShare`.
const PLAINTEXT_OVERHEAD: usize = 6;

impl Leader {
    /// Judges and stores the reports of an upload. Blocks until they are durable.
    pub(super) fn upload(&self, task: &ProvisionedTask, body: &[u8]) -> Result<Response, Problem> {
        let request = UploadRequestRef::from_bytes(body, REPORTS_PER_UPLOAD).map_err(|error| match error {
            CodecError::TooMany { .. } => Problem::own(OwnError::TooLarge, error.to_string()),
            _ => Problem::invalid(format!("the upload does not decode: {error}")),
        });
        let request = request.map_err(|problem| problem.task(task.task.id()))?;
        let now = self.parts().clock.now();
        let verdicts: Vec<_> = request.reports.iter().map(|report| self.judge(task, report, now)).collect();
        let acceptable: Vec<_> = request
            .reports
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| verdict.is_ok())
            .map(|(report, _)| NewReport {
                key: ReportKey { report_id: report.header.report_id, time: report.header.time },
                encoded: report.encoded,
            })
            .collect();
        let mut stored = self.store().append_reports(task.task.id(), &acceptable)?.into_iter();
        let mut errors = UploadErrors::default();
        for (report, verdict) in request.reports.iter().zip(verdicts) {
            // The store answered once for each acceptable report.
            let outcome = verdict.and_then(|()| stored.next().unwrap_or(Err(ReportError::ReportDropped)));
            match outcome {
                Ok(()) => {
                    self.0.counters.accepted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                Err(error) => {
                    Counters::count(&self.0.counters.refused, error);
                    errors.status.push(ReportUploadStatus { report_id: report.header.report_id, error });
                }
            }
        }
        if errors.status.len() < request.reports.len() {
            self.0.work.notify_one();
        }
        if errors.status.is_empty() {
            return Ok(StatusCode::OK.into_response());
        }
        Ok(message(StatusCode::OK, MediaType::UploadErrors, errors.to_bytes()))
    }

    /// What can be told without opening the report.
    fn judge(&self, task: &ProvisionedTask, report: &ReportRef<'_>, now: u64) -> Result<(), ReportError> {
        let parts = self.parts();
        check_header(&task.task, &report.header, parts.limits.time_window(&task.task, now)).map_err(
            |error| {
                match error {
                    // DAP-18 section 4.4.2.2 names one error for both sides of the task's interval.
                    ReportError::TaskExpired | ReportError::TaskNotStarted => ReportError::ReportDropped,
                    other => other,
                }
            },
        )?;
        if !parts.opener.knows(report.leader_share.config_id) {
            return Err(ReportError::OutdatedConfig);
        }
        let vdaf = task.task.vdaf();
        let overhead = TAG_LEN + PLAINTEXT_OVERHEAD;
        // No private extension is known, so the length of a share that could be accepted is fixed; anything
        // else would only take space until it is rejected.
        let fits = report.header.public_share.len() == vdaf.public_share_len()
            && report.leader_share.enc.len() == ENC_LEN
            && report.helper_share.enc.len() == ENC_LEN
            && report.leader_share.payload.len() == vdaf.leader_share_len() + overhead
            && report.helper_share.payload.len() == vdaf.helper_share_len() + overhead;
        if fits { Ok(()) } else { Err(ReportError::InvalidMessage) }
    }
}
