//! Reports, up to the sums that both aggregators get out of them.
#![allow(clippy::unwrap_used)]

use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::codepoints::REPORT_EXTENSION_PRIVACY_BUDGET;
use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::{
    AggregationJobInitReq, ReportRef, ReportShareRef, Role, Time, VerifyInitRef, VerifyResult,
};
use arras_protocol::task::{Profile, VerifySecret};
use arras_protocol::vdaf::{VdafConfig, unshard};
use arras_protocol::verification::{
    BatchBucket, InputShareOpener, PendingReport, TimeWindow, helper_verify, leader_finish, leader_init,
};

use super::*;
use crate::attribution::{
    AggregationService, Config, ImpressionOptions, MemoryStore, Moment, Outcome, Protocol, Uniform,
};

const SERVICE: &str = "https://service.example/";
const NOW: u64 = 1_795_348_804;

/// The two aggregators' keys.
struct Aggregators {
    leader: PrivateKey,
    helper: PrivateKey,
    secret: VerifySecret,
}

impl Aggregators {
    fn new() -> Self {
        let key = || PrivateKey::generate(&mut rand::rng());
        Self { leader: key(), helper: key(), secret: VerifySecret::new([7; 32]) }
    }

    fn service(&self) -> DapService {
        let config = |id, key: &PrivateKey| HpkeConfig::new(id, &key.public_key());
        // Not as the URL serializer writes them.
        DapService::new(
            "HTTPS://Leader.example",
            "https://helper.example:443/dap/",
            config(1, &self.leader),
            config(2, &self.helper),
        )
        .unwrap()
    }

    fn config(&self) -> Config {
        let service = AggregationService {
            protocol: Protocol::Dap18Histogram,
            max_histogram_size: None,
            dap: Some(self.service()),
        };
        Config { services: [(SERVICE.to_owned(), service)].into(), ..Config::default() }
    }

    /// What both sum up of one report.
    fn sums(&self, task: &Task, report: &[u8]) -> Vec<i128> {
        let report = ReportRef::from_bytes(report).unwrap();
        let opener = |role, id, key| InputShareOpener::new(role, [(id, key)]).unwrap();
        let key = self.secret.verify_key(task.id());
        let window = TimeWindow { earliest: Time(0), latest: Time(u64::MAX) };
        let reports = std::slice::from_ref(&report);
        let verified = leader_init(task, &key, &opener(Role::Leader, 1, &self.leader), window, reports);
        let verified = verified.into_iter().next().unwrap().unwrap();
        let request = AggregationJobInitReq {
            verification_key_id: 0,
            agg_param: &[],
            extensions: Extensions::none(),
            verify_inits: vec![VerifyInitRef {
                report_share: ReportShareRef {
                    header: report.header,
                    encrypted_input_share: report.helper_share,
                },
                payload: &verified.message,
            }],
        };
        let opener = opener(Role::Helper, 2, &self.helper);
        let helped = helper_verify(task, &key, &opener, window, &request.verify_inits);
        let helped = helped.into_iter().next().unwrap().unwrap();
        let (report_id, time) = (report.header.report_id, report.header.time);
        let pending = vec![PendingReport { report_id, time, state: verified.state }];
        let finished = leader_finish(task, pending, &[VerifyResult::Continue(helped.message)]);
        let [mut leader, mut helper] = [BatchBucket::empty(task), BatchBucket::empty(task)];
        leader.add(report_id, &finished.into_iter().next().unwrap().outcome.unwrap()).unwrap();
        helper.add(report_id, &helped.output_share).unwrap();
        unshard(task.vdaf().config(), &leader.share.encode(), &helper.share.encode(), 1, 0).unwrap()
    }
}

fn inputs(top_level: &str, caller: Option<&str>) -> ImplicitInputs {
    ImplicitInputs::from_hosts(top_level, caller, Moment::from_posix_seconds(NOW)).unwrap()
}

fn engine(aggregators: &Aggregators) -> Engine<MemoryStore> {
    Engine::open(aggregators.config(), MemoryStore::default()).unwrap()
}

fn task(aggregators: &Aggregators, inputs: &ImplicitInputs, options: &ConversionOptions) -> Task {
    aggregators.service().task(inputs, &options.validate(&aggregators.config()).unwrap()).unwrap()
}

fn options() -> ConversionOptions {
    ConversionOptions { epsilon: 0.25, value: 5, max_value: 9, ..ConversionOptions::new(SERVICE, 4) }
}

