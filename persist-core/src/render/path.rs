//! Where a workload sees a volume.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{fmt, path::Path};

/// A path inside a workload: absolute and normal, of printable UTF-8; not the root, and in none of the
/// directories that every runtime fills itself: `/proc`, `/sys`, `/dev`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkloadPath(String);

/// What the OCI runtime specification (config-linux.md, Default Filesystems) has every runtime mount.
const OF_RUNTIMES: [&str; 3] = ["/proc", "/sys", "/dev"];

/// `PATH_MAX` of linux/limits.h, with its final NUL.
const LENGTH_MAX_BYTES: usize = 4095;

impl WorkloadPath {
    /// Validates `path`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for the field `target` says which rule is broken.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let refused = |rule| {
            let shown = crate::name::shortened(&path.to_string_lossy());
            Err(Error::invalid("target", rule).context("value", format_args!("{shown:?}")))
        };
        let Some(text) = path.to_str() else { return refused("a path inside a workload is UTF-8") };
        match rule_broken(text) {
            Some(rule) => refused(rule),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `other` is this path or below it.
    pub(super) fn holds_or_is(&self, other: &Self) -> bool {
        Path::new(&other.0).starts_with(&self.0)
    }
}

fn rule_broken(text: &str) -> Option<&'static str> {
    let Some(rest) = text.strip_prefix('/') else { return Some("a path inside a workload is absolute") };
    if rest.is_empty() {
        return Some("a volume is not the root of a workload");
    }
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some("a path inside a workload has no `.`, `..`, `//`, and no `/` at its end");
    }
    if text.chars().any(char::is_control) {
        return Some("a path inside a workload has no control characters");
    }
    if text.len() > LENGTH_MAX_BYTES {
        return Some("a path has at most 4095 bytes");
    }
    let is_taken = OF_RUNTIMES.iter().any(|taken| Path::new(text).starts_with(taken));
    is_taken.then_some("runtimes mount /proc, /sys and /dev themselves")
}

impl fmt::Display for WorkloadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for WorkloadPath {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<&str> for WorkloadPath {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl From<WorkloadPath> for String {
    fn from(path: WorkloadPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use proptest::prelude::*;
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Component};

    #[test]
    fn only_an_absolute_normal_path_that_the_runtime_leaves_free_is_one() {
        let long = format!("/{}", "x".repeat(4095));
        for bad in [
            "", "a", "./a", "/", "//", "/a/", "/a//b", "/a/../b", "/..", "/a/.", "/a\nb", "/a\u{7f}",
            "/proc", "/proc/1", "/sys/fs", "/dev", "/dev/shm", &long,
        ] {
            let error = WorkloadPath::new(bad).unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("target")), "{bad:?}");
        }
        assert!(WorkloadPath::new(OsStr::from_bytes(b"/a\xff")).is_err());
        for good in ["/a", "/data/shop", "/process", "/a b,c:d", "/...", "/ä"] {
            assert_eq!(WorkloadPath::new(good).unwrap().as_str(), good);
        }
    }

    proptest! {
        #[test]
        fn an_accepted_path_has_only_normal_parts(text in "/\\PC{0,40}") {
            if let Ok(path) = WorkloadPath::new(&text) {
                let mut parts = Path::new(path.as_str()).components();
                prop_assert_eq!(parts.next(), Some(Component::RootDir));
                prop_assert!(parts.all(|part| matches!(part, Component::Normal(_))));
                prop_assert_eq!(path.as_str(), text);
            }
        }
    }
}
