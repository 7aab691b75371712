//! A collector from its configuration.

use std::io;
use std::sync::Arc;

use crate::aggregator::Clock;
use crate::collector::collect::Timing;
use crate::collector::store::CollectorDisk;
use crate::collector::{Collector, CollectorParts};
use crate::config;
use crate::metrics::CollectorMetrics;
use crate::net::client::{ClientError, PeerClient};
use crate::store::StoreError;
use crate::tasks::TaskFolder;

/// Why a collector cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store cannot be opened.
    #[error("the collector's store: {0}")]
    Store(#[from] StoreError),
    /// The configuration has no signing key; [`config::Config::problems`] says so before.
    #[error("collector.signing_key is missing; add the line that `arras release new-key` prints")]
    NoSigningKey,
    /// The leader's CA certificate cannot be read.
    #[error("collector.leader.ca: {0}")]
    Authority(io::Error),
    /// The client for the leader cannot be made.
    #[error("collector.leader: {0}")]
    Client(#[from] ClientError),
}

impl Collector {
    /// A collector on an open store. Nothing is sent yet.
    pub fn open(
        config: &config::Collector,
        store: Arc<CollectorDisk>,
        clock: Arc<dyn Clock>,
        metrics: CollectorMetrics,
    ) -> Result<Self, StartError> {
        let ca = config.leader.ca.as_ref().map(config::values::Pem::read).transpose();
        let ca = ca.map_err(StartError::Authority)?;
        let peer = &config.leader;
        let leader = PeerClient::new(
            peer.endpoint.clone(),
            Some(peer.token.clone()),
            ca.as_ref().map(|pem| pem.as_slice()),
        )?;
        let signer = config.signer().ok_or(StartError::NoSigningKey)?;
        let key = |key: &config::HpkeKey| (key.id, key.private());
        let sources = config.budget_source.iter();
        Ok(Self::new(CollectorParts {
            store,
            tasks: TaskFolder::new(&config.tasks),
            manifests: config.manifests.clone(),
            leader,
            keys: config.hpke.iter().map(key).collect(),
            signer: Arc::new(signer),
            former_keys: config.former_signing_keys.clone(),
            epoch_starts: sources
                .map(|source| (source.name.clone(), source.epoch_start.unix_seconds()))
                .collect(),
            admin_token: config.admin_token_sha256,
            clock,
            timing: Timing::default(),
            metrics,
        }))
    }
}
