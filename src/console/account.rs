//! The account page: the own password, and for whoever administers the advertiser its users and API keys.

use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::asked::{Asked, Named};
use super::format::{self, DAY};
use super::layout::{self, Nav, Notice, Page, PageContext};
use super::parts::{self, Column, Field, Table, Tone};
use super::session::{Console, Cookie, SignedIn};
use super::sign_in::sentence;
use crate::access::{
    AccessError, AccessErrorKind, ApiKey, Email, KeyInfo, Password, Scope, SignInError, UserInfo,
};
use crate::aggregator::work::blocking;
use crate::config::secret::SecretString;
use crate::registry::{KeyId, Name, TimeZone, UserId};

/// After how many days a key may expire, as the form offers it.
const EXPIRIES: [u64; 3] = [30, 90, 365];

/// What was done before this page was asked for.
#[derive(Default, Deserialize)]
pub(super) struct Done {
    #[serde(default)]
    done: String,
}

impl Done {
    fn notice(&self) -> Option<Notice> {
        let text = match self.done.as_str() {
            "user-created" => {
                "The user can sign in now. Tell them the password in a way that nobody else reads."
            }
            "user-removed" => "The user cannot sign in any more, and is signed out everywhere.",
            "key-revoked" => "The key is of no use any more.",
            _ => return None,
        };
        Some(Notice::done(text))
    }
}

/// What a form that was refused held, so that nobody types it twice; never a password.
#[derive(Default)]
struct Typed {
    email: String,
    name: String,
}

/// The page.
pub(super) async fn show(State(console): State<Console>, me: SignedIn, Asked(done): Asked<Done>) -> Response {
    page(&console, &me, StatusCode::OK, done.notice(), &Typed::default())
}

fn page(
    console: &Console,
    me: &SignedIn,
    status: StatusCode,
    notice: Option<Notice>,
    typed: &Typed,
) -> Response {
    let ctx = me.context_with(notice);
    let access = &console.advertising.access;
    let (own, now) = (me.advertiser.id, console.now());
    let body = html! {
        (own_account(me))
        (password_form(&ctx))
        @if me.may(Scope::Admin) {
            (users_section(&ctx, me, &access.users(own), typed))
            (keys_section(&ctx, me, &access.keys(own), now, typed))
        }
    };
    Page::new("Account", Nav::Account).body(body).status(status).respond(&ctx)
}

fn own_account(me: &SignedIn) -> Markup {
    let user = &me.session.user;
    html! {
        section class="panel" aria-labelledby="you" {
            h2 id="you" { "You" }
            dl class="facts" {
                dt { "Email" }
                dd { (user.email) }
                dt { "Advertiser" }
                dd { (me.advertiser.name) }
                dt { "Your account" }
                dd { "May " (user.scope.explained()) }
                dt { "Signed in until" }
                dd { (format::moment(me.session.expires, &me.advertiser.time_zone)) }
            }
        }
    }
}

fn password_form(ctx: &PageContext) -> Markup {
    html! {
        section class="panel" aria-labelledby="own-password" {
            h2 id="own-password" { "Change your password" }
            form class="form" method="post" action="/console/account/password" {
                (ctx.csrf())
                // For managers of passwords, which keep the new one for nobody otherwise.
                input type="text" name="username" autocomplete="username" value=(ctx.user) aria-label="Email" hidden;
                (Field::new("current", "Present password", "password", "").fill("current-password"))
                (Field::new("new", "New password", "password", "").fill("new-password").hint(
                    "At least 12 characters; several words are easier to keep in mind than many signs."
                ))
                (Field::new("again", "New password, once more", "password", "").fill("new-password"))
                p class="soft" { "You are signed out everywhere, and sign in with the new one." }
                button class="button" type="submit" { "Change password" }
            }
        }
    }
}

