//! The planner: what a measurement will be able to say, before anything is measured.
//!
//! Given how many conversions are expected of each campaign, it tells for windows of an hour, a day and a week how far
//! off the released numbers will be, which campaigns will be shown at all, and how many windows the budget carries.
//! There are no formulas of its own: scales, noise, thresholds and charges are computed by what releases are made with
//! (`privacy`), and the budget is found out by playing the ledger, over a year of windows where they follow a calendar.
//!
//! Expected counts are the advertiser's guess, not data about people, so floats are no harm here; an epsilon is a whole
//! number of millionths here, too. A window is taken to hold exactly its part of a week's conversions, rounded down
//! where it decides about being shown: what sales themselves vary by from day to day comes on top.

mod advice;
mod chart;
mod choice;
mod devices;
mod json;
mod precision;
mod setting;
mod solve;
mod table;
mod window;
mod words;

#[cfg(test)]
mod tests;

pub use advice::{Advice, Step};
pub use chart::{ChartError, chart};
pub use choice::{Choice, Outlook, ValueOutlook, WeekSum};
pub use devices::{carried_by_devices, device_week_cost, too_dear_for_devices};
pub use json::json;
pub use precision::Precision;
pub use setting::{
    About, Amount, CAMPAIGNS_MAX, CONVERSIONS_MAX, Campaign, Fraction, PlanError, Setting, Terms,
    USEFUL_ERROR, Values, read_campaigns,
};
pub use table::{recommendation, released, table};
use window::Alignment;
pub use window::{CalendarWindows, Carried, Share, Window, Windows};

/// Chance from which on a campaign counts as shown.
pub const SHOWN_CHANCE: f64 = 0.95;

/// Below this chance a campaign is called hidden rather than given a chance.
pub const HIDDEN_CHANCE: f64 = 0.01;

/// What a setting leads to.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What was asked.
    pub setting: &'a Setting,
    /// One entry for each window that the task's times allow, the shortest first; at least one.
    pub choices: Vec<Choice>,
    /// Which of them to take: see [`Plan::recommended`].
    recommended: usize,
    /// What to do about the budget and about campaigns that are too small.
    pub advice: Vec<Advice>,
}

impl<'a> Plan<'a> {
    /// Plans. Errors are in what was asked, and say what about.
    pub fn new(setting: &'a Setting) -> Result<Self, PlanError> {
        setting.check()?;
        let mut choices = Vec::new();
        for window in Window::ALL.into_iter().filter(|window| setting.allows(*window)) {
            let alignment =
                Alignment::new(setting, window).map_err(|error| PlanError::new(About::Source, error))?;
            let terms =
                if setting.solve_epsilon { solve::terms(setting, &alignment)? } else { setting.terms() };
            choices.push(Choice::new(setting, alignment, &terms)?);
        }
        // The shortest of those that show most campaigns usefully; a window of which the budget refuses some shows none
        // of a week whole, so it comes last.
        let worth = |choice: &Choice| (choice.is_released(), choice.useful());
        let best = choices.iter().map(worth).max();
        let recommended = choices.iter().position(|choice| Some(worth(choice)) == best).ok_or_else(|| {
            PlanError::new(
                About::TimePrecision,
                "windows of an hour, a day or a week do not begin and end at whole multiples of it; make it a divisor \
                 of a week, such as 3600, or 900 for those of a time zone",
            )
        })?;
        let advice = advice::advice(setting, &choices, recommended)?;
        Ok(Self { setting, choices, recommended, advice })
    }

    /// The shortest window that shows most campaigns usefully, of those that the budget carries whole if there are any.
    pub fn recommended(&self) -> &Choice {
        &self.choices[self.recommended]
    }
}
