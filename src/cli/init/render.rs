//! The text of the files that `arras init` writes.

use zeroize::Zeroizing;

use super::certificates::Issued;
use crate::config::keys::HpkeKey;
use crate::config::secret::Secret;
use crate::config::values::EpochStart;
use crate::net::auth::BearerToken;
use crate::net::endpoint::Endpoint;
use arras_protocol::epsilon::MicroEpsilon;

/// The name of the one collector.
pub(super) const COLLECTOR: &str = "advertiser";

/// Epsilon per week that `init` allows: ten releases at the example's epsilon of 1.
pub(super) const CAP: &str = "10";

/// Everything that the three files are made of.
pub(super) struct Material {
    pub(super) leader: Role,
    pub(super) helper: Role,
    pub(super) collector: Role,
    pub(super) verify_secret: Secret<32>,
    pub(super) signing_key: Secret<32>,
    pub(super) leader_to_helper: BearerToken,
    pub(super) collector_to_leader: BearerToken,
    pub(super) admin: BearerToken,
    pub(super) budget_source: String,
    pub(super) epoch_start: EpochStart,
    pub(super) cap: MicroEpsilon,
}

/// What each role has of its own.
pub(super) struct Role {
    pub(super) endpoint: Endpoint,
    pub(super) listen: String,
    pub(super) operations_port: u16,
    pub(super) hpke: HpkeKey,
    pub(super) id_key: Secret<32>,
    pub(super) tls: Issued,
}

/// A TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

const PLACES: &str = "\
store = \"store\"
# Tells a restored backup from the newest store. Back up the store, never this file.
watermark = \"watermark\"
tasks = \"tasks\"
";

fn hpke(section: &str, key: &HpkeKey) -> Zeroizing<String> {
    let private_key = key.private_key.to_base64();
    Zeroizing::new(format!(
        "[[{section}.hpke]]\nid = {}\nprivate_key = \"{}\"\n",
        key.id,
        private_key.as_str()
    ))
}

fn tls(section: &str, issued: &Issued) -> Zeroizing<String> {
    let key = issued.private_key.as_str();
    Zeroizing::new(format!(
        "[{section}.tls]\ncertificate = \"certificate.pem\"\nprivate_key = \"\"\"\n{key}\"\"\"\n"
    ))
}

fn operations(role: &Role) -> String {
    format!(
        "\n# Metrics and health of this process, for this machine only. May be left out.\n\
         [operations]\n\
         listen = \"127.0.0.1:{}\"\n",
        role.operations_port
    )
}

impl Material {
    fn source(&self, section: &str) -> String {
        format!(
            "[[{section}.collector.budget_source]]\n\
             name = {}\n\
             # Epochs of 7 days count from here; never change it once something was spent.\n\
             epoch_start = \"{}\"\n\
             # Epsilon that may be spent in each epoch. Beside it, task_cap = \"...\" limits each single task of the source.\n\
             cap = \"{}\"\n",
            quoted(&self.budget_source),
            self.epoch_start,
            self.cap
        )
    }

    fn verify(&self, section: &str) -> Zeroizing<String> {
        let secret = self.verify_secret.to_base64();
        Zeroizing::new(format!(
            "# Shared by leader and helper.\n[[{section}.verify_secret]]\nid = 1\nsecret = \"{}\"\n",
            secret.as_str()
        ))
    }

