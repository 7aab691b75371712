//! The releases of an advertiser's tasks.

use arras_protocol::messages::{TaskId, TimePrecision};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::accept::Media;
use super::answer::Answer;
use super::guard::{Call, Handled, Read, Tenant};
use super::page::{Page, next_link};
use super::refusal::Refusal;
use super::sheet::{Cell, Sheet};
use crate::collector::{Collection, Span, Stage};
use crate::registry::{AdvertiserId, TIME_PRECISION_SECONDS};
use crate::text::utc;

/// What is said of a release that there is not, or that is another advertiser's.
const NO_RELEASE: &str = "the advertiser has no release of this number; the list of releases has all of them";

/// What a task's windows hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Measures)]
pub(super) enum MeasuresJson {
    /// How many conversions.
    Conversions,
    /// What they were worth.
    Value,
}

/// A released window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Release)]
pub(super) struct ReleaseJson {
    /// The release's number.
    sequence: u64,
    /// From when.
    #[schema(format = DateTime)]
    from: String,
    /// Until when, itself not included.
    #[schema(format = DateTime)]
    to: String,
    /// What it measures.
    measures: MeasuresJson,
    /// The task.
    task: String,
    /// Of which generation of the advertiser's tasks.
    generation: u32,
}

/// A task of an advertiser.
#[derive(Clone, Copy)]
struct Own {
    task: TaskId,
    measures: MeasuresJson,
    generation: u32,
}

/// The tasks of an advertiser, oldest first, that of conversions before that of values.
fn tasks(api: &Api, advertiser: AdvertiserId) -> Vec<Own> {
    let generations = api.registry().generations(advertiser);
    let both = generations.iter().flat_map(|one| {
        let own = |task, measures| Own { task, measures, generation: one.number };
        let value = one.value.map(|value| own(value.task, MeasuresJson::Value));
        [Some(own(one.conversions, MeasuresJson::Conversions)), value]
    });
    both.flatten().collect()
}

/// Lists the releases
///
/// In the order of their windows' ends. Also as CSV (`Accept: text/csv`).
#[utoipa::path(get, path = "/v1/advertisers/{advertiser}/releases", tag = "releases", operation_id = "list_releases",
    params(super::document::AdvertiserPath, super::document::PageParams),
    responses((status = 200, description = "A page of releases.",
        content((Page<ReleaseJson> = "application/json"), (String = "text/csv")))))]
pub(super) fn list(tenant: &Tenant<Read>, call: &mut Call) -> Handled {
    let media = call.accept(&[Media::Json, Media::Csv])?;
    let wanted = call.page()?;
    // An end in units of the tasks' precision, and the place of a task in the list of them.
    let after = wanted.after(|text| {
        let (end, place) = text.split_once(' ')?;
        Some((end.parse::<u64>().ok()?, place.parse::<usize>().ok()?))
    })?;
    let mut found: Vec<(u64, usize, ReleaseJson)> = Vec::new();
    for (place, own) in tasks(tenant.api(), tenant.id()).into_iter().enumerate() {
        let of_task =
            released(tenant.api(), own.task, after.map(|(end, seen)| (end, place > seen)), wanted.limit + 1)?;
        found.extend(of_task.into_iter().map(|(end, sequence, window)| {
            let release = ReleaseJson {
                sequence,
                from: utc(window.from().seconds()),
                to: utc(window.to().seconds()),
                measures: own.measures,
                task: own.task.to_string(),
                generation: own.generation,
            };
            (end, place, release)
        }));
    }
    found.sort_by_key(|(end, place, _)| (*end, *place));
    let page = wanted.page(found, |(end, place, _)| format!("{end} {place}")).map(|(_, _, release)| release);
    if media == Media::Json {
        return Answer::json(&page);
    }
    let mut sheet = Sheet::new(&["sequence", "from", "to", "measures", "task", "generation"])?;
    for one in &page.data {
        let measures = super::query::word_of(&one.measures);
        sheet.row(&[
            Cell::of(Some(one.sequence)),
            Cell::plain(&one.from),
            Cell::plain(&one.to),
            Cell::of(Some(measures)),
            // One in 64 begins with a minus sign.
            Cell::Text(&one.task),
            Cell::of(Some(one.generation)),
        ])?;
    }
    let path = format!("/v1/advertisers/{}/releases", tenant.id());
    let next = next_link(&path, &wanted, page.next.as_ref(), &[]);
    Ok(Answer::csv(sheet.finish()?, "releases.csv").with_next(next))
}

/// At most `limit` released windows of a task after `after`, by their ends; `true` beside it counts one that ends just there.
fn released(
    api: &Api,
    task: TaskId,
    after: Option<(u64, bool)>,
    limit: usize,
) -> Result<Vec<(u64, u64, Span)>, Refusal> {
    let store = api.collector().store();
    // All tasks of advertisers have it.
    let precision =
        TimePrecision::from_seconds(TIME_PRECISION_SECONDS).map_err(|error| Refusal::internal(&error))?;
    let mut end = match after {
        None => 0,
        Some((end, true)) => end.saturating_sub(1),
        Some((end, false)) => end,
    };
    let mut found = Vec::new();
    while found.len() < limit {
        let page = store.collections(task, end, limit)?;
        let Some(last) = page.last() else { break };
        end = last.interval.end().0;
        let full = page.len() == limit;
        found.extend(page.iter().filter_map(|Collection { interval, stage }| {
            let Stage::Released { sequence } = stage else { return None };
            let window = Span::of(*interval, precision)?;
            Some((interval.end().0, *sequence, window))
        }));
        if !full {
            break;
        }
    }
    Ok(found)
}

/// Shows a release
///
/// The exact bytes that the collector signed, or with `Accept: application/jose` the signed release, which anybody can verify
/// with the keys at `/keys`.
#[utoipa::path(get, path = "/v1/advertisers/{advertiser}/releases/{sequence}", tag = "releases",
    operation_id = "get_release",
    params(super::document::AdvertiserPath, super::document::SequencePath),
    responses((status = 200, description = "The release.",
        content((serde_json::Value = "application/json"), (String = "application/jose")))))]
pub(super) fn show(tenant: &Tenant<Read>, call: &mut Call) -> Handled {
    let media = call.accept(&[Media::Json, Media::Jose])?;
    call.query.finish(&[])?;
    let missing = || Refusal::not_found(NO_RELEASE);
    let sequence: u64 = call.path("sequence", NO_RELEASE)?;
    let published = tenant.api().collector().store().release(sequence)?.ok_or_else(missing)?;
    let task = &published.release().task;
    // Another advertiser's looks as one that there is not.
    if tasks(tenant.api(), tenant.id()).iter().all(|own| own.task.to_string() != *task) {
        return Err(missing());
    }
    if media == Media::Json {
        return Ok(Answer::new(Media::Json, published.document().to_vec()));
    }
    let signed = published.signed();
    let signed =
        signed.ok_or_else(|| Refusal::not_found("this release is from before releases were signed"))?;
    Ok(Answer::new(Media::Jose, signed.as_bytes().to_vec()))
}
