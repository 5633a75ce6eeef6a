//! The names of a volume's immutable objects. None is ever used again: a DELETE that arrives late never
//! removes what was written since.

use persist_core::Epoch;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The name of an immutable commit object: `c/<seq>-<epoch>-<hash>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommitName {
    /// Which commit of the volume it would be.
    pub seq: u64,
    /// Under which epoch it was written.
    pub epoch: Epoch,
    /// The hash of its content.
    pub hash: Digest,
}

/// The name of an immutable pack: `p/<xx>/<epoch>-<seq>-<hash>`. Epoch and number make it unique: a name
/// is never used again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackName {
    /// Under which epoch it was written.
    pub epoch: Epoch,
    /// Which upload of that epoch it was.
    pub seq: u64,
    /// The hash of its content.
    pub hash: Digest,
}

/// The first 128 bits of a BLAKE3 hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        Self(digest)
    }
}

/// The name of a small immutable object: `<epoch>-<128 random bits>-<hash>`. The epoch says when it may be
/// an orphan: it was written for a head of that epoch, and for no later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UniqueName {
    /// Of the head that it was written for.
    pub epoch: Epoch,
    /// Fresh for every object.
    pub nonce: u128,
    /// The hash of its content.
    pub hash: Digest,
}

impl UniqueName {
    /// The name of an object with this content, written for a head of `epoch`.
    pub fn of(epoch: Epoch, nonce: u128, content: &[u8]) -> Self {
        Self { epoch, nonce, hash: Digest::of(content) }
    }
}

/// An immutable object that `prune` may remove.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Condemned {
    /// A commit object.
    Commit(CommitName),
    /// A pack.
    Pack(PackName),
}

impl Condemned {
    /// Under which epoch it was written.
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Commit(name) => name.epoch,
            Self::Pack(name) => name.epoch,
        }
    }
}

/// A text that is not the name of such an object, as this crate spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an object of this format")]
pub struct NotAName;

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for CommitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c/{}-{}-{}", self.seq, self.epoch, self.hash)
    }
}

impl fmt::Display for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The first byte of the hash spreads the packs over 256 prefixes: object stores split by prefix.
        write!(f, "p/{:02x}/{}-{}-{}", self.hash.0[0], self.epoch, self.seq, self.hash)
    }
}

impl fmt::Display for UniqueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}-{}", self.epoch, self.nonce, self.hash)
    }
}

impl fmt::Display for Condemned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(name) => name.fmt(f),
            Self::Pack(name) => name.fmt(f),
        }
    }
}

impl FromStr for Digest {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        hex(text).map(|bits| Self(bits.to_be_bytes()))
    }
}

impl FromStr for CommitName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let [seq, epoch, hash] = parts(text.strip_prefix("c/").ok_or(NotAName)?)?;
        Ok(Self { seq: number(seq)?, epoch: Epoch::new(number(epoch)?), hash: hash.parse()? })
    }
}

impl FromStr for PackName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (_, name) = text.strip_prefix("p/").and_then(|rest| rest.split_once('/')).ok_or(NotAName)?;
        let [epoch, seq, hash] = parts(name)?;
        let pack = Self { epoch: Epoch::new(number(epoch)?), seq: number(seq)?, hash: hash.parse()? };
        spelled(pack, text)
    }
}

impl FromStr for UniqueName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let [epoch, nonce, hash] = parts(text)?;
        Ok(Self { epoch: Epoch::new(number(epoch)?), nonce: hex(nonce)?, hash: hash.parse()? })
    }
}

impl FromStr for Condemned {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        text.parse().map(Self::Commit).or_else(|NotAName| text.parse().map(Self::Pack))
    }
}

impl From<UniqueName> for String {
    fn from(name: UniqueName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for UniqueName {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        text.parse()
    }
}

impl From<Condemned> for String {
    fn from(name: Condemned) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for Condemned {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        text.parse()
    }
}

/// The three parts of a name.
pub(crate) fn parts(text: &str) -> Result<[&str; 3], NotAName> {
    let mut split = text.split('-');
    match (split.next(), split.next(), split.next(), split.next()) {
        (Some(a), Some(b), Some(c), None) => Ok([a, b, c]),
        _ => Err(NotAName),
    }
}

/// A number in the one spelling that `Display` gives it: two names never mean the same object.
pub(crate) fn number(text: &str) -> Result<u64, NotAName> {
    let number: u64 = text.parse().map_err(|_| NotAName)?;
    spelled(number, text)
}

/// 128 bits as 32 lower-case digits.
pub(crate) fn hex(text: &str) -> Result<u128, NotAName> {
    let lower = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
    if text.len() != 32 || !text.bytes().all(lower) {
        return Err(NotAName);
    }
    u128::from_str_radix(text, 16).map_err(|_| NotAName)
}

fn spelled<T: fmt::Display>(value: T, text: &str) -> Result<T, NotAName> {
    if value.to_string() == text { Ok(value) } else { Err(NotAName) }
}
