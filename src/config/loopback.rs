//! Three roles for one machine and one run: fresh keys, free ports, plain HTTP on loopback. For the demo, the
//! benches and the tests; what operators run is made by `arras init`, with TLS.

use std::fs;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::SystemTime;

use ring::rand::SystemRandom;

use crate::config::keys::generate_hpke_keypair;
use crate::config::secret::{NoRandomness, Secret};
use crate::config::{Config, LoadError};
use crate::net::auth::BearerToken;
use crate::service::Listeners;

/// The only collector.
pub const COLLECTOR: &str = "advertiser";

/// The only budget source.
pub const BUDGET_SOURCE: &str = "shop.example";

/// The configuration of [`Loopback::write`], in its folder.
pub const CONFIG_FILE: &str = "arras.toml";

/// Beside it, the administrator's token.
pub const TOKEN_FILE: &str = "admin/token";

/// Why the roles could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoopbackError {
    /// No port, or a file cannot be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No randomness.
    #[error("{0}")]
    Randomness(#[from] NoRandomness),
    /// What was written is not a configuration: a mistake of ours or a value of the caller's.
    #[error("{0}")]
    Config(#[from] LoadError),
}

/// A role's configuration and the socket that it will listen on.
#[derive(Debug)]
pub struct RoleSetup {
    /// TOML: the role's section.
    pub toml: String,
    /// Bound to the port that the endpoint names; whoever starts the role takes it.
    pub listener: Option<TcpListener>,
    /// The role's URL.
    pub endpoint: String,
}

/// Leader, helper and collector that know each other.
#[derive(Debug)]
pub struct Loopback {
    /// The leader.
    pub leader: RoleSetup,
    /// The helper.
    pub helper: RoleSetup,
    /// The collector.
    pub collector: RoleSetup,
    /// What the collector sends to the leader.
    pub collector_token: BearerToken,
    /// What the leader sends to the helper.
    pub leader_token: BearerToken,
    /// What the administrator sends to the collector.
    pub admin_token: BearerToken,
}

fn listen() -> io::Result<(TcpListener, String, u16)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    Ok((listener, format!("http://127.0.0.1:{port}/"), port))
}

/// The keys that a store and a task folder of this name go with.
fn folders(role: &str) -> String {
    format!("store = \"{role}/store\"\nwatermark = \"{role}/watermark\"\ntasks = \"{role}/tasks\"\n")
}

impl Loopback {
    /// Makes keys and tokens and binds ports. `epoch_start` (a date) and `cap` (epsilon) are those of the budget.
    /// `extra` is added to each aggregator's section.
    pub fn new(epoch_start: &str, cap: &str, extra: &str) -> Result<Self, LoopbackError> {
        let random = SystemRandom::new();
        let secret = || Secret::<32>::generate(&random).map(|secret| secret.to_base64().to_string());
        let token = || BearerToken::generate(&random);
        let (leader_token, collector_token, admin_token) = (token()?, token()?, token()?);
        let (leader_listener, leader, leader_port) = listen()?;
        let (helper_listener, helper, helper_port) = listen()?;
        let (collector_listener, collector, collector_port) = listen()?;
        let keys = [1, 2, 3].map(|id| generate_hpke_keypair(&random, id));
        let [leader_key, helper_key, collector_key] = keys;
        let (leader_key, helper_key, collector_key) = (leader_key?, helper_key?, collector_key?);
        let verify_secret = format!("verify_secret = [{{ id = 1, secret = \"{}\" }}]\n", secret()?);
        let budget = format!(
            "hpke_config = \"{}\"\n\
             budget_source = [{{ name = \"{BUDGET_SOURCE}\", epoch_start = \"{epoch_start}\", cap = \"{cap}\" }}]\n",
            collector_key.config().to_base64()
        );
        let leader_toml = format!(
            "[leader]\nendpoint = \"{leader}\"\nlisten = \"127.0.0.1:{leader_port}\"\n{}id_key = \"{}\"\n\
             hpke = [{{ id = 1, private_key = \"{}\" }}]\n{verify_secret}\
             helper = {{ endpoint = \"{helper}\", token = \"{}\" }}\n{extra}\n\
             [[leader.collector]]\nname = \"{COLLECTOR}\"\ntoken_sha256 = \"{}\"\n{budget}\n",
            folders("leader"),
            secret()?,
            leader_key.private_key.to_base64().as_str(),
            leader_token.expose(),
            collector_token.hash(),
        );
        let helper_toml = format!(
            "[helper]\nendpoint = \"{helper}\"\nlisten = \"127.0.0.1:{helper_port}\"\n{}id_key = \"{}\"\n\
             hpke = [{{ id = 2, private_key = \"{}\" }}]\n{verify_secret}leader_token_sha256 = \"{}\"\n\
             leader_endpoint = \"{leader}\"\n{extra}\n[[helper.collector]]\nname = \"{COLLECTOR}\"\n{budget}\n",
            folders("helper"),
            secret()?,
            helper_key.private_key.to_base64().as_str(),
            leader_token.hash(),
        );
        let collector_toml = format!(
            "[collector]\nlisten = \"127.0.0.1:{collector_port}\"\n{}manifests = \"collector/manifests\"\n\
             advertising = {{ helper = \"{helper}\", name = \"{COLLECTOR}\", behind_tls = false }}\nhpke = [{{ id = 3, private_key = \"{}\" }}]\n\
             budget_source = [{{ name = \"{BUDGET_SOURCE}\", epoch_start = \"{epoch_start}\", cap = \"{cap}\" }}]\n\
             signing_key = \"{}\"\nadmin_token_sha256 = \"{}\"\nleader = {{ endpoint = \"{leader}\", token = \"{}\" }}\n",
            folders("collector"),
            collector_key.private_key.to_base64().as_str(),
            secret()?,
            admin_token.hash(),
            collector_token.expose(),
        );
        let setup = |toml, listener, endpoint| RoleSetup { toml, listener: Some(listener), endpoint };
        Ok(Self {
            leader: setup(leader_toml, leader_listener, leader),
            helper: setup(helper_toml, helper_listener, helper),
            collector: setup(collector_toml, collector_listener, collector),
            collector_token,
            leader_token,
            admin_token,
        })
    }

    /// The sockets, for the first start.
    pub fn take_listeners(&mut self) -> Listeners {
        Listeners {
            leader: self.leader.listener.take(),
            helper: self.helper.listener.take(),
            collector: self.collector.listener.take(),
        }
    }

    /// One configuration for a process that plays all three, written to a folder with the administrator's token, both
    /// readable by their owner only.
    pub fn write(&self, dir: &Path) -> Result<Config, LoopbackError> {
        for role in ["leader", "helper", "collector"] {
            fs::create_dir_all(dir.join(role).join("tasks"))?;
        }
        let token = dir.join(TOKEN_FILE);
        fs::create_dir_all(token.parent().unwrap_or(dir))?;
        write_secret(&token, self.admin_token.expose())?;
        let text = format!("{}{}{}", self.leader.toml, self.helper.toml, self.collector.toml);
        write_config(&dir.join(CONFIG_FILE), &text)
    }
}

/// Writes what its owner alone may read.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// Writes a configuration that is readable by its owner only, and loads it.
pub fn write_config(path: &Path, text: &str) -> Result<Config, LoopbackError> {
    write_secret(path, text)?;
    Ok(Config::load_for_start(path, SystemTime::now())?)
}
