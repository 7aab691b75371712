//! What must hold whatever is called.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
#[path = "engine_tests/caps.rs"]
mod caps;
#[path = "engine_tests/transcript.rs"]
mod transcript;

use crate::attribution::{AggregationService, FileStore, MemoryStore, Protocol, codec};

const SERVICE: &str = "https://service.example";
const DAY: i64 = 86_400_000;
const SITES: [&str; 4] = ["a.example", "b.example", "c.example", "d.example"];

/// Draws that are always the same, so that two engines can be compared.
#[derive(Clone, Copy, Debug)]
struct Fixed(f64);

impl Randomness for Fixed {
    fn epoch_start(&mut self) -> f64 {
        self.0
    }

    fn credit_rounding(&mut self) -> f64 {
        self.0
    }
}

fn site(index: usize) -> Site {
    Site::parse(SITES[index]).unwrap()
}

fn config() -> Config {
    let service =
        AggregationService { protocol: Protocol::Dap18Histogram, max_histogram_size: None, dap: None };
    Config { services: [(SERVICE.to_owned(), service)].into(), ..Config::default() }
}

fn inputs(top_level: usize, caller: Option<usize>, at: i64) -> ImplicitInputs {
    let caller = caller.map(|caller| SITES[caller]);
    ImplicitInputs::from_hosts(SITES[top_level], caller, Moment::from_millis(at)).unwrap()
}

/// Something that is done to an engine.
#[derive(Clone, Debug)]
enum Call {
    Save { at: i64, site: usize, caller: Option<usize>, options: ImpressionOptions },
    Measure { at: i64, site: usize, caller: Option<usize>, options: ConversionOptions },
    ClearSiteData { site: usize },
    ClearSiteState { at: i64, sites: Vec<usize> },
    ClearHistory { at: i64, sites: Vec<usize> },
    Maintain { at: i64 },
    Enable(bool),
    Reopen,
}

fn hosts() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec((0..SITES.len()).prop_map(|index| SITES[index].to_owned()), 0..3)
}

fn time() -> impl Strategy<Value = i64> {
    // Around six epochs and a bit more than the lookback; now and then on the boundary of a day, or at a time that others
    // have, too.
    prop_oneof![
        6 => 0..40 * DAY,
        2 => (0..40_i64).prop_map(|day| day * DAY),
        2 => (0..3_i64).prop_map(|millis| 20 * DAY + millis),
        1 => -10 * DAY..0,
    ]
}

prop_compose! {
    fn impression()(
        histogram_index in 0..5_u32,
        match_value in 0..3_u32,
        conversion_sites in hosts(),
        conversion_callers in hosts(),
        lifetime_days in prop_oneof![Just(30_u32), 1..40_u32],
        priority in -1..2_i32,
    ) -> ImpressionOptions {
        ImpressionOptions {
            histogram_index, match_value, conversion_sites, conversion_callers, lifetime_days, priority,
        }
    }
}

prop_compose! {
    fn conversion()(
        epsilon in prop_oneof![Just(0.1), Just(0.25), 0.01..4.0],
        histogram_size in 1..5_u32,
        lookback_days in proptest::option::of(1..40_u32),
        match_values in proptest::collection::vec(0..3_u32, 0..2),
        impression_sites in hosts(),
        impression_callers in hosts(),
        credit in proptest::option::of(proptest::collection::vec(0.1..9.0, 1..5)),
        value in 1..9_u32,
        more in 0..9_u32,
    ) -> ConversionOptions {
        ConversionOptions {
            aggregation_service: SERVICE.to_owned(),
            epsilon, histogram_size, lookback_days, match_values, impression_sites, impression_callers, credit, value,
            max_value: value + more,
        }
    }
}

