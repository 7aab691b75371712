//! DAP-18's messages as types: what travels between clients, aggregators and collector.
//!
//! Every type decodes strictly and encodes to the bytes it was decoded from.

mod aggregation;
mod basic;
mod collection;
mod extensions;
mod hpke_config;
mod media;
mod report;
mod task_configuration;

#[cfg(test)]
mod tests;

pub use aggregation::{
    AggregationJobInitReq, AggregationJobResp, ReportShareRef, VerifyInitRef, VerifyResp, VerifyResult,
};
pub use basic::{
    AggregateShareId, AggregationJobId, BatchId, CollectionJobId, Duration, Interval, ReportError, ReportId,
    Role, TaskId, Time, TimePrecision, Url,
};
pub use collection::{
    AggregateShareAad, AggregateShareMessage, AggregateShareReq, CollectionJobReq, CollectionJobResp,
    TimeIntervalQuery,
};
pub use extensions::{Extension, Extensions};
pub use hpke_config::{HpkeCiphertext, HpkeCiphertextRef, HpkeConfig, HpkeConfigList};
pub use media::MediaType;
pub(crate) use report::encode_report_header;
pub use report::{
    PlaintextInputShareRef, Report, ReportHeaderRef, ReportMetadata, ReportRef, ReportUploadStatus,
    UploadErrors, UploadRequestRef, encode_plaintext_input_share,
};
pub use task_configuration::TaskConfiguration;
