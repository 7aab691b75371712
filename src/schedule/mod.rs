//! Scheduled collection: which windows an advertiser has, and what becomes of them.

mod calendar;
mod state;

pub use calendar::{Calendar, DayRange, STEP_SECONDS, day_at, day_start};
pub use state::{Measures, WindowState, WindowStatus};
