//! What `docker volume create -o KEY=VALUE` takes. Pure.

use persist::{
    Access, Error, Result, SnapshotName, Source, StoreUrl, SyncPolicy, VolumeName, VolumeSpec,
    name::LabelKey, volume::Protection,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// The options, as a refusal of an unknown one lists them.
pub const KEYS: [&str; 14] = [
    "store",
    "size",
    "owner",
    "uid",
    "gid",
    "mode",
    "selinux-label",
    "label.KEY",
    "protection",
    "from-snapshot",
    "access",
    "snapshot",
    "sync",
    "lease",
];

/// How an option that begins like this ends is the key of a label.
const LABEL_PREFIX: &str = "label.";

/// The options of one volume. What was not given is `None`, or asks for nothing.
#[derive(Debug, Clone, Default)]
pub struct VolumeOptions {
    /// The store; without it, the plugin's default.
    pub store: Option<StoreUrl>,
    /// What the volume is made to be.
    pub spec: VolumeSpec,
    /// What it holds.
    pub source: Source,
    /// How containers of this host have it.
    pub access: Option<Access>,
    /// The snapshot that they read.
    pub snapshot: Option<SnapshotName>,
    /// When the store syncs it by itself.
    pub sync: Option<SyncPolicy>,
    /// What ends the lease of a host that has gone silent.
    pub lease: Option<Lease>,
}

/// What ends the lease of a host that has gone silent, in a store that has leases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lease {
    /// It runs out, and another host may have the volume.
    #[default]
    Expires,
    /// Nothing but a vouch.
    Kept,
}

impl VolumeOptions {
    /// Reads the options.
    ///
    /// # Errors
    /// `Invalid`, naming the option: unknown, given twice over, or with a value that it does not take. An
    /// unknown one's value is not repeated: it may be a password.
    pub fn parse(given: &BTreeMap<String, String>) -> Result<Self> {
        let mut options = Self::default();
        for (key, value) in given {
            options.set(key, value).map_err(|error| error.context("option", format_args!("{key:?}")))?;
        }
        if given.contains_key("owner") && (given.contains_key("uid") || given.contains_key("gid")) {
            return Err(Error::invalid("options", "`owner` says what `uid` and `gid` say: give one of both"));
        }
        options.check()
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "store" => self.store = Some(value.parse()?),
            "size" => self.spec.size_bytes = Some(size(value)?),
            "owner" => (self.spec.root.uid, self.spec.root.gid) = owner(value)?,
            "uid" => self.spec.root.uid = Some(number("uid", value)?),
            "gid" => self.spec.root.gid = Some(number("gid", value)?),
            "mode" => self.spec.root.mode = Some(mode(value)?),
            "selinux-label" => self.spec.root.selinux_label = Some(value.to_owned()),
            "protection" => self.spec.protection = protection(value)?,
            "from-snapshot" => self.source = from_snapshot(value)?,
            "access" => self.access = Some(access(value)?),
            "snapshot" => self.snapshot = Some(SnapshotName::new(value)?),
            "sync" => self.sync = Some(sync(value)?),
            "lease" => self.lease = Some(lease(value)?),
            _ => match key.strip_prefix(LABEL_PREFIX) {
                Some(label) => drop(self.spec.labels.insert(LabelKey::new(label)?, value.to_owned())),
                None => return Err(unknown()),
            },
        }
        Ok(())
    }

    fn check(self) -> Result<Self> {
        if self.snapshot.is_some() && self.access != Some(Access::ReadOnly) {
            return Err(Error::invalid("snapshot", "a snapshot is only read")
                .advise("add -o access=read-only; to write to a copy of it, use -o from-snapshot"));
        }
        if self.access == Some(Access::ReadOnly) && self.lease.is_some() {
            return Err(Error::invalid("lease", "who only reads has no lease"));
        }
        if self.access == Some(Access::ReadOnly) && self.makes_something() {
            return Err(Error::invalid("access", "a volume that is only read is not made here")
                .advise("create it with another access first, or leave out what it should be made to be"));
        }
        Ok(self)
    }

    /// Whether more is asked for than a volume of this name.
    fn makes_something(&self) -> bool {
        self.spec != VolumeSpec::default() || !matches!(self.source, Source::Empty)
    }
}

fn unknown() -> Error {
    Error::invalid("options", "unknown option").advise(format!("known are {}", KEYS.join(", ")))
}

fn number(field: &'static str, text: &str) -> Result<u32> {
    text.parse().map_err(|_| {
        Error::invalid(field, "not a number of an owner").advise("write it as a number, as in uid=1000")
    })
}

/// `UID` or `UID:GID`, as in `docker run --user`, numbers only: names mean other numbers elsewhere.
fn owner(text: &str) -> Result<(Option<u32>, Option<u32>)> {
    match text.split_once(':') {
        None => Ok((Some(number("owner", text)?), None)),
        Some((uid, gid)) => Ok((Some(number("owner", uid)?), Some(number("owner", gid)?))),
    }
}

fn mode(text: &str) -> Result<u32> {
    /// The permission bits of chmod(2).
    const ALL: u32 = 0o7777;
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= ALL);
    mode.ok_or_else(|| Error::invalid("mode", "not permission bits").advise("write them as in mode=0750"))
}

/// Bytes, or a number with K, M, G or T for powers of 1024, as Docker's own `size` options read them.
fn size(text: &str) -> Result<u64> {
    let invalid =
        || Error::invalid("size", "not a size").advise("write bytes, or as in size=512M or size=10G");
    let unit = |letter| match letter {
        b'k' | b'K' => Some(10),
        b'm' | b'M' => Some(20),
        b'g' | b'G' => Some(30),
        b't' | b'T' => Some(40),
        _ => None,
    };
    let shift = text.bytes().last().and_then(unit);
    let digits = shift.map_or(text, |_| &text[..text.len() - 1]);
    let count: u64 = digits.parse().map_err(|_| invalid())?;
    count.checked_mul(1 << shift.unwrap_or(0)).filter(|bytes| *bytes > 0).ok_or_else(invalid)
}

