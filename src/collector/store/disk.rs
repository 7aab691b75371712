//! The collector's store on disk.
//!
//! Keys in the state (numbers big endian, so that they sort):
//!
//! | key | value |
//! |---|---|
//! | `w`, task, end of the window | a [`WindowRecord`] under way, with what its release may take, or released |
//! | `f`, task, start, end | a [`WindowRecord`] that failed |
//! | `r`, sequence number | [`INLINE`] or [`SIGNED_INLINE`] and the release, or [`SPOOLED`] or [`SIGNED_SPOOLED`] and its position |
//! | `n` | the last sequence number |
//! | `b`, SHA-256 of a source's name, start of an epoch | micro-epsilon that releases charged, see [`spent`] |
//! | `p`, SHA-256 of a source's name | when in a week its epochs start, or nothing if its releases do not agree |
//! | `s` | a version, if rows under `b` and `p` cover every release |
//! | `A` | the registry's, see `registry::store::rows` |
//! | `D` | delivery numbers, see `registry::delivery` |
//! | `K` | who may see what, see `access` |
//! | `W` | the schedule of windows, see `schedule` |
//!
//! Windows under `w` of one task never overlap, so the first that ends after a moment is the only
//! one that can hold it. A release is in the spool before the state names it; a crash in between
//! leaves a record that nothing names, which costs its space and nothing else.
//!
//! A window is begun only if the spool has room for its release beside those of all windows that are under way: once it is begun
//! it may be charged at any time, and a release that cannot be kept would be paid for in vain.

pub(in crate::collector) mod record;
mod room;
mod spent;
mod window;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use arras_protocol::messages::{Interval, TaskId};
use arras_protocol::signed::{self, DocumentType};
use zeroize::Zeroizing;

use self::room::Promised;
use self::window::WindowRecord;
use super::{
    BeginError, Begun, Collection, CollectorStore, LOCATION_BYTES_MAX, REASON_CHARACTERS_MAX, Stage, Summed,
    WithCells,
};
use crate::collector::release::{Draft, Head, Issued, Published};
use crate::config::roles::RELEASE_BYTES_DEFAULT;
use crate::store::{
    Damage, Disk, Entry, MAX_VALUE_BYTES, Position, Spool, SpoolOptions, State, StateBatch, StoreError, Usage,
};

/// What the role is called in its store.
const ROLE: &str = "collector";

/// sled's cache. The collector reads a handful of small values a release.
const CACHE_BYTES: u64 = 8 << 20;

/// The folder of the documents, below the store's.
const RELEASES: &str = "releases";

/// Rows read at once when the store is opened: at most a megabyte.
const PAGE_ROWS: usize = 256;

/// Marks a document that stands in the value itself, from before releases were signed; read and not written.
const INLINE: u8 = 0;
/// Marks a document in the spool, from before releases were signed; read and not written.
const SPOOLED: u8 = 1;
/// Marks a release, see [`record`], that stands in the value itself.
const SIGNED_INLINE: u8 = 2;
/// Marks a release in the spool.
const SIGNED_SPOOLED: u8 = 3;

/// The collector's store in a folder.
#[derive(Debug)]
pub struct CollectorDisk {
    dir: PathBuf,
    state: State,
    spool: Spool,
    promised: Promised,
    /// Held by whoever finishes a release: the number in a document must still be the next one when the
    /// document is committed.
    finishing: Mutex<()>,
}

impl CollectorDisk {
    /// Opens the store in `dir` of the file system, or makes it, with the usual bound; see [`State::open`] for what is refused.
    pub fn open(dir: &Path, watermark: &Path) -> Result<Self, StoreError> {
        Self::open_on(dir, watermark, Disk::default())
    }

    /// As [`CollectorDisk::open`], on this disk.
    pub fn open_on(dir: &Path, watermark: &Path, disk: Disk) -> Result<Self, StoreError> {
        Self::open_bounded(dir, watermark, RELEASE_BYTES_DEFAULT, disk)
    }

    /// As [`CollectorDisk::open_on`], with at most so many bytes of releases in the spool.
    pub(crate) fn open_bounded(
        dir: &Path,
        watermark: &Path,
        max_bytes: u64,
        disk: Disk,
    ) -> Result<Self, StoreError> {
        let state = State::open_on(&dir.join("state"), watermark, ROLE, CACHE_BYTES, disk.clone())?;
        // It must hold what the state points to, or its positions would be given out a second time.
        let options = SpoolOptions::new(max_bytes)
            .on(disk)
            .owner(state.store_id().of_part(RELEASES))
            .holds(last_document(dir, &state)?);
        let spool = Spool::open(&dir.join(RELEASES), options)?;
        let promised = Promised::read(&state)?;
        let store = Self { dir: dir.to_owned(), state, spool, promised, finishing: Mutex::new(()) };
        store.make_rows_of_spent()?;
        Ok(store)
    }

