//! `arras init`: keys, tokens, certificates and a configuration for each role.
//!
//! Each role gets a folder of its own with that role's secrets only, so that the
//! folders can be given to different organisations. A token is in full only where
//! it is sent from. The certificate authority's key never reaches the disk: other
//! certificates need a new `init` or an authority of one's own.

mod certificates;
mod render;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use ring::rand::SecureRandom;
use time::{Duration, OffsetDateTime};

use self::certificates::Authority;
use self::render::{CAP, COLLECTOR, Material, Role, quoted};
use super::Failure;
use crate::config::keys::generate_hpke_keypair;
use crate::config::secret::{NoRandomness, Secret};
use crate::config::values::EpochStart;
use crate::net::auth::BearerToken;
use crate::net::endpoint::{Endpoint, EndpointError};
use crate::privacy::ledger::{BudgetSource, LedgerError};
use crate::store::sync_parent;
use arras_protocol::epsilon::MicroEpsilon;

/// The HpkeConfigId of each role's first key.
const HPKE_ID: u8 = 1;

/// Files that hold a secret, from their first byte on.
const SECRET_MODE: u32 = 0o600;

/// The folder of the example task, and its file.
const EXAMPLES: &str = "tasks-examples";
const EXAMPLE: &str = "conversions.toml";

/// How far the port of a role's metrics is from the role's own, unless it is given.
const OPERATIONS_PORT_OFFSET: u16 = 1_000;

/// Files that anybody may read.
const PUBLIC_MODE: u32 = 0o644;

/// The command line of `arras init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to make; it must not exist or be empty.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The IP address or name under which all three roles are reached.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// The ports of leader, helper and collector.
    #[arg(long, value_name = "L,H,C", value_delimiter = ',', num_args = 1, default_value = "8443,8444,8445")]
    pub ports: Vec<u16>,
    /// The ports of the roles' metrics and health, on 127.0.0.1 only. Each role's own and 1000, unless given.
    #[arg(long, value_name = "L,H,C", value_delimiter = ',', num_args = 1)]
    pub operations_ports: Vec<u16>,
    /// Whose privacy losses are added up together: the site or app that is measured.
    #[arg(long, default_value = "example.com")]
    pub budget_source: String,
}

/// Why nothing, or not everything, was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The folder has something in it.
    #[error("{} is not empty; name a new folder, since keys that are overwritten are lost", .0.display())]
    NotEmpty(PathBuf),
    /// A file or folder cannot be made.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The host is no host.
    #[error("--host: {0}")]
    Host(EndpointError),
    /// Not three different ports.
    #[error("--ports: give three different ports above 0: leader, helper, collector")]
    Ports,
    /// Not three ports beside those of the roles.
    #[error("--operations-ports: give three different ports above 0 that are not in --ports")]
    OperationsPorts,
    /// An unusable name.
    #[error("--budget-source: {0}")]
    BudgetSource(LedgerError),
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// A certificate cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The clock is far off.
    #[error("this machine's clock is before 1970; set it")]
    Clock,
    /// The summary cannot be printed; everything was made.
    #[error("the summary cannot be printed: {0}")]
    Print(io::Error),
}

impl InitError {
    /// Whether an option or the folder that was named is wrong.
    fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NotEmpty(_) | Self::Host(_) | Self::Ports | Self::OperationsPorts | Self::BudgetSource(_)
        )
    }
}

/// As [`make`], for the command line.
pub(super) fn run(
    args: &Args,
    now: SystemTime,
    random: &dyn SecureRandom,
    out: &mut dyn Write,
) -> Result<ExitCode, Failure> {
    match make(args, now, random, out) {
        Err(error) if error.is_usage() => Err(Failure::Usage(error.to_string())),
        made => Ok(made.map(|()| ExitCode::SUCCESS)?),
    }
}

/// Makes the folder and prints to `out` what to do next. A run that fails midway
/// leaves a folder that is of no use: remove it and run again.
pub fn make(
    args: &Args,
    now: SystemTime,
    random: &dyn SecureRandom,
    out: &mut dyn Write,
) -> Result<(), InitError> {
    let authority = Authority::new(now)?;
    let material = material(args, now, random, &authority)?;

    let empty = match fs::read_dir(&args.dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(source) => return Err(InitError::Write { path: args.dir.clone(), source }),
    };
    if !empty {
        return Err(InitError::NotEmpty(args.dir.clone()));
    }
    write_all(&args.dir, &material, &authority.pem())?;
    summary(&args.dir, out).map_err(InitError::Print)
}

