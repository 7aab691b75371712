//! From an opened batch to a signed release.

use std::fmt;
use std::sync::Arc;

use arras_protocol::epsilon::DisplayMicro;
use arras_protocol::messages::Interval;
use arras_protocol::signed::{self, DocumentType, SignError, SigningKey};
use arras_protocol::task::MAX_BATCH_REPORTS;
use zeroize::Zeroizing;

use super::{
    Bucket, Cell, Charged, Conversions, Estimate, Keys, Measured, NoiseScales, Policy, RELEASE_VERSION,
    ReadError, Release, campaign, name,
};
use crate::collector::span::Span;
use crate::collector::store::record_bytes_max;
use crate::privacy::accuracy::{self, Confidence, Noise};
use crate::privacy::gate::noise_scale;
use crate::privacy::noise::NoiseError;
use crate::privacy::threshold::Threshold;
use crate::tasks::provisioned::KnownTask;

/// What the intervals of a release promise, here and in [`Release::confidence`].
pub(crate) const CONFIDENCE: (Confidence, &str) = (Confidence::P95, "0.95");

/// What a signed document has beside the base64 of its JSON, at most: its header and its signature.
const SIGNED_BYTES: usize = 512;

/// The sign of a noised number below 0, which is not as long as the largest one otherwise.
const SIGN_BYTES: usize = 1;

/// Why there is no release although shares were opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The policy's scale cannot be computed.
    #[error("the noise's scale: {0}")]
    Noise(#[from] NoiseError),
    /// A VDAF that releases have no word for.
    #[error("releases of this version cannot describe the task's VDAF; use a newer version")]
    Vdaf,
    /// Times that cannot be written.
    #[error("the reports' interval is empty or after the year 9999")]
    Reports,
}

/// What an opened batch holds. Its cells are what the threshold has not seen yet: they go into a
/// [`Draft`] and nowhere else.
pub(in crate::collector) struct Opened {
    /// The window that was asked for.
    pub(in crate::collector) window: Span,
    /// The interval of the reports, in the task's time precision.
    pub(in crate::collector) reports: Interval,
    /// How many reports.
    pub(in crate::collector) report_count: u64,
    /// One noised number a bucket; zeroed when dropped.
    pub(in crate::collector) cells: Zeroizing<Vec<i128>>,
    /// What it cost.
    pub(in crate::collector) charge: Charged,
    /// The id of the HPKE key that opened it.
    pub(in crate::collector) collector_hpke: u8,
}

/// A release that has no number and no signature yet. The store gives it its number.
pub struct Draft {
    release: Release,
    cells: Zeroizing<Vec<i128>>,
    signer: Arc<SigningKey>,
}

/// A release as it is published: the document, and the bytes and the signature that stay for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    release: Release,
    document: Vec<u8>,
    signed: Option<String>,
}

/// What the store keeps of a release: what is published, and beside it every noised cell, which is not.
pub(in crate::collector) struct Issued {
    pub(in crate::collector) published: Published,
    pub(in crate::collector) cells: Zeroizing<Vec<i128>>,
}

impl Draft {
    /// Applies the threshold and adds what a reader needs to judge the numbers.
    ///
    /// With `conversions`, the cells are values: a bucket is shown if and only if that release shows it, and the
    /// threshold of the task itself is not used, since it would be in another unit.
    pub(in crate::collector) fn new(
        task: &KnownTask,
        opened: Opened,
        conversions: Option<&Release>,
        signer: &Arc<SigningKey>,
    ) -> Result<Self, ReleaseError> {
        let configuration = task.task.configuration();
        let scale = noise_scale(&task.policy)?;
        let noise = Noise::of_cell(&scale);
        let half_width = noise.half_width(CONFIDENCE.0);
        let standard_error = format!("{:.3}", noise.standard_error());
        let threshold = Threshold::new(task.policy.threshold);
        // A report adds no more than this to a cell, and how many there are is known.
        let most = u128::from(opened.report_count) * u128::from(task.task.vdaf().config().max_per_cell());
        let cell = |index: usize, value: i128| {
            let shown = match conversions {
                Some(conversions) => conversions.shows(index),
                None => threshold.show(value).value().is_some(),
            };
            if !shown {
                return Cell::Suppressed;
            }
            let interval = accuracy::Interval::around(value, half_width, most);
            Cell::Shown(Estimate {
                estimate: value,
                standard_error: standard_error.clone(),
                low: interval.low,
                high: interval.high,
            })
        };
        let vdaf = Measured::of(task.task.vdaf().config()).ok_or(ReleaseError::Vdaf)?;
        let rest_in_0 = matches!(vdaf, Measured::Histogram { .. }) && !task.campaigns.is_empty();
        let bucket = |(bucket, (index, noised)): (u32, (usize, &i128))| Bucket {
            bucket,
            campaign: campaign(task, bucket).map(str::to_owned),
            not_attributed: bucket == 0 && rest_in_0,
            cell: cell(index, *noised),
        };
        let of_each = format!("{}/{}", scale.numerator(), scale.denominator());
        let release = Release {
            version: RELEASE_VERSION,
            sequence: 0,
            task: task.task.id().to_string(),
            name: name(task),
            vdaf,
            conversions: conversions
                .map(|release| Conversions { task: release.task.clone(), sequence: release.sequence }),
            window: opened.window,
            reports: Span::of(opened.reports, configuration.time_precision).ok_or(ReleaseError::Reports)?,
            report_count: opened.report_count,
            policy: Policy::of(task),
            noise: NoiseScales { leader: of_each.clone(), helper: of_each },
            confidence: CONFIDENCE.1.to_owned(),
            charge: opened.charge,
            leader: configuration.leader.as_str().to_owned(),
            helper: configuration.helper.as_str().to_owned(),
            keys: Some(Keys {
                signing: signer.public_key().id().to_string(),
                collector_hpke: opened.collector_hpke,
            }),
            buckets: (0..).zip(opened.cells.iter().enumerate()).map(bucket).collect(),
        };
        Ok(Self { release, cells: opened.cells, signer: Arc::clone(signer) })
    }

