//! The interface described: OpenAPI 3.1, made of the types and functions that answer.

use std::borrow::Cow;
use std::sync::LazyLock;

use axum::http::Method;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, OpenApi, PartialSchema, ToSchema};

use super::accept::Media;
use super::answer::Answer;
use super::guard::{Call, Guard, Handled};
use super::page::{LIMIT_DEFAULT, LIMIT_MAX};
use super::{
    Api, advertisers, advice, budget, campaigns, delivery, insights, keys, releases, routes, tasks, users,
    windows,
};
use crate::insights::{MissingWhy, NullReason, Suppression};
use crate::net::problem::PROBLEM_JSON;

/// How long anybody may keep the description: it changes with versions of the collector.
const CACHE: &str = "public, max-age=3600";

/// What the scheme of authentication is called in the document.
const SCHEME: &str = "key";

/// Path of one advertiser.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "described, never made")]
pub(super) struct AdvertiserPath {
    /// The advertiser's id.
    #[param(example = "adv_AbCdEfGhIjKlMnOp")]
    advertiser: String,
}

/// Path of one campaign.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "described, never made")]
pub(super) struct CampaignPath {
    /// The campaign's id.
    #[param(example = "cmp_AbCdEfGhIjKlMnOp")]
    campaign: String,
}

/// Path of one release.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "described, never made")]
pub(super) struct SequencePath {
    /// The release's number.
    sequence: u64,
}

/// Path of one key.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "described, never made")]
pub(super) struct KeyPath {
    /// The key's id.
    #[param(example = "key_AbCdEfGhIjKlMnOp")]
    key: String,
}

/// Path of one user.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "described, never made")]
pub(super) struct UserPath {
    /// The user's id.
    #[param(example = "usr_AbCdEfGhIjKlMnOp")]
    user: String,
}

/// A page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described, never made")]
pub(super) struct PageParams {
    /// Most entries of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next` of the page before; left out for the first page.
    cursor: Option<String>,
}

/// A range of days.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described, never made")]
pub(super) struct DayParams {
    /// The first day, in the advertiser's time zone; 27 days before the last one unless said otherwise.
    #[param(format = Date, example = "2026-11-02")]
    from: Option<String>,
    /// The last day, included; today unless said otherwise.
    #[param(format = Date, example = "2026-11-08")]
    to: Option<String>,
}

/// A range of days of noised numbers.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described, never made")]
pub(super) struct NumberDayParams {
    /// The first day, in the advertiser's time zone; 27 days before the last one unless said otherwise.
    #[param(format = Date, example = "2026-11-02")]
    from: Option<String>,
    /// The last day, included; yesterday unless said otherwise, or last Sunday where windows are weeks: later days have no whole
    /// number yet.
    #[param(format = Date, example = "2026-11-08")]
    to: Option<String>,
}

/// One campaign of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described, never made")]
pub(super) struct CampaignParam {
    /// This campaign only, by its id.
    campaign: Option<String>,
}

/// What insights are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described, never made")]
pub(super) struct InsightsParams {
    /// The advertiser's id; that of the key unless said otherwise. The administrator's token needs it.
    advertiser: Option<String>,
    /// What a row is about; each campaign unless said otherwise.
    #[param(inline)]
    level: Option<crate::insights::Level>,
    /// How long a row's period is; the whole range unless said otherwise. Weeks begin on Mondays.
    #[param(inline)]
    granularity: Option<crate::insights::Granularity>,
    /// Which fields, with commas between; all unless said otherwise: `impressions`, `clicks`, `spend`, `ctr`, `cpc`, `cpm`,
    /// `conversions`, `value`, `cpa`, `roas`.
    #[param(example = "spend,conversions,cpa")]
    fields: Option<String>,
    /// This campaign only, by its id.
    campaign: Option<String>,
    /// This kind of event instead of each campaign's goal.
    #[param(inline)]
    event: Option<crate::registry::EventKind>,
    /// Conversions after this kind of touch only, where they are told apart.
    #[param(inline)]
    touch: Option<crate::registry::Touch>,
}

