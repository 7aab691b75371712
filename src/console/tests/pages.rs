//! Pages of made-up answers. `ARRAS_LOOK=1` writes them to `target/console`, for eyes.

use std::sync::Arc;

use jiff::ToSpan as _;
use jiff::civil::{Date, date};

use super::check::{elements, usable};
use super::{HOSTILE, context, look};
use crate::collector::{Moment, Span};
use crate::console::campaign::{self, CampaignPage};
use crate::console::campaign_form::{CampaignForm, Problems, edit_page, new_page};
use crate::console::campaigns::{self, CAMPAIGNS_PER_PAGE, Campaigns, Key, Order};
use crate::console::help;
use crate::console::overview::{self, Overview};
use crate::console::range::Range;
use crate::insights::{
    Coverage, Granularity, Measure, Missing, MissingWhy, NullReason, Number, Rate, Row, Suppression, Table,
    Unit,
};
use crate::registry::{
    Advertiser, AdvertiserId, Cadence, Campaign, CampaignId, EventKind, NextCampaign, Status, TimeZone,
    Touch, Touches, ValueTask, fixture,
};
use crate::schedule::{Measures, WindowState, WindowStatus};

const TODAY: Date = date(2026, 11, 24);

fn now() -> u64 {
    fixture::NOW + 22 * 86_400 + 4 * 3_600
}

pub(crate) fn advertiser(name: &str) -> Advertiser {
    Advertiser {
        id: AdvertiserId::from_bytes([1; 12]),
        name: name.parse().unwrap(),
        site: "shop.example".to_owned(),
        time_zone: TimeZone::UTC,
        currency: "EUR".parse().unwrap(),
        cadence: Cadence::Day,
        grace_seconds: 6 * 3_600,
        events: vec![EventKind::OrderCreated, EventKind::LeadCreated],
        touches: Touches::Apart,
        terms: fixture::terms(),
        created: 0,
    }
}

pub(crate) fn campaign_of(number: u8, name: &str) -> Arc<Campaign> {
    Arc::new(Campaign {
        id: CampaignId::from_bytes([number; 12]),
        advertiser: AdvertiserId::from_bytes([1; 12]),
        name: name.parse().unwrap(),
        status: [Status::Active, Status::Paused, Status::Ended][usize::from(number % 5 / 2)],
        start: date(2026, 10, 1),
        end: number.is_multiple_of(2).then_some(date(2026, 12, 24)),
        currency: "EUR".parse().unwrap(),
        goal: EventKind::OrderCreated,
        created: 0,
    })
}

fn shown(estimate: i128, off: i128, unit: Unit) -> Measure {
    let at_least_0 = |number: i128| u128::try_from(number.max(0)).unwrap();
    Measure::Shown(Number {
        estimate,
        low: at_least_0(estimate - off),
        high: at_least_0(estimate + off),
        standard_error: Some(f64::from(u32::try_from(off).unwrap()) / 2.0),
        unit,
    })
}

/// A row of so many conversions; too few of them are suppressed, as the engine does.
pub(crate) fn row(
    campaign: Option<&Arc<Campaign>>,
    count: i128,
    scale: i128,
    coverage: &Arc<Coverage>,
) -> Row {
    let euro = "EUR".parse().unwrap();
    let few = count < 3 * scale;
    let (suppressed, follows) = (
        Measure::suppressed(Suppression::BelowThreshold),
        Measure::suppressed(Suppression::ConversionsSuppressed),
    );
    let spend = u64::try_from(count.max(3)).unwrap() * 321 + 1_234;
    let pick = |measure: Measure| if few { follows } else { measure };
    Row {
        period: (date(2026, 10, 27), date(2026, 11, 23)),
        campaign: campaign.cloned(),
        event: None,
        currency: Some(euro),
        impressions: Some(spend * 3),
        clicks: Some(spend / 40),
        spend: Some(spend),
        invented: true,
        ctr: Rate::new(u128::from(spend / 40), u128::from(spend * 3)),
        cpc: Rate::new(40, 1),
        cpm: Rate::new(333, 1),
        conversions: if few { suppressed } else { shown(count, 2 * scale, Unit::Count) },
        value: pick(shown(count * 4_215, scale * 9_000, Unit::Money(euro))),
        cpa: pick(shown(i128::from(spend) / count.max(1), 12, Unit::Money(euro))),
        roas: pick(shown(count * 4_215_000 / i128::from(spend), 300, Unit::Ratio)),
        cpa_spend: None,
        roas_spend: None,
        not_attributed: campaign.is_none().then(|| shown(12_034, 42, Unit::Count)),
        coverage: Arc::clone(coverage),
    }
}

