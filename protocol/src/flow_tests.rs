//! Reports on their whole way, without I/O: client, both aggregators, collector, every message encoded
//! and decoded between them.
#![allow(clippy::unwrap_used)]

mod collecting;
mod honest;
mod jobs;
mod making;
mod reports;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::codec::{Decode as _, Encode as _};
use crate::collection::{CollectError, open_and_unshard, seal_aggregate_share};
use crate::epsilon::MicroEpsilon;
use crate::hpke::{PrivateKey, Sealer};
use crate::messages::{
    AggregationJobInitReq, AggregationJobResp, CollectionJobReq, CollectionJobResp, Duration, Extension,
    Extensions, HpkeCiphertext, HpkeConfig, Interval, Report, ReportError, ReportId, ReportMetadata, Role,
    TaskConfiguration, Time, UploadRequestRef, VerifyInitRef, VerifyResp, VerifyResult,
    encode_plaintext_input_share,
};
use crate::report::ReportMaker;
use crate::task::tests::Draft;
use crate::task::{Profile, Task, VerifySecret};
use crate::vdaf::{Measurement, Sharded, VdafConfig};
use crate::verification::{
    BatchBucket, FinishedReport, InputShareOpener, LeaderVerification, PendingReport, TimeWindow,
    check_response, helper_verify, leader_finish, leader_init,
};

/// 2026-11-22T12:00:00Z.
const NOW: u64 = 1_795_348_800;
const LEADER_CONFIG: u8 = 1;
const HELPER_CONFIG: u8 = 2;
const COLLECTOR_CONFIG: u8 = 3;

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// A task and everybody's keys.
struct Parties {
    task: Task,
    leader: PrivateKey,
    helper: PrivateKey,
    collector: PrivateKey,
    secret: VerifySecret,
}

/// A report that waits for the helper, or that the leader refused.
type Pending = Result<PendingReport, (ReportId, ReportError)>;

/// Where a report was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Leader,
    Helper,
}

/// What became of a job's reports.
struct Outcome {
    leader: BatchBucket,
    helper: BatchBucket,
    /// In the order of the upload, the leader's own refusals first.
    refused: Vec<(ReportId, By, ReportError)>,
}

impl Parties {
    fn new(task: Task) -> Self {
        let key = |seed| PrivateKey::generate(&mut rng(seed));
        let secret = VerifySecret::new([0x5e; 32]);
        Self { task, leader: key(1), helper: key(2), collector: key(3), secret }
    }

    fn of(draft: Draft) -> Self {
        Self::new(draft.task().unwrap())
    }

