//! The `fmt` object as it is stored: a line of JSON, and a line with its hash.

use super::{FMT_MAX_BYTES, FORMAT, KNOWN, corrupt};
use crate::{format::crypt::KEY_BYTES, head::record::Digest};
use persist_core::{Error, ErrorKind, Result, VolumeId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// JSON, because people read this object when nothing else works any more.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) format: u16,
    pub(super) volume: VolumeId,
    pub(super) mandatory: BTreeSet<String>,
    pub(super) optional: BTreeSet<String>,
    pub(super) secret: StoredSecret,
    /// Tells another key of the caller from a broken object.
    pub(super) check: Option<Hex>,
    pub(super) keys: Vec<StoredKey>,
}

/// The secret of the lineage.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoredSecret {
    Clear(Hex),
    Wrapped(Hex),
}

/// A master key, wrapped by the caller's.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredKey {
    pub(super) volume: VolumeId,
    pub(super) number: u16,
    /// None once the key was destroyed.
    pub(super) wrapped: Option<Hex>,
}

/// Bytes as lower-case hexadecimal text; wiped when dropped.
pub(super) struct Hex(pub(super) Vec<u8>);

/// What every format has, so that a newer one is refused by name and not as broken.
#[derive(Deserialize)]
struct Outline {
    format: u16,
    mandatory: BTreeSet<String>,
}

impl Stored {
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)
            .map_err(|e| Error::internal("a fmt object cannot be written as JSON").with_source(e))?;
        let line = format!("\n{}\n", Digest::of(&bytes));
        bytes.extend_from_slice(line.as_bytes());
        if bytes.len() <= FMT_MAX_BYTES {
            return Ok(bytes);
        }
        Err(Error::new(ErrorKind::Exhausted, "the keys of the volume do not fit its fmt object")
            .context("keys", self.keys.len())
            .advise("copy the volume instead of forking it again"))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let unreadable = |e| corrupt("the fmt object cannot be read").with_source(e);
        let json = checked(bytes).ok_or_else(|| corrupt("the fmt object does not match its own hash"))?;
        let outline: Outline = serde_json::from_slice(json).map_err(unreadable)?;
        let unknown: Vec<_> =
            outline.mandatory.iter().filter(|name| !KNOWN.contains(&name.as_str())).collect();
        if outline.format != FORMAT || !unknown.is_empty() {
            return Err(Error::new(ErrorKind::Unsupported, "the volume has a format that is not known here")
                .context("format", outline.format)
                .context("features", format_args!("{unknown:?}"))
                .advise("use a newer version"));
        }
        serde_json::from_slice(json).map_err(unreadable)
    }
}

impl Hex {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(super) fn key(&self) -> Result<[u8; KEY_BYTES]> {
        self.0.as_slice().try_into().map_err(|_| corrupt("a key in the fmt object has another length"))
    }
}

impl Drop for Hex {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Zeroizing::new(String::with_capacity(self.0.len() * 2));
        for byte in &self.0 {
            text.extend(
                [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')),
            );
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        unhex(text.as_bytes()).map(Self).ok_or_else(|| de::Error::custom("not hexadecimal"))
    }
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// The JSON, if the line behind it is its hash.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.len() > FMT_MAX_BYTES {
        return None;
    }
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (json, line) = bytes.split_at(end);
    (line == format!("\n{}\n", Digest::of(json)).as_bytes()).then_some(json)
}
