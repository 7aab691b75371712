//! The spool: bodies in append-only segment files `00000001.seg`, `00000002.seg`, ...
//!
//! A record is found by its [`Position`] and never changes. Only the last segment is
//! written; all before it are sealed, and deleted whole when nothing in them is needed.

#[cfg(test)]
mod damage_tests;
mod frame;
mod options;
mod read;
mod recover;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use self::frame::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FrameHeader};
pub(crate) use self::options::FREE_BYTES_MIN;
pub use self::options::SpoolOptions;
pub use self::read::RangeReader;
use super::{
    Damage, StoreError,
    disk::{Disk, DiskFile, Open},
};

/// The largest record. A body is at most what one HTTP request carries.
pub const MAX_RECORD_BYTES: u32 = 16 << 20;

/// The largest group: it is built in memory, and one sync should not take seconds.
pub const MAX_GROUP_BYTES: u64 = 64 << 20;

/// Segments are sealed at this size unless configured otherwise: small enough to read one
/// at every start and to give space back soon, large enough to make few files.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;

/// The largest configurable size of a segment, so that it, and a last group over it, fit
/// in an offset of 32 bits.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 30;

/// The group buffer is given back above this size, so that one large group does not hold
/// memory for ever.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// Where a record begins: segment and byte offset, in the order of appending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    segment: u32,
    offset: u32,
}

impl Position {
    const fn new(segment: u32, offset: u32) -> Self {
        Self { segment, offset }
    }

    /// The segment's number, from 1.
    pub const fn segment(self) -> u32 {
        self.segment
    }

    /// The offset in the segment file, in bytes.
    pub const fn offset(self) -> u32 {
        self.offset
    }

    /// Eight bytes that sort as positions do.
    pub fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.segment) << 32 | u64::from(self.offset)).to_be_bytes()
    }

    /// Reads what [`Position::to_bytes`] wrote. Any bytes are a position; whether a record
    /// is there shows when it is read.
    #[allow(clippy::cast_possible_truncation, reason = "the two halves are taken apart")]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        let both = u64::from_be_bytes(bytes);
        Self { segment: (both >> 32) as u32, offset: both as u32 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}:{}", self.segment, self.offset)
    }
}

/// An open spool. One process has it, any number of threads may share it.
///
/// Appends and deletions take turns; a read never waits for the disk operations of either,
/// and sees only what is durable.
pub struct Spool {
    dir: PathBuf,
    options: SpoolOptions,
    /// Owned by whoever appends, rolls or deletes; held across their file operations.
    writer: Mutex<Writer>,
    /// What readers see. Locked for moments only, never across a file operation.
    index: RwLock<Index>,
    /// Keeps other processes out as long as it is open.
    _lock: DiskFile,
}

struct Writer {
    file: DiskFile,
    path: PathBuf,
    buffer: Vec<u8>,
    in_doubt: bool,
}

struct Index {
    /// Length of each sealed segment; numbers without gaps, up to the active one.
    sealed: BTreeMap<u32, u32>,
    active: u32,
    /// The length of the active segment that is durable.
    active_len: u32,
}

impl Index {
    fn bytes(&self) -> u64 {
        self.sealed.values().copied().map(u64::from).sum::<u64>() + u64::from(self.active_len)
    }

    fn first(&self) -> u32 {
        self.sealed.keys().next().copied().unwrap_or(self.active)
    }

    fn len_of(&self, segment: u32) -> Option<u32> {
        if segment == self.active { Some(self.active_len) } else { self.sealed.get(&segment).copied() }
    }
}

impl Spool {
    /// The first position that may hold a record.
    pub fn start(&self) -> Position {
        Position::new(self.index().first(), FILE_HEADER_BYTES)
    }

    /// Where the next group goes, unless it opens a segment: everything before is durable.
    ///
    /// A caller who remembers an earlier end must find this one no smaller after a restart;
    /// if it is, acknowledged records are gone.
    pub fn end(&self) -> Position {
        let index = self.index();
        Position::new(index.active, index.active_len)
    }

    /// Whether a record may begin at this position, as far as that can be told without reading: for what opening a
    /// store finds that it needs.
    ///
    /// # Errors
    /// `Corrupt` if the spool begins later or ends before.
    pub fn may_hold(&self, position: Position) -> Result<(), StoreError> {
        let damage = if position < self.start() {
            Damage::BeginsLate
        } else if position >= self.end() {
            Damage::EndsEarly
        } else {
            return Ok(());
        };
        let file = segment_path(&self.dir, position.segment);
        Err(StoreError::damaged(file, position.offset.into(), damage))
    }

    /// Bytes that all segments together may have.
    pub fn max_bytes(&self) -> u64 {
        self.options.max_bytes
    }

