//! From reports of devices to what an advertiser is told, over HTTP: released windows, insights, and the command line.

use std::path::PathBuf;

use arras::tasks::{TaskFile, TaskFolder};
use arras_protocol::report::ReportMaker;
use arras_protocol::task::Task;
use arras_protocol::vdaf::Measurement;
use serde_json::{Value, json};

use super::Desk;
use crate::cli::done;
use crate::harness::{PRECISION, WINDOW};

/// The hour in which people convert: the one in which the clocks of the deployment stand.
const HOUR: u64 = WINDOW + 10;

/// The day that it is in.
const DAY: &str = "2027-01-15";

/// An advertiser with two campaigns and a released hour.
struct Shop {
    desk: Desk,
    path: String,
    spring: String,
    task: String,
}

impl Shop {
    fn id(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }

    fn dir(&self) -> PathBuf {
        self.desk.deployment.config_path("leader").parent().unwrap().to_owned()
    }

    async fn insights(&self, query: &str) -> Value {
        let path = format!("/v1/insights?advertiser={}&from={DAY}&to={DAY}{query}", self.id());
        self.desk.get(&path, &self.desk.token).expect(200).await
    }
}

/// Makes an advertiser whose hours are released, and puts its task where the aggregators find it.
async fn shop(desk: Desk) -> (Shop, Task) {
    let body = json!({
        "name": "Shop", "site": "shop.example", "time_zone": "UTC", "currency": "EUR", "cadence": "hour",
        "grace_seconds": 0, "events": ["order_created"],
    });
    let created = desk.ask("POST", "/v1/advertisers", Some(&desk.token)).json(&body).expect(201).await;
    let path = format!("/v1/advertisers/{}", created["id"].as_str().unwrap());
    let spring = desk.campaign(&path, "Spring").await;
    desk.campaign(&path, "Tiny").await;
    let tasks = desk.get(&format!("{path}/tasks"), &desk.token).expect(200).await;
    let file = tasks["data"][0]["conversions"]["file"].as_str().unwrap();
    let file: TaskFile = toml::from_str(file).unwrap();
    let (task, provisioned) = file.build().unwrap();
    let shop = Shop { desk, path, spring, task: task.id().to_string() };
    for role in ["leader", "helper"] {
        let folder = TaskFolder::new(&shop.dir().join(role).join("tasks"));
        assert!(folder.add(task.id(), &provisioned).unwrap());
    }
    (shop, task)
}

