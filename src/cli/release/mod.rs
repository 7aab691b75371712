//! `arras release`: signed releases, their keys, and sums of releases.

mod files;
mod sum;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use arras_protocol::messages::TaskId;
use arras_protocol::signed::{SignError, SigningKey};
use axum::http::StatusCode;
use ring::rand::SecureRandom;

use super::Failure;
use super::console::{self, Console};
use crate::collector::{KeySet, Moment, ReadError, Release, table};
use crate::config::Config;
use crate::config::secret::Secret;

/// The command line of `arras release`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a release that the running collector has.
    Get {
        #[command(flatten)]
        console: console::Args,
        /// The release's number.
        sequence: u64,
        /// Print the JSON document instead of a table.
        #[arg(long, conflicts_with = "signed")]
        json: bool,
        /// Print the signed release, for `arras release verify`.
        #[arg(long)]
        signed: bool,
    },
    /// Verify a signed release, or sum of releases, with the keys of its collector, without a network, and print it.
    Verify {
        /// The signed release: what `--signed` prints.
        file: PathBuf,
        /// The collector's keys: what `arras release keys` prints, or the collector serves at /keys; or a file with one
        /// key in base64url. Take it from a place that you trust, not from where the release came from.
        #[arg(long, value_name = "FILE")]
        keys: PathBuf,
        /// Print the JSON document instead of a table.
        #[arg(long)]
        json: bool,
        /// Say in words how the numbers were made.
        #[arg(long, conflicts_with = "json")]
        explain: bool,
    },
    /// Print a release, signed or its JSON document, without verifying it.
    Show {
        /// The file.
        file: PathBuf,
        /// Say in words how the numbers were made.
        #[arg(long)]
        explain: bool,
    },
    /// Add up the releases of a task over windows, and over campaigns, as the running collector has them.
    Sum {
        #[command(flatten)]
        console: console::Args,
        /// The task's id, see `arras task list`.
        #[arg(long, value_name = "ID")]
        task: TaskId,
        /// Where the first window starts, such as 2026-11-02T00:00:00Z, or POSIX seconds.
        #[arg(long, value_name = "TIME")]
        from: Moment,
        /// Where the last window ends, itself not included.
        #[arg(long, value_name = "TIME")]
        to: Moment,
        /// Only this campaign, and with others the sum of these; otherwise all buckets.
        #[arg(long, value_name = "NAME")]
        campaign: Vec<String>,
        /// Print the JSON document instead of a table.
        #[arg(long, conflicts_with_all = ["signed", "explain"])]
        json: bool,
        /// Print the signed sum, for `arras release verify`.
        #[arg(long, conflicts_with = "explain")]
        signed: bool,
        /// Say in words how the numbers were made.
        #[arg(long)]
        explain: bool,
    },
    /// Print the public keys that verify the releases of a collector, as a JWK set.
    Keys {
        /// The collector's configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Make a signing key: prints the line for the collector's configuration, which is secret.
    NewKey,
}

/// Why nothing was printed, or what is wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReleaseCommandError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Larger than any signed document.
    #[error("{} is larger than any release; name another file", .0.display())]
    TooLarge(PathBuf),
    /// The signature is not good.
    #[error("{}: NOT VERIFIED: {error}", path.display())]
    NotVerified {
        /// The release's file.
        path: PathBuf,
        /// Why.
        error: SignError,
    },
    /// The signature is good, and the document says that it is another key's.
    #[error(
        "{}: NOT VERIFIED: it is signed by key {key}, and says that its key is {says}; ask its publisher", path.display()
    )]
    OtherKey {
        /// The release's file.
        path: PathBuf,
        /// The key that the document names.
        says: String,
        /// Whose signature it is.
        key: String,
    },
    /// The keys are none.
    #[error("{}: {reason}; name a file with the JWK set that `arras release keys` prints, or with one key", path.display())]
    Keys {
        /// The keys' file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The document in the file.
    #[error("{}: {error}", path.display())]
    Document {
        /// Which.
        path: PathBuf,
        /// Why.
        error: ReadError,
    },
    /// The configuration has no key.
    #[error(
        "{} has no `signing_key` in a section [collector]; add the line that `arras release new-key` prints, or name the \
         collector's configuration", .0.display()
    )]
    NoKey(PathBuf),
}

/// Runs the command.
pub fn run(args: &Args, random: &dyn SecureRandom, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Get { console, sequence, json, signed } => get(console, *sequence, (*json, *signed), out)?,
        Command::Verify { file, keys, json, explain } => files::verify(file, keys, (*json, *explain), out)?,
        Command::Show { file, explain } => files::show(file, *explain, out)?,
        Command::Sum { console, task, from, to, campaign, json, signed, explain } => {
            let form = sum::Form { json: *json, signed: *signed, explain: *explain };
            sum::run(console, *task, (*from, *to), campaign, form, out)?;
        }
        Command::Keys { config: path } => {
            let config = Config::load(path)?;
            let no_key = || ReleaseCommandError::NoKey(path.clone());
            let collector = config.collector.as_ref().ok_or_else(no_key)?;
            let signer = collector.signer().ok_or_else(no_key)?;
            let keys = std::iter::once(signer.public_key()).chain(&collector.former_signing_keys);
            serde_json::to_writer_pretty(&mut *out, &KeySet::of(keys)).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Command::NewKey => {
            let secret = Secret::<{ SigningKey::LEN }>::generate(random)?;
            writeln!(out, "signing_key = \"{}\"", secret.to_base64().as_str())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn get(
    args: &console::Args,
    sequence: u64,
    (json, signed): (bool, bool),
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let console = Console::new(args)?;
    let suffix = if signed { "/signed" } else { "" };
    let reply = Console::block_on(console.get(&format!("v1/releases/{sequence}{suffix}")))??;
    if reply.status != StatusCode::OK {
        return Err(console.refusal(&reply).into());
    }
    if json || signed {
        out.write_all(&reply.body)?;
        writeln!(out)?;
    } else {
        let release = Release::from_json(&reply.body).map_err(|error| console::unreadable(&error))?;
        write!(out, "{}", table(&release, None))?;
    }
    Ok(())
}
