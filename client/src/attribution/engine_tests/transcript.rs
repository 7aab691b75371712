//! The engine against the standard's text, transcribed once more without any of the engine's shortcuts.

use std::collections::HashMap;

use super::*;

/// The text's own steps, one after the other, on maps with what is spent; for conversions of one service.
#[derive(Default)]
struct Transcript {
    disabled: bool,
    start: Option<i64>,
    last_clear: Option<i64>,
    impressions: Vec<Impression>,
    site: HashMap<(i64, Site), i64>,
    global: HashMap<i64, i64>,
    quota: HashMap<(i64, Site), i64>,
}

impl Transcript {
    fn epoch(&mut self, t: i64, fraction: f64) -> i64 {
        let period = 7 * DAY;
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "as in the text")]
        let start = *self.start.get_or_insert_with(|| {
            let rand = t as f64 - fraction * period as f64;
            (rand / 3_600_000.0).floor() as i64 * 3_600_000
        });
        (t - start).div_euclid(period)
    }

    fn matching(
        &mut self,
        options: &ConversionOptions,
        inputs: &ImplicitInputs,
        epoch: i64,
    ) -> Vec<Impression> {
        let now = inputs.timestamp.millis();
        let mut matching = Vec::new();
        for impression in self.impressions.clone() {
            let saved = impression.timestamp.millis();
            let names = |hosts: &[String], site: &Site| hosts.iter().any(|host| host == site.as_str());
            if self.epoch(saved, 0.0) != epoch
                || now > saved + i64::from(impression.lifetime_days.min(30)) * DAY
                || now > saved + i64::from(options.lookback_days.unwrap_or(30).min(30)) * DAY
            {
                continue;
            }
            if !impression.conversion_sites.is_empty()
                && !impression.conversion_sites.contains(&inputs.top_level_site)
            {
                continue;
            }
            let conversion_caller = inputs.intermediary_site.clone().unwrap_or(inputs.top_level_site.clone());
            if !impression.conversion_callers.is_empty()
                && !impression.conversion_callers.contains(&conversion_caller)
            {
                continue;
            }
            if !options.match_values.is_empty() && !options.match_values.contains(&impression.match_value) {
                continue;
            }
            if !options.impression_sites.is_empty()
                && !names(&options.impression_sites, &impression.impression_site)
            {
                continue;
            }
            let caller = impression.intermediary_site.clone().unwrap_or(impression.impression_site.clone());
            if !options.impression_callers.is_empty() && !names(&options.impression_callers, &caller) {
                continue;
            }
            matching.push(impression);
        }
        matching
    }

    /// "Get the starting epoch for attribution".
    fn starting_epoch(&mut self, now: i64, fraction: f64) -> i64 {
        let earliest = self.epoch(now - 30 * DAY, fraction);
        let cleared = self.last_clear.map(|clear| self.epoch(clear, fraction) + 1);
        cleared.map_or(earliest, |cleared| cleared.max(earliest))
    }

    /// "Fill a histogram with last-n-touch attribution".
    fn fill(options: &ConversionOptions, impressions: &[Impression], fraction: f64) -> Vec<u32> {
        let mut sorted = impressions.to_vec();
        // Stable, as the standard's sorting is.
        sorted.sort_by(|a, b| b.priority.cmp(&a.priority).then(b.timestamp.cmp(&a.timestamp)));
        let mut credit = options.credit.clone().unwrap_or(vec![1.0]);
        credit.truncate(sorted.len());
        let shares = Self::fairly_allocate(&credit, options.value, fraction);
        let mut histogram = vec![0; options.histogram_size as usize];
        for (impression, share) in sorted.iter().zip(shares) {
            if impression.histogram_index < options.histogram_size {
                histogram[impression.histogram_index as usize] += share;
            }
        }
        histogram
    }

    /// "Fairly allocate credit", for credits that a double can hold the sum of.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as in the text")]
    fn fairly_allocate(credit: &[f64], value: u32, r: f64) -> Vec<u32> {
        let sum: f64 = credit.iter().sum();
        let mut rounded: Vec<f64> = credit.iter().map(|item| f64::from(value) * item / sum).collect();
        let mut idx1 = 0;
        for n in 1..rounded.len() {
            let mut idx2 = n;
            let frac1 = rounded[idx1] - rounded[idx1].floor();
            let frac2 = rounded[idx2] - rounded[idx2].floor();
            if frac1 == 0.0 && frac2 == 0.0 {
                continue;
            }
            let (incr1, incr2) =
                if frac1 + frac2 > 1.0 { (1.0 - frac1, 1.0 - frac2) } else { (-frac1, -frac2) };
            let p1 = incr2 / (incr1 + incr2);
            let incr;
            if r < p1 {
                incr = incr1;
                (idx1, idx2) = (idx2, idx1);
            } else {
                incr = incr2;
            }
            rounded[idx2] += incr;
            rounded[idx1] -= incr;
        }
        rounded.into_iter().map(|share| share.round() as u32).collect()
    }

    /// "Clear impressions for a site".
    fn clear_impressions_for_site(&mut self, site: &Site) {
        let mut kept = Vec::new();
        for mut impression in std::mem::take(&mut self.impressions) {
            if impression.intermediary_site.is_none() && impression.impression_site == *site {
                continue;
            }
            if impression.intermediary_site.as_ref() == Some(site) {
                continue;
            }
            if impression.conversion_sites.contains(site) {
                impression.conversion_sites.remove(site);
                if impression.conversion_sites.is_empty() {
                    continue;
                }
            }
            if impression.conversion_callers.contains(site) {
                impression.conversion_callers.remove(site);
                if impression.conversion_callers.is_empty() {
                    continue;
                }
            }
            kept.push(impression);
        }
        self.impressions = kept;
    }

    /// "Clear browsing history for attribution", but that a clock that is behind gives no budget back (client/README.md):
    /// the time of the last clear never goes back, and later epochs that were spent from have no global budget left.
    fn clear_history(&mut self, config: &Config, fraction: f64, sites: &[Site], forget: bool, now: i64) {
        if !forget {
            for site in sites {
                let start = self.starting_epoch(now, fraction);
                for epoch in start..=self.epoch(now, fraction) {
                    self.site.insert((epoch, site.clone()), config.site_budget.into());
                }
            }
            return;
        }
        let mut spent: Vec<i64> = self.global.keys().copied().collect();
        spent.extend(self.site.keys().chain(self.quota.keys()).map(|(epoch, _)| *epoch));
        if sites.is_empty() {
            self.impressions.clear();
            self.site.clear();
            self.quota.clear();
            self.global.clear();
        } else {
            self.impressions.retain(|impression| !sites.contains(&impression.impression_site));
            self.site.retain(|(_, site), _| !sites.contains(site));
            self.quota.retain(|(_, site), _| !sites.contains(site));
        }
        for epoch in spent {
            // Some were, so epochs have a start.
            if epoch > self.epoch(now, fraction) {
                self.global.insert(epoch, config.global_budget.into());
            }
        }
        self.last_clear = self.last_clear.max(Some(now));
    }

    fn deduct(
        &mut self,
        config: &Config,
        key: &(i64, Site),
        impressions: &[Impression],
        (site, shared): (i64, i64),
    ) -> bool {
        let spent = |map: &HashMap<(i64, Site), i64>, key: &(i64, Site)| map.get(key).copied().unwrap_or(0);
        if site > i64::from(config.site_budget) - spent(&self.site, key)
            || shared > i64::from(config.global_budget) - self.global.get(&key.0).copied().unwrap_or(0)
        {
            return false;
        }
        for impression in impressions {
            let quota = (key.0, impression.impression_site.clone());
            if shared > i64::from(config.impression_site_quota) - spent(&self.quota, &quota) {
                return false;
            }
        }
        *self.site.entry(key.clone()).or_default() += site;
        *self.global.entry(key.0).or_default() += shared;
        let mut deducted = Vec::new();
        for impression in impressions {
            let quota = (key.0, impression.impression_site.clone());
            if !deducted.contains(&quota) {
                *self.quota.entry(quota.clone()).or_default() += shared;
                deducted.push(quota);
            }
        }
        true
    }

    #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
    fn measure(
        &mut self,
        config: &Config,
        fraction: f64,
        inputs: &ImplicitInputs,
        options: &ConversionOptions,
    ) -> Vec<u32> {
        let zero = vec![0; options.histogram_size as usize];
        if self.disabled {
            return zero;
        }
        let now = inputs.timestamp.millis();
        let current = self.epoch(now, fraction);
        let start = self.starting_epoch(now, fraction);
        let lookback = i64::from(options.lookback_days.unwrap_or(30).min(30)) * DAY;
        let single = current == self.epoch(now - lookback, fraction);
        let mut norm = 0;
        if single {
            let impressions = self.matching(options, inputs, current);
            if impressions.is_empty() {
                return zero;
            }
            norm = Self::fill(options, &impressions, fraction).iter().sum();
        }
        let mut matched = Vec::new();
        for epoch in start..=current {
            let impressions = self.matching(options, inputs, epoch);
            if impressions.is_empty() {
                continue;
            }
            let value = f64::from(options.value);
            let scale = 2.0 * f64::from(options.max_value) / options.epsilon;
            let norm = if single { f64::from(norm) } else { 2.0 * value };
            let site = (norm / scale * 1_000_000.0).ceil() as i64;
            let shared = (2.0 * value / scale * 1_000_000.0).ceil() as i64;
            let key = (epoch, inputs.top_level_site.clone());
            if self.deduct(config, &key, &impressions, (site, shared)) {
                matched.extend(impressions);
            }
        }
        if matched.is_empty() { zero } else { Self::fill(options, &matched, fraction) }
    }
}

