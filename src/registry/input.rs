//! What is asked for when something is created or changed, and the rules that it must keep.

use std::collections::BTreeSet;

use arras_protocol::manifest::{CLICKS, NAME_CHARACTERS_MAX, VIEWS};
use jiff::Timestamp;
use jiff::civil::Date;

use super::{
    Advertiser, Cadence, Campaign, Currency, EventKind, Name, RegistryError, Status, Terms, TimeZone, Touches,
};
use crate::tasks::manifests::file_name;

/// Longest name of an advertiser's host, in bytes: its tasks are named after it, and a task's name has at most 255.
pub const SITE_BYTES_MAX: usize = 200;

/// The longest time that a window waits for late reports, in seconds: 14 days. Aggregators take reports for 30 days unless
/// configured otherwise, and a window is collected once.
pub const GRACE_SECONDS_MAX: u32 = 14 * 86_400;

/// Longest name of a campaign as JSON, in bytes: the names of all campaigns of a full histogram have to fit one manifest of
/// 256 KiB ([`arras_protocol::manifest::MANIFEST_BYTES_MAX`]).
pub const CAMPAIGN_NAME_BYTES_MAX: usize = 200;

/// The years in which campaigns may run: before the first there were none of these ads, and days beyond the last are slips of
/// the finger.
pub const YEARS: std::ops::RangeInclusive<i16> = 2000..=2199;

/// An advertiser to be.
#[derive(Clone, Debug)]
pub struct NewAdvertiser {
    /// No other advertiser has it.
    pub name: Name,
    /// The host at which people convert, in lower case; no other advertiser has it.
    pub site: String,
    /// In which its days begin.
    pub time_zone: TimeZone,
    /// Of values.
    pub currency: Currency,
    /// How often numbers are released.
    pub cadence: Cadence,
    /// At most [`GRACE_SECONDS_MAX`].
    pub grace_seconds: u32,
    /// At least one.
    pub events: Vec<EventKind>,
    /// Whether views and clicks are told apart.
    pub touches: Touches,
    /// What tasks are made with.
    pub terms: Terms,
}

/// What is to be changed of an advertiser; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdvertiserChange {
    /// Another name.
    pub name: Option<Name>,
    /// Another wait for late reports.
    pub grace_seconds: Option<u32>,
    /// All events that are to be counted: those of before, in their order, and new ones behind them. New ones open new tasks.
    pub events: Option<Vec<EventKind>>,
    /// Other terms, which open new tasks.
    pub terms: Option<Terms>,
}

/// A campaign to be.
#[derive(Clone, Debug)]
pub struct NewCampaign {
    /// No other campaign of the advertiser has it.
    pub name: Name,
    /// Where it stands.
    pub status: Status,
    /// Its first day.
    pub start: Date,
    /// Its last day, if it is known.
    pub end: Option<Date>,
    /// Of its spend.
    pub currency: Currency,
    /// One of the advertiser's events.
    pub goal: EventKind,
}

/// What is to be changed of a campaign; what is `None` stays. Its name and currency stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignChange {
    /// Where it stands. [`Status::Ended`] makes today its last day, unless that was earlier.
    pub status: Option<Status>,
    /// Another first day.
    pub start: Option<Date>,
    /// Another last day, or none: not before today, and not before the last day of a campaign that is over.
    pub end: Option<Option<Date>>,
    /// Another goal.
    pub goal: Option<EventKind>,
}

pub(super) fn invalid(reason: impl Into<String>) -> RegistryError {
    RegistryError::Invalid(reason.into())
}

/// The day of a moment at an advertiser.
pub(super) fn day_of(zone: &TimeZone, now: u64) -> Result<Date, RegistryError> {
    let stamp = i64::try_from(now).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let stamp = stamp.ok_or_else(|| invalid("the collector's clock is beyond the year 9999; set it"))?;
    Ok(stamp.to_zoned(zone.rules().clone()).date())
}

pub(super) fn check_events(events: &[EventKind]) -> Result<(), RegistryError> {
    if events.is_empty() {
        return Err(invalid(format!(
            "name at least one event to count, such as {}",
            EventKind::OrderCreated.name()
        )));
    }
    let distinct: BTreeSet<_> = events.iter().collect();
    if distinct.len() != events.len() {
        return Err(invalid("an event is listed twice; name each once"));
    }
    Ok(())
}

pub(super) fn check_grace(seconds: u32) -> Result<(), RegistryError> {
    if seconds > GRACE_SECONDS_MAX {
        let days = GRACE_SECONDS_MAX / 86_400;
        return Err(invalid(format!(
            "a window that waits for more than {days} days for late reports would miss them, since aggregators do not take \
             them for ever; choose at most {GRACE_SECONDS_MAX} seconds"
        )));
    }
    Ok(())
}

impl NewAdvertiser {
    /// Checks all but the terms, which a task is made of.
    pub(super) fn check(&self) -> Result<(), RegistryError> {
        check_events(&self.events)?;
        check_grace(self.grace_seconds)?;
        if self.site.len() > SITE_BYTES_MAX || file_name(&self.site).is_none() {
            return Err(invalid(format!(
                "the site is the name of the host at which people convert, in lower case and at most {SITE_BYTES_MAX} \
                 characters long, such as shop.example; not a URL"
            )));
        }
        Ok(())
    }
}

