//! Pruning one volume.

use super::Pruner;
use crate::{
    capability::Capabilities,
    care::{PruneItem, PruneMode, PruneReason},
    directory::{
        care::measure::measure,
        exclusion::{Exclusion, Hold},
        intents,
        place::Verdict,
        stored::Located,
        volumes::{check_free, names},
    },
    error::{Error, ErrorKind, Result},
    id::{AttachmentId, Epoch, Generation, VolumeId},
    volume::{Lifetime, SnapshotsAlong, Trash, VolumeState},
};

impl Pruner<'_> {
    /// Looks after the volume `id`.
    pub(super) fn volume(&mut self, id: &VolumeId) -> Result<()> {
        // In this order: who ended its work before this look has published before it.
        if intents::is_live(&self.engine.layout.intent(id))? {
            return Ok(());
        }
        let found = match self.engine.locate_id(id) {
            Err(e) if e.kind() == ErrorKind::NotFound => return self.without_record(id),
            found => found?,
        };
        match found.stored.volume.state {
            VolumeState::Trashed { until, .. } if until <= self.engine.now() => self.expired(&found),
            VolumeState::Trashed { .. } => self.deletion(&found),
            VolumeState::Ready => self.ready(&found),
        }
    }

    /// A volume is acknowledged after its record is durable: without one, it never was.
    fn without_record(&mut self, id: &VolumeId) -> Result<()> {
        let layout = self.engine.layout.volume(id);
        let _alone = match self.mode {
            PruneMode::Apply => match Exclusion::attempt(&layout.exclusion(), Hold::Alone)? {
                Some(alone) => Some(alone),
                None => return Ok(()),
            },
            _ => None,
        };
        // Nobody changes it now: a record that was missed while it was replaced is seen.
        match self.engine.locate_id(id) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            found => return found.map(drop),
        }
        if self.engine.is_named(id)? {
            return Err(lost_record(id));
        }
        let bytes = measure(layout.root(), self.meter)?.bytes;
        if self.applies() {
            self.engine.remove_volume(id, &layout, self.meter)?;
        }
        self.note(PruneItem::new(
            PruneReason::Undo,
            Some(id.clone()),
            "a creation that was interrupted",
            bytes,
        ));
        Ok(())
    }

    /// A volume in the trash whose name is not free yet.
    fn deletion(&mut self, found: &Located) -> Result<()> {
        let volume = &found.stored.volume;
        if !self.engine.names(&volume.name, &volume.id)? {
            return Ok(());
        }
        if self.applies() {
            self.engine.free_stale(&volume.name, found, self.meter)?;
        }
        let what = format!("the deletion of volume {}", volume.name);
        self.note(PruneItem::new(PruneReason::Finish, Some(volume.id.clone()), what, 0));
        Ok(())
    }

    fn expired(&mut self, found: &Located) -> Result<()> {
        let volume = &found.stored.volume;
        let Some(grip) = self.grip(found)? else { return Ok(()) };
        if self.engine.is_read(&found.layout)? {
            return Ok(());
        }
        let bytes = measure(found.layout.root(), self.meter)?.bytes;
        if let Grip::Alone(alone) = &grip {
            self.engine.free_name(&volume.name, &volume.id, self.meter)?;
            self.engine.remove_trashed(&volume.id, alone, self.meter)?;
        }
        let what = format!("volume {} in the trash", volume.name);
        self.note(PruneItem::new(PruneReason::TrashExpired, Some(volume.id.clone()), what, bytes));
        Ok(())
    }

    fn ready(&mut self, found: &Located) -> Result<()> {
        let volume = &found.stored.volume;
        if !self.engine.names(&volume.name, &volume.id)? {
            // Only a fault outside of us makes such a volume: verify says so, and nothing removes it.
            return Ok(());
        }
        let Some(grip) = self.grip(found)? else { return Ok(()) };
        self.step(found, Self::dead_holders)?;
        if self.has_ended(found)? {
            return self.end_lifetime(found, &grip);
        }
        self.step(found, Self::drafts)?;
        self.step(found, Self::stray_attachments)?;
        self.step(found, Self::limit)?;
        drop(grip);
        self.step(found, Self::trees)
    }

    /// One step of several: what fails leaves the others to be done.
    fn step(&mut self, found: &Located, work: impl FnOnce(&mut Self, &Located) -> Result<()>) -> Result<()> {
        let place = || found.layout.root().to_owned();
        self.attempt(Some(&found.stored.volume.id), place, |pruner| work(pruner, found))
    }

    fn limit(&mut self, found: &Located) -> Result<()> {
        if self.applies() && self.engine.info.capabilities.contains(Capabilities::ENFORCED_SIZE) {
            // An update that died between the limit and its record.
            let tree = found.layout.generation(&found.stored.generation);
            self.engine.place.limit_size(&tree, found.stored.volume.spec.size_bytes)?;
        }
        Ok(())
    }

    /// Clears the attachments of holders away that are proven dead.
    fn dead_holders(&mut self, found: &Located) -> Result<()> {
        let mut dead = Vec::new();
        for (attachment, verdict) in self.engine.attached(&found.layout)? {
            let Verdict::Dead(proof) = verdict else { continue };
            let record = attachment.record;
            let bytes = measure(&found.layout.views_of(&record.id), self.meter)?.bytes;
            let what = format!("attachment {} of {}: {proof}", record.id, record.holder.workload);
            dead.push(PruneItem::new(PruneReason::DeadHolder, Some(record.volume), what, bytes));
        }
        if self.applies() && !dead.is_empty() {
            self.engine.evict_dead(&found.layout, self.meter)?;
        }
        dead.into_iter().for_each(|item| self.note(item));
        Ok(())
    }

    /// Removes what killed attaches and detaches left.
    fn stray_attachments(&mut self, found: &Located) -> Result<()> {
        for id in self.engine.stray_attachments(&found.layout)? {
            self.step(found, |pruner, found| pruner.stray_attachment(found, &id))?;
        }
        Ok(())
    }

    fn stray_attachment(&mut self, found: &Located, id: &AttachmentId) -> Result<()> {
        let bytes = measure(&found.layout.views_of(id), self.meter)?.bytes;
        if self.applies() {
            self.engine.remove_stray_attachment(&found.layout, id, self.meter)?;
        }
        let volume = found.stored.volume.id.clone();
        let what = format!("what is left of attachment {id}");
        self.note(PruneItem::new(PruneReason::Undo, Some(volume), what, bytes));
        Ok(())
    }

    /// Whether the volume is past its lifetime and nothing keeps it.
    fn has_ended(&self, found: &Located) -> Result<bool> {
        let volume = &found.stored.volume;
        let over = match volume.spec.lifetime {
            Lifetime::Kept => false,
            Lifetime::For(duration) => volume.created.saturating_add(duration) <= self.engine.now(),
            // Its last attachment is gone only if there was one.
            Lifetime::Attachment => volume.epoch > Epoch::ZERO,
        };
        if !over {
            return Ok(false);
        }
        match check_free(self.engine, found, SnapshotsAlong::Refuse) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.kind(), ErrorKind::Denied | ErrorKind::InUse | ErrorKind::Conflict) => {
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    fn end_lifetime(&mut self, found: &Located, grip: &Grip) -> Result<()> {
        let volume = &found.stored.volume;
        let bytes = measure(found.layout.root(), self.meter)?.bytes;
        if let Grip::Alone(alone) = grip {
            self.engine.trash(found, Trash::Bypass, self.meter)?;
            self.engine.remove_trashed(&volume.id, alone, self.meter)?;
        }
        let what = format!("volume {}", volume.name);
        self.note(PruneItem::new(PruneReason::LifetimeEnded, Some(volume.id.clone()), what, bytes));
        Ok(())
    }

    /// Removes trees that nothing names. A tree is held alone first and judged after: who built it names it
    /// before letting go, and who reads it keeps it.
    fn trees(&mut self, found: &Located) -> Result<()> {
        let layout = &found.layout;
        let mut candidates = names(&layout.data())?;
        candidates.extend(names(&layout.intents())?);
        candidates.sort();
        candidates.dedup();
        for generation in candidates.iter().filter_map(|text| Generation::parse(text)) {
            self.step(found, |pruner, found| pruner.tree(found, &generation))?;
        }
        Ok(())
    }

    fn tree(&mut self, found: &Located, generation: &Generation) -> Result<()> {
        let Some(bytes) = self.remove_unreferred(found, generation)? else { return Ok(()) };
        let id = found.stored.volume.id.clone();
        let what = format!("tree {generation} of volume {}", found.stored.volume.name);
        self.note(PruneItem::new(PruneReason::Unreferenced, Some(id), what, bytes));
        Ok(())
    }

    /// Removes one tree, unless it is referred to or somebody is at it, and says how much it took up.
    fn remove_unreferred(&self, found: &Located, generation: &Generation) -> Result<Option<u64>> {
        let layout = &found.layout;
        if self.is_referred(found, generation)? {
            return Ok(None);
        }
        let held = match self.mode {
            PruneMode::Apply => match self.engine.claim_tree(layout, generation)? {
                Some(held) => Some(held),
                None => return Ok(None),
            },
            _ if intents::is_live(&layout.intent(generation))? => return Ok(None),
            _ => None,
        };
        if self.is_referred(found, generation)? {
            return Ok(None);
        }
        let bytes = measure(&layout.generation(generation), self.meter)?.bytes;
        if let Some(held) = held {
            self.engine.remove_claimed(layout, generation, &held, self.meter)?;
        }
        Ok(Some(bytes))
    }

    /// Whether a record names the tree now. One that cannot be read may.
    fn is_referred(&self, found: &Located, generation: &Generation) -> Result<bool> {
        let now = self.engine.locate_id(&found.stored.volume.id)?;
        Ok(self.engine.referred(&now)?.contains(generation))
    }

    /// The volume's exclusion; `None` if somebody changes it just now, or has changed it since it was found.
    fn grip(&self, found: &Located) -> Result<Option<Grip>> {
        let path = found.layout.exclusion();
        let grip = match self.mode {
            PruneMode::Apply => match Exclusion::attempt(&path, Hold::Alone)? {
                Some(alone) => Grip::Alone(alone),
                None => return Ok(None),
            },
            _ if intents::is_live(&path)? => return Ok(None),
            _ => Grip::Looking,
        };
        let now = self.engine.locate_id(&found.stored.volume.id)?;
        Ok((now.number == found.number).then_some(grip))
    }
}

/// How a volume is held while it is pruned.
#[derive(Debug)]
enum Grip {
    /// So that it may be changed.
    Alone(Exclusion),
    /// Not at all: a report changes nothing, and no file is made for it.
    Looking,
}

fn lost_record(id: &VolumeId) -> Error {
    Error::new(ErrorKind::Corrupt, "a volume that has a name has lost its records").context("id", id)
}
