//! Every file operation of the stores, in one place, so that tests can make them fail, see what was synced, and
//! put a file system in memory in their place.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::Path,
};

#[cfg(any(test, feature = "test-seams"))]
use std::sync::Arc;
use std::time::Instant;

use super::StoreError;
use crate::metrics::StoreTimes;

#[cfg(any(test, feature = "test-seams"))]
mod memory;
#[cfg(any(test, feature = "test-seams"))]
pub use memory::MemoryDisk;
#[cfg(any(test, feature = "test-seams"))]
pub(super) use memory::MemoryTable;

/// A file operation.
#[cfg(any(test, feature = "test-seams"))]
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum FileOp<'a> {
    /// A file or directory is made, unless it is there.
    Create(&'a Path),
    /// The free space of this directory's file system is asked for.
    FreeSpace(&'a Path),
    /// A file gets a second name.
    Link(&'a Path),
    /// A file's name is removed.
    Remove(&'a Path),
    /// A file's data, or a directory, is synced.
    Sync(&'a Path),
    /// The file gets another length.
    Truncate(&'a Path),
    /// This many bytes are written.
    Write(&'a Path, usize),
}

/// How an operation fails.
#[cfg(any(test, feature = "test-seams"))]
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// With this error number, before anything happened.
    Errno(i32),
    /// With this error number, after it happened: done, and nobody knows.
    Late(i32),
    /// A write stops after so many bytes, with this error number.
    Short(usize, i32),
}

/// Decides which file operations of a store fail. For tests: builds without the feature
/// `test-seams` have no such hook.
#[cfg(any(test, feature = "test-seams"))]
pub trait Faults: Send + Sync {
    /// Called before each operation; `None` lets it happen.
    fn before(&self, op: FileOp<'_>) -> Option<Fault>;

    /// Called after each operation that happened, whole, whether or not the caller will hear so. After a sync of
    /// a file, what is in it now survives a loss of power.
    fn after(&self, op: FileOp<'_>) {
        let _ = op;
    }
}

#[cfg(any(test, feature = "test-seams"))]
impl<F: Fn(FileOp<'_>) -> Option<Fault> + Send + Sync> Faults for F {
    fn before(&self, op: FileOp<'_>) -> Option<Fault> {
        self(op)
    }
}

/// What a store is kept on: the file system, with the tests' hook in front of it. The default one is timed by nobody.
#[derive(Clone, Default)]
pub struct Disk {
    times: StoreTimes,
    #[cfg(any(test, feature = "test-seams"))]
    faults: Option<Arc<dyn Faults>>,
    #[cfg(any(test, feature = "test-seams"))]
    memory: Option<memory::Mount>,
}

/// Runs a file operation between the two calls of the tests' hook. `Short` is for writes, which see to it
/// themselves; elsewhere it is an error like others.
macro_rules! hooked {
    ($disk:expr, $op:expr, $run:expr) => {{
        #[cfg(any(test, feature = "test-seams"))]
        let late = $disk.before($op)?;
        let done = $run?;
        #[cfg(any(test, feature = "test-seams"))]
        $disk.after($op, late)?;
        io::Result::Ok(done)
    }};
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// It is there; for reading.
    Read,
    /// It is there; for reading and writing.
    Write,
    /// It is made, or emptied; for writing.
    Empty,
    /// It is made, and must not be there; for writing.
    New,
    /// It is made unless it is there; to be locked.
    Lock,
}

/// An open file of a store.
#[derive(Debug)]
pub(super) enum DiskFile {
    Real(File),
    #[cfg(any(test, feature = "test-seams"))]
    Memory(memory::MemoryFile),
}

impl DiskFile {
    /// Reads at most as many bytes as `buf` has from an offset.
    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Real(file) => file.read_at(buf, offset),
            #[cfg(any(test, feature = "test-seams"))]
            Self::Memory(file) => file.read_at(buf, offset),
        }
    }

    /// Fills `buf` from an offset; `UnexpectedEof` if the file ends before.
    pub(super) fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Real(file) => file.read_exact_at(buf, offset),
            #[cfg(any(test, feature = "test-seams"))]
            Self::Memory(file) => match file.read_at(buf, offset)? {
                read if read == buf.len() => Ok(()),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            },
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Real(file) => file.write_all_at(bytes, offset),
            #[cfg(any(test, feature = "test-seams"))]
            Self::Memory(file) => file.write_all_at(bytes, offset),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match self {
            Self::Real(file) => file.sync_data(),
            #[cfg(any(test, feature = "test-seams"))]
            Self::Memory(file) => file.sync(),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self {
            Self::Real(file) => file.set_len(len),
            #[cfg(any(test, feature = "test-seams"))]
            Self::Memory(file) => file.set_len(len),
        }
    }

    /// Takes the file's lock, which lives as long as the file is open.
    pub(super) fn lock(&self, path: &Path) -> Result<(), StoreError> {
        let taken = match self {
            Self::Real(file) => file.try_lock(),
            #[cfg(any(test, feature = "test-seams"))]
            Self::Memory(file) => file.try_lock(),
        };
        taken.map_err(|e| match e {
            TryLockError::WouldBlock => StoreError::Locked { path: path.to_owned() },
            TryLockError::Error(e) => StoreError::io("lock", path, e),
        })
    }
}

#[cfg_attr(
    not(any(test, feature = "test-seams")),
    allow(clippy::unused_self, reason = "only the tests' hook is kept in it")
)]
impl Disk {
    /// The file system, with operations that a test makes fail.
    #[cfg(any(test, feature = "test-seams"))]
    pub fn with_faults(faults: Arc<dyn Faults>) -> Self {
        Self { faults: Some(faults), ..Self::default() }
    }

    /// A file system in memory as a process sees it that starts now; see [`MemoryDisk`].
    #[cfg(any(test, feature = "test-seams"))]
    pub fn in_memory(disk: &MemoryDisk, faults: Arc<dyn Faults>) -> Self {
        Self { faults: Some(faults), memory: Some(disk.mount()), ..Self::default() }
    }

    /// The file system, with times of what is written.
    pub(crate) fn timed(times: StoreTimes) -> Self {
        Self {
            times,
            #[cfg(any(test, feature = "test-seams"))]
            faults: None,
            #[cfg(any(test, feature = "test-seams"))]
            memory: None,
        }
    }

    pub(super) fn times(&self) -> &StoreTimes {
        &self.times
    }

    /// The operation's error number if it is to fail after it happened.
    #[cfg(any(test, feature = "test-seams"))]
    fn before(&self, op: FileOp<'_>) -> io::Result<Option<i32>> {
        match self.faults.as_ref().and_then(|faults| faults.before(op)) {
            Some(Fault::Errno(errno) | Fault::Short(_, errno)) => Err(io::Error::from_raw_os_error(errno)),
            Some(Fault::Late(errno)) => Ok(Some(errno)),
            None => Ok(None),
        }
    }

    #[cfg(any(test, feature = "test-seams"))]
    fn after(&self, op: FileOp<'_>, late: Option<i32>) -> io::Result<()> {
        if let Some(faults) = &self.faults {
            faults.after(op);
        }
        late.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    /// The table of a state in memory that is kept in place of sled's file at `path`, if this disk is in memory.
    #[cfg(any(test, feature = "test-seams"))]
    pub(super) fn open_table(&self, path: &Path) -> Option<io::Result<MemoryTable>> {
        self.memory.as_ref().map(|memory| memory.open_table(path))
    }

    /// Runs the writing of a batch as the write of a file.
    #[cfg(any(test, feature = "test-seams"))]
    pub(super) fn write_table(
        &self,
        table: &MemoryTable,
        path: &Path,
        writes: &memory::Writes,
    ) -> io::Result<()> {
        hooked!(self, FileOp::Write(path, writes.len()), table.apply(writes))
    }

    /// Makes the batches of a table survive a loss of power.
    #[cfg(any(test, feature = "test-seams"))]
    pub(super) fn sync_table(&self, table: &MemoryTable, path: &Path) -> io::Result<()> {
        hooked!(self, FileOp::Sync(path), table.sync())
    }

    /// Opens a file. One that is made is its owner's alone.
    pub(super) fn open(&self, path: &Path, how: Open) -> io::Result<DiskFile> {
        match how {
            Open::Read | Open::Write => self.open_unhooked(path, how),
            Open::Empty | Open::New | Open::Lock => {
                hooked!(self, FileOp::Create(path), self.open_unhooked(path, how))
            }
        }
    }

    fn open_unhooked(&self, path: &Path, how: Open) -> io::Result<DiskFile> {
        #[cfg(any(test, feature = "test-seams"))]
        if let Some(memory) = &self.memory {
            return memory.open(path, how).map(DiskFile::Memory);
        }
        let mut options = OpenOptions::new();
        options.mode(FILE_MODE);
        match how {
            Open::Read => options.read(true),
            Open::Write => options.read(true).write(true),
            Open::Empty => options.write(true).create(true).truncate(true),
            Open::New => options.write(true).create_new(true),
            Open::Lock => options.write(true).create(true).truncate(false),
        };
        options.open(path).map(DiskFile::Real)
    }

    /// Opens and locks the file `lock` in `dir`.
    pub(super) fn lock_dir(&self, dir: &Path) -> Result<DiskFile, StoreError> {
        let path = dir.join("lock");
        let file = self.open(&path, Open::Lock).map_err(|e| StoreError::io("open", &path, e))?;
        file.lock(&path)?;
        Ok(file)
    }

    /// Whether there is a file or directory of this name.
    pub(super) fn exists(&self, path: &Path) -> bool {
        #[cfg(any(test, feature = "test-seams"))]
        if let Some(memory) = &self.memory {
            return memory.exists(path);
        }
        path.exists()
    }

    /// The names in a directory and the lengths of what they name, in bytes.
    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, u64)>> {
        #[cfg(any(test, feature = "test-seams"))]
        if let Some(memory) = &self.memory {
            return memory.list(dir);
        }
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            Ok((entry.file_name(), entry.metadata()?.len()))
        };
        fs::read_dir(dir)?.map(entry).collect()
    }

    /// Refuses with `Full` when the file system has less than `min` bytes left.
    pub(super) fn require_free(&self, dir: &Path, min: u64) -> Result<(), StoreError> {
        let free = || hooked!(self, FileOp::FreeSpace(dir), self.free_bytes(dir));
        let free = free().map_err(|e| StoreError::io("free space of", dir, e))?;
        if free >= min {
            return Ok(());
        }
        let what = format!("{} bytes are free below {}, {min} are kept in reserve", free, dir.display());
        Err(StoreError::Full { what })
    }

    pub(super) fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        #[cfg(any(test, feature = "test-seams"))]
        if self.memory.is_some() {
            return Ok(u64::MAX);
        }
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    pub(super) fn write_all_at(
        &self,
        file: &DiskFile,
        path: &Path,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<()> {
        #[cfg(any(test, feature = "test-seams"))]
        {
            let op = FileOp::Write(path, bytes.len());
            match self.faults.as_ref().and_then(|faults| faults.before(op)) {
                Some(Fault::Errno(errno)) => return Err(io::Error::from_raw_os_error(errno)),
                Some(Fault::Short(written, errno)) => {
                    file.write_all_at(&bytes[..written.min(bytes.len())], offset)?;
                    return Err(io::Error::from_raw_os_error(errno));
                }
                Some(Fault::Late(errno)) => {
                    file.write_all_at(bytes, offset)?;
                    return self.after(op, Some(errno));
                }
                None => {}
            }
        }
        file.write_all_at(bytes, offset)?;
        #[cfg(any(test, feature = "test-seams"))]
        self.after(FileOp::Write(path, bytes.len()), None)?;
        let _ = path;
        Ok(())
    }

    /// When it returns, the file's bytes and length survive a loss of power.
    pub(super) fn sync_data(&self, file: &DiskFile, path: &Path) -> io::Result<()> {
        let _ = path;
        let started = Instant::now();
        let synced = hooked!(self, FileOp::Sync(path), file.sync_data());
        synced.inspect(|()| self.times.sync_took(started))
    }

    /// When it returns, creations and removals in the directory survive a loss of power.
    pub(super) fn sync_dir(&self, dir: &Path) -> Result<(), StoreError> {
        let sync = || hooked!(self, FileOp::Sync(dir), self.sync_names(dir));
        sync().map_err(|e| StoreError::io("sync directory", dir, e))
    }

    fn sync_names(&self, dir: &Path) -> io::Result<()> {
        #[cfg(any(test, feature = "test-seams"))]
        if let Some(memory) = &self.memory {
            return memory.sync_dir(dir);
        }
        File::open(dir)?.sync_all()
    }

    /// Cuts a file back, or lengthens it with zeros.
    pub(super) fn truncate(&self, file: &DiskFile, path: &Path, len: u64) -> io::Result<()> {
        let _ = path;
        hooked!(self, FileOp::Truncate(path), file.set_len(len))
    }

    /// Removes a file's name; durable after the directory's sync.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        let remove = || {
            #[cfg(any(test, feature = "test-seams"))]
            if let Some(memory) = &self.memory {
                return memory.remove(path);
            }
            fs::remove_file(path)
        };
        hooked!(self, FileOp::Remove(path), remove())
    }

    /// Gives a file a second name, which must not be there; durable after the directory's sync.
    pub(super) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let link = || {
            #[cfg(any(test, feature = "test-seams"))]
            if let Some(memory) = &self.memory {
                return memory.link(from, to);
            }
            fs::hard_link(from, to)
        };
        hooked!(self, FileOp::Link(to), link())
    }

    /// Creates a directory with its parents, durably, and for the owner alone.
    pub(super) fn create_dir(&self, dir: &Path) -> Result<(), StoreError> {
        let parent = parent_of(dir);
        if self.exists(dir) {
            // It may have been made by a process that was killed before its sync. Who may not read the parent did not
            // make it.
            return match self.sync_dir(parent) {
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                    Ok(())
                }
                synced => synced,
            };
        }
        self.create_dir(parent)?;
        let create = || {
            #[cfg(any(test, feature = "test-seams"))]
            if let Some(memory) = &self.memory {
                return memory.create_dir(dir);
            }
            DirBuilder::new().mode(DIRECTORY_MODE).create(dir)
        };
        let hooked = || hooked!(self, FileOp::Create(dir), create());
        match hooked() {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StoreError::io("create directory", dir, e));
            }
            _ => {}
        }
        self.sync_dir(parent)
    }
}

/// What a store holds is its owner's alone, whatever the umask: sums without noise, and secrets of the state's.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The directory that holds `path`.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

/// When it returns, a file or directory that was made at `path`, or renamed to it, is still there after a loss of
/// power. For what no store keeps: configurations and tasks.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent_of(path))?.sync_all()
}