    /// Bytes that the file system has left.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        self.options.disk.free_bytes(&self.dir).map_err(|e| StoreError::io("free space of", &self.dir, e))
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.index().bytes()
    }

    /// Why an append would be refused now whatever it brings; waits for nobody.
    ///
    /// # Errors
    /// `Full` if the file system has less left than is kept in reserve, `InDoubt` after a failed sync.
    pub fn check(&self) -> Result<(), StoreError> {
        self.not_in_doubt()?;
        self.options.disk.require_free(&self.dir, self.options.reserve_bytes)
    }

    fn not_in_doubt(&self) -> Result<(), StoreError> {
        // Whoever appends right now is not in doubt, or will say so at the next look.
        if self.writer.try_lock().is_ok_and(|writer| writer.in_doubt) {
            return Err(StoreError::InDoubt { what: "append to the spool" });
        }
        Ok(())
    }

    /// What a record of so many bytes may take: itself, its frame, and the header of a segment that begins with it.
    pub fn room_of(record_bytes: u64) -> u64 {
        record_bytes + u64::from(FRAME_HEADER_BYTES) + u64::from(FILE_HEADER_BYTES)
    }

    /// As [`Self::check`], and why so much more, see [`Self::room_of`], would be refused; waits for nobody.
    ///
    /// # Errors
    /// `Full` beyond the limit, or if the file system would be left with less than the reserve; `InDoubt`.
    pub fn check_room(&self, bytes: u64) -> Result<(), StoreError> {
        self.not_in_doubt()?;
        self.within_limit(bytes)?;
        self.options.disk.require_free(&self.dir, self.options.reserve_bytes.saturating_add(bytes))
    }

    fn within_limit(&self, growth: u64) -> Result<(), StoreError> {
        let (bytes, max) = (self.bytes(), self.options.max_bytes);
        if bytes.saturating_add(growth) <= max {
            return Ok(());
        }
        let what = format!(
            "the spool in {} has {bytes} bytes of at most {max}, and {growth} more are needed",
            self.dir.display()
        );
        Err(StoreError::Full { what })
    }

    /// Appends records, each given as the slices that make it up, and returns their
    /// positions in the same order. When it returns, all of them are durable.
    ///
    /// After a crash during the call, any number of its first records may be there, as if
    /// they had been appended: they were whole, only nobody was told.
    ///
    /// # Errors
    /// `TooLarge`, `Invalid` (an empty record) and `Full` leave the spool as it was; a failed
    /// write is undone. A failed sync gives `Io` and then `InDoubt` for every later append
    /// until the spool is opened again: the system may have dropped the unsynced bytes and
    /// report success to the next sync.
    pub fn append_group<R, P>(&self, records: &[R]) -> Result<Vec<Position>, StoreError>
    where
        R: AsRef<[P]>,
        P: AsRef<[u8]>,
    {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let group_bytes = group_bytes(records)?;
        let mut writer = self.writer();
        if writer.in_doubt {
            return Err(StoreError::InDoubt { what: "append to the spool" });
        }
        let len = self.index().active_len;
        let roll = len > FILE_HEADER_BYTES && u64::from(len) + group_bytes > self.options.segment_bytes;
        let growth = group_bytes + if roll { u64::from(FILE_HEADER_BYTES) } else { 0 };
        self.within_limit(growth)?;
        self.options.disk.require_free(&self.dir, self.options.reserve_bytes)?;
        if roll {
            self.roll(&mut writer)?;
        }
        let start = self.end();
        let positions = encode_group(&mut writer.buffer, records, start);
        let written = self.write_group(&mut writer, start);
        if writer.buffer.capacity() > BUFFER_BYTES_KEPT {
            writer.buffer = Vec::new();
        }
        written.map(|()| positions)
    }

    /// Writes and syncs the buffer, then shows it to readers.
    fn write_group(&self, writer: &mut Writer, start: Position) -> Result<(), StoreError> {
        let disk = &self.options.disk;
        let durable_len = u64::from(start.offset);
        if let Err(e) = disk.write_all_at(&writer.file, &writer.path, &writer.buffer, durable_len) {
            // Cut off, or the next, shorter group would leave a remainder of this one behind it.
            if disk.truncate(&writer.file, &writer.path, durable_len).is_err() {
                writer.in_doubt = true;
            }
            return Err(StoreError::io("append to", &writer.path, e));
        }
        if let Err(e) = disk.sync_data(&writer.file, &writer.path) {
            writer.in_doubt = true;
            // Or a restarted process could read from the page cache what is not on the disk.
            // If this fails too, the next opening syncs again, or fails.
            let _ = disk.truncate(&writer.file, &writer.path, durable_len);
            return Err(StoreError::io("sync", &writer.path, e));
        }
        // Durable from here; a crash before the caller hears of it makes these records that
        // nobody was told of.
        self.index_mut().active_len = offset_of(durable_len + writer.buffer.len() as u64);
        Ok(())
    }

    /// Seals the active segment and opens the next one, durably empty.
    fn roll(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let number = self
            .index()
            .active
            .checked_add(1)
            .ok_or(StoreError::Invalid("the last segment number is used"))?;
        let path = segment_path(&self.dir, number);
        let bytes_before = self.index().active_len;
        let header = FileHeader { segment: number, owner: self.options.owner, bytes_before };
        match create_segment(&self.options.disk, &self.dir, header) {
            Ok(file) => writer.file = file,
            Err(e) => {
                // If it stays, it is an empty last segment, which opening and rolling both accept.
                let _ = self.options.disk.remove(&path);
                return Err(e);
            }
        }
        writer.path = path;
        let mut index = self.index_mut();
        let (sealed, len) = (index.active, index.active_len);
        index.sealed.insert(sealed, len);
        index.active = number;
        index.active_len = FILE_HEADER_BYTES;
        Ok(())
    }

    /// Seals the segment that is being written if it has at least so many bytes, and records at all, so that
    /// it can be deleted.
    pub fn seal(&self, min_bytes: u32) -> Result<(), StoreError> {
        let mut writer = self.writer();
        if writer.in_doubt {
            return Err(StoreError::InDoubt { what: "append to the spool" });
        }
        let len = self.index().active_len;
        if len > FILE_HEADER_BYTES && len >= min_bytes { self.roll(&mut writer) } else { Ok(()) }
    }

    /// Deletes the segments that lie wholly before `position`, never the one being written.
    /// Positions in them are never given out again.
    pub fn delete_before(&self, position: Position) -> Result<(), StoreError> {
        // Held so that two deletions, or one and a roll, do not mix.
        let _writer = self.writer();
        let doomed: Vec<u32> = {
            let index = self.index();
            let before = |(segment, len): (&u32, &u32)| Position::new(*segment, *len) <= position;
            index.sealed.iter().take_while(|entry| before(*entry)).map(|(segment, _)| *segment).collect()
        };
        // Oldest first, so that a crash leaves no gap.
        for segment in &doomed {
            let path = segment_path(&self.dir, *segment);
            match self.options.disk.remove(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("delete", &path, e));
                }
                _ => {}
            }
            self.index_mut().sealed.remove(segment);
        }
        if doomed.is_empty() { Ok(()) } else { self.options.disk.sync_dir(&self.dir) }
    }

    // A panic under these locks leaves nothing half done in memory: the index is changed
    // after the files, in steps that cannot panic, and `write_group` starts from the index.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// The size of a group on disk, if every record and the whole are within the limits.
