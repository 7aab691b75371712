//! The section of each role. Durations are in seconds, sizes in bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use arras_protocol::epsilon::{EpsilonError, MicroEpsilon};
use arras_protocol::messages::TaskId;
use arras_protocol::signed::{PublicKey, SigningKey};
use serde::Deserialize;

use super::keys::{HpkeConfig, HpkeKey};
use super::secret::Secret;
use super::values::{EpochStart, Pem, resolve};
use crate::net::auth::{BearerToken, TokenHash};
use crate::net::endpoint::Endpoint;
use crate::store::MAX_GROUP_BYTES;

/// Reports older than this are refused unless configured otherwise. Phones are
/// offline for days, hardly for a month; the ids of reports have to be kept for as
/// long.
pub const REPORT_AGE_SECONDS_DEFAULT: u64 = 30 * 86_400;

/// How far ahead of our clock a report may be dated unless configured otherwise.
/// Devices that keep time by network are within a minute; five leave room.
pub const CLOCK_SKEW_SECONDS_DEFAULT: u64 = 300;

/// The most that can be configured: an hour, the usual window. A device whose clock
/// is further off is wrong about the window itself, and would fill windows that
/// have not begun.
pub const CLOCK_SKEW_SECONDS_MAX: u64 = 3_600;

/// Reports in an aggregation job. Large enough that a round trip and two syncs
/// cost less than opening the reports; small enough that the request stays below
/// [`BODY_BYTES_DEFAULT`] for shares of 18 kB and a failed job costs little to repeat.
pub const JOB_SIZE: u32 = 500;

/// A job beyond this would hold a worker for seconds and its memory for as long.
pub const JOB_SIZE_MAX: u32 = 10_000;

/// A request's body unless configured otherwise: 500 reports of a histogram with
/// 1024 buckets, or a whole aggregation job; read into memory as one piece.
pub const BODY_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;

/// The most that can be configured: the reports of an upload are kept as one group
/// of records, in which none takes twice what it takes in the request. A larger
/// upload could not be kept, however often it is tried.
pub const BODY_BYTES_MAX: u64 = MAX_GROUP_BYTES / 2;

/// The least that can be configured: three reports of a histogram with 1024 buckets.
/// Tasks of longer reports need more (the leader's share alone may have 1 MiB): an
/// aggregator leaves out a task of which not even one report fits.
pub const BODY_BYTES_MIN: u64 = 64 * 1024;

/// What the store may occupy before uploads are refused, unless configured
/// otherwise: about two million reports of 2 kB waiting, with room for state; less
/// than the smallest disks.
pub const STORE_BYTES_DEFAULT: u64 = 8 * 1024 * 1024 * 1024;

/// Limits of an aggregator; each key may be left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// See [`REPORT_AGE_SECONDS_DEFAULT`].
    pub max_report_age_seconds: u64,
    /// See [`CLOCK_SKEW_SECONDS_DEFAULT`]; at most [`CLOCK_SKEW_SECONDS_MAX`].
    pub max_clock_skew_seconds: u64,
    /// See [`JOB_SIZE`]; the leader makes jobs of this size, the helper refuses larger ones.
    pub job_size: u32,
    /// See [`BODY_BYTES_DEFAULT`]; [`BODY_BYTES_MIN`] to [`BODY_BYTES_MAX`].
    pub max_body_bytes: u64,
    /// See [`STORE_BYTES_DEFAULT`].
    pub max_store_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_report_age_seconds: REPORT_AGE_SECONDS_DEFAULT,
            max_clock_skew_seconds: CLOCK_SKEW_SECONDS_DEFAULT,
            job_size: JOB_SIZE,
            max_body_bytes: BODY_BYTES_DEFAULT,
            max_store_bytes: STORE_BYTES_DEFAULT,
        }
    }
}

/// What releases may occupy at the collector before no window is collected, unless configured otherwise: a year of one hourly
/// advertiser with 1,024 cells and values, less than the smallest disks. Those of a few cells are not counted: they are
/// small, and stand in the state.
pub const RELEASE_BYTES_DEFAULT: u64 = 4 * 1024 * 1024 * 1024;

/// The least that can be configured: what the largest release takes, 4 MiB before it is signed, with its cells.
pub const RELEASE_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// Limits of a collector; each key may be left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectorLimits {
    /// See [`RELEASE_BYTES_DEFAULT`]; at least [`RELEASE_BYTES_MIN`].
    pub max_store_bytes: u64,
}

