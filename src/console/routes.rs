//! Where requests for the main pages arrive: each gathers what its page shows, off the runtime, and hands it over.
//!
//! A handler asks for the numbers of the advertiser of its [`SignedIn`] and of no other; a campaign of another advertiser is
//! as absent as one that never was.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::civil::Date;
use serde::Deserialize;

use super::asked::{Asked, Named, Sent};
use super::campaign::{self, CampaignPage};
use super::campaign_form::{self, CampaignForm, Problems};
use super::campaigns::{self, Campaigns, CampaignsQuery, Order};
use super::layout::{self, Notice, Page};
use super::overview::{self, Overview};
use super::range::{Range, RangeQuery};
use super::session::{Console, SignedIn};
use super::turn::in_turn;
use super::{export, format, help, series};
use crate::access::Scope;
use crate::aggregator::work::blocking;
use crate::insights::{FieldSet, Granularity, Level, Query, QueryError, Table};
use crate::registry::{
    Advertiser, Campaign, CampaignId, ErrorKind, RegistryError, Touch, Touches, ValueTask,
};
use crate::schedule::{DayRange, WindowStatus};
use crate::store::StoreError;

/// Who may not create or change campaigns, after "Your account may not".
const CHANGE_CAMPAIGNS: &str = "create or change campaigns";

/// `GET /console/help`
pub(super) async fn show_help(signed: SignedIn) -> Response {
    help::view().respond(&signed.context())
}

/// Why a page could not be gathered.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Query(#[from] QueryError),
    #[error("{0}")]
    Registry(#[from] RegistryError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    File(#[from] csv::Error),
}

impl Trouble {
    fn page(&self, signed: &SignedIn) -> Response {
        let ctx = signed.context();
        match self {
            Self::Query(error) if error.is_not_found() => layout::not_found(&ctx),
            Self::Registry(error) if error.kind() == ErrorKind::NotFound => layout::not_found(&ctx),
            Self::Query(error) if !error.is_internal() => layout::error_page(
                Some(&ctx),
                StatusCode::BAD_REQUEST,
                "These numbers cannot be shown",
                &error.to_string(),
                maud::html! { a class="button" href=(layout::Nav::Overview.path()) { "Back to the overview" } },
            ),
            _ => {
                tracing::error!(error = %self, "a page of the console could not be made");
                layout::failed(Some(&ctx))
            }
        }
    }
}

/// Whose numbers, and when: what every page asks with.
#[derive(Clone)]
struct Asker {
    console: Console,
    advertiser: Arc<Advertiser>,
    now: u64,
    today: Date,
}

impl Asker {
    fn new(console: Console, signed: &SignedIn) -> Self {
        let (now, advertiser) = (console.now(), Arc::clone(&signed.advertiser));
        let today = format::day_of(now, &advertiser.time_zone);
        Self { console, advertiser, now, today }
    }

    /// A query of this advertiser's campaigns, to be narrowed.
    fn query(&self, from: Date, to: Date) -> Query {
        Query::campaigns(self.advertiser.id, from, to)
    }

    fn account(&self, from: Date, to: Date) -> Query {
        Query { level: Level::Account, ..self.query(from, to) }
    }

    fn ask(&self, query: &Query) -> Result<Table, QueryError> {
        self.console.advertising.insights.query(query)
    }

    /// Windows of a range, and those that have begun since.
    fn windows(&self, range: &Range) -> Result<Vec<WindowStatus>, StoreError> {
        let last = range.to.max(self.today);
        let seconds = DayRange::new(range.from, last).map(|days| days.seconds(&self.advertiser.time_zone));
        let seconds = seconds.unwrap_or(self.now..self.now.saturating_add(1));
        self.console.advertising.schedule.windows(self.advertiser.id, seconds.start, seconds.end)
    }

    /// How values are counted now.
    fn value_task(&self) -> Option<ValueTask> {
        self.console.advertising.registry.generations(self.advertiser.id).last()?.value
    }

    fn campaign(&self, id: CampaignId) -> Result<Arc<Campaign>, RegistryError> {
        self.console.advertising.registry.campaign(self.advertiser.id, id).ok_or(RegistryError::NoCampaign)
    }
}

/// Gathers a page when it is its advertiser's turn and answers with it.
async fn gathered(
    asker: Asker,
    signed: &SignedIn,
    notice: Option<Notice>,
    gather: impl FnOnce(&Asker, &layout::PageContext) -> Result<Page, Trouble> + Send + 'static,
) -> Response {
    let (ctx, console) = (signed.context_with(notice), asker.console.clone());
    match in_turn(&console, signed, move || gather(&asker, &ctx).map(|page| page.respond(&ctx))).await {
        Ok(Ok(response)) => response,
        Ok(Err(trouble)) => trouble.page(signed),
        Err(busy) => *busy,
    }
}

