//! Forged requests: whatever changes something comes from a page of this console, of the very session, or not at all.
//!
//! [`guard`] stands before every route. What is not a GET or HEAD goes through three checks: the browser's own word for where it
//! comes from (`Sec-Fetch-Site`, or else `Origin`); the session (or, for signing in, the cookie that came with the form);
//! and the token in the form, which is derived from that cookie. Bodies are read here, within limits, once it is known whose
//! they are.

use std::sync::Arc;

use axum::Form;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest as _, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use maud::html;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use super::layout::{self, Nav};
use super::multipart;
use super::session::{Console, Cookie, SEC_FETCH_SITE, SIGN_IN, SignedIn, come_back_in, to_sign_in};
use crate::access::{Scope, csrf_of};
use crate::places::Place;
use crate::registry::{AdvertiserId, CSV_BYTES_MAX};

/// Bytes of a form without a file.
pub const FORM_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a form with a file: what a file of delivery numbers may have, and the rest of a form.
pub const FILE_FORM_BYTES_MAX: usize = CSV_BYTES_MAX + FORM_BYTES_MAX;

/// In how many seconds to come back when too many files are being read.
const UPLOAD_RETRY_SECONDS: u64 = 2;

/// A place of a form with a file. The handler takes it to where the file is worked on, which goes on when the browser has left.
#[derive(Clone)]
pub(super) struct UploadPlace(
    #[expect(dead_code, reason = "is held, not looked at")] Arc<Place<AdvertiserId>>,
);

#[derive(Deserialize)]
struct Token {
    csrf: String,
}

/// Lets through what only reads, and what the session's own pages send.
pub(super) async fn guard(State(console): State<Console>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    if !is_from_here(request.headers(), console.over_tls()) {
        return forged();
    }
    let signs_in = request.uri().path() == SIGN_IN;
    let me = if signs_in { None } else { SignedIn::find(&console, request.headers()).await };
    if !signs_in && me.is_none() {
        return to_sign_in();
    }
    let cookie = if signs_in { Cookie::SignIn } else { Cookie::Session };
    let Some(token) = console.cookies.read(request.headers(), cookie) else { return forged() };
    // Only where files are taken, and of whom: every other form is a small one.
    let is_upload = request.uri().path() == Nav::Delivery.path();
    let uploader = me.filter(|me| is_upload && me.may(Scope::Manage));
    let uploader = uploader.filter(|_| multipart::boundary(request.headers()).is_some());
    let (mut parts, body) = request.into_parts();
    let mut limit = FORM_BYTES_MAX;
    if let Some(me) = uploader {
        let Some(place) = console.uploads.take(me.advertiser.id) else { return too_many() };
        parts.extensions.insert(UploadPlace(Arc::new(place)));
        limit = FILE_FORM_BYTES_MAX;
    }
    let Ok(body) = to_bytes(body, limit).await else { return too_large() };
    let sent = sent_token(&parts.headers, &body).await;
    if !sent.is_some_and(|sent| sent.as_bytes().ct_eq(csrf_of(&token).as_bytes()).into()) {
        return forged();
    }
    next.run(Request::from_parts(parts, Body::from(body))).await
}

/// Whether a browser says that the request comes from a page of this host. Without a word about it, it is no browser or a very old
/// one, and the token in the form decides.
fn is_from_here(headers: &HeaderMap, tls: bool) -> bool {
    let text = |name| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().unwrap_or_default());
        // Two of them are none that a browser sends.
        if values.next().is_some() { Some("") } else { first }
    };
    if let Some(site) = text(SEC_FETCH_SITE) {
        return site == "same-origin";
    }
    let Some(origin) = text(header::ORIGIN) else { return true };
    // Without TLS either scheme will do: it may end at a proxy that nobody told of, and then the page is of the same host at least.
    let plain = || origin.strip_prefix("http://").filter(|_| !tls);
    let host = origin.strip_prefix("https://").or_else(plain);
    host.is_some() && host == text(header::HOST)
}

/// The token that a form carries.
async fn sent_token(headers: &HeaderMap, body: &Bytes) -> Option<String> {
    if let Some(boundary) = multipart::boundary(headers) {
        let parts = multipart::parts(&boundary, body).ok()?;
        return multipart::text(&parts, "csrf").map(str::to_owned);
    }
    let mut request = Request::new(Body::from(body.clone()));
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(header::CONTENT_TYPE, headers.get(header::CONTENT_TYPE)?.clone());
    let Form(token) = Form::<Token>::from_request(request, &()).await.ok()?;
    Some(token.csrf)
}

fn forged() -> Response {
    layout::error_page(
        None,
        StatusCode::FORBIDDEN,
        "This form cannot be taken",
        "It is from before you signed in, or from another page than this console's. Nothing was changed.",
        html! { a class="button" href="/console" { "Start again" } },
    )
}

fn too_many() -> Response {
    let page = layout::error_page(
        None,
        StatusCode::SERVICE_UNAVAILABLE,
        "Too many files at once",
        "Nothing was changed.",
        html! { p { "Go back and send the form again in a moment." } },
    );
    come_back_in(page, StatusCode::SERVICE_UNAVAILABLE, UPLOAD_RETRY_SECONDS)
}

fn too_large() -> Response {
    layout::error_page(
        None,
        StatusCode::PAYLOAD_TOO_LARGE,
        "That is too large",
        "A file of delivery numbers may have 2 MB. Nothing was changed.",
        html! { p { "Split the file; what is sent twice does no harm." } },
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "console.example:8443".parse().unwrap());
        for (name, value) in pairs {
            headers
                .append(axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_browser_says_where_a_form_comes_from() {
        for right in [
            &[][..],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://console.example:8443")],
            &[("origin", "https://console.example:8443")],
        ] {
            for tls in [false, true] {
                assert!(is_from_here(&headers(right), tls), "{right:?}");
            }
        }
        for wrong in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://console.example:8443")],
            &[("origin", "null")],
            &[("origin", "https://console.example")],
            &[("origin", "https://evil.example")],
            &[("origin", "https://console.example:8443.evil.example")],
            &[("origin", "console.example:8443")],
            &[("origin", "")],
        ] {
            for tls in [false, true] {
                assert!(!is_from_here(&headers(wrong), tls), "{wrong:?}");
            }
        }
        // Whoever is in between can make a page of this host without TLS.
        let plain = headers(&[("origin", "http://console.example:8443")]);
        assert!(is_from_here(&plain, false) && !is_from_here(&plain, true));
    }

    #[tokio::test]
    async fn the_token_is_read_from_both_kinds_of_forms_and_only_once() {
        let form = headers(&[("content-type", "application/x-www-form-urlencoded")]);
        let read = async |body: &'static str| sent_token(&form, &Bytes::from_static(body.as_bytes())).await;
        assert_eq!(read("csrf=a%2Bb&x=1").await, Some("a+b".to_owned()));
        for none in ["", "x=1", "csrf=a&csrf=b", "CSRF=a"] {
            assert_eq!(read(none).await, None, "{none}");
        }
        let file = headers(&[("content-type", "multipart/form-data; boundary=X")]);
        let body = "--X\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\ntoken\r\n--X--\r\n";
        let sent = sent_token(&file, &Bytes::from_static(body.as_bytes())).await;
        assert_eq!(sent, Some("token".to_owned()));
        let json = headers(&[("content-type", "application/json")]);
        assert_eq!(sent_token(&json, &Bytes::from_static(b"csrf=a")).await, None);
        assert_eq!(sent_token(&headers(&[]), &Bytes::from_static(b"csrf=a")).await, None);
    }
}
