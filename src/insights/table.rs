//! What a query is answered with.

use std::sync::Arc;

use jiff::civil::Date;
use serde::Serialize;

use super::{Measure, Rate};
use crate::collector::Span;
use crate::registry::{Campaign, Currency, EventKind};

/// The answer to a query.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// By period, then campaigns in the order of their creation or kinds of events in that of [`EventKind::ALL`].
    pub rows: Vec<Row>,
}

/// One row: a period, and what it is about.
#[derive(Clone, Debug)]
pub struct Row {
    /// First and last day, both included, in the advertiser's time zone. A week that the range cuts is shorter.
    pub period: (Date, Date),
    /// The campaign; at the level of campaigns, and of events if one was named.
    pub campaign: Option<Arc<Campaign>>,
    /// The kind of event; at the level of events, and elsewhere if one was named.
    pub event: Option<EventKind>,
    /// Of spend and what is computed of it; `None` if the campaigns have different ones.
    pub currency: Option<Currency>,
    /// How often ads were shown. `None`: no delivery numbers were given, or not asked for, or the row is of an event, of which
    /// delivery numbers know nothing.
    pub impressions: Option<u64>,
    /// How often they were clicked.
    pub clicks: Option<u64>,
    /// What they cost, in minor units. `None` as above, and if campaigns have different currencies.
    pub spend: Option<u64>,
    /// Whether any of the delivery numbers is invented, as in the demo.
    pub invented: bool,
    /// Clicks by impressions.
    pub ctr: Option<Rate>,
    /// Minor units a click.
    pub cpc: Option<Rate>,
    /// Minor units for 1,000 impressions.
    pub cpm: Option<Rate>,
    /// How many conversions. At the levels of account and campaign those of each campaign's goal, unless a kind of event was
    /// named: what ads managers call results.
    pub conversions: Measure,
    /// What they were worth, in minor units of the advertiser's currency, as devices count it: an order's worth in whole steps of the task's
    /// unit, rounded down, and at most its maximum. So it falls short of turnover by half a unit an order on average, and by what is
    /// clipped; no interval holds that. Of the windows in which values were released too, see [`Coverage::value_released`].
    pub value: Measure,
    /// Spend for each conversion, of the days in [`Coverage::whole_days`].
    pub cpa: Measure,
    /// Value for each of spend, of the days in [`Coverage::whole_value_days`].
    pub roas: Measure,
    /// The spend that `cpa` divides; `None` where that is not shown.
    pub cpa_spend: Option<u64>,
    /// The spend that `roas` divides by; `None` where that is not shown.
    pub roas_spend: Option<u64>,
    /// Conversions of any event for which no campaign is known: no ad was seen, nobody consented, the device's budget was spent, or the
    /// campaign had ended. At the level of the account without a kind of event, `None` elsewhere.
    pub not_attributed: Option<Measure>,
    /// Which windows are in it. Shared by rows that have the same.
    pub coverage: Arc<Coverage>,
}

/// Which windows a row covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Windows of conversions that lie in the period, released or not.
    pub windows: u32,
    /// How many of them are released and in the numbers.
    pub released: u32,
    /// In how many of those values were released as well: `value` is of these.
    pub value_released: u32,
    /// Days of the period.
    pub days: u32,
    /// Days of which all windows are released, all of which the campaign was counted, and for which its spend is known (they lie between
    /// its first and its last day with delivery numbers): those that `cpa` is about. Of several campaigns, days of any of them; each is
    /// compared for its own.
    pub whole_days: u32,
    /// The same of windows of values: those that `roas` is about.
    pub whole_value_days: u32,
    /// What of the period is not in the conversions, in order; spans that touch and have the same reason are one.
    pub missing: Vec<Missing>,
}

impl Coverage {
    /// Whether nothing is missing.
    pub fn complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// A part of a period that is not in its numbers. What happened then is not in them, and is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// When.
    pub span: Span,
    /// Why.
    pub why: MissingWhy,
}

/// Why a part of a period is not in its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingWhy {
    /// Nothing was counted then.
    NotMeasured,
    /// The window is not over.
    Open,
    /// It waits for reports that come late.
    Waiting,
    /// It is being collected.
    UnderWay,
    /// It has fewer reports than a release needs.
    TooFewReports,
    /// The same of what devices still sent to the tasks before the last change; what they sent to the present ones is in the numbers.
    LateReportsTooFew,
    /// The budget does not carry it.
    RefusedByBudget,
    /// Its collection failed.
    Failed,
    /// It was not collected, and it is not known why.
    NotReleased,
    /// Its release cannot be added up: it is from before numbers were kept for sums, or damaged.
    Unreadable,
    /// The window is only partly in the period, and a window cannot be divided.
    CutByPeriod,
}

impl MissingWhy {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::NotMeasured,
        Self::Open,
        Self::Waiting,
        Self::UnderWay,
        Self::TooFewReports,
        Self::LateReportsTooFew,
        Self::RefusedByBudget,
        Self::Failed,
        Self::NotReleased,
        Self::Unreadable,
        Self::CutByPeriod,
    ];

    /// As in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotMeasured => "not_measured",
            Self::Open => "open",
            Self::Waiting => "waiting",
            Self::UnderWay => "under_way",
            Self::TooFewReports => "too_few_reports",
            Self::LateReportsTooFew => "late_reports_too_few",
            Self::RefusedByBudget => "refused_by_budget",
            Self::Failed => "failed",
            Self::NotReleased => "not_released",
            Self::Unreadable => "unreadable",
            Self::CutByPeriod => "cut_by_period",
        }
    }

    /// What it means, for whoever reads the table.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotMeasured => "nothing was counted then",
            Self::Open => "the window is not over yet",
            Self::Waiting => "the window waits for reports that come late",
            Self::UnderWay => "the window is being collected",
            Self::TooFewReports => "the window has fewer reports than a release needs",
            Self::LateReportsTooFew => {
                "what devices still sent to the tasks before the last change is too little for a release"
            }
            Self::RefusedByBudget => "the privacy budget does not carry the window",
            Self::Failed => "the window could not be collected; the page of releases says why",
            Self::NotReleased => "the window is not released",
            Self::Unreadable => "the window's release holds no numbers that can be added up",
            Self::CutByPeriod => "the window is only partly in the period and cannot be divided",
        }
    }
}