/// What orders are worth.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described, never made")]
pub(super) struct AdviceParams {
    /// What an order is worth on average.
    #[param(example = "49.90")]
    average: Option<String>,
    /// What the dearest are worth that should count whole.
    #[param(example = "250.00")]
    largest: Option<String>,
    /// Values of past orders, with commas between, in place of the two.
    #[param(example = "12.50,49.90,199.00")]
    orders: Option<String>,
    /// Orders of a campaign in one window, if they can be guessed.
    orders_per_window: Option<u64>,
}

/// A condition of a change.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "described, never made")]
pub(super) struct Condition {
    /// The `ETag` of what is to be changed, as it was last seen: if it was changed since, the answer is 412.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

/// What is wrong with one row of a request.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described, never made")]
struct ProblemPart {
    /// Counts the rows that were sent, from 1; of a CSV file it is the line.
    row: Option<u64>,
    /// What to change.
    detail: String,
}

/// Every error is such a document (RFC 9457).
#[derive(ToSchema)]
#[allow(dead_code, reason = "described, never made")]
pub(super) struct Problem {
    /// Names the kind of error, for programs.
    #[schema(format = "uri")]
    r#type: String,
    /// The kind of error, for people.
    title: String,
    /// The status of the response.
    status: u16,
    /// What to do about it.
    detail: Option<String>,
    /// Of a conflict: the id of what is there already.
    id: Option<String>,
    /// What is wrong, row by row.
    errors: Option<Vec<ProblemPart>>,
}

/// A closed set of words that this module does not own, each with a sentence.
fn words<'a>(what: &str, all: impl Iterator<Item = (&'a str, &'a str)>) -> RefOr<Schema> {
    let all: Vec<_> = all.collect();
    let lines: Vec<_> = all.iter().map(|(name, sentence)| format!("- `{name}`: {sentence}")).collect();
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .description(Some(format!("{what}\n\n{}", lines.join("\n"))))
        .enum_values(Some(all.iter().map(|(name, _)| (*name).to_owned())))
        .into()
}

macro_rules! word_schema {
    ($(#[$doc:meta])* $name:ident, $title:literal, $what:literal, $of:ty) => {
        $(#[$doc])*
        pub(super) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                words($what, <$of>::ALL.iter().map(|one| (one.name(), one.sentence())))
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($title)
            }
        }
    };
}

word_schema!(
    /// Why a number is suppressed.
    SuppressionName, "Suppression", "Why a number is suppressed.", Suppression
);
word_schema!(
    /// Why there is no number.
    NullReasonName, "NullReason", "Why there is no number.", NullReason
);
word_schema!(
    /// Why a part of a period is not in its numbers.
    MissingReason, "MissingReason", "Why a part of a period is not in its numbers.", MissingWhy
);

/// Describes this interface
///
/// As OpenAPI 3.1. Needs no key.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "description", operation_id = "get_openapi",
    responses((status = 200, description = "This document.", body = serde_json::Value)))]
