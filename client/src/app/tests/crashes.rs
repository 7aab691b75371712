//! Whatever write fails at whatever moment: a budget is never spent less than what leaves the device.

use std::collections::{BTreeMap, BTreeSet};

use arras_protocol::messages::{ReportId, TaskId};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::app::kept::{CHECKSUM_LEN, Kept, checksum_of};
use crate::attribution::Change;
use crate::fixture::exchanged;

const DAY: u64 = 86_400;

/// Two leads of 0.25 each.
const BUDGET: u32 = 500_000;

/// A step of a device's life. Clocks are days from 60 before now.
#[derive(Clone, Debug)]
enum Step {
    Click,
    Convert(u8, u64),
    Send,
    Consent(bool, u64),
    Erase(u64),
    /// So many more writes succeed, and whether the next one happens although it fails.
    FailAfter(u64, bool),
    Mend,
    Restart(u64),
}

fn step() -> impl Strategy<Value = Step> {
    // Right, or some days off, or weeks behind.
    let clock = || prop_oneof![Just(60), 50..75_u64, 0..60_u64];
    prop_oneof![
        3 => Just(Step::Click),
        // A manifest holds for a month.
        6 => (0..12_u8, 60..78_u64).prop_map(|(id, clock)| Step::Convert(id, clock)),
        4 => Just(Step::Send),
        1 => (any::<bool>(), clock()).prop_map(|(given, clock)| Step::Consent(given, clock)),
        // Behind: one that is right ends what these ads can cost.
        2 => (0..50_u64).prop_map(Step::Erase),
        1 => (0..5_u64, any::<bool>()).prop_map(|(writes, happens)| Step::FailAfter(writes, happens)),
        2 => Just(Step::Mend),
        2 => clock().prop_map(Step::Restart),
    ]
}

fn at(days: u64) -> u64 {
    NOW - 60 * DAY + days * DAY
}

/// The engine's state, on the disk of the app's files: a write of it fails like one of theirs, and it is refused from then on.
struct Brittle {
    kept: MemoryStore,
    files: MemoryFiles,
    failed: bool,
}

const ENGINE: &str = "engine";

impl Brittle {
    fn new(kept: &MemoryStore, files: &MemoryFiles) -> Self {
        Self { kept: kept.clone(), files: files.clone(), failed: false }
    }

    fn write(
        &mut self,
        change: impl FnOnce(&mut MemoryStore) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Failed);
        }
        let number = |files: &MemoryFiles| files.read(ENGINE).unwrap().map_or(0, |bytes| bytes.len());
        let before = number(&self.files);
        let written = self.files.replace(ENGINE, &vec![0; before + 1]);
        if number(&self.files) > before {
            change(&mut self.kept)?;
        }
        self.failed = written.is_err();
        written.map_err(|_| StorageError::Failed)
    }
}

impl Storage for Brittle {
    fn load(&mut self) -> Result<Vec<Change>, StorageError> {
        self.kept.load()
    }

    fn append(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        self.write(|kept| kept.append(changes))
    }

    fn replace(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        self.write(|kept| kept.replace(changes))
    }
}

/// What the leaders of all tasks have got.
#[derive(Default)]
struct Leaders {
    got: BTreeMap<TaskId, BTreeSet<ReportId>>,
    sizes: BTreeMap<TaskId, BTreeSet<usize>>,
}

impl Leaders {
    fn got(&self) -> BTreeSet<ReportId> {
        self.got.values().flatten().copied().collect()
    }

    /// Takes all that is sent. An answer is lost if the disk fails before the app could keep it.
    fn take(&mut self, app: &mut App<Brittle, MemoryFiles>) {
        while let Ok(Some(request)) = app.next_request(NOW) {
            for report in UploadRequestRef::from_bytes(&request.body, 100).unwrap().reports {
                self.got.entry(request.task).or_default().insert(report.header.report_id);
                self.sizes.entry(request.task).or_default().insert(report.encoded.len());
            }
            if app.answered(&mut rand::rng(), &request, Ok(&[]), NOW).is_err() {
                return;
            }
        }
    }
}

/// A device, what its leaders have, and what is to be true of that.
struct Life {
    disk: (MemoryStore, MemoryFiles),
    app: App<Brittle, MemoryFiles>,
    leaders: Leaders,
    /// Reports that say a campaign; all ads are of one week.
    attributed: BTreeSet<ReportId>,
    /// What the app said is reported, and nobody erased since.
    promised: BTreeSet<ReportId>,
    /// What had not left when the app said that it is erased.
    erased: BTreeSet<ReportId>,
    counted: BTreeSet<u8>,
}

impl Life {
    fn open(disk: &(MemoryStore, MemoryFiles), now: u64) -> App<Brittle, MemoryFiles> {
        let rules = AppRules { advertiser_budget: BUDGET, ..rules() };
        App::open(rules, Brittle::new(&disk.0, &disk.1), disk.1.clone(), now).unwrap()
    }

