//! What the person can see: which ads are remembered, what was reported and in what form, what is left of the budgets.

use std::fmt;

use arras_protocol::messages::{ReportId, TaskId};
use serde::{Deserialize, Serialize};

use super::{App, Consent};
use crate::attribution::{BudgetLeft, Moment, Site, Storage};
use crate::files::Files;

/// Everything that the device knows, for the person's own eyes: showing it to anybody else would undo what the reports
/// protect.
#[derive(Clone, PartialEq)]
pub struct Journal {
    /// The recorded answer.
    pub consent: Consent,
    /// The ads that are remembered, oldest first.
    pub remembered: Vec<Remembered>,
    /// The conversions and their reports, oldest first.
    pub conversions: Vec<JournalEntry>,
    /// What is left.
    pub budgets: Vec<BudgetOfAdvertiser>,
}

/// What somebody saw and bought is not for logs.
macro_rules! opaque {
    ($($kind:ident)*) => {$(
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($kind)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque!(Journal Remembered Form JournalReport JournalEntry);

/// An ad that was seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The advertiser's site.
    pub advertiser: String,
    /// The campaign; `None` if the manifest does not name it any more.
    pub campaign: Option<String>,
    /// Clicked on, not only seen.
    pub clicked: bool,
    /// When, in POSIX seconds.
    pub at: u64,
}

/// What a report says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "form")]
pub enum Form {
    /// That the conversion belongs to no ad. Why is known on the device alone.
    Null {
        /// For the person.
        why: String,
    },
    /// That it belongs to a campaign.
    Attributed {
        /// Its name at the time; `None` if the manifest did not name it.
        campaign: Option<String>,
        /// The cell.
        bucket: u32,
        /// What is added there.
        amount: u64,
    },
}

impl fmt::Display for Form {
    /// For the person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null { why } => write!(f, "says that no ad led to it: {why}"),
            Self::Attributed { campaign, amount, .. } => {
                write!(
                    f,
                    "says {amount} for {}",
                    campaign.as_deref().unwrap_or("a campaign that has no name any more")
                )
            }
        }
    }
}

/// Where a report is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ReportState {
    /// In the queue.
    Waiting,
    /// With the leader.
    Delivered,
    /// The leader will not take it.
    Refused {
        /// The protocol's word for why.
        why: String,
    },
    /// It was not sent. What it cost stays spent.
    Lost,
}

impl fmt::Display for ReportState {
    /// For the person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waits to be sent"),
            Self::Delivered => f.write_str("was sent"),
            Self::Refused { why } => write!(f, "was refused ({why})"),
            Self::Lost => f.write_str("was lost"),
        }
    }
}

/// A report of a conversion.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalReport {
    /// The task's id, in unpadded base64url.
    pub task: String,
    /// The report's id, in hexadecimal.
    pub report: String,
    /// What it says.
    pub form: Form,
    /// Where it is.
    pub state: ReportState,
    /// The ids of the HPKE configurations that it is sealed to: the leader's, the helper's.
    pub sealed_to: (u8, u8),
}

/// A conversion.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// When, in POSIX seconds.
    pub at: u64,
    /// The advertiser's site.
    pub advertiser: String,
    /// As the app named it.
    pub event: String,
    /// In the currency's minor unit, if it has one. It leaves the device inside of a report only.
    pub value: Option<u64>,
    /// One for each task that counts it.
    pub reports: Vec<JournalReport>,
}

/// What is left for an advertiser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetOfAdvertiser {
    /// Its site.
    pub advertiser: String,
    /// In each week that a conversion looks back on; none before the first conversion.
    pub weeks: Vec<BudgetLeft>,
    /// Reports that may still be made now: the task's id, and how many.
    pub reports_left: Vec<(String, u32)>,
}

/// An id as the journal writes it.
pub(super) fn hex(id: ReportId) -> String {
    format!("{:032x}", u128::from_be_bytes(*id.as_bytes()))
}

/// The id that was written.
pub(super) fn from_hex(text: &str) -> Option<ReportId> {
    u128::from_str_radix(text, 16).ok().map(|id| ReportId::new(id.to_be_bytes()))
}

impl<S: Storage, F: Files> App<S, F> {
    /// What the person can see, at the POSIX second `now`.
    pub fn journal(&self, now: u64) -> Journal {
        let remembered = self.engine.impressions().map(|impression| {
            let advertiser = impression.conversion_sites.first().map(Site::to_string).unwrap_or_default();
            let manifest = self.manifests.get(&advertiser);
            Remembered {
                campaign: manifest
                    .and_then(|one| one.campaign(impression.histogram_index))
                    .map(str::to_owned),
                advertiser,
                clicked: impression.priority >= super::CLICK_PRIORITY,
                at: impression.timestamp.posix_seconds(),
            }
        });
        Journal {
            consent: self.kept.consent,
            remembered: remembered.collect(),
            conversions: self.kept.journal.iter().cloned().collect(),
            budgets: self.manifests.keys().map(|advertiser| self.budget(advertiser, now)).collect(),
        }
    }

    fn budget(&self, advertiser: &str, now: u64) -> BudgetOfAdvertiser {
        let weeks = Site::parse(advertiser)
            .map(|site| self.engine.budgets(&site, Moment::from_posix_seconds(now)))
            .unwrap_or_default();
        let tasks = self.manifests.get(advertiser).map_or(&[][..], |manifest| manifest.tasks());
        let left = |task: TaskId, k: u32| self.kept.sent_of(task).left(now, k);
        let reports_left = tasks.iter().filter_map(|one| {
            let k = one.task.policy()?.contributions.get();
            Some((one.task.id().to_string(), left(one.task.id(), k)))
        });
        BudgetOfAdvertiser { advertiser: advertiser.to_owned(), weeks, reports_left: reports_left.collect() }
    }

    /// What the journal says of a report.
    pub(super) fn journal_report(&mut self, id: ReportId) -> Option<&mut JournalReport> {
        let wanted = hex(id);
        let mut reports = self.kept.journal.iter_mut().rev().flat_map(|entry| &mut entry.reports);
        reports.find(|report| report.report == wanted)
    }

    /// What a crash left between journal and queue: a report that waits by the journal and is not in the queue was lost.
    pub(super) fn reconcile(&mut self) {
        let waiting: std::collections::BTreeSet<String> = self.queue.report_ids().map(hex).collect();
        for report in self.kept.journal.iter_mut().flat_map(|entry| &mut entry.reports) {
            if report.state == ReportState::Waiting && !waiting.contains(&report.report) {
                report.state = ReportState::Lost;
            }
        }
    }
}
