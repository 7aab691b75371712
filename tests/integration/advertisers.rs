//! All that an advertiser is promised, in one go and over real HTTP: a campaign is created, tasks go to both aggregators, devices
//! hear of them by a manifest and report, the schedule releases the day, and the numbers say what happened. Nobody else sees any of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use arras::aggregator::Clock as _;
use arras_client::app::{Ad, Advertiser, App, AppRules, Converted, Event, Form};
use arras_client::attribution::MemoryStore;
use arras_client::files::MemoryFiles;
use arras_client::queue::QueueRules;
use arras_client::upload::{Courier, Http, fetch_manifest};
use arras_protocol::messages::Url;
use serde_json::{Value, json};

use crate::api::Desk;
use crate::cli::done;
use crate::console_attacks::site::{Browser, PASSWORD};
use crate::harness::{PATIENCE, PRECISION, WINDOW};

const SITE: &str = arras::config::loopback::BUDGET_SOURCE;

/// The first whole day after the advertiser was created, in its time zone.
const DAY: &str = "2027-01-16";

/// The day on which it was created.
const DAY_BEFORE: &str = "2027-01-15";

/// When people convert: at ten in the morning in Berlin, in POSIX seconds.
const TEN: u64 = (WINDOW + 25) * PRECISION;

/// When the day ends there.
const MIDNIGHT: u64 = (WINDOW + 39) * PRECISION;

const GRACE: u64 = 3_600;

/// What a campaign's day cost, in cents.
const SPEND: u32 = 100_000;

type Device = App<MemoryStore, MemoryFiles>;

/// People who do the same: what they saw, what they did, what it was worth in cents.
struct People {
    count: usize,
    campaign: Option<&'static str>,
    event: &'static str,
    value: Option<u64>,
}

/// 60 orders of Spring, worth 2,460 units of a euro: one is clipped at 100, of one 99 cents are rounded off.
const PEOPLE: [People; 6] = [
    People { count: 58, campaign: Some("Spring"), event: "order_created", value: Some(4_000) },
    People { count: 1, campaign: Some("Spring"), event: "order_created", value: Some(4_099) },
    People { count: 1, campaign: Some("Spring"), event: "order_created", value: Some(50_000) },
    People { count: 40, campaign: Some("Spring"), event: "lead_created", value: None },
    People { count: 3, campaign: Some("Tiny"), event: "order_created", value: Some(9_000) },
    People { count: 25, campaign: None, event: "order_created", value: Some(9_000) },
];

impl People {
    /// One of them, with a device of its own.
    fn convert(
        &self,
        keys: &arras::collector::KeySet,
        manifest: &str,
        set: impl FnOnce(&mut AppRules),
    ) -> Device {
        let shop = Advertiser { site: SITE.to_owned(), keys: keys.public_keys().unwrap() };
        let queue = QueueRules { jitter_seconds: 0, ..QueueRules::default() };
        let mut rules = AppRules { queue, ..AppRules::new("chat.example", vec![shop]) };
        set(&mut rules);
        let mut app = App::open(rules, MemoryStore::default(), MemoryFiles::default(), TEN - 60).unwrap();
        app.update_manifest(&mut rand::rng(), SITE, manifest, TEN - 60).unwrap();
        app.set_consent(true, TEN - 60).unwrap();
        if let Some(campaign) = self.campaign {
            app.impression(Ad { advertiser: SITE, campaign }, TEN - 30).unwrap();
        }
        let event = Event { advertiser: SITE, name: self.event, value: self.value, id: "order 1" };
        let converted = app.conversion(&mut rand::rng(), event, TEN).unwrap();
        assert_eq!(converted, Converted::Reported(2), "{}", self.event);
        app
    }
}

const REPORTS: u64 = 2 * 128;

/// An advertiser with its campaigns.
struct Shop {
    desk: Desk,
    path: String,
    /// The key that its own people use.
    key: String,
    spring: String,
}

impl Shop {
    async fn created() -> Self {
        Self::with_terms(json!({ "value": { "epsilon": "1", "unit": 100, "max_value": 100 } })).await
    }

    async fn with_terms(terms: Value) -> Self {
        let desk = Desk::start().await;
        let body = json!({
            "name": "Shop", "site": SITE, "time_zone": "Europe/Berlin", "currency": "EUR", "grace_seconds": GRACE,
            "events": ["order_created", "lead_created"],
            "terms": terms,
        });
        let created = desk.ask("POST", "/v1/advertisers", Some(&desk.token)).json(&body).expect(201).await;
        let path = format!("/v1/advertisers/{}", created["id"].as_str().unwrap());
        let spring = desk.campaign(&path, "Spring").await;
        desk.campaign(&path, "Tiny").await;
        let key = desk.key(&path, "admin").await;
        Self { desk, path, key, spring }
    }

