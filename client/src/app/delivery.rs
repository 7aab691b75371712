//! Sending what waits, and what the journal says of it.

use std::io;

use arras_protocol::messages::{ReportId, ReportUploadStatus};
use rand::CryptoRng;

use super::conversion::{make, measurement, sealed_to};
use super::journal::{Form, ReportState, from_hex};
use super::{App, AppError};
use crate::attribution::{NOT_ATTRIBUTED, Storage};
use crate::files::Files;
use crate::queue::{Outcome, SendFailure, UploadRequest};

impl<S: Storage, F: Files> App<S, F> {
    /// The next request that is due, for a host that sends by its own means; see
    /// [`Queue::next_request`](crate::queue::Queue::next_request).
    pub fn next_request(&mut self, now: u64) -> io::Result<Option<UploadRequest>> {
        // What a person has withdrawn is not sent, even if it could not be removed yet.
        if self.is_withdrawing() { Ok(None) } else { self.queue.next_request(now) }
    }

    /// In how many seconds a request may be due.
    pub fn next_due_in(&self, now: u64) -> Option<u64> {
        if self.is_withdrawing() { None } else { self.queue.next_due_in(now) }
    }

    /// Takes a request back that was not sent: its reports are due again.
    pub fn release(&mut self, request: &UploadRequest) {
        self.queue.release(request);
    }

    /// What a leader answered, or that nobody did; [`HttpAnswer`](crate::queue::HttpAnswer) reads an answer. The journal is durable before reports are forgotten.
    ///
    /// A report whose key is outdated is made again under its id if the manifest has another key by now, and waits for a
    /// newer manifest otherwise: then [`App::wants_manifest`] says so. Under another id it could count twice, since an
    /// earlier copy may have arrived.
    pub fn answered(
        &mut self,
        rng: &mut impl CryptoRng,
        request: &UploadRequest,
        answer: Result<&[ReportUploadStatus], SendFailure>,
        now: u64,
    ) -> Result<(), AppError> {
        let outcomes = self.queue.answered(rng, request, answer, now);
        let mut done = Vec::new();
        let mut failed = None;
        for outcome in outcomes {
            let (id, state) = match outcome {
                Outcome::Delivered(id) => (id, ReportState::Delivered),
                Outcome::Refused(id, error) => (id, ReportState::Refused { why: error.token().to_owned() }),
                Outcome::Outdated(id) => match self.make_again(rng, id) {
                    Ok(true) => continue,
                    Ok(false) => (id, ReportState::Lost),
                    // It stays as it is. What is to be done with the others does not hang on it.
                    Err(error) => {
                        failed = Some(error);
                        continue;
                    }
                },
            };
            if let Some(report) = self.journal_report(id) {
                report.state = state;
            }
            done.push(id);
        }
        if !done.is_empty() {
            self.keep()?;
        }
        for id in done {
            if let Err(error) = self.queue.forget(id) {
                failed = Some(error.into());
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Whether reports wait for a newer manifest, because a leader does not have the key of this one any more.
    pub fn wants_manifest(&self) -> bool {
        self.queue.outdated().next().is_some()
    }

    /// Makes the reports whose keys were outdated again, after a newer manifest came.
    pub(super) fn make_outdated_again(&mut self, rng: &mut impl CryptoRng) -> Result<(), AppError> {
        for id in self.queue.outdated().collect::<Vec<_>>() {
            if self.make_again(rng, id)? {
                continue;
            }
            if let Some(report) = self.journal_report(id) {
                report.state = ReportState::Lost;
            }
            self.keep()?;
            self.queue.forget(id)?;
        }
        Ok(())
    }

    /// Whether the report stays: it was made again, or waits for another key. False if nobody knows what was in it, or its
    /// task is over.
    fn make_again(&mut self, rng: &mut impl CryptoRng, id: ReportId) -> Result<bool, AppError> {
        let Some((advertiser, at, report)) = self.kept.journal.iter().rev().find_map(|entry| {
            let report = entry.reports.iter().find(|report| from_hex(&report.report) == Some(id))?;
            Some((entry.advertiser.clone(), entry.at, report.clone()))
        }) else {
            return Ok(false);
        };
        let Some(manifest) = self.manifests.get(&advertiser) else { return Ok(true) };
        let mut tasks = manifest.tasks().iter();
        let Some(task) = tasks.find(|task| task.task.id().to_string() == report.task) else {
            return Ok(false);
        };
        let sealed_to = sealed_to(task);
        if sealed_to == report.sealed_to {
            return Ok(true);
        }
        let measurement = match report.form {
            Form::Null { .. } => measurement(task, NOT_ATTRIBUTED, 0),
            Form::Attributed { bucket, amount, .. } => measurement(task, bucket, amount),
        };
        let again = make(rng, task, id, &measurement, at)?;
        self.queue.replace(&again)?;
        if let Some(report) = self.journal_report(id) {
            report.sealed_to = sealed_to;
        }
        self.keep()?;
        Ok(true)
    }
}

#[cfg(feature = "upload")]
impl<S: Storage + Send, F: Files> crate::upload::Outbox for App<S, F> {
    fn next_request(&mut self, now: u64) -> io::Result<Option<UploadRequest>> {
        Self::next_request(self, now)
    }

    fn answered(
        &mut self,
        rng: &mut impl CryptoRng,
        request: &UploadRequest,
        answer: Result<&[ReportUploadStatus], SendFailure>,
        now: u64,
    ) -> io::Result<()> {
        Self::answered(self, rng, request, answer, now).map_err(io::Error::other)
    }

    fn release(&mut self, request: &UploadRequest) {
        Self::release(self, request);
    }

    fn next_due_in(&self, now: u64) -> Option<u64> {
        Self::next_due_in(self, now)
    }
}
