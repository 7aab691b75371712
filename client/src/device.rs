//! A device: its impressions, and how many reports it may still send.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use arras_protocol::messages::{Report, TaskId};
use arras_protocol::report::{ReportMaker, ReportMakingError};
use arras_protocol::task::Task;
use arras_protocol::vdaf::Measurement;
use rand::CryptoRng;

use crate::contributions::{Sent, Spent};
use crate::impressions::{Bucket, Impressions, NOT_ATTRIBUTED};

/// What happened, as the app tells it.
#[derive(Clone, Copy, Debug)]
pub struct Conversion {
    /// When, in POSIX seconds.
    pub posix_seconds: u64,
    /// Whether the person agreed to measurement. Without consent a report is made all the same, of the
    /// same size, that says "not attributed".
    pub consent: bool,
}

/// Why a conversion made no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversionError {
    /// The device has sent as many reports to this task as its policy allows for now.
    #[error("this device has sent the {0} reports that the task's policy allows in 7 days")]
    ContributionsSpent(NonZeroU32),
    /// The device does not remember any more what it sent around that time.
    #[error("the conversion is too old: the device has forgotten how many reports it sent around that time")]
    TooOld,
    /// The task has no buckets: it is neither a Histogram nor an L1BoundSum.
    #[error("the task does not count conversions by bucket")]
    NoBuckets,
    /// The campaign of the last impression has a bucket that the task does not have: a wrong setup of the app. To
    /// count the conversion as not attributed would hide it.
    #[error("the last impression has bucket {bucket}, and the task has buckets 0 to {}", .length - 1)]
    NoSuchBucket {
        /// The impression's.
        bucket: Bucket,
        /// How many the task has; at least 1.
        length: u32,
    },
    /// Nobody says how many reports the device may send.
    #[error("the task has no policy of its own; give the contributions that its operators allow a device")]
    NoContributions,
    /// The report could not be made.
    #[error("{0}")]
    Report(#[from] ReportMakingError),
}

/// The state of one device.
///
/// An app keeps it between its runs: it writes [`Encode::to_bytes`](arras_protocol::codec::Encode) to a file that only it
/// can read, after each conversion and before the report leaves, and begins with `Device::from_bytes` of that. A new
/// device, or an older copy, would send reports that its task's policy does not allow any more.
#[derive(Debug, Default)]
pub struct Device {
    /// The ads that it remembers.
    pub impressions: Impressions,
    pub(crate) sent: BTreeMap<TaskId, Sent>,
}

impl Device {
    /// Attributes a conversion and makes the report of it.
    ///
    /// A device sends at most k reports to a task in any 7 days, k being the contributions of the policy
    /// that the task is bound to; the order in which conversions come does not matter. `contributions` is for tasks without one, whose operators say it (plain
    /// profile); if both are there the smaller counts. A report counts from the moment it is made, whether
    /// or not its upload succeeds.
    pub fn convert(
        &mut self,
        rng: &mut impl CryptoRng,
        task: &Task,
        maker: &ReportMaker<'_>,
        contributions: Option<NonZeroU32>,
        conversion: Conversion,
    ) -> Result<Report, ConversionError> {
        let now = conversion.posix_seconds;
        let bound = task.policy().map(|policy| policy.contributions);
        let contributions =
            bound.into_iter().chain(contributions).min().ok_or(ConversionError::NoContributions)?;
        let measurement = self.measure(task, conversion)?;
        let sent = self.sent.entry(task.id()).or_default();
        sent.admits(now, contributions.get()).map_err(|spent| match spent {
            Spent::Contributions => ConversionError::ContributionsSpent(contributions),
            Spent::Forgotten => ConversionError::TooOld,
        })?;
        let report = maker.make(rng, now, &measurement, None)?;
        sent.count(now, contributions.get());
        Ok(report)
    }