    pub(super) fn leader_toml(&self) -> Zeroizing<String> {
        let role = &self.leader;
        Zeroizing::new(format!(
            "# The leader. This file holds secrets: keep its mode at 0600.\n\
             [leader]\n\
             # As in the tasks, byte for byte.\n\
             endpoint = \"{endpoint}\"\n\
             listen = \"{listen}\"\n\
             {PLACES}\
             id_key = \"{id_key}\"\n\n\
             {hpke}\n\
             {verify}\n\
             {tls}\n\
             [leader.helper]\n\
             endpoint = \"{helper}\"\n\
             token = \"{token}\"\n\
             ca = \"ca.pem\"\n\n\
             [[leader.collector]]\n\
             name = \"{COLLECTOR}\"\n\
             token_sha256 = \"{hash}\"\n\
             hpke_config = \"{config}\"\n\n\
             {source}{operations}",
            operations = operations(role),
            endpoint = role.endpoint,
            listen = role.listen,
            id_key = role.id_key.to_base64().as_str(),
            hpke = hpke("leader", &role.hpke).as_str(),
            verify = self.verify("leader").as_str(),
            tls = tls("leader", &role.tls).as_str(),
            helper = self.helper.endpoint,
            token = self.leader_to_helper.expose(),
            hash = self.collector_to_leader.hash(),
            config = self.collector.hpke.config().to_base64(),
            source = self.source("leader"),
        ))
    }

    pub(super) fn helper_toml(&self) -> Zeroizing<String> {
        let role = &self.helper;
        Zeroizing::new(format!(
            "# The helper. This file holds secrets: keep its mode at 0600.\n\
             [helper]\n\
             # As in the tasks, byte for byte.\n\
             endpoint = \"{endpoint}\"\n\
             leader_endpoint = \"{leader}\"\n\
             leader_token_sha256 = \"{hash}\"\n\
             listen = \"{listen}\"\n\
             {PLACES}\
             id_key = \"{id_key}\"\n\n\
             {hpke}\n\
             {verify}\n\
             {tls}\n\
             [[helper.collector]]\n\
             name = \"{COLLECTOR}\"\n\
             hpke_config = \"{config}\"\n\n\
             {source}{operations}",
            operations = operations(role),
            endpoint = role.endpoint,
            leader = self.leader.endpoint,
            hash = self.leader_to_helper.hash(),
            listen = role.listen,
            id_key = role.id_key.to_base64().as_str(),
            hpke = hpke("helper", &role.hpke).as_str(),
            verify = self.verify("helper").as_str(),
            tls = tls("helper", &role.tls).as_str(),
            config = self.collector.hpke.config().to_base64(),
            source = self.source("helper"),
        ))
    }

    pub(super) fn collector_toml(&self) -> Zeroizing<String> {
        let role = &self.collector;
        Zeroizing::new(format!(
            "# The collector. This file holds secrets: keep its mode at 0600.\n\
             [collector]\n\
             listen = \"{listen}\"\n\
             {PLACES}\
             # Signed by `arras manifest`, served to devices.\n\
             manifests = \"manifests\"\n\
             # Signs releases and manifests; whoever has it can make some up.\n\
             signing_key = \"{signing_key}\"\n\
             admin_token_sha256 = \"{admin}\"\n\n\
             {hpke}\n\
             {tls}\n\
             [collector.leader]\n\
             endpoint = \"{leader}\"\n\
             token = \"{token}\"\n\
             ca = \"ca.pem\"\n\n\
             # Lets the collector make tasks for the advertisers that it has, whose API and console it serves. Without\n\
             # this section it only collects tasks that are added by hand.\n\
             [collector.advertising]\n\
             # The helper's endpoint and this collector's name, as in the aggregators' configurations.\n\
             helper = \"{helper}\"\n\
             name = \"{COLLECTOR}\"\n\n\
             # As in the aggregators' configurations, to say what a release cost and what is left; the aggregators' caps decide.\n\
             [[collector.budget_source]]\n\
             name = {source}\n\
             epoch_start = \"{epoch_start}\"\n\
             cap = \"{cap}\"\n{operations}",
            cap = self.cap,
            operations = operations(role),
            source = quoted(&self.budget_source),
            epoch_start = self.epoch_start,
            listen = role.listen,
            signing_key = self.signing_key.to_base64().as_str(),
            admin = self.admin.hash(),
            hpke = hpke("collector", &role.hpke).as_str(),
            tls = tls("collector", &role.tls).as_str(),
            leader = self.leader.endpoint,
            helper = self.helper.endpoint,
            token = self.collector_to_leader.expose(),
        ))
    }
}
