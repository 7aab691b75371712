//! What drives aggregation jobs: makes new ones as reports come, and takes up open ones until each is committed.
//!
//! The store says which jobs are open; the driver remembers of each only whether it is under way or when it is due.
//! A job that cannot go on now, for whatever reason (the helper is away, a disk is full, a panic), gives up its memory
//! and its place and is loaded from the store again when it is due. So a job that is stuck stops neither others nor
//! other tasks, and what passes by itself needs no restart.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arras_protocol::messages::TaskId;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::aggregator::ProvisionedTask;
use crate::aggregator::leader::Leader;
use crate::aggregator::leader::jobs::{Attempt, Made, ReadyJob};
use crate::aggregator::leader::rests::{Rests, Waiting};
use crate::aggregator::under_way::{Ended, UnderWay};
use crate::aggregator::work::blocking;
use crate::metrics::AttemptOutcome;
use crate::store::JobNumber;

/// Jobs that may be in memory at once, of all tasks. While the helper works on one, the leader opens the next; more
/// would only hold more reports.
const JOBS_IN_FLIGHT: usize = 4;

/// Of them, jobs that were tried before: what a helper never answers holds a place until its request times out, and must
/// not hold them all while other tasks have jobs that get on.
const RETRIES_IN_FLIGHT: usize = 2;

/// Open jobs of one task, under way or waiting, beyond which no new ones are made: while the helper is away, reports
/// wait in the queue, where they cost nothing.
const OPEN_JOBS_PER_TASK: usize = 4;

/// How long reports may wait for a job to fill up. Nobody waits for a single report: batches are collected
/// by the hour; a fuller job costs both aggregators less.
const JOB_FILL: Duration = Duration::from_millis(500);

/// How often an idle leader looks around: for reports that were put back until their time has come, and for tasks that
/// were added.
const IDLE_POLL: Duration = Duration::from_secs(5);

/// How often it is kept how far the acknowledged reports reach, see [`LeaderStore::note_reports`]: of what a damaged end
/// or an older copy of a file loses, at most the reports of so long are not missed. A commit in so long costs nothing.
///
/// [`LeaderStore::note_reports`]: crate::store::LeaderStore::note_reports
const NOTE_REPORTS: Duration = Duration::from_secs(10);

type JobKey = (TaskId, JobNumber);

/// The driver of one leader. All of it is forgotten at a restart and made again from the store.
pub(super) struct JobDriver {
    leader: Leader,
    under_way: UnderWay<JobKey, Attempt>,
    /// Open jobs that are not under way, by when they are due.
    waiting: HashMap<JobKey, Waiting>,
    /// What is known of jobs that are under way and were tried before.
    tried: HashMap<JobKey, Waiting>,
    /// Whether there is more than one task.
    others: bool,
    /// Tasks whose open jobs of an earlier run were entered.
    entered: HashSet<TaskId>,
    /// Tasks of which no job could be made, or none that got on.
    rests: Rests,
    /// When it was last kept how far reports reach.
    noted: Instant,
}

impl JobDriver {
    pub(super) fn new(leader: Leader) -> Self {
        Self {
            leader,
            under_way: UnderWay::new(),
            waiting: HashMap::new(),
            tried: HashMap::new(),
            others: false,
            entered: HashSet::new(),
            rests: Rests::default(),
            noted: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            self.note().await;
            let tasks = self.leader.parts().tasks.all();
            let mut busy = false;
            self.others = tasks.len() > 1;
            self.rests.end(Instant::now());
            for task in &tasks {
                self.enter(task).await;
            }
            busy |= self.resume_one(&tasks);
            // One job a task in turn, so that no task waits for another's whole queue.
            for task in &tasks {
                busy |= self.make_one(task).await;
            }
            while let Some(ended) = self.under_way.ended() {
                self.ended(ended);
                busy = true;
            }
            if !busy {
                self.wait().await;
            }
        }
    }

    /// Keeps how far reports reach, now and then: while the helper is away no job does it.
    async fn note(&mut self) {
        if self.noted.elapsed() < NOTE_REPORTS {
            return;
        }
        self.noted = Instant::now();
        let leader = self.leader.clone();
        if let Err(error) = blocking(move || leader.store().note_reports()).await {
            tracing::warn!(%error, "how far reports reach cannot be kept; it is tried again");
        }
    }

    fn is_full(&self) -> bool {
        self.under_way.len() >= JOBS_IN_FLIGHT
    }

    /// Whether the places that a task may have are taken: all but one, which is for the others.
    fn crowds(&self, id: TaskId) -> bool {
        self.others && self.under_way.of(id).count() >= JOBS_IN_FLIGHT - 1
    }

    /// Whether a job that was tried before may be tried again.
    fn may_retry(&self, key: &JobKey) -> bool {
        !self.is_full() && self.tried.len() < RETRIES_IN_FLIGHT && !self.crowds(key.0)
    }

