//! The collectors that an aggregator knows, and their budget sources.

use std::collections::HashMap;
use std::time::SystemTime;

use arras_protocol::task::{NAME_BYTES_MAX, is_name};

use super::Findings;
use crate::config::roles::{AnyCollector, Collector, RELEASE_BYTES_MIN};

/// Reports a name that is none: of a budget source it would be refused when the role starts; that of a
/// collector is held to the same rule.
pub(super) fn check_name(key: &str, name: &str, findings: &mut Findings) {
    if !is_name(name.as_bytes()) {
        findings.error(
            key,
            format_args!("a name is 1 to {NAME_BYTES_MAX} visible ASCII characters without spaces"),
        );
    }
}

/// The collector's own key for releases.
pub(super) fn check_signing_key(collector: &Collector, findings: &mut Findings) {
    const KEY: &str = "collector.signing_key";
    match &collector.signing_key {
        None => findings.error(
            KEY,
            "is missing; releases are signed, so add the line that `arras release new-key` prints below [collector]",
        ),
        Some(key) if key.is_placeholder() => {
            findings.error(KEY, "is a placeholder; use the line that `arras release new-key` prints");
        }
        Some(key) if collector.hpke.iter().any(|hpke| hpke.private_key == *key) => {
            findings.error(KEY, "is an HPKE key too; use the line that `arras release new-key` prints");
        }
        Some(_) => (),
    }
}

/// What the collector's store may hold.
pub(super) fn check_limits(collector: &Collector, findings: &mut Findings) {
    if collector.limits.max_store_bytes < RELEASE_BYTES_MIN {
        findings.error(
            "collector.limits.max_store_bytes",
            format_args!("a large release would not fit; choose at least {RELEASE_BYTES_MIN}"),
        );
    }
}

/// What tasks for advertisers are made with.
pub(super) fn check_advertising(collector: &Collector, findings: &mut Findings) {
    const BEHIND_TLS: &str = "collector.advertising.behind_tls";
    let Some(advertising) = &collector.advertising else { return };
    check_name("collector.advertising.name", &advertising.name, findings);
    if advertising.helper == collector.leader.endpoint {
        findings.error("collector.advertising.helper", "is the leader's endpoint; name the helper's");
    }
    match (advertising.behind_tls, &collector.tls) {
        // One that other machines can reach without TLS is an error anyway.
        (None, None) if collector.listen.ip().is_loopback() => findings.warning(
            BEHIND_TLS,
            "is missing, and the collector has no TLS of its own; say true if a proxy on this machine speaks TLS with the console's \
             browsers, so that their cookies go over TLS alone, or false if the console is for browsers on this machine",
        ),
        (Some(true), Some(_)) => findings.warning(
            BEHIND_TLS,
            "says nothing beside [collector.tls]: the collector speaks TLS itself; remove it",
        ),
        _ => (),
    }
}

pub(super) fn check(role: &str, collectors: &[AnyCollector<'_>], now: SystemTime, findings: &mut Findings) {
    if collectors.is_empty() {
        findings.error(format!("{role}.collector"), "nobody could collect; add a collector");
    }
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for (position, collector) in collectors.iter().enumerate() {
        let key = format!("{role}.collector ({:?})", collector.name);
        one(&key, collector, now, findings);
        for other in &collectors[..position] {
            if other.name == collector.name {
                findings.error(&key, "there are two collectors of this name; rename one");
            }
            if other.hpke_config.public_key == collector.hpke_config.public_key {
                findings.error(
                    format!("{key}.hpke_config"),
                    format_args!("{:?} has the same key; each collector needs its own", other.name),
                );
            }
            if other.token.is_some() && other.token == collector.token {
                findings.error(
                    format!("{key}.token_sha256"),
                    format_args!("{:?} has the same token; each collector needs its own", other.name),
                );
            }
        }
        for source in collector.budget_sources {
            if let Some(owner) = owners.insert(&source.name, collector.name) {
                findings.error(
                    format!("{key}.budget_source ({:?})", source.name),
                    format_args!("{owner:?} has it already; a source counted twice would have two budgets"),
                );
            }
        }
    }
}

fn one(key: &str, collector: &AnyCollector<'_>, now: SystemTime, findings: &mut Findings) {
    check_name(key, collector.name, findings);
    if collector.hpke_config.public_key.as_bytes() == &[0; 32] {
        findings.error(
            format!("{key}.hpke_config"),
            "its public key is zero; ask the collector for the right one",
        );
    }
    if collector.token.is_some_and(|token| token.matches("")) {
        findings.error(format!("{key}.token_sha256"), "is the hash of an empty token; make a random token");
    }
    if collector.budget_sources.is_empty() {
        findings.error(
            format!("{key}.budget_source"),
            "without a source it may not collect anything that has one; add one",
        );
    }
    for source in collector.budget_sources {
        let key = format!("{key}.budget_source ({:?})", source.name);
        check_name(&key, &source.name, findings);
        let caps = source.task_cap.iter().chain(source.task_caps.values());
        if caps.max().is_some_and(|task_cap| *task_cap >= source.cap) {
            findings.warning(
                format!("{key}.task_cap"),
                "a task may spend as much as the whole source, so that its own cap refuses nothing; lower it or leave it out",
            );
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if source.epoch_start.unix_seconds() > now {
            findings.warning(
                format!("{key}.epoch_start"),
                "lies in the future, and windows before it cannot be collected; choose a day before the first window",
            );
        }
    }
}
