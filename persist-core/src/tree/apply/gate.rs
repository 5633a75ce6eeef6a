//! What an entry must be before anything is done about it: order, parents, limits, values.

use super::ApplyLimits;
use crate::{
    error::{Detail, Error, ErrorKind, Result},
    tree::{
        entry::{DataRange, Entry, EntryKind, Metadata, TreePath, Xattr},
        source::TreeTotals,
        stat::KEPT_FLAGS,
    },
};

/// Lets through the entries of a tree that can be one, and knows which directories are complete.
#[derive(Debug)]
pub(super) struct Gate {
    limits: ApplyLimits,
    /// The directories on the way to the last entry, the root first.
    open: Vec<Entry>,
    last: Option<TreePath>,
    data_bytes: u64,
    pub(super) totals: TreeTotals,
}

/// The longest target of a symbolic link: `PATH_MAX` with its NUL (symlink(7), limits.h).
const TARGET_MAX_BYTES: usize = 4095;

/// `XATTR_NAME_MAX` and `XATTR_SIZE_MAX` (limits.h).
const XATTR_NAME_MAX_BYTES: usize = 255;
const XATTR_VALUE_MAX_BYTES: usize = 65_536;

impl Gate {
    pub(super) fn new(limits: ApplyLimits) -> Self {
        Self { limits, open: Vec::new(), last: None, data_bytes: 0, totals: TreeTotals::default() }
    }

    /// Admits `entry` and gives the directories that are complete now, the deepest first.
    pub(super) fn admit(&mut self, entry: &Entry) -> Result<Vec<Entry>> {
        let named = |error: Error| error.during("apply", crate::name::shortened(&entry.path.to_string()));
        self.check_place(entry).map_err(named)?;
        check_metadata(&entry.metadata).map_err(named)?;
        check_kind(&entry.kind).map_err(named)?;
        check_link(entry).map_err(named)?;
        self.check_limits(entry).map_err(named)?;
        let closed = self.close(|open| !holds(&open.path, &entry.path));
        if self.open.last().map(|dir| &dir.path) != entry.path.parent().as_ref() {
            return Err(named(corrupt("it lies in what is not a directory of this tree")));
        }
        if entry.kind == EntryKind::Directory {
            self.open.push(entry.clone());
        }
        self.last = Some(entry.path.clone());
        Ok(closed)
    }

    /// The directories that are complete because the tree has ended.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if there was no entry at all.
    pub(super) fn end(&mut self) -> Result<Vec<Entry>> {
        if self.last.is_none() {
            return Err(corrupt("the source has no root").during("apply", TreePath::root()));
        }
        Ok(self.close(|_| true))
    }

    fn close(&mut self, complete: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut closed = Vec::new();
        while let Some(dir) = self.open.pop_if(|dir| complete(dir)) {
            closed.push(dir);
        }
        closed
    }

    fn check_place(&self, entry: &Entry) -> Result<()> {
        match &self.last {
            None if !entry.path.is_root() => Err(corrupt("the source does not begin with its root")),
            None if entry.kind != EntryKind::Directory => Err(corrupt("the root is not a directory")),
            Some(last) if *last == entry.path => Err(corrupt("the source gives a path twice")),
            Some(last) if *last > entry.path => {
                Err(corrupt("the source does not give its entries in path order"))
            }
            _ => Ok(()),
        }
    }

    fn check_limits(&mut self, entry: &Entry) -> Result<()> {
        let limits = self.limits;
        self.totals.files += 1;
        limit("entries", self.totals.files, limits.entries)?;
        let depth = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        limit("components of a path", depth(entry.path.components().count()), depth(limits.depth))?;
        let size = |x: &Xattr| x.name.len().saturating_add(x.value.len());
        let xattrs = entry.metadata.xattrs.iter().map(size).fold(0, usize::saturating_add);
        limit("bytes of attributes", depth(xattrs), depth(limits.xattr_bytes))?;
        if !is_later_name(entry) {
            self.totals.bytes = self.totals.bytes.saturating_add(entry.size());
            self.data_bytes = self.data_bytes.saturating_add(data_bytes(&entry.kind));
            limit("bytes of data", self.data_bytes, limits.bytes)?;
        }
        Ok(())
    }
}

