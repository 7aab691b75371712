//! `arras attribution`: the device's attribution, on scenario files.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arras_client::attribution::replay::{Output, Replayed, Scenario, ScenarioConfig, from_json, replay};
use serde::{Deserialize, Serialize};

use crate::text::{counted, printable};

/// Largest file that is read, in bytes. The published scenarios have some kilobytes, and what is read takes up to thirty
/// times its size in memory.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The command line of `arras attribution`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run scenario files of the W3C reference implementation's end-to-end format (impl/e2e.schema.json): a line
    /// for each file, pass or the first difference.
    Replay(Replay),
}

/// The command line of `arras attribution replay`.
#[derive(Debug, clap::Args)]
struct Replay {
    /// The configuration of scenarios that carry none of their own.
    #[arg(value_name = "CONFIG.json")]
    config: PathBuf,
    /// The scenarios. The configuration's own file is left out, so that all files of a folder can be given.
    #[arg(value_name = "SCENARIO.json", required = true)]
    scenarios: Vec<PathBuf>,
    /// Write a JSON object a line instead: the file, whether it passes, the first difference, and what was computed
    /// for each event. Conversions need not say what they expect.
    #[arg(long)]
    print: bool,
}

/// A line of `--print`.
#[derive(Serialize)]
struct Line<'a> {
    file: String,
    pass: bool,
    difference: Option<&'a str>,
    outputs: &'a [Output],
}

/// Runs it. Exit code 1 if any scenario differs, or a file cannot be read. What is wrong with the configuration goes to
/// `err`. Errors are those of writing.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let Command::Replay(args) = &args.command;
    let config: ScenarioConfig = match read(&args.config) {
        Ok(config) => config,
        Err(error) => {
            writeln!(err, "error: {}: {}", args.config.display(), printable(&error))?;
            return Ok(ExitCode::from(super::FAILED));
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for path in args.scenarios.iter().filter(|path| !is_same(path, &args.config)) {
        let replayed = match read::<Scenario>(path) {
            Ok(scenario) => replay(&config, &scenario, !args.print),
            Err(error) => Replayed { outputs: Vec::new(), difference: Some(error) },
        };
        *if replayed.difference.is_none() { &mut passed } else { &mut failed } += 1;
        write_result(out, path, &replayed, args.print)?;
    }
    if !args.print {
        writeln!(out, "{}, {failed} failed", counted(passed, "scenario") + " passed")?;
    }
    // Nothing that was run is no success: a pattern that names nothing would pass.
    Ok(if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) })
}

fn write_result(out: &mut dyn Write, path: &Path, replayed: &Replayed, print: bool) -> io::Result<()> {
    let (file, difference) = (path.display(), replayed.difference.as_deref());
    if print {
        let line = Line {
            file: file.to_string(),
            pass: difference.is_none(),
            difference,
            outputs: &replayed.outputs,
        };
        return writeln!(out, "{}", serde_json::to_string(&line)?);
    }
    match difference {
        None => writeln!(out, "pass {file}"),
        // It may repeat what the file says.
        Some(difference) => writeln!(out, "FAIL {file}: {}", printable(difference)),
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, String> {
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    opened.map_err(|error| format!("it cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it has more than {MAX_FILE_BYTES} bytes"));
    }
    from_json(&bytes).map_err(|error| format!("it is not of the format of impl/e2e.schema.json: {error}"))
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

#[cfg(test)]
mod tests;
