//! Advice on the unit and the maximum of values.

use arras_protocol::epsilon::DisplayMicro;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::guard::{Call, Handled, Read, Tenant};
use super::refusal::Refusal;
use crate::registry::{Currency, EventCost, Orders, ValueChoice, value_advice};

/// A unit and a maximum, and what follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ValueChoice)]
pub(super) struct ChoiceJson {
    /// For the terms of values: minor units of the currency that are 1 in the sum.
    unit: u64,
    /// For the terms of values: the most that an order counts as, in these units.
    max_value: u64,
    /// The same in minor units: dearer orders count as this.
    maximum: u64,
    /// 95 of 100 released values of a campaign in one window are within so many minor units of what was counted.
    half_width: u64,
    /// Orders above the maximum, in thousandths of all; `null` if no list was given.
    clipped_orders_per_mille: Option<u64>,
    /// What they are worth above it, in thousandths of the value of all orders; `null` if no list was given.
    clipped_value_per_mille: Option<u64>,
    /// What it does, in sentences.
    explanation: Vec<String>,
}

/// What another kind of event would cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = EventCost)]
pub(super) struct EventCostJson {
    /// Buckets of each task as it is.
    length: u32,
    /// Buckets with another kind of event; `null` if there is no task of so many.
    length_with: Option<u32>,
    /// What a release of both tasks for one window spends of a week's budget.
    #[schema(example = "2")]
    window_cost: String,
    /// The same if each device may send one report more.
    #[schema(example = "4")]
    window_cost_with: String,
    /// What that means, in sentences.
    explanation: Vec<String>,
}

/// What to take for values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ValueAdvice)]
pub(super) struct AdviceJson {
    /// Of all amounts.
    #[schema(example = "EUR")]
    currency: String,
    /// The one to take.
    recommended: ChoiceJson,
    /// All, from the smallest maximum to the largest.
    choices: Vec<ChoiceJson>,
    /// What another kind of event would cost.
    another_event: EventCostJson,
    /// What a conversion with its value costs the device that reports it, and what that means, in sentences.
    on_devices: String,
}

impl From<&ValueChoice> for ChoiceJson {
    fn from(choice: &ValueChoice) -> Self {
        Self {
            unit: choice.unit,
            max_value: choice.max_value,
            maximum: choice.maximum.minor,
            half_width: choice.half_width.minor,
            clipped_orders_per_mille: choice.clipped.map(|clipped| clipped.orders_per_mille),
            clipped_value_per_mille: choice.clipped.map(|clipped| clipped.value_per_mille),
            explanation: choice.sentences(),
        }
    }
}

impl From<&EventCost> for EventCostJson {
    fn from(cost: &EventCost) -> Self {
        Self {
            length: cost.length,
            length_with: cost.length_with,
            window_cost: DisplayMicro(cost.window_cost).to_string(),
            window_cost_with: DisplayMicro(cost.window_cost_with).to_string(),
            explanation: cost.sentences(),
        }
    }
}

/// Advises on values
///
/// Which unit and maximum to take for the terms of values, what is clipped, how large the noise is, and what another kind of
/// event would cost. Give `average` and `largest`, or `orders`. Amounts are decimals of the major unit, such as `49.90`.
#[utoipa::path(get, path = "/v1/advertisers/{advertiser}/value-advice", tag = "measurement",
    operation_id = "get_value_advice",
    params(super::document::AdvertiserPath, super::document::AdviceParams),
    responses((status = 200, description = "What to take.", body = AdviceJson)))]
pub(super) fn get(tenant: &Tenant<Read>, call: &mut Call) -> Handled {
    let currency = tenant.advertiser().currency;
    let average = call.query.take("average").map(|text| amount(currency, "average", &text)).transpose()?;
    let largest = call.query.take("largest").map(|text| amount(currency, "largest", &text)).transpose()?;
    let list = call.query.take("orders");
    let per_window = call.query.parse("orders_per_window", "a number of orders")?;
    call.query.finish(&["average", "largest", "orders", "orders_per_window"])?;
    let orders = match (average, largest, list) {
        (Some(average), Some(largest), None) => Orders::Typical { average, largest },
        (None, None, Some(list)) => {
            let amounts = list.split(',').map(|text| amount(currency, "orders", text.trim()));
            Orders::List(amounts.collect::<Result<_, _>>()?)
        }
        _ => {
            return Err(Refusal::invalid("give average and largest, or orders: amounts with commas between"));
        }
    };
    let mut question = tenant.api().registry().value_question(tenant.id(), orders)?;
    question.orders_per_window = per_window;
    let advice = value_advice(&question)?;
    Answer::json(&AdviceJson {
        currency: currency.to_string(),
        recommended: advice.choice().into(),
        choices: advice.choices.iter().map(ChoiceJson::from).collect(),
        another_event: (&advice.event).into(),
        on_devices: advice.on_devices(),
    })
}

fn amount(currency: Currency, name: &str, text: &str) -> Result<u64, Refusal> {
    currency.minor(text).ok_or_else(|| {
        Refusal::invalid(format!("{name}: an amount of {currency}, such as {}", currency.decimal(4_990)))
    })
}
