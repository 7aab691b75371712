//! Insights: what campaigns cost, and what came of them.
#![allow(clippy::option_option, reason = "a field that was not asked for is not one that is null")]

mod sheet;

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;
use utoipa::ToSchema;

use super::accept::Media;
use super::answer::Answer;
use super::document::{MissingReason, NullReasonName, SuppressionName};
use super::guard::{Call, Handled, Read, Tenant};
use super::page::{Wanted, next_link};
use super::query::word_of;
use super::refusal::Refusal;

use self::sheet::sheet;
use super::when::Days;
use crate::collector::CONFIDENCE;
use crate::insights::{
    Coverage, Field, FieldSet, Level, Measure, NullReason, Number, Query, QueryError, Rate, Row, Unit,
};
use crate::registry::{EventKind, Touch, decimal_of};
use crate::text::utc;

/// Decimals of ctr, cpc and cpm.
const RATE_PLACES: u8 = 6;

/// A noised number, with how far off it can be, or why it is suppressed. Estimates are unbiased: adding them up is right on
/// average, and one of few conversions may be negative.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Measure)]
pub(super) enum MeasureJson {
    /// It is shown.
    Shown {
        /// The best guess, unbiased: noise can take it below 0, or above `high`, which is no more than can be. Pages show it within
        /// its interval. Conversions are whole numbers, `value` is whole minor units, `cpa` has hundredths of them, `roas` has three
        /// decimals.
        #[schema(value_type = f64)]
        estimate: serde_json::Number,
        /// With a probability of 95% the truth is not below this...
        #[schema(value_type = f64)]
        low: serde_json::Number,
        /// ...nor above this.
        #[schema(value_type = f64)]
        high: serde_json::Number,
        /// The standard deviation of the noise in `estimate`, in its unit; `null` for `cpa`, which is divided by a noised number.
        standard_error: Option<f64>,
    },
    /// It is there, and too small to be told from noise. That does not mean 0.
    Suppressed {
        /// Why.
        #[schema(value_type = SuppressionName)]
        suppressed: &'static str,
    },
}

/// A part of a period whose conversions are not in the numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Missing)]
pub(super) struct MissingJson {
    /// From when.
    #[schema(format = DateTime)]
    from: String,
    /// Until when, itself not included.
    #[schema(format = DateTime)]
    to: String,
    /// Why.
    #[schema(value_type = MissingReason)]
    why: &'static str,
}

/// Which windows a row's noised numbers cover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Coverage)]
pub(super) struct CoverageJson {
    /// Windows in the period.
    windows: u32,
    /// How many of them are released and in the numbers.
    released: u32,
    /// In how many of those values were released as well: `value` is of these.
    value_released: u32,
    /// Days of the period.
    days: u32,
    /// Days that `cpa` is about: those of which all windows are released, from the campaign's first to its last day with delivery numbers.
    /// Of several campaigns, days of any of them.
    whole_days: u32,
    /// Days that `roas` is about: the same of windows of values.
    whole_value_days: u32,
    /// What of the period is not in the conversions.
    missing: Vec<MissingJson>,
}

/// A row of insights: a period of an account, a campaign or a kind of event. Fields that were not asked for are left out; what
/// cannot be told is `null`, and `why` says why.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Insight)]
pub(super) struct InsightJson {
    /// The first day, in the advertiser's time zone.
    #[schema(format = Date)]
    date_start: String,
    /// The last day, included.
    #[schema(format = Date)]
    date_stop: String,
    /// The campaign's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign_id: Option<String>,
    /// The campaign's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign_name: Option<String>,
    /// The kind of event.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<EventKind>,
    /// Of `spend`, `cpc`, `cpm` and `cpa` (ISO 4217); `null` if the campaigns have different ones.
    currency: Option<String>,
    /// Of `value`.
    value_currency: String,
    /// How often ads were shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    impressions: Option<Option<u64>>,
    /// How often they were clicked.
    #[serde(skip_serializing_if = "Option::is_none")]
    clicks: Option<Option<u64>>,
    /// What they cost, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    spend: Option<Option<u64>>,
    /// Clicks by impressions, rounded to six decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    ctr: Option<Option<f64>>,
    /// Minor units a click, rounded to six decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpc: Option<Option<f64>>,
    /// Minor units for 1,000 impressions, rounded to six decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpm: Option<Option<f64>>,
    /// Conversions of each campaign's goal, or of the kind of event that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversions: Option<Option<MeasureJson>>,
    /// What they were worth, in minor units of `value_currency`, as devices count it: in whole steps of the task's unit, rounded down, and at
    /// most its maximum an order. The interval holds noise, not what that leaves out.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<MeasureJson>>,
    /// Minor units a conversion, of the days that `coverage.whole_days` counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpa: Option<Option<MeasureJson>>,
    /// Value for each of spend, of the days that `coverage.whole_value_days` counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    roas: Option<Option<MeasureJson>>,
    /// The spend that `cpa` divides, in minor units of `currency`: of `coverage.whole_days`; `null` where `cpa` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpa_spend: Option<Option<u64>>,
    /// The spend that `roas` divides by: of `coverage.whole_value_days`; `null` where `roas` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    roas_spend: Option<Option<u64>>,
    /// Conversions for which no campaign is known: no ad was seen, nobody consented, or the device's limits were reached. At the level of
    /// the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_attributed: Option<Option<MeasureJson>>,
    /// Why fields are `null`, by field.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, NullReasonName>)]
    why: BTreeMap<&'static str, &'static str>,
    /// Whether delivery numbers are invented, as in a demo; left out if they are not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    invented: bool,
    /// Which windows are in it.
    coverage: CoverageJson,
}

