//! The last commit that was durable, kept where no backup of the store reaches.
//!
//! ```text
//! byte 0     slot 0: magic 8 | store id 16 | commit 8 | crc32 4
//! byte 4096  slot 1: the same
//! ```
//! Integers are big-endian. The slot that is not the newest is overwritten, in a block of
//! its own, so a torn write leaves the newer slot as it was.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::{
    Damage, StoreError,
    disk::{self, Disk, DiskFile, Open},
};

const MAGIC: [u8; 8] = *b"ARRASWM1";
const SLOT_BYTES: usize = 8 + 16 + 8 + 4;
/// One block of every common file system and disk, so that one torn write hits one slot only.
const SLOT_STRIDE_BYTES: u64 = 4096;

/// Tells stores apart. Random, not secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StoreId([u8; 16]);

impl StoreId {
    /// Makes an id of bytes that were drawn at random.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Tells the parts of one store apart, and from those of other stores.
    pub fn of_part(&self, name: &str) -> [u8; 16] {
        let hash = ring::digest::digest(&ring::digest::SHA256, &[&self.0, name.as_bytes()].concat());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_ref()[..16]);
        id
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An open watermark file, locked against other processes.
///
/// If the newest slot is lost, the other one stands, which is one commit older: a store may
/// then be one commit behind unnoticed. Only rot of just these bytes can do that; a torn
/// write cannot, as the commit it belongs to was not yet reported durable.
#[derive(Debug)]
pub struct Watermark {
    file: DiskFile,
    path: PathBuf,
    store_id: StoreId,
    commit: u64,
    newest_slot: u8,
    disk: DebugDisk,
}

impl Watermark {
    /// Makes the file for a new store, at commit 0. It appears whole or not at all.
    pub fn create(path: &Path, store_id: StoreId) -> Result<Self, StoreError> {
        Self::create_on(path, store_id, Disk::default())
    }

    /// Opens the file of an existing store.
    ///
    /// # Errors
    /// `Io` of kind `NotFound` if there is none; `Corrupt` if no slot is whole.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_on(path, Disk::default())
    }

    pub(super) fn create_on(path: &Path, store_id: StoreId, disk: Disk) -> Result<Self, StoreError> {
        let parent = disk::parent_of(path);
        disk.create_dir(parent)?;
        let mut name =
            path.file_name().ok_or(StoreError::Invalid("a watermark path without a file name"))?.to_owned();
        name.push(".new");
        let new_path = parent.join(name);
        let write = |disk: &Disk| {
            // Never reuse what an interrupted creation left: it may be linked to the real file.
            match disk.remove(&new_path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let file = disk.open(&new_path, Open::New)?;
            disk.truncate(&file, &new_path, 2 * SLOT_STRIDE_BYTES)?;
            disk.write_all_at(&file, &new_path, &encode(store_id, 0), 0)?;
            disk.sync_data(&file, &new_path)
        };
        write(&disk).map_err(|e| StoreError::io("create", &new_path, e))?;
        // A hard link, unlike a rename, fails if somebody else's watermark is there already.
        disk.link(&new_path, path).map_err(|e| StoreError::io("create", path, e))?;
        disk.remove(&new_path).map_err(|e| StoreError::io("remove", &new_path, e))?;
        disk.sync_dir(parent)?;
        Self::open_on(path, disk)
    }

    pub(super) fn open_on(path: &Path, disk: Disk) -> Result<Self, StoreError> {
        let file = disk.open(path, Open::Write).map_err(|e| StoreError::io("open", path, e))?;
        file.lock(path)?;
        let slots = [read_slot(&file, path, 0)?, read_slot(&file, path, 1)?];
        let corrupt = |damage| StoreError::damaged(path, 0, damage);
        let (newest_slot, (store_id, commit)) = match slots {
            [Some(first), Some(second)] if first.0 != second.0 => {
                return Err(corrupt(Damage::WatermarkStores));
            }
            [Some(first), Some(second)] if second.1 > first.1 => (1, second),
            [Some(first), _] => (0, first),
            [None, Some(second)] => (1, second),
            [None, None] => return Err(corrupt(Damage::WatermarkSlots)),
        };
        // What is read may come from the page cache of a process that died before its sync.
        disk.sync_data(&file, path).map_err(|e| StoreError::io("sync", path, e))?;
        Ok(Self { file, path: path.to_owned(), store_id, commit, newest_slot, disk: DebugDisk(disk) })
    }

    /// The last commit that is known to be durable; 0 before the first.
    pub const fn commit(&self) -> u64 {
        self.commit
    }

    /// The store that this watermark belongs to.
    pub const fn store_id(&self) -> StoreId {
        self.store_id
    }

    /// Moves the watermark up; durable when it returns. After an error the file holds the
    /// old commit, the new one, or the old one and a torn slot: all three open again.
    pub fn advance(&mut self, commit: u64) -> Result<(), StoreError> {
        if commit < self.commit {
            return Err(StoreError::Invalid("a watermark never goes back"));
        }
        if commit == self.commit {
            return Ok(());
        }
        let slot = 1 - self.newest_slot;
        let offset = u64::from(slot) * SLOT_STRIDE_BYTES;
        let disk = &self.disk.0;
        disk.write_all_at(&self.file, &self.path, &encode(self.store_id, commit), offset)
            .map_err(|e| StoreError::io("write", &self.path, e))?;
        disk.sync_data(&self.file, &self.path).map_err(|e| StoreError::io("sync", &self.path, e))?;
        self.newest_slot = slot;
        self.commit = commit;
        Ok(())
    }
}

#[derive(Clone)]
struct DebugDisk(Disk);

impl fmt::Debug for DebugDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

fn encode(store_id: StoreId, commit: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&MAGIC);
    slot[8..24].copy_from_slice(&store_id.0);
    slot[24..32].copy_from_slice(&commit.to_be_bytes());
    let crc = crc32fast::hash(&slot[..32]);
    slot[32..].copy_from_slice(&crc.to_be_bytes());
    slot
}

