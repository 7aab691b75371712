//! Advice on values: from what orders are worth to the unit and the maximum of a task that sums values, and what these cost.
//!
//! There are no formulas of its own: noise and its width are what releases are made with (`planner::Precision`), the budget is
//! what the ledger charges, and lengths are those that campaigns would get.

use std::num::NonZeroU32;

use arras_protocol::epsilon::{DisplayMicro, MicroEpsilon};
use arras_protocol::vdaf::VdafConfig;

use super::advertiser::week_cost_of;
use super::allocation;
use super::input::invalid;
use super::{
    Advertiser, AdvertiserId, Cadence, CampaignId, Currency, EventKind, Money, Registry, RegistryError,
    Touches,
};
use crate::planner::{About, Precision, Terms, carried_by_devices};
use crate::privacy::ledger;

/// Most units that an order may count as: rounding is at most a thousandth of the largest order then, far below the noise, and
/// more would only make each report larger.
pub const UNITS_MAX: u64 = 1_000;

/// Most orders of a list: more say no more about which are large.
pub const ORDERS_MAX: usize = 10_000;

/// The dearest order that is taken, in minor units: as in delivery numbers.
pub const ORDER_VALUE_MAX: u64 = super::SPEND_MAX;

/// Parts of all orders, in hundredths, up to which a maximum is proposed. Beyond the last, nothing is clipped.
const PERCENTILES: [u64; 4] = [90, 95, 99, 100];

/// Which of them is taken if nothing says how many orders there are: dear orders are few, and the noise follows the maximum.
const PERCENTILE_DEFAULT: u64 = 95;

/// What orders are worth, in minor units of the currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Orders {
    /// In two numbers.
    Typical {
        /// What an order is worth on average.
        average: u64,
        /// What the dearest are worth that should count whole.
        largest: u64,
    },
    /// Values of past orders, in any order; at most [`ORDERS_MAX`].
    List(Vec<u64>),
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct ValueQuestion {
    /// Of the values.
    pub currency: Currency,
    /// What orders are worth.
    pub orders: Orders,
    /// Orders of a campaign in one window, if they can be guessed: decides how much may be clipped.
    pub orders_per_window: Option<u64>,
    /// What the release of one window of conversions spends.
    pub conversions_epsilon: MicroEpsilon,
    /// What that of values shall spend.
    pub epsilon: MicroEpsilon,
    /// Reports that one device may send in any 7 days.
    pub contributions: NonZeroU32,
    /// Kinds of events that are counted: 1 to 12.
    pub events: usize,
    /// Slots that campaigns take: one each, or two if views and clicks are told apart.
    pub slots: usize,
    /// How often windows are released.
    pub cadence: Cadence,
}

/// What is cut off by a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clipped {
    /// Orders above it, in thousandths of all, rounded up.
    pub orders_per_mille: u64,
    /// What these are worth above it, in thousandths of the value of all orders, rounded up.
    pub value_per_mille: u64,
}

/// A unit and a maximum, and what follows.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueChoice {
    /// Minor units of the currency that are 1 in the sum. Each order is rounded down to whole ones.
    pub unit: u64,
    /// The most that an order counts as, in units.
    pub max_value: u64,
    /// The same in money: dearer orders count as this.
    pub maximum: Money,
    /// What that cuts off of the list of orders, if there was one.
    pub clipped: Option<Clipped>,
    /// 95 of 100 released values of a campaign in one window are within this of the sum of what was counted.
    pub half_width: Money,
}

/// What another kind of event would cost. It has cells of its own in the same tasks, so a release costs no more; but a device that
/// converts in both ways within 7 days sends a report for each, and what it may send is what a release is charged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCost {
    /// Buckets of each task as it is.
    pub length: u32,
    /// Buckets with another kind of event; none if there is no task of so many.
    pub length_with: Option<u32>,
    /// The smallest noised count that is shown.
    pub threshold: u128,
    /// The same with another kind of event: more empty cells must stay unseen.
    pub threshold_with: Option<u128>,
    /// What a release of both tasks for one window spends of a week's budget, in micro-epsilon.
    pub window_cost: u64,
    /// The same if each device may send one report more.
    pub window_cost_with: u64,
    /// Windows in a week.
    pub windows_a_week: u64,
}

/// What is proposed.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueAdvice {
    /// From the smallest maximum to the largest.
    pub choices: Vec<ValueChoice>,
    /// Which of them to take.
    pub recommended: usize,
    /// What another kind of event would cost.
    pub event: EventCost,
    /// The most that the conversions of a week and their values cost the device that reports them, in micro-epsilon of its own budget.
    pub device_week_cost: u64,
}