/// Something that cannot be undone, behind a second click. Without a script, and with the keyboard.
fn sure(ctx: &PageContext, action: &str, word: &str, what: &str, name: &str) -> Markup {
    html! {
        details class="sure" {
            summary { (word) span class="unseen" { " " (name) } }
            form method="post" action=(action) {
                (ctx.csrf())
                p { (what) }
                button class="button danger" type="submit" { "Yes, " (word.to_lowercase()) }
            }
        }
    }
}

fn scopes(name: &str, chosen: Scope) -> Markup {
    let options: Vec<_> = Scope::ALL
        .into_iter()
        .map(|scope| (scope.name().to_owned(), format!("{scope}: {}", scope.explained())))
        .collect();
    parts::select(name, "Allowed to", &options, chosen.name(), None)
}

fn users_section(ctx: &PageContext, me: &SignedIn, users: &[UserInfo], typed: &Typed) -> Markup {
    let mut table = Table::new(
        "Users",
        vec![Column::text("Email"), Column::text("May"), Column::text("Since"), Column::text("Remove")],
    )
    .unseen_caption();
    for user in users {
        let remove = if user.id == me.session.user.id {
            html! { span class="soft" { "You" } }
        } else {
            let action = format!("/console/account/users/{}/remove", user.id);
            let what = "The user is signed out everywhere and cannot sign in any more.";
            sure(ctx, &action, "Remove", what, user.email.as_str())
        };
        table.row(vec![
            html! { (user.email) },
            html! { (user.scope) },
            html! { (day(user.created, &me.advertiser.time_zone)) },
            remove,
        ]);
    }
    html! {
        section class="panel" aria-labelledby="users" {
            h2 id="users" { "Users" }
            details open[!typed.email.is_empty()] {
                summary { "Add a user" }
                form class="form" method="post" action="/console/account/users" autocomplete="off" {
                    (ctx.csrf())
                    (Field::new("email", "Email of the user", "email", &typed.email))
                    (Field::new("password", "First password", "password", "").id("first-password").fill("new-password").hint(
                        "At least 12 characters. The user can change it after signing in."
                    ))
                    (scopes("user-scope", Scope::Read))
                    button class="button" type="submit" { "Add user" }
                }
            }
            (table)
        }
    }
}

fn keys_section(ctx: &PageContext, me: &SignedIn, keys: &[KeyInfo], now: u64, typed: &Typed) -> Markup {
    let zone = &me.advertiser.time_zone;
    let mut table = Table::new(
        "API keys",
        vec![
            Column::text("Name"),
            Column::text("Id"),
            Column::text("May"),
            Column::text("Made"),
            Column::text("Expires"),
            Column::text("Revoke"),
        ],
    )
    .unseen_caption();
    for key in keys {
        let expires = match key.expires {
            None => html! { "never" },
            Some(_) if key.has_expired(now) => parts::badge(Tone::Bad, "expired"),
            Some(expires) => html! { (day(expires, zone)) },
        };
        let action = format!("/console/account/keys/{}/revoke", key.id);
        let what = "Programs that use the key are refused from that moment.";
        table.row(vec![
            html! { (key.name) },
            html! { code { (key.id) } },
            html! { (key.scope) },
            html! { (day(key.created, zone)) },
            expires,
            sure(ctx, &action, "Revoke", what, key.name.as_str()),
        ]);
    }
    html! {
        section class="panel" aria-labelledby="keys" {
            h2 id="keys" { "API keys" }
            p { "A key lets a program do what its holder may. It is shown once, when it is made." }
            details open[keys.is_empty() || !typed.name.is_empty()] {
                summary { "Make a key" }
                form class="form" method="post" action="/console/account/keys" {
                    (ctx.csrf())
                    (Field::new("name", "Name", "text", &typed.name).hint("What it is for, such as weekly report."))
                    (scopes("key-scope", Scope::Read))
                    (expiry())
                    button class="button" type="submit" { "Make key" }
                }
            }
            @if !keys.is_empty() { (table) }
        }
    }
}

