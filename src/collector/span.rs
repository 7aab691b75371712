//! Moments and spans of time as people and JSON write them.

use std::fmt;
use std::str::FromStr;

use arras_protocol::messages::{Duration, Interval, Time, TimePrecision};
use serde::{Deserialize, Deserializer, Serialize, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::text::utc;

/// The last second that RFC 3339 can write: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// Why a text or number is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a moment such as 2026-11-02T00:00:00Z, or seconds since 1970 such as 1793577600; whole \
     seconds, years 1970 to 9999"
)]
#[non_exhaustive]
pub struct NotAMoment;

/// Why two moments are no span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpanError {
    /// It ends where or before it starts.
    #[error("the window from {from} to {to} is empty: its end must be after its start")]
    Empty {
        /// The start.
        from: Moment,
        /// The end.
        to: Moment,
    },
    /// An end is no whole number of the task's units.
    #[error(
        "windows of this task are made of whole steps of {precision} seconds since 1970; {given} is none, \
         {before} and {after} are"
    )]
    NotWhole {
        /// The end in question.
        given: Moment,
        /// The unit of the task's times, in seconds.
        precision: u64,
        /// The nearest step before.
        before: Moment,
        /// The nearest step after.
        after: Moment,
    },
}

/// A second between 1970 and 9999; written in RFC 3339, read from that or from POSIX seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// From POSIX seconds.
    pub fn from_seconds(seconds: u64) -> Result<Self, NotAMoment> {
        if seconds <= LAST_SECOND { Ok(Self(seconds)) } else { Err(NotAMoment) }
    }

    /// POSIX seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&utc(self.0))
    }
}

impl FromStr for Moment {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::from_seconds(text.parse().map_err(|_| NotAMoment)?);
        }
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| NotAMoment)?;
        if time.nanosecond() != 0 {
            return Err(NotAMoment);
        }
        Self::from_seconds(u64::try_from(time.unix_timestamp()).map_err(|_| NotAMoment)?)
    }
}

impl<'de> Deserialize<'de> for Moment {
    /// From a string as above or a number of POSIX seconds.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Seconds(u64),
            Text(String),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Seconds(seconds)) => Self::from_seconds(seconds),
            Ok(Written::Text(text)) => text.parse(),
            Err(_) => Err(NotAMoment),
        }
        .map_err(de::Error::custom)
    }
}

/// A span of time, its end excluded; never empty.
///
/// In JSON: `{"from": "2026-11-02T00:00:00Z", "to": "...", "from_seconds": 1793577600, "to_seconds": ...}`.
/// Both forms say the same; a document in which they differ is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SpanJson", into = "SpanJson")]
pub struct Span {
    from: Moment,
    to: Moment,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpanJson {
    from: String,
    to: String,
    from_seconds: u64,
    to_seconds: u64,
}

impl Span {
    /// Checks that it is not empty.
    pub fn new(from: Moment, to: Moment) -> Result<Self, SpanError> {
        if from < to { Ok(Self { from, to }) } else { Err(SpanError::Empty { from, to }) }
    }

    /// Included.
    pub fn from(self) -> Moment {
        self.from
    }

    /// Excluded.
    pub fn to(self) -> Moment {
        self.to
    }

    /// The interval of a task's times that it is; both ends must be whole steps.
    pub fn interval(self, precision: TimePrecision) -> Result<Interval, SpanError> {
        let unit = precision.seconds();
        for given in [self.from, self.to] {
            let before = given.0 / unit * unit;
            if before != given.0 {
                let after = Moment(before.saturating_add(unit).min(LAST_SECOND));
                return Err(SpanError::NotWhole { given, precision: unit, before: Moment(before), after });
            }
        }
        let start = precision.truncate(self.from.0);
        let length = Duration(precision.truncate(self.to.0).0 - start.0);
        // The end is at most LAST_SECOND, so it does not overflow; whoever reads the error sees a span
        // that is refused.
        Interval::new(start, length).map_err(|_| SpanError::Empty { from: self.from, to: self.to })
    }

