//! Which windows and buckets a sum covers, read from the store.

use std::collections::HashMap;

use arras_protocol::messages::{TaskId, TimePrecision};

use super::gaps::Uncollected;
use super::total::{Judged, Total};
use super::{
    Covered, Gap, GapReason, SUM_CELLS_MAX, SUM_VERSION, SUM_WINDOWS_MAX, Sum, SumError, SumKeys, SumRow,
};
use crate::collector::errors::CollectError;
use crate::collector::release::{CONFIDENCE, Cell, Measured, Release, name};
use crate::collector::span::Span;
use crate::collector::store::{Collection, Stage};
use crate::collector::{Collector, PAGE, words};
use crate::tasks::provisioned::{KnownTask, is_value};
use crate::text::printable;

/// What a sum is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::collector) struct Wanted {
    /// Over which windows.
    pub(in crate::collector) range: Span,
    /// Over which campaigns; none: each bucket by itself, and all campaigns together.
    pub(in crate::collector) campaigns: Vec<String>,
}

/// What was read on the way through the range.
#[derive(Default)]
struct Gathered {
    windows: Vec<Covered>,
    gaps: Vec<Gap>,
    report_count: u64,
    total: Total,
    /// Of values: the conversions of the same windows.
    conversions: Option<Total>,
    /// The task that counted them.
    counted_by: Option<String>,
    campaigns: Vec<Option<String>>,
    not_attributed: bool,
}

/// What of a release goes into a sum.
enum Found {
    Cells { release: Box<Release>, cells: Cells, conversions: Option<(Box<Release>, Cells)> },
    Missing(GapReason, u64),
}

type Cells = zeroize::Zeroizing<Vec<i128>>;

impl Collector {
    /// Sums releases of a task. Reads; asks nobody and spends nothing.
    pub(in crate::collector) fn sum(&self, id: TaskId, wanted: &Wanted) -> Result<Sum, CollectError> {
        let task = self.known_task(id)?;
        let gathered = self.gather(&task, wanted)?;
        let selections = select(&gathered, wanted)?;
        let vdaf = Measured::of(task.task.vdaf().config())
            .ok_or(CollectError::Release(crate::collector::ReleaseError::Vdaf))?;
        let most = u128::from(gathered.report_count).saturating_mul(u128::from(vdaf.max_of_report()));
        let rows = rows(&gathered, selections, most);
        Ok(Sum {
            version: SUM_VERSION,
            task: id.to_string(),
            name: name(&task),
            vdaf,
            conversions: gathered.counted_by.clone(),
            range: wanted.range,
            noise: gathered.total.shares(),
            windows: gathered.windows,
            gaps: gathered.gaps,
            report_count: gathered.report_count,
            confidence: CONFIDENCE.1.to_owned(),
            keys: SumKeys { signing: self.signer().public_key().id().to_string() },
            rows,
        })
    }

    fn gather(&self, task: &KnownTask, wanted: &Wanted) -> Result<Gathered, CollectError> {
        let (id, range) = (task.task.id(), wanted.range);
        let precision = task.task.configuration().time_precision;
        let mut gathered = Gathered::default();
        let uncollected = Uncollected::read(self, id, precision, range)?;
        let most = (SUM_CELLS_MAX / task.task.vdaf().config().output_len().max(1)).min(SUM_WINDOWS_MAX);
        let mut at = range.from();
        for (collection, window) in self.overlapping(id, precision, range, most)? {
            gathered.gaps.extend(uncollected.parts(at, window.from()));
            at = window.to().min(range.to()).max(at);
            match collection.stage {
                Stage::Released { sequence } if window.from() < range.from() || window.to() > range.to() => {
                    return Err(SumError::CutsWindow { window, sequence }.into());
                }
                Stage::Released { sequence } => match self.found(task, sequence)? {
                    Found::Missing(why, release) => {
                        gathered.gaps.push(Gap { span: window, why, release: Some(release) });
                    }
                    Found::Cells { release, cells, conversions } => {
                        gathered.add(&release, &cells, window)?;
                        if let Some((conversions, cells)) = conversions {
                            gathered.add_conversions(&conversions, &cells, window)?;
                        }
                    }
                },
                Stage::UnderWay { .. } | Stage::Failed { .. } => {
                    let part = Span::new(window.from().max(range.from()), at)?;
                    gathered.gaps.push(Gap { span: part, why: GapReason::UnderWay, release: None });
                }
            }
        }
        gathered.gaps.extend(uncollected.parts(at, range.to()));
        if gathered.windows.is_empty() {
            return Err(nothing(task, wanted, &gathered.gaps, &uncollected).into());
        }
        Ok(gathered)
    }

