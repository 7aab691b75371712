//! What of an advertiser will not work as whoever set it likely meant: said to whoever creates it, changes it or looks at it.

use arras_protocol::epsilon::DisplayMicro;

use super::Advertising;
use crate::planner::too_dear_for_devices;
use crate::privacy::ledger::{EPOCH_SECONDS, start_of_epoch_at};
use crate::registry::Advertiser;
use crate::schedule::Calendar;

impl Advertising {
    /// Sentences; none if all is well as far as this collector can tell.
    pub fn warnings(&self, advertiser: &Advertiser) -> Vec<String> {
        let source = self.no_source(advertiser);
        let budget = self.short_budget(advertiser);
        let devices = too_dear_for_devices(advertiser.terms.device_week_cost())
            .map(|warning| format!("Devices: {warning}."));
        [source, budget, devices, unassigned(advertiser)].into_iter().flatten().collect()
    }

    fn no_source(&self, advertiser: &Advertiser) -> Option<String> {
        let site = &advertiser.site;
        self.collector.epoch_start(site).is_none().then(|| {
            format!(
                "This collector's configuration has no budget source named {site}. The aggregators refuse tasks of a site that is \
                 not one in theirs, and count nothing of it: have the operators of both add a budget_source with name = \"{site}\" \
                 below this collector and restart, and add it here as [[collector.budget_source]], for the console to say what is left."
            )
        })
    }

    /// That a week has more windows than its budget carries.
    fn short_budget(&self, advertiser: &Advertiser) -> Option<String> {
        let cap = u64::from(self.caps.get(&advertiser.site)?.get());
        let windows = self.windows_of_week(advertiser)?;
        let each = advertiser.terms.window_cost();
        (each.saturating_mul(windows) > cap).then(|| {
            let values = if advertiser.terms.value.is_some() { " with its values" } else { "" };
            format!(
                "The budget of {} does not carry its windows: a week of the budget has {windows}, the one across its end included, at {} epsilon \
                 each{values}, {} in all, and the cap is {}. What comes after {} of them is refused, whole or without values. Choose \
                 smaller epsilons, or have the operators of both aggregators raise the cap: how long windows are stays.",
                advertiser.site,
                DisplayMicro(each),
                DisplayMicro(each.saturating_mul(windows)),
                DisplayMicro(cap),
                cap.checked_div(each).unwrap_or(0)
            )
        })
    }

    /// Windows that touch this week of the budget; none if when its weeks begin is not known.
    fn windows_of_week(&self, advertiser: &Advertiser) -> Option<u64> {
        let start = self.collector.epoch_start(&advertiser.site)?;
        let week = start_of_epoch_at(start, self.clock.now()).unwrap_or(start);
        let calendar = Calendar::of(advertiser);
        u64::try_from(calendar.windows(week, week.saturating_add(EPOCH_SECONDS)).count()).ok()
    }
}

/// That no currency has the code.
fn unassigned(advertiser: &Advertiser) -> Option<String> {
    let currency = advertiser.currency;
    (!currency.is_assigned()).then(|| {
        format!(
            "ISO 4217 assigns {currency} to no currency. If it is a slip, create another advertiser: the currency of this one stays."
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use crate::registry::fixture::{NOW, shop};
    use crate::registry::{Cadence, Terms};
    use crate::schedule::tests::fixture::World;

    /// Advertisers whose windows cost more than a week's budget, or whose site no budget had, were created without a word, and
    /// their windows refused one by one.
    #[tokio::test]
    async fn what_cannot_work_is_said_before_anything_is_measured() {
        let world = World::new().await;
        let running = world.start();
        let mut advertising = running.advertising();
        let create = |new| advertising.registry.create_advertiser(new, NOW).unwrap();
        let told = advertising.warnings(&create(shop("Other")));
        assert!(told[0].contains("no budget source named other.example"), "{told:?}");
        let mut created = create(shop("Shop"));
        let told = advertising.warnings(&created);
        assert!(
            told.len() == 1 && told[0].contains("AppRules::advertiser_budget to at least 2000000"),
            "{told:?}"
        );
        let cap = "10".parse().unwrap();
        advertising.caps = Arc::new(BTreeMap::from([("shop.example".to_owned(), cap)]));
        let mut of = |cadence, with_values: bool, currency: &str| {
            let one = Arc::make_mut(&mut created);
            let value = if with_values { shop("Shop").terms.value } else { None };
            (one.cadence, one.terms) = (cadence, Terms { value, ..one.terms });
            one.currency = currency.parse().unwrap();
            advertising.warnings(one)
        };
        assert_eq!(of(Cadence::Day, false, "EUR"), [""; 0]);
        // Days in Berlin: one lies across the end of a week of the budget, which begins at midnight elsewhere.
        let days = of(Cadence::Day, true, "EUR").remove(0);
        assert!(
            days.contains("a week of the budget has 8, ")
                && days.contains("at 2 epsilon each with its values, 16 in all"),
            "{days}"
        );
        assert!(days.contains("the cap is 10. What comes after 5 of them is refused"), "{days}");
        assert!(of(Cadence::Hour, false, "EUR")[0].contains("has 168, "));
        assert!(of(Cadence::Week, false, "XXQ")[0].contains("assigns XXQ to no currency"));
    }
}