#[test]
fn aggregators_sum_up_what_was_attributed() {
    let aggregators = Aggregators::new();
    let mut engine = engine(&aggregators);
    engine.save_impression(&inputs("news.example", None), &ImpressionOptions::new(2)).unwrap();
    let inputs = inputs("www.shop.example", Some("adtech.example"));
    let (random, rng) = (&mut Uniform(rand::rng()), &mut rand::rng());
    let (report, measured) = engine.measure_conversion_report(random, rng, &inputs, &options()).unwrap();
    assert!(matches!(measured.outcome(), Outcome::Attributed));
    let task = task(&aggregators, &inputs, &options());
    assert_eq!(aggregators.sums(&task, &report.to_bytes()), [0, 0, 5, 0]);
    // "Construct a DAP report", field by field.
    let configuration = task.configuration();
    assert_eq!(task.profile(), Profile::Attribution);
    assert_eq!(configuration.leader.as_str(), "https://leader.example/");
    assert_eq!(configuration.helper.as_str(), "https://helper.example/dap/");
    assert_eq!((configuration.time_precision.seconds(), configuration.min_batch_size), (5, 20));
    assert!(configuration.task_info().is_empty() && configuration.batch_config().is_empty());
    // (ceil(log2(10)) + 1) * 4 is 20, and its root 4.47.
    let vdaf = VdafConfig::L1BoundSum { length: 4, max_value: 9, chunk_length: 4 };
    assert_eq!((configuration.vdaf_type, configuration.vdaf_configuration()), (7, vdaf.encode().as_slice()));
    assert_eq!(task.collector_identity(), Some("adtech.example"));
    assert_eq!(task.budget_source(), Some("shop.example"));
    assert_eq!(report.metadata.time, Time(NOW / 5));
    let budget = report.metadata.public_extensions.get(REPORT_EXTENSION_PRIVACY_BUDGET);
    assert_eq!(budget, Some(&250_000_u32.to_be_bytes()[..]));
    assert_eq!(report.metadata.public_extensions.iter().count(), 1);
}

#[test]
fn without_an_intermediary_the_conversion_site_collects() {
    let aggregators = Aggregators::new();
    let mut engine = engine(&aggregators);
    let inputs = inputs("shop.example", Some("pay.shop.example"));
    let measured = engine.measure_conversion(&mut Uniform(rand::rng()), &inputs, &options()).unwrap();
    let task = &measured.prepared.as_ref().unwrap().task;
    assert_eq!(task.collector_identity(), Some("shop.example"));
}