impl Default for CollectorLimits {
    fn default() -> Self {
        Self { max_store_bytes: RELEASE_BYTES_DEFAULT }
    }
}

/// A secret that the two aggregators of a pair share, from which the verify keys
/// of tasks are derived (taskprov).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifySecret {
    /// Which one a task uses; a task keeps it for life.
    pub id: u8,
    /// The secret.
    pub secret: Secret<32>,
}

/// What a server needs for TLS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, the server's own first.
    pub certificate: Pem,
    /// Its private key; best inline, so that secrets live in one file.
    pub private_key: Pem,
}

/// Another role that this one sends requests to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its endpoint, byte for byte as in the tasks.
    pub endpoint: Endpoint,
    /// The token that it knows the hash of; sent to this endpoint only.
    pub token: BearerToken,
    /// The authority that issued its certificate; needed for https.
    pub ca: Option<Pem>,
}

/// Whose privacy losses are added up together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetSource {
    /// As in tasks' budget_source.
    pub name: String,
    /// When epochs of 7 days start; never to be changed once something was spent.
    pub epoch_start: EpochStart,
    /// Epsilon that may be spent in each epoch.
    #[serde(deserialize_with = "cap")]
    pub cap: MicroEpsilon,
    /// Epsilon that each single task of the source may spend in an epoch; without it, what the source has.
    #[serde(default, deserialize_with = "optional_cap")]
    pub task_cap: Option<MicroEpsilon>,
    /// The same for these tasks, in place of `task_cap`: by task id.
    #[serde(default, deserialize_with = "task_caps")]
    pub task_caps: BTreeMap<TaskId, MicroEpsilon>,
}

/// A cap is written as an epsilon is; a cap of nothing is refused in its own words.
fn cap<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<MicroEpsilon, D::Error> {
    Cap::deserialize(deserializer).map(|cap| cap.0)
}

fn optional_cap<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<MicroEpsilon>, D::Error> {
    cap(deserializer).map(Some)
}

fn task_caps<'de, D>(deserializer: D) -> Result<BTreeMap<TaskId, MicroEpsilon>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let caps = BTreeMap::<String, Cap>::deserialize(deserializer)?;
    let parsed = caps.into_iter().map(|(id, cap)| {
        let error =
            |error| serde::de::Error::custom(format!("task_caps has {id:?}, which is no task id: {error}"));
        Ok((id.parse().map_err(error)?, cap.0))
    });
    parsed.collect()
}

struct Cap(MicroEpsilon);

impl<'de> Deserialize<'de> for Cap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|error| {
            serde::de::Error::custom(match error {
                EpsilonError::Zero(_) => {
                    "the cap is zero, so that nothing could ever be released; give a positive \
                                          number, or leave the source or the task out"
                        .to_owned()
                }
                other => format!("the cap: {other}"),
            })
        })
    }
}

/// A collector as the leader knows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaderCollector {
    /// What operators call it.
    pub name: String,
    /// SHA-256 of the token it sends.
    pub token_sha256: TokenHash,
    /// What aggregate shares are sealed to.
    pub hpke_config: HpkeConfig,
    /// The sources that it may ask about; any other is refused.
    pub budget_source: Vec<BudgetSource>,
}

/// A collector as the helper knows it, which never talks to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelperCollector {
    /// What operators call it.
    pub name: String,
    /// What aggregate shares are sealed to.
    pub hpke_config: HpkeConfig,
    /// The sources that it may ask about; any other is refused.
    pub budget_source: Vec<BudgetSource>,
}

/// The leader.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leader {
    /// The leader's URL, byte for byte as in the tasks.
    pub endpoint: Endpoint,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The folder of everything durable.
    pub store: PathBuf,
    /// The file that tells a restored store from the newest; outside the store and its backups.
    pub watermark: PathBuf,
    /// The folder of provisioned tasks.
    pub tasks: PathBuf,
    /// Keys that reports are sealed to; all are published, and a client takes the first that it can use.
    pub hpke: Vec<HpkeKey>,
    /// For ids that are derived from content by HMAC.
    pub id_key: Secret<32>,
    /// Shared with the helper.
    pub verify_secret: Vec<VerifySecret>,
    /// Without it the server speaks plain HTTP.
    pub tls: Option<Tls>,
    /// The other aggregator.
    pub helper: Peer,
    /// Who may collect.
    pub collector: Vec<LeaderCollector>,
    /// Each may be left out.
    #[serde(default)]
    pub limits: Limits,
}

