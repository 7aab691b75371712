//! Who asks, and what they may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::registry::{AdvertiserId, KeyId, UserId};

/// What somebody may do; each may do what those before it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See campaigns and numbers.
    Read,
    /// Make and change campaigns, and upload delivery numbers.
    Manage,
    /// Change who has access, and the advertiser's own settings.
    Admin,
}

impl Scope {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Manage, Self::Admin];

    /// As in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Manage => "manage",
            Self::Admin => "admin",
        }
    }

    /// What it allows, for people: completes "may".
    pub fn explained(self) -> &'static str {
        match self {
            Self::Read => "see campaigns and numbers",
            Self::Manage => "see everything, make campaigns and upload delivery numbers",
            Self::Admin => "do everything, and decide who has access",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.name() == text);
        found.ok_or_else(|| "a scope is read, manage or admin".to_owned())
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// Whoever runs the collector, by its administrator's token.
    Administrator,
    /// A program, by an API key.
    Key(KeyId),
    /// A person who signed in.
    User(UserId),
}

/// Somebody who is known, and what they may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Who it is.
    pub who: Who,
    /// Whose data they may see; `None` for the administrator, who sees all.
    pub advertiser: Option<AdvertiserId>,
    /// What they may do with it.
    pub scope: Scope,
}

impl Principal {
    /// Whoever runs the collector.
    pub const ADMINISTRATOR: Self = Self { who: Who::Administrator, advertiser: None, scope: Scope::Admin };

    /// Whether they may do this much with what is this advertiser's.
    pub fn may(&self, advertiser: AdvertiserId, scope: Scope) -> bool {
        self.advertiser.is_none_or(|own| own == advertiser) && self.scope >= scope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_ordered_and_end_at_their_advertiser() {
        let (own, other) = (AdvertiserId::from_bytes([1; 12]), AdvertiserId::from_bytes([2; 12]));
        let key = Principal {
            who: Who::Key(KeyId::from_bytes([3; 12])),
            advertiser: Some(own),
            scope: Scope::Manage,
        };
        assert!(key.may(own, Scope::Read) && key.may(own, Scope::Manage) && !key.may(own, Scope::Admin));
        assert!(!key.may(other, Scope::Read));
        assert!(Principal::ADMINISTRATOR.may(other, Scope::Admin));
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse(), Ok(scope));
        }
        assert!("Admin".parse::<Scope>().is_err());
    }
}
