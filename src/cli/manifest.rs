//! `arras manifest`: tells devices of an advertiser's tasks.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use arras_client::upload::fetch_hpke_configs;
use arras_protocol::messages::{HpkeConfigList, Url};

use crate::config::{self, Config};
use crate::net::client::{causes, device_client};
use crate::planner::too_dear_for_devices;
use crate::tasks::TaskFolder;
use crate::tasks::manifests::{ManifestFile, keeps_buckets, lock, next_sequence, publish, week_cost};
use crate::text::counted;

/// Arguments of `arras manifest`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The description: advertiser, tasks, events.
    file: PathBuf,
    /// The collector's configuration, which has the signing key and the folder of manifests.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Certificates of the authorities that the aggregators' certificates come from, in PEM; otherwise that of the
    /// configuration's leader.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Let buckets mean other campaigns than in the last manifest. What devices remember is counted for the wrong ones then,
    /// for a month.
    #[arg(long)]
    renumber: bool,
}

type Failure = Box<dyn std::error::Error>;

/// Runs the command.
pub fn run(args: &Args, now: SystemTime, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    make(&args.file, &args.config, args.ca.as_deref(), args.renumber, now, out)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the manifest that a file describes: asks both aggregators of each task for their HPKE configurations, signs, and writes the file that the
/// collector serves.
pub fn make(
    file: &Path,
    config_path: &Path,
    ca: Option<&Path>,
    renumber: bool,
    now: SystemTime,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let named = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(file).map_err(|error| named(file, &error))?;
    let description = ManifestFile::parse(&text).map_err(|error| named(file, &error))?;
    let now = now.duration_since(UNIX_EPOCH)?.as_secs();
    let config = Config::load(config_path)?;
    let collector = config.collector.as_ref().ok_or_else(|| {
        named(config_path, &"has no section [collector]; manifests are signed and served by the collector")
    })?;
    let folder = collector.manifests.as_ref().ok_or_else(|| {
        named(
            config_path,
            &"add the folder that manifests are served from: manifests = \"manifests\" below [collector]",
        )
    })?;
    let key = collector.signer().ok_or("collector.signing_key is missing; see `arras release new-key`")?;
    let tasks = TaskFolder::new(&collector.tasks);
    let mut known = Vec::new();
    for id in description.ids()? {
        known.push(tasks.load(id)?.ok_or_else(|| {
            format!("the collector takes no part in task {id}; add it with `arras task add`")
        })?);
    }
    let ca = match ca {
        Some(path) => Some(std::fs::read(path).map_err(|error| named(path, &error))?),
        None => {
            collector.leader.ca.as_ref().map(config::values::Pem::read).transpose()?.map(|pem| pem.to_vec())
        }
    };
    let hpke = fetch(ca.as_deref(), &known)?;
    let gathered: Vec<_> = description
        .task
        .iter()
        .zip(&known)
        .zip(hpke)
        .map(|((entry, known), lists)| (entry, known, lists))
        .collect();
    let _lock = lock(folder)?;
    let sequence = next_sequence(folder, &description.advertiser, now)?;
    let document = description.document(&gathered, sequence, now)?;
    if !renumber {
        keeps_buckets(folder, &document)?;
    }
    publish(folder, &key, &document)?;
    let expires = u64::saturating_sub(document.expires, now) / (24 * 3_600);
    writeln!(
        out,
        "manifest {sequence} of {} with {} and {} holds for {expires} days; signed by public key {} (key id {})",
        document.advertiser,
        counted(document.tasks.len(), "task"),
        counted(document.campaigns.len(), "campaign"),
        key.public_key(),
        key.public_key().id()
    )?;
    if let Some(warning) = too_dear_for_devices(week_cost(&known)) {
        writeln!(out, "note: {warning}")?;
    }
    Ok(())
}

/// The HPKE configurations of the aggregators of each task.
fn fetch(
    ca: Option<&[u8]>,
    tasks: &[crate::tasks::KnownTask],
) -> Result<Vec<(HpkeConfigList, HpkeConfigList)>, Failure> {
    let http = device_client(ca)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let list = async |endpoint: &Url| {
        let fetched = fetch_hpke_configs(&http, endpoint).await;
        fetched.map_err(|error| {
            format!(
                "the HPKE configurations of {endpoint}: {error} ({}); it must be running, and --ca name the \
                 authority of its certificate if that is not the leader's",
                causes(&error)
            )
        })
    };
    runtime.block_on(async {
        let mut lists = Vec::new();
        for known in tasks {
            let configuration = known.task.configuration();
            lists.push((list(&configuration.leader).await?, list(&configuration.helper).await?));
        }
        Ok(lists)
    })
}
