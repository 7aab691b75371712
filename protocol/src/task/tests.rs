//! Task ids and keys against independent computations, the three profiles, the safety limits.
#![allow(clippy::unwrap_used)]

mod identity;
mod limits;
mod profiles;

use super::*;
use crate::codepoints::{
    BATCH_MODE_COLLECTOR_SELECTED, BATCH_MODE_TIME_INTERVAL, TASK_EXTENSION_BUDGET_SOURCE,
    TASK_EXTENSION_COLLECTOR_IDENTITY, TASK_EXTENSION_PRIVACY_POLICY, TASK_EXTENSION_TASK_INTERVAL,
};
use crate::epsilon::MicroEpsilon;
use crate::messages::{Extension, Extensions, Time, TimePrecision, Url};
use crate::policy::Mechanism;

/// A configuration in pieces that a test can change.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) task_info: Vec<u8>,
    pub(crate) leader: &'static str,
    pub(crate) helper: &'static str,
    pub(crate) time_precision: u64,
    pub(crate) min_batch_size: u64,
    pub(crate) batch_mode: u8,
    pub(crate) vdaf: VdafConfig,
    pub(crate) extensions: Vec<(u16, Vec<u8>)>,
}

impl Draft {
    /// Of the Arras profile.
    pub(crate) fn arras(vdaf: VdafConfig) -> Self {
        let extensions = vec![
            (TASK_EXTENSION_BUDGET_SOURCE, b"shop.example".to_vec()),
            (TASK_EXTENSION_PRIVACY_POLICY, policy(&vdaf).to_bytes()),
        ];
        Self { extensions, ..Self::plain(vdaf) }
    }

    /// Of the Plain profile.
    pub(crate) fn plain(vdaf: VdafConfig) -> Self {
        Self {
            task_info: b"sales".to_vec(),
            leader: "https://leader.example/",
            helper: "https://helper.example/",
            time_precision: 3_600,
            min_batch_size: 100,
            batch_mode: BATCH_MODE_TIME_INTERVAL,
            vdaf,
            extensions: Vec::new(),
        }
    }

    /// What "construct a DAP report" builds for a histogram of 4 and a maximum of 7, whose chunk length
    /// is the root of (3 + 1) * 4.
    pub(crate) fn attribution() -> Self {
        Self {
            task_info: Vec::new(),
            time_precision: 5,
            min_batch_size: 20,
            batch_mode: BATCH_MODE_COLLECTOR_SELECTED,
            extensions: vec![
                (TASK_EXTENSION_COLLECTOR_IDENTITY, b"adtech.example".to_vec()),
                (TASK_EXTENSION_BUDGET_SOURCE, b"shop.example".to_vec()),
            ],
            ..Self::plain(VdafConfig::L1BoundSum { length: 4, max_value: 7, chunk_length: 4 })
        }
    }

    pub(crate) fn with(mut self, kind: u16, data: &[u8]) -> Self {
        self.extensions.retain(|(other, _)| *other != kind);
        self.extensions.push((kind, data.to_vec()));
        self
    }

    pub(crate) fn without(mut self, kind: u16) -> Self {
        self.extensions.retain(|(other, _)| *other != kind);
        self
    }

    pub(crate) fn configuration(mut self) -> TaskConfiguration {
        self.extensions.sort();
        let extensions = self.extensions.into_iter().map(|(kind, data)| Extension { kind, data }).collect();
        TaskConfiguration::new(
            &self.task_info,
            Url::new(self.leader).unwrap(),
            Url::new(self.helper).unwrap(),
            TimePrecision::from_seconds(self.time_precision).unwrap(),
            self.min_batch_size,
            self.batch_mode,
            &self.vdaf,
            Extensions::new(extensions).unwrap(),
        )
        .unwrap()
    }

    pub(crate) fn task(self) -> Result<Task, TaskError> {
        Task::new(self.configuration())
    }
}

/// A policy that goes with a VDAF.
pub(crate) fn policy(vdaf: &VdafConfig) -> PrivacyPolicy {
    PrivacyPolicy {
        mechanism: Mechanism::DiscreteLaplace,
        epsilon: MicroEpsilon::from_micro(1_000_000).unwrap(),
        sensitivity: vdaf.l1_sensitivity(),
        contributions: 2.try_into().unwrap(),
        threshold: 40,
    }
}

pub(crate) fn interval(start: u64, duration: u64) -> Vec<u8> {
    Interval::new(Time(start), crate::messages::Duration(duration)).unwrap().to_bytes()
}
