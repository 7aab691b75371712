//! `arras admin`: advertisers, campaigns, delivery numbers, keys and users of a running collector, for whoever runs it. Thin
//! clients of its interface: whatever they do can be done over HTTP, too.

mod access;
mod advertisers;
pub(super) mod ask;
mod campaigns;
mod measurement;
mod print;

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;

use self::ask::Ask;
pub(super) use self::campaigns::{csv, day, days};
use super::{Failure, console};

/// The command line of `arras admin`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Advertisers, and under which terms they are measured.
    #[command(subcommand)]
    Advertiser(advertisers::Command),
    /// What is advertised.
    #[command(subcommand)]
    Campaign(campaigns::Command),
    /// Impressions, clicks and spend, as ads managers count them.
    #[command(subcommand)]
    Delivery(campaigns::DeliveryCommand),
    /// API keys.
    #[command(subcommand)]
    Key(access::KeyCommand),
    /// Who signs in at the console.
    #[command(subcommand)]
    User(access::UserCommand),
    /// The tasks that count an advertiser's conversions.
    #[command(subcommand)]
    Tasks(measurement::TasksCommand),
    /// Print the file that `arras manifest` signs for devices.
    Manifest(With<measurement::ManifestArgs>),
    /// Say which unit and maximum to take for values, and what they cost.
    ValueAdvice(With<measurement::AdviceArgs>),
    /// List the windows of an advertiser, and where each stands.
    Windows(With<measurement::WindowsArgs>),
}

/// Options of a command, with those that say how the collector is asked.
#[derive(Debug, clap::Args)]
struct With<T: clap::Args> {
    #[command(flatten)]
    console: console::Args,
    #[command(flatten)]
    own: T,
}

impl<T: clap::Args> With<T> {
    fn ask(&self) -> Result<Ask, Failure> {
        Ask::new(&self.console)
    }
}

/// An advertiser, and how to print what it has.
#[derive(Debug, clap::Args)]
struct OfAdvertiser {
    /// The advertiser's id or name.
    advertiser: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Asks, and prints the answer.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Advertiser(command) => command.run(out),
        Command::Campaign(command) => command.run(out),
        Command::Delivery(command) => command.run(out),
        Command::Key(command) => command.run(out),
        Command::User(command) => command.run(out),
        Command::Tasks(command) => command.run(out),
        Command::Manifest(args) => measurement::manifest(args, out),
        Command::ValueAdvice(args) => measurement::advice(args, out),
        Command::Windows(args) => measurement::windows(args, out),
    }?;
    Ok(ExitCode::SUCCESS)
}
