#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use super::*;
use crate::store::{Fault, FileOp};

const MIB: u64 = 1 << 20;
const ENOSPC: i32 = 28;
const EIO: i32 = 5;

fn options() -> SpoolOptions {
    SpoolOptions::new(64 * MIB)
}

fn open(dir: &Path) -> Spool {
    Spool::open(dir, options()).unwrap()
}

/// A record whose length and content depend on its number.
fn record(number: usize) -> Vec<u8> {
    (0..=number % 40).map(|i| (number * 31 + i * 7) as u8).collect()
}

fn append(spool: &Spool, numbers: std::ops::Range<usize>) -> Vec<Position> {
    let records: Vec<[Vec<u8>; 1]> = numbers.map(|number| [record(number)]).collect();
    spool.append_group(&records).unwrap()
}

fn all(spool: &Spool) -> Vec<Vec<u8>> {
    spool.read_range(spool.start(), spool.end()).map(|entry| entry.unwrap().1).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

#[test]
fn positions_sort_as_their_bytes_do() {
    let places = [(0, 0), (1, 20), (1, u32::MAX), (2, 20), (0x0102_0304, 0x0506_0708), (u32::MAX, 3)];
    let positions = places.map(|(segment, offset)| Position::new(segment, offset));
    assert!(positions.is_sorted() && positions.map(Position::to_bytes).is_sorted());
    assert_eq!(positions[4].to_bytes(), [1, 2, 3, 4, 5, 6, 7, 8]);
    for position in positions {
        assert_eq!(Position::from_bytes(position.to_bytes()), position);
    }
}

#[test]
fn gives_back_what_was_appended_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut positions = Vec::new();
    for round in 0..5 {
        let spool = Spool::open(dir.path(), options().segment_bytes(600)).unwrap();
        assert_eq!(all(&spool), (0..round * 30).map(record).collect::<Vec<_>>());
        for group in 0..3 {
            let first = round * 30 + group * 10;
            positions.extend(append(&spool, first..first + 10));
        }
        for (number, position) in positions.iter().enumerate() {
            assert_eq!(spool.read(*position).unwrap(), record(number));
            let next = positions.get(number + 1).copied().unwrap_or(spool.end());
            assert_eq!(spool.next_after(*position).unwrap(), next);
        }
        let (from, to) = (positions[7], positions[23]);
        let range: Vec<_> = spool.read_range(from, to).map(|entry| entry.unwrap().0).collect();
        assert_eq!(range, positions[7..23]);
    }
    assert!(positions.is_sorted());
    assert!(positions.last().unwrap().segment() > 4, "this test needs several segments");
}

#[test]
fn joins_the_slices_of_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let positions = spool.append_group(&[[&b"abc"[..], b"", b"de"], [b"", b"f", b""]]).unwrap();
    assert_eq!(spool.read(positions[0]).unwrap(), b"abcde");
    assert_eq!(spool.read(positions[1]).unwrap(), b"f");
    assert_eq!(spool.append_group::<[&[u8]; 1], _>(&[]).unwrap(), []);
}

#[test]
fn refuses_what_is_over_its_limits_and_keeps_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), SpoolOptions::new(1000)).unwrap();
    append(&spool, 0..3);
    let (end, bytes) = (spool.end(), spool.bytes());
    let large = vec![1; MAX_RECORD_BYTES as usize + 1];
    let errors = [
        spool.append_group(&[[&b"fine"[..]], [b""]]).unwrap_err(),
        spool.append_group(&[[&large[..]]]).unwrap_err(),
        spool.append_group(&[[&large[1..]]; 4]).unwrap_err(),
        spool.append_group(&[[&large[..930]]]).unwrap_err(),
    ];
    assert!(matches!(
        errors,
        [
            StoreError::Invalid(_),
            StoreError::TooLarge { what: "a record", .. },
            StoreError::TooLarge { what: "a group of records", .. },
            StoreError::Full { .. }
        ]
    ));
    assert_eq!((spool.end(), spool.bytes()), (end, bytes));
    append(&spool, 3..4);
    assert_eq!(all(&spool).len(), 4);
}

