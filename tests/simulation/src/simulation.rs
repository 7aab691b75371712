//! The parties of one run: their processes, disks and clocks, and what connects them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arras::aggregator::helper::{Helper, HelperParts};
use arras::aggregator::leader::{Leader, LeaderParts};
use arras::aggregator::{Clock, IdKey, Limits, NoiseFactory, ProvisionedTasks};
use arras::collector::{Collector, CollectorDisk, CollectorParts, Timing};
use arras::metrics::{CollectorMetrics, HelperMetrics, LeaderMetrics};
use arras::net::client::{Network, PeerClient};
use arras::privacy::noise::{NoiseError, NoiseSource, Scale};
use arras::store::{
    AggregatorStore, Disk, Fault, Faults, FileOp, HelperDisk, HelperStore, LeaderDisk, LeaderStore,
    MemoryDisk, StoreError, StoreOptions,
};
use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::Role;
use arras_protocol::task::VerifySecret;
use arras_protocol::verification::{InputShareOpener, hpke_config_list};
use axum::http::{Request, Response};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::lies::{Lie, LyingHelper, LyingLeader};
use crate::model::Model;
use crate::network::{Link, Weather, answer};
use crate::operation::{Failure, NODES, Party};
use crate::world::{CONFIG_IDS, COST, NOW, World, world};

/// The error of a failing disk, and of a full one.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Small, so that many segments are begun, emptied and deleted: some reports each.
const SEGMENT_BYTES: u64 = 6_000;

/// How a run differs from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Releases that the budget allows.
    pub releases: u64,
    /// What the aggregators' stores may hold, in bytes.
    pub store_bytes: u64,
    /// Reports in an aggregation job.
    pub job_size: usize,
    /// What breaks its word, to show that this is noticed.
    pub lie: Option<Lie>,
}

impl Setup {
    /// Of a seed: mostly plenty of everything.
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0x5e70);
        Self {
            releases: if chance.percent(20) { chance.between(1, 6) } else { 10_000 },
            store_bytes: if chance.percent(20) { 120_000 } else { 64 << 20 },
            job_size: chance.between(1, 9) as usize,
            lie: None,
        }
    }
}

/// What a process is made of while it runs.
#[derive(Default)]
struct Process {
    router: Option<axum::Router>,
    leader: Option<Leader>,
    collector: Option<Collector>,
    store: Option<Arc<dyn AggregatorStore>>,
    leader_store: Option<Arc<dyn LeaderStore>>,
    tasks: Vec<AbortHandle>,
}

/// A machine with its disk, and the process on it if it is up.
struct Node {
    disk: MemoryDisk,
    /// Counts the processes; what belongs to an earlier one does nothing any more.
    life: u64,
    process: Option<Process>,
    /// How many file operations happen before one that goes wrong, and how it does.
    armed: Option<(u8, Failure)>,
    /// Set between the two calls of the hook if the process ends after an operation; with the power?
    ends_after: Option<bool>,
    full: bool,
}

/// One run.
pub struct Simulation {
    setup: Setup,
    nodes: BTreeMap<Party, Mutex<Node>>,
    clocks: BTreeMap<Party, Arc<SimulatedClock>>,
    /// By how far a clock that is right is ahead of the simulated time, in seconds.
    passed: AtomicI64,
    /// The latest that any clock showed before it jumped.
    latest: AtomicU64,
    weather: Mutex<(Weather, Chance)>,
    chance: Mutex<Chance>,
    model: Mutex<Model>,
}

/// The simulated time and how far a party's clock is off.
struct SimulatedClock {
    started: Instant,
    offset: AtomicI64,
}

impl Clock for SimulatedClock {
    fn now(&self) -> u64 {
        self.since_epoch().as_secs()
    }

    fn since_epoch(&self) -> std::time::Duration {
        let offset = self.offset.load(Ordering::SeqCst);
        let elapsed = std::time::Duration::from_secs(NOW) + self.started.elapsed();
        let jumped = std::time::Duration::from_secs(offset.unsigned_abs());
        if offset < 0 { elapsed.saturating_sub(jumped) } else { elapsed + jumped }
    }
}

