//! How the vectors were made. Three files follow from constants and are compared on every run. The
//! reports do not: prio's sharding draws its own randomness, so they were made once and are kept.
//!
//! `cargo test -p arras-protocol write_the -- --ignored` writes the files anew.

use serde_json::json;

use super::*;
use crate::codepoints::{
    TASK_EXTENSION_BUDGET_SOURCE, TASK_EXTENSION_PRIVACY_POLICY, TASK_EXTENSION_TASK_INTERVAL,
};
use crate::messages::{
    Duration, Extensions, Interval, Report, ReportShareRef, VerifyInitRef, VerifyResp,
    encode_plaintext_input_share,
};
use crate::report::ReportMaker;
use crate::task::tests::{Draft, interval, policy};
use crate::vdaf::{Measurement, VdafConfig};

const ABOUT: &str = "Made by protocol/src/vector_tests/make.rs; fields are explained in README.md";

/// The secret that the aggregators of the vectors share.
const SECRET: [u8; 32] = [0x5e; 32];

/// A key that nobody should use: 32 times the same byte.
fn private_key(byte: u8) -> PrivateKey {
    PrivateKey::from_bytes([byte; 32])
}

fn party(config_id: u8, byte: u8) -> Value {
    let key = private_key(byte);
    json!({
        "config_id": config_id,
        "private_key": hex::encode(key.expose_bytes()),
        "public_key": hex::encode(key.public_key().as_bytes()),
    })
}

/// Adds the fields of `more` to an object.
fn with(mut object: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("an object") };
    object.as_object_mut().unwrap().extend(more);
    object
}

fn of_task(task: &Task) -> Value {
    json!({
        "task_configuration": hex::encode(task.configuration().to_bytes()),
        "task_id": hex::encode(task.id().as_bytes()),
    })
}

fn histogram() -> VdafConfig {
    VdafConfig::histogram(4).unwrap()
}