pub(crate) fn coverage() -> Arc<Coverage> {
    let gap = |from: u64, to: u64, why| Missing { span: span(from, to), why };
    Arc::new(Coverage {
        windows: 28,
        released: 25,
        value_released: 25,
        days: 28,
        whole_days: 25,
        whole_value_days: 25,
        missing: vec![gap(5, 6, MissingWhy::TooFewReports), gap(14, 16, MissingWhy::RefusedByBudget)],
    })
}

/// From one day of November 2026 to another.
fn span(from: u64, to: u64) -> Span {
    let moment = |day: u64| Moment::from_seconds(fixture::NOW + (day - 2) * 86_400).unwrap();
    Span::new(moment(from), moment(to)).unwrap()
}

fn table(rows: Vec<Row>) -> Table {
    Table { rows }
}

pub(crate) fn days(campaign: Option<&Arc<Campaign>>, each: impl Fn(i32) -> Option<i128>) -> Table {
    let coverage = coverage();
    let one = |day: i32| {
        let date = date(2026, 10, 27).saturating_add(day.days());
        let count = each(day);
        let mut row = row(campaign, count.unwrap_or(0), 5, &coverage);
        row.period = (date, date);
        if count.is_none() {
            row.conversions = Measure::null(NullReason::NotReleased);
            row.value = Measure::null(NullReason::NotReleased);
        }
        row
    };
    table((0..28).map(one).collect())
}

fn windows() -> Vec<WindowStatus> {
    let next_try = Some(now() + 7_200);
    let state = |day: u64| match day {
        24 => WindowState::Open { closes: fixture::NOW + 23 * 86_400 },
        23 => WindowState::Waiting { until: fixture::NOW + 22 * 86_400 + 6 * 3_600 },
        14 | 15 => WindowState::RefusedByBudget { reason: "0.5 epsilon left".to_owned(), next_try },
        5 => WindowState::TooFewReports { reason: "12 of 100".to_owned(), next_try: None },
        _ => WindowState::Released { sequence: day },
    };
    let one = |day: u64| WindowStatus {
        generation: 1,
        task: arras_protocol::messages::TaskId::new([7; 32]),
        measures: Measures::Conversions,
        window: span(day, day + 1),
        state: state(day),
        confirmed: true,
    };
    (2..=24).map(one).collect()
}

const NAMES: [(&str, i128); 7] = [
    ("Spring sale", 8_445),
    ("Brand search", 4_169),
    ("Retargeting, carts", 988),
    ("Newsletter", 531),
    ("Podcast sponsorship", 107),
    ("Influencer test", 92),
    ("Niche display", 5),
];

fn many() -> (Vec<Arc<Campaign>>, Vec<Row>) {
    let coverage = coverage();
    let campaigns: Vec<_> = (1..).zip(NAMES).map(|(number, (name, _))| campaign_of(number, name)).collect();
    let rows =
        campaigns.iter().zip(NAMES).map(|(campaign, (_, count))| row(Some(campaign), count, 8, &coverage));
    let rows = rows.collect();
    (campaigns, rows)
}

fn series_of(size: i128) -> impl Fn(i32) -> Option<i128> {
    move |day| match day {
        9 | 10 => Some(2),
        18..=20 => None,
        _ => Some(size + i128::from(day) * size / 40 + i128::from(day % 7) * size / 12),
    }
}

/// An overview of the account now and before.
pub(crate) fn overview_of(campaigns: &[Arc<Campaign>], rows: Vec<Row>, account: Row, before: Row) -> String {
    overview_with(campaigns, rows, "Shop Example", &table(vec![account]), &table(vec![before]))
}

fn overview_page(campaigns: &[Arc<Campaign>], rows: Vec<Row>, name: &str) -> String {
    let account =
        if rows.is_empty() { table(Vec::new()) } else { table(vec![row(None, 14_337, 12, &coverage())]) };
    overview_with(campaigns, rows, name, &account, &table(vec![row(None, 13_000, 12, &coverage())]))
}

