//! Moving a reader on to a newer snapshot.

use super::{
    plan::{At, Shows},
    served::Session,
    shown::own_path,
    stored::{Shown, StoredAttachment, read},
};
use crate::{
    attachment::{AttachmentId, BusyFiles, RefreshOptions, RefreshReport},
    directory::{engine::Engine, snapshots::record::StoredSnapshot, stored::Located},
    error::{Error, ErrorKind, Result},
    progress::{Meter, Phase},
    snapshot::{Outcome, SnapshotName, SnapshotRecord},
    wait::{Pauses, until},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

impl Engine {
    pub(crate) async fn refresh(
        self: &Arc<Self>,
        attachment: &AttachmentId,
        options: RefreshOptions,
    ) -> Result<RefreshReport> {
        self.check_writable()?;
        let call = self.calls.begin(&options.call)?;
        let session = self.session(&call, attachment).await?;
        let engine = Arc::clone(self);
        call.run(move |meter| engine.refresh_session(&session, options.snapshot.as_ref(), meter)).await
    }

    /// Another refresh of ours may be at it, perhaps one that was dropped: then this one looks again.
    fn refresh_session(
        &self,
        session: &Session,
        wanted: Option<&SnapshotName>,
        meter: &Meter,
    ) -> Result<RefreshReport> {
        let pauses = Pauses::SHORT.within(SETTLING);
        until(pauses, meter, || self.try_refresh(session, wanted, meter))?.ok_or_else(changed)
    }

    /// `None` if the attachment or the snapshot was changed meanwhile.
    fn try_refresh(
        &self,
        session: &Session,
        wanted: Option<&SnapshotName>,
        meter: &Meter,
    ) -> Result<Option<RefreshReport>> {
        let (stored, path) = {
            let state = session.state();
            (state.stored.clone(), state.path.clone())
        };
        if stored.record.access.writes() {
            return Err(Error::invalid("attachment", "only a reader is refreshed"));
        }
        self.check_lease(session)?;
        let Some(now) = &stored.record.snapshot else {
            return match wanted {
                None => Ok(Some(RefreshReport::new(path, Outcome::Already, self.now()))),
                Some(_) => Err(Error::invalid(
                    "snapshot",
                    "a live reader follows the writer and is pinned to nothing",
                )
                .advise("attach another reader, pinned to the snapshot")),
            };
        };
        let located = self.locate_id(&stored.record.volume)?;
        let next = self.snapshot_after(&located, now, wanted)?.snapshot;
        if next.name == *now {
            return Ok(Some(RefreshReport::new(path, Outcome::Already, next.taken)));
        }
        let path = self.show_next(session, &stored, &next, meter)?;
        Ok(path.map(|path| RefreshReport::new(path, Outcome::Done, next.taken)))
    }

    /// The snapshot to move to: the one that is named, else the newest, if it is newer.
    fn snapshot_after(
        &self,
        located: &Located,
        now: &SnapshotName,
        wanted: Option<&SnapshotName>,
    ) -> Result<StoredSnapshot> {
        if let Some(name) = wanted {
            return self.pinned(located, name);
        }
        let current = self.pinned(located, now)?;
        let newest = self.newest_snapshot(located)?;
        Ok(newest.filter(|newest| newest.snapshot.taken > current.snapshot.taken).unwrap_or(current))
    }

    fn show_next(
        &self,
        session: &Session,
        stored: &StoredAttachment,
        next: &SnapshotRecord,
        meter: &Meter,
    ) -> Result<Option<PathBuf>> {
        let layout = &session.layout;
        let name = next.name.clone();
        let source = self.read_snapshot(layout, &stored.record.volume, &name, meter)?;
        let number = stored.newest()?.number.saturating_add(1);
        let shown =
            Shown { number, generation: source.stored.generation.clone(), snapshot: Some(name.clone()) };
        let mut fresh = stored.clone();
        fresh.record.snapshot = Some(name);
        fresh.shown.push(shown.clone());
        let copy = match stored.plan.shows {
            Shows::Copy => Some(self.copy(layout, &session.id, &source.tree.path, meter)?),
            _ => None,
        };
        let path = self.show(session, stored, (fresh, &shown), copy.as_deref(), meter);
        if !matches!(path, Ok(Some(_))) {
            copy.iter().for_each(|copy| self.drop_copy(copy, meter));
        }
        path
    }

    /// Switches the reader to `shown`, of which `copy` is the private copy, if it needs one.
    fn show(
        &self,
        session: &Session,
        stored: &StoredAttachment,
        (mut fresh, shown): (StoredAttachment, &Shown),
        copy: Option<&Path>,
        meter: &Meter,
    ) -> Result<Option<PathBuf>> {
        let layout = &session.layout;
        let _held = self.exclude(layout, meter)?;
        if read(layout, &session.id)?.as_ref() != Some(stored) {
            self.check_lease(session)?;
            return Ok(None);
        }
        // Under the exclusion the record of the snapshot and ours cannot pass each other.
        let name = shown.snapshot.as_ref().ok_or_else(changed)?;
        let still = self.pinned(&self.locate_id(&stored.record.volume)?, name)?;
        if still.generation != shown.generation {
            return Ok(None);
        }
        meter.enter(Phase::Publish);
        if let Some(copy) = copy {
            self.put_copy(copy, &own_path(layout, &fresh, shown), meter)?;
        }
        let old = drop_oldest(&mut fresh);
        self.rewrite_attachment(layout, &fresh)?;
        let path = self.raise(layout, &fresh, meter)?;
        let mut state = session.state();
        state.stored = fresh;
        state.path.clone_from(&path);
        drop(state);
        self.clear_oldest(session, stored, old.as_ref(), meter);
        Ok(Some(path))
    }

    /// The tree before the last one goes. What fails here is found again at detach.
    fn clear_oldest(&self, session: &Session, stored: &StoredAttachment, old: Option<&Shown>, meter: &Meter) {
        let Some(old) = old else { return };
        let view = own_path(&session.layout, stored, old);
        let cleared = match stored.plan.shows {
            Shows::Copy => self.place.remove_tree(&view, meter),
            _ => self.lower_view(&session.layout, stored, old, BusyFiles::Lazy, &mut Vec::new()),
        };
        if let Err(error) = cleared {
            tracing::warn!(attachment = %session.id, %error, "an older tree was left until detach");
        }
    }
}

/// For what changes an attachment to end: it copies no tree meanwhile.
const SETTLING: Duration = Duration::from_secs(1);

fn changed() -> Error {
    Error::new(ErrorKind::Unavailable, "the attachment, or the snapshot, was changed meanwhile")
        .advise("repeat the call")
}

/// Keeps the newest tree, the one before it, and what a mount at the target shows for as long as it is there.
fn drop_oldest(stored: &mut StoredAttachment) -> Option<Shown> {
    let first = usize::from(stored.plan.at == At::Mount);
    (stored.shown.len() > first + 2).then(|| stored.shown.remove(first))
}
