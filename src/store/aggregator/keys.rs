//! How the rows of a role's state are named.
//!
//! A key is one byte for the kind, the task (except in the ledger), and what tells rows of the task
//! apart, in big-endian, so that rows sort by time.
//!
//! | kind | key after kind and task | value | kept |
//! |---|---|---|---|
//! | `t` task | | verify secret's id 1, length of the source 1, source, policy 26, configuration | for life |
//! | `c` count | time 8 | reports 8, checksum 32 | until the batch is finished |
//! | `s` share | time 8, slice 2 | up to 4096 bytes of the bucket's share | until the batch is finished |
//! | `i` ids | time 8, job 16, part 2 | up to 255 report ids of 16 | until the batch is finished |
//! | `k` collected | start 8 | end 8, request key 16, finished 1, resumed 4, micro-epsilon charged 8, SHA-256 of the source 32 | for life |
//! | `a` answer | request key 16 | position in the answers spool 8 | until it is deleted |
//! | `l` ledger | SHA-256 of the source 32, epoch 8 (no task) | micro-epsilon 8, the source's name | for life |
//! | `e` epochs | SHA-256 of the source 32 (no task) | start of epoch 0 in POSIX seconds 8 | for life |
//! | `q` queue (leader) | | head 8, next job's number 8, end of the acknowledged reports 8 | for life |
//! | `j` job (leader) | number 8 | position in the jobs spool 8 | until it is committed |
//! | `p` put back (leader) | time 8, position 8 | | until it is in a job |
//! | `w` collection (leader) | id 16 | state 1, interval 16, fence 8, readable from 8, request | until it is deleted |
//! | `x` its detail (leader) | id 16 | the request to the helper, or the problem | as long as its state |
//! | `r` response (helper) | request key 16 | position in the jobs spool 8, times 16 | until the leader is done with it or its batches are finished |

use arras_protocol::messages::{CollectionJobId, Interval, TaskId, Time};

use crate::privacy::ledger::{BudgetSource, Epoch};
use crate::store::{JobNumber, Position, RequestKey};

/// The kinds of rows; see the module's table.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Answer = b'a',
    Count = b'c',
    Ids = b'i',
    Job = b'j',
    Collected = b'k',
    Epochs = b'e',
    Ledger = b'l',
    PutBack = b'p',
    Queue = b'q',
    Response = b'r',
    Share = b's',
    Task = b't',
    Collection = b'w',
    CollectionDetail = b'x',
}

/// Length of kind and task.
pub(super) const TASK_PREFIX_LEN: usize = 1 + TaskId::LEN;

/// Longer than what follows the time in any key.
const AFTER_ALL: [u8; 32] = [0xFF; 32];

fn key(kind: Kind, task: TaskId, rest: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(TASK_PREFIX_LEN + 32);
    key.push(kind as u8);
    key.extend_from_slice(task.as_bytes());
    for part in rest {
        key.extend_from_slice(part);
    }
    key
}

/// Of the only row of this kind, or the prefix of all rows of this kind.
pub(super) fn of_task(kind: Kind, task: TaskId) -> Vec<u8> {
    key(kind, task, &[])
}

/// Of a row of one time, or the prefix of all rows of one time.
pub(super) fn at_time(kind: Kind, task: TaskId, time: Time) -> Vec<u8> {
    key(kind, task, &[&time.0.to_be_bytes()])
}

/// After which key the rows of an interval begin; `None` at the very first.
pub(super) fn before_interval(kind: Kind, task: TaskId, interval: Interval) -> Option<Vec<u8>> {
    let before = interval.start().0.checked_sub(1)?;
    Some(key(kind, task, &[&before.to_be_bytes(), &AFTER_ALL]))
}

pub(super) fn share_slice(task: TaskId, time: Time, slice: u16) -> Vec<u8> {
    key(Kind::Share, task, &[&time.0.to_be_bytes(), &slice.to_be_bytes()])
}

pub(super) fn ids(task: TaskId, time: Time, job: &RequestKey, part: u16) -> Vec<u8> {
    key(Kind::Ids, task, &[&time.0.to_be_bytes(), job, &part.to_be_bytes()])
}

pub(super) fn of_request(kind: Kind, task: TaskId, request: &RequestKey) -> Vec<u8> {
    key(kind, task, &[request])
}

pub(super) fn job(task: TaskId, number: JobNumber) -> Vec<u8> {
    key(Kind::Job, task, &[&number.0.to_be_bytes()])
}

pub(super) fn put_back(task: TaskId, time: Time, position: Position) -> Vec<u8> {
    key(Kind::PutBack, task, &[&time.0.to_be_bytes(), &position.to_bytes()])
}

pub(super) fn collection(kind: Kind, task: TaskId, id: CollectionJobId) -> Vec<u8> {
    key(kind, task, &[id.as_bytes()])
}

/// Of what an epoch of a source has spent.
pub(super) fn ledger(source: &BudgetSource, epoch: Epoch) -> Vec<u8> {
    [of_source(Kind::Ledger, source).as_slice(), &epoch.0.to_be_bytes()].concat()
}

/// Of when a source's epochs start.
pub(super) fn epochs(source: &BudgetSource) -> Vec<u8> {
    of_source(Kind::Epochs, source)
}

fn of_source(kind: Kind, source: &BudgetSource) -> Vec<u8> {
    [&[kind as u8], source_key(source).as_slice()].concat()
}

/// A budget source in keys and rows: its name's SHA-256.
pub(super) type SourceKey = [u8; 32];

/// Hashed, because the longest name would not fit a key.
pub(super) fn source_key(source: &BudgetSource) -> SourceKey {
    let mut key = SourceKey::default();
    let hash = ring::digest::digest(&ring::digest::SHA256, source.as_str().as_bytes());
    key.copy_from_slice(hash.as_ref());
    key
}

/// Reads a key's end or a value from the front.
#[derive(Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn time(&mut self) -> Option<Time> {
        self.u64().map(Time)
    }

    pub(super) fn position(&mut self) -> Option<Position> {
        self.array().map(Position::from_bytes)
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// `None` unless everything was read.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
