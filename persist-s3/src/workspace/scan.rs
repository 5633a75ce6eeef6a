//! What changed in a tree since its base: one walk in path order, merged with the stat record.
//!
//! An entry that the kernel shows in the very same state is carried by reference: one statx(2), nothing read. What
//! the times cannot prove is read again. The walk is of the live tree, or of a cut of it.

mod merge;
mod open;

pub use merge::{Change, Known, Now, What};
pub use open::{OpenFile, Read, Stability};

use super::record::{Applied, Finished, Of, Row, RowWriter, Stamp};
use merge::{Judged, Merge, Passed, judge};
use persist_core::{
    Result,
    progress::Meter,
    tree::{
        Found, Inode, Inside, Kind, Loss, Losses, Root, Threads, TreePath, TreeTotals, Unreadable,
        WalkOptions, walk_in_order,
    },
};
use std::{collections::HashMap, path::Path};

/// A tree that is scanned, and the clock of its cut.
#[derive(Debug, Clone)]
pub struct Tree {
    root: Root,
    stamp: Stamp,
}

/// How a tree is scanned.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ScanOptions {
    /// On how many threads.
    pub threads: Threads,
    /// What happens at what this user may not read: a commit is refused, or what the base holds of it is
    /// carried, and it is listed.
    pub unreadable: Unreadable,
    /// Counts entries, and stops the scan.
    pub meter: Meter,
}

/// What a scan saw beside the changes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Scanned {
    /// The rows that go into the next record as they are.
    pub carried: Finished,
    /// How many entries were carried.
    pub unchanged: u64,
    /// Entries, and bytes of files, of the tree as it is.
    pub totals: TreeTotals,
    /// What vanished, could not be read, or was a mount point.
    pub losses: Losses,
}

impl Tree {
    /// The tree at `path`, whose cut began at `stamp`: everything that was written before was flushed since.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub fn open(path: &Path, stamp: Stamp) -> Result<Self> {
        Ok(Self { root: Root::open(path)?, stamp })
    }

    /// The clock at the beginning of the cut.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Gives `changed` every change since the base whose rows `previous` gives, in path order. Rows that are
    /// carried go into a new record of `of` in `drafts`. Blocks.
    ///
    /// # Promise
    /// An entry in the state that its row says costs one statx(2). Memory is bounded whatever the size of the
    /// tree, but for one path for each file of several names. What is in a directory that cannot be read, or
    /// under a mount point, is carried as the base has it. A file that moves from a directory that is still to
    /// be visited into one that was, is in neither of an in-place scan: the next one finds it.
    ///
    /// # Errors
    /// The first of `changed` or of `previous`; `Denied` for what may not be read, unless `options` say
    /// otherwise; as the filesystem reports the rest.
    pub fn scan(
        &self,
        previous: impl Iterator<Item = Result<Known>>,
        (drafts, of): (&Path, Of),
        options: &ScanOptions,
        changed: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<Scanned> {
        let mut scan = Scan {
            tree: self,
            options,
            merge: Merge::new(previous),
            carried: RowWriter::new(drafts, of)?,
            first_names: HashMap::new(),
            unchanged: 0,
            totals: TreeTotals::default(),
            losses: Losses::default(),
            changed,
        };
        let mut walking = WalkOptions::default();
        (walking.threads, walking.unreadable) = (options.threads, options.unreadable);
        let report = walk_in_order(&self.root, &walking, &options.meter, &mut |found| scan.found(found))?;
        scan.pass(None)?;
        scan.losses.merge(report.losses);
        Ok(Scanned {
            carried: scan.carried.finish()?,
            unchanged: scan.unchanged,
            totals: scan.totals,
            losses: scan.losses,
        })
    }
}

struct Scan<'a, I: Iterator<Item = Result<Known>>> {
    tree: &'a Tree,
    options: &'a ScanOptions,
    merge: Merge<I>,
    carried: RowWriter,
    /// Under which path each file of several names was met first.
    first_names: HashMap<Inode, TreePath>,
    unchanged: u64,
    totals: TreeTotals,
    losses: Losses,
    changed: &'a mut dyn FnMut(Change) -> Result<()>,
}

impl<I: Iterator<Item = Result<Known>>> Scan<'_, I> {
    fn found(&mut self, found: &Found) -> Result<()> {
        self.pass(Some(&found.path))?;
        let known = self.merge.at(&found.path)?;
        if matches!(found.inside, Inside::MountPoint | Inside::Unreadable) {
            self.merge.carry_below(found.path.clone());
        }
        let link = self.link(found);
        self.count(found, link.as_ref());
        match judge(known, found, link.as_ref(), open::Privilege::of_this_process()) {
            Judged::Same(row) => self.carry(row),
            Judged::Read(before) => self.read(found, before, link),
        }
    }

    /// Settles the rows before `path`, or all that are left.
    fn pass(&mut self, path: Option<&TreePath>) -> Result<()> {
        while let Some(passed) = self.merge.pass(path)? {
            match passed {
                Passed::Covered(row) => self.carry(row)?,
                Passed::Removed(before) => {
                    let path = before.path.clone();
                    (self.changed)(Change { path, what: What::Removed { before } })?;
                }
            }
        }
        Ok(())
    }

    /// Reads everything about an entry but the content of a file, and says what changed.
    fn read(&mut self, found: &Found, before: Option<Row>, link: Option<TreePath>) -> Result<()> {
        let path = found.path.clone();
        let now = if found.stat.kind == Kind::File {
            Now::File { stat: found.stat, link }
        } else {
            match self.tree.other(&path, link)? {
                Some((entry, stat)) => Now::Other { entry: Box::new(entry), stat },
                None => {
                    self.losses.add(Loss::Vanished, || path.clone(), "it was listed, then gone");
                    return before.map_or(Ok(()), |before| {
                        (self.changed)(Change { path, what: What::Removed { before } })
                    });
                }
            }
        };
        match What::of(before, now, self.tree.stamp) {
            Ok(what) => (self.changed)(Change { path, what }),
            Err(renewed) => self.carry(*renewed),
        }
    }

    fn carry(&mut self, row: Row) -> Result<()> {
        self.unchanged += 1;
        self.carried.push(row)
    }

    fn link(&mut self, found: &Found) -> Option<TreePath> {
        let stat = found.stat;
        stat.has_other_names()
            .then(|| self.first_names.entry(stat.inode()).or_insert_with(|| found.path.clone()).clone())
    }

    fn count(&mut self, found: &Found, link: Option<&TreePath>) {
        self.totals.files += 1;
        if found.stat.kind == Kind::File && link.is_none_or(|first| *first == found.path) {
            self.totals.bytes += found.stat.size;
        }
        self.options.meter.add(1, 0);
    }
}

impl Row {
    /// The row of an entry that was read as `applied`, and as it is held under `reference`.
    pub fn new(path: TreePath, applied: Applied, stamp: Stamp, reference: Vec<u8>) -> Self {
        let freshness = stamp.judges(applied.ctime);
        Self { path, applied, freshness, reference }
    }
}

#[cfg(test)]
mod tests;
