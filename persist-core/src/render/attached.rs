//! An attachment of ours, as a runtime is told to show it to a workload.
//!
//! The attachment must outlive the workload: these are places of it, not holders.

pub mod compose;
pub mod docker;
pub mod kubernetes;
pub mod mesos;
pub mod mount;
pub mod nspawn;
pub mod oci;
pub mod podman;
pub mod systemd;

use super::{Ids, Label, Mode, RenderOptions, refusal::refused};
use crate::{
    attachment::{Access, Attachment, AttachmentRecord, Mounted},
    error::Result,
};
use std::path::{Path, PathBuf};

/// An attachment, as far as a rendering needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    path: PathBuf,
    access: Access,
    mounted: Mounted,
    label: Option<String>,
}

impl Source {
    /// The attachment of `record`, reachable at `path`. Whether a mount of ours is there is not in a record:
    /// [`with_mounted`](Self::with_mounted) says so.
    pub fn of_record(record: &AttachmentRecord, path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), access: record.access, mounted: Mounted::No, label: None }
    }

    /// Says whether a mount of ours is at the path, as the report of the attachment has it.
    #[must_use]
    pub fn with_mounted(mut self, mounted: Mounted) -> Self {
        self.mounted = mounted;
        self
    }

    /// Says which SELinux label the volume was created with, as its record has it.
    #[must_use]
    pub fn with_label(mut self, label: Option<String>) -> Self {
        self.label = label;
        self
    }

    /// Where the volume's files are on this host.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl From<&Attachment> for Source {
    fn from(attachment: &Attachment) -> Self {
        Self::of_record(attachment.record(), attachment.path()).with_mounted(attachment.report().mounted)
    }
}

/// Whether a workload may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    Allowed,
    Refused,
}

/// What a target can do about mounts inside a volume that is read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadOnly {
    /// It makes them read-only as well.
    Recursive,
    /// It leaves them as they are.
    TopOnly,
}

impl Source {
    fn writes(&self, options: &RenderOptions) -> Writes {
        match options.mode {
            Mode::AsAttached if self.access.writes() => Writes::Allowed,
            _ => Writes::Refused,
        }
    }

    /// Whether the workload may write, on a target that can do this much about it.
    fn checked_writes(&self, target: &'static str, options: &RenderOptions, can: ReadOnly) -> Result<Writes> {
        let writes = self.writes(options);
        if writes == Writes::Refused && can == ReadOnly::TopOnly && self.mounted != Mounted::ReadOnly {
            let why = "what is mounted inside the volume would stay writable";
            let advice = "attach it with Access::ReadOnly and a target, so that a mount of ours is read-only";
            return Err(refused(target, "mode", why).advise(advice));
        }
        Ok(writes)
    }

    /// The letter of `-v` for a label, where it has one.
    fn relabel(&self, target: &'static str, options: &RenderOptions) -> Result<Option<&'static str>> {
        let refuse = |why| Err(refused(target, "label", why));
        match options.label {
            Label::AsIs => Ok(None),
            Label::Context(_) => refuse("the volume is mounted already: a context is given to a filesystem"),
            _ if self.writes(options) == Writes::Refused => refuse("a reader does not change labels"),
            Label::Shared => Ok(Some("z")),
            Label::Private if self.access != Access::ReadWrite => refuse("other workloads use the volume"),
            Label::Private if self.label.is_some() => refuse("the volume has a label"),
            Label::Private => Ok(Some("Z")),
        }
    }
}

/// For targets that show owners as they are.
fn check_ids_as_stored(target: &'static str, options: &RenderOptions) -> Result<()> {
    match options.ids {
        Ids::AsStored => Ok(()),
        _ => Err(refused(target, "ids", "it shows owners as they are")
            .advise("attach the volume with a MountPolicy that has an id map")),
    }
}

/// For targets that cannot change labels.
fn check_label_as_is(target: &'static str, options: &RenderOptions) -> Result<()> {
    match options.label {
        Label::AsIs => Ok(()),
        _ => Err(refused(target, "label", "it does not change labels of a volume")
            .advise("create the volume with a label: new files inherit it")),
    }
}

/// For targets that do not let the caller choose.
fn check_propagation_unset(target: &'static str, options: &RenderOptions) -> Result<()> {
    match options.propagation {
        None => Ok(()),
        Some(_) => Err(refused(target, "propagation", "it has no word for it")),
    }
}

#[cfg(test)]
mod fixture;
