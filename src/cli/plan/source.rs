//! What a leader's or helper's configuration says of a budget source.

use std::collections::BTreeMap;
use std::path::Path;

use arras_protocol::messages::TaskId;

use super::measured::Measured;
use super::{of_file, usage};
use crate::cli::Failure;
use crate::config::Config;
use crate::config::roles::{self, BudgetSource as ConfiguredSource};

/// What a source's operator lets a task spend alone, in micro-epsilon. A task without a file has no id yet.
pub(super) fn task_cap(source: Option<&ConfiguredSource>, task: Option<&Measured>) -> Option<u64> {
    let source = source?;
    let own = task.and_then(|task| source.task_caps.get(&task.id));
    own.or(source.task_cap.as_ref()).map(|cap| u64::from(cap.get()))
}

/// A budget source of a leader's or helper's configuration, by name if that is needed.
pub(super) fn configured(path: &Path, name: Option<&str>) -> Result<ConfiguredSource, Failure> {
    let wrong = |reason: String| usage(of_file("--config", path), reason);
    let config = Config::load(path).map_err(|error| wrong(error.to_string()))?;
    let collectors = config.aggregators().flat_map(roles::Aggregator::collectors);
    let mut sources: BTreeMap<&str, ConfiguredSource> = BTreeMap::new();
    for source in collectors.flat_map(|collector| collector.budget_sources) {
        let strictest = match sources.get(&*source.name) {
            // Both roles in one file: each keeps a ledger of its own, and one refusal is enough.
            Some(other) => stricter(source, other),
            None => source.clone(),
        };
        sources.insert(&source.name, strictest);
    }
    let found = match name {
        Some(name) => sources.get(name).cloned().ok_or_else(|| {
            format!("has no budget source {name:?}; name one that it has with --source, or correct the task")
        }),
        None if sources.len() > 1 => {
            Err("registers several budget sources; name one with --source".to_owned())
        }
        None => sources.values().next().cloned().ok_or_else(String::new),
    };
    if sources.is_empty() {
        return Err(wrong(
            "registers no budget source; name the configuration of a leader or helper".to_owned(),
        ));
    }
    found.map_err(wrong)
}

/// The lower of each of the limits that two roles have for one source.
pub(super) fn stricter(one: &ConfiguredSource, other: &ConfiguredSource) -> ConfiguredSource {
    let mut source = one.clone();
    source.cap = one.cap.min(other.cap);
    source.task_cap = [one.task_cap, other.task_cap].into_iter().flatten().min();
    // A task that only one of them names has what the other lets every task spend.
    let of =
        |source: &ConfiguredSource, task: TaskId| source.task_caps.get(&task).copied().or(source.task_cap);
    let tasks: Vec<TaskId> = one.task_caps.keys().chain(other.task_caps.keys()).copied().collect();
    for task in tasks {
        let lower = [of(one, task), of(other, task)].into_iter().flatten().min();
        source.task_caps.extend(lower.map(|cap| (task, cap)));
    }
    source
}
