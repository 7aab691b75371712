//! A simulation of clients, leader, helper and two collectors on one thread, with everything that can go wrong.
//!
//! # Why this kind
//! The roles run whole: their routers, their drivers with all retries, the collector, the stores' logic. What is
//! replaced is what a role gets from outside: the network (`network.rs`), the disk (the stores' own seam, in memory:
//! `arras::store::MemoryDisk`), clocks, noise, and where blocking calls run. So no part of what is under test is left out
//! or written again, as it would be if only a role's pure core were driven; and neither sockets nor threads decide
//! anything, as they would with a network of real ones. Time is tokio's paused clock: a run of simulated hours takes
//! milliseconds, and the same seed gives the same run.
//!
//! A run is a list of [`Operation`]s, made from a seed, and a second use of the seed for all that they leave open: what is
//! lost, how long things take, what of the unsynced a loss of power keeps. After the list nothing goes wrong any more:
//! all is started again and must come to an end, whatever was not uploaded is, and every window is collected.
//!
//! # What is a failure
//! * A report that was acknowledged and is not counted once, or one that was not and is counted more than once, or one that
//!   was never sent: each report has a cell of its own in the windows that it can be in.
//! * A job that is half done: the aggregators differ in count or checksum of an hour when all is settled; the helper claims a
//!   report in two jobs; the leader finds a good report rejected or lost.
//! * A bucket that is in two releases, or changes after it was collected.
//! * Two answers to one collection, or to one request for an aggregate share, that differ in a byte; a release without the
//!   noise of both aggregators, each drawn as one vector (the noise says who drew it, and when).
//! * A ledger that falls, or that disagrees with the collected windows when its store is opened again; a leader that has
//!   spent more than its helper; at the end anything but the cost of the releases, in the ledgers or in the windows.
//! * A collector's release that is not what the leader answered; a collection that ends in an error that says that somebody is
//!   wrong.
//! * A store that does not open after whatever happened to its disk; anything that does not come to an end within half an
//!   hour; an upload that is refused as invalid; any panic, also one that a role survives.
//! * A job that the leader sends again before the time that the helper asked for.
//!
//! # What is none
//! * A report without an answer that is not counted. A refusal because a window is closed, too small, not over or over the
//!   budget, because a disk is full, or because a store waits to be opened again.
//! * A collection that was charged and whose answer nobody fetched, or that was deleted: what is spent stays spent.
//! * A result that takes as long as what it needs is away.
//!
//! # What it cannot find
//! Two threads within one call of a store: a blocking call runs from its beginning to its end, and calls overlap only
//! between them. sled and the file system themselves: the tests of `store` and of `tests/integration` use the real ones. A
//! disk that keeps later changes of names and not earlier ones: the file systems in use do not.
//!
//! # Use
//! `cargo run -p arras-simulation -- --seeds 1000`; a finding comes with its seed and the shortest list that shows it,
//! which then goes, with its story, into `found.rs`.
#![forbid(unsafe_code)]
#![allow(missing_docs, unreachable_pub, reason = "a program, and the library that its tests are in")]
#![allow(clippy::unwrap_used, reason = "what panics here has failed")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of tasks, hours, slots and cells are small"
)]

mod chance;
#[cfg(test)]
mod found;
mod lies;
mod model;
mod network;
mod operation;
mod run;
mod shrink;
mod simulation;
mod world;

pub use lies::Lie;
pub use operation::{Failure, Operation, Party, generate};
pub use run::{Passed, run};
pub use shrink::shrink;
pub use simulation::Setup;

/// Operations of a seed unless asked otherwise.
pub const OPERATIONS: usize = 60;

/// What was found, and how to find it again.
pub fn explain(seed: u64, list: &[Operation], setup: Setup, wrong: &[String]) -> String {
    let shortest = shrink(list, |list| run(seed, list, setup).is_err());
    let again = run(seed, &shortest, setup).err().unwrap_or_default();
    format!(
        "seed {seed} fails: {}\nthe shortest list that fails: {}\n{shortest:#?}\n{setup:?}\nrepeat it with \
         --seed {seed} --operations {}",
        wrong.join("; "),
        again.join("; "),
        list.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds of the default tests.
    const SEEDS: u64 = 200;

    /// Within so many seeds a broken word must be noticed.
    const SEEDS_TO_NOTICE: u64 = 400;

    #[test]
    fn two_hundred_seeds() {
        for seed in 0..SEEDS {
            let list = generate(seed, OPERATIONS);
            if let Err(wrong) = run(seed, &list, Setup::new(seed)) {
                panic!("{}", explain(seed, &list, Setup::new(seed), &wrong));
            }
        }
    }

    #[test]
    fn a_seed_reproduces() {
        for seed in 1_000..1_010 {
            let list = generate(seed, OPERATIONS);
            let once = run(seed, &list, Setup::new(seed)).unwrap();
            assert_eq!(run(seed, &list, Setup::new(seed)), Ok(once));
        }
    }

    #[test]
    fn broken_words_are_noticed() {
        for lie in [
            Lie::DiskThatDoesNotSync,
            Lie::LosesUploads,
            Lie::ForgetsPutBack,
            Lie::AnswersDiffer,
            Lie::ForgetsAnswers,
            Lie::ForgetsCharges,
        ] {
            let noticed = (0..SEEDS_TO_NOTICE).find(|seed| {
                let setup = Setup { lie: Some(lie), ..Setup::new(*seed) };
                run(*seed, &generate(*seed, OPERATIONS), setup).is_err()
            });
            assert!(noticed.is_some(), "{lie:?} was not noticed");
        }
    }
}