/// Whether `entry` is a further name of a file that has come.
pub(super) fn is_later_name(entry: &Entry) -> bool {
    entry.link.as_ref().is_some_and(|first| *first != entry.path)
}

/// Bytes of a file that are not in a hole.
pub(super) fn data_bytes(kind: &EntryKind) -> u64 {
    match kind {
        EntryKind::File { data: Some(data), .. } => {
            data.iter().fold(0, |sum: u64, range| sum.saturating_add(range.length))
        }
        EntryKind::File { size, data: None } => *size,
        _ => 0,
    }
}

fn holds(dir: &TreePath, path: &TreePath) -> bool {
    let (dir, path) = (dir.as_bytes(), path.as_bytes());
    dir.is_empty() || (path.starts_with(dir) && path.get(dir.len()) == Some(&b'/'))
}

fn check_metadata(metadata: &Metadata) -> Result<()> {
    if metadata.mode > 0o7777 {
        return Err(corrupt("its mode has bits that no mode has"));
    }
    if metadata.mtime_ns > 999_999_999 {
        return Err(corrupt("its time has more than a second of nanoseconds"));
    }
    // To chown(2) it means "leave as it is".
    if metadata.uid == u32::MAX || metadata.gid == u32::MAX {
        return Err(corrupt("its owner is -1, which nobody is"));
    }
    if metadata.flags & !KEPT_FLAGS != 0 {
        return Err(corrupt("it has flags that are never kept"));
    }
    if !metadata.xattrs.is_sorted_by(|a, b| a.name < b.name) {
        return Err(corrupt("its attributes are not sorted, or one comes twice"));
    }
    metadata.xattrs.iter().try_for_each(check_xattr)
}

fn check_xattr(xattr: &Xattr) -> Result<()> {
    let name = &xattr.name;
    let namespaced = name.iter().position(|b| *b == b'.').is_some_and(|dot| dot > 0 && dot + 1 < name.len());
    if !namespaced || name.len() > XATTR_NAME_MAX_BYTES || name.contains(&0) {
        return Err(corrupt("it has an attribute with a name that no attribute has"));
    }
    if xattr.value.len() > XATTR_VALUE_MAX_BYTES {
        return Err(corrupt("it has an attribute above 64 KiB"));
    }
    Ok(())
}

fn check_kind(kind: &EntryKind) -> Result<()> {
    match kind {
        // `off_t` is signed.
        EntryKind::File { size, .. } if i64::try_from(*size).is_err() => {
            Err(corrupt("it is larger than a file can be"))
        }
        EntryKind::File { size, data: Some(data) } => check_ranges(*size, data),
        EntryKind::Symlink { target } if target.is_empty() || target.contains(&0) => {
            Err(corrupt("its target is empty or has a NUL byte"))
        }
        EntryKind::Symlink { target } if target.len() > TARGET_MAX_BYTES => {
            Err(corrupt("its target is longer than a path can be"))
        }
        _ => Ok(()),
    }
}

fn check_ranges(size: u64, data: &[DataRange]) -> Result<()> {
    let mut end = 0;
    for range in data {
        let Some(next) = range.offset.checked_add(range.length).filter(|next| *next <= size) else {
            return Err(corrupt("it has data beyond its size"));
        };
        if range.offset < end || range.length == 0 {
            return Err(corrupt("its ranges of data are empty, overlap, or are out of order"));
        }
        end = next;
    }
    Ok(())
}

fn check_link(entry: &Entry) -> Result<()> {
    match &entry.link {
        Some(_) if entry.kind == EntryKind::Directory => Err(corrupt("a directory with several names")),
        Some(first) if *first > entry.path => Err(corrupt("it is a link to what comes later")),
        _ => Ok(()),
    }
}

fn limit(what: &'static str, used: u64, limit: u64) -> Result<()> {
    if used <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Exhausted, "the source gives more than the reader allows")
        .with_detail(Detail::Limit { used, limit })
        .with_retry(crate::Retry::Never)
        .context("limit of", what)
        .advise("raise the limit if the source is to be trusted with more"))
}

/// The source contradicts itself or what a filesystem can be.
pub(super) fn corrupt(why: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, why).advise("do not use this source; keep it as evidence")
}
