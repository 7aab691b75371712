//! Which media type an answer has: what the client accepts most of what there is (RFC 9110 section 12.5.1).

use axum::http::{HeaderMap, header};

use super::refusal::Refusal;
use crate::net::problem::OwnError;

/// Media types in which something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// JSON.
    Json,
    /// A table by RFC 4180.
    Csv,
    /// A signed document.
    Jose,
    /// TOML.
    Toml,
}

impl Media {
    /// As in `Content-Type`.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Jose => "application/jose",
            Self::Toml => "application/toml",
        }
    }

    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application", "json"),
            Self::Csv => ("text", "csv"),
            Self::Jose => ("application", "jose"),
            Self::Toml => ("application", "toml"),
        }
    }
}

/// The one of `there` that the client likes most; of equals the first. Without the header the first.
pub(super) fn choose(headers: &HeaderMap, there: &[Media]) -> Result<Media, Refusal> {
    let ranges: Vec<Range> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Range::read)
        .collect();
    let first = there.first().copied().unwrap_or(Media::Json);
    if ranges.is_empty() {
        return Ok(first);
    }
    let mut best = (0, first);
    for media in there {
        let weight = weight(&ranges, *media);
        if weight > best.0 {
            best = (weight, *media);
        }
    }
    if best.0 > 0 {
        return Ok(best.1);
    }
    let names: Vec<_> =
        there.iter().map(|media| media.content_type().split(';').next().unwrap_or_default()).collect();
    Err(Refusal::new(OwnError::NotAcceptable, format!("accept {}", names.join(" or "))))
}

/// What one range of the header says: how specific it is, and a weight in thousandths.
struct Range {
    kind: String,
    subtype: String,
    weight: u16,
}

impl Range {
    /// `None` for what is no media range; it is passed over, as if it were not there.
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut weight = 1_000;
        for parameter in parts {
            if let Some(value) = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")) {
                weight = thousandths(value)?;
            }
        }
        Some(Self { kind: kind.to_ascii_lowercase(), subtype: subtype.to_ascii_lowercase(), weight })
    }

    /// 2 for the type itself, 1 for `text/*`, 0 for `*/*`.
    fn matches(&self, media: Media) -> Option<u8> {
        let (kind, subtype) = media.parts();
        match (self.kind.as_str(), self.subtype.as_str()) {
            (own, sub) if own == kind && sub == subtype => Some(2),
            (own, "*") if own == kind => Some(1),
            ("*", "*") => Some(0),
            _ => None,
        }
    }
}

/// The most specific range decides.
fn weight(ranges: &[Range], media: Media) -> u16 {
    let matching = ranges.iter().filter_map(|range| Some((range.matches(media)?, range.weight)));
    matching.max_by_key(|(specific, _)| *specific).map_or(0, |(_, weight)| weight)
}

/// A weight of at most three decimals, from 0 to 1.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || fraction.len() > 3 || !digits {
        return None;
    }
    let weight = format!("{whole}{fraction:0<3}").parse().ok()?;
    (weight <= 1_000).then_some(weight)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn chosen(accept: &[&str]) -> Option<Media> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        choose(&headers, &[Media::Json, Media::Csv]).ok()
    }

    #[test]
    fn the_media_type_that_is_liked_most_is_chosen() {
        for (accept, expected) in [
            (&[][..], Some(Media::Json)),
            (&["*/*"], Some(Media::Json)),
            (&["text/csv"], Some(Media::Csv)),
            (&["Text/CSV; charset=utf-8"], Some(Media::Csv)),
            (&["text/*"], Some(Media::Csv)),
            (&["application/json;q=0.5, text/csv"], Some(Media::Csv)),
            (&["application/json;q=0.5", "text/csv;q=0.4"], Some(Media::Json)),
            (&["text/csv;q=0, */*"], Some(Media::Json)),
            (&["*/*;q=0.1, text/csv;q=0.2"], Some(Media::Csv)),
            (&["application/json;q=0, text/html"], None),
            (&["text/html"], None),
            (&["text/html,application/xhtml+xml,*/*;q=0.8"], Some(Media::Json)),
            (&["nonsense"], Some(Media::Json)),
        ] {
            assert_eq!(chosen(accept), expected, "{accept:?}");
        }
        assert_eq!(
            ["0", "1", "0.25", "1.000"].map(thousandths),
            [Some(0), Some(1_000), Some(250), Some(1_000)]
        );
        assert!(["2", "1.001", "0.0001", "-1", "", "0.1x"].iter().all(|wrong| thousandths(wrong).is_none()));
    }
}
