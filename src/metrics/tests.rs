#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::middleware::from_fn_with_state;
use axum::routing::get;

use super::roles::WATCHED;
use super::*;
use crate::net::problem::{DapError, OwnError};

/// Of each series its type and the names of its labels.
type Series = BTreeMap<String, (String, BTreeSet<String>)>;

/// What the text that is scraped has.
fn scraped(text: &str) -> Series {
    let mut series = Series::new();
    let mut kind = (String::new(), String::new());
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, of) = described.split_once(' ').unwrap();
            kind = (name.to_owned(), of.to_owned());
        } else if !line.starts_with('#') {
            let name = match kind.1.as_str() {
                "counter" => format!("{}_total", kind.0),
                "info" => format!("{}_info", kind.0),
                _ => kind.0.clone(),
            };
            assert!(line.starts_with(&name), "{line} is no series of {name}");
            let labels =
                line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |of| of.0);
            let names = labels.split("\",").filter(|label| !label.is_empty());
            let names = names.map(|label| label.split_once('=').unwrap().0.to_owned());
            let entry = series.entry(name).or_insert_with(|| (kind.1.clone(), BTreeSet::new()));
            entry.1.extend(names.filter(|name| name != "le"));
        }
    }
    series
}

/// What the table in the documentation says.
fn documented() -> Series {
    let text = include_str!("../../docs/metrics.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let of_series = |row: &Vec<&str>| ["counter", "gauge", "histogram", "info"].contains(&row[1]);
    rows.filter(of_series)
        .map(|row| {
            let labels = row[2].split_whitespace().map(str::to_owned).collect();
            (row[0].trim_end_matches('`').to_owned(), (row[1].to_owned(), labels))
        })
        .collect()
}

/// Metrics of a process that plays all roles and was asked for something.
async fn of_all_roles() -> Metrics {
    let metrics = Metrics::new();
    let _ = (metrics.leader(), metrics.helper(), metrics.collector(), metrics.store("leader"));
    let _ = metrics.schedule();
    metrics.set_store("leader", 1, 2, 3);
    metrics.set_bodies("leader", (1, 2));
    metrics.set_tasks("leader", 1);
    let http = metrics.http("leader");
    let router = Router::new().route("/below/hpke_config", get(async || "")).fallback(async || "");
    let router = router.layer(from_fn_with_state(http, observe));
    for (method, path) in [("GET", "/below/hpke_config"), ("GET", "/a/secret/path"), ("BREW", "/hpke_config")]
    {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        tower_service::Service::call(&mut router.clone(), request).await.unwrap();
    }
    metrics
}

/// Dashboards and alerts are built from the table.
#[tokio::test]
async fn what_is_documented_is_what_there_is() {
    let text = of_all_roles().await.encode().unwrap();
    assert!(documented().len() >= 30, "the table is not found");
    assert_eq!(scraped(&text), documented(), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn requests_count_under_their_template() {
    let text = of_all_roles().await.encode().unwrap();
    let counted = |route: &str, method: &str, status: &str| {
        let labels = format!("role=\"leader\",route=\"{route}\",method=\"{method}\",status=\"{status}\"");
        text.contains(&format!("arras_http_requests_total{{{labels}}} 1\n"))
    };
    assert!(counted("/hpke_config", "GET", "4xx") || counted("/hpke_config", "GET", "2xx"), "{text}");
    assert!(counted("none", "GET", "2xx") && counted("none", "other", "2xx"), "{text}");
    assert!(!text.contains("secret") && !text.contains("BREW"), "{text}");
}

/// A router's routes are in [`http::ROUTES`], or requests for them would count as `none`.
#[test]
fn every_route_has_a_label() {
    let sources = [
        include_str!("../aggregator/leader/http.rs"),
        include_str!("../aggregator/helper/http.rs"),
        include_str!("../collector/http.rs"),
        include_str!("../api/routes.rs"),
        include_str!("../console/mod.rs"),
    ];
    let routes: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.split(".route(").skip(1))
        .filter_map(|rest| Some(rest.trim_start().strip_prefix('"')?.split_once('"')?.0))
        .collect();
    assert_eq!(routes, http::ROUTES.iter().copied().collect());
}

#[test]
fn reasons_are_the_standards_and_ours() {
    let leader = LeaderMetrics::default();
    for error in arras_protocol::messages::ReportError::ALL {
        leader.refused.count(error);
    }
    let counted = leader.refused.values();
    assert_eq!(counted.len(), arras_protocol::messages::ReportError::ALL.len());
    assert!(counted.iter().all(|(_, count)| *count == 1));
    let tokens: BTreeSet<&str> = DapError::ALL
        .iter()
        .map(|error| error.token())
        .chain(OwnError::ALL.iter().map(|error| error.token()))
        .collect();
    assert!(WATCHED.iter().all(|reason| tokens.contains(reason)));
}

#[test]
fn what_is_read_at_a_scrape_is_read_each_time() {
    let metrics = Metrics::new();
    let looks = std::sync::atomic::AtomicUsize::new(0);
    metrics.at_scrape(move |metrics| {
        let look = looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        metrics.set_tasks("leader", look);
    });
    for look in 1..=2 {
        let text = metrics.encode().unwrap();
        assert!(text.contains(&format!("arras_tasks{{role=\"leader\"}} {look}\n")), "{text}");
    }
}
