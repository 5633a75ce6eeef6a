//! Restoring in place: the next generation is built beside the live one and named by one record.
//!
//! The volume's exclusion is held throughout, so an attach that comes meanwhile waits, and gets the
//! restored tree. The record that keeps what is replaced is made first and counts only once the volume's
//! record names the new tree (see [`StoredSnapshot::counts`]): one link makes both true.

use super::{
    read::SnapshotTree,
    record::{self, StoredSnapshot},
    replaced::{self, Plan},
};
use crate::{
    capability::{Capabilities, Consistency},
    directory::{
        durable::Claimed,
        engine::Engine,
        place::CutMode,
        records,
        stored::{Located, Restored, StoredVolume},
        trees::{Discarded, NewTree},
    },
    error::Result,
    id::{Epoch, Generation},
    name::VolumeName,
    progress::{Meter, Phase},
    snapshot::{
        Outcome, Replaced, RestoreOptions, RestoreReport, SnapshotKind, SnapshotName, SnapshotRecord,
    },
};
use std::sync::Arc;

impl Restored {
    /// Whether the volume is still what the restore of that tree made it: no writer has come since.
    fn holds(&self, snapshot: &SnapshotName, tree: &Generation, epoch: Epoch) -> bool {
        (&self.snapshot, &self.tree, self.epoch) == (snapshot, tree, epoch)
    }
}

impl Engine {
    pub(crate) async fn restore(
        self: &Arc<Self>,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: RestoreOptions,
    ) -> Result<RestoreReport> {
        self.info.require(Capabilities::SNAPSHOTS, "this store has no snapshots")?;
        let (engine, volume, name) = (Arc::clone(self), volume.clone(), snapshot.clone());
        let replaced = options.replaced;
        self.calls.run(&options.call, move |meter| engine.put_back(&volume, &name, &replaced, meter)).await
    }

    fn put_back(
        &self,
        volume: &VolumeName,
        name: &SnapshotName,
        replaced: &Replaced,
        meter: &Meter,
    ) -> Result<RestoreReport> {
        meter.enter(Phase::Wait);
        let (alone, located) = self.locate_alone(volume, meter)?;
        let now = &located.stored;
        let source = self.read_snapshot(&located.layout, &now.volume.id, name, meter)?;
        let tree = &source.tree.generation;
        if now.restored.as_ref().is_some_and(|done| done.holds(name, tree, now.volume.epoch)) {
            self.confirm(&located.layout.records())?;
            return Ok(RestoreReport::new(now.volume.clone(), None, Outcome::Already));
        }
        self.check_unattached(&located.layout, meter)?;
        // A record that cannot be read names no tree that this restore could keep twice.
        let there: Vec<_> = record::all(&located.layout)?.into_iter().filter_map(Result::ok).collect();
        let plan = replaced::plan(replaced, name, &now.generation, located.number, &there)?;
        let (fresh, mut remarks) = self.cut_back(&located, &source, meter)?;
        let next = next(now, name, &source, &fresh);
        self.replace_live(&located, &next, &plan, fresh, meter)?;
        drop((source, alone));
        remarks.extend(self.settle(&located, plan.keep.is_some(), meter));
        let mut report = RestoreReport::new(next.volume, plan.keep, Outcome::Done);
        report.remarks = remarks;
        Ok(report)
    }

    /// Builds the next live tree, limited and durable; nothing names it yet.
    fn cut_back(
        &self,
        located: &Located,
        source: &SnapshotTree,
        meter: &Meter,
    ) -> Result<(NewTree, Vec<String>)> {
        let size = located.stored.volume.spec.size_bytes;
        if size.is_some() {
            self.info
                .require(Capabilities::ENFORCED_SIZE, "the volume's size cannot be enforced here any more")
                .map_err(|e| e.advise("enable quotas again, or lift the limit by update"))?;
        }
        let tree = self.begin_tree(&located.layout)?;
        let build = || {
            meter.enter(Phase::Transfer);
            let cut = self.place.cut(&source.tree.path, &tree.path, CutMode::Writable, meter)?;
            if size.is_some() {
                self.place.limit_size(&tree.path, size)?;
            }
            meter.enter(Phase::Flush);
            self.place.flush(&tree.path, meter)?;
            meter.check()?;
            Ok(cut.remarks)
        };
        match build() {
            Ok(remarks) => Ok((tree, remarks)),
            Err(error) => {
                self.abandon_tree(&located.layout, tree, meter);
                Err(error)
            }
        }
    }

    /// Publishes `next`, which names `fresh`; before that, the record that is to keep what it replaces.
    fn replace_live(
        &self,
        located: &Located,
        next: &StoredVolume,
        plan: &Plan,
        fresh: NewTree,
        meter: &Meter,
    ) -> Result<()> {
        meter.enter(Phase::Publish);
        let prepared = self.prepare(located, plan);
        let Err(error) = prepared.and_then(|()| self.publish(located, next)) else { return Ok(()) };
        // An error of the link, or of the flush after it, does not say that nothing happened.
        match self.locate_id(&next.volume.id) {
            Ok(now) if now.stored.generation == fresh.generation => {}
            Ok(_) => self.abandon_tree(&located.layout, fresh, meter),
            Err(error) => tracing::warn!(%error, "a tree that may be live is left to prune"),
        }
        Err(error)
    }

    fn prepare(&self, located: &Located, plan: &Plan) -> Result<()> {
        let layout = &located.layout;
        plan.void.iter().try_for_each(|name| self.durable.remove(&layout.snapshot(name)))?;
        let Some(name) = &plan.keep else { return Ok(()) };
        let stored = kept(name, &located.stored, self.now());
        match self.durable.create(&layout.snapshot(name), &records::encode(&stored)?)? {
            Claimed::Won => Ok(()),
            Claimed::Lost => Err(replaced::conflict(name)),
        }
    }

    /// What is left to do about the tree that was replaced. None of it can undo the restore.
    fn settle(&self, located: &Located, is_kept: bool, meter: &Meter) -> Option<String> {
        let old = &located.stored.generation;
        if is_kept {
            let sealed = self.place.seal(&located.layout.generation(old));
            return sealed.err().map(|e| format!("what was replaced is kept, but could not be sealed: {e}"));
        }
        meter.enter(Phase::Remove);
        match self.discard_tree(&located.layout, old, meter) {
            Ok(Discarded::Gone) => None,
            Ok(Discarded::Left) => Some("what was replaced is being read and left to prune".to_owned()),
            Err(e) => Some(format!("what was replaced is left to prune: {e}")),
        }
    }
}

fn next(now: &StoredVolume, name: &SnapshotName, source: &SnapshotTree, fresh: &NewTree) -> StoredVolume {
    let mut next = now.clone();
    next.generation = fresh.generation.clone();
    next.volume.restored_from = Some(name.clone());
    let (tree, epoch) = (source.tree.generation.clone(), now.volume.epoch);
    next.restored = Some(Restored { snapshot: name.clone(), tree, epoch });
    next
}

/// The record that keeps the live tree. Nobody writes to it while it is replaced, so it is as a crash now
/// would leave it.
fn kept(name: &SnapshotName, now: &StoredVolume, taken: crate::clock::Timestamp) -> StoredSnapshot {
    let volume = &now.volume;
    let mut snapshot = SnapshotRecord::new(name.clone(), volume.id.clone(), volume.name.clone(), taken);
    snapshot.kind = SnapshotKind::Replaced;
    snapshot.epoch = volume.epoch;
    snapshot.consistency = Consistency::Crash;
    StoredSnapshot { snapshot, generation: now.generation.clone() }
}
