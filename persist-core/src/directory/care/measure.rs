//! How much a tree takes up.

use crate::{
    error::{ErrorKind, Result},
    progress::Meter,
    tree::{Root, Step, Unreadable, WalkOptions, walk},
};
use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// What a tree takes up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::directory) struct Measured {
    /// Entries, the root included.
    pub(in crate::directory) files: u64,
    /// Bytes that are allocated, holes not counted.
    pub(in crate::directory) bytes: u64,
}

/// Measures what is below `path`; nothing is there if it is not there.
///
/// A file with several names is counted once if all of them are below `path`: each of n names carries the
/// n-th part, which needs no memory.
///
/// # Errors
/// As the filesystem reports them; `Unavailable` once stopped.
pub(in crate::directory) fn measure(path: &Path, meter: &Meter) -> Result<Measured> {
    /// The unit of `stx_blocks` (statx(2)).
    const BLOCK_BYTES: u64 = 512;
    let root = match Root::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Measured::default()),
        root => root?,
    };
    let (files, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let options = WalkOptions { unreadable: Unreadable::Report, ..WalkOptions::default() };
    walk(&root, &options, meter, &|visit| {
        let stat = &visit.stat;
        let names = if stat.is_directory() { 1 } else { u64::from(stat.links.max(1)) };
        files.fetch_add(1, Relaxed);
        bytes.fetch_add(stat.blocks * BLOCK_BYTES / names, Relaxed);
        Ok(Step::Enter)
    })?;
    Ok(Measured { files: files.into_inner(), bytes: bytes.into_inner() })
}
