//! Names that callers choose, validated where they come in.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, str::FromStr};

/// Declares a validated text newtype with the conversions that every name has.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $field:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Validates `text`.
            ///
            /// # Errors
            /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) says which rule is broken.
            pub fn new(text: impl Into<String>) -> Result<Self> {
                let text = text.into();
                match $check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(rule) => Err(Error::invalid($field, rule).context("value", format_args!("{:?}", crate::name::shortened(&text)))),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;

            fn try_from(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
pub(crate) use name;

name! {
    /// The name of a volume, chosen by the caller; the idempotency key of `create` and `bind`.
    ///
    /// `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, 1 to 128 bytes: what every filesystem, every object store and
    /// every container runtime accepts unescaped.
    VolumeName, "volume", word
}

name! {
    /// The key of a label; the same alphabet as a [`VolumeName`], with `/` allowed inside.
    LabelKey, "label", label_key
}

/// The labels of a volume: short facts that its owner filters by.
pub type Labels = std::collections::BTreeMap<LabelKey, String>;

/// The longest name, in bytes: half of what a directory entry holds (255, path_resolution(7)), which
/// leaves room for the suffixes that stores add.
pub const NAME_MAX_BYTES: usize = 128;

/// The rule of [`VolumeName`], shared by every name that becomes a path component.
pub(crate) fn word(text: &str) -> Result<(), &'static str> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    match text.as_bytes() {
        [] => Err("a name must not be empty"),
        bytes if bytes.len() > NAME_MAX_BYTES => Err("a name has at most 128 bytes"),
        [first, ..] if !first.is_ascii_alphanumeric() => Err("a name begins with an ASCII letter or digit"),
        bytes if !bytes.iter().copied().all(inner) => {
            Err("a name has only ASCII letters, digits, `_`, `.` and `-`")
        }
        _ => Ok(()),
    }
}

/// Error messages show at most this many characters of a refused value.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn label_key(text: &str) -> Result<(), &'static str> {
    text.split('/').try_for_each(word)?;
    if text.len() > NAME_MAX_BYTES { Err("a label key has at most 128 bytes") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use proptest::prelude::*;

    #[test]
    fn odd_names_are_refused_before_any_io() {
        let long = "x".repeat(129);
        for bad in ["", ".", "..", "-rf", "a/b", "a\0b", "a\nb", "a b", "ä", "а", ".hidden", &long] {
            let error = VolumeName::new(bad).unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("volume")), "{bad:?}");
        }
    }

    #[test]
    fn the_limits_are_inclusive() {
        assert!(VolumeName::new("x".repeat(128)).is_ok());
        assert!(VolumeName::new("7").is_ok());
        assert!(LabelKey::new("example.org/team").is_ok());
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_one_safe_path_component(text in "\\PC{0,140}") {
            if let Ok(name) = VolumeName::new(text) {
                let path = std::path::Path::new(name.as_str());
                let components: Vec<_> = path.components().collect();
                prop_assert!(matches!(components[..], [std::path::Component::Normal(_)]));
            }
        }
    }
}
