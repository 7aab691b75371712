#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// Rewrites the golden file instead of comparing with it.
const UPDATE: &str = "ARRAS_UPDATE_GOLDEN";

/// What clients are generated from changes on purpose only.
#[test]
fn the_description_is_the_one_that_is_checked_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let made = format!("{}\n", document().to_pretty_json().unwrap());
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap();
    assert!(
        there == made,
        "docs/openapi.json is not what the code says; look at the difference that {UPDATE}=1 makes"
    );
}

#[test]
fn every_route_is_described_and_every_description_is_a_route() {
    let routes: BTreeSet<(String, String)> = routes::table()
        .0
        .into_iter()
        .flat_map(|(path, endpoints)| {
            endpoints.into_iter().map(move |endpoint| (path.to_owned(), endpoint.method.to_string()))
        })
        .collect();
    let described: BTreeSet<(String, String)> = document()
        .paths
        .paths
        .iter_mut()
        .flat_map(|(path, item)| {
            let methods = ["GET", "PUT", "POST", "PATCH", "DELETE"];
            let there = methods.map(|name| {
                operation(item, &name.parse().unwrap()).is_some().then(|| (path.clone(), name.to_owned()))
            });
            there.into_iter().flatten().collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(routes, described);
    assert!(routes.len() > 15, "only {} routes", routes.len());
}

/// What every operation must say: who may, what it is called, what its parameters are, which errors there are.
#[test]
fn operations_are_described_whole() {
    let json = serde_json::to_value(document()).unwrap();
    assert_eq!(json["openapi"], "3.1.0");
    let mut names = BTreeSet::new();
    for (path, item) in json["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let of = format!("{method} {path}");
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{of}");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{of}");
            let open = operation["security"][0].as_object().unwrap().is_empty();
            assert_eq!(open, path == "/v1/openapi.json", "{of}");
            let responses = operation["responses"].as_object().unwrap();
            assert_eq!(responses.contains_key("401"), !open, "{of}");
            assert_eq!(responses.contains_key("403"), !open, "{of}");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            for parameter in &parameters {
                assert!(parameter["description"].is_string(), "{of}: {parameter}");
            }
            let of_path: BTreeSet<_> = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let expected: BTreeSet<_> =
                path.split('{').skip(1).map(|part| part.split_once('}').unwrap().0).collect();
            assert_eq!(of_path, expected, "{of}");
        }
    }
    for (name, schema) in json["components"]["schemas"].as_object().unwrap() {
        for (property, schema) in schema["properties"].as_object().into_iter().flatten() {
            // What may be null has its own below the alternative.
            let alternatives = schema["oneOf"].as_array().into_iter().flatten();
            let said = alternatives.chain([schema]).any(|one| one["description"].is_string());
            assert!(said, "{name}.{property} has no description");
        }
    }
}

/// References that lead nowhere make a document that no client can be generated from.
#[test]
fn references_lead_somewhere() {
    fn walk(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(map) => {
                found.extend(map.get("$ref").and_then(|at| at.as_str()).map(str::to_owned));
                map.values().for_each(|value| walk(value, found));
            }
            serde_json::Value::Array(all) => all.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let json = serde_json::to_value(document()).unwrap();
    let mut found = Vec::new();
    walk(&json, &mut found);
    assert!(found.len() > 50, "only {} references", found.len());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(json.pointer(pointer).is_some(), "{reference}");
    }
}

/// A second route that needs no key is no accident.
#[test]
fn one_route_is_open() {
    let open: Vec<_> = routes::table()
        .0
        .into_iter()
        .flat_map(|(path, endpoints)| endpoints.into_iter().map(move |endpoint| (path, endpoint.guard)))
        .filter(|(_, guard)| *guard == Guard::Open)
        .map(|(path, _)| path)
        .collect();
    assert_eq!(open, ["/v1/openapi.json"]);
}
