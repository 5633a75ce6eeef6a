//! Deleting a snapshot: the record first, then its tree.

use super::record::{self, StoredSnapshot};
use crate::{
    capability::Capabilities,
    directory::{engine::Engine, stored::Located},
    error::{Error, ErrorKind, Result},
    id::Generation,
    name::VolumeName,
    progress::{Meter, Phase},
    snapshot::{DeleteSnapshotOptions, Outcome, SnapshotName},
    wait::{self, Pauses},
};
use std::{sync::Arc, time::Duration};

impl Engine {
    pub(crate) async fn delete_snapshot(
        self: &Arc<Self>,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: DeleteSnapshotOptions,
    ) -> Result<Outcome> {
        self.info.require(Capabilities::SNAPSHOTS, "this store has no snapshots")?;
        let (engine, volume, name) = (Arc::clone(self), volume.clone(), snapshot.clone());
        self.calls.run(&options.call, move |meter| engine.remove_snapshot(&volume, &name, meter)).await
    }

    fn remove_snapshot(&self, volume: &VolumeName, name: &SnapshotName, meter: &Meter) -> Result<Outcome> {
        self.check_writable()?;
        meter.enter(Phase::Wait);
        // Between looks nothing is held: whoever else changes the volume does not wait with us.
        let unread = Pauses::SHORT.within(LETTING_GO);
        wait::until(unread, meter, || self.try_remove_snapshot(volume, name, meter))?.ok_or_else(|| {
            Error::in_use("the snapshot is being read", Vec::new())
                .advise("close what reads it (an open source, a clone that is made of it), then repeat")
        })
    }

    /// `None` while the snapshot's tree is being read: a reader that was dropped lets go at its next safe
    /// point, and gets as long as that takes.
    fn try_remove_snapshot(
        &self,
        volume: &VolumeName,
        name: &SnapshotName,
        meter: &Meter,
    ) -> Result<Option<Outcome>> {
        let (alone, located) = match self.locate_alone(volume, meter) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Some(Outcome::Already)),
            found => found?,
        };
        let Some(stored) = record::read(&located.layout, name)? else { return Ok(Some(Outcome::Already)) };
        let layout = &located.layout;
        if !stored.counts(&located.stored.generation) {
            // What an interrupted restore prepared: the tree is the live one.
            self.durable.remove(&layout.snapshot(name))?;
            return Ok(Some(Outcome::Already));
        }
        self.check_unread(layout, name, meter)?;
        let Some(claim) = self.claim_tree(layout, &stored.generation)? else { return Ok(None) };
        let last = self.is_last_name(&located, &stored)?;
        meter.enter(Phase::Publish);
        self.durable.remove(&layout.snapshot(name))?;
        drop(alone);
        meter.enter(Phase::Remove);
        if last && let Err(error) = self.remove_claimed(layout, &stored.generation, &claim, meter) {
            // It is deleted: its record has gone. What is left of the tree is for prune.
            tracing::warn!(snapshot = %name, generation = %stored.generation, %error, "a tree is left to prune");
        }
        Ok(Some(Outcome::Done))
    }

    /// Whether nothing else names the snapshot's tree. What cannot be read may.
    fn is_last_name(&self, located: &Located, stored: &StoredSnapshot) -> Result<bool> {
        let others = record::all(&located.layout)?;
        Ok(is_last(&stored.snapshot.name, &stored.generation, &located.stored.generation, &others))
    }
}

/// For a reader to let go: many times what one read of a stream takes, and short enough for an answer.
const LETTING_GO: Duration = Duration::from_millis(750);

fn is_last(
    name: &SnapshotName,
    generation: &Generation,
    live: &Generation,
    records: &[Result<StoredSnapshot>],
) -> bool {
    let other = |record: &Result<StoredSnapshot>| match record {
        Ok(stored) => stored.snapshot.name != *name && stored.generation == *generation,
        Err(_unreadable) => true,
    };
    generation != live && !records.iter().any(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{SystemEnvironment, Timestamp},
        id::VolumeId,
        snapshot::SnapshotRecord,
    };

    #[test]
    fn a_tree_that_something_else_names_or_may_name_stays() {
        let mint = || Generation::mint(&SystemEnvironment, &SystemEnvironment);
        let (mine, live) = (mint(), mint());
        let named = |name: &str, generation: &Generation| {
            let volume = VolumeId::mint(&SystemEnvironment, &SystemEnvironment);
            let (name, of) = (SnapshotName::new(name).unwrap(), VolumeName::new("v").unwrap());
            let snapshot = SnapshotRecord::new(name, volume, of, Timestamp::from_millisecond(0));
            Ok(StoredSnapshot { snapshot, generation: generation.clone() })
        };
        let name = SnapshotName::new("s").unwrap();
        let own = || named("s", &mine);
        assert!(is_last(&name, &mine, &live, &[own(), named("t", &mint())]));
        assert!(!is_last(&name, &mine, &live, &[own(), named("t", &mine)]));
        assert!(!is_last(&name, &mine, &live, &[own(), Err(Error::internal("unreadable"))]));
        assert!(!is_last(&name, &mine, &mine, &[own()]));
    }
}
