//! Who may ask for what, tried on every route that the description names: with no key, a wrong one, one that has expired or was
//! revoked, one of too small a scope, and that of another advertiser.

use serde_json::{Value, json};

use super::{Desk, Said};

/// A route as the description has it.
#[derive(Debug)]
struct Operation {
    method: String,
    path: String,
    /// `None` for one that is open.
    scope: Option<String>,
}

/// Every operation of the description that the collector itself serves.
async fn operations(desk: &Desk) -> Vec<Operation> {
    let document = desk.ask("GET", "/v1/openapi.json", None).expect(200).await;
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let said = operation["description"].as_str().unwrap_or_default();
            let scope =
                ["read", "manage", "admin"].iter().find(|scope| said.contains(&format!("scope `{scope}`")));
            let open = operation["security"][0].as_object().unwrap().is_empty();
            let scope = match scope {
                Some(scope) => Some((*scope).to_owned()),
                None if open => None,
                None => Some("administrator".to_owned()),
            };
            all.push(Operation { method: method.to_uppercase(), path: path.clone(), scope });
        }
    }
    assert!(all.len() > 20, "only {} operations", all.len());
    all
}

/// Two advertisers, each with one of everything.
struct Two {
    desk: Desk,
    own: String,
    other: String,
    /// What stands in the path for each name, of `other`.
    parts: Vec<(&'static str, String)>,
}

async fn two() -> Two {
    let desk = Desk::start().await;
    let (own, other) = (desk.advertiser("own").await, desk.advertiser("other").await);
    let campaign = desk.campaign(&other, "Secret campaign").await;
    desk.campaign(&own, "Own campaign").await;
    desk.key(&other, "admin").await;
    let keys = desk.get(&format!("{other}/keys"), &desk.token).expect(200).await;
    let user =
        json!({ "email": "anna@other.example", "password": "long enough a password", "scope": "read" });
    let path = format!("{other}/users");
    let user = desk.ask("POST", &path, Some(&desk.token)).json(&user).expect(201).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let parts = vec![
        ("advertiser", other.rsplit('/').next().unwrap().to_owned()),
        ("campaign", campaign),
        ("key", text(&keys["data"][0]["id"])),
        ("user", text(&user["id"])),
        ("sequence", "1".to_owned()),
    ];
    Two { desk, own, other, parts }
}

impl Two {
    /// The path of an operation on what `other` has; of insights the advertiser is a parameter.
    fn path(&self, operation: &Operation) -> String {
        let filled = self
            .parts
            .iter()
            .fold(operation.path.clone(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value));
        let id = self.other.rsplit('/').next().unwrap();
        if operation.path == "/v1/insights" { format!("{filled}?advertiser={id}") } else { filled }
    }

    /// Asks with a body that would be taken, so that nothing but the token is in the way.
    async fn ask(&self, operation: &Operation, path: &str, token: Option<&str>) -> Said {
        let asking = self.desk.ask(&operation.method, path, token);
        let body = match (operation.method.as_str(), operation.path.rsplit('/').next().unwrap()) {
            ("PUT", "delivery") => json!([]),
            ("POST", "campaigns") => json!({ "name": "Intruder", "start": "2027-01-05" }),
            ("POST", "keys") => json!({ "name": "Intruder", "scope": "admin" }),
            ("POST", "users") => {
                json!({ "email": "intruder@evil.example", "password": "long enough a password", "scope": "admin" })
            }
            ("PATCH", "{user}") => json!({ "password": "another password of mine" }),
            ("PATCH", "{campaign}") => json!({ "status": "ended" }),
            ("PATCH", _) => json!({ "name": "Intruder" }),
            ("POST", _) => json!({
                "name": "Intruder", "site": "evil.example", "time_zone": "UTC", "currency": "EUR",
                "events": ["order_created"],
            }),
            _ => return asking.send().await,
        };
        asking.json(&body).send().await
    }

