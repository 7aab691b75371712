//! The rules of a manifest, and its limits.

use std::collections::BTreeSet;

use super::{EventDocument, MANIFEST_VERSION, ManifestDocument, ManifestError, ManifestTask, Measures};
use crate::task::is_name;
use crate::vdaf::VdafConfig;

/// Most bytes of a manifest before it is signed: 256 KiB. A phone fetches it every week.
pub const MANIFEST_BYTES_MAX: usize = 256 << 10;

/// Most tasks of a manifest. A conversion makes a report for each that counts it.
pub const TASKS_MAX: usize = 16;

/// Buckets are below this, as the largest histogram of a device's engine has so many cells.
pub const BUCKETS_MAX: u32 = 1_024;

/// Most campaigns of a manifest: each has a bucket, and 0 is taken.
pub const CAMPAIGNS_MAX: usize = BUCKETS_MAX as usize - 1;

/// Most events of a task.
pub const EVENTS_MAX: usize = 32;

/// Longest name of a campaign or event, in characters.
pub const NAME_CHARACTERS_MAX: usize = 100;

/// The longest time for which a manifest may hold, in seconds: 31 days. Whoever holds a device's network back can keep it
/// on an old manifest for no longer.
pub const VALIDITY_SECONDS_MAX: u64 = 31 * 24 * 3_600;

pub(super) fn rule(text: String) -> ManifestError {
    ManifestError::Rule(text)
}

fn require(condition: bool, refusal: impl FnOnce() -> String) -> Result<(), ManifestError> {
    if condition { Ok(()) } else { Err(rule(refusal())) }
}

/// The checked tasks of a document that keeps all rules.
pub(super) fn check(document: &ManifestDocument) -> Result<Vec<ManifestTask>, ManifestError> {
    require(document.version == MANIFEST_VERSION, || format!("its layout is {}", document.version))?;
    require(is_name(document.advertiser.as_bytes()), || "its advertiser is not a host".to_owned())?;
    require(document.not_before < document.expires, || "it ends before it begins".to_owned())?;
    require(document.expires - document.not_before <= VALIDITY_SECONDS_MAX, || {
        format!("it holds for more than {VALIDITY_SECONDS_MAX} seconds")
    })?;
    check_campaigns(document)?;
    require((1..=TASKS_MAX).contains(&document.tasks.len()), || {
        format!("it has {} tasks, must be 1 to {TASKS_MAX}", document.tasks.len())
    })?;
    let buckets = document.campaigns.iter().map(|campaign| campaign.bucket).collect();
    let mut ids = BTreeSet::new();
    let mut tasks = Vec::new();
    for task in &document.tasks {
        let task = task.check()?;
        require(ids.insert(task.task.id()), || "it has a task twice".to_owned())?;
        check_task(&task, &document.advertiser, &buckets)?;
        tasks.push(task);
    }
    Ok(tasks)
}

fn check_campaigns(document: &ManifestDocument) -> Result<(), ManifestError> {
    let campaigns = &document.campaigns;
    require(campaigns.len() <= CAMPAIGNS_MAX, || format!("it has more than {CAMPAIGNS_MAX} campaigns"))?;
    let (mut names, mut buckets) = (BTreeSet::new(), BTreeSet::new());
    for campaign in campaigns {
        check_name(&campaign.name)?;
        require(names.insert(campaign.name.as_str()), || {
            format!("two campaigns are named {}", campaign.name)
        })?;
        require(campaign.bucket != 0, || "bucket 0 is for what is not attributed".to_owned())?;
        require(campaign.bucket < BUCKETS_MAX, || format!("a bucket is not below {BUCKETS_MAX}"))?;
        require(buckets.insert(campaign.bucket), || {
            format!("two campaigns have bucket {}", campaign.bucket)
        })?;
    }
    Ok(())
}

/// Events with one offset are counted together; those with different ones have no cell in common, or a lead of one campaign
/// would be a purchase of another.
pub(super) fn check_cells(events: &[EventDocument], buckets: &BTreeSet<u32>) -> Result<(), ManifestError> {
    let offsets: BTreeSet<_> = events.iter().map(|event| event.offset).collect();
    let mut cells = BTreeSet::new();
    let cell = |offset: u32| buckets.iter().map(move |bucket| u64::from(*bucket) + u64::from(offset));
    require(offsets.into_iter().flat_map(cell).all(|cell| cells.insert(cell)), || {
        "two events of a task have cells in common; set their offsets further apart".to_owned()
    })
}

fn check_name(name: &str) -> Result<(), ManifestError> {
    let characters = name.chars().count();
    require((1..=NAME_CHARACTERS_MAX).contains(&characters) && !name.chars().any(char::is_control), || {
        format!("a name must have 1 to {NAME_CHARACTERS_MAX} printable characters")
    })
}

fn check_task(task: &ManifestTask, advertiser: &str, buckets: &BTreeSet<u32>) -> Result<(), ManifestError> {
    let largest_bucket = buckets.last().copied().unwrap_or(0);
    require(task.task.policy().is_some(), || "a task is not bound to a privacy policy".to_owned())?;
    // Or one advertiser's conversions would be charged to another.
    require(task.task.budget_source() == Some(advertiser), || {
        "the budget source of a task is not the advertiser".to_owned()
    })?;
    require(task.leader_hpke.supported().is_some() && task.helper_hpke.supported().is_some(), || {
        "an aggregator has no HPKE configuration of X25519, HKDF-SHA256, AES-128-GCM".to_owned()
    })?;
    require((1..=EVENTS_MAX).contains(&task.events.len()), || {
        format!("a task counts {} events, must be 1 to {EVENTS_MAX}", task.events.len())
    })?;
    let length = match (*task.task.vdaf().config(), task.measures) {
        (VdafConfig::Histogram { length, .. }, Measures::Count) => length,
        (VdafConfig::L1BoundSum { length, max_value, .. }, measures) => {
            require(measures == Measures::Value || max_value == 1, || {
                "a task that counts has a maximum above 1".to_owned()
            })?;
            length
        }
        _ => return Err(rule("a count is a Histogram or an L1BoundSum, a value an L1BoundSum".to_owned())),
    };
    require(task.unit > 0 && (task.measures == Measures::Value || task.unit == 1), || {
        "the unit of a task is not 1, or of a value at least 1".to_owned()
    })?;
    check_cells(&task.events, buckets)?;
    let mut names = BTreeSet::new();
    for event in &task.events {
        check_name(&event.name)?;
        require(names.insert(event.name.as_str()), || format!("a task counts {} twice", event.name))?;
        let beyond = event.offset.checked_add(largest_bucket).is_none_or(|bucket| bucket >= length);
        require(!beyond, || format!("{} has buckets beyond the {length} of a task", event.name))?;
    }
    Ok(())
}
