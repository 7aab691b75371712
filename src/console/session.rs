//! Who looks at a page: the session's cookie, and the value without which no page of an advertiser can be made.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use tokio::sync::Semaphore;

use super::layout::{self, Notice, PageContext};
use crate::access::{Principal, Scope, SessionView};
use crate::advertising::Advertising;
use crate::aggregator::work::blocking;
use crate::places::Places;
use crate::registry::{Advertiser, AdvertiserId};

/// Uploads of files that are read at once, each of two megabytes: what wait before them are connections, whose number is
/// limited.
pub const UPLOADS_AT_ONCE: usize = 16;

/// Of one advertiser: whoever sends slowly leaves places to the others.
pub const UPLOADS_PER_ADVERTISER: usize = 2;

/// Plans that are computed at once: each takes a core. Others wait.
pub const PLANS_AT_ONCE: usize = 1;

/// Where the sign-in page is.
pub(super) const SIGN_IN: &str = "/console/sign-in";

/// What every page stands on.
#[derive(Clone)]
pub struct Console {
    pub(super) advertising: Advertising,
    pub(super) cookies: Cookies,
    pub(super) uploads: Places<AdvertiserId>,
    pub(super) plans: Arc<Semaphore>,
}

impl Console {
    pub(super) fn new(advertising: Advertising, tls: bool) -> Self {
        Self {
            advertising,
            cookies: Cookies { tls },
            uploads: Places::new(UPLOADS_PER_ADVERTISER, UPLOADS_AT_ONCE),
            plans: Arc::new(Semaphore::new(PLANS_AT_ONCE)),
        }
    }

    /// Whether browsers come over TLS.
    pub(super) fn over_tls(&self) -> bool {
        self.cookies.tls
    }

    /// The time in POSIX seconds.
    pub fn now(&self) -> u64 {
        self.advertising.clock.now()
    }
}

/// A cookie of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// The token of a session.
    Session,
    /// A token of somebody who is about to sign in, so that nobody else's form can sign them in.
    SignIn,
}

/// How cookies are called and sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cookies {
    /// Whether browsers come over TLS, the collector's own or that of a proxy; it is on loopback otherwise, where they take no `Secure`
    /// cookie.
    tls: bool,
}

impl Cookies {
    /// With TLS a browser sees to it that nothing but this very host set them (RFC 6265bis section 4.1.3).
    fn name(self, cookie: Cookie) -> &'static str {
        match (self.tls, cookie) {
            (true, Cookie::Session) => "__Host-arras_session",
            (true, Cookie::SignIn) => "__Host-arras_sign_in",
            (false, Cookie::Session) => "arras_session",
            (false, Cookie::SignIn) => "arras_sign_in",
        }
    }

    /// What a browser sent. Nothing if it is there twice: one of both was not set here.
    pub(super) fn read(self, headers: &HeaderMap, cookie: Cookie) -> Option<String> {
        let pairs = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == self.name(cookie)).map(|(_, value)| value);
        let value = values.next().filter(|value| !value.is_empty())?;
        values.next().is_none().then(|| value.to_owned())
    }

    /// Sets a cookie until the browser is closed; the server ends sessions by itself. No script reads it, and no other site's page
    /// makes the browser send it.
    pub(super) fn set(self, response: &mut Response, cookie: Cookie, token: &str) {
        self.send(response, cookie, token, "");
    }

    /// Removes a cookie.
    pub(super) fn remove(self, response: &mut Response, cookie: Cookie) {
        self.send(response, cookie, "", "; Max-Age=0");
    }

    fn send(self, response: &mut Response, cookie: Cookie, token: &str, more: &str) {
        let secure = if self.tls { "; Secure" } else { "" };
        let text = format!("{}={token}; Path=/; HttpOnly; SameSite=Strict{secure}{more}", self.name(cookie));
        // Cannot fail: tokens are base64url.
        let mut value = HeaderValue::from_str(&text).expect("a cookie of plain ASCII");
        value.set_sensitive(true);
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// Somebody who is signed in. A handler that takes one is not reached by anybody else: they are sent to the sign-in page.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// What they may do.
    pub principal: Principal,
    /// Whose pages they see; there is no way to ask for another's.
    pub advertiser: Arc<Advertiser>,
    /// Their session.
    pub session: SessionView,
}

