//! Packs that the newest tree has left: a commit stops listing them, so that they go once no older commit that is
//! kept needs them.
//!
//! A commit lists what its base listed, for it looks only at what changed. Once a prune has looked at the whole tree,
//! the next commit lists less: that of the session which writes the volume, or one of the same tree.

use super::{
    commits::Read,
    engine::Engine,
    rewrite::{self, Rewrite},
    serving::Session,
};
use crate::{
    format::{location::PackIndex, table::PackTable},
    head::record::Head,
    remote::HeadActor,
    transfer::read::Held,
    workspace::Workspace,
};
use persist_core::{Error, ErrorKind, Result};
use std::{collections::BTreeSet, sync::Arc};

/// A commit, and the table without what its tree does not refer to.
pub(super) struct Lighter {
    commit: Read,
    table: PackTable,
}

/// What a look at a commit's tree has found.
struct Looked {
    /// The table, if it can list less.
    lighter: Option<PackTable>,
    sparse: BTreeSet<PackIndex>,
}

impl Engine {
    /// What the head's commit would list, if that is less than it does.
    pub(super) async fn lighter(&self, head: &Head) -> Result<Option<Lighter>> {
        let Some(name) = &head.commit else { return Ok(None) };
        let commit = self.commits.read(&head.volume, name).await?;
        let table = self.look(&commit).await?.lighter;
        Ok(table.map(|table| Lighter { commit, table }))
    }

    /// Makes a commit of the same tree that lists less, unless the head has another commit by now.
    pub(super) async fn trim(&self, actor: &HeadActor, lighter: Option<Lighter>) -> Result<()> {
        let head = actor.head();
        let Some(Lighter { commit, table }) = lighter else { return Ok(()) };
        if head.commit.as_ref() != Some(&commit.name) {
            return Ok(());
        }
        let id = &head.volume;
        let object = self.point_at(id, actor, (id, &commit.name), &commit, table).await?;
        self.publish_commit(actor, id, &object).await.map(drop)
    }

    /// Has the next commit of a session list less, and move what is left in packs that are mostly left behind.
    pub(super) async fn trim_served(&self, session: &Arc<Session>) -> Result<()> {
        let turn = session.committing.acquire().await;
        let _turn = turn.map_err(|e| Error::internal("a session's turn is gone").with_source(e))?;
        self.read_base(session).await?;
        let Some(base) = session.base() else { return Ok(()) };
        let Looked { lighter, sparse } = self.look(&base).await?;
        if !sparse.is_empty() {
            let files = self.tree(&base, Held::Pinned).await?.stored().files_in(&sparse).await?;
            session.rewrite_next(Rewrite { packs: sparse, files });
        }
        if let Some(table) = lighter {
            session.rebase(Read { table: Arc::new(table), ..base });
        }
        Ok(())
    }

    /// A workspace of the commit before `head` has the tree of `head` too, where that was made by a prune: what it holds
    /// is no work on a commit that the volume has left.
    pub(super) async fn follow(&self, head: &Read, workspace: &Workspace) -> Result<()> {
        let volume = &head.commit.volume;
        let Some((of, parent)) = &head.commit.parent else { return Ok(()) };
        if of != volume || !workspace.state().may_be(parent) {
            return Ok(());
        }
        let before = match self.commits.read(volume, parent).await {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            read => read?,
        };
        if before.commit.tree.id != head.commit.tree.id {
            return Ok(());
        }
        workspace.follow(parent.clone(), head.name.clone()).await
    }

    async fn look(&self, commit: &Read) -> Result<Looked> {
        let used = self.tree(commit, Held::Pinned).await?.stored().packs().await?;
        let sparse = rewrite::sparse(&commit.commit.volume, &commit.table, &used);
        let packs = commit.table.packs().map(|(index, _)| index);
        let left: Vec<_> = packs.filter(|index| used.of(*index).is_none()).collect();
        if left.is_empty() {
            return Ok(Looked { lighter: None, sparse });
        }
        let mut table = (*commit.table).clone();
        for index in left {
            table.remove(index);
        }
        Ok(Looked { lighter: Some(table), sparse })
    }
}
