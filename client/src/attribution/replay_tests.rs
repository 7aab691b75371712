#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fixture::any_json;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/w3c-attribution-9fab4e8")
}

fn config() -> ScenarioConfig {
    serde_json::from_slice(&std::fs::read(folder().join("CONFIG.json")).unwrap()).unwrap()
}

/// A name that occurs twice was an error, and with it one of the published files when read as a whole.
#[test]
fn of_two_comments_the_last_counts() {
    let text = br#"{ "$comment": "a", "events": [], "$comment": ["b", "c"] }"#;
    from_json::<Scenario>(text).unwrap();
    assert!(from_json::<Scenario>(br#"{ "events": [], "$comment": 1, "$comment": 2 }"#).is_err());
}

#[test]
fn an_integer_may_be_written_with_a_fraction_of_zero() {
    let text = br#"{ "events": [
        { "seconds": 1.0, "event": "saveImpression", "site": "a.example", "options": { "histogramIndex": 1.0 } },
        { "seconds": 2e0, "event": "measureConversion", "site": "b.example", "expected": [0.0, 1.0], "options": {
            "aggregationService": "https://agg-service.example", "histogramSize": 2.0, "epsilon": 1.0 } }
    ] }"#;
    assert_eq!(replay(&config(), &from_json(text).unwrap(), true).difference, None);
    assert!(from_json::<Scenario>(br#"{ "events": [{ "seconds": 1.5, "event": "enableAPI" }] }"#).is_err());
    assert!(from_json::<Scenario>(br#"{ "events": [{ "seconds": 1e300, "event": "enableAPI" }] }"#).is_err());
}

/// The last of these credits was read as the double beside it. Two fractions that share a unit did not add up to more than 1 then,
/// somebody else got the rest, and a scenario that is right failed.
#[test]
fn a_credit_is_the_double_that_is_written() {
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(folder().join("CONFIG.json")).unwrap()).unwrap();
    config["fairlyAllocateCreditFraction"] = json!(0.087_180_448_463_186_62);
    let save = r#""event": "saveImpression", "site": "a.example", "options""#;
    let text = format!(
        r#"{{ "config": {config}, "events": [
            {{ "seconds": 1, {save}: {{ "histogramIndex": 3 }} }},
            {{ "seconds": 2, {save}: {{ "histogramIndex": 2 }} }},
            {{ "seconds": 3, {save}: {{ "histogramIndex": 1 }} }},
            {{ "seconds": 4, {save}: {{ "histogramIndex": 0 }} }},
            {{ "seconds": 5, "event": "measureConversion", "site": "b.example", "expected": [20, 15, 29, 36], "options": {{
                "aggregationService": "https://agg-service.example", "histogramSize": 4, "value": 100, "maxValue": 100,
                "credit": [2, 1.6384656727313995, 3, 3.6897410568781197] }} }}
        ] }}"#
    );
    assert_eq!(replay(&self::config(), &from_json(text.as_bytes()).unwrap(), true).difference, None);
}

fn published() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| name(path) != "CONFIG.json")
        .map(|path| (name(&path), serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()))
        .collect()
}

fn run(scenario: &Value) -> Replayed {
    let scenario = Scenario::deserialize(scenario).unwrap();
    replay(&config(), &scenario, true)
}

#[test]
fn all_published_scenarios_pass() {
    let published = published();
    assert_eq!(published.len(), 26);
    for (name, scenario) in published {
        let replayed = run(&scenario);
        assert_eq!(replayed.difference, None, "{name}");
        assert_eq!(replayed.outputs.len(), scenario["events"].as_array().unwrap().len());
    }
}

