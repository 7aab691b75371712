//! From an event to reports.

use arras_protocol::epsilon::{MICRO_PER_EPSILON, MicroEpsilon};
use arras_protocol::manifest::{Manifest, ManifestTask, Measures};
use arras_protocol::messages::{Report, ReportId};
use arras_protocol::report::{ReportMaker, ReportMakingError};
use arras_protocol::vdaf::{Measurement, VdafConfig};
use rand::CryptoRng;

use super::journal::{Form, JournalEntry, JournalReport, ReportState, hex};
use super::{App, AppError, EVENT_ID_BYTES_MAX, SERVICE, draws};
use crate::attribution::{
    ConversionOptions, ImplicitInputs, Moment, NOT_ATTRIBUTED, Outcome, SingleEpoch, Site, Storage,
    largest_deduction,
};
use crate::files::Files;

/// A conversion, as an app tells it.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    /// The advertiser's site, at which it happened.
    pub advertiser: &'a str,
    /// What happened, by its name in the manifest, such as `purchase`.
    pub name: &'a str,
    /// In the currency's minor unit, such as cents, if it is worth something.
    pub value: Option<u64>,
    /// The caller's id of it, such as an order number: told twice, it is counted once, as long as the journal is not erased and
    /// less than 1,000 others came since. It never leaves the device.
    pub id: &'a str,
}

impl std::fmt::Debug for Event<'_> {
    // What somebody bought is not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event").finish_non_exhaustive()
    }
}

/// What became of a conversion. None of it says whether an ad led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Converted {
    /// So many reports wait to be sent: one for each task that counts the event and may still get one.
    Reported(usize),
    /// It was counted before.
    Duplicate,
    /// Every task that counts it has got the reports that its policy allows a device in 7 days.
    Spent,
}

/// The most that a conversion costs a device for one task, of this VDAF and epsilon, in micro-epsilon of each week that it looks
/// back on: what one costs that is worth all of the task's maximum. It is the epsilon itself, or a millionth more, since the
/// standard computes in doubles and rounds up. A conversion costs so much for each task that counts it; see
/// [`AppRules::advertiser_budget`](super::AppRules::advertiser_budget).
pub fn conversion_cost(vdaf: &VdafConfig, epsilon: MicroEpsilon) -> u64 {
    // No task has a larger one.
    let max = u32::try_from(vdaf.enforced_max()).unwrap_or(u32::MAX);
    largest_deduction(as_double(epsilon), max)
}

/// As the engine takes it.
fn as_double(epsilon: MicroEpsilon) -> f64 {
    f64::from(epsilon.get()) / f64::from(MICRO_PER_EPSILON)
}

/// A report that is to be made.
struct Planned<'m> {
    task: &'m ManifestTask,
    id: ReportId,
    measurement: Measurement,
    form: Form,
}

/// What an upper bound for a report's size allows for headers, keys and tags, in bytes.
const OVERHEAD_BYTES: usize = 512;

impl<S: Storage, F: Files> App<S, F> {
    /// Something happened that an advertiser counts: makes its reports, attributed or null, and puts them into the queue. `now` is the
    /// POSIX second of this call, also if it tells of something earlier: a report is sent up to an hour after it
    /// ([`QueueRules::jitter_seconds`](crate::queue::QueueRules::jitter_seconds)), and with an earlier time would be sent at the
    /// moment of the call.
    ///
    /// # Errors
    /// Nothing is spent if the caller is at fault or the queue is full. After [`AppError::Io`] or [`AppError::Storage`] the
    /// budget may be spent and no report made.
    pub fn conversion(
        &mut self,
        rng: &mut impl CryptoRng,
        event: Event<'_>,
        now: u64,
    ) -> Result<Converted, AppError> {
        if !(1..=EVENT_ID_BYTES_MAX).contains(&event.id.len()) {
            return Err(AppError::EventId);
        }
        let manifest = self.manifest(event.advertiser, now)?;
        if !manifest.knows_event(event.name) {
            return Err(AppError::UnknownEvent);
        }
        if self.kept.events.contains(event.advertiser, event.name, event.id) {
            return Ok(Converted::Duplicate);
        }
        // Taken out, so that the rest of the app can be changed while it is looked at; back in whatever happens.
        let Some(manifest) = self.manifests.remove(event.advertiser) else {
            return Err(AppError::NoManifest);
        };
        let converted = self.convert(rng, &manifest, event, now);
        self.manifests.insert(event.advertiser.to_owned(), manifest);
        converted
    }

