//! The main pages as they are served, by the console's own router on a collector that was just set up.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use jiff::civil::date;
use tower_service::Service as _;

use super::check::usable;
use super::signed_in;
use crate::access::{Password, Scope, csrf_of};
use crate::advertising::Advertising;
use crate::aggregator::ManualClock;
use crate::config::loopback::{Loopback, write_config};
use crate::config::secret::SecretString;
use crate::console::session::Console;
use crate::console::turn::in_turn;
use crate::registry::{Advertiser, CampaignId, DeliveryRow, Status, fixture};
use crate::service::{Environment, Listeners, Service};
use crate::turns::{HEAVY_AT_ONCE, PAGES_PER_ADVERTISER};

/// A day after the fixture's campaigns begin.
const NOW: u64 = fixture::NOW + 86_400;

const PASSWORD: &str = "correct horse battery";

struct Site {
    service: Service,
    advertising: Advertising,
    router: Router,
    shop: Arc<Advertiser>,
    _dir: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    location: String,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Site {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("collector/tasks")).unwrap();
        let mut loopback = Loopback::new("2026-01-05", "10", "").unwrap();
        let config = write_config(&dir.path().join("collector.toml"), &loopback.collector.toml).unwrap();
        let listeners = Listeners { collector: loopback.collector.listener.take(), ..Listeners::default() };
        let environment = Environment { clock: Arc::new(ManualClock::new(NOW)), ..Environment::real() };
        let service = Service::start(&config, &environment, listeners).unwrap();
        let advertising = service.advertising().unwrap().clone();
        let router = crate::console::router(advertising.clone(), false);
        let shop = advertising.registry.create_advertiser(fixture::shop("Shop"), NOW).unwrap();
        Self { service, advertising, router, shop, _dir: dir }
    }

    /// The cookie of somebody who signed in.
    fn session(&self, advertiser: &Advertiser, email: &str, scope: Scope) -> String {
        let access = &self.advertising.access;
        let password = || SecretString::new(PASSWORD);
        access
            .create_user(
                advertiser.id,
                email.parse().unwrap(),
                &Password::new(password()).unwrap(),
                scope,
                NOW,
            )
            .unwrap();
        access.sign_in(email, &password(), None, NOW).unwrap().token.expose().to_owned()
    }

    async fn send(&self, method: Method, path: &str, session: &str, form: &[(&str, &str)]) -> Answer {
        let written = |text: &str| text.replace('%', "%25").replace('&', "%26").replace(' ', "+");
        let fields = form.iter().map(|(name, value)| format!("{name}={}", written(value)));
        let fields: Vec<_> = std::iter::once(format!("csrf={}", csrf_of(session))).chain(fields).collect();
        let mut request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(header::COOKIE, format!("arras_session={session}"));
        if method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let body = if method == Method::POST { Body::from(fields.join("&")) } else { Body::empty() };
        let response = self.router.clone().call(request.body(body).unwrap()).await.unwrap();
        let headers = response.headers().clone();
        let location = headers.get(header::LOCATION).map_or("", |value| value.to_str().unwrap()).to_owned();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, location, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str, session: &str) -> Answer {
        self.send(Method::GET, path, session, &[]).await
    }

    async fn stop(self) {
        let Self { service, advertising, router, .. } = self;
        drop((advertising, router));
        service.stop().await;
    }
}

fn pages(campaign: CampaignId) -> Vec<String> {
    let ranges =
        ["", "?days=7", "?days=90", "?from=2026-01-01&to=2026-11-03", "?from=x&to=%00", "?days=1&days=2"];
    let mut pages: Vec<String> = ["/console/campaigns/new".to_owned(), "/console/help".to_owned()].to_vec();
    for range in ranges {
        pages.push(format!("/console/overview{range}"));
        pages.push(format!("/console/campaigns{range}"));
        pages.push(format!("/console/campaigns/{campaign}{range}"));
    }
    pages.push(format!("/console/campaigns/{campaign}?by=week"));
    pages.push(format!("/console/campaigns/{campaign}/edit"));
    pages.push("/console/campaigns?sort=roas&order=asc&page=-1".to_owned());
    pages
}

const FORM: [(&str, &str); 6] = [
    ("name", "Summer & sun"),
    ("status", "active"),
    ("start", "2026-11-01"),
    ("end", ""),
    ("currency", "EUR"),
    ("goal", "order_created"),
];

