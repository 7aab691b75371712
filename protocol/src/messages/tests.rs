//! Encodings by hand, what is refused and why; the properties that hold for every decoder are in
//! `properties`.
#![allow(clippy::unwrap_used)]

mod golden;
mod properties;
mod refusals;

use super::*;
use crate::codec::{CodecError, Decode, Encode, Reader};

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text.replace(char::is_whitespace, "")).unwrap()
}

fn extension(kind: u16, data: &[u8]) -> Extension {
    Extension { kind, data: data.to_vec() }
}

fn ciphertext(config_id: u8, enc: &[u8], payload: &[u8]) -> HpkeCiphertext {
    HpkeCiphertextRef { config_id, enc, payload }.to_owned()
}

/// What a body is decoded by, and encoded to again: `None` if it does not decode.
type Again = fn(&[u8]) -> Option<Vec<u8>>;

fn again<T: Decode + Encode>(bytes: &[u8]) -> Option<Vec<u8>> {
    T::from_bytes(bytes).ok().map(|value| value.to_bytes())
}

fn upload_again(bytes: &[u8]) -> Option<Vec<u8>> {
    let request = UploadRequestRef::from_bytes(bytes, usize::MAX).ok()?;
    let mut out = Vec::new();
    for report in &request.reports {
        fields_again(&report.header, &mut out);
        report.leader_share.encode(&mut out);
        report.helper_share.encode(&mut out);
    }
    Some(out)
}

fn report_ref_again(bytes: &[u8]) -> Option<Vec<u8>> {
    ReportRef::from_bytes(bytes).ok().map(|report| report.to_bytes())
}

fn job_again(bytes: &[u8]) -> Option<Vec<u8>> {
    let request = AggregationJobInitReq::from_bytes(bytes, usize::MAX).ok()?;
    let mut out = vec![request.verification_key_id];
    crate::codec::put_opaque32(&mut out, request.agg_param);
    request.extensions.encode(&mut out);
    for init in &request.verify_inits {
        fields_again(&init.report_share.header, &mut out);
        init.report_share.encrypted_input_share.encode(&mut out);
        crate::codec::put_opaque32(&mut out, init.payload);
    }
    assert_eq!(out, request.to_bytes(), "fields and kept bytes differ");
    Some(out)
}

fn plaintext_again(bytes: &[u8]) -> Option<Vec<u8>> {
    let share = PlaintextInputShareRef::from_bytes(bytes).ok()?;
    let mut out = Vec::new();
    crate::codec::put_opaque16(&mut out, share.private_extensions);
    crate::codec::put_opaque32(&mut out, share.payload);
    Some(out)
}

/// Encodes a header from its fields, although the header keeps its bytes: they must say the same.
fn fields_again(header: &ReportHeaderRef<'_>, out: &mut Vec<u8>) {
    header.report_id.encode(out);
    out.extend_from_slice(&header.time.0.to_be_bytes());
    crate::codec::put_opaque16(out, header.public_extensions);
    crate::codec::put_opaque32(out, header.public_share);
}

/// Every decoder. Those of bodies without a length of their own are marked: cut between two items they
/// are shorter bodies.
const DECODERS: [(&str, Again, bool); 25] = [
    ("AggregateShare", again::<AggregateShareMessage>, false),
    ("AggregateShareId", again::<AggregateShareId>, false),
    ("AggregateShareReq", again::<AggregateShareReq>, false),
    ("AggregationJobId", again::<AggregationJobId>, false),
    ("AggregationJobInitReq", job_again, true),
    ("AggregationJobResp", again::<AggregationJobResp>, true),
    ("BatchId", again::<BatchId>, false),
    ("CollectionJobId", again::<CollectionJobId>, false),
    ("CollectionJobReq", again::<CollectionJobReq>, false),
    ("CollectionJobResp", again::<CollectionJobResp>, false),
    ("Extensions", again::<Extensions>, false),
    ("HpkeCiphertext", again::<HpkeCiphertext>, false),
    ("HpkeConfig", again::<HpkeConfig>, false),
    ("HpkeConfigList", again::<HpkeConfigList>, false),
    ("Interval", again::<Interval>, false),
    ("PlaintextInputShare", plaintext_again, false),
    ("PrivacyPolicy", again::<crate::policy::PrivacyPolicy>, false),
    ("Report", again::<Report>, false),
    ("ReportRef", report_ref_again, false),
    ("ReportUploadStatus", again::<ReportUploadStatus>, false),
    ("TaskConfiguration", again::<TaskConfiguration>, false),
    ("UploadErrors", again::<UploadErrors>, true),
    ("UploadRequest", upload_again, true),
    ("Url", again::<Url>, false),
    ("VerifyResp", again::<VerifyResp>, false),
];

fn decoder(name: &str) -> (Again, bool) {
    DECODERS.iter().find(|entry| entry.0 == name).map(|entry| (entry.1, entry.2)).unwrap()
}
