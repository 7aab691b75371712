//! Campaigns.
#![allow(clippy::option_option, reason = "a member that is left out is not one that is null")]

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::accept::Media;
use super::answer::{Answer, unchanged};
use super::guard::{Call, Handled, Manage, Read, Tenant};
use super::page::{Page, next_link};
use super::query::word_of;
use super::refusal::Refusal;
use super::sheet::{Cell, Sheet};
use crate::registry::{Campaign, CampaignChange, CampaignId, Currency, EventKind, Name, NewCampaign, Status};
use crate::text::utc;

/// What is said of a campaign that there is not.
pub(super) const NO_CAMPAIGN: &str =
    "the advertiser has no such campaign; the list of campaigns has all of them";

/// A campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Campaign)]
pub(super) struct CampaignJson {
    /// Its id.
    #[schema(example = "cmp_AbCdEfGhIjKlMnOp")]
    id: String,
    /// Its name, which apps and devices know it by. It stays.
    name: String,
    /// Where it stands.
    status: Status,
    /// Its first day, in the advertiser's time zone.
    #[schema(format = Date)]
    start: String,
    /// Its last day, included; `null` if it has none.
    #[schema(format = Date)]
    end: Option<String>,
    /// Of its spend (ISO 4217). It stays.
    currency: String,
    /// The kind of event that it is for: what `conversions` counts.
    goal: EventKind,
    /// When it was created.
    #[schema(format = DateTime)]
    created: String,
}

impl From<&Campaign> for CampaignJson {
    fn from(campaign: &Campaign) -> Self {
        Self {
            id: campaign.id.to_string(),
            name: campaign.name.to_string(),
            status: campaign.status,
            start: campaign.start.to_string(),
            end: campaign.end.map(|day| day.to_string()),
            currency: campaign.currency.to_string(),
            goal: campaign.goal,
            created: utc(campaign.created),
        }
    }
}

/// A campaign to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCampaign)]
pub(super) struct NewCampaignJson {
    /// No other campaign of the advertiser has it; 1 to 100 printable characters.
    #[schema(value_type = String, example = "Spring sale")]
    name: Name,
    /// Where it stands; active unless said otherwise.
    #[serde(default = "active")]
    status: Status,
    /// Its first day, in the advertiser's time zone.
    #[schema(value_type = String, format = Date)]
    start: Date,
    /// Its last day, included, if it is known.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Date)]
    end: Option<Date>,
    /// Of its spend (ISO 4217); the advertiser's unless said otherwise.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "EUR")]
    currency: Option<Currency>,
    /// The kind of event that it is for, one of the advertiser's; the first of those unless said otherwise.
    #[serde(default)]
    goal: Option<EventKind>,
}

fn active() -> Status {
    Status::Active
}

/// What is to be changed of a campaign. Whatever is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CampaignChange)]
pub(super) struct CampaignChangeJson {
    /// Where it stands. `ended` makes today its last day, unless that was earlier.
    status: Option<Status>,
    /// Another first day.
    #[schema(value_type = Option<String>, format = Date)]
    start: Option<Date>,
    /// Another last day; `null` for none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = Date)]
    end: Option<Option<Date>>,
    /// Another goal.
    goal: Option<EventKind>,
}

/// Tells `null` from what is left out.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Date>>, D::Error> {
    Option::<Date>::deserialize(deserializer).map(Some)
}

/// Lists the campaigns
///
/// In the order of their creation. Also as CSV (`Accept: text/csv`), with the next page in the `Link` header.
#[utoipa::path(get, path = "/v1/advertisers/{advertiser}/campaigns", tag = "campaigns", operation_id = "list_campaigns",
    params(super::document::AdvertiserPath, super::document::PageParams),
    responses((status = 200, description = "A page of campaigns.",
        content((Page<CampaignJson> = "application/json"), (String = "text/csv")))))]
pub(super) fn list(tenant: &Tenant<Read>, call: &mut Call) -> Handled {
    let media = call.accept(&[Media::Json, Media::Csv])?;
    let wanted = call.page()?;
    let campaigns = tenant.api().registry().campaigns(tenant.id());
    let page =
        wanted.page_of(&campaigns, |one| one.id.to_string())?.map(|one| CampaignJson::from(one.as_ref()));
    if media == Media::Json {
        return Answer::json(&page);
    }
    let mut sheet = Sheet::new(&["id", "name", "status", "start", "end", "currency", "goal", "created"])?;
    for one in &page.data {
        sheet.row(&[
            Cell::plain(&one.id),
            Cell::Text(&one.name),
            Cell::of(Some(word_of(&one.status))),
            Cell::plain(&one.start),
            Cell::of(one.end.as_ref()),
            Cell::plain(&one.currency),
            Cell::plain(one.goal.name()),
            Cell::plain(&one.created),
        ])?;
    }
    let next =
        next_link(&format!("/v1/advertisers/{}/campaigns", tenant.id()), &wanted, page.next.as_ref(), &[]);
    Ok(Answer::csv(sheet.finish()?, "campaigns.csv").with_next(next))
}