fn overview_with(
    campaigns: &[Arc<Campaign>],
    rows: Vec<Row>,
    name: &str,
    account: &Table,
    before: &Table,
) -> String {
    let advertiser = advertiser(name);
    let of = Overview {
        advertiser: &advertiser,
        campaigns,
        range: &Range::last(28, TODAY, None),
        today: TODAY,
        now: now(),
        account,
        before,
        series: &days(None, series_of(480)),
        steps: Granularity::Day,
        by_campaign: &table(rows),
        windows: &windows(),
    };
    let mut ctx = context();
    ctx.advertiser = name.to_owned();
    overview::view(&ctx, &of).render(&ctx).into_string()
}

#[test]
fn the_overview_says_how_things_stand_and_what_comes_next() {
    let (campaigns, rows) = many();
    let html = overview_page(&campaigns, rows, "Shop Example");
    usable(&html);
    look("overview", &html);
    for part in [
        "14,337",
        "14,313 to 14,361",
        "are invented",
        "refused by budget",
        "windows are daily and wait 6 hours",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(html.contains("28 days before: 13,000 (more)"), "intervals that are apart");
    let html = overview_page(&[], Vec::new(), HOSTILE);
    usable(&html);
    look("overview-empty", &html);
    assert!(html.contains("No campaign yet") && html.contains("/console/campaigns/new"));
    assert!(html.contains("What to do next"));
}

fn campaigns_page(of_campaigns: &[Arc<Campaign>], rows: Vec<Row>, order: Order, page: usize) -> String {
    table_of(of_campaigns, rows, row(None, 14_337, 12, &coverage()), order, page)
}

/// The table of campaigns, with the account's row.
pub(crate) fn table_of(
    of_campaigns: &[Arc<Campaign>],
    rows: Vec<Row>,
    account: Row,
    order: Order,
    page: usize,
) -> String {
    let of = Campaigns {
        advertiser: &advertiser("Shop Example"),
        range: &Range::last(28, TODAY, None),
        today: TODAY,
        order,
        page,
        campaigns: of_campaigns,
        answer: &table(rows),
        account: &table(vec![account]),
    };
    let ctx = context();
    campaigns::view(&ctx, &of).render(&ctx).into_string()
}

fn names_in_order(html: &str) -> Vec<String> {
    let all = elements(html);
    let inside = |e: &&super::check::Element| {
        e.name == "a" && e.around.iter().any(|at| all[*at].get("role") == Some("rowheader"))
    };
    all.iter().filter(inside).map(|e| e.text.clone()).collect()
}

#[test]
fn campaigns_are_sorted_and_what_has_no_number_is_last() {
    let (campaigns, rows) = many();
    let page = |key, descending| campaigns_page(&campaigns, rows.clone(), Order { key, descending }, 1);
    let html = page(Key::Spend, true);
    usable(&html);
    look("campaigns", &html);
    assert_eq!(names_in_order(&html), NAMES.map(|(name, _)| name));
    let sorted: Vec<_> = elements(&html).into_iter().filter(|e| e.get("aria-sort").is_some()).collect();
    assert_eq!(sorted.len(), 1);
    assert_eq!((sorted[0].get("aria-sort"), sorted[0].text.trim()), (Some("descending"), "Spend"));
    assert!(html.contains("sort=spend&amp;order=asc"), "the other way round");
    let last = |key, descending| names_in_order(&page(key, descending)).pop();
    for key in [Key::Conversions, Key::Cpa, Key::Value, Key::Roas] {
        for descending in [true, false] {
            assert_eq!(last(key, descending).as_deref(), Some("Niche display"), "{key:?}");
        }
    }
    assert_eq!(names_in_order(&page(Key::Conversions, false))[0], "Influencer test");
    assert_eq!(names_in_order(&page(Key::Name, false))[0], "Brand search");
    assert_eq!(last(Key::Name, false).as_deref(), Some("Spring sale"));
}

/// A suppressed number must not be told by the order of rows, its bar, or the page's source.
#[test]
fn a_suppressed_number_is_nowhere_in_the_table() {
    let (campaigns, rows) = many();
    let html = campaigns_page(&campaigns, rows, Order { key: Key::Conversions, descending: true }, 1);
    let cell = html.split("Niche display").nth(1).unwrap().split("</tr>").next().unwrap();
    assert_eq!(cell.matches("too few to show").count(), 4);
    assert!(!cell.contains("class=\"interval\""));
    assert!(html.contains("It does not mean 0."));
}

#[test]
fn many_campaigns_are_shown_page_by_page() {
    let coverage = coverage();
    let campaigns: Vec<_> =
        (0..=255).map(|number| campaign_of(number, &format!("Campaign {number:03}"))).collect();
    let rows: Vec<_> = campaigns.iter().map(|campaign| row(Some(campaign), 100, 8, &coverage)).collect();
    let order = Order { key: Key::Name, descending: false };
    let page = |page| campaigns_page(&campaigns, rows.clone(), order, page);
    let (first, last) = (page(1), page(3));
    assert_eq!(names_in_order(&first).len(), CAMPAIGNS_PER_PAGE);
    assert_eq!(names_in_order(&last).len(), 256 - 2 * CAMPAIGNS_PER_PAGE);
    assert!(first.contains("1 to 100 of 256 campaigns") && last.contains("201 to 256 of 256 campaigns"));
    assert!(first.contains("rel=\"next\"") && !first.contains("rel=\"prev\""));
    assert!(last.contains("rel=\"prev\"") && !last.contains("rel=\"next\""));
    assert_eq!(names_in_order(&page(usize::MAX)), names_in_order(&last));
    assert_eq!(names_in_order(&page(0)), names_in_order(&first));
}

#[test]
fn a_column_that_is_none_sorts_by_spend() {
    let order = |sort, order| Order::new(sort, order);
    assert_eq!(order(None, None), Order { key: Key::Spend, descending: true });
    assert_eq!(order(Some("<script>"), Some("x")), Order { key: Key::Spend, descending: true });
    assert_eq!(order(Some("name"), None), Order { key: Key::Name, descending: false });
    for key in Key::ALL {
        assert_eq!(order(Some(key.name()), Some("asc")), Order { key, descending: false });
    }
}

fn campaign_page(name: &str, size: i128) -> String {
    let campaign = campaign_of(1, name);
    let coverage = coverage();
    let event = |event, count| Row { event: Some(event), ..row(Some(&campaign), count, 8, &coverage) };
    let of = CampaignPage {
        advertiser: &advertiser("Shop Example"),
        campaign: &campaign,
        range: &Range::last(28, TODAY, None),
        today: TODAY,
        now: now(),
        total: &table(vec![row(Some(&campaign), size, 8, &coverage)]),
        series: &days(Some(&campaign), series_of(size / 28)),
        steps: Granularity::Day,
        events: &table(vec![event(EventKind::OrderCreated, size), event(EventKind::LeadCreated, size / 900)]),
        touches: &[
            (Touch::View, table(vec![row(Some(&campaign), size / 3, 8, &coverage)])),
            (Touch::Click, table(vec![row(Some(&campaign), size * 2 / 3, 8, &coverage)])),
        ],
        value_task: Some(ValueTask {
            task: arras_protocol::messages::TaskId::new([8; 32]),
            unit: 50,
            max_value: 500,
        }),
        windows: &windows(),
    };
    let ctx = context();
    campaign::view(&ctx, &of).render(&ctx).into_string()
}

#[test]
fn a_campaign_shows_its_numbers_over_time_and_what_is_not_in_them() {
    let html = campaign_page("Spring sale", 8_445);
    usable(&html);
    look("campaign", &html);
    for part in [
        "8,445",
        "8,429 to 8,461",
        "too few to show",
        "the privacy budget does not carry the window",
        "25 of 28 windows",
        "in whole steps of 0.50\u{a0}EUR, at most 250.00\u{a0}EUR an order",
    ] {
        assert!(html.contains(part), "{part}");
    }
    let html = campaign_page("<b>&\"'", 5);
    usable(&html);
    assert!(html.contains("&lt;b&gt;") && !html.contains("<b>"));
}

fn text_of(html: &str) -> String {
    elements(html).first().map(|html| html.text.clone()).unwrap_or_default()
}

#[test]
fn the_form_says_what_a_campaign_costs_and_what_is_wrong() {
    let (ctx, advertiser) = (context(), advertiser("Shop Example"));
    let blank = CampaignForm::blank(&advertiser, TODAY);
    let page = |next: NextCampaign, form: &CampaignForm, problems: &Problems| {
        new_page(&ctx, &advertiser, &next, form, problems).render(&ctx).into_string()
    };
    let html = page(NextCampaign::Fits { room: 3 }, &blank, &Problems::default());
    usable(&html);
    look("campaign-new", &html);
    assert!(text_of(&html).contains("3 campaigns fit"));
    let html = page(NextCampaign::OpensTasks { length: 64, tasks: 2 }, &blank, &Problems::default());
    assert!(text_of(&html).contains("It opens 2 new tasks of 64 cells"));
    let html = page(
        NextCampaign::Refused(HOSTILE.to_owned()),
        &blank,
        &Problems::of(&crate::registry::RegistryError::Full(HOSTILE.to_owned())),
    );
    usable(&html);
    let typed = CampaignForm {
        name: HOSTILE.to_owned(),
        start: HOSTILE.to_owned(),
        end: HOSTILE.to_owned(),
        ..blank
    };
    let problems = typed.new_campaign().unwrap_err();
    assert!(problems.start.is_some() && problems.end.is_some());
    let html = page(NextCampaign::Fits { room: 1 }, &typed, &problems);
    usable(&html);
    look("campaign-problems", &html);
    assert_eq!(html.matches("aria-invalid").count(), 2 + usize::from(problems.name.is_some()));
    let campaign = campaign_of(1, "Spring sale");
    let form = CampaignForm::filled(&campaign);
    let html =
        edit_page(&ctx, &advertiser, &campaign, &form, &Problems::default()).render(&ctx).into_string();
    usable(&html);
    look("campaign-edit", &html);
    assert!(!html.contains("name=\"name\"") && !html.contains("name=\"currency\""), "both stay");
}

#[test]
fn what_is_typed_is_read_or_refused_by_field() {
    let advertiser = advertiser("Shop Example");
    let form = CampaignForm {
        name: " Spring ".to_owned(),
        currency: "eur".to_owned(),
        ..CampaignForm::blank(&advertiser, TODAY)
    };
    let new = form.new_campaign().unwrap();
    assert_eq!(
        (new.name.as_str(), new.start, new.end, new.goal),
        ("Spring", TODAY, None, EventKind::OrderCreated)
    );
    let backwards = CampaignForm { end: "2026-11-01".to_owned(), ..form.clone() };
    assert!(backwards.new_campaign().unwrap_err().end.unwrap().contains("before the first"));
    let change = CampaignForm { end: "2026-12-24".to_owned(), status: "ended".to_owned(), ..form.clone() }
        .change()
        .unwrap();
    assert_eq!((change.status, change.end), (Some(Status::Ended), Some(Some(date(2026, 12, 24)))));
    for wrong in [
        CampaignForm { name: String::new(), ..form.clone() },
        CampaignForm { currency: "EURO".to_owned(), ..form.clone() },
        CampaignForm { status: "gone".to_owned(), ..form.clone() },
        CampaignForm { goal: "anything".to_owned(), ..form },
    ] {
        assert_ne!(wrong.new_campaign().unwrap_err(), Problems::default());
    }
}

#[test]
fn the_help_explains_what_pages_link_to() {
    let html = help::view().render(&context()).into_string();
    usable(&html);
    look("help", &html);
    let ids: Vec<_> = elements(&html).into_iter().filter_map(|e| e.get("id").map(str::to_owned)).collect();
    let (campaigns, rows) = many();
    for page in [overview_page(&campaigns, rows, "Shop"), campaign_page("Spring", 8_445)] {
        for anchor in page.split("/console/help#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(ids.iter().any(|id| id == anchor), "{anchor}");
        }
    }
}

/// A campaign that is named as a formula would run in the spreadsheet of whoever opens the export.
#[test]
fn an_export_holds_no_formula_and_no_suppressed_number() {
    let names = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "a \"b\", c"];
    let campaigns: Vec<_> = (1..).zip(names).map(|(number, name)| campaign_of(number, name)).collect();
    let coverage = coverage();
    let rows = campaigns.iter().map(|campaign| row(Some(campaign), 107, 8, &coverage));
    let few = row(Some(&campaigns[4]), 5, 8, &coverage);
    let answer = table(rows.chain([few]).collect());
    let range = Range::last(28, TODAY, None);
    let text = crate::console::export::campaigns(&advertiser("Shop"), &range, &answer).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let header = reader.headers().unwrap().clone();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 6);
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    for (row, name) in rows.iter().zip(names).take(4) {
        assert_eq!(&row[at("campaign")], format!("'{name}"));
    }
    assert_eq!((&rows[0][at("spend")], &rows[0][at("conversions_low")]), ("355.81", "91"));
    assert_eq!((&rows[5][at("conversions")], &rows[5][at("conversions_note")]), ("", "too few to show"));
    for column in ["conversions_low", "conversions_high", "cpa", "value", "value_low", "roas"] {
        assert_eq!(&rows[5][at(column)], "", "{column}");
    }
}
