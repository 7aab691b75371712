//! Every VDAF from measurement to sum.

use ring::digest;

use super::*;

fn vector(cells: &[u64]) -> Measurement {
    Measurement::Vector(cells.to_vec())
}

/// A task, its measurements, their sums.
fn cases() -> Vec<(Draft, Vec<Measurement>, Vec<i128>)> {
    let histogram = VdafConfig::histogram(4).unwrap();
    let buckets = [0, 3, 3, 1, 3].map(Measurement::Bucket).to_vec();
    let sum = VdafConfig::l1_bound_sum(4, 7).unwrap();
    let vectors = vec![vector(&[0; 4]), vector(&[7, 0, 0, 0]), vector(&[1, 2, 0, 4]), vector(&[0, 0, 1, 0])];
    let totals = vec![8, 2, 1, 4];
    vec![
        (
            Draft::arras(VdafConfig::Count),
            [true, false, true, true].map(Measurement::Count).to_vec(),
            vec![3],
        ),
        (Draft::arras(histogram), buckets.clone(), vec![1, 1, 0, 3]),
        (Draft::plain(histogram), buckets, vec![1, 1, 0, 3]),
        (Draft::arras(sum), vectors.clone(), totals.clone()),
        (Draft::attribution(), vectors, totals),
        (
            Draft::arras(VdafConfig::l1_bound_sum(1, 1_000).unwrap()),
            vec![vector(&[1_000]), vector(&[999])],
            vec![1_999],
        ),
    ]
}

#[test]
fn sums_come_out() {
    for (draft, measurements, sums) in cases() {
        let parties = Parties::of(draft);
        let reports: Vec<_> =
            (0..).zip(&measurements).map(|(seed, measurement)| parties.make(seed, measurement)).collect();
        let outcome = parties.aggregate(&reports);
        assert_eq!(outcome.refused, []);
        assert_eq!(outcome.leader.report_count, reports.len() as u64);
        assert_eq!(parties.sums(&outcome), sums, "{:?}", parties.task.vdaf());
    }
}

#[test]
fn noise_of_both_aggregators_comes_out() {
    let mut negative = 0;
    for (draft, measurements, sums) in cases() {
        let parties = Parties::of(draft);
        let reports: Vec<_> =
            (0..).zip(&measurements).map(|(seed, measurement)| parties.make(seed, measurement)).collect();
        let outcome = parties.aggregate(&reports);
        let leader: Vec<i128> = (0..sums.len()).map(|cell| 3 - 5 * i128::try_from(cell).unwrap()).collect();
        let helper: Vec<i128> = vec![-9; sums.len()];
        let response = parties.response(&outcome, [&leader, &helper]);
        let expected: Vec<i128> = sums.iter().zip(&leader).map(|(sum, noise)| sum + noise - 9).collect();
        negative += expected.iter().filter(|cell| **cell < 0).count();
        assert_eq!(parties.open(&response, 100), Ok(expected));
    }
    assert!(negative > 5, "{negative}");
}

#[test]
fn reports_put_together_by_hand_count() {
    let parties = Parties::of(sum_task());
    let report = ByHand::new(&parties, vector(&[1, 2, 3, 1])).seal(5, &parties.leader, &parties.helper);
    let outcome = parties.aggregate(&[report]);
    assert_eq!((outcome.refused.len(), parties.sums(&outcome)), (0, vec![1, 2, 3, 1]));
}

#[test]
fn an_aggregator_opens_under_each_of_its_configurations() {
    let parties = Parties::of(sum_task());
    let newer = PrivateKey::generate(&mut rng(50));
    let helper = HpkeConfig::new(HELPER_CONFIG, &parties.helper.public_key());
    let maker = ReportMaker::new(&parties.task, &HpkeConfig::new(9, &newer.public_key()), &helper).unwrap();
    let with_newer = maker.make(&mut rng(51), NOW, &vector(&[0, 0, 0, 1]), None).unwrap();
    let with_older = parties.make(52, &vector(&[1, 0, 0, 0]));
    let body = [with_newer.to_bytes(), with_older.to_bytes(), with_newer.to_bytes()].concat();
    let upload = UploadRequestRef::from_bytes(&body, usize::MAX).unwrap();
    let key = parties.secret.verify_key(parties.task.id());
    let opener =
        InputShareOpener::new(Role::Leader, [(LEADER_CONFIG, &parties.leader), (9, &newer)]).unwrap();
    assert!(opener.knows(9) && opener.knows(LEADER_CONFIG) && !opener.knows(HELPER_CONFIG));
    let results = leader_init(&parties.task, &key, &opener, parties.window(), &upload.reports);
    assert!(results.iter().all(Result::is_ok));
    let older_only = parties.opener(Role::Leader);
    let results = leader_init(&parties.task, &key, &older_only, parties.window(), &upload.reports);
    let errors: Vec<_> = results.into_iter().map(Result::err).collect();
    assert_eq!(errors, [Some(ReportError::HpkeDecryptError), None, Some(ReportError::HpkeDecryptError)]);

    let list =
        crate::verification::hpke_config_list([(9, &newer), (LEADER_CONFIG, &parties.leader)]).unwrap();
    assert_eq!(list.iter().map(|config| config.id).collect::<Vec<_>>(), [9, LEADER_CONFIG]);
    assert_eq!(list.supported().and_then(HpkeConfig::public_key), Some(newer.public_key()));
    assert!(crate::verification::hpke_config_list([(9, &newer), (9, &parties.leader)]).is_err());
}

#[test]
fn buckets_merge_in_any_order() {
    let parties = Parties::of(Draft::arras(VdafConfig::histogram(3).unwrap()));
    let jobs: Vec<Vec<Report>> = [[0, 1], [2, 2], [2, 0]]
        .iter()
        .enumerate()
        .map(|(job, buckets)| {
            (0..)
                .zip(buckets)
                .map(|(index, bucket)| parties.make(10 * job as u64 + index, &Measurement::Bucket(*bucket)))
                .collect()
        })
        .collect();
    let whole = parties.aggregate(&jobs.concat());
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut merged = BatchBucket::empty(&parties.task);
        for job in order {
            merged.merge(&parties.aggregate(&jobs[job]).leader).unwrap();
        }
        assert_eq!(merged.share, whole.leader.share);
        assert_eq!((merged.report_count, merged.checksum), (6, whole.leader.checksum));
    }

    let mut expected = [0_u8; 32];
    for report in jobs.concat() {
        let hash = digest::digest(&digest::SHA256, report.metadata.report_id.as_bytes());
        for (byte, hash) in expected.iter_mut().zip(hash.as_ref()) {
            *byte ^= hash;
        }
    }
    assert_eq!(whole.leader.checksum, expected);
    assert_eq!(BatchBucket::empty(&parties.task).checksum, [0; 32]);
    let other = Parties::of(Draft::arras(VdafConfig::Count));
    assert!(BatchBucket::empty(&other.task).merge(&whole.leader).is_err());
}
