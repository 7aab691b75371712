//! Advertisers.

use std::num::NonZeroU32;

use arras_protocol::epsilon::MicroEpsilon;
use arras_protocol::task::MIN_MIN_BATCH_SIZE;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::{Answer, unchanged};
use super::guard::{Admin, Call, Handled, Operator, Read, Tenant};
use super::page::Page;
use super::refusal::Refusal;
use crate::net::problem::OwnError;
use crate::registry::{
    Advertiser, AdvertiserChange, Cadence, Currency, EventKind, Name, NewAdvertiser, Terms, TimeZone,
    Touches, ValueTerms,
};
use crate::text::utc;

/// How long windows wait for late reports unless said otherwise, in seconds: devices upload within hours.
const GRACE_SECONDS_DEFAULT: u32 = 6 * 3_600;

/// What the release of a window spends unless said otherwise: noise of a standard deviation of 4 conversions, and a day each
/// of a week within a cap of 10.
const EPSILON_DEFAULT: MicroEpsilon = MicroEpsilon::ONE;

/// Under which terms values are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ValueTerms)]
pub(super) struct ValueTermsJson {
    /// What the release of a window of values spends of the privacy budget, beside that of its conversions.
    #[schema(value_type = String, example = "1")]
    epsilon: MicroEpsilon,
    /// Minor units of the currency (cents of EUR) that are 1 in the sum: orders are rounded down to whole units.
    #[schema(minimum = 1, example = 100)]
    unit: u64,
    /// The most that one conversion adds, in units; what is above is clipped on the device.
    #[schema(minimum = 2, example = 250)]
    max_value: u64,
}

/// Under which terms conversions are counted. Other terms open new tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Terms)]
pub(super) struct TermsJson {
    /// What the release of a window spends of the privacy budget: more is less noise, and fewer windows in a week.
    #[schema(value_type = String, example = "1")]
    #[serde(default = "epsilon_default")]
    epsilon: MicroEpsilon,
    /// Conversions that one device may report in any 7 days.
    #[schema(value_type = u32, minimum = 1)]
    #[serde(default = "contributions_default")]
    contributions: NonZeroU32,
    /// Fewest reports with which a window is released.
    #[serde(default = "batch_default")]
    min_batch_size: u64,
    /// Under which terms values are summed, too; `null` if they are not.
    #[serde(default)]
    value: Option<ValueTermsJson>,
}

fn epsilon_default() -> MicroEpsilon {
    EPSILON_DEFAULT
}

fn contributions_default() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn batch_default() -> u64 {
    MIN_MIN_BATCH_SIZE
}

impl Default for TermsJson {
    fn default() -> Self {
        Self {
            epsilon: epsilon_default(),
            contributions: contributions_default(),
            min_batch_size: batch_default(),
            value: None,
        }
    }
}

impl From<TermsJson> for Terms {
    fn from(json: TermsJson) -> Self {
        let value = json.value.map(|ValueTermsJson { epsilon, unit, max_value }| ValueTerms {
            epsilon,
            unit,
            max_value,
        });
        Self {
            epsilon: json.epsilon,
            contributions: json.contributions,
            min_batch_size: json.min_batch_size,
            value,
        }
    }
}

impl From<Terms> for TermsJson {
    fn from(terms: Terms) -> Self {
        let value = terms.value.map(|ValueTerms { epsilon, unit, max_value }| ValueTermsJson {
            epsilon,
            unit,
            max_value,
        });
        Self {
            epsilon: terms.epsilon,
            contributions: terms.contributions,
            min_batch_size: terms.min_batch_size,
            value,
        }
    }
}

