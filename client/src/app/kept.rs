//! What the app itself remembers, in one file: consent, counted events, contributions, the journal.

use std::collections::{BTreeMap, VecDeque};
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
        "the app's state, {FILE}, is damaged: {0}; removing it gives each task its reports of this week again, so do \
         that for a device whose budget may be spent twice only"
    )]
    Damaged(String),
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
    journal: VecDeque<JournalEntry>,
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
    /// Oldest first.
    pub(super) journal: VecDeque<JournalEntry>,
}

impl Kept {
    pub(super) fn load(files: &impl Files) -> Result<Self, StateError> {
        match files.read(FILE)? {
            Some(bytes) => Self::from_bytes(&bytes).map_err(StateError::Damaged),
            None => Ok(Self {
                consent: Consent::Unasked,
                events: Events::default(),
                manifests: BTreeMap::new(),
                sent: BTreeMap::new(),
                journal: VecDeque::new(),
            }),
        }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if document.version != VERSION {
            return Err(format!("it has layout {}, this version reads {VERSION}", document.version));
        }
        let mut sent = BTreeMap::new();
        for (task, times) in document.contributions {
            let task: TaskId = task.parse().map_err(|_| format!("{task:?} is no task id"))?;
            let mut one = Sent::known_since(times.known_from);
            if !times.times.into_iter().all(|time| one.restore(time)) {
                return Err("the times of a task's reports are out of order".to_owned());
            }
            sent.insert(task, one);
        }
        let seen = |(advertiser, one): (String, SeenManifest)| {
            (advertiser, arras_protocol::manifest::Seen { sequence: one.sequence, digest: one.digest })
        };
        Ok(Self {
            consent: document.consent,
            events: Events(document.events),
            manifests: document.manifests.into_iter().map(seen).collect(),
            sent,
            journal: document.journal,
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let times = |(task, sent): (&TaskId, &Sent)| {
            (task.to_string(), Times { known_from: sent.known_from(), times: sent.times().to_vec() })
        };
        let seen = |(advertiser, one): (&String, &arras_protocol::manifest::Seen)| {
            (advertiser.clone(), SeenManifest { sequence: one.sequence, digest: one.digest })
        };
        let document = Document {
            version: VERSION,
            consent: self.consent,
            events: self.events.0.clone(),
            manifests: self.manifests.iter().map(seen).collect(),
            contributions: self.sent.iter().map(times).collect(),
            journal: self.journal.clone(),
        };
        // Cannot fail: all keys are texts, and memory is written to.
        serde_json::to_vec(&document).expect("texts and numbers become JSON")
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