impl ValueAdvice {
    /// What that means, in a sentence.
    pub fn on_devices(&self) -> String {
        carried_by_devices(self.device_week_cost)
    }

    /// The choice to take.
    pub fn choice(&self) -> &ValueChoice {
        // `value_advice` makes an index of one of them.
        &self.choices[self.recommended]
    }
}

/// Advises on values.
///
/// # Errors
/// `Invalid` for orders, an epsilon or numbers of campaigns and events of which no task can be made.
pub fn value_advice(question: &ValueQuestion) -> Result<ValueAdvice, RegistryError> {
    let orders = check(question)?;
    let event = event_cost(question)?;
    let maxima: Vec<(Option<u64>, u64)> = match &question.orders {
        Orders::Typical { largest, .. } => vec![(None, *largest)],
        Orders::List(_) => PERCENTILES.iter().map(|part| (Some(*part), percentile(&orders, *part))).collect(),
    };
    let (mut choices, mut default) = (Vec::<ValueChoice>::new(), 0);
    for (part, maximum) in maxima {
        let choice = choice(question, &orders, maximum, event.length)?;
        if choices.last() != Some(&choice) {
            choices.push(choice);
        }
        if part == Some(PERCENTILE_DEFAULT) {
            default = choices.len() - 1;
        }
    }
    let recommended = match question.orders_per_window {
        None => default,
        Some(count) => {
            let off = |choice: &ValueChoice| expected_error(choice, &orders, count);
            let places = 0..choices.len();
            places.min_by(|left, right| off(&choices[*left]).cmp(&off(&choices[*right]))).unwrap_or(default)
        }
    };
    // Choices of which no task can be made were refused above.
    let values = Some((choices[recommended].max_value, question.epsilon));
    let device_week_cost = week_cost_of(question.contributions, question.conversions_epsilon, values);
    Ok(ValueAdvice { choices, recommended, event, device_week_cost })
}

/// The orders of a list, sorted; empty for two numbers.
fn check(question: &ValueQuestion) -> Result<Vec<u64>, RegistryError> {
    if question.events == 0 || question.events > EventKind::ALL.len() || question.slots == 0 {
        return Err(invalid(format!(
            "advice is given for 1 to {} kinds of events and at least one campaign",
            EventKind::ALL.len()
        )));
    }
    let fits = |value: &u64| (1..=ORDER_VALUE_MAX).contains(value);
    let wrong =
        || invalid(format!("an order is worth 1 to {ORDER_VALUE_MAX} minor units; correct the values"));
    match &question.orders {
        Orders::Typical { average, largest } if !fits(average) || !fits(largest) => Err(wrong()),
        Orders::Typical { average, largest } if average > largest => {
            Err(invalid("the average order is worth more than the largest; swap or correct them"))
        }
        Orders::Typical { .. } => Ok(Vec::new()),
        Orders::List(orders) if orders.is_empty() || orders.len() > ORDERS_MAX => {
            Err(invalid(format!("give 1 to {ORDERS_MAX} orders; a sample of more is enough")))
        }
        Orders::List(orders) if !orders.iter().all(fits) => Err(wrong()),
        Orders::List(orders) => {
            let mut sorted = orders.clone();
            sorted.sort_unstable();
            Ok(sorted)
        }
    }
}

/// The smallest of sorted orders that so many hundredths are at or below.
fn percentile(sorted: &[u64], part: u64) -> u64 {
    let rank = (sorted.len() as u64 * part).div_ceil(100).max(1);
    let place = usize::try_from(rank - 1).unwrap_or(usize::MAX);
    sorted.get(place).or(sorted.last()).copied().unwrap_or(1)
}

/// The smallest unit of 1, 2 or 5 with zeros behind of which an amount has at most [`UNITS_MAX`].
fn unit_for(maximum: u64) -> u64 {
    let mut power: u64 = 1;
    loop {
        for step in [1, 2, 5] {
            let unit = power.saturating_mul(step);
            if maximum.div_ceil(unit) <= UNITS_MAX {
                return unit;
            }
        }
        power = power.saturating_mul(10);
    }
}

