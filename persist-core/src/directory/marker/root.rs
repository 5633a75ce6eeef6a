//! The directories of an empty store.

use crate::{
    directory::{
        durable::{DRAFT_PREFIX, Durable},
        fresh,
        layout::Layout,
    },
    error::{Error, ErrorKind, Result},
    linux::cause::cause,
};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The directories that were made for a store, innermost first.
#[derive(Debug)]
pub(crate) struct Born(Vec<PathBuf>);

impl Born {
    /// Takes them away again, as far as they are empty.
    pub(crate) fn undo(self) {
        self.0.iter().all(|path| fs::remove_dir(path).is_ok());
    }
}

/// Makes the store's root, and what is missing above it, durably.
///
/// # Errors
/// `Invalid` for something else than a directory; as the filesystem reports them.
pub(crate) fn make_root(root: &Path, durable: &Durable) -> Result<Born> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && fresh::symlink_metadata(path).is_err();
    let born: Vec<PathBuf> = root.ancestors().take_while(missing).map(Path::to_owned).collect();
    born.iter().rev().try_for_each(|path| make_private(path))?;
    // Each parent up to the first that existed.
    born.iter().filter_map(|made| made.parent()).try_for_each(|parent| durable.directory(parent))?;
    match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => Ok(Born(born)),
        Ok(_) => Err(Error::invalid("path", "not a directory").context("path", root.display())),
        Err(e) => Err(cause(e, "stat", root.display())),
    }
}

/// Makes what an empty store consists of, durably, whatever of it is there already.
pub(super) fn make(layout: &Layout, durable: &Durable) -> Result<()> {
    make_root(layout.root(), durable)?;
    refuse_foreign(layout)?;
    for directory in directories(layout) {
        make_private(&directory)?;
        durable.directory(&directory)?;
    }
    durable.directory(layout.root())
}

/// Refuses a store that has lost one of its directories: it would look empty.
pub(super) fn check(layout: &Layout) -> Result<()> {
    directories(layout).iter().try_for_each(|directory| match fs::symlink_metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(e, "stat", directory.display())),
        _ => Err(Error::new(ErrorKind::Corrupt, "the store has lost one of its directories")
            .context("directory", directory.display())
            .advise("bring it back from where it went, with what was in it")),
    })
}

/// The refusal of a place where no store is.
pub(super) fn no_store(layout: &Layout) -> Error {
    Error::not_found("no store here")
        .context("path", layout.root().display())
        .advise("check the path, or open it with OpenMode::CreateIfMissing to make one")
}

fn directories(layout: &Layout) -> [PathBuf; 4] {
    [layout.names(), layout.volumes(), layout.intents(), layout.removed()]
}

/// 0700: other users of the host cannot browse what is in it.
pub(crate) fn make_private(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(cause(e, "mkdir", path.display())),
        _ => Ok(()),
    }
}

/// What a new filesystem has in its root (mke2fs(8)).
const LOST_AND_FOUND: &str = "lost+found";

fn refuse_foreign(layout: &Layout) -> Result<()> {
    let root = layout.root();
    let ours: Vec<PathBuf> = directories(layout).into_iter().chain([layout.marker()]).collect();
    for entry in fresh::read_dir(root).map_err(|e| cause(e, "list", root.display()))? {
        let entry = entry.map_err(|e| cause(e, "list", root.display()))?;
        let name = entry.file_name();
        let passes = name.as_encoded_bytes().starts_with(DRAFT_PREFIX.as_bytes())
            || fresh::is_removed(&name.to_string_lossy())
            || name == LOST_AND_FOUND;
        if !passes && !ours.contains(&entry.path()) {
            return Err(Error::conflict("the directory is not empty and not a store", Vec::new())
                .context("path", root.display())
                .context("found", format_args!("{name:?}"))
                .advise("choose an empty directory"));
        }
    }
    Ok(())
}
