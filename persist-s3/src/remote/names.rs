//! Names of volumes: one small object a name, changed by compare-and-swap and never removed.
//!
//! A live one has 512 bytes and a deleted one 256: a listing tells them apart and reads none of them.

use super::{
    Remote,
    object::{Base, Object, Settled},
};
use crate::{
    head::{
        record::{Head, Stage},
        writer::{ETag, Found},
    },
    keys::Key,
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use persist_core::{Error, ErrorKind, Result, VolumeId, VolumeName};
use serde::{Deserialize, Serialize};

/// The format of a name record.
const FORMAT: u16 = 1;

/// The size of a record that stands for a volume: the longest takes about 330 bytes.
const LIVE_BYTES: usize = 512;

/// The size of a record that stands for nothing any more: the longest takes about 220 bytes.
const DELETED_BYTES: usize = 256;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one lives for a moment, on the stack")]
pub(crate) enum Named {
    /// Nothing: it may be claimed on this base.
    Free(Base),
    /// A volume.
    Volume(Head, ETag),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NameRecord {
    format: u16,
    name: VolumeName,
    /// The volume, or none since it was deleted.
    volume: Option<VolumeId>,
    /// Makes this body unlike every other one.
    nonce: u128,
}

/// What a name's record says, and on which version.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) volume: Option<VolumeId>,
    pub(super) base: Base,
}

impl Remote {
    /// What `name` stands for now.
    ///
    /// # Errors
    /// `Corrupt` for a record that cannot be read, or whose volume has no head; `Unavailable`.
    pub(crate) async fn resolve(&self, name: &VolumeName) -> Result<Named> {
        let entry = self.entry(name).await?;
        let Some(id) = entry.volume else { return Ok(Named::Free(entry.base)) };
        match self.find(&id).await? {
            Found::Head(head, _) if head.name != *name || is_free(head.stage) => Ok(Named::Free(entry.base)),
            Found::Head(head, etag) => Ok(Named::Volume(head, etag)),
            Found::Gone => {
                Err(Error::new(ErrorKind::Corrupt, "the volume that this name stands for has no head")
                    .context("volume", name)
                    .context("id", id)
                    .advise("bring the object back; heads are never removed by us"))
            }
        }
    }

    /// The volume of this name.
    ///
    /// # Errors
    /// `NotFound`; as [`resolve`](Self::resolve).
    pub(crate) async fn locate(&self, name: &VolumeName) -> Result<(Head, ETag)> {
        match self.resolve(name).await? {
            Named::Volume(head, etag) => Ok((head, etag)),
            Named::Free(_) => Err(Error::not_found("no such volume")
                .context("volume", name)
                .advise("create it, or use bind")),
        }
    }

    /// The names that stand for a volume, after `after`, in the order of names: one LIST for a thousand
    /// names, live or deleted. A volume whose deletion was interrupted may be among them.
    ///
    /// # Errors
    /// `Unsupported` from an endpoint that does not list in order.
    pub(crate) fn names(&self, after: Option<&VolumeName>) -> BoxStream<'static, Result<VolumeName>> {
        let after = after.map(|name| self.keys.path(&Key::Name(name.clone())));
        let keys = self.keys.clone();
        let mut last = None;
        let live = self.list(&self.keys.names(), after.as_ref()).map(move |meta| {
            let meta = meta?;
            let Some(Key::Name(name)) = keys.parse(&meta.location) else { return Ok(None) };
            if last.replace(name.clone()).is_some_and(|last| last >= name) {
                return Err(Error::new(ErrorKind::Unsupported, "the object store lists out of order")
                    .advise("use a general purpose bucket: directory buckets of S3 Express do not sort"));
            }
            Ok((meta.size == LIVE_BYTES as u64).then_some(name))
        });
        live.try_filter_map(|name| async { Ok(name) }).boxed()
    }

    /// What the record of `name` says.
    pub(super) async fn entry(&self, name: &VolumeName) -> Result<Entry> {
        let found = self.read(&self.keys.path(&Key::Name(name.clone()))).await?;
        let record = found.as_ref().map(|object| decode(object, name)).transpose()?;
        Ok(Entry { volume: record.and_then(|record| record.volume), base: Base::of(found.as_ref()) })
    }

    /// Lets `name` stand for `volume`, or for nothing, if its record is still what `base` says. False if
    /// another has changed it.
    pub(super) async fn claim(
        &self,
        name: &VolumeName,
        volume: Option<&VolumeId>,
        base: &Base,
    ) -> Result<Claimed> {
        let record =
            NameRecord { format: FORMAT, name: name.clone(), volume: volume.cloned(), nonce: self.nonce() };
        let path = self.keys.path(&Key::Name(name.clone()));
        match self.settle(&path, encode(&record)?, base).await? {
            Settled::Applied(_) => Ok(Claimed::Won),
            Settled::Other(_) => Ok(Claimed::Lost),
        }
    }

    /// Gives `name` free if it still stands for `volume`, which is deleted.
    pub(super) async fn free_name(&self, name: &VolumeName, volume: &VolumeId) -> Result<()> {
        let entry = self.entry(name).await?;
        if entry.volume.as_ref() == Some(volume) {
            // Lost means that another was faster with the same, or has claimed the name.
            self.claim(name, None, &entry.base).await?;
        }
        Ok(())
    }
}

/// Whether a name is the caller's now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    /// It is.
    Won,
    /// Another was faster.
    Lost,
}

/// Whether a name that stands for a volume in this stage may be claimed.
fn is_free(stage: Stage) -> bool {
    matches!(stage, Stage::Trashed(_) | Stage::Deleted)
}

fn encode(record: &NameRecord) -> Result<Bytes> {
    let mut bytes = serde_json::to_vec(record)
        .map_err(|e| Error::internal("a name record cannot be written as JSON").with_source(e))?;
    let size = if record.volume.is_some() { LIVE_BYTES } else { DELETED_BYTES };
    if bytes.len() > size {
        return Err(Error::internal("a name record is larger than its object").context("bytes", bytes.len()));
    }
    // JSON ends where its value ends; blanks may follow.
    bytes.resize(size, b' ');
    Ok(Bytes::from(bytes))
}

fn decode(object: &Object, name: &VolumeName) -> Result<NameRecord> {
    let corrupt = |what: &'static str| Error::new(ErrorKind::Corrupt, what).context("volume", name);
    let record: NameRecord = serde_json::from_slice(&object.body)
        .map_err(|e| corrupt("the name's record cannot be read").with_source(e))?;
    if record.format != FORMAT {
        return Err(Error::new(ErrorKind::Unsupported, "the name's record has a newer format")
            .context("format", record.format)
            .advise("use a newer version"));
    }
    if record.name != *name {
        return Err(corrupt("the name's record is another name's").context("found", record.name));
    }
    Ok(record)
}

#[cfg(test)]
mod tests;
