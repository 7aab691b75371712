//! Campaigns.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{AdvertiserId, CampaignId, Currency, EventKind, Name};

/// Where a campaign stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It runs.
    Active,
    /// It does not run for now. Conversions after its ads are still counted.
    Paused,
    /// It is over. Conversions after its ads are still counted until devices forget them; its numbers stay.
    Ended,
}

/// A campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// Its id.
    pub id: CampaignId,
    /// Whose it is.
    pub advertiser: AdvertiserId,
    /// Its name; no other campaign of the advertiser has it. It is what an app calls, so it stays.
    pub name: Name,
    /// Where it stands.
    pub status: Status,
    /// Its first day, in the advertiser's time zone.
    pub start: Date,
    /// Its last day, if it has one; not before `start`.
    pub end: Option<Date>,
    /// Of its spend.
    pub currency: Currency,
    /// The event that it is for; what "conversions" means where one number is wanted.
    pub goal: EventKind,
    /// When it was created, in POSIX seconds.
    pub created: u64,
}
