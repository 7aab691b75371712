//! Advice in sentences.

use std::fmt::{self, Display, Formatter};

use arras_protocol::epsilon::{DisplayMicro, MicroEpsilon};
use arras_protocol::task::MAX_EPSILON;

use super::advice::{Advice, Step, WEEKS_MAX};
use super::devices::too_dear_for_devices;
use super::table::short;
use super::window::{Carried, Window, epochs_begin};
use crate::text::{counted, printable};

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongerWindow { weeks } => {
                write!(f, "release windows of {weeks} weeks: noise is added once to each")
            }
            Self::Merge { with, per_week } => {
                let names: Vec<String> = with.iter().map(|name| short(name)).collect();
                write!(f, "count it together with {} ({per_week} a week)", names.join(", "))
            }
            Self::MoreEpsilon { epsilons, cap, task_caps } => {
                let epsilons: Vec<String> = epsilons.iter().map(ToString::to_string).collect();
                write!(f, "release whole weeks at an epsilon of {}", epsilons.join(" (conversions) and "))?;
                if epsilons.len() > 1 {
                    f.write_str(" (values)")?;
                }
                let task_caps = if *task_caps { "a larger task_cap" } else { "" };
                match (cap, task_caps) {
                    (None, "") => f.write_str(", which the cap allows"),
                    (None, larger) => write!(f, ", which takes {larger}"),
                    (Some(cap), "") => write!(f, ", which takes a cap of {}", DisplayMicro(*cap)),
                    (Some(cap), larger) => {
                        write!(f, ", which takes a cap of {} and {larger}", DisplayMicro(*cap))
                    }
                }
            }
            Self::LowerThreshold { threshold } => {
                write!(f, "lower the threshold to {threshold}, the default with this noise")
            }
            Self::SmallerBatch { min_batch_size } => {
                write!(f, "make tasks with a min_batch_size of {min_batch_size} or less")
            }
            Self::FewerContributions { contributions, epsilon } => write!(
                f,
                "let a device send {} in any 7 days, so that what it has beyond is not counted; an epsilon of {epsilon} \
                 then costs no more than now",
                counted(contributions, "report")
            ),
        }
    }
}

impl Display for Advice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Windows { window, carried, instead } => windows(f, *window, carried, *instead),
            Self::Straddles { window, zone: None, .. } => write!(
                f,
                "Windows of {}: one begins in an epoch of the budget and ends in the next, so it is charged to both. \
                 With a time precision that divides a day, such as 3600, windows can begin where epochs do.",
                window.one()
            ),
            Self::Straddles { window, zone: Some(zone), epoch_start, most } => write!(
                f,
                "Windows of {}: by the calendar of {} one begins in an epoch of the budget (epochs begin on {}) and ends \
                 in the next, so it is charged to both, and an epoch pays for up to {most} of them, not for {}.",
                window.one(),
                printable(zone),
                epochs_begin(*epoch_start),
                window.in_epoch()
            ),
            Self::TooFewReports { window, expected, needed } => {
                let expected = match &*format!("{expected:.0}") {
                    "0" => "less than one report is".to_owned(),
                    "1" => "about 1 report is".to_owned(),
                    some => format!("about {some} reports are"),
                };
                write!(
                    f,
                    "Windows of {}: {expected} expected in one, and the aggregators release none with fewer than \
                     {needed}. Take longer windows.",
                    window.one()
                )
            }
            Self::Devices { cost } => {
                write!(f, "Devices: {}.", too_dear_for_devices(*cost).unwrap_or_default())
            }
            Self::Cut { campaigns } => {
                let names: Vec<String> = campaigns.iter().map(|name| short(name)).collect();
                write!(
                    f,
                    "{}: a conversion is worth more than the maximum on average. What is above it is not counted, and \
                     no interval covers that. Raise the maximum.",
                    names.join(", ")
                )
            }
            Self::TooSmall { campaign, per_week, steps } => too_small(f, &short(campaign), *per_week, steps),
        }
    }
}

fn windows(
    f: &mut Formatter<'_>,
    window: Window,
    carried: &Carried,
    instead: Option<(MicroEpsilon, u128)>,
) -> fmt::Result {
    let Carried { poorest, usual, .. } = carried;
    let (some, rest) = match poorest.admitted {
        0 => ("none".to_owned(), "they"),
        some => (some.to_string(), "the others"),
    };
    write!(
        f,
        "Windows of {}: of {} that touch an epoch the budget carries {some}",
        window.one(),
        poorest.of
    )?;
    if usual != poorest {
        write!(f, " at worst (usually {} of {})", usual.admitted, usual.of)?;
    }
    write!(f, "; {rest} are refused unless the operator raises the cap. ")?;
    let longer = if window == Window::Week { "" } else { "take longer windows or " };
    match instead {
        Some((epsilon, half_width)) => write!(
            f,
            "To release all, {longer}spend at most {epsilon} epsilon on each, with which 95% of counts are within \
             {half_width}."
        ),
        None => write!(f, "To release all, {longer}raise the cap."),
    }
}

fn too_small(f: &mut Formatter<'_>, name: &str, per_week: u64, steps: &[Step]) -> fmt::Result {
    if steps.is_empty() {
        return write!(
            f,
            "{name}: {per_week} a week cannot be measured usefully, neither in windows of up to {WEEKS_MAX} weeks nor \
             with an epsilon of {}.",
            DisplayMicro(MAX_EPSILON.into())
        );
    }
    write!(f, "{name}: {per_week} a week are too few. Any one of these makes its number useful:")?;
    steps.iter().try_for_each(|step| write!(f, "\n  - {step}"))
}
