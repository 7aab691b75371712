//! Files in a folder of the file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Files;

/// A file that is being written; it takes its name when it is whole.
const UNFINISHED: &str = "unfinished.tmp";

/// Locked while a process uses the folder.
const LOCK: &str = "lock";

/// A folder of its own for one device, used by one process at a time. On Unix only the owner can read what is in it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held until this is dropped, or the process ends.
    _lock: File,
}

impl Folder {
    /// Opens the folder and locks it; makes it if there is none.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process, or another `Folder` of this one, uses it; whatever the file
    /// system says otherwise.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        make_folder(&path)?;
        let lock = private_file(&path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("{} is used by another process of this app", path.display()),
            ),
            fs::TryLockError::Error(error) => error,
        })?;
        // What a crash left half written; its name was never the file's.
        remove(&path.join(UNFINISHED))?;
        Ok(Self { path, _lock: lock })
    }
}

impl Files for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name().into_string();
            names.extend(name.ok().filter(|name| name != LOCK && name != UNFINISHED));
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.path.join(UNFINISHED);
        remove(&unfinished)?;
        let mut file = private_file(&unfinished)?;
        file.write_all(bytes)?;
        // Before the name changes, or a loss of power could leave the new name with no content.
        file.sync_all()?;
        drop(file);
        fs::rename(&unfinished, self.path.join(name))?;
        sync_folder(&self.path)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        remove(&self.path.join(name))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the new name durable. Other systems than Unix open no folders; there the rename is as durable as they make it.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_there_for_the_next_process() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("arras");
        let mut files = Folder::open(&path).unwrap();
        files.replace("state", b"one").unwrap();
        files.replace("state", b"two").unwrap();
        files.replace("other", b"").unwrap();
        files.remove("other").unwrap();
        files.remove("other").unwrap();
        drop(files);
        fs::write(path.join(UNFINISHED), b"half of").unwrap();
        let files = Folder::open(&path).unwrap();
        assert_eq!(files.names().unwrap(), ["state"]);
        assert_eq!(files.read("state").unwrap().unwrap(), b"two");
        assert_eq!(files.read("other").unwrap(), None);
        assert!(!path.join(UNFINISHED).exists());
    }

    #[test]
    fn one_process_uses_it_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let first = Folder::open(place.path()).unwrap();
        assert_eq!(Folder::open(place.path()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        Folder::open(place.path()).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn only_the_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("arras");
        Folder::open(&path).unwrap().replace("state", b"what somebody saw").unwrap();
        for (path, mode) in [(path.clone(), 0o700), (path.join("state"), 0o600)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
    }
}
