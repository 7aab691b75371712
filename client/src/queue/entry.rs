//! A report's file: a version, the task, when it was made, when it may be sent, its leader, then the report as it is sent.
//! Integers are big-endian.

use arras_protocol::codec::{Decode as _, Encode as _, Reader};
use arras_protocol::messages::{ReportId, ReportRef, TaskId, Url};

const VERSION: u8 = 1;

/// In front of the number, in a file's name.
const PREFIX: &str = "report-";

/// The name of the file of a number.
pub(super) fn name(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

/// The number in a name, if it is one of this queue's.
pub(super) fn number(file: &str) -> Option<u64> {
    let number = u64::from_str_radix(file.strip_prefix(PREFIX)?, 16).ok()?;
    // Beyond this none is ever given, and one that somebody put there would leave no numbers for others.
    (name(number) == file && number < u64::MAX / 2).then_some(number)
}

/// Whether a later version of this crate wrote it: then it is no damage.
pub(super) fn is_newer(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|version| *version > VERSION)
}

pub(super) struct Entry<'a> {
    pub(super) task: TaskId,
    pub(super) leader: Url,
    pub(super) report_id: ReportId,
    /// POSIX seconds.
    pub(super) made: u64,
    /// POSIX seconds.
    pub(super) not_before: u64,
    pub(super) report: &'a [u8],
}

impl<'a> Entry<'a> {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        self.task.encode(&mut out);
        out.extend_from_slice(&self.made.to_be_bytes());
        out.extend_from_slice(&self.not_before.to_be_bytes());
        self.leader.encode(&mut out);
        out.extend_from_slice(self.report);
        out
    }

    /// `None` for anything else than an entry.
    pub(super) fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.u8("version").ok()? != VERSION {
            return None;
        }
        let task = TaskId::new(reader.array("task").ok()?);
        let made = reader.u64("made").ok()?;
        let not_before = reader.u64("not before").ok()?;
        let leader = Url::decode(&mut reader).ok()?;
        let report = reader.rest();
        let report_id = ReportRef::from_bytes(report).ok()?.header.report_id;
        Some(Self { task, leader, report_id, made, not_before, report })
    }
}