fn expiry() -> Markup {
    let mut options: Vec<_> =
        EXPIRIES.into_iter().map(|days| (days.to_string(), format!("after {days} days"))).collect();
    options.push(("never".to_owned(), "never".to_owned()));
    parts::select("expires", "Expires", &options, "90", None)
}

fn day(posix_seconds: u64, zone: &TimeZone) -> String {
    format::day(format::day_of(posix_seconds, zone))
}

/// A new password for oneself.
#[derive(Deserialize)]
pub(super) struct NewPassword {
    current: SecretString,
    new: SecretString,
    again: SecretString,
}

/// Changes the own password.
pub(super) async fn change_password(
    State(console): State<Console>,
    me: SignedIn,
    form: Result<Form<NewPassword>, FormRejection>,
) -> Response {
    let again =
        |status, text: String| page(&console, &me, status, Some(Notice::error(text)), &Typed::default());
    let Ok(Form(NewPassword { current, new, again: once_more })) = form else {
        return again(StatusCode::UNPROCESSABLE_ENTITY, "Fill in all three fields.".to_owned());
    };
    if new != once_more {
        return again(
            StatusCode::UNPROCESSABLE_ENTITY,
            "The new password was typed in two ways. Type it again.".to_owned(),
        );
    }
    let password = match Password::new(new) {
        Ok(password) => password,
        Err(error) => return again(StatusCode::UNPROCESSABLE_ENTITY, sentence(&error.to_string())),
    };
    let (access, id, now) = (console.advertising.access.clone(), me.session.user.id, console.now());
    match blocking(move || access.change_password(id, &current, &password, now)).await {
        Ok(()) => {
            let mut response = Redirect::to("/console/sign-in?because=password-changed").into_response();
            console.cookies.remove(&mut response, Cookie::Session);
            response
        }
        Err(SignInError::Wrong) => again(
            StatusCode::FORBIDDEN,
            "The present password is another one. Nothing was changed.".to_owned(),
        ),
        Err(SignInError::Failed(error)) => failed(&console, &me, &error, &Typed::default()),
        Err(error) => again(StatusCode::TOO_MANY_REQUESTS, sentence(&error.to_string())),
    }
}

/// A user to create.
#[derive(Deserialize)]
pub(super) struct NewUser {
    email: String,
    password: SecretString,
    #[serde(rename = "user-scope")]
    scope: String,
}

/// Creates a user of the own advertiser.
pub(super) async fn create_user(
    State(console): State<Console>,
    me: SignedIn,
    form: Result<Form<NewUser>, FormRejection>,
) -> Response {
    if let Err(page) = me.must(Scope::Admin, "add users") {
        return *page;
    }
    let Ok(Form(NewUser { email, password, scope })) = form else {
        return invalid(&console, &me, "Fill in all fields.", &Typed::default());
    };
    let typed = Typed { email: email.clone(), ..Typed::default() };
    let read = || -> Result<(Email, Password, Scope), String> {
        let email = email.parse().map_err(|error| format!("{error}"))?;
        let password = Password::new(password).map_err(|error| error.to_string())?;
        Ok((email, password, scope.parse()?))
    };
    let (email, password, scope) = match read() {
        Ok(read) => read,
        Err(error) => return invalid(&console, &me, &sentence(&error), &typed),
    };
    let (access, own, now) = (console.advertising.access.clone(), me.advertiser.id, console.now());
    match blocking(move || access.create_user(own, email, &password, scope, now)).await {
        Ok(_) => Redirect::to("/console/account?done=user-created").into_response(),
        Err(error) => failed(&console, &me, &error, &typed),
    }
}

