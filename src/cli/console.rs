//! Asking the running collector's interface: where it is, whom to trust, which token to send.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Failure;
use crate::collector::{Moment, ReadError, Span};
use crate::config::{self, Config, LoadError, SecretString, loopback};
use crate::net::auth::{BearerToken, TokenError};
use crate::net::client::{ClientError, PeerClient, Reply};
use crate::net::endpoint::{Endpoint, EndpointError};
use crate::net::problem::{ErrorType, OwnError};

/// The variable that may hold the administrator's token.
const TOKEN_VARIABLE: &str = "ARRAS_ADMIN_TOKEN";

/// Where the administrator's token is, seen from the folder of the collector's configuration: where `arras init` puts it, and
/// where a demo does, whose roles share one configuration.
const TOKEN_FILES: [&str; 2] = ["../admin/token", loopback::TOKEN_FILE];

/// A token has at most 512 characters; more is another file.
const TOKEN_FILE_BYTES_MAX: u64 = 4 * 1024;

/// The options of every command that asks the collector.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "console")]
pub struct Args {
    /// The collector's configuration file; says where it listens and whom to trust.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The collector's URL, if it is not reached where it listens or its certificate is for a name.
    #[arg(long, value_name = "URL")]
    pub url: Option<Endpoint>,
    /// The certificate of the authority that issued the collector's; otherwise that of its leader.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// A file with the administrator's token; otherwise the variable ARRAS_ADMIN_TOKEN, or the file that
    /// `arras init` or a demo made.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Why the collector did not answer, or refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsoleError {
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
    /// The certificate, or the runtime.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The collector's interface.
pub struct Console {
    args: Args,
    client: PeerClient,
}

impl Console {
    /// A client for the collector of a configuration. Nothing is sent yet.
    pub fn new(args: &Args) -> Result<Self, ConsoleError> {
        let config = Config::load(&args.config)?;
        let collector =
            config.collector.as_ref().ok_or_else(|| ConsoleError::NoCollector(args.config.clone()))?;
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
        let token = token(args, env::var_os(TOKEN_VARIABLE))?;
        let client = PeerClient::new(endpoint, Some(token), ca.as_ref().map(|pem| pem.as_slice()))?;
        Ok(Self { args: args.clone(), client })
    }

    /// Runs requests to their end.
    pub fn block_on<T>(work: impl Future<Output = T>) -> Result<T, ConsoleError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(work))
    }

    /// Asks for a resource.
    pub async fn get(&self, path: &str) -> Result<Reply, ConsoleError> {
        self.client.get(path).await.map_err(|error| self.failed(error))
    }

    /// Sends JSON.
    pub async fn post(&self, path: &str, body: String) -> Result<Reply, ConsoleError> {
        self.client.post(path, "application/json", body).await.map_err(|error| self.failed(error))
    }

    /// Asks for a resource in one of its media types.
    pub async fn get_as(&self, path: &str, accept: &'static str) -> Result<Reply, ConsoleError> {
        self.client.get_as(path, accept).await.map_err(|error| self.failed(error))
    }

    /// Replaces something.
    pub async fn put(
        &self,
        path: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Reply, ConsoleError> {
        self.client.put(path, content_type, body).await.map_err(|error| self.failed(error))
    }

    /// Changes something, by JSON.
    pub async fn patch(&self, path: &str, body: String) -> Result<Reply, ConsoleError> {
        self.client.patch(path, "application/json", body).await.map_err(|error| self.failed(error))
    }

    /// Deletes something.
    pub async fn delete(&self, path: &str) -> Result<Reply, ConsoleError> {
        self.client.delete(path).await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: ClientError) -> ConsoleError {
        match error {
            ClientError::NotConnected { .. } => ConsoleError::NotRunning {
                url: self.client.endpoint().as_str().to_owned(),
                error,
                config: self.args.config.clone(),
            },
            other => other.into(),
        }
    }

    /// What an answer that is no success says.
    pub fn refusal(&self, reply: &Reply) -> ConsoleError {
        let Some(problem) = reply.problem() else {
            return ConsoleError::Refused(format!(
                "the answer is {} without a reason: no collector of arras is at this address",
                reply.status
            ));
        };
        if *problem.kind() == ErrorType::Own(OwnError::Unauthorized) {
            return ConsoleError::WrongToken(self.args.config.clone());
        }
        ConsoleError::Refused(problem.detail().map_or_else(|| problem.to_string(), str::to_owned))
    }
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

fn token(args: &Args, variable: Option<OsString>) -> Result<BearerToken, ConsoleError> {
    let text = match (&args.token_file, variable.map(OsString::into_string)) {
        (Some(path), _) => read_token(path)?,
        (None, Some(text)) => Zeroizing::new(text.map_err(|_| TokenError::Characters)?),
        (None, None) => {
            let folder = args.config.parent().unwrap_or_else(|| Path::new(""));
            let there = TOKEN_FILES.map(|file| folder.join(file)).into_iter().find(|path| path.exists());
            read_token(&there.ok_or(ConsoleError::NoToken)?)?
        }
    };
    Ok(BearerToken::new(SecretString::new(text.trim()))?)
}

/// The times of `--from` and `--to`.
pub(super) fn span(from: Moment, to: Moment) -> Result<Span, Failure> {
    Span::new(from, to).map_err(|error| Failure::Usage(format!("--from, --to: {error}")))
}

/// What was answered is not what a collector of this version answers.
pub(super) fn unreadable(error: &ReadError) -> Failure {
    format!("the collector's answer: {error}").into()
}

fn read_token(path: &Path) -> Result<Zeroizing<String>, ConsoleError> {
    let mut text = Zeroizing::new(String::new());
    let read = File::open(path).and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| ConsoleError::File { path: path.to_owned(), error })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_variable_goes_before_the_file_of_init() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("admin")).unwrap();
        std::fs::write(dir.path().join("admin/token"), "of-init\n").unwrap();
        let config = dir.path().join("collector/collector.toml");
        std::fs::create_dir_all(config.parent().unwrap()).unwrap();
        let args = Args { config, url: None, ca: None, token_file: None };
        assert_eq!(token(&args, None).unwrap().expose(), "of-init");
        assert_eq!(token(&args, Some("abc".into())).unwrap().expose(), "abc");
        // A demo's is beside the one configuration of all its roles.
        let demo = Args { config: dir.path().join("arras.toml"), ..args.clone() };
        assert_eq!(token(&demo, None).unwrap().expose(), "of-init");
        let named = Args { token_file: Some(dir.path().join("admin/token")), ..args };
        assert_eq!(token(&named, Some("abc".into())).unwrap().expose(), "of-init");
    }

    #[test]
    fn what_listens_everywhere_is_asked_here() {
        let asked = |listen: &str, tls| endpoint(listen.parse().unwrap(), tls).unwrap().as_str().to_owned();
        assert_eq!(asked("0.0.0.0:8445", true), "https://127.0.0.1:8445/");
        assert_eq!(asked("[::]:8445", true), "https://[::1]:8445/");
        assert_eq!(asked("127.0.0.1:80", false), "http://127.0.0.1:80/");
        assert!(endpoint("192.0.2.1:80".parse().unwrap(), false).is_err());
    }
}
