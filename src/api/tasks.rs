//! The tasks that count an advertiser's conversions, for whoever runs the aggregators and signs manifests.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::accept::Media;
use super::answer::Answer;
use super::guard::{Call, Handled, Read, Tenant};
use super::page::Page;
use crate::registry::{EventKind, Generation, TaskText, Touch};
use crate::text::utc;

/// A task's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TaskFile)]
pub(super) struct TaskJson {
    /// The task's id.
    task: String,
    /// Its name; public.
    name: String,
    /// What the operators of both aggregators hand to `arras task add`.
    file: String,
}

/// What a bucket counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Bucket)]
pub(super) struct BucketJson {
    /// Its number in releases.
    bucket: u32,
    /// The kind of event.
    event: EventKind,
    /// The campaign's id.
    campaign: String,
    /// After which kind of touch; `null` if they are not told apart.
    touch: Option<Touch>,
}

/// A generation: a task of conversions, its task of values, and what their buckets mean. That never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Generation)]
pub(super) struct GenerationJson {
    /// Counts the advertiser's generations, from 1.
    generation: u32,
    /// From when devices are told of it.
    #[schema(format = DateTime)]
    opened: String,
    /// When the next one took its place; `null` for the one that counts now.
    #[schema(format = DateTime)]
    closed: Option<String>,
    /// What it counts.
    events: Vec<EventKind>,
    /// Places for campaigns: one for each, or two where views and clicks are told apart.
    capacity: u32,
    /// Buckets of each task. Bucket 0 is of conversions that no campaign gets.
    length: u32,
    /// The task that counts conversions.
    conversions: TaskJson,
    /// The task that sums values; `null` if there is none.
    value: Option<TaskJson>,
    /// Minor units of the advertiser's currency that are 1 in the sums of values.
    value_unit: Option<u64>,
    /// The most that one conversion adds, in these units.
    value_max: Option<u64>,
    /// What buckets mean; those that mean nothing are left out.
    buckets: Vec<BucketJson>,
}

/// Lists the tasks
///
/// The operators of both aggregators add their files with `arras task add`; until then reports of devices are refused.
#[utoipa::path(get, path = "/v1/advertisers/{advertiser}/tasks", tag = "measurement", operation_id = "list_tasks",
    params(super::document::AdvertiserPath, super::document::PageParams),
    responses((status = 200, description = "A page of generations of tasks, the oldest first.",
        body = Page<GenerationJson>)))]
pub(super) fn list(tenant: &Tenant<Read>, call: &mut Call) -> Handled {
    let wanted = call.page()?;
    let registry = tenant.api().registry();
    let generations = registry.generations(tenant.id());
    let after = wanted.after(|text| text.parse::<u32>().ok())?;
    let rest = generations.iter().filter(|one| after.is_none_or(|after| one.number > after));
    let page = wanted.page(rest, |one| one.number.to_string());
    let files = registry.task_files(tenant.id())?;
    let files: HashMap<String, TaskText> =
        files.into_iter().map(|file| (file.task.to_string(), file)).collect();
    Answer::json(&page.map(|one| generation(one, &files)))
}

fn generation(one: &Generation, files: &HashMap<String, TaskText>) -> GenerationJson {
    let task = |id: String| match files.get(&id) {
        Some(file) => TaskJson { task: id, name: file.name.clone(), file: file.toml.clone() },
        None => TaskJson { task: id, name: String::new(), file: String::new() },
    };
    let mut buckets = Vec::new();
    for event in &one.events {
        for (number, slot) in (1..).zip(&one.slots) {
            let (Some(slot), Some(bucket)) = (slot, one.bucket(*event, number)) else { continue };
            let campaign = slot.campaign.to_string();
            buckets.push(BucketJson { bucket, event: *event, campaign, touch: slot.touch });
        }
    }
    GenerationJson {
        generation: one.number,
        opened: utc(one.opened),
        closed: one.closed.map(utc),
        events: one.events.clone(),
        capacity: one.capacity,
        length: one.length,
        conversions: task(one.conversions.to_string()),
        value: one.value.map(|value| task(value.task.to_string())),
        value_unit: one.value.map(|value| value.unit),
        value_max: one.value.map(|value| value.max_value),
        buckets,
    }
}

/// Gets the file of which a manifest for devices is signed
///
/// For `arras manifest`: whoever holds the advertiser's key signs it.
#[utoipa::path(get, path = "/v1/advertisers/{advertiser}/manifest-file", tag = "measurement",
    operation_id = "get_manifest_file",
    params(super::document::AdvertiserPath),
    responses((status = 200, description = "The file.", content((String = "application/toml")))))]
pub(super) fn manifest_file(tenant: &Tenant<Read>, call: &mut Call) -> Handled {
    call.accept(&[Media::Toml])?;
    call.query.finish(&[])?;
    let file = tenant.api().registry().manifest_file(tenant.id(), call.now)?;
    Ok(Answer::new(Media::Toml, file.into_bytes()))
}
