//! Bytes put together by hand from the structures in DAP-18, field by field.

use super::*;
use crate::epsilon::MicroEpsilon;
use crate::policy::{Mechanism, PrivacyPolicy};
use crate::vdaf::VdafConfig;

const REPORT_ID: &str = "000102030405060708090a0b0c0d0e0f";

/// Metadata with two extensions, a public share of two bytes.
const HEADER: &str = "000102030405060708090a0b0c0d0e0f 0000000000000102
    000b 0001 0003 aabbcc ff01 0000
    00000002 dead";
/// `config_id`, `enc` of one byte, `payload` of two.
const LEADER: &str = "07 0001 e1 00000002 c1c2";
const HELPER: &str = "08 0002 e2e3 00000001 c3";

fn report_id() -> ReportId {
    ReportId::new(hex(REPORT_ID).try_into().unwrap())
}

fn report() -> Report {
    Report {
        metadata: ReportMetadata {
            report_id: report_id(),
            time: Time(0x102),
            public_extensions: Extensions::new(vec![
                extension(1, &[0xaa, 0xbb, 0xcc]),
                extension(0xff01, &[]),
            ])
            .unwrap(),
        },
        public_share: vec![0xde, 0xad],
        leader_share: ciphertext(7, &[0xe1], &[0xc1, 0xc2]),
        helper_share: ciphertext(8, &[0xe2, 0xe3], &[0xc3]),
    }
}

/// Encodes to these bytes and decodes from them.
fn same<T: Encode + Decode + PartialEq + std::fmt::Debug>(value: &T, text: &str) {
    assert_eq!(hex::encode(value.to_bytes()), hex::encode(hex(text)));
    assert_eq!(T::from_bytes(&hex(text)).as_ref(), Ok(value));
}

#[test]
fn small_types() {
    same(&report_id(), REPORT_ID);
    same(&Url::new("https://a.example/").unwrap(), "0012 68747470733a2f2f612e6578616d706c652f");
    same(&Interval::new(Time(1), Duration(0x0203)).unwrap(), "0000000000000001 0000000000000203");
    same(&Extensions::none(), "0000");
    same(&ciphertext(7, &[0xe1], &[0xc1, 0xc2]), LEADER);
    for (value, error) in (1_u8..).zip(ReportError::ALL) {
        same(&error, &format!("{value:02x}"));
    }
    let roles = [Role::Collector, Role::Client, Role::Leader, Role::Helper].map(|role| role as u8);
    assert_eq!(roles, [0, 1, 2, 3]);
}

#[test]
fn reports_and_uploads() {
    let bytes = format!("{HEADER} {LEADER} {HELPER}");
    same(&report(), &bytes);

    let two = hex(&format!("{bytes}{bytes}"));
    let upload = UploadRequestRef::from_bytes(&two, usize::MAX).unwrap();
    assert_eq!(upload.reports.len(), 2);
    let [first, second] = upload.reports.as_slice() else { panic!("two reports") };
    assert_eq!((first.encoded, second.encoded), two.split_at(two.len() / 2));
    assert_eq!(first.header.report_id, report_id());
    assert_eq!(first.header.time, Time(0x102));
    assert_eq!(first.header.public_share, [0xde, 0xad]);
    assert_eq!(first.header.encoded, hex(HEADER));
    assert_eq!(first.header.to_bytes(), hex(HEADER));
    assert_eq!(first.leader_share, ciphertext(7, &[0xe1], &[0xc1, 0xc2]).as_ref());
    let mut seen = Vec::new();
    first.header.check_extensions(|kind, data| seen.push((kind, data.to_vec()))).unwrap();
    assert_eq!(seen, [(1, vec![0xaa, 0xbb, 0xcc]), (0xff01, vec![])]);
    assert_eq!(encode_report_header(&report().metadata, &report().public_share), hex(HEADER));

    let errors = UploadErrors {
        status: vec![ReportUploadStatus { report_id: report_id(), error: ReportError::OutdatedConfig }],
    };
    same(&errors, &format!("{REPORT_ID} 0b"));
    same(&UploadErrors::default(), "");

    let private = Extensions::new(vec![extension(2, &[9])]).unwrap();
    assert_eq!(encode_plaintext_input_share(&private, &[1, 2, 3]), hex("0005 0002 0001 09  00000003 010203"));
    assert_eq!(encode_plaintext_input_share(&Extensions::none(), &[5]), hex("0000 00000001 05"));
}

