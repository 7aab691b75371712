//! Which configuration is a task of which profile, and what each profile refuses.

use super::*;
use crate::codec::{CodecError, Decode as _};
use crate::vdaf::VdafError;

/// Short names for what may come out, so that the cases fit a table.
#[derive(Debug, PartialEq)]
enum Outcome {
    Ok(Profile),
    /// The field.
    Codec(&'static str),
    Unknown(Vec<u16>),
    Vdaf,
    BatchMode(u8),
    /// The reason.
    Shape(Profile, &'static str),
}

fn outcome(result: Result<Task, TaskError>) -> Outcome {
    match result {
        Ok(task) => Outcome::Ok(task.profile()),
        Err(TaskError::Codec(CodecError::Invalid { field, .. } | CodecError::Truncated { field })) => {
            Outcome::Codec(field)
        }
        Err(TaskError::Codec(CodecError::LeftOver { .. })) => Outcome::Codec("left over"),
        Err(TaskError::UnknownExtensions(kinds)) => Outcome::Unknown(kinds),
        Err(TaskError::Vdaf(_)) => Outcome::Vdaf,
        Err(TaskError::BatchMode(mode)) => Outcome::BatchMode(mode),
        Err(TaskError::Shape { profile, reason }) => Outcome::Shape(profile, reason),
        Err(other) => panic!("{other}"),
    }
}

fn check(cases: Vec<(Draft, Outcome)>) {
    for (index, (draft, expected)) in cases.into_iter().enumerate() {
        assert_eq!(outcome(draft.task()), expected, "case {index}");
    }
}

#[test]
fn what_a_task_of_each_profile_holds() {
    let task = Draft::arras(VdafConfig::Count).task().unwrap();
    assert_eq!(task.profile().name(), "arras");
    assert_eq!(task.policy(), Some(&policy(&VdafConfig::Count)));
    assert_eq!(task.budget_source(), Some("shop.example"));
    assert_eq!((task.collector_identity(), task.interval()), (None, None));

    let task = Draft::attribution().task().unwrap();
    assert_eq!(task.profile().name(), "attribution");
    assert_eq!(task.policy(), None);
    assert_eq!(task.budget_source(), Some("shop.example"));
    assert_eq!(task.collector_identity(), Some("adtech.example"));

    let task = Draft::plain(VdafConfig::Count).task().unwrap();
    assert_eq!(task.profile().name(), "plain");
    assert_eq!((task.policy(), task.budget_source(), task.collector_identity()), (None, None, None));
}

#[test]
fn arras() {
    use Outcome::{Codec, Ok, Shape};
    use Profile::Arras;
    let base = || Draft::arras(VdafConfig::histogram(4).unwrap());
    let policy_and_a_byte = [policy(&base().vdaf).to_bytes(), vec![0]].concat();
    check(vec![
        (base(), Ok(Arras)),
        (base().with(TASK_EXTENSION_TASK_INTERVAL, &interval(5, 1)), Ok(Arras)),
        (
            base().with(TASK_EXTENSION_TASK_INTERVAL, &interval(5, 0)),
            Shape(Arras, "task_interval must not be empty"),
        ),
        (base().with(TASK_EXTENSION_TASK_INTERVAL, &[0xff; 16]), Codec("interval")),
        (base().with(TASK_EXTENSION_TASK_INTERVAL, &[0; 15]), Codec("interval.duration")),
        (base().without(TASK_EXTENSION_BUDGET_SOURCE), Shape(Arras, "budget_source is missing")),
        (
            base().with(TASK_EXTENSION_COLLECTOR_IDENTITY, b"adtech.example"),
            Shape(Arras, "collector_identity belongs to the attribution profile"),
        ),
        (Draft { task_info: Vec::new(), ..base() }, Shape(Arras, "task_info must not be empty")),
        (
            Draft { helper: "https://leader.example/", ..base() },
            Shape(Arras, "leader and helper must have different endpoints"),
        ),
        (base().with(TASK_EXTENSION_PRIVACY_POLICY, &[]), Codec("policy.version")),
        (base().with(TASK_EXTENSION_PRIVACY_POLICY, &[2; 26]), Codec("policy.version")),
        (base().with(TASK_EXTENSION_BUDGET_SOURCE, b""), Codec("budget_source or collector_identity")),
        (base().with(TASK_EXTENSION_BUDGET_SOURCE, &[b'a'; 253]), Ok(Arras)),
        (
            base().with(TASK_EXTENSION_BUDGET_SOURCE, &[b'a'; 254]),
            Codec("budget_source or collector_identity"),
        ),
        (base().with(TASK_EXTENSION_BUDGET_SOURCE, b"a b"), Codec("budget_source or collector_identity")),
        (
            base().with(TASK_EXTENSION_BUDGET_SOURCE, "\u{e4}.example".as_bytes()),
            Codec("budget_source or collector_identity"),
        ),
        (base().with(TASK_EXTENSION_PRIVACY_POLICY, &policy_and_a_byte), Codec("left over")),
    ]);
}

#[test]
fn plain() {
    use Outcome::{Ok, Shape};
    use Profile::Plain;
    let base = || Draft::plain(VdafConfig::histogram(4).unwrap());
    check(vec![
        (base(), Ok(Plain)),
        (base().with(TASK_EXTENSION_TASK_INTERVAL, &interval(5, 1)), Ok(Plain)),
        (
            base().with(TASK_EXTENSION_TASK_INTERVAL, &interval(5, 0)),
            Shape(Plain, "task_interval must not be empty"),
        ),
        (
            base().with(TASK_EXTENSION_BUDGET_SOURCE, b"shop.example"),
            Shape(Plain, "budget_source needs a privacy_policy beside it (arras profile)"),
        ),
        (
            base().with(TASK_EXTENSION_COLLECTOR_IDENTITY, b"adtech.example"),
            Shape(Plain, "collector_identity belongs to the attribution profile"),
        ),
        (Draft { task_info: Vec::new(), ..base() }, Shape(Plain, "task_info must not be empty")),
        (
            Draft { leader: "https://helper.example/", ..base() },
            Shape(Plain, "leader and helper must have different endpoints"),
        ),
    ]);
}

#[test]
fn attribution() {
    use Outcome::{Codec, Ok, Shape};
    use Profile::Attribution;
    let base = Draft::attribution;
    let policy = policy(&base().vdaf).to_bytes();
    let wrong_vdaf = || Shape(Attribution, "the VDAF must be L1BoundSum with the W3C's chunk length");
    check(vec![
        (base(), Ok(Attribution)),
        (Draft { task_info: b"x".to_vec(), ..base() }, Shape(Attribution, "task_info must be empty")),
        (base().without(TASK_EXTENSION_BUDGET_SOURCE), Shape(Attribution, "budget_source is missing")),
        (
            base().without(TASK_EXTENSION_COLLECTOR_IDENTITY),
            Shape(Attribution, "collector_identity is missing"),
        ),
        (base().with(TASK_EXTENSION_COLLECTOR_IDENTITY, b"\n"), Codec("budget_source or collector_identity")),
        (
            base().with(TASK_EXTENSION_PRIVACY_POLICY, &policy),
            Shape(Attribution, "privacy_policy belongs to the arras profile"),
        ),
        (
            base().with(TASK_EXTENSION_TASK_INTERVAL, &interval(5, 1)),
            Shape(Attribution, "task_interval is not part of it"),
        ),
        (Draft { time_precision: 3_600, ..base() }, Shape(Attribution, "time_precision must be 5 seconds")),
        (Draft { min_batch_size: 19, ..base() }, Shape(Attribution, "min_batch_size must be 20")),
        (Draft { min_batch_size: 21, ..base() }, Shape(Attribution, "min_batch_size must be 20")),
        (Draft { vdaf: VdafConfig::histogram(4).unwrap(), ..base() }, wrong_vdaf()),
        (Draft { vdaf: VdafConfig::Count, ..base() }, wrong_vdaf()),
        (
            Draft { vdaf: VdafConfig::L1BoundSum { length: 4, max_value: 7, chunk_length: 3 }, ..base() },
            wrong_vdaf(),
        ),
        (
            Draft { vdaf: VdafConfig::L1BoundSum { length: 4, max_value: 8, chunk_length: 4 }, ..base() },
            Ok(Attribution),
        ),
        (
            Draft { vdaf: VdafConfig::L1BoundSum { length: 4, max_value: 16, chunk_length: 4 }, ..base() },
            wrong_vdaf(),
        ),
        (
            Draft { helper: "https://leader.example/", ..base() },
            Shape(Attribution, "leader and helper must have different endpoints"),
        ),
    ]);
}

#[test]
fn what_no_profile_takes() {
    let base = || Draft::arras(VdafConfig::Count);
    for mode in [0, 2, 3, 0xef, 0xf1, 0xff] {
        let draft = Draft { batch_mode: mode, ..base() };
        assert_eq!(outcome(draft.task()), Outcome::BatchMode(mode));
    }
    let unknown = base().with(2, b"").with(0xff03, b"x");
    assert_eq!(outcome(unknown.clone().task()), Outcome::Unknown(vec![2, 0xff03]));
    assert!(unknown.task().unwrap_err().to_string().ends_with("0x0002, 0xff03"));
}

/// Encodes a configuration whose `batch_config` and VDAF fields are given as bytes.
fn by_hand(batch_config: &[u8], vdaf_type: u32, vdaf_configuration: &[u8]) -> TaskConfiguration {
    let opaque = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let bytes = [
        vec![1, b'x'],
        opaque(b"https://leader.example/"),
        opaque(b"https://helper.example/"),
        3_600_u64.to_be_bytes().to_vec(),
        100_u64.to_be_bytes().to_vec(),
        vec![BATCH_MODE_TIME_INTERVAL],
        opaque(batch_config),
        vdaf_type.to_be_bytes().to_vec(),
        opaque(vdaf_configuration),
        opaque(b""),
    ];
    TaskConfiguration::from_bytes(&bytes.concat()).unwrap()
}

#[test]
fn fields_that_only_others_would_send() {
    let run = |batch_config: &[u8], kind, vdaf: &[u8]| outcome(Task::new(by_hand(batch_config, kind, vdaf)));
    assert_eq!(run(b"", 1, b""), Outcome::Ok(Profile::Plain));
    assert_eq!(run(b"\0", 1, b""), Outcome::Shape(Profile::Plain, "batch_config must be empty"));
    assert_eq!(run(b"", 2, &7_u64.to_be_bytes()), Outcome::Vdaf);
    assert_eq!(run(b"", 1, b"\0"), Outcome::Vdaf);
    assert_eq!(run(b"", 4, &[0, 0, 0, 4, 0, 0, 0, 0]), Outcome::Vdaf);
    let error = Task::new(by_hand(b"", 9, b"")).unwrap_err();
    assert_eq!(error, TaskError::Vdaf(VdafError::UnknownType(9)));
}

/// The formula of "construct a DAP report", in the floating point of a browser: the square root of
/// (ceil(log2(max + 1)) + 1) * length, rounded.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn chunk_length_of_a_browser(length: u32, max_value: u64) -> u32 {
    let bits = ((max_value + 1) as f64).log2().ceil();
    ((bits + 1.0) * f64::from(length)).sqrt().round() as u32
}

#[test]
fn the_chunk_length_is_that_of_a_browser_and_no_other() {
    let mut checked = 0;
    let mut check = |length, max_value| {
        let expected = chunk_length_of_a_browser(length, max_value);
        for chunk_length in [expected - 1, expected, expected + 1] {
            let vdaf = VdafConfig::L1BoundSum { length, max_value, chunk_length };
            if vdaf.validate().is_err() {
                assert_ne!(chunk_length, expected, "{length} {max_value}");
                continue;
            }
            let accepted = Draft { vdaf, ..Draft::attribution() }.task().is_ok();
            assert_eq!(accepted, chunk_length == expected, "{length} {max_value} {chunk_length}");
            checked += 1;
        }
    };
    for length in (1..130).chain([255, 256, 1_000, 2_047, 4_000]) {
        for max_value in (1..18).chain([31, 32, 63, 64, 65, 255, 256, 1_000, 65_535]) {
            check(length, max_value);
        }
    }
    for (length, max_value) in [(1, u64::from(u32::MAX)), (64, u64::from(u32::MAX)), (1_000, 1 << 31)] {
        check(length, max_value);
    }
    assert!(checked > 9_000, "{checked}");
}
