//! The configuration of one process: a TOML file with a section for each role
//! that the process plays.
//!
//! A file is parsed into checked types ([`Config::load`]); what only several values
//! together, the disk or the clock can tell is found by [`Config::problems`].
//! [`Config::load_for_start`] does both and refuses.

pub mod keys;
pub mod loopback;
mod problems;
pub mod roles;
pub mod secret;
pub mod values;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::tasks::TaskFolder;

pub use keys::{HpkeConfig, HpkeKey, generate_hpke_keypair};
pub use problems::{Problem, Severity};
pub use roles::{Advertising, Collector, Helper, Leader, Operations};
pub use secret::{Secret, SecretString};

/// A configuration has some kB. Reading more would mean that the path is wrong.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// What one process is to do.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The leader, if the process plays it.
    pub leader: Option<Leader>,
    /// The helper, if the process plays it.
    pub helper: Option<Helper>,
    /// The collector, if the process plays it.
    pub collector: Option<Collector>,
    /// The operator's interface, if there is to be one.
    pub operations: Option<Operations>,
    /// The file it came from.
    #[serde(skip)]
    path: PathBuf,
    /// The file's permission bits; none if it was parsed from a text.
    #[serde(skip)]
    mode: Option<u32>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{}: {source}; check the path and who may read it", path.display())]
    Read {
        /// The configuration file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is too large to be a configuration.
    #[error("{}: larger than 1 MiB; this is no configuration of arras", path.display())]
    TooLarge {
        /// The configuration file.
        path: PathBuf,
    },
    /// A value is missing, unknown or malformed.
    #[error("{}:{line}: {key}: {message}", path.display())]
    Parse {
        /// The configuration file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key with its tables, as far as it can be told.
        key: String,
        /// What is wrong; never the value itself, which may be a secret.
        message: String,
    },
    /// Errors among [`Config::problems`].
    #[error("{}: {}", path.display(), listed(problems))]
    Problems {
        /// The configuration file.
        path: PathBuf,
        /// The errors, at least one.
        problems: Vec<Problem>,
    },
}

fn listed(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    format!("this configuration is refused:\n  {}", lines.join("\n  "))
}

impl Config {
    /// Reads and parses a file; relative paths in it become relative to its folder.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let read = |source| LoadError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read)?;
        // Of the opened file, so that the bits belong to the bytes that are read.
        let mode = permission_bits(&file.metadata().map_err(read)?);
        let mut text = Zeroizing::new(String::new());
        (&mut file).take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text).map_err(read)?;
        if text.len() as u64 > CONFIG_BYTES_MAX {
            return Err(LoadError::TooLarge { path: path.to_owned() });
        }
        let mut config = Self::parse(&text, path)?;
        config.mode = Some(mode);
        Ok(config)
    }

    /// How many tasks the process leads at the moment, if it is a leader and its folder can be read.
    pub fn led_tasks(&self) -> usize {
        let ids = self.leader.as_ref().and_then(|leader| TaskFolder::new(&leader.tasks).ids().ok());
        ids.map_or(0, |ids| ids.len())
    }

    /// The aggregators' sections, the leader's first.
    pub(crate) fn aggregators(&self) -> impl Iterator<Item = roles::Aggregator<'_>> {
        let leader = self.leader.iter().map(roles::Aggregator::from);
        leader.chain(self.helper.iter().map(roles::Aggregator::from))
    }

    /// How many servers the process runs: one for each role.
    pub fn servers(&self) -> usize {
        let roles = [self.leader.is_some(), self.helper.is_some(), self.collector.is_some()];
        roles.into_iter().filter(|plays| *plays).count()
    }

    /// Parses the text of a file; `path` names it in errors and is where relative
    /// paths start.
    pub fn parse(text: &str, path: &Path) -> Result<Self, LoadError> {
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let (line, key) = locate(text, offset);
            // The error's Display would quote the line, and with it a secret.
            LoadError::Parse { path: path.to_owned(), line, key, message: error.message().to_owned() }
        })?;
        path.clone_into(&mut config.path);
        let folder = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
        config.leader.iter_mut().for_each(|leader| leader.resolve(&folder));
        config.helper.iter_mut().for_each(|helper| helper.resolve(&folder));
        config.collector.iter_mut().for_each(|collector| collector.resolve(&folder));
        Ok(config)
    }

    /// Reads a file and refuses it if it has errors at the time `now`. Warnings are logged.
    pub fn load_for_start(path: &Path, now: SystemTime) -> Result<Self, LoadError> {
        let config = Self::load(path)?;
        let (problems, warnings): (Vec<_>, Vec<_>) =
            config.problems(now).into_iter().partition(|problem| problem.severity == Severity::Error);
        for warning in &warnings {
            tracing::warn!(key = %warning.key, "{}", warning.message);
        }
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(LoadError::Problems { path: path.to_owned(), problems })
        }
    }

    /// Everything that is wrong at the time `now` although each value alone is
    /// well-formed; in the order of the roles.
    pub fn problems(&self, now: SystemTime) -> Vec<Problem> {
        problems::find(self, now)
    }

    /// The file it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(unix)]
fn permission_bits(metadata: &std::fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o777
}

#[cfg(not(unix))]
fn permission_bits(_metadata: &std::fs::Metadata) -> u32 {
    // No such bits here; who may read the file is the operator's to see to.
    0o600
}

/// The line of an offset (from 1) and the key there, with its table. Keys in a
/// table that spans lines are named by the table alone.
fn locate(text: &str, offset: usize) -> (usize, String) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let line = text[..offset].matches('\n').count() + 1;
    let mut table = "";
    let mut key = None;
    for (number, content) in text.lines().enumerate().take(line) {
        let content = content.trim();
        let is_header = content.starts_with('[');
        if is_header {
            table = content.trim_start_matches('[').split(']').next().unwrap_or_default();
        }
        if number + 1 == line && !is_header {
            key = content.split_once('=').map(|(key, _)| key.trim());
        }
    }
    let name = [Some(table), key].into_iter().flatten().filter(|part| !part.is_empty());
    let name = name.collect::<Vec<_>>().join(".");
    (line, if name.is_empty() { "the file".to_owned() } else { name })
}

#[cfg(test)]
mod tests;