fn group_bytes<R: AsRef<[P]>, P: AsRef<[u8]>>(records: &[R]) -> Result<u64, StoreError> {
    let mut group_bytes = 0;
    for record in records {
        let bytes: u64 = record.as_ref().iter().map(|part| part.as_ref().len() as u64).sum();
        match bytes {
            0 => return Err(StoreError::Invalid("an empty record")),
            1.. if bytes > u64::from(MAX_RECORD_BYTES) => {
                return Err(StoreError::TooLarge { what: "a record", bytes, max: MAX_RECORD_BYTES.into() });
            }
            _ => group_bytes += u64::from(FRAME_HEADER_BYTES) + bytes,
        }
    }
    if group_bytes > MAX_GROUP_BYTES {
        return Err(StoreError::TooLarge {
            what: "a group of records",
            bytes: group_bytes,
            max: MAX_GROUP_BYTES,
        });
    }
    Ok(group_bytes)
}

/// Fills the buffer with the frames of a group that `group_bytes` has accepted.
fn encode_group<R: AsRef<[P]>, P: AsRef<[u8]>>(
    buffer: &mut Vec<u8>,
    records: &[R],
    start: Position,
) -> Vec<Position> {
    buffer.clear();
    let encode = |record: &R| {
        let header_at = buffer.len();
        let position = Position::new(start.segment, offset_of(u64::from(start.offset) + header_at as u64));
        buffer.extend_from_slice(&[0; FRAME_HEADER_BYTES as usize]);
        let payload_at = buffer.len();
        record.as_ref().iter().for_each(|part| buffer.extend_from_slice(part.as_ref()));
        let payload = &buffer[payload_at..];
        let header = FrameHeader {
            payload_len: offset_of(payload.len() as u64),
            group_start: start.offset,
            payload_crc: crc32fast::hash(payload),
        };
        buffer[header_at..payload_at].copy_from_slice(&header.encode(position));
        position
    };
    records.iter().map(encode).collect()
}

/// A file offset as positions hold it.
fn offset_of(bytes: u64) -> u32 {
    u32::try_from(bytes)
        // Cannot fail: whoever calls writes to a segment, whose size is checked before.
        .expect("a segment and the group over its size are far below 4 GiB, see MAX_SEGMENT_BYTES")
}

fn segment_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.seg"))
}

/// Makes an empty segment that survives a crash.
fn create_segment(disk: &Disk, dir: &Path, header: FileHeader) -> Result<DiskFile, StoreError> {
    let path = segment_path(dir, header.segment);
    let create = || {
        let file = disk.open(&path, Open::Empty)?;
        disk.write_all_at(&file, &path, &header.encode(), 0)?;
        disk.sync_data(&file, &path)?;
        Ok(file)
    };
    let file = create().map_err(|e| StoreError::io("create", &path, e))?;
    disk.sync_dir(dir)?;
    Ok(file)
}
