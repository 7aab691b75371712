//! The repository's own rules, held against its source files. A rule that cannot be told from a line's text is not
//! here but in review.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A longer file is about more than one thing.
const FILE_LINES_MAX: usize = 800;

/// A longer function does more than one thing. Tests are exempt: their steps are one story.
const FUNCTION_LINES_MAX: usize = 70;

/// Fewer files than this mean that the search looked in the wrong place.
const FILES_MIN: usize = 100;

/// What a comment says above a call that would panic.
const REASONS: [&str; 3] = ["cannot", "always", "checked"];

/// Unfinished work. In pieces, or this file would break its own rule.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("unimplemented", "!"),
    concat!("todo", "!"),
];

/// Files that use a module above their own, each of it a few names; ARCHITECTURE.md says which.
const UPWARDS: [(&str, &str); 3] =
    [("src/privacy/gate.rs", "store"), ("src/net/auth.rs", "config"), ("src/config/loopback.rs", "service")];

struct Source {
    /// Relative to the repository.
    path: String,
    lines: Vec<String>,
    /// The first line that only tests compile; all of a test file is.
    tests_from: usize,
}

impl Source {
    fn read(root: &Path, path: &Path) -> Self {
        let lines: Vec<String> = fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
        let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let is_test = |part: &str| {
            let name = part.trim_end_matches(".rs");
            matches!(name, "tests" | "benches" | "fixture") || name.ends_with("_tests")
        };
        let tests_from = if path.split('/').any(is_test) { 0 } else { first_of_tests(&lines) };
        Self { path, lines, tests_from }
    }

    /// Whether users' code comes after the tests' module, where no rule would see it.
    fn goes_on_after_tests(&self) -> bool {
        let tests = self.lines.iter().skip(self.tests_from);
        self.tests_from > 0
            && tests.skip_while(|line| *line != "}").skip(1).any(|line| !line.trim().is_empty())
    }

    /// The lines of code that a build for users holds, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.lines[..self.tests_from].iter().map(String::as_str);
        (1..).zip(lines).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// First lines and lengths of the functions outside of tests. A function ends where rustfmt puts its
    /// closing brace: at the indentation of its beginning.
    fn functions(&self) -> impl Iterator<Item = (usize, usize)> {
        self.code().filter(|(_, line)| is_function(line)).filter_map(|(first, line)| {
            if line.trim_end().ends_with(['}', ';']) {
                return Some((first, 1));
            }
            let indentation = &line[..line.len() - line.trim_start().len()];
            let end = format!("{indentation}}}");
            // In a trait, a declaration over several lines has no body.
            let declared = format!("{indentation})");
            for (length, line) in (1..).zip(&self.lines[first - 1..]) {
                if *line == end || (line.starts_with(&declared) && line.ends_with(';')) {
                    return Some((first, length));
                }
            }
            None
        })
    }
}

/// The line with which a module of tests begins inside of a file, or the end.
fn first_of_tests(lines: &[String]) -> usize {
    let begins = |pair: &[String]| {
        let (attribute, item) = (pair[0].trim(), pair[1].trim());
        (attribute.starts_with("#[cfg(test)]") || attribute.starts_with("#[cfg(all(test"))
            && item.starts_with("mod ")
            && item.ends_with('{')
    };
    lines.windows(2).position(begins).unwrap_or(lines.len())
}