    /// The windows that share a time with a range, in its order.
    fn overlapping(
        &self,
        id: TaskId,
        precision: TimePrecision,
        range: Span,
        most: usize,
    ) -> Result<Vec<(Collection, Span)>, CollectError> {
        let mut found = Vec::new();
        let mut after = precision.truncate(range.from().seconds()).0;
        loop {
            let page = self.store().collections(id, after, PAGE)?;
            let Some(last) = page.last() else { return Ok(found) };
            after = last.interval.end().0;
            for collection in page {
                // What is kept was a span before.
                let Some(window) = Span::of(collection.interval, precision) else { continue };
                if window.from() >= range.to() {
                    return Ok(found);
                }
                if window.to() <= range.from() {
                    continue;
                }
                if found.len() >= most {
                    return Err(SumError::TooMany { most }.into());
                }
                found.push((collection, window));
            }
        }
    }

    /// The cells of a release, and of the conversions that it follows.
    fn found(&self, task: &KnownTask, sequence: u64) -> Result<Found, CollectError> {
        let kept = |sequence| -> Result<Option<(Box<Release>, Cells)>, CollectError> {
            let found = self.store().with_cells(sequence)?;
            Ok(found.map(|(release, cells)| (Box::new(release.into_release()), cells)))
        };
        let missing = |sequence| Found::Missing(GapReason::WithoutCells, sequence);
        let Some((release, cells)) = kept(sequence)? else { return Ok(missing(sequence)) };
        if !is_value(task.task.vdaf().config()) {
            return Ok(Found::Cells { release, cells, conversions: None });
        }
        let Some(followed) = release.conversions.as_ref().map(|conversions| conversions.sequence) else {
            return Ok(Found::Missing(GapReason::WithoutConversions, sequence));
        };
        let Some(conversions) = kept(followed)? else { return Ok(missing(followed)) };
        Ok(Found::Cells { release, cells, conversions: Some(conversions) })
    }
}

/// Why a range has nothing to add up. No release says which campaigns there are then; the task's file does.
fn nothing(task: &KnownTask, wanted: &Wanted, gaps: &[Gap], uncollected: &Uncollected) -> SumError {
    let range = wanted.range;
    if let Some(campaign) = wanted.campaigns.iter().find(|name| !task.campaigns.contains(name)) {
        let known = names(task.campaigns.iter().map(String::as_str));
        return SumError::NoSuchCampaign { range, campaign: campaign.clone(), known };
    }
    let words = |gap: &Gap| match uncollected.reason(gap) {
        // The advice after the first sentence is for whoever collects; it is long, and kept up to a length only.
        Some(reason) => {
            let first = reason.split_once(". ").map_or(reason, |(first, _)| first);
            format!(
                "was asked for and not collected: {}; `arras collect` tries again and says more",
                printable(first)
            )
        }
        None if gap.why == GapReason::NotCollected => {
            "was not collected; `arras collect` does that".to_owned()
        }
        None => words::gap(gap),
    };
    let why = match gaps {
        [gap] => format!("it {}", words(gap)),
        gaps => gaps
            .first()
            .map(|gap| format!("its first part, from {}, {}", gap.span, words(gap)))
            .unwrap_or_default(),
    };
    SumError::Nothing { range, why }
}

/// The names of campaigns in an error.
fn names<'a>(campaigns: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = campaigns.collect();
    if all.is_empty() { "none".to_owned() } else { printable(&all.join(", ")) }
}

