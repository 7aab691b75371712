//! The state in one file that survives crashes.
//!
//! The file begins with a mark and holds frames, one for each call of the engine: a number that counts up from 0, the
//! body's length, a CRC of all three, and the changes. Frame 0 is the whole state as it was when the file was made, which
//! happens beside it and ends with a rename; later frames are appended and synced before the call returns.
//!
//! What is durable: all frames up to the last that was synced. A process that is killed, or a machine that loses its
//! power, in the middle of a call leaves at most one frame that is cut short, at the end; it is cut off when the file
//! is opened, since nobody was told that it is there. A frame that is wrong before a whole one is damage, and the
//! file is not opened: cutting there would give spent budget back. (Damage within the last frame alone cannot be told from
//! a crash.)
//!
//! Erasing makes the file anew, so that what was erased is in no older frame.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::codec::{decode_all, encode_all};
use super::moment::Moment;
use super::state::Change;
use super::storage::{Storage, StorageError};

/// Tells the file from others, and its version.
const MARK: [u8; 8] = *b"arrasA\x00\x01";

/// Number, length and CRC.
const FRAME_HEAD: usize = 8 + 4 + 4;

/// Longest body of a frame, in bytes, and of the file: a state with all its limits reached is some megabytes.
const MAX_BYTES: u64 = 256 << 20;

/// How much may be appended, in bytes, before the file is made anew, however small the state is. More than a day's worth of
/// impressions, so that most calls append.
const MIN_GROWTH: u64 = 64 << 10;

/// Keeps the state in a file that only this process uses.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    /// Held while the store is open. A file of its own, since the other one is replaced.
    _lock: File,
    /// Open for appending; none before `load` and after a failure.
    file: Option<File>,
    next: u64,
    /// Length of the file after it was made, and now.
    made: u64,
    length: u64,
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> StorageError {
    move |source| StorageError::Io { what, source }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

/// A path in the same folder, with something behind the name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// The path without links: by two names one file would have two locks, and two engines spend one budget.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    if let Ok(whole) = path.canonicalize() {
        return Ok(whole);
    }
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok(folder.unwrap_or(Path::new(".")).canonicalize()?.join(name))
}

impl FileStore {
    /// A store at `path`, whose folder must exist. Beside it are a lock, `.lock`, and while the file is made anew
    /// another one, `.new`.
    ///
    /// # Errors
    /// [`StorageError::InUse`] if another process, or another store of this one, has it open.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let path = resolved(&path.into()).map_err(io_error("finding the attribution state"))?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let lock = private(&mut options)
            .open(beside(&path, ".lock"))
            .map_err(io_error("opening the lock of the attribution state"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StorageError::InUse),
            Err(TryLockError::Error(error)) => {
                return Err(io_error("locking the attribution state")(error));
            }
        }
        Ok(Self { path, _lock: lock, file: None, next: 0, made: 0, length: 0 })
    }

    /// Gives a damaged file up and begins anew at `now`, as if the person had cleared all history then: impressions are
    /// lost, and nothing is attributed in this epoch any more, since nobody knows what was spent. `enabled` is the
    /// person's choice, which is lost too.
    pub fn replace_damaged(&mut self, now: Moment, enabled: bool) -> Result<(), StorageError> {
        self.replace(&[Change::Enabled(enabled), Change::LastClear(now)])?;
        // As before `load`.
        self.file = None;
        Ok(())
    }

    fn frame(number: u64, changes: &[Change]) -> Result<Vec<u8>, StorageError> {
        let mut frame = vec![0; FRAME_HEAD];
        encode_all(changes, &mut frame);
        let length = u32::try_from(frame.len() - FRAME_HEAD)
            .ok()
            .filter(|length| u64::from(*length) <= MAX_BYTES)
            .ok_or(StorageError::Damaged("the state is larger than any should be"))?;
        frame[..8].copy_from_slice(&number.to_be_bytes());
        frame[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = checksum(&frame[..12], &frame[FRAME_HEAD..]);
        frame[12..16].copy_from_slice(&crc.to_be_bytes());
        Ok(frame)
    }

    /// Appends, or says that nobody knows what is in the file now.
    fn write(&mut self, frame: &[u8]) -> Result<(), StorageError> {
        let mut file = self.file.take().ok_or(StorageError::Failed)?;
        file.write_all(frame).map_err(io_error("writing the attribution state"))?;
        file.sync_data().map_err(io_error("syncing the attribution state"))?;
        self.file = Some(file);
        self.length += frame.len() as u64;
        self.next += 1;
        Ok(())
    }
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(body);
    crc.finalize()
}

