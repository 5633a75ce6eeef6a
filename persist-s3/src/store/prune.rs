//! Finishing what was interrupted, and removing what nobody needs.

use super::engine::Engine;
use crate::{
    head::record::{Head, Stage},
    remote::{
        HeadActor,
        prune::{PinWatches, Planner, Pruner, Retention},
    },
};
use persist_core::{
    ErrorKind, Lifetime, Result, VolumeId, VolumeName, VolumeStore,
    care::{PruneFailure, PruneItem, PruneMode, PruneOptions, PruneReason, PruneReport},
    clock::Timestamp,
    directory::Verdict,
    progress::{Meter, Phase},
    volume::Protection,
};
use std::sync::Arc;

impl Engine {
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
                if mode == PruneMode::Apply {
                    self.release_dead(&head.name, id).await?;
                } else if head.lease.is_some() {
                    return Ok(());
                }
                let mut bytes = 0;
                if mode == PruneMode::Apply {
                    let left = self.remote.settle_leftover(id).await?;
                    tracing::info!(volume = %id, found = ?left, "an interrupted call was settled");
                    if left == crate::remote::Leftover::Held {
                        return Ok(());
                    }
                    // What was undone is deleted, and goes at once.
                    bytes = self.remote.remove_deleted(id, &*self.commits, pins).await?;
                }
                item(PruneReason::Undo, "a call that was interrupted is finished or undone", bytes);
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
        if mode == PruneMode::Apply
            && let Some(session) = self.serving.session(id)
        {
            // Of a call that was dropped between its lease and its attachment.
            self.give_up(&session).await;
            self.trim_served(&session).await?;
            return self.prune_packs(id, &session.actor, pins, report).await;
        }
        let planner = Planner::new(&self.remote, &*self.commits, self.retention());
        let plan = planner.plan(head, pins).await?;
        if mode != PruneMode::Apply {
            if !plan.objects.is_empty() {
                report.items.push(superfluous(id, plan.objects.len() as u64, plan.bytes()));
            }
            return Ok(());
        }
        if head.lease.is_some() {
            // Somebody else writes: what is superfluous is his to remove.
            return Ok(());
        }
        let lighter = self.lighter(head).await?;
        if plan.objects.is_empty() && lighter.is_none() {
            return Ok(());
        }
        let actor = self.hold(&head.name, id, "prune").await?;
        let pruned = async {
            self.trim(&actor, lighter).await?;
            self.prune_packs(id, &actor, pins, report).await
        };
        let pruned = pruned.await;
        let released = self.let_go(actor).await;
        pruned?;
        released
    }

    async fn prune_packs(
        &self,
        id: &VolumeId,
        actor: &HeadActor,
        pins: &mut PinWatches,
        report: &mut PruneReport,
    ) -> Result<()> {
        let pruner = Pruner::new(&self.remote, actor, &*self.commits, self.retention());
        let pruned = pruner.run(pins).await?;
        if pruned.objects > 0 {
            report.items.push(superfluous(id, pruned.objects, pruned.bytes));
        }
        Ok(())
    }

    fn retention(&self) -> Retention {
        let millis = i64::try_from(self.retained.age.as_millis()).unwrap_or(i64::MAX);
        let since = self.now().as_millisecond().saturating_sub(millis);
        let since = (millis > 0).then(|| Timestamp::from_millisecond(since));
        Retention { commits: self.retained.commits, since }
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
        let Some(lease) = &head.lease else { return Ok(()) };
        // Not the near store's verdict: it knows of one host alone, and every host reaches the bucket.
        let Verdict::Dead(why) = self.verdict(&lease.holder) else { return Ok(()) };
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
}

fn superfluous(id: &VolumeId, count: u64, bytes: u64) -> PruneItem {
    let what = format!("{count} objects that no commit, snapshot or reader needs");
    PruneItem::new(PruneReason::Unreferenced, Some(id.clone()), what, bytes)
}
