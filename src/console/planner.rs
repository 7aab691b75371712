//! The planner as a form: how far off numbers will be, before anything is spent. A page that is asked for with GET, so that it can be
//! kept as a bookmark and sent to a colleague.

use std::num::NonZeroU32;
use std::sync::Arc;

use arras_protocol::epsilon::MicroEpsilon;
use arras_protocol::vdaf::VdafConfig;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;

use super::layout::{Nav, Notice, Page};
use super::measures::TOO_FEW;
use super::parts::{self, Column, Field, Table};
use super::session::{Console, SignedIn};
use super::sign_in::sentence;
use super::{format, turn};
use crate::planner::{
    self, Amount, Campaign, Fraction, HIDDEN_CHANCE, Outlook, Plan, SHOWN_CHANCE, Setting, Terms, Values,
    recommendation, released,
};
use crate::privacy::ledger::{BudgetSource, SourceRules};
use crate::registry::{self, Advertiser, LENGTHS, Registry, Status, TIME_PRECISION_SECONDS, Touches};
use crate::schedule::planned_windows;

/// Campaigns in one plan on this page; a list that is longer is planned by `arras plan`.
pub const PLAN_CAMPAIGNS_MAX: usize = 200;

/// Bytes of the field of campaigns: the whole form fits an address.
pub const PLAN_BYTES_MAX: usize = 12 * 1024;

/// Campaigns that the empty form proposes.
const PROPOSED_MAX: usize = 12;

/// What is asked; every field as it was typed.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    campaigns: Option<String>,
    #[serde(default)]
    rest: String,
    #[serde(default)]
    average: String,
    #[serde(default)]
    epsilon: String,
    #[serde(default)]
    cap: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    find: String,
}