/// A scenario whose expectation is wrong must not pass: each one of each published file is made wrong in turn.
#[test]
fn each_expectation_matters() {
    let mut changed = 0;
    for (name, scenario) in published() {
        for (at, event) in scenario["events"].as_array().unwrap().iter().enumerate() {
            let mut wrong = scenario.clone();
            match (&event["event"], &event["expected"]) {
                (Value::String(kind), Value::Array(cells)) if kind == "measureConversion" => {
                    let first = cells[0].as_u64().unwrap();
                    wrong["events"][at]["expected"][0] = json!(first + 1);
                }
                (Value::String(kind), _) if kind == "measureConversion" => {
                    wrong["events"][at]["expected"] = json!("TypeError");
                }
                (Value::String(kind), _) if kind == "saveImpression" => {
                    wrong["events"][at]["expectedError"] = json!("TypeError");
                }
                _ => continue,
            }
            changed += 1;
            let difference = run(&wrong).difference.unwrap();
            assert!(difference.starts_with(&format!("event {} (", at + 1)), "{name}: {difference}");
            assert!(difference.contains("expected ") && difference.contains("computed "), "{difference}");
        }
    }
    assert!(changed > 100, "{changed}");
}

fn conversion(seconds: i64, site: &str, value: u32, expected: &[u32]) -> Value {
    json!({
        "seconds": seconds, "event": "measureConversion", "site": site,
        "options": {
            "aggregationService": "https://agg-service.example", "histogramSize": 1,
            "value": value, "maxValue": value,
        },
        "expected": expected,
    })
}

fn impression(seconds: i64, site: &str) -> Value {
    json!({ "seconds": seconds, "event": "saveImpression", "site": site, "options": { "histogramIndex": 0 } })
}

/// The reference implementation reads the global budget of a fresh epoch as "not a number", with which no comparison
/// fails: nothing is ever refused there. The text means a limit.
#[test]
fn the_global_budget_and_the_quota_are_limits() {
    let spend = |publishers: i64, expected: &[u32]| {
        let mut events: Vec<_> =
            (0..publishers).map(|n| impression(n + 1, &format!("publisher-{n}.example"))).collect();
        for (shop, expected) in (0..).zip(expected) {
            let mut event = conversion(100 + shop, &format!("shop-{shop}.example"), 1, &[*expected]);
            event["options"]["impressionSites"] = json!([format!("publisher-{}.example", shop % publishers)]);
            events.push(event);
        }
        assert_eq!(run(&json!({ "events": events })).difference, None);
    };
    // A quota of 4, a global budget of 8.
    spend(1, &[1, 1, 1, 1, 0, 0]);
    spend(3, &[1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
}

#[test]
fn a_scenario_may_carry_its_own_configuration() {
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(folder().join("CONFIG.json")).unwrap()).unwrap();
    config["perSitePrivacyBudget"] = json!(100_000);
    let events = json!([impression(1, "news.example"), conversion(2, "shop.example", 1, &[0])]);
    assert_eq!(run(&json!({ "config": config, "events": events })).difference, None);
    assert!(run(&json!({ "events": events })).difference.is_some());
}

/// A host that is no site has nothing to clear. It was an error, which such an event cannot even expect.
#[test]
fn clearing_what_is_no_site_does_nothing() {
    for host in ["localhost", "127.0.0.1", "com"] {
        let clear = json!({ "seconds": 2, "event": "clearImpressionsForSite", "site": host });
        let events = json!([impression(1, "news.example"), clear, conversion(3, "shop.example", 1, &[1])]);
        assert_eq!(run(&json!({ "events": events })).difference, None, "{host}");
    }
}

/// Each event's histogram was kept to the end: a file of 15 MB took 400 GB.
#[test]
fn histograms_are_bounded_together() {
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(folder().join("CONFIG.json")).unwrap()).unwrap();
    config["maxHistogramSize"] = json!(MAX_CELLS);
    let mut event = conversion(1, "shop.example", 1, &[]);
    event["options"]["histogramSize"] = json!(MAX_CELLS);
    let events: Vec<_> = (1..=6)
        .map(|seconds| {
            event["seconds"] = json!(seconds);
            event.clone()
        })
        .collect();
    let scenario = Scenario::deserialize(json!({ "config": config, "events": events })).unwrap();
    let replayed = replay(&self::config(), &scenario, false);
    assert_eq!(replayed.outputs.len(), 4);
    assert!(replayed.difference.is_some());
}