fn call() -> impl Strategy<Value = Call> {
    let site = || 0..SITES.len();
    let caller = || proptest::option::weighted(0.3, 0..SITES.len());
    let sites = || proptest::collection::vec(0..SITES.len(), 1..3);
    prop_oneof![
        12 => (time(), site(), caller(), impression())
            .prop_map(|(at, site, caller, options)| Call::Save { at, site, caller, options }),
        12 => (time(), site(), caller(), conversion())
            .prop_map(|(at, site, caller, options)| Call::Measure { at, site, caller, options }),
        1 => site().prop_map(|site| Call::ClearSiteData { site }),
        1 => (time(), sites()).prop_map(|(at, sites)| Call::ClearSiteState { at, sites }),
        1 => (time(), prop_oneof![sites(), Just(vec![])]).prop_map(|(at, sites)| Call::ClearHistory { at, sites }),
        1 => time().prop_map(|at| Call::Maintain { at }),
        1 => any::<bool>().prop_map(Call::Enable),
        1 => Just(Call::Reopen),
    ]
}

/// Does a call; a conversion gives its histogram.
fn run(engine: &mut Engine<MemoryStore>, random: Fixed, call: &Call) -> Option<Vec<u32>> {
    let random = &mut random.clone();
    let set = |sites: &[usize]| sites.iter().map(|index| site(*index)).collect();
    let at = Moment::from_millis;
    match call {
        Call::Save { at, site, caller, options } => {
            engine.save_impression(&inputs(*site, *caller, *at), options).unwrap();
        }
        Call::Measure { at, site, caller, options } => {
            let measured = engine.measure_conversion(random, &inputs(*site, *caller, *at), options).unwrap();
            return Some(measured.histogram().to_vec());
        }
        Call::ClearSiteData { site: index } => engine.clear_impressions_for_site(&site(*index)).unwrap(),
        Call::ClearSiteState { at: time, sites } => {
            engine.clear_site_state(random, &set(sites), at(*time)).unwrap();
        }
        Call::ClearHistory { at: time, sites } => {
            engine.clear_browsing_history(&set(sites), at(*time)).unwrap();
        }
        Call::Maintain { at: time } => engine.maintain(at(*time)).unwrap(),
        Call::Enable(enabled) => engine.set_enabled(*enabled).unwrap(),
        Call::Reopen => {
            *engine = Engine::open(engine.config.clone(), engine.storage.clone()).unwrap();
        }
    }
    None
}

fn engine(config: Config) -> Engine<MemoryStore> {
    Engine::open(config, MemoryStore::default()).unwrap()
}

/// Small limits, so that all of them are met.
fn tight() -> Config {
    Config { site_budget: 400_000, global_budget: 1_200_000, impression_site_quota: 700_000, ..config() }
}

proptest! {
    /// With shared limits that nobody reaches, what a site gets does not depend on what other sites converted; as long as
    /// the clock does not go back behind a clearing or a maintenance: then weeks that anybody spent from are closed.
    #[test]
    fn a_site_sees_nothing_of_what_others_converted(
        calls in proptest::collection::vec(call(), 1..60),
        fraction in 0.0..1.0,
    ) {
        let config =
            Config { global_budget: u32::MAX, impression_site_quota: u32::MAX, site_budget: 400_000, ..config() };
        let (mut all, mut own) = (engine(config.clone()), engine(config));
        // When the first conversion was is what the epochs of all sites begin with.
        for engine in [&mut all, &mut own] {
            let options = ConversionOptions::new(SERVICE, 1);
            engine.measure_conversion(&mut Fixed(fraction), &inputs(3, None, 0), &options).unwrap();
        }
        let (mut latest, mut floor) = (0, i64::MIN);
        for mut call in calls {
            match &mut call {
                Call::ClearHistory { at, .. } | Call::Maintain { at } => {
                    *at = latest.max(*at);
                    (latest, floor) = (*at, *at);
                }
                Call::Save { at, .. } | Call::Measure { at, .. } | Call::ClearSiteState { at, .. } => {
                    *at = floor.max(*at);
                    latest = latest.max(*at);
                }
                _ => {}
            }
            let call = &call;
            let of_others = matches!(call, Call::Measure { site, .. } if *site != 0)
                || matches!(call, Call::ClearSiteState { sites, .. } if !sites.contains(&0));
            let seen = run(&mut all, Fixed(fraction), call);
            if !of_others {
                prop_assert_eq!(seen, run(&mut own, Fixed(fraction), call));
            }
        }
    }

    /// An engine that is opened again goes on as if it had not been closed.
    #[test]
    fn a_restart_changes_nothing(calls in proptest::collection::vec(call(), 1..60), fraction in 0.0..1.0) {
        let (mut kept, mut reopened) = (engine(tight()), engine(tight()));
        for call in calls.iter().filter(|call| !matches!(call, Call::Reopen)) {
            prop_assert_eq!(
                run(&mut kept, Fixed(fraction), call),
                run(&mut reopened, Fixed(fraction), call)
            );
            run(&mut reopened, Fixed(fraction), &Call::Reopen);
        }
        let changes = kept.state.changes();
        prop_assert_eq!(&changes, &reopened.state.changes());
        let mut bytes = Vec::new();
        codec::encode_all(&changes, &mut bytes);
        prop_assert_eq!(codec::decode_all(&bytes).unwrap(), changes);
    }
}

