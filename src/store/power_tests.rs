//! Loss of power on the real files of a store, at every sync of a scripted life.
//!
//! Of each file the content at its last sync is kept, and of each directory the names at its last sync. A loss of power
//! leaves these; in most variants also a part of what came later, since a system writes by itself: blocks of 512 or
//! 4,096 bytes, any of them, a length between the two, names that were made or removed. sled's files take part as they
//! are; what sled syncs by itself counts as later, except for its snapshots, which it syncs before it renames them.
//!
//! Failure: a store that does not open, or shows anything else than before or after the step in which the power went. No
//! failure: of an upload that was not answered, the first reports.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::damage_tests::{files, scratch};
use super::{Fault, Faults, FileOp, StoreError};

/// How many variants of each loss are tried, beside the one in which nothing but what was synced is left; more with the
/// environment's `ARRAS_POWER_VARIANTS`.
const VARIANTS: u64 = 2;

/// After one loss in so many, the power goes again while the store is opened.
const AGAIN_EVERY: u64 = 9;

/// A step of a store's life.
pub(crate) struct Step<S> {
    pub(crate) run: Box<dyn Fn(&S)>,
    /// Whether a client makes the call again when it has heard nothing: then a part of it may be there.
    pub(crate) again: bool,
}

impl<S> Step<S> {
    /// One decision: all of it or nothing.
    pub(crate) fn new(run: impl Fn(&S) + 'static) -> Self {
        Self { run: Box::new(run), again: false }
    }

    /// An upload.
    pub(crate) fn upload(run: impl Fn(&S) + 'static) -> Self {
        Self { run: Box::new(run), again: true }
    }
}

type Content = Arc<Vec<u8>>;

/// What a loss of power would find.
#[derive(Clone, Default)]
struct Picture {
    /// Contents at the last sync.
    synced: BTreeMap<PathBuf, Content>,
    /// Names at the last sync of each directory.
    names: BTreeMap<PathBuf, BTreeSet<OsString>>,
    /// Contents now; of removed files the last.
    latest: BTreeMap<PathBuf, Content>,
    /// Which of them are there now.
    present: BTreeSet<PathBuf>,
}

/// Hears of each sync of a store below a directory.
pub(crate) struct Recorder {
    root: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    picture: Picture,
    step: usize,
    moments: Vec<(usize, Picture)>,
}

impl Recorder {
    fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), inner: Mutex::default() }
    }

    /// For a store that has been found so after a loss of power: all of it is on the disk.
    fn of(root: &Path) -> Self {
        let recorder = Self::new(root);
        let mut inner = recorder.inner.lock().unwrap();
        inner.picture.note_names(root, Path::new(""));
        for (file, bytes) in files(root) {
            let content = Arc::new(bytes);
            inner.picture.synced.insert(file.clone(), Arc::clone(&content));
            inner.picture.latest.insert(file.clone(), content);
            inner.picture.present.insert(file);
        }
        drop(inner);
        recorder
    }

    fn take(&self) -> Vec<(usize, Picture)> {
        std::mem::take(&mut self.inner.lock().unwrap().moments)
    }
}

impl Faults for Recorder {
    fn before(&self, _: FileOp<'_>) -> Option<Fault> {
        None
    }

    fn after(&self, op: FileOp<'_>) {
        let mut inner = self.inner.lock().unwrap();
        if let FileOp::Link(path) = op {
            // Another name for what was synced under its first one.
            let name = path.strip_prefix(&self.root).unwrap();
            let first = name.with_file_name(format!("{}.new", name.file_name().unwrap().to_str().unwrap()));
            let content = inner.picture.synced.get(&first).cloned();
            inner.picture.synced.extend(content.map(|content| (name.to_owned(), content)));
        }
        let FileOp::Sync(path) = op else { return };
        // What lies outside was there before.
        let Ok(relative) = path.strip_prefix(&self.root).map(Path::to_owned) else { return };
        let now = files(&self.root);
        let picture = &mut inner.picture;
        picture.present = now.keys().cloned().collect();
        for (file, bytes) in now {
            // Most files are as they were.
            if picture.latest.get(&file).is_none_or(|known| **known != bytes) {
                picture.latest.insert(file, Arc::new(bytes));
            }
        }
        if path.is_dir() {
            let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            picture.names.insert(relative, names);
        } else {
            let content = Arc::clone(&picture.latest[&relative]);
            picture.synced.insert(relative, content);
        }
        let moment = (inner.step, inner.picture.clone());
        inner.moments.push(moment);
    }
}

/// Reproducible choices (splitmix64).
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// sled syncs a snapshot before it gives it its name.
fn is_snapshot(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name.starts_with("snap.") && !name.ends_with("generating")
}

