//! What this opened store serves: volumes whose lease it holds, and who uses them.

use super::{commits::Read, rewrite::Rewrite};
use crate::{
    remote::HeadActor,
    workspace::{Workspace, Workspaces},
};
use persist_core::{
    Attachment, AttachmentId, AttachmentRecord, Consistency, Epoch, Error, ErrorKind, LeaseState, Result,
    Retry, SnapshotName, VolumeId, VolumeName,
    clock::Timestamp,
    lease::{LeaseSignal, LeaseWatch},
    quiesce::{Quiesce, SyncPolicy},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Instant,
};
use tokio::sync::{Notify, Semaphore};

/// What this opened store serves.
#[derive(Debug, Default)]
pub(super) struct Serving {
    sessions: Mutex<HashMap<VolumeId, Arc<Session>>>,
    readers: Mutex<HashMap<AttachmentId, Arc<Reader>>>,
    /// Told when an attachment of this store ends: whoever waits for a volume looks again.
    pub(super) departed: Notify,
}

/// A volume whose lease this store holds: its workspace is written by the attachments of one node.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) volume: VolumeId,
    pub(super) name: VolumeName,
    pub(super) epoch: Epoch,
    pub(super) actor: Arc<HeadActor>,
    pub(super) workspace: Workspace,
    /// Numbers the packs of this epoch.
    pub(super) packs: Arc<AtomicU64>,
    /// One commit at a time.
    pub(super) committing: Semaphore,
    /// Told when an attachment comes, goes, or changes how it is synced.
    pub(super) changed: Notify,
    base: Mutex<Option<Read>>,
    rewrite: Mutex<Option<Rewrite>>,
    /// What keeps the work of a session that was fenced.
    salvage: Mutex<Option<SnapshotName>>,
    /// When this node failed to write down what was written, and nobody had asked.
    unheard: Mutex<Option<Timestamp>>,
    uses: Mutex<HashMap<AttachmentId, Use>>,
}

/// One attachment of a session.
#[derive(Debug, Clone)]
pub(super) struct Use {
    /// The attachment of the near store, which shows the tree.
    pub(super) near: Attachment,
    pub(super) signal: LeaseSignal,
    pub(super) cuts: Cuts,
    pub(super) synced: Instant,
    pub(super) stage: Stage,
}

/// How far a use has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The tree is shown.
    Shown,
    /// It is shown no more, and what was written last is not known to be kept: a repeat of the detach goes on.
    Lowered,
}

/// How the cuts are made that the store makes by itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Cuts {
    pub(super) quiesce: Option<Arc<dyn Quiesce>>,
    pub(super) consistency: Consistency,
}

/// A reader that this store serves.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) record: AttachmentRecord,
    pub(super) signal: LeaseSignal,
    pub(super) spaces: Workspaces,
}

impl Serving {
    /// The lease that this store holds of a volume.
    pub(super) fn session(&self, volume: &VolumeId) -> Option<Arc<Session>> {
        locked(&self.sessions).get(volume).cloned()
    }

    pub(super) fn actor(&self, volume: &VolumeId) -> Option<Arc<HeadActor>> {
        self.session(volume).map(|session| Arc::clone(&session.actor))
    }

    /// The session that an attachment belongs to.
    pub(super) fn session_of(&self, attachment: &AttachmentId) -> Option<Arc<Session>> {
        locked(&self.sessions).values().find(|session| session.has(attachment)).cloned()
    }

    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        locked(&self.sessions).values().cloned().collect()
    }

    pub(super) fn begin(&self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        locked(&self.sessions).insert(session.volume.clone(), Arc::clone(&session));
        session
    }

    pub(super) fn end(&self, volume: &VolumeId) -> Option<Arc<Session>> {
        let ended = locked(&self.sessions).remove(volume);
        if let Some(session) = &ended {
            session.changed.notify_waiters();
        }
        self.departed.notify_waiters();
        ended
    }

    pub(super) fn reader(&self, attachment: &AttachmentId) -> Option<Arc<Reader>> {
        locked(&self.readers).get(attachment).cloned()
    }

    pub(super) fn readers(&self) -> MutexGuard<'_, HashMap<AttachmentId, Arc<Reader>>> {
        locked(&self.readers)
    }
}

impl Session {
    pub(super) fn new(
        (volume, name): (VolumeId, VolumeName),
        actor: HeadActor,
        workspace: Workspace,
        base: Option<Read>,
    ) -> Self {
        Self {
            volume,
            name,
            epoch: actor.head().epoch,
            actor: Arc::new(actor),
            workspace,
            packs: Arc::new(AtomicU64::new(1)),
            committing: Semaphore::new(1),
            changed: Notify::new(),
            base: Mutex::new(base),
            rewrite: Mutex::default(),
            salvage: Mutex::default(),
            unheard: Mutex::default(),
            uses: Mutex::default(),
        }
    }

    /// The newest commit that the head is known to have; none before it was needed.
    pub(super) fn base(&self) -> Option<Read> {
        locked(&self.base).clone()
    }

    pub(super) fn rebase(&self, commit: Read) {
        *locked(&self.base) = Some(commit);
    }

