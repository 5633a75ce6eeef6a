//! Named snapshots: a pin with a name, created if there is none, released by overwriting, never removed, so
//! that a late request about an old one never touches a new one of the same name.

use super::{FORMAT, check_format, decode, encode};
use crate::{
    head::{names::CommitName, pin::Fate},
    keys::{Key, Part},
    remote::{
        Remote,
        object::{Base, Settled},
    },
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use persist_core::{
    Error, ErrorKind, Outcome, Result, Retry, SnapshotName, VolumeId, snapshot::SnapshotRecord,
};
use serde::{Deserialize, Serialize};

/// The size of a released snapshot's object: a listing tells it from a live one, which is larger.
const RELEASED_BYTES: usize = 128;

/// A snapshot: its record, and the commit that it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snapshot {
    /// What callers see.
    pub(crate) record: SnapshotRecord,
    /// The commit.
    pub(crate) commit: CommitName,
}

/// What taking a snapshot came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The snapshot of that name.
    pub(crate) snapshot: Snapshot,
    /// Whether this call took it.
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SnapshotPin {
    format: u16,
    /// None since it was released.
    snapshot: Option<Snapshot>,
    nonce: u128,
}

impl Remote {
    /// Takes `snapshot`, whose commit is there, unless there is one of that name.
    ///
    /// # Errors
    /// `NotFound` if the volume or the commit is gone; `Unavailable` while the volume is being deleted, or the
    /// commit removed, or if nothing answers: the snapshot may be taken then, and a repeat tells.
    pub(crate) async fn take_snapshot(&self, snapshot: &Snapshot) -> Result<Taken> {
        let (volume, name) = (&snapshot.record.volume, &snapshot.record.name);
        loop {
            let (found, base) = self.read_snapshot(volume, name).await?;
            let outcome = if found.is_some() { Outcome::Already } else { Outcome::Done };
            let there = found.unwrap_or_else(|| snapshot.clone());
            let base = match (outcome, base) {
                (Outcome::Already, base) => base,
                (_, base) => match self.replace_snapshot(volume, name, Some(&there), &base).await? {
                    Settled::Applied(etag) => Base::Version(etag),
                    Settled::Other(_) => continue,
                },
            };
            // Also of one that was there: who took it may have died before it looked.
            let fate = self.fate(volume, &there.commit).await?;
            let Some(refusal) = fate.refusal(volume, &there.commit) else {
                return Ok(Taken { snapshot: there, outcome });
            };
            // Only what is gone is let go: another call may have acknowledged this snapshot before.
            if fate != Fate::Gone {
                return Err(refusal.with_retry(Retry::Verify));
            }
            self.replace_snapshot(volume, name, None, &base).await?;
            if outcome == Outcome::Done {
                return Err(refusal);
            }
        }
    }

    /// Releases the snapshot of this name, whether there is one or not.
    ///
    /// # Errors
    /// `Unavailable` with `Verify`: a repeat goes on.
    pub(crate) async fn release_snapshot(&self, volume: &VolumeId, name: &SnapshotName) -> Result<Outcome> {
        loop {
            let (found, base) = self.read_snapshot(volume, name).await?;
            if found.is_none() {
                return Ok(Outcome::Already);
            }
            if let Settled::Applied(_) = self.replace_snapshot(volume, name, None, &base).await? {
                return Ok(Outcome::Done);
            }
        }
    }

    /// The snapshot of this name, if there is one.
    ///
    /// # Errors
    /// `Corrupt`; `Unavailable`.
    pub(crate) async fn snapshot(&self, volume: &VolumeId, name: &SnapshotName) -> Result<Option<Snapshot>> {
        Ok(self.read_snapshot(volume, name).await?.0)
    }

    /// The snapshots of a volume after `after`, in the order of their names: one LIST for a thousand, and one
    /// GET for each live one.
    pub(crate) fn snapshots<'a>(
        &'a self,
        volume: &'a VolumeId,
        after: Option<&SnapshotName>,
    ) -> BoxStream<'a, Result<Snapshot>> {
        let after = after.map(|name| self.keys.of(volume, Part::Snapshot(name.clone())));
        let listed = self.list(&self.keys.all_of(volume, Some("pin")), after.as_ref());
        let live = listed.try_filter_map(move |meta| async move {
            match self.keys.parse(&meta.location) {
                Some(Key::Volume(_, Part::Snapshot(name))) if meta.size != RELEASED_BYTES as u64 => {
                    self.snapshot(volume, &name).await
                }
                _ => Ok(None),
            }
        });
        live.boxed()
    }

    async fn read_snapshot(
        &self,
        volume: &VolumeId,
        name: &SnapshotName,
    ) -> Result<(Option<Snapshot>, Base)> {
        let found = self.read(&self.keys.of(volume, Part::Snapshot(name.clone()))).await?;
        let base = Base::of(found.as_ref());
        let Some(object) = found else { return Ok((None, base)) };
        let pin: SnapshotPin = decode(&object.body, volume)?;
        check_format(pin.format, volume)?;
        if let Some(snapshot) = &pin.snapshot
            && (snapshot.record.volume != *volume || snapshot.record.name != *name)
        {
            return Err(Error::new(ErrorKind::Corrupt, "the snapshot's record is another one's")
                .context("id", volume)
                .context("snapshot", name));
        }
        Ok((pin.snapshot, base))
    }

    async fn replace_snapshot(
        &self,
        volume: &VolumeId,
        name: &SnapshotName,
        snapshot: Option<&Snapshot>,
        base: &Base,
    ) -> Result<Settled> {
        let pin = SnapshotPin { format: FORMAT, snapshot: snapshot.cloned(), nonce: self.nonce() };
        let mut body = encode(&pin)?.to_vec();
        match snapshot {
            None => body.resize(RELEASED_BYTES, b' '),
            // Never the size of a released one.
            Some(_) => body.resize(body.len().max(RELEASED_BYTES + 1), b' '),
        }
        self.settle(&self.keys.of(volume, Part::Snapshot(name.clone())), Bytes::from(body), base).await
    }
}