fn material(
    args: &Args,
    now: SystemTime,
    random: &dyn SecureRandom,
    authority: &Authority,
) -> Result<Material, InitError> {
    let [leader, helper, collector] = ports(&args.ports)?;
    let operations = operations_ports(args)?;
    let source = &args.budget_source;
    BudgetSource::new(source).map_err(InitError::BudgetSource)?;
    let role = |name: &str, port: u16, operations_port: u16| -> Result<Role, InitError> {
        let (endpoint, listen) = address(&args.host, port)?;
        Ok(Role {
            tls: authority.issue(name, endpoint.host())?,
            endpoint,
            listen,
            operations_port,
            hpke: generate_hpke_keypair(random, HPKE_ID)?,
            id_key: Secret::generate(random)?,
        })
    };
    Ok(Material {
        leader: role("leader", leader, operations[0])?,
        helper: role("helper", helper, operations[1])?,
        collector: role("collector", collector, operations[2])?,
        verify_secret: Secret::generate(random)?,
        signing_key: Secret::generate(random)?,
        leader_to_helper: BearerToken::generate(random)?,
        collector_to_leader: BearerToken::generate(random)?,
        admin: BearerToken::generate(random)?,
        budget_source: source.clone(),
        epoch_start: monday_before_last(now).ok_or(InitError::Clock)?,
        // Checked by a test: the constant is a valid epsilon.
        cap: CAP.parse::<MicroEpsilon>().expect("the constant is an epsilon"),
    })
}

fn ports(ports: &[u16]) -> Result<[u16; 3], InitError> {
    match *ports {
        [leader, helper, collector]
            if leader != helper && leader != collector && helper != collector && !ports.contains(&0) =>
        {
            Ok([leader, helper, collector])
        }
        _ => Err(InitError::Ports),
    }
}

/// Three that are none of the roles' own.
fn operations_ports(args: &Args) -> Result<[u16; 3], InitError> {
    let beside = |port: &u16| port.checked_add(OPERATIONS_PORT_OFFSET);
    let chosen = match args.operations_ports.as_slice() {
        [] => args.ports.iter().map(beside).collect::<Option<Vec<_>>>().ok_or(InitError::OperationsPorts)?,
        given => given.to_vec(),
    };
    if chosen.iter().any(|port| args.ports.contains(port)) {
        return Err(InitError::OperationsPorts);
    }
    ports(&chosen).map_err(|_| InitError::OperationsPorts)
}

/// The endpoint and where to listen for it: on the address itself, or on every
/// address if a name was given, since what it resolves to can change.
fn address(host: &str, port: u16) -> Result<(Endpoint, String), InitError> {
    let ip: Option<IpAddr> = host.parse().ok();
    let authority = match ip {
        Some(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{host}:{port}"),
    };
    let endpoint: Endpoint = format!("https://{authority}/").parse().map_err(InitError::Host)?;
    // A host that the URL parser reads differently (a path, a port, 0x7f.1) is refused.
    if !endpoint.host().eq_ignore_ascii_case(host) || !endpoint.path().is_empty() {
        return Err(InitError::Host(EndpointError::NotAbsolute));
    }
    let listen = if ip.is_some() { authority } else { format!("0.0.0.0:{port}") };
    Ok((endpoint, listen))
}

/// The Monday of the week before that of `now` in UTC: a budget that began this Monday would refuse windows
/// of last night.
fn monday_before_last(now: SystemTime) -> Option<EpochStart> {
    let today = OffsetDateTime::from(now).date();
    let since = today.weekday().number_days_from_monday() + 7;
    EpochStart::new(today.checked_sub(Duration::days(since.into()))?)
}

fn write_all(dir: &Path, material: &Material, ca: &str) -> Result<(), InitError> {
    make_folder(dir)?;
    write(&dir.join("ca.pem"), ca, PUBLIC_MODE)?;
    let roles = [
        ("leader", &material.leader, material.leader_toml(), true),
        ("helper", &material.helper, material.helper_toml(), false),
        ("collector", &material.collector, material.collector_toml(), true),
    ];
    for (name, role, text, asks_others) in roles {
        let folder = dir.join(name);
        make_folder(&folder)?;
        make_folder(&folder.join("tasks"))?;
        write(&folder.join("certificate.pem"), &role.tls.certificate, PUBLIC_MODE)?;
        if asks_others {
            write(&folder.join("ca.pem"), ca, PUBLIC_MODE)?;
        }
        write(&folder.join(format!("{name}.toml")), &text, SECRET_MODE)?;
    }
    let admin = dir.join("admin");
    make_folder(&admin)?;
    write(&admin.join("token"), material.admin.expose(), SECRET_MODE)?;
    let examples = dir.join(EXAMPLES);
    make_folder(&examples)?;
    let task =
        example_task_toml(&material.leader.endpoint, &material.helper.endpoint, &material.budget_source);
    write(&examples.join(EXAMPLE), &task, PUBLIC_MODE)
}

/// Makes a folder and those above it that are missing; on disk before this returns.
fn make_folder(path: &Path) -> Result<(), InitError> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(path)
        .and_then(|()| missing.into_iter().try_for_each(sync_parent))
        .map_err(|source| InitError::Write { path: path.to_owned(), source })
}

