//! Damage to the real files of a store, one at a time: cut short, bits flipped, a tail that does not belong, a file
//! missing, an older copy of a file in its place, a file too many.
//!
//! Failure: a store that opens with anything else than what was acknowledged before, a panic, a call that does not
//! return, memory beyond any that a store needs, an error that does not say what to do. No failure: a store that is
//! refused, at opening or when what is damaged is read, with an error of a kind that the runbook explains.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::StoreError;

/// How many places of a file are cut or changed; more with the environment's `ARRAS_DAMAGE_PLACES`.
const PLACES: usize = 8;

/// Address space of a process that opens damaged stores, in bytes: threads and their stacks, and no buffer whose
/// size was read from a damaged place.
const ADDRESS_SPACE_MAX: u64 = 3 << 30;

/// How long a process that opens damaged stores may take for one of them.
const PATIENCE: Duration = Duration::from_secs(120);

/// Names the test that a child process is to run.
const CHILD: &str = "ARRAS_TEST_DAMAGE";

/// Where a child process says which store it opens next.
const PROGRESS: &str = "ARRAS_TEST_PROGRESS";

/// A directory, in memory if there is room: thousands of stores are opened, each with several syncs, and what a sync is
/// worth is not what these tests find out.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    if free > 1 << 30 { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// The files below a directory, by their paths relative to it.
pub(crate) fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn collect(root: &Path, dir: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, found);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(dir, dir, &mut found);
    found
}

/// Makes files below a directory.
pub(crate) fn put_files(dir: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// What a file is replaced by; `None` removes it.
struct Case {
    name: String,
    file: PathBuf,
    bytes: Option<Vec<u8>>,
}

fn places() -> usize {
    std::env::var("ARRAS_DAMAGE_PLACES").ok().and_then(|text| text.parse().ok()).unwrap_or(PLACES)
}

fn spread(len: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |i| (2 * i + 1) * len / (2 * count))
}

/// Where the frames of a segment end.
fn frame_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![40];
    while let Some(header) = bytes.get(*ends.last().unwrap()..).and_then(<[u8]>::first_chunk::<4>) {
        ends.push(ends.last().unwrap() + 16 + u32::from_be_bytes(*header) as usize);
    }
    ends
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "seg")
}

/// Every damage to one file.
fn damages(file: &Path, bytes: &[u8], add: &mut impl FnMut(&str, &Path, Option<Vec<u8>>)) {
    let (len, places) = (bytes.len(), places());
    add("is missing", file, None);
    for tail in [&[0xA5; 30][..], &[0; 5000], &bytes[len.saturating_sub(100)..]] {
        add(&format!("has a tail of {} bytes", tail.len()), file, Some([bytes, tail].concat()));
    }
    if len == 0 {
        return;
    }
    let ends = if is_segment(file) { frame_ends(bytes) } else { Vec::new() };
    let ends = spread(ends.len(), places.min(ends.len())).map(|index| ends[index]);
    for cut in [0, 1, len - 1].into_iter().chain(spread(len, places)).chain(ends).filter(|cut| *cut < len) {
        add(&format!("is cut at {cut}"), file, Some(bytes[..cut].to_vec()));
    }
    // Zeros mean nothing in most places of sled's files.
    let used: Vec<usize> = (0..len).filter(|at| bytes[*at] != 0).collect();
    let in_header = spread(len.min(60), places);
    for at in in_header.chain(spread(used.len(), 2 * places).map(|index| used[index])).chain([len - 1]) {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        add(&format!("has a bit flipped at {at}"), file, Some(flipped));
    }
}

/// Files that do not belong: segments under other numbers, and those of other folders.
fn strangers(now: &BTreeMap<PathBuf, Vec<u8>>, add: &mut impl FnMut(&str, &Path, Option<Vec<u8>>)) {
    let segments: Vec<_> = now.iter().filter(|(path, _)| is_segment(path)).collect();
    for (path, bytes) in &segments {
        let number: u32 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        for other in [0, number + 1, number + 7] {
            let place = path.with_file_name(format!("{other:08}.seg"));
            if !now.contains_key(&place) {
                add(&format!("is a copy of {}", path.display()), &place, Some((*bytes).clone()));
            }
        }
        for (stranger, bytes) in &segments {
            if stranger.file_name() == path.file_name() && stranger != path {
                add(&format!("is {}", stranger.display()), path, Some((*bytes).clone()));
            }
        }
        add("is too many", &path.with_extension("seg.old"), Some((*bytes).clone()));
    }
}

