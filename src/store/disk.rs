//! The file operations whose failure a store must survive, in one place, so that tests can
//! make them fail.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::Path,
};

#[cfg(any(test, feature = "test-noise"))]
use std::sync::Arc;

use super::StoreError;

/// A file operation that is about to happen.
#[cfg(any(test, feature = "test-noise"))]
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum FileOp<'a> {
    /// The free space of this directory's file system is asked for.
    FreeSpace(&'a Path),
    /// This many bytes are written.
    Write(&'a Path, usize),
    /// A file's data, or a directory, is synced.
    Sync(&'a Path),
    /// The file is cut back.
    Truncate(&'a Path),
}

/// How an operation fails.
#[cfg(any(test, feature = "test-noise"))]
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// With this error number, before anything happened.
    Errno(i32),
    /// A write stops after so many bytes, with this error number.
    Short(usize, i32),
}

/// Decides which file operations of a store fail. For tests: builds without the feature
/// `test-noise` have no such hook.
#[cfg(any(test, feature = "test-noise"))]
pub trait Faults: Send + Sync {
    /// Called before each operation; `None` lets it happen.
    fn before(&self, op: FileOp<'_>) -> Option<Fault>;
}

#[cfg(any(test, feature = "test-noise"))]
impl<F: Fn(FileOp<'_>) -> Option<Fault> + Send + Sync> Faults for F {
    fn before(&self, op: FileOp<'_>) -> Option<Fault> {
        self(op)
    }
}

/// The file system, with the tests' hook in front of it.
#[derive(Clone, Default)]
pub(super) struct Disk {
    #[cfg(any(test, feature = "test-noise"))]
    faults: Option<Arc<dyn Faults>>,
}

#[cfg_attr(
    not(any(test, feature = "test-noise")),
    allow(clippy::unused_self, reason = "only the tests' hook is kept in it")
)]
impl Disk {
    #[cfg(any(test, feature = "test-noise"))]
    pub(super) fn with_faults(faults: Arc<dyn Faults>) -> Self {
        Self { faults: Some(faults) }
    }

    #[cfg(any(test, feature = "test-noise"))]
    fn before(&self, op: FileOp<'_>) -> io::Result<()> {
        match self.faults.as_ref().and_then(|faults| faults.before(op)) {
            Some(Fault::Errno(errno) | Fault::Short(_, errno)) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }

    /// Refuses with `Full` when the file system has less than `min` bytes left.
    pub(super) fn require_free(&self, dir: &Path, min: u64) -> Result<(), StoreError> {
        #[cfg(any(test, feature = "test-noise"))]
        self.before(FileOp::FreeSpace(dir)).map_err(|e| StoreError::io("free space of", dir, e))?;
        let stat = rustix::fs::statvfs(dir).map_err(|e| StoreError::io("free space of", dir, e.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free >= min {
            return Ok(());
        }
        let what = format!("{} bytes are free below {}, {min} are kept in reserve", free, dir.display());
        Err(StoreError::Full { what })
    }

    pub(super) fn write_all_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(any(test, feature = "test-noise"))]
        {
            let op = FileOp::Write(path, bytes.len());
            match self.faults.as_ref().and_then(|faults| faults.before(op)) {
                Some(Fault::Errno(errno)) => return Err(io::Error::from_raw_os_error(errno)),
                Some(Fault::Short(written, errno)) => {
                    file.write_all_at(&bytes[..written.min(bytes.len())], offset)?;
                    return Err(io::Error::from_raw_os_error(errno));
                }
                None => {}
            }
        }
        let _ = path;
        file.write_all_at(bytes, offset)
    }

    /// When it returns, the file's bytes and length survive a loss of power.
    pub(super) fn sync_data(&self, file: &File, path: &Path) -> io::Result<()> {
        #[cfg(any(test, feature = "test-noise"))]
        self.before(FileOp::Sync(path))?;
        let _ = path;
        file.sync_data()
    }

    /// When it returns, creations and removals in the directory survive a loss of power.
    pub(super) fn sync_dir(&self, dir: &Path) -> Result<(), StoreError> {
        let sync = || {
            #[cfg(any(test, feature = "test-noise"))]
            self.before(FileOp::Sync(dir))?;
            File::open(dir)?.sync_all()
        };
        sync().map_err(|e| StoreError::io("sync directory", dir, e))
    }

    pub(super) fn truncate(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        #[cfg(any(test, feature = "test-noise"))]
        self.before(FileOp::Truncate(path))?;
        let _ = path;
        file.set_len(len)
    }

    /// Creates a directory with its parents, durably, and for the owner alone.
    pub(super) fn create_dir(&self, dir: &Path) -> Result<(), StoreError> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = parent_of(dir);
        self.create_dir(parent)?;
        match DirBuilder::new().mode(DIRECTORY_MODE).create(dir) {
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

/// Options for opening a file of a store, with the mode of one that is made.
pub(super) fn private() -> OpenOptions {
    let mut options = File::options();
    options.mode(FILE_MODE);
    options
}

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

/// Takes the lock of an open file, which lives as long as the file is open.
pub(super) fn lock(file: &File, path: &Path) -> Result<(), StoreError> {
    file.try_lock().map_err(|e| match e {
        TryLockError::WouldBlock => StoreError::Locked { path: path.to_owned() },
        TryLockError::Error(e) => StoreError::io("lock", path, e),
    })
}

/// Opens and locks the file `lock` in `dir`.
pub(super) fn lock_dir(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let file = private()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| StoreError::io("open", &path, e))?;
    lock(&file, &path)?;
    Ok(file)
}