fn drafts() -> [(&'static str, Draft); 5] {
    let sum = VdafConfig::l1_bound_sum(4, 7).unwrap();
    let small = crate::policy::PrivacyPolicy { threshold: 0, ..policy(&VdafConfig::Count) };
    let arras_interval = Draft::arras(VdafConfig::Count)
        .with(TASK_EXTENSION_TASK_INTERVAL, &interval(498_000, 2_160))
        .with(TASK_EXTENSION_PRIVACY_POLICY, &small.to_bytes())
        .with(TASK_EXTENSION_BUDGET_SOURCE, b"x");
    let taskprov_example = Draft {
        task_info: b"test".to_vec(),
        leader: "https://leader.example.com/",
        helper: "https://helper.example.com/",
        time_precision: 60,
        min_batch_size: 10,
        ..Draft::plain(VdafConfig::Count)
    };
    [
        ("arras-l1-bound-sum", Draft::arras(sum)),
        ("arras-count-with-task-interval", arras_interval),
        ("attribution", Draft::attribution()),
        ("plain-histogram", Draft::plain(histogram())),
        (
            "plain-count-of-taskprov-section-3.2",
            taskprov_example.with(TASK_EXTENSION_TASK_INTERVAL, &interval(60, 100)),
        ),
    ]
}

pub(super) fn task_ids() -> Value {
    let tasks: Vec<_> = drafts()
        .into_iter()
        .map(|(name, draft)| {
            let task = draft.task().unwrap();
            let configuration = task.configuration();
            let extensions: Vec<_> = configuration
                .extensions
                .iter()
                .map(|extension| {
                    json!({
                        "extension_type": extension.kind,
                        "extension_data": hex::encode(&extension.data),
                    })
                })
                .collect();
            let fields = json!({
                "task_info": hex::encode(configuration.task_info()),
                "leader_aggregator_endpoint": configuration.leader.as_str(),
                "helper_aggregator_endpoint": configuration.helper.as_str(),
                "time_precision": configuration.time_precision.seconds(),
                "min_batch_size": configuration.min_batch_size,
                "batch_mode": configuration.batch_mode,
                "batch_config": hex::encode(configuration.batch_config()),
                "vdaf_type": configuration.vdaf_type,
                "vdaf_configuration": hex::encode(configuration.vdaf_configuration()),
                "extensions": extensions,
            });
            let verify_key = VerifySecret::new(SECRET).verify_key(task.id());
            with(
                of_task(&task),
                json!({
                    "name": name,
                    "profile": task.profile().name(),
                    "fields": fields,
                    "task_id_base64url": task.id().to_string(),
                    "verify_key": hex::encode(verify_key.expose()),
                }),
            )
        })
        .collect();
    json!({ "about": ABOUT, "verify_key_init": hex::encode(SECRET), "tasks": tasks })
}

pub(super) fn report_sealing() -> Value {
    let task = Draft::attribution().task().unwrap();
    let budget: &[u8] = &[0, 0x0f, 0x42, 0x40];
    let report_id = std::array::from_fn::<u8, 16, _>(|index| u8::try_from(index).unwrap());
    // privacy_budget of 1 is the only public extension.
    let metadata =
        [&report_id[..], &359_069_760_u64.to_be_bytes(), &[0, 8, 0xff, 0x01, 0, 4], budget].concat();
    let public_share = [0xab; 64];
    let aad = [task.aad_prefix(), &metadata, &[0, 0, 0, 64], &public_share].concat();
    let seal = |role: Role, config_id, byte, share: &[u8]| {
        let key = private_key(byte);
        let info = crate::report::input_share_info(role);
        let plaintext = encode_plaintext_input_share(&Extensions::none(), share);
        let ephemeral = [byte + 1; 32];
        let sealed =
            Sealer::new(&key.public_key(), &info).seal(&mut Ephemeral(ephemeral), &aad, &plaintext).unwrap();
        with(
            party(config_id, byte),
            json!({
                "info": hex::encode(info),
                "ephemeral_private_key": hex::encode(ephemeral),
                "input_share": hex::encode(share),
                "plaintext_input_share": hex::encode(&plaintext),
                "enc": hex::encode(sealed.enc),
                "payload": hex::encode(&sealed.ciphertext),
                "encrypted_input_share": hex::encode(HpkeCiphertext::new(config_id, sealed).to_bytes()),
            }),
        )
    };
    with(
        of_task(&task),
        json!({
            "about": ABOUT,
            "report_metadata": hex::encode(&metadata),
            "public_share": hex::encode(public_share),
            "input_share_aad": hex::encode(&aad),
            "leader": seal(Role::Leader, 1, 0x11, &[0xcd; 100]),
            "helper": seal(Role::Helper, 2, 0x22, &[0xef; 64]),
        }),
    )
}

pub(super) fn aggregate_shares() -> Value {
    // Shares of a batch of 30 reports: the helper's cells are far apart, the leader's make the sums.
    let vector = |name: &str, vdaf: VdafConfig, leader: &[u8], helper: &[u8], slack: u64, result: &[i64]| {
        let task = Draft::arras(vdaf).task().unwrap();
        let collector = private_key(0x33);
        let config = HpkeConfig::new(3, &collector.public_key());
        let interval = Interval::new(Time(498_708), Duration(24)).unwrap();
        let request = CollectionJobReq::time_interval(interval);
        let seal = |role: Role, byte: u8, share: &[u8]| {
            let noised = AggregateShare::decode(&vdaf, share).unwrap();
            let noised = noised.add_noise(&vec![0; vdaf.output_len()]).unwrap();
            let ephemeral = [byte; 32];
            let sealed =
                seal_aggregate_share(&mut Ephemeral(ephemeral), &task, role, &config, &request, &noised)
                    .unwrap();
            let info = [b"dap-18 aggregate share".as_slice(), &[role as u8, 0]].concat();
            let value = json!({
                "info": hex::encode(info),
                "ephemeral_private_key": hex::encode(ephemeral),
                "agg_share": hex::encode(share),
                "encrypted_agg_share": hex::encode(sealed.to_bytes()),
            });
            (sealed, value)
        };
        let (leader_share, leader) = seal(Role::Leader, 0x44, leader);
        let (helper_share, helper) = seal(Role::Helper, 0x55, helper);
        let report_interval = Interval::new(Time(498_710), Duration(3)).unwrap();
        let response =
            CollectionJobResp { report_count: 30, interval: report_interval, leader_share, helper_share };
        with(
            of_task(&task),
            json!({
                "name": name,
                "collector": party(3, 0x33),
                "collection_job_req": hex::encode(request.to_bytes()),
                "agg_share_aad": hex::encode([task.aad_prefix(), &request.to_bytes()].concat()),
                "leader": leader,
                "helper": helper,
                "report_count": 30,
                "collection_job_resp": hex::encode(response.to_bytes()),
                "slack": slack,
                "result": result,
            }),
        )
    };
    // Field64 has the modulus 2^64 - 2^32 + 1; 2^63 + (2^63 - 2^32 + 1) - 7 is minus 7.
    let count = [1_u64 << 63, (1 << 63) - (1 << 32) + 1 - 7].map(u64::to_le_bytes);
    // Field128 has the modulus 2^128 - 7 * 2^66 + 1: 340282366920938462946865773367900766209.
    let modulus = 340_282_366_920_938_462_946_865_773_367_900_766_209_u128;
    let cells = |cells: [u128; 4]| cells.iter().flat_map(|cell| cell.to_le_bytes()).collect::<Vec<u8>>();
    let far = [1_u128 << 100, modulus - 1, 5, 1 << 127];
    let sums = [25_u128, 2, modulus - 3, 0];
    // sums - far, modulo the modulus.
    let near = std::array::from_fn(|cell| {
        if sums[cell] >= far[cell] { sums[cell] - far[cell] } else { modulus - (far[cell] - sums[cell]) }
    });
    let vectors = [
        vector("count-minus-seven", VdafConfig::Count, &count[0], &count[1], 40, &[-7]),
        vector("histogram-4", histogram(), &cells(near), &cells(far), 80, &[25, 2, -3, 0]),
    ];
    json!({ "about": ABOUT, "vectors": vectors })
}

/// Three reports of one VDAF through a job.
fn job(name: &str, vdaf: VdafConfig, measurements: &[Measurement], written: &[Value]) -> Value {
    let task = Draft::arras(vdaf).task().unwrap();
    let (leader_key, helper_key) = (private_key(0x11), private_key(0x22));
    let (leader, helper) =
        (HpkeConfig::new(1, &leader_key.public_key()), HpkeConfig::new(2, &helper_key.public_key()));
    let maker = ReportMaker::new(&task, &leader, &helper).unwrap();
    let verify_key = VerifySecret::new(SECRET).verify_key(task.id());
    let opener = |role, id, key| InputShareOpener::new(role, [(id, key)]).unwrap();
    let window = TimeWindow { earliest: Time(0), latest: Time(u64::MAX) };
    let encoded: Vec<Vec<u8>> = measurements
        .iter()
        .map(|measurement| maker.make(&mut rand::rng(), 1_795_348_800, measurement, None).unwrap())
        .map(|report: Report| report.to_bytes())
        .collect();
    let reports: Vec<_> = encoded.iter().map(|report| ReportRef::from_bytes(report).unwrap()).collect();
    let verified = leader_init(&task, &verify_key, &opener(Role::Leader, 1, &leader_key), window, &reports);
    let verified: Vec<_> = verified.into_iter().map(Result::unwrap).collect();
    let verify_inits: Vec<_> = reports
        .iter()
        .zip(&verified)
        .map(|(report, verification)| VerifyInitRef {
            report_share: ReportShareRef {
                header: report.header,
                encrypted_input_share: report.helper_share,
            },
            payload: &verification.message,
        })
        .collect();
    let answers =
        helper_verify(&task, &verify_key, &opener(Role::Helper, 2, &helper_key), window, &verify_inits);
    let mut buckets = [BatchBucket::empty(&task), BatchBucket::empty(&task)];
    let (mut rows, mut verify_resps) = (Vec::new(), Vec::new());
    for (((report, written), verification), answer) in reports.iter().zip(written).zip(&verified).zip(answers)
    {
        let (report_id, answer) = (report.header.report_id, answer.unwrap());
        let result = VerifyResult::Continue(answer.message.clone());
        let pending =
            PendingReport { report_id, time: report.header.time, state: verification.state.clone() };
        let finished = leader_finish(&task, vec![pending], std::slice::from_ref(&result));
        let share = finished.into_iter().next().unwrap().outcome.unwrap();
        buckets[0].add(report_id, &share).unwrap();
        buckets[1].add(report_id, &answer.output_share).unwrap();
        rows.push(json!({
            "measurement": written,
            "report": hex::encode(report.encoded),
            "leader_message": hex::encode(&verification.message),
            "helper_message": hex::encode(&answer.message),
            "leader_output_share": hex::encode(share.encode()),
            "helper_output_share": hex::encode(answer.output_share.encode()),
        }));
        verify_resps.push(VerifyResp { report_id, result });
    }
    let request = AggregationJobInitReq {
        verification_key_id: 0,
        agg_param: &[],
        extensions: Extensions::none(),
        verify_inits,
    };
    let shares = buckets.each_ref().map(|bucket| bucket.share.encode());
    let result = crate::vdaf::unshard(&vdaf, &shares[0], &shares[1], rows.len() as u64, 0).unwrap();
    with(
        of_task(&task),
        json!({
            "name": name,
            "verify_key_init": hex::encode(SECRET),
            "verify_key": hex::encode(verify_key.expose()),
            "leader": party(1, 0x11),
            "helper": party(2, 0x22),
            "reports": rows,
            "aggregation_job_init_req": hex::encode(request.to_bytes()),
            "aggregation_job_resp": hex::encode(AggregationJobResp { verify_resps }.to_bytes()),
            "leader_aggregate_share": hex::encode(&shares[0]),
            "helper_aggregate_share": hex::encode(&shares[1]),
            "checksum": hex::encode(buckets[0].checksum),
            "result": result,
        }),
    )
}

fn write(name: &str, value: &Value) {
    let path = format!("{}/vectors/arras-1/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(path, serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
}

#[test]
#[ignore = "writes the vectors that follow from constants"]
fn write_the_deterministic_vectors() {
    write("task-ids.json", &task_ids());
    write("report-sealing.json", &report_sealing());
    write("aggregate-shares.json", &aggregate_shares());
}

#[test]
#[ignore = "writes new reports; those that are checked in are as good"]
fn write_the_reports() {
    let vectors = [
        job(
            "count",
            VdafConfig::Count,
            &[true, false, true].map(Measurement::Count),
            &[json!(true), json!(false), json!(true)],
        ),
        job("histogram-4", histogram(), &[2, 0, 2].map(Measurement::Bucket), &[json!(2), json!(0), json!(2)]),
        job(
            "l1-bound-sum-4-7",
            VdafConfig::l1_bound_sum(4, 7).unwrap(),
            &[[7, 0, 0, 0], [1, 2, 3, 1], [0; 4]].map(|cells| Measurement::Vector(cells.to_vec())),
            &[json!([7, 0, 0, 0]), json!([1, 2, 3, 1]), json!([0, 0, 0, 0])],
        ),
    ];
    write("reports.json", &json!({ "about": ABOUT, "vectors": vectors }));
}
