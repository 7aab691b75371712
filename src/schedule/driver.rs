//! The loop that collects what is due.
//!
//! It has no state that a restart would miss: what is due is read from the calendar, the releases and the rows. Attempts take
//! places. One that is not done after [`ATTEMPT_MAX`] gives its place up, and its window is asked for again later: dropping an
//! attempt loses nothing. One task takes some of the places, and windows that were tried before take half of them, so that whatever
//! an aggregator is slow with, or away for, holds up nothing else.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinError;

use super::look::{Due, Look};
use super::{Health, Live, RunningKey, Schedule, judge::Verdict, lock, running_key};
use crate::aggregator::under_way::UnderWay;
use crate::aggregator::work::blocking;
use crate::metrics::AttemptResult;
use crate::registry::AdvertiserId;
use crate::schedule::rows::Kind;
use crate::store::StoreError;

/// Windows that are collected at once. Each is a request to the leader every other second; after a long downtime this is what
/// bounds the catching up.
pub const AT_ONCE: usize = 16;

/// Windows of one task among them.
pub const TASK_AT_ONCE: usize = 4;

/// Windows that were tried before among them.
pub const RETRIED_AT_ONCE: usize = 8;

/// For how long an attempt keeps its place. A collection takes seconds; a leader that drains a large window takes minutes, and
/// goes on with it whether or not somebody waits.
pub const ATTEMPT_MAX: Duration = Duration::from_secs(120);

/// The longest pause between two looks: what is added meanwhile, and what is collected by hand, is seen then.
pub const LOOK_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Advertisers that are looked at in one round; the others follow in the next. A look takes below a millisecond once the
/// first has passed over what is settled.
pub const LOOKS_MAX: usize = 256;

/// The pause after the store could not keep what an attempt came to.
const STORE_PAUSE_SECONDS: u64 = 60;

/// What the driver knows; owned by it.
#[derive(Default)]
struct Agenda {
    /// When each advertiser is looked at again, in POSIX seconds, and what was found.
    looks: HashMap<AdvertiserId, (u64, Look)>,
}

impl Agenda {
    /// Has an advertiser looked at from then on.
    fn look_at(&mut self, advertiser: AdvertiserId, moment: u64) {
        if let Some((next, _)) = self.looks.get_mut(&advertiser) {
            *next = moment;
        }
    }

    /// A window is not begun again until its advertiser was looked at.
    fn done(&mut self, ended: &Due) {
        if let Some((_, look)) = self.looks.get_mut(&ended.advertiser) {
            let key = running_key(ended.task, ended.window);
            look.due.retain(|due| running_key(due.task, due.window) != key);
        }
    }

    fn forget_due(&mut self, advertiser: AdvertiserId) {
        if let Some((_, look)) = self.looks.get_mut(&advertiser) {
            look.due.clear();
        }
    }

    fn health(&self) -> Health {
        let mut health = Health::default();
        let mut oldest: Option<&(u64, String)> = None;
        for (_, look) in self.looks.values() {
            health.due += look.open;
            health.overdue += look.overdue;
            health.ahead = health.ahead.max(look.ahead);
            oldest = oldest.into_iter().chain(look.oldest.as_ref()).min_by_key(|(since, _)| *since);
        }
        health.reason = oldest.map(|(_, reason)| reason.clone());
        health
    }

    /// What to begin: the oldest first, as far as there are places. Of the same window the newest tasks are first: while two
    /// generations overlap, a budget that carries one of them goes to that which most devices report to by then.
    fn choose(&self, running: &HashMap<RunningKey, bool>) -> Vec<Due> {
        let mut due: Vec<&Due> = self.looks.values().flat_map(|(_, look)| &look.due).collect();
        due.sort_by_key(|due| (due.window.to(), Reverse(due.generation), due.measures, due.task));
        let mut places = AT_ONCE.saturating_sub(running.len());
        let mut retried = running.values().filter(|retried| **retried).count();
        let mut of_task = HashMap::new();
        for (task, _, _) in running.keys() {
            *of_task.entry(*task).or_insert(0) += 1;
        }
        let mut chosen = Vec::new();
        for due in due {
            let taken = of_task.entry(due.task).or_insert(0);
            let again = due.attempts > 0;
            let fits = places > 0 && *taken < TASK_AT_ONCE && !(again && retried >= RETRIED_AT_ONCE);
            if fits && !running.contains_key(&running_key(due.task, due.window)) {
                places -= 1;
                *taken += 1;
                retried += usize::from(again);
                chosen.push(due.clone());
            }
        }
        chosen
    }
}