/// Answers with a page of the registry alone, which is in memory: it waits for nobody's turn, so that what was typed is not lost
/// while other pages are being made.
async fn form_page(
    asker: Asker,
    signed: &SignedIn,
    make: impl FnOnce(&Asker, &layout::PageContext) -> Result<Page, Trouble> + Send + 'static,
) -> Response {
    let ctx = signed.context();
    let made = blocking(move || make(&asker, &ctx).map(|page| page.respond(&ctx)));
    made.await.unwrap_or_else(|trouble| trouble.page(signed))
}

pub(super) async fn show_overview(
    State(console): State<Console>,
    signed: SignedIn,
    Asked(range): Asked<RangeQuery>,
) -> Response {
    let asker = Asker::new(console, &signed);
    let range = Range::new(&range, asker.today, asker.advertiser.cadence);
    gathered(asker, &signed, None, move |asker, ctx| {
        let (from, to) = (range.from, range.to);
        let steps = series::steps(asker.advertiser.cadence, &range);
        let before = range.before();
        Ok(overview::view(
            ctx,
            &Overview {
                advertiser: &asker.advertiser,
                campaigns: &asker.console.advertising.registry.campaigns(asker.advertiser.id),
                range: &range,
                today: asker.today,
                now: asker.now,
                account: &asker.ask(&asker.account(from, to))?,
                before: &asker.ask(&asker.account(before.0, before.1))?,
                series: &asker.ask(&Query { granularity: steps, ..asker.account(from, to) })?,
                steps,
                by_campaign: &asker.ask(&asker.query(from, to))?,
                windows: &asker.windows(&range)?,
            },
        ))
    })
    .await
}

pub(super) async fn show_campaigns(
    State(console): State<Console>,
    signed: SignedIn,
    Asked(CampaignsQuery { range, sort, order, page }): Asked<CampaignsQuery>,
) -> Response {
    let asker = Asker::new(console, &signed);
    let range = Range::new(&range, asker.today, asker.advertiser.cadence);
    let order = Order::new(sort.as_deref(), order.as_deref());
    let page = page.and_then(|page| page.parse().ok()).unwrap_or(1);
    gathered(asker, &signed, None, move |asker, ctx| {
        let (from, to) = (range.from, range.to);
        Ok(campaigns::view(
            ctx,
            &Campaigns {
                advertiser: &asker.advertiser,
                range: &range,
                today: asker.today,
                order,
                page,
                campaigns: &asker.console.advertising.registry.campaigns(asker.advertiser.id),
                answer: &asker.ask(&asker.query(from, to))?,
                account: &asker.ask(&asker.account(from, to))?,
            },
        ))
    })
    .await
}

pub(super) async fn export_campaigns(
    State(console): State<Console>,
    signed: SignedIn,
    Asked(range): Asked<RangeQuery>,
) -> Response {
    let asker = Asker::new(console.clone(), &signed);
    let range = Range::new(&range, asker.today, asker.advertiser.cadence);
    let name = format!("attachment; filename=\"campaigns-{}-to-{}.csv\"", range.from, range.to);
    let made = in_turn(&console, &signed, move || {
        let answer = asker.ask(&asker.query(range.from, range.to))?;
        Ok::<_, Trouble>(export::campaigns(&asker.advertiser, &range, &answer)?)
    });
    let made = match made.await {
        Ok(made) => made,
        Err(busy) => return *busy,
    };
    let (text, name) = match (made, HeaderValue::from_str(&name)) {
        (Ok(text), Ok(name)) => (text, name),
        (Err(trouble), _) => return trouble.page(&signed),
        (_, Err(_)) => return layout::failed(Some(&signed.context())),
    };
    let kind = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], text).into_response()
}

/// What happened before a page was asked for: one of a few words, so that no address can put words into a page.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Done {
    done: Option<String>,
}

impl Done {
    fn notice(&self) -> Option<Notice> {
        match self.done.as_deref() {
            Some("created") => {
                Some(Notice::done("The campaign was created. Devices learn of it with the next manifest."))
            }
            Some("saved") => Some(Notice::done("The campaign was changed.")),
            _ => None,
        }
    }
}

/// The parameters of a campaign's page.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CampaignQuery {
    #[serde(flatten)]
    range: RangeQuery,
    by: Option<String>,
}

pub(super) async fn show_campaign(
    State(console): State<Console>,
    signed: SignedIn,
    Named(id): Named,
    Asked(CampaignQuery { range, by }): Asked<CampaignQuery>,
    Asked(done): Asked<Done>,
) -> Response {
    let Ok(id) = id.parse::<CampaignId>() else { return layout::not_found(&signed.context()) };
    let asker = Asker::new(console, &signed);
    let range = Range::new(&range, asker.today, asker.advertiser.cadence);
    gathered(asker, &signed, done.notice(), move |asker, ctx| {
        let campaign = asker.campaign(id)?;
        let query = Query { campaign: Some(id), ..asker.query(range.from, range.to) };
        let finest = series::steps(asker.advertiser.cadence, &range);
        let steps = if by.as_deref() == Some("week") { Granularity::Week } else { finest };
        let touches = match asker.advertiser.touches {
            Touches::Together => Vec::new(),
            Touches::Apart => {
                let one = |touch| Ok((touch, asker.ask(&Query { touch: Some(touch), ..query.clone() })?));
                [Touch::View, Touch::Click].into_iter().map(one).collect::<Result<_, QueryError>>()?
            }
        };
        Ok(campaign::view(
            ctx,
            &CampaignPage {
                advertiser: &asker.advertiser,
                campaign: &campaign,
                range: &range,
                today: asker.today,
                now: asker.now,
                total: &asker.ask(&query)?,
                series: &asker.ask(&Query { granularity: steps, ..query.clone() })?,
                steps,
                events: &asker.ask(&Query { level: Level::Event, fields: FieldSet::ALL, ..query.clone() })?,
                touches: &touches,
                value_task: asker.value_task(),
                windows: &asker.windows(&range)?,
            },
        ))
    })
    .await
}

