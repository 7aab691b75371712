//! opendp and its traps: what its own privacy map makes of our scales, and what of it must not be used.
//!
//! docs/privacy.md lists the traps and the test of each.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use dashu::{
    integer::{IBig, UBig},
    rational::RBig,
};
use opendp::domains::{AtomDomain, VectorDomain};
use opendp::measurements::{MakeNoise, ZExpFamily};
use opendp::measures::MaxDivergence;
use opendp::metrics::L1Distance;
use proptest::prelude::*;

use super::accuracy::Noise;
use super::noise::{MAX_SCALE, MicroEpsilon, NoiseSource, OpendpNoise, Scale};
use super::threshold::{Shown, Threshold};

/// The privacy loss that opendp's own map gives noise of a scale, for vectors of integers at an L1 distance of
/// `l1_sensitivity`: the smallest float that is not below it.
fn loss_by_opendp(scale: &Scale, l1_sensitivity: u64) -> f64 {
    let numerator = IBig::from(scale.numerator());
    let mechanism = ZExpFamily::<1> { scale: RBig::from_parts(numerator, UBig::from(scale.denominator())) };
    let space = (VectorDomain::new(AtomDomain::<IBig>::default()), L1Distance::<RBig>::default());
    let measurement =
        MakeNoise::<VectorDomain<AtomDomain<IBig>>, L1Distance<RBig>, MaxDivergence>::make_noise(
            mechanism, space,
        );
    measurement.unwrap().map(&RBig::from(l1_sensitivity)).unwrap()
}

/// The policy's epsilon as the same map would round it: the float next to it, at or above.
fn rounded_up(epsilon: MicroEpsilon) -> f64 {
    let exact = RBig::from_parts(IBig::from(epsilon.get()), UBig::from(1_000_000_u32));
    // Correctly rounded, so that it or the next one up is the float wanted.
    let nearest = f64::from(epsilon.get()) / 1e6;
    if RBig::try_from(nearest).unwrap() >= exact { nearest } else { nearest.next_up() }
}

/// Not more than the policy says, and not less: that would be noise for nothing.
fn assert_loss(l1_sensitivity: u64, epsilon: MicroEpsilon) {
    let scale = Scale::new(l1_sensitivity, epsilon).unwrap();
    let loss = loss_by_opendp(&scale, l1_sensitivity);
    assert!(
        loss.to_bits() == rounded_up(epsilon).to_bits(),
        "sensitivity {l1_sensitivity}, epsilon {epsilon}: {loss}"
    );
}

#[test]
fn opendps_map_gives_back_the_policys_epsilon() {
    for sensitivity in [1, 2, 3, 20, 2_000, 2 * u64::from(u32::MAX), MAX_SCALE / 1_000_000] {
        for micro in
            [1, 3, 7, 100_000, 333_333, 999_999, 1_000_000, 1_000_001, 2_718_281, 10_000_000, u32::MAX]
        {
            assert_loss(sensitivity, MicroEpsilon::from_micro(micro).unwrap());
        }
    }
}

proptest! {
    #[test]
    fn opendps_map_agrees_for_any_policy(sensitivity in 1_u64..1 << 33, micro in 1..=10_000_000_u32) {
        assert_loss(sensitivity, MicroEpsilon::from_micro(micro).unwrap());
    }
}

