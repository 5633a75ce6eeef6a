//! Volumes on the filesystem of this server: durable without the network, as reliable as its device, bound
//! to this host.
//!
//! ```text
//! local:///var/lib/shop/volumes
//! ```
//!
//! What is under the path is probed when the store is opened, and the store says what it found:
//!
//! | Filesystem | A snapshot | Promises |
//! |---|---|---|
//! | btrfs | one snapshot of a subvolume: atomic, at once | `FAST`, `RELIABLE`, `INSTANT_SNAPSHOTS`, `CLONES`; `ENFORCED_SIZE` where quota is enabled already |
//! | XFS and others with reflink | a clone of each file | `FAST`, `RELIABLE`, `CLONES` |
//! | ext4, f2fs, ... | a copy of each file, holes kept | `FAST`, `RELIABLE` |
//! | tmpfs | a copy | `FAST`: gone with the next boot |
//! | the overlay root of a container | a copy | `FAST`: gone with the container |
//! | NFS, SMB, FUSE, ... | | refused, with the URL that fits |
//!
//! With privilege (`CAP_SYS_ADMIN`) attachments can be mounts, with their policy enforced by the kernel.
//!
//! **Fencing is [`Advisory`](persist_core::Fencing::Advisory)**: nothing takes open files away from a process
//! that has lost its attachment. It is told, and a new holder is let in only once the old one is proven dead
//! (its process is gone, its boot is over) or vouched for.
//!
//! The store belongs to the user that opens it; what is in it is closed to other users (mode 0700). A
//! directory that others may write to is refused.

mod findings;
mod probe;

pub use persist_core::directory::DirectoryStore as LocalStore;

use persist_core::{
    Error, OpenOptions, Result, StoreUrl, VolumeStore,
    directory::{DirectoryStore, PeriodicSyncs, StoreAt},
    linux::filesystem,
    tree::Trust,
};
use std::{path::PathBuf, sync::Arc};

/// The scheme of the URLs of this store.
pub const SCHEME: &str = "local";

/// The options that a URL of this store may carry: none yet.
const KEYS: [&str; 0] = [];

/// Opens the store at `local:///path`.
///
/// # Promise
/// A path without a store is [`NotFound`](persist_core::ErrorKind::NotFound) unless the mode says
/// [`CreateIfMissing`](persist_core::OpenMode::CreateIfMissing). A store that is refused leaves no trace.
///
/// # Errors
/// `Invalid` for a URL of another kind, with a server, with options, or without an absolute path, and for a
/// state directory, which this store has no use for;
/// `Unsupported` on a filesystem that is not this host's own, or that does not meet the needs; `Denied` for a
/// directory of another user, or one that others may write to; else as [`LocalStore::open`].
pub async fn open(url: &StoreUrl, options: OpenOptions) -> Result<Arc<dyn VolumeStore>> {
    open_local(url, options).await.map(|store| Arc::new(store) as Arc<dyn VolumeStore>)
}

/// As [`open`], for those who want the type: it counts its fsyncs.
///
/// # Errors
/// As [`open`].
pub async fn open_local(url: &StoreUrl, options: OpenOptions) -> Result<LocalStore> {
    let root = path_of(url).map_err(|error| error.during("open", url))?;
    if options.state_directory.is_some() {
        let error = Error::invalid("state_directory", "a local store keeps everything in itself");
        return Err(error.during("open", url).advise("leave it out for local stores"));
    }
    let location = url.to_string();
    let at = StoreAt {
        root,
        kind: SCHEME.into(),
        location,
        trust: Trust::Untrusted,
        periodic: PeriodicSyncs::ByStore,
    };
    refuse_foreign(at.root.clone()).await.map_err(|error| error.during("open", url))?;
    let mode = options.mode;
    let opened = DirectoryStore::open(at, options, move |root| probe::probe(root, mode)).await;
    opened.map_err(|error| error.during("open", url))
}

/// Refuses a path on a file server before it is touched: a dead one would not answer.
async fn refuse_foreign(root: PathBuf) -> Result<()> {
    let look = move || match filesystem::foreign(&root)? {
        Some((foreign, name)) => Err(findings::refusal(foreign, &name, &root)),
        None => Ok(()),
    };
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or_else(|e| Err(Error::internal("a thread of the store panicked").with_source(e)))
}

fn path_of(url: &StoreUrl) -> Result<PathBuf> {
    let refused =
        |what: &'static str| Err(Error::invalid("url", what).advise("write local:///absolute/path"));
    if url.scheme() != SCHEME {
        return refused("not the URL of a local store");
    }
    if !url.authority().is_empty() {
        return refused("a local store has no server; the path begins at the third slash");
    }
    url.allow_keys(&KEYS)?;
    match url.path() {
        "" | "/" => refused("a local store has a directory of its own"),
        path => Ok(PathBuf::from(path)),
    }
}
