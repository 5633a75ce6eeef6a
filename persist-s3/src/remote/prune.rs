//! Prune: what no retained commit needs is condemned through the head, *then* whoever may need it is asked, *then*
//! the head says what is removed, and then it is. No clock, no grace period; killed anywhere, the next prune goes on.
//!
//! A delete may arrive long after the process that sent it was fenced or killed. So what deletes were sent for is
//! never spared again: the head says so before the first one is sent, and whoever has lost the head sends none.

mod deleted;

use super::{
    Remote,
    actor::{Done, HeadActor},
    commits::Commits,
    pins::{Ended, PinnedBy},
};
use crate::{
    head::{
        change::Change,
        lease::{GRACE, TTL_MAX, Watch},
        names::{CommitName, Condemned},
        prune::{Sentence, condemnable, sentence},
        record::{Head, Removal, TOMBSTONES_MAX},
    },
    keys::{Key, Part, PinId},
};
use futures::{StreamExt as _, TryStreamExt as _};
use persist_core::{Error, ErrorKind, Result, VolumeId, clock::Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU64,
};

/// Removals and looks that are under way at once: well below the connections of one client.
const AT_ONCE: usize = 8;

/// Objects that are condemned at once: a list of so many names of at most 80 bytes is half as large as a small object
/// may be, and larger ones cannot be read. Commits sort before packs, so each goes no later than what only it needs.
const CONDEMNED_MAX: usize = 100_000;

/// The prune of one volume, under its lease.
#[derive(Debug)]
pub(crate) struct Pruner<'a> {
    planner: Planner<'a>,
    actor: &'a HeadActor,
}

/// Looks what a prune of one volume would remove, whoever holds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planner<'a> {
    remote: &'a Remote,
    commits: &'a dyn Commits,
    retention: Retention,
    stale: StalePins,
}

/// What becomes of readers' pins that were left behind. They speak for nothing, either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StalePins {
    /// They stay: nothing changes by a look.
    Stay,
    /// They are ended, so that whoever comes back to one learns it.
    End,
}

/// Which commits up to the head's are retained although nothing names them: those that either says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// The last ones, so many.
    pub(crate) commits: NonZeroU64,
    /// And those that were made since, by the clocks of their writers.
    pub(crate) since: Option<Timestamp>,
}

/// What a prune would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Objects with their sizes in bytes; sizes of what was condemned and is gone are zero.
    pub(crate) objects: BTreeMap<Condemned, u64>,
}

/// What a prune did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pruned {
    /// What was removed, in bytes.
    pub(crate) bytes: u64,
    /// How many objects were removed.
    pub(crate) objects: u64,
    /// How many were spoken for meanwhile, and stay.
    pub(crate) spared: u64,
}

/// What has been seen of readers' pins: a pin that stays unchanged for 1.25 ttl and 2 s on our own clock was
/// left behind. Kept between prunes, by whoever prunes again.
#[derive(Debug, Clone, Default)]
pub(crate) struct PinWatches(BTreeMap<(VolumeId, PinId), Watch>);

impl Plan {
    /// How many bytes would be removed.
    pub(crate) fn bytes(&self) -> u64 {
        self.objects.values().sum()
    }
}

impl<'a> Planner<'a> {
    /// A look that changes nothing.
    pub(crate) fn new(remote: &'a Remote, commits: &'a dyn Commits, retention: Retention) -> Self {
        Self { remote, commits, retention, stale: StalePins::Stay }
    }

    /// What would be removed now, with what an earlier prune has left condemned.
    ///
    /// # Errors
    /// As the object store and the commits give them: what cannot be read may need anything.
    pub(crate) async fn plan(&self, head: &Head, pins: &mut PinWatches) -> Result<Plan> {
        let stored = self.remote.stored(&head.volume).await?;
        let names = stored.keys().cloned().collect();
        let mut needed = self.needed(head).await?;
        needed.extend(self.spoken_for(&head.volume, pins).await?);
        let mut doomed = condemnable(head, &names, &needed);
        doomed.extend(self.remote.tombstones(head).await?.difference(&needed).cloned());
        let size = |name: Condemned| (stored.get(&name).copied().unwrap_or(0), name);
        Ok(Plan { objects: doomed.into_iter().map(size).map(|(size, name)| (name, size)).collect() })
    }

    /// Everything that the retained commits need, and the last pack within the head's.
    async fn needed(&self, head: &Head) -> Result<BTreeSet<Condemned>> {
        let mut needed = BTreeSet::new();
        let mut at = head.commit.clone();
        for number in 0.. {
            let Some(commit) = at else { break };
            let by_number = number < self.retention.commits.get();
            if !by_number && self.retention.since.is_none() {
                break;
            }
            let facts = match self.commits.facts(&head.volume, &commit).await {
                // An earlier prune retained fewer.
                Err(e) if e.kind() == ErrorKind::NotFound && number > 0 => break,
                facts => facts?,
            };
            if !by_number && self.retention.since.is_some_and(|since| facts.made < since) {
                break;
            }
            needed.extend(facts.reach);
            if number == 0 {
                needed.extend(facts.last_within.map(Condemned::Pack));
            }
            at = facts.parent;
        }
        Ok(needed)
    }