/// A page of insights.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Insights)]
pub(super) struct InsightsJson {
    /// The rows, by period.
    data: Vec<InsightJson>,
    /// The `cursor` of the next page; `null` if this is the last one.
    next: Option<String>,
    /// The advertiser's id.
    advertiser: String,
    /// In which days begin and end.
    time_zone: String,
    /// How sure the intervals are.
    #[schema(example = "0.95")]
    confidence: &'static str,
}

/// Tells what campaigns cost and what came of them
///
/// Impressions, clicks and spend are exact, as they were uploaded. Conversions and value are counted privately: each has an
/// interval in which the truth lies with a probability of 95%, or is suppressed. A sum is of all noised numbers that it
/// covers, so ask for the range that you want rather than adding up rows. Also as CSV (`Accept: text/csv`), with money as
/// decimals of the major unit.
#[utoipa::path(get, path = "/v1/insights", tag = "insights", operation_id = "get_insights",
    params(super::document::InsightsParams, super::document::NumberDayParams, super::document::PageParams),
    responses((status = 200, description = "A page of insights.",
        content((InsightsJson = "application/json"), (String = "text/csv")))))]
pub(super) fn get(tenant: &Tenant<Read>, call: &mut Call) -> Handled {
    let media = call.accept(&[Media::Json, Media::Csv])?;
    let query = query(tenant, call)?;
    let wanted = Wanted::take(&mut call.query)?;
    call.query.finish(&[
        "advertiser",
        "level",
        "from",
        "to",
        "granularity",
        "fields",
        "campaign",
        "event",
        "touch",
        "limit",
        "cursor",
    ])?;
    let table = tenant.api().insights().query(&query).map_err(refusal)?;
    let after = wanted.after(|text| place(&table.rows, text))?;
    let rest = table.rows.iter().enumerate().skip(after.map_or(0, |at| at + 1));
    let page = wanted.page(rest, |(at, row)| format!("{at} {}", name(row))).map(|(_, row)| row);
    let advertiser = tenant.advertiser();
    if media == Media::Csv {
        let next = next_link("/v1/insights", &wanted, page.next.as_ref(), &parameters(&query));
        let rows: Vec<&Row> = page.data;
        return Ok(Answer::csv(sheet(&query, &rows, advertiser.currency)?, "insights.csv").with_next(next));
    }
    let currency = advertiser.currency.to_string();
    Answer::json(&InsightsJson {
        data: page.data.iter().map(|row| insight(&query, row, &currency)).collect(),
        next: page.next,
        advertiser: advertiser.id.to_string(),
        time_zone: advertiser.time_zone.name().to_owned(),
        confidence: CONFIDENCE.1,
    })
}

