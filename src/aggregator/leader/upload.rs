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
use crate::aggregator::leader::Leader;
use crate::aggregator::leader::intake::Upload;
use crate::net::problem::OwnError;
use crate::store::{NewReport, ReportKey};

/// Reports in one upload. Each takes some 200 bytes beside the body while it is judged, which for the shortest things
/// that decode as a report would be many times the body.
const REPORTS_PER_UPLOAD: usize = 10_000;

/// Length of the two empty-or-not prefixes of a `PlaintextInputShare`.
const PLAINTEXT_OVERHEAD: usize = 6;

/// The reports of an upload that can be stored, and what is to be said of the others.
struct Judged<'a> {
    request: UploadRequestRef<'a>,
    verdicts: Vec<Result<(), ReportError>>,
}

impl Leader {
    /// Judges and stores the reports of uploads, and answers each. Blocks until all of them are durable.
    ///
    /// They have one outcome only where the store fails; a copy of a report of another upload among them is answered
    /// as one when the first copy is durable, since all answers wait for that.
    pub(super) fn store_uploads(&self, task: &ProvisionedTask, uploads: Vec<Upload>) {
        let now = self.parts().clock.now();
        let judged: Vec<_> = uploads.iter().map(|upload| self.judge_all(task, &upload.body, now)).collect();
        let acceptable: Vec<_> = judged.iter().flatten().flat_map(Judged::acceptable).collect();
        let stored = self.store().append_reports(task.task.id(), &acceptable);
        let mut results = stored.as_ref().map(|results| results.iter().copied());
        let mut answers = Vec::with_capacity(uploads.len());
        for judged in judged {
            answers.push(judged.and_then(|judged| match &mut results {
                Ok(results) => Ok(self.answer(&judged, results)),
                Err(error) => Err(error.repeat().into()),
            }));
        }
        for (upload, answer) in uploads.into_iter().zip(answers) {
            upload.answer(answer);
        }
    }

    fn judge_all<'a>(&self, task: &ProvisionedTask, body: &'a [u8], now: u64) -> Result<Judged<'a>, Problem> {
        let request = UploadRequestRef::from_bytes(body, REPORTS_PER_UPLOAD).map_err(|error| match error {
            CodecError::TooMany { .. } => Problem::own(OwnError::TooLarge, error.to_string()),
            _ => Problem::invalid(format!("the upload does not decode: {error}")),
        });
        let request = request.map_err(|problem| problem.task(task.task.id()))?;
        let verdicts = request.reports.iter().map(|report| self.judge(task, report, now)).collect();
        Ok(Judged { request, verdicts })
    }

    /// Counts what became of an upload's reports, and says it. `stored` begins with the store's results for those
    /// that were acceptable.
    fn answer(
        &self,
        judged: &Judged<'_>,
        stored: &mut impl Iterator<Item = Result<(), ReportError>>,
    ) -> Response {
        let mut errors = UploadErrors::default();
        for (report, verdict) in judged.request.reports.iter().zip(&judged.verdicts) {
            // The store answered once for each acceptable report.
            let outcome = verdict.and_then(|()| stored.next().unwrap_or(Err(ReportError::ReportDropped)));
            match outcome {
                Ok(()) => {}
                Err(error) => {
                    self.metrics().refused.count(error);
                    errors.status.push(ReportUploadStatus { report_id: report.header.report_id, error });
                }
            }
        }
        let accepted = judged.request.reports.len() - errors.status.len();
        self.metrics().accepted.inc_by(accepted as u64);
        if accepted > 0 {
            self.0.work.notify_one();
        }
        if errors.status.is_empty() {
            return StatusCode::OK.into_response();
        }
        message(StatusCode::OK, MediaType::UploadErrors, errors.to_bytes())
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

impl<'a> Judged<'a> {
    fn acceptable(&self) -> impl Iterator<Item = NewReport<'a>> {
        let both = self.request.reports.iter().zip(&self.verdicts);
        both.filter(|(_, verdict)| verdict.is_ok()).map(|(report, _)| NewReport {
            key: ReportKey { report_id: report.header.report_id, time: report.header.time },
            encoded: report.encoded,
        })
    }
}
