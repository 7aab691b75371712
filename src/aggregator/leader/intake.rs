//! Uploads on their way to the store: those of a task that wait at the same time are judged and stored by one thread,
//! with one call.
//!
//! There is no timer. An upload that finds a thread free takes it at once; what comes while the threads are at work
//! waits for the next call together. So a thread that a disk keeps waiting costs one switch for many uploads, not
//! several for each.
//!
//! How much waits is bounded by the memory for bodies and by a number of uploads: a client that goes away leaves its
//! upload behind.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arras_protocol::messages::TaskId;
use axum::response::Response;
use tokio::sync::oneshot;

use crate::aggregator::ProvisionedTask;
use crate::aggregator::api::Problem;
use crate::aggregator::bodies::HeldBody;
use crate::aggregator::leader::Leader;
use crate::aggregator::work::blocking;
use crate::net::problem::OwnError;

/// Threads of one task: while the disk keeps one waiting, the other judges what comes next.
const THREADS_PER_TASK: usize = 2;

/// Bytes of bodies that are stored with one call, unless one alone is larger: what the store syncs at once.
const BYTES_PER_CALL: usize = 8 << 20;

/// Uploads in one call. More would not make a call cheaper, and all of them wait for it.
const UPLOADS_PER_CALL: usize = 1_024;

/// Uploads of one task that wait. More than there may be connections, so that only those of clients that went away while
/// a disk stalls can be too many.
const WAITING_MAX: usize = 8_192;

/// After how many seconds to come back when that many wait.
const RETRY_AFTER: u32 = 1;

/// An upload that waits to be judged and stored.
pub(super) struct Upload {
    pub(super) body: HeldBody,
    answer: oneshot::Sender<Result<Response, Problem>>,
}

impl Upload {
    pub(super) fn answer(self, result: Result<Response, Problem>) {
        // The client may be gone.
        let _ = self.answer.send(result);
    }
}

/// The uploads of all tasks. Locked for moments.
#[derive(Default)]
pub(super) struct Intake(Mutex<HashMap<TaskId, OfTask>>);

#[derive(Default)]
struct OfTask {
    waiting: VecDeque<Upload>,
    threads: usize,
}

impl OfTask {
    /// What goes into the next call. Those whose clients are gone are not begun: nobody was told anything of them.
    fn take(&mut self) -> Vec<Upload> {
        self.waiting.retain(|upload| !upload.answer.is_closed());
        let mut bytes = 0;
        let fits = |upload: &&Upload| {
            bytes += upload.body.len();
            bytes <= BYTES_PER_CALL
        };
        let count = self.waiting.iter().take(UPLOADS_PER_CALL).take_while(fits).count();
        self.waiting.drain(..count.max(1).min(self.waiting.len())).collect()
    }
}

impl Intake {
    // Each change is whole, and nothing in it panics.
    fn tasks(&self) -> MutexGuard<'_, HashMap<TaskId, OfTask>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an upload wait; whether a thread has to be started for it. None if too many wait.
    fn push(&self, task: TaskId, upload: Upload) -> Option<bool> {
        let mut tasks = self.tasks();
        let of_task = tasks.entry(task).or_default();
        if of_task.waiting.len() >= WAITING_MAX {
            return None;
        }
        of_task.waiting.push_back(upload);
        let starts = of_task.threads < THREADS_PER_TASK;
        of_task.threads += usize::from(starts);
        Some(starts)
    }

    /// The next uploads of a task; if there are none, the thread that asks is done.
    fn next(&self, thread: &mut Thread<'_>) -> Option<Vec<Upload>> {
        let mut tasks = self.tasks();
        let of_task = tasks.get_mut(&thread.task)?;
        let uploads = of_task.take();
        if uploads.is_empty() {
            // Under the lock: whoever comes next starts another one.
            of_task.threads -= 1;
            thread.counted = false;
            return None;
        }
        Some(uploads)
    }
}

/// A thread that works for a task, as long as it is counted.
struct Thread<'a> {
    intake: &'a Intake,
    task: TaskId,
    counted: bool,
}

impl Drop for Thread<'_> {
    fn drop(&mut self) {
        if !self.counted {
            return;
        }
        // It panicked, or never began. If nobody is left, whoever waits hears so, and not only when another upload comes.
        let mut tasks = self.intake.tasks();
        if let Some(of_task) = tasks.get_mut(&self.task) {
            of_task.threads -= 1;
            if of_task.threads == 0 {
                of_task.waiting.clear();
            }
        }
    }
}

