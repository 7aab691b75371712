//! What holds for every decoder: it reads what was written, does not panic whatever it is given, and
//! whatever it reads it writes back byte for byte.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::epsilon::MicroEpsilon;
use crate::policy::{Mechanism, PrivacyPolicy};
use crate::vdaf::VdafConfig;

fn bytes(range: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), range)
}

fn extensions() -> impl Strategy<Value = Extensions> {
    prop::collection::btree_map(any::<u16>(), bytes(0..20), 0..5).prop_map(|map| {
        Extensions::new(map.into_iter().map(|(kind, data)| Extension { kind, data }).collect()).unwrap()
    })
}

fn sealed() -> impl Strategy<Value = HpkeCiphertext> {
    (any::<u8>(), bytes(1..50), bytes(1..80)).prop_map(|(id, enc, payload)| ciphertext(id, &enc, &payload))
}

fn interval() -> impl Strategy<Value = Interval> {
    (any::<u64>(), any::<u64>()).prop_map(|(start, length)| {
        Interval::new(Time(start), Duration(length.min(u64::MAX - start))).unwrap()
    })
}

fn report_id() -> impl Strategy<Value = ReportId> {
    any::<[u8; 16]>().prop_map(ReportId::new)
}

fn report() -> impl Strategy<Value = Report> {
    (report_id(), any::<u64>(), extensions(), bytes(0..70), sealed(), sealed()).prop_map(
        |(report_id, time, public_extensions, public_share, leader_share, helper_share)| Report {
            metadata: ReportMetadata { report_id, time: Time(time), public_extensions },
            public_share,
            leader_share,
            helper_share,
        },
    )
}

fn report_error() -> impl Strategy<Value = ReportError> {
    prop::sample::select(ReportError::ALL.to_vec())
}

fn verify_resp() -> impl Strategy<Value = VerifyResp> {
    let result = prop_oneof![
        bytes(1..60).prop_map(VerifyResult::Continue),
        Just(VerifyResult::Finish),
        report_error().prop_map(VerifyResult::Reject),
    ];
    (report_id(), result).prop_map(|(report_id, result)| VerifyResp { report_id, result })
}

fn status() -> impl Strategy<Value = ReportUploadStatus> {
    (report_id(), report_error()).prop_map(|(report_id, error)| ReportUploadStatus { report_id, error })
}

fn vdaf() -> impl Strategy<Value = VdafConfig> {
    prop_oneof![
        Just(VdafConfig::Count),
        (2_u32..50).prop_map(|length| VdafConfig::histogram(length).unwrap()),
        (1_u32..50, 1_u64..5_000).prop_map(|(length, max)| VdafConfig::l1_bound_sum(length, max).unwrap()),
    ]
}

fn url() -> impl Strategy<Value = Url> {
    "[!-~]{1,60}".prop_map(|text| Url::new(text).unwrap())
}

fn task_configuration() -> impl Strategy<Value = TaskConfiguration> {
    let numbers = (1..=u64::MAX, any::<u64>(), any::<u8>());
    (bytes(0..256), url(), url(), numbers, vdaf(), extensions()).prop_map(
        |(info, leader, helper, (precision, min_batch_size, batch_mode), vdaf, extensions)| {
            let precision = TimePrecision::from_seconds(precision).unwrap();
            TaskConfiguration::new(
                &info,
                leader,
                helper,
                precision,
                min_batch_size,
                batch_mode,
                &vdaf,
                extensions,
            )
            .unwrap()
        },
    )
}

fn policy() -> impl Strategy<Value = PrivacyPolicy> {
    (1..=u32::MAX, any::<u64>(), 1..=u32::MAX, any::<u64>()).prop_map(
        |(epsilon, sensitivity, contributions, threshold)| PrivacyPolicy {
            mechanism: Mechanism::DiscreteLaplace,
            epsilon: MicroEpsilon::from_micro(epsilon).unwrap(),
            sensitivity,
            contributions: contributions.try_into().unwrap(),
            threshold,
        },
    )
}

fn hpke_config() -> impl Strategy<Value = HpkeConfig> {
    (any::<[u8; 7]>(), bytes(1..70)).prop_map(|(head, key)| {
        let mut encoded = head.to_vec();
        crate::codec::put_opaque16(&mut encoded, &key);
        HpkeConfig::from_bytes(&encoded).unwrap()
    })
}

