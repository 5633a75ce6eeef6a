//! The names of all objects of a store, as pure functions, and what a name that was listed means.
//!
//! Every object has one spelling: a key that does not print as it was read is nobody's, and is left alone.

use crate::head::{
    names::{CommitName, NotAName, PackName, UniqueName, hex, number, parts},
    record::SessionId,
};
use object_store::path::Path;
use persist_core::{Epoch, SnapshotName, VolumeId, VolumeName};
use std::{fmt, str::FromStr};

/// The names of a store's objects: those below one prefix of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    prefix: Path,
}

/// An object of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// What makes the prefix a store.
    Marker,
    /// What a volume's name stands for.
    Name(VolumeName),
    /// An object of one volume.
    Volume(VolumeId, Part),
}

/// An object of one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Format, features, keys.
    Fmt,
    /// The one mutable record.
    Head,
    /// What the volume is.
    Record(UniqueName),
    /// A list of tombstones.
    Tombstones(UniqueName),
    /// A commit.
    Commit(CommitName),
    /// A pack.
    Pack(PackName),
    /// A named snapshot.
    Snapshot(SnapshotName),
    /// What a reader or a fork needs.
    Pin(PinId),
    /// The work of a fenced writer.
    Salvage(SalvageName),
}

/// A pin of a reader or of a fork: 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PinId(pub(crate) u128);

/// The name of a salvage. A machine that was cloned while it ran shares its session: the random part keeps
/// the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SalvageName {
    /// The epoch that was fenced, or whose workspace was left behind.
    pub(crate) epoch: Epoch,
    /// The session that writes the salvage.
    pub(crate) session: SessionId,
    /// 128 random bits.
    pub(crate) nonce: u128,
}

impl Keys {
    /// The names below `prefix`, which is empty for a store that has a bucket of its own.
    pub(crate) fn new(prefix: Path) -> Self {
        Self { prefix }
    }

    /// The path of an object.
    pub(crate) fn path(&self, key: &Key) -> Path {
        self.below(&key.to_string())
    }

    /// The path of an object of a volume.
    pub(crate) fn of(&self, volume: &VolumeId, part: Part) -> Path {
        self.path(&Key::Volume(volume.clone(), part))
    }

    /// Below which all names of volumes are.
    pub(crate) fn names(&self) -> Path {
        self.below("n")
    }

    /// Below which all volumes are.
    pub(crate) fn volumes(&self) -> Path {
        self.below("v")
    }

    /// Below which all objects of a volume are, or those of one kind: `c`, `p`, `pin`, `r`, `salvage`, `t`.
    pub(crate) fn all_of(&self, volume: &VolumeId, kind: Option<&'static str>) -> Path {
        let below = self.below(&format!("v/{volume}"));
        kind.map_or(below.clone(), |kind| below.join(kind))
    }

    /// What a listed path is; none for what is not an object of this format.
    pub(crate) fn parse(&self, path: &Path) -> Option<Key> {
        let below: Vec<_> = path.prefix_match(&self.prefix)?.map(|part| part.as_ref().to_owned()).collect();
        let key = below.join("/").parse::<Key>().ok()?;
        // Percent signs and doubled slashes could spell one name in two ways.
        (self.path(&key) == *path).then_some(key)
    }

    /// The volume that a listed common prefix is of.
    pub(crate) fn parse_volume(&self, path: &Path) -> Option<VolumeId> {
        let id = VolumeId::parse(path.parts().next_back()?.as_ref())?;
        (self.all_of(&id, None) == *path).then_some(id)
    }

    fn below(&self, text: &str) -> Path {
        text.split('/').fold(self.prefix.clone(), Path::join)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marker => f.write_str("store"),
            Self::Name(name) => write!(f, "n/{name}"),
            Self::Volume(id, part) => write!(f, "v/{id}/{part}"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fmt => f.write_str("fmt"),
            Self::Head => f.write_str("head"),
            Self::Record(name) => write!(f, "r/{name}"),
            Self::Tombstones(name) => write!(f, "t/{name}"),
            Self::Commit(name) => name.fmt(f),
            Self::Pack(name) => name.fmt(f),
            Self::Snapshot(name) => write!(f, "pin/s-{name}"),
            Self::Pin(id) => write!(f, "pin/{id}"),
            Self::Salvage(name) => write!(f, "salvage/{name}"),
        }
    }
}

impl fmt::Display for PinId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SalvageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}-{:032x}", self.epoch, self.session.0, self.nonce)
    }
}

impl FromStr for Key {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        if text == "store" {
            return Ok(Self::Marker);
        }
        if let Some(name) = text.strip_prefix("n/") {
            return VolumeName::new(name).map(Self::Name).map_err(|_| NotAName);
        }
        let (id, part) = text.strip_prefix("v/").and_then(|rest| rest.split_once('/')).ok_or(NotAName)?;
        Ok(Self::Volume(VolumeId::parse(id).ok_or(NotAName)?, part.parse()?))
    }
}

impl FromStr for Part {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (kind, rest) = text.split_once('/').unwrap_or((text, ""));
        match (kind, rest) {
            ("fmt", "") if text == "fmt" => Ok(Self::Fmt),
            ("head", "") if text == "head" => Ok(Self::Head),
            ("r", name) => name.parse().map(Self::Record),
            ("t", name) => name.parse().map(Self::Tombstones),
            ("c", _) => text.parse().map(Self::Commit),
            ("p", _) => text.parse().map(Self::Pack),
            ("salvage", name) => name.parse().map(Self::Salvage),
            ("pin", name) => match name.strip_prefix("s-") {
                Some(name) => SnapshotName::new(name).map(Self::Snapshot).map_err(|_| NotAName),
                None => hex(name).map(|id| Self::Pin(PinId(id))),
            },
            _ => Err(NotAName),
        }
    }
}

impl FromStr for SalvageName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let [epoch, session, nonce] = parts(text)?;
        Ok(Self { epoch: Epoch::new(number(epoch)?), session: SessionId(hex(session)?), nonce: hex(nonce)? })
    }
}

#[cfg(test)]
mod tests;