pub(super) async fn show_new(State(console): State<Console>, signed: SignedIn) -> Response {
    if let Err(refused) = signed.must(Scope::Manage, CHANGE_CAMPAIGNS) {
        return *refused;
    }
    let form = CampaignForm::blank(&signed.advertiser, Asker::new(console.clone(), &signed).today);
    form_for_new(console, &signed, form, Problems::default()).await
}

async fn form_for_new(
    console: Console,
    signed: &SignedIn,
    form: CampaignForm,
    problems: Problems,
) -> Response {
    let asker = Asker::new(console, signed);
    let status =
        if problems == Problems::default() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    form_page(asker, signed, move |asker, ctx| {
        let next = asker.console.advertising.registry.next_campaign(asker.advertiser.id, asker.now)?;
        Ok(campaign_form::new_page(ctx, &asker.advertiser, &next, &form, &problems).status(status))
    })
    .await
}

pub(super) async fn create(
    State(console): State<Console>,
    signed: SignedIn,
    Sent(form): Sent<CampaignForm>,
) -> Response {
    if let Err(refused) = signed.must(Scope::Manage, CHANGE_CAMPAIGNS) {
        return *refused;
    }
    let new = match form.new_campaign() {
        Ok(new) => new,
        Err(problems) => return form_for_new(console, &signed, form, problems).await,
    };
    let asker = Asker::new(console.clone(), &signed);
    let created = blocking(move || {
        asker.console.advertising.registry.create_campaign(asker.advertiser.id, &new, asker.now)
    });
    match created.await {
        Ok(campaign) => {
            Redirect::to(&format!("/console/campaigns/{}?done=created", campaign.id)).into_response()
        }
        Err(error) if error.kind() == ErrorKind::Store => Trouble::from(error).page(&signed),
        Err(error) => form_for_new(console, &signed, form, Problems::of(&error)).await,
    }
}

pub(super) async fn show_edit(
    State(console): State<Console>,
    signed: SignedIn,
    Named(id): Named,
) -> Response {
    form_for_edit(console, &signed, &id, None).await
}

/// The form of a campaign: as it is, or as it was sent with what is wrong.
async fn form_for_edit(
    console: Console,
    signed: &SignedIn,
    id: &str,
    sent: Option<(CampaignForm, Problems)>,
) -> Response {
    if let Err(refused) = signed.must(Scope::Manage, CHANGE_CAMPAIGNS) {
        return *refused;
    }
    let Ok(id) = id.parse::<CampaignId>() else { return layout::not_found(&signed.context()) };
    let asker = Asker::new(console, signed);
    form_page(asker, signed, move |asker, ctx| {
        let campaign = asker.campaign(id)?;
        let status = if sent.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        let (form, problems) = sent.unwrap_or_else(|| (CampaignForm::filled(&campaign), Problems::default()));
        Ok(campaign_form::edit_page(ctx, &asker.advertiser, &campaign, &form, &problems).status(status))
    })
    .await
}

pub(super) async fn change(
    State(console): State<Console>,
    signed: SignedIn,
    Named(text): Named,
    Sent(form): Sent<CampaignForm>,
) -> Response {
    if let Err(refused) = signed.must(Scope::Manage, CHANGE_CAMPAIGNS) {
        return *refused;
    }
    let Ok(id) = text.parse::<CampaignId>() else { return layout::not_found(&signed.context()) };
    let wanted = match form.change() {
        Ok(wanted) => wanted,
        Err(problems) => return form_for_edit(console, &signed, &text, Some((form, problems))).await,
    };
    let asker = Asker::new(console.clone(), &signed);
    let changed = blocking(move || {
        asker.console.advertising.registry.change_campaign(asker.advertiser.id, id, &wanted, asker.now)
    });
    match changed.await {
        Ok(_) => Redirect::to(&format!("/console/campaigns/{id}?done=saved")).into_response(),
        Err(error) if matches!(error.kind(), ErrorKind::Store | ErrorKind::NotFound) => {
            Trouble::from(error).page(&signed)
        }
        Err(error) => {
            let problems = Problems::of(&error);
            form_for_edit(console, &signed, &text, Some((form, problems))).await
        }
    }
}