impl SignedIn {
    /// What goes with each of their pages.
    pub fn context(&self) -> PageContext {
        PageContext {
            advertiser: self.advertiser.name.to_string(),
            user: self.session.user.email.to_string(),
            csrf: self.session.csrf.clone(),
            manages: self.may(Scope::Manage),
            administers: self.may(Scope::Admin),
            notice: None,
        }
    }

    /// The same with something to say.
    pub fn context_with(&self, notice: Option<Notice>) -> PageContext {
        PageContext { notice, ..self.context() }
    }

    /// Whether they may do this much.
    pub fn may(&self, scope: Scope) -> bool {
        self.principal.may(self.advertiser.id, scope)
    }

    /// Refuses them a page if they may not do this much. `what` completes "Your account may not ...".
    ///
    /// # Errors
    /// The page to answer with.
    pub fn must(&self, scope: Scope, what: &str) -> Result<(), Box<Response>> {
        if self.may(scope) { Ok(()) } else { Err(Box::new(layout::not_allowed(&self.context(), what))) }
    }

    /// Whoever the headers' session is, if it goes on.
    pub(super) async fn find(console: &Console, headers: &HeaderMap) -> Option<Self> {
        let token = console.cookies.read(headers, Cookie::Session)?;
        let (console, now) = (console.clone(), console.now());
        blocking(move || {
            let (principal, session) = console.advertising.access.session(&token, now)?;
            let advertiser = console.advertising.registry.advertiser(principal.advertiser?)?;
            Some(Self { principal, advertiser, session })
        })
        .await
    }
}

impl FromRequestParts<Console> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        match Self::find(console, &parts.headers).await {
            Some(signed_in) => Ok(signed_in),
            None => Err(to_sign_in()),
        }
    }
}

/// Sends somebody to the sign-in page; a browser asks for it with GET, whatever it asked before.
pub(super) fn to_sign_in() -> Response {
    Redirect::to(SIGN_IN).into_response()
}

/// 429 or 503 say when to come back.
pub(super) fn come_back_in(mut response: Response, status: StatusCode, seconds: u64) -> Response {
    *response.status_mut() = status;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Browsers' own word for where a request comes from.
pub(super) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(cookies: &[&str]) -> HeaderMap {
        cookies.iter().map(|cookie| (header::COOKIE, cookie.parse().unwrap())).collect()
    }

    #[test]
    fn cookies_are_for_this_host_alone_and_for_no_script() {
        let sent = |tls| {
            let mut response = "".into_response();
            Cookies { tls }.set(&mut response, Cookie::Session, "token");
            Cookies { tls }.remove(&mut response, Cookie::SignIn);
            let all = response.headers().get_all(header::SET_COOKIE);
            assert!(all.iter().all(HeaderValue::is_sensitive));
            all.iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            sent(true),
            [
                "__Host-arras_session=token; Path=/; HttpOnly; SameSite=Strict; Secure",
                "__Host-arras_sign_in=; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=0",
            ]
        );
        assert_eq!(sent(false)[0], "arras_session=token; Path=/; HttpOnly; SameSite=Strict");
    }

    #[test]
    fn a_cookie_is_read_by_its_whole_name_and_only_once() {
        let read = |cookies: &[&str]| Cookies { tls: false }.read(&headers(cookies), Cookie::Session);
        assert_eq!(read(&["arras_session=a"]), Some("a".to_owned()));
        assert_eq!(read(&["x=1; arras_session=a; y=2"]), Some("a".to_owned()));
        assert_eq!(read(&["x=1", "arras_session=a=b"]), Some("a=b".to_owned()));
        for none in [
            &[][..],
            &["arras_session="],
            &["arras_session"],
            &["xarras_session=a"],
            &["__Host-arras_session=a"],
            &["arras_session=a; arras_session=b"],
            &["arras_session=a", "arras_session=a"],
        ] {
            assert_eq!(read(none), None, "{none:?}");
        }
        let other = Cookies { tls: true }.read(&headers(&["arras_session=a"]), Cookie::Session);
        assert_eq!(other, None, "with TLS a cookie that another host may have set is none");
    }
}
