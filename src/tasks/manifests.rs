//! Manifests as an advertiser describes them: which tasks, which events, for how long.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use arras_protocol::manifest::{
    Campaign, EventDocument, MANIFEST_VERSION, ManifestDocument, ManifestError, Measures, TaskDocument,
};
use arras_protocol::messages::{HpkeConfigList, TaskId};
use arras_protocol::signed::{DocumentType, SigningKey, read_unverified};
use serde::{Deserialize, Serialize};

use super::KnownTask;
use crate::store::sync_parent;

/// How long before now a manifest begins, in seconds: a day, for devices whose clocks are behind.
const BEGINS_BEFORE_SECONDS: u64 = 24 * 3_600;

/// For how many days a manifest holds if its description does not say.
pub(crate) const VALID_DAYS: u64 = 14;

/// A description of a manifest, in TOML.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// The advertiser's site; the budget source of its tasks.
    pub advertiser: String,
    /// For how many days it holds; at most 30.
    #[serde(default = "valid_days")]
    pub valid_days: u64,
    /// The campaigns with their buckets, where the tasks' files do not have their names; otherwise theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<Vec<Campaign>>,
    /// What devices report to.
    pub task: Vec<TaskEntry>,
}

fn valid_days() -> u64 {
    VALID_DAYS
}

/// The most days that a description may ask for: what devices take ([`arras_protocol::manifest`]), less the day that is
/// kept for clocks that are behind.
const VALID_DAYS_MAX: u64 = 30;

/// A task of a description.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TaskEntry {
    /// One that the collector takes part in.
    pub id: String,
    /// What it adds up.
    pub measures: Measures,
    /// How much of a currency's minor unit is 1 in a sum of values.
    #[serde(default = "unit")]
    pub unit: u64,
    /// The events that it counts.
    pub events: Vec<EventEntry>,
}

fn unit() -> u64 {
    1
}

