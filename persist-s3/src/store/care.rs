//! Looking after a store: health, usage, verification, and finishing what was interrupted.

use super::{engine::Engine, trees::Committed};
use crate::{
    head::record::{Head, Stage},
    remote::{
        Leftover, Named,
        prune::{PinWatches, Planner, Pruner},
    },
    transfer::read::Held,
};
use futures::TryStreamExt;
use persist_core::{
    Capabilities, Error, ErrorKind, Lifetime, Result, SnapshotName, VolumeId, VolumeName, VolumeStore,
    care::{
        Fault, Health, HealthStatus, PruneFailure, PruneItem, PruneMode, PruneOptions, PruneReason,
        PruneReport, Usage, UsageOptions, VerifyOptions, VerifyReport, View,
    },
    progress::{Meter, Phase},
    tree::{EntryKind, TreeSource},
    volume::Protection,
};
use std::{num::NonZeroU64, sync::Arc, time::Instant};

/// How many commits up to the head's are kept although nothing names them: readers without a pin finish on
/// what they began with, and a mistake of the last minutes can be looked up.
const RETAINED: NonZeroU64 = NonZeroU64::new(8).unwrap();

/// How much of a file is read at a time when it is verified.
const VERIFY_BYTES: u64 = 4 << 20;

impl Engine {
    pub(super) async fn health(&self) -> Result<Vec<Health>> {
        self.calls.check_open()?;
        let began = Instant::now();
        let asked = self.remote.is_stored(&self.remote.keys.path(&crate::keys::Key::Marker)).await;
        let store = match asked {
            Ok(true) => {
                let message = format!("the bucket answered in {} ms", began.elapsed().as_millis());
                Health::new(View::Store, HealthStatus::Good, "answers", message)
            }
            Ok(false) => {
                Health::new(View::Store, HealthStatus::Bad, "no-marker", "the store's marker is gone")
            }
            Err(error) => Health::new(View::Store, HealthStatus::Bad, "no-answer", error.to_string()),
        };
        let mut all = vec![store];
        if let Some(spaces) = &self.spaces {
            for near in spaces.near().health().await? {
                let view = View::Node { as_of: None };
                all.push(Health::new(view, near.status, format!("workspace-{}", near.reason), near.message));
            }
        } else {
            let message = "no workspace directory was given: volumes are managed, not attached";
            all.push(Health::new(View::Node { as_of: None }, HealthStatus::Good, "no-workspace", message));
        }
        Ok(all)
    }

    pub(super) async fn usage(&self, options: UsageOptions, meter: Meter) -> Result<Usage> {
        meter.enter(Phase::Scan);
        let mut usage = Usage::default();
        match &options.volume {
            Some(name) => {
                let (head, _) = self.remote.locate(name).await?;
                self.add_usage(&head, &mut usage, &meter).await?;
            }
            None => {
                for id in self.remote.volumes().await? {
                    if let crate::head::writer::Found::Head(head, _) = self.remote.find(&id).await? {
                        self.add_usage(&head, &mut usage, &meter).await?;
                    }
                }
            }
        }
        Ok(usage)
    }

    /// What a volume takes in the bucket: what its head needs, and what only older commits do.
    async fn add_usage(&self, head: &Head, usage: &mut Usage, meter: &Meter) -> Result<()> {
        let stored = self.remote.stored(&head.volume).await?;
        let all: u64 = stored.values().sum();
        if head.stage.trashed().is_some() || head.stage == Stage::Deleted {
            usage.reclaimable_bytes += all;
            return Ok(());
        }
        let Some(commit) = &head.commit else { return Ok(()) };
        use crate::remote::Commits as _;
        let needed = self.commits.reach(&head.volume, commit).await?;
        let live: u64 = stored.iter().filter(|(name, _)| needed.contains(name)).map(|(_, bytes)| bytes).sum();
        usage.volume_bytes += live;
        usage.snapshot_bytes += all - live;
        let totals = self.commits.read(&head.volume, commit).await?.commit.tree.totals;
        usage.files += totals.files;
        meter.add(totals.files, totals.bytes);
        Ok(())
    }