#[test]
fn aggregation_jobs() {
    // The order of the fields is verification_key_id, agg_param, extensions, verify_inits.
    let bytes = hex(&format!(
        "2a 00000000 0005 ff02 0001 01
         {HEADER} {HELPER} 00000003 010203
         {HEADER} {LEADER} 00000001 04"
    ));
    let request = AggregationJobInitReq::from_bytes(&bytes, usize::MAX).unwrap();
    assert_eq!(request.verification_key_id, 0x2a);
    assert!(request.agg_param.is_empty());
    assert_eq!(request.extensions.get(0xff02), Some([1].as_slice()));
    let payloads: Vec<_> = request.verify_inits.iter().map(|init| init.payload).collect();
    assert_eq!(payloads, [[1, 2, 3].as_slice(), &[4]]);
    assert_eq!(request.verify_inits[0].report_share.header.encoded, hex(HEADER));
    assert_eq!(request.to_bytes(), bytes);

    let response = AggregationJobResp {
        verify_resps: vec![
            VerifyResp { report_id: report_id(), result: VerifyResult::Continue(vec![0xaa]) },
            VerifyResp { report_id: report_id(), result: VerifyResult::Finish },
            VerifyResp { report_id: report_id(), result: VerifyResult::Reject(ReportError::VdafVerifyError) },
        ],
    };
    same(&response, &format!("{REPORT_ID} 00 00000001 aa {REPORT_ID} 01 {REPORT_ID} 02 06"));
}

#[test]
fn collection() {
    let interval = Interval::new(Time(5), Duration(2)).unwrap();
    let request = CollectionJobReq::time_interval(interval);
    let request_bytes = "01 0010 0000000000000005 0000000000000002 00000000 0000";
    same(&request, request_bytes);
    assert_eq!(request.as_time_interval().unwrap().batch_interval, interval);
    assert!(request.agg_param().is_empty());

    let checksum = [0xcc; 32];
    let selected = Interval::new(Time(6), Duration(1)).unwrap();
    let share_request = AggregateShareReq::time_interval(request, selected, 0x1234, checksum);
    same(
        &share_request,
        &format!(
            "{request_bytes} 01 0010 0000000000000006 0000000000000001 0000000000001234 {}",
            hex::encode(checksum)
        ),
    );
    assert_eq!(share_request.as_time_interval().unwrap().batch_interval, selected);

    let response = CollectionJobResp {
        report_count: 3,
        interval: selected,
        leader_share: ciphertext(7, &[0xe1], &[0xc1, 0xc2]),
        helper_share: ciphertext(8, &[0xe2, 0xe3], &[0xc3]),
    };
    same(&response, &format!("0000000000000003 0000000000000006 0000000000000001 {LEADER} {HELPER}"));
    same(&AggregateShareMessage { encrypted_aggregate_share: ciphertext(8, &[0xe2, 0xe3], &[0xc3]) }, HELPER);
}

#[test]
fn a_selector_of_another_mode_is_not_a_time_interval() {
    let mut request = CollectionJobReq::time_interval(Interval::new(Time(5), Duration(2)).unwrap());
    request.batch_mode = 2;
    assert!(matches!(request.as_time_interval(), Err(CodecError::Invalid { field: "batch_mode", .. })));
    // A query that decodes as a message and holds an interval that does not.
    let overflowing = hex("01 0010 ffffffffffffffff 0000000000000001 00000000 0000");
    let request = CollectionJobReq::from_bytes(&overflowing).unwrap();
    assert!(matches!(request.as_time_interval(), Err(CodecError::Invalid { field: "interval", .. })));
    for config in ["01 0000 00000000 0000", "01 0011 0000000000000005 0000000000000002 00 00000000 0000"] {
        assert!(CollectionJobReq::from_bytes(&hex(config)).unwrap().as_time_interval().is_err());
    }
}

