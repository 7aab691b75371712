//! Creating a campaign, and changing one.

use jiff::civil::Date;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Nav, Notice, Page, PageContext};
use super::parts::{self, Field};
use super::sign_in::sentence;
use crate::registry::{
    Advertiser, Campaign, CampaignChange, Currency, EventKind, Name, NewCampaign, NextCampaign,
    RegistryError, Status,
};
use crate::text::counted;

/// What was typed, as it was typed.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CampaignForm {
    /// Its name; fixed once it is created.
    #[serde(default)]
    pub name: String,
    /// Where it stands.
    #[serde(default)]
    pub status: String,
    /// Its first day.
    #[serde(default)]
    pub start: String,
    /// Its last day, or nothing.
    #[serde(default)]
    pub end: String,
    /// The currency of its spend; fixed once it is created.
    #[serde(default)]
    pub currency: String,
    /// Its goal.
    #[serde(default)]
    pub goal: String,
}

/// What is wrong with a form, by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// The name.
    pub name: Option<String>,
    /// The first day.
    pub start: Option<String>,
    /// The last day.
    pub end: Option<String>,
    /// The currency.
    pub currency: Option<String>,
    /// Of no field in particular, or of a choice that the form does not offer.
    pub all: Option<String>,
}

impl Problems {
    /// What the registry said. A name that is taken is told at its field.
    pub fn of(error: &RegistryError) -> Self {
        let told = Some(sentence(&error.to_string()));
        match error {
            RegistryError::NameTaken(_) => Self { name: told, ..Self::default() },
            _ => Self { all: told, ..Self::default() },
        }
    }
}

/// A day as the field has it.
fn read_day(text: &str, problem: &mut Option<String>) -> Option<Date> {
    let day = text.trim().parse::<Date>().ok();
    if day.is_none() {
        *problem = Some("A day is written as 2026-11-24.".to_owned());
    }
    day
}

fn read_status(text: &str) -> Option<Status> {
    [Status::Active, Status::Paused, Status::Ended].into_iter().find(|status| status_name(*status) == text)
}

/// As in the form and in files.
pub(super) fn status_name(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Paused => "paused",
        Status::Ended => "ended",
    }
}

impl CampaignForm {
    /// What is in the fields for a campaign to be.
    pub fn blank(advertiser: &Advertiser, today: Date) -> Self {
        Self {
            status: status_name(Status::Active).to_owned(),
            start: today.to_string(),
            currency: advertiser.currency.to_string(),
            goal: advertiser.events.first().map_or_else(String::new, ToString::to_string),
            ..Self::default()
        }
    }

    /// What is in the fields for one that is there.
    pub fn filled(campaign: &Campaign) -> Self {
        Self {
            name: campaign.name.to_string(),
            status: status_name(campaign.status).to_owned(),
            start: campaign.start.to_string(),
            end: campaign.end.map_or_else(String::new, |end| end.to_string()),
            currency: campaign.currency.to_string(),
            goal: campaign.goal.to_string(),
        }
    }

    /// The campaign that is asked for.
    ///
    /// # Errors
    /// What is wrong, field by field.
    pub fn new_campaign(&self) -> Result<NewCampaign, Problems> {
        let mut problems = Problems::default();
        let name = self
            .name
            .trim()
            .parse::<Name>()
            .map_err(|error| problems.name = Some(sentence(&error.to_string())))
            .ok();
        let currency = self.currency.trim().to_uppercase().parse::<Currency>();
        let currency = currency.map_err(|error| problems.currency = Some(sentence(&error.to_string()))).ok();
        let days = self.days(&mut problems);
        let (status, goal) = self.choices(&mut problems);
        match (name, currency, days, status, goal) {
            (Some(name), Some(currency), Some((start, end)), Some(status), Some(goal)) => {
                Ok(NewCampaign { name, status, start, end, currency, goal })
            }
            _ => Err(problems),
        }
    }

    /// The change that is asked for. Name and currency stay, whatever was sent.
    ///
    /// # Errors
    /// What is wrong, field by field.
    pub fn change(&self) -> Result<CampaignChange, Problems> {
        let mut problems = Problems::default();
        let days = self.days(&mut problems);
        let (status, goal) = self.choices(&mut problems);
        match (days, status, goal) {
            (Some((start, end)), Some(_), Some(_)) => {
                Ok(CampaignChange { status, start: Some(start), end: Some(end), goal })
            }
            _ => Err(problems),
        }
    }

    /// The first and the last day; `None` if either is wrong, and the problem says how.
    fn days(&self, problems: &mut Problems) -> Option<(Date, Option<Date>)> {
        let start = read_day(&self.start, &mut problems.start);
        if self.end.trim().is_empty() {
            return start.map(|start| (start, None));
        }
        let (start, end) = (start, read_day(&self.end, &mut problems.end));
        let (start, end) = (start?, end?);
        if end < start {
            problems.end = Some("The last day is before the first.".to_owned());
            return None;
        }
        Some((start, Some(end)))
    }

    fn choices(&self, problems: &mut Problems) -> (Option<Status>, Option<EventKind>) {
        let (status, goal) = (read_status(&self.status), self.goal.parse::<EventKind>().ok());
        if status.is_none() || goal.is_none() {
            problems.all = Some("Choose a status and a goal from the lists.".to_owned());
        }
        (status, goal)
    }
}

