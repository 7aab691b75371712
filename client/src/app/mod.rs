//! What an app embeds: impressions, clicks and conversions by the names that its advertisers give them.
//!
//! An [`App`] puts the parts together: the attribution engine keeps the ads and spends the device's budget, manifests say
//! what is counted, the queue holds reports until they are sent, and a journal tells the person all of it. State
//! and reports are durable before a call returns; the network is never waited for.
//!
//! | step | durable when it is done | a crash right after it |
//! |---|---|---|
//! | the engine attributes | what was spent of the device's budget | spent; nothing is counted, the call may be repeated |
//! | event id, contribution and journal are kept | that this conversion was counted | spent; the report is lost, a repeated call makes no other |
//! | the report is in the queue | the report | it is sent |
//!
//! So a budget is never spent less than what left the device, and no conversion makes two reports for a task.
//!
//! Consent is a state that the app sets and the device records. Without it no impression is kept, and a conversion's
//! report is null and has the size of all others, so that nobody sees who agreed. Withdrawing it erases
//! what was kept, and nothing is sent while that is not finished.

mod conversion;
mod delivery;
mod journal;
mod kept;
mod manifests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use arras_protocol::manifest::{CLICKS, Manifest, ManifestError, VIEWS};
use arras_protocol::report::ReportMakingError;
use arras_protocol::signed::PublicKey;
use rand::CryptoRng;

pub use conversion::{Converted, Event, conversion_cost};
pub use journal::{BudgetOfAdvertiser, Form, Journal, JournalEntry, JournalReport, Remembered, ReportState};
pub use kept::{Consent, StateError};

use crate::attribution::{
    AggregationService, AttributionError, Config, Engine, ImplicitInputs, ImpressionOptions, Moment,
    Protocol, Site, Storage, StorageError,
};
use crate::files::Files;
use crate::queue::{Queue, QueueError, QueueRules};
use kept::Kept;

/// The engine knows services by a URL; the app has one, whose tasks its manifests name.
const SERVICE: &str = "arras:manifests";

/// A click comes before every view that is remembered, however long ago it was.
const CLICK_PRIORITY: i32 = 1;

/// Longest id of an event, in bytes.
pub const EVENT_ID_BYTES_MAX: usize = 100;

/// Whose manifests are followed.
#[derive(Clone, Debug)]
pub struct Advertiser {
    /// Its site, such as `shop.example`: a registrable domain in lower case.
    pub site: String,
    /// Keys that its manifests may be signed with; pinned in the app.
    pub keys: Vec<PublicKey>,
}

/// What an app decides.
#[derive(Clone, Debug)]
pub struct AppRules {
    /// The app's own site: the domain of who publishes it.
    pub site: String,
    /// Whose manifests it follows.
    pub advertisers: Vec<Advertiser>,
    /// What the conversions of one advertiser may spend in a week, in micro-epsilon. A conversion costs [`conversion_cost`] for
    /// each task that counts it, in every week that it looks back on and that has an ad of the advertiser: the task's epsilon,
    /// rounded up as the standard computes it, which may be a millionth more; of a value the part that it is of the maximum; half
    /// for an L1BoundSum if it looks back on one week. When there is not enough, the report is null.
    pub advertiser_budget: u32,
    /// What all advertisers together may spend in a week, in micro-epsilon.
    pub total_budget: u32,
    /// How old an ad may be that a conversion is attributed to, in days; 1 to 30.
    pub lookback_days: u32,
    /// How much waits for upload, and for how long.
    pub queue: QueueRules,
}

impl AppRules {
    /// For an app; budgets and lookback are the engine's defaults.
    pub fn new(site: impl Into<String>, advertisers: Vec<Advertiser>) -> Self {
        let defaults = Config::default();
        Self {
            site: site.into(),
            advertisers,
            advertiser_budget: defaults.site_budget,
            total_budget: defaults.global_budget,
            lookback_days: defaults.max_lookback_days,
            queue: QueueRules::default(),
        }
    }

    /// What a later call would stumble over.
    fn check(&self) -> Result<(), AppError> {
        let mut sites = std::collections::BTreeSet::new();
        for advertiser in &self.advertisers {
            if Site::parse(&advertiser.site)?.as_str() != advertiser.site || !sites.insert(&advertiser.site) {
                return Err(AttributionError::Syntax(advertiser.site.clone()).into());
            }
        }
        let most = Config::default().max_lookback_days;
        if !(1..=most).contains(&self.lookback_days) {
            let refusal = format!("lookback_days is {}, it must be 1 to {most}", self.lookback_days);
            return Err(AttributionError::Range(refusal).into());
        }
        Ok(())
    }

    fn engine(&self) -> Config {
        let service = AggregationService {
            protocol: Protocol::Dap18Histogram,
            max_histogram_size: None,
            // Reports are made here, for the tasks of manifests.
            dap: None,
        };
        Config {
            services: [(SERVICE.to_owned(), service)].into(),
            site_budget: self.advertiser_budget,
            global_budget: self.total_budget,
            // All ads are seen at one site, the app's: its quota is what all advertisers may spend.
            impression_site_quota: self.total_budget,
            max_histogram_size: arras_protocol::manifest::BUCKETS_MAX,
            ..Config::default()
        }
    }
}

