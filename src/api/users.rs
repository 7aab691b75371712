//! People who sign in at the console.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::guard::{Admin, Call, Handled, Tenant};
use super::page::Page;
use super::refusal::Refusal;
use crate::access::{Email, Password, Scope, UserInfo};
use crate::config::SecretString;
use crate::registry::UserId;
use crate::text::utc;

/// What is said of a user that there is not.
const NO_USER: &str = "the advertiser has no such user; the list of users has all of them";

/// Somebody who signs in at the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = User)]
pub(super) struct UserJson {
    /// The id.
    #[schema(example = "usr_AbCdEfGhIjKlMnOp")]
    id: String,
    /// What the user signs in with.
    #[schema(example = "anna@shop.example")]
    email: String,
    /// What the user may do.
    scope: Scope,
    /// When the user was created.
    #[schema(format = DateTime)]
    created: String,
    /// When the password was last set.
    #[schema(format = DateTime)]
    password_set: String,
}

impl From<&UserInfo> for UserJson {
    fn from(user: &UserInfo) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email.as_str().to_owned(),
            scope: user.scope,
            created: utc(user.created),
            password_set: utc(user.password_set),
        }
    }
}

/// A user to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUser)]
pub(super) struct NewUserJson {
    /// What the user signs in with; no other user of the collector has it.
    #[schema(value_type = String, example = "anna@shop.example")]
    email: Email,
    /// At least 12 characters.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
    /// What the user may do.
    scope: Scope,
}

/// What is to be changed of a user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserChange)]
pub(super) struct UserChangeJson {
    /// A new password, of at least 12 characters. All sessions of the user end.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

fn password(text: SecretString) -> Result<Password, Refusal> {
    Password::new(text).map_err(|error| Refusal::invalid(format!("password: {error}")))
}

/// Lists the users
///
/// By email.
#[utoipa::path(get, path = "/v1/advertisers/{advertiser}/users", tag = "access", operation_id = "list_users",
    params(super::document::AdvertiserPath, super::document::PageParams),
    responses((status = 200, description = "A page of users.", body = Page<UserJson>)))]
pub(super) fn list(tenant: &Tenant<Admin>, call: &mut Call) -> Handled {
    let wanted = call.page()?;
    let users = tenant.api().access().users(tenant.id());
    // By the id: a cursor stands in addresses, and so in logs of whatever is in between.
    Answer::json(&wanted.page_of(&users, |user| user.id.to_string())?.map(UserJson::from))
}

/// Creates a user
#[utoipa::path(post, path = "/v1/advertisers/{advertiser}/users", tag = "access", operation_id = "create_user",
    params(super::document::AdvertiserPath),
    request_body = NewUserJson,
    responses(
        (status = 201, description = "The user was created.", body = UserJson),
        (status = 409, description = "Somebody has the email, or there are as many as there may be.",
            body = super::document::Problem, content_type = "application/problem+json")))]
pub(super) fn create(tenant: &Tenant<Admin>, call: &mut Call) -> Handled {
    call.query.finish(&[])?;
    let new: NewUserJson = call.json()?;
    let password = password(new.password)?;
    let user = tenant.api().access().create_user(tenant.id(), new.email, &password, new.scope, call.now)?;
    let location = format!("/v1/advertisers/{}/users/{}", tenant.id(), user.id);
    Answer::created(&UserJson::from(&user), location)
}

/// Sets a user's password
///
/// All sessions of the user end.
#[utoipa::path(patch, path = "/v1/advertisers/{advertiser}/users/{user}", tag = "access", operation_id = "change_user",
    params(super::document::AdvertiserPath, super::document::UserPath),
    request_body = UserChangeJson,
    responses((status = 200, description = "The user.", body = UserJson)))]
pub(super) fn change(tenant: &Tenant<Admin>, call: &mut Call) -> Handled {
    call.query.finish(&[])?;
    let id: UserId = call.path("user", NO_USER)?;
    let change: UserChangeJson = call.json()?;
    let access = tenant.api().access();
    access.set_password(tenant.id(), id, &password(change.password)?, call.now)?;
    let user = access.users(tenant.id()).into_iter().find(|user| user.id == id);
    let user = user.ok_or_else(|| Refusal::not_found(NO_USER))?;
    Answer::json(&UserJson::from(&user))
}

/// Removes a user
///
/// All sessions of the user end.
#[utoipa::path(delete, path = "/v1/advertisers/{advertiser}/users/{user}", tag = "access", operation_id = "remove_user",
    params(super::document::AdvertiserPath, super::document::UserPath),
    responses((status = 204, description = "The user was removed.")))]
pub(super) fn remove(tenant: &Tenant<Admin>, call: &mut Call) -> Handled {
    call.query.finish(&[])?;
    let id: UserId = call.path("user", NO_USER)?;
    tenant.api().access().remove_user(tenant.id(), id, call.now)?;
    Ok(Answer::empty())
}
