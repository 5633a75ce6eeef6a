//! Taking a head: the attach side of a lease.

use super::{Remote, head::History};
use crate::head::{
    change::FoundBy,
    lease::{MayTake, Watch, may_take, stale_vouch},
    names::CommitName,
    record::{Head, Lease},
    writer::{ETag, Resolution, Writer},
};
use async_trait::async_trait;
use persist_core::{AttachmentRecord, Error, Result, Takeover, VolumeId, VolumeName, error::HolderSeen};
use std::time::Duration;

/// Who wants a head, and what it would do for it.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// The volume's name, for those who are refused.
    pub(crate) name: VolumeName,
    /// How the volume was found.
    pub(crate) by: FoundBy,
    /// The lease that is wanted, with a session that was never used.
    pub(crate) lease: Lease,
    /// When it may be taken from another.
    pub(crate) takeover: Takeover,
    /// How long to wait for a holder that renews.
    pub(crate) wait: Option<Duration>,
    /// The head as it was just read; looked at again if it has moved on.
    pub(crate) seen: Option<(Head, ETag)>,
}

/// When a head was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Before the call.
    Before,
    /// In it.
    Now,
}

/// A head that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The session.
    pub(crate) writer: Writer,
    /// Its lease.
    pub(crate) lease: Lease,
    /// When the request began that took it, by the boot clock.
    pub(crate) began: Duration,
    /// Whom it was taken from.
    pub(crate) from: Option<Lease>,
}

impl Remote {
    /// Takes the head of a volume: at once if it is free or the caller vouches for the holder's death, else
    /// once the holder has left it unchanged for 1.25 ttl and 2 s on our own clock. A vouched or free head
    /// costs one GET and one PUT.
    ///
    /// # Errors
    /// `InUse` with the holder, if it may not be taken or its holder lives; `Conflict` for a vouch that is
    /// about another attachment or epoch; `NotFound` for a volume that was deleted; `Unavailable` with
    /// `Verify`: the head may be taken then, and is free again after its ttl.
    ///
    /// # Cancellation
    /// As after `Unavailable` with `Verify`.
    pub(crate) async fn take(&self, volume: &VolumeId, ask: &Ask) -> Result<Taken> {
        let patient_until = self.boot.now() + ask.wait.unwrap_or_default();
        let (mut watch, mut seen) = (None::<Watch>, ask.seen.clone());
        loop {
            let (look, (head, etag)) = match seen.take() {
                Some(seen) => (Look::Before, seen),
                None => (Look::Now, self.find_there(volume).await?),
            };
            head.check_there()?;
            let now = self.boot.now();
            let watched = Watch::seen(watch.clone(), etag.clone(), now);
            let renewed = watch.as_ref().is_some_and(|before| *before != watched);
            match may_take(&head, &watched, now, &ask.takeover) {
                // None means that another was faster: look again.
                MayTake::Now => {
                    if let Some(taken) = self.ask_for(&head, (&etag, ask.by), &ask.lease).await? {
                        return Ok(taken);
                    }
                }
                // Whoever is refused is refused by how things are now.
                MayTake::VouchIsStale | MayTake::Never if look == Look::Before => continue,
                MayTake::VouchIsStale => return Err(vouch_error(&head, &ask.takeover)),
                MayTake::Never if now >= patient_until => return Err(in_use(&head, &ask.name)),
                MayTake::At(_) if renewed && now >= patient_until => return Err(in_use(&head, &ask.name)),
                MayTake::Never => self.sleep_until(patient_until.min(now + self.limits.poll)).await,
                MayTake::At(at) => self.sleep_until(at.min(now + self.limits.poll)).await,
            }
            watch = Some(watched);
        }
    }

    /// Asks for this version of a head; none if another was faster.
    async fn ask_for(&self, head: &Head, seen: (&ETag, FoundBy), lease: &Lease) -> Result<Option<Taken>> {
        let (mut writer, put) = Writer::ask(head, seen, lease.clone(), self.nonce())?;
        let concluded = self.conclude(&mut writer, put, &NoHistory, self.tries()).await?;
        match concluded.resolution {
            Resolution::Applied => {
                let (lease, from) = (lease.clone(), head.lease.clone());
                Ok(Some(Taken { writer, lease, began: concluded.began, from }))
            }
            Resolution::Lost(_) => Ok(None),
            Resolution::Removed => Err(Error::not_found("the volume was deleted meanwhile")),
            Resolution::AppliedThenLost(_) | Resolution::SendAgain(_) => {
                Err(Error::internal("a head was asked for and the answer is about a commit"))
            }
        }
    }
}

/// Who holds a head, for those who are refused.
pub(crate) fn in_use(head: &Head, name: &VolumeName) -> Error {
    let holders = head.lease.iter().map(|lease| {
        let volume = (head.volume.clone(), name.clone());
        let holder = lease.holder.clone();
        let (id, epoch) = (lease.attachment.clone(), head.epoch);
        HolderSeen::of(&AttachmentRecord::new(id, volume, holder, lease.access, epoch, lease.since))
    });
    Error::in_use("another holds the volume", holders.collect())
        .advise("wait until it is detached, or vouch for its holder's death")
}

fn vouch_error(head: &Head, takeover: &Takeover) -> Error {
    match takeover {
        Takeover::Vouched(vouch) => stale_vouch(vouch, head),
        _ => Error::internal("a vouch is stale that nobody gave"),
    }
}

/// Asking for a head is about no commit.
#[derive(Debug)]
struct NoHistory;

#[async_trait]
impl History for NoHistory {
    async fn parent(&self, _: &VolumeId, _: &CommitName) -> Result<Option<CommitName>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
