//! Signing in and out.

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::{Extension, Form};
use maud::html;
use serde::Deserialize;

use super::asked::Asked;
use super::layout::{self, Nav, Notice};
use super::parts::Field;
use super::session::{Console, Cookie, SIGN_IN, SignedIn, come_back_in};
use crate::access::{SessionToken, SignInError, csrf_of};
use crate::aggregator::work::blocking;
use crate::config::secret::SecretString;
use crate::net::network::Client;

/// In how many seconds to come back when there are too many attempts of all.
const BUSY_RETRY_SECONDS: u64 = 5;

/// Why somebody is here.
#[derive(Default, Deserialize)]
pub(super) struct Reason {
    /// `signed-out` or `password-changed`.
    #[serde(default)]
    because: String,
}

/// What somebody signs in with.
#[derive(Deserialize)]
pub(super) struct Credentials {
    email: String,
    password: SecretString,
}

/// The form. Whoever is signed in goes on to the overview.
pub(super) async fn form(
    State(console): State<Console>,
    Asked(reason): Asked<Reason>,
    headers: HeaderMap,
) -> Response {
    if SignedIn::find(&console, &headers).await.is_some() {
        return Redirect::to(Nav::Overview.path()).into_response();
    }
    let notice = match reason.because.as_str() {
        "signed-out" => Some(Notice::done("You are signed out.")),
        "password-changed" => Some(Notice::done("Your password is changed. Sign in with the new one.")),
        _ => None,
    };
    page(&console, StatusCode::OK, "", notice)
}

/// The form with a new cookie: one that was there before, whoever put it there, is of no use for what is sent from here.
fn page(console: &Console, status: StatusCode, email: &str, notice: Option<Notice>) -> Response {
    let Ok(token) = console.advertising.access.new_token() else { return layout::failed(None) };
    let body = html! {
        @if let Some(notice) = notice { (notice) }
        form class="form" method="post" action=(SIGN_IN) {
            (layout::csrf_field(&csrf_of(token.expose())))
            (Field::new("email", "Email", "email", email).fill("username"))
            (Field::new("password", "Password", "password", "").fill("current-password"))
            button class="button" type="submit" { "Sign in" }
        }
        p class="soft" {
            "No account, or the password is forgotten? Somebody who administers your advertiser, or whoever runs this server, "
            "can help."
        }
    };
    let mut response = layout::lone_page(status, "Sign in", &body);
    console.cookies.set(&mut response, Cookie::SignIn, token.expose());
    response
}

/// Begins a session. The one that the browser had ends, so that nothing of it, or of whoever put it there, goes on.
pub(super) async fn sign_in(
    State(console): State<Console>,
    client: Option<Extension<ConnectInfo<Client>>>,
    headers: HeaderMap,
    credentials: Result<Form<Credentials>, axum::extract::rejection::FormRejection>,
) -> Response {
    let Ok(Form(Credentials { email, password })) = credentials else {
        let notice = Notice::error("Fill in both fields.");
        return page(&console, StatusCode::UNPROCESSABLE_ENTITY, "", Some(notice));
    };
    let from = client.and_then(|Extension(ConnectInfo(Client(network)))| network);
    let before = console.cookies.read(&headers, Cookie::Session);
    let (access, now, given) = (console.advertising.access.clone(), console.now(), email.clone());
    let outcome = blocking(move || {
        let session = access.sign_in(&given, &password, from, now)?;
        if let Some(before) = before {
            access.sign_out(&before)?;
        }
        Ok::<_, SignInError>(session)
    })
    .await;
    match outcome {
        Ok(session) => begun(&console, &session.token),
        Err(error) => refused(&console, &email, &error),
    }
}

fn begun(console: &Console, token: &SessionToken) -> Response {
    let mut response = Redirect::to(Nav::Overview.path()).into_response();
    console.cookies.set(&mut response, Cookie::Session, token.expose());
    console.cookies.remove(&mut response, Cookie::SignIn);
    response
}

fn refused(console: &Console, email: &str, error: &SignInError) -> Response {
    let email: String = email.chars().take(crate::access::EMAIL_BYTES_MAX).collect();
    let again = |status, text: String| page(console, status, &email, Some(Notice::error(text)));
    let text = sentence(&error.to_string());
    match error {
        SignInError::Wrong => again(StatusCode::FORBIDDEN, text),
        SignInError::Paused { seconds } => {
            come_back_in(again(StatusCode::OK, text), StatusCode::TOO_MANY_REQUESTS, *seconds)
        }
        SignInError::Busy => {
            come_back_in(again(StatusCode::OK, text), StatusCode::TOO_MANY_REQUESTS, BUSY_RETRY_SECONDS)
        }
        SignInError::Failed(error) => {
            tracing::error!(%error, "signing in failed");
            layout::failed(None)
        }
    }
}

/// An error's text as a sentence of its own, with one stop at its end.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.trim_end_matches('.').chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).chain(['.']).collect()
}

/// Ends the session.
pub(super) async fn sign_out(State(console): State<Console>, headers: HeaderMap) -> Response {
    let token = console.cookies.read(&headers, Cookie::Session);
    let access = console.advertising.access.clone();
    let ended = blocking(move || token.map_or(Ok(()), |token| access.sign_out(&token))).await;
    if let Err(error) = ended {
        tracing::error!(%error, "signing out failed");
        return layout::failed(None);
    }
    let mut response = Redirect::to("/console/sign-in?because=signed-out").into_response();
    console.cookies.remove(&mut response, Cookie::Session);
    response
}