fn hpke_config_list() -> impl Strategy<Value = HpkeConfigList> {
    prop::collection::vec(hpke_config(), 1..5).prop_map(|configs| {
        let mut seen = std::collections::HashSet::new();
        HpkeConfigList::new(configs.into_iter().filter(|config| seen.insert(config.id)).collect()).unwrap()
    })
}

fn collection_job_req() -> impl Strategy<Value = CollectionJobReq> {
    (any::<u8>(), bytes(0..40), bytes(0..40), extensions()).prop_map(
        |(mode, query, agg_param, extensions)| {
            let mut encoded = vec![mode];
            crate::codec::put_opaque16(&mut encoded, &query);
            crate::codec::put_opaque32(&mut encoded, &agg_param);
            extensions.encode(&mut encoded);
            CollectionJobReq::from_bytes(&encoded).unwrap()
        },
    )
}

fn aggregate_share_req() -> impl Strategy<Value = AggregateShareReq> {
    (collection_job_req(), interval(), any::<u64>(), any::<[u8; 32]>()).prop_map(
        |(request, interval, count, checksum)| {
            AggregateShareReq::time_interval(request, interval, count, checksum)
        },
    )
}

fn collection_job_resp() -> impl Strategy<Value = CollectionJobResp> {
    (any::<u64>(), interval(), sealed(), sealed()).prop_map(
        |(report_count, interval, leader_share, helper_share)| CollectionJobResp {
            report_count,
            interval,
            leader_share,
            helper_share,
        },
    )
}

/// The body of an aggregation job's request, made from owned parts.
fn job_bytes() -> impl Strategy<Value = Vec<u8>> {
    let inits = prop::collection::vec((report(), bytes(1..60)), 0..4);
    (any::<u8>(), bytes(0..9), extensions(), inits).prop_map(|(key_id, agg_param, extensions, inits)| {
        let reports: Vec<_> = inits.iter().map(|(report, _)| report.to_bytes()).collect();
        let verify_inits = reports
            .iter()
            .zip(&inits)
            .map(|(report, (_, payload))| {
                let report = ReportRef::from_bytes(report).unwrap();
                let encrypted_input_share = report.helper_share;
                VerifyInitRef {
                    report_share: ReportShareRef { header: report.header, encrypted_input_share },
                    payload,
                }
            })
            .collect();
        let request = AggregationJobInitReq {
            verification_key_id: key_id,
            agg_param: &agg_param,
            extensions,
            verify_inits,
        };
        let encoded = request.to_bytes();
        assert_eq!(AggregationJobInitReq::from_bytes(&encoded, usize::MAX).as_ref(), Ok(&request));
        encoded
    })
}