/// The check above can fail: a scale of half, or one for half of the sensitivity, loses twice the epsilon.
#[test]
fn opendps_map_doubles_for_half_the_scale() {
    let one = "1".parse().unwrap();
    for sensitivity in [2, 2_000] {
        let half = Scale::new(sensitivity / 2, one).unwrap();
        assert!((loss_by_opendp(&half, sensitivity) - 2.0).abs() < f64::EPSILON);
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: PathBuf, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The story: opendp's thresholds release what reaches T and account for what exceeds it (its issue 2922), its measurements
/// stay on the thread that made them, and its odometers and filters live in memory, keep the data, and are exhausted
/// by one question too many. So of opendp there is one function in use: the sampler.
#[test]
fn of_opendp_only_the_sampler_is_used() {
    let mut found = Vec::new();
    for part in ["src", "protocol/src", "client/src"] {
        sources(root().join(part), &mut found);
    }
    assert!(found.len() > 100, "only {} files found", found.len());
    let mut uses = Vec::new();
    for path in found {
        if path.ends_with("privacy/trap_tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| line.contains("opendp::"));
        uses.extend(lines.map(|line| (path.clone(), line.trim().to_owned())));
    }
    let expected = (
        root().join("src/privacy/noise.rs"),
        "use opendp::traits::samplers::sample_discrete_laplace;".to_owned(),
    );
    assert_eq!(uses, [expected]);
}

/// The story: opendp's default feature `use-openssl` builds an old OpenSSL and makes sampling several times slower.
#[test]
fn opendp_is_built_without_openssl() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let opendp = &manifest["workspace"]["dependencies"]["opendp"];
    assert_eq!(opendp["default-features"].as_bool(), Some(false));
    let features = opendp["features"].as_array().unwrap();
    assert!(features.iter().all(|feature| feature.as_str() == Some("contrib")), "{features:?}");
    // A feature that another package turned on would show here.
    let lock: toml::Table = fs::read_to_string(root().join("Cargo.lock")).unwrap().parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let of_name =
        |wanted: &str| packages.iter().filter(|package| package["name"].as_str() == Some(wanted)).count();
    assert_eq!(
        (of_name("opendp"), of_name("openssl"), of_name("openssl-sys"), of_name("openssl-src")),
        (1, 0, 0, 0)
    );
}

/// The story: opendp's measurements are neither `Send` nor `Sync`, and noise is drawn where requests are worked off.
#[test]
fn noise_can_be_drawn_on_any_thread() {
    fn sent<T: Send + 'static>(_: &T) {}
    sent(&OpendpNoise);
    let source: Box<dyn NoiseSource> = Box::new(OpendpNoise);
    sent(&source);
}

/// The story: a threshold that shows what reaches it, and a chance computed for what exceeds it, disagree by e^(1/scale).
/// Ours shows a count of T and counts P[Z >= T]: by the distribution itself, added up cell by cell, at scale 1.
#[test]
fn a_count_of_the_threshold_is_shown_and_counted_as_shown() {
    assert_eq!(Threshold::new(3).show(3), Shown::Estimate { value: 3 });
    assert_eq!(Threshold::new(3).show(2), Shown::Suppressed);
    let a = (-1.0_f64).exp();
    let one = |k: i32| (1.0 - a) / (1.0 + a) * a.powi(k.abs());
    let both = |k: i32| (-60..=60).map(|i| one(i) * one(k - i)).sum::<f64>();
    let (reaches, exceeds) = ((3..60).map(both).sum::<f64>(), (4..60).map(both).sum::<f64>());
    let chance = Noise::of_cell(&Scale::new(1, "1".parse().unwrap()).unwrap()).empty_shown_chance(3, 1);
    assert!((chance - reaches).abs() < 1e-12 && reaches > 2.0 * exceeds, "{chance} {reaches} {exceeds}");
}

/// Names in a document are not compiled: this is what keeps them true.
#[test]
fn the_documented_traps_have_their_tests() {
    let document = fs::read_to_string(root().join("docs/privacy.md")).unwrap();
    let rows = document.lines().skip_while(|line| !line.starts_with("| trap |")).skip(2);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 8, "one for each trap");
    for row in rows {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{row}");
        for name in named {
            let (file, test) = name.split_once(": ").unwrap();
            let text = fs::read_to_string(root().join(file)).unwrap();
            assert!(text.contains(&format!("fn {test}(")), "{file} has no {test}");
        }
    }
}