    /// What salvages, snapshots, readers and forks need, listed now.
    async fn spoken_for(&self, volume: &VolumeId, pins: &mut PinWatches) -> Result<BTreeSet<Condemned>> {
        let mut named = BTreeSet::new();
        let mut salvages = self.remote.salvages(volume);
        while let Some((_, salvage)) = salvages.try_next().await? {
            named.extend(salvage.needs);
        }
        let mut snapshots = self.remote.snapshots(volume, None);
        let mut commits = BTreeSet::new();
        while let Some(snapshot) = snapshots.try_next().await? {
            commits.insert(snapshot.commit);
        }
        commits.extend(self.remote.pinned(volume, pins, self.stale).await?);
        for commit in commits {
            named.extend(self.reach_if_there(volume, &commit).await?);
        }
        Ok(named)
    }

    /// What a pinned commit needs. Of one that is gone, nothing: who pinned it finds that out by itself.
    async fn reach_if_there(&self, volume: &VolumeId, commit: &CommitName) -> Result<BTreeSet<Condemned>> {
        match self.commits.reach(volume, commit).await {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
            reached => reached,
        }
    }
}

impl<'a> Pruner<'a> {
    /// A prune by the holder of the lease.
    pub(crate) fn new(
        remote: &'a Remote,
        actor: &'a HeadActor,
        commits: &'a dyn Commits,
        retention: Retention,
    ) -> Self {
        let planner = Planner { stale: StalePins::End, ..Planner::new(remote, commits, retention) };
        Self { planner, actor }
    }

    /// What [`run`](Self::run) would remove now. Changes nothing.
    ///
    /// # Errors
    /// As [`Planner::plan`].
    pub(crate) async fn plan(&self, pins: &mut PinWatches) -> Result<Plan> {
        self.planner.plan(&self.actor.head(), pins).await
    }

