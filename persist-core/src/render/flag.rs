//! The two words of JSON that say one thing each.

use serde::{Deserialize, Serialize};

/// `true`, in a place where nothing else is ever written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "bool", try_from = "bool")]
pub struct Yes;

/// `false`, in a place where nothing else is ever written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "bool", try_from = "bool")]
pub struct No;

impl From<Yes> for bool {
    fn from(_: Yes) -> Self {
        true
    }
}

impl TryFrom<bool> for Yes {
    type Error = &'static str;

    fn try_from(value: bool) -> Result<Self, Self::Error> {
        if value { Ok(Self) } else { Err("it is true or absent") }
    }
}

impl From<No> for bool {
    fn from(_: No) -> Self {
        false
    }
}

impl TryFrom<bool> for No {
    type Error = &'static str;

    fn try_from(value: bool) -> Result<Self, Self::Error> {
        if value { Err("it is always false") } else { Ok(Self) }
    }
}