/// A lock that no panic leaves half changed: a run ends with the first one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulation {
    /// All parties, none of them up.
    pub fn new(setup: Setup, chance: &mut Chance) -> Arc<Self> {
        let node = |party| {
            let disk = MemoryDisk::new();
            if setup.lie == Some(Lie::DiskThatDoesNotSync) && party != Party::First {
                disk.lie_about_syncs();
            }
            let node = Node { disk, life: 0, process: None, armed: None, ends_after: None, full: false };
            (party, Mutex::new(node))
        };
        let started = Instant::now();
        let clock = |party| (party, Arc::new(SimulatedClock { started, offset: AtomicI64::new(0) }));
        Arc::new(Self {
            setup,
            nodes: NODES.into_iter().map(node).collect(),
            clocks: NODES.into_iter().map(clock).collect(),
            passed: AtomicI64::new(0),
            latest: AtomicU64::new(0),
            weather: Mutex::new((Weather::default(), chance.fork())),
            chance: Mutex::new(chance.fork()),
            model: Mutex::default(),
        })
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        lock(&self.model)
    }

    fn node(&self, party: Party) -> MutexGuard<'_, Node> {
        lock(&self.nodes[&party])
    }

    /// The cap of the budget, in micro-epsilon.
    pub fn budget(&self) -> u64 {
        self.setup.releases * COST
    }

    pub fn below(&self, n: u64) -> u64 {
        lock(&self.chance).below(n)
    }

    pub fn with_weather<T>(&self, use_it: impl FnOnce(&mut Weather, &mut Chance) -> T) -> T {
        let (weather, chance) = &mut *lock(&self.weather);
        use_it(weather, chance)
    }

    /// Which process of a party this is; clients never end.
    pub fn life(&self, party: Party) -> u64 {
        if party == Party::Client { 0 } else { self.node(party).life }
    }

    /// A client for the leader or the helper, as the present process of a party has it.
    pub fn client(self: &Arc<Self>, from: Party, to: Party) -> PeerClient {
        let world = world();
        let (endpoint, token) = match (from, to) {
            (Party::Leader, Party::Helper) => (&world.helper, Some(&world.leader_token)),
            (Party::First | Party::Second, _) => (&world.leader, Some(&world.collector_token)),
            _ => (&world.leader, None),
        };
        let link: Arc<dyn Network> =
            Arc::new(Link { simulation: Arc::downgrade(self), from, life: self.life(from) });
        PeerClient::simulated(endpoint.clone(), token.cloned(), link)
    }

    /// A clock jumps; with 0 it is set right.
    pub fn jump(&self, party: Party, seconds: i64) {
        self.latest.fetch_max(self.clocks[&party].now(), Ordering::SeqCst);
        match seconds {
            0 => self.clocks[&party].offset.store(self.passed.load(Ordering::SeqCst), Ordering::SeqCst),
            _ => drop(self.clocks[&party].offset.fetch_add(seconds, Ordering::SeqCst)),
        }
    }

    /// An hour passes at once, on all clocks.
    pub fn next_hour(&self) {
        self.passed.fetch_add(3_600, Ordering::SeqCst);
        for party in NODES {
            self.jump(party, 3_600);
        }
    }

    /// Sets all clocks to the latest that any of them has shown, and at least to a POSIX second: an answer is readable
    /// from a tick on, of whatever clock its leader had.
    pub fn agree_on_time(&self, at_least: u64) {
        let at_least = at_least.max(self.latest.load(Ordering::SeqCst));
        let latest = self.clocks.values().map(|clock| clock.now()).max().unwrap_or(0).max(at_least);
        for clock in self.clocks.values() {
            let behind = latest.saturating_sub(clock.now());
            clock.offset.fetch_add(i64::try_from(behind).unwrap_or(0), Ordering::SeqCst);
        }
    }

    pub fn arm(&self, party: Party, after: u8, how: Failure) {
        self.node(party).armed = Some((after, how));
    }

    pub fn disarm(&self, party: Party) {
        self.node(party).armed = None;
    }

    pub fn set_full(&self, party: Party, full: bool) {
        self.node(party).full = full;
    }

    pub fn collector(&self, party: Party) -> Option<Collector> {
        self.node(party).process.as_ref()?.collector.clone()
    }

    /// An aggregator's store, if it is up.
    pub fn store(&self, party: Party) -> Option<Arc<dyn AggregatorStore>> {
        self.node(party).process.as_ref()?.store.clone()
    }

    pub fn leader_store(&self) -> Option<Arc<dyn LeaderStore>> {
        self.node(Party::Leader).process.as_ref()?.leader_store.clone()
    }

    /// Lets a task end with a party's process.
    pub fn belongs_to(&self, party: Party, life: u64, task: AbortHandle) {
        let mut node = self.node(party);
        let current = node.life == life;
        match &mut node.process {
            Some(process) if current => {
                process.tasks.retain(|task| !task.is_finished());
                process.tasks.push(task);
            }
            _ => task.abort(),
        }
    }

    /// Ends a party's process, also from within one of its own file operations.
    pub fn end(&self, party: Party, with_power: bool) {
        let (process, disk) = {
            let mut node = self.node(party);
            node.life += 1;
            node.ends_after = None;
            (node.process.take(), node.disk.clone())
        };
        if with_power {
            let mut chance = lock(&self.chance).fork();
            disk.lose_power(&mut |n| chance.below(n));
        } else {
            disk.end_process();
        }
        let Some(process) = process else { return };
        process.tasks.iter().for_each(AbortHandle::abort);
        if let Some(leader) = &process.leader {
            self.model().leader_ended(&leader.counters());
        }
    }

    /// Starts a party that is down. A failure that was armed may be the reason why it does not start.
    pub fn start(self: &Arc<Self>, party: Party) -> Result<(), String> {
        if self.node(party).process.is_some() {
            return Ok(());
        }
        let life = {
            let mut node = self.node(party);
            node.life += 1;
            node.disk.end_process();
            node.life
        };
        let process = match party {
            Party::Leader => self.make_leader(life),
            Party::Helper => self.make_helper(life),
            Party::First | Party::Second => self.make_collector(party, life),
            Party::Client => return Ok(()),
        }?;
        let (leader, collector) = (process.leader.clone(), process.collector.clone());
        {
            let mut node = self.node(party);
            if node.life != life {
                return Err("it ended while it started".to_owned());
            }
            node.process = Some(process);
        }
        if let Some(leader) = leader {
            let drivers = tokio::spawn(async move { leader.run().await });
            self.belongs_to(party, life, drivers.abort_handle());
        }
        if let Some(collector) = collector {
            // What it says is checked where it is collected again.
            let resumed = tokio::spawn(async move { drop(collector.resume().await) });
            self.belongs_to(party, life, resumed.abort_handle());
        }
        Ok(())
    }

    /// Delivers a request, if somebody is there.
    pub fn deliver(
        self: &Arc<Self>,
        to: Party,
        request: Request<Bytes>,
    ) -> Option<oneshot::Receiver<Response<Bytes>>> {
        let (router, life) = {
            let node = self.node(to);
            (node.process.as_ref()?.router.clone()?, node.life)
        };
        self.model().delivered(to, &request);
        let (sender, receiver) = oneshot::channel();
        let simulation = Arc::clone(self);
        let kept = request.clone();
        let handling = tokio::spawn(async move {
            let response = answer(router, request).await;
            // A process that has ended says nothing.
            if simulation.life(to) == life {
                simulation.model().answered(to, &kept, &response);
                let _ = sender.send(response);
            }
        });
        self.belongs_to(to, life, handling.abort_handle());
        Some(receiver)
    }

    fn options(&self) -> StoreOptions {
        StoreOptions {
            dir: PathBuf::from("/store"),
            watermark: PathBuf::from("/marks/watermark"),
            max_bytes: self.setup.store_bytes,
            cache_bytes: 1 << 20,
            segment_bytes: Some(SEGMENT_BYTES),
        }
    }

    fn disk(self: &Arc<Self>, party: Party, life: u64) -> Disk {
        let hook = Hook { simulation: Arc::downgrade(self), party, life };
        Disk::in_memory(&self.node(party).disk, Arc::new(hook))
    }

    fn noise(self: &Arc<Self>, party: Party) -> NoiseFactory {
        let simulation = Arc::downgrade(self);
        Arc::new(move || {
            let drawn = simulation.upgrade().map_or(0, |simulation| simulation.model().draw(party));
            Box::new(KnownNoise(drawn))
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            max_report_age: 30 * 24 * 3_600,
            max_clock_skew: 60,
            job_size: self.setup.job_size,
            max_body: 1 << 20,
        }
    }

    fn tasks(&self, store: Arc<dyn AggregatorStore>) -> Result<ProvisionedTasks, String> {
        let world = world();
        let tasks = ProvisionedTasks::new(
            world.folder.clone(),
            (world.leader.as_str().to_owned(), world.helper.as_str().to_owned()),
            world.collectors(self.setup.releases),
            vec![(0, VerifySecret::new([7; 32]))],
            store,
        );
        tasks.load_all().map_err(|error| error.to_string())?;
        Ok(tasks)
    }

    fn make_leader(self: &Arc<Self>, life: u64) -> Result<Process, String> {
        let store = LeaderDisk::open_on(&self.options(), self.disk(Party::Leader, life))
            .map_err(|error: StoreError| error.to_string())?;
        let store: Arc<dyn LeaderStore> = match self.setup.lie {
            Some(lie) => Arc::new(LyingLeader::new(store, lie)),
            None => Arc::new(store),
        };
        let World { leader_key, leader: endpoint, .. } = world();
        let leader = Leader::new(LeaderParts {
            endpoint: endpoint.clone(),
            store: Arc::clone(&store),
            tasks: self.tasks(Arc::clone(&store) as Arc<dyn AggregatorStore>)?,
            hpke_configs: hpke_config_list([(CONFIG_IDS[0], leader_key)]).map_err(|e| e.to_string())?,
            opener: InputShareOpener::new(Role::Leader, [(CONFIG_IDS[0], leader_key)])
                .map_err(|e| e.to_string())?,
            id_key: IdKey::new(&[8; 32]),
            helper: self.client_of(Party::Leader, life),
            limits: self.limits(),
            clock: Arc::clone(&self.clocks[&Party::Leader]) as Arc<dyn Clock>,
            noise: self.noise(Party::Leader),
            metrics: LeaderMetrics::default(),
        });
        Ok(Process {
            router: Some(leader.router()),
            leader: Some(leader),
            store: Some(Arc::clone(&store) as Arc<dyn AggregatorStore>),
            leader_store: Some(store),
            ..Process::default()
        })
    }

    fn make_helper(self: &Arc<Self>, life: u64) -> Result<Process, String> {
        let store = HelperDisk::open_on(&self.options(), self.disk(Party::Helper, life))
            .map_err(|error: StoreError| error.to_string())?;
        let store: Arc<dyn HelperStore> = match self.setup.lie {
            Some(lie) => Arc::new(LyingHelper::new(store, lie)),
            None => Arc::new(store),
        };
        let World { helper_key, helper: endpoint, leader_token, .. } = world();
        let helper = Helper::new(HelperParts {
            endpoint: endpoint.clone(),
            store: Arc::clone(&store),
            tasks: self.tasks(Arc::clone(&store) as Arc<dyn AggregatorStore>)?,
            hpke_configs: hpke_config_list([(CONFIG_IDS[1], helper_key)]).map_err(|e| e.to_string())?,
            opener: InputShareOpener::new(Role::Helper, [(CONFIG_IDS[1], helper_key)])
                .map_err(|e| e.to_string())?,
            id_key: IdKey::new(&[9; 32]),
            leader_token: leader_token.hash(),
            limits: self.limits(),
            clock: Arc::clone(&self.clocks[&Party::Helper]) as Arc<dyn Clock>,
            noise: self.noise(Party::Helper),
            metrics: HelperMetrics::default(),
        });
        Ok(Process {
            router: Some(helper.router()),
            store: Some(store as Arc<dyn AggregatorStore>),
            ..Process::default()
        })
    }

    fn make_collector(self: &Arc<Self>, party: Party, life: u64) -> Result<Process, String> {
        let StoreOptions { dir, watermark, .. } = self.options();
        let store =
            CollectorDisk::open_on(&dir, &watermark, self.disk(party, life)).map_err(|e| e.to_string())?;
        let world = world();
        let collector = Collector::new(CollectorParts {
            store: Arc::new(store),
            tasks: world.folder.clone(),
            manifests: None,
            leader: self.client_of(party, life),
            keys: vec![(CONFIG_IDS[2], PrivateKey::from_bytes(*world.collector_key.expose_bytes()))],
            signer: Arc::clone(&world.signer),
            former_keys: Vec::new(),
            epoch_starts: vec![(crate::world::source().as_str().to_owned(), crate::world::EPOCH_START)],
            admin_token: world.collector_token.hash(),
            clock: Arc::clone(&self.clocks[&party]) as Arc<dyn Clock>,
            timing: Timing::default(),
            metrics: CollectorMetrics::default(),
        });
        Ok(Process { collector: Some(collector), ..Process::default() })
    }

    /// The client of a process that is being made.
    fn client_of(self: &Arc<Self>, party: Party, life: u64) -> PeerClient {
        debug_assert_eq!(self.life(party), life);
        self.client(party, if party == Party::Leader { Party::Helper } else { Party::Leader })
    }
}

