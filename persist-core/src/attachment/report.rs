//! What the calls about attachments did.

use super::AttachmentId;
use crate::{
    capability::Fencing, clock::Timestamp, id::Epoch, quiesce::SyncReport, snapshot::Outcome,
    volume::Lifetime,
};
use std::{path::PathBuf, time::Duration};

/// What `attach` or `adopt` did, and what holds of the attachment.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AttachReport {
    /// Whether this call made the attachment or it was there.
    pub outcome: Outcome,
    /// How a writer that loses its place is kept from writing.
    pub fencing: Fencing,
    /// Whether a mount of ours enforces the policy.
    pub mounted: Mounted,
    /// The attachments of dead holders that made room.
    pub replaced: Vec<(AttachmentId, Epoch)>,
    /// For a reader: how old what it reads may be; `None` for live.
    pub lag: Option<Duration>,
    /// What was not as asked or is not enforced, one sentence each.
    pub remarks: Vec<String>,
}

impl AttachReport {
    /// Reports an attachment without a mount.
    pub fn new(outcome: Outcome, fencing: Fencing) -> Self {
        Self { outcome, fencing, mounted: Mounted::No, replaced: Vec::new(), lag: None, remarks: Vec::new() }
    }
}

/// Whether a mount of ours is at the attachment's path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mounted {
    /// Not mounted: no mount policy is enforced.
    #[default]
    No,
    /// A symbolic link of ours.
    Symlink,
    /// A mount of ours that may be written.
    ReadWrite,
    /// A mount of ours that is read-only with everything below it.
    ReadOnly,
}

/// What `refresh` did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RefreshReport {
    /// Where the newer tree is; the older one stays until `detach` or the next refresh.
    pub path: PathBuf,
    /// Whether it is newer than before.
    pub outcome: Outcome,
    /// Up to when it shows the writer's work, by the writer's clock.
    pub shows: Timestamp,
}

impl RefreshReport {
    /// Reports a refresh.
    pub fn new(path: PathBuf, outcome: Outcome, shows: Timestamp) -> Self {
        Self { path, outcome, shows }
    }
}

/// What `detach` did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DetachReport {
    /// Whether this call ended the attachment or it was not there.
    pub outcome: Outcome,
    /// The final sync, where there was one.
    pub synced: Option<SyncReport>,
    /// What had to be left (a lazy mount, a copy, a server that did not answer), one sentence each.
    pub left: Vec<String>,
    /// Set if the volume was deleted with this, its last, attachment.
    pub ended: Option<Lifetime>,
}

impl DetachReport {
    /// Reports a detach.
    pub fn new(outcome: Outcome) -> Self {
        Self { outcome, synced: None, left: Vec::new(), ended: None }
    }
}
