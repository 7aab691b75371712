//! `arras admin key` and `arras admin user`. Passwords are read from a file or the standard input, never from the command line,
//! which others on the machine can see.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use super::ask::{AdminError, Ask};
use super::{OfAdvertiser, With, print};
use crate::access::{Email, PASSWORD_BYTES_MAX, Scope};
use crate::cli::Failure;
use crate::collector::Moment;
use crate::registry::Name;

/// Where keys are looked for.
const KEYS: (&str, &str, &str, &str) = ("keys", "name", "key", "arras admin key list");

/// Where users are looked for.
const USERS: (&str, &str, &str, &str) = ("users", "email", "user", "arras admin user list");

/// Bytes of a file with a password that are read: the longest password, and a line's end.
const PASSWORD_FILE_BYTES_MAX: u64 = PASSWORD_BYTES_MAX as u64 + 2;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key and print it, this once.
    Create(With<CreateKey>),
    /// List an advertiser's keys.
    List(With<OfAdvertiser>),
    /// Revoke a key; it is of no use from then on.
    Revoke(With<RevokeKey>),
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateKey {
    /// The advertiser's id or name.
    advertiser: String,
    /// What the key is called.
    name: Name,
    /// What it may do: read, manage or admin.
    #[arg(long, default_value = "read")]
    scope: Scope,
    /// From when on it is of no use, such as 2027-01-01T00:00:00Z; never unless said otherwise.
    #[arg(long, value_name = "TIME")]
    expires: Option<Moment>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevokeKey {
    /// The advertiser's id or name.
    advertiser: String,
    /// The key's id or name.
    key: String,
}

impl KeyCommand {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Create(args) => {
                let (ask, own) = (args.ask()?, &args.own);
                let body = json!({
                    "name": own.name,
                    "scope": own.scope,
                    "expires": own.expires.map(|moment| moment.to_string()),
                });
                let created = Ask::run(async {
                    let path = ask.advertiser(&own.advertiser).await?;
                    ask.post(&format!("{path}/keys"), &body).await
                })?;
                writeln!(out, "{}", print::cell(&created["key"]))?;
                Ok(())
            }
            Self::List(args) => {
                let ask = args.ask()?;
                let all = Ask::run(async {
                    let path = ask.advertiser(&args.own.advertiser).await?;
                    ask.list(&format!("{path}/keys"), "").await
                })?;
                let columns = [
                    ("id", "id"),
                    ("name", "name"),
                    ("scope", "scope"),
                    ("created", "created"),
                    ("expires", "expires"),
                ];
                let none = "no key yet; make one with: arras admin key create";
                Ok(print::entries(out, &all, &columns, args.own.json, none)?)
            }
            Self::Revoke(args) => {
                let (ask, own) = (args.ask()?, &args.own);
                Ask::run(async {
                    let path = ask.advertiser(&own.advertiser).await?;
                    let path = ask.of(&path, KEYS, &own.key).await?;
                    ask.delete(&path).await
                })?;
                Ok(writeln!(out, "revoked")?)
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Create a user of the console.
    Create(With<CreateUser>),
    /// List an advertiser's users.
    List(With<OfAdvertiser>),
    /// Remove a user and end all of the user's sessions.
    Remove(With<OneUser>),
    /// Set a user's password and end all of the user's sessions.
    Password(With<SetPassword>),
}

/// Where a password is read from.
#[derive(Debug, clap::Args)]
pub(super) struct PasswordSource {
    /// A file whose first line is the password; otherwise it is read from the standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateUser {
    /// The advertiser's id or name.
    advertiser: String,
    /// What the user signs in with.
    email: Email,
    /// What the user may do: read, manage or admin.
    #[arg(long, default_value = "read")]
    scope: Scope,
    #[command(flatten)]
    password: PasswordSource,
}

#[derive(Debug, clap::Args)]
pub(super) struct OneUser {
    /// The advertiser's id or name.
    advertiser: String,
    /// The user's id or email.
    user: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct SetPassword {
    #[command(flatten)]
    user: OneUser,
    #[command(flatten)]
    password: PasswordSource,
}

impl UserCommand {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Create(args) => {
                let (ask, own) = (args.ask()?, &args.own);
                let password = own.password.read()?;
                let body = json!({ "email": own.email, "scope": own.scope, "password": password.as_str() });
                let created = Ask::run(async {
                    let path = ask.advertiser(&own.advertiser).await?;
                    ask.post(&format!("{path}/users"), &body).await
                })?;
                Ok(writeln!(out, "created: {}", print::cell(&created["email"]))?)
            }
            Self::List(args) => {
                let ask = args.ask()?;
                let all = Ask::run(async {
                    let path = ask.advertiser(&args.own.advertiser).await?;
                    ask.list(&format!("{path}/users"), "").await
                })?;
                let columns = [
                    ("id", "id"),
                    ("email", "email"),
                    ("scope", "scope"),
                    ("created", "created"),
                    ("password set", "password_set"),
                ];
                let none = "no user yet; create one with: arras admin user create";
                Ok(print::entries(out, &all, &columns, args.own.json, none)?)
            }
            Self::Remove(args) => {
                let (ask, own) = (args.ask()?, &args.own);
                Ask::run(async {
                    let path = ask.advertiser(&own.advertiser).await?;
                    let path = ask.of(&path, USERS, &own.user).await?;
                    ask.delete(&path).await
                })?;
                Ok(writeln!(out, "removed")?)
            }
            Self::Password(args) => {
                let (ask, own) = (args.ask()?, &args.own);
                let password = own.password.read()?;
                Ask::run(async {
                    let path = ask.advertiser(&own.user.advertiser).await?;
                    let path = ask.of(&path, USERS, &own.user.user).await?;
                    ask.patch(&path, &json!({ "password": password.as_str() })).await
                })?;
                Ok(writeln!(out, "set; all sessions of the user have ended")?)
            }
        }
    }
}

impl PasswordSource {
    /// The first line.
    fn read(&self) -> Result<Zeroizing<String>, Failure> {
        let Some(path) = &self.password_file else { return Ok(line(io::stdin())?) };
        let file = |error| AdminError::File { path: Path::display(path).to_string(), error };
        Ok(line(File::open(path).map_err(file)?).map_err(file)?)
    }
}

fn line(from: impl Read) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    BufReader::new(from.take(PASSWORD_FILE_BYTES_MAX)).read_line(&mut line)?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}
