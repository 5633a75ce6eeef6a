//! Taking a snapshot: pin the live tree, cut it beside, flush, link the record.
//!
//! The volume's exclusion is held for the link alone. A long copy therefore delays no attach and no
//! detach; the tree that it reads stays because it is read, whatever is restored or deleted meanwhile.

use super::record::{self, StoredSnapshot};
use crate::{
    capability::Capabilities,
    clock::Timestamp,
    directory::{
        durable::Claimed,
        engine::Engine,
        hooks::{Demand, Held, hold_to},
        layout::VolumeLayout,
        place::{Cut, CutMode},
        records,
        stored::Located,
        trees::{NewTree, TreeRead},
    },
    error::{Error, Result},
    id::{Epoch, VolumeId},
    name::VolumeName,
    progress::{Meter, Phase},
    snapshot::{Outcome, SnapshotName, SnapshotOptions, SnapshotRecord, SnapshotReport},
    volume::VolumeState,
};
use std::sync::Arc;

/// A volume whose live tree is pinned.
#[derive(Debug)]
struct Pinned {
    located: Located,
    source: TreeRead,
}

/// A tree that was cut and has no name yet.
#[derive(Debug)]
struct Fresh {
    located: Located,
    tree: NewTree,
    cut: Cut,
    taken: Timestamp,
    epoch: Epoch,
}

enum Start {
    There(Box<StoredSnapshot>),
    Pinned(Box<Pinned>),
}

enum Published {
    Mine,
    Theirs(Box<StoredSnapshot>),
}

impl Engine {
    pub(crate) async fn snapshot(
        self: &Arc<Self>,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: SnapshotOptions,
    ) -> Result<SnapshotReport> {
        self.info.require(Capabilities::SNAPSHOTS, "this store takes no snapshots")?;
        let call = self.calls.begin(&options.call)?;
        let own = self.place.characteristics().cut_consistency;
        let demand = Demand { least: options.consistency, own };
        let reachable = demand.check_reachable(options.quiesce.as_deref());
        let (engine, of, name) = (Arc::clone(self), volume.clone(), snapshot.clone());
        let hooked = options.quiesce.is_some();
        let pinned = match call.run(move |meter| engine.pin(&of, &name, reachable, hooked, meter)).await? {
            Start::There(there) => return Ok(SnapshotReport::new(there.snapshot, Outcome::Already)),
            Start::Pinned(pinned) => *pinned,
        };
        let (engine, cutting) = (Arc::clone(self), call.clone());
        let cut = async move { cutting.run(move |meter| engine.cut_pinned(pinned, meter)).await };
        let held = hold_to(&call, options.quiesce.clone(), demand, cut).await?;
        let (engine, name) = (Arc::clone(self), snapshot.clone());
        call.run(move |meter| engine.name_fresh(held, name, &options, demand, meter)).await
    }

    /// Pins the live tree, unless the snapshot is there.
    fn pin(
        &self,
        volume: &VolumeName,
        name: &SnapshotName,
        reachable: Result<()>,
        hooked: bool,
        meter: &Meter,
    ) -> Result<Start> {
        let located = self.locate(volume)?;
        if let Some(there) = record::read(&located.layout, name)?
            && there.counts(&located.stored.generation)
        {
            self.confirm_name(&located)?;
            self.confirm(&located.layout.snapshots())?;
            return Ok(Start::There(Box::new(there)));
        }
        reachable?;
        self.check_writable()?;
        meter.enter(Phase::Wait);
        let id = &located.stored.volume.id;
        let source = self.read_tree(&located.layout, meter, || Ok(self.locate_id(id)?.stored.generation))?;
        if hooked {
            // What is written back before the writers are stopped is not waited for while they are.
            meter.enter(Phase::Flush);
            self.place.flush(&source.path, meter)?;
        }
        Ok(Start::Pinned(Box::new(Pinned { located, source })))
    }

