//! Heads: read, created, and changed by compare-and-swap, with every answer resolved.

use super::{
    Remote,
    object::{Base, Object, Settled},
    time::Tries,
};
use crate::{
    head::{
        free::FreeChange,
        names::CommitName,
        record::Head,
        writer::{ETag, Found, Put, Resolution, Writer},
    },
    keys::Part,
};
use async_trait::async_trait;
use bytes::Bytes;
use persist_core::{Error, ErrorKind, Result, VolumeId};
use std::{fmt, time::Duration};

/// Which commit came before which; read from commit objects.
#[async_trait]
pub(crate) trait History: fmt::Debug + Send + Sync + 'static {
    /// The commit that `commit` of `volume` was made on; none for a first one.
    ///
    /// # Errors
    /// `NotFound` for a commit that was pruned.
    async fn parent(&self, volume: &VolumeId, commit: &CommitName) -> Result<Option<CommitName>>;
}

/// What became of a change of a writer.
#[derive(Debug)]
pub(crate) struct Concluded {
    /// What became of it.
    pub(crate) resolution: Resolution,
    /// When its first request began, by the boot clock: nobody saw it before.
    pub(crate) began: Duration,
}

impl Remote {
    /// The head of a volume as it is now.
    ///
    /// # Errors
    /// `Corrupt` or `Unsupported` for a head that this version cannot read; `Unavailable`.
    pub(crate) async fn find(&self, volume: &VolumeId) -> Result<Found> {
        let found = self.read(&self.keys.of(volume, Part::Head)).await?;
        decoded(found, volume)
    }

    /// The head of a volume that a name or a handle stands for.
    ///
    /// # Errors
    /// As [`find`](Self::find); `NotFound` if it is gone.
    pub(crate) async fn find_there(&self, volume: &VolumeId) -> Result<(Head, ETag)> {
        match self.find(volume).await? {
            Found::Head(head, etag) => Ok((head, etag)),
            Found::Gone => Err(gone(volume)),
        }
    }

    /// Creates the head of a new volume.
    ///
    /// # Errors
    /// `Internal` if there is one: identities are used once; `Unavailable`.
    pub(crate) async fn create_head(&self, head: &Head) -> Result<ETag> {
        let path = self.keys.of(&head.volume, Part::Head);
        match self.settle(&path, Bytes::from(head.encode()?), &Base::Absent).await? {
            Settled::Applied(etag) => Ok(etag),
            Settled::Other(_) => {
                Err(Error::internal("a new volume has a head already").context("id", &head.volume))
            }
        }
    }

    /// Makes `change` of a head that nobody holds, as often as it takes; of what is so already, nothing.
    ///
    /// # Errors
    /// As [`FreeChange::of`] and [`find_there`](Self::find_there).
    pub(crate) async fn change_free(&self, volume: &VolumeId, change: &FreeChange) -> Result<(Head, ETag)> {
        let (mut head, mut etag) = self.find_there(volume).await?;
        // Every round but the last one is somebody else's success.
        loop {
            if change.is_done(&head) {
                return Ok((head, etag));
            }
            match self.try_change(&head, &etag, change).await? {
                Changed::Done(head, etag) => return Ok((head, etag)),
                Changed::Other(Found::Head(newer, version)) => (head, etag) = (newer, version),
                Changed::Other(Found::Gone) => return Err(gone(volume)),
            }
        }
    }

    /// Makes `change` of this version of a head only.
    ///
    /// # Errors
    /// As [`FreeChange::of`]; `Unavailable` with `Verify`.
    pub(crate) async fn try_change(&self, head: &Head, etag: &ETag, change: &FreeChange) -> Result<Changed> {
        let next = change.of(head, self.nonce())?;
        let path = self.keys.of(&head.volume, Part::Head);
        let body = Bytes::from(next.encode()?);
        match self.settle(&path, body, &Base::Version(etag.clone())).await? {
            Settled::Applied(etag) => Ok(Changed::Done(next, etag)),
            Settled::Other(found) => Ok(Changed::Other(decoded(found, &head.volume)?)),
        }
    }

    /// Sends a writer's change, and finds out what became of it: one PUT, and after any answer but success
    /// one GET, until that says something.
    ///
    /// # Errors
    /// `Unavailable` with `Verify` once the tries are over: the change is still under way then. Others as
    /// the object store gives them.
    pub(crate) async fn conclude(
        &self,
        writer: &mut Writer,
        mut put: Put,
        history: &dyn History,
        mut tries: Tries,
    ) -> Result<Concluded> {
        let began = self.boot.now();
        let path = self.keys.of(&put.body.volume, Part::Head);
        loop {
            let body = Bytes::from(put.body.encode()?);
            let error = match self.put_once(&path, body, &Base::Version(put.if_match.clone())).await {
                Ok(etag) => {
                    writer.applied(etag);
                    return Ok(Concluded { resolution: Resolution::Applied, began });
                }
                Err(e) => e.during("change the head", &put.body.volume),
            };
            match self.look(writer, &put, history).await {
                Ok(Resolution::SendAgain(same)) => {
                    put = same;
                    tries.pause(self, error).await?;
                }
                Ok(resolution) => return Ok(Concluded { resolution, began }),
                // The same bytes are sent again before the next look: that is never wrong.
                Err(e) => tries.pause(self, e.during("read the head", &put.body.volume)).await?,
            }
        }
    }

    async fn look(&self, writer: &mut Writer, put: &Put, history: &dyn History) -> Result<Resolution> {
        let path = self.keys.of(&put.body.volume, Part::Head);
        let found = decoded(self.get_once(&path).await?, &put.body.volume)?;
        let kept = match (&found, &put.body.commit) {
            (Found::Head(head, etag), Some(commit))
                if head.write != put.body.write
                    && *etag != put.if_match
                    && writer.head().commit.as_ref() != Some(commit) =>
            {
                self.is_in_history(head, commit, history).await?
            }
            _ => false,
        };
        Ok(writer.resolve(&found, |_| kept))
    }

    /// Whether `commit` is the one that `head` is at, or one before it. A chain that was pruned does not
    /// tell: then it is not, and its work is salvaged once more rather than lost.
    async fn is_in_history(&self, head: &Head, commit: &CommitName, history: &dyn History) -> Result<bool> {
        let mut at = head.commit.clone();
        while let Some(name) = at.filter(|name| name.seq >= commit.seq) {
            if name.seq == commit.seq {
                return Ok(name == *commit);
            }
            at = match history.parent(&head.volume, &name).await {
                Err(e) if e.kind() == ErrorKind::NotFound => None,
                parent => parent?,
            };
            // A chain that does not go down would never end.
            at = at.filter(|parent| parent.seq < name.seq);
        }
        Ok(false)
    }
}

/// What became of a change of one version.
#[derive(Debug)]
pub(crate) enum Changed {
    /// It was made.
    Done(Head, ETag),
    /// The head has another version by now.
    Other(Found),
}

/// A volume whose head is not there: heads are never removed by us.
pub(super) fn gone(volume: &VolumeId) -> Error {
    Error::not_found("the volume's head is gone: somebody has removed it from the bucket")
        .context("id", volume)
}

fn decoded(found: Option<Object>, volume: &VolumeId) -> Result<Found> {
    let Some(object) = found else { return Ok(Found::Gone) };
    Ok(Found::Head(Head::decode(&object.body, volume)?, object.etag))
}