/// An advertiser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Advertiser)]
pub(super) struct AdvertiserJson {
    /// Its id.
    #[schema(example = "adv_AbCdEfGhIjKlMnOp")]
    id: String,
    /// Its name.
    name: String,
    /// The host at which people convert.
    #[schema(example = "shop.example")]
    site: String,
    /// In which its days begin (IANA). It stays.
    #[schema(example = "Europe/Berlin")]
    time_zone: String,
    /// Of values (ISO 4217). It stays.
    #[schema(example = "EUR")]
    currency: String,
    /// How often numbers are released. It stays.
    cadence: Cadence,
    /// How long a window waits for late reports, in seconds after its end.
    grace_seconds: u32,
    /// What is counted, in the order in which it was added.
    events: Vec<EventKind>,
    /// Whether conversions after views and after clicks are told apart. It stays.
    touches: Touches,
    /// Under which terms, from the next task on.
    terms: TermsJson,
    /// When it was created.
    #[schema(format = DateTime)]
    created: String,
    /// What will not work as it was likely meant, in sentences: a budget that does not carry the windows, or that the collector was
    /// not told of; conversions that cost devices more than they have.
    warnings: Vec<String>,
}

impl AdvertiserJson {
    fn of(api: &Api, advertiser: &Advertiser) -> Self {
        Self {
            id: advertiser.id.to_string(),
            name: advertiser.name.to_string(),
            site: advertiser.site.clone(),
            time_zone: advertiser.time_zone.name().to_owned(),
            currency: advertiser.currency.to_string(),
            cadence: advertiser.cadence,
            grace_seconds: advertiser.grace_seconds,
            events: advertiser.events.clone(),
            touches: advertiser.touches,
            terms: advertiser.terms.into(),
            created: utc(advertiser.created),
            warnings: api.advertising().warnings(advertiser),
        }
    }
}

/// An advertiser to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAdvertiser)]
pub(super) struct NewAdvertiserJson {
    /// No other advertiser has it; 1 to 100 printable characters.
    #[schema(value_type = String, example = "Shop")]
    name: Name,
    /// The host at which people convert, in small letters; no other advertiser has it.
    #[schema(example = "shop.example")]
    site: String,
    /// In which its days begin (IANA).
    #[schema(value_type = String, example = "Europe/Berlin")]
    time_zone: TimeZone,
    /// Of values (ISO 4217).
    #[schema(value_type = String, example = "EUR")]
    currency: Currency,
    /// How often numbers are released; daily unless said otherwise.
    #[serde(default = "cadence_default")]
    cadence: Cadence,
    /// How long a window waits for late reports, in seconds after its end; 6 hours unless said otherwise.
    #[serde(default = "grace_default")]
    grace_seconds: u32,
    /// What is to be counted; at least one kind.
    events: Vec<EventKind>,
    /// Whether conversions after views and after clicks are told apart; they are not unless said otherwise.
    #[serde(default = "touches_default")]
    touches: Touches,
    /// Under which terms.
    #[serde(default)]
    terms: TermsJson,
}

fn cadence_default() -> Cadence {
    Cadence::Day
}

fn grace_default() -> u32 {
    GRACE_SECONDS_DEFAULT
}

fn touches_default() -> Touches {
    Touches::Together
}

/// What is to be changed of an advertiser. Whatever is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdvertiserChange)]
pub(super) struct AdvertiserChangeJson {
    /// Another name; for the administrator of the collector, since no two advertisers have the same.
    #[schema(value_type = Option<String>)]
    name: Option<Name>,
    /// Another wait for late reports, in seconds.
    grace_seconds: Option<u32>,
    /// All kinds of events that are to be counted: those of before, in their order, then new ones. New ones open new tasks,
    /// which both aggregators' operators have to add.
    events: Option<Vec<EventKind>>,
    /// Other terms. They open new tasks, too.
    terms: Option<TermsJson>,
}

/// Lists all advertisers
///
/// By name. For the administrator of the collector.
#[utoipa::path(get, path = "/v1/advertisers", tag = "advertisers", operation_id = "list_advertisers",
    params(super::document::PageParams),
    responses((status = 200, description = "A page of advertisers.", body = Page<AdvertiserJson>)))]
pub(super) fn list(operator: &Operator, call: &mut Call) -> Handled {
    let wanted = call.page()?;
    let api = operator.api();
    let advertisers = api.registry().advertisers();
    let page = wanted.page_of(&advertisers, |one| one.id.to_string())?;
    Answer::json(&page.map(|one| AdvertiserJson::of(api, one)))
}

