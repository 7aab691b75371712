//! The vectors of `vectors/arras-1/`: read, and checked against the code and, where another
//! implementation is at hand, against that. `make` is how they were made.
#![allow(clippy::unwrap_used)]

mod make;

use std::convert::Infallible;

use hpke::{Deserializable as _, OpModeR, single_shot_open};
use rand::{TryCryptoRng, TryRng};
use ring::digest;
use serde_json::Value;

use crate::codec::{Decode as _, Encode as _};
use crate::collection::{open_and_unshard, seal_aggregate_share};
use crate::hpke::{PrivateKey, Sealer};
use crate::messages::{
    AggregationJobInitReq, AggregationJobResp, CollectionJobReq, CollectionJobResp, HpkeCiphertext,
    HpkeConfig, ReportRef, Role, TaskConfiguration, Time, VerifyResult,
};
use crate::task::{Task, VerifySecret};
use crate::vdaf::AggregateShare;
use crate::verification::{
    BatchBucket, InputShareOpener, LeaderVerification, PendingReport, TimeWindow, helper_verify,
    leader_finish, leader_init,
};

const TASK_IDS: &str = include_str!("../vectors/arras-1/task-ids.json");
const REPORT_SEALING: &str = include_str!("../vectors/arras-1/report-sealing.json");
const REPORTS: &str = include_str!("../vectors/arras-1/reports.json");
const AGGREGATE_SHARES: &str = include_str!("../vectors/arras-1/aggregate-shares.json");

/// "Randomness" that is one given ephemeral key.
struct Ephemeral([u8; 32]);

