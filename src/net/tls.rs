//! TLS 1.3 with ring: configurations for both sides, and what can be said about a
//! certificate before anybody connects.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};

/// All parties run Arras or another DAP implementation of 2026; nobody needs TLS 1.2.
static VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Why TLS cannot be set up from what the operator gave.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No certificate in the PEM text.
    #[error("no certificate found; expected PEM with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// No private key in the PEM text.
    #[error("no private key found; expected PEM with -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// The certificate cannot be parsed.
    #[error("the certificate cannot be parsed: {0}")]
    Certificate(rustls::Error),
    /// The private key cannot be used.
    #[error("the private key cannot be used: {0}")]
    Key(rustls::Error),
    /// The certificate is for another key.
    #[error("the certificate does not belong to the private key; use the pair that was issued together")]
    Mismatch,
    /// Past its end.
    #[error("the certificate has expired; renew it")]
    Expired,
    /// Past its end soon.
    #[error("the certificate expires within {0} days; renew it")]
    ExpiresSoon(u64),
    /// Before its begin.
    #[error("the certificate is not valid yet; check this machine's clock")]
    NotYetValid,
    /// Issued for other names.
    #[error("the certificate is not for the host {0:?}; get one that names it")]
    WrongHost(String),
    /// rustls refused the combination.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// ring, passed explicitly everywhere: no process-wide default that another crate could change.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificates in a PEM text, at least one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|list| !list.is_empty()).ok_or(TlsError::NoCertificate)
}

fn certified_key(certificate_pem: &[u8], key_pem: &[u8]) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(certificate_pem)?;
    ParsedCertificate::try_from(&chain[0]).map_err(TlsError::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| TlsError::NoKey)?;
    let key = provider().key_provider.load_private_key(key).map_err(TlsError::Key)?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| TlsError::Mismatch)?;
    Ok(certified)
}

/// A server's side: TLS 1.3, HTTP/1.1, no client certificates (tokens say who asks).
pub fn server_config(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let certified = certified_key(certificate_pem, key_pem)?;
    let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(TlsError::Setup)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client's side, which trusts the given certificates and nothing else; with none
/// it trusts nobody. The system's roots play no part: a public CA that was tricked
/// must not be able to stand between two aggregators.
pub fn client_config(ca_pem: Option<&[u8]>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in ca_pem.map(certificates).transpose()?.unwrap_or_default() {
        roots.add(certificate).map_err(TlsError::Certificate)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// What is wrong with a server's certificate and key at the time `now`.
///
/// `host` is the name that clients will ask for. Whether clients trust the issuer
/// is theirs to know.
pub fn inspect(certificate_pem: &[u8], key_pem: &[u8], host: Option<&str>, now: SystemTime) -> Vec<TlsError> {
    let certified = match certified_key(certificate_pem, key_pem) {
        Ok(certified) => certified,
        Err(error) => return vec![error],
    };
    let mut found = Vec::new();
    // certified_key parsed it before.
    let Ok(parsed) = ParsedCertificate::try_from(&certified.cert[0]) else {
        return vec![TlsError::NoCertificate];
    };
    if let Some(host) = host {
        let matches = ServerName::try_from(host).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok());
        if !matches {
            found.push(TlsError::WrongHost(host.to_owned()));
        }
    }
    found.extend(validity(&certified.cert[0], now));
    found
}

/// What is wrong with the validity of the first certificate of a PEM text.
pub fn inspect_authority(ca_pem: &[u8], now: SystemTime) -> Vec<TlsError> {
    match certificates(ca_pem) {
        Ok(list) => {
            let mut roots = RootCertStore::empty();
            match roots.add(list[0].clone()) {
                Ok(()) => validity(&list[0], now).into_iter().collect(),
                Err(error) => vec![TlsError::Certificate(error)],
            }
        }
        Err(error) => vec![error],
    }
}

/// Time enough to notice and to renew by hand.
const RENEWAL_DAYS: u64 = 30;

fn validity(certificate: &CertificateDer<'_>, now: SystemTime) -> Option<TlsError> {
    match validity_at(certificate, now) {
        None => validity_at(certificate, now + Duration::from_secs(RENEWAL_DAYS * 86_400))
            .map(|_| TlsError::ExpiresSoon(RENEWAL_DAYS)),
        other => other,
    }
}

/// webpki looks at the dates before it looks for an issuer, so that a path which
/// ends nowhere is as good as any for asking about them.
fn validity_at(certificate: &CertificateDer<'_>, now: SystemTime) -> Option<TlsError> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let time = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    let algorithms = provider().signature_verification_algorithms.all;
    let result =
        verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], time, algorithms);
    match result {
        Err(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => Some(TlsError::Expired),
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => Some(TlsError::NotYetValid),
        _ => None,
    }
}
