//! The configuration that all parties of a task agree on (DAP-18 section 4.2).

use crate::codec::{CodecError, Decode, Encode, Reader, put_opaque8, put_opaque16};
use crate::crypto::{Sha256, sha256};
use crate::messages::{Extensions, TaskId, TimePrecision, Url};

/// A task's configuration as it travels and is hashed. Whether Arras takes part in it is decided by
/// [`crate::task::Task::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskConfiguration {
    /// Tells tasks apart that are otherwise the same; at most 255 bytes. DAP wants at least one; the
    /// W3C's tasks have none.
    task_info: Vec<u8>,
    /// The leader's base URL.
    pub leader: Url,
    /// The helper's base URL.
    pub helper: Url,
    /// Unit of times.
    pub time_precision: TimePrecision,
    /// Smallest batch that may be collected.
    pub min_batch_size: u64,
    /// How reports make batches.
    pub batch_mode: u8,
    /// Parameters of the batch mode; at most 65,535 bytes, none in the modes known here.
    batch_config: Vec<u8>,
    /// The VDAF.
    pub vdaf_type: u32,
    /// Its parameters; at most 65,535 bytes.
    vdaf_configuration: Vec<u8>,
    /// What else is bound to the task.
    pub extensions: Extensions,
}

impl TaskConfiguration {
    /// Puts a configuration together; `batch_config` is empty, as in every batch mode known here.
    #[expect(clippy::too_many_arguments, reason = "one for each field of the standard's structure")]
    pub fn new(
        task_info: &[u8],
        leader: Url,
        helper: Url,
        time_precision: TimePrecision,
        min_batch_size: u64,
        batch_mode: u8,
        vdaf: &crate::vdaf::VdafConfig,
        extensions: Extensions,
    ) -> Result<Self, CodecError> {
        if task_info.len() > usize::from(u8::MAX) {
            return Err(CodecError::Invalid { field: "task_info", reason: "longer than 255 bytes" });
        }
        Ok(Self {
            task_info: task_info.to_vec(),
            leader,
            helper,
            time_precision,
            min_batch_size,
            batch_mode,
            batch_config: Vec::new(),
            vdaf_type: vdaf.vdaf_type(),
            vdaf_configuration: vdaf.encode(),
            extensions,
        })
    }

    /// What tells it apart.
    pub fn task_info(&self) -> &[u8] {
        &self.task_info
    }

    /// Parameters of the batch mode.
    pub fn batch_config(&self) -> &[u8] {
        &self.batch_config
    }

    /// Parameters of the VDAF.
    pub fn vdaf_configuration(&self) -> &[u8] {
        &self.vdaf_configuration
    }

    /// The task's id: `SHA-256(SHA-256("dap-taskprov task id") || configuration)` (taskprov section
    /// 3.3). A different policy, endpoint or VDAF is a different task.
    pub fn task_id(&self) -> TaskId {
        let mut hash = Sha256::new();
        hash.update(&sha256(b"dap-taskprov task id"));
        hash.update(&self.to_bytes());
        TaskId::new(hash.finish())
    }
}

impl Encode for TaskConfiguration {
    fn encode(&self, out: &mut Vec<u8>) {
        put_opaque8(out, &self.task_info);
        self.leader.encode(out);
        self.helper.encode(out);
        out.extend_from_slice(&self.time_precision.seconds().to_be_bytes());
        out.extend_from_slice(&self.min_batch_size.to_be_bytes());
        out.push(self.batch_mode);
        put_opaque16(out, &self.batch_config);
        out.extend_from_slice(&self.vdaf_type.to_be_bytes());
        put_opaque16(out, &self.vdaf_configuration);
        self.extensions.encode(out);
    }
}

impl Decode for TaskConfiguration {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            task_info: reader.opaque8("task_info")?.to_vec(),
            leader: Url::decode(reader)?,
            helper: Url::decode(reader)?,
            time_precision: TimePrecision::from_seconds(reader.u64("time_precision")?)?,
            min_batch_size: reader.u64("min_batch_size")?,
            batch_mode: reader.u8("batch_mode")?,
            batch_config: reader.opaque16("batch_config")?.to_vec(),
            vdaf_type: reader.u32("vdaf_type")?,
            vdaf_configuration: reader.opaque16("vdaf_configuration")?.to_vec(),
            extensions: Extensions::decode(reader)?,
        })
    }
}