/// Whether a function begins here: before `fn` stand only its visibility and qualifiers.
fn is_function(line: &str) -> bool {
    let before = line.split_whitespace().take_while(|word| *word != "fn");
    let all = before.clone().all(|word| word.starts_with("pub") || matches!(word, "const" | "async"));
    all && before.count() < line.split_whitespace().count()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources() -> Vec<Source> {
    fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    for part in ["src", "protocol", "client", "tests", "benches"] {
        collect(&root.join(part), &mut found);
    }
    assert!(found.len() >= FILES_MIN, "only {} source files found", found.len());
    found.sort();
    found.iter().map(|path| Source::read(&root, path)).collect()
}

/// Fails with all places at once.
fn none(rule: &str, places: &[String]) {
    assert!(places.is_empty(), "{rule}:\n  {}", places.join("\n  "));
}

fn place(source: &Source, line: usize, what: &str) -> String {
    format!("{}:{line}: {}", source.path, what.trim())
}

/// Places in any line of any file, tests included, for which `wrong` holds.
fn anywhere(sources: &[Source], wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = sources
        .iter()
        .flat_map(|source| (1..).zip(&source.lines).map(move |(number, line)| (source, number, line)));
    lines.filter(|(.., line)| wrong(line)).map(|(source, number, line)| place(source, number, line)).collect()
}

/// Places in code for users for which `wrong` holds.
fn in_code(sources: &[Source], wrong: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let lines =
        sources.iter().flat_map(|source| source.code().map(move |(number, line)| (source, number, line)));
    lines
        .filter(|(source, _, line)| wrong(source, line))
        .map(|(source, number, line)| place(source, number, line))
        .collect()
}

/// The files in which `wanted` holds for a line of code for users.
fn files_where(sources: &[Source], wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let holds = |source: &&Source| source.code().any(|(_, line)| wanted(line));
    sources.iter().filter(holds).map(|source| source.path.clone()).collect()
}

/// Whether a line names something, called or not: a function can be handed to `map` by its name alone. The name is
/// whole at its end, and at its beginning unless that is punctuation.
fn mentions(line: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back().filter(|_| name.starts_with(part));
        let after = line[at + name.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[test]
fn sources_are_short_ascii_and_finished() {
    let sources = sources();
    none("characters beyond ASCII", &anywhere(&sources, |line| !line.is_ascii()));
    none("unfinished", &anywhere(&sources, |line| UNFINISHED.iter().any(|word| line.contains(word))));
    let long_files: Vec<_> = sources
        .iter()
        .filter(|source| source.lines.len() > FILE_LINES_MAX)
        .map(|source| place(source, source.lines.len(), "too long"))
        .collect();
    none("files", &long_files);
    let mut functions = 0;
    let mut long = Vec::new();
    for source in &sources {
        for (first, length) in source.functions() {
            functions += 1;
            if length > FUNCTION_LINES_MAX {
                long.push(place(source, first, &format!("{length} lines")));
            }
        }
    }
    assert!(functions > 500, "only {functions} functions found");
    none("functions", &long);
}

/// The rules end where a file's tests begin, also the one that noise is added in one place: code that came after them could
/// do anything.
#[test]
fn tests_are_the_end_of_their_file() {
    let sources = sources();
    let inside = sources.iter().filter(|source| (1..source.lines.len()).contains(&source.tests_from));
    assert!(inside.count() > 20, "tests inside of files are not found");
    let more = sources.iter().filter(|source| source.goes_on_after_tests());
    none("code after tests", &more.map(|source| source.path.clone()).collect::<Vec<_>>());
}

#[test]
fn code_does_not_panic_without_a_reason_and_prints_through_its_caller() {
    let sources = sources();
    let unexplained: Vec<_> = sources
        .iter()
        .flat_map(|source| {
            let panics = source.code().filter(|(_, line)| {
                [".unwrap()", ".expect(", ".unwrap_err()", ".expect_err("]
                    .iter()
                    .any(|call| line.contains(call))
            });
            let unexplained = panics.filter(|(number, _)| {
                let above = number.checked_sub(2).map_or("", |above| source.lines[above].trim_start());
                let above = above.to_lowercase();
                !(above.starts_with("//") && REASONS.iter().any(|reason| above.contains(reason)))
            });
            unexplained.map(|(number, line)| place(source, number, line)).collect::<Vec<_>>()
        })
        .collect();
    none("no comment directly above says why it cannot fail", &unexplained);
    // The command line writes to what it is given, too.
    none("printing", &in_code(&sources, |_, line| line.contains("println!") || line.contains("print!(")));
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let sources = sources();
    let is_root = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        matches!(name, "lib.rs" | "main.rs") || path.matches('/').count() == 1 && path.starts_with("benches/")
    };
    let roots: Vec<_> = sources.iter().filter(|source| is_root(&source.path)).collect();
    assert!(roots.len() >= 6, "crate roots are not found");
    let without: Vec<_> = roots
        .iter()
        .filter(|source| !source.lines.iter().any(|line| line == "#![forbid(unsafe_code)]"))
        .map(|source| source.path.clone())
        .collect();
    none("without #![forbid(unsafe_code)]", &without);
}

/// What leaves an aggregator goes through the gate, and the proofs that it asks for come from a committed
/// transaction.
#[test]
fn noise_is_added_and_proofs_are_made_in_one_place() {
    let sources = sources();
    let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<BTreeSet<_>>();
    // The second is where it is defined.
    assert_eq!(
        files_where(&sources, |line| mentions(line, "add_noise")),
        set(&["protocol/src/vdaf/share.rs", "src/privacy/gate.rs"])
    );
    let in_share = in_code(&sources, |source, line| {
        source.path == "protocol/src/vdaf/share.rs" && mentions(line, "add_noise") && !line.contains("pub fn")
    });
    none("uses beside the gate", &in_share);
    for made in [".committed", "::committed", "Releasable::new"] {
        let (inside, found) = (set(&["src/store/aggregator/collect.rs"]), |line: &str| mentions(line, made));
        assert!(files_where(&sources, found).is_subset(&inside), "{made}");
    }
    // They are found where they are, or the searches above are for names that nothing has.
    assert!(!files_where(&sources, |line| mentions(line, ".committed")).is_empty());
    assert!(!files_where(&sources, |line| mentions(line, "Releasable::new")).is_empty());
    let floats = in_code(&sources, |source, line| {
        let exact = ["gate", "ledger", "noise", "threshold"].map(|name| format!("src/privacy/{name}.rs"));
        exact.contains(&source.path) && (line.contains("f64") || line.contains("f32"))
    });
    none("floating point where noise and budgets are exact", &floats);
}

/// The modules of the service in the order of ARCHITECTURE.md's map, from those who use to those who are used.
fn modules_of_the_map() -> Vec<String> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let lines = text.lines().skip_while(|line| !line.starts_with("src/ ")).skip(1);
    let names =
        lines.take_while(|line| line.starts_with("  ")).map(|line| line.split_whitespace().next().unwrap());
    names.map(|name| name.trim_end_matches('/').trim_end_matches(".rs").to_owned()).collect()
}

/// The module of the service that a file is of or is; none for the crate's roots.
fn module_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("src/")?.split('/').next()?.trim_end_matches(".rs");
    (!matches!(name, "lib" | "main")).then_some(name)
}

