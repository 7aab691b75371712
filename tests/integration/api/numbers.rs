//! Delivery numbers, keys and users.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Desk;

#[tokio::test(flavor = "multi_thread")]
async fn delivery_numbers_are_taken_whole_or_not_at_all() {
    let desk = Desk::start().await;
    let advertiser = desk.advertiser("shop").await;
    let (spring, summer) =
        (desk.campaign(&advertiser, "Spring").await, desk.campaign(&advertiser, "Summer").await);
    let path = format!("{advertiser}/delivery");
    let put = |body: Value| desk.ask("PUT", &path, Some(&desk.token)).json(&body);
    let row = |campaign: &str, day: &str, spend: u64| json!({ "campaign": campaign, "day": day, "impressions": 1_000, "clicks": 10, "spend": spend });
    let rows = json!([row(&spring, "2027-01-05", 1_250), row("Summer", "2027-01-05", 7)]);
    let counts =
        |taken: &Value| [&taken["inserted"], &taken["changed"], &taken["same"]].map(|n| n.as_u64().unwrap());
    assert_eq!(counts(&put(rows.clone()).expect(200).await), [2, 0, 0]);
    assert_eq!(counts(&put(rows).expect(200).await), [0, 0, 2], "the same again changes nothing");
    assert_eq!(counts(&put(json!([row(&spring, "2027-01-05", 1_300)])).expect(200).await), [0, 1, 0]);

    let wrong =
        json!([row(&spring, "2027-01-06", 1), row("Nobody", "2027-01-06", 1), row(&summer, "2029-01-01", 1)]);
    let said = put(wrong).expect(400).await;
    // What names no campaign was told alone, and the rest with the next try; and the detail said all of it a second time.
    let rows: Vec<_> = said["errors"].as_array().unwrap().iter().map(|error| &error["row"]).collect();
    assert_eq!(rows, [2, 3], "{said}");
    assert_eq!(said["detail"], "nothing was changed, since 2 rows cannot be taken");

    let list = format!("{path}?from=2027-01-01&to=2027-01-31");
    let listed = desk.get(&list, &desk.token).expect(200).await;
    let spends: Vec<_> =
        listed["data"].as_array().unwrap().iter().map(|row| row["spend"].as_u64().unwrap()).collect();
    assert_eq!(spends, [1_300, 7], "nothing of the refused rows");

    // A table that was fetched can be sent back as it is.
    let table = desk.get(&list, &desk.token).header("accept", "text/csv").send().await;
    assert!(table.text().contains(&format!("2027-01-05,{spring},1000,10,13.00\r\n")), "{}", table.text());
    let back = desk.ask("PUT", &path, Some(&desk.token)).body("text/csv", table.body).expect(200).await;
    assert_eq!(counts(&back), [0, 0, 2]);
    let oversized = "x".repeat(3_000_000);
    let said = desk.ask("PUT", &path, Some(&desk.token)).body("text/csv", oversized).send().await;
    assert_eq!(said.status, 413);
    // It was not said that the connection ends with this, and the next request was now and then sent into it.
    assert_eq!(said.header("connection"), Some("close"));

    // Pages go on within a campaign.
    let first = desk.get(&format!("{list}&limit=1"), &desk.token).expect(200).await;
    let next = format!("{list}&limit=1&cursor={}", first["next"].as_str().unwrap());
    let second = desk.get(&next, &desk.token).expect(200).await;
    assert_eq!((&second["data"][0]["spend"], &second["next"]), (&json!(7), &Value::Null));
    desk.deployment.stop().await;
}

/// An address with a cursor stands in the logs of whatever is in between, and the cursor was an email.
#[tokio::test(flavor = "multi_thread")]
async fn users_come_in_pages_whose_cursors_name_nobody() {
    let desk = Desk::start().await;
    let users = format!("{}/users", desk.advertiser("shop").await);
    for name in ["carl", "anna", "bert"] {
        let email = format!("{name}@shop.example");
        let body = json!({ "email": email, "password": "correct horse battery", "scope": "read" });
        desk.ask("POST", &users, Some(&desk.token)).json(&body).expect(201).await;
    }
    let (mut emails, mut query) = (Vec::new(), "limit=1".to_owned());
    loop {
        let page = desk.get(&format!("{users}?{query}"), &desk.token).expect(200).await;
        let user = &page["data"][0];
        emails.push(user["email"].as_str().unwrap().to_owned());
        let Some(next) = page["next"].as_str() else { break };
        let id = user["id"].as_str().unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(next).unwrap(), id.as_bytes());
        query = format!("limit=1&cursor={next}");
    }
    assert_eq!(emails, ["anna@shop.example", "bert@shop.example", "carl@shop.example"]);
    desk.deployment.stop().await;
}

