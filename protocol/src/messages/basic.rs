//! Identifiers, roles, times and errors (DAP-18 sections 4.1 and 4.2).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::CryptoRng;

use crate::codec::{CodecError, Decode, Encode, Reader, put_opaque16};

/// Why a text is not the identifier it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: expected {length} bytes in unpadded base64url")]
pub struct ParseIdError {
    what: &'static str,
    length: usize,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $length;

            /// From its bytes.
            pub const fn new(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// A random one, from a cryptographically secure source.
            pub fn random(rng: &mut impl CryptoRng) -> Self {
                let mut bytes = [0; $length];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
                reader.array(stringify!($name)).map(Self)
            }
        }

        /// Unpadded base64url, as in URLs (DAP-18 section 3).
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let error = ParseIdError { what: stringify!($name), length: $length };
                let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| error)?;
                bytes.try_into().map(Self).map_err(|_| error)
            }
        }
    };
}

identifier! {
    /// Names a task: always the hash of its configuration here (taskprov section 3.3).
    TaskId, 32
}
identifier! {
    /// Names a report within its task, and is the nonce of its VDAF.
    ReportId, 16
}
identifier! {
    /// Names a batch in the collector-selected mode.
    BatchId, 32
}
identifier! {
    /// Names an aggregation job; chosen by the helper.
    AggregationJobId, 16
}
identifier! {
    /// Names a collection job; chosen by the leader.
    CollectionJobId, 16
}
identifier! {
    /// Names an aggregate share; chosen by the helper.
    AggregateShareId, 16
}

/// Who sends or receives a sealed message (DAP-18 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// Combines aggregate shares.
    Collector = 0,
    /// Makes reports.
    Client = 1,
    /// Takes reports.
    Leader = 2,
    /// Verifies with the leader.
    Helper = 3,
}

/// Why one report was refused; the rest of its request or job is unharmed (DAP-18 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum ReportError {
    /// Its batch bucket was collected.
    BatchCollected = 1,
    /// Its id was seen before.
    ReportReplayed = 2,
    /// Whether it may count can no longer be told, or it lies outside of the task's interval.
    ReportDropped = 3,
    /// Sealed to an HPKE configuration that this server does not have.
    HpkeUnknownConfigId = 4,
    /// It does not open.
    HpkeDecryptError = 5,
    /// Its proof does not verify, or the other aggregator's message about it does not decode.
    VdafVerifyError = 6,
    /// After the task's interval.
    TaskExpired = 7,
    /// It does not decode.
    InvalidMessage = 8,
    /// Its time is too far ahead.
    ReportTooEarly = 9,
    /// Before the task's interval.
    TaskNotStarted = 10,
    /// The client's copy of the HPKE configuration is outdated.
    OutdatedConfig = 11,
}

impl ReportError {
    /// All of them, for tests and for metrics that want every label from the start.
    pub const ALL: [Self; 11] = [
        Self::BatchCollected,
        Self::ReportReplayed,
        Self::ReportDropped,
        Self::HpkeUnknownConfigId,
        Self::HpkeDecryptError,
        Self::VdafVerifyError,
        Self::TaskExpired,
        Self::InvalidMessage,
        Self::ReportTooEarly,
        Self::TaskNotStarted,
        Self::OutdatedConfig,
    ];

    /// The standard's token.
    pub fn token(self) -> &'static str {
        match self {
            Self::BatchCollected => "batch_collected",
            Self::ReportReplayed => "report_replayed",
            Self::ReportDropped => "report_dropped",
            Self::HpkeUnknownConfigId => "hpke_unknown_config_id",
            Self::HpkeDecryptError => "hpke_decrypt_error",
            Self::VdafVerifyError => "vdaf_verify_error",
            Self::TaskExpired => "task_expired",
            Self::InvalidMessage => "invalid_message",
            Self::ReportTooEarly => "report_too_early",
            Self::TaskNotStarted => "task_not_started",
            Self::OutdatedConfig => "outdated_config",
        }
    }
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

impl Encode for ReportError {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }
}

