//! What is said once the console is there.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::json;

use super::Windows;
use crate::access::ApiKey;
use crate::config::SecretString;
use crate::schedule::DayRange;

/// A console that somebody can sign in to.
pub(super) struct Ready {
    /// The collector's, with a slash at its end.
    pub(super) endpoint: String,
    pub(super) email: &'static str,
    pub(super) password: SecretString,
    pub(super) key: ApiKey,
    pub(super) days: DayRange,
    pub(super) campaigns: usize,
    pub(super) conversions: u64,
    pub(super) windows: Windows,
    /// The advertiser's name.
    pub(super) advertiser: &'static str,
    /// The configuration of all roles.
    pub(super) config: PathBuf,
    /// Whether it is there afterwards.
    pub(super) kept: bool,
    /// How long it took.
    pub(super) seconds: u64,
}

impl Ready {
    fn url(&self) -> String {
        format!("{}console", self.endpoint)
    }

    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let (days, windows) = (self.days, self.windows);
        writeln!(out, "console    {}", self.url())?;
        writeln!(out, "email      {}", self.email)?;
        writeln!(out, "password   {}", self.password.expose())?;
        writeln!(out, "API key    {}", self.key.expose())?;
        writeln!(out)?;
        writeln!(out, "curl -H 'Authorization: Bearer {}' \\", self.key.expose())?;
        writeln!(
            out,
            "  '{}v1/insights?level=campaign&from={}&to={}&granularity=total'",
            self.endpoint,
            days.first(),
            days.last()
        )?;
        writeln!(out, "arras report '{}' --config {}", self.advertiser, self.config.display())?;
        writeln!(out)?;
        writeln!(
            out,
            "{} conversions and their values, for {} campaigns on {} days, in {} s: {} windows are released, {} have too \
             few reports.",
            self.conversions,
            self.campaigns,
            days.days(),
            self.seconds,
            windows.released,
            windows.too_few,
        )?;
        writeln!(
            out,
            "Impressions, clicks and spend are invented, and marked so. The window of today is open, as it is until midnight \
             in the shop's time zone."
        )?;
        if self.kept {
            let config = self.config.display();
            writeln!(out, "It runs until you press Ctrl-C, and is kept: arras serve --config {config}")?;
        } else {
            writeln!(out, "It runs until you press Ctrl-C, and leaves nothing behind.")?;
        }
        out.flush()
    }

    /// One line, so that a program knows when it has all of it.
    pub(super) fn print_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let document = json!({
            "url": self.url(),
            "email": self.email,
            "password": self.password.expose(),
            "key": self.key.expose(),
            "advertiser": self.advertiser,
            "config": self.config,
        });
        writeln!(out, "{document}")?;
        out.flush()
    }
}
