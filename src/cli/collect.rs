//! `arras collect`: has the running collector collect a window, and prints the release.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use arras_protocol::messages::TaskId;
use axum::http::StatusCode;
use zeroize::Zeroizing;

use crate::collector::{Moment, ReadError, Release, Span, SpanError, UnderWay, table};
use crate::config::{self, Config, LoadError, SecretString};
use crate::net::auth::{BearerToken, TokenError};
use crate::net::client::{ClientError, PeerClient, Reply};
use crate::net::endpoint::{Endpoint, EndpointError};
use crate::net::problem::{ErrorType, OwnError};
use crate::text::printable;

/// The variable that may hold the administrator's token.
const TOKEN_VARIABLE: &str = "ARRAS_ADMIN_TOKEN";

/// Where `arras init` puts the administrator's token, seen from the folder of the collector's configuration.
const TOKEN_FILE: &str = "../admin/token";

/// A token has at most 512 characters; more is another file.
const TOKEN_FILE_BYTES_MAX: u64 = 4 * 1024;

/// Shortest and longest pause before a collector that is still collecting is asked again.
const WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

/// The command line of `arras collect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The collector's configuration file; says where it listens and whom to trust.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
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
    #[arg(long)]
    pub json: bool,
    /// The collector's URL, if it is not reached where it listens or its certificate is for a name.
    #[arg(long, value_name = "URL")]
    pub url: Option<Endpoint>,
    /// The certificate of the authority that issued the collector's; otherwise that of its leader.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// A file with the administrator's token; otherwise the variable ARRAS_ADMIN_TOKEN, or the file that
    /// `arras init` made.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Why no release was printed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// The command line makes no sense.
    #[error("--from, --to: {0}")]
    Usage(#[from] SpanError),
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The configuration is another role's.
    #[error("{} has no section [collector]; name the collector's configuration", .0.display())]
    NoCollector(PathBuf),
    /// There is no token.
    #[error(
        "the administrator's token is needed: name its file with --token-file, or set ARRAS_ADMIN_TOKEN \
         (`arras init` writes it to admin/token)"
    )]
    NoToken,
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The token is none.
    #[error("the administrator's token: {0}")]
    Token(#[from] TokenError),
    /// The collector's address is none that can be asked.
    #[error("the collector's address: {0}; name its URL with --url")]
    Address(#[from] EndpointError),
    /// The collector does not answer.
    #[error(
        "no collector answers at {url}: {error}\nStart it with: arras serve --config {}\n\
         If it runs, its certificate may be for another name: name its URL with --url",
        config.display()
    )]
    NotRunning {
        /// Where it was looked for.
        url: String,
        /// What happened.
        error: ClientError,
        /// Its configuration.
        config: PathBuf,
    },
    /// The exchange failed in another way.
    #[error("{0}. Ask again: a window is collected once, however often it is asked for")]
    Client(#[from] ClientError),
    /// The token is not the collector's.
    #[error(
        "the collector does not accept the administrator's token; its hash is `admin_token_sha256` in {}",
        .0.display()
    )]
    WrongToken(PathBuf),
    /// The collector refuses.
    #[error("{0}")]
    Refused(String),
    /// What the collector answered is no release.
    #[error("the collector's answer: {0}")]
    Answer(#[from] ReadError),
    /// Printing, or starting the runtime.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Asks and prints.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode, CollectError> {
    let window = Span::new(args.from, args.to)?;
    let config = Config::load(&args.config)?;
    let collector =
        config.collector.as_ref().ok_or_else(|| CollectError::NoCollector(args.config.clone()))?;
    let client = client(args, collector, env::var_os(TOKEN_VARIABLE))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (release, document) = runtime.block_on(ask(args, &client, window))?;
    if args.json {
        out.write_all(&document)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", table(&release, None))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn client(
    args: &Args,
    collector: &config::Collector,
    variable: Option<OsString>,
) -> Result<PeerClient, CollectError> {
    let endpoint = match &args.url {
        Some(url) => url.clone(),
        None => endpoint(collector.listen, collector.tls.is_some())?,
    };
    let ca = match (&args.ca, &collector.leader.ca) {
        _ if !endpoint.is_https() => None,
        (Some(path), _) => Some(config::values::Pem::File(path.clone())),
        (None, ca) => ca.clone(),
    };
    let ca = ca.as_ref().map(config::values::Pem::read).transpose()?;
    let token = token(args, variable)?;
    Ok(PeerClient::new(endpoint, Some(token), ca.as_ref().map(|pem| pem.as_slice()))?)
}

/// Where a process on this machine reaches what listens on an address.
fn endpoint(listen: SocketAddr, tls: bool) -> Result<Endpoint, EndpointError> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}/", SocketAddr::new(ip, listen.port())).parse()
}

fn token(args: &Args, variable: Option<OsString>) -> Result<BearerToken, CollectError> {
    let text = match (&args.token_file, variable.map(OsString::into_string)) {
        (Some(path), _) => read_token(path)?,
        (None, Some(text)) => Zeroizing::new(text.map_err(|_| TokenError::Characters)?),
        (None, None) => {
            let folder = args.config.parent().unwrap_or_else(|| Path::new(""));
            match read_token(&folder.join(TOKEN_FILE)) {
                Err(CollectError::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(CollectError::NoToken);
                }
                read => read?,
            }
        }
    };
    Ok(BearerToken::new(SecretString::new(text.trim()))?)
}

fn read_token(path: &Path) -> Result<Zeroizing<String>, CollectError> {
    let mut text = Zeroizing::new(String::new());
    let read = File::open(path).and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| CollectError::File { path: path.to_owned(), error })?;
    Ok(text)
}

/// Asks until the collector has the release, or refuses. It answers before its connections time out, with
/// 202 if it needs longer.
async fn ask(args: &Args, client: &PeerClient, window: Span) -> Result<(Release, Vec<u8>), CollectError> {
    let path = format!("v1/tasks/{}/releases", args.task);
    let body = format!("{{\"from\":{},\"to\":{}}}", window.from().seconds(), window.to().seconds());
    let mut told = None;
    loop {
        let reply = client.post(&path, "application/json", body.clone()).await;
        let reply = reply.map_err(|error| match error {
            ClientError::NotConnected { .. } => CollectError::NotRunning {
                url: client.endpoint().as_str().to_owned(),
                error,
                config: args.config.clone(),
            },
            other => other.into(),
        })?;
        match reply.status {
            StatusCode::OK => return Ok((Release::from_json(&reply.body)?, reply.body.to_vec())),
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
            _ => return Err(refusal(args, &reply)),
        }
    }
}

fn refusal(args: &Args, reply: &Reply) -> CollectError {
    let Some(problem) = reply.problem() else {
        return CollectError::Refused(format!(
            "the answer is {} without a reason: no collector of arras is at this address",
            reply.status
        ));
    };
    if *problem.kind() == ErrorType::Own(OwnError::Unauthorized) {
        return CollectError::WrongToken(args.config.clone());
    }
    CollectError::Refused(problem.detail().map_or_else(|| problem.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests;