/// A slot's store and commit; `None` if it was never written, or torn.
fn read_slot(file: &DiskFile, path: &Path, slot: u8) -> Result<Option<(StoreId, u64)>, StoreError> {
    let mut bytes = [0; SLOT_BYTES];
    match file.read_exact_at(&mut bytes, u64::from(slot) * SLOT_STRIDE_BYTES) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(StoreError::io("read", path, e)),
    }
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[8..24]);
    let mut commit = [0; 8];
    commit.copy_from_slice(&bytes[24..32]);
    let (store_id, commit) = (StoreId(id), u64::from_be_bytes(commit));
    // Encoding again checks magic and CRC in one comparison.
    Ok((encode(store_id, commit) == bytes).then_some((store_id, commit)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs::File, os::unix::fs::FileExt as _};

    use super::*;

    const ID: StoreId = StoreId([7; 16]);

    fn damage(path: &Path, slot: u64, at: u64) {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, slot * SLOT_STRIDE_BYTES + at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], slot * SLOT_STRIDE_BYTES + at).unwrap();
    }

    #[test]
    fn remembers_the_last_commit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/watermark");
        let mut watermark = Watermark::create(&path, ID).unwrap();
        assert_eq!(watermark.commit(), 0);
        for commit in [1, 2, 3, 3, 9] {
            watermark.advance(commit).unwrap();
        }
        assert!(matches!(watermark.advance(8), Err(StoreError::Invalid(_))));
        drop(watermark);
        let watermark = Watermark::open(&path).unwrap();
        assert_eq!((watermark.commit(), watermark.store_id()), (9, ID));
    }

    #[test]
    fn a_torn_slot_leaves_the_other_one() {
        for commits in 2..6_u64 {
            for byte in 0..SLOT_BYTES as u64 {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("watermark");
                let mut watermark = Watermark::create(&path, ID).unwrap();
                (1..=commits).for_each(|commit| watermark.advance(commit).unwrap());
                drop(watermark);
                // Commit 0 is in slot 0, so odd commits are in slot 1.
                damage(&path, commits % 2, byte);
                let mut watermark = Watermark::open(&path).unwrap();
                assert_eq!(watermark.commit(), commits - 1);
                watermark.advance(commits + 5).unwrap();
                drop(watermark);
                assert_eq!(Watermark::open(&path).unwrap().commit(), commits + 5);
                damage(&path, 0, byte);
                damage(&path, 1, byte);
                assert!(matches!(Watermark::open(&path), Err(StoreError::Corrupt { .. })));
            }
        }
    }

    #[test]
    fn belongs_to_one_store_and_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        let held = Watermark::create(&path, ID).unwrap();
        assert!(matches!(Watermark::open(&path), Err(StoreError::Locked { .. })));
        let second = Watermark::create(&path, StoreId([8; 16]));
        assert!(
            matches!(second, Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists)
        );
        assert_eq!(held.store_id(), ID);
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&encode(StoreId([8; 16]), 1), SLOT_STRIDE_BYTES).unwrap();
        drop(held);
        assert!(matches!(Watermark::open(&path), Err(StoreError::Corrupt { .. })));
    }

    #[test]
    fn a_failed_sync_keeps_the_old_commit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        Watermark::create(&path, ID).unwrap().advance(1).unwrap();
        let fail = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let switch = std::sync::Arc::clone(&fail);
        let disk = Disk::with_faults(std::sync::Arc::new(move |op: disk::FileOp<'_>| {
            let failing = switch.load(std::sync::atomic::Ordering::SeqCst);
            (failing && matches!(op, disk::FileOp::Write(..))).then_some(disk::Fault::Short(30, 28))
        }));
        let mut watermark = Watermark::open_on(&path, disk).unwrap();
        fail.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(matches!(watermark.advance(2), Err(StoreError::Full { .. })));
        assert_eq!(watermark.commit(), 1);
        drop(watermark);
        assert_eq!(Watermark::open(&path).unwrap().commit(), 1);
    }
}