/// Whatever happened on the device, the report of it has the same size, the same task and the same clear text but for its
/// random parts.
#[test]
fn a_report_shows_nothing_of_what_happened() {
    let aggregators = Aggregators::new();
    let mut engine = engine(&aggregators);
    let mut reports = Vec::new();
    let shop = inputs("shop.example", None);
    let mut convert = |engine: &mut Engine<MemoryStore>| {
        let (random, rng) = (&mut Uniform(rand::rng()), &mut rand::rng());
        let options = ConversionOptions { value: 9, ..options() };
        let (report, measured) = engine.measure_conversion_report(random, rng, &shop, &options).unwrap();
        let task = task(&aggregators, &shop, &options);
        reports.push((
            report.to_bytes().len(),
            task.id(),
            report.metadata.time,
            report.metadata.public_extensions,
        ));
        format!("{:?}", measured.outcome())
    };
    let mut outcomes = vec![convert(&mut engine)];
    engine.save_impression(&inputs("news.example", None), &ImpressionOptions::new(2)).unwrap();
    // A quarter, or a half for more than one epoch, of a budget of one.
    outcomes.extend((0..9).map(|_| convert(&mut engine)));
    engine.set_enabled(false).unwrap();
    outcomes.push(convert(&mut engine));
    outcomes.dedup();
    assert_eq!(outcomes, ["NoMatch", "Attributed", "NoBudget", "Disabled"]);
    assert!(reports.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_service_without_aggregators_spends_nothing() {
    let aggregators = Aggregators::new();
    let mut config = aggregators.config();
    config.services.get_mut(SERVICE).unwrap().dap = None;
    let mut engine = Engine::open(config, MemoryStore::default()).unwrap();
    engine.save_impression(&inputs("news.example", None), &ImpressionOptions::new(2)).unwrap();
    let shop = inputs("shop.example", None);
    let (random, rng) = (&mut Uniform(rand::rng()), &mut rand::rng());
    let refused = engine.measure_conversion_report(random, rng, &shop, &options()).unwrap_err();
    assert!(matches!(refused, ReportError::Unconfigured(_)));
    assert_eq!(engine.budgets(&shop.top_level_site, shop.timestamp), []);
    let unknown = ConversionOptions { aggregation_service: "https://other.example".to_owned(), ..options() };
    let refused = engine.measure_conversion_report(random, rng, &shop, &unknown).unwrap_err();
    assert!(matches!(refused, ReportError::Attribution(AttributionError::UnknownService(_))));
}

/// A report that no VDAF holds was refused after its budget was spent.
#[test]
fn a_report_that_cannot_be_made_costs_nothing() {
    let aggregators = Aggregators::new();
    let config = Config { max_histogram_size: u32::MAX, ..aggregators.config() };
    let mut engine = Engine::open(config, MemoryStore::default()).unwrap();
    engine.save_impression(&inputs("news.example", None), &ImpressionOptions::new(2)).unwrap();
    let shop = inputs("shop.example", None);
    for (histogram_size, max_value) in [(4_097, 9), (4_096, u32::MAX)] {
        let options = ConversionOptions { histogram_size, max_value, ..options() };
        let refused = engine.measure_conversion(&mut Uniform(rand::rng()), &shop, &options).unwrap_err();
        assert!(refused.to_string().contains("histogramSize"), "{refused}");
    }
    assert_eq!(engine.budgets(&shop.top_level_site, shop.timestamp), []);
}

/// Keys of another suite or of the wrong length, a weak key, and one endpoint for both passed, and each conversion spent
/// its budget before its report failed.
#[test]
fn a_service_that_no_report_can_be_made_for_is_none() {
    let aggregators = Aggregators::new();
    let good = HpkeConfig::new(1, &aggregators.leader.public_key());
    let new = |leader: &str, helper: &str, one: &HpkeConfig, other: &HpkeConfig| {
        DapService::new(leader, helper, one.clone(), other.clone())
    };
    let (leader, helper) = ("https://leader.example", "https://helper.example");
    new(leader, helper, &good, &good).unwrap();
    let (weak, short) = ([vec![0, 32], vec![0; 32]].concat(), [vec![0, 31], vec![9; 31]].concat());
    let bytes = good.to_bytes();
    let before_key = bytes.len() - 34;
    let with_key = |key: &[u8]| HpkeConfig::from_bytes(&[&bytes[..before_key], key].concat()).unwrap();
    let mut other_suite = good.clone();
    other_suite.aead_id += 1;
    for bad in [with_key(&weak), with_key(&short), other_suite] {
        for (one, other) in [(&bad, &good), (&good, &bad)] {
            assert!(matches!(new(leader, helper, one, other), Err(ReportError::Report(_))));
        }
    }
    let refused = new(leader, "HTTPS://LEADER.example:443/", &good, &good).unwrap_err();
    assert!(matches!(refused, ReportError::OneEndpoint));
}

/// The longest sites there are make a task; they were a byte longer, and cost a budget without a report.
#[test]
fn the_longest_sites_get_a_report() {
    let aggregators = Aggregators::new();
    let mut engine = engine(&aggregators);
    let longest = |letter: &str, end: &str| format!("{}{end}", letter.repeat(253 - end.len()));
    engine.save_impression(&inputs("news.example", None), &ImpressionOptions::new(2)).unwrap();
    let inputs = inputs(&longest("a", ".com."), Some(&longest("b", ".com")));
    let (random, rng) = (&mut Uniform(rand::rng()), &mut rand::rng());
    let (_, reported) = engine.measure_conversion_report(random, rng, &inputs, &options()).unwrap();
    assert_eq!(reported.histogram(), [0, 0, 5, 0]);
}

#[test]
fn the_budget_in_a_report_is_rounded_up() {
    for (epsilon, micro) in
        [(1.0, 1_000_000), (0.1, 100_000), (1e-9, 1), (1.000_000_1, 1_000_001), (4_294.0, 4_294_000_000)]
    {
        assert_eq!(in_micro(epsilon).unwrap().get(), micro, "{epsilon}");
    }
    let hpke = HpkeConfig::new(1, &PrivateKey::generate(&mut rand::rng()).public_key());
    let refused =
        DapService::new("leader.example", "https://helper.example", hpke.clone(), hpke).unwrap_err();
    assert!(matches!(refused, ReportError::Endpoint(_)));
}