#[test]
fn task_configurations() {
    let configuration = TaskConfiguration::new(
        b"sales",
        Url::new("https://l.example/").unwrap(),
        Url::new("https://h.example/").unwrap(),
        TimePrecision::from_seconds(3600).unwrap(),
        100,
        1,
        &VdafConfig::Histogram { length: 4, chunk_length: 2 },
        Extensions::new(vec![extension(1, &[0; 16])]).unwrap(),
    )
    .unwrap();
    same(
        &configuration,
        "05 73616c6573
         0012 68747470733a2f2f6c2e6578616d706c652f
         0012 68747470733a2f2f682e6578616d706c652f
         0000000000000e10
         0000000000000064
         01
         0000
         00000004
         0008 00000004 00000002
         0014 0001 0010 00000000000000000000000000000000",
    );
    assert_eq!(configuration.task_info(), b"sales");
    assert!(configuration.batch_config().is_empty());
    assert_eq!(configuration.vdaf_configuration(), hex("00000004 00000002"));
}

#[test]
fn privacy_policies() {
    let policy = PrivacyPolicy {
        mechanism: Mechanism::DiscreteLaplace,
        epsilon: MicroEpsilon::from_micro(500_000).unwrap(),
        sensitivity: 14,
        contributions: 3.try_into().unwrap(),
        threshold: 40,
    };
    same(&policy, "01 01 0007a120 000000000000000e 00000003 0000000000000028");
    assert_eq!(policy.noise_slack(), 40 * 28);
}

#[test]
fn hpke_configurations() {
    let key = crate::hpke::PublicKey::from_bytes([0x5a; 32]);
    let ours = HpkeConfig::new(9, &key);
    let ours_bytes = format!("09 0020 0001 0001 0020 {}", "5a".repeat(32));
    same(&ours, &ours_bytes);
    // P-256, and X25519 with another AEAD or a key of another length: read, kept, not used.
    let others = ["01 0010 0001 0001 0003 040404", "02 0020 0001 0003 0001 01", "03 0020 0001 0001 0001 01"];
    let list_bytes = format!("{:04x} {} {ours_bytes}", 12 + 10 + 10 + 41, others.join(" "));
    let list = HpkeConfigList::from_bytes(&hex(&list_bytes)).unwrap();
    assert_eq!(list.to_bytes(), hex(&list_bytes));
    assert_eq!(
        list.iter().map(|config| config.public_key().is_some()).collect::<Vec<_>>(),
        [false, false, false, true]
    );
    assert_eq!(list.supported(), Some(&ours));
    let others = HpkeConfigList::new(list.iter().take(3).cloned().collect()).unwrap();
    assert_eq!(others.supported(), None);
}

#[test]
fn ids_in_urls_are_unpadded_base64url() {
    // The example of DAP-18 section 3.
    let id: TaskId = "8BY0RzZMzxvA46_8ymhzycOB9krN-QIGYvg_RsByGec".parse().unwrap();
    let bytes = hex("f016344736 4ccf1bc0e3affcca6873c9c381f64acdf9020662f83f46c07219e7");
    assert_eq!(id.as_bytes().as_slice(), bytes);
    assert_eq!(id.to_string(), "8BY0RzZMzxvA46_8ymhzycOB9krN-QIGYvg_RsByGec");
    let job: AggregationJobId = "lc7aUeGpdSNosNlh-UZhKA".parse().unwrap();
    assert_eq!(job.as_bytes().as_slice(), hex("95ceda51e1a9752368b0d961f9466128"));
    for wrong in [
        "",
        "lc7aUeGpdSNosNlh-UZhK",
        "lc7aUeGpdSNosNlh-UZhKA==",
        "lc7aUeGpdSNosNlh+UZhKA",
        "lc7aUeGpdSNosNlh-UZhKB",
        " lc7aUeGpdSNosNlh-UZhKA",
        "8BY0RzZMzxvA46_8ymhzycOB9krN-QIGYvg_RsByGec",
    ] {
        assert!(wrong.parse::<AggregationJobId>().is_err(), "{wrong:?}");
    }
}
