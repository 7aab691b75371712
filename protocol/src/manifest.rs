//! Manifests: how a device learns of an advertiser's tasks.
//!
//! One public document for each advertiser, the same for everybody who asks, so that it may be cached anywhere and asking
//! for it tells nothing: an answer made for one person would be a fingerprint. It is JSON, signed
//! ([`crate::signed`], type `arras-manifest+json`), with a time until which it holds and a sequence that only grows, so that
//! nobody can bring devices back to old tasks or keys. See [`Manifest`] for its fields.

mod check;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, Decode as _, Encode as _};
use crate::messages::{HpkeConfigList, TaskConfiguration};
use crate::signed::{DocumentType, KeyId, PublicKey, SignError, SigningKey, sign, verify};
use crate::task::{Task, TaskError};

pub use check::{
    BUCKETS_MAX, CAMPAIGNS_MAX, EVENTS_MAX, MANIFEST_BYTES_MAX, NAME_CHARACTERS_MAX, TASKS_MAX,
    VALIDITY_SECONDS_MAX,
};

/// The layout that this version reads and writes.
pub const MANIFEST_VERSION: u32 = 1;

/// A manifest as it is written. Devices get a [`Manifest`] only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestDocument {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// The advertiser's site: the host at which people convert, and the budget source of its tasks.
    pub advertiser: String,
    /// Grows with every manifest of the advertiser.
    pub sequence: u64,
    /// From when it holds, in POSIX seconds.
    pub not_before: u64,
    /// Until when it holds, in POSIX seconds; see [`VALIDITY_SECONDS_MAX`].
    pub expires: u64,
    /// The advertiser's campaigns. A campaign's bucket stays its own: devices remember it for a month.
    pub campaigns: Vec<Campaign>,
    /// What is counted.
    pub tasks: Vec<TaskDocument>,
}

/// A campaign and its bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// As the app names it; with [`VIEWS`] or [`CLICKS`] behind that if these are counted apart, which apps need not know.
    pub name: String,
    /// The cell of a task's histogram; not 0, which is "not attributed".
    pub bucket: u32,
}

/// Behind the name of a campaign: the bucket of its views alone. Its clicks have another one, behind whose name [`CLICKS`] stands.
pub const VIEWS: &str = "/view";

/// Behind the name of a campaign: the bucket of its clicks alone, see [`VIEWS`].
pub const CLICKS: &str = "/click";

/// What a task adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measures {
    /// Conversions: each counts 1.
    Count,
    /// Their values, in units of [`TaskDocument::unit`], up to the task's maximum.
    Value,
}

/// A task, and which events it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskDocument {
    /// The encoded `TaskConfiguration` of DAP, in unpadded base64url.
    pub configuration: String,
    /// What it adds up.
    pub measures: Measures,
    /// How much of a currency's minor unit is 1 in the sum, for [`Measures::Value`]; 1 otherwise.
    pub unit: u64,
    /// The events that it counts.
    pub events: Vec<EventDocument>,
    /// The leader's HPKE configurations, as it serves them, in unpadded base64url.
    pub leader_hpke: String,
    /// The helper's.
    pub helper_hpke: String,
}

/// A kind of conversion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventDocument {
    /// As the app names it, such as `purchase`.
    pub name: String,
    /// Added to the bucket of the campaign, so that kinds of events have cells of their own.
    pub offset: u32,
}

/// The entity tag of a signed manifest (RFC 9110, section 8.8.3): a hash of its text, in quotes. A device computes it from
/// what it holds. One that it was told and handed back would be a mark that whoever serves manifests puts on it.
pub fn entity_tag(text: &[u8]) -> String {
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(crate::crypto::sha256(text)))
}