    fn measure(&self, task: &Task, conversion: Conversion) -> Result<Measurement, ConversionError> {
        use arras_protocol::vdaf::VdafConfig;
        let bucket = if conversion.consent {
            self.impressions.last_touch(conversion.posix_seconds)
        } else {
            NOT_ATTRIBUTED
        };
        match *task.vdaf().config() {
            VdafConfig::Histogram { length, .. } if bucket >= length => {
                Err(ConversionError::NoSuchBucket { bucket, length })
            }
            VdafConfig::Histogram { .. } => Ok(Measurement::Bucket(bucket)),
            // A sum has no cell for "not attributed": it says so by being all zero.
            VdafConfig::L1BoundSum { length, .. } => {
                let beyond = ConversionError::NoSuchBucket { bucket, length };
                let mut cells = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
                let cell = usize::try_from(bucket).ok().and_then(|index| cells.get_mut(index));
                *cell.ok_or(beyond)? = u64::from(bucket != NOT_ATTRIBUTED);
                Ok(Measurement::Vector(cells))
            }
            _ => Err(ConversionError::NoBuckets),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arras_protocol::codec::Encode as _;
    use arras_protocol::codepoints::{
        BATCH_MODE_TIME_INTERVAL, TASK_EXTENSION_BUDGET_SOURCE, TASK_EXTENSION_PRIVACY_POLICY,
    };
    use arras_protocol::hpke::PrivateKey;
    use arras_protocol::messages::{
        Extension, Extensions, HpkeConfig, TaskConfiguration, TimePrecision, Url,
    };
    use arras_protocol::policy::{Mechanism, PrivacyPolicy};
    use arras_protocol::vdaf::VdafConfig;

    use super::*;
    use crate::contributions::CONTRIBUTION_SECONDS;

    const NOW: u64 = 1_800_000_000;
    const K: NonZeroU32 = NonZeroU32::new(2).unwrap();

    fn task(vdaf: &VdafConfig) -> Task {
        task_with(vdaf, Extensions::none())
    }

    /// A task that is bound to a policy of one contribution.
    fn bound_task() -> Task {
        let vdaf = VdafConfig::histogram(16).unwrap();
        let policy = PrivacyPolicy {
            mechanism: Mechanism::DiscreteLaplace,
            epsilon: "1".parse().unwrap(),
            sensitivity: vdaf.l1_sensitivity(),
            contributions: NonZeroU32::MIN,
            threshold: 40,
        };
        let extensions = vec![
            Extension { kind: TASK_EXTENSION_BUDGET_SOURCE, data: b"shop.example".to_vec() },
            Extension { kind: TASK_EXTENSION_PRIVACY_POLICY, data: policy.to_bytes() },
        ];
        task_with(&vdaf, Extensions::new(extensions).unwrap())
    }

    fn task_with(vdaf: &VdafConfig, extensions: Extensions) -> Task {
        let url = |text: &str| Url::new(text).unwrap();
        let precision = TimePrecision::from_seconds(3_600).unwrap();
        let configuration = TaskConfiguration::new(
            b"test",
            url("https://leader.example/"),
            url("https://helper.example/"),
            precision,
            10,
            BATCH_MODE_TIME_INTERVAL,
            vdaf,
            extensions,
        );
        Task::new(configuration.unwrap()).unwrap()
    }

    fn maker(task: &Task) -> ReportMaker<'_> {
        let config = |id| HpkeConfig::new(id, &PrivateKey::generate(&mut rand::rng()).public_key());
        ReportMaker::new(task, &config(1), &config(2)).unwrap()
    }

    fn convert(device: &mut Device, task: &Task, posix_seconds: u64) -> Result<Report, ConversionError> {
        let conversion = Conversion { posix_seconds, consent: true };
        device.convert(&mut rand::rng(), task, &maker(task), Some(K), conversion)
    }

    /// The caller's number counted, whatever the task's own policy says.
    #[test]
    fn the_policy_of_the_task_counts() {
        let mut device = Device::default();
        let bound = bound_task();
        convert(&mut device, &bound, NOW).unwrap();
        let spent = convert(&mut device, &bound, NOW + 1);
        assert!(matches!(spent, Err(ConversionError::ContributionsSpent(NonZeroU32::MIN))));

        let plain = task(&VdafConfig::histogram(16).unwrap());
        let conversion = Conversion { posix_seconds: NOW, consent: true };
        let mut convert =
            |task: &Task| device.convert(&mut rand::rng(), task, &maker(task), None, conversion);
        assert!(matches!(convert(&bound), Err(ConversionError::ContributionsSpent(_))));
        assert!(matches!(convert(&plain), Err(ConversionError::NoContributions)));
    }

    #[test]
    fn a_device_sends_k_reports_in_any_seven_days() {
        let task = task(&VdafConfig::histogram(16).unwrap());
        let mut device = Device::default();
        convert(&mut device, &task, NOW).unwrap();
        convert(&mut device, &task, NOW + 10).unwrap();
        let late = NOW + CONTRIBUTION_SECONDS;
        for now in [NOW + 11, late - 1] {
            assert!(matches!(convert(&mut device, &task, now), Err(ConversionError::ContributionsSpent(K))));
        }
        convert(&mut device, &task, late).unwrap();
        assert!(convert(&mut device, &task, late + 9).is_err(), "the second one still counts");
        convert(&mut device, &task, late + 10).unwrap();
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_give_reports_back() {
        let task = task(&VdafConfig::histogram(16).unwrap());
        let mut device = Device::default();
        convert(&mut device, &task, NOW).unwrap();
        convert(&mut device, &task, NOW).unwrap();
        assert!(convert(&mut device, &task, NOW - 100).is_err());
    }

    /// A bucket that the task does not have made no report but used up a contribution; and of a vector it made a
    /// report that said "not attributed".
    #[test]
    fn a_conversion_that_makes_no_report_costs_nothing() {
        let vdafs = [VdafConfig::histogram(16).unwrap(), VdafConfig::l1_bound_sum(16, 1).unwrap()];
        for task in vdafs.map(|vdaf| task(&vdaf)) {
            let mut device = Device::default();
            for bucket in [16, 99] {
                device.impressions.remember(bucket, NOW);
                assert!(matches!(
                    convert(&mut device, &task, NOW),
                    Err(ConversionError::NoSuchBucket { bucket: named, length: 16 }) if named == bucket
                ));
            }
            device.impressions.remember(15, NOW);
            convert(&mut device, &task, NOW).unwrap();
            convert(&mut device, &task, NOW).unwrap();
        }
    }

    #[test]
    fn without_consent_nothing_is_attributed() {
        let mut device = Device::default();
        device.impressions.remember(3, NOW);
        let cells = |device: &Device, consent| {
            let task = task(&VdafConfig::l1_bound_sum(4, 1).unwrap());
            match device.measure(&task, Conversion { posix_seconds: NOW, consent }).unwrap() {
                Measurement::Vector(ref cells) => cells.clone(),
                _ => panic!("a vector for a vector task"),
            }
        };
        assert_eq!(cells(&device, true), [0, 0, 0, 1]);
        assert_eq!(cells(&device, false), [0; 4]);
        let histogram = task(&VdafConfig::histogram(16).unwrap());
        let refused = device.measure(&histogram, Conversion { posix_seconds: NOW, consent: false });
        assert!(matches!(refused.unwrap(), Measurement::Bucket(NOT_ATTRIBUTED)));
        assert!(matches!(
            device.measure(&task(&VdafConfig::Count), Conversion { posix_seconds: NOW, consent: true }),
            Err(ConversionError::NoBuckets)
        ));
    }
}