    /// Waits until something may have changed.
    async fn wait(&mut self) {
        // While there is no place for it, nothing can start before a job ends.
        let retries = self.waiting.iter().filter(|(key, _)| self.may_retry(key));
        let rest = self.rests.next().filter(|_| !self.is_full());
        let due = retries.map(|(_, waiting)| waiting.due).chain(rest).min();
        let pause = due.map_or(IDLE_POLL, |due| due.saturating_duration_since(Instant::now()).min(IDLE_POLL));
        tokio::select! {
            // In this order, so that a simulation can be repeated.
            biased;
            Some(ended) = self.under_way.next() => self.ended(ended),
            () = self.leader.0.work.notified(), if !self.is_full() => tokio::time::sleep(JOB_FILL).await,
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Enters the jobs that an earlier run left open, once a task.
    async fn enter(&mut self, task: &Arc<ProvisionedTask>) {
        let id = task.task.id();
        if self.entered.contains(&id) || self.rests.rests(id) {
            return;
        }
        let leader = self.leader.clone();
        match blocking(move || leader.store().open_jobs(id)).await {
            Ok(numbers) => {
                self.waiting.extend(
                    numbers.into_iter().map(|number| ((id, number), Waiting::at_once(Instant::now()))),
                );
                self.entered.insert(id);
                self.rests.forget(id);
            }
            Err(error) => self.rest(id, &error.to_string()),
        }
    }

    fn rest(&mut self, id: TaskId, reason: &str) {
        tracing::error!(reason, task = %id, "a task's reports are not aggregated; it is tried again");
        self.rests.rest(id, Instant::now());
    }

    /// Takes up the job that has been due for longest, of whichever task; whether there was one.
    fn resume_one(&mut self, tasks: &[Arc<ProvisionedTask>]) -> bool {
        let now = Instant::now();
        let due = self.waiting.iter().filter(|(key, waiting)| waiting.is_due(now) && self.may_retry(key));
        let Some(key) = due.min_by_key(|(key, waiting)| (waiting.due, **key)).map(|(key, _)| *key) else {
            return false;
        };
        // A job was entered with its task, and no task is ever taken away.
        let Some(task) = tasks.iter().find(|task| task.task.id() == key.0) else { return false };
        if let Some(waiting) = self.waiting.remove(&key) {
            self.tried.insert(key, waiting);
        }
        let (leader, of_task) = (self.leader.clone(), Arc::clone(task));
        self.spawn(key, async move {
            let loader = leader.clone();
            match blocking(move || loader.load(&of_task, key.1)).await {
                Ok(job) => leader.attempt(job).await,
                Err(error) => {
                    tracing::error!(%error, job = key.1.0, "an open job cannot be read; it is tried again");
                    leader.metrics().attempt(AttemptOutcome::Failed);
                    Attempt::OPEN
                }
            }
        });
        true
    }

    /// Makes a job out of a task's queue, if there is room for one; whether anything came of it.
    async fn make_one(&mut self, task: &Arc<ProvisionedTask>) -> bool {
        let id = task.task.id();
        let waiting = self.waiting.keys().filter(|(of, _)| *of == id).count();
        let open = waiting + self.under_way.of(id).count();
        let entered = self.entered.contains(&id);
        if self.is_full() || self.crowds(id) || open >= OPEN_JOBS_PER_TASK || !entered || self.rests.rests(id)
        {
            return false;
        }
        let (leader, of_task) = (self.leader.clone(), Arc::clone(task));
        // On a task of its own: what panics at one task's reports must not stop the others.
        let make = async move { blocking(move || leader.make_job(&of_task)).await };
        let made = tokio::spawn(make.instrument(tracing::info_span!("make_job", task = %id))).await;
        let made = match made {
            Ok(made) => made.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match made {
            Ok(Made::Job(job)) => self.start(id, job),
            Ok(Made::OnlyRejections) => self.leader.0.progress.notify_one(),
            Ok(Made::Nothing) => return false,
            Err(error) => {
                self.rest(id, &error);
                return false;
            }
        }
        true
    }

    fn start(&mut self, id: TaskId, job: ReadyJob) {
        let leader = self.leader.clone();
        self.spawn((id, job.number()), async move { leader.attempt(job).await });
    }

    fn spawn(&mut self, key: JobKey, job: impl Future<Output = Attempt> + Send + 'static) {
        let span = tracing::info_span!("job", task = %key.0, job = key.1.0);
        self.under_way.start(key, job.instrument(span));
    }

    fn ended(&mut self, (key, attempt): Ended<JobKey, Attempt>) {
        let attempt = attempt.unwrap_or_else(|error| {
            tracing::error!(%error, "a job stopped; it is tried again");
            self.leader.metrics().attempt(AttemptOutcome::Stopped);
            Attempt::OPEN
        });
        let tried = self.tried.remove(&key);
        match attempt {
            Attempt::Committed { .. } => {
                self.rests.forget(key.0);
                self.leader.0.progress.notify_one();
            }
            Attempt::PutBack => {
                self.rest(key.0, "its reports are too early for the helper: check both clocks");
            }
            Attempt::Open { wait } => {
                let now = Instant::now();
                self.waiting.insert(key, Waiting::again(tried.as_ref(), now).not_before(wait, now));
            }
        }
    }
}
