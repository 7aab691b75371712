//! What advertisers have: campaigns, the events that count, the tasks that count them, delivery numbers, and who may see it.
//!
//! The types here are checked values: whatever holds one need not check it again. Money is whole minor units of a currency,
//! dates are calendar days in the advertiser's time zone.

mod advertiser;
mod campaign;
mod event;
mod generation;
mod ids;
mod money;
mod name;

pub use advertiser::{Advertiser, Cadence, Terms, TimeZone, Touches, ValueTerms};
pub use campaign::{Campaign, Status};
pub use event::{EventKind, Touch};
pub use generation::{Generation, Slot, ValueTask};
pub use ids::{AdvertiserId, CampaignId, IdError, KeyId, UserId};
pub(crate) use money::decimal_of;
pub use money::{Currency, CurrencyError, Money};
pub use name::{Name, NameError};
