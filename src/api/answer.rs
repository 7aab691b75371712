//! Answers: a body of one media type with a strong ETag, of which a client that has it already is only told so.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use serde::Serialize;

use super::accept::Media;
use super::refusal::Refusal;
use crate::net::problem::OwnError;

/// Bytes of a digest that an ETag holds: 2^64 versions before two are likely to have the same.
const TAG_BYTES: usize = 16;

/// What an advertiser sees is for that advertiser: no cache may keep it.
const PRIVATE: &str = "private, no-store";

/// A success.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    media: Option<Media>,
    body: Vec<u8>,
    location: Option<String>,
    next: Option<String>,
    file: Option<&'static str>,
    cache: &'static str,
}

impl Answer {
    /// A body of this type.
    pub(super) fn new(media: Media, body: Vec<u8>) -> Self {
        Self {
            status: StatusCode::OK,
            media: Some(media),
            body,
            location: None,
            next: None,
            file: None,
            cache: PRIVATE,
        }
    }

    /// A value as JSON.
    pub(super) fn json(value: &impl Serialize) -> Result<Self, Refusal> {
        let body = serde_json::to_vec(value).map_err(|error| Refusal::internal(&error))?;
        Ok(Self::new(Media::Json, body))
    }

    /// 201 with what was created and where it is from now on.
    pub(super) fn created(value: &impl Serialize, location: String) -> Result<Self, Refusal> {
        Ok(Self { status: StatusCode::CREATED, location: Some(location), ..Self::json(value)? })
    }

    /// 204.
    pub(super) fn empty() -> Self {
        Self { status: StatusCode::NO_CONTENT, media: None, ..Self::new(Media::Json, Vec::new()) }
    }

    /// A table, which a browser saves under this name.
    pub(super) fn csv(body: Vec<u8>, file: &'static str) -> Self {
        Self { file: Some(file), ..Self::new(Media::Csv, body) }
    }

    /// Where the next page begins, for readers of tables, which have no place for it.
    pub(super) fn with_next(self, next: Option<String>) -> Self {
        Self { next, ..self }
    }

    /// May be kept for a time, by anybody.
    pub(super) fn public(self, cache: &'static str) -> Self {
        Self { cache, ..self }
    }

    /// The strong ETag of what this is: other bytes and other media types have another.
    pub(super) fn tag(&self) -> String {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(self.media.map_or("", Media::content_type).as_bytes());
        hash.update(&[0]);
        hash.update(&self.body);
        let hash = hash.finish();
        format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..TAG_BYTES]))
    }

    /// The response to a request with these headers. What changes something is answered whole: a client asked for the effect.
    pub(super) fn respond(self, reads: bool, asked: &HeaderMap) -> Response {
        let tag = self.media.map(|_| self.tag());
        let known = reads && tag.as_ref().is_some_and(|tag| lists(asked, header::IF_NONE_MATCH, tag, true));
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        let mut set = |name, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(header::CACHE_CONTROL, self.cache);
        set(header::VARY, "Authorization, Accept");
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        if let Some(tag) = tag.filter(|_| self.status == StatusCode::OK) {
            set(header::ETAG, &tag);
        }
        if let Some(location) = &self.location {
            set(header::LOCATION, location);
        }
        if let Some(next) = &self.next {
            set(header::LINK, &format!("<{next}>; rel=\"next\""));
        }
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        if let Some(media) = self.media {
            set(header::CONTENT_TYPE, media.content_type());
        }
        if let Some(file) = self.file {
            set(header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{file}\""));
        }
        *response.status_mut() = self.status;
        *response.body_mut() = Body::from(self.body);
        response
    }
}

/// Whether a list of entity tags names this one, or is `*`. If-None-Match compares weakly (RFC 9110 section 13.1.2), since
/// caches on the way may weaken a tag; If-Match strongly.
fn lists(headers: &HeaderMap, name: header::HeaderName, tag: &str, weakly: bool) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|listed| listed == "*" || listed == tag || (weakly && listed.strip_prefix("W/") == Some(tag)))
}

/// Refuses a change of something that is not any more what the client last saw of it.
pub(super) fn unchanged(asked: &HeaderMap, current: &Answer) -> Result<(), Refusal> {
    if !asked.contains_key(header::IF_MATCH) || lists(asked, header::IF_MATCH, &current.tag(), false) {
        return Ok(());
    }
    Err(Refusal::new(
        OwnError::PreconditionFailed,
        "it was changed since; get it again, look at what changed, and send the ETag of that in If-Match",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asked(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn who_has_it_is_only_told_so() {
        let answer = || Answer::json(&[1, 2]).unwrap();
        let tag = answer().tag();
        assert_eq!(tag.len(), 24, "{tag}");
        assert_ne!(tag, Answer::json(&[1, 3]).unwrap().tag());
        assert_ne!(tag, Answer::csv(b"[1,2]".to_vec(), "a.csv").tag());
        for (value, status) in [
            (tag.clone(), StatusCode::NOT_MODIFIED),
            (format!("W/{tag}"), StatusCode::NOT_MODIFIED),
            (format!("\"other\", {tag}"), StatusCode::NOT_MODIFIED),
            ("*".to_owned(), StatusCode::NOT_MODIFIED),
            ("\"other\"".to_owned(), StatusCode::OK),
        ] {
            let response = answer().respond(true, &asked(header::IF_NONE_MATCH, &value));
            assert_eq!(response.status(), status, "{value}");
            assert_eq!(response.headers()[header::ETAG], tag);
            assert_eq!(response.headers()[header::CACHE_CONTROL], PRIVATE);
            assert_eq!(response.headers().contains_key(header::CONTENT_TYPE), status == StatusCode::OK);
        }
        assert_eq!(answer().respond(false, &asked(header::IF_NONE_MATCH, &tag)).status(), StatusCode::OK);
    }

    #[test]
    fn what_was_changed_meanwhile_is_not_changed_again() {
        let current = Answer::json(&7).unwrap();
        assert!(unchanged(&HeaderMap::new(), &current).is_ok());
        assert!(unchanged(&asked(header::IF_MATCH, &current.tag()), &current).is_ok());
        assert!(unchanged(&asked(header::IF_MATCH, "*"), &current).is_ok());
        for wrong in ["\"other\"".to_owned(), format!("W/{}", current.tag())] {
            let refusal = unchanged(&asked(header::IF_MATCH, &wrong), &current).unwrap_err();
            assert_eq!(refusal.document().status(), StatusCode::PRECONDITION_FAILED);
        }
    }
}
