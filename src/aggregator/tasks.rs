//! Which tasks an aggregator takes part in, and for whom.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, RwLock};

use arras_protocol::codec::Encode as _;
use arras_protocol::messages::{HpkeConfig, TaskId};
use arras_protocol::task::{Task, VerifyKey, VerifySecret};

use crate::aggregator::report_len;
use crate::net::auth::TokenHash;
use crate::privacy::gate::Terms;
use crate::privacy::ledger::{BudgetSource, SourceRules, TaskCaps};
use crate::store::{AggregatorStore, StoreError, TaskRecord};
use crate::tasks::TaskFolder;
use crate::tasks::provisioned::{KnownTask, ProvisionError};

/// Seconds between two looks into the folder for a task that is not known: requests for tasks that
/// do not exist must not cost a disk access each.
const RESCAN_SECONDS: u64 = 2;

/// A collector that the operator registered, with the budgets that it may spend. The collector's key and
/// token belong to it alone.
#[derive(Clone, Debug)]
pub struct RegisteredCollector {
    /// The operator's name for it.
    pub name: String,
    /// What aggregate shares are sealed to.
    pub hpke_config: HpkeConfig,
    /// What its requests carry; the helper never hears from it.
    pub token: Option<TokenHash>,
    /// Its budget sources; any other is refused, or a fresh name would be a fresh budget.
    pub budget_sources: Vec<RegisteredSource>,
}

/// A budget source as the operator registered it.
#[derive(Clone, Debug)]
pub struct RegisteredSource {
    /// Its name.
    pub name: BudgetSource,
    /// When its epochs start, and its cap.
    pub rules: SourceRules,
    /// What single tasks may spend of it.
    pub task_caps: TaskCaps,
}

/// All collectors of an aggregator.
#[derive(Clone, Debug, Default)]
pub struct Collectors(pub Vec<RegisteredCollector>);

impl Collectors {
    fn terms(&self, known: &KnownTask) -> Result<(Terms, RegisteredCollector), String> {
        let collector =
            self.0.iter().find(|collector| collector.name == known.collector).ok_or_else(|| {
                format!("collector {:?} is not in this aggregator's configuration", known.collector)
            })?;
        let source = collector
            .budget_sources
            .iter()
            .find(|source| source.name.as_str() == known.budget_source)
            .ok_or_else(|| {
                format!(
                    "budget source {:?} is not registered for collector {:?}",
                    known.budget_source, collector.name
                )
            })?;
        let terms = Terms::new(&known.task, known.policy, source.name.clone(), source.rules)
            .with_task_cap(source.task_caps.cap_of(known.task.id()));
        Ok((terms, collector.clone()))
    }
}

/// A task that this aggregator takes part in.
#[derive(Debug)]
pub struct ProvisionedTask {
    /// The task.
    pub task: Task,
    /// Under which terms its batches are released.
    pub terms: Terms,
    /// For whom.
    pub collector: RegisteredCollector,
    /// Which of the shared secrets its verify key comes from.
    pub verify_secret_id: u8,
    /// The verify key.
    pub verify_key: VerifyKey,
}

