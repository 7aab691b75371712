//! `arras manifest`: tells devices of an advertiser's tasks.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use arras_client::upload::fetch_hpke_configs;
use arras_protocol::messages::{HpkeConfigList, Url};

use super::{Failure, named};
use crate::config::values::Pem;
use crate::config::{Config, roles};
use crate::net::client::{causes, device_client};
use crate::planner::{self, device_week_cost, too_dear_for_devices};
use crate::tasks::manifests::{ManifestFile, keeps_buckets, lock, next_sequence, publish};
use crate::tasks::{KnownTask, TaskFolder};
use crate::text::counted;

/// Arguments of `arras manifest`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The description: advertiser, tasks, events.
    pub file: PathBuf,
    /// The collector's configuration, which has the signing key and the folder of manifests.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Certificates of the authorities that the aggregators' certificates come from, in PEM; otherwise that of the
    /// configuration's leader.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Let buckets mean other campaigns than in the last manifest. What devices remember is counted for the wrong ones then,
    /// for a month.
    #[arg(long)]
    pub renumber: bool,
}

/// Makes the manifest that a file describes: asks both aggregators of each task for their HPKE configurations, signs, and
/// writes the file that the collector serves.
pub fn run(args: &Args, now: SystemTime, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let text = std::fs::read_to_string(&args.file).map_err(|error| named(&args.file, error))?;
    let description = ManifestFile::parse(&text).map_err(|error| named(&args.file, error))?;
    let now = now.duration_since(UNIX_EPOCH)?.as_secs();
    let config = Config::load(&args.config)?;
    let collector = config.collector.as_ref().ok_or_else(|| {
        named(&args.config, "has no section [collector]; manifests are signed and served by the collector")
    })?;
    let folder = collector.manifests.as_ref().ok_or_else(|| {
        named(
            &args.config,
            "add the folder that manifests are served from: manifests = \"manifests\" below [collector]",
        )
    })?;
    let key = collector.signer().ok_or("collector.signing_key is missing; see `arras release new-key`")?;
    let tasks = tasks_of(&description, &TaskFolder::new(&collector.tasks))?;
    let lists = fetch(authority(args, collector)?.as_deref(), &tasks)?;
    let entries = description.task.iter().zip(&tasks).zip(lists);
    let gathered: Vec<_> = entries.map(|((entry, known), lists)| (entry, known, lists)).collect();
    let _lock = lock(folder)?;
    let sequence = next_sequence(folder, &description.advertiser, now)?;
    let document = description.document(&gathered, sequence, now)?;
    if !args.renumber {
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
    let terms = tasks.iter().map(|known| planner::Terms {
        vdaf: *known.task.vdaf().config(),
        epsilon: known.policy.epsilon,
        contributions: known.policy.contributions,
        cap: None,
    });
    if let Some(warning) = too_dear_for_devices(device_week_cost(terms)) {
        writeln!(out, "note: {warning}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The tasks that a manifest is to name, as the collector has them.
fn tasks_of(description: &ManifestFile, folder: &TaskFolder) -> Result<Vec<KnownTask>, Failure> {
    let unknown = |id| format!("the collector takes no part in task {id}; add it with `arras task add`");
    description.ids()?.into_iter().map(|id| Ok(folder.load(id)?.ok_or_else(|| unknown(id))?)).collect()
}

/// Whom to trust when the aggregators are asked, in PEM.
fn authority(args: &Args, collector: &roles::Collector) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(path) = &args.ca {
        return Ok(Some(std::fs::read(path).map_err(|error| named(path, error))?));
    }
    Ok(collector.leader.ca.as_ref().map(Pem::read).transpose()?.map(|pem| pem.to_vec()))
}

/// The HPKE configurations of the aggregators of each task.
fn fetch(ca: Option<&[u8]>, tasks: &[KnownTask]) -> Result<Vec<(HpkeConfigList, HpkeConfigList)>, Failure> {
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