/// A field that makes no sense, and why.
struct Wrong(&'static str, String);

/// The page: the form, and the plan of what is asked, if something is.
pub(super) async fn show(
    State(console): State<Console>,
    me: SignedIn,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let Ok(Query(asked)) = asked else {
        return page(&console, &me, &Asked::default(), Err(Wrong("", "This address is no plan.".to_owned())));
    };
    if asked.campaigns.is_none() {
        return page(&console, &me, &asked, Ok(None));
    }
    let (advertiser, given, told) =
        (me.advertiser.clone(), asked.clone(), Told::of(&console, &me.advertiser));
    let place = match turn::place(&console, &me) {
        Ok(place) => place,
        Err(busy) => return *busy,
    };
    // None only if the semaphore were closed, which nobody does.
    let plan = Arc::clone(&console.plans).acquire_owned().await.ok();
    let planned = turn::keeping((place, plan), move || planned(&advertiser, &given, told)).await;
    page(&console, &me, &asked, planned.map(Some))
}

/// What the collector was told of the advertiser's budget, and the time.
#[derive(Clone, Copy)]
struct Told {
    /// What a week may cost.
    cap: Option<MicroEpsilon>,
    /// When epochs start, in POSIX seconds.
    epoch_start: Option<u64>,
    now: u64,
}

impl Told {
    fn of(console: &Console, advertiser: &Advertiser) -> Self {
        Self {
            cap: console.advertising.caps.get(&advertiser.site).copied(),
            epoch_start: console.advertising.collector.epoch_start(&advertiser.site),
            now: console.now(),
        }
    }
}

fn page(console: &Console, me: &SignedIn, asked: &Asked, planned: Result<Option<Markup>, Wrong>) -> Response {
    let (status, wrong, plan) = match planned {
        Ok(plan) => (StatusCode::OK, None, plan),
        Err(wrong) => (StatusCode::UNPROCESSABLE_ENTITY, Some(wrong), None),
    };
    let notice = wrong.as_ref().map(|Wrong(_, reason)| Notice::error(sentence(reason)));
    let ctx = me.context_with(notice);
    let proposed = proposed(&console.advertising.registry, &me.advertiser);
    let body = html! {
        @if let Some(plan) = plan { (plan) }
        (form((&me.advertiser, Told::of(console, &me.advertiser).cap), asked, &proposed, wrong.as_ref()))
    };
    Page::new("Planner", Nav::Planner)
        .lead("How far off numbers will be, and which campaigns will be shown at all, before anything is measured. Expected \
               conversions are your guess; nothing here is about people.")
        .body(body)
        .status(status)
        .respond(&ctx)
}

/// The campaigns that run, with a number to correct.
fn proposed(registry: &Registry, advertiser: &Advertiser) -> String {
    let campaigns = registry.campaigns(advertiser.id);
    let running = campaigns.iter().filter(|campaign| campaign.status == Status::Active);
    let lines: Vec<_> =
        running.take(PROPOSED_MAX).map(|campaign| format!("{} = 200", campaign.name)).collect();
    if lines.is_empty() { "spring = 700\nsummer = 90".to_owned() } else { lines.join("\n") }
}

fn form(
    (advertiser, cap): (&Advertiser, Option<MicroEpsilon>),
    asked: &Asked,
    proposed: &str,
    wrong: Option<&Wrong>,
) -> Markup {
    let problem = |name: &str| wrong.filter(|Wrong(field, _)| *field == name).map(|Wrong(_, text)| &**text);
    let or = |text: &str, default: String| if text.is_empty() { default } else { text.to_owned() };
    let epsilon = or(&asked.epsilon, advertiser.terms.epsilon.to_string());
    let cap_hint = match cap {
        Some(_) => "What both aggregators let you spend, as this collector was told.",
        None => "An example: this collector was not told what both aggregators let you spend.",
    };
    let (cap, rest) = (or(&asked.cap, cap_or_example(cap)), or(&asked.rest, "0".to_owned()));
    let average_label = format!("What a conversion is worth on average, in {}", advertiser.currency);
    let campaigns = asked.campaigns.as_deref().unwrap_or(proposed);
    let is_wrong = problem("campaigns").is_some();
    let described = parts::described_by("campaigns", true, is_wrong);
    let choices = [
        ("given".to_owned(), "With this epsilon".to_owned()),
        ("smallest".to_owned(), "With the smallest epsilon that reaches the error below".to_owned()),
    ];
    html! {
        section class="panel" aria-labelledby="ask" {
            h2 id="ask" { "What do you expect?" }
            form class="form" method="get" action=(Nav::Planner.path()) {
                div class="field" {
                    label for="campaigns" { "Campaigns and their conversions in a week" }
                    textarea id="campaigns" name="campaigns" rows="6" required spellcheck="false" aria-describedby=[described]
                        aria-invalid=[is_wrong.then_some("true")] { "\n" (campaigns) }
                    p class="hint" id="campaigns-hint" { "One to a line, such as: spring = 700" }
                    @if let Some(problem) = problem("campaigns") { p class="problem" id="campaigns-problem" { (problem) } }
                }
                div class="fields" {
                    (Field::new("rest", "Other conversions a week", "text", &rest).hint("Of no campaign; they count for the size of a window.").problem(problem("rest")))
                    @if advertiser.terms.value.is_some() {
                        (Field::new("average", &average_label, "text", &asked.average).optional().hint("To plan values, too.").problem(problem("average")))
                    }
                    (Field::new("epsilon", "Epsilon of a release", "text", &epsilon).hint("More is more exact and less private.").problem(problem("epsilon")))
                    (Field::new("cap", "Budget of a week", "text", &cap).hint(cap_hint).problem(problem("cap")))
                    (Field::new("target", "Largest useful error", "text", &asked.target).optional().hint("Such as 10%; 25% otherwise.").problem(problem("target")))
                }
                (parts::select("find", "Plan", &choices, &asked.find, None))
                button class="button" type="submit" { "Plan" }
            }
        }
    }
}

/// What a plan begins with: the cap, or what many have where it is not known.
fn cap_or_example(cap: Option<MicroEpsilon>) -> String {
    cap.map_or_else(|| "10".to_owned(), |cap| cap.to_string())
}

/// The plan of what is asked, as a part of a page.
fn planned(advertiser: &Advertiser, asked: &Asked, told: Told) -> Result<Markup, Wrong> {
    let setting = setting(advertiser, asked, told)?;
    let plan = Plan::new(&setting).map_err(|error| {
        let field = match error.about {
            planner::About::Campaigns | planner::About::Buckets => "campaigns",
            planner::About::Values => "average",
            planner::About::Source => "cap",
            planner::About::Counts | planner::About::TimePrecision => "epsilon",
        };
        Wrong(field, error.reason)
    })?;
    let counts = registry::Terms { epsilon: plan.recommended().counts.terms.epsilon, ..advertiser.terms };
    let on_devices = sentence(&planner::carried_by_devices(counts.device_week_cost()));
    let dear = plan.advice.iter().any(|advice| matches!(advice, planner::Advice::Devices { .. }));
    let chart = planner::chart(&plan).map_err(|error| Wrong("", error.to_string()))?;
    Ok(html! {
        section class="panel" aria-labelledby="result" {
            h2 id="result" { "What to expect" }
            p class="strong" { (recommendation(&plan)) }
            @if told.epoch_start.is_none() {
                p { "On which day the weeks of this budget begin is not known here; it is taken to be none on which a week of yours \
                     does." }
            }
            @if !plan.advice.is_empty() {
                ul class="prose" { @for advice in &plan.advice { li { (advice) } } }
            }
            @if !dear { p class="small soft" { (on_devices) } }
            figure class="paper" { (PreEscaped(chart)) }
        }
        (campaigns_table(&plan))
        (windows_table(&plan))
    })
}

fn campaigns_table(plan: &Plan<'_>) -> Table {
    let mut columns = vec![Column::text("Campaign"), Column::number("A week")];
    columns
        .extend(plan.choices.iter().map(|choice| Column::number(format!("By the {}", choice.window.name()))));
    let mut table = Table::new(
        "Each campaign: how far off 95% of its numbers are at most, and the chance to be shown",
        columns,
    );
    for (index, campaign) in plan.setting.campaigns.iter().enumerate() {
        let mut cells = vec![html! { (campaign.name) }, html! { (format::grouped(campaign.per_week)) }];
        cells.extend(plan.choices.iter().map(|choice| outlook(&choice.campaigns[index])));
        table.row(cells);
    }
    table
}

fn outlook(outlook: &Outlook) -> Markup {
    if outlook.chance_shown < HIDDEN_CHANCE {
        return html! { span class="few" { (TOO_FEW) } };
    }
    html! {
        "\u{b1}" (format::percent(outlook.relative_error))
        br;
        span class="small" {
            @if outlook.chance_shown >= SHOWN_CHANCE { "shown" } @else { "shown in " (format::percent(outlook.chance_shown)) }
            @if let Some(value) = outlook.value {
                "; value \u{b1}" (format::percent(value.relative_error))
                @if value.is_cut { ", cut off" }
            }
        }
    }
}

fn windows_table(plan: &Plan<'_>) -> Table {
    let mut table = Table::new(
        "Each length of a window",
        vec![
            Column::text("Numbers by the"),
            Column::number("95% are within"),
            Column::number("Shown from"),
            Column::number("Useful from"),
            Column::number("Released of each week of the budget"),
        ],
    );
    for choice in &plan.choices {
        let within = choice.counts.half_width;
        table.row(vec![
            html! { (choice.window.name()) },
            html! { "\u{b1}" (format::grouped_u128(within)) },
            html! { (format::grouped(choice.smallest_visible)) },
            html! { (format::grouped(choice.smallest_useful)) },
            html! { (released(choice)) },
        ]);
    }
    table
}

/// When epochs of a source start that this collector is not told of, POSIX seconds: on Thursdays, so that weeks lie across
/// their ends as they do for six days of seven.
const EPOCH_START_UNKNOWN: u64 = 0;

/// What is asked, under the advertiser's own terms and by its own calendar.
fn setting(advertiser: &Advertiser, asked: &Asked, told: Told) -> Result<Setting, Wrong> {
    let Told { cap, epoch_start, now } = told;
    let campaigns = campaigns(advertiser, asked)?;
    let terms = &advertiser.terms;
    let or =
        |text: &str, default: String| if text.trim().is_empty() { default } else { text.trim().to_owned() };
    let epsilon: MicroEpsilon = or(&asked.epsilon, terms.epsilon.to_string())
        .parse()
        .map_err(|error| Wrong("epsilon", format!("{error}")))?;
    let cap: MicroEpsilon =
        or(&asked.cap, cap_or_example(cap)).parse().map_err(|error| Wrong("cap", format!("{error}")))?;
    let rest = or(&asked.rest, "0".to_owned())
        .parse()
        .map_err(|_| Wrong("rest", "write a whole number, such as 100".to_owned()))?;
    let target = match asked.target.trim() {
        "" => None,
        text => Some(text.parse::<Fraction>().map_err(|error| Wrong("target", error))?),
    };
    let solve_epsilon = asked.find == "smallest";
    if solve_epsilon && target.is_none() {
        return Err(Wrong("target", "say which error to reach, such as 10%".to_owned()));
    }
    let length = length(advertiser, campaigns.len())?;
    let of = |vdaf, epsilon, contributions: NonZeroU32| Terms { vdaf, epsilon, contributions, cap: None };
    let vdaf = VdafConfig::histogram(length).map_err(|error| Wrong("campaigns", error.to_string()))?;
    let values = match terms.value.filter(|_| !asked.average.trim().is_empty()) {
        None => None,
        Some(value) => {
            let vdaf = VdafConfig::l1_bound_sum(length, value.max_value)
                .map_err(|error| Wrong("average", error.to_string()))?;
            let unit = advertiser.currency.decimal(value.unit.into());
            Some(Values {
                terms: of(vdaf, value.epsilon, terms.contributions),
                unit: unit.parse::<Amount>().map_err(|error| Wrong("average", error))?,
                currency: advertiser.currency.code().to_owned(),
            })
        }
    };
    let epoch_start = epoch_start.unwrap_or(EPOCH_START_UNKNOWN);
    let rules = SourceRules { epoch_start, cap: u64::from(cap.get()) };
    Ok(Setting {
        campaigns,
        rest_per_week: rest,
        counts: of(vdaf, epsilon, terms.contributions),
        values,
        threshold: None,
        source: BudgetSource::new(&advertiser.site).map_err(|error| Wrong("cap", error.to_string()))?,
        windows: planned_windows(&advertiser.time_zone, &rules, now),
        rules,
        time_precision: Some(TIME_PRECISION_SECONDS),
        min_batch_size: terms.min_batch_size,
        target,
        solve_epsilon,
    })
}

fn campaigns(advertiser: &Advertiser, asked: &Asked) -> Result<Vec<Campaign>, Wrong> {
    let wrong = |text: String| Wrong("campaigns", text);
    let text = asked.campaigns.as_deref().unwrap_or_default();
    if text.len() > PLAN_BYTES_MAX {
        return Err(wrong("this is a longer list than this page takes; arras plan reads a file".to_owned()));
    }
    let average = match asked.average.trim() {
        "" => None,
        _ if advertiser.terms.value.is_none() => None,
        text => Some(text.parse::<Amount>().map_err(|error| Wrong("average", error))?),
    };
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let campaigns = lines
        .map(|(number, line): (usize, &str)| {
            // The last one: a name may hold any character.
            let (name, count) = line.rsplit_once('=').unwrap_or((line, ""));
            let per_week = count.trim().parse().map_err(|_| {
                wrong(format!("line {number} has no whole number behind a =; write it like spring = 700"))
            })?;
            Ok(Campaign { name: name.trim().to_owned(), per_week, average_value: average })
        })
        .collect::<Result<Vec<_>, Wrong>>()?;
    if campaigns.len() > PLAN_CAMPAIGNS_MAX {
        return Err(wrong(format!(
            "this page plans {PLAN_CAMPAIGNS_MAX} campaigns at most; arras plan reads a file"
        )));
    }
    Ok(campaigns)
}

/// As many cells as the advertiser's tasks would have for so many campaigns.
fn length(advertiser: &Advertiser, campaigns: usize) -> Result<u32, Wrong> {
    let touches = match advertiser.touches {
        Touches::Together => 1,
        Touches::Apart => 2,
    };
    let needed = 1 + campaigns * advertiser.events.len().max(1) * touches;
    let fits =
        LENGTHS.into_iter().find(|length| usize::try_from(*length).is_ok_and(|length| length >= needed));
    fits.ok_or_else(|| {
        Wrong(
            "campaigns",
            format!(
                "{campaigns} campaigns with {} kinds of events need {needed} cells, and a task has {} at most; leave some out",
                advertiser.events.len(),
                LENGTHS.last().copied().unwrap_or_default()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::sync::Semaphore;

    use super::*;
    use crate::access::Scope;
    use crate::console::tests::check::usable;
    use crate::console::tests::{HOSTILE, look, signed_in};

    /// 2026-09-07, when an epoch begins.
    const MONDAY: u64 = 1_788_739_200;

    fn asked(campaigns: &str) -> Asked {
        Asked { campaigns: Some(campaigns.to_owned()), ..Asked::default() }
    }

    const TOLD: Told = Told { cap: None, epoch_start: Some(MONDAY), now: MONDAY };

    fn field_of(advertiser: &Advertiser, asked: &Asked) -> &'static str {
        match planned(advertiser, asked, TOLD) {
            Ok(_) => "planned",
            Err(Wrong(field, reason)) => {
                assert!(!reason.is_empty());
                field
            }
        }
    }

    /// The place of a plan ended with its request, while the plan went on: whoever asked and hung up, again and again, had as many
    /// computed at once as there are threads.
    #[tokio::test]
    async fn a_plan_has_its_place_until_it_is_done() {
        let places = Arc::new(Semaphore::new(1));
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let (begun, started) = tokio::sync::oneshot::channel();
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let plan = turn::keeping(place, move || {
            begun.send(()).unwrap();
            wait.recv().unwrap();
        });
        tokio::select! {
            biased;
            () = plan => panic!("it waits"),
            started = started => started.unwrap(),
        }
        // The browser has left: the plan's future is gone.
        assert_eq!(places.available_permits(), 0);
        go_on.send(()).unwrap();
        drop(places.acquire().await.unwrap());
    }

    #[test]
    fn a_plan_says_what_to_expect_of_each_campaign() {
        let me = signed_in(HOSTILE, Scope::Read);
        let asked = Asked {
            average: "40".to_owned(),
            rest: "100".to_owned(),
            ..asked(&format!("{HOSTILE} = 7000\r\n\r\nsmall=3\r\na=b = 90\r\n"))
        };
        let Ok(plan) = planned(&me.advertiser, &asked, TOLD) else { panic!("no plan") };
        let body = html! { (plan) (form((&me.advertiser, None), &asked, "a = 1", None)) };
        let html = Page::new("Planner", Nav::Planner).body(body).render(&me.context()).into_string();
        usable(&html);
        look("planner", &html);
        assert!(!html.contains("<script") && !html.contains("<img"));
        for expected in ["<svg", "too few to show", "a=b", "By the week", "5 of 8", "value \u{b1}"] {
            assert!(html.contains(expected), "{expected}");
        }
        assert!(
            !html.contains("csrf\" value=\"token\" action=\"/console/planner"),
            "nothing is changed by it"
        );
    }

    /// The terms are the advertiser's own, so that the plan is of the tasks that it will have.
    #[test]
    fn a_plan_is_made_for_the_tasks_that_the_registry_would_make() {
        let me = signed_in("Shop", Scope::Read);
        let Ok(setting) = setting(&me.advertiser, &asked("a = 1\nb = 2"), TOLD) else { panic!("no setting") };
        assert_eq!(setting.counts.epsilon, me.advertiser.terms.epsilon);
        assert_eq!(setting.min_batch_size, me.advertiser.terms.min_batch_size);
        // Two kinds of events, and a bucket for what no campaign gets.
        assert_eq!(setting.counts.vdaf.output_len(), 16);
        for (campaigns, cells) in [(7, 16), (8, 64), (31, 64), (32, 256), (127, 256), (128, 1_024)] {
            assert_eq!(length(&me.advertiser, campaigns).ok(), Some(cells), "{campaigns} campaigns");
        }
        assert!(length(&me.advertiser, 512).is_err());
    }

    /// The page let windows begin with epochs: in Berlin it promised seven days of seven under a cap for seven, of which the ledger
    /// refuses one in two weeks.
    #[test]
    fn a_plan_follows_the_advertisers_calendar() {
        let me = signed_in("Shop", Scope::Read);
        assert_eq!(me.advertiser.time_zone.name(), "Europe/Berlin");
        let carried = |cap: &str, epoch_start| {
            let asked = Asked { cap: cap.to_owned(), ..asked("a = 7000") };
            let Ok(setting) = setting(&me.advertiser, &asked, Told { epoch_start, ..TOLD }) else {
                panic!("no setting")
            };
            let plan = Plan::new(&setting).unwrap();
            plan.choices.iter().map(released).collect::<Vec<_>>()
        };
        assert_eq!(carried("7", Some(MONDAY)), ["7 of 168", "7 of 8", "2 of 2"]);
        assert_eq!(carried("8", Some(MONDAY)), ["8 of 168", "8 of 8", "2 of 2"]);
        // Who does not know when epochs begin does not promise that weeks begin with them.
        assert_eq!(carried("1", None), ["1 of 168", "1 of 8", "1 of 2"]);
    }

    /// The planner planned with a budget of 10 where the budget page said 20, and released what the aggregators would refuse.
    #[test]
    fn a_plan_has_the_budget_that_the_collector_was_told() {
        let me = signed_in("Shop", Scope::Read);
        let cap = |cap: Option<&str>, typed: &str| {
            let asked = Asked { cap: typed.to_owned(), ..asked("a = 1") };
            let cap = cap.map(|cap| cap.parse().unwrap());
            let html = form((&me.advertiser, cap), &asked, "a = 1", None).into_string();
            let Ok(setting) = setting(&me.advertiser, &asked, Told { cap, ..TOLD }) else {
                panic!("no setting")
            };
            (
                setting.rules.cap,
                html.contains("value=\"20\""),
                html.contains("An example: this collector was not told"),
            )
        };
        assert_eq!(cap(Some("20"), ""), (20_000_000, true, false));
        assert_eq!(cap(Some("20"), "7"), (7_000_000, false, false));
        assert_eq!(cap(None, ""), (10_000_000, false, true));
    }

    /// Values at epsilon 1 beside conversions at 1 are attributed by no app that keeps to its default, and no plan said so.
    #[test]
    fn a_plan_says_what_devices_carry() {
        let mut me = signed_in("Shop", Scope::Read).advertiser;
        let html = |advertiser: &Advertiser| {
            let Ok(plan) = planned(advertiser, &asked("a = 700"), TOLD) else { panic!("no plan") };
            plan.into_string()
        };
        assert!(me.terms.value.is_some() && html(&me).contains("AppRules::advertiser_budget to at least"));
        Arc::make_mut(&mut me).terms.value = None;
        assert!(html(&me).contains("up to 1 epsilon, which is within"), "{}", html(&me));
    }

    #[test]
    fn what_makes_no_sense_is_told_at_its_field() {
        let me = signed_in("Shop", Scope::Read);
        let of = |change: &dyn Fn(&mut Asked)| {
            let mut asked = asked("a = 700");
            change(&mut asked);
            field_of(&me.advertiser, &asked)
        };
        assert_eq!(of(&|_| ()), "planned");
        for text in ["", "a", "a = b", "a = -1", "= 7", "a = 1\na = 2", "a = 1.5"] {
            assert_eq!(of(&|asked| asked.campaigns = Some(text.to_owned())), "campaigns", "{text:?}");
        }
        let many = (0..=PLAN_CAMPAIGNS_MAX).fold(String::new(), |lines, n| lines + &format!("c{n} = 1\n"));
        assert_eq!(of(&|asked| asked.campaigns = Some(many.clone())), "campaigns");
        assert_eq!(of(&|asked| asked.campaigns = Some("a".repeat(PLAN_BYTES_MAX + 1))), "campaigns");
        assert_eq!(of(&|asked| asked.rest = "many".to_owned()), "rest");
        assert_eq!(of(&|asked| asked.average = "-1".to_owned()), "average");
        assert_eq!(of(&|asked| asked.epsilon = "0".to_owned()), "epsilon");
        assert_eq!(of(&|asked| asked.cap = "much".to_owned()), "cap");
        assert_eq!(of(&|asked| asked.target = "10".to_owned()), "target");
        assert_eq!(of(&|asked| asked.find = "smallest".to_owned()), "target");
        let solved = |asked: &mut Asked| {
            asked.find = "smallest".to_owned();
            asked.target = "50%".to_owned();
        };
        assert_eq!(of(&solved), "planned");
    }
}