/// The helper.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Helper {
    /// The helper's URL, byte for byte as in the tasks.
    pub endpoint: Endpoint,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The folder of everything durable.
    pub store: PathBuf,
    /// The file that tells a restored store from the newest; outside the store and its backups.
    pub watermark: PathBuf,
    /// The folder of provisioned tasks.
    pub tasks: PathBuf,
    /// Keys that reports are sealed to; all are published, and a client takes the first that it can use.
    pub hpke: Vec<HpkeKey>,
    /// For ids that are derived from content by HMAC.
    pub id_key: Secret<32>,
    /// Shared with the leader.
    pub verify_secret: Vec<VerifySecret>,
    /// Without it the server speaks plain HTTP.
    pub tls: Option<Tls>,
    /// SHA-256 of the token that the leader sends.
    pub leader_token_sha256: TokenHash,
    /// The other aggregator's URL, byte for byte as in the tasks.
    pub leader_endpoint: Endpoint,
    /// For whom shares may be sealed.
    pub collector: Vec<HelperCollector>,
    /// Each may be left out.
    #[serde(default)]
    pub limits: Limits,
}

/// A budget source as the collector knows it: what its releases cost can be told epoch by epoch. The ledger
/// and its caps are the aggregators'.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceEpochs {
    /// As in tasks' budget_source.
    pub name: String,
    /// When epochs of 7 days start; as in the aggregators' configurations.
    pub epoch_start: EpochStart,
    /// Epsilon that may be spent in each epoch, as in the aggregators' configurations. Only to show advertisers what is left:
    /// the aggregators' own caps decide.
    #[serde(default, deserialize_with = "optional_cap")]
    pub cap: Option<MicroEpsilon>,
}

/// What a collector needs to make tasks for advertisers by itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advertising {
    /// The helper's endpoint, byte for byte as the aggregators' configurations have it; the leader's is `collector.leader`'s.
    pub helper: Endpoint,
    /// This collector's name in the aggregators' configurations.
    pub name: String,
    /// Whether browsers reach a collector without `[collector.tls]` by a proxy on this machine that speaks TLS with them. `None` if it
    /// is not said, which is as good as no.
    pub behind_tls: Option<bool>,
}

/// The collector.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collector {
    /// Where its interface listens.
    pub listen: SocketAddr,
    /// The folder of everything durable.
    pub store: PathBuf,
    /// The file that tells a restored store from the newest; outside the store and its backups.
    pub watermark: PathBuf,
    /// The folder of provisioned tasks.
    pub tasks: PathBuf,
    /// The folder of signed manifests that are served to devices; without it there are none.
    pub manifests: Option<PathBuf>,
    /// Keys that aggregate shares are sealed to.
    pub hpke: Vec<HpkeKey>,
    /// Signs releases (Ed25519). An error of its own says how to make one for a configuration from before releases were
    /// signed.
    pub signing_key: Option<Secret<32>>,
    /// Public keys that signed earlier releases, so that those can still be verified.
    #[serde(default, deserialize_with = "public_keys")]
    pub former_signing_keys: Vec<PublicKey>,
    /// SHA-256 of the token that an administrator sends.
    pub admin_token_sha256: TokenHash,
    /// Whom to collect from.
    pub leader: Peer,
    /// What advertisers have here; without it the collector has no registry, no API for advertisers and no console.
    pub advertising: Option<Advertising>,
    /// The budget sources whose epochs it knows; may be left out.
    #[serde(default)]
    pub budget_source: Vec<SourceEpochs>,
    /// Without it the server speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Each may be left out.
    #[serde(default)]
    pub limits: CollectorLimits,
}

fn public_keys<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<PublicKey>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

/// The operator's interface: metrics and health of the process, whichever roles it plays.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operations {
    /// Where to listen; a loopback address, since there is no token and no TLS.
    pub listen: SocketAddr,
}

/// What the sections of both aggregators say alike. Each has fields of its own for it, since serde refuses no unknown keys
/// in tables that it flattens.
#[derive(Clone, Copy)]
pub(crate) struct Aggregator<'a> {
    /// `leader` or `helper`.
    pub(crate) name: &'static str,
    /// The pair's endpoints, each with the key that says it.
    pub(crate) leader: (&'static str, &'a Endpoint),
    pub(crate) helper: (&'static str, &'a Endpoint),
    pub(crate) store: &'a Path,
    pub(crate) watermark: &'a Path,
    pub(crate) tasks: &'a Path,
    pub(crate) hpke: &'a [HpkeKey],
    pub(crate) verify_secret: &'a [VerifySecret],
    pub(crate) limits: &'a Limits,
    known: Known<'a>,
}