/// The whole frame at the beginning of `bytes`: its number, its body, and what comes after it.
fn first_frame(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<FRAME_HEAD>()?;
    let [number @ .., l0, l1, l2, l3, c0, c1, c2, c3] = *head;
    let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).ok()?;
    let (body, rest) = rest.split_at_checked(length)?;
    let whole = checksum(&head[..12], body) == u32::from_be_bytes([c0, c1, c2, c3]);
    whole.then_some((u64::from_be_bytes(number), body, rest))
}

/// What a file holds, and how much of it, in bytes, is whole.
struct Contents {
    changes: Vec<Change>,
    frames: u64,
    made: usize,
    whole: usize,
}

fn read_frames(bytes: &[u8]) -> Result<Contents, StorageError> {
    let damaged = StorageError::Damaged;
    let mut rest = bytes.strip_prefix(&MARK).ok_or(damaged("its beginning is not that of such a file"))?;
    let mut contents = Contents { changes: Vec::new(), frames: 0, made: 0, whole: 0 };
    while let Some((number, body, after)) = first_frame(rest) {
        if number != contents.frames {
            return Err(damaged("a frame is missing"));
        }
        contents.changes.extend(decode_all(body).map_err(|_| damaged("a frame does not decode"))?);
        contents.frames += 1;
        rest = after;
        if contents.made == 0 {
            contents.made = bytes.len() - rest.len();
        }
    }
    contents.whole = bytes.len() - rest.len();
    if contents.frames == 0 {
        // The first frame was whole before the file got its name.
        return Err(damaged("its first frame is not whole"));
    }
    // Only the last frame can be cut short by a crash: a later one begins after it was synced.
    // The number first: a checksum at each place would take as many steps as the file has bytes, squared.
    let numbers = contents.frames + 1..u64::from(u32::MAX);
    let later = |at: usize| {
        let number = rest[at..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        number.is_some_and(|number| numbers.contains(&number)) && first_frame(&rest[at..]).is_some()
    };
    if (1..rest.len()).any(later) {
        return Err(damaged("a frame before the last is not whole"));
    }
    Ok(contents)
}

impl Storage for FileStore {
    fn load(&mut self) -> Result<Vec<Change>, StorageError> {
        self.file = None;
        let mut options = OpenOptions::new();
        options.read(true).append(true);
        let mut file = match options.open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.replace(&[])?;
                return Ok(Vec::new());
            }
            Err(error) => return Err(io_error("opening the attribution state")(error)),
        };
        let mut bytes = Vec::new();
        (&mut file)
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(io_error("reading the attribution state"))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(StorageError::Damaged("it is larger than any should be"));
        }
        let contents = read_frames(&bytes)?;
        if contents.whole < bytes.len() {
            file.set_len(contents.whole as u64).map_err(io_error("cutting off an unfinished frame"))?;
            file.sync_data().map_err(io_error("syncing the attribution state"))?;
        }
        (self.made, self.length) = (contents.made as u64, contents.whole as u64);
        (self.next, self.file) = (contents.frames, Some(file));
        Ok(contents.changes)
    }

    fn append(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        let frame = Self::frame(self.next, changes)?;
        self.write(&frame)
    }

    fn replace(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        let what = "making the attribution state anew";
        let bytes = [&MARK[..], &Self::frame(0, changes)?].concat();
        let new = beside(&self.path, ".new");
        // From here on the file is not appended to unless all goes well: its name may lead to the new one already.
        self.file = None;
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        let mut file = private(&mut options).open(&new).map_err(io_error(what))?;
        file.write_all(&bytes).map_err(io_error(what))?;
        file.sync_all().map_err(io_error(what))?;
        std::fs::rename(&new, &self.path).map_err(io_error(what))?;
        sync_folder(&self.path).map_err(io_error(what))?;
        (self.made, self.length) = (bytes.len() as u64, bytes.len() as u64);
        (self.next, self.file) = (1, Some(file));
        Ok(())
    }

    fn has_grown(&self) -> bool {
        self.length - self.made > self.made.max(MIN_GROWTH)
    }
}

/// Makes a rename durable. Elsewhere than on Unix a folder cannot be opened, and a rename is journalled.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
