//! The marker: what makes a prefix of a bucket a store. Written once, and changed only to note what a probe
//! has shown.

use super::{
    Remote,
    object::{Base, Settled},
    pins::encode,
};
use crate::keys::Key;
use persist_core::{Error, ErrorKind, OpenMode, Result, StoreId, clock::Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format of a store that this version reads and writes.
const FORMAT: u16 = 1;

/// The mandatory features of a store that this version knows: none so far.
const FEATURES: [&str; 0] = [];

/// How many endpoints' probes are kept: the oldest go first.
const PROBES_MAX: usize = 16;

/// What makes a prefix a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Marker {
    format: u16,
    /// What a version must know to use the store.
    features: BTreeSet<String>,
    /// The store's identity.
    pub(crate) id: StoreId,
    /// When it was created, by the clock of the node that did.
    pub(crate) created: Timestamp,
    /// What the full probe of this bucket has shown, by the endpoint that it went through.
    pub(crate) probes: BTreeMap<String, Probed>,
    /// Makes this body unlike every other one.
    nonce: u128,
}

/// A full probe that was passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probed {
    /// When, by the clock of the node that probed.
    pub(crate) at: Timestamp,
    /// How the endpoint wants to be talked to, in the words of the probe.
    pub(crate) quirks: BTreeSet<String>,
}

/// Whether a store was there or was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opened {
    /// It was there.
    Found(Marker),
    /// This call made it.
    Made(Marker),
}

impl Remote {
    /// Opens the store; makes it only if the mode says so.
    ///
    /// # Errors
    /// `NotFound` if there is none and the mode does not allow to make one; `Unsupported` for a newer format or
    /// an unknown feature; `Corrupt`.
    pub(crate) async fn open_marker(&self, mode: OpenMode) -> Result<Opened> {
        let path = self.keys.path(&Key::Marker);
        if let Some(object) = self.read(&path).await? {
            return Ok(Opened::Found(decode(&object.body)?));
        }
        if mode != OpenMode::CreateIfMissing {
            return Err(Error::not_found("there is no store below this prefix of the bucket")
                .advise("check bucket and prefix, or open with OpenMode::CreateIfMissing"));
        }
        let (clock, entropy) = (self.environment.clock.as_ref(), self.environment.entropy.as_ref());
        let marker = Marker {
            format: FORMAT,
            features: BTreeSet::new(),
            id: StoreId::mint(clock, entropy),
            created: clock.now(),
            probes: BTreeMap::new(),
            nonce: self.nonce(),
        };
        match self.settle(&path, encode(&marker)?, &Base::Absent).await? {
            Settled::Applied(_) => Ok(Opened::Made(marker)),
            Settled::Other(Some(object)) => Ok(Opened::Found(decode(&object.body)?)),
            Settled::Other(None) => {
                Err(Error::internal("a marker that was not there was replaced by nothing"))
            }
        }
    }

    /// Notes that the full probe was passed through `endpoint`.
    ///
    /// # Errors
    /// `NotFound` if the store is gone; as [`open_marker`](Self::open_marker).
    pub(crate) async fn note_probe(&self, endpoint: &str, probed: &Probed) -> Result<Marker> {
        let path = self.keys.path(&Key::Marker);
        loop {
            let Some(object) = self.read(&path).await? else {
                return Err(Error::not_found("the store's marker is gone"));
            };
            let mut marker = decode(&object.body)?;
            if marker.probes.get(endpoint) == Some(probed) {
                return Ok(marker);
            }
            marker.probes.insert(endpoint.to_owned(), probed.clone());
            forget_oldest(&mut marker.probes);
            marker.nonce = self.nonce();
            let base = Base::of(Some(&object));
            if let Settled::Applied(_) = self.settle(&path, encode(&marker)?, &base).await? {
                return Ok(marker);
            }
        }
    }
}

fn forget_oldest(probes: &mut BTreeMap<String, Probed>) {
    while probes.len() > PROBES_MAX {
        let oldest = probes.iter().min_by_key(|(_, probed)| probed.at).map(|(endpoint, _)| endpoint.clone());
        oldest.iter().for_each(|endpoint| drop(probes.remove(endpoint)));
    }
}

fn decode(bytes: &[u8]) -> Result<Marker> {
    #[derive(Deserialize)]
    struct Preamble {
        format: u16,
        features: BTreeSet<String>,
    }
    let corrupt = |e| Error::new(ErrorKind::Corrupt, "the store's marker cannot be read").with_source(e);
    let newer = |what: &'static str| Error::new(ErrorKind::Unsupported, what).advise("use a newer version");
    let preamble: Preamble = serde_json::from_slice(bytes).map_err(corrupt)?;
    if preamble.format != FORMAT {
        return Err(newer("the store has a format that this version does not know")
            .context("format", preamble.format));
    }
    if let Some(unknown) = preamble.features.iter().find(|feature| !FEATURES.contains(&feature.as_str())) {
        return Err(newer("the store uses a feature that this version does not know")
            .context("feature", format_args!("{unknown:?}")));
    }
    serde_json::from_slice(bytes).map_err(corrupt)
}

#[cfg(test)]
mod tests;
