//! What advertisers have: campaigns, the events that count, the tasks that count them, delivery numbers, and who may see it.
//!
//! The types here are checked values: whatever holds one need not check it again. Money is whole minor units of a currency,
//! dates are calendar days in the advertiser's time zone.

mod advertiser;
mod allocation;
mod campaign;
mod delivery;
mod errors;
mod event;
#[cfg(test)]
pub(crate) mod fixture;
mod generation;
mod ids;
mod input;
mod made;
mod manifest;
mod money;
mod name;
mod store;
mod value;

pub use advertiser::{Advertiser, Cadence, Terms, TimeZone, Touches, ValueTerms};
pub use allocation::{FORGOTTEN_DAYS, LENGTHS, TOLD_DAYS};
pub use campaign::{Campaign, Status};
pub use delivery::{
    COLUMNS, CSV_BYTES_MAX, Columns, DELIVERY_DAYS_MAX, DELIVERY_DAYS_PER_ADVERTISER_MAX, DELIVERY_ROWS_MAX,
    Delivered, DeliveryError, DeliveryRow, IMPRESSIONS_MAX, INVENTED_COLUMN, ROW_ERRORS_MAX, RowError,
    SPEND_MAX, Upserted, parse_delivery_csv,
};
pub use errors::{ErrorKind, RegistryError};
pub use event::{EventKind, Touch};
pub use generation::{Generation, Slot, ValueTask};
pub use ids::{AdvertiserId, CampaignId, IdError, KeyId, UserId};
pub use input::{
    AdvertiserChange, CAMPAIGN_NAME_BYTES_MAX, CampaignChange, GRACE_SECONDS_MAX, NewAdvertiser, NewCampaign,
    SITE_BYTES_MAX, YEARS,
};
pub use made::{Setup, TIME_PRECISION_SECONDS, TaskText};
pub use manifest::told_name;
pub(crate) use money::decimal_of;
pub use money::{Currency, CurrencyError, Money};
pub use name::{Name, NameError};
pub use store::{
    ADVERTISERS_MAX, CAMPAIGNS_LIVE_MAX, CAMPAIGNS_MAX, CAMPAIGNS_OF_ALL_MAX, GENERATIONS_MAX, NextCampaign,
    Registry,
};
pub use value::{
    Clipped, EventCost, ORDER_VALUE_MAX, ORDERS_MAX, Orders, UNITS_MAX, ValueAdvice, ValueChoice,
    ValueQuestion, value_advice,
};