    fn convert(
        &mut self,
        rng: &mut impl CryptoRng,
        manifest: &Manifest,
        event: Event<'_>,
        now: u64,
    ) -> Result<Converted, AppError> {
        if self.kept.is_full() {
            self.kept.prune(&manifest.tasks().iter().map(|task| task.task.id()).collect(), now);
        }
        let counting: Vec<(&ManifestTask, u32)> = manifest
            .tasks()
            .iter()
            .filter_map(|task| Some((task, task.offset(event.name)?)))
            .filter(|(task, _)| self.admits(task, now))
            .collect();
        if counting.is_empty() {
            return Ok(Converted::Spent);
        }
        self.require_room(&counting, now)?;
        let inputs = ImplicitInputs {
            top_level_site: Site::parse(event.advertiser)?,
            intermediary_site: None,
            timestamp: Moment::from_posix_seconds(now),
        };
        let mut planned = Vec::new();
        for (task, offset) in counting {
            let campaign = |bucket| manifest.campaign(bucket).map(str::to_owned);
            let (bucket, form) = self.attribute(rng, &inputs, task, (offset, event.value), campaign)?;
            let amount = match form {
                Form::Attributed { amount, .. } => amount,
                Form::Null { .. } => 0,
            };
            let measurement = measurement(task, bucket, amount);
            planned.push(Planned { task, id: ReportId::random(rng), measurement, form });
        }
        // From here on the conversion is counted, whatever happens to its reports.
        self.count(&planned, event, now).inspect_err(|_| self.reconcile())?;
        let pushed = planned.iter().try_for_each(|one| {
            let report = make(rng, one.task, one.id, &one.measurement, now)?;
            let leader = &one.task.task.configuration().leader;
            Ok(self.queue.push(rng, one.task.task.id(), leader, &report, now)?)
        });
        // What could not be kept is lost, and the journal says so.
        pushed.inspect_err(|_: &AppError| self.reconcile())?;
        Ok(Converted::Reported(planned.len()))
    }

    fn admits(&self, task: &ManifestTask, now: u64) -> bool {
        let k = task.task.policy().map_or(0, |policy| policy.contributions.get());
        let within = task
            .task
            .interval()
            .is_none_or(|interval| interval.contains(task.task.configuration().time_precision.truncate(now)));
        within
            && self.kept.has_room_for(task.task.id())
            && self.kept.sent_of(task.task.id()).admits(now, k).is_ok()
    }

    /// Before anything is spent.
    fn require_room(&mut self, counting: &[(&ManifestTask, u32)], now: u64) -> Result<(), AppError> {
        let size = |task: &ManifestTask| {
            let vdaf = task.task.vdaf();
            vdaf.public_share_len() + vdaf.leader_share_len() + vdaf.helper_share_len() + OVERHEAD_BYTES
        };
        let bytes: usize = counting.iter().map(|(task, _)| size(task)).sum();
        for id in self.queue.make_room(counting.len(), bytes as u64, now)? {
            if let Some(report) = self.journal_report(id) {
                report.state = ReportState::Lost;
            }
        }
        Ok(())
    }

    /// Has the engine attribute, and spends the device's budget; gives the bucket in the task's histogram, and what the
    /// person is told.
    fn attribute(
        &mut self,
        rng: &mut impl CryptoRng,
        inputs: &ImplicitInputs,
        task: &ManifestTask,
        (offset, value): (u32, Option<u64>),
        campaign: impl Fn(u32) -> Option<String>,
    ) -> Result<(u32, Form), AppError> {
        let null = |why: &str| Ok((NOT_ATTRIBUTED, Form::Null { why: why.to_owned() }));
        // As recorded, even if the engine is on.
        if !self.kept.consent.given() {
            return null("no consent");
        }
        let (amount, max) = amount(task, value);
        if amount == 0 {
            return null(match value {
                Some(_) => "it is worth less than the task's unit",
                None => "it has no value, and the task adds up values",
            });
        }
        let Some(options) = self.options(task, amount, max) else {
            return null("the engine cannot hold its task");
        };
        // A histogram's null is a 1 in the cell for it, a sum's is all zero.
        let single_epoch = match task.task.vdaf().config() {
            VdafConfig::L1BoundSum { .. } => SingleEpoch::Norm,
            _ => SingleEpoch::TwiceValue,
        };
        let measured = self.engine.measure(&mut draws(rng), inputs, &options, single_epoch)?;
        match measured.outcome() {
            Outcome::Attributed => {}
            Outcome::NoMatch => return null("no ad led to it"),
            Outcome::NoBudget => return null("the device's budget is spent"),
            Outcome::Disabled => return null("no consent"),
            Outcome::NotStored(_) => return null("the device could not keep what it costs"),
        }
        // All of the credit goes to one ad, so there is one cell.
        let cell =
            measured.histogram().iter().position(|cell| *cell > 0).and_then(|at| u32::try_from(at).ok());
        let Some(cell) = cell else { return null("no ad led to it") };
        let bucket = cell + offset;
        let form = Form::Attributed { campaign: campaign(cell), bucket, amount };
        // A manifest of today may have fewer buckets than that of the impression had.
        let length = u32::try_from(task.task.vdaf().config().output_len()).unwrap_or(u32::MAX);
        if bucket < length { Ok((bucket, form)) } else { null("its campaign is over") }
    }