pub(super) fn get(_: &Api, call: &mut Call) -> Handled {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| document().to_json().unwrap_or_default().into_bytes());
    call.accept(&[Media::Json])?;
    call.query.finish(&[])?;
    Ok(Answer::new(Media::Json, BYTES.clone()).public(CACHE))
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Arras for advertisers",
        version = "1",
        description = "Campaigns, delivery numbers and insights of advertisers, at a collector.\n\nSend an API key as a \
                       bearer token: `Authorization: Bearer arras_...`. A key is of one advertiser and has a scope: `read` \
                       gets, `manage` also changes campaigns and delivery numbers, `admin` also keys, users and the \
                       advertiser. Another advertiser's things look as if they were not there.\n\nMoney is whole minor units \
                       (cents of EUR) beside a `currency`; days are in the advertiser's time zone; moments are RFC 3339 in \
                       UTC. Lists come in pages: `next` of one page is `cursor` of the next. Answers have an `ETag` for \
                       `If-None-Match`, and lists of numbers are there as CSV with `Accept: text/csv`. Unknown fields and \
                       parameters are refused; a parameter that is empty counts as left out. Every error is a problem document (RFC 9457) that says what to do.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        get,
        insights::get,
        advertisers::list,
        advertisers::create,
        advertisers::show,
        advertisers::change,
        campaigns::list,
        campaigns::create,
        campaigns::show,
        campaigns::change,
        delivery::list,
        delivery::put,
        windows::list,
        releases::list,
        releases::show,
        tasks::list,
        tasks::manifest_file,
        advice::get,
        budget::get,
        keys::list,
        keys::create,
        keys::revoke,
        users::list,
        users::create,
        users::change,
        users::remove,
    ),
    components(schemas(Problem, SuppressionName, NullReasonName, MissingReason)),
    tags(
        (name = "insights", description = "What campaigns cost, and what came of them."),
        (name = "campaigns", description = "What is advertised."),
        (name = "delivery", description = "What the ads manager counted: impressions, clicks, spend."),
        (name = "releases", description = "When numbers come, and the signed documents that they are made of."),
        (name = "measurement", description = "The tasks that count, their terms and their privacy budget."),
        (name = "access", description = "Keys and users."),
        (name = "advertisers", description = "Whose all of it is."),
        (name = "description", description = "This interface."),
    ),
)]
struct Described;

/// Errors that many routes answer with: name, status, description.
const ERRORS: [(&str, &str, &str); 5] = [
    ("Invalid", "400", "The request is not as described; the detail says what to change."),
    ("Unauthorized", "401", "No key, or one that is wrong, revoked or too old."),
    ("Forbidden", "403", "The key has too small a scope."),
    (
        "NotFound",
        "404",
        "There is no such thing, or it is another advertiser's: nothing tells the two apart.",
    ),
    ("NotAcceptable", "406", "None of the accepted media types is there."),
];

/// The description of the whole interface.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Described::openapi();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key, or the administrator's token of the collector."))
        .build();
    components.security_schemes.insert(SCHEME.to_owned(), SecurityScheme::Http(bearer));
    for (name, _, description) in ERRORS {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build();
        components.responses.insert(name.to_owned(), response.into());
    }
    for (path, endpoints) in routes::table().0 {
        let Some(item) = document.paths.paths.get_mut(path) else { continue };
        for endpoint in endpoints {
            if let Some(operation) = operation(item, &endpoint.method) {
                complete(operation, endpoint.guard, path.contains('{'));
            }
        }
    }
    document
}

/// The operation of a method.
fn operation<'a>(item: &'a mut PathItem, method: &Method) -> Option<&'a mut Operation> {
    match method.as_str() {
        "GET" => item.get.as_mut(),
        "PUT" => item.put.as_mut(),
        "POST" => item.post.as_mut(),
        "PATCH" => item.patch.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

/// What is the same for all operations that are guarded in one way.
fn complete(operation: &mut Operation, guard: Guard, names_something: bool) {
    let who = match guard {
        Guard::Open => None,
        Guard::Operator => Some("For the administrator's token of the collector.".to_owned()),
        Guard::Tenant(scope) => Some(format!("Needs scope `{scope}`.")),
    };
    let security = SecurityRequirement::new::<&str, [&str; 0], &str>(SCHEME, []);
    operation.security =
        Some(if who.is_some() { vec![security] } else { vec![SecurityRequirement::default()] });
    if let Some(who) = &who {
        let text = operation.description.take().filter(|text| !text.is_empty());
        operation.description = Some(text.map_or_else(|| who.clone(), |text| format!("{text}\n\n{who}")));
    }
    for (name, status, _) in ERRORS {
        let applies = match status {
            "401" | "403" => who.is_some(),
            "404" => names_something || matches!(guard, Guard::Tenant(_)),
            _ => true,
        };
        if applies && !operation.responses.responses.contains_key(status) {
            let reference = RefOr::Ref(Ref::from_response_name(name));
            operation.responses.responses.insert(status.to_owned(), reference);
        }
    }
}

const _: () =
    assert!(LIMIT_DEFAULT == 100 && LIMIT_MAX == 1_000, "the parameter `limit` is described with these");

#[cfg(test)]
mod tests;