/// Why a task in the folder is not taken part in. It is logged; requests for it are answered with
/// `unrecognizedTask`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptOut {
    /// The file cannot be used.
    #[error("{0}")]
    File(#[from] ProvisionError),
    /// The configuration does not cover it.
    #[error("task {0}: {1}")]
    NotConfigured(TaskId, String),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// The tasks of one aggregator, read from its folder as they are asked for.
pub struct ProvisionedTasks {
    folder: TaskFolder,
    /// Our endpoint and the peer's, as they must be in a task: (leader, helper).
    endpoints: (String, String),
    collectors: Collectors,
    verify_secrets: Vec<(u8, VerifySecret)>,
    store: Arc<dyn AggregatorStore>,
    tasks: RwLock<BTreeMap<TaskId, Arc<ProvisionedTask>>>,
    /// Tasks of the folder that cannot be used, and why: for the log.
    left_out: Mutex<HashMap<TaskId, String>>,
    /// When a missing task was last looked for, by POSIX second; owned by `get`, which holds it while it looks.
    last_scan: Mutex<u64>,
    max_body: usize,
}

impl ProvisionedTasks {
    /// For an aggregator; the first of `verify_secrets` is used for new tasks.
    pub fn new(
        folder: TaskFolder,
        endpoints: (String, String),
        collectors: Collectors,
        verify_secrets: Vec<(u8, VerifySecret)>,
        store: Arc<dyn AggregatorStore>,
    ) -> Self {
        Self {
            folder,
            endpoints,
            collectors,
            verify_secrets,
            store,
            tasks: RwLock::default(),
            left_out: Mutex::default(),
            last_scan: Mutex::new(0),
            max_body: usize::MAX,
        }
    }

    /// Leaves out tasks of which not even one report fits into a request body of so many bytes.
    #[must_use]
    pub fn with_max_body(self, max_body: usize) -> Self {
        Self { max_body, ..self }
    }

    /// Takes part in all tasks of the folder; those that cannot be are logged and left out.
    pub fn load_all(&self) -> Result<Vec<Arc<ProvisionedTask>>, OptOut> {
        for id in self.folder.ids()? {
            if self.cached(id).is_none() {
                match self.opt_in(id) {
                    Ok(_) => {}
                    Err(error @ OptOut::Store(_)) => return Err(error),
                    Err(error) => self.warn_once(id, &error.to_string()),
                }
            }
        }
        Ok(self.all())
    }

    /// All tasks taken part in, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<ProvisionedTask>> {
        let tasks = self.tasks.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        tasks.values().cloned().collect()
    }

    /// A task. One that is not known is looked for in the folder, which blocks, at most every
    /// two seconds.
    ///
    /// Whoever asks while somebody looks waits, and then sees what was found: when a task was added, its first uploads
    /// come at once.
    pub fn get(&self, id: TaskId, now: u64) -> Option<Arc<ProvisionedTask>> {
        if let Some(task) = self.cached(id) {
            return Some(task);
        }
        let mut last = self.last_scan.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(task) = self.cached(id) {
            return Some(task);
        }
        if now.abs_diff(*last) < RESCAN_SECONDS {
            return None;
        }
        *last = now;
        if let Err(error) = self.load_all() {
            tracing::error!(%error, "looking for tasks");
        }
        drop(last);
        self.cached(id)
    }

    /// Says why a task is left out, but not again at every look into the folder.
    fn warn_once(&self, id: TaskId, reason: &str) {
        let mut left_out = self.left_out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if left_out.get(&id).is_none_or(|earlier| earlier != reason) {
            tracing::warn!(reason, "a task is left out");
            left_out.insert(id, reason.to_owned());
        }
    }

    /// A task that was looked for before; does not block.
    pub(crate) fn cached(&self, id: TaskId) -> Option<Arc<ProvisionedTask>> {
        let tasks = self.tasks.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        tasks.get(&id).cloned()
    }

    fn opt_in(&self, id: TaskId) -> Result<Arc<ProvisionedTask>, OptOut> {
        let not_configured = |reason: String| OptOut::NotConfigured(id, reason);
        let known = self.folder.load(id)?.ok_or_else(|| not_configured("its file is gone".to_owned()))?;
        let configuration = known.task.configuration();
        // Byte for byte: a URL that merely means the same is another task to the other parties.
        let endpoints = (configuration.leader.as_str(), configuration.helper.as_str());
        if endpoints != (self.endpoints.0.as_str(), self.endpoints.1.as_str()) {
            return Err(not_configured(format!(
                "its endpoints are {} and {}, this pair of aggregators has {} and {}",
                endpoints.0, endpoints.1, self.endpoints.0, self.endpoints.1
            )));
        }
        let report = report_len(&known.task);
        if report > self.max_body {
            return Err(not_configured(format!(
                "one of its reports takes up to {report} bytes in a request, limits.max_body_bytes is {}",
                self.max_body
            )));
        }
        let (terms, collector) = self.collectors.terms(&known).map_err(not_configured)?;
        let first =
            self.verify_secrets.first().ok_or_else(|| not_configured("no verify_secret".to_owned()))?;
        let terms_now = terms.pinned();
        let record = TaskRecord {
            configuration: configuration.to_bytes(),
            verify_secret_id: first.0,
            terms: terms_now.clone(),
        };
        let kept = self.store.opt_in(id, &record)?;
        // Those of a plain task are in the operator's file. Devices were promised what it said first.
        if !kept.terms.same(&terms_now) {
            return Err(not_configured(format!(
                "its file says {terms_now}; when this aggregator first took part in it, it was {}. Its reports were made \
                 under those, so they hold for its life: set the file back, or make a new task with another name",
                kept.terms
            )));
        }
        let verify_secret_id = kept.verify_secret_id;
        let (_, secret) =
            self.verify_secrets.iter().find(|(secret_id, _)| *secret_id == verify_secret_id).ok_or_else(
                || {
                    not_configured(format!(
                        "verify_secret {verify_secret_id}, which it was opted in with, is gone"
                    ))
                },
            )?;
        let task = Arc::new(ProvisionedTask {
            verify_key: secret.verify_key(id),
            task: known.task,
            terms,
            collector,
            verify_secret_id,
        });
        self.tasks.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(id, Arc::clone(&task));
        Ok(task)
    }
}