fn choice(
    question: &ValueQuestion,
    orders: &[u64],
    maximum: u64,
    length: u32,
) -> Result<ValueChoice, RegistryError> {
    let unit = unit_for(maximum);
    // A maximum of one unit would be a task that counts.
    let max_value = maximum.div_ceil(unit).max(2);
    let refused = |error: &dyn std::fmt::Display| invalid(format!("these values make no task: {error}"));
    let vdaf = VdafConfig::l1_bound_sum(length, max_value).map_err(|error| refused(&error))?;
    let terms = Terms { vdaf, epsilon: question.epsilon, contributions: question.contributions, cap: None };
    let precision = Precision::new(&terms, About::Values).map_err(|error| refused(&error))?;
    let half_width = u64::try_from(precision.half_width.saturating_mul(unit.into())).unwrap_or(u64::MAX);
    let currency = question.currency;
    let maximum = max_value.saturating_mul(unit);
    Ok(ValueChoice {
        unit,
        max_value,
        maximum: Money { minor: maximum, currency },
        clipped: (!orders.is_empty()).then(|| clipped(orders, maximum)),
        half_width: Money { minor: half_width, currency },
    })
}

fn clipped(orders: &[u64], maximum: u64) -> Clipped {
    let above = orders.iter().filter(|value| **value > maximum).count() as u128;
    let value: u128 = orders.iter().map(|value| u128::from(*value)).sum();
    let per_mille = |part: u128, of: u128| u64::try_from((part * 1_000).div_ceil(of.max(1))).unwrap_or(1_000);
    Clipped {
        orders_per_mille: per_mille(above, orders.len() as u128),
        value_per_mille: per_mille(cut_off(orders, maximum), value),
    }
}

fn cut_off(orders: &[u64], maximum: u64) -> u128 {
    orders.iter().map(|value| u128::from(value.saturating_sub(maximum))).sum()
}

/// How far a released value of so many orders is off: what is cut off of them, what rounding down leaves out, and the noise.
fn expected_error(choice: &ValueChoice, orders: &[u64], count: u64) -> u128 {
    let of_list = cut_off(orders, choice.maximum.minor).saturating_add(rounded_off(orders, choice));
    let of_all = of_list.saturating_mul(count.into());
    of_all.checked_div(orders.len() as u128).unwrap_or(0).saturating_add(choice.half_width.minor.into())
}

/// What whole steps leave out of orders.
fn rounded_off(orders: &[u64], choice: &ValueChoice) -> u128 {
    orders.iter().map(|value| u128::from((*value).min(choice.maximum.minor) % choice.unit)).sum()
}

fn event_cost(question: &ValueQuestion) -> Result<EventCost, RegistryError> {
    let length = |events| allocation::length_for(question.slots, events);
    let now = length(question.events).ok_or_else(|| {
        invalid("so many campaigns and events do not fit the largest task; ask for fewer".to_owned())
    })?;
    let with = length(question.events + 1);
    let threshold = |length: u32| {
        let refused = |error: &dyn std::fmt::Display| invalid(format!("conversions make no task: {error}"));
        let vdaf = VdafConfig::histogram(length).map_err(|error| refused(&error))?;
        let epsilon = question.conversions_epsilon;
        let terms = Terms { vdaf, epsilon, contributions: question.contributions, cap: None };
        let precision = Precision::new(&terms, About::Counts).map_err(|error| refused(&error))?;
        Ok::<_, RegistryError>(precision.noise.default_threshold(length.into()))
    };
    let cost = |contributions: NonZeroU32| {
        ledger::cost(question.conversions_epsilon, contributions)
            + ledger::cost(question.epsilon, contributions)
    };
    Ok(EventCost {
        length: now,
        length_with: with,
        threshold: threshold(now)?,
        threshold_with: with.map(threshold).transpose()?,
        window_cost: cost(question.contributions),
        window_cost_with: cost(question.contributions.saturating_add(1)),
        windows_a_week: question.cadence.windows_a_week(),
    })
}

impl ValueChoice {
    /// What it does, in sentences.
    pub fn sentences(&self) -> Vec<String> {
        let currency = self.maximum.currency;
        let (maximum, unit) = (self.maximum, Money { minor: self.unit, currency });
        let mut all = vec![match self.clipped {
            None => format!("Orders above {maximum} count as {maximum}."),
            Some(Clipped { orders_per_mille: 0, .. }) => {
                format!("No order of the list is above {maximum}, so all count whole.")
            }
            Some(clipped) => format!(
                "Orders above {maximum} count as {maximum}: {} of the orders, and {} of all value is cut off.",
                percent(clipped.orders_per_mille),
                percent(clipped.value_per_mille)
            ),
        }];
        if self.unit == 1 {
            all.push("Nothing is rounded.".to_owned());
        } else {
            all.push(format!(
                "Each order is rounded down to whole steps of {unit}, so that sums are short by about half a step an order; an \
                 order below {unit} counts as nothing."
            ));
        }
        all.push(format!(
            "95 of 100 values of a campaign in one window are within {} of what was counted. A smaller maximum makes that \
             smaller.",
            self.half_width
        ));
        all
    }
}