/// The modules that a line names from the crate's root; an empty name for several in braces.
fn modules_used(line: &str) -> impl Iterator<Item = &str> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let named = line.match_indices("crate::").filter(move |(at, _)| !line[..*at].ends_with(part));
    named.map(move |(at, root)| {
        let rest = &line[at + root.len()..];
        &rest[..rest.find(|c| !part(c)).unwrap_or(rest.len())]
    })
}

/// Whether a line of a file goes up to the crate's root by `super`, past the search above.
fn leaves_by_super(path: &str, line: &str) -> bool {
    let depth = path.trim_end_matches("/mod.rs").matches('/').count();
    line.contains(&"super::".repeat(depth))
}

#[test]
fn modules_use_those_below_them_in_the_map() {
    let map = modules_of_the_map();
    let rank = |module: &str| map.iter().position(|name| name == module);
    let sources = sources();
    let (mut there, mut upwards, mut wrong) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for source in &sources {
        let Some(own) = module_of(&source.path) else { continue };
        there.insert(own.to_owned());
        for (number, line) in source.code() {
            for used in modules_used(line) {
                match UPWARDS.iter().find(|known| **known == (source.path.as_str(), used)) {
                    Some(known) => _ = upwards.insert(known),
                    None if rank(used).is_some() && rank(own) <= rank(used) => {}
                    None => wrong.push(place(source, number, line)),
                }
            }
            if leaves_by_super(&source.path, line) {
                wrong.push(place(source, number, line));
            }
        }
    }
    assert_eq!(there, map.iter().cloned().collect(), "the map has what there is, each once");
    assert_eq!(there.len(), map.len());
    none("not a module below in the map of ARCHITECTURE.md", &wrong);
    assert_eq!(upwards.len(), UPWARDS.len(), "no longer used upwards: {upwards:?}");
}