    /// Removes what nobody needs: first what an earlier prune has left condemned, then what is found now.
    ///
    /// # Errors
    /// As the object store gives them; `Fenced` once the lease is lost. Nothing that somebody needs was
    /// removed then, and the next prune goes on.
    pub(crate) async fn run(&self, pins: &mut PinWatches) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        self.finish(pins, &BTreeMap::new(), &mut pruned).await?;
        for round in rounds(self.plan(pins).await?.objects, CONDEMNED_MAX) {
            self.condemn(round.keys().cloned().collect()).await?;
            self.finish(pins, &round, &mut pruned).await?;
        }
        self.remove_orphans().await?;
        Ok(pruned)
    }

    /// Writes the tombstones into the head.
    async fn condemn(&self, names: BTreeSet<Condemned>) -> Result<()> {
        let change = if names.len() <= TOMBSTONES_MAX {
            Change::Condemn(names.into_iter().collect())
        } else {
            Change::CondemnListed(self.planner.remote.write_tombstones(&self.actor.head(), &names).await?)
        };
        self.change(change).await
    }

    /// Removes what is condemned and nobody speaks for, and drops the tombstones once it is gone for certain.
    async fn finish(
        &self,
        pins: &mut PinWatches,
        sizes: &BTreeMap<Condemned, u64>,
        pruned: &mut Pruned,
    ) -> Result<()> {
        let announced = self.actor.head();
        let tombstones = self.planner.remote.tombstones(&announced).await?;
        if tombstones.is_empty() && announced.more_tombstones.is_none() {
            return Ok(());
        }
        let remove = match announced.removal {
            Removal::Announced => self.begin_removal(&announced, tombstones, pins, pruned).await?,
            // Who speaks for any of it now has not looked yet: it finds it condemned, or gone.
            Removal::Begun => tombstones,
        };
        let (head, names) = (&self.actor.head(), remove.iter().cloned().collect::<Vec<_>>());
        // By value, not by reference: a closure over references would make the future one that cannot be sent.
        let gone = futures::stream::iter(names)
            .map(|name| async move { self.remove_for_certain(&head.volume, &name).await });
        gone.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        pruned.objects += remove.len() as u64;
        pruned.bytes += remove.iter().filter_map(|name| sizes.get(name)).sum::<u64>();
        self.change(Change::Absolve).await?;
        let lists = BTreeSet::from([announced.more_tombstones, head.more_tombstones]);
        for list in lists.into_iter().flatten() {
            let path = self.planner.remote.keys.of(&head.volume, Part::Tombstones(list));
            self.planner.remote.remove(&path).await?;
        }
        Ok(())
    }

    /// Asks, with the tombstones in the head, who needs what they name, and writes into the head what nobody named.
    async fn begin_removal(
        &self,
        head: &Head,
        tombstones: BTreeSet<Condemned>,
        pins: &mut PinWatches,
        pruned: &mut Pruned,
    ) -> Result<BTreeSet<Condemned>> {
        let Sentence { remove, absolve } =
            sentence(&tombstones, &self.planner.spoken_for(&head.volume, pins).await?);
        pruned.spared += absolve.len() as u64;
        if remove.is_empty() {
            return Ok(remove);
        }
        let change = if remove.len() <= TOMBSTONES_MAX {
            Change::Remove(remove.iter().cloned().collect())
        } else if let (Some(list), true) = (head.more_tombstones, absolve.is_empty()) {
            Change::RemoveListed(list)
        } else {
            Change::RemoveListed(self.planner.remote.write_tombstones(head, &remove).await?)
        };
        self.change(change).await?;
        Ok(remove)
    }

    /// Removes an object; returns once the removal was acknowledged and a look says that it is not there.
    async fn remove_for_certain(&self, volume: &VolumeId, name: &Condemned) -> Result<()> {
        let path = self.planner.remote.keys.of(volume, part(name));
        self.planner.remote.remove(&path).await?;
        if self.planner.remote.is_stored(&path).await? {
            return Err(Error::new(ErrorKind::Unavailable, "an object is there although it was removed")
                .context("object", path)
                .advise("repeat the prune; a bucket with versions or retention keeps what is removed"));
        }
        Ok(())
    }

    /// Removes records and lists that were written for an older epoch and that the head does not name: whoever
    /// wrote them lost the race for that head.
    async fn remove_orphans(&self) -> Result<()> {
        let head = self.actor.head();
        for kind in ["r", "t"] {
            let mut listed =
                self.planner.remote.list(&self.planner.remote.keys.all_of(&head.volume, Some(kind)), None);
            while let Some(meta) = listed.try_next().await? {
                let name = match self.planner.remote.keys.parse(&meta.location) {
                    Some(Key::Volume(_, Part::Record(name) | Part::Tombstones(name))) => name,
                    _ => continue,
                };
                let is_named = name == head.record || Some(name) == head.more_tombstones;
                if name.epoch < head.epoch && !is_named {
                    self.planner.remote.remove(&meta.location).await?;
                }
            }
        }
        Ok(())
    }

    async fn change(&self, change: Change) -> Result<()> {
        match self.actor.change(change).await? {
            Done::Made(_) => Ok(()),
            Done::MadeThenFenced(by) => Err(Error::fenced(self.actor.head().epoch, by, None)),
        }
    }
}

impl Remote {
    /// The commits that readers and forks of a volume have pinned.
    async fn pinned(
        &self,
        volume: &VolumeId,
        pins: &mut PinWatches,
        stale: StalePins,
    ) -> Result<BTreeSet<CommitName>> {
        let (mut commits, mut there) = (BTreeSet::new(), BTreeSet::new());
        let mut listed = self.list(&self.keys.all_of(volume, Some("pin")), None);
        while let Some(meta) = listed.try_next().await? {
            let Some(Key::Volume(_, Part::Pin(id))) = self.keys.parse(&meta.location) else { continue };
            let Some((pin, etag)) = self.read_pin(volume, id).await? else { continue };
            let key = (volume.clone(), id);
            let seen = Watch::seen(pins.0.remove(&key), etag.clone(), self.boot.now());
            let left_behind = match pin.by {
                PinnedBy::Reader { ttl, .. } => {
                    seen.age(self.boot.now()) >= ttl.min(TTL_MAX).mul_f64(1.25) + GRACE
                }
                _ => false,
            };
            let ends = left_behind && stale == StalePins::End;
            if ends && self.end_pin(volume, id, &pin, &etag).await? == Ended::Yes {
                continue;
            }
            pins.0.insert(key.clone(), seen);
            there.insert(key);
            if !left_behind || ends {
                commits.insert(pin.commit);
            }
        }
        pins.0.retain(|key, _| key.0 != *volume || there.contains(key));
        Ok(commits)
    }
}

/// What is condemned together: at most `most` objects a round, in their order.
fn rounds(objects: BTreeMap<Condemned, u64>, most: usize) -> Vec<BTreeMap<Condemned, u64>> {
    let mut left = objects.into_iter().peekable();
    let mut rounds = Vec::new();
    while left.peek().is_some() {
        rounds.push(left.by_ref().take(most).collect());
    }
    rounds
}

fn part(name: &Condemned) -> Part {
    match name {
        Condemned::Commit(name) => Part::Commit(name.clone()),
        Condemned::Pack(name) => Part::Pack(name.clone()),
    }
}

#[cfg(test)]
mod tests;
