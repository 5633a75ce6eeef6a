//! How an export is mounted: the options of a URL, and what the kernel is told. Pure.
//!
//! | Key | Values | Without it |
//! |---|---|---|
//! | `version` | `4.2`, `4.1` | 4.2; 4.1 with `profile=efs` |
//! | `profile` | `efs`: what Amazon EFS asks its clients for | the kernel's own |
//! | `directory` | the store's directory below the export | the export itself |
//! | `patience` | seconds that the server has for one small answer, 1 to 600 | 5 |
//! | `lease` | seconds after which a silent holder may be taken over, 10 to 3600 | 60 |
//! | `sec` | `sys`, `krb5`, `krb5i`, `krb5p` | what client and server agree on |
//! | `xprtsec` | `none`, `tls`, `mtls` | none |
//! | `context` | an SELinux label for everything in the mount | the labels of the server |
//! | `rsize`, `wsize` | bytes a request | what client and server agree on |
//! | `timeo` | tenths of a second | 600 |
//! | `retrans` | a number | 2 |
//! | `nconnect` | 1 to 16 connections | 1 |
//!
//! All but `profile`, `directory`, `patience` and `lease` are options of nfs(5) under their own names. Mounts are hard.

mod verify;

pub(crate) use verify::{Use, check_mounted, differences};

use crate::times::{LEASE, PATIENCE};
use persist_core::{Error, Result, StoreUrl};

/// The key of the store's directory below the export.
pub(crate) const DIRECTORY: &str = "directory";

/// Every key that a URL may carry.
const KEYS: [&str; 13] = [
    "version", "profile", DIRECTORY, PATIENCE, LEASE, "sec", "xprtsec", "context", "rsize", "wsize", "timeo",
    "retrans", "nconnect",
];

/// Options of nfs(5) that break what a store promises, and why.
const REFUSED: [(&str, &str); 6] = [
    ("soft", "a soft mount gives up writes that the application believes to be kept"),
    ("softerr", "a soft mount gives up writes that the application believes to be kept"),
    ("nolock", "without locks of the server two hosts do not see each other"),
    ("lock", "locks are always those of the server"),
    ("local_lock", "with locks of this host alone two hosts do not see each other"),
    ("hard", "every mount of ours is hard"),
];

/// How an export is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) version: Version,
    /// Options with a value, in the kernel's words and in a fixed order.
    pub(crate) values: Vec<(&'static str, String)>,
    /// Options without one.
    pub(crate) flags: Vec<&'static str>,
}

/// The minor version of NFSv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// RFC 8881: sessions.
    V41,
    /// RFC 7862: clone, allocate, holes.
    V42,
}

impl Version {
    /// As nfs(5) writes it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::V41 => "4.1",
            Self::V42 => "4.2",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::V41, Self::V42].into_iter().find(|version| version.text() == text)
    }
}

/// The documentation of EFS, "Recommended NFS mount settings": 1 MiB requests, hard, 60 s, two repetitions, a
/// new source port after a lost connection. Not run against EFS itself.
const EFS_VALUES: [(&str, &str); 4] =
    [("rsize", "1048576"), ("wsize", "1048576"), ("timeo", "600"), ("retrans", "2")];
const EFS_FLAG: &str = "noresvport";

/// What is always asked for: a minute for a request and two repetitions before the kernel says so in its log
/// (nfs(5), the values of TCP), whatever the host's own configuration.
const DEFAULTS: [(&str, &str); 2] = [("timeo", "600"), ("retrans", "2")];

/// Mounts of one server share a cache, and with it the options and the label of whoever came first (nfs(5)):
/// seen on Linux 6.1, where another mount's `timeo` was kept without a word. Ours have one of their own.
const OWN_CACHE: &str = "nosharecache";