fn protection(text: &str) -> Result<Protection> {
    match text {
        "protected" => Ok(Protection::Protected),
        "none" => Ok(Protection::None),
        _ => Err(Error::invalid("protection", "unknown protection").advise("known are none and protected")),
    }
}

/// `VOLUME@SNAPSHOT`; neither name can hold an `@`.
fn from_snapshot(text: &str) -> Result<Source> {
    let (volume, snapshot) = text.split_once('@').ok_or_else(|| {
        Error::invalid("from-snapshot", "not a snapshot of a volume").advise("write it as VOLUME@SNAPSHOT")
    })?;
    Ok(Source::Snapshot { volume: VolumeName::new(volume)?, snapshot: SnapshotName::new(snapshot)? })
}

fn access(text: &str) -> Result<Access> {
    match text {
        "read-write" => Ok(Access::ReadWrite),
        "shared-on-node" => Ok(Access::SharedOnNode),
        "shared-across-nodes" => Ok(Access::SharedAcrossNodes),
        "read-only" => Ok(Access::ReadOnly),
        _ => Err(Error::invalid("access", "unknown access")
            .advise("known are read-write, shared-on-node, shared-across-nodes and read-only")),
    }
}

fn lease(text: &str) -> Result<Lease> {
    match text {
        "expires" => Ok(Lease::Expires),
        "kept" => Ok(Lease::Kept),
        _ => Err(Error::invalid("lease", "unknown lease").advise("known are expires and kept")),
    }
}

/// `on-detach`, `manual`, or seconds as in `30s`.
fn sync(text: &str) -> Result<SyncPolicy> {
    let every = |text: &str| text.strip_suffix('s')?.parse().ok().filter(|seconds| *seconds > 0);
    match text {
        "on-detach" => Ok(SyncPolicy::OnDetach),
        "manual" => Ok(SyncPolicy::Manual),
        text => every(text).map(|seconds| SyncPolicy::Every(Duration::from_secs(seconds))).ok_or_else(|| {
            Error::invalid("sync", "unknown sync policy")
                .advise("known are on-detach, manual and, as in 30s, seconds")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use persist::ErrorKind;

    fn parse(pairs: &[(&str, &str)]) -> Result<VolumeOptions> {
        VolumeOptions::parse(&pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect())
    }

    #[test]
    fn every_option_is_read_into_its_type() {
        let options = parse(&[
            ("store", "local:///srv/x"),
            ("size", "10G"),
            ("owner", "1000:100"),
            ("mode", "0750"),
            ("label.team", "shop"),
            ("label.example.org/stage", "test"),
            ("protection", "protected"),
            ("from-snapshot", "shop@monday"),
            ("access", "read-write"),
            ("sync", "30s"),
            ("lease", "kept"),
        ])
        .unwrap();
        assert_eq!(options.store.unwrap().to_string(), "local:///srv/x");
        assert_eq!(options.spec.size_bytes, Some(10 << 30));
        let root = &options.spec.root;
        assert_eq!((root.uid, root.gid, root.mode), (Some(1000), Some(100), Some(0o750)));
        assert_eq!(options.spec.labels.len(), 2);
        assert_eq!(options.spec.protection, Protection::Protected);
        assert!(matches!(options.source, Source::Snapshot { .. }));
        assert_eq!(options.access, Some(Access::ReadWrite));
        assert_eq!(options.sync, Some(SyncPolicy::Every(Duration::from_secs(30))));
        assert_eq!(options.lease, Some(Lease::Kept));
        let reader = parse(&[("access", "read-only"), ("snapshot", "monday")]).unwrap();
        assert_eq!(reader.snapshot.unwrap().as_str(), "monday");
    }

    #[test]
    fn an_unknown_option_is_named_with_the_known_ones_and_its_value_is_not_repeated() {
        let error = parse(&[("secret_access_key", "hunter2")]).unwrap_err();
        let line = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(line.contains("secret_access_key") && !line.contains("hunter2"), "{line}");
        KEYS.iter().for_each(|key| assert!(line.contains(key), "{line}"));
    }

    #[test]
    fn a_value_that_an_option_does_not_take_is_refused_by_the_options_name() {
        for (key, value) in [
            ("store", "/srv/x"),
            ("store", "s3://key:hunter2@bucket/x"),
            ("size", "0"),
            ("size", "ten"),
            ("size", "99999999T"),
            ("size", "G"),
            ("size", "5é"),
            ("owner", "root"),
            ("owner", "1:2:3"),
            ("uid", "-1"),
            ("gid", "4294967296"),
            ("mode", "17777"),
            ("mode", "rwx"),
            ("protection", "yes"),
            ("from-snapshot", "shop"),
            ("from-snapshot", "../x@y"),
            ("access", "ro"),
            ("snapshot", "monday"),
            ("sync", "0s"),
            ("sync", "often"),
            ("lease", "60"),
            ("label.", "x"),
            ("label.a b", "x"),
            ("", "x"),
        ] {
            let error = parse(&[(key, value)]).expect_err(value);
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        for pairs in [
            [("owner", "1"), ("uid", "1")],
            [("access", "read-only"), ("size", "1G")],
            [("access", "read-only"), ("lease", "kept")],
            [("access", "shared-on-node"), ("snapshot", "monday")],
        ] {
            assert_eq!(parse(&pairs).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}