fn query(tenant: &Tenant<Read>, call: &mut Call) -> Result<Query, Refusal> {
    let level = call.query.word("level", "account, campaign or event")?;
    let granularity = call.query.word("granularity", "day, week or total")?;
    let touch: Option<Touch> = call.query.word("touch", "view or click")?;
    let fields = call.query.take("fields").map(|text| text.parse::<FieldSet>()).transpose();
    let event = call.query.take("event").map(|text| text.parse::<EventKind>()).transpose();
    let days = Days::take_numbers(tenant.advertiser(), call)?;
    Ok(Query {
        advertiser: tenant.id(),
        level: level.unwrap_or_default(),
        from: days.from,
        to: days.to,
        granularity: granularity.unwrap_or_default(),
        fields: fields.map_err(|error| Refusal::invalid(format!("fields: {error}")))?.unwrap_or_default(),
        campaign: call.query.parse("campaign", "the id of a campaign")?,
        event: event.map_err(|error| Refusal::invalid(format!("event: {error}")))?,
        touch,
    })
}

fn refusal(error: QueryError) -> Refusal {
    match error {
        QueryError::Store(error) => error.into(),
        error => Refusal::invalid(error.to_string()),
    }
}

/// The query as parameters, for the link to the next page.
fn parameters(query: &Query) -> Vec<(&'static str, String)> {
    let fields: Vec<_> = query.fields.iter().map(Field::name).collect();
    let mut all = vec![
        ("advertiser", query.advertiser.to_string()),
        ("level", word_of(&query.level)),
        ("from", query.from.to_string()),
        ("to", query.to.to_string()),
        ("granularity", word_of(&query.granularity)),
        ("fields", fields.join(",")),
    ];
    all.extend(query.campaign.map(|id| ("campaign", id.to_string())));
    all.extend(query.event.map(|event| ("event", event.name().to_owned())));
    all.extend(query.touch.map(|touch| ("touch", touch.name().to_owned())));
    all
}

/// Where the row of a cursor is. Rows of a query have the same order each time, and the same places as long as no campaign comes
/// before them; what names one is what it is about.
fn place(rows: &[Row], cursor: &str) -> Option<usize> {
    let (at, wanted) = cursor.split_once(' ')?;
    let is_it = |row: &Row| name(row) == wanted;
    let at = at.parse().ok().filter(|at| rows.get(*at).is_some_and(is_it));
    at.or_else(|| rows.iter().position(is_it))
}

/// What a row is about.
fn name(row: &Row) -> String {
    let campaign = row.campaign.as_ref().map_or_else(String::new, |campaign| campaign.id.to_string());
    let start: Date = row.period.0;
    format!("{start} {campaign} {}", row.event.map_or("", EventKind::name))
}

/// A field, if it was asked for.
fn asked<T>(query: &Query, field: Field, value: T) -> Option<T> {
    query.fields.has(field).then_some(value)
}

fn insight(query: &Query, row: &Row, value_currency: &str) -> InsightJson {
    let mut why = no_delivery(query, row);
    let mut measure = |field: Field, measure: &Measure| {
        asked(query, field, measure).map(|measure| of(measure, field.name(), &mut why))
    };
    let conversions = measure(Field::Conversions, &row.conversions);
    let value = measure(Field::Value, &row.value);
    let cpa = measure(Field::Cpa, &row.cpa);
    let roas = measure(Field::Roas, &row.roas);
    let not_attributed = asked(query, Field::Conversions, row.not_attributed.as_ref()).flatten();
    let not_attributed = not_attributed.map(|measure| of(measure, "not_attributed", &mut why));
    InsightJson {
        date_start: row.period.0.to_string(),
        date_stop: row.period.1.to_string(),
        campaign_id: row.campaign.as_ref().map(|campaign| campaign.id.to_string()),
        campaign_name: row.campaign.as_ref().map(|campaign| campaign.name.to_string()),
        event: row.event,
        currency: row.currency.map(|currency| currency.to_string()),
        value_currency: value_currency.to_owned(),
        impressions: asked(query, Field::Impressions, row.impressions),
        clicks: asked(query, Field::Clicks, row.clicks),
        spend: asked(query, Field::Spend, row.spend),
        ctr: asked(query, Field::Ctr, row.ctr.and_then(rate)),
        cpc: asked(query, Field::Cpc, row.cpc.and_then(rate)),
        cpm: asked(query, Field::Cpm, row.cpm.and_then(rate)),
        conversions,
        value,
        cpa,
        roas,
        cpa_spend: asked(query, Field::Cpa, row.cpa_spend),
        roas_spend: asked(query, Field::Roas, row.roas_spend),
        not_attributed,
        why,
        invented: row.invented,
        coverage: coverage(&row.coverage),
    }
}

