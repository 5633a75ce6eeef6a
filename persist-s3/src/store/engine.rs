//! What an opened store is made of.

use super::{calls::Calls, commits::Commits, serving::Serving, turns::Turns};
use crate::{
    remote::{History, Remote, prune::PinWatches},
    workspace::Workspaces,
};
use persist_core::{Error, ErrorKind, Node, OpenMode, Result, StoreInfo, clock::Timestamp};
use std::{
    mem,
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// An opened store.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) info: Arc<StoreInfo>,
    pub(super) mode: OpenMode,
    pub(super) node: Option<Node>,
    pub(super) remote: Remote,
    pub(super) commits: Arc<Commits>,
    /// The copies that are written on this node.
    pub(super) spaces: Option<Workspaces>,
    /// The copies that are read on this node.
    pub(super) readers: Option<Workspaces>,
    /// What warm copies may take on this node, in bytes.
    pub(super) workspace_limit: Option<u64>,
    pub(super) lease_ttl: Duration,
    pub(super) retained: Retained,
    /// The memory of one commit.
    pub(super) upload_bytes: u64,
    /// The memory of one tree that is read.
    pub(super) fetch_bytes: u64,
    pub(super) calls: Calls,
    pub(super) turns: Turns,
    pub(super) serving: Serving,
    pub(super) pins: PinsSeen,
    /// Tells what this opened store holds from what another of this process does.
    pub(super) nonce: u128,
}

/// Which commits a prune keeps although nothing names them: the last ones, and those that are not older.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retained {
    pub(super) commits: NonZeroU64,
    pub(super) age: Duration,
}

/// What prunes of this opened store have seen of readers' pins: whether one was left behind takes two looks.
#[derive(Debug, Default)]
pub(super) struct PinsSeen(Mutex<PinWatches>);

impl PinsSeen {
    pub(super) fn take(&self) -> PinWatches {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn put(&self, seen: PinWatches) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

impl Engine {
    /// The wall clock, for people.
    pub(super) fn now(&self) -> Timestamp {
        self.remote.environment.clock.now()
    }

    /// Which commit came before which.
    pub(super) fn history(&self) -> Arc<dyn History> {
        Arc::clone(&self.commits) as Arc<dyn History>
    }

    /// # Errors
    /// `Denied` for a store that was opened read-only.
    pub(super) fn check_writable(&self) -> Result<()> {
        match self.mode {
            OpenMode::ReadOnly => Err(Error::new(ErrorKind::Denied, "the store was opened read-only")
                .context("store", &self.info.location)
                .advise("open it for writing")),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// `Invalid` for a store that was opened without one.
    pub(super) fn node(&self) -> Result<&Node> {
        self.node.as_ref().ok_or_else(|| {
            Error::invalid("node", "the store was opened without saying on which node")
                .advise("open it with this_host(), or with a node of your own")
        })
    }
}
