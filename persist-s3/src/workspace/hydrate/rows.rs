//! The stat record of a tree that was just hydrated: what was meant beside what is there.

use super::Referenced;
use crate::workspace::{
    record::{Applied, Finished, Of, Row, RowWriter, Stamp},
    scan::Known,
};
use futures::StreamExt;
use persist_core::{
    Error, Result,
    linux::cause::cause,
    progress::Meter,
    tree::{
        Attributes, Entry, EntryKind, Found, Handle, Inode, Kind, Root, TreePath, TreeTotals, WalkOptions,
        read_metadata, walk_in_order,
    },
};
use std::{
    collections::HashMap,
    ffi::CString,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};
use tokio::runtime::Handle as Runtime;

/// Walks the tree at `live`, which has `attributes`, beside `tree`. Blocks, on a thread of a runtime.
///
/// # Errors
/// `Internal` if something is there that was not meant; those of `tree`; as the filesystem reports the rest.
pub(super) fn record(
    live: &Path,
    stamp: Stamp,
    (drafts, of): (&Path, Of),
    tree: &dyn Referenced,
    attributes: Attributes,
    meter: &Meter,
) -> Result<(Finished, TreeTotals)> {
    let runtime = Runtime::current();
    let mut meant = tree.referenced(None);
    let mut next = move || runtime.block_on(meant.next()).transpose();
    let root = Root::open(live)?;
    let mut reader = AttributeReader { root: root.clone(), parent: None };
    let mut writer = RowWriter::new(drafts, of)?;
    let (mut first_names, mut totals) = (HashMap::<Inode, TreePath>::new(), TreeTotals::default());
    let mut entry = next()?;
    walk_in_order(&root, &WalkOptions::default(), meter, &mut |found| {
        // What could not be made here, such as a device, has no row: the bucket keeps it.
        while entry.as_ref().is_some_and(|(meant, _)| meant.path < found.path) {
            entry = next()?;
        }
        let Some((meant, reference)) = entry.take().filter(|(meant, _)| meant.path == found.path) else {
            return Err(unexpected(&found.path));
        };
        let link = found
            .stat
            .has_other_names()
            .then(|| first_names.entry(found.stat.inode()).or_insert_with(|| found.path.clone()).clone());
        check(&meant, found)?;
        totals.files += 1;
        if link.as_ref().is_none_or(|first| *first == found.path) {
            totals.bytes += meant.size();
        }
        let xattrs = match attributes {
            Attributes::Nowhere => Vec::new(),
            Attributes::Somewhere => reader.of(found)?,
        };
        let target = match &meant.kind {
            EntryKind::Symlink { target } => Some(target.as_slice()),
            _ => None,
        };
        let applied = Applied::new(&found.stat, &xattrs, target, link);
        writer.push(Row::new(found.path.clone(), applied, stamp, reference))?;
        entry = next()?;
        Ok(())
    })?;
    Ok((writer.finish()?, totals))
}

fn check(meant: &Entry, found: &Found) -> Result<()> {
    let same_size = found.stat.kind != Kind::File || meant.size() == found.stat.size;
    if Kind::from(&meant.kind) == found.stat.kind && same_size {
        Ok(())
    } else {
        Err(unexpected(&found.path))
    }
}

fn unexpected(path: &TreePath) -> Error {
    Error::internal("the hydrated tree is not what was meant").context("path", path)
}

/// Reads attributes through the directory that the last entry was in.
struct AttributeReader {
    root: Root,
    parent: Option<(TreePath, OwnedFd)>,
}

impl AttributeReader {
    fn of(&mut self, found: &Found) -> Result<Vec<persist_core::tree::Xattr>> {
        let named = |e| cause(e, "listxattr", &found.path);
        let Some(name) = found.path.name() else {
            return Ok(read_metadata(Handle::Open(self.root.as_fd()), &found.stat).map_err(named)?.xattrs);
        };
        let name = CString::new(name).map_err(|_| Error::internal("a name with a NUL byte"))?;
        let parent = found.path.parent().unwrap_or_default();
        if self.parent.as_ref().is_none_or(|(path, _)| *path != parent) {
            let opened = self.root.directory(&parent)?;
            self.parent = Some((parent, opened));
        }
        let Some((_, dir)) = &self.parent else { return Err(Error::internal("a directory was closed")) };
        let handle = Handle::Name { dir: dir.as_fd(), name: &name };
        Ok(read_metadata(handle, &found.stat).map_err(named)?.xattrs)
    }
}

/// What is known of a base whose record was lost, for [`scan`](crate::workspace::scan::Tree::scan): blocks on a
/// thread of a runtime.
pub(super) fn known(tree: &dyn Referenced) -> impl Iterator<Item = Result<Known>> {
    let (runtime, mut entries) = (Runtime::current(), tree.referenced(None));
    std::iter::from_fn(move || runtime.block_on(entries.next()))
        .map(|next| next.map(|(entry, reference)| Known::Intended { entry: Box::new(entry), reference }))
}
