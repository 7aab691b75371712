//! What the app itself remembers, in one file: consent, counted events, contributions, the journal.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use arras_protocol::messages::TaskId;
use serde::{Deserialize, Serialize};

use super::journal::JournalEntry;
use crate::contributions::Sent;
use crate::files::Files;

/// Its file.
pub(super) const FILE: &str = "app.json";

const VERSION: u32 = 1;

/// Most event ids that are remembered; the oldest go first. A device has some conversions a month.
const EVENTS_MAX: usize = 1_000;

/// Most tasks of which reports are counted. What is in no manifest any more, and counts no more, gives way; a device whose
/// advertisers have more tasks at once sends those beyond nothing. 256 are 16 advertisers with as many tasks as a manifest has.
const SENT_TASKS_MAX: usize = 256;

/// Most entries of the journal; the oldest go first.
const JOURNAL_MAX: usize = 1_000;

/// The person's answer, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Consent {
    /// Nobody has asked: as if refused.
    Unasked,
    /// Agreed.
    Given {
        /// POSIX seconds.
        since: u64,
    },
    /// Refused, or withdrawn.
    Refused {
        /// POSIX seconds.
        since: u64,
    },
}

impl Consent {
    /// Whether there is one.
    pub fn given(self) -> bool {
        matches!(self, Self::Given { .. })
    }
}

/// Why the state is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The disk.
    #[error("the app's state cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is no state. It says what was spent, so it is not begun anew by itself.
    #[error(
        "the app's state, {FILE}, is damaged: {0}; `App::replace_damaged` gives it up without giving a budget back, \
         which removing it would"
    )]
    Damaged(&'static str),
}

/// A conversion that was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    advertiser: String,
    event: String,
    id: String,
}

/// The newest manifest that was followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SeenManifest {
    sequence: u64,
    digest: [u8; 32],
    key: String,
}

/// How many reports were made for a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Times {
    known_from: u64,
    times: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    consent: Consent,
    events: VecDeque<Counted>,
    manifests: BTreeMap<String, SeenManifest>,
    contributions: BTreeMap<String, Times>,
    contributions_from: u64,
    journal: VecDeque<JournalEntry>,
}

/// Of a checksum and the line feed behind it.
pub(super) const CHECKSUM_LEN: usize = 9;

pub(super) fn checksum_of(json: &[u8]) -> String {
    format!("{:08x}\n", crc32fast::hash(json))
}

/// Which conversions were counted.
#[derive(Default)]
pub(super) struct Events(VecDeque<Counted>);

impl Events {
    pub(super) fn contains(&self, advertiser: &str, event: &str, id: &str) -> bool {
        self.0.iter().any(|one| one.id == id && one.event == event && one.advertiser == advertiser)
    }

