//! Rows: sums of parts, and what is said of them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::answer::{Lanes, Part, Sheet, Subject};
use super::coverage::Covering;
use super::lane::{Lane, Total};
use super::noises::Recent;
use super::numbers;
use super::period::Period;
use super::{Coverage, Field, Level, Measure, NullReason, Rate, Row, Suppression};
use crate::registry::{Cadence, Currency};

/// Everything that is added up for one row; kept from row to row for its room.
pub(super) struct Sums {
    conversions: Totals,
    value: Totals,
    /// The conversions that decide about values, of the same windows as each.
    deciding: Total,
    whole_deciding: Total,
    delivered: DeliveredSum,
}

/// A sum over all windows of a period and over those of whole days, and which windows of each generation may be in it.
#[derive(Default)]
struct Totals {
    all: Total,
    whole: Total,
    ranges: Vec<Range<usize>>,
}

#[derive(Default)]
struct DeliveredSum {
    given: bool,
    invented: bool,
    impressions: u64,
    clicks: u64,
    spend: u64,
    /// Of whole days of conversions, and of values.
    whole: u64,
    whole_value: u64,
    /// Of what was given.
    currency: Option<Currency>,
    differ: bool,
}

impl Sums {
    pub(super) fn new(generations: usize) -> Self {
        let totals = || Totals { ranges: vec![0..0; generations], ..Totals::default() };
        Self {
            conversions: totals(),
            value: totals(),
            deciding: Total::default(),
            whole_deciding: Total::default(),
            delivered: DeliveredSum::default(),
        }
    }

    fn clear(&mut self) {
        for totals in [&mut self.conversions, &mut self.value] {
            totals.all.clear();
            totals.whole.clear();
            totals.ranges.fill(0..0);
        }
        self.deciding.clear();
        self.whole_deciding.clear();
        self.delivered = DeliveredSum::default();
    }
}

impl Totals {
    fn cover(&mut self, generation: usize, range: &Range<usize>) {
        let known = &mut self.ranges[generation];
        *known = if known.start >= known.end {
            range.clone()
        } else {
            known.start.min(range.start)..known.end.max(range.end)
        };
    }

    /// The most that the reports of its windows can add up to.
    fn most<'a>(&self, lane: impl Fn(usize) -> Option<&'a Lane<'a>>) -> u128 {
        let of = |(generation, range): (usize, &Range<usize>)| {
            lane(generation).map_or(0, |lane| lane.most(range.clone()))
        };
        self.ranges.iter().enumerate().map(of).fold(0, u128::saturating_add)
    }
}

/// What the coverage of a row follows from: its period, since when and by which generations it is counted, the days of conversions and of
/// values that are compared.
type Covered = (usize, u64, Range<usize>, Range<usize>, Range<usize>);