    pub(super) async fn verify(
        self: &Arc<Self>,
        options: VerifyOptions,
        meter: Meter,
    ) -> Result<VerifyReport> {
        meter.enter(Phase::Verify);
        let mut report = VerifyReport::default();
        let names: Vec<VolumeName> = match options.volume {
            Some(name) => {
                self.remote.locate(&name).await?;
                vec![name]
            }
            None => self.remote.names(None).try_collect().await?,
        };
        for name in names {
            if let Err(error) = self.verify_volume(&name, &mut report, &meter).await {
                meter.check()?;
                report.faults.push(Fault::new(None, format!("volume {name}: {error}")));
            }
        }
        Ok(report)
    }

    async fn verify_volume(
        self: &Arc<Self>,
        name: &VolumeName,
        report: &mut VerifyReport,
        meter: &Meter,
    ) -> Result<()> {
        let Named::Volume(head, _) = self.remote.resolve(name).await? else { return Ok(()) };
        let id = &head.volume;
        let mut trees: Vec<_> = head.commit.iter().map(|commit| (None, commit.clone())).collect();
        for snapshot in self.snapshot_names(id).await? {
            let (commit, _) = self.snapshot_there(id, &snapshot).await?;
            if !trees.iter().any(|(_, there)| *there == commit) {
                trees.push((Some(snapshot), commit));
            }
        }
        for (snapshot, commit) in trees {
            let read = self.commits.read(id, &commit).await;
            let verified = match read {
                Ok(read) => {
                    let tree = self.tree(&read, Held::Pinned).await?;
                    self.verify_tree(id, snapshot.as_ref(), &tree, report, meter).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = verified {
                meter.check()?;
                let mut fault = Fault::new(Some(id.clone()), error.to_string());
                fault.snapshot = snapshot;
                report.faults.push(fault);
            }
        }
        Ok(())
    }

    /// Reads every byte of a tree: each chunk and page is checked on the way.
    async fn verify_tree(
        &self,
        id: &VolumeId,
        snapshot: Option<&SnapshotName>,
        tree: &Committed,
        report: &mut VerifyReport,
        meter: &Meter,
    ) -> Result<()> {
        let mut entries = tree.entries(None);
        while let Some(entry) = entries.try_next().await? {
            meter.check()?;
            report.files += 1;
            meter.add(1, 0);
            let EntryKind::File { size, .. } = entry.kind else { continue };
            if entry.link.as_ref().is_some_and(|first| *first != entry.path) {
                continue;
            }
            let mut at = 0;
            while at < size {
                let end = size.min(at + VERIFY_BYTES);
                if let Err(error) = tree.read(&entry.path, at..end).await {
                    let mut fault = Fault::new(Some(id.clone()), error.to_string());
                    (fault.snapshot, fault.path) = (snapshot.cloned(), Some(entry.path.clone()));
                    report.faults.push(fault);
                    break;
                }
                report.bytes += end - at;
                meter.add(0, end - at);
                at = end;
            }
        }
        Ok(())
    }

    pub(super) async fn prune(self: &Arc<Self>, options: PruneOptions, meter: Meter) -> Result<PruneReport> {
        if options.mode == PruneMode::Apply {
            self.check_writable()?;
        }
        meter.enter(Phase::Remove);
        let mut report = PruneReport::default();
        let mut pins = self.pins.take();
        for id in self.remote.volumes().await? {
            meter.check()?;
            if let Err(error) = self.prune_volume(&id, options.mode, &mut pins, &mut report).await {
                report.failures.push(PruneFailure::new(Some(id), &error));
            }
            meter.add(1, 0);
        }
        self.pins.put(pins);
        if options.mode == PruneMode::Apply {
            for left in self.evict().await {
                tracing::warn!(left, "a warm copy stays above its limit");
            }
        }
        for spaces in self.spaces.iter().chain(&self.readers) {
            let mut near = spaces.near().prune(options.clone()).await?;
            report.items.append(&mut near.items);
            report.failures.append(&mut near.failures);
        }
        report.bytes = report.items.iter().map(|item| item.bytes).sum();
        Ok(report)
    }

    async fn prune_volume(
        self: &Arc<Self>,
        id: &VolumeId,
        mode: PruneMode,
        pins: &mut PinWatches,
        report: &mut PruneReport,
    ) -> Result<()> {
        let crate::head::writer::Found::Head(head, _) = self.remote.find(id).await? else { return Ok(()) };
        let mut item = |reason, what: &str, bytes| {
            report.items.push(PruneItem::new(reason, Some(id.clone()), what, bytes));
        };
        match head.stage {
            Stage::Naming | Stage::Returning(_) | Stage::Deleting => {
                if head.lease.is_some() {
                    return Ok(());
                }
                item(PruneReason::Undo, "a call that was interrupted is finished or undone", 0);
                if mode == PruneMode::Apply {
                    let left = self.remote.settle_leftover(id).await?;
                    tracing::info!(volume = %id, found = ?left, "an interrupted call was settled");
                    debug_assert_ne!(left, Leftover::Held);
                }
                Ok(())
            }
            Stage::Trashed(trashed) if trashed.until <= self.now() => {
                let bytes = self.remote.stored(id).await?.values().sum();
                item(PruneReason::TrashExpired, "a volume whose time in the trash is over", bytes);
                if mode == PruneMode::Apply {
                    self.remote.purge(id, self.now()).await?;
                    self.remote.remove_deleted(id, &*self.commits, pins).await?;
                }
                Ok(())
            }
            Stage::Trashed(_) => Ok(()),
            Stage::Deleted => {
                let bytes = self.remote.deleted_bytes(id, &*self.commits, pins).await?;
                if bytes > 0 {
                    item(PruneReason::Unreferenced, "what is left of a deleted volume", bytes);
                    if mode == PruneMode::Apply {
                        self.remote.remove_deleted(id, &*self.commits, pins).await?;
                    }
                }
                Ok(())
            }
            Stage::Live => self.prune_live(&head, mode, pins, report).await,
        }
    }

    async fn prune_live(
        self: &Arc<Self>,
        head: &Head,
        mode: PruneMode,
        pins: &mut PinWatches,
        report: &mut PruneReport,
    ) -> Result<()> {
        let id = &head.volume;
        let _turn = self.turns.take(id).await;
        if mode == PruneMode::Apply {
            self.release_dead(&head.name, id).await?;
        }
        if self.has_ended(head).await? {
            let bytes = self.remote.stored(id).await?.values().sum();
            report.items.push(PruneItem::new(
                PruneReason::LifetimeEnded,
                Some(id.clone()),
                format!("volume {} whose lifetime is over", head.name),
                bytes,
            ));
            if mode == PruneMode::Apply {
                self.end(&head.name, id).await?;
                self.remote.remove_deleted(id, &*self.commits, pins).await?;
            }
            return Ok(());
        }
        let session = self.serving.session(id);
        if let Some(session) = &session
            && mode == PruneMode::Apply
        {
            // Of a call that was dropped between its lease and its attachment.
            self.give_up(session).await;
        }
        let plan = Planner::new(&self.remote, &*self.commits, RETAINED).plan(head, pins).await?;
        if plan.objects.is_empty() || mode != PruneMode::Apply {
            let (count, bytes) = (plan.objects.len(), plan.bytes());
            if count > 0 {
                report.items.push(superfluous(id, count as u64, bytes));
            }
            return Ok(());
        }
        let held = match (&session, &head.lease) {
            (Some(session), _) => Some(Arc::clone(&session.actor)),
            (None, None) => Some(Arc::new(self.hold(&head.name, id, "prune").await?)),
            _ => None,
        };
        // Somebody else writes: what is superfluous is his to remove.
        let Some(actor) = held else { return Ok(()) };
        let pruned = self.prune_packs(id, &actor, pins, report).await;
        if session.is_none()
            && let Some(actor) = Arc::into_inner(actor)
        {
            self.let_go(actor).await?;
        }
        pruned
    }

    async fn prune_packs(
        &self,
        id: &VolumeId,
        actor: &crate::remote::HeadActor,
        pins: &mut PinWatches,
        report: &mut PruneReport,
    ) -> Result<()> {
        let pruned = Pruner::new(&self.remote, actor, &*self.commits, RETAINED).run(pins).await?;
        if pruned.objects > 0 {
            report.items.push(superfluous(id, pruned.objects, pruned.bytes));
        }
        Ok(())
    }

    /// Whether nobody has a volume and its lifetime is over.
    async fn has_ended(&self, head: &Head) -> Result<bool> {
        if head.lease.is_some() || !self.readers_of(&head.volume).await?.is_empty() {
            return Ok(false);
        }
        let record = self.remote.record(head).await?;
        if record.spec.protection == Protection::Protected {
            return Ok(false);
        }
        Ok(match record.spec.lifetime {
            Lifetime::For(time) => record.created.saturating_add(time) <= self.now(),
            // Ends with the last of them; one that never was attached is waited for.
            Lifetime::Attachment => head.epoch > persist_core::Epoch::new(1),
            _ => false,
        })
    }

    /// Ends the lease of a holder that this host can prove dead.
    pub(super) async fn release_dead(&self, name: &VolumeName, id: &VolumeId) -> Result<()> {
        let (head, _) = self.remote.find_there(id).await?;
        let (Some(lease), Some(spaces)) = (&head.lease, &self.spaces) else { return Ok(()) };
        let persist_core::directory::Verdict::Dead(why) = spaces.near().verdict(&lease.holder) else {
            return Ok(());
        };
        if self.serving.session(id).is_some() {
            return Ok(());
        }
        let vouch = persist_core::Vouch::new(lease.attachment.clone(), head.epoch, why);
        tracing::info!(volume = %name, holder = %lease.holder.workload, reason = %vouch.reason, "the lease of a dead holder is ended");
        let change = crate::head::free::FreeChange::Release(vouch);
        match self.remote.change_free(id, &change).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            changed => changed.map(drop),
        }
    }

    /// Removes warm copies beyond their limit, the least used first; says what could not be removed.
    pub(super) async fn evict(&self) -> Vec<String> {
        let (Some(spaces), Some(limit)) = (&self.spaces, self.workspace_limit) else { return Vec::new() };
        match spaces.evict(limit).await {
            Ok(report) => report.remarks,
            Err(error) => vec![format!("warm copies are left to prune: {error}")],
        }
    }

    /// # Errors
    /// `Unsupported` for a store that was opened without a workspace directory.
    pub(super) fn spaces(&self) -> Result<&crate::workspace::Workspaces> {
        self.spaces.as_ref().ok_or_else(no_workspace)
    }

    /// # Errors
    /// `Unsupported` for a store that was opened without a workspace directory.
    pub(super) fn readers(&self) -> Result<crate::workspace::Workspaces> {
        self.readers.clone().ok_or_else(no_workspace)
    }
}

fn superfluous(id: &VolumeId, count: u64, bytes: u64) -> PruneItem {
    let what = format!("{count} objects that no commit, snapshot or reader needs");
    PruneItem::new(PruneReason::Unreferenced, Some(id.clone()), what, bytes)
}

fn no_workspace() -> Error {
    Error::unsupported(Capabilities::LOCAL_IO, "the store was opened without a workspace directory")
        .advise("open it with `workspace=` in its URL, or with OpenOptions::with_state_directory")
}
