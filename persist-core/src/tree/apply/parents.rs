//! The directories in which entries are made.

use crate::{
    error::{Error, Result},
    tree::{beneath::Root, entry::TreePath},
};
use std::{ffi::CString, os::fd::OwnedFd};

/// The directory of the last entry, which is mostly that of the next.
pub(super) struct Parents<'a> {
    root: &'a Root,
    dir: Option<(TreePath, OwnedFd)>,
    name: CString,
}

impl<'a> Parents<'a> {
    pub(super) fn new(root: &'a Root) -> Self {
        Self { root, dir: None, name: CString::default() }
    }

    pub(super) fn parent(&mut self, path: &TreePath) -> Result<(&OwnedFd, &std::ffi::CStr)> {
        let parent = path.parent().unwrap_or_default();
        if self.dir.as_ref().is_some_and(|(held, _)| *held != parent) {
            self.dir = None;
        }
        let name = path.name().unwrap_or(b".");
        self.name = CString::new(name).map_err(|_| Error::invalid("path", "a name with a NUL byte"))?;
        let held = match self.dir.take() {
            Some(held) => held,
            None => {
                let fd = self.root.directory(&parent)?;
                (parent, fd)
            }
        };
        Ok((&self.dir.insert(held).1, &self.name))
    }
}
