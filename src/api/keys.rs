//! API keys.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::guard::{Admin, Call, Handled, Tenant};
use super::page::Page;
use crate::access::{KeyInfo, Scope};
use crate::collector::Moment;
use crate::registry::{KeyId, Name};
use crate::text::utc;

/// What is said of a key that there is not.
const NO_KEY: &str = "the advertiser has no such key; the list of keys has all of them";

/// An API key. Its text is not kept and not shown again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Key)]
pub(super) struct KeyJson {
    /// Its id; no secret.
    #[schema(example = "key_AbCdEfGhIjKlMnOp")]
    id: String,
    /// What it is called.
    name: String,
    /// What it may do.
    scope: Scope,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
    /// From when on it is of no use; `null` for never.
    #[schema(format = DateTime)]
    expires: Option<String>,
    /// Whether it is of no use any more.
    expired: bool,
}

impl KeyJson {
    fn of(key: &KeyInfo, now: u64) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.to_string(),
            scope: key.scope,
            created: utc(key.created),
            expires: key.expires.map(utc),
            expired: key.has_expired(now),
        }
    }
}

/// A key to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewKey)]
pub(super) struct NewKeyJson {
    /// What it is called.
    #[schema(value_type = String, example = "Dashboard")]
    name: Name,
    /// What it may do. `read` gets numbers, `manage` changes campaigns and delivery numbers, too, `admin` everything.
    scope: Scope,
    /// From when on it is of no use; left out or `null` for never.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Moment>,
}

/// A key that was made, with its text.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedKey)]
pub(super) struct CreatedKeyJson {
    #[serde(flatten)]
    info: KeyJson,
    /// The text, for the header `Authorization: Bearer`. It is shown this once.
    #[schema(example = "arras_key_AbCdEfGhIjKlMnOp_...")]
    key: String,
}

/// Lists the API keys
///
/// The oldest first.
#[utoipa::path(get, path = "/v1/advertisers/{advertiser}/keys", tag = "access", operation_id = "list_keys",
    params(super::document::AdvertiserPath, super::document::PageParams),
    responses((status = 200, description = "A page of keys.", body = Page<KeyJson>)))]
pub(super) fn list(tenant: &Tenant<Admin>, call: &mut Call) -> Handled {
    let wanted = call.page()?;
    let keys = tenant.api().access().keys(tenant.id());
    let place = |key: &KeyInfo| (key.created, key.id);
    let after = wanted.after(|text| {
        let (created, id) = text.split_once(' ')?;
        Some((created.parse::<u64>().ok()?, id.parse::<KeyId>().ok()?))
    })?;
    let rest = keys.iter().filter(|key| after.is_none_or(|after| place(key) > after));
    let page = wanted.page(rest, |key| format!("{} {}", key.created, key.id));
    Answer::json(&page.map(|key| KeyJson::of(key, call.now)))
}

/// Creates an API key
///
/// Its text is in this answer and nowhere else: keep it where secrets are kept.
#[utoipa::path(post, path = "/v1/advertisers/{advertiser}/keys", tag = "access", operation_id = "create_key",
    params(super::document::AdvertiserPath),
    request_body = NewKeyJson,
    responses(
        (status = 201, description = "It was made.", body = CreatedKeyJson),
        (status = 409, description = "There are as many as there may be.", body = super::document::Problem, content_type = "application/problem+json")))]
pub(super) fn create(tenant: &Tenant<Admin>, call: &mut Call) -> Handled {
    call.query.finish(&[])?;
    let new: NewKeyJson = call.json()?;
    let expires = new.expires.map(Moment::seconds);
    let (info, key) =
        tenant.api().access().create_key(tenant.id(), new.name, new.scope, expires, call.now)?;
    let location = format!("/v1/advertisers/{}/keys/{}", tenant.id(), info.id);
    let created = CreatedKeyJson { info: KeyJson::of(&info, call.now), key: key.expose().to_owned() };
    Answer::created(&created, location)
}

/// Revokes an API key
///
/// It is of no use from the moment of this answer.
#[utoipa::path(delete, path = "/v1/advertisers/{advertiser}/keys/{key}", tag = "access", operation_id = "revoke_key",
    params(super::document::AdvertiserPath, super::document::KeyPath),
    responses((status = 204, description = "It was revoked.")))]
pub(super) fn revoke(tenant: &Tenant<Admin>, call: &mut Call) -> Handled {
    call.query.finish(&[])?;
    let id: KeyId = call.path("key", NO_KEY)?;
    tenant.api().access().revoke_key(tenant.id(), id, call.now)?;
    Ok(Answer::empty())
}
