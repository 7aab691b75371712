//! Reading records back, one by one or in order.

use std::{
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use super::{
    Position, Spool,
    frame::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FrameHeader, Owner},
    offset_of, segment_path,
};
use crate::store::{
    Damage, StoreError,
    disk::{DiskFile, Open},
};

/// Sequential reads go to the disk in pieces of this size.
const READ_BUFFER_BYTES: usize = 1 << 20;

impl Spool {
    /// The record at a position that [`Spool::append_group`] gave out.
    ///
    /// # Errors
    /// `NoRecord` if it was deleted or the position is past the end; `Corrupt` if what is
    /// there is not the record that was written.
    pub fn read(&self, position: Position) -> Result<Vec<u8>, StoreError> {
        let (file, path, header) = self.frame_at(position)?;
        let mut payload = vec![0; header.payload_len as usize];
        let payload_at = u64::from(position.offset) + u64::from(FRAME_HEADER_BYTES);
        file.read_exact_at(&mut payload, payload_at).map_err(|e| read_error(&path, position, e))?;
        if crc32fast::hash(&payload) != header.payload_crc {
            return Err(corrupt(&path, position, Damage::Checksum));
        }
        Ok(payload)
    }

    /// The position after the record at this one: that of the next record, or the end.
    #[cfg(test)]
    pub fn next_after(&self, position: Position) -> Result<Position, StoreError> {
        let (_, _, header) = self.frame_at(position)?;
        let next = Position::new(position.segment, offset_of(header.end(position.offset)));
        let index = self.index();
        let sealed_here = index.sealed.get(&next.segment) == Some(&next.offset);
        Ok(if sealed_here { Position::new(next.segment + 1, FILE_HEADER_BYTES) } else { next })
    }

    /// The records from one position up to another one (not itself included), in order, as
    /// far as they are durable. `from` is a record's position, or the end of a segment.
    pub fn read_range(&self, from: Position, to: Position) -> RangeReader<'_> {
        RangeReader { spool: self, next: from, to, segment: None, failed: false }
    }

    /// The header of the frame at a position, and the file that it is in.
    fn frame_at(&self, position: Position) -> Result<(DiskFile, PathBuf, FrameHeader), StoreError> {
        let len = self.index().len_of(position.segment);
        let header_end = u64::from(position.offset) + u64::from(FRAME_HEADER_BYTES);
        let Some(len) = len.filter(|len| header_end <= u64::from(*len)) else {
            return Err(self.no_record(position));
        };
        let path = segment_path(&self.dir, position.segment);
        let file = self.open_segment(&path, position)?;
        let mut bytes = [0; FRAME_HEADER_BYTES as usize];
        file.read_exact_at(&mut bytes, position.offset.into()).map_err(|e| read_error(&path, position, e))?;
        let header = FrameHeader::decode(&bytes, position)
            .filter(|header| header.end(position.offset) <= u64::from(len))
            .ok_or_else(|| corrupt(&path, position, Damage::NoFrame))?;
        Ok((file, path, header))
    }

    fn open_segment(&self, path: &Path, position: Position) -> Result<DiskFile, StoreError> {
        self.options.disk.open(path, Open::Read).map_err(|e| match e.kind() {
            // Deleted since we looked; if the index still has it, somebody else removed it.
            io::ErrorKind::NotFound if self.index().len_of(position.segment).is_none() => {
                self.no_record(position)
            }
            _ => StoreError::io("open", path, e),
        })
    }

    fn no_record(&self, position: Position) -> StoreError {
        StoreError::NoRecord { position, start: self.start(), end: self.end() }
    }
}

pub(super) fn corrupt(path: &Path, position: Position, damage: Damage) -> StoreError {
    StoreError::damaged(path, position.offset.into(), damage)
}

fn read_error(path: &Path, position: Position, e: io::Error) -> StoreError {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => corrupt(path, position, Damage::Shorter),
        _ => StoreError::io("read", path, e),
    }
}

