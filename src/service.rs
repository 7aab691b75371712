//! Starting and stopping the roles that a configuration gives to a process.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use arras_protocol::codec::CodecError;
use arras_protocol::hpke::{HpkeError, PrivateKey};
use arras_protocol::messages::{HpkeConfigList, Role};
use arras_protocol::task::VerifySecret;
use arras_protocol::verification::{InputShareOpener, hpke_config_list};
use axum::middleware::from_fn_with_state;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::advertising::{Advertising, AdvertisingError};
use crate::aggregator::helper::{Helper, HelperParts};
use crate::aggregator::leader::{Leader, LeaderParts};
use crate::aggregator::{
    Clock, Collectors, IdKey, Limits, NoiseFactory, ProvisionedTasks, RegisteredCollector, RegisteredSource,
    SystemClock,
};
use crate::api;
use crate::collector::{self, Collector, CollectorDisk};
use crate::config::keys::HpkeKey;
use crate::config::roles::{self, Tls};
use crate::config::{self, Config};
use crate::console;
use crate::metrics::{Metrics, observe};
use crate::net::client::{ClientError, PeerClient};
use crate::net::server::{self, ServeError, ServerLimits};
use crate::net::tls::{self, TlsError};
use crate::operations::{
    Operations, watch_collector, watch_helper, watch_leader, watch_registry, watch_schedule,
};
use crate::privacy::ledger::{self, BudgetSource, LedgerError, SourceRules, TaskCaps};
use crate::privacy::noise::OpendpNoise;
use crate::store::{
    AggregatorStore, Disk, HelperDisk, HelperStore, LeaderDisk, LeaderStore, StoreError, StoreOptions,
};
use crate::tasks::TaskFolder;

/// How long stopping waits for blocking calls that hold a store. They are bounded by the disk; whatever they had
/// not made durable by then was told to nobody.
const STORE_CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// Memory for sled's pages, in bytes, for each store. State is small: pointers, counters, lists of ids.
const STATE_CACHE_BYTES: u64 = 64 << 20;

/// What the roles take from outside.
#[derive(Clone)]
pub struct Environment {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Noise.
    pub noise: NoiseFactory,
}

impl Environment {
    /// The real clock and real noise: what every served role uses.
    pub fn real() -> Self {
        Self { clock: Arc::new(SystemClock), noise: Arc::new(|| Box::new(OpendpNoise)) }
    }
}

