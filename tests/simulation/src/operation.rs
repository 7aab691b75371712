//! What happens in a simulated world, one thing after another, and how a seed makes a list of it.

use crate::chance::Chance;
use crate::world::{CURRENT_HOUR, HOURS, SLOTS};

/// Who takes part. There are two collectors, with one name, key and token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    Client,
    Leader,
    Helper,
    First,
    Second,
}

/// Those with a store.
pub const NODES: [Party; 4] = [Party::Leader, Party::Helper, Party::First, Party::Second];

/// Those that are connected.
const LINKS: [(Party, Party); 4] = [
    (Party::Client, Party::Leader),
    (Party::Leader, Party::Helper),
    (Party::First, Party::Leader),
    (Party::Second, Party::Leader),
];

/// How a file operation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is refused, and nothing happened.
    Refused,
    /// There is no room for all of it; so many bytes of a write are there.
    Short(u16),
    /// It is done, and reported as failed.
    Late,
    /// The process ends before it.
    EndsBefore,
    /// The process ends after it.
    EndsAfter,
    /// The machine loses power before it.
    PowerBefore,
    /// The machine loses power after it.
    PowerAfter,
}

/// A thing that happens. What it starts goes on while the next ones happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A client uploads reports of an hour in one request.
    Upload { task: u8, hour: u8, first: u8, count: u8 },
    /// It uploads them in two requests at once.
    UploadTwice { task: u8, hour: u8, first: u8, count: u8 },
    /// A client uses an id again, in the next hour.
    UploadTwin { task: u8, hour: u8, slot: u8 },
    /// Time passes.
    Wait { millis: u32 },
    /// A clock jumps so many seconds; with 0 it is set right.
    Jump { party: Party, seconds: i32 },
    /// All clocks jump ahead by an hour.
    NextHour,
    /// A process ends.
    End { party: Party },
    /// A machine loses power.
    Power { party: Party },
    /// All that is down starts again.
    Start,
    /// A party's file operation after so many goes wrong.
    Fail { party: Party, after: u8, how: Failure },
    /// A party's disk is full, or not any more.
    Full { party: Party, is: bool },
    /// Two parties cannot reach each other, or can again.
    Cut { link: u8, is: bool },
    /// From now on so many of a hundred messages are lost, and are delivered twice, and messages take up to so long.
    Weather { lost: u8, twice: u8, millis: u16 },
    /// A collector collects a window.
    Collect { party: Party, task: u8, hour: u8, hours: u8 },
    /// A collector deletes its collection job of a window.
    Delete { task: u8, hour: u8, hours: u8 },
    /// Somebody repeats a request that was delivered before, counted from the last one.
    Repeat { number: u16 },
    /// A leader that misbehaves makes another job of reports that were in one before, counted from the last one.
    Repack { number: u16 },
}

impl Operation {
    /// The link with this number.
    pub fn link(number: u8) -> (Party, Party) {
        LINKS[usize::from(number) % LINKS.len()]
    }
}

/// How often each kind of thing happens in one list. Drawn for each list anew and often 0: a list in which
/// everything happens hardly ever has two particular things next to each other.
struct Mix {
    weights: [u64; 13],
    failures: Vec<Failure>,
    /// Of which reports and windows are.
    hours: Vec<u8>,
    /// The most reports in an upload.
    most: u8,
}

const FAILURES: [Failure; 7] = [
    Failure::Refused,
    Failure::Short(70),
    Failure::Late,
    Failure::EndsBefore,
    Failure::EndsAfter,
    Failure::PowerBefore,
    Failure::PowerAfter,
];

impl Mix {
    fn new(chance: &mut Chance) -> Self {
        let mut weights = [0; 13];
        for weight in &mut weights {
            *weight = if chance.percent(35) { 0 } else { chance.between(1, 12) };
        }
        // Without these nothing happens at all.
        weights[0] += 8;
        weights[1] += 6;
        weights[6] += 3;
        weights[10] += 3;
        let failures = FAILURES.into_iter().filter(|_| chance.percent(50)).collect();
        // Few, so that much happens to each; often the one that has just begun, for which clocks matter.
        let mut hours: Vec<u8> =
            (0..chance.between(1, 4)).map(|_| chance.below(u64::from(HOURS)) as u8).collect();
        if chance.percent(40) {
            hours.push(CURRENT_HOUR);
        }
        Self { weights, failures, hours, most: chance.one_of(&[2, 5, SLOTS, SLOTS]) }
    }

    fn kind(&self, chance: &mut Chance) -> usize {
        let mut left = chance.below(self.weights.iter().sum());
        for (kind, weight) in self.weights.iter().enumerate() {
            if left < *weight {
                return kind;
            }
            left -= weight;
        }
        0
    }

    fn operation(&self, chance: &mut Chance) -> Operation {
        let task = chance.below(2) as u8;
        let hour = chance.one_of(&self.hours);
        let first = chance.below(u64::from(SLOTS)) as u8;
        let count = chance.between(1, self.most.into()) as u8;
        // The aggregators have the most to lose.
        let party = if chance.percent(80) { NODES[chance.below(2) as usize] } else { chance.one_of(&NODES) };
        match self.kind(chance) {
            0 => Operation::Upload { task, hour, first, count },
            1 => Operation::Wait { millis: chance.one_of(&[0, 1, 5, 30, 200, 700, 2_000, 8_000, 40_000]) },
            2 => Operation::UploadTwice { task, hour, first, count },
            3 if chance.percent(30) => Operation::UploadTwin { task, hour, slot: first },
            3 => Operation::Repeat { number: back(chance) },
            4 if chance.percent(20) => Operation::NextHour,
            4 => {
                Operation::Jump { party, seconds: chance.one_of(&[-7_200, -200, -30, 0, 0, 30, 200, 7_200]) }
            }
            5 if chance.percent(50) => Operation::End { party },
            5 => Operation::Power { party },
            6 => Operation::Start,
            7 | 8 => match self.failures.as_slice() {
                [] => Operation::Start,
                failures => Operation::Fail {
                    party,
                    after: chance.one_of(&[0, 0, 1, 2, 3, 5, 8, 13, 25]),
                    how: match chance.one_of(failures) {
                        Failure::Short(_) => Failure::Short(chance.between(0, 1_500) as u16),
                        how => how,
                    },
                },
            },
            9 if chance.percent(50) => Operation::Full { party, is: chance.percent(40) },
            9 => Operation::Cut { link: chance.below(4) as u8, is: chance.percent(40) },
            10 => Operation::Collect {
                party: NODES[2 + chance.below(2) as usize],
                task,
                hour,
                hours: chance.between(1, 2) as u8,
            },
            11 if chance.percent(40) => Operation::Delete { task, hour, hours: chance.between(1, 2) as u8 },
            11 => Operation::Repack { number: back(chance) },
            _ => Operation::Weather {
                lost: chance.one_of(&[0, 0, 5, 20, 50]),
                twice: chance.one_of(&[0, 10, 50]),
                millis: chance.one_of(&[0, 20, 500, 5_000]),
            },
        }
    }
}

/// How far back: mostly a little.
fn back(chance: &mut Chance) -> u16 {
    let most = chance.one_of(&[3, 15, 200]);
    chance.below(most) as u16
}

/// The list of a seed.
pub fn generate(seed: u64, operations: usize) -> Vec<Operation> {
    let mut chance = Chance::new(seed);
    let mix = Mix::new(&mut chance);
    (0..operations).map(|_| mix.operation(&mut chance)).collect()
}
