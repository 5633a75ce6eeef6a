//! Pins: what named snapshots, readers and forks need stays.
//!
//! Each side writes its own flag before it reads the other's: a pin is written, *then* the head is read, and
//! what is condemned or gone there fails the pin. The pruner writes its tombstones into the head, *then* it
//! lists the pins.

pub(crate) mod held;
pub(crate) mod snapshots;
#[cfg(test)]
mod tests;

use super::{
    Remote,
    object::{Base, Settled},
};
use crate::{
    head::{
        names::{CommitName, Condemned, Digest, UniqueName},
        pin::{Fate, Seen},
        record::Head,
        writer::{ETag, Found},
    },
    keys::{Part, PinId},
};
use bytes::Bytes;
use persist_core::{Error, ErrorKind, Holder, Result, Retry, VolumeId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeSet, time::Duration};

/// The format of a pin.
const FORMAT: u16 = 1;

/// What keeps a commit besides the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    format: u16,
    /// The commit that is needed.
    pub(crate) commit: CommitName,
    /// Who needs it.
    pub(crate) by: PinnedBy,
    /// Makes this body unlike every other one.
    nonce: u128,
}

/// Who needs a pinned commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PinnedBy {
    /// A reader, which renews its pin three times in a ttl.
    Reader {
        /// For people.
        holder: Holder,
        /// How long the pin may stay unchanged before it counts as left behind.
        ttl: Duration,
    },
    /// A volume that was made of this one; as long as it is there.
    Fork(VolumeId),
    /// Nobody any more.
    Nobody,
}

/// A pin that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pinned {
    /// The volume that it is on.
    pub(crate) volume: VolumeId,
    /// Which.
    pub(crate) id: PinId,
    /// What it says.
    pub(crate) pin: Pin,
    /// The version that is ours.
    etag: ETag,
    /// When the request began that wrote it, by the boot clock.
    began: Duration,
}

impl Remote {
    /// Pins `commit` of `volume`.
    ///
    /// # Errors
    /// `NotFound` if the volume or the commit is gone, or about to be: nothing is pinned then; `Unavailable`
    /// with `Backoff` while the volume is being deleted.
    pub(crate) async fn pin(&self, volume: &VolumeId, commit: &CommitName, by: PinnedBy) -> Result<Pinned> {
        let pin = Pin { format: FORMAT, commit: commit.clone(), by, nonce: self.nonce() };
        let (id, began) = (PinId(self.nonce()), self.boot.now());
        let path = self.keys.of(volume, Part::Pin(id));
        let etag = match self.settle(&path, encode(&pin)?, &Base::Absent).await? {
            Settled::Applied(etag) => etag,
            Settled::Other(_) => {
                return Err(Error::internal("a random name is taken").context("object", path));
            }
        };
        let pinned = Pinned { volume: volume.clone(), id, pin, etag, began };
        let fate = self.fate(volume, commit).await?;
        match fate.refusal(volume, commit) {
            None => Ok(pinned),
            Some(refusal) => {
                self.unpin(&pinned).await?;
                Err(refusal)
            }
        }
    }

    /// Renews a pin.
    ///
    /// # Errors
    /// `NotFound` once it was taken for left behind: what it pinned may be gone.
    pub(crate) async fn renew_pin(&self, pinned: &Pinned) -> Result<Pinned> {
        let pin = Pin { nonce: self.nonce(), ..pinned.pin.clone() };
        let (path, began) = (self.keys.of(&pinned.volume, Part::Pin(pinned.id)), self.boot.now());
        match self.settle(&path, encode(&pin)?, &Base::Version(pinned.etag.clone())).await? {
            Settled::Applied(etag) => return Ok(Pinned { pin, etag, began, ..pinned.clone() }),
            // An earlier renewal of ours that came late: only its owner renews a pin, and a pruner ends it.
            Settled::Other(Some(object)) => {
                let pin: Pin = decode(&object.body, &pinned.volume)?;
                if pin.by != PinnedBy::Nobody {
                    return Ok(Pinned { pin, etag: object.etag, ..pinned.clone() });
                }
            }
            Settled::Other(None) => {}
        }
        Err(Error::not_found("the pin was not renewed in time and has ended")
            .context("id", &pinned.volume)
            .advise("attach again"))
    }

    /// Drops a pin, whether it is there or not.
    ///
    /// # Errors
    /// As the object store gives them; then it is dropped by a repeat, or a reader's by `prune`.
    pub(crate) async fn unpin(&self, pinned: &Pinned) -> Result<()> {
        self.remove(&self.keys.of(&pinned.volume, Part::Pin(pinned.id))).await
    }

    /// What a listed pin says; none if it was dropped meanwhile or is nobody's any more.
    pub(super) async fn read_pin(&self, volume: &VolumeId, id: PinId) -> Result<Option<(Pin, ETag)>> {
        let path = self.keys.of(volume, Part::Pin(id));
        let Some(object) = self.read(&path).await? else { return Ok(None) };
        let pin: Pin = decode(&object.body, volume)?;
        check_format(pin.format, volume)?;
        Ok((pin.by != PinnedBy::Nobody).then_some((pin, object.etag)))
    }

