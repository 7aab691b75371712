//! Reports that only opening or verifying finds out, put together by hand: each is rejected during aggregation, alone
//! and for its own reason.

use arras_protocol::codec::Encode as _;
use arras_protocol::hpke::Sealer;
use arras_protocol::messages::{
    Extensions, HpkeCiphertext, HpkeConfig, Report, ReportError, ReportId, ReportMetadata, TaskConfiguration,
    Time, encode_plaintext_input_share,
};
use arras_protocol::vdaf::{Measurement, Sharded};

use crate::bad_input::{still_works, upload_raw};
use crate::harness::{Deployment, Options, WINDOW, task_file};

/// Makes a report as DAP-18 section 4.4.2.1 says, with a configuration in the associated data and a change to what
/// sharding gave.
fn forge(
    deployment: &Deployment,
    bucket: u32,
    configuration: &TaskConfiguration,
    alter: impl FnOnce(&mut Sharded),
) -> Report {
    let mut rng = rand::rng();
    let task = &deployment.task;
    let report_id = ReportId::random(&mut rng);
    let context = [b"dap-18", task.id().as_bytes().as_slice()].concat();
    let mut sharded =
        task.vdaf().shard(&context, &Measurement::Bucket(bucket), report_id.as_bytes()).unwrap();
    alter(&mut sharded);
    let metadata = ReportMetadata { report_id, time: Time(WINDOW), public_extensions: Extensions::none() };
    let aad = [
        task.id().as_bytes().as_slice(),
        &configuration.to_bytes(),
        &metadata.to_bytes(),
        &u32::try_from(sharded.public_share.len()).unwrap().to_be_bytes(),
        &sharded.public_share,
    ]
    .concat();
    let mut seal = |role: u8, config: &HpkeConfig, share: &[u8]| {
        let info = [b"dap-18 input share".as_slice(), &[1, role]].concat();
        let plaintext = encode_plaintext_input_share(&Extensions::none(), share);
        let sealer = Sealer::new(&config.public_key().unwrap(), &info);
        HpkeCiphertext::new(config.id, sealer.seal(&mut rng, &aad, &plaintext).unwrap())
    };
    let (leader, helper) = deployment.hpke_configs();
    Report {
        leader_share: seal(2, leader, &sharded.leader_share),
        helper_share: seal(3, helper, &sharded.helper_share),
        metadata,
        public_share: sharded.public_share,
    }
}

fn rejected(deployment: &Deployment) -> Vec<(ReportError, u64)> {
    deployment.leader.as_ref().unwrap().leader().unwrap().counters().rejected
}

/// What only opening or verifying finds out is rejected during aggregation; the others of the job count.
#[tokio::test(flavor = "multi_thread")]
async fn tampered_reports_are_rejected_alone() {
    let deployment = Deployment::start(Options::default()).await;
    let mut tampered = Vec::new();
    let good = deployment.report(0).to_bytes();
    let report = deployment.report(0);
    let header = 26 + 4 + report.public_share.len();
    let leader_payload = header + 1 + 2 + 32 + 4;
    // Bits of: public share, leader's key, leader's ciphertext, helper's ciphertext, id.
    for position in [30, header + 3, leader_payload, good.len() - 1, 0] {
        let mut bytes = deployment.report(0).to_bytes();
        bytes[position] ^= 1;
        tampered.extend_from_slice(&bytes);
    }
    // The leader's share of one report with the helper's of another.
    let swapped = deployment.report(0);
    let swapped = Report {
        leader_share: swapped.leader_share.clone(),
        helper_share: deployment.report(0).helper_share.clone(),
        ..swapped
    };
    tampered.extend_from_slice(&swapped.to_bytes());
    assert_eq!(upload_raw(&deployment, deployment.task.id(), tampered).await.unwrap(), []);
    deployment.upload(&deployment.one_hots(64)).await;
    deployment.settled(70).await;
    // All of them fail where they are opened: what was changed is bound to both shares.
    assert_eq!(rejected(&deployment), [(ReportError::HpkeDecryptError, 6)]);
    let counters = deployment.leader.as_ref().unwrap().leader().unwrap().counters();
    assert_eq!((counters.aggregated, counters.lost), (64, 0), "{counters:?}");
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64]);
    deployment.stop().await;
}

/// Shares that open and do not verify: a client that lies about its measurement or its proof.
#[tokio::test(flavor = "multi_thread")]
async fn forged_proofs_are_rejected_alone() {
    let deployment = Deployment::start(Options::default()).await;
    let configuration = deployment.task.configuration();
    // Made by hand and not changed, it counts: what is rejected below is not rejected for how it is made.
    let honest = forge(&deployment, 63, configuration, |_| ());
    let alterations: [fn(&mut Sharded); 5] = [
        // The first cell of the measurement.
        |sharded| sharded.leader_share[0] ^= 1,
        // The last cells: its proof, then its blind.
        |sharded| {
            let middle = sharded.leader_share.len() - 32 - 16;
            sharded.leader_share[middle] ^= 1;
        },
        |sharded| *sharded.leader_share.last_mut().unwrap() ^= 1,
        // The seed of all that the helper has.
        |sharded| sharded.helper_share[0] ^= 1,
        // The commitment to the joint randomness.
        |sharded| sharded.public_share[0] ^= 1,
    ];
    let forged: Vec<Report> =
        alterations.into_iter().map(|alter| forge(&deployment, 5, configuration, alter)).collect();
    let mut all = deployment.one_hots(63);
    all.splice(10..10, forged);
    all.push(honest);
    deployment.upload(&all).await;
    deployment.settled(64 + 5).await;
    assert_eq!(rejected(&deployment), [(ReportError::VdafVerifyError, 5)]);
    let collected = deployment.collect().await.unwrap();
    assert_eq!((collected.sums, collected.report_count), (vec![1; 64], 64));
    deployment.stop().await;
}

/// Two parties that disagree about the task cannot open each other's reports, even under the same task id: the whole
/// configuration, with the privacy policy in it, is bound to every share.
#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_another_configuration_does_not_open() {
    let deployment = Deployment::start(Options::default()).await;
    let endpoints = (&deployment.loopback.leader.endpoint, &deployment.loopback.helper.endpoint);
    let mut file = task_file(&Options::default(), "test", endpoints.0, endpoints.1);
    file.threshold = Some(1_000);
    let (other, _) = file.build().unwrap();
    // Nothing but the configuration differs: the id in the associated data and in the VDAF's context is the task's.
    assert_ne!(other.configuration(), deployment.task.configuration());
    let reports: Vec<_> = (0..10).map(|_| forge(&deployment, 3, other.configuration(), |_| ())).collect();
    deployment.upload(&reports).await;
    deployment.settled(10).await;
    assert_eq!(rejected(&deployment), [(ReportError::HpkeDecryptError, 10)]);
    still_works(&deployment).await;
    deployment.stop().await;
}
