//! What advertisers ask for, over real HTTP: the answers, and that nobody gets another's.

mod insights;
mod lists;
mod numbers;
pub mod stalled;
mod tenancy;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Deployment, Options};

/// A collector with its administrator.
pub struct Desk {
    pub deployment: Deployment,
    pub url: String,
    pub token: String,
}

/// An answer, read.
#[derive(Debug)]
pub struct Said {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A request that is being made.
pub struct Asking {
    request: reqwest::RequestBuilder,
}

impl Asking {
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn body(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        Self { request: self.request.header("content-type", content_type).body(body) }
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value) }
    }

    pub async fn send(self) -> Said {
        let response = self.request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Said { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    /// The JSON of an answer with this status.
    pub async fn expect(self, status: u16) -> Value {
        let said = self.send().await;
        assert_eq!(said.status, status, "{}", String::from_utf8_lossy(&said.body));
        if said.body.is_empty() { Value::Null } else { said.json() }
    }
}

impl Desk {
    pub async fn start() -> Self {
        let deployment = Deployment::start(Options::default()).await;
        let url = deployment.loopback.collector.endpoint.trim_end_matches('/').to_owned();
        let token = deployment.loopback.admin_token.expose().to_owned();
        Self { deployment, url, token }
    }

    /// A request with a token, or without one.
    pub fn ask(&self, method: &str, path: &str, token: Option<&str>) -> Asking {
        let method: Method = method.parse().unwrap();
        let request = self.deployment.http.request(method, format!("{}{path}", self.url));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        Asking { request }
    }

    pub fn get(&self, path: &str, token: &str) -> Asking {
        self.ask("GET", path, Some(token))
    }

    /// A new advertiser: its path.
    pub async fn advertiser(&self, name: &str) -> String {
        let body = json!({
            "name": name,
            "site": format!("{name}.example"),
            "time_zone": "Europe/Berlin",
            "currency": "EUR",
            "events": ["order_created", "lead_created"],
        });
        let created = self.ask("POST", "/v1/advertisers", Some(&self.token)).json(&body).expect(201).await;
        format!("/v1/advertisers/{}", created["id"].as_str().unwrap())
    }

    /// A new campaign of an advertiser: its id.
    pub async fn campaign(&self, advertiser: &str, name: &str) -> String {
        let body = json!({ "name": name, "start": "2027-01-05" });
        let path = format!("{advertiser}/campaigns");
        let created = self.ask("POST", &path, Some(&self.token)).json(&body).expect(201).await;
        created["id"].as_str().unwrap().to_owned()
    }

    /// A new key of an advertiser.
    pub async fn key(&self, advertiser: &str, scope: &str) -> String {
        let body = json!({ "name": scope, "scope": scope });
        let path = format!("{advertiser}/keys");
        let created = self.ask("POST", &path, Some(&self.token)).json(&body).expect(201).await;
        created["key"].as_str().unwrap().to_owned()
    }
}