impl Profile {
    /// Reads the options of a URL.
    ///
    /// # Errors
    /// `Invalid`, naming the option.
    pub(crate) fn parse(url: &StoreUrl) -> Result<Self> {
        if let Some((key, why)) = REFUSED.iter().find(|(key, _)| url.query().contains_key(*key)) {
            return Err(Error::invalid(key, *why).advise("leave it out"));
        }
        url.allow_keys(&KEYS)?;
        let given = |key: &str| url.query().get(key).map(String::as_str);
        let efs = match given("profile") {
            None => false,
            Some("efs") => true,
            Some(other) => return Err(wrong("profile", other, "`efs` is the only one")),
        };
        let version = match given("version") {
            None if efs => Version::V41,
            None => Version::V42,
            Some(text) => Version::parse(text).ok_or_else(|| wrong("version", text, "4.1 or 4.2"))?,
        };
        let preset: &[(&'static str, &str)] = if efs { &EFS_VALUES } else { &DEFAULTS };
        let mut values = Vec::new();
        for key in ["rsize", "wsize", "timeo", "retrans", "nconnect", "sec", "xprtsec", "context"] {
            let default = preset.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
            if let Some(value) = given(key).or(default) {
                check(key, value)?;
                values.push((key, value.to_owned()));
            }
        }
        let mut flags = vec![OWN_CACHE];
        flags.extend(efs.then_some(EFS_FLAG));
        Ok(Self { version, values, flags })
    }

    /// Everything in one line: what makes two mounts the same, and what people read.
    pub(crate) fn line(&self) -> String {
        let values = self.values.iter().map(|(key, value)| format!("{key}={value}"));
        let words = [format!("vers={}", self.version.text()), "hard".into()].into_iter().chain(values);
        words.chain(self.flags.iter().map(|flag| (*flag).to_owned())).collect::<Vec<_>>().join(",")
    }
}

fn check(key: &'static str, value: &str) -> Result<()> {
    let number = |least: u32, most: u32| value.parse().is_ok_and(|n: u32| (least..=most).contains(&n));
    let (holds, known) = match key {
        // The kernel rounds others to a multiple of 1024 in these bounds (nfs(5)).
        "rsize" | "wsize" => (
            number(4096, 1 << 20) && value.parse().is_ok_and(|n: u32| n.is_power_of_two()),
            "a power of two from 4096 to 1048576",
        ),
        "timeo" => (number(10, 6000), "10 to 6000 tenths of a second"),
        "retrans" => (number(1, 100), "1 to 100"),
        "nconnect" => (number(1, 16), "1 to 16"),
        "sec" => (["sys", "krb5", "krb5i", "krb5p"].contains(&value), "sys, krb5, krb5i or krb5p"),
        "xprtsec" => (["none", "tls", "mtls"].contains(&value), "none, tls or mtls"),
        _ => (!value.is_empty() && !value.contains(['"', ',', '\n']), "a label without quotes and commas"),
    };
    if holds { Ok(()) } else { Err(wrong(key, value, known)) }
}

pub(crate) fn wrong(key: &'static str, value: &str, known: &'static str) -> Error {
    Error::invalid(key, "not a value of this option")
        .context("value", format_args!("{value:?}"))
        .advise(format!("it is {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use persist_core::ErrorKind;

    fn parse(query: &str) -> Result<Profile> {
        Profile::parse(&format!("nfs://files/srv?{query}").parse().unwrap())
    }

    #[test]
    fn each_profile_says_what_the_kernel_is_told() {
        for (query, line) in [
            ("", "vers=4.2,hard,timeo=600,retrans=2,nosharecache"),
            ("version=4.1&timeo=50&nconnect=4", "vers=4.1,hard,timeo=50,retrans=2,nconnect=4,nosharecache"),
            (
                "profile=efs",
                "vers=4.1,hard,rsize=1048576,wsize=1048576,timeo=600,retrans=2,nosharecache,noresvport",
            ),
            (
                "profile=efs&rsize=65536&sec=krb5p",
                "vers=4.1,hard,rsize=65536,wsize=1048576,timeo=600,retrans=2,sec=krb5p,nosharecache,noresvport",
            ),
            (
                "context=system_u:object_r:nfs_t:s0&xprtsec=mtls",
                "vers=4.2,hard,timeo=600,retrans=2,xprtsec=mtls,context=system_u:object_r:nfs_t:s0,nosharecache",
            ),
        ] {
            assert_eq!(parse(query).unwrap().line(), line, "{query}");
        }
    }

    #[test]
    fn what_would_break_a_promise_or_is_unknown_is_refused_by_name() {
        for query in [
            "soft=1",
            "softerr=1",
            "nolock=1",
            "local_lock=flock",
            "hard=0",
            "noac=1",
            "version=3",
            "version=4.0",
            "profile=fast",
            "rsize=5000",
            "wsize=0",
            "timeo=5",
            "retrans=0",
            "nconnect=17",
            "sec=none",
            "xprtsec=ssl",
            "context=a,b",
        ] {
            let error = parse(query).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{query}");
            let key = query.split('=').next().unwrap();
            assert!(error.to_string().contains(key), "{query}: {error}");
        }
    }
}
