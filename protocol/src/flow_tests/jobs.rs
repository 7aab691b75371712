//! Aggregators that disagree or do not follow the protocol.

use super::*;
use crate::verification::JobMismatch;

fn job(draft: Draft, measurements: &[Measurement]) -> (Parties, Vec<PendingReport>, Vec<u8>) {
    let parties = Parties::of(draft);
    let reports: Vec<_> =
        (0..).zip(measurements).map(|(seed, measurement)| parties.make(seed, measurement)).collect();
    let (pending, request) = parties.request(&reports);
    let pending = pending.into_iter().map(Result::unwrap).collect();
    (parties, pending, request)
}

fn three() -> Vec<Measurement> {
    [[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 3, 0]].map(|cells| Measurement::Vector(cells.to_vec())).to_vec()
}

fn results(response: &[u8]) -> Vec<VerifyResult> {
    let response = AggregationJobResp::from_bytes(response).unwrap();
    response.verify_resps.into_iter().map(|resp| resp.result).collect()
}

fn outcomes(
    parties: &Parties,
    pending: Vec<PendingReport>,
    results: &[VerifyResult],
) -> Vec<Option<ReportError>> {
    leader_finish(&parties.task, pending, results)
        .into_iter()
        .map(|finished| finished.outcome.err())
        .collect()
}

#[test]
fn another_verify_key_verifies_nothing() {
    let cases = [
        (Draft::arras(VdafConfig::Count), vec![Measurement::Count(true), Measurement::Count(false)]),
        (
            Draft::arras(VdafConfig::histogram(4).unwrap()),
            vec![Measurement::Bucket(1), Measurement::Bucket(0)],
        ),
        (sum_task(), three()),
    ];
    for (draft, measurements) in cases {
        let (parties, pending, request) = job(draft, &measurements);
        let (bucket, response) = parties.respond(&VerifySecret::new([1; 32]), &request);
        let refused = VerifyResult::Reject(ReportError::VdafVerifyError);
        assert_eq!(results(&response), vec![refused; measurements.len()]);
        assert_eq!(bucket.report_count, 0);
        let errors = outcomes(&parties, pending, &results(&response));
        assert_eq!(errors, vec![Some(ReportError::VdafVerifyError); measurements.len()]);
    }
}

#[test]
fn a_message_of_the_leader_that_is_wrong_fails_its_report_alone() {
    let (parties, _, request) = job(sum_task(), &three());
    let parsed = AggregationJobInitReq::from_bytes(&request, usize::MAX).unwrap();
    let honest = parsed.verify_inits[1].payload;
    let cut = &honest[..honest.len() - 1];
    let mut changed = honest.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    // A "finish" message where "initialize" is due.
    let finish = [2, 0, 0, 0, 0];
    for payload in [&[0][..], &[0xff; 40], cut, &changed, &finish, parsed.verify_inits[0].payload] {
        let mut request = parsed.clone();
        request.verify_inits[1].payload = payload;
        let (bucket, response) = parties.respond(&parties.secret, &request.to_bytes());
        let results = results(&response);
        assert!(
            matches!(results[0], VerifyResult::Continue(_))
                && matches!(results[2], VerifyResult::Continue(_))
        );
        assert_eq!(results[1], VerifyResult::Reject(ReportError::VdafVerifyError), "{payload:?}");
        assert_eq!(bucket.report_count, 2);
    }
}

#[test]
fn a_message_of_the_helper_that_is_wrong_fails_its_report_alone() {
    for change in [
        |_: &[u8]| vec![7],
        |honest: &[u8]| honest[..honest.len() - 1].to_vec(),
        |honest: &[u8]| {
            let mut changed = honest.to_vec();
            *changed.last_mut().unwrap() ^= 1;
            changed
        },
    ] {
        let (parties, pending, request) = job(sum_task(), &three());
        let (_, response) = parties.respond(&parties.secret, &request);
        let mut results = results(&response);
        let VerifyResult::Continue(honest) = &results[1] else { panic!("{results:?}") };
        results[1] = VerifyResult::Continue(change(honest));
        assert_eq!(outcomes(&parties, pending, &results), [None, Some(ReportError::VdafVerifyError), None]);
    }
    // The right messages under each other's ids.
    let (parties, pending, request) = job(sum_task(), &three());
    let (_, response) = parties.respond(&parties.secret, &request);
    let mut results = results(&response);
    results.swap(0, 2);
    let refused = Some(ReportError::VdafVerifyError);
    assert_eq!(outcomes(&parties, pending, &results), [refused, None, refused]);
}

#[test]
fn a_refusal_of_the_helper_is_taken_over() {
    for error in ReportError::ALL {
        let (parties, pending, request) = job(sum_task(), &three());
        let (_, response) = parties.respond(&parties.secret, &request);
        let mut results = results(&response);
        results[2] = VerifyResult::Reject(error);
        assert_eq!(outcomes(&parties, pending, &results), [None, None, Some(error)]);
    }
}

#[test]
fn a_response_must_list_the_reports_of_the_request_in_their_order() {
    let (parties, pending, request) = job(sum_task(), &three());
    let (_, response) = parties.respond(&parties.secret, &request);
    let honest = AggregationJobResp::from_bytes(&response).unwrap();
    let ids: Vec<_> = pending.iter().map(|report| report.report_id).collect();
    let check = |change: fn(&mut Vec<VerifyResp>)| {
        let mut response = honest.clone();
        change(&mut response.verify_resps);
        check_response(&ids, &response)
    };
    assert_eq!(check(|_| ()), Ok(()));
    assert_eq!(check(|resps| resps.swap(0, 1)), Err(JobMismatch::Reports));
    assert_eq!(check(|resps| drop(resps.pop())), Err(JobMismatch::Reports));
    assert_eq!(check(|resps| resps.push(resps[0].clone())), Err(JobMismatch::Reports));
    assert_eq!(check(|resps| resps[2] = resps[0].clone()), Err(JobMismatch::Reports));
    assert_eq!(check(Vec::clear), Err(JobMismatch::Reports));
    assert_eq!(check(|resps| resps[1].report_id = ReportId::new([0; 16])), Err(JobMismatch::Reports));
    assert_eq!(check(|resps| resps[1].result = VerifyResult::Finish), Err(JobMismatch::MessageType));
    let refused = VerifyResult::Reject(ReportError::ReportReplayed);
    let mut all_refused = honest.clone();
    all_refused.verify_resps.iter_mut().for_each(|resp| resp.result = refused.clone());
    assert_eq!(check_response(&ids, &all_refused), Ok(()));
    assert_eq!(check_response(&[], &AggregationJobResp { verify_resps: vec![] }), Ok(()));
}

/// The leader's first step can be repeated after a restart.
#[test]
fn the_same_report_gives_the_same_request() {
    let parties = Parties::of(sum_task());
    let reports = [parties.make(1, &three()[0]), parties.make(2, &three()[1])];
    let (first, bytes) = parties.request(&reports);
    let (again, same) = parties.request(&reports);
    assert_eq!(bytes, same);
    drop(first);
    let outcome = parties.aggregate_rest(again, &bytes);
    assert_eq!((outcome.refused.len(), parties.sums(&outcome)), (0, vec![1, 2, 0, 0]));
}