/// An event of a description.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EventEntry {
    /// As apps name it.
    pub name: String,
    /// Added to the bucket of the campaign.
    #[serde(default)]
    pub offset: u32,
}

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The description.
    #[error("the description of the manifest: {0}")]
    Description(String),
    /// No device would follow it.
    #[error("no device would follow this manifest: {}", rule(.0))]
    Manifest(#[from] ManifestError),
    /// The file.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

/// What is wrong with a manifest, said to its publisher and not to a device.
fn rule(error: &ManifestError) -> String {
    match error {
        ManifestError::Rule(reason) => format!("{reason}; change its description"),
        other => other.to_string(),
    }
}

/// A task with what is known of it and of its aggregators.
pub type Gathered<'a> = (&'a TaskEntry, &'a KnownTask, (HpkeConfigList, HpkeConfigList));

/// The file of an advertiser's manifest; `None` for what is not the name of a host in lower case.
pub fn file_name(advertiser: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    let is_host = (1..=arras_protocol::task::NAME_BYTES_MAX).contains(&advertiser.len())
        && advertiser.bytes().all(plain)
        && !advertiser.starts_with('.');
    is_host.then(|| format!("{advertiser}.jws"))
}

impl ManifestFile {
    /// Reads a description.
    pub fn parse(text: &str) -> Result<Self, PublishError> {
        let file: Self =
            toml::from_str(text).map_err(|error| PublishError::Description(error.to_string()))?;
        if !(1..=VALID_DAYS_MAX).contains(&file.valid_days) {
            let reason = format!("valid_days is {}; it must be 1 to {VALID_DAYS_MAX}", file.valid_days);
            return Err(PublishError::Description(reason));
        }
        Ok(file)
    }

    /// The ids of its tasks.
    pub fn ids(&self) -> Result<Vec<TaskId>, PublishError> {
        let parse = |entry: &TaskEntry| {
            let id = entry.id.parse();
            id.map_err(|_| PublishError::Description(format!("{:?} is no task id", entry.id)))
        };
        self.task.iter().map(parse).collect()
    }

    /// The manifest. Its campaigns are its own, or those of its tasks, which have to be the same, since a device remembers
    /// the bucket of a campaign and not which task it was for.
    pub fn document(
        &self,
        tasks: &[Gathered<'_>],
        sequence: u64,
        now: u64,
    ) -> Result<ManifestDocument, PublishError> {
        let campaigns = tasks.first().map_or(&[][..], |(_, known, _)| &known.campaigns);
        if tasks.iter().any(|(_, known, _)| known.campaigns != campaigns) {
            let reason = "its tasks have different campaigns; add tasks with one list to all roles";
            return Err(PublishError::Description(reason.to_owned()));
        }
        let event = |event: &EventEntry| EventDocument { name: event.name.clone(), offset: event.offset };
        let task = |(entry, known, (leader, helper)): &Gathered<'_>| {
            let events = entry.events.iter().map(event).collect();
            let configuration = known.task.configuration();
            TaskDocument::new(configuration, entry.measures, entry.unit, events, leader, helper)
        };
        let not_before = now.saturating_sub(BEGINS_BEFORE_SECONDS);
        Ok(ManifestDocument {
            version: MANIFEST_VERSION,
            advertiser: self.advertiser.clone(),
            sequence,
            not_before,
            expires: now.saturating_add(self.valid_days.saturating_mul(24 * 3_600)),
            campaigns: self.campaign.clone().unwrap_or_else(|| {
                let named = (1..).zip(campaigns);
                named.map(|(bucket, name)| Campaign { name: name.clone(), bucket }).collect()
            }),
            tasks: tasks.iter().map(task).collect(),
        })
    }
}

/// The sequence of the next manifest: above that of the one in the folder, and not below the POSIX second, so that a folder
/// that was lost does not bring old sequences back, which devices would refuse.
pub fn next_sequence(folder: &Path, advertiser: &str, now: u64) -> Result<u64, PublishError> {
    let last = last_manifest(folder, advertiser)?;
    Ok(last.map_or(now, |last| last.sequence.saturating_add(1).max(now)))
}

/// Refuses a manifest in which a bucket means another campaign than in the one in the folder, or is another one's with an event's
/// offset: devices remember buckets for a month, and their conversions would be counted for the wrong campaign.
pub fn keeps_buckets(folder: &Path, document: &ManifestDocument) -> Result<(), PublishError> {
    let Some(last) = last_manifest(folder, &document.advertiser)? else { return Ok(()) };
    let moved = document.campaigns.iter().find(|campaign| {
        let moved = |one: &Campaign| (one.name == campaign.name) != (one.bucket == campaign.bucket);
        last.campaigns.iter().any(moved)
    });
    if let Some(campaign) = moved {
        return Err(PublishError::Description(format!(
            "bucket {} was not that of {:?} in the last manifest, and devices remember buckets for a month: keep the \
             order of campaigns and add new ones at the end, or say `--renumber` and lose a month's attribution",
            campaign.bucket, campaign.name
        )));
    }
    document.keeps_cells_of(&last).map_err(|_| {
        PublishError::Description(
            "an event's offset leads from a bucket of the last manifest to a cell of another event, and devices remember \
             buckets for a month: set offsets beyond all buckets of the last manifest, or say `--renumber` and lose a month's \
             attribution"
                .to_owned(),
        )
    })
}

/// Keeps others from publishing into the folder at the same time, who would give two manifests one sequence; until the file is
/// dropped.
pub fn lock(folder: &Path) -> Result<fs::File, PublishError> {
    let path = folder.join(".lock");
    let open = || {
        fs::create_dir_all(folder)?;
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    open().map_err(|error| PublishError::Io { path: path.display().to_string(), error })
}

fn last_manifest(folder: &Path, advertiser: &str) -> Result<Option<ManifestDocument>, PublishError> {
    let Some(name) = file_name(advertiser) else {
        let reason = format!("{advertiser:?} is not the name of a host in lower case");
        return Err(PublishError::Description(reason));
    };
    let path = folder.join(name);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PublishError::Io { path: path.display().to_string(), error }),
    };
    let document = read_unverified(DocumentType::Manifest, &text).map_err(ManifestError::from)?.0;
    Ok(Some(serde_json::from_slice(&document).map_err(ManifestError::from)?))
}

