//! Making room: workspaces that nobody uses go, the longest unused first, and never one that may hold work.

use super::{Workspace, Workspaces, state::Hydrated, threads::blocking};
use crate::head::recovery::Tree;
use futures::TryStreamExt;
use persist_core::{
    Error, ErrorKind, Result, VolumeId, VolumeStore,
    attachment::AttachmentFilter,
    clock::Timestamp,
    linux::cause::cause,
    tree::{RemoveOptions, remove_tree},
    volume::{DeleteOptions, SnapshotsAlong, Trash},
};

/// What an eviction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvictReport {
    /// The workspaces that went.
    pub evicted: Vec<VolumeId>,
    /// Bytes of the files of those that stay and could go.
    pub kept_bytes: u64,
    /// What could not be looked at or removed, one sentence each.
    pub remarks: Vec<String>,
}

/// A workspace that could go.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Warm {
    volume: VolumeId,
    used: Timestamp,
    bytes: u64,
}

/// What became of a workspace that was looked at.
enum Looked {
    Stays,
    Warm(Warm),
    /// A hydration was begun and nobody goes on with it: it is worth nothing.
    Leftover(VolumeId),
}

impl Workspaces {
    /// Removes workspaces that are warm (kept after detach), clean and not attached, the longest unused first, until
    /// those that are left hold at most `limit_bytes` of files. One that is served, may hold work, or cannot be
    /// read stays. What a killed hydration left goes in any case.
    ///
    /// # Cancellation
    /// What was begun is finished by the next eviction.
    ///
    /// # Errors
    /// As the filesystem reports them for the directory itself; what fails for one workspace is in the report.
    pub async fn evict(&self, limit_bytes: u64) -> Result<EvictReport> {
        let (mut warm, mut report) = (Vec::new(), EvictReport::default());
        let mut going = Vec::new();
        for volume in self.list().await? {
            match self.look(&volume).await {
                Ok(Looked::Stays) => {}
                Ok(Looked::Warm(found)) => warm.push(found),
                Ok(Looked::Leftover(volume)) => going.push(volume),
                Err(error) => report.remarks.push(format!("the workspace {volume} stays: {error}")),
            }
        }
        let (evicted, kept_bytes) = choose(warm, limit_bytes);
        report.kept_bytes = kept_bytes;
        for volume in going.into_iter().chain(evicted) {
            match self.evict_one(&volume).await {
                Ok(Gone::Yes) => report.evicted.push(volume),
                Ok(Gone::InUseAgain) => {}
                Err(error) => report.remarks.push(format!("the workspace {volume} was not removed: {error}")),
            }
        }
        Ok(report)
    }

    async fn look(&self, volume: &VolumeId) -> Result<Looked> {
        let workspace = match self.serve(volume).await {
            Err(error) if error.kind() == ErrorKind::InUse => return Ok(Looked::Stays),
            workspace => workspace?,
        };
        let state = workspace.state();
        if !workspace.may_go().await? {
            return Ok(Looked::Stays);
        }
        Ok(match state.hydrated {
            Hydrated::Whole => {
                Looked::Warm(Warm { volume: volume.clone(), used: state.used, bytes: state.totals.bytes })
            }
            Hydrated::Partly => Looked::Leftover(volume.clone()),
        })
    }

    /// Looks once more, since it was not held meanwhile.
    async fn evict_one(&self, volume: &VolumeId) -> Result<Gone> {
        let workspace = match self.serve(volume).await {
            Err(error) if error.kind() == ErrorKind::InUse => return Ok(Gone::InUseAgain),
            workspace => workspace?,
        };
        if !workspace.may_go().await? {
            return Ok(Gone::InUseAgain);
        }
        workspace.discard().await.map(|()| Gone::Yes)
    }
}

enum Gone {
    Yes,
    InUseAgain,
}

/// The extension of workspaces that are being removed: a killed process leaves its own.
const GONE: &str = "gone";

impl Workspace {
    /// Removes the workspace with its tree and its records.
    ///
    /// # Promise
    /// Killed at any point, what is left is not taken for a workspace with a tree, and the next
    /// [eviction](Workspaces::evict) removes it.
    ///
    /// # Errors
    /// `Internal` for a tree that may hold work; `InUse` while it is attached; as the near store reports the rest.
    pub async fn discard(self) -> Result<()> {
        if self.is_attached().await? {
            return Err(Error::in_use("the workspace is attached", Vec::new())
                .context("volume", self.volume())
                .advise("detach it first"));
        }
        self.change(|served, state| state.hydrating(served.now())).await?;
        let mut deleting = DeleteOptions::default();
        (deleting.snapshots, deleting.trash) = (SnapshotsAlong::Delete, Trash::Bypass);
        self.served().spaces.near().delete(self.near_name(), deleting).await?;
        let root = self.drafts().to_owned();
        blocking(move |meter| {
            // Out of the way by one step: whoever makes the workspace anew meanwhile loses nothing of his.
            let gone = root.with_extension(format!("{GONE}-{}", uuid::Uuid::new_v4().simple()));
            std::fs::rename(&root, &gone).map_err(|e| cause(e, "rename", root.display()))?;
            let removed = remove_tree(&gone, &RemoveOptions::default(), meter).map(drop);
            drop(self);
            removed
        })
        .await
    }

