//! Reading the entries that a scan cannot carry.

use super::{Tree, merge::of_entry};
use crate::workspace::record::{Applied, Freshness, Row};
use persist_core::{
    ErrorKind, Result,
    linux::cause::cause,
    tree::{Entry, EntryKind, Handle, Kind, Stat, TreePath, data_ranges, read_metadata},
};
use rustix::{
    fs::{Mode, OFlags, SeekFrom, readlinkat, seek},
    io::Errno,
};
use std::{fs::File, os::fd::AsFd};

/// Whether this process may give files away and set what the kernel trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Privilege {
    Full,
    Ordinary,
}

impl Privilege {
    pub(super) fn of_this_process() -> Self {
        if rustix::process::geteuid().is_root() { Self::Full } else { Self::Ordinary }
    }
}

/// An opened file of the tree, with everything that the filesystem says about it.
#[derive(Debug)]
pub struct OpenFile {
    /// To read from, at its beginning.
    pub file: File,
    /// What it is.
    pub entry: Entry,
    /// What statx(2) said before it was read.
    pub stat: Stat,
}

/// What came of reading a file.
#[derive(Debug)]
pub enum Read<T> {
    /// It was read.
    Done {
        /// What reading it gave.
        value: T,
        /// What it was.
        file: Box<OpenFile>,
        /// Whether it stood still meanwhile.
        stability: Stability,
    },
    /// It went away, or became something else.
    Gone,
}

/// Whether a file stood still while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    /// What was read is of one moment.
    Still,
    /// It moved each time: what was read is of no single moment.
    Moving,
}

/// How often a file that moves is read before it is stored as it was read: as often as a copy does.
const READS_MAX: usize = 3;

impl Tree {
    /// Opens the file at `path` for reading; `None` if it went away or is no file any more.
    ///
    /// # Errors
    /// `Denied` where this user may not read it; as the filesystem reports the rest.
    pub fn open_file(&self, path: &TreePath, link: Option<TreePath>) -> Result<Option<OpenFile>> {
        // A fifo that took its place must not block the open, nor a terminal become ours (open(2)).
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match self.root.open_at(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(error) => return self.gone(path, error),
        };
        let named = |e: Errno| cause(e, "read", path);
        let handle = Handle::Open(file.as_fd());
        let stat = Stat::of(handle).map_err(named)?;
        if stat.kind != Kind::File {
            return Ok(None);
        }
        let metadata = read_metadata(handle, &stat).map_err(named)?;
        let kind = EntryKind::File { size: stat.size, data: data_ranges(file.as_fd(), stat.size) };
        // Looking for holes has moved it.
        seek(&file, SeekFrom::Start(0)).map_err(named)?;
        let mut entry = Entry::new(path.clone(), kind, metadata);
        entry.link = link;
        Ok(Some(OpenFile { file, entry, stat }))
    }

    /// Reads the file at `path` by `read`, again if it moved meanwhile, at most three times. Blocks.
    ///
    /// # Errors
    /// Those of `read`; as [`open_file`](Self::open_file).
    pub fn read_file<T>(
        &self,
        path: &TreePath,
        link: Option<TreePath>,
        mut read: impl FnMut(&OpenFile) -> Result<T>,
    ) -> Result<Read<T>> {
        let mut reads = 0;
        loop {
            let Some(file) = self.open_file(path, link.clone())? else { return Ok(Read::Gone) };
            let value = read(&file)?;
            reads += 1;
            let stability = if file.has_moved()? { Stability::Moving } else { Stability::Still };
            if stability == Stability::Still || reads >= READS_MAX {
                return Ok(Read::Done { value, file: Box::new(file), stability });
            }
        }
    }

    /// Reads an entry that is no file; `None` if it went away.
    pub(super) fn other(&self, path: &TreePath, link: Option<TreePath>) -> Result<Option<(Entry, Stat)>> {
        let (dir, name) = match self.root.parent_of(path) {
            Ok(found) => found,
            Err(error) => return self.gone(path, error),
        };
        let handle = Handle::Name { dir: dir.as_fd(), name: &name };
        let read = || {
            let stat = Stat::of(handle)?;
            let target = match stat.kind {
                Kind::Symlink => readlinkat(&dir, &name, Vec::new())?.into_bytes(),
                _ => Vec::new(),
            };
            let mut entry = Entry::new(path.clone(), stat.entry_kind(target), read_metadata(handle, &stat)?);
            entry.link = link.clone();
            Ok((entry, stat))
        };
        match read() {
            Ok(read) => Ok(Some(read)),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(error) => Err(cause(error, "read", path)),
        }
    }

    /// What cannot be opened because it is not what it was any more is gone; other errors stay.
    fn gone<T>(&self, path: &TreePath, error: persist_core::Error) -> Result<Option<T>> {
        match error.kind() {
            ErrorKind::NotFound => Ok(None),
            // A link took its place; a socket that did cannot be opened (ENXIO).
            _ if self.root.stat(path).is_ok_and(|stat| stat.kind == Kind::File) => Err(error),
            ErrorKind::Denied | ErrorKind::Unavailable | ErrorKind::Invalid => Ok(None),
            _ => Err(error),
        }
    }
}

impl OpenFile {
    /// Whether it was changed since it was opened.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub fn has_moved(&self) -> Result<bool> {
        let now =
            Stat::of(Handle::Open(self.file.as_fd())).map_err(|e| cause(e, "stat", &self.entry.path))?;
        Ok(self.stat.differs(&now))
    }

    /// What its row says of it.
    pub fn applied(&self) -> Applied {
        of_entry(&self.entry, &self.stat)
    }

    /// The row of this file, which the tree in the bucket holds under `reference`.
    pub fn row(&self, tree: &Tree, stability: Stability, reference: Vec<u8>) -> Row {
        let mut row = Row::new(self.entry.path.clone(), self.applied(), tree.stamp(), reference);
        if stability == Stability::Moving {
            row.freshness = Freshness::Racy;
        }
        row
    }
}