    /// The most bytes that a store takes for the release of a window that was not asked for yet, whatever its numbers will be.
    pub(in crate::collector) fn bytes_max(
        task: &KnownTask,
        window: (Span, Interval),
        charge: Charged,
        conversions: Option<&Release>,
        signer: &Arc<SigningKey>,
    ) -> Result<u64, ReleaseError> {
        let config = task.task.vdaf().config();
        // Opening refuses what is further than this from any sum.
        let slack = i128::try_from(task.policy.noise_slack().saturating_mul(2)).unwrap_or(i128::MAX);
        let most = i128::from(MAX_BATCH_REPORTS).saturating_mul(config.max_per_cell().into());
        let cells = vec![most.saturating_add(slack); config.output_len()];
        let opened = Opened {
            window: window.0,
            reports: window.1,
            report_count: MAX_BATCH_REPORTS,
            cells: cells.into(),
            charge,
            collector_hpke: u8::MAX,
        };
        let mut largest = Self::new(task, opened, conversions, signer)?;
        largest.release.sequence = u64::MAX;
        for epoch in largest.release.charge.epochs.iter_mut().flatten() {
            epoch.spent = Some(DisplayMicro(u64::MAX).to_string());
        }
        let document = largest.release.to_json().len() + largest.cells.len() * SIGN_BYTES;
        Ok(record_bytes_max(document.div_ceil(3) * 4 + SIGNED_BYTES, largest.cells.len()) as u64)
    }

    /// Of a release that was made elsewhere, and its cells: for benches, which fill stores with them.
    #[doc(hidden)]
    pub fn of_parts(release: Release, cells: Vec<i128>, signer: Arc<SigningKey>) -> Self {
        Self { release, cells: cells.into(), signer }
    }

    /// What it charges: the source, and the start of each epoch that is known, with micro-epsilon.
    pub(in crate::collector) fn charges(&self) -> Vec<EpochCharge> {
        EpochCharge::of(&self.release)
    }

    /// Whose budget it charges.
    pub(in crate::collector) fn source(&self) -> &str {
        &self.release.charge.budget_source
    }

    /// Numbers and signs it. `spent` has, for each of [`Draft::charges`], what the epoch is charged with it, in
    /// micro-epsilon; nothing if that is not known. The same draft, number and totals give the same bytes.
    pub(in crate::collector) fn issue(mut self, sequence: u64, spent: &[u64]) -> Result<Issued, SignError> {
        self.release.sequence = sequence;
        for (epoch, spent) in self.release.charge.epochs.iter_mut().flatten().zip(spent) {
            epoch.spent = Some(DisplayMicro(*spent).to_string());
        }
        let document = self.release.to_json();
        let signed = signed::sign(&self.signer, DocumentType::Release, &document)?;
        Ok(Issued {
            published: Published { release: self.release, document, signed: Some(signed) },
            cells: self.cells,
        })
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Draft").field(&self.release).finish_non_exhaustive()
    }
}

/// What a release charges one epoch of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::collector) struct EpochCharge {
    /// Whose budget.
    pub(in crate::collector) source: String,
    /// When the epoch starts, in POSIX seconds.
    pub(in crate::collector) start_seconds: u64,
    /// Micro-epsilon.
    pub(in crate::collector) micro: u64,
}

impl EpochCharge {
    pub(in crate::collector) fn of(release: &Release) -> Vec<Self> {
        let micro = release.policy.micro_per_epoch();
        let source = &release.charge.budget_source;
        let epochs = release.charge.epochs.iter().flatten();
        epochs
            .map(|epoch| Self { source: source.clone(), start_seconds: epoch.start_seconds, micro })
            .collect()
    }
}

impl Published {
    /// From the signed text of one's own store, which is not verified again.
    pub(in crate::collector) fn from_signed(signed: String) -> Result<Self, ReadError> {
        let (document, _) = signed::read_unverified(DocumentType::Release, &signed)?;
        Ok(Self { release: Release::from_json(&document)?, document, signed: Some(signed) })
    }

    /// A release from before releases were signed.
    pub(in crate::collector) fn unsigned(document: Vec<u8>) -> Result<Self, ReadError> {
        Ok(Self { release: Release::from_json(&document)?, document, signed: None })
    }

    /// What it says.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// What it says.
    pub fn into_release(self) -> Release {
        self.release
    }

    /// The exact bytes of the document: those that were signed.
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// The signed document; `None` for a release from before releases were signed.
    pub fn signed(&self) -> Option<&str> {
        self.signed.as_deref()
    }
}
