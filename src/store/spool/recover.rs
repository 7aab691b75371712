//! Opening a spool: which segments there are, and where the last one really ends.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, RwLock},
};

use super::{
    FileHeader, Index, MAX_GROUP_BYTES, Position, Spool, SpoolOptions, Writer, create_segment,
    frame::{FILE_HEADER_BYTES, acknowledged},
    read::{SegmentReader, read_header},
    segment_path,
};
use crate::store::{
    Damage, StoreError,
    disk::{Disk, DiskFile, Open},
};

impl Spool {
    /// Opens the spool in `dir`, or makes one.
    ///
    /// A torn append at the end of the last segment is cut off; nobody was told of it. Only
    /// the last segment is read, and the headers of the others: damage elsewhere shows when a record is read. A spool
    /// that is refused is left as it was.
    ///
    /// # Errors
    /// `Locked` if another process has it. `Corrupt` if a segment is missing between two
    /// others or has lost its end, if the last segment is damaged in a part that had been acknowledged, or if a file
    /// belongs to another spool.
    pub fn open(dir: &Path, options: SpoolOptions) -> Result<Self, StoreError> {
        options.disk.create_dir(dir)?;
        let lock = options.disk.lock_dir(dir)?;
        let mut sealed = list_segments(&options.disk, dir)?;
        let (active, file, active_len) = if let Some((number, len)) = sealed.pop_last() {
            let bytes_before = find_ends(&options, dir, &mut sealed, number, len)?;
            let (file, len) = recover_last(&options, dir, number, len, bytes_before)?;
            (number, file, len)
        } else {
            let header = FileHeader { segment: 1, owner: options.owner, bytes_before: 0 };
            check_reach(&options, dir, 1, FILE_HEADER_BYTES)?;
            (1, create_segment(&options.disk, dir, header)?, FILE_HEADER_BYTES)
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
        let len = u32::try_from(len).map_err(|_| StoreError::damaged(path, len, Damage::TooLarge))?;
        segments.insert(number, len);
    }
    let gap = segments.keys().zip(segments.keys().skip(1)).find(|(number, next)| **number + 1 != **next);
    match gap {
        None => Ok(segments),
        Some((number, _)) => {
            Err(StoreError::damaged(segment_path(dir, number + 1), 0, Damage::MissingSegment))
        }
    }
}

/// Puts the lengths at which the segments before the last one were sealed into `sealed`, in place of those that their
/// files have; gives that of the last of them, 0 if there is none.
fn find_ends(
    options: &SpoolOptions,
    dir: &Path,
    sealed: &mut BTreeMap<u32, u32>,
    last: u32,
    last_len: u32,
) -> Result<u32, StoreError> {
    for (number, len) in &mut *sealed {
        let path = segment_path(dir, number + 1);
        let file = options.disk.open(&path, Open::Read).map_err(|e| StoreError::io("open", &path, e))?;
        let own_path = segment_path(dir, *number);
        *len = match read_header(&file, &path, number + 1, options.owner) {
            Ok(header) if header.bytes_before < FILE_HEADER_BYTES => {
                // The next one was made when there was none before it.
                return Err(StoreError::damaged(own_path, 0, Damage::OtherSpool));
            }
            Ok(header) if *len < header.bytes_before => {
                return Err(StoreError::damaged(own_path, (*len).into(), Damage::Shorter));
            }
            // Longer by what was written when making the next one failed, or by the rest of an append that failed. Whole
            // records of it count, as after a crash; what is torn was never acknowledged.
            Ok(header) => match scan(options, &own_path, Position::new(*number, header.bytes_before), *len) {
                Ok(()) => *len,
                Err((0, e)) => return Err(e),
                Err((good_len, StoreError::Corrupt { .. })) => good_len.max(header.bytes_before),
                Err((_, e)) => return Err(e),
            },
            // The next one was just being made, so this one is the last that was written.
            Err(StoreError::Corrupt { damage: Damage::WrongHeader | Damage::Shorter, .. })
                if number + 1 == last && last_len <= FILE_HEADER_BYTES && !options.needs(last, 0) =>
            {
                find_end(options, dir, *number, *len)?
            }
            Err(e) => return Err(e),
        };
    }
    Ok(sealed.last_key_value().map_or(0, |(_, len)| *len))
}

/// Where the segment that was written last ends: before what is torn. Changes nothing.
fn find_end(options: &SpoolOptions, dir: &Path, number: u32, len: u32) -> Result<u32, StoreError> {
    let path = segment_path(dir, number);
    let (good_len, error) = match scan(options, &path, Position::new(number, FILE_HEADER_BYTES), len) {
        Ok(()) => return check_reach(options, dir, number, len).map(|()| len),
        Err((good_len, error @ StoreError::Corrupt { .. })) => (good_len, error),
        Err((_, e)) => return Err(e),
    };
    if matches!(error, StoreError::Corrupt { damage: Damage::OtherSpool, .. }) {
        return Err(error);
    }
    let torn = len - good_len;
    // The header is synced before the first frame is written, and one group at a time is.
    let had_records = good_len == 0 && len > FILE_HEADER_BYTES;
    if had_records || u64::from(torn) > MAX_GROUP_BYTES || options.needs(number, good_len) {
        return Err(error);
    }
    let io = |e| StoreError::io("recover", &path, e);
    let mut tail = vec![0; torn as usize];
    let file = options.disk.open(&path, Open::Read).map_err(io)?;
    file.read_exact_at(&mut tail, good_len.into()).map_err(io)?;
    if acknowledged(&tail, Position::new(number, good_len)) { Err(error) } else { Ok(good_len) }
}

impl SpoolOptions {
    /// Whether something at or after this end was acknowledged.
    fn needs(&self, number: u32, len: u32) -> bool {
        self.reaches.is_some_and(|end| Position::new(number, len) < end)
    }
}

fn check_reach(options: &SpoolOptions, dir: &Path, number: u32, len: u32) -> Result<(), StoreError> {
    if options.needs(number, len) {
        return Err(StoreError::damaged(segment_path(dir, number), len.into(), Damage::EndsEarly));
    }
    Ok(())
}

/// Finds the end of the last segment, cuts off what is torn, and makes the rest durable.
fn recover_last(
    options: &SpoolOptions,
    dir: &Path,
    number: u32,
    len: u32,
    bytes_before: u32,
) -> Result<(DiskFile, u32), StoreError> {
    let path = segment_path(dir, number);
    let io = |e| StoreError::io("recover", &path, e);
    let good_len = find_end(options, dir, number, len)?;
    let file = options.disk.open(&path, Open::Write).map_err(io)?;
    if good_len < len {
        let bytes = len - good_len;
        tracing::warn!(file = %path.display(), bytes, "cut off a torn append that was never acknowledged");
        options.disk.truncate(&file, &path, good_len.into()).map_err(io)?;
    }
    let good_len = if good_len < FILE_HEADER_BYTES {
        // The crash came while the segment was being made.
        let header = FileHeader { segment: number, owner: options.owner, bytes_before };
        options.disk.write_all_at(&file, &path, &header.encode(), 0).map_err(io)?;
        FILE_HEADER_BYTES
    } else {
        good_len
    };
    // What was read may come from the page cache of a process that died before its sync.
    options.disk.sync_data(&file, &path).map_err(io)?;
    options.disk.sync_dir(dir)?;
    Ok((file, good_len))
}

/// Reads a segment from a frame on. On a bad frame: the length of what is good before it, and why.
fn scan(options: &SpoolOptions, path: &Path, from: Position, len: u32) -> Result<(), (u32, StoreError)> {
    let open = options.disk.open(path, Open::Read).map_err(|e| StoreError::io("open", path, e));
    let mut reader = open
        .and_then(|file| SegmentReader::new(file, path.to_owned(), from, options.owner))
        .map_err(|e| (0, e))?;
    while reader.next.offset() < len {
        reader.read(len).map_err(|e| (reader.next.offset(), e))?;
    }
    Ok(())
}
