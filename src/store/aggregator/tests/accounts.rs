//! The ledger against the windows that were charged to it: that they agree, that a store in which they do not is not
//! opened, and that no sequence of releases, refusals and aborts costs anybody more than the caps.

use std::fs;

use proptest::prelude::*;

use super::super::keys;
use super::super::{Accounts, Disagreement};
use super::*;
use crate::privacy::gate::Refusal;
use crate::privacy::ledger::{Account, EPOCH_SECONDS, Epoch, LedgerError};
use crate::store::{CollectRefusal, FileOp, HelperStore as _, MemoryDisk, PreparedJob, StateBatch};

const COST: u64 = EPSILON as u64;

/// Hours of an epoch.
const WEEK: u64 = EPOCH_SECONDS / PRECISION;

/// Counts reports at the helper: so many in each of these hours.
fn count(helper: &HelperDisk, task: &Task, hours: impl Iterator<Item = u64>, each: u32) {
    let reports: Vec<ReportKey> =
        hours.flat_map(|hour| (0..each).map(move |number| key(hour as u32 * 100 + number, hour))).collect();
    let prepared = || PreparedJob { sums: sums(task, &reports), put_off: Vec::new(), response: vec![1] };
    // One job a call: its number is that of its first report.
    let job = request_key(reports[0].report_id.as_bytes()[3] ^ 0x80);
    helper.commit_once(task, job, &reports, &mut |_| Ok(prepared())).unwrap();
}

/// A helper that has collected a window within epoch 0, one over epochs 0 and 1, and has not answered one in epoch 2.
fn charged(place: &Place, task: &Task) -> HelperDisk {
    let helper = place.helper();
    helper.opt_in(task.id(), &record(task)).unwrap();
    count(&helper, task, [0, WEEK - 1, 2 * WEEK].into_iter(), 12);
    for (number, (from, to)) in
        [(0, 2), (WEEK - 2, WEEK + 3), (2 * WEEK, 2 * WEEK + 1)].into_iter().enumerate()
    {
        let key = request_key(number as u8);
        drop(helper.collect(task, &terms(task), hours(from, to), key, None).unwrap());
        if number < 2 {
            helper.finish_collection(task.id(), key, b"answer").unwrap();
        }
    }
    helper
}

#[test]
fn accounts_say_what_was_spent_on_what() {
    let (place, task) = (Place::new(), histogram());
    let helper = charged(&place, &task);
    let accounts = helper.accounts().unwrap();
    drop(helper);
    assert_eq!(Accounts::of_stopped(&place.options(), "helper").unwrap(), Some(accounts.clone()));
    let [(_, account)] = &accounts.named().collect::<Vec<_>>()[..] else { panic!("{accounts:?}") };
    assert_eq!((account.name.clone(), account.epoch_start), (Some(source()), Some(START * PRECISION)));
    let spent = BTreeMap::from([(Epoch(0), 2 * COST), (Epoch(1), COST), (Epoch(2), COST)]);
    assert_eq!((&account.spent, account.recomputed()), (&spent, (spent.clone(), Vec::new())));
    let second = |hour: u64| (START + hour) * PRECISION;
    let windows: Vec<_> =
        account.windows.iter().map(|window| (window.start, window.end, window.answered)).collect();
    assert_eq!(
        windows,
        [
            (second(0), second(2), true),
            (second(WEEK - 2), second(WEEK + 3), true),
            (second(2 * WEEK), second(2 * WEEK + 1), false)
        ]
    );
    assert!(account.windows.iter().all(|window| window.task == task.id() && window.micro_epsilon == COST));
    // Another role's store is not read, and where there is none nothing is made.
    assert!(matches!(Accounts::of_stopped(&place.options(), "leader"), Err(StoreError::WrongRole { .. })));
    let nowhere = Place::new();
    assert_eq!(Accounts::of_stopped(&nowhere.options(), "helper").unwrap(), None);
    assert!(!nowhere.options().dir.exists());
}

