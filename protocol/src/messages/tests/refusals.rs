//! What must not decode, must not be constructed, must not match.

use super::*;

#[test]
fn extensions_come_in_strictly_increasing_order() {
    let order = |previous, found| Err(CodecError::ExtensionOrder { previous, found });
    let decode = |text: &str| Extensions::from_bytes(&hex(text)).map(|_| ());
    assert_eq!(decode("0008 0001 0000 0002 0000"), Ok(()));
    assert_eq!(decode("0008 0002 0000 0001 0000"), order(2, 1));
    assert_eq!(decode("0008 0002 0000 0002 0000"), order(2, 2));
    assert_eq!(decode("000c 0001 0000 0003 0000 0002 0000"), order(3, 2));
    // The first one may have any type, 0 too: an unknown type is for the caller to refuse.
    assert_eq!(decode("0004 0000 0000"), Ok(()));
    let new = |kinds: &[u16]| Extensions::new(kinds.iter().map(|kind| extension(*kind, &[])).collect());
    assert!(new(&[1, 2, 0xffff]).is_ok());
    assert_eq!(new(&[2, 1]).map(|_| ()), order(2, 1));
    assert_eq!(new(&[7, 7]).map(|_| ()), order(7, 7));
    // Data that runs past the list, a type cut in half.
    assert!(matches!(decode("0005 0001 0002 aa"), Err(CodecError::Truncated { .. })));
    assert!(matches!(decode("0001 00"), Err(CodecError::Truncated { .. })));
}