    async fn may_go(&self) -> Result<bool> {
        Ok(self.state().tree == Tree::Clean && !self.is_attached().await?)
    }

    async fn is_attached(&self) -> Result<bool> {
        let of = AttachmentFilter::default().with_volume(self.near_name().clone());
        let mut attached = self.served().spaces.near().attachments(of);
        Ok(attached.try_next().await?.is_some() || !self.shown().await?.is_empty())
    }
}

/// Which go, and how many bytes stay.
fn choose(mut warm: Vec<Warm>, limit_bytes: u64) -> (Vec<VolumeId>, u64) {
    warm.sort_unstable_by(|a, b| (a.used, &a.volume).cmp(&(b.used, &b.volume)));
    let mut left = warm.iter().fold(0, |sum: u64, warm| sum.saturating_add(warm.bytes));
    let mut going = Vec::new();
    for oldest in warm {
        if left <= limit_bytes {
            break;
        }
        left -= oldest.bytes.min(left);
        going.push(oldest.volume);
    }
    (going, left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::{Bench, Commit, commit, volume};
    use persist_core::{AttachOptions, Epoch, Workload, progress::Meter};
    use std::fs;

    fn warm(used: i64, bytes: u64) -> Warm {
        Warm { volume: volume(), used: Timestamp::from_millisecond(used), bytes }
    }

    #[test]
    fn the_longest_unused_go_until_the_rest_fits() {
        let all = [warm(3, 10), warm(1, 10), warm(2, 30)];
        let ids = |indices: &[usize]| indices.iter().map(|i| all[*i].volume.clone()).collect::<Vec<_>>();
        for (limit, going, left) in
            [(50, &[][..], 50), (49, &[1], 40), (39, &[1, 2], 10), (10, &[1, 2], 10), (0, &[1, 2, 0], 0)]
        {
            assert_eq!(choose(all.to_vec(), limit), (ids(going), left), "{limit}");
        }
    }

    #[tokio::test]
    async fn what_may_hold_work_or_is_used_stays_whatever_the_limit() {
        let bench = Bench::plain();
        let spaces = bench.open().await;
        let source = bench.dir.path().join("c");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("f"), "content").unwrap();
        let mut ids = Vec::new();
        for _ in 0..5 {
            let id = volume();
            let workspace = spaces.serve(&id).await.unwrap();
            workspace.hydrate(Some(commit(1)), Commit::of(&source), &Meter::default()).await.unwrap();
            ids.push(id);
        }
        let [clean, dirty, served, attached, partly] = &ids[..] else { panic!() };
        spaces.serve(dirty).await.unwrap().allow_writes(Epoch::new(1)).await.unwrap();
        let holds = spaces.serve(served).await.unwrap();
        let near = VolumeNameOf(attached).name();
        let options = AttachOptions::default().with_workload(Workload::new("w").unwrap());
        spaces.near().attach(&near, options).await.unwrap();
        let broken = Commit::of(&source);
        broken.fails_at.store(0, std::sync::atomic::Ordering::Relaxed);
        let workspace = spaces.serve(partly).await.unwrap();
        fs::write(source.join("g"), "more").unwrap();
        workspace.hydrate(Some(commit(2)), broken, &Meter::default()).await.unwrap_err();
        drop(workspace);

        let mut report = spaces.evict(u64::MAX).await.unwrap();
        assert_eq!((report.evicted, report.kept_bytes), (vec![partly.clone()], 7));
        report = spaces.evict(0).await.unwrap();
        assert_eq!((report.evicted, report.remarks), (vec![clean.clone()], vec![]));
        drop(holds);
        assert_eq!(spaces.evict(0).await.unwrap().evicted, std::slice::from_ref(served));
        let mut left = [dirty.clone(), attached.clone()];
        left.sort();
        assert_eq!(spaces.list().await.unwrap(), left);
        assert_eq!(
            spaces.serve(dirty).await.unwrap().discard().await.unwrap_err().kind(),
            ErrorKind::Internal
        );
        assert_eq!(
            spaces.serve(attached).await.unwrap().discard().await.unwrap_err().kind(),
            ErrorKind::InUse
        );
    }

    struct VolumeNameOf<'a>(&'a VolumeId);

    impl VolumeNameOf<'_> {
        fn name(&self) -> persist_core::VolumeName {
            persist_core::VolumeName::new(self.0.to_string()).unwrap()
        }
    }
}
