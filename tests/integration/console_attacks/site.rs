//! A collector with two advertisers, and browsers.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use arras::access::{Password, Scope};
use arras::advertising::Advertising;
use arras::aggregator::ManualClock;
use arras::config::loopback::{Loopback, write_config};
use arras::config::secret::SecretString;
use arras::registry::{
    Advertiser, Cadence, Campaign, EventKind, NewAdvertiser, NewCampaign, Status, Terms, Touches, ValueTerms,
};
use arras::service::{Environment, Listeners, Service};
use reqwest::header::HeaderMap;
use reqwest::{Method, Response, StatusCode};

use crate::demo_console::client;

pub const NOW: u64 = 1_793_617_200;
pub const PASSWORD: &str = "correct horse battery";

/// What every name below is, where it may be.
pub const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";

/// A collector with two advertisers, and a browser without a cookie.
pub struct Site {
    service: Service,
    pub advertising: Advertising,
    pub clock: Arc<ManualClock>,
    pub base: String,
    pub shop: Arc<Advertiser>,
    pub other: Arc<Advertiser>,
    pub campaign: Arc<Campaign>,
    pub foreign: Arc<Campaign>,
    _dir: tempfile::TempDir,
}

/// A browser: its cookies, and what it sends.
pub struct Browser {
    base: String,
    http: reqwest::Client,
    pub cookies: BTreeMap<String, String>,
}

/// An answer, whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

fn new_advertiser(name: &str, site: &str) -> NewAdvertiser {
    NewAdvertiser {
        name: name.parse().unwrap(),
        site: site.to_owned(),
        time_zone: "Europe/Berlin".parse().unwrap(),
        currency: "EUR".parse().unwrap(),
        cadence: Cadence::Day,
        grace_seconds: 7_200,
        events: vec![EventKind::OrderCreated],
        touches: Touches::Together,
        terms: Terms {
            epsilon: "1".parse().unwrap(),
            contributions: NonZeroU32::MIN,
            min_batch_size: 100,
            value: Some(ValueTerms { epsilon: "1".parse().unwrap(), unit: 100, max_value: 500 }),
        },
    }
}

fn new_campaign(name: &str) -> NewCampaign {
    NewCampaign {
        name: name.parse().unwrap(),
        status: Status::Active,
        start: "2026-10-01".parse().unwrap(),
        end: None,
        currency: "EUR".parse().unwrap(),
        goal: EventKind::OrderCreated,
    }
}

impl Site {
    pub fn start() -> Self {
        Self::start_behind(false)
    }

    /// The same, behind a proxy that speaks TLS with browsers or without one.
    pub fn start_behind(tls: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut loopback = Loopback::new("2026-01-05", "10", "").unwrap();
        let toml = loopback.collector.toml.replace("behind_tls = false", &format!("behind_tls = {tls}"));
        std::fs::create_dir_all(dir.path().join("collector/tasks")).unwrap();
        std::fs::create_dir_all(dir.path().join("collector/manifests")).unwrap();
        let config = write_config(&dir.path().join("collector.toml"), &toml).unwrap();
        let listeners = Listeners { collector: loopback.collector.listener.take(), ..Listeners::default() };
        let clock = Arc::new(ManualClock::new(NOW));
        let environment = Environment { clock: Arc::<ManualClock>::clone(&clock), ..Environment::real() };
        let service = Service::start(&config, &environment, listeners).unwrap();
        let advertising = service.advertising().unwrap().clone();
        let registry = &advertising.registry;
        let shop = registry.create_advertiser(new_advertiser(HOSTILE, "shop.example"), NOW).unwrap();
        let other = registry.create_advertiser(new_advertiser("Other", "other.example"), NOW).unwrap();
        let campaign = registry.create_campaign(shop.id, &new_campaign(HOSTILE), NOW).unwrap();
        registry.create_campaign(shop.id, &new_campaign("=1+1"), NOW).unwrap();
        let foreign = registry.create_campaign(other.id, &new_campaign("foreign"), NOW).unwrap();
        let base = loopback.collector.endpoint.trim_end_matches('/').to_owned();
        let site = Self { service, advertising, clock, base, shop, other, campaign, foreign, _dir: dir };
        site.user(&site.shop, "admin@shop.example", Scope::Admin);
        site.user(&site.shop, "manage@shop.example", Scope::Manage);
        site.user(&site.shop, "read@shop.example", Scope::Read);
        site.user(&site.other, "admin@other.example", Scope::Admin);
        site
    }