/// The value comes back, and its bytes are those of the decoder of this name.
fn named<T>(name: &'static str, strategy: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Sample>
where
    T: Encode + Decode + PartialEq + std::fmt::Debug + 'static,
{
    strategy
        .prop_map(move |value| {
            let encoded = value.to_bytes();
            assert_eq!(T::from_bytes(&encoded).as_ref(), Ok(&value), "{name}");
            (name, encoded)
        })
        .boxed()
}

type Sample = (&'static str, Vec<u8>);

/// A valid encoding of any message.
fn sample() -> impl Strategy<Value = Sample> {
    let list = |max| prop::collection::vec(report(), 0..max);
    let upload = list(4).prop_map(|reports| reports.iter().flat_map(Encode::to_bytes).collect::<Vec<u8>>());
    let plaintext = (extensions(), bytes(1..60))
        .prop_map(|(private, payload)| encode_plaintext_input_share(&private, &payload));
    prop::strategy::Union::new([
        named(
            "AggregateShare",
            sealed().prop_map(|share| AggregateShareMessage { encrypted_aggregate_share: share }),
        ),
        named("AggregateShareId", any::<[u8; 16]>().prop_map(AggregateShareId::new)),
        named("AggregateShareReq", aggregate_share_req()),
        named("AggregationJobId", any::<[u8; 16]>().prop_map(AggregationJobId::new)),
        job_bytes().prop_map(|encoded| ("AggregationJobInitReq", encoded)).boxed(),
        named(
            "AggregationJobResp",
            prop::collection::vec(verify_resp(), 0..5)
                .prop_map(|verify_resps| AggregationJobResp { verify_resps }),
        ),
        named("BatchId", any::<[u8; 32]>().prop_map(BatchId::new)),
        named("CollectionJobId", any::<[u8; 16]>().prop_map(CollectionJobId::new)),
        named("CollectionJobReq", collection_job_req()),
        named("CollectionJobResp", collection_job_resp()),
        named("Extensions", extensions()),
        named("HpkeCiphertext", sealed()),
        named("HpkeConfig", hpke_config()),
        named("HpkeConfigList", hpke_config_list()),
        named("Interval", interval()),
        plaintext.prop_map(|encoded| ("PlaintextInputShare", encoded)).boxed(),
        named("PrivacyPolicy", policy()),
        named("Report", report()),
        report().prop_map(|report| ("ReportRef", report.to_bytes())).boxed(),
        named("ReportUploadStatus", status()),
        named("TaskConfiguration", task_configuration()),
        named(
            "UploadErrors",
            prop::collection::vec(status(), 0..5).prop_map(|status| UploadErrors { status }),
        ),
        upload.prop_map(|encoded| ("UploadRequest", encoded)).boxed(),
        named("Url", url()),
        named("VerifyResp", verify_resp()),
    ])
}

#[test]
fn every_decoder_has_samples() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2_000 {
        seen.insert(sample().new_tree(&mut runner).unwrap().current().0);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), DECODERS.map(|entry| entry.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_written_is_read((name, encoded) in sample()) {
        let (again, _) = decoder(name);
        prop_assert_eq!(again(&encoded), Some(encoded), "{}", name);
    }

    #[test]
    fn what_is_cut_is_refused((name, encoded) in sample()) {
        let (again, open_ended) = decoder(name);
        let mut accepted = 0;
        for cut in 0..encoded.len() {
            match again(&encoded[..cut]) {
                None => {}
                Some(shorter) => {
                    prop_assert!(open_ended, "{} of {} bytes cut at {}", name, encoded.len(), cut);
                    prop_assert_eq!(&shorter, &encoded[..cut]);
                    accepted += 1;
                }
            }
        }
        // Between the items of a body and nowhere else: no item is shorter than 17 bytes.
        prop_assert!(accepted <= encoded.len() / 17 + 1, "{}: {} cuts are accepted", name, accepted);
    }

    #[test]
    fn what_is_left_over_is_refused((name, encoded) in sample(), more in bytes(1..17)) {
        let (again, open_ended) = decoder(name);
        // Up to 16 bytes are no whole item of an open-ended body either.
        let longer = [encoded, more].concat();
        prop_assert_eq!(again(&longer), None, "{} {}", name, open_ended);
    }

    #[test]
    fn changed_bytes_do_no_harm(
        (name, encoded) in sample(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        let mut changed = encoded;
        for (index, value) in changes {
            if !changed.is_empty() {
                let index = index.index(changed.len());
                changed[index] = value;
            }
        }
        // By its own decoder and by every other one.
        for (other, again, _) in DECODERS {
            if let Some(written) = again(&changed) {
                prop_assert_eq!(&written, &changed, "{} read as {}", name, other);
            }
        }
    }

    #[test]
    fn any_bytes_do_no_harm(garbage in bytes(0..200)) {
        for (name, again, _) in DECODERS {
            if let Some(written) = again(&garbage) {
                prop_assert_eq!(&written, &garbage, "{}", name);
            }
        }
    }

    #[test]
    fn headers_and_owned_reports_agree(report in report()) {
        let encoded = report.to_bytes();
        let borrowed = ReportRef::from_bytes(&encoded).unwrap();
        prop_assert_eq!(borrowed.encoded, &encoded);
        prop_assert_eq!(borrowed.header.report_id, report.metadata.report_id);
        prop_assert_eq!(borrowed.header.time, report.metadata.time);
        prop_assert_eq!(borrowed.header.public_share, &report.public_share);
        prop_assert_eq!(borrowed.leader_share.to_owned(), report.leader_share);
        prop_assert_eq!(borrowed.helper_share.to_owned(), report.helper_share);
        prop_assert_eq!(borrowed.header.encoded, encode_report_header(&report.metadata, &report.public_share));
        let mut walked = Vec::new();
        borrowed.header.check_extensions(|kind, data| walked.push(extension(kind, data))).unwrap();
        prop_assert_eq!(walked, report.metadata.public_extensions.iter().cloned().collect::<Vec<_>>());
    }

    #[test]
    fn ids_survive_their_text(bytes in any::<[u8; 32]>()) {
        let id = TaskId::new(bytes);
        prop_assert_eq!(id.to_string().parse::<TaskId>().unwrap(), id);
        prop_assert_eq!(id.to_string().len(), 43);
    }
}
