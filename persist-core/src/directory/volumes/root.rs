//! Owner, mode and label of a volume's root: set once, when the volume is made.

use crate::{
    error::Result,
    linux::cause::cause,
    volume::{Origin, RootSpec},
};
use rustix::fs::{XattrFlags, lsetxattr};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

/// The mode of an empty volume that was not given one, as promised by [`RootSpec::mode`].
const USUAL_MODE: u32 = 0o755;

/// Where SELinux keeps a label (xattr(7), security attributes).
const SELINUX_LABEL: &str = "security.selinux";

/// What a directory had before it was moved into a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::directory) struct Attributes {
    uid: u32,
    gid: u32,
    mode: u32,
}

/// Reads what [`apply`] may change.
pub(super) fn read(directory: &Path) -> Result<Attributes> {
    let metadata = fs::symlink_metadata(directory).map_err(|e| cause(e, "stat", directory.display()))?;
    Ok(Attributes { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 })
}

/// Gives the root of the tree `tree` what `spec` says. What it does not say stays as it is, but for the
/// mode of an empty tree. The owner comes first: changing it clears set-id bits (chown(2)).
///
/// The path is ours, below a directory that only we can enter: nobody can put a link there.
pub(super) fn apply(tree: &Path, spec: &RootSpec, origin: &Origin) -> Result<()> {
    if spec.uid.is_some() || spec.gid.is_some() {
        lchown(tree, spec.uid, spec.gid).map_err(|e| cause(e, "chown", tree.display()))?;
    }
    if let Some(mode) = spec.mode.or((*origin == Origin::Empty).then_some(USUAL_MODE)) {
        chmod(tree, mode)?;
    }
    match &spec.selinux_label {
        Some(label) => lsetxattr(tree, SELINUX_LABEL, label.as_bytes(), XattrFlags::empty())
            .map_err(|e| cause(e, "setxattr", tree.display())),
        None => Ok(()),
    }
}

impl Attributes {
    /// Gives a tree back what it had.
    pub(super) fn restore(self, tree: &Path) -> Result<()> {
        lchown(tree, Some(self.uid), Some(self.gid)).map_err(|e| cause(e, "chown", tree.display()))?;
        chmod(tree, self.mode)
    }
}

fn chmod(tree: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(tree, Permissions::from_mode(mode)).map_err(|e| cause(e, "chmod", tree.display()))
}
