//! Code points of the registries, and the provisional ones.
//!
//! The attribution drafts leave their code points open ("TBD"); the values marked *provisional* are
//! ours until a registry assigns them, and lie in the upper ranges so that they collide with
//! nothing assigned. They are in this one file so that a change is a change of one file.

/// `time_interval` batch mode (DAP-18 section 5.1).
pub const BATCH_MODE_TIME_INTERVAL: u8 = 1;
/// `collector_selected` batch mode (DAP attribution extensions), *provisional*.
pub const BATCH_MODE_COLLECTOR_SELECTED: u8 = 0xF0;

/// `task_interval` task extension (DAP-18 section 4.2.3).
pub const TASK_EXTENSION_TASK_INTERVAL: u16 = 1;
/// `collector_identity` task extension (DAP attribution extensions), *provisional*.
pub const TASK_EXTENSION_COLLECTOR_IDENTITY: u16 = 0xFF01;
/// `budget_source` task extension (DAP attribution extensions), *provisional*.
pub const TASK_EXTENSION_BUDGET_SOURCE: u16 = 0xFF02;
/// `privacy_policy` task extension, Arras's own.
pub const TASK_EXTENSION_PRIVACY_POLICY: u16 = 0xFF10;

/// `privacy_budget` report extension (DAP attribution extensions), *provisional*.
pub const REPORT_EXTENSION_PRIVACY_BUDGET: u16 = 0xFF01;

/// `collector_selected_batch_id` aggregation job extension, Arras's own: without it the helper
/// learns the batch of a report too late. Reserved: nothing uses it yet.
pub const JOB_EXTENSION_COLLECTOR_SELECTED_BATCH_ID: u16 = 0xFF01;
/// `min_dp_budget` aggregation job extension, Arras's own: without it the helper cannot refuse a
/// report that spent less before it is summed. Reserved: nothing uses it yet.
pub const JOB_EXTENSION_MIN_DP_BUDGET: u16 = 0xFF02;

/// `min_dp_budget` collection job extension (DAP attribution extensions), *provisional*. Reserved: nothing uses it yet.
pub const COLLECTION_EXTENSION_MIN_DP_BUDGET: u16 = 0xFF01;