    /// The span of an interval of a task's times; `None` if it is empty or after the year 9999.
    pub fn of(interval: Interval, precision: TimePrecision) -> Option<Self> {
        let seconds = |time: Time| time.0.checked_mul(precision.seconds());
        let from = Moment::from_seconds(seconds(interval.start())?).ok()?;
        let to = Moment::from_seconds(seconds(interval.end())?).ok()?;
        Self::new(from, to).ok()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)
    }
}

impl From<Span> for SpanJson {
    fn from(span: Span) -> Self {
        Self {
            from: span.from.to_string(),
            to: span.to.to_string(),
            from_seconds: span.from.0,
            to_seconds: span.to.0,
        }
    }
}

impl TryFrom<SpanJson> for Span {
    type Error = String;

    fn try_from(json: SpanJson) -> Result<Self, String> {
        let read = |text: &str, seconds| match text.parse::<Moment>() {
            Ok(moment) if moment.0 == seconds => Ok(moment),
            Ok(_) => Err(format!("{text} is not {seconds} s: the two forms of a time differ")),
            Err(error) => Err(error.to_string()),
        };
        Self::new(read(&json.from, json.from_seconds)?, read(&json.to, json.to_seconds)?)
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn moment(text: &str) -> Moment {
        text.parse().unwrap()
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(moment("2026-11-02T00:00:00Z").seconds(), 1_793_577_600);
        assert_eq!(moment("1793577600"), moment("2026-11-02T01:00:00+01:00"));
        assert_eq!(moment("0").to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(moment("253402300799").to_string(), "9999-12-31T23:59:59Z");
        for wrong in
            ["", "-1", "253402300800", "2026-11-02", "2026-11-02T00:00:00.5Z", "1969-12-31T23:59:59Z"]
        {
            assert_eq!(wrong.parse::<Moment>(), Err(NotAMoment), "{wrong}");
        }
        for (json, expected) in
            [("7", Some(7)), ("\"7\"", Some(7)), ("-7", None), ("7.0", None), ("[]", None)]
        {
            assert_eq!(serde_json::from_str::<Moment>(json).ok().map(Moment::seconds), expected, "{json}");
        }
    }

    #[test]
    fn windows_are_whole_steps_and_not_empty() {
        let hour = TimePrecision::from_seconds(3600).unwrap();
        let span = |from: &str, to: &str| Span::new(moment(from), moment(to));
        let day = span("2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z").unwrap();
        let interval = day.interval(hour).unwrap();
        assert_eq!((interval.start().0, interval.duration().0), (1_793_577_600 / 3600, 24));
        assert_eq!(Span::of(interval, hour), Some(day));
        assert!(matches!(span("7200", "7200"), Err(SpanError::Empty { .. })));
        assert!(matches!(span("7200", "3600"), Err(SpanError::Empty { .. })));
        let error = span("3600", "7201").unwrap().interval(hour).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("1970-01-01T02:00:01Z is none") && text.contains("T03:00:00Z are"), "{text}");
    }

    #[test]
    fn a_span_whose_forms_differ_is_refused() {
        let json = serde_json::to_string(&Span::new(moment("3600"), moment("7200")).unwrap()).unwrap();
        assert_eq!(
            json,
            r#"{"from":"1970-01-01T01:00:00Z","to":"1970-01-01T02:00:00Z","from_seconds":3600,"to_seconds":7200}"#
        );
        assert!(serde_json::from_str::<Span>(&json).is_ok());
        assert!(serde_json::from_str::<Span>(&json.replace("7200", "7201")).is_err());
        let swapped = r#"{"from":"1970-01-01T02:00:00Z","to":"1970-01-01T01:00:00Z","from_seconds":7200,"to_seconds":3600}"#;
        assert!(serde_json::from_str::<Span>(swapped).is_err());
    }
}