/// Of two impressions of one millisecond the one that was saved last had all the credit; the standard's order is stable.
#[test]
fn of_two_touches_at_one_time_the_first_saved_comes_first() {
    let mut engine = engine(config());
    for index in [0, 1] {
        engine.save_impression(&inputs(0, None, 1), &ImpressionOptions::new(index)).unwrap();
    }
    let (inputs, options) = conversion_of(1, 2);
    let measured = engine.measure_conversion(&mut Fixed(0.5), &inputs, &options).unwrap();
    assert_eq!(measured.histogram(), [1, 0, 0]);
}

fn conversion_of(site: usize, at: i64) -> (ImplicitInputs, ConversionOptions) {
    (inputs(site, None, at), ConversionOptions::new(SERVICE, 3))
}

/// A store of which the write number `fails` fails, and all after it.
#[derive(Clone, Debug, Default)]
struct Failing {
    kept: MemoryStore,
    fails: usize,
    writes: usize,
    /// Asks to be made anew after each call.
    grown: bool,
}

impl Failing {
    fn write(&mut self) -> Result<(), StorageError> {
        self.writes += 1;
        if self.writes > self.fails { Err(StorageError::Failed) } else { Ok(()) }
    }
}

impl Storage for Failing {
    fn load(&mut self) -> Result<Vec<Change>, StorageError> {
        self.kept.load()
    }

    fn append(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        self.write()?;
        self.kept.append(changes)
    }

    fn replace(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        self.write()?;
        self.kept.replace(changes)
    }

    fn has_grown(&self) -> bool {
        self.grown
    }
}

/// A budget that could not be kept must not be spent: the report is null, and after a restart all of it is there.
#[test]
fn what_cannot_be_kept_is_not_disclosed() {
    let storage = Failing { fails: 1, ..Failing::default() };
    let mut engine = Engine::open(config(), storage.clone()).unwrap();
    engine.save_impression(&inputs(0, None, 1), &ImpressionOptions::new(1)).unwrap();
    let (inputs, options) = conversion_of(1, 2);
    for _ in 0..2 {
        let measured = engine.measure_conversion(&mut Fixed(0.0), &inputs, &options).unwrap();
        assert_eq!(measured.histogram(), [0, 0, 0]);
        assert!(matches!(measured.outcome(), Outcome::NotStored(_)));
    }
    let refused = engine.save_impression(&inputs, &ImpressionOptions::new(1)).unwrap_err();
    assert!(matches!(refused, AttributionError::Storage(_)) && refused.script_name().is_none());
    let mut reopened = Engine::open(config(), storage.kept).unwrap();
    assert_eq!(reopened.budgets(&site(1), inputs.timestamp), []);
    let measured = reopened.measure_conversion(&mut Fixed(0.0), &inputs, &options).unwrap();
    assert_eq!(measured.histogram(), [0, 1, 0]);
}