/// Such files asked for billions of cells, or of rows.
#[test]
fn a_configuration_beyond_any_use_is_refused() {
    let days: Value = serde_json::from_slice(&std::fs::read(folder().join("CONFIG.json")).unwrap()).unwrap();
    for name in ["privacyBudgetEpochDays", "maxCreditSize", "perSitePrivacyBudget"] {
        let mut config = days.clone();
        config[name] = json!(0);
        assert!(run(&json!({ "config": config, "events": [] })).difference.unwrap().contains(name));
    }
    let whole: Value = serde_json::from_slice(&std::fs::read(folder().join("CONFIG.json")).unwrap()).unwrap();
    for name in ["maxLookbackDays", "maxHistogramSize"] {
        let mut config = whole.clone();
        config[name] = json!(u32::MAX);
        assert!(run(&json!({ "config": config, "events": [] })).difference.unwrap().contains(name));
    }
}

#[test]
fn what_is_no_scenario_is_said() {
    let difference = |events: Value| run(&json!({ "events": events })).difference.unwrap();
    assert!(
        difference(json!([impression(2, "a.example"), impression(2, "a.example")])).contains("must go up")
    );
    assert!(difference(json!([impression(0, "a.example")])).contains("must go up"));
    let mut event = conversion(1, "a.example", 1, &[0]);
    event.as_object_mut().unwrap().remove("expected");
    assert!(difference(json!([event])).contains("does not say"));
    let mut event = impression(1, "a.example");
    event["expected"] = json!([1]);
    assert!(difference(json!([event])).contains("expected"));
    let mut event = impression(1, "a.example");
    event["options"]["histogramIndex"] = json!(-1);
    assert!(difference(json!([event])).contains("options"));
    assert!(difference(json!([{ "seconds": i64::MAX, "event": "enableAPI" }])).contains("out of range"));
    assert!(
        difference(json!([{
            "seconds": 1, "event": "clearBrowsingHistoryForAttribution", "sites": [], "forgetVisits": false
        }]))
        .contains("empty")
    );
    for malformed in [
        json!([]),
        json!({}),
        json!({ "events": [{ "seconds": 1, "event": "other" }] }),
        json!({ "events": [], "more": 1 }),
        json!({ "events": [], "$comment": 1 }),
        json!({ "events": [{ "seconds": 1.5, "event": "enableAPI" }] }),
    ] {
        assert!(Scenario::deserialize(&malformed).is_err(), "{malformed}");
    }
}

proptest! {
    /// A published scenario in which anything is exchanged for anything is refused, or runs to an end.
    #[test]
    fn a_scenario_with_a_field_exchanged_does_no_harm(
        which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        field in any::<prop::sample::Index>(),
        inner in any::<prop::sample::Index>(),
        value in any_json(),
    ) {
        let published: Vec<_> = published().into_values().collect();
        let mut scenario = published[which.index(published.len())].clone();
        let events = scenario["events"].as_array_mut().unwrap();
        let at = place.index(events.len());
        let event = events[at].as_object_mut().unwrap();
        let names: Vec<_> = event.keys().cloned().collect();
        let name = &names[field.index(names.len())];
        match event[name].as_object_mut() {
            Some(options) => {
                let names: Vec<_> = options.keys().cloned().collect();
                options.insert(names[inner.index(names.len())].clone(), value);
            }
            None => drop(event.insert(name.clone(), value)),
        }
        if let Ok(scenario) = Scenario::deserialize(&scenario) {
            replay(&config(), &scenario, true);
        }
    }

    /// The same with a value of the configuration exchanged.
    #[test]
    fn a_configuration_with_a_field_exchanged_does_no_harm(
        which in any::<prop::sample::Index>(),
        field in any::<prop::sample::Index>(),
        value in prop_oneof![any_json(), any::<u32>().prop_map(Value::from), (0..400_u32).prop_map(Value::from)],
    ) {
        let published: Vec<_> = published().into_values().collect();
        let scenario = Scenario::deserialize(&published[which.index(published.len())]).unwrap();
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(folder().join("CONFIG.json")).unwrap()).unwrap();
        let fields = config.as_object_mut().unwrap();
        let names: Vec<_> = fields.keys().cloned().collect();
        fields.insert(names[field.index(names.len())].clone(), value);
        if let Ok(config) = ScenarioConfig::deserialize(&config) {
            replay(&config, &scenario, true);
        }
    }

    #[test]
    fn any_json_does_no_harm(value in any_json()) {
        let _ = Scenario::deserialize(&value);
        let _ = ScenarioConfig::deserialize(&value);
    }
}