proptest! {
    #[test]
    fn the_engine_does_what_the_text_says(
        calls in proptest::collection::vec(call(), 1..60),
        fraction in prop_oneof![Just(0.0), Just(0.5), 0.0..1.0],
    ) {
        let (mut engine, mut transcript) = (engine(tight()), Transcript::default());
        let named = |sites: &[usize]| sites.iter().map(|index| site(*index)).collect::<Vec<_>>();
        for call in &calls {
            match call {
                Call::Save { .. } if transcript.disabled => {}
                Call::Save { at, site, caller, options } => {
                    let inputs = inputs(*site, *caller, *at);
                    let set = |hosts: &[String]| hosts.iter().map(|host| Site::parse(host).unwrap()).collect();
                    transcript.impressions.push(Impression {
                        match_value: options.match_value,
                        impression_site: inputs.top_level_site,
                        intermediary_site: inputs.intermediary_site,
                        conversion_sites: set(&options.conversion_sites),
                        conversion_callers: set(&options.conversion_callers),
                        timestamp: inputs.timestamp,
                        lifetime_days: options.lifetime_days,
                        histogram_index: options.histogram_index,
                        priority: options.priority,
                    });
                }
                Call::Measure { at, site, caller, options } => {
                    let expected = transcript.measure(&tight(), fraction, &inputs(*site, *caller, *at), options);
                    prop_assert_eq!(run(&mut engine, Fixed(fraction), call), Some(expected));
                    continue;
                }
                Call::ClearSiteData { site: index } => transcript.clear_impressions_for_site(&site(*index)),
                Call::ClearSiteState { at, sites } => {
                    transcript.clear_history(&tight(), fraction, &named(sites), false, *at);
                }
                Call::ClearHistory { at, sites } => {
                    transcript.clear_history(&tight(), fraction, &named(sites), true, *at);
                }
                Call::Enable(enabled) => transcript.disabled = !enabled,
                Call::Reopen => {}
                // The text deletes nothing that a clock that is set back could find again.
                Call::Maintain { .. } => continue,
            }
            run(&mut engine, Fixed(fraction), call);
        }
    }
}