impl EventCost {
    /// What it means, in sentences.
    pub fn sentences(&self) -> Vec<String> {
        let (cost, with) = (DisplayMicro(self.window_cost), DisplayMicro(self.window_cost_with));
        let mut all = vec![match (self.length_with, self.threshold_with) {
            (Some(length), Some(threshold)) if length != self.length => format!(
                "Another kind of event takes tasks of {length} cells instead of {}, and counts below {threshold} instead of {} \
                 are not shown.",
                self.length, self.threshold
            ),
            (Some(_), _) => format!(
                "Another kind of event fits the same {} cells; it opens new tasks all the same, since cells that have a meaning \
                 keep it.",
                self.length
            ),
            (None, _) => "There is no task that another kind of event would fit.".to_owned(),
        }];
        let week = |cost: u64| DisplayMicro(cost.saturating_mul(self.windows_a_week));
        let in_a_week = match self.windows_a_week {
            1 => String::new(),
            windows => format!(", and the {windows} windows of a week {}", week(self.window_cost)),
        };
        all.push(format!(
            "A release of one window spends epsilon {cost} of the week's budget{in_a_week}, however many kinds of events there \
             are. A window that begins in one week of the budget and ends in the next is charged to both. If devices shall \
             report one event more in any 7 days, it spends {with}."
        ));
        all
    }
}

fn percent(per_mille: u64) -> String {
    format!("{}.{}%", per_mille / 10, per_mille % 10)
}

impl ValueQuestion {
    /// For an advertiser as it is, with so many campaigns.
    pub fn of(advertiser: &Advertiser, campaigns: usize, orders: Orders) -> Self {
        let each = match advertiser.touches {
            Touches::Together => 1,
            Touches::Apart => 2,
        };
        let terms = advertiser.terms;
        Self {
            currency: advertiser.currency,
            orders,
            orders_per_window: None,
            conversions_epsilon: terms.epsilon,
            epsilon: terms.value.map_or(terms.epsilon, |value| value.epsilon),
            contributions: terms.contributions,
            events: advertiser.events.len(),
            slots: campaigns.max(1) * each,
            cadence: advertiser.cadence,
        }
    }
}

