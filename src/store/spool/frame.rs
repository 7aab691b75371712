//! The bytes of a segment file.
//!
//! ```text
//! file    magic 8 | version 4 | segment number 4 | owner 16 | bytes before 4 | crc32 4, then frames
//! frame   payload length 4 | group start 4 | payload crc32 4 | header crc32 4 | payload
//! ```
//! Integers are big-endian. The header's CRC also covers the segment number and the
//! frame's own offset, so a frame that stands elsewhere (a recycled disk block, a wrong
//! position) is not taken for a record. No payload is empty, so zeros are never a frame.
//!
//! `group start` is where the group began that this frame was written with. A group is
//! written only after the one before it was synced, so it says how much of the segment
//! was durable by then. That tells a torn tail from damage to acknowledged records.
//!
//! `owner` names the spool, so that a file of another one is not taken for one of this. `bytes before` is the length at
//! which the segment before this one was sealed, 0 for the first: a sealed segment that lost its end is noticed,
//! although what is left of it is sound.

use super::{MAX_RECORD_BYTES, Position};

const MAGIC: [u8; 8] = *b"ARRASSEG";
const VERSION: u32 = 2;
pub(super) const FILE_HEADER_BYTES: u32 = 40;
pub(super) const FRAME_HEADER_BYTES: u32 = 16;

/// Which spool a segment belongs to.
pub(super) type Owner = [u8; 16];

/// What stands at the beginning of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) segment: u32,
    pub(super) owner: Owner,
    /// The length at which the segment before was sealed; 0 if there was none.
    pub(super) bytes_before: u32,
}

impl FileHeader {
    pub(super) fn encode(self) -> [u8; FILE_HEADER_BYTES as usize] {
        let mut header = [0; FILE_HEADER_BYTES as usize];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_be_bytes());
        header[12..16].copy_from_slice(&self.segment.to_be_bytes());
        header[16..32].copy_from_slice(&self.owner);
        header[32..36].copy_from_slice(&self.bytes_before.to_be_bytes());
        let crc = crc32fast::hash(&header[..36]);
        header[36..].copy_from_slice(&crc.to_be_bytes());
        header
    }

    /// `None` if these bytes are not the header of a segment with this number.
    pub(super) fn decode(bytes: &[u8; FILE_HEADER_BYTES as usize], segment: u32) -> Option<Self> {
        let (owner, rest) = bytes[16..].split_first_chunk()?;
        let (bytes_before, _) = rest.split_first_chunk()?;
        let header = Self { segment, owner: *owner, bytes_before: u32::from_be_bytes(*bytes_before) };
        // Encoding again checks magic, version, number and CRC in one comparison.
        (header.encode() == *bytes).then_some(header)
    }
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) payload_len: u32,
    pub(super) group_start: u32,
    pub(super) payload_crc: u32,
}

impl FrameHeader {
    pub(super) fn encode(self, at: Position) -> [u8; FRAME_HEADER_BYTES as usize] {
        let mut bytes = [0; FRAME_HEADER_BYTES as usize];
        bytes[..4].copy_from_slice(&self.payload_len.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.group_start.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.payload_crc.to_be_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&at.to_bytes());
        crc.update(&bytes[..12]);
        bytes[12..].copy_from_slice(&crc.finalize().to_be_bytes());
        bytes
    }

    /// `None` if these bytes are not the header of a frame at this position.
    pub(super) fn decode(bytes: &[u8; FRAME_HEADER_BYTES as usize], at: Position) -> Option<Self> {
        let word = |i: usize| u32::from_be_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        let header = Self { payload_len: word(0), group_start: word(4), payload_crc: word(8) };
        let sound = header.payload_len != 0
            && header.payload_len <= MAX_RECORD_BYTES
            && header.group_start >= FILE_HEADER_BYTES
            && header.group_start <= at.offset();
        (sound && header.encode(at) == *bytes).then_some(header)
    }

    /// The offset after this frame, if it begins at `offset`.
    pub(super) fn end(self, offset: u32) -> u64 {
        u64::from(offset) + u64::from(FRAME_HEADER_BYTES) + u64::from(self.payload_len)
    }
}

/// Whether behind the bad frame at `bad`, where `tail` begins, stands a frame of a later
/// group. Then the bad one had been synced and acknowledged: it is damaged, not torn.
pub(super) fn acknowledged(tail: &[u8], bad: Position) -> bool {
    let header_len = FRAME_HEADER_BYTES as usize;
    tail.windows(header_len).enumerate().skip(1).any(|(i, window)| {
        let Some(at) = u32::try_from(i).ok().and_then(|i| bad.offset().checked_add(i)) else { return false };
        // The conversion cannot fail: a window has just this length.
        let Ok(bytes) = <&[u8; FRAME_HEADER_BYTES as usize]>::try_from(window) else { return false };
        let Some(header) = FrameHeader::decode(bytes, Position::new(bad.segment(), at)) else { return false };
        let payload = tail.get(i + header_len..i + header_len + header.payload_len as usize);
        header.group_start > bad.offset()
            && payload.is_some_and(|payload| crc32fast::hash(payload) == header.payload_crc)
    })
}