    /// Ends a pin that its owner has left behind, unless it was renewed since `etag`.
    pub(super) async fn end_pin(
        &self,
        volume: &VolumeId,
        id: PinId,
        pin: &Pin,
        etag: &ETag,
    ) -> Result<Ended> {
        // Not a DELETE at once: that has no condition, and a reader may be just renewing.
        let ended = Pin { by: PinnedBy::Nobody, nonce: self.nonce(), ..pin.clone() };
        let path = self.keys.of(volume, Part::Pin(id));
        match self.settle(&path, encode(&ended)?, &Base::Version(etag.clone())).await? {
            Settled::Applied(_) => {
                self.remove(&path).await?;
                Ok(Ended::Yes)
            }
            Settled::Other(_) => Ok(Ended::Renewed),
        }
    }

    /// Refuses a commit that is not kept, or may not be for long. For whoever holds the head, where nobody else prunes.
    ///
    /// # Errors
    /// As [`pin`](Self::pin).
    pub(crate) async fn check_kept(&self, volume: &VolumeId, commit: &CommitName) -> Result<()> {
        self.fate(volume, commit).await?.refusal(volume, commit).map_or(Ok(()), Err)
    }

    /// How it stands with a commit. Asked after a pin of it was written, so that a pruner or a deleter that
    /// comes later finds the pin.
    async fn fate(&self, volume: &VolumeId, commit: &CommitName) -> Result<Fate> {
        let Found::Head(head, _) = self.find(volume).await? else { return Ok(Fate::VolumeGone) };
        if let Some(fate) = Fate::by_head(&head, commit) {
            return Ok(fate);
        }
        if let Some(fate) = Fate::by_tombstones(&self.tombstones(&head).await?, commit) {
            return Ok(fate);
        }
        let is_stored = self.is_stored(&self.keys.of(volume, Part::Commit(commit.clone()))).await?;
        Ok(Fate::by_object(if is_stored { Seen::There } else { Seen::Missing }))
    }

    /// All that `head` condemns: in the head itself, and in the list that it names.
    ///
    /// # Errors
    /// `Corrupt` for a list that is not what was written; `Unavailable` with `Backoff` if the head has changed
    /// meanwhile: read it again.
    pub(crate) async fn tombstones(&self, head: &Head) -> Result<BTreeSet<Condemned>> {
        let mut all = head.tombstones.clone();
        let Some(list) = &head.more_tombstones else { return Ok(all) };
        let path = self.keys.of(&head.volume, Part::Tombstones(*list));
        let Some(object) = self.read(&path).await? else {
            return Err(Error::new(ErrorKind::Unavailable, "the list of tombstones was dropped meanwhile")
                .with_retry(Retry::Backoff)
                .context("id", &head.volume));
        };
        if Digest::of(&object.body) != list.hash {
            return Err(Error::new(ErrorKind::Corrupt, "a list of tombstones is not what was written")
                .context("object", path));
        }
        all.extend(decode::<Vec<Condemned>>(&object.body, &head.volume)?);
        Ok(all)
    }

    /// Writes a list of tombstones for a head of `head`'s epoch; the head does not name it yet.
    pub(super) async fn write_tombstones(
        &self,
        head: &Head,
        names: &BTreeSet<Condemned>,
    ) -> Result<UniqueName> {
        let body = encode(names)?;
        let name = UniqueName::of(head.epoch, self.nonce(), &body);
        self.put_unique(&self.keys.of(&head.volume, Part::Tombstones(name)), body).await?;
        Ok(name)
    }
}

impl Fate {
    /// What a caller is told; nothing if the commit is kept.
    fn refusal(self, volume: &VolumeId, commit: &CommitName) -> Option<Error> {
        let backoff = |what| Error::new(ErrorKind::Unavailable, what).with_retry(Retry::Backoff);
        let error = match self {
            Self::Kept => return None,
            Self::Gone => Error::not_found("the commit is not kept any more").advise("use a newer one"),
            Self::Condemned => {
                backoff("the commit is about to be removed").advise("run prune to its end, then repeat")
            }
            Self::VolumeDeleting => backoff("the volume is being deleted"),
            Self::VolumeGone => Error::not_found("the volume was deleted"),
        };
        Some(error.context("id", volume).context("commit", commit))
    }
}

/// Whether a pin that looked left behind was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is nobody's now.
    Yes,
    /// Its owner lives.
    Renewed,
}

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes> {
    let bytes = serde_json::to_vec(value)
        .map_err(|e| Error::internal("a small object cannot be written as JSON").with_source(e))?;
    Ok(Bytes::from(bytes))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], volume: &VolumeId) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        Error::new(ErrorKind::Corrupt, "a small object of the volume cannot be read")
            .context("id", volume)
            .with_source(e)
    })
}

pub(super) fn check_format(format: u16, volume: &VolumeId) -> Result<()> {
    if format == FORMAT {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, "a small object of the volume has a newer format")
        .context("id", volume)
        .context("format", format)
        .advise("use a newer version"))
}
