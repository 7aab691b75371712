//! When something that failed is tried again.

use std::collections::HashMap;
use std::time::Duration;

use arras_protocol::messages::TaskId;
use tokio::time::Instant;

/// First and longest pause before something is tried again. Doubled each time: a helper that is down for hours
/// is asked about once a minute.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LONGEST: Duration = Duration::from_secs(60);

/// Something that is tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) due: Instant,
    pause: Duration,
}

impl Waiting {
    pub(super) fn at_once(now: Instant) -> Self {
        Self { due: now, pause: RETRY_FIRST }
    }

    /// After another failure.
    pub(super) fn again(earlier: Option<&Self>, now: Instant) -> Self {
        let pause = earlier.map_or(RETRY_FIRST, |earlier| earlier.pause);
        Self { due: now + pause, pause: (pause * 2).min(RETRY_LONGEST) }
    }

    /// The same, but not before so long from now; at most the longest pause.
    pub(super) fn not_before(self, wait: Duration, now: Instant) -> Self {
        Self { due: self.due.max(now + wait.min(RETRY_LONGEST)), ..self }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }
}

/// Tasks that are left alone for a while. Not more of them than there are tasks.
#[derive(Debug, Default)]
pub(super) struct Rests {
    resting: HashMap<TaskId, Waiting>,
    /// What is known of tasks whose rest is over, until a job of theirs gets on: the next rest is longer.
    rested: HashMap<TaskId, Waiting>,
}

impl Rests {
    /// Leaves a task alone, for longer each time.
    pub(super) fn rest(&mut self, id: TaskId, now: Instant) {
        let earlier = self.resting.remove(&id).or_else(|| self.rested.remove(&id));
        self.resting.insert(id, Waiting::again(earlier.as_ref(), now));
    }

    /// Ends the rests that are over.
    pub(super) fn end(&mut self, now: Instant) {
        let over = self.resting.extract_if(|_, waiting| waiting.is_due(now));
        self.rested.extend(over);
    }

    /// Whether a task's rest was not over when [`Self::end`] was called.
    pub(super) fn rests(&self, id: TaskId) -> bool {
        self.resting.contains_key(&id)
    }

    /// When the next rest is over: after the time at which [`Self::end`] was called.
    pub(super) fn next(&self) -> Option<Instant> {
        self.resting.values().map(|waiting| waiting.due).min()
    }

    /// A task is as good as new.
    pub(super) fn forget(&mut self, id: TaskId) {
        self.resting.remove(&id);
        self.rested.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId::new([1; TaskId::LEN]);

    /// The rest of a task that had all the open jobs that it may have was over and never ended: nothing could be made
    /// of its queue, and the driver, told to wait until a moment that had passed, went round and round.
    #[test]
    fn a_rest_that_is_over_ends_whatever_the_task_can_do() {
        let now = Instant::now();
        let mut rests = Rests::default();
        rests.rest(TASK, now);
        rests.end(now);
        assert!(rests.rests(TASK));
        assert_eq!(rests.next(), Some(now + RETRY_FIRST));
        rests.end(now + RETRY_FIRST);
        assert!(!rests.rests(TASK));
        assert_eq!(rests.next(), None, "nothing is waited for");
    }

    #[test]
    fn rests_grow_until_a_task_gets_on() {
        let mut now = Instant::now();
        let mut rests = Rests::default();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            rests.rest(TASK, now);
            pauses.extend(rests.next().map(|due| due - now));
            now += RETRY_LONGEST;
            rests.end(now);
        }
        assert_eq!(pauses[..3], [RETRY_FIRST, RETRY_FIRST * 2, RETRY_FIRST * 4]);
        assert_eq!(pauses[9], RETRY_LONGEST);
        rests.forget(TASK);
        rests.rest(TASK, now);
        assert_eq!(rests.next(), Some(now + RETRY_FIRST));
    }

    #[test]
    fn a_peers_wish_is_heard_up_to_a_limit() {
        let now = Instant::now();
        let waiting = Waiting::again(None, now).not_before(Duration::from_secs(3), now);
        assert_eq!(waiting.due, now + Duration::from_secs(3));
        let waiting = waiting.not_before(Duration::from_secs(3_600), now);
        assert_eq!(waiting.due, now + RETRY_LONGEST);
    }
}