/// Why something is no manifest that a device may follow.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The signature.
    #[error(transparent)]
    Signature(#[from] SignError),
    /// Not the JSON of a manifest.
    #[error("the manifest is signed, but is none that this version reads: {0}; update the app")]
    Json(#[from] serde_json::Error),
    /// A rule of [`Manifest`] is broken. Whoever signed it is at fault.
    #[error("the manifest is not usable: {0}; its publisher has to make another one")]
    Rule(String),
    /// A task's encoding.
    #[error("a task of the manifest does not decode: {0}")]
    Codec(#[from] CodecError),
    /// A task that no device takes part in.
    #[error("a task of the manifest is refused: {0}")]
    Task(#[from] TaskError),
    /// Of another advertiser.
    #[error("this is the manifest of {found}, expected that of {expected}")]
    Advertiser {
        /// Whose was asked for.
        expected: String,
        /// Whose it is.
        found: String,
    },
    /// It does not hold yet.
    #[error("the manifest holds from {not_before} and it is {now} (POSIX seconds); check the device's clock")]
    NotYet {
        /// Its begin.
        not_before: u64,
        /// The device's time.
        now: u64,
    },
    /// It does not hold any more.
    #[error("the manifest held until {expires} and it is {now} (POSIX seconds); fetch a new one")]
    Expired {
        /// Its end.
        expires: u64,
        /// The device's time.
        now: u64,
    },
    /// A newer one was seen before.
    #[error("the manifest has sequence {found}, and {seen} was seen before; fetch it again, past any cache")]
    Older {
        /// Its sequence.
        found: u64,
        /// The newest that was seen.
        seen: u64,
    },
    /// Two different manifests with one sequence: its publisher tells different devices different things.
    #[error(
        "two different manifests have sequence {0}: the one that was seen first is kept; tell their publisher"
    )]
    Split(u64),
}

/// A checked task of a manifest.
#[derive(Debug)]
pub struct ManifestTask {
    /// The task.
    pub task: Task,
    /// What it adds up.
    pub measures: Measures,
    /// See [`TaskDocument::unit`].
    pub unit: u64,
    /// The events that it counts.
    pub events: Vec<EventDocument>,
    /// The leader's HPKE configurations; one of them is of the suite that is spoken here.
    pub leader_hpke: HpkeConfigList,
    /// The helper's.
    pub helper_hpke: HpkeConfigList,
}

/// A manifest whose signature and content were checked, and that held when it was.
#[derive(Debug)]
pub struct Manifest {
    document: ManifestDocument,
    tasks: Vec<ManifestTask>,
    /// Of the signed bytes: tells two manifests of one sequence apart.
    digest: [u8; 32],
    /// Who signed it.
    key: KeyId,
}

/// What a device remembers of the newest manifest of an advertiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its sequence.
    pub sequence: u64,
    /// SHA-256 of the signed bytes.
    pub digest: [u8; 32],
    /// Who signed it. Once the key is trusted no more, what it said does not count: a stolen key could have signed a sequence that no
    /// manifest comes after.
    pub key: KeyId,
}

impl ManifestDocument {
    /// Whether its events have no cell in common for the buckets of an `earlier` manifest, too. Devices remember those, whether or not
    /// they are still named.
    ///
    /// # Errors
    /// [`ManifestError::Rule`] if a conversion that goes to such a bucket would be counted as another event of another campaign.
    pub fn keeps_cells_of(&self, earlier: &Self) -> Result<(), ManifestError> {
        let campaigns = self.campaigns.iter().chain(&earlier.campaigns);
        let buckets = campaigns.map(|campaign| campaign.bucket).collect();
        self.tasks.iter().try_for_each(|task| check::check_cells(&task.events, &buckets))
    }

    /// Signs it, after the checks that devices make.
    ///
    /// # Errors
    /// [`ManifestError::Rule`] and the errors of its tasks, for what no device would follow.
    pub fn sign(&self, key: &SigningKey) -> Result<String, ManifestError> {
        check::check(self)?;
        let document = serde_json::to_vec(self)?;
        if document.len() > MANIFEST_BYTES_MAX {
            return Err(check::rule(format!("it has more than {MANIFEST_BYTES_MAX} bytes")));
        }
        Ok(sign(key, DocumentType::Manifest, &document)?)
    }
}

impl TaskDocument {
    /// For a task.
    pub fn new(
        configuration: &TaskConfiguration,
        measures: Measures,
        unit: u64,
        events: Vec<EventDocument>,
        leader_hpke: &HpkeConfigList,
        helper_hpke: &HpkeConfigList,
    ) -> Self {
        let text = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        Self {
            configuration: text(configuration.to_bytes()),
            measures,
            unit,
            events,
            leader_hpke: text(leader_hpke.to_bytes()),
            helper_hpke: text(helper_hpke.to_bytes()),
        }
    }

    fn check(&self) -> Result<ManifestTask, ManifestError> {
        let bytes = |text: &str| {
            let decoded = URL_SAFE_NO_PAD.decode(text);
            decoded.map_err(|_| check::rule("a field is not unpadded base64url".to_owned()))
        };
        let list = |text| Ok::<_, ManifestError>(HpkeConfigList::from_bytes(&bytes(text)?)?);
        Ok(ManifestTask {
            task: Task::new(TaskConfiguration::from_bytes(&bytes(&self.configuration)?)?)?,
            measures: self.measures,
            unit: self.unit,
            events: self.events.clone(),
            leader_hpke: list(&self.leader_hpke)?,
            helper_hpke: list(&self.helper_hpke)?,
        })
    }
}