    /// Everything that `other` has, as the administrator sees it.
    async fn everything(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for of in ["", "/campaigns", "/delivery?from=2027-01-01&to=2027-01-31", "/keys", "/users", "/tasks"] {
            let said = self.desk.get(&format!("{}{of}", self.other), &self.desk.token).send().await;
            assert_eq!(said.status, 200, "{of}");
            all.push(said.body);
        }
        all
    }
}

/// Without a valid token every route says the same, and does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_a_valid_key() {
    let two = two().await;
    let (desk, path) = (&two.desk, format!("{}/keys", two.other));
    let expiring = json!({ "name": "expiring", "scope": "admin", "expires": "2027-01-15T19:00:00Z" });
    let expiring = desk.ask("POST", &path, Some(&desk.token)).json(&expiring).expect(201).await;
    let revoked = json!({ "name": "revoked", "scope": "admin" });
    let revoked = desk.ask("POST", &path, Some(&desk.token)).json(&revoked).expect(201).await;
    let keys: Vec<String> =
        [&expiring, &revoked].iter().map(|key| key["key"].as_str().unwrap().to_owned()).collect();
    for key in &keys {
        assert_eq!(desk.get(&two.other, key).send().await.status, 200, "it was of use");
    }
    let gone = format!("{path}/{}", revoked["id"].as_str().unwrap());
    assert_eq!(desk.ask("DELETE", &gone, Some(&desk.token)).send().await.status, 204);
    desk.deployment.clock.set(1_800_039_600);
    let almost = format!("{}x", &keys[0][..keys[0].len() - 1]);
    let wrong = [
        None,
        Some(""),
        Some("arras_"),
        Some("0123456789abcdef0123456789abcdef"),
        Some(keys[0].as_str()),
        Some(keys[1].as_str()),
        Some(almost.as_str()),
    ];
    let before = two.everything().await;
    let mut bodies = std::collections::BTreeSet::new();
    for operation in operations(desk).await.iter().filter(|operation| operation.scope.is_some()) {
        let path = two.path(operation);
        for token in wrong {
            let said = two.ask(operation, &path, token).await;
            assert_eq!(said.status, 401, "{operation:?} {token:?}");
            assert_eq!(said.header("www-authenticate"), Some("Bearer"));
            bodies.insert(said.body);
        }
    }
    assert_eq!(bodies.len(), 1, "one answer for all");
    assert_eq!(two.everything().await, before);
    two.desk.deployment.stop().await;
}

/// A key does what its scope allows and no more; only the administrator creates advertisers.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_no_more_than_its_scope() {
    let two = two().await;
    let order = ["read", "manage", "admin", "administrator"];
    let rank = |scope: &str| order.iter().position(|known| *known == scope).unwrap();
    let before = two.everything().await;
    for scope in ["read", "manage"] {
        let key = two.desk.key(&two.other, scope).await;
        for operation in operations(&two.desk).await {
            let Some(needed) = operation.scope.as_deref() else { continue };
            if rank(needed) <= rank(scope) {
                // What may be done is tried where it does no harm.
                if operation.method == "GET" {
                    let said = two.ask(&operation, &two.path(&operation), Some(&key)).await;
                    let none =
                        operation.path.contains("{sequence}") || operation.path.contains("value-advice");
                    assert!(said.status == 200 || none, "{operation:?}: {said:?}");
                }
                continue;
            }
            let said = two.ask(&operation, &two.path(&operation), Some(&key)).await;
            assert_eq!(said.status, 403, "{scope}: {operation:?}");
            assert!(said.json()["type"].as_str().unwrap().ends_with(":forbidden"));
        }
    }
    let after = two.everything().await;
    let same = before.iter().zip(&after).filter(|(before, after)| before == after).count();
    assert_eq!(same, before.len() - 1, "the two keys are new, and nothing else");
    let key = two.desk.key(&two.other, "admin").await;
    assert_eq!(two.desk.get("/v1/advertisers", &key).send().await.status, 403);
    two.desk.deployment.stop().await;
}

/// Another advertiser's things look as those that there are not, byte for byte, on every route and with every scope.
#[tokio::test(flavor = "multi_thread")]
async fn no_advertiser_sees_anything_of_another() {
    let two = two().await;
    let before = two.everything().await;
    for scope in ["read", "manage", "admin"] {
        let key = two.desk.key(&two.own, scope).await;
        for operation in operations(&two.desk).await {
            let named = operation.path.contains("{advertiser}") || operation.path == "/v1/insights";
            if !named {
                continue;
            }
            let path = two.path(&operation);
            let foreign = two.ask(&operation, &path, Some(&key)).await;
            assert_eq!(foreign.status, 404, "{scope}: {operation:?}");
            let id = two.other.rsplit('/').next().unwrap();
            for nobody in ["adv_AAAAAAAAAAAAAAAA", "adv_", "x", "%F0%9F%98%80"] {
                let unknown = two.ask(&operation, &path.replace(id, nobody), Some(&key)).await;
                assert_eq!(unknown.status, 404, "{scope}: {operation:?}");
                assert_eq!(unknown.body, foreign.body, "{operation:?} tells whether {nobody} is there");
                assert_eq!(headers(&unknown), headers(&foreign), "{operation:?}");
            }
        }
    }
    assert_eq!(two.everything().await, before);
    two.desk.deployment.stop().await;
}

