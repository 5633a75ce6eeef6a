//! A workspace that this process serves: its records, and how they change.

use super::{
    Workspaces,
    record::{Finished, Of, RowWriter, Rows},
    served::{Served, serve},
    state::State,
    threads::blocking,
};
use crate::head::{
    record::{CommitName, Head, SessionId},
    recovery::{Recovery, Tree},
};
use persist_core::{
    Epoch, Error, Result, VolumeId, VolumeName, directory::HeldTree, progress::CallOptions, tree::TreeTotals,
};
use std::{path::Path, sync::Arc};

/// A workspace that this process serves; others are refused it until this is dropped.
#[derive(Debug, Clone)]
pub struct Workspace(Arc<Served>);

impl Workspaces {
    /// Serves the workspace of `volume`, which need not be there yet.
    ///
    /// # Errors
    /// `InUse` while another process serves it, with its number; `Corrupt` for records that cannot be read,
    /// which are left as they are: the tree may hold work.
    pub async fn serve(&self, volume: &VolumeId) -> Result<Workspace> {
        let (spaces, volume) = (self.clone(), volume.clone());
        let served = blocking(move |_| serve(spaces, volume)).await?;
        let workspace = Workspace(Arc::new(served));
        workspace.sweep_cuts().await?;
        Ok(workspace)
    }
}

impl Workspace {
    /// The volume.
    pub fn volume(&self) -> &VolumeId {
        &self.0.volume
    }

    /// What its tree is called in the near store.
    pub fn near_name(&self) -> &VolumeName {
        &self.0.near
    }

    /// What the workspace remembers.
    pub fn state(&self) -> State {
        self.0.state()
    }

    pub(super) fn served(&self) -> &Arc<Served> {
        &self.0
    }

    /// Says what is done with the tree now that `head` was taken, once a commit that was offered to it is known to
    /// be accepted or not.
    ///
    /// # Idempotence
    /// A repeat after a kill comes to the same.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn settle(&self, head: &Head) -> Result<Recovery> {
        let decided = self.state().recovery(head);
        let commit = head.commit.clone();
        self.change(move |served, state| {
            let settled = state.resolved(commit.as_ref());
            if let Some(base) = settled.base.as_ref().filter(|base| Some(*base) == commit.as_ref()) {
                served.promote(base)?;
            }
            served.drop_offers(None)?;
            Ok(settled)
        })
        .await?;
        Ok(decided)
    }

    /// Records that the head has `commit`, whose tree is that of the commit `before` it. A base that is another stays.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn follow(&self, before: CommitName, commit: CommitName) -> Result<()> {
        self.change(move |served, state| {
            if state.may_be(&before) {
                served.promote(&before)?;
            }
            let of = |base: &CommitName| Of { volume: served.volume.clone(), base: Some(base.clone()) };
            // Without it every file is read once more.
            if let Some(rows) = Rows::open(&served.place.stat(), &of(&before))? {
                RowWriter::copied(served.place.root(), of(&commit), rows)?.name(&served.place.stat())?;
            }
            Ok(state.following(&before, commit))
        })
        .await
    }

    /// Records, durably, that `session` is about to ask for the head, of which `held` has the lease: whoever serves this workspace after a kill
    /// knows that a lease of it is nobody else's.
    ///
    /// # Errors
    /// As the filesystem reports them: then the head is not asked for.
    pub async fn asking(&self, session: SessionId, held: Option<SessionId>) -> Result<()> {
        self.change(move |_, state| Ok(state.asking(session, held))).await
    }

    /// Records, durably, that the tree may differ from its base from now on: before the first write under `epoch`
    /// is allowed.
    ///
    /// # Errors
    /// `Internal` for a tree that is not whole; as the filesystem reports them: then no write is allowed.
    pub async fn allow_writes(&self, epoch: Epoch) -> Result<()> {
        self.change(move |served, state| state.writable(epoch, served.now())).await
    }

    /// Records that `commit`, a commit of this tree that `record` describes, is about to be offered to the head.
    ///
    /// # Errors
    /// As the filesystem reports them: then it is not offered.
    pub async fn offer(&self, commit: CommitName, record: Finished, totals: TreeTotals) -> Result<()> {
        self.change(move |served, mut state| {
            let of = Of { volume: served.volume.clone(), base: Some(commit.clone()) };
            record.of(of).name(&served.place.next(&commit))?;
            (state.offered, state.totals) = (Some(commit), totals);
            Ok(state)
        })
        .await
    }

    /// Records that the head has the commit that was offered, and whether the tree may differ from it already.
    ///
    /// # Errors
    /// `Internal` if nothing was offered; as the filesystem reports them: a repeat, or
    /// [`settle`](Self::settle), comes to the same.
    pub async fn accepted(&self, tree: Tree) -> Result<()> {
        self.change(move |served, state| {
            let Some(offered) = state.offered.clone() else {
                return Err(Error::internal("a commit was accepted that was not offered"));
            };
            served.promote(&offered)?;
            let mut accepted = state.resolved(Some(&offered));
            (accepted.tree, accepted.used) = (tree, served.now());
            Ok(accepted)
        })
        .await
    }

    /// Records that the tree is its base and nobody may write to it any more: it was compared after the last commit.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn clean(&self) -> Result<()> {
        self.change(|served, mut state| {
            (state.tree, state.used) = (Tree::Clean, served.now());
            Ok(state)
        })
        .await
    }

    /// Records that the work in the tree is kept as a salvage, and that nobody is shown the tree any more: from now on
    /// it may be replaced.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn salvaged(&self) -> Result<()> {
        self.change(|served, state| {
            served.drop_offers(None)?;
            Ok(state.salvaged())
        })
        .await
    }

    /// The stat record of the base; `None` if it was lost or is of another one.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn rows(&self) -> Result<Option<Rows>> {
        let served = Arc::clone(&self.0);
        blocking(move |_| Rows::open(&served.place.stat(), &served.of())).await
    }

    /// Which tree the stat record is of.
    pub fn of(&self) -> Of {
        self.0.of()
    }

    /// Where records of this workspace are drafted: a directory on the filesystem of its tree.
    pub fn drafts(&self) -> &Path {
        self.0.place.root()
    }

    /// The tree, which stays while it is held.
    ///
    /// # Errors
    /// `NotFound` before the first hydration.
    pub async fn live(&self, call: &CallOptions) -> Result<HeldTree> {
        self.0.spaces.near().hold_tree(&self.0.near, call).await
    }

    /// Changes the state, durably.
    pub(super) async fn change(
        &self,
        change: impl FnOnce(&Served, State) -> Result<State> + Send + 'static,
    ) -> Result<()> {
        let served = Arc::clone(&self.0);
        blocking(move |_| served.change(change)).await
    }
}