/// A conversion that matched nothing, or came while attribution was disabled, wrote and synced nothing, and was told from
/// the others by the time of a sync.
#[test]
fn every_call_writes_once_whatever_it_found() {
    let mut engine = Engine::open(config(), Failing { fails: usize::MAX, ..Failing::default() }).unwrap();
    let (inputs_of_conversion, options) = conversion_of(1, 2);
    let writes = |engine: &mut Engine<Failing>| {
        let before = engine.storage.writes;
        engine.save_impression(&inputs(0, None, 1), &ImpressionOptions::new(1)).unwrap();
        let saved = engine.storage.writes;
        let measured = engine.measure_conversion(&mut Fixed(0.5), &inputs_of_conversion, &options).unwrap();
        (saved - before, engine.storage.writes - saved, format!("{:?}", measured.outcome()))
    };
    let attributed = writes(&mut engine);
    let no_budget = writes(&mut engine);
    engine.set_enabled(false).unwrap();
    let disabled = writes(&mut engine);
    engine.set_enabled(true).unwrap();
    engine.clear_browsing_history(&BTreeSet::new(), Moment::from_millis(-60 * DAY)).unwrap();
    let before = engine.storage.writes;
    let measured = engine.measure_conversion(&mut Fixed(0.5), &inputs_of_conversion, &options).unwrap();
    let no_match = (1, engine.storage.writes - before, format!("{:?}", measured.outcome()));
    let expected =
        ["Attributed", "NoBudget", "Disabled", "NoMatch"].map(|outcome| (1, 1, outcome.to_owned()));
    assert_eq!([attributed, no_budget, disabled, no_match], expected);
}

/// The process ends between the conversion and its report: the report is lost, and its budget is spent.
#[test]
fn a_budget_is_spent_before_its_histogram_is_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("attribution");
    let open = || Engine::open(config(), FileStore::open(&path).unwrap()).unwrap();
    let (inputs_of_conversion, options) = conversion_of(1, 2);
    let mut first = open();
    first.save_impression(&inputs(0, None, 1), &ImpressionOptions::new(1)).unwrap();
    let measured = first.measure_conversion(&mut Fixed(0.5), &inputs_of_conversion, &options).unwrap();
    assert_eq!(measured.histogram(), [0, 1, 0]);
    // What is on the disk when the histogram is first seen is what a crash leaves.
    let left = std::fs::read(&path).unwrap();
    drop(first);
    std::fs::write(&path, left).unwrap();
    let mut second = open();
    let current = *second.budgets(&site(1), inputs_of_conversion.timestamp).last().unwrap();
    assert_eq!((current.site, current.global), (0, 7_000_000));
    let measured = second.measure_conversion(&mut Fixed(0.5), &inputs_of_conversion, &options).unwrap();
    assert_eq!(measured.histogram(), [0, 0, 0]);
    assert!(matches!(measured.outcome(), Outcome::NoBudget));
}

/// Whatever is called, and at whatever byte a crash cuts what a call writes: the state is that of before the call or of
/// after it.
#[test]
fn a_crash_in_any_call_leaves_it_done_or_not_begun() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let folder = tempfile::tempdir().unwrap();
    let (path, crashed) = (folder.path().join("state"), folder.path().join("crashed"));
    let mut engine = Engine::open(tight(), FileStore::open(&path).unwrap()).unwrap();
    let mut cuts = 0;
    for at in 0..60 {
        let (before, whole) = (engine.state.changes(), std::fs::read(&path).unwrap());
        let call = call().new_tree(&mut runner).unwrap().current();
        match call {
            Call::Save { site, caller, options, .. } => {
                engine.save_impression(&inputs(site, caller, at), &options).unwrap();
            }
            Call::Measure { site, caller, options, .. } => {
                let now = &inputs(site, caller, at);
                drop(engine.measure_conversion(&mut Fixed(0.5), now, &options).unwrap());
            }
            Call::ClearSiteState { sites, .. } => {
                let sites = sites.into_iter().map(site).collect();
                engine.clear_site_state(&mut Fixed(0.5), &sites, Moment::from_millis(at)).unwrap();
            }
            _ => continue,
        }
        let (after, written) = (engine.state.changes(), std::fs::read(&path).unwrap());
        assert!(written.starts_with(&whole), "a call appends");
        for cut in (whole.len()..=written.len()).step_by(7).chain([written.len()]) {
            std::fs::write(&crashed, &written[..cut]).unwrap();
            let opened = Engine::open(tight(), FileStore::open(&crashed).unwrap()).unwrap();
            let expected = if cut == written.len() { &after } else { &before };
            assert_eq!(opened.state.changes(), *expected, "{cut}");
            cuts += 1;
        }
    }
    assert!(cuts > 300, "{cuts}");
}

