//! What people do: kinds of events, and kinds of touches that may lead to one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kind of conversion, named as ads platforms name them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A page was viewed.
    PageViewed,
    /// A product or other content was viewed.
    ContentsViewed,
    /// Something was put into a cart.
    ItemsAdded,
    /// A checkout was begun.
    CheckoutStarted,
    /// Something was bought.
    OrderCreated,
    /// Somebody asked to be contacted.
    LeadCreated,
    /// Somebody signed up.
    RegistrationCompleted,
    /// An appointment was made.
    AppointmentScheduled,
    /// A subscription was begun.
    SubscriptionCreated,
    /// A trial was begun.
    TrialStarted,
    /// An app was installed.
    AppInstalled,
    /// Whatever else the advertiser counts.
    Custom,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::PageViewed,
        Self::ContentsViewed,
        Self::ItemsAdded,
        Self::CheckoutStarted,
        Self::OrderCreated,
        Self::LeadCreated,
        Self::RegistrationCompleted,
        Self::AppointmentScheduled,
        Self::SubscriptionCreated,
        Self::TrialStarted,
        Self::AppInstalled,
        Self::Custom,
    ];

    /// As in the API, in manifests and in what an app calls.
    pub fn name(self) -> &'static str {
        match self {
            Self::PageViewed => "page_viewed",
            Self::ContentsViewed => "contents_viewed",
            Self::ItemsAdded => "items_added",
            Self::CheckoutStarted => "checkout_started",
            Self::OrderCreated => "order_created",
            Self::LeadCreated => "lead_created",
            Self::RegistrationCompleted => "registration_completed",
            Self::AppointmentScheduled => "appointment_scheduled",
            Self::SubscriptionCreated => "subscription_created",
            Self::TrialStarted => "trial_started",
            Self::AppInstalled => "app_installed",
            Self::Custom => "custom",
        }
    }

    /// As people read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::PageViewed => "Page viewed",
            Self::ContentsViewed => "Contents viewed",
            Self::ItemsAdded => "Items added",
            Self::CheckoutStarted => "Checkout started",
            Self::OrderCreated => "Order created",
            Self::LeadCreated => "Lead created",
            Self::RegistrationCompleted => "Registration completed",
            Self::AppointmentScheduled => "Appointment scheduled",
            Self::SubscriptionCreated => "Subscription created",
            Self::TrialStarted => "Trial started",
            Self::AppInstalled => "App installed",
            Self::Custom => "Custom",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EventKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!("no kind of event has this name; there are {}", names.join(", "))
        })
    }
}

/// How somebody met an ad.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Touch {
    /// It was seen.
    View,
    /// It was clicked.
    Click,
}

impl Touch {
    /// As in the API and behind the name of a campaign in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Click => "click",
        }
    }
}
