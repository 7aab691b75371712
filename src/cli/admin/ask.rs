//! Asking the collector's interface for advertisers.

use std::borrow::Cow;
use std::io;

use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::Failure;
use crate::cli::console::{self, Console, ConsoleError};
use crate::collector::NO_ROUTE;
use crate::net::client::Reply;
use crate::net::problem::{ErrorType, OwnError};
use crate::registry::AdvertiserId;
use crate::text::printable;

/// Entries that are asked for at a time: the most that a page has.
const PAGE: usize = 1_000;

/// Why a command failed that asked the collector and was answered, or names a file that it cannot use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// The collector has no interface for advertisers.
    #[error(
        "this collector has no advertisers: its configuration has no section [collector.advertising]; see \"From an \
         advertiser to a task\" in docs/operating.md"
    )]
    NoAdvertising,
    /// Rows of a file are refused.
    #[error("{summary}{rows}")]
    Rows {
        /// What is wrong with all of it.
        summary: String,
        /// A line for each row.
        rows: String,
    },
    /// Nothing has this name.
    #[error("there is no {what} called {name}; `{list}` lists those that there are")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// By which name.
        name: String,
        /// The command that lists.
        list: &'static str,
    },
    /// The answer is not what this version expects.
    #[error("the collector's answer cannot be read: {0}; is it of another version?")]
    Answer(serde_json::Error),
    /// A named file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
}

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    data: Vec<Value>,
    next: Option<String>,
}

/// The interface for advertisers.
pub(crate) struct Ask {
    console: Console,
}

impl Ask {
    pub(crate) fn new(args: &console::Args) -> Result<Self, Failure> {
        Ok(Self { console: Console::new(args)? })
    }

    /// Runs requests to their end.
    pub(crate) fn run<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        Console::block_on(work)?
    }

    /// The body of a success, or why there is none.
    fn taken(&self, reply: Reply) -> Result<Reply, Failure> {
        if reply.status.is_success() {
            return Ok(reply);
        }
        let Some(problem) = reply.problem() else { return Err(self.console.refusal(&reply).into()) };
        if reply.status == StatusCode::NOT_FOUND && problem.detail() == Some(NO_ROUTE) {
            return Err(AdminError::NoAdvertising.into());
        }
        if problem.errors().is_empty() {
            let id = problem.id().filter(|_| *problem.kind() == ErrorType::Own(OwnError::Conflict));
            return Err(match (id, self.console.refusal(&reply)) {
                (Some(id), ConsoleError::Refused(text)) => {
                    ConsoleError::Refused(format!("{text} ({id})")).into()
                }
                (_, refusal) => refusal.into(),
            });
        }
        // What consists of rows is sent as a table, whose lines the rows are.
        let line = |error: &crate::net::problem::ProblemPart| match error.row {
            Some(row) => format!("\n  line {row}: {}", error.detail),
            None => format!("\n  {}", error.detail),
        };
        Err(AdminError::Rows {
            summary: problem.detail().unwrap_or("the rows are refused").to_owned(),
            rows: problem.errors().iter().map(line).collect(),
        }
        .into())
    }

    /// The JSON of a success, or why there is none.
    fn json<T: DeserializeOwned>(&self, reply: Reply) -> Result<T, Failure> {
        Ok(serde_json::from_slice(&self.taken(reply)?.body).map_err(AdminError::Answer)?)
    }

    /// Something as JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(self.console.get(path).await?)
    }

    /// Something in another media type.
    pub(crate) async fn get_as(&self, path: &str, accept: &'static str) -> Result<Reply, Failure> {
        self.taken(self.console.get_as(path, accept).await?)
    }

    /// All entries of a list, page by page.
    pub(crate) async fn list(&self, path: &str, query: &str) -> Result<Vec<Value>, Failure> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page: Page = self.get(&format!("{path}?limit={PAGE}{query}{cursor}")).await?;
            all.extend(page.data);
            match page.next {
                Some(next) => cursor = format!("&cursor={}", encoded(&next)),
                None => return Ok(all),
            }
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(self.console.post(path, body.to_string()).await?)
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(self.console.patch(path, body.to_string()).await?)
    }

    /// Replaces something by a table.
    pub(crate) async fn put_csv(&self, path: &str, table: Vec<u8>) -> Result<Value, Failure> {
        self.json(self.console.put(path, "text/csv", table).await?)
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.taken(self.console.delete(path).await?)?;
        Ok(())
    }

    /// The path of an advertiser that is given by its id or its name. Names are the administrator's to look up; with an API
    /// key, ids are.
    pub(crate) async fn advertiser(&self, given: &str) -> Result<String, Failure> {
        if given.parse::<AdvertiserId>().is_ok() {
            return Ok(format!("v1/advertisers/{given}"));
        }
        let id = self.named("v1/advertisers", given, "name").await?;
        let id = id.ok_or_else(|| unknown("advertiser", given, "arras admin advertiser list"))?;
        Ok(format!("v1/advertisers/{id}"))
    }

    /// The path of something of an advertiser that is given by its id or by what stands in `field`.
    pub(crate) async fn of(
        &self,
        advertiser: &str,
        (kind, field, what, list): (&str, &str, &'static str, &'static str),
        given: &str,
    ) -> Result<String, Failure> {
        let path = format!("{advertiser}/{kind}");
        let id = self.named(&path, given, field).await?;
        let id = id.ok_or_else(|| unknown(what, given, list))?;
        Ok(format!("{path}/{id}"))
    }

    async fn named(&self, path: &str, given: &str, field: &str) -> Result<Option<String>, Failure> {
        let all = self.list(path, "").await?;
        let by = |name: &str| all.iter().find(|one| one[name] == given);
        let found = by("id").or_else(|| by(field));
        Ok(found.and_then(|one| one["id"].as_str()).map(str::to_owned))
    }
}

fn unknown(what: &'static str, name: &str, list: &'static str) -> AdminError {
    AdminError::Unknown { what, name: printable(name), list }
}

/// A text as it stands in a query.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                Cow::Owned((byte as char).to_string())
            }
            byte => Cow::Owned(format!("%{byte:02X}")),
        })
        .collect()
}