fn with<'a>(name: &str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    FORM.into_iter().map(|(field, was)| (field, if field == name { value } else { was })).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_usable_from_the_first_day_on() {
    let site = Site::start();
    let session = site.session(&site.shop, "ada@shop.example", Scope::Admin);
    let nothing = CampaignId::from_bytes([9; 12]);
    for path in ["/console/overview", "/console/campaigns"] {
        let answer = site.get(path, &session).await;
        assert_eq!(answer.status, StatusCode::OK);
        usable(&answer.text);
        assert!(answer.text.contains("No campaign yet") && answer.text.contains("/console/campaigns/new"));
    }
    for path in pages(nothing) {
        let answer = site.get(&path, "").await;
        assert_eq!(
            (answer.status, answer.location.as_str()),
            (StatusCode::SEE_OTHER, "/console/sign-in"),
            "{path}"
        );
    }
    let registry = &site.advertising.registry;
    let campaign = registry.create_campaign(site.shop.id, &fixture::campaign("Spring"), NOW).unwrap().id;
    let day =
        DeliveryRow { campaign, day: date(2026, 11, 1), impressions: 70_000, clicks: 1_234, spend: 123_450 };
    registry.upsert_delivery(site.shop.id, &[day], true, NOW).unwrap();
    for path in pages(campaign) {
        let answer = site.get(&path, &session).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store", "{path}");
        usable(&answer.text);
    }
    let page = site.get(&format!("/console/campaigns/{campaign}"), &session).await.text;
    for part in ["1,234.50", "70,000", "1.76%", "invented", "No numbers of these days yet"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let file = site.get("/console/campaigns.csv?days=7", &session).await;
    assert_eq!(file.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8; header=present");
    let disposition = "attachment; filename=\"campaigns-2026-10-27-to-2026-11-02.csv\"";
    assert_eq!(file.headers[header::CONTENT_DISPOSITION], disposition);
    assert!(file.text.contains("Spring") && file.text.contains("1234.50") && file.text.lines().count() == 2);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_created_and_changed_by_whoever_may() {
    let site = Site::start();
    let session = site.session(&site.shop, "ada@shop.example", Scope::Manage);
    let reader = site.session(&site.shop, "bob@shop.example", Scope::Read);
    let (post, new) = (Method::POST, "/console/campaigns/new");
    let created = site.send(post.clone(), new, &session, &FORM).await;
    assert_eq!(created.status, StatusCode::SEE_OTHER, "{}", created.text);
    let page = site.get(&created.location, &session).await;
    assert!(page.text.contains("The campaign was created") && page.text.contains("Summer &amp; sun"));
    let campaigns = || site.advertising.registry.campaigns(site.shop.id);
    let id = campaigns()[0].id;
    for (field, value, says) in [
        ("name", "Summer & sun", "id=\"name-problem\">There is a campaign called Summer &amp; sun already"),
        ("name", " ", "A name has 1 to 100 characters"),
        ("start", "today", "A day is written as 2026-11-24."),
        ("end", "2026-10-01", "The last day is before the first."),
        ("goal", "page_viewed", "is not counted for this advertiser"),
        ("status", "<script>", "Choose a status"),
    ] {
        let refused = site.send(post.clone(), new, &session, &with(field, value)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}");
        usable(&refused.text);
        assert!(refused.text.contains(says), "{field}: {}", refused.text);
        assert!(refused.text.contains("value=\"2026-11-01\"") || field == "start", "what was typed stays");
    }
    assert_eq!(campaigns().len(), 1);
    let edit = format!("/console/campaigns/{id}/edit");
    let mut changed = with("status", "paused");
    changed[0].1 = "Another name";
    assert_eq!(site.send(post.clone(), &edit, &session, &changed).await.status, StatusCode::SEE_OTHER);
    assert_eq!((campaigns()[0].status, campaigns()[0].name.as_str()), (Status::Paused, "Summer & sun"));
    let refused = site.send(post.clone(), &edit, &session, &with("end", "x")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    // Whoever may only read is shown no button, no form, and changes nothing.
    let list = site.get("/console/campaigns", &reader).await;
    assert!(list.status == StatusCode::OK && !list.text.contains("/console/campaigns/new"));
    assert_eq!(site.get(new, &reader).await.status, StatusCode::FORBIDDEN);
    assert_eq!(site.get(&edit, &reader).await.status, StatusCode::FORBIDDEN);
    for path in [new, edit.as_str()] {
        let answer = site.send(post.clone(), path, &reader, &with("name", "Mine")).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        usable(&answer.text);
    }
    assert_eq!((campaigns().len(), campaigns()[0].status), (1, Status::Paused));
    site.stop().await;
}

/// Somebody who may only read asked for the overview over and over and hung up each time: the work went on, and took every thread
/// that calls block on, of all advertisers and of the collector itself.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_one_advertiser_leave_the_others_theirs() {
    let site = Site::start();
    let registry = &site.advertising.registry;
    let other = registry.create_advertiser(fixture::shop("Other"), NOW).unwrap();
    let session = site.session(&site.shop, "ada@shop.example", Scope::Read);
    let theirs = site.session(&other, "bob@other.example", Scope::Read);
    let campaign = registry.create_campaign(site.shop.id, &fixture::campaign("Spring"), NOW).unwrap().id;
    let turns = &site.advertising.turns;
    let held: Vec<_> = (0..PAGES_PER_ADVERTISER).map(|_| turns.page(site.shop.id).unwrap()).collect();
    for path in [
        "/console/overview",
        "/console/campaigns",
        "/console/campaigns.csv",
        &format!("/console/campaigns/{campaign}"),
        "/console/budget",
        "/console/releases",
        "/console/releases/1",
        "/console/releases/1/signed",
        "/console/planner?campaigns=a+%3D+7",
    ] {
        let refused = site.get(path, &session).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(refused.headers[header::RETRY_AFTER], "2", "{path}");
        usable(&refused.text);
        let answer = site.get(path, &theirs).await;
        assert_ne!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    // A form waits for nobody: it asked for a place of its own once, and what was typed was lost where there was none.
    let manager = site.session(&site.shop, "mia@shop.example", Scope::Manage);
    for path in ["/console/campaigns/new", &format!("/console/campaigns/{campaign}/edit")] {
        assert_eq!(site.get(path, &manager).await.status, StatusCode::OK, "{path}");
    }
    drop(held);
    assert_eq!(site.get("/console/overview", &session).await.status, StatusCode::OK);

    // A turn is kept until the work has ended, also when nobody waits for it any more.
    let console = Console::new(site.advertising.clone(), false);
    let me = signed_in("Shop", Scope::Read);
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let (begun, started) = tokio::sync::oneshot::channel();
    let page = in_turn(&console, &me, move || {
        begun.send(()).unwrap();
        wait.recv().unwrap();
    });
    tokio::select! {
        biased;
        _ = page => panic!("it waits"),
        started = started => started.unwrap(),
    }
    assert_eq!(turns.free(), HEAVY_AT_ONCE - 1);
    go_on.send(()).unwrap();
    while turns.free() < HEAVY_AT_ONCE {
        tokio::task::yield_now().await;
    }
    drop(console);
    site.stop().await;
}

/// Some of these were answered with a line of a library's: no page, and no way back.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_makes_no_sense_is_answered_with_a_page() {
    let site = Site::start();
    let session = site.session(&site.shop, "ada@shop.example", Scope::Admin);
    for (path, status) in [
        ("/console/account?done=a&done=b", StatusCode::OK),
        ("/console/account?done=%ff", StatusCode::OK),
        ("/console/budget?before=x", StatusCode::OK),
        ("/console/releases?before=-1", StatusCode::OK),
        ("/console/campaigns/%ff", StatusCode::NOT_FOUND),
        ("/console/campaigns/%ff/edit", StatusCode::NOT_FOUND),
        ("/console/releases/%ff", StatusCode::NOT_FOUND),
        ("/console/releases/%ff/signed", StatusCode::NOT_FOUND),
        ("/console/%ff", StatusCode::NOT_FOUND),
    ] {
        let answer = site.get(path, &session).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        usable(&answer.text);
        // A page that is no part of the console is not marked as one.
        let marked = answer.text.contains("aria-current");
        assert_eq!(marked, status == StatusCode::OK, "{path}");
    }
    usable(&site.get("/console/sign-in?because=a&because=b", "").await.text);
    for (path, form, status) in [
        ("/console/account/users/%ff/remove", &[][..], StatusCode::NOT_FOUND),
        ("/console/account/keys/%ff/revoke", &[], StatusCode::NOT_FOUND),
        ("/console/campaigns/%ff/edit", &[], StatusCode::NOT_FOUND),
        ("/console/campaigns/new", &[("name", "a"), ("name", "b")], StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let answer = site.send(Method::POST, path, &session, form).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        usable(&answer.text);
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_of_another_advertiser_is_one_that_never_was() {
    let site = Site::start();
    let registry = &site.advertising.registry;
    let session = site.session(&site.shop, "ada@shop.example", Scope::Admin);
    let other = registry.create_advertiser(fixture::shop("Other"), NOW).unwrap();
    let foreign = registry.create_campaign(other.id, &fixture::campaign("Theirs"), NOW).unwrap().id;
    let none = CampaignId::from_bytes([9; 12]);
    for suffix in ["", "?days=7", "/edit"] {
        let path = |id: &str| format!("/console/campaigns/{id}{suffix}");
        let theirs = site.get(&path(&foreign.to_string()), &session).await;
        let never = site.get(&path(&none.to_string()), &session).await;
        let wrong = site.get(&path("x"), &session).await;
        assert_eq!(theirs.status, StatusCode::NOT_FOUND, "{suffix}");
        usable(&theirs.text);
        assert!(theirs.text == never.text && theirs.text == wrong.text, "{suffix}");
    }
    let edit = format!("/console/campaigns/{foreign}/edit");
    let answer = site.send(Method::POST, &edit, &session, &with("status", "ended")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(registry.campaign(other.id, foreign).unwrap().status, Status::Active);
    for path in ["/console/overview", "/console/campaigns", "/console/campaigns.csv"] {
        assert!(!site.get(path, &session).await.text.contains("Theirs"), "{path}");
    }
    site.stop().await;
}
