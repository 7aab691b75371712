//! The answer to a query, from cells, campaigns and delivery numbers in memory. It asks no store and no clock.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::civil::Date;

use super::coverage::{Covering, Listed, awaited};
use super::days::WholeDays;
use super::facts::Facts;
use super::lane::Lane;
use super::noises::{Noises, Recent};
use super::period::Periods;
use super::row::{Rows, Sums};
use super::spent::Spent;
use super::{Field, Level, QUERY_ROWS_MAX, Query, QueryError, Table};
use crate::registry::{
    Advertiser, Campaign, CampaignId, Delivered, EventKind, Generation, Slot, Touch, Touches,
};

/// What an advertiser has. Nothing of another advertiser is in it, so that no query can reach there.
pub struct Books<'a> {
    /// The advertiser.
    pub advertiser: &'a Advertiser,
    /// Its campaigns, by creation.
    pub campaigns: &'a [Arc<Campaign>],
    /// Its generations, the oldest first.
    pub generations: &'a [Arc<Generation>],
    /// Its delivery numbers.
    pub delivery: &'a dyn Delivery,
    /// The windows of conversions that its calendar has in the range, in the order of their beginnings.
    pub listed: &'a [Listed],
    /// Now, in POSIX seconds.
    pub now: u64,
}

/// The delivery numbers of one advertiser.
pub trait Delivery {
    /// Visits what is known of a campaign on days from the first to the last, in order.
    fn each(&self, campaign: CampaignId, first: Date, last: Date, visit: &mut dyn FnMut(&Delivered));

    /// The first and the last day for which there is anything of a campaign.
    fn span(&self, campaign: CampaignId) -> Option<(Date, Date)>;
}

/// A generation, and its numbers in the range.
pub(super) struct Lanes<'a> {
    pub(super) generation: &'a Generation,
    pub(super) conversions: Option<Lane<'a>>,
    pub(super) value: Option<Lane<'a>>,
}

/// A campaign's cells of one kind of event: what rows are made of.
pub(super) struct Part {
    /// The place of the campaign in [`Books::campaigns`]; `None` for what no campaign gets.
    pub(super) campaign: Option<usize>,
    /// Its buckets, with the place of their generation.
    pub(super) buckets: Vec<(usize, u32)>,
    /// From when on it was counted, in POSIX seconds: windows that end before hold nothing of it but noise.
    pub(super) since: u64,
    /// From when to when its spend is known, in POSIX seconds: no other days are compared with what it led to.
    pub(super) spent: Range<u64>,
    /// The days that it is compared for if they are whole, as places: of conversions, and of values.
    pub(super) days: Range<usize>,
    pub(super) value_days: Range<usize>,
}

/// What a row is about.
pub(super) struct Subject {
    pub(super) campaign: Option<Arc<Campaign>>,
    pub(super) event: Option<EventKind>,
    pub(super) parts: Vec<Part>,
    /// Whether any generation counts its events.
    pub(super) counted: bool,
}

impl Subject {
    /// The generations that count it, from its first to its last, as places.
    pub(super) fn generations(&self) -> Option<Range<usize>> {
        let places = || self.parts.iter().flat_map(|part| &part.buckets).map(|(place, _)| *place);
        Some(places().min()?..places().max()? + 1)
    }
}

/// What all rows of an answer share.
pub(super) struct Sheet<'a> {
    pub(super) books: &'a Books<'a>,
    pub(super) query: &'a Query,
    pub(super) periods: Periods,
    pub(super) lanes: Vec<Lanes<'a>>,
    /// Whole days of conversions and of values.
    pub(super) days: WholeDays,
    pub(super) value_days: WholeDays,
}