impl TryRng for Ephemeral {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("sealing draws 32 bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("sealing draws 32 bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Ephemeral {}

fn parse(file: &str) -> Value {
    serde_json::from_str(file).unwrap()
}

fn bytes(value: &Value, name: &str) -> Vec<u8> {
    hex::decode(value[name].as_str().unwrap_or_else(|| panic!("{name} is missing"))).unwrap()
}

fn array<const N: usize>(value: &Value, name: &str) -> [u8; N] {
    bytes(value, name).try_into().unwrap()
}

fn key(value: &Value) -> PrivateKey {
    let key = PrivateKey::from_bytes(array(value, "private_key"));
    assert_eq!(key.public_key().as_bytes(), &array(value, "public_key"));
    key
}

fn config_id(value: &Value) -> u8 {
    value["config_id"].as_u64().unwrap().try_into().unwrap()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().unwrap()
}

fn task(value: &Value) -> Task {
    let task =
        Task::new(TaskConfiguration::from_bytes(&bytes(value, "task_configuration")).unwrap()).unwrap();
    assert_eq!(task.id().as_bytes().as_slice(), bytes(value, "task_id"));
    task
}

/// Opens by the crate `hpke`.
fn their_open(key: &PrivateKey, info: &[u8], aad: &[u8], sealed: &HpkeCiphertext) -> Vec<u8> {
    type Kem = hpke::kem::X25519HkdfSha256;
    let sealed = sealed.as_ref();
    single_shot_open::<hpke::aead::AesGcm128, hpke::kdf::HkdfSha256, Kem>(
        &OpModeR::Base,
        &<Kem as hpke::Kem>::PrivateKey::from_bytes(key.expose_bytes()).unwrap(),
        &<Kem as hpke::Kem>::EncappedKey::from_bytes(sealed.enc).unwrap(),
        info,
        sealed.payload,
        aad,
    )
    .unwrap()
}

#[test]
fn what_is_deterministic_is_made_again() {
    assert_eq!(make::task_ids(), parse(TASK_IDS));
    assert_eq!(make::report_sealing(), parse(REPORT_SEALING));
    assert_eq!(make::aggregate_shares(), parse(AGGREGATE_SHARES));
}

/// Puts a configuration together from the fields of a vector, without the encoder under test.
fn encode_fields(fields: &Value) -> Vec<u8> {
    let number = |name: &str| fields[name].as_u64().unwrap();
    let opaque16 = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let url = |name: &str| opaque16(fields[name].as_str().unwrap().as_bytes());
    let task_info = bytes(fields, "task_info");
    let extensions: Vec<u8> = list(fields, "extensions")
        .iter()
        .flat_map(|extension| {
            let kind = u16::try_from(extension["extension_type"].as_u64().unwrap()).unwrap();
            [kind.to_be_bytes().to_vec(), opaque16(&bytes(extension, "extension_data"))].concat()
        })
        .collect();
    [
        vec![u8::try_from(task_info.len()).unwrap()],
        task_info,
        url("leader_aggregator_endpoint"),
        url("helper_aggregator_endpoint"),
        number("time_precision").to_be_bytes().to_vec(),
        number("min_batch_size").to_be_bytes().to_vec(),
        vec![number("batch_mode").try_into().unwrap()],
        opaque16(&bytes(fields, "batch_config")),
        u32::try_from(number("vdaf_type")).unwrap().to_be_bytes().to_vec(),
        opaque16(&bytes(fields, "vdaf_configuration")),
        opaque16(&extensions),
    ]
    .concat()
}

#[test]
fn task_ids() {
    let file = parse(TASK_IDS);
    let secret = VerifySecret::new(array(&file, "verify_key_init"));
    let mut profiles = Vec::new();
    for vector in list(&file, "tasks") {
        let encoded = bytes(vector, "task_configuration");
        assert_eq!(encode_fields(&vector["fields"]), encoded);
        let task = task(vector);
        assert_eq!(task.configuration().to_bytes(), encoded);
        assert_eq!(task.profile().name(), vector["profile"]);
        assert_eq!(task.id().to_string(), vector["task_id_base64url"]);
        assert_eq!(secret.verify_key(task.id()).expose().as_slice(), bytes(vector, "verify_key"));
        let salt = digest::digest(&digest::SHA256, b"dap-taskprov task id");
        let salted = [salt.as_ref(), &encoded].concat();
        assert_eq!(digest::digest(&digest::SHA256, &salted).as_ref(), bytes(vector, "task_id"));
        profiles.push(task.profile().name());
    }
    assert_eq!(profiles, ["arras", "arras", "attribution", "plain", "plain"]);
}

#[test]
fn report_sealing() {
    let file = parse(REPORT_SEALING);
    let task = task(&file);
    let metadata = bytes(&file, "report_metadata");
    let public_share = bytes(&file, "public_share");
    let length = u32::try_from(public_share.len()).unwrap().to_be_bytes();
    let aad = [
        bytes(&file, "task_id"),
        bytes(&file, "task_configuration"),
        metadata,
        length.to_vec(),
        public_share,
    ]
    .concat();
    assert_eq!(aad, bytes(&file, "input_share_aad"));
    assert!(aad.starts_with(task.aad_prefix()));
    for (name, role) in [("leader", Role::Leader), ("helper", Role::Helper)] {
        let vector = &file[name];
        let info = bytes(vector, "info");
        assert_eq!(info, [b"dap-18 input share".as_slice(), &[1, role as u8]].concat());
        assert_eq!(info, crate::report::input_share_info(role));
        let share = bytes(vector, "input_share");
        let share_len = u32::try_from(share.len()).unwrap().to_be_bytes();
        let plaintext = [[0, 0].as_slice(), &share_len, &share].concat();
        assert_eq!(plaintext, bytes(vector, "plaintext_input_share"));

        let key = key(vector);
        let mut ephemeral = Ephemeral(array(vector, "ephemeral_private_key"));
        let sealed = Sealer::new(&key.public_key(), &info).seal(&mut ephemeral, &aad, &plaintext).unwrap();
        let sealed = HpkeCiphertext::new(config_id(vector), sealed);
        assert_eq!(hex::encode(sealed.to_bytes()), vector["encrypted_input_share"]);
        assert_eq!(sealed.as_ref().enc, bytes(vector, "enc"));
        assert_eq!(sealed.as_ref().payload, bytes(vector, "payload"));
        assert_eq!(their_open(&key, &info, &aad, &sealed), plaintext);
    }
}

/// What a measurement adds to each cell: a truth value, a bucket, or the cells themselves.
fn cells(measurement: &Value, length: usize) -> Vec<i128> {
    match measurement {
        Value::Bool(value) => vec![i128::from(*value)],
        Value::Number(bucket) => {
            (0..length).map(|cell| i128::from(bucket.as_u64() == Some(cell as u64))).collect()
        }
        cells => {
            serde_json::from_value::<Vec<i64>>(cells.clone()).unwrap().into_iter().map(Into::into).collect()
        }
    }
}

/// One VDAF's reports through a job, every message compared.
fn check_reports(vector: &Value) {
    let task = task(vector);
    let secret = VerifySecret::new(array(vector, "verify_key_init"));
    let verify_key = secret.verify_key(task.id());
    assert_eq!(verify_key.expose().as_slice(), bytes(vector, "verify_key"));
    let opener = |role, name: &str| {
        let party = &vector[name];
        InputShareOpener::new(role, [(config_id(party), &key(party))]).unwrap()
    };
    let window = TimeWindow { earliest: Time(0), latest: Time(u64::MAX) };

    let vectors = list(vector, "reports");
    let encoded: Vec<_> = vectors.iter().map(|report| bytes(report, "report")).collect();
    let reports: Vec<_> = encoded.iter().map(|report| ReportRef::from_bytes(report).unwrap()).collect();
    let leader = leader_init(&task, &verify_key, &opener(Role::Leader, "leader"), window, &reports);
    let job = bytes(vector, "aggregation_job_init_req");
    let request = AggregationJobInitReq::from_bytes(&job, usize::MAX).unwrap();
    let helper =
        helper_verify(&task, &verify_key, &opener(Role::Helper, "helper"), window, &request.verify_inits);
    let response = AggregationJobResp::from_bytes(&bytes(vector, "aggregation_job_resp")).unwrap();

    let mut buckets = [BatchBucket::empty(&task), BatchBucket::empty(&task)];
    let rows = vectors
        .iter()
        .zip(&reports)
        .zip(leader)
        .zip(helper)
        .zip(&request.verify_inits)
        .zip(&response.verify_resps);
    for (((((vector, report), leader), helper), init), resp) in rows {
        let report_id = report.header.report_id;
        let LeaderVerification { state, message } = leader.unwrap();
        assert_eq!(message, bytes(vector, "leader_message"));
        assert_eq!(init.payload, message);
        assert_eq!(init.report_share.header, report.header);
        assert_eq!(init.report_share.encrypted_input_share, report.helper_share);
        let helper = helper.unwrap();
        assert_eq!(helper.message, bytes(vector, "helper_message"));
        assert_eq!(resp.report_id, report_id);
        assert_eq!(resp.result, VerifyResult::Continue(helper.message));
        assert_eq!(helper.output_share.encode(), bytes(vector, "helper_output_share"));
        let pending = PendingReport { report_id, time: report.header.time, state };
        let finished = leader_finish(&task, vec![pending], std::slice::from_ref(&resp.result));
        let share = finished.into_iter().next().unwrap().outcome.unwrap();
        assert_eq!(share.encode(), bytes(vector, "leader_output_share"));
        let both = [share.encode(), helper.output_share.encode()];
        let measured = crate::vdaf::unshard(task.vdaf().config(), &both[0], &both[1], 1, 0).unwrap();
        assert_eq!(measured, cells(&vector["measurement"], measured.len()));
        buckets[0].add(report_id, &share).unwrap();
        buckets[1].add(report_id, &helper.output_share).unwrap();
    }
    assert_eq!(buckets[0].share.encode(), bytes(vector, "leader_aggregate_share"));
    assert_eq!(buckets[1].share.encode(), bytes(vector, "helper_aggregate_share"));
    for bucket in &buckets {
        assert_eq!(bucket.report_count, vectors.len() as u64);
        assert_eq!(bucket.checksum.as_slice(), bytes(vector, "checksum"));
    }
    let shares = buckets.map(|bucket| bucket.share.encode());
    let sums =
        crate::vdaf::unshard(task.vdaf().config(), &shares[0], &shares[1], vectors.len() as u64, 0).unwrap();
    assert_eq!(serde_json::to_value(sums).unwrap(), vector["result"]);
}

#[test]
fn reports() {
    let file = parse(REPORTS);
    let names: Vec<_> =
        list(&file, "vectors").iter().map(|vector| vector["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["count", "histogram-4", "l1-bound-sum-4-7"]);
    for vector in list(&file, "vectors") {
        assert_eq!(list(vector, "reports").len(), 3);
        check_reports(vector);
    }
}

#[test]
fn aggregate_shares() {
    let file = parse(AGGREGATE_SHARES);
    for vector in list(&file, "vectors") {
        let task = task(vector);
        let collector = &vector["collector"];
        let collector_key = key(collector);
        let config = HpkeConfig::new(config_id(collector), &collector_key.public_key());
        let request = CollectionJobReq::from_bytes(&bytes(vector, "collection_job_req")).unwrap();
        let aad =
            [bytes(vector, "task_id"), bytes(vector, "task_configuration"), request.to_bytes()].concat();
        assert_eq!(aad, bytes(vector, "agg_share_aad"));
        for (name, role) in [("leader", Role::Leader), ("helper", Role::Helper)] {
            let share = &vector[name];
            let plain = bytes(share, "agg_share");
            let noised = AggregateShare::decode(task.vdaf().config(), &plain)
                .unwrap()
                .add_noise(&vec![0; task.vdaf().config().output_len()])
                .unwrap();
            let mut ephemeral = Ephemeral(array(share, "ephemeral_private_key"));
            let sealed =
                seal_aggregate_share(&mut ephemeral, &task, role, &config, &request, &noised).unwrap();
            assert_eq!(hex::encode(sealed.to_bytes()), share["encrypted_agg_share"]);
            let info = [b"dap-18 aggregate share".as_slice(), &[role as u8, 0]].concat();
            assert_eq!(info, bytes(share, "info"));
            assert_eq!(their_open(&collector_key, &info, &aad, &sealed), plain);
        }
        let response = CollectionJobResp::from_bytes(&bytes(vector, "collection_job_resp")).unwrap();
        let slack = vector["slack"].as_u64().unwrap().into();
        let result = open_and_unshard(&task, &collector_key, config.id, &request, &response, slack).unwrap();
        assert_eq!(serde_json::to_value(result).unwrap(), vector["result"]);
    }
    assert_eq!(list(&file, "vectors").len(), 2);
}