/// Opens every damaged form of the store whose files are `now`. `older` are its files at earlier moments. `view` opens
/// the store at a place and shows all that was acknowledged.
pub(crate) fn damage_everything(
    now: &BTreeMap<PathBuf, Vec<u8>>,
    older: &[BTreeMap<PathBuf, Vec<u8>>],
    view: impl Fn(&Path) -> Result<String, StoreError>,
) {
    let mut cases = Vec::new();
    let mut add = |name: &str, file: &Path, bytes: Option<Vec<u8>>| {
        cases.push(Case { name: format!("{} {name}", file.display()), file: file.to_owned(), bytes });
    };
    for (file, bytes) in now {
        damages(file, bytes, &mut add);
    }
    strangers(now, &mut add);
    for (moment, files) in older.iter().enumerate() {
        for (file, bytes) in files.iter().filter(|(file, bytes)| now.get(*file) != Some(bytes)) {
            add(&format!("is as at moment {moment}"), file, Some(bytes.clone()));
        }
    }
    let whole = scratch();
    put_files(whole.path(), now);
    let expected = view(whole.path()).unwrap();
    let (mut opened, mut refused) = (0, 0);
    for case in cases {
        progress(&case.name);
        let place = scratch();
        put_files(place.path(), now);
        match &case.bytes {
            Some(bytes) => put_files(place.path(), &BTreeMap::from([(case.file.clone(), bytes.clone())])),
            None => fs::remove_file(place.path().join(&case.file)).unwrap(),
        }
        match catch_unwind(AssertUnwindSafe(|| view(place.path()))) {
            Ok(Ok(found)) => {
                assert_eq!(found, expected, "{}: opened with something else", case.name);
                opened += 1;
            }
            Ok(Err(error)) => {
                assert!(says_what_to_do(&error), "{}: {error}", case.name);
                refused += 1;
            }
            Err(panic) => panic!("{}: a panic: {:?}", case.name, panic.downcast_ref::<String>()),
        }
    }
    assert!(opened > 10 && refused > 50, "{opened} opened, {refused} refused: the damage does nothing");
}

/// The kinds of errors that damage may lead to; each has its row in the runbook.
fn says_what_to_do(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::BehindWatermark { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Engine(_)
            | StoreError::Io { .. }
            | StoreError::MissingWatermark { .. }
            | StoreError::WrongStore { .. }
    )
}

fn progress(case: &str) {
    if let Some(path) = std::env::var_os(PROGRESS) {
        fs::write(path, case).unwrap();
    }
}

/// Runs a test's work in a process of its own, with bounded memory, and gives up when one case takes too long. `test`
/// is the name of the test that calls.
pub(crate) fn in_bounds(test: &str, work: impl FnOnce()) {
    if std::env::var(CHILD).is_ok_and(|name| name == test) {
        let limit = Rlimit { current: Some(ADDRESS_SPACE_MAX), maximum: Some(ADDRESS_SPACE_MAX) };
        setrlimit(Resource::As, limit).unwrap();
        return work();
    }
    let dir = tempfile::tempdir().unwrap();
    let (log, case) = (dir.path().join("log"), dir.path().join("case"));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads", "1", "--nocapture"])
        .env(CHILD, test)
        .env(PROGRESS, &case)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&log).unwrap())
        .stderr(fs::File::options().append(true).open(&log).unwrap())
        .spawn()
        .unwrap();
    let (mut last, mut since) = (String::new(), Instant::now());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        let now = fs::read_to_string(&case).unwrap_or_default();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let log = fs::read_to_string(&log).unwrap_or_default();
    let log = &log[log.len().saturating_sub(4000)..];
    match status {
        Some(status) if status.success() => {
            assert!(log.contains("1 passed"), "the test {test} was not found");
        }
        Some(status) => panic!("{status} at: {}\n{log}", fs::read_to_string(&case).unwrap_or_default()),
        None => panic!("no end at: {last}\n{log}"),
    }
}
