//! What every part of the engine shares: where, on what, as whom.

use super::{
    attachments::Served,
    calls::Calls,
    durable::Durable,
    exclusion::{Exclusion, Hold},
    layout::{Layout, VolumeLayout},
    open::PeriodicSyncs,
    place::Place,
    snapshots::Sources,
};
use crate::{
    capability::StoreInfo,
    clock::{Environment, Timestamp},
    error::{Error, ErrorKind, Result},
    holder::Node,
    id::Generation,
    open::OpenMode,
    progress::Meter,
    tree::Trust,
};
use std::sync::Arc;

/// One opened store on a directory.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) layout: Layout,
    pub(crate) place: Arc<dyn Place>,
    pub(crate) trust: Trust,
    pub(crate) periodic: PeriodicSyncs,
    pub(crate) environment: Environment,
    pub(crate) node: Option<Node>,
    pub(crate) mode: OpenMode,
    pub(crate) info: Arc<StoreInfo>,
    pub(crate) durable: Durable,
    pub(crate) calls: Calls,
    pub(crate) served: Served,
    pub(crate) sources: Sources,
}

impl Engine {
    /// The time, by this node's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.environment.clock.now()
    }

    /// A new identity for a tree.
    pub(crate) fn mint_generation(&self) -> Generation {
        Generation::mint(&*self.environment.clock, &*self.environment.entropy)
    }

    /// The node that this store was opened for.
    ///
    /// # Errors
    /// `Invalid` if it was opened without one.
    pub(crate) fn node(&self) -> Result<&Node> {
        self.node.as_ref().ok_or_else(|| {
            Error::invalid("node", "the store was opened without saying on which node")
                .advise("open it with this_host(), or with a node of your own")
        })
    }

    /// Refuses on a store that was opened read-only.
    ///
    /// # Errors
    /// `Denied`.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match self.mode {
            OpenMode::ReadOnly => Err(Error::new(ErrorKind::Denied, "the store was opened read-only")
                .context("store", self.layout.root().display())
                .advise("open it for writing")),
            _ => Ok(()),
        }
    }

    /// Waits for the right to change a volume.
    ///
    /// # Errors
    /// `NotFound` if it is gone; `Unavailable` once stopped.
    pub(crate) fn exclude(&self, volume: &VolumeLayout, meter: &Meter) -> Result<Exclusion> {
        self.check_writable()?;
        Exclusion::take(&volume.exclusion(), Hold::Alone, meter)
    }
}