/// What a section of the threat model names as `file.rs: test`, and as `test` in a list after that: the same file's.
fn tests_named(section: &str) -> Vec<(String, String)> {
    let mut named: Vec<(String, String)> = Vec::new();
    let mut parts = section.split('`');
    // Text and names in backticks take turns.
    let mut listed = false;
    while let (Some(text), Some(span)) = (parts.next(), parts.next()) {
        let goes_on = listed && text.trim() == ",";
        let mut words = span.split_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next());
        listed = true;
        match (first.strip_suffix(".rs:"), second, named.last()) {
            (Some(path), Some(test), _) => named.push((format!("{path}.rs"), test.to_owned())),
            (_, None, Some((file, _))) if goes_on && !first.contains('.') => {
                named.push((file.clone(), first.to_owned()));
            }
            _ => listed = false,
        }
    }
    named
}

/// Names in a document are not compiled: this is what keeps them true.
#[test]
fn every_attack_ends_in_a_test_or_is_not_defended() {
    let model = fs::read_to_string(root().join("threat-model.md")).unwrap();
    let (mut count, mut wrong) = (0, Vec::new());
    for section in model.split("\n### ").skip(1) {
        count += 1;
        let section = section.split("\n## ").next().unwrap_or_default();
        let heading = section.lines().next().unwrap_or_default();
        let named = tests_named(section);
        let words = section.split_whitespace().collect::<Vec<_>>().join(" ");
        if named.is_empty() && !words.contains("**Not defended") && !words.contains("**Known gap**") {
            wrong.push(format!("{heading}: neither a test nor \"Not defended\""));
        }
        for (file, test) in named {
            let text = fs::read_to_string(root().join(&file)).unwrap_or_default();
            let is_there = text.lines().any(|line| {
                let name = line.trim().trim_start_matches("async ").strip_prefix("fn ");
                name.is_some_and(|name| name.strip_prefix(&test).is_some_and(|rest| rest.starts_with('(')))
            });
            if !is_there {
                wrong.push(format!("{heading}: {file} has no {test}"));
            }
        }
    }
    assert!(count > 50, "only {count} attacks found");
    none("the threat model", &wrong);
}

/// How k reports of a device were told of: by windows, which devices do not know. In pieces, or this file would break its own
/// rule.
const BY_WINDOWS: [&str; 5] = [
    concat!("of one device in one ", "batch window"),
    concat!("to this task in one ", "batch window"),
    concat!("one device may send in one ", "window"),
    concat!("one device may report in a ", "window"),
    concat!("a device may send {} to a ", "window"),
];