/// Why a call did nothing, or less than it should. Errors end up in logs, so none says which ad was seen or what was bought:
/// the caller knows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The rules name no such advertiser.
    #[error("the site is no advertiser of this app; add it and its keys to the rules")]
    UnknownAdvertiser,
    /// There is no manifest of the advertiser that holds now.
    #[error("there is no current manifest of the advertiser; fetch it and give it to `update_manifest`")]
    NoManifest,
    /// The manifest has no such campaign.
    #[error(
        "the advertiser's manifest has no campaign of this name; check the name, or fetch a newer manifest"
    )]
    UnknownCampaign,
    /// No task of the manifest counts such an event.
    #[error(
        "no task of the advertiser counts an event of this name; check the name, or fetch a newer manifest"
    )]
    UnknownEvent,
    /// An event's id is empty or too long.
    #[error("an event id has 1 to {EVENT_ID_BYTES_MAX} bytes")]
    EventId,
    /// A manifest is refused. What was followed before is followed on.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The engine refuses the call.
    #[error(transparent)]
    Attribution(#[from] AttributionError),
    /// The engine's state cannot be kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The app's own state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The disk.
    #[error("the app's state cannot be kept: {0}")]
    Io(#[from] io::Error),
    /// Reports that wait fill the queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A report could not be made.
    #[error(transparent)]
    Report(#[from] ReportMakingError),
}

/// An ad, as an app knows it.
#[derive(Clone, Copy)]
pub struct Ad<'a> {
    /// The advertiser's site.
    pub advertiser: &'a str,
    /// The campaign, by its name in the manifest. One whose views and clicks are counted apart there (`NAME/view` and `NAME/click`)
    /// is NAME here all the same.
    pub campaign: &'a str,
}

impl std::fmt::Debug for Ad<'_> {
    // What somebody saw is not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ad").finish_non_exhaustive()
    }
}

/// The measurement of one device. It is owned by one thread at a time; an app and its courier share it behind a mutex.
pub struct App<S, F> {
    rules: AppRules,
    site: Site,
    engine: Engine<S>,
    queue: Queue<F>,
    kept: Kept,
    manifests: BTreeMap<String, Manifest>,
}

impl<S, F> std::fmt::Debug for App<S, F> {
    // What somebody saw and bought is not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl<S: Storage, F: Files> App<S, F> {
    /// Takes up what an earlier run left: the engine's state in `storage`, everything else in `files`. `now` is the POSIX
    /// second, as everywhere here.
    pub fn open(rules: AppRules, storage: S, files: F, now: u64) -> Result<Self, AppError> {
        let site = Site::parse(&rules.site)?;
        rules.check()?;
        let engine = Engine::open(rules.engine(), storage)?;
        let queue = Queue::open(files, rules.queue)?;
        let kept = Kept::load(queue.files())?;
        let mut app = Self { rules, site, engine, queue, kept, manifests: BTreeMap::new() };
        match (app.kept.consent.given(), app.engine.is_enabled()) {
            // Nobody has agreed, or a crash kept an agreement from being recorded.
            (false, true) => app.engine.set_enabled(false)?,
            // A crash cut a withdrawal short.
            (true, false) => app.set_consent(false, now)?,
            _ => {}
        }
        app.load_manifests()?;
        app.reconcile();
        Ok(app)
    }

    /// Gives up an app's file that [`App::open`] found damaged ([`StateError::Damaged`]), and begins anew at `now`, which
    /// must be right. Nobody knows what was agreed and what was spent, so the person is as if not asked; the ads and the reports
    /// that wait are forgotten, as by [`App::erase`]; and no task gets a report for the next 7 days. A file that is not
    /// damaged is opened as it is.
    pub fn replace_damaged(rules: AppRules, storage: S, files: F, now: u64) -> Result<Self, AppError> {
        match Kept::load(&files) {
            Err(StateError::Damaged(_)) => {}
            _ => return Self::open(rules, storage, files, now),
        }
        let site = Site::parse(&rules.site)?;
        rules.check()?;
        let engine = Engine::open(rules.engine(), storage)?;
        let queue = Queue::open(files, rules.queue)?;
        let kept = Kept::closed_until(now.saturating_add(crate::contributions::COUNTS_FOR));
        let mut app = Self { rules, site, engine, queue, kept, manifests: BTreeMap::new() };
        app.engine.set_enabled(false)?;
        app.forget(now)?;
        // Last: until here the file is the damaged one, and all of it is done again.
        app.load_manifests()?;
        app.keep()?;
        Ok(app)
    }

    /// The person's answer, as recorded.
    pub fn consent(&self) -> Consent {
        self.kept.consent
    }

