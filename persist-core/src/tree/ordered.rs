//! Visiting every entry of a tree in path order, looked at ahead on several threads.

mod ahead;

use super::{
    beneath::Root,
    entry::TreePath,
    losses::{Loss, Losses},
    stat::{Handle, Kind, Stat},
    walk::{MOUNTED, WalkOptions, WalkReport},
};
use crate::{error::Result, linux::cause::beneath, progress::Meter};
use ahead::{Ahead, Listed, Looked, Ticket};
use std::{collections::VecDeque, os::fd::AsFd, thread};

/// One entry, in path order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Where it is.
    pub path: TreePath,
    /// What it is.
    pub stat: Stat,
    /// What becomes of what is in it.
    pub inside: Inside,
}

impl Found {
    /// One entry.
    pub fn new(path: TreePath, stat: Stat, inside: Inside) -> Self {
        Self { path, stat, inside }
    }
}

/// What becomes of what is in an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Inside {
    /// It is no directory.
    Nothing,
    /// It comes next.
    Follows,
    /// Another filesystem is mounted there: it is not entered.
    MountPoint,
    /// This user may not list it: what is in it is not known.
    Unreadable,
}

/// Visits every entry below `root` in path order, the root first. Blocks.
///
/// # Promise
/// One statx(2) an entry, and an open and the listing a directory: looked at on as many threads as `options`
/// say, ahead of the visits, which come from the calling thread. Memory is bounded whatever the size of the
/// tree: the names of the directories on the way to the current entry, and at most some 65,536 entries and a
/// million names ahead of it. No link is followed, no mount point entered. An entry that vanishes before it is
/// looked at is counted, not an error, and not visited.
///
/// # Errors
/// The first error of `visit`; `Denied` for a directory that this user may not list, unless `options` say
/// that it is reported; once `meter` is stopped, its error.
pub fn walk_in_order(
    root: &Root,
    options: &WalkOptions,
    meter: &Meter,
    visit: &mut dyn FnMut(&Found) -> Result<()>,
) -> Result<WalkReport> {
    let refused = |e| beneath(e, "stat", root.place(&TreePath::root()));
    let stat = Stat::of(Handle::Open(root.as_fd())).map_err(refused)?;
    let ahead = Ahead::new(root.clone(), *options, meter.clone());
    thread::scope(|scope| {
        // The workers end with this, whether the visits come to their end, fail or panic.
        let _over = ahead.ends();
        for _ in 1..options.threads.means().threads {
            scope.spawn(|| ahead.work());
        }
        let mut visits = Visits { ahead: &ahead, stack: Vec::new(), report: WalkReport::default(), visit };
        visits.begin(stat)?;
        while visits.step()? {}
        Ok(visits.report)
    })
}

struct Visits<'a> {
    ahead: &'a Ahead,
    stack: Vec<Level>,
    report: WalkReport,
    visit: &'a mut dyn FnMut(&Found) -> Result<()>,
}

/// A directory whose entries are being visited.
struct Level {
    path: TreePath,
    entries: std::vec::IntoIter<Looked>,
    parts: VecDeque<Ticket>,
    names: usize,
}

impl Visits<'_> {
    fn begin(&mut self, stat: Stat) -> Result<()> {
        let list = self.ahead.list_root();
        self.directory(TreePath::root(), stat, list)
    }

    /// Goes on by one entry or one part; whether there was one.
    fn step(&mut self) -> Result<bool> {
        let Some(level) = self.stack.last_mut() else { return Ok(false) };
        if let Some(Looked { name, stat, list }) = level.entries.next() {
            let path = level.path.join(name.to_bytes())?;
            match list {
                Some(list) => self.directory(path, stat, list)?,
                None if stat.is_directory() => {
                    self.report.losses.add(Loss::MountPoint, || path.clone(), MOUNTED);
                    self.found(path, stat, Inside::MountPoint)?;
                }
                None => self.found(path, stat, Inside::Nothing)?,
            }
        } else if let Some(part) = level.parts.pop_front() {
            let (entries, losses) = self.ahead.looked(part)?;
            level.entries = entries.into_iter();
            self.report.losses.merge(losses);
        } else {
            self.ahead.left(level.names);
            self.stack.pop();
        }
        Ok(true)
    }

    fn directory(&mut self, path: TreePath, stat: Stat, list: Ticket) -> Result<()> {
        let (parts, names) = match self.ahead.listed(list)? {
            Listed::Parts { parts, names } => (parts, names),
            Listed::Lost(losses) => return self.lost(path, stat, losses),
        };
        self.found(path.clone(), stat, Inside::Follows)?;
        self.stack.push(Level { path, entries: Vec::new().into_iter(), parts: parts.into(), names });
        Ok(())
    }

    fn lost(&mut self, path: TreePath, stat: Stat, losses: Losses) -> Result<()> {
        let inside = if losses.count(Loss::Unreadable) > 0 {
            Some(Inside::Unreadable)
        } else {
            (losses.count(Loss::MountPoint) > 0).then_some(Inside::MountPoint)
        };
        self.report.losses.merge(losses);
        // What vanished is not visited.
        inside.map_or(Ok(()), |inside| self.found(path, stat, inside))
    }

    fn found(&mut self, path: TreePath, stat: Stat, inside: Inside) -> Result<()> {
        self.report.entries += 1;
        if stat.kind == Kind::File {
            self.report.bytes += stat.size;
        }
        (self.visit)(&Found { path, stat, inside })
    }
}

#[cfg(test)]
mod tests;
