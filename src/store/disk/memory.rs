//! A file system in memory that forgets what was not synced, for simulations.
//!
//! What a process sees and what survives a loss of power are kept apart: a write, a new length, a batch of a table
//! survive from the sync of their file on, a name from the sync of its directory on. A loss of power may keep some of
//! the rest, as disks do: of a file any writes, whole or torn; of a table the first batches, whole; of the names the
//! first changes, since the file systems in use keep those in order.
//!
//! A process is a *life* of the disk. What it had open when it ended fails from then on, so that whatever of it still
//! runs cannot change what the next one finds.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::TryLockError,
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Open, parent_of};

/// The error of everything that a process does whose life is over, as of a disk that is gone (`EIO`).
const EIO: i32 = 5;

/// The disk of one machine. Cloning gives another handle to the same one.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    life: u64,
    /// Syncs that only say that they are done; to show that a test notices.
    lies: bool,
    next_id: u64,
    names: Names,
    durable_names: Names,
    /// Changes of names since their directories were synced, oldest first; `None` removes.
    name_changes: Vec<(PathBuf, Option<Node>)>,
    files: BTreeMap<u64, FileData>,
    tables: BTreeMap<u64, TableData>,
    locked: BTreeSet<u64>,
}

type Names = BTreeMap<PathBuf, Node>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
    Table(u64),
}

#[derive(Debug, Default)]
struct FileData {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Change {
    fn apply(&self, data: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let (from, to) = (index(*offset), index(*offset) + bytes.len());
                if data.len() < to {
                    data.resize(to, 0);
                }
                data[from..to].copy_from_slice(bytes);
            }
            Self::Length(len) => data.resize(index(*len), 0),
        }
    }
}

/// The changes of one batch; `None` removes a key.
pub(in crate::store) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Default)]
struct TableData {
    seen: Rows,
    durable: Rows,
    unsynced: Vec<Writes>,
}

fn apply_writes(rows: &mut Rows, writes: Writes) {
    for (key, value) in writes {
        match value {
            Some(value) => drop(rows.insert(key, value)),
            None => drop(rows.remove(&key)),
        }
    }
}

/// Offsets in memory fit.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on syncs do nothing but say that they are done.
    pub fn lie_about_syncs(&self) {
        self.contents().lies = true;
    }

    /// Ends the process that uses the disk. The operating system goes on: nothing is lost.
    pub fn end_process(&self) {
        let mut contents = self.contents();
        contents.life += 1;
        contents.locked.clear();
    }

    /// Ends the process and everything that was not synced, but for what `choose` keeps: it is given a number of
    /// possibilities, at least 2, and says which of them happened, from 0.
    pub fn lose_power(&self, choose: &mut dyn FnMut(u64) -> u64) {
        self.end_process();
        self.contents().lose_power(choose);
    }

    /// The bytes that a process sees in all files and tables.
    pub fn bytes(&self) -> u64 {
        let contents = self.contents();
        let files = contents.files.values().map(|file| file.seen.len());
        let tables = contents
            .tables
            .values()
            .flat_map(|table| &table.seen)
            .map(|(key, value)| key.len() + value.len());
        files.chain(tables).sum::<usize>() as u64
    }

    pub(super) fn mount(&self) -> Mount {
        Mount { disk: self.clone(), life: self.contents().life }
    }

    // Each change under the lock is whole.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn lose_power(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        let changes = std::mem::take(&mut self.name_changes);
        // One time in two nothing that was not synced is there.
        let generous = choose(2) == 1;
        // How many of so many; none if it is not generous.
        let mut some = |count: usize| {
            if generous { index(choose((count as u64 + 1).max(2))).min(count) } else { 0 }
        };
        for (path, node) in changes.iter().take(some(changes.len())) {
            set_name(&mut self.durable_names, path, *node);
        }
        for file in self.files.values_mut() {
            for change in std::mem::take(&mut file.unsynced) {
                match (some(3), change) {
                    (0, _) => {}
                    // Its beginning or its end; what is not there reads as zeros.
                    (1, Change::Write(offset, bytes)) => {
                        let whole = some(bytes.len());
                        Change::Write(offset, bytes[..whole].to_vec()).apply(&mut file.durable);
                    }
                    (2, Change::Write(offset, bytes)) => {
                        let lost = some(bytes.len());
                        Change::Write(offset + lost as u64, bytes[lost..].to_vec()).apply(&mut file.durable);
                    }
                    (_, change) => change.apply(&mut file.durable),
                }
            }
            file.seen.clone_from(&file.durable);
        }
        for table in self.tables.values_mut() {
            let unsynced = std::mem::take(&mut table.unsynced);
            let kept = some(unsynced.len());
            for writes in unsynced.into_iter().take(kept) {
                apply_writes(&mut table.durable, writes);
            }
            table.seen.clone_from(&table.durable);
        }
        self.names.clone_from(&self.durable_names);
        let named: BTreeSet<u64> = self
            .names
            .values()
            .filter_map(|node| match node {
                Node::Dir => None,
                Node::File(id) | Node::Table(id) => Some(*id),
            })
            .collect();
        self.files.retain(|id, _| named.contains(id));
        self.tables.retain(|id, _| named.contains(id));
    }

    fn name(&mut self, path: &Path, node: Option<Node>) {
        set_name(&mut self.names, path, node);
        self.name_changes.push((path.to_owned(), node));
    }

    fn make(&mut self, path: &Path, node: impl FnOnce(u64) -> Node) -> io::Result<u64> {
        let parent = parent_of(path);
        if parent != Path::new("/") && self.names.get(parent) != Some(&Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.next_id += 1;
        self.name(path, Some(node(self.next_id)));
        Ok(self.next_id)
    }

    fn file(&mut self, id: u64) -> io::Result<&mut FileData> {
        self.files.get_mut(&id).ok_or_else(gone)
    }

    fn table(&mut self, id: u64) -> io::Result<&mut TableData> {
        self.tables.get_mut(&id).ok_or_else(gone)
    }
}

