//! Files in memory: for tests, for simulations, and for a host that keeps its state elsewhere.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::Files;

#[derive(Default)]
struct Inner {
    files: BTreeMap<String, Vec<u8>>,
    /// How many writes still succeed; the one after that happens or not, and all fail from then on.
    writes_left: Option<(u64, bool)>,
}

/// Files in memory. A clone is another handle to the same files, so that a test can drop the app and open it again.
#[derive(Clone, Default)]
pub struct MemoryFiles(Arc<Mutex<Inner>>);

impl std::fmt::Debug for MemoryFiles {
    // What they hold is for nobody's log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryFiles").finish_non_exhaustive()
    }
}

impl MemoryFiles {
    fn with<T>(&self, run: impl FnOnce(&mut Inner) -> T) -> T {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets so many more writes and removals succeed. The next one after them fails, as if the process had died in it:
    /// done all the same if `last_happens`; and so do all others, until [`MemoryFiles::mend`]. For tests of what a crash leaves.
    pub fn fail_after(&self, writes: u64, last_happens: bool) {
        self.with(|inner| inner.writes_left = Some((writes, last_happens)));
    }

    /// Lets everything succeed again.
    pub fn mend(&self) {
        self.with(|inner| inner.writes_left = None);
    }
}

impl Inner {
    fn write(&mut self, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> io::Result<()> {
        let failed = || io::Error::other("the disk fails");
        match &mut self.writes_left {
            None => {}
            Some((0, last_happens)) => {
                if std::mem::take(last_happens) {
                    change(&mut self.files);
                }
                return Err(failed());
            }
            Some((left, _)) => *left -= 1,
        }
        change(&mut self.files);
        Ok(())
    }
}

impl Files for MemoryFiles {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.with(|inner| inner.files.keys().cloned().collect()))
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.with(|inner| inner.files.get(name).cloned()))
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with(|inner| {
            inner.write(|files| {
                files.insert(name.to_owned(), bytes.to_vec());
            })
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.with(|inner| {
            inner.write(|files| {
                files.remove(name);
            })
        })
    }
}