/// Whoever administered an advertiser could try names, and learnt from a conflict which other advertisers there are.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_others_cannot_be_probed() {
    let two = two().await;
    let key = two.desk.key(&two.own, "admin").await;
    let rename =
        |name: &str, token| two.desk.ask("PATCH", &two.own, Some(token)).json(&json!({ "name": name }));
    let taken = rename("other", &key).send().await;
    let free = rename("nobody", &key).send().await;
    assert_eq!((taken.status.as_u16(), taken.body), (403, free.body));
    // What it has already it may send back with something else, and the administrator renames it.
    let both = json!({ "name": "own", "grace_seconds": 3_600 });
    let changed = two.desk.ask("PATCH", &two.own, Some(&key)).json(&both).expect(200).await;
    assert_eq!(changed["grace_seconds"], 3_600);
    assert_eq!(rename("another", &two.desk.token).expect(200).await["name"], "another");
    rename("other", &two.desk.token).expect(409).await;
    two.desk.deployment.stop().await;
}

/// An id in the query of a path that names its advertiser was taken and ignored: a client that mixed both up read another's numbers.
#[tokio::test(flavor = "multi_thread")]
async fn an_advertiser_is_named_in_one_place() {
    let two = two().await;
    let ids = [&two.own, &two.other].map(|path| path.rsplit('/').next().unwrap());
    for path in [two.own.as_str(), &format!("{}/campaigns", two.own), "/v1/advertisers", "/v1/openapi.json"] {
        for id in ids {
            let said = two.desk.get(&format!("{path}?advertiser={id}"), &two.desk.token).expect(400).await;
            assert!(said["detail"].as_str().unwrap().contains("no parameter advertiser"), "{path}: {said}");
        }
    }
    two.desk.deployment.stop().await;
}

/// All but the time.
fn headers(said: &Said) -> Vec<(String, String)> {
    let all = said.headers.iter().filter(|(name, _)| *name != "date");
    all.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

/// Ids of another advertiser's campaign, key and user below one's own path: they are not there.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_ids_below_ones_own_path_are_not_there() {
    let two = two().await;
    let before = two.everything().await;
    let key = two.desk.key(&two.own, "admin").await;
    for operation in operations(&two.desk).await {
        let below = operation.path.contains("{advertiser}/") && operation.path.matches('{').count() > 1;
        if !below {
            continue;
        }
        let ids = [two.other.rsplit('/').next().unwrap(), two.own.rsplit('/').next().unwrap()];
        let path = two.path(&operation).replace(ids[0], ids[1]);
        let foreign = two.ask(&operation, &path, Some(&key)).await;
        assert_eq!(foreign.status, 404, "{operation:?}: {foreign:?}");
        let unknown = ["campaign", "key", "user"].iter().fold(path.clone(), |path, kind| {
            let (_, id) = two.parts.iter().find(|(name, _)| name == kind).unwrap();
            path.replace(id.as_str(), &format!("{}AAAAAAAAAAAAAAAA", &id[..4]))
        });
        let unknown = two.ask(&operation, &unknown.replace("/1", "/2"), Some(&key)).await;
        assert_eq!((unknown.status, &unknown.body), (foreign.status, &foreign.body), "{operation:?}");
    }
    // A filter is no way around either.
    let campaign = &two.parts[1].1;
    for path in
        [format!("{}/delivery?campaign={campaign}", two.own), format!("/v1/insights?campaign={campaign}")]
    {
        let said = two.desk.get(&path, &key).send().await;
        assert!(said.status.is_client_error(), "{path}: {said:?}");
        assert!(!said.text().contains("Secret"), "{path}");
    }
    let row =
        json!([{ "campaign": campaign, "day": "2027-01-06", "impressions": 1, "clicks": 0, "spend": 0 }]);
    let by_name = json!([{ "campaign": "Secret campaign", "day": "2027-01-06", "impressions": 1, "clicks": 0, "spend": 0 }]);
    for body in [row, by_name] {
        let path = format!("{}/delivery", two.own);
        let said = two.desk.ask("PUT", &path, Some(&key)).json(&body).expect(400).await;
        assert_eq!(said["errors"][0]["row"], 1);
    }
    assert_eq!(two.everything().await, before);
    two.desk.deployment.stop().await;
}
