//! `arras check`: what is wrong with a configuration.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use crate::config::{Config, Severity};
use crate::text::counted;

/// The command line of `arras check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Prints every problem at the time `now`, or that there is none. Warnings alone
/// do not make it fail. Errors are those of writing to `out`.
pub fn run(args: &Args, now: SystemTime, out: &mut dyn Write) -> io::Result<ExitCode> {
    let problems = match Config::load(&args.config) {
        Ok(config) => config.problems(now),
        Err(error) => {
            writeln!(out, "error: {error}")?;
            return Ok(ExitCode::from(super::FAILED));
        }
    };
    for problem in &problems {
        writeln!(out, "{problem}")?;
    }
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    if problems.is_empty() {
        writeln!(out, "no problems found")?;
    } else {
        let warnings = problems.len() - errors;
        writeln!(out, "{}, {}", counted(errors, "error"), counted(warnings, "warning"))?;
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) })
}
