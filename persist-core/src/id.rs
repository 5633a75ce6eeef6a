//! Identities that a store mints, and the epoch.

use crate::clock::{Clock, Entropy};
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Declares an identity: a UUID of version 7 (RFC 9562), ordered by the time it was minted.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Mints a new identity from the given time and randomness.
            pub fn mint(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
                Self(mint(clock, entropy))
            }

            /// Reads an identity as `Display` writes it.
            pub fn parse(text: &str) -> Option<Self> {
                Uuid::parse_str(text).ok().filter(|id| id.as_hyphenated().to_string() == text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    };
}

id! {
    /// The identity of a volume: minted at `create`, never used again, also not for a volume of the same name.
    VolumeId
}

id! {
    /// The identity of an attachment; it survives `adopt`.
    AttachmentId
}

id! {
    /// The identity of a store: written into it when it is created.
    StoreId
}

id! {
    /// The identity of one tree of a volume on a directory; never used again within the store.
    Generation
}

/// The fencing token of a volume: only grows, is never reset and never used again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch of a volume that was never attached for writing.
    pub const ZERO: Self = Self(0);

    /// The epoch of this number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn mint(clock: &dyn Clock, entropy: &dyn Entropy) -> Uuid {
    let mut random = [0; 10];
    entropy.fill(&mut random);
    let millis = u64::try_from(clock.now().as_millisecond()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEnvironment;

    #[test]
    fn an_id_reads_back_and_only_in_its_own_spelling() {
        let id = VolumeId::mint(&SystemEnvironment, &SystemEnvironment);
        assert_eq!(VolumeId::parse(&id.to_string()), Some(id.clone()));
        assert_eq!(VolumeId::parse(&id.to_string().to_uppercase()), None);
        assert_eq!(VolumeId::parse("../../etc"), None);
    }
}
