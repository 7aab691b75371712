//! Lists, versions and media types.

use serde_json::{Value, json};

use super::Desk;

/// A client that polls is told that nothing has changed, and one that would overwrite what it has not seen is refused.
#[tokio::test(flavor = "multi_thread")]
async fn versions_are_told_apart() {
    let desk = Desk::start().await;
    let advertiser = desk.advertiser("shop").await;
    let campaign = desk.campaign(&advertiser, "Spring").await;
    let path = format!("{advertiser}/campaigns/{campaign}");
    let first = desk.get(&path, &desk.token).send().await;
    let tag = first.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"'), "strong: {tag}");
    assert_eq!(first.header("cache-control"), Some("private, no-store"));
    let same = desk.get(&path, &desk.token).header("if-none-match", &tag).send().await;
    assert_eq!((same.status.as_u16(), same.body.len(), same.header("etag")), (304, 0, Some(tag.as_str())));
    let head = desk.ask("HEAD", &path, Some(&desk.token)).send().await;
    assert_eq!((head.status.as_u16(), head.body.len(), head.header("etag")), (200, 0, Some(tag.as_str())));

    let pause = |condition: &str| {
        let asking = desk.ask("PATCH", &path, Some(&desk.token)).json(&json!({ "status": "paused" }));
        asking.header("if-match", condition)
    };
    assert_eq!(pause("\"another\"").send().await.status, 412);
    let paused = pause(&tag).expect(200).await;
    assert_eq!(paused["status"], "paused");
    assert_eq!(pause(&tag).send().await.status, 412, "it is not any more what was seen");
    let changed = desk.get(&path, &desk.token).header("if-none-match", &tag).send().await;
    assert_eq!((changed.status.as_u16(), changed.json()), (200, paused));

    // The last day can be set and taken away again.
    let patch = |body: Value| desk.ask("PATCH", &path, Some(&desk.token)).json(&body);
    assert_eq!(patch(json!({ "end": "2027-02-01" })).expect(200).await["end"], "2027-02-01");
    assert_eq!(patch(json!({ "status": "active" })).expect(200).await["end"], "2027-02-01");
    assert_eq!(patch(json!({ "end": null })).expect(200).await["end"], Value::Null);
    desk.deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_as_tables() {
    let desk = Desk::start().await;
    let advertiser = desk.advertiser("shop").await;
    let names: Vec<String> = (0..7).map(|number| format!("=Campaign {number}")).collect();
    for name in &names {
        desk.campaign(&advertiser, name).await;
    }
    let path = format!("{advertiser}/campaigns");
    let (mut seen, mut query) = (Vec::new(), "limit=3".to_owned());
    loop {
        let page = desk.get(&format!("{path}?{query}"), &desk.token).expect(200).await;
        let data = page["data"].as_array().unwrap().clone();
        assert!(data.len() <= 3);
        seen.extend(data.iter().map(|one| one["name"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => query = format!("limit=3&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, names);

    // As a table: a link leads on, and a name that looks like a formula is none.
    let (mut rows, mut next) = (Vec::new(), Some(format!("{path}?limit=3")));
    while let Some(path) = next {
        let said = desk.get(&path, &desk.token).header("accept", "text/csv").send().await;
        assert!(said.header("content-type").unwrap().starts_with("text/csv"));
        assert!(said.text().ends_with("\r\n"));
        rows.extend(said.text().lines().skip(1).map(str::to_owned));
        let link = said.header("link").map(str::to_owned);
        next = link.map(|link| link.split_once('>').unwrap().0.trim_start_matches('<').to_owned());
    }
    assert_eq!(rows.len(), 7);
    assert!(rows.iter().all(|row| row.contains(",'=Campaign ")), "{rows:?}");

    for wrong in ["limit=0", "limit=x", "cursor=!", "limt=3", "limit=1&limit=2"] {
        let said = desk.get(&format!("{path}?{wrong}"), &desk.token).send().await;
        assert_eq!(said.status, 400, "{wrong}");
        assert_eq!(said.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(desk.get(&path, &desk.token).header("accept", "image/png").send().await.status, 406);
    desk.deployment.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_said() {
    let desk = Desk::start().await;
    let advertiser = desk.advertiser("shop").await;
    let first = desk.campaign(&advertiser, "Spring").await;
    let path = format!("{advertiser}/campaigns");
    let post =
        |body: &str| desk.ask("POST", &path, Some(&desk.token)).body("application/json", body.to_owned());

    // Whoever did not hear the answer asks again, and hears which it is.
    let again = post(r#"{"name":"Spring","start":"2027-01-05"}"#).expect(409).await;
    assert_eq!(again["id"], first.as_str());
    let same_site = json!({
        "name": "Shop 2", "site": "shop.example", "time_zone": "UTC", "currency": "EUR", "events": ["order_created"],
    });
    let taken = desk.ask("POST", "/v1/advertisers", Some(&desk.token)).json(&same_site).expect(409).await;
    assert_eq!(format!("/v1/advertisers/{}", taken["id"].as_str().unwrap()), advertiser);

    for (body, named) in [
        ("", "EOF"),
        ("[]", "body"),
        (r#"{"name":"A"}"#, "start"),
        (r#"{"name":"A","start":"2027-01-05","budget":1}"#, "budget"),
        (r#"{"name":"A","start":"2027-13-05"}"#, "body"),
        (r#"{"name":"A","start":"2027-01-05","goal":"app_installed"}"#, "not counted"),
        (r#"{"name":"A","start":"2027-01-05","end":"2027-01-04"}"#, "last day"),
        (r#"{"name":"A","name":"B","start":"2027-01-05"}"#, "duplicate"),
    ] {
        let said = post(body).expect(400).await;
        assert!(said["detail"].as_str().unwrap().contains(named), "{body}: {said}");
    }
    let large = format!(r#"{{"name":"{}","start":"2027-01-05"}}"#, "a".repeat(20_000));
    assert_eq!(post(&large).send().await.status, 413);
    let text = desk.ask("POST", &path, Some(&desk.token)).body("text/plain", "x").send().await;
    assert_eq!(text.status, 415);
    let packed = post("x").header("content-encoding", "gzip").send().await;
    assert_eq!(packed.status, 415);

    let other = desk.ask("DELETE", &path, Some(&desk.token)).send().await;
    assert_eq!((other.status.as_u16(), other.header("allow")), (405, Some("GET, POST, HEAD, OPTIONS")));
    let options = desk.ask("OPTIONS", &path, None).send().await;
    assert_eq!((options.status.as_u16(), options.header("allow")), (204, Some("GET, POST, HEAD, OPTIONS")));
    assert!(options.header("access-control-allow-origin").is_none());
    desk.deployment.stop().await;
}

/// The administrator's routes of before are there, and are the administrator's alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_collectors_own_routes_take_no_key() {
    let desk = Desk::start().await;
    let advertiser = desk.advertiser("shop").await;
    desk.campaign(&advertiser, "Spring").await;
    let key = desk.key(&advertiser, "admin").await;
    for path in ["/v1/tasks", "/v1/releases/1"] {
        assert_eq!(desk.get(path, &key).send().await.status, 401, "{path}");
    }
    assert_eq!(desk.get("/v1/tasks", &desk.token).send().await.status, 200);
    assert_eq!(desk.get("/v1/nothing", &key).send().await.status, 404);
    desk.deployment.stop().await;
}
