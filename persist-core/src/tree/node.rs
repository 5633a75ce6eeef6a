//! Directories of a walk: a chain of names, with descriptors for the newest of them.

use super::{beneath::Root, entry::TreePath, metadata::Located};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{
    collections::VecDeque,
    ffi::{CStr, CString},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::AcqRel},
    },
};

/// One directory of a tree that is being worked on. Its name is the same in every root of the descent.
#[derive(Debug)]
pub(crate) struct Node<T> {
    parent: Option<Arc<Node<T>>>,
    name: CString,
    /// Descriptors, one a root; closed again when the descent has too many.
    open: Mutex<[Option<Arc<OwnedFd>>; SIDES]>,
    /// What must end before this directory is finished: its own listing and its children.
    pending: AtomicUsize,
    pub(crate) own: T,
}

/// A descent works in one tree, or in two of the same shape.
const SIDES: usize = 2;

/// Which of the trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one that is read (or the only one).
    Source = 0,
    /// The one that is written.
    Target = 1,
}

impl<T> Node<T> {
    /// The root of a tree, with its listing pending.
    pub(crate) fn root(own: T) -> Arc<Self> {
        Arc::new(Self {
            parent: None,
            name: CString::default(),
            open: Mutex::default(),
            pending: AtomicUsize::new(1),
            own,
        })
    }

    /// The directory `name` in `parent`, with its listing pending; pending in its parent.
    pub(crate) fn child(parent: &Arc<Self>, name: &CStr, own: T) -> Arc<Self> {
        parent.begin();
        Arc::new(Self {
            parent: Some(Arc::clone(parent)),
            name: name.to_owned(),
            open: Mutex::default(),
            pending: AtomicUsize::new(1),
            own,
        })
    }

    /// One more thing must end before this directory is finished.
    pub(crate) fn begin(&self) {
        self.pending.fetch_add(1, AcqRel);
    }

    /// One thing has ended; whether it was the last.
    pub(crate) fn end(&self) -> bool {
        self.pending.fetch_sub(1, AcqRel) == 1
    }

    /// The directory that holds it; `None` for the root.
    pub(crate) fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    /// Its name in its parent; empty for the root.
    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// The path of this directory, or of `name` in it.
    pub(crate) fn path(&self, name: Option<&CStr>) -> TreePath {
        let mut names: Vec<&[u8]> = name.iter().map(|n| n.to_bytes()).collect();
        let mut at = Some(self);
        while let Some(node) = at {
            names.push(node.name.to_bytes());
            at = node.parent.as_deref();
        }
        names.reverse();
        // The root's empty name and `.` say nothing; names from the kernel are normal components.
        names.retain(|n| !matches!(*n, b"" | b"."));
        TreePath::new(names.join(&b'/')).unwrap_or_default()
    }

    fn opened(&self) -> MutexGuard<'_, [Option<Arc<OwnedFd>>; SIDES]> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A chain of a hundred thousand parents must not be dropped by recursion.
impl<T> Drop for Node<T> {
    fn drop(&mut self) {
        let mut above = self.parent.take();
        while let Some(node) = above {
            above = Arc::into_inner(node).and_then(|mut node| node.parent.take());
        }
    }
}

/// An entry of a directory, which knows its path when it is asked.
#[derive(Debug)]
pub(crate) struct In<'a, T>(pub(crate) &'a Node<T>, pub(crate) &'a CStr);

impl<T> Located for In<'_, T> {
    fn tree_path(&self) -> TreePath {
        self.0.path(Some(self.1))
    }
}

/// The roots of a descent, and the descriptors that it keeps open below them.
#[derive(Debug)]
pub(crate) struct Descent<T> {
    roots: [Option<Root>; SIDES],
    kept: Mutex<VecDeque<Weak<Node<T>>>>,
    limit: usize,
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl<T> Descent<T> {
    /// A descent that keeps about `limit` directories open.
    pub(crate) fn new(source: Root, target: Option<Root>, limit: usize) -> Self {
        Self { roots: [Some(source), target], kept: Mutex::default(), limit }
    }

    /// The root of that side.
    pub(crate) fn root(&self, side: Side) -> Result<&Root, Errno> {
        self.roots[side as usize].as_ref().ok_or(Errno::BADF)
    }

    /// The descriptor of `node`: kept, or opened below the nearest one that is.
    pub(crate) fn open(&self, node: &Arc<Node<T>>, side: Side) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(fd) = &node.opened()[side as usize] {
            return Ok(Arc::clone(fd));
        }
        let (start, below) = nearest(node, side);
        let mut at = start;
        // Far below, the way is taken in one leap, and the last steps are kept for who comes next.
        let leap = below.len().saturating_sub(self.limit.div_ceil(2));
        if leap > 1 {
            let names: Vec<&[u8]> = below[..leap].iter().map(|n| n.name.to_bytes()).collect();
            at = Some(self.step(at.as_deref(), side, &names.join(&b'/'))?);
            at.iter().for_each(|fd| self.keep(below[leap - 1], side, Arc::clone(fd)));
        }
        for next in &below[if leap > 1 { leap } else { 0 }..] {
            let fd = self.step(at.as_deref(), side, next.name.to_bytes())?;
            self.keep(next, side, Arc::clone(&fd));
            at = Some(fd);
        }
        at.ok_or(Errno::BADF)
    }

    fn step(&self, from: Option<&OwnedFd>, side: Side, path: &[u8]) -> Result<Arc<OwnedFd>, Errno> {
        let root = self.root(side)?;
        let fd = root.open_from(from.map_or(root.as_fd(), AsFd::as_fd), path, DIRECTORY, Mode::empty())?;
        Ok(Arc::new(fd))
    }

    /// Keeps `fd` with `node`; closes the oldest kept one if there are too many.
    pub(crate) fn keep(&self, node: &Arc<Node<T>>, side: Side, fd: Arc<OwnedFd>) {
        node.opened()[side as usize] = Some(fd);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.back().is_none_or(|last| !std::ptr::eq(last.as_ptr(), Arc::as_ptr(node))) {
            kept.push_back(Arc::downgrade(node));
        }
        if kept.len() > self.limit {
            kept.retain(|node| node.strong_count() > 0);
        }
        while kept.len() > self.limit {
            let oldest = kept.pop_front().and_then(|node| node.upgrade());
            oldest.iter().for_each(|node| *node.opened() = [None, None]);
        }
    }
}

/// The nearest descriptor above `node`, and the directories below it down to `node`.
fn nearest<T>(node: &Arc<Node<T>>, side: Side) -> (Option<Arc<OwnedFd>>, Vec<&Arc<Node<T>>>) {
    let (mut below, mut at) = (Vec::new(), node);
    loop {
        if let Some(fd) = &at.opened()[side as usize] {
            below.reverse();
            return (Some(Arc::clone(fd)), below);
        }
        match &at.parent {
            None if below.is_empty() => return (None, vec![at]),
            None => {
                below.reverse();
                return (None, below);
            }
            Some(parent) => {
                below.push(at);
                at = parent;
            }
        }
    }
}