/// Makes the rows of one answer.
pub(super) struct Rows<'a> {
    sheet: &'a Sheet<'a>,
    covering: Covering<'a>,
    recent: Recent<'a>,
    /// By period, by when counting began within or after it, and by the days that are compared.
    coverages: HashMap<Covered, Arc<Coverage>>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(sheet: &'a Sheet<'a>, covering: Covering<'a>, recent: Recent<'a>) -> Self {
        Self { sheet, covering, recent, coverages: HashMap::new() }
    }

    /// The row of a subject in a period.
    pub(super) fn row(&mut self, period: usize, subject: &Subject, sums: &mut Sums) -> Row {
        sums.clear();
        for part in &subject.parts {
            self.add(period, part, sums);
        }
        let of = &self.sheet.periods.periods[period];
        let delivered = &sums.delivered;
        let currency = self.currency(subject, delivered);
        let visible = delivered.given && self.sheet.query.level != Level::Event;
        let exact = |field, number: u64| (visible && self.sheet.wants(field)).then_some(number);
        let spend = currency.map(|_| delivered.spend);
        let rate = |field, over: Option<u64>, under: u64| {
            let wanted = visible && self.sheet.wants(field);
            over.filter(|_| wanted).and_then(|over| Rate::new(over.into(), under.into()))
        };
        let coverage = self.coverage(period, subject);
        let conversions = self.conversions(of, subject, sums);
        let value = self.value(of, subject, sums);
        let (cpa, cpa_spend) = self.cost(&conversions, sums, currency);
        let (roas, roas_spend) = self.return_on(&value, sums, currency);
        let asked = |field, measure| {
            if self.sheet.wants(field) { measure } else { Measure::null(NullReason::NotAskedFor) }
        };
        Row {
            period: of.dates,
            campaign: subject.campaign.clone(),
            event: subject.event,
            currency,
            impressions: exact(Field::Impressions, delivered.impressions),
            clicks: exact(Field::Clicks, delivered.clicks),
            spend: spend.and_then(|spend| exact(Field::Spend, spend)),
            invented: delivered.invented,
            ctr: rate(Field::Ctr, Some(delivered.clicks), delivered.impressions),
            cpc: rate(Field::Cpc, spend, delivered.clicks),
            cpm: rate(Field::Cpm, spend, delivered.impressions).map(|rate| rate.times(1_000)),
            conversions: asked(Field::Conversions, conversions),
            value: asked(Field::Value, value),
            cpa: asked(Field::Cpa, cpa),
            roas: asked(Field::Roas, roas),
            cpa_spend: cpa_spend.filter(|_| self.sheet.wants(Field::Cpa)),
            roas_spend: roas_spend.filter(|_| self.sheet.wants(Field::Roas)),
            not_attributed: None,
            coverage,
        }
    }

    /// The conversions of a subject alone.
    pub(super) fn conversions_of(&mut self, period: usize, subject: &Subject, sums: &mut Sums) -> Measure {
        sums.clear();
        for part in &subject.parts {
            self.add_cells(period, part, sums);
        }
        self.conversions(&self.sheet.periods.periods[period], subject, sums)
    }

    fn add(&self, period: usize, part: &Part, sums: &mut Sums) {
        self.add_cells(period, part, sums);
        self.add_delivered(period, part, &mut sums.delivered);
    }

    fn add_cells(&self, period: usize, part: &Part, sums: &mut Sums) {
        for (at, bucket) in &part.buckets {
            let Some(Lanes { conversions: Some(lane), value, .. }) = self.sheet.lanes.get(*at) else {
                continue;
            };
            let (all, whole) = ranges(lane, period, part.since, &part.days);
            sums.conversions.cover(*at, &all);
            lane.add(*bucket, all, &lane.usable, &mut sums.conversions.all);
            lane.add(*bucket, whole, &lane.whole, &mut sums.conversions.whole);
            let Some(values) = value else { continue };
            let (all, whole) = ranges(values, period, part.since, &part.value_days);
            sums.value.cover(*at, &all);
            values.add(*bucket, all.clone(), &values.usable, &mut sums.value.all);
            values.add(*bucket, whole.clone(), &values.whole, &mut sums.value.whole);
            lane.add_followed(*bucket, values, all, &values.usable, &mut sums.deciding);
            lane.add_followed(*bucket, values, whole, &values.whole, &mut sums.whole_deciding);
        }
    }

    fn add_delivered(&self, period: usize, part: &Part, sum: &mut DeliveredSum) {
        let sheet = self.sheet;
        let Some(campaign) = part.campaign.and_then(|at| sheet.books.campaigns.get(at)) else { return };
        let (first, last) = sheet.periods.periods[period].dates;
        sheet.books.delivery.each(campaign.id, first, last, &mut |row| {
            sum.given = true;
            sum.invented |= row.invented;
            sum.differ |= sum.currency.is_some_and(|known| known != campaign.currency);
            sum.currency = Some(campaign.currency);
            let add = |to: &mut u64, number: u64| *to = to.saturating_add(number);
            add(&mut sum.impressions, row.impressions);
            add(&mut sum.clicks, row.clicks);
            add(&mut sum.spend, row.spend);
            let Some(place) = sheet.periods.place(row.day) else { return };
            if part.days.contains(&place) && sheet.days.whole[place] {
                add(&mut sum.whole, row.spend);
            }
            if part.value_days.contains(&place) && sheet.value_days.whole[place] {
                add(&mut sum.whole_value, row.spend);
            }
        });
    }

    /// The currency of spend: that of what was delivered, or of the campaigns, or the advertiser's.
    fn currency(&self, subject: &Subject, delivered: &DeliveredSum) -> Option<Currency> {
        if delivered.given {
            return delivered.currency.filter(|_| !delivered.differ);
        }
        let campaigns = &self.sheet.books.campaigns;
        let mut of =
            subject.parts.iter().filter_map(|part| campaigns.get(part.campaign?)).map(|one| one.currency);
        let first = of.next().unwrap_or(self.sheet.books.advertiser.currency);
        of.all(|other| other == first).then_some(first)
    }

    fn conversions(&mut self, period: &Period, subject: &Subject, sums: &Sums) -> Measure {
        let total = &sums.conversions.all;
        if total.cells == 0 {
            return Measure::null(self.nothing(period, subject));
        }
        let lanes = &self.sheet.lanes;
        let most = sums.conversions.most(|at| lanes.get(at)?.conversions.as_ref());
        numbers::conversions(total, most, &mut self.recent)
    }

    fn value(&mut self, period: &Period, subject: &Subject, sums: &Sums) -> Measure {
        let (total, lanes) = (&sums.value.all, &self.sheet.lanes);
        if total.cells == 0 {
            let then = |lanes: &&Lanes<'_>| {
                let closed = lanes.generation.closed.unwrap_or(u64::MAX);
                lanes.generation.opened < period.to && period.from < closed
            };
            let is_summed = |lanes: &Lanes<'_>| lanes.generation.value.is_some();
            let summed = lanes.iter().filter(then).any(is_summed);
            // Later days have none either, unless any task sums values.
            let ever = lanes.is_empty() || lanes.iter().any(is_summed);
            return Measure::null(match self.nothing(period, subject) {
                NullReason::NotReleased | NullReason::WindowsAreLonger if !summed => {
                    NullReason::ValuesNotSummed
                }
                NullReason::NotMeasured if !ever => NullReason::ValuesNotSummed,
                reason => reason,
            });
        }
        let most = sums.value.most(|at| lanes.get(at)?.value.as_ref());
        let currency = self.sheet.books.advertiser.currency;
        // Values of windows are shown if their conversions are; and none is beside conversions of the row that are not.
        match self.conversions(period, subject, sums) {
            Measure::Suppressed { .. } => Measure::suppressed(Suppression::ConversionsSuppressed),
            _ => numbers::value(total, &sums.deciding, most, currency, &mut self.recent),
        }
    }

    /// Why a row has no window.
    fn nothing(&self, period: &Period, subject: &Subject) -> NullReason {
        if !subject.counted {
            return NullReason::EventNotCounted;
        }
        let since = subject.parts.iter().map(|part| part.since).min().unwrap_or(u64::MAX);
        if since >= period.to {
            return NullReason::NotMeasured;
        }
        let generations = subject.generations().unwrap_or(0..self.sheet.lanes.len());
        let counted = self.sheet.books.generations.get(generations).unwrap_or_default();
        if !counted.is_empty() && counted.iter().all(|generation| generation.life_end() <= period.from) {
            return NullReason::NoLongerCounted;
        }
        let is_monday =
            |place: usize| self.sheet.periods.days[place].date.weekday().to_monday_zero_offset() == 0;
        let has_week = || period.days.clone().any(|day| is_monday(day) && day + 7 <= period.days.end);
        if self.sheet.books.advertiser.cadence == Cadence::Week && !has_week() {
            return NullReason::WindowsAreLonger;
        }
        NullReason::NotReleased
    }

    fn cost(
        &mut self,
        conversions: &Measure,
        sums: &Sums,
        currency: Option<Currency>,
    ) -> (Measure, Option<u64>) {
        let (spend, total) = (sums.delivered.whole, &sums.conversions.whole);
        let spent = match compared(conversions, &sums.delivered, total, spend) {
            Err(none) => return (none, None),
            Ok(spent) => spent,
        };
        let Some(currency) = currency else { return (Measure::null(NullReason::CurrenciesDiffer), None) };
        let lanes = &self.sheet.lanes;
        let most = sums.conversions.most(|at| lanes.get(at)?.conversions.as_ref());
        let cost = match numbers::conversions(total, most, &mut self.recent) {
            Measure::Shown(number) => numbers::cost(spent, &number, currency),
            // Those of the whole row are shown, or there was nothing to compare.
            Measure::Suppressed { .. } => Measure::suppressed(Suppression::ComparedDaysSuppressed),
            none @ Measure::Null { .. } => none,
        };
        let shown = cost.shown().map(|_| spent);
        (cost, shown)
    }

    fn return_on(
        &mut self,
        value: &Measure,
        sums: &Sums,
        currency: Option<Currency>,
    ) -> (Measure, Option<u64>) {
        let (spend, total) = (sums.delivered.whole_value, &sums.value.whole);
        let spent = match compared(value, &sums.delivered, total, spend) {
            Err(none) => return (none, None),
            Ok(spent) => spent,
        };
        let own = self.sheet.books.advertiser.currency;
        if currency != Some(own) {
            return (Measure::null(NullReason::CurrenciesDiffer), None);
        }
        let lanes = &self.sheet.lanes;
        let most = sums.value.most(|at| lanes.get(at)?.value.as_ref());
        let found = match numbers::value(total, &sums.whole_deciding, most, own, &mut self.recent) {
            Measure::Shown(number) => numbers::return_on(spent, &number),
            Measure::Suppressed { .. } => Measure::suppressed(Suppression::ComparedDaysSuppressed),
            none @ Measure::Null { .. } => none,
        };
        let shown = found.shown().map(|_| spent);
        (found, shown)
    }

    fn coverage(&mut self, period: usize, subject: &Subject) -> Arc<Coverage> {
        let sheet = self.sheet;
        let of = &sheet.periods.periods[period];
        let since = subject.parts.iter().map(|part| part.since).min().unwrap_or(0);
        // Whatever began before is the same.
        let since = if since <= of.from { 0 } else { since.min(of.to) };
        let generations = subject.generations().unwrap_or(0..sheet.lanes.len());
        // Of several campaigns: the days of any of them.
        let compared = |days: fn(&Part) -> &Range<usize>| {
            let within = |part| {
                let days = days(part);
                days.start.max(of.days.start)..days.end.min(of.days.end)
            };
            let days = subject.parts.iter().map(within).filter(|days| days.start < days.end);
            days.reduce(|one, other| one.start.min(other.start)..one.end.max(other.end)).unwrap_or(0..0)
        };
        let (days, value_days) = (compared(|part| &part.days), compared(|part| &part.value_days));
        let covering = &self.covering;
        let make = || {
            let mut coverage = covering.coverage(of, since, &generations);
            coverage.days = u32::try_from(of.days.len()).unwrap_or(u32::MAX);
            coverage.whole_days = sheet.days.count(days.clone());
            coverage.whole_value_days = sheet.value_days.count(value_days.clone());
            Arc::new(coverage)
        };
        let key = (period, since, generations.clone(), days.clone(), value_days.clone());
        Arc::clone(self.coverages.entry(key).or_insert_with(make))
    }
}

/// The windows of a period that a part is counted in, and among them those of some days.
fn ranges(lane: &Lane<'_>, period: usize, since: u64, days: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let all = &lane.in_period[period];
    let within = |first: usize, end: usize| {
        let first = all.start.max(first).min(all.end);
        first..all.end.min(end).max(first)
    };
    (within(lane.after(since), all.end), within(lane.on_or_after(days.start), lane.reaching(days.end)))
}

/// The spend to compare a number with, or why there is none.
fn compared(number: &Measure, delivered: &DeliveredSum, total: &Total, spend: u64) -> Result<u64, Measure> {
    match number {
        Measure::Null { .. } => return Err(*number),
        Measure::Suppressed { .. } => {
            return Err(Measure::suppressed(Suppression::ConversionsSuppressed));
        }
        Measure::Shown(_) => {}
    }
    if !delivered.given || delivered.spend == 0 {
        return Err(Measure::null(NullReason::NoSpend));
    }
    if total.cells == 0 {
        return Err(Measure::null(NullReason::NoWholeDay));
    }
    if spend == 0 {
        return Err(Measure::null(NullReason::NoSpend));
    }
    Ok(spend)
}
