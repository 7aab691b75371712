//! The caps, by what reports disclose.

use std::collections::HashMap;

use super::*;

/// What histograms disclosed, in micro-epsilon, by the formulas of the standard.
#[derive(Debug)]
struct Ledger {
    start: i64,
    sites: HashMap<(i64, usize), u64>,
    global: HashMap<i64, u64>,
    quotas: HashMap<(i64, usize), u64>,
}

impl Ledger {
    /// Epochs of calls are above -8.
    const EPOCHS: i64 = 20;

    fn begun_at_0(fraction: f64) -> Self {
        let start = Epochs::draw_start(Moment::from_millis(0), 7, fraction).millis();
        let (sites, quotas) = (HashMap::new(), HashMap::new());
        Self { start, sites, global: HashMap::new(), quotas }
    }

    fn epoch(&self, at: i64) -> i64 {
        (at - self.start).div_euclid(7 * DAY)
    }

    /// All impressions match all conversions of three weeks, most get credit, and each has a cell by its epoch and site.
    fn plain(&self, call: &mut Call) {
        match call {
            Call::Save { at, site, options, .. } => {
                *at = at.rem_euclid(21 * DAY);
                let cell = (self.epoch(*at) + 8) * 4 + i64::try_from(*site).unwrap();
                let (histogram_index, priority) = (u32::try_from(cell).unwrap(), options.priority);
                *options = ImpressionOptions { priority, ..ImpressionOptions::new(histogram_index) };
            }
            Call::Measure { at, options, .. } => {
                *at = at.rem_euclid(21 * DAY);
                *options = ConversionOptions {
                    epsilon: options.epsilon,
                    lookback_days: options.lookback_days,
                    // Whoever gets credit gets at least 1.
                    credit: Some(vec![1.0; 10]),
                    value: options.value + 9,
                    max_value: options.max_value + 9,
                    ..ConversionOptions::new(SERVICE, u32::try_from(Self::EPOCHS * 4).unwrap())
                };
            }
            _ => {}
        }
    }

    fn book(&mut self, call: &Call, histogram: Option<&[u32]>) {
        let (Call::Measure { at, site, options, .. }, Some(histogram)) = (call, histogram) else { return };
        let lookback = i64::from(options.lookback_days.unwrap_or(30).min(30)) * DAY;
        let single = self.epoch(*at) == self.epoch(at - lookback);
        let micro = |sensitivity: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
            let micro =
                (sensitivity * options.epsilon / (2.0 * f64::from(options.max_value)) * 1e6).floor() as u64;
            micro
        };
        let twice = 2.0 * f64::from(options.value);
        let norm = if single { f64::from(histogram.iter().sum::<u32>()) } else { twice };
        let touched = |at: &usize| histogram[*at] > 0;
        let cells: Vec<(i64, usize)> = (0..histogram.len())
            .filter(touched)
            .map(|at| (i64::try_from(at / 4).unwrap() - 8, at % 4))
            .collect();
        for epoch in cells.iter().map(|(epoch, _)| *epoch).collect::<BTreeSet<_>>() {
            *self.sites.entry((epoch, *site)).or_default() += micro(norm);
            *self.global.entry(epoch).or_default() += micro(twice);
        }
        for cell in cells {
            *self.quotas.entry(cell).or_default() += micro(twice);
        }
    }
}

proptest! {
    /// Whatever is called in whatever order, at whatever times, with clearing and without: what all reports together
    /// disclosed of an epoch is within each cap. Nothing of the engine's own bookkeeping is looked at: each cell stands
    /// for an epoch and an impression site, so a histogram tells of which epochs it is, and what it must have cost.
    #[test]
    fn no_sequence_of_calls_exceeds_a_cap(
        calls in proptest::collection::vec(call(), 1..80),
        fraction in 0.0..1.0,
    ) {
        let (mut engine, mut ledger) = (engine(tight()), Ledger::begun_at_0(fraction));
        run(&mut engine, Fixed(fraction), &Call::Measure {
            at: 0, site: 0, caller: None, options: ConversionOptions::new(SERVICE, 1),
        });
        for mut call in calls {
            ledger.plain(&mut call);
            let histogram = run(&mut engine, Fixed(fraction), &call);
            ledger.book(&call, histogram.as_deref());
            let config = tight();
            prop_assert!(ledger.sites.values().all(|spent| *spent <= config.site_budget.into()), "{:?}", ledger);
            prop_assert!(ledger.global.values().all(|spent| *spent <= config.global_budget.into()), "{:?}", ledger);
            let quota = u64::from(config.impression_site_quota);
            prop_assert!(ledger.quotas.values().all(|spent| *spent <= quota), "{:?}", ledger);
        }
    }
}
