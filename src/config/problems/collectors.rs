//! The collectors that an aggregator knows, and their budget sources.

use std::collections::HashMap;

use super::Findings;
use crate::config::keys::HpkeConfig;
use crate::config::roles::{BudgetSource, HelperCollector, LeaderCollector};
use crate::net::auth::TokenHash;

/// A name travels in task configurations, where it has a length of one byte.
const NAME_BYTES_MAX: usize = 255;

/// What leader and helper know alike.
pub(super) struct View<'a> {
    name: &'a str,
    token: Option<TokenHash>,
    hpke: &'a HpkeConfig,
    sources: &'a [BudgetSource],
}

impl<'a> From<&'a LeaderCollector> for View<'a> {
    fn from(collector: &'a LeaderCollector) -> Self {
        View {
            name: &collector.name,
            token: Some(collector.token_sha256),
            hpke: &collector.hpke_config,
            sources: &collector.budget_source,
        }
    }
}

impl<'a> From<&'a HelperCollector> for View<'a> {
    fn from(collector: &'a HelperCollector) -> Self {
        View {
            name: &collector.name,
            token: None,
            hpke: &collector.hpke_config,
            sources: &collector.budget_source,
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn check<'a>(role: &str, collectors: impl Iterator<Item = View<'a>>, findings: &mut Findings) {
    let collectors: Vec<View<'a>> = collectors.collect();
    if collectors.is_empty() {
        findings.error(format!("{role}.collector"), "nobody could collect; add a collector");
    }
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for (position, collector) in collectors.iter().enumerate() {
        let key = format!("{role}.collector ({:?})", collector.name);
        one(&key, collector, findings);
        for other in &collectors[..position] {
            if other.name == collector.name {
                findings.error(&key, "there are two collectors of this name; rename one");
            }
            if other.hpke.public_key == collector.hpke.public_key {
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
        for source in collector.sources {
            if let Some(owner) = owners.insert(&source.name, collector.name) {
                findings.error(
                    format!("{key}.budget_source ({:?})", source.name),
                    format_args!("{owner:?} has it already; a source counted twice would have two budgets"),
                );
            }
        }
    }
}

fn one(key: &str, collector: &View<'_>, findings: &mut Findings) {
    if !is_name(collector.name) {
        findings.error(key, "a name is 1 to 255 visible ASCII characters without spaces");
    }
    if collector.hpke.public_key.as_bytes() == &[0; 32] {
        findings.error(
            format!("{key}.hpke_config"),
            "its public key is zero; ask the collector for the right one",
        );
    }
    if collector.token.is_some_and(|token| token.matches("")) {
        findings.error(format!("{key}.token_sha256"), "is the hash of an empty token; make a random token");
    }
    if collector.sources.is_empty() {
        findings.error(
            format!("{key}.budget_source"),
            "without a source it may not collect anything that has one; add one",
        );
    }
    for source in collector.sources {
        if !is_name(&source.name) {
            findings.error(
                format!("{key}.budget_source ({:?})", source.name),
                "a name is 1 to 255 visible ASCII characters without spaces",
            );
        }
    }
}