impl Leader {
    /// Has an upload judged and stored; the answer comes when its reports are durable.
    pub(super) async fn take_in(
        &self,
        task: Arc<ProvisionedTask>,
        body: HeldBody,
    ) -> Result<Response, Problem> {
        let (answer, answered) = oneshot::channel();
        let pushed = self.0.intake.push(task.task.id(), Upload { body, answer });
        let starts = pushed.ok_or_else(|| {
            Problem::own(OwnError::Overloaded, "too many uploads wait for the disk").retry_after(RETRY_AFTER)
        })?;
        if starts {
            let leader = self.clone();
            // A task of its own: a client that goes takes nothing with it.
            tokio::spawn(blocking(move || {
                let mut thread = Thread { intake: &leader.0.intake, task: task.task.id(), counted: true };
                while let Some(uploads) = leader.0.intake.next(&mut thread) {
                    leader.store_uploads(&task, uploads);
                }
            }));
        }
        answered.await.unwrap_or_else(|_| {
            let detail = "nothing is known of this request; send it again, reports that were kept are known";
            Err(Problem::own(OwnError::Internal, detail))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TASK: TaskId = TaskId::new([1; 32]);

    type Answered = oneshot::Receiver<Result<Response, Problem>>;

    fn push(intake: &Intake, bytes: usize) -> (bool, Answered) {
        let (answer, answered) = oneshot::channel();
        (intake.push(TASK, Upload { body: HeldBody::of(vec![0; bytes]), answer }).unwrap(), answered)
    }

    fn thread(intake: &Intake) -> Thread<'_> {
        Thread { intake, task: TASK, counted: true }
    }

    fn sizes(uploads: Option<Vec<Upload>>) -> Vec<usize> {
        uploads.unwrap().iter().map(|upload| upload.body.len()).collect()
    }

    #[test]
    fn what_waits_goes_together_and_threads_are_few() {
        let intake = Intake::default();
        let pushed: Vec<_> = (1..=5).map(|bytes| push(&intake, bytes)).collect();
        let starts: Vec<bool> = pushed.iter().map(|(starts, _)| *starts).collect();
        assert_eq!(starts, [true, true, false, false, false]);
        let (mut first, mut second) = (thread(&intake), thread(&intake));
        assert_eq!(sizes(intake.next(&mut first)), [1, 2, 3, 4, 5]);
        assert!(intake.next(&mut second).is_none());
        drop(second);
        let (sixth, seventh) = (push(&intake, 6), push(&intake, 7));
        assert!(sixth.0, "one thread is left: another may start");
        assert!(!seventh.0);
        assert_eq!(sizes(intake.next(&mut first)), [6, 7]);
    }

    #[test]
    fn a_call_is_bounded_but_takes_one_upload_whatever_its_size() {
        let intake = Intake::default();
        let mut thread = thread(&intake);
        let mut clients = Vec::new();
        for bytes in [BYTES_PER_CALL + 1, BYTES_PER_CALL / 2, BYTES_PER_CALL / 2, 1] {
            clients.push(push(&intake, bytes));
        }
        assert_eq!(sizes(intake.next(&mut thread)), [BYTES_PER_CALL + 1]);
        assert_eq!(sizes(intake.next(&mut thread)), [BYTES_PER_CALL / 2, BYTES_PER_CALL / 2]);
        for _ in 0..UPLOADS_PER_CALL {
            clients.push(push(&intake, 1));
        }
        assert_eq!(sizes(intake.next(&mut thread)).len(), UPLOADS_PER_CALL);
        assert_eq!(sizes(intake.next(&mut thread)), [1]);
    }

    #[test]
    fn whoever_waits_hears_of_a_panic() {
        let intake = Intake::default();
        let (_, mut answered) = push(&intake, 1);
        // A panic drops it while it is counted.
        drop(thread(&intake));
        assert_eq!(answered.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
        let second = push(&intake, 2);
        assert!(second.0, "the next upload starts a thread");
        assert_eq!(sizes(intake.next(&mut thread(&intake))), [2]);
    }

    /// Uploads of clients that went away were kept and stored: while a disk stalled, one client that came and went could
    /// make them pile up without end, since those of no bytes take nothing of the memory for bodies.
    #[test]
    fn what_nobody_waits_for_is_dropped_and_what_waits_is_bounded() {
        let intake = Intake::default();
        let (_, gone) = push(&intake, 1);
        let stays = push(&intake, 2);
        drop(gone);
        let mut thread = thread(&intake);
        assert_eq!(sizes(intake.next(&mut thread)), [2]);
        drop(stays);
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| push(&intake, 0)).collect();
        let (answer, _answered) = oneshot::channel();
        assert_eq!(intake.push(TASK, Upload { body: HeldBody::of(Vec::new()), answer }), None);
        drop(waiting);
        assert!(intake.next(&mut thread).is_none());
    }
}