    /// What the next commit stores again.
    pub(super) fn rewrite_next(&self, rewrite: Rewrite) {
        *locked(&self.rewrite) = Some(rewrite);
    }

    /// Once: a commit that fails stores it again after the next prune.
    pub(super) fn take_rewrite(&self) -> Rewrite {
        locked(&self.rewrite).take().unwrap_or_default()
    }

    /// The newest salvage of this session's work.
    pub(super) fn salvaged(&self) -> Option<SnapshotName> {
        locked(&self.salvage).clone()
    }

    pub(super) fn note_salvage(&self, name: SnapshotName) {
        *locked(&self.salvage) = Some(name);
    }

    /// Notes that this node failed at `at` to write down what was written, in a sync that nobody had asked for.
    pub(super) fn lost(&self, at: Timestamp) {
        locked(&self.unheard).get_or_insert(at);
    }

    /// The report of a sync that somebody asked for.
    ///
    /// # Errors
    /// Once, `Unavailable` with `Verify` if there was a [loss](Self::lost) since the last one.
    pub(super) fn told<T>(&self, report: T) -> Result<T> {
        let Some(at) = locked(&self.unheard).take() else { return Ok(report) };
        Err(Error::new(
            ErrorKind::Unavailable,
            "this node failed to write down the workspace in a sync that the store made by itself",
        )
        .with_retry(Retry::Verify)
        .context("at", at)
        .advise("read the kernel log, check what was written before, then sync again"))
    }

    /// Refuses once another has the volume, with what keeps the work by now.
    ///
    /// # Errors
    /// As [`LeaseWatch::check`].
    pub(super) fn check(&self) -> Result<()> {
        match self.lease().state() {
            LeaseState::Fenced { by, .. } => Err(Error::fenced(self.epoch, by, self.salvaged())),
            _ => self.lease().check(self.epoch),
        }
    }

    /// Whether another has the volume, or it was given back.
    pub(super) fn is_over(&self) -> bool {
        self.check().is_err()
    }

    pub(super) fn lease(&self) -> LeaseWatch {
        self.actor.lease()
    }

    /// Shows an attachment of the near store as one of ours, or takes it up again.
    pub(super) fn use_by(&self, near: Attachment, cuts: Option<Cuts>) -> Use {
        let mut uses = locked(&self.uses);
        let (signal, cuts) = match uses.get(&near.id) {
            Some(before) => (before.signal.clone(), cuts.unwrap_or_else(|| before.cuts.clone())),
            None => (LeaseSignal::held(), cuts.unwrap_or_default()),
        };
        signal.set(self.lease().state());
        let used = Use { near, signal, cuts, synced: Instant::now(), stage: Stage::Shown };
        uses.insert(used.near.id.clone(), used.clone());
        drop(uses);
        self.changed.notify_waiters();
        used
    }

    pub(super) fn used(&self, attachment: &AttachmentId) -> Option<Use> {
        locked(&self.uses).get(attachment).cloned()
    }

    pub(super) fn has(&self, attachment: &AttachmentId) -> bool {
        locked(&self.uses).contains_key(attachment)
    }

    pub(super) fn uses(&self) -> Vec<Use> {
        locked(&self.uses).values().cloned().collect()
    }

    /// Whether anybody is shown the tree.
    pub(super) fn is_shown(&self) -> bool {
        locked(&self.uses).values().any(|used| used.stage == Stage::Shown)
    }

    /// Whether nothing but `attachment`, if that, is shown the tree.
    pub(super) fn only_shows(&self, attachment: &AttachmentId) -> bool {
        locked(&self.uses).iter().all(|(id, used)| id == attachment || used.stage == Stage::Lowered)
    }

    /// Notes that `attachment` is shown the tree no more.
    pub(super) fn lowered(&self, attachment: &AttachmentId) {
        if let Some(used) = locked(&self.uses).get_mut(attachment) {
            used.stage = Stage::Lowered;
        }
    }

    /// Ends the use of one attachment.
    pub(super) fn release(&self, attachment: &AttachmentId) {
        if let Some(used) = locked(&self.uses).remove(attachment) {
            used.signal.set(LeaseState::Released);
        }
        self.changed.notify_waiters();
    }

    /// Notes that a sync was tried just now, and where it succeeded, when its cut was made.
    pub(super) fn synced(&self, cut: Option<Timestamp>) {
        let now = Instant::now();
        for used in locked(&self.uses).values_mut() {
            used.synced = now;
            cut.iter().for_each(|cut| used.signal.synced(*cut));
        }
    }

    /// The use whose sync is due first, of those that are synced by themselves.
    pub(super) fn next_due(&self) -> Option<(Instant, Cuts)> {
        let uses = locked(&self.uses);
        let due = uses.values().filter_map(|used| match used.near.sync {
            // One that no clock can tell is never due.
            SyncPolicy::Every(period) => Some((used.synced.checked_add(period)?, used.cuts.clone())),
            _ => None,
        });
        due.min_by_key(|(at, _)| *at)
    }

    /// Tells every handle how the lease stands.
    pub(super) fn tell(&self, state: &LeaseState) {
        locked(&self.uses).values().for_each(|used| used.signal.set(state.clone()));
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