impl Manifest {
    /// Takes a signed manifest of an advertiser, if one of `keys` signed it, it holds at the POSIX second `now`, and it is
    /// not older than what was seen before. The same one again is no error.
    ///
    /// The caller keeps [`Manifest::seen`] durably before it follows the manifest.
    pub fn open(
        text: &str,
        keys: &[PublicKey],
        advertiser: &str,
        seen: Option<Seen>,
        now: u64,
    ) -> Result<Self, ManifestError> {
        let manifest = Self::read(text, keys, advertiser, seen)?;
        manifest.holds_at(now)?;
        Ok(manifest)
    }

    /// The same at any time, for one that is at hand: [`Manifest::holds_at`] is asked when it is used.
    pub fn read(
        text: &str,
        keys: &[PublicKey],
        advertiser: &str,
        seen: Option<Seen>,
    ) -> Result<Self, ManifestError> {
        if text.len() > MANIFEST_BYTES_MAX / 3 * 4 + 1_024 {
            return Err(ManifestError::Signature(SignError::TooLarge));
        }
        let verified = verify(keys, DocumentType::Manifest, text)?;
        let digest = crate::crypto::sha256(verified.document());
        let document: ManifestDocument = serde_json::from_slice(verified.document())?;
        if document.advertiser != advertiser {
            let (expected, found) = (advertiser.to_owned(), document.advertiser);
            return Err(ManifestError::Advertiser { expected, found });
        }
        let tasks = check::check(&document)?;
        match seen.filter(|seen| keys.iter().any(|key| key.id() == seen.key)) {
            Some(seen) if document.sequence < seen.sequence => {
                return Err(ManifestError::Older { found: document.sequence, seen: seen.sequence });
            }
            Some(seen) if document.sequence == seen.sequence && digest != seen.digest => {
                return Err(ManifestError::Split(document.sequence));
            }
            _ => {}
        }
        Ok(Self { document, tasks, digest, key: verified.key() })
    }

    /// Whether it holds at a POSIX second.
    pub fn holds_at(&self, now: u64) -> Result<(), ManifestError> {
        let (not_before, expires) = (self.document.not_before, self.document.expires);
        if now < not_before {
            return Err(ManifestError::NotYet { not_before, now });
        }
        if now >= expires {
            return Err(ManifestError::Expired { expires, now });
        }
        Ok(())
    }

    /// The advertiser's site.
    pub fn advertiser(&self) -> &str {
        &self.document.advertiser
    }

    /// What to remember of it.
    pub fn seen(&self) -> Seen {
        Seen { sequence: self.document.sequence, digest: self.digest, key: self.key }
    }

    /// When it ends, in POSIX seconds.
    pub fn expires(&self) -> u64 {
        self.document.expires
    }

    /// The bucket with a name.
    pub fn bucket(&self, campaign: &str) -> Option<u32> {
        self.document.campaigns.iter().find(|one| one.name == campaign).map(|one| one.bucket)
    }

    /// The bucket of a campaign's views or clicks, which may have one together: `touch` is [`VIEWS`] or [`CLICKS`].
    pub fn bucket_of(&self, campaign: &str, touch: &str) -> Option<u32> {
        let half = |campaign: &str, touch| self.bucket(&format!("{campaign}{touch}"));
        let other = if touch == VIEWS { CLICKS } else { VIEWS };
        // The clicks of what is called like a campaign's views are nothing that there is.
        let is_other = campaign
            .strip_suffix(other)
            .is_some_and(|campaign| self.bucket(campaign).is_none() && half(campaign, touch).is_some());
        if is_other { None } else { self.bucket(campaign).or_else(|| half(campaign, touch)) }
    }

    /// The name of the campaign with a bucket.
    pub fn campaign(&self, bucket: u32) -> Option<&str> {
        self.document.campaigns.iter().find(|one| one.bucket == bucket).map(|one| one.name.as_str())
    }

    /// What is counted.
    pub fn tasks(&self) -> &[ManifestTask] {
        &self.tasks
    }

    /// Whether any task counts an event.
    pub fn knows_event(&self, event: &str) -> bool {
        self.tasks.iter().any(|task| task.offset(event).is_some())
    }
}

impl ManifestTask {
    /// What is added to a campaign's bucket for an event; `None` if the task does not count it.
    pub fn offset(&self, event: &str) -> Option<u32> {
        self.events.iter().find(|one| one.name == event).map(|one| one.offset)
    }
}