/// An attempt that runs. Leaving it, however that happens, takes it off the list.
struct Running<'a> {
    schedule: &'a Schedule,
    key: RunningKey,
}

impl<'a> Running<'a> {
    fn new(schedule: &'a Schedule, due: &Due) -> Self {
        let key = running_key(due.task, due.window);
        lock(&schedule.0.running).insert(key, Live::default());
        Self { schedule, key }
    }

    fn told(&self) -> Option<String> {
        lock(&self.schedule.0.running).get(&self.key).and_then(|live| live.trouble.clone())
    }

    fn tell(&self, trouble: String) {
        if let Some(live) = lock(&self.schedule.0.running).get_mut(&self.key) {
            live.trouble = Some(trouble);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.schedule.0.running).remove(&self.key);
    }
}

/// The loop's state. All of it can be found again.
pub(super) struct Driver {
    schedule: Schedule,
    agenda: Agenda,
    attempts: UnderWay<Due, Result<(), StoreError>>,
    /// The windows of `attempts`, and whether they were tried before.
    running: HashMap<RunningKey, bool>,
}

impl Driver {
    pub(super) fn new(schedule: Schedule) -> Self {
        Self { schedule, agenda: Agenda::default(), attempts: UnderWay::new(), running: HashMap::new() }
    }

    /// Looks, and begins what is due as far as there are places; says when to look again.
    pub(super) async fn begin(&mut self) -> Duration {
        let (schedule, agenda) = (self.schedule.clone(), std::mem::take(&mut self.agenda));
        let (agenda, pause) = blocking(move || schedule.round(agenda)).await;
        self.agenda = agenda;
        for due in self.agenda.choose(&self.running) {
            self.running.insert(running_key(due.task, due.window), due.attempts > 0);
            let (schedule, one) = (self.schedule.clone(), due.clone());
            self.attempts.start(due, async move { schedule.attempt(one).await });
        }
        pause
    }

    /// Waits for the next attempt to end; `false` if none runs.
    pub(super) async fn end(&mut self) -> bool {
        let Some((due, kept)) = self.attempts.next().await else { return false };
        // Before anything is waited for: `run` may drop this call there, and the place must be free all the same, and the window
        // not be begun again before it was looked at.
        self.running.remove(&running_key(due.task, due.window));
        self.agenda.done(&due);
        let kept = match kept {
            Ok(kept) => kept,
            Err(error) => self.schedule.broke(&due, error).await,
        };
        let again = match kept {
            Ok(()) => 0,
            Err(error) => {
                tracing::error!(%error, "what came of a window cannot be kept");
                // Without its row the window would be asked for again at once.
                self.agenda.forget_due(due.advertiser);
                self.schedule.now().saturating_add(STORE_PAUSE_SECONDS)
            }
        };
        self.agenda.look_at(due.advertiser, again);
        true
    }

    /// How many attempts run of each task.
    #[cfg(test)]
    pub(super) fn running(&self) -> Vec<usize> {
        let mut of_task = std::collections::BTreeMap::new();
        self.running.keys().for_each(|(task, _, _)| *of_task.entry(*task).or_default() += 1);
        of_task.into_values().collect()
    }

    /// What it would begin now.
    #[cfg(test)]
    pub(super) fn due(&self) -> Vec<Due> {
        self.schedule.round(Agenda::default()).0.choose(&HashMap::new())
    }

    fn look_at_all(&mut self) {
        self.agenda.looks.values_mut().for_each(|(next, _)| *next = 0);
    }
}