/// A change of one row: its key, and its value made of the old one; an empty one removes the row.
type Tampering = (&'static str, Vec<u8>, fn(&[u8]) -> Vec<u8>);

/// Changes the number at a byte of a row. In a row of the ledger the sum stands first; in that of a window what was paid
/// stands before the source.
fn at(value: &[u8], at: usize, change: fn(u64) -> u64) -> Vec<u8> {
    let mut value = value.to_vec();
    let number = u64::from_be_bytes(value[at..at + 8].try_into().unwrap());
    value[at..at + 8].copy_from_slice(&change(number).to_be_bytes());
    value
}

fn tamperings(task: &Task) -> Vec<Tampering> {
    let ledger = |epoch| keys::ledger(&source(), Epoch(epoch));
    let collected = |hour| keys::at_time(keys::Kind::Collected, task.id(), Time(START + hour));
    vec![
        ("the ledger has less", ledger(0), |value| at(value, 0, |sum| sum - 1)),
        ("the ledger has more", ledger(0), |value| at(value, 0, |sum| sum + 1)),
        ("the ledger has nothing of an epoch", ledger(1), |_| Vec::new()),
        ("the ledger has an epoch of no window", ledger(9), |_| {
            [1_u64.to_be_bytes().as_slice(), source().as_str().as_bytes()].concat()
        }),
        ("a window paid less", collected(0), |value| at(value, 29, |paid| paid - 1)),
        ("a window paid more", collected(2 * WEEK), |value| at(value, 29, |paid| paid + 1)),
        ("a window is gone", collected(WEEK - 2), |_| Vec::new()),
        ("a window is shorter", collected(WEEK - 2), |value| at(value, 0, |end| end - 4)),
        ("a window is of another source", collected(0), |value| {
            let other = keys::source_key(&BudgetSource::new("other.example").unwrap());
            [&value[..37], other.as_slice()].concat()
        }),
        ("the epochs began later", keys::epochs(&source()), |value| {
            at(value, 0, |start| start + 3 * PRECISION)
        }),
        ("when the epochs began is not known", keys::epochs(&source()), |_| Vec::new()),
    ]
}

/// Whoever lowered a row of the ledger, or brought one back from an older copy of it, had a fresh budget.
#[test]
fn a_tampered_ledger_is_found_whichever_side_was_changed() {
    let task = histogram();
    for (what, key, change) in tamperings(&task) {
        let place = Place::new();
        let helper = charged(&place, &task);
        let before = helper.core.state.get(&key).unwrap();
        let write = |helper: &HelperDisk, value: &[u8]| {
            let mut batch = StateBatch::default();
            if value.is_empty() { batch.remove(&key) } else { batch.insert(&key, value) }.unwrap();
            let _ = helper.core.commit(batch).unwrap();
        };
        write(&helper, &change(&before.unwrap_or_default()));
        drop(helper);
        let options = place.options();
        let refused = HelperDisk::open(&options);
        assert!(matches!(refused, Err(StoreError::LedgerDisagrees { .. })), "{what}: {refused:?}");
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("arras budget --config FILE"), "{what}: {text}");
        // How an operator finds out: both sides can still be read.
        let accounts = Accounts::of_stopped(&options, "helper").unwrap().unwrap();
        assert!(!accounts.disagreements().is_empty(), "{what}");
        // A second look finds the same: refusing has changed nothing.
        assert_eq!(Accounts::of_stopped(&options, "helper").unwrap().unwrap(), accounts, "{what}");
    }
}

#[test]
fn a_disagreement_names_the_week_and_both_sums() {
    let (place, task) = (Place::new(), histogram());
    let helper = charged(&place, &task);
    let mut batch = StateBatch::default();
    let lowered = [1_u64.to_be_bytes().as_slice(), source().as_str().as_bytes()].concat();
    batch.insert(&keys::ledger(&source(), Epoch(0)), &lowered).unwrap();
    let _ = helper.core.commit(batch).unwrap();
    let found = helper.accounts().unwrap().disagreements();
    let start = START * PRECISION;
    let epoch = Disagreement::Epoch { epoch: Epoch(0), start, ledger: 1, windows: 2 * COST };
    assert_eq!(found, [("shop.example".to_owned(), epoch.clone())]);
    assert_eq!(
        epoch.to_string(),
        "in epoch 0 (the week from 2024-10-04T00:00:00Z) the ledger has 0.000001 epsilon spent, and the windows cost 2"
    );
}