impl Decode for ReportError {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let value = reader.u8("report_error")?;
        Self::ALL
            .into_iter()
            .find(|error| *error as u8 == value)
            .ok_or(CodecError::Invalid { field: "report_error", reason: "unknown value" })
    }
}

/// A URL as ASCII bytes, never re-encoded: two parties that spell it differently have different
/// tasks (DAP-18 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url(String);

impl Url {
    /// Longest accepted URL. The standard allows 65,535; nothing real needs more than this.
    pub const MAX_LEN: usize = 2_048;

    /// Checks length and character set; that it is a usable address is checked where it is used.
    pub fn new(text: impl Into<String>) -> Result<Self, CodecError> {
        let text = text.into();
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(CodecError::Invalid { field: "url", reason: "must have 1 to 2048 bytes" });
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CodecError::Invalid {
                field: "url",
                reason: "must be printable ASCII without spaces",
            });
        }
        Ok(Self(text))
    }

    /// The text, byte for byte.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Encode for Url {
    fn encode(&self, out: &mut Vec<u8>) {
        put_opaque16(out, self.0.as_bytes());
    }
}

impl Decode for Url {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let bytes = reader.opaque16("url")?;
        let text = std::str::from_utf8(bytes).map_err(|_| CodecError::Invalid {
            field: "url",
            reason: "must be printable ASCII without spaces",
        })?;
        Self::new(text)
    }
}

/// The unit of a task's times, in seconds; never 0 (DAP-18 section 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimePrecision(std::num::NonZeroU64);

impl TimePrecision {
    /// From seconds.
    pub fn from_seconds(seconds: u64) -> Result<Self, CodecError> {
        std::num::NonZeroU64::new(seconds)
            .map(Self)
            .ok_or(CodecError::Invalid { field: "time_precision", reason: "must not be 0" })
    }

    /// In seconds.
    pub fn seconds(self) -> u64 {
        self.0.get()
    }

    /// The time of a POSIX timestamp in seconds: truncated here, and nowhere kept finer.
    pub fn truncate(self, posix_seconds: u64) -> Time {
        Time(posix_seconds / self.0.get())
    }
}

/// A time in units of the task's [`TimePrecision`] since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// POSIX seconds at the start of this unit; saturates (a report may carry any 64 bits).
    pub fn posix_seconds(self, precision: TimePrecision) -> u64 {
        self.0.saturating_mul(precision.seconds())
    }
}

/// A duration in units of the task's [`TimePrecision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Duration(pub u64);

/// A half-open interval of time whose end does not overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    start: Time,
    duration: Duration,
}

impl Interval {
    /// Checks that the end is a time.
    pub fn new(start: Time, duration: Duration) -> Result<Self, CodecError> {
        if start.0.checked_add(duration.0).is_none() {
            return Err(CodecError::Invalid { field: "interval", reason: "ends after the last time" });
        }
        Ok(Self { start, duration })
    }

    /// Included.
    pub fn start(self) -> Time {
        self.start
    }

    /// Excluded.
    pub fn end(self) -> Time {
        // Cannot overflow: checked at construction.
        Time(self.start.0 + self.duration.0)
    }

    /// Length.
    pub fn duration(self) -> Duration {
        self.duration
    }

    /// Whether `time` falls within.
    pub fn contains(self, time: Time) -> bool {
        self.start <= time && time < self.end()
    }

    /// Whether all of `other` falls within.
    pub fn contains_interval(self, other: Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    /// Whether the two share a time; an empty one shares none.
    pub fn overlaps(self, other: Self) -> bool {
        self.start.max(other.start) < self.end().min(other.end())
    }

    /// The smallest interval that holds both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        let start = self.start.min(other.start);
        let end = self.end().max(other.end());
        Self { start, duration: Duration(end.0 - start.0) }
    }
}

impl Encode for Interval {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.start.0.to_be_bytes());
        out.extend_from_slice(&self.duration.0.to_be_bytes());
    }
}

impl Decode for Interval {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let start = Time(reader.u64("interval.start")?);
        let duration = Duration(reader.u64("interval.duration")?);
        Self::new(start, duration)
    }
}