/// The page that creates a campaign.
pub fn new_page(
    ctx: &PageContext,
    advertiser: &Advertiser,
    next: &NextCampaign,
    form: &CampaignForm,
    problems: &Problems,
) -> Page {
    Page::new("New campaign", Nav::Campaigns).below("Campaigns", Nav::Campaigns.path()).body(html! {
        (problem(problems))
        @if let NextCampaign::Refused(reason) = next {
            p class="notice notice-error" { strong { "There is no room for another campaign." } " " (reason) }
        }
        div class="split" {
            form class="form panel" method="post" action="/console/campaigns/new" {
                (ctx.csrf())
                (Field::new("name", "Name", "text", &form.name)
                    .hint("As in your ads manager. It stays: apps call the campaign by it.").problem(problems.name.as_deref()))
                (fields(advertiser, form, problems))
                (Field::new("currency", "Currency of spend", "text", &form.currency)
                    .hint("Three letters, such as EUR. It stays.").problem(problems.currency.as_deref()))
                div class="actions" {
                    button class="button" type="submit" { "Create campaign" }
                    a class="button quiet" href=(Nav::Campaigns.path()) { "Cancel" }
                }
            }
            (costs(advertiser, next))
        }
    })
}

/// The page that changes one.
pub fn edit_page(
    ctx: &PageContext,
    advertiser: &Advertiser,
    campaign: &Campaign,
    form: &CampaignForm,
    problems: &Problems,
) -> Page {
    let path = format!("/console/campaigns/{}", campaign.id);
    Page::new(format!("Edit {}", campaign.name), Nav::Campaigns).below(campaign.name.as_str(), path.clone()).body(html! {
        (problem(problems))
        form class="form panel" method="post" action=(format!("{path}/edit")) {
            (ctx.csrf())
            p class="hint" { "The name and the currency (" (campaign.currency) ") stay: numbers that are there already were counted under them." }
            (fields(advertiser, form, problems))
            p class="hint" {
                "Another goal changes which event \u{201c}conversions\u{201d} means in tables, for past days too. All events are counted either way."
            }
            div class="actions" {
                button class="button" type="submit" { "Save" }
                a class="button quiet" href=(path) { "Cancel" }
            }
        }
    })
}

fn problem(problems: &Problems) -> Markup {
    let fields = [&problems.name, &problems.start, &problems.end, &problems.currency];
    html! {
        @if let Some(problem) = &problems.all {
            (Notice::error(problem))
        } @else if fields.into_iter().any(Option::is_some) {
            (Notice::error("See what is marked below; nothing was changed."))
        }
    }
}

fn fields(advertiser: &Advertiser, form: &CampaignForm, problems: &Problems) -> Markup {
    let goals: Vec<(String, String)> =
        advertiser.events.iter().map(|event| (event.name().to_owned(), event.label().to_owned())).collect();
    let statuses = [Status::Active, Status::Paused, Status::Ended].map(|status| {
        let text = match status {
            Status::Active => "Active: it runs",
            Status::Paused => "Paused: it does not run for now",
            Status::Ended => "Ended: it is over",
        };
        (status_name(status).to_owned(), text.to_owned())
    });
    html! {
        div class="fields" {
            (parts::select("goal", "Goal", &goals, &form.goal, Some("What \u{201c}conversions\u{201d} means for it.")))
            (parts::select("status", "Status", &statuses, &form.status, None))
        }
        div class="fields" {
            (Field::new("start", "First day", "date", &form.start).problem(problems.start.as_deref()))
            (Field::new("end", "Last day", "date", &form.end).optional()
                .hint("Days in your time zone.").problem(problems.end.as_deref()))
        }
    }
}

/// What a new campaign costs: whether it fits, and what it does to the noise and the budget.
fn costs(advertiser: &Advertiser, next: &NextCampaign) -> Markup {
    let events = match advertiser.events.len() {
        1 => "one kind of event".to_owned(),
        count => format!("{count} kinds of events"),
    };
    html! {
        aside class="panel" aria-labelledby="costs" {
            h2 id="costs" { "What it costs" }
            @match next {
                NextCampaign::Fits { room } => {
                    p { "No privacy budget, and no new task: it takes a place among the cells that are there. " strong { (counted(room, "campaign")) @if *room == 1 { " fits" } @else { " fit" } } ", this one included." }
                }
                NextCampaign::OpensTasks { length, tasks } => {
                    p {
                        strong { "It opens " (counted(tasks, "new task")) } " of " (length) " cells. The operators of both aggregators have to take part in them before it is counted; "
                        "whoever runs this collector hands them the files."
                    }
                    p class="small soft" { "If there are tasks already, devices report to both for up to a month, and both spend: a release of the new ones as much as one of those before." }
                }
                NextCampaign::Refused(_) => p { "It cannot be created now; see above." },
            }
            p class="small soft" {
                "It is counted for " (events) ". Noise does not grow with campaigns, but conversions that are spread over more of them are fewer in each: "
                a href=(Nav::Planner.path()) { "plan it" } " before you split one into many."
            }
        }
    }
}
