//! Changes as bytes: a byte for the kind, then fields in order, integers big-endian, sites as their domain with a length
//! of one byte, sets with a count of two.

use std::collections::BTreeSet;

use arras_protocol::codec::{CodecError, Decode, Encode, Reader};

use super::moment::Moment;
use super::site::Site;
use super::state::{Change, Impression};

const SAVED: u8 = 1;
const EPOCH_START: u8 = 2;
const SITE_BUDGET: u8 = 3;
const GLOBAL_BUDGET: u8 = 4;
const IMPRESSION_QUOTA: u8 = 5;
const LAST_CLEAR: u8 = 6;
const FORGOTTEN: u8 = 7;
const ENABLED: u8 = 8;

fn invalid(field: &'static str, reason: &'static str) -> CodecError {
    CodecError::Invalid { field, reason }
}

impl Encode for Moment {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.millis().to_be_bytes());
    }
}

impl Decode for Moment {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self::from_millis(i64::from_be_bytes(reader.array("moment")?)))
    }
}

impl Encode for Site {
    fn encode(&self, out: &mut Vec<u8>) {
        let domain = self.as_str().as_bytes();
        // Cannot fail: longer ones are no sites.
        out.push(u8::try_from(domain.len()).expect("a domain has at most 253 bytes"));
        out.extend_from_slice(domain);
    }
}

impl Decode for Site {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let text = std::str::from_utf8(reader.opaque8("site")?).map_err(|_| invalid("site", "not a text"))?;
        // What was a site when it was kept may be part of a larger one by a newer list of suffixes; what it was
        // counts, or a budget would be lost. It must only be a host that could be one.
        Self::kept(text).ok_or_else(|| invalid("site", "not a domain"))
    }
}

fn put_sites(out: &mut Vec<u8>, sites: &BTreeSet<Site>) {
    // Options with more sites are refused.
    let count = u16::try_from(sites.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_be_bytes());
    sites.iter().take(usize::from(count)).for_each(|site| site.encode(out));
}

fn sites(reader: &mut Reader<'_>) -> Result<BTreeSet<Site>, CodecError> {
    let count = reader.u16("sites")?;
    let mut sites = BTreeSet::new();
    for _ in 0..count {
        let site = Site::decode(reader)?;
        if sites.last().is_some_and(|last| *last >= site) {
            return Err(invalid("sites", "out of order"));
        }
        sites.insert(site);
    }
    Ok(sites)
}

fn flag(reader: &mut Reader<'_>, field: &'static str) -> Result<bool, CodecError> {
    match reader.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(invalid(field, "neither 0 nor 1")),
    }
}

impl Encode for Impression {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.match_value.to_be_bytes());
        self.impression_site.encode(out);
        out.push(u8::from(self.intermediary_site.is_some()));
        self.intermediary_site.iter().for_each(|site| site.encode(out));
        put_sites(out, &self.conversion_sites);
        put_sites(out, &self.conversion_callers);
        self.timestamp.encode(out);
        out.extend_from_slice(&self.lifetime_days.to_be_bytes());
        out.extend_from_slice(&self.histogram_index.to_be_bytes());
        out.extend_from_slice(&self.priority.to_be_bytes());
    }
}

impl Decode for Impression {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let match_value = reader.u32("match value")?;
        let impression_site = Site::decode(reader)?;
        let intermediary_site =
            if flag(reader, "intermediary")? { Some(Site::decode(reader)?) } else { None };
        Ok(Self {
            match_value,
            impression_site,
            intermediary_site,
            conversion_sites: sites(reader)?,
            conversion_callers: sites(reader)?,
            timestamp: Moment::decode(reader)?,
            lifetime_days: reader.u32("lifetime")?,
            histogram_index: reader.u32("histogram index")?,
            priority: i32::from_be_bytes(reader.array("priority")?),
        })
    }
}

impl Encode for Change {
    fn encode(&self, out: &mut Vec<u8>) {
        let row = |out: &mut Vec<u8>, kind: u8, epoch: i64, site: &Site, left: u32| {
            out.push(kind);
            out.extend_from_slice(&epoch.to_be_bytes());
            site.encode(out);
            out.extend_from_slice(&left.to_be_bytes());
        };
        match self {
            Self::Saved(impression) => {
                out.push(SAVED);
                impression.encode(out);
            }
            Self::EpochStart(start) => {
                out.push(EPOCH_START);
                start.encode(out);
            }
            Self::SiteBudget(epoch, site, left) => row(out, SITE_BUDGET, *epoch, site, *left),
            Self::GlobalBudget(epoch, left) => {
                out.push(GLOBAL_BUDGET);
                out.extend_from_slice(&epoch.to_be_bytes());
                out.extend_from_slice(&left.to_be_bytes());
            }
            Self::ImpressionQuota(epoch, site, left) => row(out, IMPRESSION_QUOTA, *epoch, site, *left),
            Self::LastClear(at) => {
                out.push(LAST_CLEAR);
                at.encode(out);
            }
            Self::Forgotten(before) => {
                out.push(FORGOTTEN);
                out.extend_from_slice(&before.to_be_bytes());
            }
            Self::Enabled(enabled) => out.extend_from_slice(&[ENABLED, u8::from(*enabled)]),
        }
    }
}

impl Decode for Change {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let epoch = |reader: &mut Reader<'_>| Ok::<_, CodecError>(i64::from_be_bytes(reader.array("epoch")?));
        Ok(match reader.u8("kind")? {
            SAVED => Self::Saved(Impression::decode(reader)?),
            EPOCH_START => Self::EpochStart(Moment::decode(reader)?),
            SITE_BUDGET => Self::SiteBudget(epoch(reader)?, Site::decode(reader)?, reader.u32("budget")?),
            GLOBAL_BUDGET => Self::GlobalBudget(epoch(reader)?, reader.u32("budget")?),
            IMPRESSION_QUOTA => {
                Self::ImpressionQuota(epoch(reader)?, Site::decode(reader)?, reader.u32("quota")?)
            }
            LAST_CLEAR => Self::LastClear(Moment::decode(reader)?),
            FORGOTTEN => Self::Forgotten(epoch(reader)?),
            ENABLED => Self::Enabled(flag(reader, "enabled")?),
            _ => return Err(invalid("change", "of an unknown kind")),
        })
    }
}

/// Several changes, one after the other.
pub(crate) fn encode_all(changes: &[Change], out: &mut Vec<u8>) {
    for change in changes {
        change.encode(out);
    }
}

/// Reads changes to the end.
pub(crate) fn decode_all(bytes: &[u8]) -> Result<Vec<Change>, CodecError> {
    let mut reader = Reader::new(bytes);
    let mut changes = Vec::new();
    while !reader.is_empty() {
        changes.push(Change::decode(&mut reader)?);
    }
    Ok(changes)
}
