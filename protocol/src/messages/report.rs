//! Reports and their upload (DAP-18 section 4.4.2).

use crate::codec::{CodecError, Decode, Encode, Reader, decode_to_end, put_opaque32};
use crate::messages::extensions::check_extensions;
use crate::messages::{Extensions, HpkeCiphertext, HpkeCiphertextRef, ReportError, ReportId, Time};

/// Public metadata of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportMetadata {
    /// Unique within the task.
    pub report_id: ReportId,
    /// When it was made, in the task's time precision.
    pub time: Time,
    /// Seen by both aggregators.
    pub public_extensions: Extensions,
}

impl Encode for ReportMetadata {
    fn encode(&self, out: &mut Vec<u8>) {
        self.report_id.encode(out);
        out.extend_from_slice(&self.time.0.to_be_bytes());
        self.public_extensions.encode(out);
    }
}

impl Decode for ReportMetadata {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            report_id: ReportId::decode(reader)?,
            time: Time(reader.u64("time")?),
            public_extensions: Extensions::decode(reader)?,
        })
    }
}

/// What both aggregators see of a report: metadata and public share, borrowed.
///
/// The extensions are not checked yet, so that a bad list fails its report alone and not the
/// request: see [`ReportHeaderRef::check_extensions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportHeaderRef<'a> {
    /// Unique within the task.
    pub report_id: ReportId,
    /// When it was made, in the task's time precision.
    pub time: Time,
    /// The encoded list of public extensions, without its length.
    pub public_extensions: &'a [u8],
    /// The VDAF's public share.
    pub public_share: &'a [u8],
    /// Metadata and public share as they were sent: the part of the associated data that differs
    /// from report to report (`InputShareAad`, DAP-18 section 4.4.2.1).
    pub encoded: &'a [u8],
}

impl<'a> ReportHeaderRef<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, CodecError> {
        let all = reader.rest();
        let report_id = ReportId::decode(reader)?;
        let time = Time(reader.u64("time")?);
        let public_extensions = reader.opaque16("public_extensions")?;
        let public_share = reader.opaque32("public_share")?;
        let encoded = &all[..all.len() - reader.rest().len()];
        Ok(Self { report_id, time, public_extensions, public_share, encoded })
    }

    /// Walks over the public extensions, checking their encoding and order.
    pub fn check_extensions(&self, each: impl FnMut(u16, &[u8])) -> Result<(), CodecError> {
        check_extensions(self.public_extensions, each)
    }
}

/// A report, borrowed from the request or the file that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportRef<'a> {
    /// Metadata and public share.
    pub header: ReportHeaderRef<'a>,
    /// For the leader.
    pub leader_share: HpkeCiphertextRef<'a>,
    /// For the helper.
    pub helper_share: HpkeCiphertextRef<'a>,
    /// The whole report as it was sent.
    pub encoded: &'a [u8],
}

impl<'a> ReportRef<'a> {
    /// Reads one from the front.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, CodecError> {
        let all = reader.rest();
        let header = ReportHeaderRef::decode(reader)?;
        let leader_share = HpkeCiphertextRef::decode(reader)?;
        let helper_share = HpkeCiphertextRef::decode(reader)?;
        let encoded = &all[..all.len() - reader.rest().len()];
        Ok(Self { header, leader_share, helper_share, encoded })
    }

    /// Reads one that must be the whole of `bytes`.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let report = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(report)
    }
}

/// A report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Public metadata.
    pub metadata: ReportMetadata,
    /// The VDAF's public share.
    pub public_share: Vec<u8>,
    /// For the leader.
    pub leader_share: HpkeCiphertext,
    /// For the helper.
    pub helper_share: HpkeCiphertext,
}

impl Encode for Report {
    fn encode(&self, out: &mut Vec<u8>) {
        self.metadata.encode(out);
        put_opaque32(out, &self.public_share);
        self.leader_share.encode(out);
        self.helper_share.encode(out);
    }
}

impl Decode for Report {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            metadata: ReportMetadata::decode(reader)?,
            public_share: reader.opaque32("public_share")?.to_vec(),
            leader_share: HpkeCiphertext::decode(reader)?,
            helper_share: HpkeCiphertext::decode(reader)?,
        })
    }
}

/// The body of an upload: reports one after another up to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRequestRef<'a> {
    /// In the order of the request.
    pub reports: Vec<ReportRef<'a>>,
}

impl<'a> UploadRequestRef<'a> {
    /// Reads a whole body; one of more than `max` reports is refused before they take memory.
    pub fn from_bytes(bytes: &'a [u8], max: usize) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let mut reports = Vec::new();
        while !reader.is_empty() {
            if reports.len() == max {
                return Err(CodecError::TooMany { field: "reports", max });
            }
            reports.push(ReportRef::decode(&mut reader)?);
        }
        Ok(Self { reports })
    }
}

/// Why one report of an upload was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportUploadStatus {
    /// Which.
    pub report_id: ReportId,
    /// Why.
    pub error: ReportError,
}

impl Encode for ReportUploadStatus {
    fn encode(&self, out: &mut Vec<u8>) {
        self.report_id.encode(out);
        self.error.encode(out);
    }
}

impl Decode for ReportUploadStatus {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { report_id: ReportId::decode(reader)?, error: ReportError::decode(reader)? })
    }
}

/// The reports of an upload that were refused, in the order of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadErrors {
    /// One for each refused report; accepted ones are not listed.
    pub status: Vec<ReportUploadStatus>,
}

impl Encode for UploadErrors {
    fn encode(&self, out: &mut Vec<u8>) {
        for status in &self.status {
            status.encode(out);
        }
    }
}

impl Decode for UploadErrors {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { status: decode_to_end(reader)? })
    }
}

/// What is inside a sealed input share, borrowed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PlaintextInputShareRef<'a> {
    /// The encoded list of private extensions, without its length.
    pub private_extensions: &'a [u8],
    /// The VDAF's input share.
    pub payload: &'a [u8],
}

impl std::fmt::Debug for PlaintextInputShareRef<'_> {
    // The payload is a share of somebody's measurement.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlaintextInputShareRef").finish_non_exhaustive()
    }
}

impl<'a> PlaintextInputShareRef<'a> {
    /// Reads one that must be the whole of `bytes`.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let private_extensions = reader.opaque16("private_extensions")?;
        let payload = reader.opaque32("input_share")?;
        reader.finish()?;
        if payload.is_empty() {
            return Err(CodecError::Invalid { field: "input_share", reason: "must not be empty" });
        }
        Ok(Self { private_extensions, payload })
    }

    /// Walks over the private extensions, checking their encoding and order.
    pub fn check_extensions(&self, each: impl FnMut(u16, &[u8])) -> Result<(), CodecError> {
        check_extensions(self.private_extensions, each)
    }
}

/// The plaintext of a sealed input share. Arras's clients send no private extensions.
pub fn encode_plaintext_input_share(private_extensions: &Extensions, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(6 + payload.len());
    private_extensions.encode(&mut out);
    put_opaque32(&mut out, payload);
    out
}

/// `opaque public_share<0..2^32-1>` after encoded metadata: what [`ReportHeaderRef::encoded`] holds, made by
/// the side that has no encoded report yet.
pub(crate) fn encode_report_header(metadata: &ReportMetadata, public_share: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + public_share.len());
    metadata.encode(&mut out);
    put_opaque32(&mut out, public_share);
    out
}

/// A header goes on as it came: the associated data of both shares is made of these bytes.
impl Encode for ReportHeaderRef<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.encoded);
    }
}

impl Encode for ReportRef<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.encoded);
    }
}