/// Why there are no delivery numbers, or none of what is computed of them, field by field.
fn no_delivery(query: &Query, row: &Row) -> BTreeMap<&'static str, &'static str> {
    let fields: [(Field, bool, bool); 6] = [
        (Field::Impressions, row.impressions.is_none(), false),
        (Field::Clicks, row.clicks.is_none(), false),
        (Field::Spend, row.spend.is_none(), true),
        (Field::Ctr, row.ctr.is_none(), false),
        (Field::Cpc, row.cpc.is_none(), true),
        (Field::Cpm, row.cpm.is_none(), true),
    ];
    let reason = |(field, none, is_money): (Field, bool, bool)| {
        let reason = match field {
            _ if !none || !query.fields.has(field) => return None,
            _ if query.level == Level::Event => NullReason::NotAtThisLevel,
            _ if is_money && row.currency.is_none() => NullReason::CurrenciesDiffer,
            Field::Spend => NullReason::NoSpend,
            // Nothing was uploaded, or it would be divided by 0.
            _ => return None,
        };
        Some((field.name(), reason.name()))
    };
    fields.into_iter().filter_map(reason).collect()
}

/// A rate as a number of JSON: the nearest double to a decimal is written as that decimal.
fn rate(rate: Rate) -> Option<f64> {
    rate.decimal(RATE_PLACES).parse().ok()
}

fn of(
    measure: &Measure,
    field: &'static str,
    why: &mut BTreeMap<&'static str, &'static str>,
) -> Option<MeasureJson> {
    match measure {
        Measure::Shown(shown) => Some(MeasureJson::Shown {
            estimate: number(shown, shown.estimate),
            low: number(shown, i128::try_from(shown.low).unwrap_or(i128::MAX)),
            high: number(shown, i128::try_from(shown.high).unwrap_or(i128::MAX)),
            standard_error: shown.standard_error.map(|error| standard_error(shown.unit, error)),
        }),
        Measure::Suppressed { reason } => Some(MeasureJson::Suppressed { suppressed: reason.name() }),
        Measure::Null { reason } => {
            why.insert(field, reason.name());
            None
        }
    }
}

/// In the unit of the numbers beside it: that of a ratio comes in thousandths as they do.
fn standard_error(unit: Unit, error: f64) -> f64 {
    (error / f64::from(unit.steps()) * 1_000.0).round() / 1_000.0
}

/// Whole numbers as they are; what comes in parts of them, as a return in thousandths, as a decimal.
fn number(of: &Number, value: i128) -> serde_json::Number {
    let steps = i128::from(of.unit.steps());
    let whole = || {
        let whole = value / steps;
        i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX }).into()
    };
    if value % steps == 0 && of.unit != Unit::Ratio {
        return whole();
    }
    let places = u8::try_from(of.unit.steps().ilog10()).unwrap_or_default();
    let decimal = decimal_of(value.unsigned_abs(), value < 0, places);
    decimal.parse().ok().and_then(serde_json::Number::from_f64).unwrap_or_else(whole)
}