/// The text fills the histogram twice in a single epoch and charges for the first. With one impression beyond the
/// histogram the first could be empty and free, and the second hold the value.
#[test]
fn what_is_charged_for_is_what_is_reported() {
    struct Alternating(bool);
    impl Randomness for Alternating {
        fn epoch_start(&mut self) -> f64 {
            0.5
        }
        fn credit_rounding(&mut self) -> f64 {
            self.0 = !self.0;
            if self.0 { 0.0 } else { 0.9 }
        }
    }
    let mut engine = engine(config());
    for index in [0, 7] {
        engine.save_impression(&inputs(0, None, 1), &ImpressionOptions::new(index)).unwrap();
    }
    let now = inputs(1, None, 2);
    let options = ConversionOptions {
        credit: Some(vec![1.0, 1.0]),
        lookback_days: Some(1),
        ..ConversionOptions::new(SERVICE, 1)
    };
    let mut random = Alternating(false);
    for _ in 0..4 {
        let left = |engine: &Engine<_>| {
            engine.budgets(&site(1), now.timestamp).last().map_or(1_000_000, |left| left.site)
        };
        let before = left(&engine);
        let measured = engine.measure_conversion(&mut random, &now, &options).unwrap();
        assert_eq!(before - left(&engine), measured.histogram()[0] * 500_000);
    }
}

#[test]
fn an_opted_out_device_keeps_nothing_and_reports_nothing_of_the_same_size() {
    let mut engine = engine(config());
    engine.save_impression(&inputs(0, None, 1), &ImpressionOptions::new(1)).unwrap();
    engine.set_enabled(false).unwrap();
    run(&mut engine, Fixed(0.0), &Call::Reopen);
    assert!(!engine.is_enabled());
    engine.save_impression(&inputs(0, None, 2), &ImpressionOptions::new(2)).unwrap();
    assert_eq!(engine.impressions().count(), 1);
    let (inputs, options) = conversion_of(1, 3);
    let measured = engine.measure_conversion(&mut Fixed(0.0), &inputs, &options).unwrap();
    assert_eq!(measured.histogram(), [0, 0, 0]);
    assert!(matches!(measured.outcome(), Outcome::Disabled));
    assert!(
        engine.save_impression(&inputs, &ImpressionOptions::new(u32::MAX)).is_err(),
        "checked all the same"
    );
}

#[test]
fn maintenance_closes_what_it_forgets() {
    let mut engine = engine(config());
    let measure = |engine: &mut Engine<MemoryStore>, at| {
        let (inputs, options) = conversion_of(1, at);
        engine.measure_conversion(&mut Fixed(0.0), &inputs, &options).unwrap().histogram().to_vec()
    };
    engine.save_impression(&inputs(0, None, DAY), &ImpressionOptions::new(1)).unwrap();
    assert_eq!(measure(&mut engine, DAY), [0, 1, 0]);
    engine.maintain(Moment::from_millis(31 * DAY)).unwrap();
    assert_eq!(engine.impressions().count(), 1, "on its last millisecond an impression is not expired");
    engine.maintain(Moment::from_millis(90 * DAY)).unwrap();
    assert_eq!(engine.impressions().count(), 0);
    assert!(engine.state.site_budgets.is_empty() && engine.state.global_budgets.is_empty());
    // A clock that is set back finds no fresh budget in the epochs that were forgotten.
    engine.save_impression(&inputs(0, None, DAY), &ImpressionOptions::new(1)).unwrap();
    assert_eq!(measure(&mut engine, DAY), [0, 0, 0]);
    engine.save_impression(&inputs(0, None, 90 * DAY), &ImpressionOptions::new(1)).unwrap();
    assert_eq!(measure(&mut engine, 90 * DAY), [0, 1, 0]);
}

