//! What conversions cost the devices that report them: each device has a budget of its own, and a report that it does not carry is
//! made all the same, and says nothing.

use arras_client::app::conversion_cost;
use arras_client::attribution;
use arras_protocol::epsilon::DisplayMicro;

use super::setting::Terms;

/// The most that the conversions of a week cost a device, in micro-epsilon of each week that they look back on: of each of some
/// tasks as many as its terms allow, each worth all of the task's maximum. With less, some of them are counted for no campaign.
pub fn device_week_cost(tasks: impl IntoIterator<Item = Terms>) -> u64 {
    let cost = |task: Terms| {
        conversion_cost(&task.vdaf, task.epsilon).saturating_mul(task.contributions.get().into())
    };
    tasks.into_iter().map(cost).fold(0, u64::saturating_add)
}

/// What such a cost means where nothing else is set.
pub fn carried_by_devices(cost: u64) -> String {
    too_dear_for_devices(cost).unwrap_or_else(|| {
        format!(
            "The conversions that are counted of a device in a week cost it up to {} epsilon, which is within what apps let an \
             advertiser spend ({} unless they set more).",
            DisplayMicro(cost),
            DisplayMicro(attribution::Config::default().site_budget.into())
        )
    })
}

/// What apps have to be told if such a cost is more than they let an advertiser spend by default. Nobody would notice otherwise: a
/// report whose budget is spent is made all the same, and says nothing.
pub fn too_dear_for_devices(cost: u64) -> Option<String> {
    let attribution::Config { site_budget, global_budget, .. } = attribution::Config::default();
    if cost <= site_budget.into() {
        return None;
    }
    let (asked, default) = (DisplayMicro(cost), DisplayMicro(site_budget.into()));
    let todo = if cost > u32::MAX.into() {
        format!(
            "No app can let it spend more than {}: give the tasks a smaller epsilon or fewer contributions",
            DisplayMicro(u32::MAX.into())
        )
    } else {
        // All advertisers share the other budget, and have it from the start.
        let total = if cost > global_budget.into() { ", and AppRules::total_budget to no less" } else { "" };
        format!("Have them set AppRules::advertiser_budget to at least {cost} (micro-epsilon){total}")
    };
    Some(format!(
        "the conversions that these tasks count of a device in a week cost it up to {asked} epsilon, and apps let an \
         advertiser spend {default} unless they set more. {todo}: of what comes when a week's budget is spent, a further \
         conversion or the value of the first, the report says that no ad led to it"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::num::NonZeroU32;

    use arras_protocol::vdaf::VdafConfig;

    use super::*;

    #[test]
    fn what_apps_have_to_set_is_said_whole() {
        assert_eq!(too_dear_for_devices(1_000_000), None);
        let said = |cost| too_dear_for_devices(cost).unwrap_or_default();
        assert!(said(1_000_001).contains("1.000001 epsilon"), "{}", said(1_000_001));
        assert!(said(8_000_000).contains("AppRules::advertiser_budget to at least 8000000 (micro-epsilon):"));
        let total = "at least 8000001 (micro-epsilon), and AppRules::total_budget to no less:";
        assert!(said(8_000_001).contains(total), "{}", said(8_000_001));
        let beyond = said(u64::from(u32::MAX) + 1);
        assert!(beyond.contains("fewer contributions") && !beyond.contains("at least"), "{beyond}");
        assert_eq!(carried_by_devices(8_000_000), said(8_000_000));
        assert!(carried_by_devices(1_000_000).contains("up to 1 epsilon, which is within"));
    }

    #[test]
    fn a_week_costs_what_all_tasks_allow() {
        let terms = |vdaf, epsilon: &str, contributions| Terms {
            vdaf,
            epsilon: epsilon.parse().unwrap(),
            contributions: NonZeroU32::new(contributions).unwrap(),
            cap: None,
        };
        let (counts, values) =
            (VdafConfig::histogram(16).unwrap(), VdafConfig::l1_bound_sum(16, 500).unwrap());
        assert_eq!(device_week_cost([terms(counts, "1", 1), terms(values, "0.5", 2)]), 2_000_000);
        assert_eq!(device_week_cost([]), 0);
    }
}