/// Answers a query from facts.
///
/// # Errors
/// All but [`QueryError::UnknownAdvertiser`] and [`QueryError::Store`].
pub fn answer(facts: &Facts, noises: &Noises, books: &Books<'_>, query: &Query) -> Result<Table, QueryError> {
    if query.touch.is_some() && books.advertiser.touches == Touches::Together {
        return Err(QueryError::TouchesTogether);
    }
    let periods = Periods::of(query, &books.advertiser.time_zone)?;
    let spent = Spent::of(books, &periods);
    let mut subjects = subjects(books, query, &spent)?;
    let rows = periods.periods.len().saturating_mul(subjects.len());
    if rows > QUERY_ROWS_MAX {
        return Err(QueryError::TooManyRows { rows });
    }
    let lanes = lanes(facts, books, &periods);
    let sheet = Sheet::new(books, query, periods, lanes, &spent);
    for part in subjects.iter_mut().flat_map(|subject| &mut subject.parts) {
        part.days = sheet.days.of_part(part);
        part.value_days = sheet.value_days.of_part(part);
    }
    let find = |number: u32| {
        let found = sheet.lanes.iter().find(|lanes| lanes.generation.number == number);
        found.and_then(|lanes| lanes.conversions.as_ref())
    };
    let find_value = |number: u32| {
        let found = sheet.lanes.iter().find(|lanes| lanes.generation.number == number);
        found.and_then(|lanes| lanes.value.as_ref())
    };
    let covering = Covering {
        listed: books.listed,
        lane: &find,
        value: &find_value,
        generations: books.generations,
        now: books.now,
    };
    let recent = Recent::new(noises, family(&sheet.lanes));
    let mut table = Table { rows: Vec::with_capacity(rows) };
    let mut maker = Rows::new(&sheet, covering, recent);
    let rest = rest(books, query);
    let mut sums = Sums::new(sheet.lanes.len());
    for period in 0..sheet.periods.periods.len() {
        for subject in &subjects {
            let mut row = maker.row(period, subject, &mut sums);
            if let Some(rest) = &rest {
                row.not_attributed = Some(maker.conversions_of(period, rest, &mut sums));
            }
            table.rows.push(row);
        }
    }
    Ok(table)
}

/// How many numbers of an advertiser's tasks a reader may look at, so that a threshold is for all of them: each bucket of the largest
/// task, and all campaigns together. It does not depend on what is asked for: who asks for one campaign after the other is shown no
/// more than who asks for all.
fn family(lanes: &[Lanes<'_>]) -> u64 {
    let buckets = lanes.iter().filter_map(|lanes| lanes.conversions.as_ref()).map(|lane| lane.task.buckets());
    buckets.max().unwrap_or(0) as u64 + 1
}

fn lanes<'a>(facts: &'a Facts, books: &Books<'a>, periods: &Periods) -> Vec<Lanes<'a>> {
    let lane = |generation: &'a Arc<Generation>| {
        let counts = facts.task(generation.conversions);
        let value = generation.value.as_ref().zip(counts).and_then(|(value, counts)| {
            let task = facts.task(value.task)?;
            Some(Lane::new(task, value.unit, periods, Some(counts)))
        });
        let conversions = counts.map(|task| Lane::new(task, 1, periods, None));
        Lanes { generation, conversions, value }
    };
    books.generations.iter().map(lane).collect()
}

impl<'a> Sheet<'a> {
    fn new(
        books: &'a Books<'a>,
        query: &'a Query,
        periods: Periods,
        mut lanes: Vec<Lanes<'a>>,
        spent: &Spent,
    ) -> Self {
        let whole = |of: &dyn for<'l> Fn(&'l Lanes<'a>) -> Option<&'l Lane<'a>>, lanes: &[Lanes<'a>]| {
            let pairs: Vec<(&Generation, Option<&Lane<'_>>)> =
                lanes.iter().map(|lanes| (lanes.generation, of(lanes))).collect();
            let counts = |place: usize| lanes.get(place)?.conversions.as_ref();
            let awaited = awaited((books.listed, books.generations), |place| of(lanes.get(place)?), counts);
            let mut known = spent.told.clone();
            for time in awaited {
                let start = periods.days.partition_point(|day| day.to <= time.start);
                let end = periods.days.partition_point(|day| day.from < time.end);
                known[start..end.max(start)].fill(false);
            }
            WholeDays::of(&periods, &known, &pairs)
        };
        let days = whole(&|lanes| lanes.conversions.as_ref(), &lanes);
        let value_days = whole(&|lanes| lanes.value.as_ref(), &lanes);
        for lanes in &mut lanes {
            if let Some(lane) = &mut lanes.conversions {
                lane.whole = days.windows(lane, &periods);
            }
            if let Some(lane) = &mut lanes.value {
                lane.whole = value_days.windows(lane, &periods);
            }
        }
        Self { books, query, periods, lanes, days, value_days }
    }

    pub(super) fn wants(&self, field: Field) -> bool {
        self.query.fields.has(field)
    }
}

/// Where each campaign's slots are: the place of the generation, the slot, what it counts.
type Places = HashMap<CampaignId, Vec<(usize, u32, Option<Touch>)>>;