/// The device started once with its clock at 2080. Maintenance closed all weeks up to then, and nothing led out of that.
#[test]
fn a_clock_that_was_far_ahead_once_does_not_end_attribution() {
    let far = |days| Moment::from_millis(60 * 365 * DAY + days * DAY);
    let mut engine = engine(config());
    let measure = |engine: &mut Engine<MemoryStore>, at| {
        engine.save_impression(&inputs(0, None, at), &ImpressionOptions::new(1)).unwrap();
        let (inputs, options) = conversion_of(1, at);
        engine.measure_conversion(&mut Fixed(0.0), &inputs, &options).unwrap().histogram().to_vec()
    };
    assert_eq!(measure(&mut engine, 0), [0, 1, 0]);
    engine.maintain(far(0)).unwrap();
    assert_eq!(measure(&mut engine, DAY), [0, 0, 0], "what was spent was forgotten");
    assert_eq!(measure(&mut engine, 8 * DAY), [0, 1, 0], "the next week has a budget");
    // The same with a conversion while the clock is ahead.
    assert_eq!(measure(&mut engine, far(0).millis()), [0, 1, 0]);
    engine.maintain(far(1)).unwrap();
    assert_eq!(measure(&mut engine, 9 * DAY), [0, 0, 0]);
    assert_eq!(measure(&mut engine, 16 * DAY), [0, 1, 0]);
}

/// Clearing the data of twelve thousand sites made a row for each and for each week, beyond the limit of rows: no new site had
/// a budget any more, and every later call wrote the whole state.
#[test]
fn clearing_many_sites_closes_the_weeks_instead_of_filling_the_rows() {
    let mut engine = engine(config());
    engine.save_impression(&inputs(0, None, 1), &ImpressionOptions::new(1)).unwrap();
    let sites = (0..12_000).map(|n| Site::parse(&format!("shop-{n}.example")).unwrap()).collect();
    engine.clear_site_state(&mut Fixed(0.0), &sites, Moment::from_millis(2)).unwrap();
    assert!(engine.state.site_budgets.is_empty());
    let (inputs_of_conversion, options) = conversion_of(1, 3);
    let measured = engine.measure_conversion(&mut Fixed(0.0), &inputs_of_conversion, &options).unwrap();
    assert_eq!(measured.histogram(), [0, 0, 0]);
    engine.save_impression(&inputs(0, None, 8 * DAY), &ImpressionOptions::new(1)).unwrap();
    let (inputs_of_conversion, options) = conversion_of(1, 8 * DAY);
    let measured = engine.measure_conversion(&mut Fixed(0.0), &inputs_of_conversion, &options).unwrap();
    assert_eq!(measured.histogram(), [0, 1, 0]);
}

/// The rows of a conversion's own earlier epochs take room, too: it went beyond the limit by the number of its epochs.
#[test]
fn one_conversion_does_not_go_beyond_the_rows() {
    let mut engine = engine(config());
    let rows = crate::attribution::MAX_BUDGET_ROWS - 1;
    for n in 0..rows {
        engine.state.apply(Change::SiteBudget(i64::try_from(n).unwrap() - 1_000_000, site(2), 1));
        engine.state.apply(Change::ImpressionQuota(i64::try_from(n).unwrap() - 1_000_000, site(2), 1));
    }
    for week in 0..4 {
        engine.save_impression(&inputs(0, None, week * 7 * DAY), &ImpressionOptions::new(1)).unwrap();
    }
    let (inputs, options) = conversion_of(1, 21 * DAY);
    let measured = engine.measure_conversion(&mut Fixed(0.0), &inputs, &options).unwrap();
    assert!(matches!(measured.outcome(), Outcome::Attributed));
    assert_eq!((engine.state.site_budgets.len(), engine.state.quotas.len()), (rows + 1, rows + 1));
}