impl Picture {
    /// Takes all names below a directory for synced.
    fn note_names(&mut self, root: &Path, dir: &Path) {
        let names: BTreeSet<OsString> =
            fs::read_dir(root.join(dir)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        for path in names.iter().map(|name| dir.join(name)) {
            if root.join(&path).is_dir() {
                self.note_names(root, &path);
            }
        }
        self.names.insert(dir.to_owned(), names);
    }

    /// Makes the files that a loss of power leaves. Without choices nothing but what was synced.
    fn restore(&self, root: &Path, choices: &mut Option<Choices>) {
        self.restore_dir(Path::new(""), root, choices);
    }

    fn restore_dir(&self, dir: &Path, root: &Path, choices: &mut Option<Choices>) {
        fs::create_dir_all(root.join(dir)).unwrap();
        let synced = self.names.get(dir).cloned().unwrap_or_default();
        let below = self.present.iter().filter_map(|path| path.strip_prefix(dir).ok());
        let now: BTreeSet<OsString> = below
            .filter_map(|path| path.components().next())
            .map(|name| name.as_os_str().to_owned())
            .collect();
        let mut names = BTreeSet::new();
        for name in synced.union(&now) {
            let sure = synced.contains(name) && now.contains(name);
            let there = match choices {
                Some(choices) if !sure => choices.below(2) == 0,
                _ => synced.contains(name),
            };
            if there {
                names.insert(name);
            }
        }
        for name in names {
            let path = dir.join(name);
            match self.latest.get(&path) {
                Some(latest) => fs::write(root.join(&path), self.content(&path, latest, choices)).unwrap(),
                None => self.restore_dir(&path, root, choices),
            }
        }
    }

    fn content(&self, path: &Path, latest: &Content, choices: &mut Option<Choices>) -> Vec<u8> {
        let synced = self.synced.get(path).map_or(&[][..], |content| content);
        if is_snapshot(path) {
            return latest.to_vec();
        }
        let Some(choices) = choices else { return synced.to_vec() };
        let block = [512, 4096][choices.below(2)];
        let written = [1, 5, 9, 10][choices.below(4)];
        let len = match choices.below(3) {
            0 => synced.len(),
            1 => latest.len(),
            _ => {
                let (short, long) = (synced.len().min(latest.len()), synced.len().max(latest.len()));
                short + (choices.below(long - short + 1) / block) * block
            }
        };
        let mut content = synced.to_vec();
        content.resize(len, 0);
        for start in (0..len.min(latest.len())).step_by(block) {
            let end = (start + block).min(len).min(latest.len());
            if content[start..end] != latest[start..end] && choices.below(10) < written {
                content[start..end].copy_from_slice(&latest[start..end]);
            }
        }
        content
    }
}

/// Lives a life, and cuts the power at each sync; of some of these losses, once more at each sync of the opening that
/// follows. `view` shows all that was acknowledged; it changes nothing.
pub(crate) fn cut_power_everywhere<S>(
    open: impl Fn(&Path, Option<Arc<dyn Faults>>) -> Result<S, StoreError>,
    steps: &[Step<S>],
    view: impl Fn(&S) -> Result<String, StoreError>,
) {
    let home = scratch();
    let recorder = Arc::new(Recorder::new(home.path()));
    let store = open(home.path(), Some(Arc::<Recorder>::clone(&recorder))).unwrap();
    let mut views = vec![view(&store).unwrap()];
    for (number, step) in steps.iter().enumerate() {
        recorder.inner.lock().unwrap().step = number + 1;
        (step.run)(&store);
        views.push(view(&store).unwrap());
    }
    drop(store);
    let moments = recorder.take();
    assert!(moments.len() > steps.len(), "syncs are not heard of");
    let accept = |left: &Path, step: usize, context: &str| {
        let store = open(left, None).unwrap_or_else(|error| panic!("{context}: {error}"));
        let found = view(&store).unwrap_or_else(|error| panic!("{context}: {error}"));
        // Step 0 is the opening: what a new store shows.
        if found == views[step.saturating_sub(1)] || found == views[step] {
            return;
        }
        let again = step.checked_sub(1).map(|step| &steps[step]).filter(|step| step.again);
        let again = again.unwrap_or_else(|| panic!("{context}: neither before nor after: {found}"));
        (again.run)(&store);
        assert_eq!(view(&store).unwrap(), views[step], "{context}: made again");
    };
    let variants = std::env::var("ARRAS_POWER_VARIANTS").ok().and_then(|text| text.parse().ok());
    for (number, (step, picture)) in moments.iter().enumerate() {
        for variant in 0..=variants.unwrap_or(VARIANTS) {
            let seed = (number as u64) << 32 | variant;
            let lose = || {
                let left = scratch();
                picture.restore(left.path(), &mut (variant > 0).then_some(Choices(seed)));
                left
            };
            let context = format!("power lost after sync {number}, in step {step}, variant {variant}");
            accept(lose().path(), *step, &context);
            if variant == 0 || !(number as u64 + variant).is_multiple_of(AGAIN_EVERY) {
                continue;
            }
            let left = lose();
            let recorder = Arc::new(Recorder::of(left.path()));
            drop(open(left.path(), Some(Arc::<Recorder>::clone(&recorder))).unwrap());
            for (second, (_, picture)) in recorder.take().iter().enumerate() {
                let left = scratch();
                picture.restore(left.path(), &mut (second % 3 > 0).then_some(Choices(seed)));
                accept(
                    left.path(),
                    *step,
                    &format!("{context}, and again after sync {second} of the opening"),
                );
            }
        }
    }
}