    fn id(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }

    fn dir(&self) -> PathBuf {
        self.desk.deployment.config_path("leader").parent().unwrap().to_owned()
    }

    /// Runs a command that administers the collector.
    fn run(&self, arguments: &[&str]) -> String {
        let (config, token) = (self.desk.deployment.config_path("collector"), self.dir().join("token"));
        std::fs::write(&token, &self.desk.token).unwrap();
        let to = ["--config", config.to_str().unwrap(), "--token-file", token.to_str().unwrap()];
        tokio::task::block_in_place(|| done(&[arguments, &to].concat()))
    }

    /// Gives the tasks to the operators of both aggregators, who add them.
    fn tasks_are_added(&self) {
        let folder = self.dir().join("exported");
        self.run(&["admin", "tasks", "export", "Shop", folder.to_str().unwrap()]);
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 2, "one of conversions, one of values");
        for role in ["leader", "helper"] {
            let config = self.desk.deployment.config_path(role);
            let mut arguments = vec!["task", "add"];
            arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
            arguments.extend(["--config", config.to_str().unwrap()]);
            tokio::task::block_in_place(|| done(&arguments));
        }
        // Roles find a new task once the clock has moved.
        let clock = &self.desk.deployment.clock;
        clock.set(clock.now() + 600);
    }

    /// Publishes the manifest: the document as a device receives it, and the budget that apps are told to set.
    async fn manifest(&self) -> (String, u32) {
        let deployment = &self.desk.deployment;
        let told = self.desk.get(&format!("{}/manifest-file", self.path), &self.key).send().await;
        assert_eq!(told.status, 200, "{told:?}");
        let file = self.dir().join("manifest.toml");
        std::fs::write(&file, &told.body).unwrap();
        let said = deployment.publish_manifest(file, deployment.clock.now()).await;
        assert!(said.contains("with 2 tasks and 2 campaigns"), "{said}");
        let budget = said.split("advertiser_budget to at least ").nth(1).unwrap_or_else(|| panic!("{said}"));
        let budget = budget.split(' ').next().unwrap().parse().unwrap();
        let collector = Url::new(deployment.loopback.collector.endpoint.as_str()).unwrap();
        let manifest = fetch_manifest(&deployment.http, &collector, SITE, None).await.unwrap().unwrap();
        (manifest, budget)
    }

    async fn keys(&self) -> arras::collector::KeySet {
        let keys = self.desk.ask("GET", "/keys", None).send().await;
        serde_json::from_slice(&keys.body).unwrap()
    }

    /// Everybody sees an ad or none, converts, and has a device that says so.
    async fn people_convert(&self) {
        let deployment = &self.desk.deployment;
        let ((manifest, budget), keys) = (self.manifest().await, self.keys().await);
        deployment.clock.set(TEN + 60);
        let courier = Courier::new(Http::new(deployment.http.clone()));
        for one in &PEOPLE {
            for _ in 0..one.count {
                let app = Mutex::new(one.convert(&keys, &manifest, |rules| rules.advertiser_budget = budget));
                let clock = || deployment.clock.now();
                assert_eq!(courier.deliver_due(&app, &mut rand::rng(), &clock).await.unwrap(), 2);
            }
        }
        deployment.settled(REPORTS).await;
    }

    /// Where the windows of the two days stand, by day and what they measure.
    async fn states(&self) -> BTreeMap<(String, String), Value> {
        let path = format!("{}/windows?from={DAY_BEFORE}&to={DAY}", self.path);
        let listed = self.desk.get(&path, &self.key).expect(200).await;
        let key = |window: &Value| {
            let of = |name: &str| window[name].as_str().unwrap().to_owned();
            // 23:00 UTC is midnight in Berlin.
            (if of("to").starts_with(DAY) { DAY } else { DAY_BEFORE }.to_owned(), of("measures"))
        };
        listed["data"].as_array().unwrap().iter().map(|window| (key(window), window.clone())).collect()
    }

    async fn state(&self, day: &str, measures: &str) -> String {
        let states = self.states().await;
        states[&(day.to_owned(), measures.to_owned())]["state"].as_str().unwrap().to_owned()
    }

    /// Time goes by, and nobody asks for anything to be collected.
    async fn the_schedule_releases(&self) {
        let deployment = &self.desk.deployment;
        assert_eq!(self.state(DAY, "conversions").await, "open");
        deployment.clock.set(MIDNIGHT + 60);
        let schedule = deployment.collector.as_ref().unwrap().advertising().unwrap().schedule.clone();
        // It sleeps for as long as its clock would take; this one was moved.
        schedule.wake();
        assert_eq!(self.state(DAY, "conversions").await, "waiting");
        assert_eq!(self.state(DAY, "value").await, "waiting");
        deployment.clock.set(MIDNIGHT + GRACE + 60);
        schedule.wake();
        let started = Instant::now();
        loop {
            let states = self.states().await;
            let of = |measures: &str| &states[&(DAY.to_owned(), measures.to_owned())];
            if of("conversions")["state"] == "released" && of("value")["state"] == "released" {
                assert_eq!(
                    (&of("conversions")["sequence"], &of("value")["sequence"]),
                    (&json!(1), &json!(2)),
                    "values after their conversions"
                );
                break;
            }
            if of("conversions")["state"] != "released" {
                assert_ne!(of("value")["state"], "released", "{states:?}");
            }
            assert!(started.elapsed() < PATIENCE, "{states:?}");
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                deployment.clock.set(deployment.clock.now() + 1);
            }
        }
        // On the day before nobody converted, which is said, too.
        for measures in ["conversions", "value"] {
            assert_eq!(self.state(DAY_BEFORE, measures).await, "too_few_reports", "{measures}");
        }
    }

    async fn delivery_is_told(&self) {
        let row = |campaign: &str, spend: u32| json!({ "campaign": campaign, "day": DAY, "impressions": 50_000, "clicks": 700, "spend": spend });
        let rows = json!([row("Spring", SPEND), row("Tiny", 500)]);
        let path = format!("{}/delivery", self.path);
        self.desk.ask("PUT", &path, Some(&self.key)).json(&rows).expect(200).await;
    }

    async fn insights(&self, query: &str) -> Value {
        let path = format!("/v1/insights?from={DAY}&to={DAY}{query}");
        self.desk.get(&path, &self.key).expect(200).await["data"].clone()
    }

    /// The rows of insights as a table for spreadsheets, by column.
    async fn sheet(&self) -> Vec<BTreeMap<String, String>> {
        let path = format!("/v1/insights?from={DAY}&to={DAY}");
        let table = self.desk.get(&path, &self.key).header("accept", "text/csv").send().await;
        let table = table.text();
        let mut lines = table.lines().map(|line| line.split(',').map(str::to_owned));
        let header: Vec<String> = lines.next().unwrap().collect();
        lines.map(|cells| header.iter().cloned().zip(cells).collect()).collect()
    }
}