    pub(super) fn insert(&mut self, advertiser: &str, event: &str, id: &str) {
        if self.0.len() >= EVENTS_MAX {
            self.0.pop_front();
        }
        let (advertiser, event, id) = (advertiser.to_owned(), event.to_owned(), id.to_owned());
        self.0.push_back(Counted { advertiser, event, id });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

pub(super) struct Kept {
    pub(super) consent: Consent,
    pub(super) events: Events,
    pub(super) manifests: BTreeMap<String, arras_protocol::manifest::Seen>,
    pub(super) sent: BTreeMap<TaskId, Sent>,
    /// From when tasks that are not in `sent` may get reports: what was forgotten of others lies before.
    sent_from: u64,
    /// Oldest first.
    pub(super) journal: VecDeque<JournalEntry>,
}

impl Kept {
    pub(super) fn load(files: &impl Files) -> Result<Self, StateError> {
        match files.read(FILE)? {
            Some(bytes) => Self::from_bytes(&bytes).map_err(StateError::Damaged),
            None => Ok(Self::closed_until(0)),
        }
    }

    /// Nothing, and no report for any task before that.
    pub(super) fn closed_until(sent_from: u64) -> Self {
        Self {
            consent: Consent::Unasked,
            events: Events::default(),
            manifests: BTreeMap::new(),
            sent: BTreeMap::new(),
            sent_from,
            journal: VecDeque::new(),
        }
    }

    /// From a checksum in hexadecimal, a line feed, and JSON: a digit that a disk flipped would be read as another number
    /// otherwise, and give reports back. What is wrong is said without the content.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        let (checksum, json) = bytes.split_first_chunk::<CHECKSUM_LEN>().ok_or("it is too short")?;
        if *checksum != *checksum_of(json).as_bytes() {
            return Err("its checksum is another one");
        }
        let document: Document =
            serde_json::from_slice(json).map_err(|_| "it is not what this version writes")?;
        if document.version != VERSION {
            return Err("it has another layout than this version reads");
        }
        let mut sent = BTreeMap::new();
        for (task, times) in document.contributions {
            let task: TaskId = task.parse().map_err(|_| "the id of a task is none")?;
            let mut one = Sent::known_since(times.known_from);
            if !times.times.into_iter().all(|time| one.restore(time)) {
                return Err("the times of a task's reports are out of order");
            }
            sent.insert(task, one);
        }
        let seen = |(advertiser, one): (String, SeenManifest)| {
            let key = one.key.parse().map_err(|_| "the id of a key is none")?;
            let (sequence, digest) = (one.sequence, one.digest);
            Ok((advertiser, arras_protocol::manifest::Seen { sequence, digest, key }))
        };
        Ok(Self {
            consent: document.consent,
            events: Events(document.events),
            manifests: document.manifests.into_iter().map(seen).collect::<Result<_, &'static str>>()?,
            sent,
            sent_from: document.contributions_from,
            journal: document.journal,
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let times = |(task, sent): (&TaskId, &Sent)| {
            (task.to_string(), Times { known_from: sent.known_from(), times: sent.times().to_vec() })
        };
        let seen = |(advertiser, one): (&String, &arras_protocol::manifest::Seen)| {
            let (sequence, digest, key) = (one.sequence, one.digest, one.key.to_string());
            (advertiser.clone(), SeenManifest { sequence, digest, key })
        };
        let document = Document {
            version: VERSION,
            consent: self.consent,
            events: self.events.0.clone(),
            manifests: self.manifests.iter().map(seen).collect(),
            contributions: self.sent.iter().map(times).collect(),
            contributions_from: self.sent_from,
            journal: self.journal.clone(),
        };
        // Cannot fail: all keys are texts, and memory is written to.
        let json = serde_json::to_vec(&document).expect("texts and numbers become JSON");
        let mut bytes = checksum_of(&json).into_bytes();
        bytes.extend(json);
        bytes
    }

    /// What is known of the reports for a task.
    pub(super) fn sent_of(&self, task: TaskId) -> Sent {
        self.sent.get(&task).cloned().unwrap_or_else(|| Sent::known_since(self.sent_from))
    }

    /// Whether no further task fits.
    pub(super) fn is_full(&self) -> bool {
        self.sent.len() >= SENT_TASKS_MAX
    }

    /// Whether a task's reports can be counted.
    pub(super) fn has_room_for(&self, task: TaskId) -> bool {
        !self.is_full() || self.sent.contains_key(&task)
    }

    /// Counts a report that was admitted.
    pub(super) fn count(&mut self, task: TaskId, now: u64, k: u32) {
        let new = || Sent::known_since(self.sent_from);
        self.sent.entry(task).or_insert_with(new).count(now, k);
    }

    /// Forgets tasks that are not among `current` and of which no report counts any more at `now`. Should one of them come
    /// back, or the clock be set back, it gets none for the time before.
    pub(super) fn prune(&mut self, current: &BTreeSet<TaskId>, now: u64) {
        let mut sent_from = self.sent_from;
        self.sent.retain(|task, sent| {
            if current.contains(task) {
                return true;
            }
            sent.forget(now);
            let over = sent.times().is_empty() && sent.known_from() <= now;
            if over {
                sent_from = sent_from.max(sent.known_from());
            }
            !over
        });
        self.sent_from = sent_from;
    }

    /// What a person has forgotten; what remains counts reports, so that none comes back.
    pub(super) fn forget(&mut self, now: u64) {
        self.journal.clear();
        self.events.clear();
        for sent in self.sent.values_mut() {
            sent.forget(now);
        }
    }

    pub(super) fn note(&mut self, entry: JournalEntry) {
        if self.journal.len() >= JOURNAL_MAX {
            self.journal.pop_front();
        }
        self.journal.push_back(entry);
    }
}
