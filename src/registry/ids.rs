//! Ids of what the registry keeps: random, so that none tells how many there are or can be guessed from another.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A text that is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no id of {0}; ids are copied from where they were shown, such as {1}AbCdEfGhIjKlMnOp")]
pub struct IdError(&'static str, &'static str);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 12]);

        impl $name {
            /// What every id of this kind begins with, so that kinds cannot be mixed up.
            pub const PREFIX: &'static str = $prefix;

            /// Of these bytes, which are random for a new one.
            pub const fn from_bytes(bytes: [u8; 12]) -> Self {
                Self(bytes)
            }

            /// The bytes, as in keys of the store.
            pub const fn as_bytes(&self) -> &[u8; 12] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError($what, $prefix);
                let encoded = text.strip_prefix($prefix).ok_or_else(error)?;
                let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| error())?;
                Ok(Self(bytes.try_into().map_err(|_| error())?))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

id!(
    /// An advertiser.
    AdvertiserId, "an advertiser", "adv_"
);
id!(
    /// A campaign.
    CampaignId, "a campaign", "cmp_"
);
id!(
    /// An API key; not the secret part of it.
    KeyId, "an API key", "key_"
);
id!(
    /// Somebody who signs in at the console.
    UserId, "a user", "usr_"
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = CampaignId::from_bytes([7; 12]);
        assert_eq!(id.to_string(), "cmp_BwcHBwcHBwcHBwcH");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in [
            "",
            "cmp_",
            "adv_BwcHBwcHBwcHBwcH",
            "cmp_BwcHBwcHBwcHBwc",
            "cmp_BwcHBwcHBwcHBwcH=",
            "BwcHBwcHBwcHBwcH",
        ] {
            assert!(wrong.parse::<CampaignId>().is_err(), "{wrong}");
        }
    }
}
