//! The copies of volumes on this node: where an attached volume is read and written, at this host's speed.
//!
//! A workspace is a volume of a private directory store (the *near store*), which knows how to show a tree at a
//! path, to cut it, and who uses it. Beside each one are the records that say which commit it is a copy of and
//! whether it may hold work that the bucket has not. Everything here is for the store of this crate: what it
//! decides about leases and commits it decides elsewhere.

pub mod cut;
pub mod evict;
mod flush;
pub mod hydrate;
mod layout;
mod place;
pub mod record;
pub mod scan;
mod serve;
mod served;
mod shown;
pub mod state;
mod threads;

pub use serve::Workspace;

use layout::Layout;
use persist_core::{
    Error, Node, OpenMode, OpenOptions, Result, VolumeId, VolumeStore,
    clock::Environment,
    directory::{DirectoryStore, PeriodicSyncs, Place, StoreAt, durable::Durable, host},
    linux::cause::cause,
    tree::Trust,
};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::Arc,
};
use threads::blocking;

/// The workspaces below one directory. Cheap to clone: clones are the same opened directory.
#[derive(Debug, Clone)]
pub struct Workspaces(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    layout: Layout,
    near: DirectoryStore,
    environment: Environment,
    durable: Durable,
}

impl Workspaces {
    /// Opens the workspace directory `directory`, or makes it (0700). Several processes may have it open; each
    /// workspace is served by one.
    ///
    /// # Errors
    /// `Invalid` for a relative path; `Unsupported` for memory and for what is not this host's own filesystem;
    /// `Denied` for a directory that others may write to; `Conflict` for one with other things in it; else as the
    /// filesystem reports them.
    pub async fn open(directory: &Path, node: Option<Node>, environment: Environment) -> Result<Self> {
        Self::open_on(directory, node, environment, place::probe).await
    }

    /// As [`open`](Self::open), where `probe` says what is under the directory.
    pub(crate) async fn open_on(
        directory: &Path,
        node: Option<Node>,
        environment: Environment,
        probe: impl FnOnce(&Path) -> Result<Arc<dyn Place>> + Send + 'static,
    ) -> Result<Self> {
        let layout = Layout::new(directory.to_owned());
        let prepared = layout.clone();
        let durable = blocking(move |_| prepare(&prepared))
            .await
            .map_err(|e| e.during("open the workspaces", directory.display()))?;
        let at = StoreAt {
            root: layout.near(),
            kind: "near".into(),
            location: format!("near:{}", layout.near().display()),
            // Its trees are copies of our own commits.
            trust: Trust::Faithful,
            periodic: PeriodicSyncs::ByOuter,
        };
        let mut options =
            OpenOptions::default().with_mode(OpenMode::CreateIfMissing).with_environment(environment.clone());
        options.node = node;
        let near = DirectoryStore::open(at, options, probe).await?;
        Ok(Self(Arc::new(Opened { layout, near, environment, durable })))
    }

    /// The store that holds the trees.
    pub fn near(&self) -> &DirectoryStore {
        &self.0.near
    }

    /// The volumes that have a workspace here, in the order of their ids.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn list(&self) -> Result<Vec<VolumeId>> {
        let all = self.0.layout.all();
        blocking(move |_| listed(&all)).await
    }

    /// Releases every tree. Attachments stay.
    ///
    /// # Errors
    /// As the near store reports them.
    pub async fn close(&self) -> Result<()> {
        self.0.near.close().await
    }
}

/// Makes the directories. What is not a place for them is refused before anything is made.
fn prepare(layout: &Layout) -> Result<Durable> {
    let root = layout.root();
    if !root.is_absolute() {
        return Err(Error::invalid("workspace directory", "the path is absolute"));
    }
    place::refuse_foreign(root)?;
    let durable = Durable::default();
    let there = root.ancestors().find(|path| path.exists()).unwrap_or(root);
    place::refuse_memory(there)?;
    make_directories(root, &durable)?;
    host::check_owner(root)?;
    make_directories(&layout.all(), &durable)?;
    Ok(durable)
}

/// Makes `path` and what is missing above it, closed to other users, each durable in its parent.
fn make_directories(path: &Path, durable: &Durable) -> Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|path| fs::symlink_metadata(path).is_err()).collect();
    for path in missing.iter().rev() {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(cause(e, "mkdir", path.display()));
            }
            _ => durable.directory(path.parent().unwrap_or(Path::new("/")))?,
        }
    }
    Ok(())
}

fn listed(all: &Path) -> Result<Vec<VolumeId>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(all).map_err(|e| cause(e, "list", all.display()))? {
        let name = entry.map_err(|e| cause(e, "list", all.display()))?.file_name();
        found.extend(name.to_str().and_then(VolumeId::parse));
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