/// Why the roles cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address to listen on is taken or not ours.
    #[error(
        "the {role} cannot listen on {address}: {error}; stop what listens there, or choose another address of this \
         machine for {role}.listen"
    )]
    Listen {
        /// Which role.
        role: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The operator's interface has no token, so it is for this machine alone.
    #[error("operations.listen is {0}, which other machines can reach; choose a loopback address")]
    OperationsAddress(SocketAddr),
    /// A certificate or key cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// A file that the configuration names cannot be read.
    #[error("a certificate or key cannot be read: {0}")]
    Pem(std::io::Error),
    /// The client for the peer cannot be made.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// The collector cannot start.
    #[error("{0}")]
    Collector(#[from] collector::StartError),
    /// What advertisers have cannot be opened.
    #[error("{0}")]
    Advertising(#[from] AdvertisingError),
    /// A store does not open.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The tasks cannot be read.
    #[error("{0}")]
    Tasks(String),
    /// An HPKE key cannot be used.
    #[error("an HPKE key: {0}")]
    Hpke(#[from] HpkeError),
    /// The HPKE configurations do not make a list.
    #[error("the HPKE keys: {0}")]
    HpkeList(#[from] CodecError),
    /// A budget source's name is not valid.
    #[error("a budget source: {0}")]
    BudgetSource(#[from] LedgerError),
}

/// Roles that are being served.
pub struct Service {
    stop: watch::Sender<bool>,
    servers: JoinSet<Result<(), ServeError>>,
    drivers: JoinSet<()>,
    operations: Operations,
    operations_address: Option<SocketAddr>,
    leader: Option<Leader>,
    collector: Option<Collector>,
    advertising: Option<Advertising>,
    /// Held to see when nobody else does.
    leader_store: Option<Arc<dyn LeaderStore>>,
    helper_store: Option<Arc<dyn HelperStore>>,
    limits: ServerLimits,
}

/// Sockets to listen on, where a caller bound them already: tests and the demo want free ports before they write
/// endpoints into a configuration.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For the leader.
    pub leader: Option<TcpListener>,
    /// For the helper.
    pub helper: Option<TcpListener>,
    /// For the collector.
    pub collector: Option<TcpListener>,
}

impl Service {
    /// Opens the stores, binds the addresses and serves. The configuration must have no problems, see
    /// [`Config::load_for_start`]. Must be called within a tokio runtime; blocks while stores open.
    pub fn start(
        config: &Config,
        environment: &Environment,
        listeners: Listeners,
    ) -> Result<Self, StartError> {
        Self::start_with(
            config,
            environment,
            listeners,
            ServerLimits::for_servers(config.servers(), config.led_tasks()),
        )
    }

    /// [`Self::start`] with other limits for the roles' servers.
    pub fn start_with(
        config: &Config,
        environment: &Environment,
        listeners: Listeners,
        limits: ServerLimits,
    ) -> Result<Self, StartError> {
        let (stop, _) = watch::channel(false);
        let mut service = Self {
            stop,
            servers: JoinSet::new(),
            drivers: JoinSet::new(),
            leader: None,
            collector: None,
            advertising: None,
            leader_store: None,
            helper_store: None,
            operations: Operations::default(),
            operations_address: None,
            limits,
        };
        // First, so that a process whose stores take their time to open can be told from one that hangs.
        if let Some(operations) = &config.operations {
            service.serve_operations(operations.listen)?;
        }
        if let Some(helper) = &config.helper {
            service.start_helper(helper, environment, listeners.helper)?;
        }
        if let Some(leader) = &config.leader {
            service.start_leader(leader, environment, listeners.leader)?;
        }
        if let Some(collector) = &config.collector {
            service.start_collector(collector, environment, listeners.collector)?;
        }
        service.operations.started();
        let operations = service.operations.clone();
        service.drivers.spawn(async move { operations.tell_troubles().await });
        Ok(service)
    }

    fn start_leader(
        &mut self,
        config: &roles::Leader,
        environment: &Environment,
        listener: Option<TcpListener>,
    ) -> Result<(), StartError> {
        let metrics = self.operations.metrics();
        let common = roles::Aggregator::from(config);
        let disk = LeaderDisk::open_on(&store_options(&common), Disk::timed(metrics.store("leader")))?;
        let disk = Arc::new(disk);
        let store: Arc<dyn LeaderStore> = Arc::clone(&disk) as _;
        let ready = Ready::new(Role::Leader, &common, Arc::clone(&store) as Arc<dyn AggregatorStore>)?;
        let ca =
            config.helper.ca.as_ref().map(config::values::Pem::read).transpose().map_err(StartError::Pem)?;
        let helper = PeerClient::new(
            config.helper.endpoint.clone(),
            Some(config.helper.token.clone()),
            ca.as_ref().map(|pem| pem.as_slice()),
        )?;
        let leader = Leader::new(LeaderParts {
            endpoint: config.endpoint.clone(),
            store: Arc::clone(&store),
            tasks: ready.tasks,
            hpke_configs: ready.hpke_configs,
            opener: ready.opener,
            id_key: IdKey::new(config.id_key.expose()),
            helper,
            limits: ready.limits,
            clock: Arc::clone(&environment.clock),
            noise: Arc::clone(&environment.noise),
            metrics: metrics.leader(),
        });
        watch_leader(&self.operations, &leader, &disk, ready.folder, ready.collectors);
        let listener = listen("leader", config.listen, listener)?;
        self.serve("leader", leader.router(), listener, tls(config.tls.as_ref())?);
        let driver = leader.clone();
        self.drivers.spawn(async move { driver.run().await });
        self.leader = Some(leader);
        self.leader_store = Some(store);
        Ok(())
    }

    fn start_helper(
        &mut self,
        config: &roles::Helper,
        environment: &Environment,
        listener: Option<TcpListener>,
    ) -> Result<(), StartError> {
        let metrics = self.operations.metrics();
        let common = roles::Aggregator::from(config);
        let disk = HelperDisk::open_on(&store_options(&common), Disk::timed(metrics.store("helper")))?;
        let disk = Arc::new(disk);
        let store: Arc<dyn HelperStore> = Arc::clone(&disk) as _;
        let ready = Ready::new(Role::Helper, &common, Arc::clone(&store) as Arc<dyn AggregatorStore>)?;
        let helper = Helper::new(HelperParts {
            endpoint: config.endpoint.clone(),
            store: Arc::clone(&store),
            tasks: ready.tasks,
            hpke_configs: ready.hpke_configs,
            opener: ready.opener,
            id_key: IdKey::new(config.id_key.expose()),
            leader_token: config.leader_token_sha256,
            limits: ready.limits,
            clock: Arc::clone(&environment.clock),
            noise: Arc::clone(&environment.noise),
            metrics: metrics.helper(),
        });
        watch_helper(&self.operations, &helper, &disk, ready.folder, ready.collectors);
        let listener = listen("helper", config.listen, listener)?;
        self.serve("helper", helper.router(), listener, tls(config.tls.as_ref())?);
        self.helper_store = Some(store);
        Ok(())
    }

    fn start_collector(
        &mut self,
        config: &roles::Collector,
        environment: &Environment,
        listener: Option<TcpListener>,
    ) -> Result<(), StartError> {
        let metrics = self.operations.metrics();
        let (max_bytes, disk) = (config.limits.max_store_bytes, Disk::timed(metrics.store("collector")));
        let disk = CollectorDisk::open_bounded(&config.store, &config.watermark, max_bytes, disk)
            .map_err(collector::StartError::from)?;
        let disk = Arc::new(disk);
        let clock = Arc::clone(&environment.clock);
        let collector = Collector::open(config, Arc::clone(&disk), Arc::clone(&clock), metrics.collector())?;
        let open = |own| Advertising::open(config, own, &collector, &disk, clock, metrics.schedule());
        self.advertising = config.advertising.as_ref().map(open).transpose()?;
        watch_collector(&self.operations, &collector, &disk);
        let listener = listen("collector", config.listen, listener)?;
        let mut router = collector::router(collector.clone());
        if let Some(advertising) = &self.advertising {
            router = router.merge(api::router(advertising.clone()));
            router = router.merge(console::router(advertising.clone(), config.is_behind_tls()));
        }
        self.serve("collector", router, listener, tls(config.tls.as_ref())?);
        let driver = collector.clone();
        self.drivers.spawn(async move {
            if let Err(error) = driver.resume().await {
                tracing::error!(%error, "a collection of an earlier run cannot be resumed");
            }
        });
        if let Some(advertising) = &self.advertising {
            watch_registry(&self.operations, &advertising.registry);
            watch_schedule(&self.operations, &advertising.schedule);
            self.drivers.spawn(advertising.schedule.clone().run());
        }
        self.collector = Some(collector);
        Ok(())
    }

    fn serve(
        &mut self,
        role: &'static str,
        router: axum::Router,
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
    ) {
        let http = self.operations.metrics().http(role);
        let (stopped, limits, connections) = (self.stopped(), self.limits, http.connections());
        let router = router.layer(from_fn_with_state(http, observe));
        self.servers.spawn(async move {
            let result = server::serve_counted(router, listener, tls, stopped, limits, connections).await;
            if let Err(error) = &result {
                tracing::error!(%error, role, "serving ended");
            }
            result
        });
    }

    fn serve_operations(&mut self, address: SocketAddr) -> Result<(), StartError> {
        if !address.ip().is_loopback() {
            return Err(StartError::OperationsAddress(address));
        }
        let listener = listen("operations", address, None)?;
        self.operations_address = listener.local_addr().ok();
        let (operations, stopped) = (self.operations.clone(), self.stopped());
        self.servers.spawn(async move { operations.serve(listener, stopped).await });
        Ok(())
    }

    /// Completes when the service is to stop.
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // An error means that the sender is gone, and the service with it.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }

    /// Where the operator's interface listens, if there is one.
    pub fn operations_address(&self) -> Option<SocketAddr> {
        self.operations_address
    }

    /// What is counted and measured.
    pub fn metrics(&self) -> &Metrics {
        self.operations.metrics()
    }

    /// What keeps roles from their work, as `/readyz` says it. Blocks on the disk.
    pub fn troubles(&self) -> Vec<String> {
        self.operations.troubles()
    }

    /// The leader, if this process plays it.
    pub fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    /// The collector, if this process plays it.
    pub fn collector(&self) -> Option<&Collector> {
        self.collector.as_ref()
    }

    /// What advertisers have at the collector, if its configuration says so.
    pub fn advertising(&self) -> Option<&Advertising> {
        self.advertising.as_ref()
    }

    /// Returns when serving has ended although nobody asked for it.
    pub async fn failed(&mut self) {
        loop {
            tokio::select! {
                // Servers end on request or on failure; before a request, the first to end has failed.
                _ = self.servers.join_next() => return,
                // A driver may have nothing left to do, but it does not panic.
                ended = self.drivers.join_next(), if !self.drivers.is_empty() => {
                    if let Some(Err(error)) = ended {
                        tracing::error!(%error, "a driver stopped; without it nothing gets on");
                        return;
                    }
                }
            }
        }
    }

    /// Finishes the requests in flight, stops the drivers and closes the stores.
    pub async fn stop(mut self) {
        // Nobody listens any more if all servers have ended.
        let _ = self.stop.send(true);
        while self.servers.join_next().await.is_some() {}
        self.drivers.shutdown().await;
        drop((self.leader.take(), self.collector.take(), self.advertising.take()));
        let (leader, helper) = (self.leader_store.take(), self.helper_store.take());
        let closed = async {
            let held = || {
                leader.as_ref().is_some_and(|store| Arc::strong_count(store) > 1)
                    || helper.as_ref().is_some_and(|store| Arc::strong_count(store) > 1)
            };
            while held() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(STORE_CLOSE_DEADLINE, closed).await.is_err() {
            tracing::warn!("a store is still in use; what it had not made durable was told to nobody");
        }
        if let Some(store) = leader {
            // The next opening misses whatever is gone of these reports by then.
            let noted = tokio::task::spawn_blocking(move || store.note_reports()).await;
            if let Ok(Err(error)) = noted {
                tracing::warn!(%error, "how far the reports reach could not be kept");
            }
        }
    }
}

fn listen(
    role: &'static str,
    address: SocketAddr,
    bound: Option<TcpListener>,
) -> Result<TcpListener, StartError> {
    match bound {
        Some(listener) => Ok(listener),
        None => TcpListener::bind(address).map_err(|error| StartError::Listen { role, address, error }),
    }
}

fn tls(config: Option<&Tls>) -> Result<Option<Arc<ServerConfig>>, StartError> {
    let Some(config) = config else { return Ok(None) };
    let certificate = config.certificate.read().map_err(StartError::Pem)?;
    let key = config.private_key.read().map_err(StartError::Pem)?;
    Ok(Some(tls::server_config(&certificate, &key)?))
}

fn hpke(role: Role, keys: &[HpkeKey]) -> Result<(HpkeConfigList, InputShareOpener), StartError> {
    let keys: Vec<(u8, PrivateKey)> = keys.iter().map(|key| (key.id, key.private())).collect();
    let pairs = || keys.iter().map(|(id, key)| (*id, key));
    Ok((hpke_config_list(pairs())?, InputShareOpener::new(role, pairs())?))
}

/// What both aggregators are made of alike.
struct Ready {
    folder: TaskFolder,
    collectors: Collectors,
    tasks: ProvisionedTasks,
    hpke_configs: HpkeConfigList,
    opener: InputShareOpener,
    limits: Limits,
}

impl Ready {
    /// Reads all tasks of the folder. Blocks.
    fn new(
        role: Role,
        config: &roles::Aggregator<'_>,
        store: Arc<dyn AggregatorStore>,
    ) -> Result<Self, StartError> {
        let (folder, limits) = (TaskFolder::new(config.tasks), limits(config.limits));
        let collectors = collectors(config)?;
        tell_moved_epochs(&collectors, &*store)?;
        let endpoints = (config.leader.1.as_str().to_owned(), config.helper.1.as_str().to_owned());
        let secrets = verify_secrets(config.verify_secret);
        let tasks = ProvisionedTasks::new(folder.clone(), endpoints, collectors.clone(), secrets, store)
            .with_max_body(limits.max_body);
        tasks.load_all().map_err(|error| StartError::Tasks(error.to_string()))?;
        let (hpke_configs, opener) = hpke(role, config.hpke)?;
        Ok(Self { folder, collectors, tasks, hpke_configs, opener, limits })
    }
}

fn verify_secrets(secrets: &[roles::VerifySecret]) -> Vec<(u8, VerifySecret)> {
    secrets.iter().map(|secret| (secret.id, VerifySecret::new(*secret.secret.expose()))).collect()
}

fn limits(limits: &roles::Limits) -> Limits {
    Limits {
        max_report_age: limits.max_report_age_seconds,
        max_clock_skew: limits.max_clock_skew_seconds,
        job_size: usize::try_from(limits.job_size).unwrap_or(usize::MAX),
        max_body: usize::try_from(limits.max_body_bytes).unwrap_or(usize::MAX),
    }
}

/// Where an aggregator's store is, and its bounds.
pub(crate) fn store_options(config: &roles::Aggregator<'_>) -> StoreOptions {
    StoreOptions {
        dir: config.store.to_owned(),
        watermark: config.watermark.to_owned(),
        max_bytes: config.limits.max_store_bytes,
        cache_bytes: STATE_CACHE_BYTES,
        segment_bytes: None,
    }
}

/// Releases are refused under epochs that are not those of the first charge; whoever moved them hears it at the start
/// rather than from a collector.
fn tell_moved_epochs(collectors: &Collectors, store: &dyn AggregatorStore) -> Result<(), StoreError> {
    for source in collectors.0.iter().flat_map(|collector| &collector.budget_sources) {
        let kept = store.epoch_start(&source.name)?;
        if let Err(error) = ledger::same_epochs(&source.name, &source.rules, kept) {
            tracing::error!(%error, "nothing is released of a budget source");
        }
    }
    Ok(())
}

/// The collectors of an aggregator, with what each may spend.
pub(crate) fn collectors(config: &roles::Aggregator<'_>) -> Result<Collectors, StartError> {
    let source = |source: &roles::BudgetSource| {
        let rules =
            SourceRules { epoch_start: source.epoch_start.unix_seconds(), cap: source.cap.get().into() };
        let task_caps = TaskCaps {
            each: source.task_cap.map(|cap| cap.get().into()),
            of: source.task_caps.iter().map(|(task, cap)| (*task, cap.get().into())).collect(),
        };
        Ok(RegisteredSource { name: BudgetSource::new(&source.name)?, rules, task_caps })
    };
    let collector = |collector: roles::AnyCollector<'_>| {
        Ok(RegisteredCollector {
            name: collector.name.to_owned(),
            hpke_config: collector.hpke_config.message(),
            token: collector.token,
            budget_sources: collector.budget_sources.iter().map(source).collect::<Result<_, _>>()?,
        })
    };
    let known = config.collectors().into_iter().map(collector).collect::<Result<_, LedgerError>>()?;
    Ok(Collectors(known))
}