/// Signs a manifest and puts it into the folder, durably and at once: a reader sees the whole file or the one before.
pub fn publish(folder: &Path, key: &SigningKey, document: &ManifestDocument) -> Result<(), PublishError> {
    let text = document.sign(key)?;
    let name = file_name(&document.advertiser)
        .ok_or_else(|| PublishError::Description("its advertiser is not the name of a host".to_owned()))?;
    let path = folder.join(name);
    let write = || {
        fs::create_dir_all(folder)?;
        let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
        temporary.write_all(text.as_bytes())?;
        temporary.as_file().sync_all()?;
        temporary.persist(&path).map_err(|error| error.error)?;
        sync_parent(&path)
    };
    write().map_err(|error| PublishError::Io { path: path.display().to_string(), error })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn document(campaigns: &[&str]) -> ManifestDocument {
        let campaign = |(bucket, name): (u32, &&str)| Campaign { name: (*name).to_owned(), bucket };
        ManifestDocument {
            version: MANIFEST_VERSION,
            advertiser: "shop.example".to_owned(),
            sequence: 7,
            not_before: 0,
            expires: 1,
            campaigns: (1..).zip(campaigns).map(campaign).collect(),
            tasks: Vec::new(),
        }
    }

    /// 90 days were once refused as "more than 2678400 seconds; its publisher has to make another one", to its publisher.
    #[test]
    fn the_days_of_a_description_are_bounded_in_days() {
        let parse =
            |days: &str| ManifestFile::parse(&format!("advertiser = \"shop.example\"\n{days}\ntask = []"));
        assert_eq!(parse("").unwrap().valid_days, VALID_DAYS);
        assert_eq!(parse("valid_days = 30").unwrap().valid_days, VALID_DAYS_MAX);
        for days in [0, 31, 90] {
            let error = parse(&format!("valid_days = {days}")).unwrap_err().to_string();
            assert!(error.contains(&format!("valid_days is {days}; it must be 1 to 30")), "{error}");
        }
    }

    /// A campaign's bucket is its place in the list of its tasks. A new task with a campaign less gave those behind it other
    /// buckets, and a month of remembered ads was counted for the wrong campaigns without a word.
    #[test]
    fn a_bucket_keeps_its_campaign() {
        let folder = tempfile::tempdir().unwrap();
        keeps_buckets(folder.path(), &document(&["boots"])).unwrap();
        let key = SigningKey::from_bytes(&[7; 32]);
        let last = serde_json::to_vec(&document(&["boots", "tents"])).unwrap();
        let text = arras_protocol::signed::sign(&key, DocumentType::Manifest, &last).unwrap();
        fs::write(folder.path().join("shop.example.jws"), text).unwrap();
        assert_eq!(next_sequence(folder.path(), "shop.example", 0).unwrap(), 8);
        for kept in [&["boots", "tents", "lamps"][..], &["boots", "tents"], &["boots"]] {
            keeps_buckets(folder.path(), &document(kept)).unwrap();
        }
        for moved in [&["tents"][..], &["lamps", "boots", "tents"], &["boots", "lamps"]] {
            let refused = keeps_buckets(folder.path(), &document(moved)).unwrap_err();
            assert!(refused.to_string().contains("--renumber"), "{refused}");
        }
    }
    /// A campaign of bucket 9 ended, and the next manifest did not name it but counted leads 8 cells behind purchases: a purchase
    /// after an ad of it that was remembered was a lead of the campaign of bucket 1.
    #[test]
    fn an_event_gets_no_cell_of_a_campaign_that_was_told_before() {
        let folder = tempfile::tempdir().unwrap();
        let with = |buckets: &[u32], lead: u32| {
            let campaign = |bucket: &u32| Campaign { name: format!("campaign {bucket}"), bucket: *bucket };
            let event = |name: &str, offset| EventDocument { name: name.to_owned(), offset };
            let task = TaskDocument {
                configuration: String::new(),
                measures: Measures::Count,
                unit: 1,
                events: vec![event("purchase", 0), event("lead", lead)],
                leader_hpke: String::new(),
                helper_hpke: String::new(),
            };
            let campaigns = buckets.iter().map(campaign).collect();
            ManifestDocument { campaigns, tasks: vec![task], ..document(&[]) }
        };
        let last = serde_json::to_vec(&with(&[1, 9], 16)).unwrap();
        let key = SigningKey::from_bytes(&[7; 32]);
        let text = arras_protocol::signed::sign(&key, DocumentType::Manifest, &last).unwrap();
        fs::write(folder.path().join("shop.example.jws"), text).unwrap();
        for lead in [0, 7, 10, 16] {
            keeps_buckets(folder.path(), &with(&[1], lead)).unwrap();
        }
        let refused = keeps_buckets(folder.path(), &with(&[1], 8)).unwrap_err().to_string();
        assert!(refused.contains("beyond all buckets") && refused.contains("--renumber"), "{refused}");
    }
}
