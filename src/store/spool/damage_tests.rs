//! What a spool does not take for its own: each of these was opened once, with records lost in silence.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::fs;
use std::path::Path;

use super::*;

const OWNER: [u8; 16] = [7; 16];

fn options() -> SpoolOptions {
    SpoolOptions::new(64 << 20).segment_bytes(300).owner(OWNER)
}

fn open(dir: &Path, options: SpoolOptions) -> Result<Spool, StoreError> {
    Spool::open(dir, options)
}

/// A spool of several segments; its last position, and where it ends.
fn fill(dir: &Path) -> (Position, Position) {
    let spool = open(dir, options()).unwrap();
    let mut last = spool.start();
    for number in 0..12_u8 {
        last = spool.append_group(&[[vec![number; 50]], [vec![number; 30]]]).unwrap()[1];
    }
    assert!(spool.end().segment() > 3);
    (last, spool.end())
}

fn damage_of(result: Result<Spool, StoreError>) -> Damage {
    match result {
        Err(StoreError::Corrupt { damage, .. }) => damage,
        other => panic!("opened, or refused for another reason: {other:?}"),
    }
}

/// A sealed segment was as long as its file was: cut at the end of a record, it was a shorter segment.
#[test]
fn a_sealed_segment_that_lost_whole_records_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let sealed = segment_path(dir.path(), 2);
    let len = fs::metadata(&sealed).unwrap().len();
    // The last record and its header.
    let cut = len - 30 - u64::from(FRAME_HEADER_BYTES);
    fs::File::options().write(true).open(&sealed).unwrap().set_len(cut).unwrap();
    assert_eq!(damage_of(open(dir.path(), options())), Damage::Shorter);
}

/// The end of the last segment was cut off as torn, or missing, whatever had been acknowledged; and cut off for good, even
/// if the store that the spool belongs to then refused to open.
#[test]
fn what_is_known_to_be_acknowledged_is_not_cut_off() {
    let whole = tempfile::tempdir().unwrap();
    let (last, end) = fill(whole.path());
    let path = |dir: &Path| segment_path(dir, end.segment());
    let bytes = fs::read(path(whole.path())).unwrap();
    let mut flipped = bytes.clone();
    flipped[last.offset() as usize + 20] ^= 1;
    let cases = [
        (bytes[..last.offset() as usize].to_vec(), Damage::EndsEarly),
        (bytes[..last.offset() as usize + 9].to_vec(), Damage::Shorter),
        (flipped, Damage::Checksum),
        (Vec::new(), Damage::Shorter),
    ];
    for (damaged, expected) in cases {
        for reaches in [options().reaches(end), options().holds(Some(last))] {
            let dir = tempfile::tempdir().unwrap();
            for entry in fs::read_dir(whole.path()).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
            }
            fs::write(path(dir.path()), &damaged).unwrap();
            assert_eq!(damage_of(open(dir.path(), reaches)), expected);
            assert_eq!(fs::read(path(dir.path())).unwrap(), damaged, "a refused opening changes nothing");
        }
    }
    fs::remove_file(path(whole.path())).unwrap();
    assert_eq!(damage_of(open(whole.path(), options().reaches(end))), Damage::EndsEarly);
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(damage_of(open(empty.path(), options().reaches(end))), Damage::EndsEarly);
}

/// A segment of another task, or of another store, with a fitting number was read as one of this.
#[test]
fn a_segment_of_another_spool_is_refused() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, end) = fill(dir.path());
    drop(open(other.path(), options().owner([8; 16])).unwrap());
    fs::copy(segment_path(dir.path(), 1), segment_path(other.path(), 1)).unwrap();
    assert_eq!(damage_of(open(other.path(), options().owner([8; 16]))), Damage::OtherSpool);
    // In the middle too, and an empty one at the end.
    let foreign = FileHeader { segment: end.segment() + 1, owner: [8; 16], bytes_before: end.offset() };
    fs::write(segment_path(dir.path(), end.segment() + 1), foreign.encode()).unwrap();
    assert_eq!(damage_of(open(dir.path(), options())), Damage::OtherSpool);
}

/// When making the next segment failed and its file came back with a loss of power, the segment before it had grown
/// meanwhile: what was acknowledged there stays.
#[test]
fn a_next_segment_from_an_earlier_attempt_cuts_nothing_off() {
    let dir = tempfile::tempdir().unwrap();
    let (_, end) = fill(dir.path());
    let earlier = FileHeader {
        segment: end.segment() + 1,
        owner: OWNER,
        bytes_before: end.offset() - 30 - FRAME_HEADER_BYTES,
    };
    fs::write(segment_path(dir.path(), end.segment() + 1), earlier.encode()).unwrap();
    let spool = open(dir.path(), options()).unwrap();
    let records = spool.read_range(spool.start(), spool.end()).map(Result::unwrap);
    assert_eq!(records.count(), 24);
}

/// The whole file behind the last good record was read into memory, up to 4 GiB, and taken for torn.
#[test]
fn more_than_a_group_is_no_torn_append() {
    let dir = tempfile::tempdir().unwrap();
    let (_, end) = fill(dir.path());
    let last = fs::File::options().write(true).open(segment_path(dir.path(), end.segment())).unwrap();
    last.set_len(u64::from(end.offset()) + MAX_GROUP_BYTES + 1).unwrap();
    assert_eq!(damage_of(open(dir.path(), options())), Damage::NoFrame);
    last.set_len(u64::from(u32::MAX) + 1).unwrap();
    assert_eq!(damage_of(open(dir.path(), options())), Damage::TooLarge);
}
