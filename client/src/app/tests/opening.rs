//! The aggregators' side: what is in a report.

use arras_protocol::messages::{ReportShareRef, Role, Time, UploadRequestRef, VerifyInitRef, VerifyResult};
use arras_protocol::task::{Task, VerifySecret};
use arras_protocol::vdaf::{AggregateShare, VdafConfig, unshard};
use arras_protocol::verification::{
    InputShareOpener, PendingReport, TimeWindow, helper_verify, leader_finish, leader_init,
};

use super::*;

/// Takes the next request as the leader, and gives the number in each cell of its first report: both aggregators open and
/// verify it. `keys` says how often they have changed their keys.
pub(super) fn opened(app: &mut Tested, keys: u8) -> Vec<u64> {
    let request = app.next_request(NOW).unwrap().unwrap();
    let publisher = Publisher::new(1 + keys);
    let vdafs = [VdafConfig::histogram(16).unwrap(), VdafConfig::l1_bound_sum(16, 500).unwrap()];
    let tasks = vdafs.map(|vdaf| Task::new(Publisher::configuration(&vdaf, 2)).unwrap());
    let task = tasks.iter().find(|task| task.id() == request.task).unwrap();
    let upload = UploadRequestRef::from_bytes(&request.body, 9).unwrap();
    let report = upload.reports[0];
    let key = VerifySecret::new([1; 32]).verify_key(task.id());
    let window = TimeWindow { latest: Time(u64::MAX), earliest: Time(0) };

    let opener = |role, key| InputShareOpener::new(role, [(publisher.hpke_id, key)]).unwrap();
    let leader = opener(Role::Leader, &publisher.leader);
    let verified = leader_init(task, &key, &leader, window, &[report]).remove(0).unwrap();
    let report_share = ReportShareRef { header: report.header, encrypted_input_share: report.helper_share };
    let init = VerifyInitRef { report_share, payload: &verified.message };
    let helper = opener(Role::Helper, &publisher.helper);
    let helped = helper_verify(task, &key, &helper, window, &[init]).remove(0).unwrap();
    let (report_id, time) = (report.header.report_id, report.header.time);
    let pending = PendingReport { report_id, time, state: verified.state };
    let finished = leader_finish(task, vec![pending], &[VerifyResult::Continue(helped.message)]).remove(0);

    let config = task.vdaf().config();
    let [leader, helper] = [finished.outcome.unwrap(), helped.output_share].map(|output| {
        let mut share = AggregateShare::zero(config);
        share.accumulate(&output).unwrap();
        share.encode()
    });
    let cells = unshard(config, &leader, &helper, 1, 0).unwrap();
    app.answered(&mut rng(), &request, Ok(&[]), NOW).unwrap();
    cells.into_iter().map(|cell| u64::try_from(cell).unwrap()).collect()
}