/// Creates an advertiser
///
/// For the administrator of the collector. Its tasks are made with its first campaign.
#[utoipa::path(post, path = "/v1/advertisers", tag = "advertisers", operation_id = "create_advertiser",
    request_body = NewAdvertiserJson,
    responses(
        (status = 201, description = "It was created.", body = AdvertiserJson),
        (status = 409, description = "Its name or site is another's, whose `id` is named.", body = super::document::Problem, content_type = "application/problem+json")))]
pub(super) fn create(operator: &Operator, call: &mut Call) -> Handled {
    call.query.finish(&[])?;
    let new: NewAdvertiserJson = call.json()?;
    let registry = operator.api().registry();
    let new = NewAdvertiser {
        name: new.name,
        site: new.site,
        time_zone: new.time_zone,
        currency: new.currency,
        cadence: new.cadence,
        grace_seconds: new.grace_seconds,
        events: new.events,
        touches: new.touches,
        terms: new.terms.into(),
    };
    let (name, site) = (new.name.clone(), new.site.clone());
    match registry.create_advertiser(new, call.now) {
        Ok(advertiser) => {
            let location = format!("/v1/advertisers/{}", advertiser.id);
            Answer::created(&AdvertiserJson::of(operator.api(), &advertiser), location)
        }
        Err(error) => {
            let refusal = Refusal::from(error);
            // The one that the text is about: a site is looked at first.
            let others = registry.advertisers();
            let same = others.iter().find(|one| one.site == site);
            let same = same.or_else(|| others.iter().find(|one| one.name == name));
            Err(refusal.naming(same.map(|one| one.id)))
        }
    }
}

/// Shows the advertiser
#[utoipa::path(get, path = "/v1/advertisers/{advertiser}", tag = "advertisers", operation_id = "get_advertiser",
    params(super::document::AdvertiserPath),
    responses((status = 200, description = "The advertiser.", body = AdvertiserJson)))]
pub(super) fn show(tenant: &Tenant<Read>, call: &mut Call) -> Handled {
    call.query.finish(&[])?;
    Answer::json(&AdvertiserJson::of(tenant.api(), tenant.advertiser()))
}

/// Changes the advertiser
///
/// What is counted and under which terms, and how long windows wait. New terms and new kinds of events open new tasks; see
/// the list of tasks for the files that both aggregators' operators have to add.
#[utoipa::path(patch, path = "/v1/advertisers/{advertiser}", tag = "advertisers", operation_id = "change_advertiser",
    params(super::document::AdvertiserPath, super::document::Condition),
    request_body = AdvertiserChangeJson,
    responses(
        (status = 200, description = "The advertiser as it is now.", body = AdvertiserJson),
        (status = 409, description = "It contradicts what is there.", body = super::document::Problem, content_type = "application/problem+json"),
        (status = 412, description = "It was changed since.", body = super::document::Problem, content_type = "application/problem+json")))]
pub(super) fn change(tenant: &Tenant<Admin>, call: &mut Call) -> Handled {
    call.query.finish(&[])?;
    let change: AdvertiserChangeJson = call.json()?;
    let change = AdvertiserChange {
        name: change.name,
        grace_seconds: change.grace_seconds,
        events: change.events,
        terms: change.terms.map(Terms::from),
    };
    // Whoever may try names learns which advertisers there are. Its own tells an advertiser nothing.
    let renames = change.name.as_ref().is_some_and(|name| *name != tenant.advertiser().name);
    if renames && !tenant.is_administrator() {
        return Err(Refusal::new(
            OwnError::Forbidden,
            "an advertiser's name is for the administrator of the collector to change; ask whoever runs it",
        ));
    }
    let registry = tenant.api().registry();
    let _turn = tenant.api().changing();
    let current = registry.advertiser(tenant.id()).ok_or_else(Refusal::no_advertiser)?;
    unchanged(call.headers(), &Answer::json(&AdvertiserJson::of(tenant.api(), &current))?)?;
    let changed = registry.change_advertiser(tenant.id(), &change, call.now)?;
    Answer::json(&AdvertiserJson::of(tenant.api(), &changed))
}
