//! Each role by itself: paths, listening, keys, certificates, its peer, limits.

use std::fs;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use super::{Findings, OTHERS};
use crate::config::keys::HpkeKey;
use crate::config::roles::{
    BODY_BYTES_MAX, BODY_BYTES_MIN, CLOCK_SKEW_SECONDS_MAX, JOB_SIZE_MAX, Limits, Peer, Tls, VerifySecret,
};
use crate::config::secret::Secret;
use crate::config::values::Pem;
use crate::config::{Config, permission_bits};
use crate::net::auth::TOKEN_CHARACTERS_MIN;
use crate::net::endpoint::Endpoint;
use crate::net::tls::{self, TlsError};
use crate::store::{INTAKE_RESERVE_BYTES, free_bytes};

/// What roles have in common.
pub(super) struct View<'a> {
    pub(super) role: &'static str,
    pub(super) endpoint: Option<&'a Endpoint>,
    pub(super) listen: SocketAddr,
    pub(super) store: &'a Path,
    pub(super) watermark: &'a Path,
    pub(super) tasks: &'a Path,
    pub(super) hpke: &'a [HpkeKey],
    pub(super) tls: Option<&'a Tls>,
    pub(super) peer: Option<(&'static str, &'a Peer)>,
    pub(super) id_key: Option<&'a Secret<32>>,
    pub(super) verify_secret: Option<&'a [VerifySecret]>,
    pub(super) limits: Option<&'a Limits>,
}

/// The roles of a configuration, in the order leader, helper, collector.
pub(super) fn views(config: &Config) -> Vec<View<'_>> {
    let leader = config.leader.iter().map(|leader| View {
        role: "leader",
        endpoint: Some(&leader.endpoint),
        listen: leader.listen,
        store: &leader.store,
        watermark: &leader.watermark,
        tasks: &leader.tasks,
        hpke: &leader.hpke,
        tls: leader.tls.as_ref(),
        peer: Some(("leader.helper", &leader.helper)),
        id_key: Some(&leader.id_key),
        verify_secret: Some(&leader.verify_secret),
        limits: Some(&leader.limits),
    });
    let helper = config.helper.iter().map(|helper| View {
        role: "helper",
        endpoint: Some(&helper.endpoint),
        listen: helper.listen,
        store: &helper.store,
        watermark: &helper.watermark,
        tasks: &helper.tasks,
        hpke: &helper.hpke,
        tls: helper.tls.as_ref(),
        peer: None,
        id_key: Some(&helper.id_key),
        verify_secret: Some(&helper.verify_secret),
        limits: Some(&helper.limits),
    });
    let collector = config.collector.iter().map(|collector| View {
        role: "collector",
        endpoint: None,
        listen: collector.listen,
        store: &collector.store,
        watermark: &collector.watermark,
        tasks: &collector.tasks,
        hpke: &collector.hpke,
        tls: collector.tls.as_ref(),
        peer: Some(("collector.leader", &collector.leader)),
        id_key: None,
        verify_secret: None,
        limits: None,
    });
    leader.chain(helper).chain(collector).collect()
}

pub(super) fn check(view: &View<'_>, now: SystemTime, findings: &mut Findings) {
    paths(view, findings);
    listening(view, findings);
    keys(view, findings);
    certificate(view, now, findings);
    if let Some((key, peer)) = view.peer {
        check_peer(key, peer, view.endpoint, now, findings);
    }
    if let Some(limits) = view.limits {
        check_limits(view.role, limits, findings);
    }
}

fn paths(view: &View<'_>, findings: &mut Findings) {
    let role = view.role;
    let (store, watermark) = (settled(view.store), settled(view.watermark));
    if watermark.starts_with(&store) {
        findings.error(
            format!("{role}.watermark"),
            "lies inside the store, so that a restored backup would bring its own; choose a place outside \
             the store and its backups",
        );
    } else if view.watermark.is_dir() {
        findings.error(format!("{role}.watermark"), "is a folder; name a file");
    }
    if view.store.exists() && !view.store.is_dir() {
        findings.error(format!("{role}.store"), "is no folder; name a folder for it");
    }
    // A file system that does not tell is no problem of the configuration.
    room(role, free_bytes(view.store).unwrap_or(u64::MAX), findings);
    if !view.tasks.is_dir() {
        let folder = view.tasks.display();
        findings.error(format!("{role}.tasks"), format_args!("is no folder; run: mkdir -p {folder}"));
    }
}