    /// The state, for what else a collector keeps: rows whose keys begin with a capital letter, each kind with an owner of
    /// its own.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Why a window cannot be collected now, whichever it is.
    ///
    /// # Errors
    /// `InDoubt` if memory and disk may disagree, `Full` if there is no room for another release of the largest kind that was
    /// asked for since the store was opened.
    pub fn check(&self) -> Result<(), StoreError> {
        self.state.check()?;
        self.promised.check(&self.spool, self.promised.largest())
    }

    /// What the releases occupy that are too large for the state.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let (bytes, max_bytes) = (self.spool.bytes(), self.spool.max_bytes());
        Ok(Usage { bytes, max_bytes, free_bytes: self.spool.free_bytes()? })
    }

    fn malformed(&self) -> StoreError {
        malformed(&self.dir)
    }

    /// The window under way or released that shares a time with this one.
    fn overlapping(&self, task: TaskId, interval: Interval) -> Result<Option<Collection>, StoreError> {
        let next = self.collections(task, interval.start().0, 1)?.pop();
        Ok(next.filter(|found| found.interval.overlaps(interval)))
    }

    /// The very window, if it is under way or released.
    fn exact(&self, task: TaskId, interval: Interval) -> Result<Option<Collection>, StoreError> {
        Ok(self.overlapping(task, interval)?.filter(|found| found.interval == interval))
    }

    fn number_of_last(&self) -> Result<u64, StoreError> {
        match self.state.get(SEQUENCE_KEY)? {
            None => Ok(0),
            Some(bytes) => {
                let bytes = <[u8; 8]>::try_from(bytes.as_slice()).map_err(|_| self.malformed())?;
                Ok(u64::from_be_bytes(bytes))
            }
        }
    }

    /// The release that a window ended in.
    fn must_read(&self, sequence: u64) -> Result<Published, StoreError> {
        self.release(sequence)?.ok_or_else(|| self.malformed())
    }

    /// The value that stands for a release: itself, or its place in the spool, where it is durable then.
    fn place(&self, issued: &Issued) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let signed = issued.published.signed().unwrap_or_default();
        let record =
            record::encode(signed, &issued.cells).ok_or(StoreError::Invalid("a release of gigabytes"))?;
        if record.len() < MAX_VALUE_BYTES {
            return Ok(Zeroizing::new([&[SIGNED_INLINE], record.as_slice()].concat()));
        }
        let positions = self.spool.append_group(&[[record.as_slice()]])?;
        let position = positions.first().ok_or(StoreError::Invalid("a release without a place"))?;
        Ok(Zeroizing::new([&[SIGNED_SPOOLED][..], &position.to_bytes()].concat()))
    }

    /// The bytes of a release, and whether they are a [`record`].
    fn body(&self, value: &[u8]) -> Result<(Zeroizing<Vec<u8>>, bool), StoreError> {
        let place = Place::of(value).ok_or_else(|| self.malformed())?;
        let bytes = match place.body {
            Body::Inline(bytes) => bytes.to_vec(),
            Body::Spooled(position) => self.spool.read(position)?,
        };
        Ok((Zeroizing::new(bytes), place.signed))
    }

    fn published(&self, value: &[u8]) -> Result<Published, StoreError> {
        let (bytes, signed) = self.body(value)?;
        if !signed {
            return Published::unsigned(bytes.to_vec()).map_err(StoreError::prepare);
        }
        let (signed, _) = record::split(&bytes).ok_or_else(|| self.malformed())?;
        Published::from_signed(signed.to_owned()).map_err(StoreError::prepare)
    }
}

/// Where a release is.
struct Place<'a> {
    body: Body<'a>,
    signed: bool,
}

enum Body<'a> {
    Inline(&'a [u8]),
    Spooled(Position),
}

impl<'a> Place<'a> {
    fn of(value: &'a [u8]) -> Option<Self> {
        let (&tag, bytes) = value.split_first()?;
        let body = match tag {
            INLINE | SIGNED_INLINE => Body::Inline(bytes),
            SPOOLED | SIGNED_SPOOLED => Body::Spooled(Position::from_bytes(bytes.try_into().ok()?)),
            _ => return None,
        };
        Some(Self { body, signed: matches!(tag, SIGNED_INLINE | SIGNED_SPOOLED) })
    }
}

