//! What a sum needs of a release, read without its buckets: their numbers stand beside the document, and reading a thousand of them
//! as JSON takes longer than everything else.

use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Conversions, Measured, Policy, RELEASE_VERSION, ReadError};
use crate::collector::span::Span;

/// A release without its buckets.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::collector) struct Head {
    version: u32,
    pub(in crate::collector) sequence: u64,
    pub(in crate::collector) task: String,
    pub(in crate::collector) vdaf: Measured,
    #[serde(default)]
    pub(in crate::collector) conversions: Option<Conversions>,
    pub(in crate::collector) window: Span,
    pub(in crate::collector) report_count: u64,
    pub(in crate::collector) policy: Policy,
    /// How many it has.
    #[serde(rename = "buckets", deserialize_with = "counted")]
    pub(in crate::collector) buckets: usize,
}

impl Head {
    /// Reads a signed release of one's own store, whose text was checked when it was made.
    pub(in crate::collector) fn from_json(json: &[u8]) -> Result<Self, ReadError> {
        let head: Self = serde_json::from_slice(json)?;
        if head.version == RELEASE_VERSION { Ok(head) } else { Err(ReadError::Version(head.version)) }
    }
}

/// The length of a list whose entries are skipped.
fn counted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    struct Counter;

    impl<'de> Visitor<'de> for Counter {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<usize, A::Error> {
            let mut length = 0;
            while list.next_element::<IgnoredAny>()?.is_some() {
                length += 1;
            }
            Ok(length)
        }
    }

    deserializer.deserialize_seq(Counter)
}
