//! How far off sums are, computed once each.
//!
//! The exact noise of a sum takes a fraction of a millisecond to compute, and a table of a thousand campaigns has a handful of
//! different ones: what was computed stays, by what it depends on. It depends on scales and numbers of cells, never on a cell.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use crate::collector::judged::{Width, threshold};
use crate::privacy::accuracy::Noise;

/// What is kept of each kind before all of it is forgotten: some hundred bytes each. A range of three years of hours has no more
/// different sums.
pub const NOISES_MAX: usize = 1 << 15;

/// The draws of a sum: so many cells of each scale and unit. Short: an advertiser has a scale for each of its terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Draws {
    /// Numerator and denominator of a scale, unit, cells; the order is that in which they came.
    of: Vec<((u128, u128), u64, u64)>,
}

impl Draws {
    pub(super) fn add(&mut self, scale: (u128, u128), unit: u64, cells: u64) {
        match self.of.iter_mut().find(|known| known.0 == scale && known.1 == unit) {
            Some(known) => known.2 += cells,
            None if cells > 0 => self.of.push((scale, unit, cells)),
            None => {}
        }
    }

    /// Forgets them and keeps the room.
    pub(super) fn clear(&mut self) {
        self.of.clear();
    }

    /// The noise of the cells of one unit.
    fn noise(&self, unit: u64) -> Noise {
        let of = self.of.iter().filter(|draws| draws.1 == unit);
        of.map(|(scale, _, cells)| Noise::of_draws(*scale, *cells)).sum()
    }

    fn units(&self) -> Vec<u64> {
        let mut units: Vec<u64> = self.of.iter().map(|draws| draws.1).collect();
        units.sort_unstable();
        units.dedup();
        units
    }
}

/// Different units that one sum may have: 95 % divided by so many is still a whole thousandth.
pub(super) const UNITS_MAX: usize = 50;

/// What was computed. Shared by all queries; each lock is held for a look or an insertion, never while computing.
#[derive(Default)]
pub struct Noises {
    widths: Mutex<HashMap<(Noise, u16), Width>>,
    thresholds: Mutex<HashMap<(Noise, u64), u128>>,
}

impl Noises {
    /// How far off a sum is, in steps of 1: units are multiplied in. `None` for more units than [`UNITS_MAX`].
    ///
    /// Cells of one unit are a sum of whole numbers times the unit, and their width is exact. Of several units the interval is that of
    /// each, so much surer that they hold together: no narrower than needed, wherever the noises lie.
    pub(super) fn width(&self, draws: &Draws) -> Option<Width> {
        let units = draws.units();
        let parts = u16::try_from(units.len()).ok().filter(|parts| usize::from(*parts) <= UNITS_MAX)?;
        let (mut half, mut variance) = (0_u128, 0.0);
        for unit in units {
            let noise = draws.noise(unit);
            let key = (noise, parts.max(1));
            let width = remembered(&self.widths, key, |(noise, parts)| Width::of_part(noise, *parts));
            half = half.saturating_add(width.half.saturating_mul(unit.into()));
            variance += (as_f64(unit) * width.standard_error).powi(2);
        }
        Some(Width { half, standard_error: variance.sqrt() })
    }

    /// The smallest count that is shown of a sum of counts, as one of `family` numbers.
    pub(super) fn threshold(&self, draws: &Draws, family: u64, of_releases: u64) -> u128 {
        let key = (draws.noise(1), family);
        // The part that is expensive; the largest of the releases' thresholds comes after.
        remembered(&self.thresholds, key, |(noise, family)| threshold(noise, *family, 0))
            .max(of_releases.into())
    }
}

#[allow(clippy::cast_precision_loss, reason = "display only")]
fn as_f64(unit: u64) -> f64 {
    unit as f64
}

fn remembered<K: Eq + Hash, V: Copy>(
    known: &Mutex<HashMap<K, V>>,
    key: K,
    compute: impl FnOnce(&K) -> V,
) -> V {
    // A panic under it leaves a map as it was.
    if let Some(value) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return *value;
    }
    let value = compute(&key);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= NOISES_MAX {
        known.clear();
    }
    known.insert(key, value);
    value
}

/// The last few answers of [`Noises`] to one query: rows of a table mostly have the same noise, and comparing a few numbers costs less
/// than the map.
pub(super) struct Recent<'a> {
    noises: &'a Noises,
    family: u64,
    widths: Vec<(Draws, Option<Width>)>,
    thresholds: Vec<(Draws, u128)>,
}

/// How many are compared.
const RECENT: usize = 4;

impl<'a> Recent<'a> {
    pub(super) fn new(noises: &'a Noises, family: u64) -> Self {
        Self { noises, family, widths: Vec::new(), thresholds: Vec::new() }
    }

    pub(super) fn width(&mut self, draws: &Draws) -> Option<Width> {
        recent(&mut self.widths, draws, |draws| self.noises.width(draws))
    }

    pub(super) fn threshold(&mut self, draws: &Draws, of_releases: u64) -> u128 {
        let family = self.family;
        let least = recent(&mut self.thresholds, draws, |draws| self.noises.threshold(draws, family, 0));
        least.max(of_releases.into())
    }
}

fn recent<V: Copy>(known: &mut Vec<(Draws, V)>, draws: &Draws, compute: impl FnOnce(&Draws) -> V) -> V {
    if let Some((_, value)) = known.iter().find(|(other, _)| other == draws) {
        return *value;
    }
    let value = compute(draws);
    if known.len() >= RECENT {
        known.remove(0);
    }
    known.push((draws.clone(), value));
    value
}