/// Below its reserve a store takes nothing in, and below half of it the role does not start.
fn room(role: &str, free: u64, findings: &mut Findings) {
    if free < INTAKE_RESERVE_BYTES {
        let (free, reserve) = (free >> 20, INTAKE_RESERVE_BYTES >> 20);
        findings.warning(
            format!("{role}.store"),
            format_args!(
                "{free} MiB are free there and {reserve} MiB are kept in reserve, so that everything would be \
                 answered with 503; choose a larger disk"
            ),
        );
    }
}

/// An absolute path without `..`, with links followed as far as it exists.
pub(super) fn settled(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match part {
            Component::ParentDir => {
                // Links before `..` matter, so they are followed first.
                plain = plain.canonicalize().unwrap_or(plain);
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    for ancestor in plain.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), plain.strip_prefix(ancestor)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    plain
}

fn listening(view: &View<'_>, findings: &mut Findings) {
    let role = view.role;
    let loopback = view.listen.ip().is_loopback();
    if view.tls.is_none() && !loopback {
        findings.error(
            format!("{role}.listen"),
            format_args!(
                "other machines can reach this address without TLS; add [{role}.tls] or listen on 127.0.0.1"
            ),
        );
    }
    match view.endpoint {
        Some(endpoint) if endpoint.is_https() && view.tls.is_none() && loopback => findings.warning(
            format!("{role}.tls"),
            "is missing although the endpoint is https; a proxy on this machine has to terminate TLS, and \
             sees every token",
        ),
        Some(endpoint) if !endpoint.is_https() && view.tls.is_some() => findings.error(
            format!("{role}.endpoint"),
            format_args!("is http although [{role}.tls] is there; write https or remove [{role}.tls]"),
        ),
        _ => (),
    }
}

fn keys(view: &View<'_>, findings: &mut Findings) {
    let role = view.role;
    if view.hpke.is_empty() {
        findings.error(format!("{role}.hpke"), "holds no key; add one");
    }
    for (position, key) in view.hpke.iter().enumerate() {
        let name = format!("{role}.hpke (id {})", key.id);
        let earlier = &view.hpke[..position];
        if earlier.iter().any(|other| other.id == key.id) {
            findings.error(&name, "this id is used twice; give each key its own");
        }
        if earlier.iter().any(|other| other.private_key == key.private_key) {
            findings.error(&name, "this private key is used twice; generate one for each id");
        }
        if key.private_key.is_placeholder() {
            findings.error(&name, "this private key is a placeholder; generate one");
        }
    }
    if view.id_key.is_some_and(Secret::is_placeholder) {
        findings.error(format!("{role}.id_key"), "is a placeholder; use 32 random bytes");
    }
    let secrets = view.verify_secret.unwrap_or_default();
    if view.verify_secret.is_some_and(<[_]>::is_empty) {
        findings.error(
            format!("{role}.verify_secret"),
            "holds no secret; agree on one with the other aggregator",
        );
    }
    for (position, secret) in secrets.iter().enumerate() {
        let name = format!("{role}.verify_secret (id {})", secret.id);
        if secrets[..position].iter().any(|other| other.id == secret.id) {
            findings.error(&name, "this id is used twice; give each secret its own");
        }
        if secret.secret.is_placeholder() {
            findings.error(&name, "is a placeholder; agree on 32 random bytes with the other aggregator");
        }
        if view.id_key == Some(&secret.secret) {
            findings.error(
                &name,
                "equals id_key, which the other aggregator must not know; generate another id_key",
            );
        }
    }
}

fn certificate(view: &View<'_>, now: SystemTime, findings: &mut Findings) {
    let Some(tls) = view.tls else { return };
    let role = view.role;
    let certificate = read(&format!("{role}.tls.certificate"), &tls.certificate, findings);
    let key_name = format!("{role}.tls.private_key");
    let key = read(&key_name, &tls.private_key, findings);
    if let Pem::File(path) = &tls.private_key {
        let mode = fs::metadata(path).as_ref().map_or(0, permission_bits);
        if mode & OTHERS != 0 {
            let file = path.display();
            findings.error(
                &key_name,
                format_args!("others may read it (mode {mode:04o}); run: chmod 600 {file}"),
            );
        }
    }
    let (Some(certificate), Some(key)) = (certificate, key) else { return };
    for error in tls::inspect(&certificate, &key, view.endpoint.map(Endpoint::host), now) {
        let about_key = matches!(error, TlsError::NoKey | TlsError::Key(_));
        let name = if about_key { key_name.clone() } else { format!("{role}.tls.certificate") };
        report(name, &error, findings);
    }
}

fn report(key: String, error: &TlsError, findings: &mut Findings) {
    if matches!(error, TlsError::ExpiresSoon(_)) {
        findings.warning(key, error);
    } else {
        findings.error(key, error);
    }
}

fn read(key: &str, pem: &Pem, findings: &mut Findings) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    match pem.read() {
        Ok(text) => Some(text),
        Err(error) => {
            let place = match pem {
                Pem::File(path) => path.display().to_string(),
                Pem::Inline(_) => "the text".to_owned(),
            };
            findings
                .error(key, format_args!("cannot read {place}: {error}; check the path and who may read it"));
            None
        }
    }
}