/// Creates a campaign
///
/// It gets buckets in the task of conversions and in that of values; the first campaign makes these tasks, and one more than
/// they have room for makes new ones. The same name again is refused with 409 and the `id` of the campaign that has it, so
/// that whoever did not hear the answer may ask again.
#[utoipa::path(post, path = "/v1/advertisers/{advertiser}/campaigns", tag = "campaigns", operation_id = "create_campaign",
    params(super::document::AdvertiserPath),
    request_body = NewCampaignJson,
    responses(
        (status = 201, description = "It was created.", body = CampaignJson),
        (status = 409, description = "Another campaign has the name; its `id` is named. Or there is no room for more.",
            body = super::document::Problem, content_type = "application/problem+json")))]
pub(super) fn create(tenant: &Tenant<Manage>, call: &mut Call) -> Handled {
    call.query.finish(&[])?;
    let new: NewCampaignJson = call.json()?;
    let advertiser = tenant.advertiser();
    // Every advertiser has an event; the registry refuses others.
    let goal = new.goal.or_else(|| advertiser.events.first().copied());
    let goal = goal.ok_or_else(|| Refusal::invalid("goal: name a kind of event"))?;
    let name = new.name.clone();
    let new = NewCampaign {
        name: new.name,
        status: new.status,
        start: new.start,
        end: new.end,
        currency: new.currency.unwrap_or(advertiser.currency),
        goal,
    };
    let registry = tenant.api().registry();
    match registry.create_campaign(tenant.id(), &new, call.now) {
        Ok(campaign) => {
            let location = format!("/v1/advertisers/{}/campaigns/{}", tenant.id(), campaign.id);
            Answer::created(&CampaignJson::from(campaign.as_ref()), location)
        }
        Err(error) => {
            let same = registry.campaigns(tenant.id()).iter().find(|one| one.name == name).map(|one| one.id);
            Err(Refusal::from(error).naming(same))
        }
    }
}

/// Shows a campaign
#[utoipa::path(get, path = "/v1/advertisers/{advertiser}/campaigns/{campaign}", tag = "campaigns",
    operation_id = "get_campaign",
    params(super::document::AdvertiserPath, super::document::CampaignPath),
    responses((status = 200, description = "The campaign.", body = CampaignJson)))]
pub(super) fn show(tenant: &Tenant<Read>, call: &mut Call) -> Handled {
    call.query.finish(&[])?;
    let id: CampaignId = call.path("campaign", NO_CAMPAIGN)?;
    let campaign = tenant.api().registry().campaign(tenant.id(), id);
    let campaign = campaign.ok_or_else(|| Refusal::not_found(NO_CAMPAIGN))?;
    Answer::json(&CampaignJson::from(campaign.as_ref()))
}

/// Changes a campaign
///
/// Its name and its currency stay: devices and delivery numbers refer to them.
#[utoipa::path(patch, path = "/v1/advertisers/{advertiser}/campaigns/{campaign}", tag = "campaigns",
    operation_id = "change_campaign",
    params(super::document::AdvertiserPath, super::document::CampaignPath, super::document::Condition),
    request_body = CampaignChangeJson,
    responses(
        (status = 200, description = "The campaign as it is now.", body = CampaignJson),
        (status = 409, description = "It contradicts what is there.", body = super::document::Problem, content_type = "application/problem+json"),
        (status = 412, description = "It was changed since.", body = super::document::Problem, content_type = "application/problem+json")))]
pub(super) fn change(tenant: &Tenant<Manage>, call: &mut Call) -> Handled {
    call.query.finish(&[])?;
    let id: CampaignId = call.path("campaign", NO_CAMPAIGN)?;
    let registry = tenant.api().registry();
    let _turn = tenant.api().changing();
    let missing = || Refusal::not_found(NO_CAMPAIGN);
    let current = registry.campaign(tenant.id(), id).ok_or_else(missing)?;
    let change: CampaignChangeJson = call.json()?;
    let change =
        CampaignChange { status: change.status, start: change.start, end: change.end, goal: change.goal };
    unchanged(call.headers(), &Answer::json(&CampaignJson::from(current.as_ref()))?)?;
    let changed = registry.change_campaign(tenant.id(), id, &change, call.now)?;
    Answer::json(&CampaignJson::from(changed.as_ref()))
}
