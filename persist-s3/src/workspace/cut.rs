//! The moment of a commit: a snapshot of the tree where that is one step, else the tree itself while it is read.

use super::{Workspace, record::Stamp, scan::Tree, threads::blocking};
use futures::TryStreamExt;
use persist_core::{
    Capabilities, Consistency, Error, ErrorKind, Result, SnapshotName, SnapshotOptions, SyncOptions,
    VolumeStore, clock::Timestamp, directory::HeldTree, linux::btrfs, progress::CallOptions,
    quiesce::HookRun, tree::TreeSource, volume::ListOptions,
};
use std::{future::Future, path::Path, sync::Arc};

/// What a cut was worth, and what reading it gave.
#[derive(Debug)]
#[non_exhaustive]
pub struct CutReport<T> {
    /// What reading it gave.
    pub value: T,
    /// When it was made: what was written before it is in it.
    pub taken: Timestamp,
    /// The consistency that it reached. A fuzzy cut is never called consistent.
    pub consistency: Consistency,
    /// The hooks that ran.
    pub hooks: Vec<HookRun>,
}

/// How the names of the near store's snapshots begin that are cuts: removed when they were read.
const CUT: &str = "cut-";

impl Workspace {
    /// Cuts the tree and lets `read` read the cut, whose files were flushed. On btrfs it is a snapshot, which is gone
    /// afterwards, and the writers are held for a moment; elsewhere it is the tree itself, and the hook of
    /// `options` holds the writers until `read` has ended.
    ///
    /// # Promise
    /// What was written before the call is in the cut. The writers are thawed whatever happens. A cut that was
    /// killed or dropped is removed by the next one.
    ///
    /// # Errors
    /// `NotFound` before the first hydration; `Unsupported` where the consistency that `options` ask for is not
    /// reached; those of `read`; as the near store reports the rest.
    pub async fn cut<T, F>(
        &self,
        options: SyncOptions,
        read: impl FnOnce(Tree) -> F + Send + 'static,
    ) -> Result<CutReport<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let live = self.live(&options.call).await?;
        if self.is_cut_at_once(live.path()).await? {
            self.cut_aside(options, read).await
        } else {
            self.cut_in_place(live, options, read).await
        }
    }

    /// Whether a snapshot of the tree is one step of the filesystem, with the same inodes.
    async fn is_cut_at_once(&self, live: &Path) -> Result<bool> {
        let info = self.served().spaces.near().info();
        if !info.capabilities.contains(Capabilities::INSTANT_SNAPSHOTS) {
            return Ok(false);
        }
        let live = live.to_owned();
        blocking(move |_| Ok(btrfs::is_subvolume(&live)? && !btrfs::holds_subvolumes(&live)?)).await
    }

    async fn cut_aside<T, F>(
        &self,
        options: SyncOptions,
        read: impl FnOnce(Tree) -> F,
    ) -> Result<CutReport<T>>
    where
        F: Future<Output = Result<T>>,
    {
        self.sweep_cuts().await?;
        let (near, volume, name) = (self.served().spaces.near(), self.near_name(), self.cut_name()?);
        let stamp = self.stamp().await?;
        let mut taking = SnapshotOptions::default().with_consistency(options.consistency);
        (taking.call, taking.quiesce) = (options.call, options.quiesce);
        let taken = near.snapshot(volume, &name, taking).await;
        let record = taken.inspect_err(|error| self.count_failure(error))?.record;
        let value = match near.open_snapshot(volume, &name).await {
            Ok(source) => read_aside(source, stamp, read).await,
            Err(error) => Err(error),
        };
        if let Err(error) = near.delete_snapshot(volume, &name, Default::default()).await {
            tracing::warn!(%volume, snapshot = %name, %error, "a cut was left to the next one");
        }
        Ok(CutReport {
            value: value?,
            taken: record.taken,
            consistency: record.consistency,
            hooks: record.hooks,
        })
    }

    async fn cut_in_place<T, F>(
        &self,
        live: HeldTree,
        options: SyncOptions,
        read: impl FnOnce(Tree) -> F + Send + 'static,
    ) -> Result<CutReport<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let near = self.served().spaces.near().clone();
        let call = CallOptions::default();
        if options.quiesce.is_some() {
            // What is written back before the writers are stopped is not waited for while they are.
            self.flush(&live, &call).await?;
        }
        let this = self.clone();
        let work = async move {
            let taken = this.served().now();
            let stamp = this.stamp().await?;
            // A later store through mmap(2) into a dirty page moves no time until the page was written back.
            this.flush(&live, &call).await?;
            let value = read(open(&live, stamp).await?).await?;
            drop(live);
            Ok((taken, value))
        };
        let held = near.hold_writers(&options, Consistency::PerFile, work).await?;
        let (taken, value) = held.value;
        Ok(CutReport { value, taken, consistency: held.consistency, hooks: held.run.into_iter().collect() })
    }

    pub(super) async fn stamp(&self) -> Result<Stamp> {
        let drafts = self.drafts().to_owned();
        blocking(move |_| Stamp::now(&drafts)).await
    }

    fn cut_name(&self) -> Result<SnapshotName> {
        let mut random = [0; 16];
        self.served().opened().environment.entropy.fill(&mut random);
        SnapshotName::new(format!("{CUT}{:032x}", u128::from_le_bytes(random)))
            .map_err(|e| Error::internal("a cut has no name").with_source(e))
    }

    /// Removes the cuts of a process that was killed.
    pub(super) async fn sweep_cuts(&self) -> Result<()> {
        let (near, volume) = (self.served().spaces.near(), self.near_name());
        let listed = near.snapshots(volume, ListOptions::default()).try_collect::<Vec<_>>().await;
        let found = match listed {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        for cut in found.iter().filter(|found| found.name.as_str().starts_with(CUT)) {
            near.delete_snapshot(volume, &cut.name, Default::default()).await?;
        }
        Ok(())
    }
}

async fn read_aside<T, F: Future<Output = Result<T>>>(
    source: Arc<dyn TreeSource>,
    stamp: Stamp,
    read: impl FnOnce(Tree) -> F,
) -> Result<T> {
    let path = source.directory().map(Path::to_owned);
    let path = path.ok_or_else(|| Error::internal("a snapshot of the near store is no directory"))?;
    let tree = blocking(move |_| Tree::open(&path, stamp)).await?;
    let read = read(tree).await;
    drop(source);
    read
}

async fn open(live: &HeldTree, stamp: Stamp) -> Result<Tree> {
    let path = live.path().to_owned();
    blocking(move |_| Tree::open(&path, stamp)).await
}

#[cfg(test)]
mod tests;