/// The collectors that an aggregator knows.
#[derive(Clone, Copy)]
enum Known<'a> {
    Leader(&'a [LeaderCollector]),
    Helper(&'a [HelperCollector]),
}

/// What both aggregators know of a collector.
#[derive(Clone, Copy)]
pub(crate) struct AnyCollector<'a> {
    pub(crate) name: &'a str,
    /// The helper knows none.
    pub(crate) token: Option<TokenHash>,
    pub(crate) hpke_config: &'a HpkeConfig,
    pub(crate) budget_sources: &'a [BudgetSource],
}

impl<'a> Aggregator<'a> {
    /// Its collectors.
    pub(crate) fn collectors(self) -> Vec<AnyCollector<'a>> {
        match self.known {
            Known::Leader(known) => {
                let any = |collector: &'a LeaderCollector| AnyCollector {
                    name: &collector.name,
                    token: Some(collector.token_sha256),
                    hpke_config: &collector.hpke_config,
                    budget_sources: &collector.budget_source,
                };
                known.iter().map(any).collect()
            }
            Known::Helper(known) => {
                let any = |collector: &'a HelperCollector| AnyCollector {
                    name: &collector.name,
                    token: None,
                    hpke_config: &collector.hpke_config,
                    budget_sources: &collector.budget_source,
                };
                known.iter().map(any).collect()
            }
        }
    }
}

impl<'a> From<&'a Leader> for Aggregator<'a> {
    fn from(leader: &'a Leader) -> Self {
        Self {
            name: "leader",
            leader: ("leader.endpoint", &leader.endpoint),
            helper: ("leader.helper.endpoint", &leader.helper.endpoint),
            store: &leader.store,
            watermark: &leader.watermark,
            tasks: &leader.tasks,
            hpke: &leader.hpke,
            verify_secret: &leader.verify_secret,
            limits: &leader.limits,
            known: Known::Leader(&leader.collector),
        }
    }
}

impl<'a> From<&'a Helper> for Aggregator<'a> {
    fn from(helper: &'a Helper) -> Self {
        Self {
            name: "helper",
            leader: ("helper.leader_endpoint", &helper.leader_endpoint),
            helper: ("helper.endpoint", &helper.endpoint),
            store: &helper.store,
            watermark: &helper.watermark,
            tasks: &helper.tasks,
            hpke: &helper.hpke,
            verify_secret: &helper.verify_secret,
            limits: &helper.limits,
            known: Known::Helper(&helper.collector),
        }
    }
}

fn resolve_tls(tls: &mut Option<Tls>, folder: &Path) {
    if let Some(tls) = tls {
        tls.certificate.resolve(folder);
        tls.private_key.resolve(folder);
    }
}

fn resolve_peer(peer: &mut Peer, folder: &Path) {
    peer.ca.iter_mut().for_each(|ca| ca.resolve(folder));
}

impl Leader {
    pub(super) fn resolve(&mut self, folder: &Path) {
        for path in [&mut self.store, &mut self.watermark, &mut self.tasks] {
            resolve(path, folder);
        }
        resolve_tls(&mut self.tls, folder);
        resolve_peer(&mut self.helper, folder);
    }
}

impl Helper {
    pub(super) fn resolve(&mut self, folder: &Path) {
        for path in [&mut self.store, &mut self.watermark, &mut self.tasks] {
            resolve(path, folder);
        }
        resolve_tls(&mut self.tls, folder);
    }
}

impl Collector {
    /// What signs releases, if the configuration has it.
    pub fn signer(&self) -> Option<SigningKey> {
        self.signing_key.as_ref().map(|key| SigningKey::from_bytes(key.expose()))
    }

    /// Whether browsers reach its console over TLS, of its own or a proxy's.
    pub fn is_behind_tls(&self) -> bool {
        self.tls.is_some() || self.advertising.as_ref().is_some_and(|own| own.behind_tls == Some(true))
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        for path in [&mut self.store, &mut self.watermark, &mut self.tasks] {
            resolve(path, folder);
        }
        self.manifests.iter_mut().for_each(|path| resolve(path, folder));
        resolve_tls(&mut self.tls, folder);
        resolve_peer(&mut self.leader, folder);
    }
}
