//! JSON for tests: anything at all, and documents in which something is exchanged.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z.]{0,12}".prop_map(Value::from),
        Just(json!("https://agg-service.example")),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        let key = prop_oneof!["[a-zA-Z]{0,8}", Just("$comment".to_owned()), Just("seconds".to_owned())];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A document of which one value is exchanged: for any, for a number, or for another one of the document; or one key.
pub(crate) fn exchanged(document: &Value) -> impl Strategy<Value = Value> + use<> {
    let mut places = Vec::new();
    collect(document, "", &mut places);
    let others = places.iter().map(|place| document.pointer(place).unwrap().clone()).collect::<Vec<_>>();
    let value = prop_oneof![
        any_json(),
        (0..20_u64).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        proptest::sample::select(others),
    ];
    let key = proptest::option::weighted(0.2, "[a-z]{0,3}");
    let document = document.clone();
    (proptest::sample::select(places), value, key).prop_map(move |(place, value, key)| {
        let mut document = document.clone();
        let old = document.pointer_mut(&place).unwrap();
        match (old.as_object_mut(), key) {
            (Some(fields), Some(key)) if !fields.is_empty() => {
                let first = fields.keys().next().unwrap().clone();
                let moved = fields.remove(&first).unwrap();
                fields.insert(key, moved);
            }
            _ => *old = value,
        }
        document
    })
}

/// The JSON pointers of a value and of all that is in it.
fn collect(value: &Value, place: &str, places: &mut Vec<String>) {
    places.push(place.to_owned());
    match value {
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                collect(value, &format!("{place}/{index}"), places);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                collect(value, &format!("{place}/{name}"), places);
            }
        }
        _ => {}
    }
}