/// A copy of the store from before a release has a ledger that agrees with its windows, and lacks the charge.
#[test]
fn a_restored_ledger_is_refused() {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to);
            } else {
                let _bytes = fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let (place, task) = (Place::new(), histogram());
    let helper = charged(&place, &task);
    drop(helper);
    let (dir, backup) = (place.options().dir, place.dir.path().join("backup"));
    copy(&dir, &backup);
    let helper = place.helper();
    let more = terms_with_cap(&task, 3 * COST);
    count(&helper, &task, std::iter::once(10), 12);
    drop(helper.collect(&task, &more, hours(10, 11), request_key(9), None).unwrap());
    assert_eq!(helper.spent(&source(), Epoch(0)).unwrap(), 3 * COST);
    drop(helper);
    fs::remove_dir_all(&dir).unwrap();
    copy(&backup, &dir);
    let refused = HelperDisk::open(&place.options());
    assert!(matches!(refused, Err(StoreError::BehindWatermark { .. })), "{refused:?}");
}

#[test]
fn a_task_has_a_cap_beside_its_source() {
    let place = Place::new();
    let tasks = [histogram(), task_of(&VdafConfig::Count, "count")];
    let helper = place.helper();
    for task in &tasks {
        helper.opt_in(task.id(), &record(task)).unwrap();
        count(&helper, task, 0..6, 12);
    }
    let terms = |task: &Task| terms_with_cap(task, 4 * COST).with_task_cap(Some(2 * COST));
    let collect = |helper: &HelperDisk, task: usize, hour: u64| {
        let task = &tasks[task];
        helper.collect(task, &terms(task), hours(hour, hour + 1), request_key(hour as u8), None).map(drop)
    };
    collect(&helper, 0, 0).unwrap();
    collect(&helper, 0, 1).unwrap();
    // Also after a restart, and whether or not the windows were answered.
    helper.finish_collection(tasks[0].id(), request_key(0), b"answer").unwrap();
    drop(helper);
    let helper = place.helper();
    let Err(CollectRefusal::Refused(Refusal::Ledger(error))) = collect(&helper, 0, 2) else { panic!() };
    let LedgerError::TaskSpent { asked, cap, left, task, .. } = error else { panic!("{error}") };
    assert_eq!((asked, cap, left, task), (COST, 2 * COST, 0, tasks[0].id()));
    // The other task has its own, and then the source has nothing left, which is said as well.
    collect(&helper, 1, 0).unwrap();
    collect(&helper, 1, 1).unwrap();
    let Err(CollectRefusal::Refused(Refusal::Ledger(error))) = collect(&helper, 1, 2) else { panic!() };
    assert!(matches!(error, LedgerError::Spent { left: 0, .. }), "{error}");
    // Other times are another budget.
    assert_eq!(helper.spent_by_task(tasks[0].id(), Time(START)..Time(START + WEEK)).unwrap(), 2 * COST);
    assert_eq!(helper.spent_by_task(tasks[0].id(), Time(START + 2)..Time(START + WEEK)).unwrap(), 0);
}

/// Whose epochs begin within a step of the task's time precision: a window that ends there touches both.
#[test]
fn epochs_may_begin_within_a_step() {
    let (place, task) = (Place::new(), histogram());
    let helper = place.helper();
    helper.opt_in(task.id(), &record(&task)).unwrap();
    count(&helper, &task, WEEK - 2..WEEK + 2, 12);
    let rules = SourceRules { epoch_start: START * PRECISION + 1_800, cap: 3 * COST };
    let terms = Terms::new(&task, *terms(&task).policy(), source(), rules).with_task_cap(Some(2 * COST));
    // Half of this hour is in epoch 0, the other half in epoch 1.
    for (number, hour) in (0..).zip([WEEK, WEEK - 1]) {
        drop(helper.collect(&task, &terms, hours(hour, hour + 1), request_key(number), None).unwrap());
    }
    let spent = |epoch| helper.spent(&source(), Epoch(epoch)).unwrap();
    assert_eq!((spent(0), spent(1)), (2 * COST, COST));
    let refused = helper.collect(&task, &terms, hours(WEEK - 2, WEEK - 1), request_key(7), None).map(drop);
    let Err(CollectRefusal::Refused(Refusal::Ledger(LedgerError::TaskSpent { epoch, left, .. }))) = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!((epoch, left), (Epoch(0), 0));
    drop(helper.collect(&task, &terms, hours(WEEK + 1, WEEK + 2), request_key(8), None).unwrap());
    drop(helper);
    drop(place.helper());
}

/// Days with reports, from the beginning of the first source's epoch 0.
const DAYS: u64 = 30;

/// Another `epoch_start` that an operator may write, beside the one below.
const MOVED: u64 = 5 * PRECISION;

/// The first source's epochs begin with a day, the second's within an hour.
const EPOCH_STARTS: [u64; 2] = [START * PRECISION, START * PRECISION - 3 * 86_400 - 1_234];

