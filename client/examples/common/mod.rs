//! The advertiser's side of the examples: a manifest, as a collector publishes it, and the aggregators' keys.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::num::NonZeroU32;

use arras_protocol::codec::Encode as _;
use arras_protocol::codepoints::{
    BATCH_MODE_TIME_INTERVAL, TASK_EXTENSION_BUDGET_SOURCE, TASK_EXTENSION_PRIVACY_POLICY,
};
use arras_protocol::hpke::PrivateKey;
use arras_protocol::manifest::{Campaign, EventDocument, ManifestDocument, Measures, TaskDocument};
use arras_protocol::messages::{
    Extension, Extensions, HpkeConfig, HpkeConfigList, TaskConfiguration, TimePrecision, Url,
};
use arras_protocol::policy::{Mechanism, PrivacyPolicy};
use arras_protocol::signed::{PublicKey, SigningKey};
use arras_protocol::vdaf::VdafConfig;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

pub const SHOP: &str = "shop.example";

/// What a shop publishes: its campaigns, and two tasks, one of which counts purchases and leads, the other one adds up
/// what purchases are worth.
pub struct Publisher {
    pub signing_key: SigningKey,
    pub leader: PrivateKey,
    pub helper: PrivateKey,
    /// Named in reports; another one after the aggregators changed their keys.
    pub hpke_id: u8,
}

impl Publisher {
    pub fn new(hpke_id: u8) -> Self {
        let mut rng = StdRng::seed_from_u64(hpke_id.into());
        let signing_key = SigningKey::generate(&mut StdRng::seed_from_u64(1_000));
        let mut key = || PrivateKey::generate(&mut rng);
        Self { signing_key, leader: key(), helper: key(), hpke_id }
    }

    pub fn public_key(&self) -> PublicKey {
        *self.signing_key.public_key()
    }

    fn configs(&self, key: &PrivateKey) -> HpkeConfigList {
        HpkeConfigList::new(vec![HpkeConfig::new(self.hpke_id, &key.public_key())]).unwrap()
    }

    /// A task of which a device sends `k` reports in a week, each costing an epsilon of 0.25.
    pub fn configuration(vdaf: &VdafConfig, k: u32) -> TaskConfiguration {
        let policy = PrivacyPolicy {
            mechanism: Mechanism::DiscreteLaplace,
            epsilon: "0.25".parse().unwrap(),
            sensitivity: vdaf.l1_sensitivity(),
            contributions: NonZeroU32::new(k).unwrap(),
            threshold: 40,
        };
        let extensions = Extensions::new(vec![
            Extension { kind: TASK_EXTENSION_BUDGET_SOURCE, data: SHOP.as_bytes().to_vec() },
            Extension { kind: TASK_EXTENSION_PRIVACY_POLICY, data: policy.to_bytes() },
        ]);
        TaskConfiguration::new(
            b"sales",
            Url::new("https://leader.example/").unwrap(),
            Url::new("https://helper.example/").unwrap(),
            TimePrecision::from_seconds(3_600).unwrap(),
            100,
            BATCH_MODE_TIME_INTERVAL,
            vdaf,
            extensions.unwrap(),
        )
        .unwrap()
    }

    pub fn document(&self, sequence: u64, now: u64) -> ManifestDocument {
        let event = |name: &str, offset| EventDocument { name: name.to_owned(), offset };
        let campaign = |name: &str, bucket| Campaign { name: name.to_owned(), bucket };
        let task = |vdaf: VdafConfig, measures, unit, events| {
            let configuration = Self::configuration(&vdaf, 2);
            let (leader, helper) = (self.configs(&self.leader), self.configs(&self.helper));
            TaskDocument::new(&configuration, measures, unit, events, &leader, &helper)
        };
        let counted = VdafConfig::histogram(16).unwrap();
        let summed = VdafConfig::l1_bound_sum(16, 500).unwrap();
        ManifestDocument {
            version: arras_protocol::manifest::MANIFEST_VERSION,
            advertiser: SHOP.to_owned(),
            sequence,
            not_before: now,
            expires: now + 7 * 86_400,
            campaigns: vec![campaign("boots", 1), campaign("tents", 2)],
            tasks: vec![
                task(counted, Measures::Count, 1, vec![event("purchase", 0), event("lead", 8)]),
                // In whole units of the currency, of which a cent is the minor one.
                task(summed, Measures::Value, 100, vec![event("purchase", 0)]),
            ],
        }
    }

    pub fn manifest(&self, sequence: u64, now: u64) -> String {
        self.document(sequence, now).sign(&self.signing_key).unwrap()
    }
}