fn check_peer(
    key: &str,
    peer: &Peer,
    own_endpoint: Option<&Endpoint>,
    now: SystemTime,
    findings: &mut Findings,
) {
    if peer.token.expose().len() < TOKEN_CHARACTERS_MIN {
        findings.error(
            format!("{key}.token"),
            format_args!(
                "is shorter than {TOKEN_CHARACTERS_MIN} characters; use 32 random bytes in base64url"
            ),
        );
    }
    if own_endpoint.is_some_and(|own| own.as_str() == peer.endpoint.as_str()) {
        findings.error(format!("{key}.endpoint"), "is this aggregator's own; name the other aggregator's");
    }
    match &peer.ca {
        None if peer.endpoint.is_https() => findings.error(
            format!("{key}.ca"),
            "is missing; name the certificate of the authority that issued the peer's certificate",
        ),
        None => (),
        Some(pem) => {
            let name = format!("{key}.ca");
            let Some(text) = read(&name, pem, findings) else { return };
            for error in tls::inspect_authority(&text, now) {
                report(name.clone(), &error, findings);
            }
        }
    }
}

fn check_limits(role: &str, limits: &Limits, findings: &mut Findings) {
    let key = |name: &str| format!("{role}.limits.{name}");
    if limits.job_size == 0 || limits.job_size > JOB_SIZE_MAX {
        findings.error(key("job_size"), format_args!("choose 1 to {JOB_SIZE_MAX} reports"));
    }
    if !(BODY_BYTES_MIN..=BODY_BYTES_MAX).contains(&limits.max_body_bytes) {
        findings.error(
            key("max_body_bytes"),
            format_args!(
                "with less, few reports would fit a request, with more, the store could not keep an upload; \
                 choose {BODY_BYTES_MIN} to {BODY_BYTES_MAX}"
            ),
        );
    }
    if limits.max_store_bytes < limits.max_body_bytes {
        findings
            .error(key("max_store_bytes"), "is below max_body_bytes, so that no upload would fit; raise it");
    }
    if limits.max_report_age_seconds == 0 {
        findings.error(key("max_report_age_seconds"), "every report would be too old; choose days, not 0");
    }
    if limits.max_clock_skew_seconds > CLOCK_SKEW_SECONDS_MAX {
        findings.error(
            key("max_clock_skew_seconds"),
            format_args!(
                "reports would get into windows that have not begun; choose at most {CLOCK_SKEW_SECONDS_MAX}"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A volume of 100 MB passed the check, and the first upload was answered with 503.
    #[test]
    fn a_disk_without_room_is_a_warning() {
        let found = |free| {
            let mut findings = Findings::default();
            room("leader", free, &mut findings);
            findings.0.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(found(INTAKE_RESERVE_BYTES).is_empty() && found(u64::MAX).is_empty());
        let full = found(99 << 20);
        assert!(full.len() == 1 && full[0].starts_with("warning: leader.store: 99 MiB"), "{full:?}");
    }
}
