//! Where the windows of an advertiser stand, and what that means for somebody who waits for their numbers.

use arras_protocol::messages::TaskId;

use crate::collector::Span;

/// What a task's windows hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measures {
    /// How many conversions.
    Conversions,
    /// What they were worth. Collected after the conversions of the same window, whose release says what may be shown.
    Value,
}

impl Measures {
    /// As in the API and on pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conversions => "conversions",
            Self::Value => "value",
        }
    }
}

/// A window of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowStatus {
    /// Of which generation of the advertiser's tasks.
    pub generation: u32,
    /// The task.
    pub task: TaskId,
    /// What it measures.
    pub measures: Measures,
    /// The window.
    pub window: Span,
    /// Where it stands.
    pub state: WindowState,
    /// Whether a window of the task was released, ever: until then nobody here knows that both aggregators take part in it.
    pub confirmed: bool,
}

impl WindowStatus {
    /// What it means and what to do next, for somebody who buys ads.
    pub fn meaning(&self) -> &'static str {
        self.state.meaning(self.confirmed)
    }
}

/// Where a window stands. Moments are POSIX seconds. A `next_try` of `None` says that the schedule does not ask again;
/// whoever runs the collector still can, with `arras collect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowState {
    /// It is not over.
    Open {
        /// When it is.
        closes: u64,
    },
    /// It is over, and reports that come late are waited for.
    Waiting {
        /// When it is collected.
        until: u64,
    },
    /// It is being collected, or is due and its turn comes.
    UnderWay {
        /// What is in the way, if anything.
        trouble: Option<String>,
    },
    /// It holds fewer reports than its task releases.
    TooFewReports {
        /// What the leader said.
        reason: String,
        /// When it is asked again, in case late reports have come.
        next_try: Option<u64>,
    },
    /// A privacy budget does not allow it.
    RefusedByBudget {
        /// Which, and what was left.
        reason: String,
        /// When it is asked again, in case the cap was raised.
        next_try: Option<u64>,
    },
    /// Its numbers are there.
    Released {
        /// The release.
        sequence: u64,
    },
    /// It was not collected for another reason.
    Failed {
        /// Why, and what to do.
        reason: String,
        /// When it is asked again.
        next_try: Option<u64>,
    },
}

impl WindowState {
    /// In a word or three, as in the API and in tables: `open`, `waiting`, `under way`, `too few reports`, `refused by budget`,
    /// `released`, `failed`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Waiting { .. } => "waiting",
            Self::UnderWay { .. } => "under way",
            Self::TooFewReports { .. } => "too few reports",
            Self::RefusedByBudget { .. } => "refused by budget",
            Self::Released { .. } => "released",
            Self::Failed { .. } => "failed",
        }
    }

    /// What it means and what to do next; `confirmed` as in [`WindowStatus`].
    pub fn meaning(&self, confirmed: bool) -> &'static str {
        match self {
            Self::Open { .. } | Self::Waiting { .. } if !confirmed => {
                "Counted if both aggregators take part in the task, which is not confirmed before its first release. Ask whoever runs \
                 this collector whether both have added it: conversions before that may be lost."
            }
            Self::Open { .. } => {
                "Conversions are still being counted. Nothing is to be done: numbers come after it ends."
            }
            Self::Waiting { .. } => {
                "The window is over. Devices that were offline still send theirs, so it is collected a little later. \
                 Nothing is to be done."
            }
            Self::UnderWay { trouble: None } => "The numbers are being fetched. Nothing is to be done.",
            Self::UnderWay { trouble: Some(_) } => {
                "The numbers are being fetched, and something is in the way. It is tried again by itself; nothing is lost."
            }
            Self::TooFewReports { next_try: Some(_), .. } => {
                "Too few devices have reported for a number that hides each of them. It is asked again, as late reports may \
                 still come."
            }
            Self::TooFewReports { next_try: None, .. } => {
                "Too few devices reported for a number that hides each of them, and late reports are not taken any more. \
                 There will be no numbers of this window; longer windows would hold more reports."
            }
            Self::RefusedByBudget { next_try: Some(_), .. } => {
                "The privacy budget of this week is spent. The window stays without numbers unless the operators of the \
                 aggregators raise the cap; it is asked again now and then, in case they do."
            }
            Self::RefusedByBudget { next_try: None, .. } => {
                "The privacy budget of this week was spent, and the window is not asked for by itself any more. If the \
                 operators of the aggregators raise the cap, whoever runs the collector can still collect it with `arras \
                 collect`."
            }
            Self::Released { .. } => "The numbers are there.",
            Self::Failed { next_try: Some(_), .. } => {
                "The numbers could not be fetched. It is tried again by itself; the reason says who can mend it."
            }
            Self::Failed { next_try: None, .. } => {
                "The numbers could not be fetched, and it is not tried again by itself. The reason says why."
            }
        }
    }

    /// The release, if it is there.
    pub fn released(&self) -> Option<u64> {
        match self {
            Self::Released { sequence } => Some(*sequence),
            _ => None,
        }
    }
}