fn number(of: &Value, part: &str) -> f64 {
    of[part].as_f64().unwrap_or_else(|| panic!("{part}: {of}"))
}

/// What a noised number is made of, where it is shown: what happened, within an interval, with an error that goes with it.
fn is_about(measure: &Value, truth: f64) {
    let [estimate, low, high] = ["estimate", "low", "high"].map(|part| number(measure, part));
    assert!((estimate - truth).abs() < 1e-9, "{truth}: {measure}");
    assert!(low < estimate && estimate < high, "{measure}");
}

/// The numbers of the campaign that has enough, and the reason of the one that has not.
fn numbers_are_true(rows: &Value) {
    let [spring, tiny] = rows.as_array().unwrap().as_slice() else { panic!("{rows}") };
    assert_eq!((&spring["campaign_name"], &spring["spend"]), (&json!("Spring"), &json!(SPEND)));
    is_about(&spring["conversions"], 60.0);
    is_about(&spring["value"], 246_000.0);
    // A cost is rounded to hundredths of cents, and its interval is that of the conversions, turned round.
    is_about(&spring["cpa"], 1_666.67);
    let (conversions, spend) = (&spring["conversions"], f64::from(SPEND));
    assert!(
        (number(&spring["cpa"], "low") - (100.0 * spend / number(conversions, "high")).floor() / 100.0).abs()
            < 1e-9
    );
    assert!(
        (number(&spring["cpa"], "high") - (100.0 * spend / number(conversions, "low")).ceil() / 100.0).abs()
            < 1e-9
    );
    is_about(&spring["roas"], 2.46);
    for part in ["low", "high", "standard_error"] {
        let exact = number(&spring["value"], part) / spend;
        let told = number(&spring["roas"], part);
        assert!((told - exact).abs() <= 0.001, "{part}: {exact} {told}");
    }
    // Four hundred units of standard deviation are what an epsilon of 1 costs with a maximum of 100.
    assert!(
        (number(&spring["value"], "standard_error") / number(conversions, "standard_error") - 10_000.0).abs()
            < 500.0
    );
    assert_eq!(spring["why"], Value::Null, "nothing is missing: {spring}");
    let coverage = &spring["coverage"];
    let counts = ["windows", "released", "days", "whole_days", "whole_value_days"]
        .map(|name| coverage[name].as_u64().unwrap());
    assert_eq!((counts, &coverage["missing"]), ([1; 5], &json!([])));

    assert_eq!(tiny["conversions"], json!({ "suppressed": "below_threshold" }));
    for field in ["value", "cpa", "roas"] {
        assert_eq!(tiny[field], json!({ "suppressed": "conversions_suppressed" }), "{field}");
    }
}

