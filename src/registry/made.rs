//! The tasks of a generation: made once, and from then on made again exactly.

use arras_protocol::messages::TaskId;
use serde::{Deserialize, Serialize};

use super::allocation::Layout;
use super::{Advertiser, Generation, RegistryError, Terms, ValueTask};
use crate::net::endpoint::Endpoint;
use crate::tasks::author::{ProfileChoice, VdafChoice};
use crate::tasks::provisioned::ProvisionedFile;
use crate::tasks::{TaskFile, TaskFileError, TaskFolder};

/// Unit of the times of tasks, in seconds: a quarter of an hour, which the hours of every time zone in use are whole multiples
/// of, so that windows can begin at midnight anywhere.
pub const TIME_PRECISION_SECONDS: u64 = 900;

/// What the registry is told of the roles around it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The leader's endpoint, byte for byte as in tasks.
    pub leader: Endpoint,
    /// The helper's.
    pub helper: Endpoint,
    /// What the aggregators' configurations call this collector.
    pub collector: String,
    /// The collector's folder of tasks.
    pub tasks: TaskFolder,
}

/// Everything that the tasks of a generation are made of, beside its [`Layout`] and the advertiser's site. Kept with it: other
/// endpoints in the configuration, or another default of a later version, would make other tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Made {
    pub(super) leader: String,
    pub(super) helper: String,
    pub(super) collector: String,
    pub(super) terms: Terms,
    /// The smallest noised count that is shown.
    pub(super) threshold: u64,
    /// That of the task of values, which decides nothing but is part of its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) value_threshold: Option<u64>,
}

/// A task with both of its files.
pub(super) struct Task {
    pub(super) id: TaskId,
    pub(super) described: TaskFile,
    pub(super) provisioned: ProvisionedFile,
}

/// A task as it is given to the operators of both aggregators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskText {
    /// Its id, which follows from the file.
    pub task: TaskId,
    /// Its name; public.
    pub name: String,
    /// The file for `arras task add`.
    pub toml: String,
}

/// What a cell is called in a task's file. It says nothing of the campaign, so that a slot can have a campaign's name only
/// in the registry, and a release never changes its meaning.
fn labels(layout: &Layout) -> Vec<String> {
    let block = |event| (1..=layout.capacity).map(move |slot| format!("{event} #{slot}"));
    layout.events.iter().flat_map(block).collect()
}

fn describe(
    site: &str,
    number: u32,
    layout: &Layout,
    made: &Made,
    threshold: Option<u64>,
    of_values: Option<(u64, arras_protocol::epsilon::MicroEpsilon, TaskId)>,
) -> TaskFile {
    let length = layout.length;
    let (kind, vdaf, epsilon, conversions) = match of_values {
        None => ("conversions", VdafChoice::Histogram { length }, made.terms.epsilon, None),
        Some((max_value, epsilon, conversions)) => {
            ("value", VdafChoice::L1BoundSum { length, max_value }, epsilon, Some(conversions))
        }
    };
    TaskFile {
        name: format!("{site}/{kind}/{number}"),
        profile: ProfileChoice::Arras,
        leader: made.leader.clone(),
        helper: made.helper.clone(),
        vdaf,
        time_precision: TIME_PRECISION_SECONDS,
        min_batch_size: made.terms.min_batch_size,
        epsilon,
        contributions: made.terms.contributions,
        threshold,
        budget_source: site.to_owned(),
        collector: made.collector.clone(),
        campaigns: labels(layout),
        conversions,
    }
}

/// Builds a task and writes down the threshold that it got, so that its file says the same for ever.
fn build(mut described: TaskFile) -> Result<(Task, u64), TaskFileError> {
    described.check_conversions()?;
    let (task, provisioned) = described.build()?;
    let threshold = task.policy().map_or(0, |policy| policy.threshold);
    described.threshold = Some(threshold);
    Ok((Task { id: task.id(), described, provisioned }, threshold))
}

/// Makes the tasks of a new generation.
pub(super) fn make(
    advertiser: &Advertiser,
    number: u32,
    layout: &Layout,
    setup: &Setup,
    now: u64,
) -> Result<(Generation, Made, Vec<Task>), RegistryError> {
    let terms = advertiser.terms;
    let mut made = Made {
        leader: setup.leader.as_str().to_owned(),
        helper: setup.helper.as_str().to_owned(),
        collector: setup.collector.clone(),
        terms,
        threshold: 0,
        value_threshold: None,
    };
    let (conversions, threshold) = build(describe(&advertiser.site, number, layout, &made, None, None))?;
    made.threshold = threshold;
    let mut generation = Generation {
        number,
        events: layout.events.clone(),
        capacity: layout.capacity,
        length: layout.length,
        slots: layout.slots.clone(),
        conversions: conversions.id,
        value: None,
        opened: now,
        closed: None,
    };
    let mut tasks = vec![conversions];
    if let Some(value) = terms.value {
        if value.unit == 0 || value.max_value < 2 {
            return Err(super::input::invalid(
                "the terms of values need a unit of at least 1 and a maximum of at least 2 units; ask for advice on values",
            ));
        }
        let of_values = Some((value.max_value, value.epsilon, generation.conversions));
        let (task, threshold) = build(describe(&advertiser.site, number, layout, &made, None, of_values))?;
        made.value_threshold = Some(threshold);
        generation.value = Some(ValueTask { task: task.id, unit: value.unit, max_value: value.max_value });
        tasks.push(task);
    }
    Ok((generation, made, tasks))
}

/// The tasks of a generation that was made before; fails if they are not those any more, which only another program or a
/// fault can bring about.
pub(super) fn remake(site: &str, generation: &Generation, made: &Made) -> Result<Vec<Task>, RegistryError> {
    let layout = Layout {
        events: generation.events.clone(),
        capacity: generation.capacity,
        length: generation.length,
        slots: Vec::new(),
    };
    let number = generation.number;
    let one = |threshold, of_values, id: TaskId| {
        let (task, _) = build(describe(site, number, &layout, made, Some(threshold), of_values))?;
        if task.id == id {
            return Ok(task);
        }
        Err(RegistryError::Row(format!(
            "task {id} of generation {number} of {site} is made as {} now",
            task.id
        )))
    };
    let mut tasks = vec![one(made.threshold, None, generation.conversions)?];
    if let (Some(value), Some(terms), Some(threshold)) =
        (generation.value, made.terms.value, made.value_threshold)
    {
        let of_values = Some((value.max_value, terms.epsilon, generation.conversions));
        tasks.push(one(threshold, of_values, value.task)?);
    }
    Ok(tasks)
}

impl Task {
    /// The file for the operators of both aggregators.
    pub(super) fn text(&self) -> Result<TaskText, RegistryError> {
        let body = toml::to_string(&self.described).map_err(|error| RegistryError::Row(error.to_string()))?;
        let what = if self.described.conversions.is_some() { "values" } else { "conversions" };
        let toml = format!(
            "# The task of {what} {}.\n# The operators of both aggregators take part in it with: arras task add FILE --config \
             FILE\n# Nothing in it may be changed: its id follows from its content.\n{body}",
            self.described.name
        );
        Ok(TaskText { task: self.id, name: self.described.name.clone(), toml })
    }
}
