//! Opening a store on a directory.

use super::{
    attachments::Served, calls::Calls, durable::Durable, engine::Engine, layout::Layout, marker::Marker,
    marker::root, place::Place, snapshots::Sources, store::DirectoryStore,
};
use crate::{
    capability::StoreInfo,
    error::{Error, Result},
    id::StoreId,
    needs,
    open::{OpenMode, OpenOptions},
    tree::Trust,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where a store on a directory is, and what it is called.
#[derive(Debug, Clone)]
pub struct StoreAt {
    /// The absolute path of its directory.
    pub root: PathBuf,
    /// The kind of store, as in [`StoreInfo::kind`].
    pub kind: String,
    /// The URL that opens it again, without secrets.
    pub location: String,
    /// Whether what [`Source::Tree`](crate::volume::Source::Tree) says about privilege is believed:
    /// [`Untrusted`](Trust::Untrusted) unless all who may give one are the store's own author.
    pub trust: Trust,
    /// Who makes the syncs of [`SyncPolicy::Every`](crate::quiesce::SyncPolicy::Every).
    pub periodic: PeriodicSyncs,
}

/// Who makes the syncs that attachments have from time to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeriodicSyncs {
    /// The store itself.
    ByStore,
    /// The store that keeps its trees in this one: a flush of this one alone would run the hooks once more, and take
    /// from the other the kernel's one report of a write that failed.
    ByOuter,
}

impl DirectoryStore {
    /// Opens the store at `at`, or makes it where `options` say so. For authors of stores.
    ///
    /// # Promise
    /// `probe` is called with the store's directory, which exists by then, and says what the place can do.
    /// A store that is refused (by `probe`, by the needs, as no store) leaves no trace.
    ///
    /// # Idempotence
    /// Of several makers of one store all open the same one; a killed one's is finished.
    ///
    /// # Errors
    /// `Invalid` for a path that is relative or not a directory; `NotFound` where no store is; `Conflict`
    /// for a directory with other things in it; `Unsupported` for a store of a newer version, or one that
    /// does not meet the needs; `Corrupt` for a store that has lost its marker's content or a directory.
    pub async fn open(
        at: StoreAt,
        options: OpenOptions,
        probe: impl FnOnce(&Path) -> Result<Arc<dyn Place>> + Send + 'static,
    ) -> Result<Self> {
        let opened = tokio::task::spawn_blocking(move || open(at, options, probe)).await;
        opened.unwrap_or_else(|e| Err(Error::internal("a thread of the store panicked").with_source(e)))
    }
}

fn open(
    at: StoreAt,
    options: OpenOptions,
    probe: impl FnOnce(&Path) -> Result<Arc<dyn Place>>,
) -> Result<DirectoryStore> {
    options.refuse_extension().map_err(|error| error.during("open", &at.location))?;
    if !at.root.is_absolute() {
        return Err(Error::invalid("path", "the path of a store is absolute").during("open", at.location));
    }
    let durable = Durable::default();
    let born = match options.mode {
        OpenMode::CreateIfMissing => Some(root::make_root(&at.root, &durable)?),
        OpenMode::Existing | OpenMode::ReadOnly => None,
    };
    let location = at.location.clone();
    opened(at, options, durable, probe).map_err(|error| {
        born.into_iter().for_each(root::Born::undo);
        error.during("open", location)
    })
}

fn opened(
    at: StoreAt,
    options: OpenOptions,
    durable: Durable,
    probe: impl FnOnce(&Path) -> Result<Arc<dyn Place>>,
) -> Result<DirectoryStore> {
    let OpenOptions { mode, node, environment, needs, .. } = options;
    let (layout, trust, periodic) = (Layout::new(at.root), at.trust, at.periodic);
    if mode != OpenMode::CreateIfMissing {
        Marker::require(&layout)?;
    }
    let place = probe(layout.root())?;
    let id = StoreId::mint(&*environment.clock, &*environment.entropy);
    let mut info = StoreInfo::new(at.kind, at.location, id, place.capabilities(), place.characteristics());
    needs::require(&info, &needs)?;
    info.id = Marker::open(&layout, mode, &durable, info.id.clone())?.store;
    let engine = Engine {
        layout,
        place,
        trust,
        periodic,
        environment,
        node,
        mode,
        info: Arc::new(info),
        durable,
        calls: Calls::default(),
        served: Served::default(),
        sources: Sources::default(),
    };
    Ok(DirectoryStore { engine: Arc::new(engine) })
}
