//! Several roles in one process: what they must not share and what has to agree.

use super::Findings;
use super::role::{View, settled};
use crate::config::Config;
use crate::config::roles::{Collector, Helper, Leader};
use crate::net::auth::TokenHash;

pub(super) fn check(config: &Config, views: &[View<'_>], findings: &mut Findings) {
    for (position, view) in views.iter().enumerate() {
        for other in &views[..position] {
            apart(view, other, findings);
        }
    }
    tokens(config, findings);
    if let (Some(leader), Some(helper)) = (&config.leader, &config.helper) {
        findings.warning(
            "the file",
            "leader and helper run in one process, so that whoever runs it could read every report; for \
             trying out only",
        );
        aggregators(leader, helper, findings);
    }
    if let (Some(leader), Some(collector)) = (&config.leader, &config.collector) {
        let hash = collector.leader.token.hash();
        let known = leader.collector.iter().any(|entry| entry.token_sha256 == hash);
        if collector.leader.endpoint == leader.endpoint && !known {
            findings.error(
                "collector.leader.token",
                "the leader has no collector with this token; its SHA-256 belongs there",
            );
        }
        advertising(leader, collector, findings);
    }
}

/// Tasks that a collector makes for its advertisers have to be ones that this leader takes part in.
fn advertising(leader: &Leader, collector: &Collector, findings: &mut Findings) {
    let Some(advertising) = &collector.advertising else { return };
    if collector.leader.endpoint != leader.endpoint {
        return;
    }
    if advertising.helper != leader.helper.endpoint {
        findings.error(
            "collector.advertising.helper",
            "differs from leader.helper.endpoint, so that no aggregator would take part in the tasks of advertisers; it has to \
             be the same byte for byte",
        );
    }
    let hash = collector.leader.token.hash();
    let known = leader.collector.iter().find(|entry| entry.token_sha256 == hash);
    if let Some(known) = known.filter(|known| known.name != advertising.name) {
        findings.error(
            "collector.advertising.name",
            format_args!("the leader calls this collector {:?}; write that name", known.name),
        );
    }
}

fn apart(view: &View<'_>, other: &View<'_>, findings: &mut Findings) {
    let (role, earlier) = (view.role, other.role);
    let stores = (settled(view.store), settled(other.store));
    if stores.0.starts_with(&stores.1) || stores.1.starts_with(&stores.0) {
        findings.error(
            format!("{role}.store"),
            format_args!("is the {earlier}'s or one lies in the other; give each role its own folder"),
        );
    }
    let watermark = settled(view.watermark);
    if watermark == settled(other.watermark) {
        findings
            .error(format!("{role}.watermark"), format_args!("is the {earlier}'s; give each role its own"));
    }
    if watermark.starts_with(&stores.1) || settled(other.watermark).starts_with(&stores.0) {
        findings.error(
            format!("{role}.watermark"),
            format_args!(
                "a watermark of {role} or {earlier} lies in the other's store; choose a place outside both"
            ),
        );
    }
    if view.listen == other.listen && view.listen.port() != 0 {
        findings.error(format!("{role}.listen"), format_args!("is the {earlier}'s; choose another port"));
    }
    if view.hpke.iter().any(|key| other.hpke.iter().any(|old| old.private_key == key.private_key)) {
        findings.error(
            format!("{role}.hpke"),
            format_args!(
                "shares a private key with the {earlier}, who could then open what is not meant for \
                 it; generate another"
            ),
        );
    }
    if view.id_key.is_some() && view.id_key == other.id_key {
        findings.error(format!("{role}.id_key"), format_args!("is the {earlier}'s; generate another"));
    }
}

/// A token is for one receiver: who receives it could use it elsewhere.
fn tokens(config: &Config, findings: &mut Findings) {
    let mut uses: Vec<(TokenHash, &str, String)> = Vec::new();
    if let Some(leader) = &config.leader {
        let to = leader.helper.endpoint.to_string();
        uses.push((leader.helper.token.hash(), "leader.helper.token", to));
        for collector in &leader.collector {
            let to = leader.endpoint.to_string();
            uses.push((collector.token_sha256, "leader.collector.token_sha256", to));
        }
    }
    if let Some(helper) = &config.helper {
        let to = helper.endpoint.to_string();
        uses.push((helper.leader_token_sha256, "helper.leader_token_sha256", to));
    }
    if let Some(collector) = &config.collector {
        let to = collector.leader.endpoint.to_string();
        uses.push((collector.leader.token.hash(), "collector.leader.token", to));
        uses.push((collector.admin_token_sha256, "collector.admin_token_sha256", "the collector".to_owned()));
    }
    for (position, (hash, key, receiver)) in uses.iter().enumerate() {
        if *key != "leader.collector.token_sha256" && hash.matches("") {
            findings.error(*key, "is the hash of an empty token; make a random token");
        }
        for (other, other_key, other_receiver) in &uses[..position] {
            if hash == other && receiver != other_receiver {
                findings.error(
                    *key,
                    format_args!(
                        "is the token of {other_key} ({other_receiver}) too; make one for each receiver"
                    ),
                );
            }
        }
    }
}

fn aggregators(leader: &Leader, helper: &Helper, findings: &mut Findings) {
    if leader.helper.endpoint != helper.endpoint {
        // The leader works with another helper; the two have nothing to agree on.
        return;
    }
    if helper.leader_endpoint != leader.endpoint {
        findings.error(
            "helper.leader_endpoint",
            "differs from leader.endpoint; it has to be the same byte for byte",
        );
    }
    if helper.leader_token_sha256 != leader.helper.token.hash() {
        findings.error("helper.leader_token_sha256", "is not the SHA-256 of leader.helper.token");
    }
    for secret in &leader.verify_secret {
        let theirs = helper.verify_secret.iter().find(|other| other.id == secret.id);
        if theirs.is_none_or(|theirs| theirs.secret != secret.secret) {
            findings.error(
                format!("helper.verify_secret (id {})", secret.id),
                "differs from the leader's, so that every report would fail verification; use the same",
            );
        }
    }
}
