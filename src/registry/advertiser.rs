//! Advertisers, and the terms under which their conversions are counted.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use arras_protocol::epsilon::MicroEpsilon;
use arras_protocol::vdaf::VdafConfig;
use serde::{Deserialize, Serialize};

use super::{AdvertiserId, Currency, EventKind, LENGTHS, Name};
use crate::planner::{self, Window, device_week_cost};
use crate::privacy::ledger;

/// How often numbers are released. It stays what it was when the advertiser was created: windows of two lengths would overlap,
/// and a window is released once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cadence {
    /// Every hour.
    Hour,
    /// Every day, from midnight to midnight in the advertiser's time zone.
    Day,
    /// Every week, from Monday to Monday there.
    Week,
}

impl Cadence {
    /// Windows in a week whose clocks do not change.
    pub fn windows_a_week(self) -> u64 {
        Window::from(self).in_epoch()
    }
}

impl From<Cadence> for Window {
    fn from(cadence: Cadence) -> Self {
        match cadence {
            Cadence::Hour => Self::Hour,
            Cadence::Day => Self::Day,
            Cadence::Week => Self::Week,
        }
    }
}

/// Whether conversions after views and those after clicks are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Touches {
    /// One number for both: a campaign takes one bucket for each kind of event.
    Together,
    /// A number each: a campaign takes two.
    Apart,
}

/// A time zone of the IANA database, such as `Europe/Berlin`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZone(jiff::tz::TimeZone);

impl TimeZone {
    /// Coordinated Universal Time.
    pub const UTC: Self = Self(jiff::tz::TimeZone::UTC);

    /// The zone's rules.
    pub fn rules(&self) -> &jiff::tz::TimeZone {
        &self.0
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

impl FromStr for TimeZone {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let unknown =
            || "no time zone has this name; take one such as Europe/Berlin or America/New_York".to_owned();
        let zone = jiff::tz::TimeZone::get(name).map_err(|_| unknown())?;
        if zone.iana_name().is_some() { Ok(Self(zone)) } else { Err(unknown()) }
    }
}

impl TryFrom<String> for TimeZone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<TimeZone> for String {
    fn from(zone: TimeZone) -> Self {
        zone.name().to_owned()
    }
}

impl fmt::Debug for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The terms of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueTerms {
    /// What the release of one window of values spends, beside that of its conversions.
    pub epsilon: MicroEpsilon,
    /// Minor units of the currency that are 1 in the sum.
    pub unit: u64,
    /// The most that one conversion adds, in units; whatever is above is clipped on the device.
    pub max_value: u64,
}

/// Under which terms an advertiser's conversions are counted. Other terms are other tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// What the release of one window of conversions spends.
    pub epsilon: MicroEpsilon,
    /// Reports of a task that one device may send in any 7 days.
    pub contributions: NonZeroU32,
    /// Fewest reports in a window that is released.
    pub min_batch_size: u64,
    /// If values are summed, too.
    pub value: Option<ValueTerms>,
}

impl Terms {
    /// What the release of a window spends of a week's budget, with that of its values, in micro-epsilon.
    pub fn window_cost(&self) -> u64 {
        let of = |epsilon| ledger::cost(epsilon, self.contributions);
        of(self.epsilon).saturating_add(self.value.map_or(0, |value| of(value.epsilon)))
    }

    /// The most that the conversions of a week, with their values, cost the device that reports them, in micro-epsilon of its own
    /// budget.
    pub fn device_week_cost(&self) -> u64 {
        let values = self.value.map(|value| (value.max_value, value.epsilon));
        week_cost_of(self.contributions, self.epsilon, values)
    }
}

/// The same of terms that are not set yet: of conversions of an epsilon, and of values of a maximum and an epsilon.
pub(super) fn week_cost_of(
    contributions: NonZeroU32,
    conversions: MicroEpsilon,
    values: Option<(u64, MicroEpsilon)>,
) -> u64 {
    // What a cell of another length costs is the same.
    let length = LENGTHS[0];
    let counts = VdafConfig::histogram(length).map(|vdaf| (vdaf, conversions));
    let values = values
        .map(|(maximum, epsilon)| VdafConfig::l1_bound_sum(length, maximum).map(|vdaf| (vdaf, epsilon)));
    // Terms of which no task can be made are refused before anything asks for this.
    let tasks = std::iter::once(counts).chain(values).filter_map(Result::ok);
    device_week_cost(tasks.map(|(vdaf, epsilon)| planner::Terms { vdaf, epsilon, contributions, cap: None }))
}

/// An advertiser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advertiser {
    /// Its id.
    pub id: AdvertiserId,
    /// Its name.
    pub name: Name,
    /// The host at which people convert; the budget source of its tasks, and whose manifest devices follow.
    pub site: String,
    /// In which its days begin. It stays.
    pub time_zone: TimeZone,
    /// Of values.
    pub currency: Currency,
    /// How often numbers are released. It stays.
    pub cadence: Cadence,
    /// How long a window waits for reports that come late, in seconds after its end.
    pub grace_seconds: u32,
    /// What is counted, in the order in which it was added; each has cells of its own.
    pub events: Vec<EventKind>,
    /// Whether views and clicks are told apart. It stays.
    pub touches: Touches,
    /// Under which terms, from the next task on.
    pub terms: Terms,
    /// When it was created, in POSIX seconds.
    pub created: u64,
}
