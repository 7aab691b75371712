//! What an advertiser's releases have charged its privacy budget.

use arras_protocol::epsilon::DisplayMicro;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::guard::{Call, Handled, Read, Tenant};
use super::page::Page;
use crate::privacy::ledger::EPOCH_SECONDS;
use crate::text::utc;

/// A week of a budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = BudgetEpoch)]
pub(super) struct EpochJson {
    /// From when.
    #[schema(format = DateTime)]
    from: String,
    /// Until when, itself not included: a week later.
    #[schema(format = DateTime)]
    to: String,
    /// What this collector's releases have charged, as a decimal. The ledgers that refuse are the aggregators', and hold what
    /// was spent without a release, too.
    #[schema(example = "3")]
    spent: String,
}

/// Lists what was spent of the privacy budget
///
/// By week, the latest first: what the advertiser's releases have charged. Weeks that were charged nothing are left out.
#[utoipa::path(get, path = "/v1/advertisers/{advertiser}/budget", tag = "measurement", operation_id = "get_budget",
    params(super::document::AdvertiserPath, super::document::PageParams),
    responses((status = 200, description = "A page of weeks.", body = Page<EpochJson>)))]
pub(super) fn get(tenant: &Tenant<Read>, call: &mut Call) -> Handled {
    let wanted = call.page()?;
    let mut epochs = tenant.api().collector().store().charged(&tenant.advertiser().site)?;
    epochs.reverse();
    let after = wanted.after(|text| text.parse::<u64>().ok())?;
    let rest = epochs.into_iter().filter(|(start, _)| after.is_none_or(|after| *start < after));
    let page = wanted.page(rest, |(start, _)| start.to_string());
    Answer::json(&page.map(|(start, micro)| EpochJson {
        from: utc(start),
        to: utc(start.saturating_add(EPOCH_SECONDS)),
        spent: DisplayMicro(micro).to_string(),
    }))
}
