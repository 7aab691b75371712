//! Where the windows of an advertiser stand.

use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::guard::{Call, Handled, Read, Tenant};
use super::page::{Page, Wanted};
use super::releases::MeasuresJson;
use super::when::Days;
use crate::schedule::{WindowState, WindowStatus};
use crate::text::utc;

/// Where a window stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WindowState)]
pub(super) enum StateJson {
    /// It is not over.
    Open,
    /// It is over, and waits for late reports.
    Waiting,
    /// It is being collected.
    UnderWay,
    /// It has fewer reports than a release needs.
    TooFewReports,
    /// The privacy budget does not carry it.
    RefusedByBudget,
    /// Its numbers are there.
    Released,
    /// It was not collected for another reason.
    Failed,
}

/// A window of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Window)]
pub(super) struct WindowJson {
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
    /// Where it stands.
    state: StateJson,
    /// What that means, and what to do.
    meaning: &'static str,
    /// Why, in words of whoever refused; `null` if nobody did.
    reason: Option<String>,
    /// The number of its release; `null` before it is released.
    sequence: Option<u64>,
    /// When something happens next by itself: it closes, is collected, or is tried again; `null` if nothing does.
    #[schema(format = DateTime)]
    next: Option<String>,
}

impl From<&WindowStatus> for WindowJson {
    fn from(status: &WindowStatus) -> Self {
        let (state, reason, next) = match &status.state {
            WindowState::Open { closes } => (StateJson::Open, None, Some(*closes)),
            WindowState::Waiting { until } => (StateJson::Waiting, None, Some(*until)),
            WindowState::UnderWay { trouble } => (StateJson::UnderWay, trouble.clone(), None),
            WindowState::TooFewReports { reason, next_try } => {
                (StateJson::TooFewReports, Some(reason.clone()), *next_try)
            }
            WindowState::RefusedByBudget { reason, next_try } => {
                (StateJson::RefusedByBudget, Some(reason.clone()), *next_try)
            }
            WindowState::Released { .. } => (StateJson::Released, None, None),
            WindowState::Failed { reason, next_try } => (StateJson::Failed, Some(reason.clone()), *next_try),
        };
        Self {
            from: utc(status.window.from().seconds()),
            to: utc(status.window.to().seconds()),
            measures: match status.measures {
                crate::schedule::Measures::Conversions => MeasuresJson::Conversions,
                crate::schedule::Measures::Value => MeasuresJson::Value,
            },
            task: status.task.to_string(),
            generation: status.generation,
            state,
            meaning: status.meaning(),
            reason,
            sequence: status.state.released(),
            next: next.map(utc),
        }
    }
}

/// Lists the windows of a range of days, and where each stands
///
/// In the order of time. Every window has a state: there is none of which it is not known why its numbers are missing.
#[utoipa::path(get, path = "/v1/advertisers/{advertiser}/windows", tag = "releases", operation_id = "list_windows",
    params(super::document::AdvertiserPath, super::document::DayParams, super::document::PageParams),
    responses((status = 200, description = "A page of windows.", body = Page<WindowJson>)))]
pub(super) fn list(tenant: &Tenant<Read>, call: &mut Call) -> Handled {
    let days = Days::take(tenant.advertiser(), call)?;
    let wanted = Wanted::take(&mut call.query)?;
    call.query.finish(&["from", "to", "limit", "cursor"])?;
    let range = days.seconds(tenant.advertiser())?;
    let mut windows = tenant.api().schedule().windows(tenant.id(), range.start, range.end)?;
    windows.sort_by_key(key);
    let after = wanted.after(|text| {
        let (seconds, task) = text.split_once(' ')?;
        Some((seconds.parse::<u64>().ok()?, task.to_owned()))
    })?;
    let unseen = |status: &&WindowStatus| after.as_ref().is_none_or(|after| key(status) > *after);
    let page = wanted.page(windows.iter().filter(unseen), |status| {
        let (seconds, task) = key(status);
        format!("{seconds} {task}")
    });
    Answer::json(&page.map(WindowJson::from))
}

/// The order of windows: by time, then by task.
fn key(status: &WindowStatus) -> (u64, String) {
    (status.window.from().seconds(), status.task.to_string())
}
