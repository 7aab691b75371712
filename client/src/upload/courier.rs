//! Sending what waits, in the background.

use std::future::Future;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arras_protocol::messages::{ReportUploadStatus, Url};
use rand::CryptoRng;
use tokio::sync::Notify;

use super::Uploader;
use crate::files::Files;
use crate::queue::{Outcome, Queue, SendFailure, UploadRequest};

/// The longest sleep, in seconds, between two looks at the queue: an hour. A device that sleeps itself keeps timers
/// from running, so the courier looks again now and then.
pub const LOOK_SECONDS_MAX: u64 = 3_600;

/// The shortest, in seconds. A queue that says "now" and then gives nothing must not keep a processor busy.
const LOOK_SECONDS_MIN: u64 = 1;

/// Longest time that one request may take: two minutes, for a slow connection.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// What holds reports that are to be sent: an [`App`](crate::app::App), or a bare [`Queue`].
pub trait Outbox: Send {
    /// See [`Queue::next_request`].
    fn next_request(&mut self, now: u64) -> io::Result<Option<UploadRequest>>;

    /// See [`Queue::answered`]. Whatever is to be remembered of the outcomes is kept before this returns.
    fn answered(
        &mut self,
        rng: &mut impl CryptoRng,
        request: &UploadRequest,
        answer: Result<&[ReportUploadStatus], SendFailure>,
        now: u64,
    ) -> io::Result<()>;

    /// See [`Queue::release`].
    fn release(&mut self, request: &UploadRequest);

    /// See [`Queue::next_due_in`].
    fn next_due_in(&self, now: u64) -> Option<u64>;
}

/// Keeps nothing of the outcomes. A report whose key is outdated is given up: nobody is there who could make it again.
impl<F: Files> Outbox for Queue<F> {
    fn next_request(&mut self, now: u64) -> io::Result<Option<UploadRequest>> {
        Queue::next_request(self, now)
    }

    fn answered(
        &mut self,
        rng: &mut impl CryptoRng,
        request: &UploadRequest,
        answer: Result<&[ReportUploadStatus], SendFailure>,
        now: u64,
    ) -> io::Result<()> {
        let outcomes = Queue::answered(self, rng, request, answer, now);
        outcomes.iter().map(Outcome::id).try_for_each(|id| self.forget(id))
    }

    fn release(&mut self, request: &UploadRequest) {
        Queue::release(self, request);
    }

    fn next_due_in(&self, now: u64) -> Option<u64> {
        Queue::next_due_in(self, now)
    }
}

/// How a request gets to a leader.
pub trait Transport: Send + Sync {
    /// Sends it; the list names the reports that were refused.
    fn send(
        &self,
        request: &UploadRequest,
    ) -> impl Future<Output = Result<Vec<ReportUploadStatus>, SendFailure>> + Send;
}

/// HTTP, to the task's leader or to a relay that stands before it.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    relay: Option<Url>,
}

impl Http {
    /// To the leader that the task names. The client is the caller's: it decides on roots of trust and proxies, and should
    /// follow no redirects.
    pub fn new(client: reqwest::Client) -> Self {
        Self { client, relay: None }
    }

    /// To a relay: the base URL that stands in for the leader's, so that the leader does not see who connects. Reports are
    /// sealed to the aggregators; a relay sees everything else: the address, the path with the task and so which advertiser,
    /// the ids and times of reports, their number and size. It is no oblivious relay, and must not be the leader's own.
    #[must_use]
    pub fn through(self, relay: Url) -> Self {
        Self { relay: Some(relay), ..self }
    }
}

impl Transport for Http {
    async fn send(&self, request: &UploadRequest) -> Result<Vec<ReportUploadStatus>, SendFailure> {
        let endpoint = self.relay.as_ref().unwrap_or(&request.leader).clone();
        let uploader = Uploader::new(self.client.clone(), endpoint);
        let sent = uploader.post(request.task, request.body.clone());
        match tokio::time::timeout(REQUEST_TIMEOUT, sent).await {
            Ok(Ok(answer)) => answer.as_http().read(),
            Ok(Err(_)) | Err(_) => Err(SendFailure::default()),
        }
    }
}

/// A request that nobody has answered for yet. Whoever drops the future, as an app does that goes to the background, must not
/// leave its reports waiting for an answer until the process ends.
struct UnderWay<'a, O: Outbox> {
    outbox: &'a Mutex<O>,
    request: Option<&'a UploadRequest>,
}

impl<O: Outbox> Drop for UnderWay<'_, O> {
    fn drop(&mut self) {
        if let Some(request) = self.request {
            self.outbox.lock().unwrap_or_else(PoisonError::into_inner).release(request);
        }
    }
}

/// Sends what is due, whenever it is. The app and the courier share the outbox; it is locked for moments, never
/// while a request is under way, so that the network keeps no caller waiting.
#[derive(Debug, Default)]
pub struct Courier<T> {
    transport: T,
    wake: Notify,
}

impl<T: Transport> Courier<T> {
    /// By this transport.
    pub fn new(transport: T) -> Self {
        Self { transport, wake: Notify::new() }
    }

    /// Has [`Courier::run`] look at the outbox now: after a conversion, or when a network is there again.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Sends all that is due, one request after the other; returns how many there were. `clock` gives POSIX seconds. If the
    /// future is dropped while a request is under way, its reports are due again.
    ///
    /// Between requests it writes and syncs files, and makes reports again whose keys were outdated, on the thread that polls it.
    pub async fn deliver_due<O: Outbox>(
        &self,
        outbox: &Mutex<O>,
        rng: &mut impl CryptoRng,
        clock: &impl Fn() -> u64,
    ) -> io::Result<usize> {
        let mut requests = 0;
        loop {
            // A panic in between leaves an outbox that answers; what it had under way is sent after a restart.
            let next = outbox.lock().unwrap_or_else(PoisonError::into_inner).next_request(clock())?;
            let Some(request) = next else { return Ok(requests) };
            requests += 1;
            let mut under_way = UnderWay { outbox, request: Some(&request) };
            let sent = self.transport.send(&request).await;
            under_way.request = None;
            let answer = sent.as_deref().map_err(|failure| *failure);
            let mut outbox = outbox.lock().unwrap_or_else(PoisonError::into_inner);
            outbox.answered(rng, &request, answer, clock())?;
        }
    }

    /// Runs until the future is dropped; spawn it on the app's runtime, with a generator that may change threads, such as
    /// a `StdRng` of its own. A disk that fails ends it with its error: reports
    /// that were kept are sent by the next run.
    pub async fn run<O: Outbox>(
        &self,
        outbox: &Mutex<O>,
        rng: &mut impl CryptoRng,
        clock: &impl Fn() -> u64,
    ) -> io::Result<std::convert::Infallible> {
        loop {
            self.deliver_due(outbox, rng, clock).await?;
            let due = outbox.lock().unwrap_or_else(PoisonError::into_inner).next_due_in(clock());
            let sleep = due.unwrap_or(LOOK_SECONDS_MAX).clamp(LOOK_SECONDS_MIN, LOOK_SECONDS_MAX);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(sleep)) => {}
                () = self.wake.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
