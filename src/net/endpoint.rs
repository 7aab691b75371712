//! An aggregator's base URL (DAP-18 section 4.2), kept byte for byte as written.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;
use serde::{Deserialize, Deserializer, de};

/// taskprov carries an endpoint in a field of at most 2^16-1 bytes; real ones are
/// short, and every TaskConfiguration and every report's associated data holds two.
const ENDPOINT_BYTES_MAX: usize = 1024;

/// Why a text is no endpoint.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not an absolute http or https URL in printable ASCII.
    #[error("an endpoint is an absolute URL in ASCII such as https://leader.example.com/")]
    NotAbsolute,
    /// Too long for a TaskConfiguration.
    #[error("an endpoint has at most 1024 characters")]
    TooLong,
    /// A user name or password in it.
    #[error(
        "an endpoint carries no user name or password; put the token where the configuration has a key for it"
    )]
    UserInfo,
    /// A query or fragment in it.
    #[error("an endpoint has no query (?) and no fragment (#); resources are found below its path")]
    QueryOrFragment,
    /// Plain http to another machine.
    #[error("plain http is for a loopback address only, such as http://127.0.0.1:8080/; use https")]
    PlainHttp,
}

/// An endpoint. Two endpoints are equal only if their bytes are, since the bytes
/// are part of the task id; `localhost` is no loopback address, as it is a name
/// that somebody resolves.
#[derive(Clone)]
pub struct Endpoint {
    text: String,
    url: Url,
}

impl Endpoint {
    /// The text, byte for byte.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The host as a certificate names it: without brackets around an IPv6 address.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The path without a slash at its end; where a server mounts its resources.
    /// Empty if the endpoint is the root.
    pub fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// `scheme://host:port`, to say to whom a token belongs.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The URL of a resource.
    ///
    /// `reference` is a path below the endpoint without a slash at its front
    /// (`tasks/...`), or what a Location header holds: an absolute path or URL.
    /// None if the result is not below this endpoint, however it was written.
    pub fn resource(&self, reference: &str) -> Option<Url> {
        let mut base = self.url.clone();
        base.set_path(&format!("{}/", self.path()));
        let url = base.join(reference).ok()?;
        self.owns(&url).then_some(url)
    }

    /// Whether a URL lies below this endpoint: same origin, path below its path,
    /// no user name, password or fragment.
    pub fn owns(&self, url: &Url) -> bool {
        let below = url.path().strip_prefix(self.path()).is_some_and(|rest| rest.starts_with('/'));
        let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        // An encoded dot or slash could be decoded into a way out of the path by a server.
        let path = url.path().to_ascii_lowercase();
        let plain = !path.contains("%2e") && !path.contains("%2f") && !path.contains("%5c");
        url.origin() == self.url.origin() && below && bare && plain
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.len() > ENDPOINT_BYTES_MAX {
            return Err(EndpointError::TooLong);
        }
        // The parser would repair spaces, tabs, backslashes and missing slashes; an
        // endpoint that needs repair is not what its author thinks it is.
        let written = text.starts_with("http://") || text.starts_with("https://");
        if !written || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(EndpointError::NotAbsolute);
        }
        let url = Url::parse(text).map_err(|_| EndpointError::NotAbsolute)?;
        if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
            return Err(EndpointError::UserInfo);
        }
        if text.contains(['?', '#']) {
            return Err(EndpointError::QueryOrFragment);
        }
        let endpoint = Self { text: text.to_owned(), url };
        let loopback = IpAddr::from_str(endpoint.host()).is_ok_and(|address| address.is_loopback());
        if !endpoint.is_https() && !loopback {
            return Err(EndpointError::PlainHttp);
        }
        Ok(endpoint)
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Endpoint {}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.text).finish()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_an_endpoint() {
        for right in [
            "https://leader.example.com/",
            "https://leader.example.com:8443/api/dap",
            "http://127.0.0.1:8080/",
            "http://127.8.0.1",
            "http://[::1]:8080/",
        ] {
            assert_eq!(right.parse::<Endpoint>().unwrap().as_str(), right);
        }
        for (wrong, why) in [
            ("", EndpointError::NotAbsolute),
            ("/tasks", EndpointError::NotAbsolute),
            ("ftp://a.example/", EndpointError::NotAbsolute),
            ("https:a.example/", EndpointError::NotAbsolute),
            ("https://a.example/\\x", EndpointError::NotAbsolute),
            ("https://a.example/ ", EndpointError::NotAbsolute),
            ("https://u:p@a.example/", EndpointError::UserInfo),
            ("https://@a.example/", EndpointError::UserInfo),
            ("https://a.example/?", EndpointError::QueryOrFragment),
            ("https://a.example/?x=1", EndpointError::QueryOrFragment),
            ("https://a.example/#x", EndpointError::QueryOrFragment),
            ("http://a.example/", EndpointError::PlainHttp),
            ("http://localhost:8080/", EndpointError::PlainHttp),
            ("http://192.0.2.1/", EndpointError::PlainHttp),
            ("http://127.0.0.1.example/", EndpointError::PlainHttp),
            ("http://0.0.0.0/", EndpointError::PlainHttp),
        ] {
            assert_eq!(wrong.parse::<Endpoint>().unwrap_err(), why, "{wrong}");
        }
    }

    #[test]
    fn bytes_decide_about_equality() {
        let parse = |text: &str| text.parse::<Endpoint>().unwrap();
        assert_ne!(parse("https://a.example"), parse("https://a.example/"));
        assert_ne!(parse("https://a.example/"), parse("https://a.example:443/"));
        assert_eq!(parse("https://a.example:443/").origin(), parse("https://a.example").origin());
    }

    #[test]
    fn resources_stay_below_the_endpoint() {
        let endpoint: Endpoint = "https://a.example/api/dap".parse().unwrap();
        for (reference, url) in [
            ("hpke_config", "https://a.example/api/dap/hpke_config"),
            ("tasks/x/reports?step=1", "https://a.example/api/dap/tasks/x/reports?step=1"),
            ("/api/dap/tasks/x", "https://a.example/api/dap/tasks/x"),
            ("https://a.example:443/api/dap/tasks/x", "https://a.example/api/dap/tasks/x"),
        ] {
            assert_eq!(endpoint.resource(reference).unwrap().as_str(), url);
        }
        for outside in [
            "/tasks/x",
            "../x",
            "/api/dapper/x",
            "/api/dap",
            "//b.example/api/dap/x",
            "https://b.example/api/dap/x",
            "https://a.example:444/api/dap/x",
            "http://a.example/api/dap/x",
            "https://u@a.example/api/dap/x",
            "%2e%2e/x",
            "tasks/%2E%2E%2F%2E%2E/x",
            "x#y",
            "mailto:x",
        ] {
            assert!(endpoint.resource(outside).is_none(), "{outside}");
        }
        let root: Endpoint = "http://127.0.0.1:1/".parse().unwrap();
        assert_eq!(root.resource("x").unwrap().as_str(), "http://127.0.0.1:1/x");
    }
}