impl Schedule {
    /// Collects what is due, for ever. May be dropped at any point; there is one of it for a store.
    pub async fn run(self) {
        let mut driver = Driver::new(self.clone());
        loop {
            let pause = driver.begin().await;
            let idle = driver.attempts.len() == 0;
            tokio::select! {
                _ = driver.end(), if !idle => {}
                () = self.0.woken.notified() => driver.look_at_all(),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Looks at the advertisers that are to be looked at; says how long nothing else is. Blocks.
    fn round(&self, mut agenda: Agenda) -> (Agenda, Duration) {
        let now = self.now();
        let advertisers = self.0.parts.registry.advertisers();
        let pause_max = LOOK_PAUSE_MAX.as_secs();
        for advertiser in &advertisers {
            agenda.looks.entry(advertiser.id).or_default();
        }
        let mut wanted: Vec<_> =
            advertisers.iter().filter_map(|one| Some((agenda.looks.get(&one.id)?.0, one))).collect();
        // A clock that was set back must not have anybody wait for the time that it showed.
        wanted.retain(|(next, _)| *next <= now || *next > now.saturating_add(pause_max));
        wanted.sort_by_key(|(next, one)| (*next, one.id));
        for (_, advertiser) in wanted.into_iter().take(LOOKS_MAX) {
            let next = match self.look(advertiser, now) {
                Ok(look) => {
                    let next = look.next.unwrap_or(u64::MAX).min(now.saturating_add(pause_max));
                    agenda.looks.insert(advertiser.id, (next, look));
                    continue;
                }
                Err(error) => {
                    tracing::error!(%error, "where an advertiser's windows stand cannot be read");
                    now.saturating_add(STORE_PAUSE_SECONDS)
                }
            };
            agenda.look_at(advertiser.id, next);
        }
        let next = agenda.looks.values().map(|(next, _)| *next).min().unwrap_or(u64::MAX);
        let pause =
            Duration::from_secs(next.saturating_sub(now)).clamp(Duration::from_millis(1), LOOK_PAUSE_MAX);
        let health = agenda.health();
        self.0.parts.metrics.set_windows(health.due, health.overdue);
        *lock(&self.0.health) = health;
        (agenda, pause)
    }

    /// Asks for a window, and keeps what came of it.
    async fn attempt(&self, due: Due) -> Result<(), StoreError> {
        let outcome = {
            let running = Running::new(self, &due);
            let tell = |trouble: String| running.tell(trouble);
            let collecting = self.0.parts.collector.collect_scheduled(due.task, due.window, &tell);
            match tokio::time::timeout(ATTEMPT_MAX, collecting).await {
                Ok(Ok(_sequence)) => Ok(()),
                Ok(Err(error)) => Err(Verdict::of(&error)),
                Err(_) => Err(Verdict::unfinished(running.told())),
            }
        };
        self.keep(due, outcome).await
    }

    async fn keep(&self, due: Due, outcome: Result<(), Verdict>) -> Result<(), StoreError> {
        self.0.parts.metrics.attempt(match &outcome {
            Ok(()) => AttemptResult::Released,
            Err(verdict) => match verdict.kind {
                Kind::TooFew => AttemptResult::TooFewReports,
                Kind::Budget => AttemptResult::RefusedByBudget,
                Kind::Unfinished => AttemptResult::Unfinished,
                Kind::Failed => AttemptResult::Failed,
            },
        });
        let schedule = self.clone();
        blocking(move || {
            let random = schedule.0.parts.random.as_ref();
            let row =
                outcome.err().map(|verdict| verdict.row(due.attempts, due.window, schedule.now(), random));
            schedule.0.rows.set(due.task, due.window, row)
        })
        .await
    }

    /// An attempt that panicked rests its window, as whatever made it panic is likely still there.
    async fn broke(&self, due: &Due, error: JoinError) -> Result<(), StoreError> {
        tracing::error!(%error, "an attempt at a window broke off");
        self.keep(due.clone(), Err(Verdict::broke())).await
    }
}