/// The text of a key is shown once, and no list has it; a password is in no answer at all.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_shown_once_or_never() {
    let desk = Desk::start().await;
    let advertiser = desk.advertiser("shop").await;
    let admin = desk.key(&advertiser, "admin").await;
    // 32 bytes in base64url, where underscores may be anywhere.
    let secret = &admin[admin.len() - 43..];
    let keys = desk.get(&format!("{advertiser}/keys"), &admin).send().await;
    assert!(keys.text().contains("\"scope\":\"admin\"") && !keys.text().contains(secret));

    let users = format!("{advertiser}/users");
    let body =
        json!({ "email": "Anna@Shop.example", "password": "correct horse battery", "scope": "manage" });
    let created = desk.ask("POST", &users, Some(&admin)).json(&body).expect(201).await;
    assert_eq!(created["email"], "anna@shop.example");
    assert!(!created.to_string().contains("horse"));
    assert_eq!(desk.ask("POST", &users, Some(&admin)).json(&body).send().await.status, 409);
    let user = format!("{users}/{}", created["id"].as_str().unwrap());
    let short = json!({ "password": "short" });
    let said = desk.ask("PATCH", &user, Some(&admin)).json(&short).expect(400).await;
    assert!(!said.to_string().contains("\"short\""), "{said}");
    let other = json!({ "password": "correct horse staple" });
    desk.ask("PATCH", &user, Some(&admin)).json(&other).expect(200).await;
    assert_eq!(desk.ask("DELETE", &user, Some(&admin)).send().await.status, 204);
    assert_eq!(desk.ask("DELETE", &user, Some(&admin)).send().await.status, 404);
    assert_eq!(desk.get(&users, &admin).expect(200).await["data"], json!([]));
    desk.deployment.stop().await;
}

/// What the operators of aggregators need is there once the first campaign is.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_campaign_makes_tasks() {
    let desk = Desk::start().await;
    let advertiser = desk.advertiser("shop").await;
    let tasks = format!("{advertiser}/tasks");
    assert_eq!(desk.get(&tasks, &desk.token).expect(200).await["data"], json!([]));
    let campaign = desk.campaign(&advertiser, "Spring").await;
    let listed = desk.get(&tasks, &desk.token).expect(200).await;
    let generation = &listed["data"][0];
    assert_eq!((&generation["generation"], &generation["value"]), (&json!(1), &Value::Null));
    let buckets = generation["buckets"].as_array().unwrap();
    assert_eq!(buckets.len(), 2, "one for each kind of event: {buckets:?}");
    assert!(buckets.iter().all(|bucket| bucket["campaign"] == campaign.as_str()));
    let file = generation["conversions"]["file"].as_str().unwrap();
    let file: arras::tasks::TaskFile = toml::from_str(file).unwrap();
    let (task, _) = file.build().unwrap();
    assert_eq!(task.id().to_string(), generation["conversions"]["task"].as_str().unwrap());

    // Values are terms that open new tasks.
    let terms = json!({ "terms": { "value": { "epsilon": "1", "unit": 100, "max_value": 250 } } });
    desk.ask("PATCH", &advertiser, Some(&desk.token)).json(&terms).expect(200).await;
    let listed = desk.get(&tasks, &desk.token).expect(200).await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    assert_eq!(listed["data"][1]["value_max"], 250);
    assert!(listed["data"][0]["closed"].is_string() && listed["data"][1]["closed"].is_null());
    assert_eq!(desk.get(&format!("{advertiser}/budget"), &desk.token).expect(200).await["data"], json!([]));
    assert_eq!(desk.get(&format!("{advertiser}/releases"), &desk.token).expect(200).await["data"], json!([]));
    desk.deployment.stop().await;
}