    fn user(&self, advertiser: &Advertiser, email: &str, scope: Scope) {
        let password = Password::new(SecretString::new(PASSWORD)).unwrap();
        let email = email.parse().unwrap();
        self.advertising.access.create_user(advertiser.id, email, &password, scope, NOW).unwrap();
    }

    pub fn browser(&self) -> Browser {
        Browser::at(&self.base)
    }

    pub async fn signed_in(&self, email: &str) -> Browser {
        let mut browser = self.browser();
        let answer = browser.sign_in(email, PASSWORD).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/console/overview"));
        browser
    }

    pub async fn stop(self) {
        let Self { service, advertising, .. } = self;
        drop(advertising);
        service.stop().await;
    }
}

impl Answer {
    pub fn location(&self) -> &str {
        self.headers.get("location").map_or("", |value| value.to_str().unwrap())
    }

    /// The token in the page's forms.
    pub fn csrf(&self) -> String {
        let (_, rest) =
            self.text.split_once("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("{}", self.text));
        rest.split_once('"').unwrap().0.to_owned()
    }

    pub fn goes_to_sign_in(&self) -> bool {
        self.status == StatusCode::SEE_OTHER && self.location() == "/console/sign-in"
    }

    /// No text of anybody's is markup here.
    pub fn has_no_hostile_markup(&self) -> bool {
        !self.text.contains("<script")
            && !self.text.contains("<img")
            && !self.text.contains("onerror=alert(1)>")
    }
}

impl Browser {
    /// One without a cookie, for a collector's endpoint without a slash at its end.
    pub fn at(base: &str) -> Self {
        Self { base: base.to_owned(), http: client(), cookies: BTreeMap::new() }
    }

    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response: Response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        for cookie in headers.get_all("set-cookie") {
            let text = cookie.to_str().unwrap();
            let (pair, attributes) = text.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    /// Sends a form as a browser does.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_from(path, fields, &[("sec-fetch-site", "same-origin")]).await
    }

    pub async fn post_from(&mut self, path: &str, fields: &[(&str, &str)], from: &[(&str, &str)]) -> Answer {
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        headers.extend_from_slice(from);
        self.send(Method::POST, path, &headers, encoded(fields).into_bytes()).await
    }

    pub async fn upload(&mut self, csrf: &str, file: &[u8]) -> Answer {
        let mut body = Vec::new();
        for (name, content) in [("csrf", csrf.as_bytes()), ("file", file), ("text", b"")] {
            let head = format!("--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--XyZ--\r\n");
        let headers =
            [("content-type", "multipart/form-data; boundary=XyZ"), ("sec-fetch-site", "same-origin")];
        self.send(Method::POST, "/console/delivery", &headers, body).await
    }

    pub async fn sign_in(&mut self, email: &str, password: &str) -> Answer {
        let form = self.get("/console/sign-in").await;
        let csrf = form.csrf();
        let fields = [("csrf", csrf.as_str()), ("email", email), ("password", password)];
        self.post("/console/sign-in", &fields).await
    }

    pub async fn csrf(&mut self) -> String {
        self.get("/console/account").await.csrf()
    }

    pub fn session(&self) -> Option<&str> {
        self.cookies.get("arras_session").map(String::as_str)
    }
}

pub fn encoded(fields: &[(&str, &str)]) -> String {
    let escape = |text: &str| {
        text.bytes().fold(String::new(), |escaped, byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                escaped + &char::from(byte).to_string()
            }
            _ => escaped + &format!("%{byte:02X}"),
        })
    };
    let pairs: Vec<_> =
        fields.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    pairs.join("&")
}