async fn released() -> Shop {
    let (shop, task) = shop(Desk::start().await).await;
    let deployment = &shop.desk.deployment;
    deployment.clock.set(HOUR * PRECISION + 1_800);
    let (leader, helper) = deployment.hpke_configs();
    let maker = ReportMaker::new(&task, leader, helper).unwrap();
    let at = HOUR * PRECISION + 900;
    let counted = [(0, 10), (1, 100), (2, 3)];
    let reports: Vec<_> = counted
        .iter()
        .flat_map(|(bucket, count)| std::iter::repeat_n(*bucket, *count))
        .map(|bucket| maker.make(&mut rand::rng(), at, &Measurement::Bucket(bucket), None).unwrap())
        .collect();
    assert_eq!(deployment.uploader().upload(task.id(), &reports).await.unwrap(), []);
    deployment.settled(113).await;
    deployment.clock.set((HOUR + 1) * PRECISION + 60);
    let window = json!({ "from": HOUR * PRECISION, "to": (HOUR + 1) * PRECISION });
    let collect = format!("/v1/tasks/{}/releases", shop.task);
    let collect = shop.desk.ask("POST", &collect, Some(&shop.desk.token)).json(&window);
    let (collected, ()) = tokio::join!(collect.expect(200), deployment.tick());
    assert_eq!(collected["report_count"], 113);
    let rows =
        json!([{ "campaign": "Spring", "day": DAY, "impressions": 5_000, "clicks": 250, "spend": 12_345 }]);
    let delivery = format!("{}/delivery", shop.path);
    shop.desk.ask("PUT", &delivery, Some(&shop.desk.token)).json(&rows).expect(200).await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn insights_say_what_is_known_and_why_the_rest_is_not() {
    let shop = released().await;
    let told = shop.insights("").await;
    assert_eq!((&told["time_zone"], &told["next"]), (&json!("UTC"), &Value::Null));
    let [spring, tiny] = told["data"].as_array().unwrap().as_slice() else { panic!("{told}") };
    assert_eq!((&spring["campaign_id"], &spring["campaign_name"]), (&json!(shop.spring), &json!("Spring")));
    assert_eq!(spring["conversions"]["estimate"], 100);
    let bound = |end: &str| spring["conversions"][end].as_u64().unwrap();
    assert!(bound("low") < 100 && bound("high") > 100, "{spring}");
    assert!(spring["conversions"]["standard_error"].as_f64().unwrap() > 0.0);
    assert_eq!(
        (&spring["impressions"], &spring["spend"], &spring["currency"]),
        (&json!(5_000), &json!(12_345), &json!("EUR"))
    );
    assert_eq!(
        (&spring["ctr"], &spring["cpc"], &spring["cpm"]),
        (&json!(0.05), &json!(49.38), &json!(2_469.0))
    );
    // One hour of the day is released, and a day's spend is not divided by an hour's conversions.
    assert_eq!((&spring["cpa"], &spring["why"]["cpa"]), (&Value::Null, &json!("no_whole_day")));
    assert_eq!((&spring["value"], &spring["why"]["value"]), (&Value::Null, &json!("values_not_summed")));
    assert_eq!(tiny["conversions"], json!({ "suppressed": "below_threshold" }));
    assert_eq!((&tiny["spend"], &tiny["coverage"]["released"]), (&Value::Null, &json!(1)));

    let total = shop.insights("&level=account&fields=conversions,spend").await;
    let total = &total["data"][0];
    assert_eq!(total["conversions"]["estimate"], 103, "of all noised cells, those not shown among them");
    assert!(total.get("clicks").is_none() && total.get("campaign_id").is_none(), "{total}");
    let table = format!("/v1/insights?advertiser={}&from={DAY}&to={DAY}&fields=spend,conversions", shop.id());
    let table = shop.desk.get(&table, &shop.desk.token).header("accept", "text/csv").send().await.text();
    assert!(table.starts_with("date_start,date_stop,campaign_id,campaign_name,event,currency,value_currency,spend,conversions,conversions_low"), "{table}");
    assert!(
        table.contains(",Spring,,EUR,EUR,123.45,100,") && table.contains(",suppressed: below_threshold,"),
        "{table}"
    );
    let first = shop.insights("&limit=1").await;
    let second = shop.insights(&format!("&limit=1&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((&second["data"][0]["campaign_name"], &second["next"]), (&json!("Tiny"), &Value::Null));
    for wrong in [
        "&level=ad",
        "&granularity=hour",
        "&fields=cost",
        "&event=sale",
        "&touch=view",
        "&campaign=x",
        "&day=1",
    ] {
        let path = format!("/v1/insights?advertiser={}&from={DAY}&to={DAY}{wrong}", shop.id());
        assert_eq!(shop.desk.get(&path, &shop.desk.token).send().await.status, 400, "{wrong}");
    }
    shop.desk.deployment.stop().await;
}

/// A release is shown to whose it is, as it was signed; to another advertiser it is not there.
#[tokio::test(flavor = "multi_thread")]
async fn releases_are_their_advertisers_alone() {
    let shop = released().await;
    let Shop { desk, path, .. } = shop;
    let key = desk.key(&path, "read").await;
    let listed = desk.get(&format!("{path}/releases"), &key).expect(200).await;
    assert_eq!(
        (&listed["data"][0]["sequence"], &listed["data"][0]["measures"]),
        (&json!(1), &json!("conversions"))
    );
    let document = desk.get(&format!("{path}/releases/1"), &key).send().await;
    let own = desk.get("/v1/releases/1", &desk.token).send().await;
    assert_eq!((document.status.as_u16(), &document.body), (200, &own.body));
    let signed =
        desk.get(&format!("{path}/releases/1"), &key).header("accept", "application/jose").send().await;
    let own = desk.get("/v1/releases/1/signed", &desk.token).send().await;
    assert_eq!((signed.status.as_u16(), &signed.body), (200, &own.body));

    let other = desk.advertiser("other").await;
    desk.campaign(&other, "Own campaign").await;
    let foreign = desk.key(&other, "admin").await;
    let foreign_release = desk.get(&format!("{other}/releases/1"), &foreign).send().await;
    let none = desk.get(&format!("{other}/releases/7"), &foreign).send().await;
    assert_eq!((foreign_release.status.as_u16(), &foreign_release.body), (404, &none.body));
    assert_eq!(desk.get(&format!("{other}/releases"), &foreign).expect(200).await["data"], json!([]));
    let campaigns =
        desk.get("/v1/insights?level=account&from=2027-01-15&to=2027-01-15", &foreign).expect(200).await;
    assert!(campaigns["data"][0]["conversions"].is_null(), "{campaigns}");

    let windows = desk.get(&format!("{path}/windows?from={DAY}&to={DAY}"), &key).expect(200).await;
    let windows = windows["data"].as_array().unwrap();
    let released: Vec<_> = windows.iter().filter(|window| window["state"] == "released").collect();
    assert_eq!((released.len(), &released[0]["sequence"]), (1, &json!(1)), "{windows:?}");
    assert!(windows.iter().any(|window| window["state"] == "open"), "{windows:?}");
    desk.deployment.stop().await;
}

/// An administrator does all of it from the command line.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_reports_and_administers() {
    let shop = released().await;
    let config = shop.desk.deployment.config_path("collector");
    let token = shop.dir().join("token");
    std::fs::write(&token, &shop.desk.token).unwrap();
    let (config, token) = (config.to_str().unwrap().to_owned(), token.to_str().unwrap().to_owned());
    let run = |arguments: &[&str]| {
        let all = [arguments, &["--config", &config, "--token-file", &token]].concat();
        tokio::task::block_in_place(|| done(&all))
    };
    let file = |name: &str, text: &str| {
        let path = shop.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };

    let range = ["--from", DAY, "--to", DAY];
    let report = run(&[&["report", "Shop"], range.as_slice()].concat());
    assert!(
        report.contains("Spring") && report.contains("too few to show") && report.contains("100 ("),
        "{report}"
    );
    assert!(report.contains("all campaigns") && report.contains("123.45 EUR"), "{report}");
    assert!(report.contains("It does not mean 0."), "{report}");
    let json = run(&[&["report", shop.id(), "--format", "json"], range.as_slice()].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["total"]["conversions"]["estimate"], 103);
    let table = run(&[&["report", "Shop", "--format", "csv"], range.as_slice()].concat());
    assert_eq!(table.lines().count(), 3, "{table}");

    assert!(run(&["admin", "advertiser", "list"]).contains("shop.example"));
    run(&[
        "admin",
        "advertiser",
        "create",
        "Second",
        "--site",
        "second.example",
        "--time-zone",
        "UTC",
        "--currency",
        "EUR",
        "--event",
        "order_created",
    ]);
    run(&["admin", "campaign", "create", "Second", "Autumn", "--start", "2027-01-01"]);
    assert!(
        run(&["admin", "campaign", "change", "Second", "Autumn", "--status", "paused"]).contains("paused")
    );
    assert!(run(&["admin", "campaign", "list", "Second"]).contains("Autumn"));
    let rows = file("rows.csv", "day,campaign,impressions,clicks,spend\n2027-01-02,Autumn,10,1,0.50\n");
    assert!(run(&["admin", "delivery", "upload", "Second", &rows]).contains("1 new"));
    assert!(run(&["admin", "delivery", "list", "Second", "--from", "2027-01-01"]).contains(",10,1,0.50"));
    let key = run(&["admin", "key", "create", "Second", "Dashboard"]);
    assert!(key.starts_with("arras_key_"), "{key}");
    assert_eq!(shop.desk.get("/v1/insights", key.trim()).send().await.status, 200);
    assert!(run(&["admin", "key", "revoke", "Second", "Dashboard"]).contains("revoked"));
    assert_eq!(shop.desk.get("/v1/insights", key.trim()).send().await.status, 401);
    let password = file("password", "correct horse battery\n");
    run(&["admin", "user", "create", "Second", "anna@second.example", "--password-file", &password]);
    run(&["admin", "user", "password", "Second", "anna@second.example", "--password-file", &password]);
    assert!(run(&["admin", "user", "list", "Second"]).contains("anna@second.example"));
    run(&["admin", "user", "remove", "Second", "anna@second.example"]);
    let folder = shop.dir().join("exported");
    let tasks = run(&["admin", "tasks", "export", "Second", folder.to_str().unwrap()]);
    assert!(tasks.contains("1 task"), "{tasks}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    assert!(run(&["admin", "manifest", "Second"]).contains("Autumn"));
    let advice = run(&["admin", "value-advice", "Second", "--average", "49.90", "--largest", "250"]);
    assert!(advice.contains("--value-unit") && advice.contains("250.00 EUR"), "{advice}");
    assert!(run(&["admin", "windows", "Shop", "--from", DAY, "--to", DAY]).contains("released"));
    shop.desk.deployment.stop().await;
}