/// The last document in the spool that the state points to.
fn last_document(dir: &Path, state: &State) -> Result<Option<Position>, StoreError> {
    let mut last = None;
    state.each(RELEASE_PREFIX, PAGE_ROWS, |_, value| {
        match Place::of(value).map(|place| place.body) {
            Some(Body::Spooled(position)) => last = last.max(Some(position)),
            Some(Body::Inline(_)) => {}
            None => return Err(malformed(dir)),
        }
        Ok(())
    })?;
    Ok(last)
}

/// A row of the store in `dir` that is not what this version writes.
fn malformed(dir: &Path) -> StoreError {
    StoreError::damaged(dir.join("state/db"), 0, Damage::Row)
}

const RELEASE_PREFIX: &[u8] = b"r";

const SEQUENCE_KEY: &[u8] = b"n";

const WINDOW_PREFIX: &[u8] = b"w";

fn window_prefix(task: TaskId) -> Vec<u8> {
    [WINDOW_PREFIX, task.as_bytes().as_slice()].concat()
}

fn window_key(task: TaskId, end: u64) -> Vec<u8> {
    [window_prefix(task).as_slice(), &end.to_be_bytes()].concat()
}

fn failure_prefix(task: TaskId) -> Vec<u8> {
    [b"f", task.as_bytes().as_slice()].concat()
}

fn failure_key(task: TaskId, interval: Interval) -> Vec<u8> {
    [failure_prefix(task).as_slice(), &interval.start().0.to_be_bytes(), &interval.end().0.to_be_bytes()]
        .concat()
}

fn release_key(sequence: u64) -> Vec<u8> {
    [RELEASE_PREFIX, &sequence.to_be_bytes()].concat()
}

fn decode_all(entries: Vec<Entry>) -> Result<Vec<Collection>, StoreError> {
    entries.into_iter().map(|(_, value)| WindowRecord::decode(&value)).collect()
}

impl CollectorStore for CollectorDisk {
    fn begin(
        &self,
        task: TaskId,
        interval: Interval,
        request: &[u8],
        release_bytes: u64,
    ) -> Result<Begun, BeginError> {
        let mut guard = self.state.lock();
        if let Some(found) = self.overlapping(task, interval)? {
            if found.interval != interval {
                return Err(BeginError::Overlap(Box::new(found)));
            }
            return match found.stage {
                Stage::UnderWay { request, location } => Ok(Begun::UnderWay { request, location }),
                Stage::Released { sequence } => Ok(Begun::Released(Box::new(self.must_read(sequence)?))),
                // Failed windows stand elsewhere.
                Stage::Failed { .. } => {
                    Err(StoreError::Invalid("a failed window among the live ones").into())
                }
            };
        }
        let room = room::of_release(release_bytes);
        if room > 0 {
            self.promised.asked_for(room);
            self.promised.check(&self.spool, room)?;
        }
        let stage = Stage::UnderWay { request: request.to_vec(), location: None };
        let mut batch = StateBatch::default();
        let value = WindowRecord::encode(&Collection { interval, stage }, room)?;
        batch.insert(&window_key(task, interval.end().0), &value)?;
        batch.remove(&failure_key(task, interval))?;
        // Durable from here; the request may leave. A restart finds it and sends it again.
        let _receipt = guard.commit(batch)?;
        self.promised.keep(task, interval, room);
        Ok(Begun::UnderWay { request: request.to_vec(), location: None })
    }

    fn set_location(
        &self,
        task: TaskId,
        interval: Interval,
        location: Option<&str>,
    ) -> Result<(), StoreError> {
        if location.is_some_and(|location| location.len() > LOCATION_BYTES_MAX) {
            return Err(StoreError::Invalid("a location of more than 2048 bytes"));
        }
        let mut guard = self.state.lock();
        let Some(Collection { stage: Stage::UnderWay { request, .. }, .. }) = self.exact(task, interval)?
        else {
            return Ok(());
        };
        let stage = Stage::UnderWay { request, location: location.map(str::to_owned) };
        let mut batch = StateBatch::default();
        let room = self.promised.of(task, interval);
        let value = WindowRecord::encode(&Collection { interval, stage }, room)?;
        batch.insert(&window_key(task, interval.end().0), &value)?;
        let _receipt = guard.commit(batch)?;
        Ok(())
    }

