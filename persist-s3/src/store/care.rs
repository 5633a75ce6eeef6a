//! Looking after a store: health, usage and verification.

use super::{engine::Engine, trees::Committed};
use crate::{
    head::record::{Head, Stage},
    remote::Named,
    transfer::read::Held,
};
use futures::TryStreamExt;
use persist_core::{
    Capabilities, Error, Result, SnapshotName, VolumeId, VolumeName, VolumeStore,
    care::{Fault, Health, HealthStatus, Usage, UsageOptions, VerifyOptions, VerifyReport, View},
    progress::{Meter, Phase},
    tree::{EntryKind, TreeSource},
};
use std::{sync::Arc, time::Instant};

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

fn no_workspace() -> Error {
    Error::unsupported(Capabilities::LOCAL_IO, "the store was opened without a workspace directory")
        .advise("open it with `workspace=` in its URL, or with OpenOptions::with_state_directory")
}