impl Gathered {
    fn add(&mut self, release: &Release, cells: &[i128], window: Span) -> Result<(), SumError> {
        self.total.add(release, cells)?;
        self.campaigns.resize(cells.len(), None);
        for (known, bucket) in self.campaigns.iter_mut().zip(&release.buckets) {
            match (&*known, &bucket.campaign) {
                (Some(one), Some(other)) if one != other => {
                    let (one, other) = (one.clone(), other.clone());
                    return Err(SumError::OtherCampaign { bucket: bucket.bucket, one, other, window });
                }
                // A campaign may be given a bucket later: until then it had no name here.
                (None, Some(_)) => known.clone_from(&bucket.campaign),
                _ => {}
            }
            self.not_attributed |= bucket.not_attributed;
        }
        self.report_count = self.report_count.saturating_add(release.report_count);
        self.windows.push(Covered { sequence: release.sequence, window });
        Ok(())
    }

    /// Adds the conversions of a window of values. Which task counted them is what the release says: the task's file may
    /// name another one today.
    fn add_conversions(&mut self, release: &Release, cells: &[i128], window: Span) -> Result<(), SumError> {
        match &self.counted_by {
            Some(one) if *one != release.task => {
                let (one, other) = (one.clone(), release.task.clone());
                return Err(SumError::OtherConversions { one, other, window });
            }
            _ => self.counted_by = Some(release.task.clone()),
        }
        self.conversions.get_or_insert_default().add(release, cells)
    }

    /// How many numbers a sum of everything has: each bucket, and all campaigns together. Thresholds are for so many,
    /// whatever is asked for: who asks for one campaign after the other is shown no more than who asks for all.
    fn family(&self) -> usize {
        let named = self.campaigns.iter().flatten().count();
        self.campaigns.len() + usize::from(named > 1)
    }
}

/// A number that is wanted: which campaign, and its buckets.
type Selection = (Option<String>, Vec<u32>);

fn select(gathered: &Gathered, wanted: &Wanted) -> Result<Vec<Selection>, SumError> {
    let all: Vec<Selection> =
        (0..).zip(&gathered.campaigns).map(|(n, name)| (name.clone(), vec![n])).collect();
    let is_campaign = |(name, _): &&Selection| name.is_some();
    let mut chosen = Vec::new();
    for (index, campaign) in wanted.campaigns.iter().enumerate() {
        if wanted.campaigns[..index].contains(campaign) {
            return Err(SumError::Repeated(campaign.clone()));
        }
        let found = all.iter().find(|(name, _)| name.as_ref() == Some(campaign));
        let Some(found) = found else {
            let known = names(all.iter().filter_map(|(name, _)| name.as_deref()));
            return Err(SumError::UnknownCampaign { range: wanted.range, campaign: campaign.clone(), known });
        };
        chosen.push(found.clone());
    }
    let (mut rows, together) = if wanted.campaigns.is_empty() {
        let named: Vec<_> = all.iter().filter(is_campaign).cloned().collect();
        (all, named)
    } else {
        (chosen.clone(), chosen)
    };
    if together.len() > 1 {
        rows.push((None, together.into_iter().flat_map(|(_, buckets)| buckets).collect()));
    }
    Ok(rows)
}

fn rows(gathered: &Gathered, selections: Vec<Selection>, most: u128) -> Vec<SumRow> {
    let family = gathered.family();
    // All buckets have the same noise, so there are few different ones to compute.
    let mut judged: HashMap<usize, (Judged, Option<Judged>)> = HashMap::new();
    let deciding = gathered.conversions.as_ref();
    selections
        .into_iter()
        .map(|(campaign, buckets)| {
            let (own, conversions) = judged.entry(buckets.len()).or_insert_with(|| {
                let of = |total: &Total| total.judged(buckets.len(), family);
                (of(&gathered.total), deciding.map(of))
            });
            let value = gathered.total.of(&buckets);
            // Values follow the sum of their conversions, as buckets follow theirs.
            let decides = conversions.as_ref().unwrap_or(own);
            let held = deciding.map_or(value, |total| total.of(&buckets));
            let cell = if decides.shows(held) { own.estimate(value, most) } else { Cell::Suppressed };
            SumRow {
                campaign,
                not_attributed: gathered.not_attributed && buckets == [0],
                threshold: decides.threshold,
                buckets,
                cell,
            }
        })
        .collect()
}