    fn cut_pinned(&self, pinned: Pinned, meter: &Meter) -> Result<Fresh> {
        let Pinned { located, source } = pinned;
        let tree = self.begin_tree(&located.layout)?;
        meter.enter(Phase::Transfer);
        let taken = self.now();
        let cut = self.place.cut(&source.path, &tree.path, CutMode::Immutable, meter);
        // No writer that came later has written any of it.
        match cut.and_then(|cut| Ok((cut, self.newest_epoch(&located.layout)?))) {
            Ok((cut, epoch)) => Ok(Fresh { located, tree, cut, taken, epoch }),
            Err(error) => {
                self.abandon_tree(&located.layout, tree, meter);
                Err(error)
            }
        }
    }

    fn name_fresh(
        &self,
        held: Held<Fresh>,
        name: SnapshotName,
        options: &SnapshotOptions,
        demand: Demand,
        meter: &Meter,
    ) -> Result<SnapshotReport> {
        let consistency = held.consistency(held.value.cut.consistency);
        let Fresh { located, tree, cut, taken, epoch } = held.value;
        let volume = &located.stored.volume;
        let mut snapshot = SnapshotRecord::new(name, volume.id.clone(), volume.name.clone(), taken);
        (snapshot.epoch, snapshot.consistency, snapshot.totals) = (epoch, consistency, cut.totals);
        snapshot.labels.clone_from(&options.labels);
        snapshot.hooks.extend(held.run);
        let stored = StoredSnapshot { snapshot, generation: tree.generation.clone() };
        meter.enter(Phase::Flush);
        let flushed = demand.check(consistency).and_then(|()| self.place.flush(&tree.path, meter));
        if let Err(error) = flushed.and_then(|()| meter.check()) {
            self.abandon_tree(&located.layout, tree, meter);
            return Err(error);
        }
        match self.name_tree(&located.layout, &volume.id, &stored, meter) {
            Ok(Published::Mine) => {
                let mut report = SnapshotReport::new(stored.snapshot, Outcome::Done);
                report.remarks = cut.remarks;
                report.remarks.extend(report.record.hooks.iter().filter_map(hook_remark));
                Ok(report)
            }
            Ok(Published::Theirs(there)) => {
                self.abandon_tree(&located.layout, tree, meter);
                Ok(SnapshotReport::new(there.snapshot, Outcome::Already))
            }
            Err(error) => {
                self.abandon_unnamed(&located.layout, &stored, tree, meter);
                Err(error)
            }
        }
    }

    /// Gives up a tree whose naming failed, unless its record is there in spite of that: an error of link(2)
    /// or of the flush after it does not say that nothing happened.
    fn abandon_unnamed(&self, layout: &VolumeLayout, stored: &StoredSnapshot, tree: NewTree, meter: &Meter) {
        match record::read(layout, &stored.snapshot.name) {
            Ok(Some(there)) if there.generation == tree.generation => {}
            Ok(_) => self.abandon_tree(layout, tree, meter),
            Err(error) => tracing::warn!(%error, "a tree that may have its name is left to prune"),
        }
    }

    /// Makes the record, unless one that counts has its name.
    fn name_tree(
        &self,
        layout: &VolumeLayout,
        id: &VolumeId,
        stored: &StoredSnapshot,
        meter: &Meter,
    ) -> Result<Published> {
        meter.enter(Phase::Publish);
        let _alone = self.exclude(layout, meter)?;
        let now = self.locate_id(id)?;
        if now.stored.volume.state != VolumeState::Ready {
            return Err(Error::not_found("the volume was deleted meanwhile"));
        }
        self.confirm_name(&now)?;
        let name = &stored.snapshot.name;
        match record::read(layout, name)? {
            Some(there) if there.counts(&now.stored.generation) => {
                self.confirm(&layout.snapshots())?;
                return Ok(Published::Theirs(Box::new(there)));
            }
            Some(_prepared) => self.durable.remove(&layout.snapshot(name))?,
            None => {}
        }
        match self.durable.create(&layout.snapshot(name), &records::encode(stored)?)? {
            Claimed::Won => Ok(Published::Mine),
            Claimed::Lost => match record::read(layout, name)? {
                Some(there) => Ok(Published::Theirs(Box::new(there))),
                None => Err(Error::internal("a snapshot's record vanished while its volume was held")),
            },
        }
    }
}

fn hook_remark(run: &crate::quiesce::HookRun) -> Option<String> {
    let failure = run.failure.as_ref()?;
    Some(format!("the hook {} did not hold the writers for the whole cut: {failure}", run.hook))
}
