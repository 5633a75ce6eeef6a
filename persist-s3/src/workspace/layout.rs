//! Where everything of a workspace directory is: pure paths.
//!
//! ```text
//! near/                      the near store: each workspace's tree is a volume of it, named by the volume's id
//! work/<volume id>/          what is known about one workspace, 0700
//!   served                   held (flock) by the process that serves the workspace; its number is in it
//!   state/<n>                numbered records: base, epoch, whether the tree may differ; the newest is the truth
//!   stat                     the stat record of the base: what each path was when it was the base
//!   next-<commit>            the stat record of a commit that is offered to the head and not known to be accepted
//!   attachments/<id>         an attachment of the store, and the attachment of the near store that shows it
//! ```

use crate::head::record::CommitName;
use persist_core::{AttachmentId, Error, Result, VolumeId, VolumeName};
use std::path::{Path, PathBuf};

/// The paths of one workspace directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

/// The paths of one workspace.
#[derive(Debug, Clone)]
pub(super) struct Place {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn near(&self) -> PathBuf {
        self.root.join("near")
    }

    pub(super) fn all(&self) -> PathBuf {
        self.root.join("work")
    }

    pub(super) fn of(&self, volume: &VolumeId) -> Place {
        Place { root: self.all().join(volume.to_string()) }
    }
}

impl Place {
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn served(&self) -> PathBuf {
        self.root.join("served")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    pub(super) fn stat(&self) -> PathBuf {
        self.root.join("stat")
    }

    /// A commit's hash names its content, so two offers of one name are the same commit.
    pub(super) fn next(&self, commit: &CommitName) -> PathBuf {
        self.root.join(format!("{NEXT}{}-{}-{}", commit.seq, commit.epoch, commit.hash))
    }

    pub(super) fn attachments(&self) -> PathBuf {
        self.root.join("attachments")
    }

    pub(super) fn attachment(&self, id: &AttachmentId) -> PathBuf {
        self.attachments().join(id.to_string())
    }
}

/// How the names of stat records begin that are not the base's yet.
pub(super) const NEXT: &str = "next-";

/// The name of the near store's volume that holds the tree.
///
/// # Errors
/// Never: an id is a name.
pub(super) fn near_name(volume: &VolumeId) -> Result<VolumeName> {
    VolumeName::new(volume.to_string()).map_err(|e| Error::internal("an id is no volume name").with_source(e))
}
