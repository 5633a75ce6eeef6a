//! Where everything of a store on a directory is: pure names and paths.
//!
//! Numbers `<n>` are decimal and only grow; ids are UUIDs and never used again.
//!
//! ```text
//! persist.json              the marker: format, store id, features
//! intents/<id>              a volume that is built or removed, held (flock) by who does it
//! removed/<id>              what was a volume: garbage, whatever it holds
//! names/.exclusion          held (flock) shared by who claims a name, alone by who removes a free one
//! names/<name>/<n>          numbered records of a name; the newest says which volume it names, if any
//! volumes/<id>/             one volume, self-describing, 0700
//!   exclusion               held (flock) by whoever changes the volume
//!   records/<n>             numbered records of the volume; the newest is the truth
//!   data/<generation>/      trees: the live one is named by the newest record, the others by snapshots
//!   snapshots/<name>        record of a snapshot; names the generation that holds its tree
//!   attachments/<id>        record of an attachment
//!   served/<id>             held (flock) by the process that serves the attachment
//!   views/<id>/<n>          what a reader is shown: a read-only mount, or its private copy
//!   epochs/<n>              the epochs that were minted; the newest stays
//!   intents/<generation>    held (flock): alone by who builds or removes the tree, shared by who reads it
//! ```

use crate::{
    id::{AttachmentId, Generation, VolumeId},
    name::VolumeName,
    snapshot::SnapshotName,
};
use std::path::{Path, PathBuf};

/// The file that whoever changes a volume holds.
pub(crate) const EXCLUSION: &str = "exclusion";

/// The paths of one store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// The paths of one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeLayout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn marker(&self) -> PathBuf {
        self.root.join("persist.json")
    }

    /// The intent to build or to remove the volume `id`.
    pub(crate) fn intent(&self, id: &VolumeId) -> PathBuf {
        self.intents().join(id.to_string())
    }

    pub(crate) fn intents(&self) -> PathBuf {
        self.root.join("intents")
    }

    /// Where a volume goes, by one rename, before it is removed piece by piece.
    pub(crate) fn removed(&self) -> PathBuf {
        self.root.join("removed")
    }

    /// Orders the claims of names against the removal of free ones. No volume's name begins with a dot.
    pub(crate) fn names_exclusion(&self) -> PathBuf {
        self.names().join(".exclusion")
    }

    pub(crate) fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    pub(crate) fn name(&self, name: &VolumeName) -> PathBuf {
        self.names().join(name.as_str())
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    pub(crate) fn volume(&self, id: &VolumeId) -> VolumeLayout {
        VolumeLayout { root: self.volumes().join(id.to_string()) }
    }
}

impl VolumeLayout {
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn exclusion(&self) -> PathBuf {
        self.root.join(EXCLUSION)
    }

    pub(crate) fn records(&self) -> PathBuf {
        self.root.join("records")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn generation(&self, generation: &Generation) -> PathBuf {
        self.data().join(generation.to_string())
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn snapshot(&self, name: &SnapshotName) -> PathBuf {
        self.snapshots().join(name.as_str())
    }

    pub(crate) fn attachments(&self) -> PathBuf {
        self.root.join("attachments")
    }

    pub(crate) fn attachment(&self, id: &AttachmentId) -> PathBuf {
        self.attachments().join(id.to_string())
    }

    pub(crate) fn all_served(&self) -> PathBuf {
        self.root.join("served")
    }

    pub(crate) fn served(&self, id: &AttachmentId) -> PathBuf {
        self.all_served().join(id.to_string())
    }

    pub(crate) fn views(&self) -> PathBuf {
        self.root.join("views")
    }

    /// What the reader `id` is shown.
    pub(crate) fn views_of(&self, id: &AttachmentId) -> PathBuf {
        self.views().join(id.to_string())
    }

    pub(crate) fn epochs(&self) -> PathBuf {
        self.root.join("epochs")
    }

    pub(crate) fn intents(&self) -> PathBuf {
        self.root.join("intents")
    }

    /// The intent to build, to read, or to remove the tree `generation`.
    pub(crate) fn intent(&self, generation: &Generation) -> PathBuf {
        self.intents().join(generation.to_string())
    }

    /// Every directory that a volume is born with.
    pub(crate) fn directories(&self) -> [PathBuf; 9] {
        [
            self.root.clone(),
            self.records(),
            self.data(),
            self.snapshots(),
            self.attachments(),
            self.all_served(),
            self.views(),
            self.epochs(),
            self.intents(),
        ]
    }
}