/// The header of a segment file, if it is that of this segment of this spool.
pub(super) fn read_header(
    file: &DiskFile,
    path: &Path,
    segment: u32,
    owner: Owner,
) -> Result<FileHeader, StoreError> {
    let at = Position::new(segment, 0);
    let mut bytes = [0; FILE_HEADER_BYTES as usize];
    file.read_exact_at(&mut bytes, 0).map_err(|e| read_error(path, at, e))?;
    let header = FileHeader::decode(&bytes, segment);
    let header = header.ok_or_else(|| corrupt(path, at, Damage::WrongHeader))?;
    if header.owner == owner { Ok(header) } else { Err(corrupt(path, at, Damage::OtherSpool)) }
}

/// Gives the records of a range in order; see [`Spool::read_range`]. Ends after an error.
#[derive(Debug)]
pub struct RangeReader<'a> {
    spool: &'a Spool,
    next: Position,
    to: Position,
    segment: Option<SegmentReader>,
    failed: bool,
}

impl RangeReader<'_> {
    /// Where the record that comes next begins, if there is one: everything before has been given.
    pub const fn position(&self) -> Position {
        self.next
    }

    fn step(&mut self) -> Result<Option<(Position, Vec<u8>)>, StoreError> {
        while self.next < self.to {
            let (len, active) = {
                let index = self.spool.index();
                (index.len_of(self.next.segment), index.active)
            };
            let Some(len) = len.filter(|len| self.next.offset <= *len) else {
                // Past the durable end of the last segment there is nothing yet.
                return if self.next >= self.spool.end() {
                    Ok(None)
                } else {
                    Err(self.spool.no_record(self.next))
                };
            };
            if self.next.offset == len {
                if self.next.segment == active {
                    return Ok(None);
                }
                self.next = Position::new(self.next.segment + 1, FILE_HEADER_BYTES);
                self.segment = None;
                continue;
            }
            let mut segment = if let Some(segment) = self.segment.take() {
                segment
            } else {
                let path = segment_path(&self.spool.dir, self.next.segment);
                let file = self.spool.open_segment(&path, self.next)?;
                SegmentReader::new(file, path, self.next, self.spool.options.owner)?
            };
            let payload = segment.read(len)?;
            let record = (self.next, payload);
            self.next = segment.next;
            self.segment = Some(segment);
            return Ok(Some(record));
        }
        Ok(None)
    }
}

impl Iterator for RangeReader<'_> {
    type Item = Result<(Position, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step().transpose();
        self.failed = matches!(step, Some(Err(_)));
        step
    }
}

/// The part of a segment file that is durable. Reading ahead must not go beyond it: what
/// is there may be cut off and written anew.
#[derive(Debug)]
struct DurablePart {
    file: DiskFile,
    offset: u64,
    len: u64,
}

impl Read for DurablePart {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(self.offset);
        let wanted = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buf[..wanted], self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Reads the frames of one segment file one after the other.
#[derive(Debug)]
pub(super) struct SegmentReader {
    file: BufReader<DurablePart>,
    path: PathBuf,
    /// The frame that is read next.
    pub(super) next: Position,
}

impl SegmentReader {
    /// Checks the file's header and goes to a frame.
    pub(super) fn new(
        file: DiskFile,
        path: PathBuf,
        next: Position,
        owner: Owner,
    ) -> Result<Self, StoreError> {
        read_header(&file, &path, next.segment, owner)?;
        let part = DurablePart { file, offset: next.offset.into(), len: next.offset.into() };
        Ok(Self { file: BufReader::with_capacity(READ_BUFFER_BYTES, part), path, next })
    }

    /// The payload of the next frame, which must end within the first `len` bytes.
    pub(super) fn read(&mut self, len: u32) -> Result<Vec<u8>, StoreError> {
        let at = self.next;
        self.file.get_mut().len = len.into();
        let mut header = [0; FRAME_HEADER_BYTES as usize];
        self.file.read_exact(&mut header).map_err(|e| read_error(&self.path, at, e))?;
        let header = FrameHeader::decode(&header, at)
            .filter(|header| header.end(at.offset) <= u64::from(len))
            .ok_or_else(|| corrupt(&self.path, at, Damage::NoFrame))?;
        let mut payload = vec![0; header.payload_len as usize];
        self.file.read_exact(&mut payload).map_err(|e| read_error(&self.path, at, e))?;
        if crc32fast::hash(&payload) != header.payload_crc {
            return Err(corrupt(&self.path, at, Damage::Checksum));
        }
        self.next = Position::new(at.segment, offset_of(header.end(at.offset)));
        Ok(payload)
    }
}