/// A spreadsheet is told the same, with money in euros.
fn sheet_agrees(rows: &Value, sheet: &[BTreeMap<String, String>]) {
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), sheet.len());
    for (row, cells) in rows.iter().zip(sheet) {
        assert_eq!(row["campaign_name"], cells["campaign_name"].as_str());
        for (field, scale) in [("conversions", 1.0), ("value", 100.0), ("cpa", 100.0), ("roas", 1.0)] {
            if let Some(reason) = row[field]["suppressed"].as_str() {
                assert_eq!(cells[&format!("{field}_note")], format!("suppressed: {reason}"));
                assert_eq!(cells[field], "");
                continue;
            }
            for part in ["estimate", "low", "high", "standard_error"] {
                let column = if part == "estimate" { field.to_owned() } else { format!("{field}_{part}") };
                let cell = cells[&column].parse::<f64>().ok();
                let told = row[field][part].as_f64().map(|number| number / scale);
                let same = match (cell, told) {
                    (Some(cell), Some(told)) => (cell - told).abs() < 0.001,
                    (None, None) => true,
                    _ => false,
                };
                assert!(same, "{column}: {cells:?} {row}");
            }
        }
    }
}

/// What `arras report` prints of a row.
fn report_tells(report: &str, row: &Value) {
    let whole = |of: &Value, part: &str| of[part].as_i64().unwrap();
    let parts = ["estimate", "low", "high"];
    let [estimate, low, high] = parts.map(|part| whole(&row["conversions"], part));
    let mut told = vec![format!("{estimate} ({low} to {high})")];
    for field in ["cpa", "value"] {
        // A cost is known to hundredths of cents; of what is shown shorter the ends are rounded outward.
        let [estimate, low, high] = parts.map(|part| number(&row[field], part));
        let (estimate, low, high) = (estimate / 100.0, low.floor() / 100.0, high.ceil() / 100.0);
        told.push(format!("{estimate:.2} ({low:.2} to {high:.2})"));
    }
    told.push(format!("{:.2} (", number(&row["roas"], "estimate")));
    let line = report.lines().find(|line| line.starts_with("Spring ")).unwrap_or_else(|| panic!("{report}"));
    let line = line.replace(',', "");
    for text in told {
        assert!(line.contains(&text), "{text}: {report}");
    }
    assert!(report.contains("too few to show") && report.contains("1 of 1 windows released"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_measured_from_its_creation_to_its_report() {
    let shop = Shop::created().await;
    shop.tasks_are_added();
    shop.people_convert().await;
    shop.delivery_is_told().await;
    shop.the_schedule_releases().await;

    let rows = shop.insights("").await;
    numbers_are_true(&rows);
    sheet_agrees(&rows, &shop.sheet().await);
    let events = shop.insights(&format!("&level=event&campaign={}", shop.spring)).await;
    let events = events.as_array().unwrap();
    let lead = events.iter().find(|row| row["event"] == "lead_created").unwrap();
    is_about(&lead["conversions"], 40.0);
    let total = shop.insights("&level=account").await;
    // Of all cells, those that are not shown among them: three orders of 90 euros.
    is_about(&total[0]["conversions"], 63.0);
    is_about(&total[0]["value"], 273_000.0);
    is_about(&total[0]["not_attributed"], 25.0);

    let range = ["--from", DAY, "--to", DAY];
    report_tells(&shop.run(&[&["report", "Shop"], range.as_slice()].concat()), &rows[0]);
    let told = shop.run(&[&["report", "Shop", "--format", "json"], range.as_slice()].concat());
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["campaigns"], &told["total"]), (&rows, &total[0]));

    the_console_shows_it(&shop).await;
    nobody_else_sees_it(&shop).await;

    // All of it is on disk.
    let Shop { mut desk, path, key, spring } = shop;
    desk.deployment.stop_role(crate::harness::Role::Collector).await;
    desk.deployment.start_role(crate::harness::Role::Collector);
    let shop = Shop { desk, path, key, spring };
    assert_eq!(shop.insights("").await, rows);
    shop.desk.deployment.stop().await;
}

/// An advertiser that summed values beside its conversions read 0 of every campaign, with nothing to be seen anywhere: the
/// conversion had spent all that an app lets an advertiser spend, so devices told the value of no ad. Then apps were told the sum of
/// the epsilons: of 0.41 and 0.59 nothing at all, though the first costs 410,001 millionths and the value of no conversion was
/// told; and of two conversions that the terms allow in a week only the first was counted.
#[tokio::test(flavor = "multi_thread")]
async fn apps_are_told_the_budget_that_conversions_and_values_take() {
    let value = json!({ "epsilon": "0.59", "unit": 100, "max_value": 100 });
    let shop = Shop::with_terms(json!({ "epsilon": "0.41", "contributions": 2, "value": value })).await;
    shop.tasks_are_added();
    let ((manifest, budget), keys) = (shop.manifest().await, shop.keys().await);
    assert_eq!(budget, 2 * (410_001 + 590_000));
    let amounts = |set: &dyn Fn(&mut AppRules)| {
        // Worth all of the maximum.
        let people = &PEOPLE[2];
        let mut app = people.convert(&keys, &manifest, set);
        let again = Event { advertiser: SITE, name: people.event, value: people.value, id: "order 2" };
        assert_eq!(app.conversion(&mut rand::rng(), again, TEN + 1).unwrap(), Converted::Reported(2));
        let amount = |form: &Form| match form {
            Form::Attributed { amount, .. } => Some(*amount),
            Form::Null { .. } => None,
        };
        let journal = app.journal(TEN);
        let reports = journal.conversions.iter().flat_map(|converted| &converted.reports);
        reports.map(|report| amount(&report.form)).collect::<Vec<_>>()
    };
    let all = [Some(1), Some(100), Some(1), Some(100)];
    assert_eq!(amounts(&|rules| rules.advertiser_budget = budget), all);
    assert_eq!(amounts(&|rules| rules.advertiser_budget = budget - 1)[3], None);
    assert_eq!(amounts(&|_| {}), [Some(1), None, Some(1), None], "by default");
    shop.desk.deployment.stop().await;
}

/// The browser of somebody who is a user of an advertiser since now, and signed in.
async fn visitor(desk: &Desk, advertiser: &str, email: &str) -> Browser {
    let body = json!({ "email": email, "password": PASSWORD, "scope": "admin" });
    desk.ask("POST", &format!("{advertiser}/users"), Some(&desk.token)).json(&body).expect(201).await;
    let mut browser = Browser::at(&desk.url);
    assert_eq!(browser.sign_in(email, PASSWORD).await.location(), "/console/overview");
    browser
}

/// A page that is there.
async fn page(browser: &mut Browser, path: &str) -> String {
    let answer = browser.get(path).await;
    assert_eq!(answer.status, 200, "{path}");
    answer.text
}

async fn the_console_shows_it(shop: &Shop) {
    let mut visitor = visitor(&shop.desk, &shop.path, "anna@shop.example").await;
    let range = format!("from={DAY}&to={DAY}");
    for path in [format!("/console/campaigns?{range}"), format!("/console/campaigns/{}?{range}", shop.spring)]
    {
        let page = page(&mut visitor, &path).await;
        for text in ["Spring", "2,460", "2.46", "16.67", "1,000.00"] {
            assert!(page.contains(text), "{path}: {text}: {page}");
        }
    }
    let budget = page(&mut visitor, "/console/budget").await;
    assert!(budget.contains("2 of 10"), "{budget}");
    let releases = page(&mut visitor, "/console/releases").await;
    for sequence in 1..=2 {
        assert!(releases.contains(&format!("/console/releases/{sequence}\"")), "{releases}");
        assert!(page(&mut visitor, &format!("/console/releases/{sequence}")).await.contains("Spring"));
        let signed = visitor.get(&format!("/console/releases/{sequence}/signed")).await;
        let path = format!("{}/releases/{sequence}", shop.path);
        let own = shop.desk.get(&path, &shop.key).header("accept", "application/jose").send().await;
        assert_eq!((signed.status.as_u16(), signed.text), (200, own.text()));
    }
}

/// To another advertiser's key and to its people, all of this is as absent as what never was.
async fn nobody_else_sees_it(shop: &Shop) {
    let other = shop.desk.advertiser("other").await;
    let tasks = shop.desk.get(&format!("{}/tasks", shop.path), &shop.key).expect(200).await;
    let task = |kind: &str| tasks["data"][0][kind]["task"].as_str().unwrap().to_owned();
    let tasks = [task("conversions"), task("value")];
    let hidden = |text: &str| {
        let secrets = ["Spring", "Tiny", SITE, shop.id(), &shop.spring, &tasks[0], &tasks[1]];
        secrets.iter().all(|secret| !text.contains(secret))
    };
    no_key_sees_it(shop, &other, &tasks[0], &hidden).await;
    no_session_sees_it(shop, &other, &hidden).await;
}

async fn no_key_sees_it(shop: &Shop, other: &str, task: &str, hidden: &dyn Fn(&str) -> bool) {
    let desk = &shop.desk;
    let own = desk.campaign(other, "Own campaign").await;
    let key = desk.key(other, "admin").await;
    let days = format!("from={DAY_BEFORE}&to={DAY}");
    let nobody = "/v1/advertisers/adv_AAAAAAAAAAAAAAAA";
    let below = [
        String::new(),
        "/campaigns".to_owned(),
        format!("/campaigns/{}", shop.spring),
        format!("/delivery?{days}"),
        format!("/windows?{days}"),
        "/releases".to_owned(),
        "/releases/1".to_owned(),
        "/releases/2".to_owned(),
        "/tasks".to_owned(),
        "/manifest-file".to_owned(),
        "/budget".to_owned(),
        "/keys".to_owned(),
        "/users".to_owned(),
    ];
    for path in &below {
        let said = desk.get(&format!("{}{path}", shop.path), &key).send().await;
        let none = desk.get(&format!("{nobody}{path}"), &key).send().await;
        assert_eq!((said.status.as_u16(), &said.body), (404, &none.body), "{path}: {}", said.text());
    }
    for path in [&below[2], &below[6], &below[7]] {
        let said = desk.get(&format!("{other}{path}"), &key).send().await;
        assert_eq!(said.status, 404, "{path}");
        assert!(hidden(&said.text()), "{}", said.text());
    }
    let path = format!("/v1/insights?advertiser={}&{days}", shop.id());
    assert_eq!(desk.get(&path, &key).send().await.status, 404);
    // What belongs to whoever runs the collector is for no key.
    for path in ["/v1/releases/1", "/v1/releases/1/signed", &format!("/v1/tasks/{task}/releases")] {
        let said = desk.get(path, &key).send().await;
        assert!([401, 403, 404].contains(&said.status.as_u16()), "{path}: {}", said.status);
        assert!(hidden(&said.text()), "{path}");
    }
    let own_rows = desk.get(&format!("/v1/insights?{days}"), &key).expect(200).await;
    assert_eq!(own_rows["data"][0]["campaign_id"], json!(own));
    assert!(hidden(&own_rows.to_string()), "{own_rows}");
}

async fn no_session_sees_it(shop: &Shop, other: &str, hidden: &dyn Fn(&str) -> bool) {
    let mut visitor = visitor(&shop.desk, other, "eve@other.example").await;
    let unknown = visitor.get("/console/releases/7").await;
    assert_eq!(unknown.status, 404);
    let campaign = format!("/console/campaigns/{}", shop.spring);
    for path in [
        "/console/releases/1",
        "/console/releases/2",
        "/console/releases/1/signed",
        "/console/releases/2/signed",
        &campaign,
        &format!("{campaign}?from={DAY}&to={DAY}"),
        &format!("{campaign}/edit"),
    ] {
        let said = visitor.get(path).await;
        assert_eq!((said.status.as_u16(), said.text.clone()), (404, unknown.text.clone()), "{path}");
    }
    for path in ["overview", "campaigns", "campaigns.csv", "budget", "releases", "delivery", "account"] {
        let page = page(&mut visitor, &format!("/console/{path}")).await;
        assert!(hidden(&page), "{path}: {page}");
    }
    let budget = page(&mut visitor, "/console/budget").await;
    assert!(!budget.contains("2 of 10"), "{budget}");
}