/// The person was told that the budget was spent, where nothing is attributed in the week of a clear at all.
#[test]
fn an_ad_of_a_cleared_week_is_no_match() {
    let mut engine = engine(config());
    engine.clear_browsing_history(&BTreeSet::new(), Moment::from_millis(0)).unwrap();
    engine.save_impression(&inputs(0, None, 1), &ImpressionOptions::new(1)).unwrap();
    let (inputs, options) = conversion_of(1, 2);
    let measured = engine.measure_conversion(&mut Fixed(0.0), &inputs, &options).unwrap();
    assert!(matches!(measured.outcome(), Outcome::NoMatch));
}

/// Nobody looked whether the engine makes its file anew: without that it grows until it is refused as damaged.
#[test]
fn the_engine_keeps_its_file_small() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let open = || Engine::open(config(), FileStore::open(&path).unwrap()).unwrap();
    let mut engine = open();
    // As much as many calls append, of which nothing is left in the state.
    engine.storage.append(&vec![Change::Enabled(true); 60_000]).unwrap();
    engine.save_impression(&inputs(0, None, 1), &ImpressionOptions::new(1)).unwrap();
    let mut whole = Vec::new();
    codec::encode_all(&engine.state.changes(), &mut whole);
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(length < 2 * whole.len() as u64 + (64 << 10), "{length} {}", whole.len());
    let changes = engine.state.changes();
    drop(engine);
    assert_eq!(open().state.changes(), changes);
}

/// The disk is full when the file is to be made anew: the call that had it done was durable before, and answers.
#[test]
fn a_file_that_cannot_be_made_anew_loses_nothing() {
    // The first call appends and replaces; the second appends, and its replacing fails.
    let storage = Failing { fails: 3, grown: true, ..Failing::default() };
    let mut engine = Engine::open(config(), storage).unwrap();
    engine.save_impression(&inputs(0, None, 1), &ImpressionOptions::new(1)).unwrap();
    let (inputs, options) = conversion_of(1, 2);
    let measured = engine.measure_conversion(&mut Fixed(0.0), &inputs, &options).unwrap();
    assert_eq!(measured.histogram(), [0, 1, 0]);
    let measured = engine.measure_conversion(&mut Fixed(0.0), &inputs, &options).unwrap();
    assert!(matches!(measured.outcome(), Outcome::NotStored(_)));
    assert_eq!(measured.histogram(), [0, 0, 0]);
    let changes = engine.state.changes();
    let reopened = Engine::open(config(), engine.storage.kept.clone()).unwrap();
    assert_eq!(reopened.state.changes(), changes);
}

#[test]
fn full_budget_rows_give_no_budget_to_new_sites() {
    let mut engine = engine(config());
    for n in 0..crate::attribution::MAX_BUDGET_ROWS {
        engine.state.apply(Change::SiteBudget(i64::try_from(n).unwrap() - 1_000_000, site(2), 1));
    }
    engine.save_impression(&inputs(0, None, 1), &ImpressionOptions::new(1)).unwrap();
    let (inputs, options) = conversion_of(1, 2);
    let measured = engine.measure_conversion(&mut Fixed(0.0), &inputs, &options).unwrap();
    assert!(matches!(measured.outcome(), Outcome::NoBudget));
}

/// What JavaScript refuses by type before the standard's own steps begin.
#[test]
fn numbers_that_are_none_are_refused() {
    let mut engine = engine(config());
    let (inputs, options) = conversion_of(1, 2);
    for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for options in [
            ConversionOptions { epsilon: wrong, ..options.clone() },
            ConversionOptions { credit: Some(vec![1.0, wrong]), ..options.clone() },
        ] {
            let refused = engine.measure_conversion(&mut Fixed(0.0), &inputs, &options).unwrap_err();
            assert_eq!(refused.script_name(), Some(("TypeError", false)));
        }
    }
    let most = ConversionOptions { epsilon: 4_294.0, ..options.clone() };
    engine.measure_conversion(&mut Fixed(0.0), &inputs, &most).unwrap();
    let more = ConversionOptions { epsilon: 4_294.000_001, ..options };
    let refused = engine.measure_conversion(&mut Fixed(0.0), &inputs, &more).unwrap_err();
    assert_eq!(refused.script_name(), Some(("RangeError", false)));
}