    fn options(&self, task: &ManifestTask, amount: u64, max: u64) -> Option<ConversionOptions> {
        let epsilon = task.task.policy()?.epsilon;
        Some(ConversionOptions {
            epsilon: as_double(epsilon),
            lookback_days: Some(self.rules.lookback_days),
            value: u32::try_from(amount).ok()?,
            max_value: u32::try_from(max).ok()?,
            ..ConversionOptions::new(SERVICE, arras_protocol::manifest::BUCKETS_MAX)
        })
    }

    /// Remembers durably that the conversion was counted, and what for.
    fn count(&mut self, planned: &[Planned<'_>], event: Event<'_>, now: u64) -> Result<(), AppError> {
        let report = |one: &Planned<'_>| JournalReport {
            task: one.task.task.id().to_string(),
            report: hex(one.id),
            form: one.form.clone(),
            state: ReportState::Waiting,
            sealed_to: sealed_to(one.task),
        };
        for one in planned {
            let k = one.task.task.policy().map_or(0, |policy| policy.contributions.get());
            self.kept.count(one.task.task.id(), now, k);
        }
        self.kept.events.insert(event.advertiser, event.name, event.id);
        self.kept.note(JournalEntry {
            at: now,
            advertiser: event.advertiser.to_owned(),
            event: event.name.to_owned(),
            value: event.value,
            reports: planned.iter().map(report).collect(),
        });
        self.keep()
    }
}

/// What is added, and the most that the task allows.
fn amount(task: &ManifestTask, value: Option<u64>) -> (u64, u64) {
    match (*task.task.vdaf().config(), task.measures) {
        (VdafConfig::L1BoundSum { max_value, .. }, Measures::Value) => {
            ((value.unwrap_or(0) / task.unit.max(1)).min(max_value), max_value)
        }
        _ => (1, 1),
    }
}

/// What the report says. The bucket was held against the task's length.
pub(super) fn measurement(task: &ManifestTask, bucket: u32, amount: u64) -> Measurement {
    match *task.task.vdaf().config() {
        VdafConfig::L1BoundSum { length, .. } => {
            let mut cells = vec![0; length as usize];
            // A sum has no cell for "not attributed": it says so by being all zero.
            if let Some(cell) = cells.get_mut(bucket as usize).filter(|_| bucket != NOT_ATTRIBUTED) {
                *cell = amount;
            }
            Measurement::Vector(cells)
        }
        _ => Measurement::Bucket(bucket),
    }
}

/// The ids of the HPKE configurations that reports of a task are sealed to now.
pub(super) fn sealed_to(task: &ManifestTask) -> (u8, u8) {
    let id = |list: &arras_protocol::messages::HpkeConfigList| list.supported().map_or(0, |config| config.id);
    (id(&task.leader_hpke), id(&task.helper_hpke))
}

pub(super) fn make(
    rng: &mut impl CryptoRng,
    task: &ManifestTask,
    id: ReportId,
    measurement: &Measurement,
    at: u64,
) -> Result<Report, AppError> {
    use arras_protocol::messages::Role;
    let unsupported = |role| AppError::Report(ReportMakingError::UnsupportedHpkeConfig(role));
    let leader = task.leader_hpke.supported().ok_or_else(|| unsupported(Role::Leader))?;
    let helper = task.helper_hpke.supported().ok_or_else(|| unsupported(Role::Helper))?;
    let maker = ReportMaker::new(&task.task, leader, helper)?;
    Ok(maker.make_as(rng, id, at, measurement, None)?)
}
