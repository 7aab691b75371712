//! The two files that pages refer to. They are part of the program, so a page and its style never come from two versions.

use std::sync::LazyLock;

use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The style sheet.
pub(super) const STYLE: &str = include_str!("style.css");

/// The icon: a plain weave of three threads by three.
const ICON: &str = include_str!("icon.svg");

/// Digits of a file's hash: two versions in one browser's cache are enough to tell apart.
const HASH_BYTES: usize = 8;

/// The hash of the style sheet, as in its address and its entity tag.
static STYLE_HASH: LazyLock<String> = LazyLock::new(|| hash(STYLE));
static ICON_HASH: LazyLock<String> = LazyLock::new(|| hash(ICON));

fn hash(text: &str) -> String {
    use std::fmt::Write as _;
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(HASH_BYTES).fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The address of the style sheet; another sheet has another one.
pub(super) fn style_address() -> String {
    format!("/console/style.css?v={}", *STYLE_HASH)
}

/// `GET /console/style.css`
pub(super) async fn style(RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let named = query.is_some_and(|query| query.strip_prefix("v=") == Some(STYLE_HASH.as_str()));
    file(STYLE, "text/css; charset=utf-8", &STYLE_HASH, named, &headers)
}

/// `GET /console/icon.svg`
pub(super) async fn icon(headers: HeaderMap) -> Response {
    file(ICON, "image/svg+xml", &ICON_HASH, false, &headers)
}

/// A file that needs no sign-in. Whoever asks by its hash may keep it; others ask again whether it is still the same.
fn file(text: &'static str, kind: &'static str, hash: &str, named: bool, asked: &HeaderMap) -> Response {
    let tag = format!("\"{hash}\"");
    let has = asked
        .get(header::IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|other| other.trim().trim_start_matches("W/") == tag));
    let mut response =
        if has { StatusCode::NOT_MODIFIED.into_response() } else { (StatusCode::OK, text).into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let keep = if named { "public, max-age=31536000, immutable" } else { "public, no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;

    /// The tokens of one scheme: `--name: #rrggbb;` lines of the block that follows `start`.
    fn tokens(start: &str) -> BTreeMap<String, [f64; 3]> {
        let block = STYLE.split_once(start).unwrap().1;
        let block = block.split_once('}').unwrap().0;
        let mut tokens = BTreeMap::new();
        for line in block.lines() {
            let Some((name, value)) = line.trim().split_once(": #") else { continue };
            let hex = value.trim_end_matches(';');
            if hex.len() == 6 {
                let part = |at: usize| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
                tokens.insert(name.to_owned(), [part(0), part(2), part(4)]);
            }
        }
        tokens
    }

    /// WCAG 2's relative luminance and contrast.
    fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
        let luminance = |rgb: [f64; 3]| {
            let linear = rgb.map(|part| {
                let part = part / 255.0;
                if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
            });
            0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        };
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn text_has_enough_contrast_in_both_schemes() {
        let light = tokens(":root {");
        let mut dark = light.clone();
        let other = tokens("dark) {\n  :root {");
        assert!(light.len() >= 20 && other.len() >= 20);
        assert!(other.keys().all(|name| light.contains_key(name)), "a colour of one scheme only");
        dark.extend(other);
        let mut pairs = Vec::new();
        for text in ["--ink", "--ink-soft", "--woad", "--woad-strong", "--madder", "--weld", "--leaf"] {
            for surface in ["--page", "--cloth", "--raised"] {
                pairs.push((text, surface, 4.5));
            }
        }
        pairs.extend([
            ("--woad", "--woad-soft", 4.5),
            ("--madder", "--madder-soft", 4.5),
            ("--weld", "--weld-soft", 4.5),
            ("--leaf", "--leaf-soft", 4.5),
        ]);
        for soft in ["--woad-soft", "--madder-soft", "--weld-soft", "--leaf-soft"] {
            pairs.push(("--ink", soft, 4.5));
        }
        pairs.extend([
            ("--on-woad", "--woad", 4.5),
            ("--on-woad", "--woad-strong", 4.5),
            ("--on-band", "--band", 4.5),
            ("--on-band-soft", "--band", 4.5),
            ("--on-band", "--band-active", 4.5),
            // Edges of controls and what a focus ring is seen against.
            ("--line-strong", "--cloth", 3.0),
            ("--line-strong", "--page", 3.0),
            ("--thread-1", "--band", 3.0),
        ]);
        let mut low = Vec::new();
        for (scheme, tokens) in [("light", &light), ("dark", &dark)] {
            for (text, surface, least) in &pairs {
                let found = contrast(tokens[*text], tokens.get(*surface).copied().unwrap());
                if found < *least {
                    low.push(format!("{scheme}: {text} on {surface}: {found:.2} of {least}"));
                }
            }
        }
        assert!(low.is_empty(), "{low:#?}");
        // The measure itself: black on white is 21.
        assert!((contrast([0.0; 3], [255.0; 3]) - 21.0).abs() < 1e-9);
    }

    /// A token that no rule uses, or one that no scheme defines, is a mistake that a browser does not tell.
    #[test]
    fn every_token_is_defined_and_used() {
        let mut used: Vec<&str> =
            STYLE.split("var(").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        used.sort_unstable();
        used.dedup();
        let root = STYLE.split_once(":root {").unwrap().1.split_once('}').unwrap().0;
        for token in &used {
            assert!(root.contains(&format!("{token}:")), "{token} is not defined");
        }
        for line in root.lines() {
            if let Some((name, _)) = line.trim().split_once(':').filter(|(name, _)| name.starts_with("--")) {
                assert!(used.contains(&name), "{name} is not used");
            }
        }
        assert!(
            !STYLE.contains("url(") && !STYLE.contains("@import"),
            "nothing is loaded by the style sheet"
        );
    }

    #[tokio::test]
    async fn files_may_be_kept_by_their_hash_only() {
        let get = |query: Option<String>, headers: HeaderMap| style(RawQuery(query), headers);
        let by_hash = get(Some(format!("v={}", *STYLE_HASH)), HeaderMap::new()).await;
        assert_eq!(by_hash.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        for other in [None, Some("v=0".to_owned()), Some(String::new())] {
            let response = get(other, HeaderMap::new()).await;
            assert_eq!(response.headers()[header::CACHE_CONTROL], "public, no-cache");
            assert_eq!(response.status(), StatusCode::OK);
        }
        let tag = by_hash.headers()[header::ETAG].clone();
        let asked = HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]);
        assert_eq!(get(None, asked).await.status(), StatusCode::NOT_MODIFIED);
        let picture = icon(HeaderMap::new()).await;
        assert_eq!(picture.headers()[header::CONTENT_TYPE], "image/svg+xml");
    }
}