fn coverage(coverage: &Coverage) -> CoverageJson {
    let missing = coverage.missing.iter().map(|missing| MissingJson {
        from: utc(missing.span.from().seconds()),
        to: utc(missing.span.to().seconds()),
        why: missing.why.name(),
    });
    CoverageJson {
        windows: coverage.windows,
        released: coverage.released,
        value_released: coverage.value_released,
        days: coverage.days,
        whole_days: coverage.whole_days,
        whole_value_days: coverage.whole_value_days,
        missing: missing.collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::console::tests::pages::{campaign_of, coverage, row};
    use crate::registry::AdvertiserId;

    fn number_of(value: i128, unit: Unit) -> serde_json::Number {
        super::number(&Number { estimate: value, low: 0, high: 0, standard_error: None, unit }, value)
    }

    fn number(estimate: i128, low: u128, high: u128, error: Option<f64>, unit: Unit) -> Measure {
        Measure::Shown(Number { estimate, low, high, standard_error: error, unit })
    }

    /// Of campaigns in euros and dollars spend was `null` without a word, as if nothing had been uploaded; so was that of an event.
    #[test]
    fn spend_that_is_not_there_says_why() {
        let of = Row {
            impressions: Some(5),
            clicks: Some(0),
            spend: None,
            ctr: None,
            cpc: None,
            cpm: None,
            currency: None,
            ..row(Some(&campaign_of(1, "Spring")), 100, 1, &coverage())
        };
        let query = Query::campaigns(AdvertiserId::from_bytes([1; 12]), of.period.0, of.period.1);
        let why = |query: &Query, row: &Row| {
            let json = serde_json::to_value(insight(query, row, "EUR")).unwrap();
            ["impressions", "clicks", "spend", "ctr", "cpc", "cpm"]
                .map(|field| json["why"][field].as_str().unwrap_or_default().to_owned())
        };
        let differ = "currencies_differ";
        assert_eq!(why(&query, &of), ["", "", differ, "", differ, differ]);
        let event = Query { level: Level::Event, ..query };
        let none = Row { impressions: None, clicks: None, currency: "EUR".parse().ok(), ..of };
        assert_eq!(why(&event, &none), ["not_at_this_level"; 6]);
        assert_eq!(why(&query, &none), ["", "", "no_spend", "", "", ""]);
        let some = Query { fields: "spend".parse().unwrap(), ..event };
        assert_eq!(why(&some, &none), ["", "", "not_at_this_level", "", "", ""]);
    }

    /// A return of 2.5 had a standard error of 2,000 in JSON, of 2 in CSV: it had been written in thousandths.
    #[test]
    fn a_row_is_the_same_as_json_and_as_a_sheet() {
        let euro = "EUR".parse().unwrap();
        let of = Row {
            cpa_spend: Some(100_000),
            roas_spend: Some(90_000),
            conversions: number(100, 90, 110, Some(4.2), Unit::Count),
            value: number(250_000, 240_000, 260_000, Some(5_000.0), Unit::Money(euro)),
            cpa: number(100_050, 90_909, 111_112, None, Unit::Price(euro)),
            roas: number(2_500, 2_400, 2_601, Some(50.0), Unit::Ratio),
            ..row(Some(&campaign_of(1, "Spring")), 100, 1, &coverage())
        };
        let query = Query::campaigns(AdvertiserId::from_bytes([1; 12]), of.period.0, of.period.1);
        let json = serde_json::to_value(insight(&query, &of, "EUR")).unwrap();
        let roas = json!({ "estimate": 2.5, "low": 2.4, "high": 2.601, "standard_error": 0.05 });
        assert_eq!(json["roas"], roas);
        let cpa = json!({ "estimate": 1000.5, "low": 909.09, "high": 1111.12, "standard_error": null });
        assert_eq!(json["cpa"], cpa);
        assert_eq!(number_of(100_000, Unit::Price(euro)).to_string(), "1000");
        assert_eq!((&json["cpa_spend"], &json["roas_spend"]), (&json!(100_000), &json!(90_000)));

        let file = sheet(&query, &[&of], euro).unwrap();
        let mut reader = csv::Reader::from_reader(file.as_slice());
        let header = reader.headers().unwrap().clone();
        let cells = reader.records().next().unwrap().unwrap();
        let cell = |name: &str| &cells[header.iter().position(|column| column == name).unwrap()];
        for (field, minor) in [("conversions", 1.0), ("value", 100.0), ("cpa", 100.0), ("roas", 1.0)] {
            let parts =
                [("estimate", ""), ("low", "_low"), ("high", "_high"), ("standard_error", "_standard_error")];
            for (name, column) in parts {
                let of_json = json[field][name].as_f64().map(|number| (number / minor * 1e6).round());
                let of_sheet = cell(&format!("{field}{column}")).parse::<f64>().ok();
                assert_eq!(of_json, of_sheet.map(|number| (number * 1e6).round()), "{field} {name}");
            }
        }
        let coverage = &json["coverage"];
        for (name, column) in [
            ("windows", "windows"),
            ("released", "released"),
            ("value_released", "value_released"),
            ("days", "days"),
            ("whole_days", "whole_days"),
            ("whole_value_days", "whole_value_days"),
        ] {
            assert_eq!(coverage[name].to_string(), cell(column), "{name}");
        }
        assert_eq!((cell("cpa_spend"), cell("roas_spend")), ("1000.00", "900.00"));
        // What a demo made up says so in both.
        assert_eq!((&json["invented"], cell("delivery_is_invented")), (&json!(true), "true"));
        let real = Row { invented: false, coverage: Arc::clone(&of.coverage), ..of };
        let file = String::from_utf8(sheet(&query, &[&real], euro).unwrap()).unwrap();
        assert!(file.lines().nth(1).unwrap().ends_with(",false"), "{file}");
    }
}
