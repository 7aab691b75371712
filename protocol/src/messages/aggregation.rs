//! Aggregation jobs (DAP-18 section 4.5). Prio3 verifies in one round, so there is no continuation.

use crate::codec::{CodecError, Decode, Encode, Reader, decode_to_end, put_opaque32};
use crate::messages::report::ReportHeaderRef;
use crate::messages::{Extensions, HpkeCiphertextRef, ReportError, ReportId};

/// What the leader passes on of a report: the helper's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportShareRef<'a> {
    /// Metadata and public share.
    pub header: ReportHeaderRef<'a>,
    /// Sealed to the helper.
    pub encrypted_input_share: HpkeCiphertextRef<'a>,
}

/// One report of a job, with the leader's first verification message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyInitRef<'a> {
    /// The helper's part of the report.
    pub report_share: ReportShareRef<'a>,
    /// The leader's message of the VDAF's ping-pong; not empty.
    pub payload: &'a [u8],
}

impl<'a> VerifyInitRef<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, CodecError> {
        let header = ReportHeaderRef::decode(reader)?;
        let encrypted_input_share = HpkeCiphertextRef::decode(reader)?;
        let payload = reader.opaque32("verify_init.payload")?;
        if payload.is_empty() {
            return Err(CodecError::Invalid { field: "verify_init.payload", reason: "must not be empty" });
        }
        Ok(Self { report_share: ReportShareRef { header, encrypted_input_share }, payload })
    }
}

impl Encode for VerifyInitRef<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.report_share.header.encode(out);
        self.report_share.encrypted_input_share.encode(out);
        put_opaque32(out, self.payload);
    }
}

/// The leader's request to verify and aggregate a set of reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregationJobInitReq<'a> {
    /// Which of the secrets that the two aggregators share gave the task's verify key.
    pub verification_key_id: u8,
    /// The VDAF's aggregation parameter; empty for Prio3.
    pub agg_param: &'a [u8],
    /// Extensions of the job.
    pub extensions: Extensions,
    /// The reports. That their ids are distinct (DAP-18 section 4.5.3.2) is the helper's to check.
    pub verify_inits: Vec<VerifyInitRef<'a>>,
}

impl<'a> AggregationJobInitReq<'a> {
    /// Reads a whole body; one of more than `max` reports is refused before they take memory.
    pub fn from_bytes(bytes: &'a [u8], max: usize) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let verification_key_id = reader.u8("verification_key_id")?;
        let agg_param = reader.opaque32("agg_param")?;
        let extensions = Extensions::decode(&mut reader)?;
        let mut verify_inits = Vec::new();
        while !reader.is_empty() {
            if verify_inits.len() == max {
                return Err(CodecError::TooMany { field: "reports", max });
            }
            verify_inits.push(VerifyInitRef::decode(&mut reader)?);
        }
        Ok(Self { verification_key_id, agg_param, extensions, verify_inits })
    }
}

impl Encode for AggregationJobInitReq<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.verification_key_id);
        put_opaque32(out, self.agg_param);
        self.extensions.encode(out);
        for verify_init in &self.verify_inits {
            verify_init.encode(out);
        }
    }
}

/// What the helper says of one report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyResult {
    /// It goes on; for Prio3 the helper has committed to its output share. Not empty.
    Continue(Vec<u8>),
    /// It is finished.
    Finish,
    /// It does not count.
    Reject(ReportError),
}

/// The helper's answer for one report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyResp {
    /// Which.
    pub report_id: ReportId,
    /// What became of it.
    pub result: VerifyResult,
}

impl Encode for VerifyResp {
    fn encode(&self, out: &mut Vec<u8>) {
        self.report_id.encode(out);
        match &self.result {
            VerifyResult::Continue(payload) => {
                out.push(0);
                put_opaque32(out, payload);
            }
            VerifyResult::Finish => out.push(1),
            VerifyResult::Reject(error) => {
                out.push(2);
                error.encode(out);
            }
        }
    }
}

impl Decode for VerifyResp {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let report_id = ReportId::decode(reader)?;
        let result = match reader.u8("verify_resp_type")? {
            0 => {
                let payload = reader.opaque32("verify_resp.payload")?;
                if payload.is_empty() {
                    return Err(CodecError::Invalid {
                        field: "verify_resp.payload",
                        reason: "must not be empty",
                    });
                }
                VerifyResult::Continue(payload.to_vec())
            }
            1 => VerifyResult::Finish,
            2 => VerifyResult::Reject(ReportError::decode(reader)?),
            _ => return Err(CodecError::Invalid { field: "verify_resp_type", reason: "unknown value" }),
        };
        Ok(Self { report_id, result })
    }
}

/// The helper's answer to a job: one entry for each report, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregationJobResp {
    /// In the order of the request.
    pub verify_resps: Vec<VerifyResp>,
}

impl Encode for AggregationJobResp {
    fn encode(&self, out: &mut Vec<u8>) {
        for resp in &self.verify_resps {
            resp.encode(out);
        }
    }
}

impl Decode for AggregationJobResp {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { verify_resps: decode_to_end(reader)? })
    }
}
