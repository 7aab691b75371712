//! A plan as a JSON document.
//!
//! As in releases, decimals and integers that may exceed 2^53 are decimal strings.

use arras_protocol::epsilon::DisplayMicro;
use serde_json::{Value, json};

use super::advice::{Advice, Step};
use super::choice::{Choice, Outlook};
use super::precision::Precision;
use super::{Plan, Setting};

/// The version of the document's layout: fields are added, never changed.
const PLAN_VERSION: u32 = 1;

/// The document.
pub fn json(plan: &Plan<'_>) -> Value {
    let setting = plan.setting;
    json!({
        "version": PLAN_VERSION,
        "buckets": setting.counts.vdaf.output_len(),
        "contributions": setting.counts.contributions,
        "budget_source": setting.source.as_str(),
        "cap": DisplayMicro(setting.rules.cap).to_string(),
        "useful_error": number(setting.useful_error().get()),
        "target": setting.target.is_some(),
        "solved_for_epsilon": setting.solve_epsilon,
        "time_zone": setting.windows.zone(),
        // Nothing is recommended that would not be released.
        "recommended": Some(plan.recommended()).filter(|choice| choice.is_released()).map(|choice| choice.window.name()),
        "windows": plan.choices.iter().map(|choice| window(setting, choice)).collect::<Vec<_>>(),
        "advice": plan.advice.iter().map(advice).collect::<Vec<_>>(),
    })
}

fn window(setting: &Setting, choice: &Choice) -> Value {
    let campaigns = setting.campaigns.iter().zip(&choice.campaigns);
    json!({
        "window": choice.window.name(),
        "seconds": choice.window.seconds(),
        "counts": precision(&choice.counts, 1.0),
        "values": choice.values.as_ref().zip(setting.values.as_ref())
            .map(|(values, task)| precision(values, task.unit.get())),
        "threshold": choice.threshold.to_string(),
        "any_empty_bucket_shown": format!("{:.9}", choice.empty_shown),
        "smallest_visible": choice.smallest_visible.to_string(),
        "smallest_useful": choice.smallest_useful.to_string(),
        "enough_reports": choice.enough_reports,
        // Of the epoch that most windows are refused in, and of most epochs.
        "windows_in_epoch": choice.budget.poorest.of,
        "windows_carried": choice.budget.poorest.admitted,
        "windows_in_usual_epoch": choice.budget.usual.of,
        "windows_carried_usually": choice.budget.usual.admitted,
        "charged_to_two_epochs": choice.budget.straddles,
        "epsilon_per_epoch": DisplayMicro(choice.budget.epoch_cost()).to_string(),
        "epsilon_per_window": DisplayMicro(choice.budget.cost).to_string(),
        "week": {
            "half_width_of_sum": choice.week.half_width.map(|width| width.to_string()),
            "half_width_of_one_window": choice.week.weekly_half_width.to_string(),
        },
        "campaigns": campaigns
            .map(|(campaign, outlook)| campaign_json(&campaign.name, campaign.per_week, outlook))
            .collect::<Vec<_>>(),
    })
}

fn precision(precision: &Precision, unit: f64) -> Value {
    json!({
        "epsilon": precision.terms.epsilon,
        "sensitivity": precision.terms.vdaf.l1_sensitivity().to_string(),
        "scale": format!("{}/{}", precision.scale.numerator(), precision.scale.denominator()),
        "standard_error": format!("{:.3}", precision.standard_error),
        "half_width": precision.half_width.to_string(),
        "unit": number(unit),
    })
}

fn campaign_json(name: &str, per_week: u64, outlook: &Outlook) -> Value {
    json!({
        "campaign": name,
        "per_week": per_week.to_string(),
        "expected": number(outlook.expected),
        "relative_error": number(outlook.relative_error),
        "chance_shown": number(outlook.chance_shown),
        "useful": outlook.useful,
        "value": outlook.value.map(|value| json!({
            "expected": number(value.expected),
            "half_width": number(value.half_width),
            "relative_error": number(value.relative_error),
            "cut": value.is_cut,
        })),
    })
}

fn advice(advice: &Advice) -> Value {
    let text = advice.to_string();
    match advice {
        Advice::Windows { window, .. } => json!({"about": "budget", "window": window.name(), "text": text}),
        Advice::Straddles { window, .. } => json!({"about": "epochs", "window": window.name(), "text": text}),
        Advice::TooFewReports { window, .. } => {
            json!({"about": "reports", "window": window.name(), "text": text})
        }
        Advice::Devices { .. } => json!({"about": "devices", "text": text}),
        Advice::Cut { campaigns } => json!({"about": "values", "campaigns": campaigns, "text": text}),
        Advice::TooSmall { campaign, steps, .. } => json!({
            "about": "campaign",
            "campaign": campaign,
            "steps": steps.iter().map(step).collect::<Vec<_>>(),
            "text": text,
        }),
    }
}

fn step(step: &Step) -> Value {
    match step {
        Step::LongerWindow { weeks } => json!({"do": "longer_window", "weeks": weeks}),
        Step::Merge { with, per_week } => {
            json!({"do": "merge", "with": with, "per_week": per_week.to_string()})
        }
        Step::MoreEpsilon { epsilons, cap, task_caps } => json!({
            "do": "more_epsilon",
            "epsilons": epsilons,
            "cap": cap.map(|cap| DisplayMicro(cap).to_string()),
            "task_caps_are_too_small": task_caps,
        }),
        Step::LowerThreshold { threshold } => {
            json!({"do": "lower_threshold", "threshold": threshold.to_string()})
        }
        Step::SmallerBatch { min_batch_size } => {
            json!({"do": "smaller_batch", "min_batch_size": min_batch_size.to_string()})
        }
        Step::FewerContributions { contributions, epsilon } => {
            json!({"do": "fewer_contributions", "contributions": contributions, "epsilon": epsilon})
        }
    }
}

/// A decimal with six places; `null` for what has no number, such as the error of nothing.
fn number(value: f64) -> Option<String> {
    value.is_finite().then(|| format!("{value:.6}"))
}