/// What is done to a store in the property below.
#[derive(Clone, Debug)]
enum Op {
    /// Task, first day, days.
    Collect(usize, u64, u64),
    /// The window that was charged last is asked for again, by the same request.
    Resume,
    /// Its answer is kept; without it, it was charged and aborted.
    Finish,
    /// The process ends and starts again.
    Restart,
    /// The operator sets the cap of a source, micro-epsilon.
    SetCap(usize, u64),
    /// The operator moves a source's epochs, or sets them back.
    MoveEpochs(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => (0..3_usize, 0..DAYS, 1..10_u64).prop_map(|(task, day, days)| Op::Collect(task, day, days)),
        3 => Just(Op::Resume),
        3 => Just(Op::Finish),
        1 => Just(Op::Restart),
        2 => (0..2_usize, 100_000..4_000_000_u64).prop_map(|(source, cap)| Op::SetCap(source, cap)),
        1 => (0..2_usize).prop_map(Op::MoveEpochs),
    ];
    prop::collection::vec(op, 1..60)
}

/// Of a task: its source, epsilon of a release in micro-epsilon, k.
type Policy = (usize, u32, u32);

fn policies() -> impl Strategy<Value = [Policy; 3]> {
    prop::array::uniform3((0..2_usize, 1..900_000_u32, 1..4_u32))
}

/// For each device, the seconds at which it would like to report, by task.
fn wishes() -> impl Strategy<Value = Vec<[Vec<u64>; 3]>> {
    let seconds = prop::collection::vec(0..DAYS * 86_400, 0..12);
    prop::collection::vec(prop::array::uniform3(seconds), 1..4)
}

/// What an honest device sends of them: at most k in any 7 days. POSIX seconds.
fn sent(mut wishes: Vec<u64>, k: u32) -> Vec<u64> {
    wishes.sort_unstable();
    let mut sent: Vec<u64> = Vec::new();
    for second in wishes.into_iter().map(|second| START * PRECISION + second) {
        let recent = sent.iter().filter(|earlier| **earlier + EPOCH_SECONDS > second).count();
        if recent < k as usize {
            sent.push(second);
        }
    }
    sent
}

/// A window that left the store: task and seconds.
type Released = (usize, std::ops::Range<u64>);