/// The wire format, the API and what a task says of itself had k reports to a window, while clients keep to k in any 7 days: an
/// advertiser with daily windows read "one a day" and got one a week, and a client made by the README broke the unit.
#[test]
fn reports_of_a_device_are_counted_over_any_seven_days_wherever_they_are_told_of() {
    let mut texts: Vec<(String, String)> =
        sources().iter().map(|source| (source.path.clone(), source.lines.join("\n"))).collect();
    for path in ["protocol/README.md", "docs/openapi.json", "docs/privacy.md", "examples/conversions.toml"] {
        texts.push((path.to_owned(), fs::read_to_string(root().join(path)).unwrap()));
    }
    let flowing = |text: &str| {
        let words = text.split_whitespace().filter(|word| !matches!(*word, "//" | "///" | "//!" | "\\"));
        words.collect::<Vec<_>>().join(" ")
    };
    let mut wrong = Vec::new();
    let mut right = 0;
    for (path, text) in texts {
        let text = flowing(&text);
        wrong.extend(
            BY_WINDOWS
                .iter()
                .filter(|phrase| text.contains(**phrase))
                .map(|phrase| format!("{path}: {phrase}")),
        );
        right += usize::from(text.contains("in any 7 days"));
    }
    assert!(right > 10, "only {right} files say it rightly");
    none("reports of a device, counted by windows", &wrong);
}

/// The rules above are searches; this is what they must find.
#[test]
fn the_searches_find_what_they_look_for() {
    let source = |text: &str| {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let tests_from = first_of_tests(&lines);
        Source { path: "src/x.rs".to_owned(), lines, tests_from }
    };
    let text = "impl X {\n    pub(crate) async fn f<T>(\n        &self,\n    ) -> T {\n        1\n    }\n}\n\
                fn short() {}\nlet x = f(fn_y);\n";
    assert_eq!(source(text).functions().collect::<Vec<_>>(), [(2, 5), (8, 1)]);
    let declared = "trait X {\n    fn f(\n        &self,\n    ) -> T;\n    fn g(&self);\n}\n";
    assert_eq!(source(declared).functions().collect::<Vec<_>>(), [(2, 3), (5, 1)]);
    // Noise could be added past the gate by naming the function without calling it there.
    for line in ["share.add_noise(&x)", ".map(AggregateShare::add_noise)", "use a::{add_noise};", "add_noise"]
    {
        assert!(mentions(line, "add_noise"), "{line}");
    }
    assert!(!mentions("add_noise_late(x)", "add_noise") && !mentions("my_add_noise", "add_noise"));
    assert!(
        mentions(".map(Admission::committed)", "::committed") && mentions("a.committed (x)", ".committed")
    );
    assert!(!mentions("let committed = 1;", ".committed"));
    let section = "Tests: `a/b.rs: one_two`,\n`it_is_so`, `c.rs:\nthree` and `d.rs`, `no_test`.";
    let named = [("a/b.rs", "one_two"), ("a/b.rs", "it_is_so"), ("c.rs", "three")];
    let named = named.map(|(file, test)| (file.to_owned(), test.to_owned()));
    assert_eq!(tests_named(section), named);
    let used = "use crate::a_b::{c, d}; xcrate::no::e(crate::f::g(), crate::{h, i})";
    assert_eq!(modules_used(used).collect::<Vec<_>>(), ["a_b", "f", ""]);
    assert_eq!(module_of("src/a/b/mod.rs"), Some("a"));
    assert_eq!(
        (module_of("src/a.rs"), module_of("src/lib.rs"), module_of("tests/a.rs")),
        (Some("a"), None, None)
    );
    let left =
        [("src/a.rs", 1), ("src/a/mod.rs", 1), ("src/a/b.rs", 2), ("src/a/b/mod.rs", 2), ("src/a/b/c.rs", 3)];
    for (path, supers) in left {
        let line = |count| format!("use {}x;", "super::".repeat(count));
        assert!(leaves_by_super(path, &line(supers)) && !leaves_by_super(path, &line(supers - 1)), "{path}");
    }
    let tests = "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn t() {\n    }\n}\n";
    assert!(!source(tests).goes_on_after_tests() && !source("fn f() {\n}\n").goes_on_after_tests());
    assert!(source(&format!("{tests}\nuse a::b;\n")).goes_on_after_tests());
    let commented = source("// x.unwrap()\nx.unwrap();\n");
    assert_eq!(commented.code().collect::<Vec<_>>(), [(2, "x.unwrap();")]);
}
