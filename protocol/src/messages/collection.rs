//! Collection jobs and aggregate shares (DAP-18 sections 4.6 and 5.1).

use crate::codec::{CodecError, Decode, Encode, Reader, put_opaque16, put_opaque32};
use crate::codepoints::BATCH_MODE_TIME_INTERVAL;
use crate::messages::{Extensions, HpkeCiphertext, Interval, TaskConfiguration, TaskId};

/// A query or a batch selector of the time-interval mode: the interval of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeIntervalQuery {
    /// Whole batch buckets, at least one.
    pub batch_interval: Interval,
}

/// The collector's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionJobReq {
    /// Of the query; must be the task's.
    pub batch_mode: u8,
    /// The query itself; what it holds depends on the mode. At most 65,535 bytes.
    query_config: Vec<u8>,
    /// The VDAF's aggregation parameter; empty for Prio3.
    agg_param: Vec<u8>,
    /// Extensions of the job.
    pub extensions: Extensions,
}

impl CollectionJobReq {
    /// Asks for the reports of an interval.
    pub fn time_interval(batch_interval: Interval) -> Self {
        Self {
            batch_mode: BATCH_MODE_TIME_INTERVAL,
            query_config: batch_interval.to_bytes(),
            agg_param: Vec::new(),
            extensions: Extensions::none(),
        }
    }

    /// The query, if it is one of the time-interval mode. An interval that does not decode is DAP's
    /// `batchInvalid` (DAP-18 section 5.1.1), another mode its `invalidMessage`.
    pub fn as_time_interval(&self) -> Result<TimeIntervalQuery, CodecError> {
        if self.batch_mode != BATCH_MODE_TIME_INTERVAL {
            return Err(CodecError::Invalid { field: "batch_mode", reason: "is not time_interval" });
        }
        Interval::from_bytes(&self.query_config).map(|batch_interval| TimeIntervalQuery { batch_interval })
    }

    /// The aggregation parameter.
    pub fn agg_param(&self) -> &[u8] {
        &self.agg_param
    }
}

impl Encode for CollectionJobReq {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.batch_mode);
        put_opaque16(out, &self.query_config);
        put_opaque32(out, &self.agg_param);
        self.extensions.encode(out);
    }
}

impl Decode for CollectionJobReq {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            batch_mode: reader.u8("batch_mode")?,
            query_config: reader.opaque16("query.config")?.to_vec(),
            agg_param: reader.opaque32("agg_param")?.to_vec(),
            extensions: Extensions::decode(reader)?,
        })
    }
}

/// The leader's answer once the batch is collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionJobResp {
    /// How many reports the batch holds; exact, and public.
    pub report_count: u64,
    /// The smallest interval that holds the times of all reports.
    pub interval: Interval,
    /// Sealed by the leader.
    pub leader_share: HpkeCiphertext,
    /// Sealed by the helper.
    pub helper_share: HpkeCiphertext,
}

impl Encode for CollectionJobResp {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.report_count.to_be_bytes());
        self.interval.encode(out);
        self.leader_share.encode(out);
        self.helper_share.encode(out);
    }
}

impl Decode for CollectionJobResp {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            report_count: reader.u64("report_count")?,
            interval: Interval::decode(reader)?,
            leader_share: HpkeCiphertext::decode(reader)?,
            helper_share: HpkeCiphertext::decode(reader)?,
        })
    }
}

/// The leader's request for the helper's aggregate share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateShareReq {
    /// The collector's request, as it came.
    pub collection_job_req: CollectionJobReq,
    /// Of the selector; must be the task's.
    pub batch_mode: u8,
    /// The selector; at most 65,535 bytes.
    selector_config: Vec<u8>,
    /// How many reports the leader counted.
    pub report_count: u64,
    /// XOR of the SHA-256 of their ids. It finds malfunction, not malice.
    pub checksum: [u8; 32],
}

impl AggregateShareReq {
    /// Asks for the share of an interval.
    pub fn time_interval(
        collection_job_req: CollectionJobReq,
        batch_interval: Interval,
        report_count: u64,
        checksum: [u8; 32],
    ) -> Self {
        Self {
            collection_job_req,
            batch_mode: BATCH_MODE_TIME_INTERVAL,
            selector_config: batch_interval.to_bytes(),
            report_count,
            checksum,
        }
    }

    /// The selector, if it is one of the time-interval mode.
    pub fn as_time_interval(&self) -> Result<TimeIntervalQuery, CodecError> {
        if self.batch_mode != BATCH_MODE_TIME_INTERVAL {
            return Err(CodecError::Invalid { field: "batch_mode", reason: "is not time_interval" });
        }
        Interval::from_bytes(&self.selector_config).map(|batch_interval| TimeIntervalQuery { batch_interval })
    }
}

impl Encode for AggregateShareReq {
    fn encode(&self, out: &mut Vec<u8>) {
        self.collection_job_req.encode(out);
        out.push(self.batch_mode);
        put_opaque16(out, &self.selector_config);
        out.extend_from_slice(&self.report_count.to_be_bytes());
        out.extend_from_slice(&self.checksum);
    }
}

impl Decode for AggregateShareReq {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            collection_job_req: CollectionJobReq::decode(reader)?,
            batch_mode: reader.u8("batch_mode")?,
            selector_config: reader.opaque16("batch_selector.config")?.to_vec(),
            report_count: reader.u64("report_count")?,
            checksum: reader.array("checksum")?,
        })
    }
}

/// The helper's answer: its share, sealed to the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateShareMessage {
    /// Sealed by the helper.
    pub encrypted_aggregate_share: HpkeCiphertext,
}

impl Encode for AggregateShareMessage {
    fn encode(&self, out: &mut Vec<u8>) {
        self.encrypted_aggregate_share.encode(out);
    }
}

impl Decode for AggregateShareMessage {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { encrypted_aggregate_share: HpkeCiphertext::decode(reader)? })
    }
}

/// What a sealed aggregate share is bound to (DAP-18 section 4.6.7).
#[derive(Clone, Copy, Debug)]
pub struct AggregateShareAad<'a> {
    /// The task.
    pub task_id: TaskId,
    /// Its configuration.
    pub task_configuration: &'a TaskConfiguration,
    /// The collector's request.
    pub collection_job_req: &'a CollectionJobReq,
}

impl Encode for AggregateShareAad<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.task_id.encode(out);
        self.task_configuration.encode(out);
        self.collection_job_req.encode(out);
    }
}