    fn maker(&self) -> ReportMaker<'_> {
        let leader = HpkeConfig::new(LEADER_CONFIG, &self.leader.public_key());
        let helper = HpkeConfig::new(HELPER_CONFIG, &self.helper.public_key());
        ReportMaker::new(&self.task, &leader, &helper).unwrap()
    }

    fn make(&self, seed: u64, measurement: &Measurement) -> Report {
        let budget = (self.task.profile() == Profile::Attribution)
            .then(|| MicroEpsilon::from_micro(1_000_000).unwrap());
        self.maker().make(&mut rng(seed), NOW, measurement, budget).unwrap()
    }

    fn now(&self) -> Time {
        self.task.configuration().time_precision.truncate(NOW)
    }

    /// From ten units before now to one after.
    fn window(&self) -> TimeWindow {
        let Time(now) = self.now();
        TimeWindow { latest: Time(now + 1), earliest: Time(now - 10) }
    }

    fn opener(&self, role: Role) -> InputShareOpener {
        let key =
            if role == Role::Leader { (LEADER_CONFIG, &self.leader) } else { (HELPER_CONFIG, &self.helper) };
        InputShareOpener::new(role, [key]).unwrap()
    }

    /// The leader's part up to the request, and the request's bytes.
    fn request(&self, reports: &[Report]) -> (Vec<Pending>, Vec<u8>) {
        let body: Vec<u8> = reports.iter().flat_map(Report::to_bytes).collect();
        self.request_of_bytes(&body)
    }

    fn request_of_bytes(&self, body: &[u8]) -> (Vec<Pending>, Vec<u8>) {
        let upload = UploadRequestRef::from_bytes(body, usize::MAX).unwrap();
        let key = self.secret.verify_key(self.task.id());
        let verified =
            leader_init(&self.task, &key, &self.opener(Role::Leader), self.window(), &upload.reports);
        assert_eq!(verified.len(), upload.reports.len());
        let mut pending = Vec::new();
        let mut messages = Vec::new();
        for (report, result) in upload.reports.iter().zip(verified) {
            let report_id = report.header.report_id;
            pending.push(match result {
                Ok(LeaderVerification { state, message }) => {
                    messages.push((report, message));
                    Ok(PendingReport { report_id, time: report.header.time, state })
                }
                Err(error) => Err((report_id, error)),
            });
        }
        let verify_inits = messages
            .iter()
            .map(|(report, payload)| VerifyInitRef {
                report_share: crate::messages::ReportShareRef {
                    header: report.header,
                    encrypted_input_share: report.helper_share,
                },
                payload,
            })
            .collect();
        let request = AggregationJobInitReq {
            verification_key_id: 0,
            agg_param: &[],
            extensions: Extensions::none(),
            verify_inits,
        };
        (pending, request.to_bytes())
    }

    /// The helper's part: its bucket and the response's bytes.
    fn respond(&self, secret: &VerifySecret, request: &[u8]) -> (BatchBucket, Vec<u8>) {
        let request = AggregationJobInitReq::from_bytes(request, usize::MAX).unwrap();
        let key = secret.verify_key(self.task.id());
        let verified =
            helper_verify(&self.task, &key, &self.opener(Role::Helper), self.window(), &request.verify_inits);
        assert_eq!(verified.len(), request.verify_inits.len());
        let mut bucket = BatchBucket::empty(&self.task);
        let mut verify_resps = Vec::new();
        for (init, result) in request.verify_inits.iter().zip(verified) {
            let report_id = init.report_share.header.report_id;
            let result = match result {
                Ok(verification) => {
                    bucket.add(report_id, &verification.output_share).unwrap();
                    VerifyResult::Continue(verification.message)
                }
                Err(error) => VerifyResult::Reject(error),
            };
            verify_resps.push(VerifyResp { report_id, result });
        }
        (bucket, AggregationJobResp { verify_resps }.to_bytes())
    }

    /// The whole job.
    fn aggregate(&self, reports: &[Report]) -> Outcome {
        let (pending, request) = self.request(reports);
        self.aggregate_rest(pending, &request)
    }

    fn aggregate_rest(&self, pending: Vec<Pending>, request: &[u8]) -> Outcome {
        let (helper, response) = self.respond(&self.secret, request);
        let mut refused = Vec::new();
        let mut waiting = Vec::new();
        for result in pending {
            match result {
                Ok(report) => waiting.push(report),
                Err((id, error)) => refused.push((id, By::Leader, error)),
            }
        }
        let response = AggregationJobResp::from_bytes(&response).unwrap();
        let ids: Vec<_> = waiting.iter().map(|report| report.report_id).collect();
        check_response(&ids, &response).unwrap();
        let results: Vec<_> = response.verify_resps.into_iter().map(|resp| resp.result).collect();
        let mut leader = BatchBucket::empty(&self.task);
        for FinishedReport { report_id, outcome, .. } in leader_finish(&self.task, waiting, &results) {
            match outcome {
                Ok(share) => leader.add(report_id, &share).unwrap(),
                Err(error) => refused.push((report_id, By::Helper, error)),
            }
        }
        assert_eq!((leader.report_count, leader.checksum), (helper.report_count, helper.checksum));
        Outcome { leader, helper, refused }
    }

    fn query(&self) -> CollectionJobReq {
        CollectionJobReq::time_interval(Interval::new(self.now(), Duration(1)).unwrap())
    }

    fn seal(
        &self,
        sender: Role,
        query: &CollectionJobReq,
        bucket: &BatchBucket,
        noise: &[i128],
    ) -> HpkeCiphertext {
        let config = HpkeConfig::new(COLLECTOR_CONFIG, &self.collector.public_key());
        let noised = bucket.share.clone().add_noise(noise).unwrap();
        seal_aggregate_share(&mut rng(77), &self.task, sender, &config, query, &noised).unwrap()
    }

    fn response(&self, outcome: &Outcome, noise: [&[i128]; 2]) -> CollectionJobResp {
        let query = self.query();
        let response = CollectionJobResp {
            report_count: outcome.leader.report_count,
            interval: Interval::new(self.now(), Duration(1)).unwrap(),
            leader_share: self.seal(Role::Leader, &query, &outcome.leader, noise[0]),
            helper_share: self.seal(Role::Helper, &query, &outcome.helper, noise[1]),
        };
        CollectionJobResp::from_bytes(&response.to_bytes()).unwrap()
    }

    fn open(&self, response: &CollectionJobResp, slack: u128) -> Result<Vec<i128>, CollectError> {
        open_and_unshard(&self.task, &self.collector, COLLECTOR_CONFIG, &self.query(), response, slack)
    }

    /// The sums of a job without noise.
    fn sums(&self, outcome: &Outcome) -> Vec<i128> {
        let zero = vec![0; self.task.vdaf().config().output_len()];
        self.open(&self.response(outcome, [&zero, &zero]), 0).unwrap()
    }
}