    /// Records the person's answer. `false` after `true` erases everything that [`App::erase`] does.
    ///
    /// # Errors
    /// The answer is not recorded, and what was recorded before holds; call it again. A withdrawal that was begun is finished
    /// by the next call of this or the next start, and nothing is sent until then.
    pub fn set_consent(&mut self, given: bool, now: u64) -> Result<(), AppError> {
        let consent = if given { Consent::Given { since: now } } else { Consent::Refused { since: now } };
        if given && self.is_withdrawing() {
            self.forget(now)?;
        }
        // The engine first: recorded as given while it is off means that a withdrawal was cut short, see `open`.
        self.engine.set_enabled(given)?;
        // Before there was consent nothing was kept, and a first "no" must not close this week for a later "yes".
        if self.kept.consent.given() && !given {
            self.forget(now)?;
        }
        // Recorded when all of it is gone. If that fails it is still a withdrawal that is under way.
        let before = std::mem::replace(&mut self.kept.consent, consent);
        self.keep().inspect_err(|_| self.kept.consent = before)
    }

    /// Whether a withdrawal was begun that some error kept from being finished.
    fn is_withdrawing(&self) -> bool {
        self.kept.consent.given() && !self.engine.is_enabled()
    }

    /// Forgets which ads were seen, the journal, and the reports that were not sent yet. What remains, so that no budget
    /// comes back: for which tasks reports were made in the last week, and in which hours; and that nothing of before is
    /// attributed any more.
    ///
    /// # Errors
    /// Some of it may be left; call it again.
    pub fn erase(&mut self, now: u64) -> Result<(), AppError> {
        self.forget(now)?;
        self.keep()
    }

    /// What [`App::erase`] does, but for making it durable in the app's own file.
    fn forget(&mut self, now: u64) -> Result<(), AppError> {
        self.engine
            .clear_browsing_history(&std::collections::BTreeSet::new(), Moment::from_posix_seconds(now))?;
        // The journal after the queue: what is still to be sent is not to be sent behind the person's back.
        self.queue.clear().inspect_err(|_| self.reconcile())?;
        self.kept.forget(now);
        Ok(())
    }

    /// The person saw an ad. Without consent nothing is kept, and nothing is said about that.
    pub fn impression(&mut self, ad: Ad<'_>, now: u64) -> Result<(), AppError> {
        self.remember(ad, (VIEWS, 0), now)
    }

    /// The person clicked on an ad. A conversion goes to the last click before it goes to the last view.
    pub fn click(&mut self, ad: Ad<'_>, now: u64) -> Result<(), AppError> {
        self.remember(ad, (CLICKS, CLICK_PRIORITY), now)
    }

    fn remember(&mut self, ad: Ad<'_>, (touch, priority): (&str, i32), now: u64) -> Result<(), AppError> {
        let manifest = self.manifest(ad.advertiser, now)?;
        let bucket = manifest.bucket_of(ad.campaign, touch).ok_or(AppError::UnknownCampaign)?;
        // The engine may be on all the same: it was switched on for an answer that could not be recorded.
        if !self.kept.consent.given() {
            return Ok(());
        }
        let options = ImpressionOptions {
            conversion_sites: vec![ad.advertiser.to_owned()],
            lifetime_days: self.rules.lookback_days,
            priority,
            ..ImpressionOptions::new(bucket)
        };
        Ok(self.engine.save_impression(&self.inputs(now), &options)?)
    }

    fn inputs(&self, now: u64) -> ImplicitInputs {
        ImplicitInputs {
            top_level_site: self.site.clone(),
            intermediary_site: None,
            timestamp: Moment::from_posix_seconds(now),
        }
    }

    /// Deletes what has expired: ads, budgets of old weeks, reports that no leader would take any more, and what was counted for
    /// tasks that are over. To be called once a day or so, by somebody who trusts the clock.
    pub fn maintain(&mut self, now: u64) -> Result<(), AppError> {
        self.engine.maintain(Moment::from_posix_seconds(now))?;
        let expired = self.queue.expire(now);
        self.reconcile();
        self.prune(now);
        self.keep()?;
        expired?;
        Ok(())
    }

    /// Forgets what was counted for tasks that are in no manifest any more, if it counts no more.
    fn prune(&mut self, now: u64) {
        let tasks = self.manifests.values().flat_map(Manifest::tasks).map(|task| task.task.id());
        let current = tasks.collect();
        self.kept.prune(&current, now);
    }

    /// The reports that wait, for a host that sends them by its own means; see also `upload::Courier`.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Makes the app's state durable.
    fn keep(&mut self) -> Result<(), AppError> {
        let bytes = self.kept.to_bytes();
        Ok(self.queue.files_mut().replace(kept::FILE, &bytes)?)
    }
}

/// Draws for the engine from the caller's generator.
fn draws(rng: &mut impl CryptoRng) -> crate::attribution::Uniform<&mut impl CryptoRng> {
    crate::attribution::Uniform(rng)
}