/// Removes a user of the own advertiser; not oneself, or nobody might be left to let anybody in.
pub(super) async fn remove_user(
    State(console): State<Console>,
    me: SignedIn,
    Named(user): Named,
) -> Response {
    if let Err(page) = me.must(Scope::Admin, "remove users") {
        return *page;
    }
    let Ok(user) = user.parse::<UserId>() else { return layout::not_found(&me.context()) };
    if user == me.session.user.id {
        return invalid(
            &console,
            &me,
            "You cannot remove yourself. Ask another who administers this advertiser.",
            &Typed::default(),
        );
    }
    let (access, own, now) = (console.advertising.access.clone(), me.advertiser.id, console.now());
    match blocking(move || access.remove_user(own, user, now)).await {
        Ok(()) => Redirect::to("/console/account?done=user-removed").into_response(),
        Err(error) => failed(&console, &me, &error, &Typed::default()),
    }
}

/// A key to make.
#[derive(Deserialize)]
pub(super) struct NewKey {
    name: String,
    #[serde(rename = "key-scope")]
    scope: String,
    expires: String,
}

/// Makes a key of the own advertiser and shows it, this once.
pub(super) async fn create_key(
    State(console): State<Console>,
    me: SignedIn,
    form: Result<Form<NewKey>, FormRejection>,
) -> Response {
    if let Err(page) = me.must(Scope::Admin, "make API keys") {
        return *page;
    }
    let Ok(Form(NewKey { name, scope, expires })) = form else {
        return invalid(&console, &me, "Fill in all fields.", &Typed::default());
    };
    let typed = Typed { name: name.clone(), ..Typed::default() };
    let now = console.now();
    let read = || -> Result<(Name, Scope, Option<u64>), String> {
        let name = name.parse().map_err(|error| format!("{error}"))?;
        let expires = match expires.as_str() {
            "never" => None,
            days => {
                let days = EXPIRIES.into_iter().find(|offered| offered.to_string() == days);
                let days = days.ok_or_else(|| "choose from the list when the key expires".to_owned())?;
                Some(now.saturating_add(days * DAY))
            }
        };
        Ok((name, scope.parse()?, expires))
    };
    let (name, scope, expires) = match read() {
        Ok(read) => read,
        Err(error) => return invalid(&console, &me, &sentence(&error), &typed),
    };
    let (access, own) = (console.advertising.access.clone(), me.advertiser.id);
    match blocking(move || access.create_key(own, name, scope, expires, now)).await {
        Ok((info, key)) => key_page(&me, &info, &key),
        Err(error) => failed(&console, &me, &error, &typed),
    }
}

fn key_page(me: &SignedIn, info: &KeyInfo, key: &ApiKey) -> Response {
    let body = html! {
        div class="panel" {
            p { "This is the only time that the key " strong { (info.name) } " is shown. Copy it to where it is used, now." }
            pre tabindex="0" aria-label="The key" { (key.expose()) }
            p class="soft" {
                "Whoever has it may: " (info.scope.explained()) ". Keep it out of code and of mails. If it is lost, revoke it and make \
                 another."
            }
            div class="actions" { a class="button" href="/console/account" { "I have copied it" } }
        }
    };
    Page::new("Your new API key", Nav::Account)
        .below("Account", "/console/account")
        .body(body)
        .respond(&me.context())
}

/// Revokes a key of the own advertiser.
pub(super) async fn revoke_key(State(console): State<Console>, me: SignedIn, Named(key): Named) -> Response {
    if let Err(page) = me.must(Scope::Admin, "revoke API keys") {
        return *page;
    }
    let Ok(key) = key.parse::<KeyId>() else { return layout::not_found(&me.context()) };
    let (access, own, now) = (console.advertising.access.clone(), me.advertiser.id, console.now());
    match blocking(move || access.revoke_key(own, key, now)).await {
        Ok(()) => Redirect::to("/console/account?done=key-revoked").into_response(),
        Err(error) => failed(&console, &me, &error, &Typed::default()),
    }
}

fn invalid(console: &Console, me: &SignedIn, text: &str, typed: &Typed) -> Response {
    page(console, me, StatusCode::UNPROCESSABLE_ENTITY, Some(Notice::error(text)), typed)
}