/// A report that is put together step by step, so that a step can go wrong.
struct ByHand<'a> {
    task: &'a Task,
    measurement: Measurement,
    time: Time,
    public_extensions: Extensions,
    private_extensions: [Extensions; 2],
    /// The VDAF's context; the task's own unless changed.
    context: Vec<u8>,
    /// The configuration in the associated data; the task's own unless changed.
    configuration: TaskConfiguration,
    /// Applied to what sharding gave.
    alter: fn(&mut Sharded),
}

impl<'a> ByHand<'a> {
    fn new(parties: &'a Parties, measurement: Measurement) -> Self {
        let task = &parties.task;
        Self {
            task,
            measurement,
            time: parties.now(),
            public_extensions: Extensions::none(),
            private_extensions: [Extensions::none(), Extensions::none()],
            context: [b"dap-18", task.id().as_bytes().as_slice()].concat(),
            configuration: task.configuration().clone(),
            alter: |_| (),
        }
    }

    /// Follows DAP-18 section 4.4.2.1 without the code under test but for the messages' encodings.
    fn seal(self, seed: u64, leader: &PrivateKey, helper: &PrivateKey) -> Report {
        let mut rng = rng(seed);
        let report_id = ReportId::random(&mut rng);
        let mut sharded =
            self.task.vdaf().shard(&self.context, &self.measurement, report_id.as_bytes()).unwrap();
        (self.alter)(&mut sharded);
        let metadata =
            ReportMetadata { report_id, time: self.time, public_extensions: self.public_extensions };
        let public_share_len = u32::try_from(sharded.public_share.len()).unwrap();
        let aad = [
            self.task.id().as_bytes().as_slice(),
            &self.configuration.to_bytes(),
            &metadata.to_bytes(),
            &public_share_len.to_be_bytes(),
            &sharded.public_share,
        ]
        .concat();
        let mut seal = |role: u8, config, key: &PrivateKey, extensions, share: &[u8]| {
            let info = [b"dap-18 input share".as_slice(), &[1, role]].concat();
            let plaintext = encode_plaintext_input_share(extensions, share);
            let sealer = Sealer::new(&key.public_key(), &info);
            HpkeCiphertext::new(config, sealer.seal(&mut rng, &aad, &plaintext).unwrap())
        };
        let [for_leader, for_helper] = &self.private_extensions;
        Report {
            leader_share: seal(2, LEADER_CONFIG, leader, for_leader, &sharded.leader_share),
            helper_share: seal(3, HELPER_CONFIG, helper, for_helper, &sharded.helper_share),
            metadata,
            public_share: sharded.public_share,
        }
    }
}

fn extensions(list: &[(u16, &[u8])]) -> Extensions {
    Extensions::new(list.iter().map(|(kind, data)| Extension { kind: *kind, data: data.to_vec() }).collect())
        .unwrap()
}

fn sum_task() -> Draft {
    Draft::arras(VdafConfig::l1_bound_sum(4, 7).unwrap())
}