/// What goes wrong with the files of one process.
struct Hook {
    simulation: Weak<Simulation>,
    party: Party,
    life: u64,
}

impl Faults for Hook {
    fn before(&self, op: FileOp<'_>) -> Option<Fault> {
        let simulation = self.simulation.upgrade()?;
        let ends = {
            let mut node = simulation.node(self.party);
            if node.life != self.life {
                return Some(Fault::Errno(EIO));
            }
            let spool = matches!(op, FileOp::Write(path, _) if path.extension().is_some());
            if node.full && (spool || matches!(op, FileOp::FreeSpace(_))) {
                return Some(Fault::Errno(ENOSPC));
            }
            match node.armed {
                None => return None,
                Some((left, how)) if left > 0 => {
                    node.armed = Some((left - 1, how));
                    return None;
                }
                Some((_, how)) => {
                    node.armed = None;
                    match how {
                        Failure::Refused => return Some(Fault::Errno(EIO)),
                        Failure::Short(bytes) => return Some(Fault::Short(bytes.into(), ENOSPC)),
                        Failure::Late => return Some(Fault::Late(EIO)),
                        Failure::EndsAfter | Failure::PowerAfter => {
                            node.ends_after = Some(how == Failure::PowerAfter);
                            return Some(Fault::Late(EIO));
                        }
                        Failure::EndsBefore => false,
                        Failure::PowerBefore => true,
                    }
                }
            }
        };
        simulation.end(self.party, ends);
        Some(Fault::Errno(EIO))
    }

    fn after(&self, _: FileOp<'_>) {
        let Some(simulation) = self.simulation.upgrade() else { return };
        let ends = {
            let mut node = simulation.node(self.party);
            if node.life == self.life { node.ends_after.take() } else { None }
        };
        if let Some(with_power) = ends {
            simulation.end(self.party, with_power);
        }
    }
}

/// Noise of which is known who drew it and when: every sample of one vector is the same.
struct KnownNoise(i128);

impl NoiseSource for KnownNoise {
    fn discrete_laplace(&mut self, _: &Scale) -> Result<i128, NoiseError> {
        Ok(self.0)
    }
}