fn failed(console: &Console, me: &SignedIn, error: &AccessError, typed: &Typed) -> Response {
    let status = match error.kind() {
        // The same for what is not there and for what is another advertiser's.
        AccessErrorKind::NotFound => return layout::not_found(&me.context()),
        AccessErrorKind::Store => {
            tracing::error!(%error, "keys and users cannot be changed");
            return layout::failed(Some(&me.context()));
        }
        AccessErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        AccessErrorKind::Conflict | AccessErrorKind::Full => StatusCode::CONFLICT,
        AccessErrorKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
    };
    page(console, me, status, Some(Notice::error(sentence(&error.to_string()))), typed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::console::tests::check::{elements, usable};
    use crate::console::tests::{HOSTILE, look, signed_in};
    use crate::registry::fixture::NOW;

    #[test]
    fn users_and_keys_are_listed_with_what_ends_them_behind_a_second_click() {
        let me = signed_in(HOSTILE, Scope::Admin);
        let ctx = me.context();
        let other = UserInfo {
            id: UserId::from_bytes([2; 12]),
            email: "bert@shop.example".parse().unwrap(),
            ..me.session.user.clone()
        };
        let key = |id, expires| KeyInfo {
            id: KeyId::from_bytes([id; 12]),
            advertiser: me.advertiser.id,
            name: HOSTILE.parse().unwrap(),
            scope: Scope::Manage,
            created: NOW,
            expires,
        };
        let users = [me.session.user.clone(), other.clone()];
        let keys = [key(1, None), key(2, Some(NOW)), key(3, Some(NOW + 100 * DAY))];
        let typed = Typed { email: HOSTILE.to_owned(), name: HOSTILE.to_owned() };
        let body = html! {
            (own_account(&me))
            (password_form(&ctx))
            (users_section(&ctx, &me, &users, &typed))
            (keys_section(&ctx, &me, &keys, NOW, &typed))
        };
        let html = Page::new("Account", Nav::Account).body(body).render(&ctx).into_string();
        usable(&html);
        look("account", &html);
        assert!(!html.contains("<script") && html.contains("expired") && html.contains("never"));
        let all = elements(&html);
        let remove = all
            .iter()
            .filter(|element| element.get("action").is_some_and(|action| action.ends_with("/remove")));
        let actions: Vec<_> = remove.filter_map(|element| element.get("action")).collect();
        assert_eq!(actions, [format!("/console/account/users/{}/remove", other.id)], "not oneself");
        // Every form that changes something carries the token.
        let forms = all.iter().filter(|element| element.get("method") == Some("post")).count();
        assert_eq!(html.matches("name=\"csrf\" value=\"token\"").count(), forms);
        assert_eq!(
            forms,
            1 + 1 + 1 + 1 + 1 + 3,
            "signing out, password, new user, removal, new key, three keys"
        );
    }

    #[tokio::test]
    async fn a_key_is_shown_with_what_to_do_with_it() {
        let me = signed_in("Shop", Scope::Admin);
        let place = crate::store::MemoryDisk::new();
        let faults = Arc::new(|_: crate::store::FileOp<'_>| None);
        let disk = crate::store::Disk::in_memory(&place, faults);
        let disk = crate::collector::CollectorDisk::open_on("/store".as_ref(), "/mark".as_ref(), disk);
        let random = Arc::new(ring::rand::SystemRandom::new());
        let access = crate::access::Access::open(Arc::new(disk.unwrap()), random).unwrap();
        let name = HOSTILE.parse().unwrap();
        let (info, key) = access.create_key(me.advertiser.id, name, Scope::Read, None, NOW).unwrap();
        let answer = key_page(&me, &info, &key);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let html = String::from_utf8(body.to_vec()).unwrap();
        usable(&html);
        look("key", &html);
        assert!(html.contains(key.expose()) && !html.contains("<script"));
    }
}