    fn finish(&self, task: TaskId, interval: Interval, draft: Draft) -> Result<Published, StoreError> {
        // A panic under it leaves nothing half done: number and totals are read anew.
        let _finishing = self.finishing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Collection { stage: Stage::Released { sequence }, .. }) = self.exact(task, interval)? {
            return self.must_read(sequence);
        }
        let sequence = self.number_of_last()? + 1;
        let charges = draft.charges();
        let spent = self.spent_with(&charges)?;
        let source = draft.source().to_owned();
        let week = self.all_counted(&source, &charges)?;
        let told = if week.is_some() { &spent[..] } else { &[] };
        let issued = draft.issue(sequence, told).map_err(StoreError::prepare)?;
        let value = self.place(&issued)?;
        let mut guard = self.state.lock();
        let Some(Collection { stage: Stage::UnderWay { .. }, .. }) = self.exact(task, interval)? else {
            return Err(StoreError::Invalid("a release of a window that is not under way"));
        };
        let mut batch = StateBatch::default();
        let ended = Collection { interval, stage: Stage::Released { sequence } };
        batch.insert(&window_key(task, interval.end().0), &WindowRecord::encode(&ended, 0)?)?;
        batch.insert(&release_key(sequence), &value)?;
        batch.insert(SEQUENCE_KEY, &sequence.to_be_bytes())?;
        Self::keep_spent(&mut batch, (&source, week), &charges, &spent)?;
        // Durable from here: these bytes and their signature are the release of the window for ever.
        let _receipt = guard.commit(batch)?;
        self.promised.end(task, interval);
        Ok(issued.published)
    }

    fn fail(&self, task: TaskId, interval: Interval, reason: &str) -> Result<(), StoreError> {
        let mut guard = self.state.lock();
        let Some(Collection { stage: Stage::UnderWay { .. }, .. }) = self.exact(task, interval)? else {
            return Ok(());
        };
        let reason = reason.chars().take(REASON_CHARACTERS_MAX).collect();
        let failed = Collection { interval, stage: Stage::Failed { reason } };
        let mut batch = StateBatch::default();
        batch.remove(&window_key(task, interval.end().0))?;
        batch.insert(&failure_key(task, interval), &WindowRecord::encode(&failed, 0)?)?;
        let _receipt = guard.commit(batch)?;
        self.promised.end(task, interval);
        Ok(())
    }

    fn release(&self, sequence: u64) -> Result<Option<Published>, StoreError> {
        let Some(value) = self.state.get(&release_key(sequence))? else { return Ok(None) };
        let found = self.published(&value)?;
        if found.release().sequence == sequence { Ok(Some(found)) } else { Err(self.malformed()) }
    }

    fn with_cells(&self, sequence: u64) -> Result<Option<WithCells>, StoreError> {
        let Some(value) = self.state.get(&release_key(sequence))? else { return Ok(None) };
        let (bytes, true) = self.body(&value)? else { return Ok(None) };
        let found = record::split(&bytes).and_then(|(signed, cells)| Some((signed, record::cells(cells)?)));
        let (signed, cells) = found.ok_or_else(|| self.malformed())?;
        let published = Published::from_signed(signed.to_owned()).map_err(StoreError::prepare)?;
        if published.release().sequence != sequence || published.release().buckets.len() != cells.len() {
            return Err(self.malformed());
        }
        Ok(Some((published, cells)))
    }

    fn last_sequence(&self) -> Result<u64, StoreError> {
        self.number_of_last()
    }

    fn summed(&self, sequence: u64) -> Result<Option<Summed>, StoreError> {
        let Some(value) = self.state.get(&release_key(sequence))? else { return Ok(None) };
        let (bytes, true) = self.body(&value)? else { return Ok(None) };
        let found = record::split(&bytes).and_then(|(signed, cells)| Some((signed, record::cells(cells)?)));
        let (signed, cells) = found.ok_or_else(|| self.malformed())?;
        let (document, _) =
            signed::read_unverified(DocumentType::Release, signed).map_err(StoreError::prepare)?;
        let head = Head::from_json(&document).map_err(StoreError::prepare)?;
        if head.sequence != sequence || head.buckets != cells.len() {
            return Err(self.malformed());
        }
        Ok(Some(Summed {
            sequence,
            task: head.task.parse().map_err(|_| self.malformed())?,
            window: head.window,
            report_count: head.report_count,
            vdaf: head.vdaf,
            policy: head.policy,
            conversions: head.conversions.map(|conversions| conversions.sequence),
            cells,
        }))
    }

    fn collections(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<Collection>, StoreError> {
        decode_all(self.state.scan_prefix(&window_prefix(task), Some(&window_key(task, after)), limit)?)
    }

    fn charged(&self, source: &str) -> Result<Vec<(u64, u64)>, StoreError> {
        self.spent_of(source)
    }

    fn failures(&self, task: TaskId, limit: usize) -> Result<Vec<Collection>, StoreError> {
        decode_all(self.state.scan_prefix(&failure_prefix(task), None, limit)?)
    }
}

#[cfg(test)]
mod tests;