#[test]
fn a_group_larger_than_a_segment_gets_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), options().segment_bytes(100)).unwrap();
    let large = vec![9; 5000];
    let segments: Vec<u32> = [&b"first"[..], &large, b"last"]
        .map(|record| spool.append_group(&[[record]]).unwrap()[0].segment())
        .into();
    assert_eq!(segments, [1, 2, 3]);
    assert_eq!(spool.read(Position::new(2, FILE_HEADER_BYTES)).unwrap(), large);
}

#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    append(&spool, 0..4);
    let last = append(&spool, 25..26)[0];
    let end = spool.end();
    drop(spool);
    for len in last.offset()..end.offset() {
        for zeros in [0, 1, 50] {
            let torn = tempfile::tempdir().unwrap();
            copy(dir.path(), torn.path());
            let path = segment_path(torn.path(), 1);
            let mut bytes = fs::read(&path).unwrap();
            bytes.truncate(len as usize);
            bytes.resize(len as usize + zeros, 0);
            fs::write(&path, bytes).unwrap();
            let spool = open(torn.path());
            // Zeros may complete the record only if it ends in zeros, which it does not.
            assert_eq!(all(&spool), (0..4).map(record).collect::<Vec<_>>(), "cut at {len}");
            assert_eq!(spool.end(), last);
            append(&spool, 4..6);
            drop(spool);
            assert_eq!(all(&open(torn.path())), (0..6).map(record).collect::<Vec<_>>());
        }
    }
}

#[test]
fn an_interrupted_making_of_a_segment_leaves_an_empty_one() {
    for len in 0..=FILE_HEADER_BYTES as usize {
        for garbage in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let spool = Spool::open(dir.path(), options().segment_bytes(100)).unwrap();
            append(&spool, 0..5);
            drop(spool);
            let bytes_before = fs::metadata(segment_path(dir.path(), 1)).unwrap().len() as u32;
            let header = FileHeader { segment: 2, owner: frame::Owner::default(), bytes_before }.encode();
            let header = if garbage { [0; FILE_HEADER_BYTES as usize] } else { header };
            fs::write(segment_path(dir.path(), 2), &header[..len]).unwrap();
            let spool = open(dir.path());
            assert_eq!(spool.end(), Position::new(2, FILE_HEADER_BYTES));
            assert_eq!(append(&spool, 5..6)[0].segment(), 2);
            assert_eq!(all(&spool), (0..6).map(record).collect::<Vec<_>>());
        }
    }
}

#[test]
fn damage_to_acknowledged_records_is_not_taken_for_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    append(&spool, 0..6);
    let last_group = append(&spool, 6..9);
    drop(spool);
    for at in 0..last_group[0].offset() as usize {
        let damaged = tempfile::tempdir().unwrap();
        copy(dir.path(), damaged.path());
        flip(&segment_path(damaged.path(), 1), at);
        let opened = Spool::open(damaged.path(), options());
        assert!(matches!(opened, Err(StoreError::Corrupt { .. })), "a flip at {at} went unnoticed");
    }
    // Within the last group it cannot be told from pages of a torn write that came late.
    flip(&segment_path(dir.path(), 1), last_group[1].offset() as usize + 3);
    assert_eq!(all(&open(dir.path())), (0..7).map(record).collect::<Vec<_>>());
}

#[test]
fn a_flip_in_a_sealed_segment_is_never_a_wrong_record() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), options().segment_bytes(200)).unwrap();
    let positions: Vec<Position> = (0..12).flat_map(|number| append(&spool, number..number + 1)).collect();
    assert!(spool.end().segment() > 1);
    let sealed = segment_path(dir.path(), 1);
    for at in 0..fs::metadata(&sealed).unwrap().len() as usize {
        flip(&sealed, at);
        let read: Vec<_> = spool.read_range(spool.start(), spool.end()).collect();
        assert!(matches!(read.last(), Some(Err(StoreError::Corrupt { .. }))));
        for (number, entry) in read[..read.len() - 1].iter().enumerate() {
            assert_eq!(*entry.as_ref().unwrap(), (positions[number], record(number)));
        }
        for (number, position) in positions.iter().enumerate() {
            match spool.read(*position) {
                Ok(payload) => assert_eq!(payload, record(number)),
                Err(e) => assert!(matches!(e, StoreError::Corrupt { .. }) && position.segment() == 1),
            }
        }
        flip(&sealed, at);
    }
}

