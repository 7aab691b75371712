//! X25519 by two libraries behind one interface: `Secret::new(bytes)`, then `agree(peer)` and `public_key()`.
//!
//! A client uses curve25519-dalek, which needs no C compiler. Under the feature `open` it is aws-lc, about twice as
//! fast: opening reports is what an aggregator spends its time on, and sealing took half as long as the noise of a
//! release of 64 buckets. Neither gives out an all-zero result (RFC 9180 section 7.1.4).

#[cfg(feature = "open")]
pub(super) use aws_lc::Secret;
#[cfg(not(feature = "open"))]
pub(super) use dalek::Secret;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{ENC_LEN, HpkeError};

/// The result of a key exchange, never all zero.
pub(super) type DhOutput = Zeroizing<[u8; ENC_LEN]>;

/// Lets a result pass unless it is all zero. The comparison takes the same time for every result
/// that is used; that a refused one was zero is no secret, the peer's key alone decides it.
fn nonzero(output: DhOutput) -> Result<DhOutput, HpkeError> {
    if bool::from(output.ct_eq(&[0; ENC_LEN])) { Err(HpkeError::WeakKey) } else { Ok(output) }
}

/// X25519 by curve25519-dalek.
#[cfg_attr(feature = "open", allow(dead_code, reason = "then only tests exchange keys with it, to compare"))]
pub(super) mod dalek {
    use curve25519_dalek::montgomery::MontgomeryPoint;
    use zeroize::Zeroizing;

    use super::{DhOutput, ENC_LEN, HpkeError, nonzero};

    /// The public key of a private key (clamped inside).
    pub(in super::super) fn public_key(private: &Zeroizing<[u8; ENC_LEN]>) -> [u8; ENC_LEN] {
        MontgomeryPoint::mul_base_clamped(**private).to_bytes()
    }

    /// A private key, ready for use.
    pub(in super::super) struct Secret(Zeroizing<[u8; ENC_LEN]>);

    impl Secret {
        #[allow(clippy::unnecessary_wraps, reason = "the interface shared with aws_lc::Secret")]
        pub(in super::super) fn new(private: &Zeroizing<[u8; ENC_LEN]>) -> Result<Self, HpkeError> {
            Ok(Self(private.clone()))
        }

        /// The shared point with `peer`, or [`HpkeError::WeakKey`] if it is zero.
        pub(in super::super) fn agree(&self, peer: &[u8; ENC_LEN]) -> Result<DhOutput, HpkeError> {
            let point = Zeroizing::new(MontgomeryPoint(*peer).mul_clamped(*self.0));
            nonzero(Zeroizing::new(point.to_bytes()))
        }

        /// Its public key.
        #[allow(clippy::unnecessary_wraps, reason = "the interface shared with aws_lc::Secret")]
        pub(in super::super) fn public_key(&self) -> Result<[u8; ENC_LEN], HpkeError> {
            Ok(public_key(&self.0))
        }
    }
}

/// X25519 by aws-lc.
#[cfg(feature = "open")]
pub(super) mod aws_lc {
    use aws_lc_rs::agreement;
    use zeroize::Zeroizing;

    use super::{DhOutput, ENC_LEN, HpkeError, nonzero};

    /// A private key, parsed once; aws-lc zeroes it when dropped.
    pub(in super::super) struct Secret(agreement::PrivateKey);

    impl Secret {
        pub(in super::super) fn new(private: &Zeroizing<[u8; ENC_LEN]>) -> Result<Self, HpkeError> {
            agreement::PrivateKey::from_private_key(&agreement::X25519, private.as_slice())
                .map(Self)
                .map_err(|_| HpkeError::KeyRejected)
        }

        /// The shared point with `peer`, or [`HpkeError::WeakKey`] if it is zero.
        pub(in super::super) fn agree(&self, peer: &[u8; ENC_LEN]) -> Result<DhOutput, HpkeError> {
            let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, peer);
            // aws-lc refuses a zero result itself; `nonzero` keeps that from being an assumption.
            agreement::agree(&self.0, peer, HpkeError::WeakKey, |shared| {
                // Always 32 bytes for this algorithm; an error rather than a panic were it not so.
                let shared: &[u8; ENC_LEN] =
                    shared.try_into().map_err(|_| HpkeError::KeyLength(shared.len()))?;
                nonzero(Zeroizing::new(*shared))
            })
        }

        /// Its public key, computed when it was parsed.
        pub(in super::super) fn public_key(&self) -> Result<[u8; ENC_LEN], HpkeError> {
            let key = self.0.compute_public_key().map_err(|_| HpkeError::KeyRejected)?;
            key.as_ref().try_into().map_err(|_| HpkeError::KeyLength(key.as_ref().len()))
        }
    }
}
