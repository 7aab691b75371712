//! `arras collect`: has the running collector collect a window, and prints the release.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use arras_protocol::messages::TaskId;
use axum::http::StatusCode;

use super::Failure;
use super::console::{self, Console};
use crate::collector::{Moment, Release, Span, UnderWay, table};
use crate::text::printable;

/// Shortest and longest pause before a collector that is still collecting is asked again.
const WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

/// The command line of `arras collect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How the collector is asked.
    #[command(flatten)]
    pub console: console::Args,
    /// The task's id, see `arras task list`.
    #[arg(long, value_name = "ID")]
    pub task: TaskId,
    /// Start of the window, such as 2026-11-02T00:00:00Z, or POSIX seconds.
    #[arg(long, value_name = "TIME")]
    pub from: Moment,
    /// End of the window, itself not included.
    #[arg(long, value_name = "TIME")]
    pub to: Moment,
    /// Print the release as JSON instead of a table.
    #[arg(long, conflicts_with = "signed")]
    pub json: bool,
    /// Print the signed release, for `arras release verify`.
    #[arg(long)]
    pub signed: bool,
}

/// Asks and prints.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let window = console::span(args.from, args.to)?;
    let console = Console::new(&args.console)?;
    let (release, document) = Console::block_on(ask(args, &console, window))??;
    if args.json {
        out.write_all(&document)?;
        writeln!(out)?;
    } else if args.signed {
        let path = format!("v1/releases/{}/signed", release.sequence);
        let reply = Console::block_on(console.get(&path))??;
        if reply.status != StatusCode::OK {
            return Err(console.refusal(&reply).into());
        }
        out.write_all(&reply.body)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", table(&release, None))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks until the collector has the release, or refuses. It answers before its connections time out, with
/// 202 if it needs longer.
async fn ask(args: &Args, console: &Console, window: Span) -> Result<(Release, Vec<u8>), Failure> {
    let path = format!("v1/tasks/{}/releases", args.task);
    let body = format!("{{\"from\":{},\"to\":{}}}", window.from().seconds(), window.to().seconds());
    let mut told = None;
    loop {
        let reply = console.post(&path, body.clone()).await?;
        match reply.status {
            StatusCode::OK => {
                let release = Release::from_json(&reply.body).map_err(|error| console::unreadable(&error))?;
                return Ok((release, reply.body.to_vec()));
            }
            StatusCode::ACCEPTED => {
                let trouble = UnderWay::from_json(&reply.body).trouble;
                if told.as_ref() != Some(&trouble) {
                    if let Some(trouble) = trouble.as_deref().map(printable) {
                        tracing::warn!(
                            trouble,
                            "the collector does not get on with the leader, and goes on trying"
                        );
                    } else {
                        tracing::info!("the aggregators are still at work on the window; waiting");
                    }
                    told = Some(trouble);
                }
                // Only a date would need the time, and the collector names seconds.
                let wait = reply.retry_after(SystemTime::UNIX_EPOCH).unwrap_or(WAIT.0);
                tokio::time::sleep(wait.clamp(WAIT.0, WAIT.1)).await;
            }
            _ => return Err(console.refusal(&reply).into()),
        }
    }
}

#[cfg(test)]
mod tests;