#[test]
fn wrong_positions_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    // A payload that looks like a frame is not one, as it stands elsewhere.
    let inner = FrameHeader { payload_len: 1, group_start: 40, payload_crc: crc32fast::hash(b"x") };
    let fake = [inner.encode(Position::new(1, 40)).as_slice(), b"x"].concat();
    let position = spool.append_group(&[[fake]]).unwrap()[0];
    for offset in 0..spool.end().offset() {
        let read = spool.read(Position::new(1, offset));
        assert_eq!(read.is_ok(), offset == position.offset());
    }
    assert!(matches!(spool.read(spool.end()), Err(StoreError::NoRecord { .. })));
    assert!(matches!(spool.read(Position::new(9, 20)), Err(StoreError::NoRecord { .. })));
    assert_eq!(spool.read_range(spool.end(), Position::new(9, 9)).count(), 0);
}

#[test]
fn a_missing_segment_and_a_second_process_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), options().segment_bytes(100)).unwrap();
    (0..9).for_each(|number| drop(append(&spool, number * 5..number * 5 + 5)));
    assert!(matches!(Spool::open(dir.path(), options()), Err(StoreError::Locked { .. })));
    drop(spool);
    fs::remove_file(segment_path(dir.path(), 3)).unwrap();
    let missing = segment_path(dir.path(), 3);
    assert!(
        matches!(Spool::open(dir.path(), options()), Err(StoreError::Corrupt { file, .. }) if file == missing)
    );
}

#[test]
fn deletes_whole_segments_only() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), options().segment_bytes(200)).unwrap();
    let positions: Vec<Position> = (0..40).flat_map(|number| append(&spool, number..number + 1)).collect();
    let middle = positions[20];
    let kept: Vec<usize> =
        (0..40).filter(|number| positions[*number].segment() >= middle.segment()).collect();
    spool.delete_before(middle).unwrap();
    assert_eq!(spool.start().segment(), middle.segment());
    assert_eq!(all(&spool), kept.iter().map(|number| record(*number)).collect::<Vec<_>>());
    assert!(matches!(spool.read(positions[0]), Err(StoreError::NoRecord { .. })));
    assert!(matches!(spool.read_range(positions[0], middle).next(), Some(Err(StoreError::NoRecord { .. }))));
    let on_disk: u64 = (1..=spool.end().segment())
        .filter_map(|number| fs::metadata(segment_path(dir.path(), number)).ok())
        .map(|file| file.len())
        .sum();
    assert_eq!(spool.bytes(), on_disk);
    let end = spool.end();
    spool.delete_before(Position::new(u32::MAX, 0)).unwrap();
    assert_eq!((spool.start().segment(), spool.end()), (end.segment(), end));
    drop(spool);
    // Numbers go on where they were, so that no position is given out twice.
    let spool = open(dir.path());
    assert_eq!((spool.start().segment(), spool.end()), (end.segment(), end));
    assert!(append(&spool, 0..1)[0] >= end);
}

/// What the next operations do, set by a test: 0 nothing, else one of the faults below.
fn failing(dir: &Path, plan: &Arc<AtomicU8>) -> Spool {
    let plan = Arc::clone(plan);
    let faults = move |op: FileOp<'_>| match (plan.load(Ordering::SeqCst), op) {
        (1, FileOp::Write(..)) | (3, FileOp::FreeSpace(_)) => Some(Fault::Errno(ENOSPC)),
        (2 | 6, FileOp::Write(_, bytes)) => Some(Fault::Short(bytes * 2 / 3, ENOSPC)),
        (4, FileOp::Sync(path)) if path.extension().is_some() => Some(Fault::Errno(EIO)),
        (5, FileOp::Sync(path)) if path.extension().is_none() => Some(Fault::Errno(EIO)),
        (6, FileOp::Truncate(_)) => Some(Fault::Errno(EIO)),
        _ => None,
    };
    Spool::open(dir, options().segment_bytes(400).faults(Arc::new(faults))).unwrap()
}