/// Makes a file with its mode at once: a mode set afterwards would leave a moment
/// in which others can open it. On disk before this returns, under its name.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), InitError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        sync_parent(path)
    });
    written.map_err(|source| InitError::Write { path: path.to_owned(), source })
}

/// A task to start from: conversions of up to 15 campaigns, in windows of an hour.
pub fn example_task_toml(leader: &Endpoint, helper: &Endpoint, budget_source: &str) -> String {
    format!(
        "# Conversions by campaign. Bucket 0 is \"not attributed\"; campaigns take the others.\n\
         name = \"conversions\"\n\
         profile = \"arras\"\n\
         vdaf = {{ type = \"histogram\", length = 16 }}\n\
         # Names for buckets 1, 2, ...; releases show them.\n\
         campaigns = [\"spring\", \"summer\", \"autumn\"]\n\
         # Seconds; windows are made of whole steps of this length. Each release spends epsilon times contributions of\n\
         # the budget source's week, so windows of a day can all be collected where the cap is 10; of an hour, ten can.\n\
         time_precision = 3600\n\
         # Neither aggregator releases anything about fewer reports.\n\
         min_batch_size = 100\n\
         # Spent by each release of a batch.\n\
         epsilon = \"1\"\n\
         # Reports that one device may send in any 7 days.\n\
         contributions = 1\n\
         # The smallest noised count that is shown. Left out, it is the one with which at most one release in a\n\
         # thousand shows any bucket that nobody is in: 23 for this noise and 16 buckets.\n\
         # threshold = 23\n\
         budget_source = {}\n\
         # As the aggregators' configurations name it.\n\
         collector = {}\n\
         leader = {}\n\
         helper = {}\n",
        quoted(budget_source),
        quoted(COLLECTOR),
        quoted(leader.as_str()),
        quoted(helper.as_str()),
    )
}

fn summary(dir: &Path, out: &mut dyn Write) -> io::Result<()> {
    let shown = dir.display();
    writeln!(out, "Made {shown}:")?;
    for role in ["leader", "helper", "collector"] {
        writeln!(out, "  {role}/  that role's secrets only; give it to whoever runs the {role}")?;
    }
    writeln!(out, "  admin/token  the token of the collector's administrator")?;
    writeln!(out, "  ca.pem  for clients that talk to these servers")?;
    writeln!(
        out,
        "The certificate authority's key was not kept: to renew, run init again or use your own authority."
    )?;
    writeln!(out, "Next:")?;
    for role in ["leader", "helper", "collector"] {
        writeln!(out, "  arras check --config {shown}/{role}/{role}.toml")?;
    }
    let task = Path::new(EXAMPLES).join(EXAMPLE);
    for role in ["leader", "helper", "collector"] {
        writeln!(out, "  arras task add {shown}/{} --config {shown}/{role}/{role}.toml", task.display())?;
    }
    for role in ["leader", "helper", "collector"] {
        writeln!(out, "  arras serve --config {shown}/{role}/{role}.toml")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