fn set_name(names: &mut Names, path: &Path, node: Option<Node>) {
    match node {
        Some(node) => drop(names.insert(path.to_owned(), node)),
        None => drop(names.remove(path)),
    }
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

/// A disk as one process has it.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    disk: MemoryDisk,
    life: u64,
}

impl Mount {
    /// The contents, unless the process has ended.
    fn contents(&self) -> io::Result<MutexGuard<'_, Contents>> {
        let contents = self.disk.contents();
        if contents.life == self.life { Ok(contents) } else { Err(gone()) }
    }

    pub(super) fn open(&self, path: &Path, how: Open) -> io::Result<MemoryFile> {
        let mut contents = self.contents()?;
        let id = match (contents.names.get(path), how) {
            (Some(_), Open::New) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(Node::File(id)), _) => *id,
            (Some(_), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (None, Open::Read | Open::Write) => return Err(io::ErrorKind::NotFound.into()),
            (None, Open::Empty | Open::New | Open::Lock) => {
                let id = contents.make(path, Node::File)?;
                contents.files.insert(id, FileData::default());
                id
            }
        };
        if how == Open::Empty {
            let file = contents.file(id)?;
            file.seen.clear();
            file.unsynced.push(Change::Length(0));
        }
        Ok(MemoryFile { mount: self.clone(), id, locked: Mutex::new(false) })
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        path == Path::new("/") || self.contents().is_ok_and(|contents| contents.names.contains_key(path))
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, u64)>> {
        let contents = self.contents()?;
        let within = contents.names.iter().filter(|(path, _)| parent_of(path) == dir);
        let entry = |(path, node): (&PathBuf, &Node)| {
            let len = match node {
                Node::File(id) => contents.files.get(id).map_or(0, |file| file.seen.len()),
                _ => 0,
            };
            Some((path.file_name()?.to_owned(), len as u64))
        };
        Ok(within.filter_map(entry).collect())
    }

    pub(super) fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut contents = self.contents()?;
        if contents.names.contains_key(dir) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        contents.make(dir, |_| Node::Dir).map(drop)
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        let mut contents = self.contents()?;
        match contents.names.get(path) {
            Some(Node::File(_)) => contents.name(path, None),
            Some(_) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(())
    }

    pub(super) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut contents = self.contents()?;
        if contents.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = *contents.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        contents.name(to, Some(node));
        Ok(())
    }

    pub(super) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut contents = self.contents()?;
        if contents.lies {
            return Ok(());
        }
        let (synced, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut contents.name_changes)
            .into_iter()
            .partition(|(path, _)| parent_of(path) == dir);
        contents.name_changes = rest;
        for (path, node) in synced {
            set_name(&mut contents.durable_names, &path, node);
        }
        Ok(())
    }

    /// The table at `path`, made if there is none.
    pub(super) fn open_table(&self, path: &Path) -> io::Result<MemoryTable> {
        let mut contents = self.contents()?;
        let id = match contents.names.get(path) {
            Some(Node::Table(id)) => *id,
            Some(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            None => {
                let id = contents.make(path, Node::Table)?;
                contents.tables.insert(id, TableData::default());
                id
            }
        };
        Ok(MemoryTable { mount: self.clone(), id })
    }
}

/// An open file.
#[derive(Debug)]
pub(in crate::store) struct MemoryFile {
    mount: Mount,
    id: u64,
    /// Whether the lock was taken through this handle.
    locked: Mutex<bool>,
}

impl MemoryFile {
    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut contents = self.mount.contents()?;
        let data = contents.file(self.id)?.seen.get(index(offset)..).unwrap_or_default();
        let read = buf.len().min(data.len());
        buf[..read].copy_from_slice(&data[..read]);
        Ok(read)
    }

    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write(offset, bytes.to_vec()))
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(len))
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut contents = self.mount.contents()?;
        let file = contents.file(self.id)?;
        change.apply(&mut file.seen);
        file.unsynced.push(change);
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        let mut contents = self.mount.contents()?;
        if contents.lies {
            return Ok(());
        }
        let file = contents.file(self.id)?;
        for change in std::mem::take(&mut file.unsynced) {
            change.apply(&mut file.durable);
        }
        Ok(())
    }

    pub(super) fn try_lock(&self) -> Result<(), TryLockError> {
        let mut contents = self.mount.contents().map_err(TryLockError::Error)?;
        if !contents.locked.insert(self.id) {
            return Err(TryLockError::WouldBlock);
        }
        *self.locked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        Ok(())
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let locked = *self.locked.get_mut().unwrap_or_else(PoisonError::into_inner);
        if locked && let Ok(mut contents) = self.mount.contents() {
            contents.locked.remove(&self.id);
        }
    }
}