#[test]
fn a_full_disk_loses_nothing_and_passes() {
    for fault in [1, 2, 3] {
        let dir = tempfile::tempdir().unwrap();
        let plan = Arc::new(AtomicU8::new(0));
        let spool = failing(dir.path(), &plan);
        // Forty rounds fail at every fill of a segment, also when one is being made.
        for number in 0..40 {
            let (end, bytes) = (spool.end(), spool.bytes());
            plan.store(fault, Ordering::SeqCst);
            let refused = spool.append_group(&[[record(30)], [record(31)]]);
            assert!(matches!(refused, Err(StoreError::Full { .. })));
            assert_eq!((spool.end(), spool.bytes()), (end, bytes));
            assert_eq!(
                fs::metadata(segment_path(dir.path(), end.segment())).unwrap().len(),
                u64::from(end.offset())
            );
            plan.store(0, Ordering::SeqCst);
            append(&spool, number..number + 1);
        }
        let expected: Vec<_> = (0..40).map(record).collect();
        assert_eq!(all(&spool), expected);
        drop(spool);
        assert_eq!(all(&open(dir.path())), expected);
    }
}

#[test]
fn a_failed_sync_stops_appends_until_reopened() {
    // A failed sync; and a failed write that cannot be undone either.
    for fault in [4, 6] {
        let dir = tempfile::tempdir().unwrap();
        let plan = Arc::new(AtomicU8::new(0));
        let spool = failing(dir.path(), &plan);
        append(&spool, 0..3);
        plan.store(fault, Ordering::SeqCst);
        let failed = spool.append_group(&[[record(3)]]).unwrap_err();
        assert!(matches!(failed, StoreError::Io { .. } | StoreError::Full { .. }));
        plan.store(0, Ordering::SeqCst);
        for _ in 0..2 {
            assert!(matches!(spool.append_group(&[[record(3)]]), Err(StoreError::InDoubt { .. })));
        }
        assert_eq!(all(&spool), (0..3).map(record).collect::<Vec<_>>());
        drop(spool);
        let spool = open(dir.path());
        append(&spool, 3..5);
        assert_eq!(all(&spool), (0..5).map(record).collect::<Vec<_>>());
    }
}

#[test]
fn a_segment_whose_making_fails_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let plan = Arc::new(AtomicU8::new(0));
    let spool = failing(dir.path(), &plan);
    append(&spool, 0..12);
    assert_eq!(spool.end().segment(), 1);
    plan.store(5, Ordering::SeqCst);
    assert!(matches!(spool.append_group(&[[vec![1; 300]]]), Err(StoreError::Io { .. })));
    assert_eq!(spool.end().segment(), 1);
    plan.store(0, Ordering::SeqCst);
    assert_eq!(append(&spool, 12..30)[0].segment(), 2);
    drop(spool);
    assert_eq!(all(&open(dir.path())), (0..30).map(record).collect::<Vec<_>>());
}

#[test]
fn threads_append_read_and_delete_together() {
    const WRITERS: usize = 4;
    const GROUPS: usize = 30;
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), options().segment_bytes(2000)).unwrap();
    std::thread::scope(|scope| {
        let spool = &spool;
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for group in 0..GROUPS {
                    let records = [0, 1, 2].map(|i| [vec![writer as u8, group as u8, i, 1]]);
                    for (i, position) in spool.append_group(&records).unwrap().into_iter().enumerate() {
                        assert_eq!(spool.read(position).unwrap(), records[i][0]);
                    }
                }
            });
        }
        scope.spawn(move || {
            // Follows the appends until it has seen all, deleting what it has read.
            let mut seen = vec![Vec::new(); WRITERS];
            let mut next = spool.start();
            while seen.iter().map(Vec::len).sum::<usize>() < WRITERS * GROUPS * 3 {
                for entry in spool.read_range(next, Position::new(u32::MAX, 0)) {
                    let (position, payload) = entry.unwrap();
                    seen[payload[0] as usize].push((payload[1], payload[2]));
                    next = spool.next_after(position).unwrap();
                }
            }
            let expected: Vec<_> =
                (0..GROUPS as u8).flat_map(|group| [0, 1, 2].map(|i| (group, i))).collect();
            assert!(seen.iter().all(|records| *records == expected));
        });
    });
    let middle = Position::new(spool.end().segment(), 0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| spool.delete_before(middle).unwrap());
        }
        scope.spawn(|| append(&spool, 0..40));
    });
    assert!(spool.start().segment() >= middle.segment());
    let left = all(&spool);
    assert_eq!(left[left.len() - 40..], (0..40).map(record).collect::<Vec<_>>());
}