impl Registry {
    /// The question that an advertiser would ask about its orders now; fields may be changed before it is asked.
    pub fn value_question(
        &self,
        advertiser: AdvertiserId,
        orders: Orders,
    ) -> Result<ValueQuestion, RegistryError> {
        let of = self.advertiser(advertiser).ok_or(RegistryError::NoAdvertiser)?;
        let generations = self.generations(advertiser);
        let campaigns: std::collections::BTreeSet<CampaignId> = generations
            .last()
            .iter()
            .flat_map(|newest| newest.slots.iter().flatten())
            .map(|slot| slot.campaign)
            .collect();
        Ok(ValueQuestion::of(&of, campaigns.len(), orders))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::registry::fixture::{NOW, Place, shop, with_campaigns};

    fn question(orders: Orders) -> ValueQuestion {
        ValueQuestion {
            currency: "EUR".parse().unwrap(),
            orders,
            orders_per_window: None,
            conversions_epsilon: "1".parse().unwrap(),
            epsilon: "1".parse().unwrap(),
            contributions: NonZeroU32::MIN,
            events: 2,
            slots: 5,
            cadence: Cadence::Day,
        }
    }

    #[test]
    fn two_numbers_give_a_unit_a_maximum_and_their_noise() {
        let advice = value_advice(&question(Orders::Typical { average: 4_550, largest: 25_000 })).unwrap();
        let choice = advice.choice();
        assert_eq!((choice.unit, choice.max_value, choice.maximum.minor), (50, 500, 25_000));
        // The noise of the task that the registry makes of it.
        let vdaf = VdafConfig::l1_bound_sum(16, 500).unwrap();
        let scale = crate::privacy::noise::Scale::new(vdaf.l1_sensitivity(), "1".parse().unwrap()).unwrap();
        let noise = crate::privacy::accuracy::Noise::of_cell(&scale);
        let width = noise.half_width(crate::privacy::accuracy::Confidence::P95);
        assert_eq!(u128::from(choice.half_width.minor), width * 50);
        let words = choice.sentences().join(" ");
        assert!(words.contains("Orders above 250.00 EUR count as 250.00 EUR."), "{words}");
        assert!(words.contains("whole steps of 0.50 EUR"), "{words}");
    }

    #[test]
    fn a_list_says_what_is_cut_off() {
        // 98 orders of 10 to 107 euros, and two of 1,000.
        let orders: Vec<u64> = (10..108).chain([1_000, 1_000]).map(|euros| euros * 100).collect();
        let mut asked = question(Orders::List(orders.clone()));
        let advice = value_advice(&asked).unwrap();
        let maxima: Vec<_> = advice.choices.iter().map(|choice| choice.maximum.minor).collect();
        assert_eq!(maxima, [9_900, 10_400, 100_000]);
        assert_eq!(advice.recommended, 1);
        let clipped = advice.choice().clipped.unwrap();
        let lost: u64 = orders.iter().map(|value| value.saturating_sub(10_400)).sum();
        let all: u64 = orders.iter().sum();
        assert_eq!((clipped.orders_per_mille, clipped.value_per_mille), (50, (lost * 1_000).div_ceil(all)));
        // With many orders what is cut off weighs more than the noise, with few it does not.
        asked.orders_per_window = Some(1_000_000);
        assert_eq!(value_advice(&asked).unwrap().recommended, 2);
        asked.orders_per_window = Some(1);
        assert_eq!(value_advice(&asked).unwrap().recommended, 0);
        let whole = &advice.choices[2];
        assert_eq!(whole.clipped, Some(Clipped { orders_per_mille: 0, value_per_mille: 0 }));
        assert!(whole.sentences()[0].contains("all count whole"));
    }

    /// With steps of a euro for the sake of one order, 9,999 of 0.99 EUR counted as nothing: the advice knew of what is cut off and of
    /// noise, not of what is rounded down.
    #[test]
    fn a_maximum_that_rounds_all_orders_to_nothing_is_not_recommended() {
        let orders = std::iter::repeat_n(99, 9_999).chain([100_000]).collect();
        let asked = ValueQuestion { orders_per_window: Some(1_000_000), ..question(Orders::List(orders)) };
        let advice = value_advice(&asked).unwrap();
        let maxima: Vec<_> =
            advice.choices.iter().map(|choice| (choice.unit, choice.maximum.minor)).collect();
        assert_eq!(maxima, [(1, 99), (100, 100_000)]);
        assert_eq!(advice.recommended, 0);
    }

    #[test]
    fn another_event_costs_cells_and_reports_cost_budget() {
        let cost = value_advice(&question(Orders::Typical { average: 1, largest: 2 })).unwrap().event;
        assert_eq!((cost.length, cost.length_with), (16, Some(64)));
        assert!(cost.threshold_with.unwrap() > cost.threshold);
        assert_eq!((cost.window_cost, cost.window_cost_with), (2_000_000, 4_000_000));
        let words = cost.sentences().join(" ");
        assert!(words.contains("64 cells instead of 16") && words.contains("spends epsilon 2 of"), "{words}");
    }

    /// What is proposed is taken, in every currency and at every size.
    #[test]
    fn the_registry_takes_what_is_proposed() {
        let place = Place::new();
        let registry = place.open();
        let id = with_campaigns(&registry, shop("Shop"), &["Boots"]);
        for largest in [1, 2, 99, 1_000, 1_001, 123_456_789, ORDER_VALUE_MAX] {
            let asked = registry.value_question(id, Orders::Typical { average: 1, largest }).unwrap();
            let advice = value_advice(&asked).unwrap();
            let choice = advice.choice();
            assert!(choice.maximum.minor >= largest && choice.max_value <= UNITS_MAX, "{choice:?}");
            let mut terms = registry.advertiser(id).unwrap().terms;
            let epsilon = terms.epsilon;
            terms.value =
                Some(crate::registry::ValueTerms { epsilon, unit: choice.unit, max_value: choice.max_value });
            let change = crate::registry::AdvertiserChange { terms: Some(terms), ..Default::default() };
            registry.change_advertiser(id, &change, NOW).unwrap();
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for orders in [
            Orders::Typical { average: 2, largest: 1 },
            Orders::Typical { average: 0, largest: 1 },
            Orders::Typical { average: 1, largest: ORDER_VALUE_MAX + 1 },
            Orders::List(Vec::new()),
            Orders::List(vec![1; ORDERS_MAX + 1]),
            Orders::List(vec![0]),
        ] {
            assert!(value_advice(&question(orders.clone())).is_err(), "{orders:?}");
        }
        let orders = Orders::Typical { average: 1, largest: 1 };
        assert!(value_advice(&ValueQuestion { events: 0, ..question(orders.clone()) }).is_err());
        assert!(value_advice(&ValueQuestion { slots: 2_000, ..question(orders) }).is_err());
    }
}