    fn new() -> Self {
        let disk = (MemoryStore::default(), MemoryFiles::default());
        let mut app = Self::open(&disk, NOW);
        app.set_consent(true, NOW).unwrap();
        let publisher = Publisher::new(1);
        let mut manifest = publisher.document(1, NOW);
        (manifest.not_before, manifest.expires) = (at(50), at(80));
        let manifest = manifest.sign(&publisher.signing_key).unwrap();
        app.update_manifest(&mut rng(), SHOP, &manifest, NOW).unwrap();
        let (leaders, attributed, promised) = (Leaders::default(), BTreeSet::new(), BTreeSet::new());
        let (erased, counted) = (BTreeSet::new(), BTreeSet::new());
        Self { disk, app, leaders, attributed, promised, erased, counted }
    }

    fn convert(&mut self, id: u8, now: u64) {
        let told = self.app.conversion(&mut rand::rng(), lead(&id.to_string()), now);
        let journal = &self.app.kept.journal;
        for report in journal.iter().flat_map(|entry| &entry.reports) {
            if matches!(report.form, Form::Attributed { .. }) {
                self.attributed.extend(journal::from_hex(&report.report));
            }
        }
        if let Ok(Converted::Reported(_)) = told {
            let reports = &journal.back().unwrap().reports;
            self.promised.extend(reports.iter().map(|report| journal::from_hex(&report.report).unwrap()));
            assert!(self.counted.insert(id), "an event counted twice");
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Click => drop(self.app.click(ad("tents"), NOW)),
            Step::Convert(id, clock) => self.convert(id, at(clock)),
            Step::Send => self.leaders.take(&mut self.app),
            // Both may erase what waits, and which events were counted; k bounds what comes of that.
            Step::Consent(given, clock) => {
                drop(self.app.set_consent(given, at(clock)));
                self.promised.clear();
                self.counted.clear();
            }
            Step::Erase(clock) => {
                if self.app.erase(at(clock)).is_ok() {
                    let got = self.leaders.got();
                    self.erased.extend(self.attributed.difference(&got));
                }
                self.promised.clear();
                self.counted.clear();
            }
            Step::FailAfter(writes, happens) => self.disk.1.fail_after(writes, happens),
            Step::Mend => self.disk.1.mend(),
            Step::Restart(clock) => {
                self.disk.1.mend();
                self.app = Self::open(&self.disk, at(clock));
                // A withdrawal that was cut short is finished, and erases what was counted since, too.
                if !self.app.consent().given() {
                    self.promised.clear();
                    self.counted.clear();
                }
            }
        }
        if !self.app.consent().given() {
            let withdrawn = self.app.queue.report_ids().filter(|id| self.attributed.contains(id));
            assert_eq!(withdrawn.count(), 0, "recorded as withdrawn, and still to be sent");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever fails, is erased, and however wrong the clock is: what arrives of ads of one week was paid for from its
    /// budget; reports of a task have one size; an event makes one report for each task at most; what the app said is reported
    /// arrives in the end, unless the person erased it; and then it does not.
    #[test]
    fn no_crash_gives_a_budget_back(steps in proptest::collection::vec(step(), 1..60)) {
        let mut life = Life::new();
        for step in &steps {
            life.step(step);
        }
        life.disk.1.mend();
        life.app = Life::open(&life.disk, NOW);
        life.leaders.take(&mut life.app);
        let got = life.leaders.got();
        let disclosed = got.intersection(&life.attributed).count() as u64 * 250_000;
        prop_assert!(disclosed <= BUDGET.into(), "{} of {}", disclosed, BUDGET);
        prop_assert!(got.is_disjoint(&life.erased), "erased, and sent");
        // In 18 days, of which 7 have two.
        prop_assert!(life.leaders.got.values().all(|ids| ids.len() <= 6));
        prop_assert!(life.leaders.sizes.values().all(|sizes| sizes.len() == 1));
        prop_assert!(life.promised.is_subset(&got) || !life.app.consent().given());
    }

    #[test]
    fn any_state_file_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Kept::from_bytes(&bytes);
    }

    /// Behind a checksum that is right: a later version wrote it, or somebody who wants to do harm. What is read is kept as it was
    /// read, and an app goes on with it.
    #[test]
    fn a_state_file_with_anything_exchanged_does_no_harm(document in exchanged(&state())) {
        let bytes = state_file(&document);
        if let Ok(kept) = Kept::from_bytes(&bytes) {
            let written = kept.to_bytes();
            prop_assert_eq!(Kept::from_bytes(&written).unwrap().to_bytes(), written);
        }
        let (storage, mut files) = (MemoryStore::default(), MemoryFiles::default());
        files.replace(crate::app::kept::FILE, &bytes).unwrap();
        match open(&storage, &files) {
            Ok(mut app) => {
                let _ = app.update_manifest(&mut rng(), SHOP, &Publisher::new(1).manifest(9, NOW), NOW);
                let _ = app.conversion(&mut rng(), purchase("2"), NOW);
                app.journal(NOW);
                app.maintain(NOW).unwrap();
                open(&storage, &files).unwrap();
            }
            Err(error) => prop_assert!(matches!(error, AppError::State(StateError::Damaged(_))), "{error}"),
        }
    }

    /// A flipped digit was another time, and gave a task its reports of the week again.
    #[test]
    fn a_changed_state_file_is_refused(at in any::<proptest::sample::Index>(), flip in 1..=u8::MAX) {
        let mut app = app();
        app.conversion(&mut rng(), purchase("1"), NOW).unwrap();
        let mut bytes = app.kept.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(Kept::from_bytes(&bytes).is_err());
        bytes[at] ^= flip;
        prop_assert_eq!(Kept::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    }
}

/// What an app keeps that was used.
fn state() -> Value {
    let mut app = app();
    app.click(ad("tents"), NOW).unwrap();
    for (id, at) in [("1", NOW), ("2", NOW + 7_200)] {
        app.conversion(&mut rng(), purchase(id), at).unwrap();
    }
    let request = app.next_request(NOW).unwrap().unwrap();
    app.answered(&mut rng(), &request, Ok(&[]), NOW).unwrap();
    serde_json::from_slice(&app.kept.to_bytes()[CHECKSUM_LEN..]).unwrap()
}

fn state_file(document: &Value) -> Vec<u8> {
    let json = serde_json::to_vec(document).unwrap();
    [checksum_of(&json).as_bytes(), &json].concat()
}

/// What counts reports is taken as it is or not at all: each of these would count some of them no more, or another task's.
#[test]
fn a_state_that_no_app_writes_is_refused() {
    let state = state();
    Kept::from_bytes(&state_file(&state)).unwrap();
    let task = state["contributions"].as_object().unwrap().keys().next().unwrap().clone();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut changed = state.clone();
        change(&mut changed);
        Kept::from_bytes(&state_file(&changed)).err()
    };
    let reversed = refused(&|state| {
        let times = state["contributions"][&task]["times"].as_array_mut().unwrap();
        assert!(times[0] != times[1]);
        times.reverse();
    });
    assert_eq!(reversed, Some("the times of a task's reports are out of order"));
    let renamed = refused(&|state| {
        let tasks = state["contributions"].as_object_mut().unwrap();
        let times = tasks.remove(&task).unwrap();
        tasks.insert(task[1..].to_owned(), times);
    });
    assert_eq!(renamed, Some("the id of a task is none"));
    let later = refused(&|state| state["version"] = Value::from(2));
    assert_eq!(later, Some("it has another layout than this version reads"));
    for (field, value) in [("contributions_from", Value::from(-1)), ("more", Value::Null)] {
        let unknown = refused(&|state| state[field] = value.clone());
        assert_eq!(unknown, Some("it is not what this version writes"), "{field}");
    }
}

/// Each write of a conversion fails in turn, done or not.
#[test]
fn a_conversion_that_is_cut_short_makes_one_report_or_none() {
    for writes in 0..4 {
        for happens in [false, true] {
            let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
            let mut app = ready(&storage, &files);
            app.click(ad("tents"), NOW).unwrap();
            files.fail_after(writes, happens);
            let first = app.conversion(&mut rng(), lead("1"), NOW);
            files.mend();
            let mut app = open(&storage, &files).unwrap();
            let left = app.journal(NOW).budgets[0].reports_left[0].1;
            let waiting = u32::try_from(app.waiting()).unwrap();
            assert!(waiting <= 2 - left, "a report that was not paid for: {writes} {happens}");
            let again = app.conversion(&mut rng(), lead("1"), NOW).unwrap();
            let expected = if left == 2 { Converted::Reported(1) } else { Converted::Duplicate };
            assert_eq!(again, expected, "{writes} {happens}: {first:?}");
            assert!(app.waiting() <= 1);
            // What the journal calls waiting is there.
            let journal = app.journal(NOW);
            let reports = journal.conversions.iter().flat_map(|entry| &entry.reports);
            let said = reports.filter(|report| report.state == ReportState::Waiting).count();
            assert_eq!(said, app.waiting());
        }
    }
}

/// A withdrawal that a crash cuts short is done at the next start.
#[test]
fn a_withdrawal_that_is_cut_short_is_finished() {
    for writes in 0..4 {
        for happens in [false, true] {
            let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
            let mut app = ready(&storage, &files);
            app.click(ad("tents"), NOW).unwrap();
            app.conversion(&mut rng(), lead("1"), NOW).unwrap();
            files.fail_after(writes, happens);
            let _ = app.set_consent(false, NOW);
            files.mend();
            let app = open(&storage, &files).unwrap();
            let journal = app.journal(NOW);
            assert!(!journal.consent.given() && journal.remembered.is_empty(), "{writes} {happens}");
            assert!(journal.conversions.is_empty() && app.waiting() == 0, "{writes} {happens}");
        }
    }
}