#[test]
fn an_upload_of_too_many_reports_is_refused() {
    let one = hex("000102030405060708090a0b0c0d0e0f 0000000000000001 0000 00000000
                   01 0001 aa 00000001 bb 01 0001 aa 00000001 bb");
    let three = one.repeat(3);
    assert_eq!(UploadRequestRef::from_bytes(&three, 3).unwrap().reports.len(), 3);
    let refused = UploadRequestRef::from_bytes(&three, 2);
    assert_eq!(refused.unwrap_err(), CodecError::TooMany { field: "reports", max: 2 });
}

#[test]
fn a_bad_list_of_extensions_fails_its_report_and_not_the_upload() {
    let bytes = hex("000102030405060708090a0b0c0d0e0f 0000000000000001 0008 00020000 00010000 00000000
                     01 0001 aa 00000001 bb 01 0001 aa 00000001 bb");
    let upload = UploadRequestRef::from_bytes(&bytes, usize::MAX).unwrap();
    assert_eq!(
        upload.reports[0].header.check_extensions(|_, _| ()),
        Err(CodecError::ExtensionOrder { previous: 2, found: 1 })
    );
    assert!(Report::from_bytes(&bytes).is_err());
}

#[test]
fn what_does_not_fit_its_length_prefix_cannot_be_made() {
    let longest = vec![0; 65_535 - 4];
    let one = |data: Vec<u8>| Extensions::new(vec![Extension { kind: 1, data }]);
    let encoded = one(longest.clone()).unwrap().to_bytes();
    assert_eq!(encoded.len(), 2 + 65_535);
    assert!(Extensions::from_bytes(&encoded).is_ok());
    assert!(one(vec![0; 65_535 - 3]).is_err());
    assert!(one(vec![0; 65_536]).is_err());
    assert!(Extensions::new(vec![extension(1, &longest), extension(2, &[])]).is_err());

    assert!(Url::new("").is_err());
    assert!(Url::new("x".repeat(Url::MAX_LEN)).is_ok());
    assert!(Url::new("x".repeat(Url::MAX_LEN + 1)).is_err());
    let too_long = [&0x0801_u16.to_be_bytes()[..], "x".repeat(0x801).as_bytes()].concat();
    assert!(Url::from_bytes(&too_long).is_err());

    let info = |length| {
        TaskConfiguration::new(
            &vec![1; length],
            Url::new("l").unwrap(),
            Url::new("h").unwrap(),
            TimePrecision::from_seconds(1).unwrap(),
            1,
            1,
            &crate::vdaf::VdafConfig::Count,
            Extensions::none(),
        )
    };
    assert!(info(0).is_ok() && info(255).is_ok());
    assert!(info(256).is_err());

    let key = crate::hpke::PublicKey::from_bytes([1; 32]);
    // 41 bytes each, so that no 255 of them are too long; ids are the tighter bound.
    let configs: Vec<_> = (0..=255).map(|id| HpkeConfig::new(id, &key)).collect();
    assert!(HpkeConfigList::new(configs).is_ok());
    let long_key = |length: u16| {
        let config = [&hex("00 0020 0001 0001")[..], &length.to_be_bytes(), &vec![1; length.into()]].concat();
        HpkeConfigList::new(vec![HpkeConfig::from_bytes(&config).unwrap()])
    };
    assert!(long_key(65_535 - 9).is_ok());
    assert!(long_key(65_535 - 8).is_err());
}

#[test]
fn urls_are_printable_ascii() {
    for text in ["https://a b", "https://\u{e9}.example", "a\n", "a\0", "\u{7f}"] {
        assert!(Url::new(text).is_err(), "{text:?}");
        let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        assert!(Url::from_bytes(&bytes).is_err(), "{text:?}");
    }
    assert!(Url::from_bytes(&hex("0001 ff")).is_err());
    // No other spelling is made of it.
    assert_eq!(
        Url::new("HTTPS://A.example:443/%7e/../x").unwrap().as_str(),
        "HTTPS://A.example:443/%7e/../x"
    );
}

#[test]
fn empty_fields_that_may_not_be_empty() {
    let refused = |name: &str, text: &str, field: &str| {
        let (again, _) = decoder(name);
        assert_eq!(again(&hex(text)), None, "{name}: {field}");
    };
    refused("HpkeCiphertext", "01 0000 00000001 aa", "enc");
    refused("HpkeCiphertext", "01 0001 aa 00000000", "payload");
    refused("HpkeConfig", "01 0020 0001 0001 0000", "public_key");
    refused("HpkeConfigList", "0000", "the list");
    refused("PlaintextInputShare", "0000 00000000", "payload");
    refused("Url", "0000", "the URL");
    refused("VerifyResp", "000102030405060708090a0b0c0d0e0f 00 00000000", "payload");
    let header = "000102030405060708090a0b0c0d0e0f 0000000000000001 0000 00000000";
    let job = format!("00 00000000 0000 {header} 01 0001 aa 00000001 bb 00000000");
    refused("AggregationJobInitReq", &job, "payload");
    // The public share may be empty: Prio3Count's is.
    let (again, _) = decoder("Report");
    assert!(again(&hex(&format!("{header} 01 0001 aa 00000001 bb 01 0001 aa 00000001 bb"))).is_some());
}

#[test]
fn unknown_values() {
    for value in (0..=255).filter(|value| !(1..=11).contains(value)) {
        assert!(ReportError::from_bytes(&[value]).is_err(), "{value}");
    }
    let id = "000102030405060708090a0b0c0d0e0f";
    for kind in 3..=255_u8 {
        assert!(VerifyResp::from_bytes(&hex(&format!("{id} {kind:02x}"))).is_err());
    }
    assert!(VerifyResp::from_bytes(&hex(&format!("{id} 02 00"))).is_err());
    assert!(VerifyResp::from_bytes(&hex(&format!("{id} 02 0c"))).is_err());
    let policy = |version: u8, mechanism: u8, epsilon: u32, contributions: u32| {
        let text = format!("{version:02x}{mechanism:02x}{epsilon:08x} 0000000000000001 {contributions:08x}");
        crate::policy::PrivacyPolicy::from_bytes(&hex(&(text + "0000000000000000"))).is_ok()
    };
    assert!(policy(1, 1, 1, 1));
    assert!(!policy(0, 1, 1, 1) && !policy(2, 1, 1, 1), "version");
    assert!(!policy(1, 0, 1, 1) && !policy(1, 2, 1, 1), "mechanism");
    assert!(!policy(1, 1, 0, 1), "epsilon");
    assert!(!policy(1, 1, 1, 0), "contributions");
}

#[test]
fn repeated_hpke_config_ids() {
    let config = "01 0020 0001 0001 0001 aa";
    let other = "02 0020 0001 0001 0001 aa";
    assert!(HpkeConfigList::from_bytes(&hex(&format!("0014 {config} {other}"))).is_ok());
    assert!(HpkeConfigList::from_bytes(&hex(&format!("0014 {config} {config}"))).is_err());
}

#[test]
fn time_precision_is_not_zero() {
    assert!(TimePrecision::from_seconds(0).is_err());
    let precision = TimePrecision::from_seconds(10).unwrap();
    // The example of DAP-18 section 4.1.1.
    assert_eq!(precision.truncate(1_234_567_890), Time(123_456_789));
    assert_eq!(precision.truncate(1_234_567_899), Time(123_456_789));
    assert_eq!(Time(123_456_789).posix_seconds(precision), 1_234_567_890);
    assert_eq!(Time(u64::MAX).posix_seconds(precision), u64::MAX);
}

#[test]
fn an_interval_ends_within_the_times_there_are() {
    let new = |start, duration| Interval::new(Time(start), Duration(duration));
    assert!(new(u64::MAX, 0).is_ok() && new(0, u64::MAX).is_ok());
    assert!(new(u64::MAX, 1).is_err() && new(1, u64::MAX).is_err());
    assert!(Interval::from_bytes(&[0xff; 16]).is_err());

    let interval = new(10, 5).unwrap();
    assert_eq!((interval.start(), interval.end(), interval.duration()), (Time(10), Time(15), Duration(5)));
    let inside: Vec<_> = (0..20).filter(|time| interval.contains(Time(*time))).collect();
    assert_eq!(inside, [10, 11, 12, 13, 14]);
    for (start, duration, within, overlap) in [
        (10, 5, true, true),
        (11, 3, true, true),
        (9, 1, false, false),
        (9, 2, false, true),
        (14, 2, false, true),
        (15, 1, false, false),
        (0, 100, false, true),
        (12, 0, true, false),
        (10, 0, true, false),
    ] {
        let other = new(start, duration).unwrap();
        assert_eq!(interval.contains_interval(other), within, "{other:?}");
        assert_eq!(interval.overlaps(other), overlap, "{other:?}");
        assert_eq!(other.overlaps(interval), overlap, "{other:?}");
        let hull = interval.hull(other);
        assert_eq!(hull, other.hull(interval));
        assert!(hull.contains_interval(interval) && hull.contains_interval(other));
        assert_eq!(hull, new(10.min(start), 15.max(start + duration) - 10.min(start)).unwrap());
    }
}

#[test]
fn media_types() {
    let all = [
        (MediaType::AggregateShare, "aggregate-share"),
        (MediaType::AggregateShareReq, "aggregate-share-req"),
        (MediaType::AggregationJobInitReq, "aggregation-job-init-req"),
        (MediaType::AggregationJobResp, "aggregation-job-resp"),
        (MediaType::CollectionJobReq, "collection-job-req"),
        (MediaType::CollectionJobResp, "collection-job-resp"),
        (MediaType::HpkeConfigList, "hpke-config-list"),
        (MediaType::UploadErrors, "upload-errors"),
        (MediaType::UploadRequest, "upload-req"),
    ];
    for (kind, name) in all {
        assert_eq!(kind.as_str(), format!("application/ppm-dap;message={name}"));
        for (other, _) in all {
            assert_eq!(kind.matches(other.as_str()), kind == other);
        }
    }
    for accepted in [
        "Application/PPM-DAP; Message=upload-req",
        "application/ppm-dap ;\tmessage=\"upload-req\"",
        "application/ppm-dap;message=upload-req;version=18",
        "application/ppm-dap;version=18;message=upload-req",
    ] {
        assert!(MediaType::UploadRequest.matches(accepted), "{accepted}");
    }
    for refused in [
        "",
        "application/ppm-dap",
        "application/ppm-dap;",
        "application/ppm-dap;message",
        "application/ppm-dap;message=",
        "application/ppm-dap;message=\"upload-req",
        "application/ppm-dap;message=upload-req\"",
        "application/ppm-dap;message=upload-request",
        "application/ppm-dap;xmessage=upload-req",
        "application/ppm-dap;message=upload-errors;message=upload-req",
        "application/ppm-dapx;message=upload-req",
        "application/json;message=upload-req",
        "application/octet-stream",
    ] {
        assert!(!MediaType::UploadRequest.matches(refused), "{refused}");
    }
}

#[test]
fn readers_do_not_run_past_the_end() {
    let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff, 1]);
    assert_eq!(reader.clone().opaque8("f"), Err(CodecError::Truncated { field: "f" }));
    assert_eq!(reader.clone().opaque16("f"), Err(CodecError::Truncated { field: "f" }));
    assert_eq!(reader.clone().opaque32("f"), Err(CodecError::Truncated { field: "f" }));
    assert_eq!(reader.clone().u64("f"), Err(CodecError::Truncated { field: "f" }));
    assert_eq!(reader.u32("f"), Ok(u32::MAX));
    assert_eq!(reader.clone().finish(), Err(CodecError::LeftOver { count: 1 }));
    assert_eq!(reader.u8("f"), Ok(1));
    assert!(reader.is_empty());
    assert_eq!(reader.finish(), Ok(()));
}
