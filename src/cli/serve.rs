//! `arras serve`: plays the roles of a configuration until it is told to stop.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use super::Failure;
use crate::config::Config;
use crate::net::{descriptors, shutdown};
use crate::service::{Environment, Listeners, Service};

/// Threads for calls that block on the disk: two for each busy task's uploads, the jobs that are worked on at once, and
/// looks at the store. Calls beyond them queue, of each connection at most one.
const BLOCKING_THREADS: usize = 512;

/// Arguments of `arras serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file; each of its sections is a role to play.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Serves until SIGTERM, Ctrl-C or a failure.
pub fn run(args: &Args, now: SystemTime, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let config = Config::load_for_start(&args.config, now)?;
    descriptors::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()?;
    runtime.block_on(async {
        let mut service = Service::start(&config, &Environment::real(), Listeners::default())?;
        for (role, address, endpoint) in roles(&config) {
            writeln!(out, "{role} listens on {address}{endpoint}")?;
        }
        if let Some(address) = service.operations_address() {
            writeln!(out, "metrics and health are at http://{address}/metrics, /healthz and /readyz")?;
        }
        out.flush()?;
        let stopped = tokio::select! {
            () = shutdown::requested() => true,
            () = service.failed() => false,
        };
        writeln!(out, "stopping: requests in flight are finished, then the stores are closed")?;
        service.stop().await;
        Ok(if stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn roles(config: &Config) -> Vec<(&'static str, std::net::SocketAddr, String)> {
    let mut roles = Vec::new();
    if let Some(leader) = &config.leader {
        roles.push(("leader", leader.listen, format!(" as {}", leader.endpoint.as_str())));
    }
    if let Some(helper) = &config.helper {
        roles.push(("helper", helper.listen, format!(" as {}", helper.endpoint.as_str())));
    }
    if let Some(collector) = &config.collector {
        roles.push(("collector", collector.listen, String::new()));
    }
    roles
}
