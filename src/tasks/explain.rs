//! A task in plain English, for whoever has to decide whether to take part.

use std::fmt::Write as _;

use arras_protocol::policy::PrivacyPolicy;
use arras_protocol::task::{Profile, Task};

use crate::privacy::accuracy::{Confidence, EMPTY_SHOWN_CHANCE, Noise};
use crate::privacy::gate::noise_scale;
use crate::tasks::provisioned::{KnownTask, is_value};
use crate::text::{counted, printable};

/// Explains a task, one sentence a line.
pub fn explain(known: &KnownTask) -> String {
    let KnownTask { task, policy, budget_source, collector, campaigns, conversions } = known;
    let configuration = task.configuration();
    let mut out = String::new();
    let mut line = |text: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{text}");
    };
    line(format!("task {}", task.id()));
    line(format!("  name         {} ({} profile)", name(task), task.profile().name()));
    line(format!("  measures     {}", task.vdaf().config().describe()));
    if !campaigns.is_empty() {
        line(format!("  campaigns    {} (bucket 0 is \"not attributed\")", printable(&campaigns.join(", "))));
    }
    line(format!("  leader       {}", configuration.leader));
    line(format!("  helper       {}", configuration.helper));
    line(format!("  collector    {}", printable(collector)));
    line(format!(
        "  windows      whole multiples of {}, each with at least {} reports, each released once",
        seconds(configuration.time_precision.seconds()),
        configuration.min_batch_size
    ));
    line(format!(
        "  privacy      a device may send {} in any 7 days; for each, a release spends epsilon {} from the \
         budget of {budget_source}, in every week that its window touches",
        counted(policy.contributions, "report"),
        policy.epsilon
    ));
    if let Ok(scale) = noise_scale(policy) {
        line(format!(
            "  noise        each aggregator adds {} noise of scale {scale} to every number; 95 of 100 \
             noised numbers, shown or not, are within {} of the truth",
            policy.mechanism.name(),
            Noise::of_cell(&scale).half_width(Confidence::P95)
        ));
    }
    match (conversions, is_value(task.vdaf().config())) {
        (Some(counting), true) => {
            line(format!("  threshold    values are shown where task {counting} shows their conversions"));
        }
        (None, true) => line(
            "  threshold    the file names no `conversions`, so that the collector collects nothing"
                .to_owned(),
        ),
        (_, false) => line(format!("  threshold    {}", threshold(task, policy))),
    }
    let binding = match task.profile() {
        Profile::Arras => {
            "the policy is part of the task: parties that disagree about it cannot open each other's reports"
        }
        Profile::Plain | Profile::Attribution => {
            "the policy is the operators' own configuration, not part of the task"
        }
    };
    line(format!("  binding      {binding}"));
    out
}

/// What a threshold does for buckets that nobody is in.
fn threshold(task: &Task, policy: &PrivacyPolicy) -> String {
    let threshold = policy.threshold;
    let Ok(scale) = noise_scale(policy) else {
        return format!("counts below {threshold} are not shown");
    };
    let buckets = u64::try_from(task.vdaf().config().output_len()).unwrap_or(u64::MAX);
    in_words(threshold, &Noise::of_cell(&scale), buckets)
}

/// A threshold and the chance that a release of this many empty buckets shows any of them.
fn in_words(threshold: u64, noise: &Noise, buckets: u64) -> String {
    let chance = noise.empty_shown_chance(threshold.into(), buckets);
    let what = format!("counts below {threshold} are not shown");
    if chance <= EMPTY_SHOWN_CHANCE {
        return format!(
            "{what}; a release shows any bucket that nobody is in with a chance of {}",
            odds(chance)
        );
    }
    format!(
        "{what}; that is low for this noise: a release shows at least one bucket that nobody is in with a chance of {}, \
         and a threshold of {} would make that {}",
        odds(chance),
        noise.default_threshold(buckets),
        odds(EMPTY_SHOWN_CHANCE)
    )
}

/// A chance as people say it, rounded up and never down.
fn odds(chance: f64) -> String {
    if chance > 0.1 {
        format!("{:.0} in 100", (chance * 100.0).ceil())
    } else if chance >= LEAST_CHANCE {
        format!("1 in {:.0}", chance.recip().floor())
    } else {
        format!("less than 1 in {:.0}", LEAST_CHANCE.recip())
    }
}

/// Smaller chances are not told apart: once in a million releases is never.
const LEAST_CHANCE: f64 = 1e-6;

/// A task's name, or its bytes where it is not text.
pub fn name(task: &Task) -> String {
    match std::str::from_utf8(task.configuration().task_info()) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("{:02x?}", task.configuration().task_info()),
    }
}

/// A duration in its largest whole unit.
pub fn seconds(seconds: u64) -> String {
    for (unit, length) in [("day", 86_400), ("hour", 3_600), ("minute", 60)] {
        if seconds.is_multiple_of(length) {
            return counted(seconds / length, unit);
        }
    }
    counted(seconds, "second")
}

#[cfg(test)]
mod tests;
