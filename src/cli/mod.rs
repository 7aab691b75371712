//! The command line: one file a subcommand. This is where the standard streams enter, and the clock that the roles are
//! given.

pub mod admin;
pub mod attribution;
pub mod budget;
pub mod check;
pub mod collect;
pub mod console;
pub mod demo;
mod failure;
pub mod init;
pub mod load;
pub mod manifest;
pub mod plan;
pub mod release;
pub mod report;
pub mod serve;
pub mod task;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

pub use self::failure::Failure;
use self::failure::named;

/// The variable that says what is logged, in tracing's filter syntax.
const LOG_VARIABLE: &str = "ARRAS_LOG";

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// The command failed or found something.
const FAILED: u8 = 1;

/// The command line is wrong.
const USAGE: u8 = 2;

/// Private conversion measurement: two aggregators, one of them to trust, noised counts per campaign.
#[derive(Debug, Parser)]
#[command(name = "arras", version, about, arg_required_else_help = true)]
struct Cli {
    /// How the log on stderr is written; ARRAS_LOG says how much.
    #[arg(
        long,
        global = true,
        value_enum,
        env = "ARRAS_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a folder with keys, certificates and a configuration for each role.
    Init(init::Args),
    /// Say what is wrong with a configuration.
    Check(check::Args),
    /// Play the roles of a configuration.
    Serve(serve::Args),
    /// Take part in tasks, list and explain them.
    Task(task::Args),
    /// Tell devices of an advertiser's tasks: sign a manifest that the collector serves.
    Manifest(manifest::Args),
    /// Have the running collector collect a window, and print the release.
    Collect(collect::Args),
    /// Verify, show and add up releases, and make the key that signs them.
    Release(release::Args),
    /// Say what was spent of each budget source, on what, and what is left.
    Budget(budget::Args),
    /// Say what an advertiser's campaigns cost and what came of them.
    Report(report::Args),
    /// Advertisers, campaigns, delivery numbers, keys and users of the running collector.
    Admin(admin::Args),
    /// Run a device's attribution on scenario files.
    Attribution(attribution::Args),
    /// Say in advance how precise numbers will be, which campaigns will be shown, and what the budget carries.
    Plan(plan::Args),
    /// See it work: three roles on this machine, real journeys, released counts beside the true ones.
    Demo(demo::Args),
    /// Measure: reports a second, latency, and what a report costs.
    Load(load::Args),
}

/// Runs a command line, the program's name first. Exit codes: 0 for success, 1 if
/// the command failed or found something wrong, 2 for a wrong command line.
pub fn run<I, T>(args: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Asking for help is no error and goes to stdout; clap knows which is which.
            let usage = error.use_stderr();
            // Nothing is left to tell if the stream itself is gone.
            let _ = error.print();
            return ExitCode::from(if usage { USAGE } else { 0 });
        }
    };
    // Demo and load talk to a person who has no use for the servers' log.
    let quiet = matches!(cli.command, Command::Demo(_) | Command::Load(_));
    log_to_stderr(if quiet { tracing::Level::ERROR } else { tracing::Level::INFO }, cli.log_format);
    let mut out = io::stdout().lock();
    let now = SystemTime::now();
    let random = ring::rand::SystemRandom::new();
    let done = match cli.command {
        Command::Init(args) => init::run(&args, now, &random, &mut out),
        Command::Attribution(args) => {
            attribution::run(&args, &mut out, &mut io::stderr()).map_err(Failure::from)
        }
        Command::Check(args) => check::run(&args, now, &mut out).map_err(Failure::from),
        Command::Serve(args) => serve::run(&args, now, &mut out),
        Command::Task(args) => task::run(&args, &mut out),
        Command::Manifest(args) => manifest::run(&args, now, &mut out),
        Command::Collect(args) => collect::run(&args, &mut out),
        Command::Release(args) => release::run(&args, &random, &mut out),
        Command::Report(args) => report::run(&args, &mut out),
        Command::Admin(args) => admin::run(&args, &mut out),
        Command::Budget(args) => budget::run(&args, &mut out),
        Command::Plan(args) => plan::run(&args, now, &mut out),
        Command::Demo(args) => demo::run(&args, now, &mut out),
        Command::Load(args) => load::run(&args, now, &mut out),
    };
    done.unwrap_or_else(|failure| {
        // For the person who typed the command, thus no log line.
        let _ = writeln!(io::stderr(), "error: {failure}");
        ExitCode::from(failure.exit_code())
    })
}

fn log_to_stderr(default: tracing::Level, format: LogFormat) {
    let filter = EnvFilter::builder()
        .with_default_directive(default.into())
        .with_env_var(LOG_VARIABLE)
        .from_env_lossy();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    // A second call in one process (tests) keeps the first subscriber.
    let _ = match format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
}

#[cfg(test)]
mod tests;
