//! From an app's call to a released count, with nothing but what is published: the collector's key and its manifest.

use std::num::NonZeroU32;
use std::sync::Mutex;

use arras::aggregator::Clock as _;
use arras::collector::{Cell, Moment, Span};
use arras_client::app::{Ad, Advertiser, App, AppRules, Converted, Event};
use arras_client::attribution::MemoryStore;
use arras_client::files::MemoryFiles;
use arras_client::queue::QueueRules;
use arras_client::upload::{Courier, Http, fetch_manifest};
use arras_protocol::messages::Url;

use crate::harness::{Deployment, NOW, Options, PRECISION, WINDOW};

const SHOP: &str = arras::config::loopback::BUDGET_SOURCE;

type Device = App<MemoryStore, MemoryFiles>;

/// A device that knows the advertiser by its site and key alone.
async fn device(deployment: &Deployment, keys: &arras::collector::KeySet) -> Device {
    let shop = Advertiser { site: SHOP.to_owned(), keys: keys.public_keys().unwrap() };
    let queue = QueueRules { jitter_seconds: 0, ..QueueRules::default() };
    let rules = AppRules { queue, ..AppRules::new("chat.example", vec![shop]) };
    let at = WINDOW * PRECISION;
    let mut app = App::open(rules, MemoryStore::default(), MemoryFiles::default(), at).unwrap();
    let collector = Url::new(deployment.loopback.collector.endpoint.as_str()).unwrap();
    let fetched = fetch_manifest(&deployment.http, &collector, SHOP, None).await.unwrap().unwrap();
    // The same again needs not be sent again.
    app.update_manifest(&mut rand::rng(), SHOP, &fetched, at).unwrap();
    let held = app.manifest_text(SHOP).unwrap();
    let again = fetch_manifest(&deployment.http, &collector, SHOP, held.as_deref()).await.unwrap();
    assert!(again.is_none());
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_told_by_a_manifest_is_counted() {
    let deployment = Deployment::start(Options::default()).await;
    let endpoints = (&deployment.loopback.leader.endpoint, &deployment.loopback.helper.endpoint);
    let mut file = crate::harness::task_file(&Options::default(), "sales", endpoints.0, endpoints.1);
    file.campaigns = vec!["boots".to_owned(), "tents".to_owned()];
    file.contributions = NonZeroU32::MIN;
    let task = deployment.add_task_file(&file);
    // Roles find a new task once the clock has moved.
    deployment.clock.set(deployment.clock.now() + 600);

    let description = deployment.config_path("collector").with_file_name("manifest.toml");
    let text = format!(
        "advertiser = \"{SHOP}\"\n[[task]]\nid = \"{}\"\nmeasures = \"count\"\n\
         events = [{{ name = \"purchase\" }}, {{ name = \"lead\", offset = 10 }}]\n",
        task.id()
    );
    std::fs::write(&description, text).unwrap();
    let said = deployment.publish_manifest(description, NOW).await;
    assert!(said.contains(&format!("manifest {NOW} of {SHOP} with 1 task and 2 campaigns")), "{said}");
    assert!(!said.contains("advertiser_budget"), "apps allow what it costs: {said}");

    let keys = format!("{}keys", deployment.loopback.collector.endpoint);
    let keys = deployment.http.get(keys).send().await.unwrap().bytes().await.unwrap();
    let keys: arras::collector::KeySet = serde_json::from_slice(&keys).unwrap();
    let courier = Courier::new(Http::new(deployment.http.clone()));
    for person in 0..20 {
        let mut app = device(&deployment, &keys).await;
        let at = WINDOW * PRECISION + 100;
        app.set_consent(person % 4 != 0, at).unwrap();
        app.impression(Ad { advertiser: SHOP, campaign: "boots" }, at).unwrap();
        app.click(Ad { advertiser: SHOP, campaign: "tents" }, at + 1).unwrap();
        let name = if person % 2 == 0 { "purchase" } else { "lead" };
        let event = Event { advertiser: SHOP, name, value: None, id: "order 1" };
        assert_eq!(app.conversion(&mut rand::rng(), event, at + 2).unwrap(), Converted::Reported(1));
        let app = Mutex::new(app);
        let clock = || deployment.clock.now();
        assert_eq!(courier.deliver_due(&app, &mut rand::rng(), &clock).await.unwrap(), 1);
        assert_eq!(app.lock().unwrap().waiting(), 0);
    }
    let collector = deployment.collector.as_ref().unwrap().collector().unwrap().clone();
    let hour = |hours| Moment::from_seconds((WINDOW + hours) * PRECISION).unwrap();
    let window = Span::new(hour(0), hour(1)).unwrap();
    let (collected, ()) = tokio::join!(collector.collect(task.id(), window), deployment.tick());
    let release = collected.unwrap();
    let counts: Vec<_> = release
        .buckets
        .iter()
        .map(|bucket| match &bucket.cell {
            Cell::Shown(estimate) => estimate.estimate,
            Cell::Suppressed => panic!("the threshold is 0"),
        })
        .collect();
    assert_eq!(release.buckets[2].campaign.as_deref(), Some("tents"));
    // Five people said no, all of them before a purchase.
    let mut expected = vec![0; 64];
    (expected[0], expected[2], expected[12]) = (5, 5, 10);
    assert_eq!(counts, expected);
    deployment.stop().await;
}