fn overlap(one: &std::ops::Range<u64>, other: &std::ops::Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

struct World {
    policies: [Policy; 3],
    task_cap: u64,
    /// By device and task, when reports were made.
    devices: Vec<[Vec<u64>; 3]>,
    released: Vec<Released>,
    /// As the operator has it now, and the highest that it was.
    caps: [(u64, u64); 2],
    moved: [bool; 2],
    /// Since the first charge.
    epoch_starts: [Option<u64>; 2],
}

impl World {
    fn rules(&self, source: usize) -> SourceRules {
        let epoch_start = EPOCH_STARTS[source] - if self.moved[source] { MOVED } else { 0 };
        SourceRules { epoch_start, cap: self.caps[source].0 }
    }

    fn terms(&self, tasks: &[Task], task: usize) -> Terms {
        let (source, epsilon, k) = self.policies[task];
        let policy = PrivacyPolicy {
            epsilon: MicroEpsilon::from_micro(epsilon).unwrap(),
            contributions: NonZeroU32::new(k).unwrap(),
            ..*terms(&tasks[task]).policy()
        };
        Terms::new(&tasks[task], policy, name(source), self.rules(source)).with_task_cap(Some(self.task_cap))
    }

    fn weeks(&self, source: usize) -> Vec<std::ops::Range<u64>> {
        let start = self.epoch_starts[source].unwrap_or(self.rules(source).epoch_start);
        (0..8).map(|week| start + week * EPOCH_SECONDS).map(|start| start..start + EPOCH_SECONDS).collect()
    }

    /// What releasing a window is charged, added to what was, stays within the caps of each week that it touches.
    fn fits(&self, task: usize, seconds: &std::ops::Range<u64>) -> bool {
        let source = self.policies[task].0;
        let cost = |task: usize| u64::from(self.policies[task].1) * u64::from(self.policies[task].2);
        let charged = |week: &std::ops::Range<u64>, counts: &dyn Fn(usize) -> bool| {
            let touching =
                self.released.iter().filter(|(task, window)| counts(*task) && overlap(window, week));
            touching.map(|(task, _)| cost(*task)).sum::<u64>() + cost(task)
        };
        self.weeks(source).iter().filter(|week| overlap(week, seconds)).all(|week| {
            charged(week, &|other| self.policies[other].0 == source) <= self.caps[source].0
                && charged(week, &|other| other == task) <= self.task_cap
        })
    }

    /// What a device loses of a week by the releases of one task: its reports of that week which are in them, each at the
    /// epsilon that it was noised by. Not by the ledger's rule, which does not know whose reports are where.
    fn loss(&self, device: &[Vec<u64>; 3], task: usize, week: &std::ops::Range<u64>) -> u64 {
        let windows = self.released.iter().filter(|(of, _)| *of == task).map(|(_, window)| window);
        let lost = windows.map(|window| {
            device[task].iter().filter(|second| window.contains(second) && week.contains(second)).count()
        });
        lost.sum::<usize>() as u64 * u64::from(self.policies[task].1)
    }

    fn check(&self, helper: &HelperDisk) {
        for source in 0..2 {
            for (epoch, week) in (0..).zip(self.weeks(source)) {
                let spent = helper.spent(&name(source), Epoch(epoch)).unwrap();
                assert!(spent <= self.caps[source].1, "the ledger went beyond the highest cap there was");
                for device in &self.devices {
                    let by_task = [0, 1, 2].map(|task| self.loss(device, task, &week));
                    assert!(by_task.iter().all(|lost| *lost <= self.task_cap), "more than the task's cap");
                    let of_source = (0..3).filter(|task| self.policies[*task].0 == source);
                    let lost = of_source.map(|task| by_task[task]).sum::<u64>();
                    assert!(lost <= spent, "a device lost {lost} in a week, the ledger has {spent}");
                }
            }
        }
    }
}

fn name(source: usize) -> BudgetSource {
    BudgetSource::new(["shop.example", "other.example"][source]).unwrap()
}

/// The devices' reports, and ten a day of nobody's, so that every day is large enough.
fn count_all(helper: &HelperDisk, tasks: &[Task], devices: &[[Vec<u64>; 3]]) {
    for (number, task) in tasks.iter().enumerate() {
        let filler = (0..DAYS).flat_map(|day| std::iter::repeat_n(day * 24, MIN_BATCH as usize));
        let own = devices.iter().flat_map(|device| &device[number]).map(|second| second / PRECISION - START);
        let reports: Vec<_> = (0..).zip(filler.chain(own)).map(|(id, hour)| key(id, hour)).collect();
        let prepared = || PreparedJob { sums: sums(task, &reports), put_off: Vec::new(), response: vec![1] };
        helper.commit_once(task, request_key(200), &reports, &mut |_| Ok(prepared())).unwrap();
    }
}

fn run(ops: Vec<Op>, mut world: World) {
    let place = Place::new();
    let disk = MemoryDisk::new();
    let open = || {
        let disk = Disk::in_memory(&disk, Arc::new(|_: FileOp<'_>| None));
        HelperDisk::open_on(&place.options(), disk).unwrap()
    };
    let tasks: Vec<Task> = ["one", "two", "three"].map(|info| task_of(&VdafConfig::Count, info)).into();
    let mut helper = open();
    for (number, task) in tasks.iter().enumerate() {
        helper.opt_in(task.id(), &record_of(task, &world.terms(&tasks, number))).unwrap();
    }
    count_all(&helper, &tasks, &world.devices);
    let mut last: Option<(usize, Interval, u8)> = None;
    for (number, op) in (0..).zip(ops) {
        match op {
            Op::Collect(task, day, days) => {
                let window = hours(day * 24, (day + days) * 24);
                if collect(&helper, &tasks, &mut world, task, window, number) {
                    last = Some((task, window, number));
                }
            }
            Op::Resume => {
                if let Some((task, window, number)) = last {
                    let terms = world.terms(&tasks, task);
                    drop(helper.collect(&tasks[task], &terms, window, request_key(number), None).unwrap());
                }
            }
            Op::Finish => {
                if let Some((task, _, number)) = last.take() {
                    helper.finish_collection(tasks[task].id(), request_key(number), b"answer").unwrap();
                }
            }
            // Opening holds the ledger against the windows.
            Op::Restart => {
                drop(helper);
                helper = open();
            }
            Op::SetCap(source, cap) => {
                world.caps[source] = (cap, world.caps[source].1.max(cap));
            }
            Op::MoveEpochs(source) => world.moved[source] = !world.moved[source],
        }
        world.check(&helper);
    }
    assert!(helper.accounts().unwrap().disagreements().is_empty());
}

/// Asks for a window, and whether it was right to give it or to refuse it. Whether it was given.
fn collect(
    helper: &HelperDisk,
    tasks: &[Task],
    world: &mut World,
    task: usize,
    window: Interval,
    number: u8,
) -> bool {
    let source = world.policies[task].0;
    let seconds = window.start().0 * PRECISION..window.end().0 * PRECISION;
    let overlaps = world.released.iter().any(|(of, other)| *of == task && overlap(other, &seconds));
    let moved = world.epoch_starts[source].is_some_and(|first| first != world.rules(source).epoch_start);
    let fits = world.fits(task, &seconds);
    let terms = world.terms(tasks, task);
    match helper.collect(&tasks[task], &terms, window, request_key(number), None).map(drop) {
        Ok(()) => {
            assert!(fits && !overlaps && !moved, "released beyond a cap, twice, or by other weeks");
            let _ = world.epoch_starts[source].get_or_insert(terms.rules().epoch_start);
            world.released.push((task, seconds));
            return true;
        }
        Err(CollectRefusal::Overlap) => assert!(overlaps),
        Err(CollectRefusal::Refused(Refusal::Ledger(LedgerError::EpochsMoved { .. }))) => assert!(moved),
        Err(CollectRefusal::Refused(Refusal::Ledger(_))) => assert!(!fits && !overlaps && !moved),
        Err(other) => panic!("{other}"),
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Devices that keep to k reports in any 7 days; three tasks under two sources; any windows, refused, aborted, taken up
    /// again, with restarts, caps and epochs that change in between. What any device loses of any week by the releases of a
    /// source together, added up from its own reports, is no more than the ledger has for that week, and that no more than
    /// the highest cap there was; by one task no more than the task's cap; and nothing is refused that would fit.
    #[test]
    fn no_device_loses_more_than_the_caps(
        ops in ops(),
        policies in policies(),
        wishes in wishes(),
        cap in 100_000..4_000_000_u64,
        task_cap in 100_000..3_000_000_u64,
    ) {
        let devices = wishes.into_iter().map(|mut by_task| {
            [0, 1, 2].map(|task| sent(std::mem::take(&mut by_task[task]), policies[task].2))
        });
        let world = World {
            policies,
            task_cap,
            devices: devices.collect(),
            released: Vec::new(),
            caps: [(cap, cap), (2_000_000, 2_000_000)],
            moved: [false; 2],
            epoch_starts: [None; 2],
        };
        run(ops, world);
    }
}

/// Two tasks of one source at once, whose cap has enough for one: the sum is read and raised with nobody in between.
#[test]
fn of_concurrent_tasks_one_is_charged() {
    for _ in 0..8 {
        let place = Place::new();
        let tasks = [histogram(), task_of(&VdafConfig::Count, "count")];
        let helper = place.helper();
        for task in &tasks {
            helper.opt_in(task.id(), &record(task)).unwrap();
            count(&helper, task, std::iter::once(0), 12);
        }
        let charged = std::thread::scope(|scope| {
            let threads = tasks.each_ref().map(|task| {
                let terms = terms_with_cap(task, 2 * COST - 1);
                let helper = &helper;
                scope.spawn(move || helper.collect(task, &terms, hours(0, 1), request_key(1), None).is_ok())
            });
            threads.map(|thread| usize::from(thread.join().unwrap())).iter().sum::<usize>()
        });
        assert_eq!((charged, helper.spent(&source(), Epoch(0)).unwrap()), (1, COST));
    }
}

/// The account that a cap of a task is held against is asked for by times, not by seconds.
#[test]
fn an_account_of_a_task_covers_the_steps_of_an_epoch() {
    let task = histogram();
    let rules = SourceRules { epoch_start: START * PRECISION + 1_800, cap: u64::MAX };
    let terms = Terms::new(&task, *terms(&task).policy(), source(), rules).with_task_cap(Some(u64::MAX));
    let asked = std::cell::RefCell::new(Vec::new());
    terms
        .afford(hours(1, 2), None, |account, epoch| {
            if let Account::Task(times) = account {
                asked.borrow_mut().push((epoch, times));
            }
            0
        })
        .unwrap();
    assert_eq!(asked.into_inner(), [(Epoch(0), Time(START)..Time(START + WEEK + 1))]);
}
