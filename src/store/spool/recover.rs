//! Opening a spool: which segments there are, and where the last one really ends.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, RwLock},
};

use super::{
    Index, Position, Spool, SpoolOptions, Writer, create_segment,
    frame::{FILE_HEADER_BYTES, acknowledged, file_header},
    read::SegmentReader,
    segment_path,
};
use crate::store::{
    StoreError,
    disk::{Disk, DiskFile, Open},
};

impl Spool {
    /// Opens the spool in `dir`, or makes one.
    ///
    /// A torn append at the end of the last segment is cut off; nobody was told of it. Only
    /// the last segment is read: damage elsewhere shows when a record is read.
    ///
    /// # Errors
    /// `Locked` if another process has it. `Corrupt` if a segment is missing between two
    /// others, or the last segment is damaged in a part that had been acknowledged.
    pub fn open(dir: &Path, options: SpoolOptions) -> Result<Self, StoreError> {
        options.disk.create_dir(dir)?;
        let lock = options.disk.lock_dir(dir)?;
        let mut sealed = list_segments(&options.disk, dir)?;
        let (active, file, active_len) = match sealed.pop_last() {
            Some((number, len)) => {
                let (file, len) = recover_last(&options, dir, number, len)?;
                (number, file, len)
            }
            None => (1, create_segment(&options.disk, dir, 1)?, FILE_HEADER_BYTES),
        };
        let path = segment_path(dir, active);
        let writer = Writer { file, path, buffer: Vec::new(), in_doubt: false };
        let index = Index { sealed, active, active_len };
        Ok(Self {
            dir: dir.to_owned(),
            options,
            writer: Mutex::new(writer),
            index: RwLock::new(index),
            _lock: lock,
        })
    }
}

/// Numbers and lengths of the segment files.
fn list_segments(disk: &Disk, dir: &Path) -> Result<BTreeMap<u32, u32>, StoreError> {
    let mut segments = BTreeMap::new();
    let io = |e| StoreError::io("list", dir, e);
    for (name, len) in disk.list(dir).map_err(io)? {
        let path = dir.join(&name);
        let number =
            name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|stem| stem.parse().ok());
        let Some(number) = number.filter(|number| segment_path(dir, *number) == path) else {
            continue;
        };
        let len = u32::try_from(len).map_err(|_| StoreError::Corrupt {
            file: path,
            offset: len,
            found: "the file is larger than any segment",
            advice: "Another program wrote to it; bring the file back from a copy",
        })?;
        segments.insert(number, len);
    }
    let gap = segments.keys().zip(segments.keys().skip(1)).find(|(number, next)| **number + 1 != **next);
    match gap {
        None => Ok(segments),
        Some((number, _)) => Err(StoreError::Corrupt {
            file: segment_path(dir, number + 1),
            offset: 0,
            found: "the file is missing, though later ones are there",
            advice: "Bring it back from a copy; without it its records are lost, and their batches stay short",
        }),
    }
}

/// Finds the end of the last segment, cuts off what is torn, and makes the rest durable.
fn recover_last(
    options: &SpoolOptions,
    dir: &Path,
    number: u32,
    len: u32,
) -> Result<(DiskFile, u32), StoreError> {
    let path = segment_path(dir, number);
    let io = |e| StoreError::io("recover", &path, e);
    let file = options.disk.open(&path, Open::Write).map_err(io)?;
    let good_len = match scan(&options.disk, &path, number, len) {
        Ok(()) => len,
        Err((good_len, StoreError::Corrupt { file: damaged, offset, found, advice })) => {
            let mut tail = vec![0; (len - good_len) as usize];
            file.read_exact_at(&mut tail, good_len.into()).map_err(io)?;
            // The header is synced before the first frame is written.
            let had_records = good_len == 0 && len > FILE_HEADER_BYTES;
            if had_records || acknowledged(&tail, Position::new(number, good_len)) {
                return Err(StoreError::Corrupt { file: damaged, offset, found, advice });
            }
            let bytes = len - good_len;
            tracing::warn!(file = %path.display(), bytes, "cut off a torn append that was never acknowledged");
            options.disk.truncate(&file, &path, good_len.into()).map_err(io)?;
            good_len
        }
        Err((_, e)) => return Err(e),
    };
    let good_len = if good_len < FILE_HEADER_BYTES {
        // The crash came while the segment was being made.
        options.disk.write_all_at(&file, &path, &file_header(number), 0).map_err(io)?;
        FILE_HEADER_BYTES
    } else {
        good_len
    };
    // What was read may come from the page cache of a process that died before its sync.
    options.disk.sync_data(&file, &path).map_err(io)?;
    options.disk.sync_dir(dir)?;
    Ok((file, good_len))
}

/// Reads a whole segment. On a bad frame: the length of what is good before it, and why.
fn scan(disk: &Disk, path: &Path, number: u32, len: u32) -> Result<(), (u32, StoreError)> {
    let open = disk.open(path, Open::Read).map_err(|e| StoreError::io("open", path, e));
    let first = Position::new(number, FILE_HEADER_BYTES);
    let mut reader =
        open.and_then(|file| SegmentReader::new(file, path.to_owned(), first)).map_err(|e| (0, e))?;
    while reader.next.offset() < len {
        reader.read(len).map_err(|e| (reader.next.offset(), e))?;
    }
    Ok(())
}