fn places(generations: &[Arc<Generation>]) -> Places {
    let mut places = Places::new();
    for (at, generation) in generations.iter().enumerate() {
        for (slot, meaning) in (1..).zip(&generation.slots) {
            if let Some(Slot { campaign, touch }) = meaning {
                places.entry(*campaign).or_default().push((at, slot, *touch));
            }
        }
    }
    places
}

/// What rows are about, in their order.
fn subjects(books: &Books<'_>, query: &Query, spent: &Spent) -> Result<Vec<Subject>, QueryError> {
    let campaigns: Vec<(usize, &Arc<Campaign>)> = books
        .campaigns
        .iter()
        .enumerate()
        .filter(|(_, campaign)| query.campaign.is_none_or(|wanted| campaign.id == wanted))
        .collect();
    if campaigns.is_empty() && query.campaign.is_some() {
        return Err(QueryError::UnknownCampaign);
    }
    let places = places(books.generations);
    let counts = |event: EventKind| books.generations.iter().any(|one| one.events.contains(&event));
    let part = |at: usize, campaign: &Campaign, event: EventKind| {
        let spent = spent.of.get(at).cloned().unwrap_or(0..0);
        Part { spent, ..part(books, query, &places, (at, campaign), event) }
    };
    let named = query.campaign.is_some().then(|| campaigns.first().map(|(_, one)| Arc::clone(one))).flatten();
    let goal = |campaign: &Campaign| query.event.unwrap_or(campaign.goal);
    Ok(match query.level {
        Level::Account => {
            let parts = campaigns.iter().map(|(at, one)| part(*at, one, goal(one))).collect();
            let counted = match query.event {
                Some(event) => counts(event),
                None => campaigns.is_empty() || campaigns.iter().any(|(_, one)| counts(one.goal)),
            };
            vec![Subject { campaign: named, event: query.event, parts, counted }]
        }
        Level::Campaign => {
            let subject = |(at, one): &(usize, &Arc<Campaign>)| Subject {
                campaign: Some(Arc::clone(one)),
                event: query.event,
                parts: vec![part(*at, one, goal(one))],
                counted: counts(goal(one)),
            };
            campaigns.iter().map(subject).collect()
        }
        Level::Event => {
            let wanted = |event: &EventKind| match query.event {
                Some(one) => *event == one,
                None => counts(*event),
            };
            let subject = |event: EventKind| Subject {
                campaign: named.clone(),
                event: Some(event),
                parts: campaigns.iter().map(|(at, one)| part(*at, one, event)).collect(),
                counted: counts(event),
            };
            EventKind::ALL.into_iter().filter(wanted).map(subject).collect()
        }
    })
}

fn part(
    books: &Books<'_>,
    query: &Query,
    places: &Places,
    (at, campaign): (usize, &Campaign),
    event: EventKind,
) -> Part {
    let slots = places.get(&campaign.id).map_or(&[][..], Vec::as_slice);
    let buckets: Vec<(usize, u32)> = slots
        .iter()
        .filter(|(_, _, touch)| query.touch.is_none_or(|wanted| *touch == Some(wanted)))
        .filter_map(|(generation, slot, _)| {
            Some((*generation, books.generations.get(*generation)?.bucket(event, *slot)?))
        })
        .collect();
    // Generations are in order, and so are the buckets.
    let opened = buckets.first().and_then(|(first, _)| books.generations.get(*first)).map(|one| one.opened);
    let since = opened.unwrap_or(u64::MAX).max(campaign.created);
    Part { campaign: Some(at), buckets, since, spent: 0..0, days: 0..0, value_days: 0..0 }
}

/// What no campaign gets, where that can be told: bucket 0 is of all kinds of events and touches.
fn rest(books: &Books<'_>, query: &Query) -> Option<Subject> {
    let whole = query.level == Level::Account
        && query.fields.has(Field::Conversions)
        && (query.campaign.is_none() && query.event.is_none() && query.touch.is_none());
    let part = || Part {
        campaign: None,
        buckets: (0..books.generations.len()).map(|at| (at, 0)).collect(),
        since: books.generations.first().map_or(u64::MAX, |first| first.opened),
        spent: 0..0,
        days: 0..0,
        value_days: 0..0,
    };
    whole.then(|| Subject { campaign: None, event: None, parts: vec![part()], counted: true })
}