/// What a state keeps in place of sled's tree: batches of it are whole after a loss of power, the first ones.
#[derive(Debug)]
pub(in crate::store) struct MemoryTable {
    mount: Mount,
    id: u64,
}

impl MemoryTable {
    pub(super) fn apply(&self, writes: &Writes) -> io::Result<()> {
        let mut contents = self.mount.contents()?;
        let table = contents.table(self.id)?;
        apply_writes(&mut table.seen, writes.clone());
        table.unsynced.push(writes.clone());
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        let mut contents = self.mount.contents()?;
        if contents.lies {
            return Ok(());
        }
        let table = contents.table(self.id)?;
        for writes in std::mem::take(&mut table.unsynced) {
            apply_writes(&mut table.durable, writes);
        }
        Ok(())
    }

    pub(in crate::store) fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.mount.contents()?.table(self.id)?.seen.get(key).cloned())
    }

    /// Gives the rows from a key on to `each`, until it returns false.
    pub(in crate::store) fn scan(
        &self,
        from: Bound<&[u8]>,
        mut each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> io::Result<()> {
        let mut contents = self.mount.contents()?;
        let rows = &contents.table(self.id)?.seen;
        for (key, value) in rows.range::<[u8], _>((from, Bound::Unbounded)) {
            if !each(key, value) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn write(mount: &Mount, path: &str, bytes: &[u8]) -> MemoryFile {
        let file = mount.open(Path::new(path), Open::Empty).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn read(disk: &MemoryDisk, path: &str) -> Option<Vec<u8>> {
        let file = disk.mount().open(Path::new(path), Open::Read).ok()?;
        let mut bytes = vec![0; 64];
        let read = file.read_at(&mut bytes, 0).unwrap();
        bytes.truncate(read);
        Some(bytes)
    }

    #[test]
    fn a_loss_of_power_takes_what_was_not_synced() {
        let disk = MemoryDisk::new();
        let mount = disk.mount();
        mount.create_dir(Path::new("/a")).unwrap();
        mount.sync_dir(Path::new("/")).unwrap();
        let kept = write(&mount, "/a/kept", b"kept");
        kept.sync().unwrap();
        mount.sync_dir(Path::new("/a")).unwrap();
        kept.write_all_at(b"more", 4).unwrap();
        write(&mount, "/a/without a name", b"data").sync().unwrap();
        assert_eq!(read(&disk, "/a/kept").unwrap(), b"keptmore");
        disk.lose_power(&mut |_| 0);
        assert_eq!(read(&disk, "/a/kept").unwrap(), b"kept");
        assert_eq!(read(&disk, "/a/without a name"), None);
        assert!(kept.write_all_at(b"late", 0).is_err(), "the process is gone");
        assert!(mount.open(Path::new("/a/kept"), Open::Read).is_err());
    }

    #[test]
    fn a_loss_of_power_may_keep_a_torn_write_and_the_first_batches() {
        let disk = MemoryDisk::new();
        let mount = disk.mount();
        let file = write(&mount, "/file", b"");
        file.sync().unwrap();
        let table = mount.open_table(Path::new("/table")).unwrap();
        mount.sync_dir(Path::new("/")).unwrap();
        file.write_all_at(b"torn", 0).unwrap();
        for key in [b"1", b"2"] {
            table.apply(&Writes::from([(key.to_vec(), Some(Vec::new()))])).unwrap();
        }
        // Generous; no name; the file's write torn, its first two bytes; one batch.
        let mut choices = [1, 0, 1, 2, 1].into_iter();
        disk.lose_power(&mut |_| choices.next().unwrap());
        assert_eq!(read(&disk, "/file").unwrap(), b"to");
        let table = disk.mount().open_table(Path::new("/table")).unwrap();
        assert_eq!((table.get(b"1").unwrap(), table.get(b"2").unwrap()), (Some(Vec::new()), None));
    }

    #[test]
    fn a_process_that_ends_loses_nothing_but_its_locks() {
        let disk = MemoryDisk::new();
        let mount = disk.mount();
        let file = write(&mount, "/file", b"here");
        file.try_lock().unwrap();
        let second = mount.open(Path::new("/file"), Open::Lock).unwrap();
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
        disk.end_process();
        assert_eq!(read(&disk, "/file").unwrap(), b"here");
        let next = disk.mount().open(Path::new("/file"), Open::Lock).unwrap();
        next.try_lock().unwrap();
        drop(file);
        let other = disk.mount().open(Path::new("/file"), Open::Lock).unwrap();
        assert!(other.try_lock().is_err(), "a handle of an earlier life holds no lock that it could give up");
    }
}
