//! A private certificate authority that exists for the length of one call.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

/// Nobody can renew these certificates, since the authority's key is gone; two
/// years are long for a trial and short enough that a forgotten one ends. `check`
/// warns thirty days before.
const LIFETIME: Duration = Duration::days(730);

/// Two machines' clocks differ; a certificate issued just now has to be valid on both.
const BACKDATED: Duration = Duration::days(1);

/// A server's certificate and private key in PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) private_key: Zeroizing<String>,
}

/// An authority whose key is never written down.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    now: OffsetDateTime,
}

impl Authority {
    pub(super) fn new(now: SystemTime) -> Result<Self, rcgen::Error> {
        let now = OffsetDateTime::from(now);
        let mut params = params(Vec::new(), "Arras private authority", now)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?, now })
    }

    /// The authority's certificate in PEM.
    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server of `role` at `host`, an IP address or a DNS name.
    pub(super) fn issue(&self, role: &str, host: &str) -> Result<Issued, rcgen::Error> {
        let mut params = params(vec![host.to_owned()], &format!("Arras {role}"), self.now)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem(), private_key: Zeroizing::new(key.serialize_pem()) })
    }
}

fn params(
    names: Vec<String>,
    common_name: &str,
    now: OffsetDateTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = now - BACKDATED;
    params.not_after = now + LIFETIME;
    Ok(params)
}