impl AdvertiserChange {
    /// The advertiser with the change. `counted` says whether its events are counted already.
    pub(super) fn apply(&self, of: &Advertiser, counted: bool) -> Result<Advertiser, RegistryError> {
        let mut changed = of.clone();
        if let Some(name) = &self.name {
            changed.name.clone_from(name);
        }
        if let Some(grace) = self.grace_seconds {
            check_grace(grace)?;
            changed.grace_seconds = grace;
        }
        if let Some(events) = &self.events {
            check_events(events)?;
            if counted && !events.starts_with(&of.events) {
                let before: Vec<_> = of.events.iter().map(|event| event.name()).collect();
                return Err(RegistryError::Conflict(format!(
                    "events that are counted stay, and in their order, since their numbers are told apart by their place: \
                     begin the list with {}, and add new events at its end",
                    before.join(", ")
                )));
            }
            changed.events.clone_from(events);
        }
        if let Some(terms) = self.terms {
            changed.terms = terms;
        }
        Ok(changed)
    }
}

/// Rules of a campaign that hold whenever it is created or changed.
fn check_campaign(campaign: &Campaign, advertiser: &Advertiser) -> Result<(), RegistryError> {
    let days = [Some(campaign.start), campaign.end];
    if let Some(day) = days.into_iter().flatten().find(|day| !YEARS.contains(&day.year())) {
        return Err(invalid(format!(
            "{day} is no day of a campaign; days are from the year {} to {}",
            YEARS.start(),
            YEARS.end()
        )));
    }
    if campaign.end.is_some_and(|end| end < campaign.start) {
        return Err(invalid("the campaign's last day is before its first; swap or correct them"));
    }
    if !advertiser.events.contains(&campaign.goal) {
        let counted: Vec<_> = advertiser.events.iter().map(|event| event.name()).collect();
        return Err(invalid(format!(
            "{} is not counted for this advertiser, so it cannot be a campaign's goal: take one of {}, or add it to the \
             advertiser's events first, which opens new tasks",
            campaign.goal,
            counted.join(", ")
        )));
    }
    Ok(())
}

impl NewCampaign {
    /// The campaign, checked by itself; `today` is at the advertiser.
    pub(super) fn checked(
        &self,
        id: super::CampaignId,
        advertiser: &Advertiser,
        today: Date,
        now: u64,
    ) -> Result<Campaign, RegistryError> {
        let text = serde_json::to_string(&self.name).map_err(|error| invalid(error.to_string()))?;
        let apart = advertiser.touches == Touches::Apart;
        if apart && [VIEWS, CLICKS].iter().any(|behind| self.name.as_str().ends_with(behind)) {
            return Err(invalid(format!(
                "where views and clicks are told apart, the name of a campaign must not end in {VIEWS} or {CLICKS}"
            )));
        }
        let characters = if apart { NAME_CHARACTERS_MAX - CLICKS.len() } else { usize::MAX };
        if text.len() > CAMPAIGN_NAME_BYTES_MAX || self.name.as_str().chars().count() > characters {
            return Err(invalid(
                "this name of a campaign is too long for the list that devices fetch; shorten it",
            ));
        }
        let mut campaign = Campaign {
            id,
            advertiser: advertiser.id,
            name: self.name.clone(),
            status: self.status,
            start: self.start,
            end: self.end,
            currency: self.currency,
            goal: self.goal,
            created: now,
        };
        end_today(&mut campaign, today);
        check_campaign(&campaign, advertiser)?;
        Ok(campaign)
    }
}

/// A campaign that has ended has a last day, and it is not to come.
fn end_today(campaign: &mut Campaign, today: Date) {
    if campaign.status == Status::Ended {
        // One that ends before it began ran on no day but counts as if on its first.
        let end = campaign.end.map_or(today, |end| end.min(today));
        campaign.end = Some(end.max(campaign.start));
    }
}

impl CampaignChange {
    /// The campaign with the change; `today` is at the advertiser.
    pub(super) fn apply(
        &self,
        of: &Campaign,
        advertiser: &Advertiser,
        today: Date,
    ) -> Result<Campaign, RegistryError> {
        let mut changed = of.clone();
        if let Some(start) = self.start {
            changed.start = start;
        }
        if let Some(end) = self.end {
            changed.end = end;
        }
        if let Some(goal) = self.goal {
            changed.goal = goal;
        }
        if let Some(status) = self.status {
            changed.status = status;
        }
        let runs_again = of.status == Status::Ended && changed.status != Status::Ended;
        if runs_again && changed.end.is_some_and(|end| end < today) {
            return Err(RegistryError::Conflict(
                "a campaign that runs again needs a last day that is still to come, or none; give `end`, too"
                    .to_owned(),
            ));
        }
        end_today(&mut changed, today);
        check_campaign(&changed, advertiser)?;
        // Devices were told of it until then. When its place is free is reckoned from its last day, so that does not move back.
        let earliest = of.end.map_or(today, |end| end.min(today));
        if changed.end.is_some_and(|end| end < earliest) {
            return Err(RegistryError::Conflict(format!(
                "the campaign ran until {earliest}, and devices may remember its ads from then, so its last day cannot be before; \
                 give {earliest} or a later day"
            )));
        }
        Ok(changed)
    }
}
