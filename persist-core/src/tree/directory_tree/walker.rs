//! A depth-first walk in path order that can begin anywhere.

use super::{FirstNames, Inner, reading};
use crate::{
    error::{ErrorKind, Result},
    linux::cause::{beneath, cause},
    tree::{
        entry::{Entry, TreePath},
        losses::Loss,
        names::Names,
        stat::{Handle, MountRoot, Stat},
    },
};
use rustix::io::Errno;
use std::{
    collections::HashMap,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

/// Directories on the way to the current entry that stay open; what lies above is opened again on the
/// way back, so that a deep tree does not take every descriptor.
const OPEN_MAX: usize = 16;

pub(super) struct Walker {
    tree: Arc<Inner>,
    /// Whether the root itself is still to come.
    at: Position,
    stack: Vec<Level>,
    first: Firsts,
}

#[derive(PartialEq)]
enum Position {
    BeforeRoot,
    Below,
}

/// Where the first names of files come from.
enum Firsts {
    /// Seen on the way, from the beginning of the tree.
    Seen(FirstNames),
    /// Known beforehand: this walk began in the middle.
    Known(Arc<FirstNames>),
}

/// A directory that is being listed.
struct Level {
    path: TreePath,
    dir: Option<OwnedFd>,
    names: Names,
    next: usize,
}

impl Walker {
    /// A walk that begins after `after`, or at the root.
    pub(super) fn new(tree: Arc<Inner>, after: Option<TreePath>) -> Result<Self> {
        let Some(after) = after else {
            let first = Firsts::Seen(HashMap::new());
            return Ok(Self { tree, at: Position::BeforeRoot, stack: Vec::new(), first });
        };
        let first = Firsts::Known(tree.first_names()?);
        let mut walker = Self { tree, at: Position::Below, stack: Vec::new(), first };
        walker.go_to(&after)?;
        Ok(walker)
    }

    /// The next entries, fewer than `count` only at the end.
    pub(super) fn batch(mut self, count: usize) -> Result<(Self, Vec<Entry>)> {
        let mut entries = Vec::with_capacity(count);
        while entries.len() < count
            && let Some(entry) = self.next(reading::entry)?
        {
            entries.push(entry);
        }
        Ok((self, entries))
    }

    /// Walks to the end by stat alone and gives what was seen of files of several names.
    pub(super) fn first_names(mut self) -> Result<FirstNames> {
        let brief = |_: Handle<'_>, stat: &Stat, path| {
            Ok(Entry::new(path, stat.entry_kind(Vec::new()), stat.metadata()))
        };
        while self.next(brief)?.is_some() {}
        match self.first {
            Firsts::Seen(names) => Ok(names),
            Firsts::Known(names) => Ok((*names).clone()),
        }
    }

    fn next(
        &mut self,
        read: impl Fn(Handle<'_>, &Stat, TreePath) -> Result<Entry, Errno>,
    ) -> Result<Option<Entry>> {
        if self.at == Position::BeforeRoot {
            self.at = Position::Below;
            return self.root(read).map(Some);
        }
        loop {
            let Some(level) = self.stack.last_mut() else { return Ok(None) };
            let Some(name) = level.names.get(level.next) else {
                self.stack.pop();
                continue;
            };
            level.next += 1;
            let path = level.path.join(name.to_bytes())?;
            let dir = match &level.dir {
                Some(dir) => dir,
                None => level.dir.insert(self.tree.root.directory(&level.path)?),
            };
            let handle = Handle::Name { dir: dir.as_fd(), name };
            let seen = Stat::of(handle).and_then(|stat| Ok((stat, read(handle, &stat, path.clone())?)));
            match seen {
                Ok((stat, entry)) => return self.found(stat, entry).map(Some),
                Err(Errno::NOENT) => self.tree.lose(Loss::Vanished, &path, "it was listed, then gone")?,
                Err(error) => return Err(beneath(error, "read", self.tree.root.place(&path))),
            }
        }
    }

    fn root(&mut self, read: impl Fn(Handle<'_>, &Stat, TreePath) -> Result<Entry, Errno>) -> Result<Entry> {
        let tree = Arc::clone(&self.tree);
        let handle = Handle::Open(tree.root.as_fd());
        let refused = |e| cause(e, "read", tree.path.display());
        let stat = Stat::of(handle).map_err(refused)?;
        let entry = read(handle, &stat, TreePath::root()).map_err(refused)?;
        self.enter(TreePath::root())?;
        Ok(entry)
    }

    fn found(&mut self, stat: Stat, mut entry: Entry) -> Result<Entry> {
        if stat.has_other_names() {
            entry.link = match &mut self.first {
                Firsts::Seen(names) => {
                    Some(names.entry(stat.inode()).or_insert_with(|| entry.path.clone()).clone())
                }
                Firsts::Known(names) => names.get(&stat.inode()).cloned(),
            };
        }
        match stat.mount_root {
            _ if !stat.is_directory() => {}
            MountRoot::Yes => {
                self.tree.lose(Loss::MountPoint, &entry.path, "another filesystem begins here")?
            }
            MountRoot::No => self.enter(entry.path.clone())?,
        }
        Ok(entry)
    }

    fn enter(&mut self, path: TreePath) -> Result<()> {
        let dir = match self.tree.root.directory(&path) {
            Ok(dir) => dir,
            Err(error) => {
                let loss = match error.kind() {
                    ErrorKind::Denied => Loss::Unreadable,
                    ErrorKind::NotFound => Loss::Vanished,
                    _ => return Err(error),
                };
                return self.tree.lose(loss, &path, &error.to_string());
            }
        };
        let names = Names::read(&dir).map_err(|e| cause(e, "list", self.tree.root.place(&path)))?;
        self.stack.push(Level { path, dir: Some(dir), names, next: 0 });
        if let Some(above) = self.stack.len().checked_sub(OPEN_MAX + 1) {
            self.stack[above].dir = None;
        }
        Ok(())
    }

    /// Lists every directory on the way to `after` and stands behind it; what is below `after` is still to
    /// come.
    fn go_to(&mut self, after: &TreePath) -> Result<()> {
        self.enter(TreePath::root())?;
        let mut path = TreePath::root();
        for name in after.components() {
            let Some(level) = self.stack.last_mut() else { return Ok(()) };
            level.next = level.names.after(name);
            path = path.join(name)?;
            match self.tree.root.stat(&path) {
                Ok(stat) if stat.is_directory() && stat.mount_root == MountRoot::No => {
                    self.enter(path.clone())?
                }
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Walker {
    pub(super) fn open(&self) -> usize {
        self.stack.iter().filter(|level| level.dir.is_some()).count()
    }
}
