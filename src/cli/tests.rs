//! What the documents say to type is what the command line takes.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

/// What stands in documents for what a reader puts there, where the command line looks at the value.
const PLACEHOLDERS: [(&str, &str); 6] = [
    ("ID", "KmrLbwY22Fa5hG0kwzTbvIgpTBfsehLXtKmgJxqrklk"),
    ("$ID", "KmrLbwY22Fa5hG0kwzTbvIgpTBfsehLXtKmgJxqrklk"),
    ("$FROM", "1793577600"),
    ("$TO", "1793581200"),
    ("N", "1"),
    ("...", ""),
];

/// Options of other programs that documents name alone.
const OTHERS: [&str; 1] = ["--features"];

/// Fewer commands than this mean that they are not found.
const COMMANDS_MIN: (usize, usize) = (20, 40);

/// Every document of the repository.
fn documents() -> Vec<(String, String)> {
    fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    for folder in ["docs", "examples", "benches", "client", "protocol", "tests"] {
        collect(&root.join(folder), &mut found);
    }
    found.sort();
    let name = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The words of a command as a shell would hand them over; what comes after it is no part of it.
fn words(command: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in command.split_whitespace() {
        if matches!(word, "&" | ">" | "|" | "&&") || word.starts_with('#') {
            break;
        }
        // FILE... stands for several.
        let (word, ends) = match word.strip_suffix(')') {
            Some(inside) if !inside.contains('(') => (inside, true),
            _ => (word, false),
        };
        let word = word.trim_end_matches("...").trim_matches(['\'', '"']);
        let known = PLACEHOLDERS.iter().find(|(name, _)| *name == word);
        let word = known.map_or(word, |(_, value)| value);
        if !word.is_empty() {
            words.push(word.to_owned());
        }
        if ends {
            break;
        }
    }
    words
}

/// The commands of a document: whole ones, from its blocks of code, and those that prose names, which may leave out what is
/// required.
fn commands(text: &str) -> (Vec<String>, Vec<String>) {
    let begins = |line: &str| {
        let line = line.trim().trim_start_matches("$ ");
        let line = line.split_once("=$(").map_or(line, |(_, command)| command);
        let ran = line.strip_prefix("cargo run --release -- ").map(|rest| format!("arras {rest}"));
        ran.or_else(|| line.starts_with("arras ").then(|| line.to_owned()))
    };
    // A name alone is none, nor an arrow between names.
    let is_command = |span: &str| {
        let mut words = span.split_whitespace();
        words.next() == Some("arras") && words.next().is_some_and(|word| word != "->")
    };
    let (mut whole, mut named) = (Vec::new(), Vec::new());
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 1 {
            let joined = part.replace("\\\n", " ");
            whole.extend(joined.lines().filter_map(begins));
        } else {
            let spans = part.split('`').skip(1).step_by(2);
            named.extend(spans.filter(|span| is_command(span)).map(str::to_owned));
            // Blocks are indented in places.
            let indented = part.lines().filter(|line| line.starts_with("    arras "));
            whole.extend(indented.filter_map(begins));
        }
    }
    (whole, named)
}

/// Why the command line would not take it; `whole` if nothing that is required may be missing.
fn refusal(command: &str, whole: bool) -> Option<String> {
    let error = Cli::try_parse_from(words(command)).err()?;
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let is_part = matches!(
        error.kind(),
        ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    (!is_help && (whole || !is_part)).then(|| error.to_string())
}

/// Long options that any command has.
fn options(command: &clap::Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long());
    let own = own.map(|name| format!("--{name}"));
    own.chain(command.get_subcommands().flat_map(options)).collect()
}

/// The README named a command that took one file where it gave several, and a test that looked for the names of options
/// alone did not see it.
#[test]
fn every_command_of_the_documents_is_taken() {
    let (mut wrong, mut found) = (Vec::new(), (0, 0));
    for (name, text) in documents() {
        let (whole, named) = commands(&text);
        found = (found.0 + whole.len(), found.1 + named.len());
        let all = whole.iter().map(|one| (one, true)).chain(named.iter().map(|one| (one, false)));
        for (command, is_whole) in all {
            if let Some(why) = refusal(command, is_whole) {
                wrong.push(format!("{name}: {command}\n{why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found.0 >= COMMANDS_MIN.0 && found.1 >= COMMANDS_MIN.1, "only {found:?} commands found");
}

/// Options that prose names without their command are some command's; whose it means cannot be told.
#[test]
fn every_option_that_is_named_alone_exists() {
    let mut command = Cli::command();
    // Adds help and version.
    command.build();
    let options = options(&command);
    let (mut wrong, mut found) = (Vec::new(), 0);
    for (name, text) in documents() {
        let prose = text.split("```").step_by(2).flat_map(|part| part.split('`').skip(1).step_by(2));
        for span in prose.filter(|span| span.starts_with("--")) {
            found += 1;
            let option = span.split([' ', '=']).next().unwrap_or_default();
            if !OTHERS.contains(&option) && !options.iter().any(|known| known == option) {
                wrong.push(format!("{name}: {span}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found >= 10, "only {found} options found");
}

/// The tests above find what they look for, and refuse what is wrong.
#[test]
fn wrong_commands_are_seen() {
    let text = "`arras task add` and `other`\n```sh\n$ arras serve \\\n  --config FILE &   # so\nKEY=$(arras check --config a)\n```\n";
    let (whole, named) = commands(text);
    assert_eq!(whole, ["arras serve    --config FILE &   # so", "arras check --config a)"]);
    assert_eq!(named, ["arras task add"]);
    assert_eq!(words(&whole[0]), ["arras", "serve", "--config", "FILE"]);
    assert_eq!(words(&whole[1]), ["arras", "check", "--config", "a"]);
    for (command, is_whole) in [
        ("arras serv", false),
        ("arras check --json", false),
        ("arras task drop", false),
        ("arras collect --task not-an-id", false),
        ("arras task add --config FILE", true),
        ("arras check --config FILE more", true),
    ] {
        assert!(refusal(command, is_whole).is_some(), "{command}");
    }
    assert_eq!(refusal("arras task add", false), None);
    assert_eq!(refusal("arras task add a.toml b.toml --config FILE", true), None);
}
