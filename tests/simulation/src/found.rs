//! What the simulation has found: each as the shortest list of operations that shows it, with its story.

use crate::operation::Operation::{Collect, Jump, NextHour, Repeat, Upload, UploadTwice, Wait};
use crate::{Operation, Party, Setup, run};

/// Plenty of everything.
const PLENTY: Setup = Setup { releases: 10_000, store_bytes: 64 << 20, job_size: 20, lie: None };

fn passes(seed: u64, setup: Setup, operations: &[Operation]) {
    assert_eq!(run(seed, operations, setup).map(|_| ()), Ok(()), "{operations:?}");
}

/// All reports of a job were too early for the helper, which said so and kept nothing. The leader put them back and
/// made another job of them and more. When the helper's clock was right, a copy of the first job that came late was
/// counted, and to the other job the helper said "replayed": acknowledged reports were counted by the helper alone, and
/// the batch could never be collected.
#[test]
fn a_late_copy_of_a_job_that_was_too_early() {
    passes(
        1,
        PLENTY,
        &[
            Jump { party: Party::Helper, seconds: -7_200 },
            Upload { task: 0, hour: 5, first: 0, count: 2 },
            Wait { millis: 2_000 },
            Upload { task: 0, hour: 5, first: 2, count: 2 },
            Wait { millis: 8_000 },
            Jump { party: Party::Helper, seconds: 0 },
            Repeat { number: 2 },
            Wait { millis: 30 },
        ],
    );
}

/// A job had reports of an old hour and of one that was too early for the helper. The helper kept its response until
/// the windows of the counted reports were finished, and forgot it then. A late copy of the job counted the others,
/// which the leader had put into another job meanwhile.
#[test]
fn a_late_copy_of_a_job_that_was_too_early_in_part() {
    passes(
        1,
        PLENTY,
        &[
            Jump { party: Party::Helper, seconds: -7_200 },
            Upload { task: 0, hour: 0, first: 0, count: 10 },
            Upload { task: 0, hour: 5, first: 0, count: 2 },
            Wait { millis: 3_000 },
            Collect { party: Party::First, task: 0, hour: 0, hours: 1 },
            Wait { millis: 10_000 },
            Jump { party: Party::Helper, seconds: 0 },
            Repeat { number: 3 },
            Wait { millis: 30 },
        ],
    );
}

/// The helper's clock was behind, and it refused a window that was not over for it; the leader took that for a refusal
/// for good and opened the window again. When the helper's clock was right, a late copy of the request was answered,
/// charged, and closed the window there. What was uploaded then was counted by the leader alone.
#[test]
fn a_late_copy_of_a_request_for_a_share_that_was_too_early() {
    passes(
        1,
        PLENTY,
        &[
            NextHour,
            NextHour,
            Upload { task: 0, hour: 5, first: 0, count: 12 },
            Wait { millis: 3_000 },
            Jump { party: Party::Helper, seconds: -7_200 },
            Collect { party: Party::First, task: 0, hour: 5, hours: 1 },
            Wait { millis: 8_000 },
            Jump { party: Party::Helper, seconds: 0 },
            Repeat { number: 0 },
            Wait { millis: 3_000 },
        ],
    );
}

/// What was worked off stayed in each task's last segment file and counted towards the limit of the leader's store, until
/// more came. With a small limit, or many tasks, nothing more could come: every upload was refused for ever.
#[test]
fn a_limit_filled_by_what_was_worked_off() {
    passes(
        202_087,
        Setup { releases: 5, store_bytes: 120_000, job_size: 5, ..PLENTY },
        &[
            UploadTwice { task: 1, hour: 4, first: 0, count: 14 },
            UploadTwice { task: 1, hour: 3, first: 0, count: 11 },
            UploadTwice { task: 1, hour: 1, first: 8, count: 14 },
            Upload { task: 1, hour: 3, first: 3, count: 12 },
        ],
    );
}
