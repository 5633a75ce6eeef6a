//! The trees of commits, for reading and for the copies on this node.

use super::{commits::Read, engine::Engine, reference};
use crate::{
    format::tree::{Pages, StoredEntry, TreeFormat},
    transfer::{
        read::{FetchOptions, Fetcher, Held, Origin},
        tree::CommitTree,
    },
    workspace::hydrate::{Contents, Referenced},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use persist_core::{
    Result,
    tree::{Entry, TreePath, TreeSource, TreeTotals},
};
use std::{fmt, ops::Range, path::Path, sync::Arc};

/// The tree of a commit, whose entries know what the bucket holds for them.
#[derive(Clone)]
pub(super) struct Committed {
    tree: CommitTree,
    fetcher: Arc<Fetcher>,
    /// Keeps the commit's objects from being pruned, where something has to.
    _pin: Option<Arc<dyn fmt::Debug + Send + Sync>>,
}

impl Engine {
    /// The tree of a commit.
    pub(super) async fn tree(&self, commit: &Read, held: Held) -> Result<Committed> {
        let fetcher = self.fetcher(commit, held).await?;
        let keyring = self.commits.keyring(&commit.commit.volume).await?;
        let tree =
            CommitTree::new(&TreeFormat::new(keyring.secret()), Arc::clone(&fetcher), &commit.commit.tree);
        Ok(Committed { tree, fetcher, _pin: None })
    }

    /// Reads what a commit refers to.
    pub(super) async fn fetcher(&self, commit: &Read, held: Held) -> Result<Arc<Fetcher>> {
        let origin = Origin {
            store: Arc::clone(&self.remote.data),
            keys: self.remote.keys.clone(),
            table: Arc::clone(&commit.table),
            keyring: self.commits.keyring(&commit.commit.volume).await?,
            known: commit.known.clone(),
        };
        let options = FetchOptions { memory_bytes: self.fetch_bytes, held, ..FetchOptions::default() };
        Ok(Arc::new(Fetcher::new(origin, options)))
    }
}

impl Committed {
    /// The same tree, which keeps `pin` while it lives.
    pub(super) fn pinned(self, pin: Arc<dyn fmt::Debug + Send + Sync>) -> Self {
        Self { _pin: Some(pin), ..self }
    }

    /// The pages of the tree.
    pub(super) fn pages(&self) -> Arc<dyn Pages> {
        Arc::clone(&self.fetcher) as _
    }

    /// The entries with the places of their content.
    pub(super) fn stored(&self) -> &crate::format::tree::Tree {
        self.tree.tree()
    }
}

#[async_trait]
impl TreeSource for Committed {
    fn entries(&self, after: Option<TreePath>) -> BoxStream<'static, Result<Entry>> {
        self.tree.entries(after)
    }

    async fn entry(&self, path: &TreePath) -> Result<Option<Entry>> {
        self.tree.entry(path).await
    }

    async fn read(&self, path: &TreePath, range: Range<u64>) -> Result<Bytes> {
        self.tree.read(path, range).await
    }

    fn totals(&self) -> Option<TreeTotals> {
        self.tree.totals()
    }

    fn directory(&self) -> Option<&Path> {
        None
    }
}

impl Referenced for Committed {
    fn referenced(&self, after: Option<TreePath>) -> BoxStream<'static, Result<(Entry, Vec<u8>)>> {
        let named = |stored: StoredEntry| async move {
            let reference = reference::encode(&stored)?;
            Ok((stored.entry, reference))
        };
        self.stored().entries(after).and_then(named).boxed()
    }

    fn contents(&self, one: &[u8], other: &[u8]) -> Contents {
        match (reference::content(one), reference::content(other)) {
            (Some(one), Some(other)) if one.same_as(&other) => Contents::Same,
            _ => Contents::Unknown,
        }
    }
}

impl fmt::Debug for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committed").field("totals", &self.totals()).finish_non_exhaustive()
    }
}
