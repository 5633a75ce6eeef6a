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
    attachment::{Access, Attachment, AttachmentRecord, MountPolicy, Mounted, Permission},
    error::Result,
};
use std::path::{Path, PathBuf};

/// An attachment, as far as a rendering needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    path: PathBuf,
    access: Access,
    mounted: Mounted,
    policy: Option<MountPolicy>,
    label: Option<String>,
}

impl Source {
    /// The attachment of `record`, reachable at `path`. Whether a mount of ours is there is not in a record:
    /// [`with_mounted`](Self::with_mounted) says so.
    pub fn of_record(record: &AttachmentRecord, path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), access: record.access, mounted: Mounted::No, policy: None, label: None }
    }

    /// Says whether a mount of ours is at the path, as the report of the attachment has it.
    #[must_use]
    pub fn with_mounted(mut self, mounted: Mounted) -> Self {
        self.mounted = mounted;
        self
    }

    /// Says which policy the attachment was asked for, if it was: neither its record nor its report has it.
    ///
    /// A runtime that is told `ro` sets all flags of its own mount anew (mount(2), `MS_REMOUNT`), so for a reader
    /// what our mount forbids must be said once more, and is refused where there are no words for it. Without a
    /// policy, a mount of ours has the default one.
    #[must_use]
    pub fn with_policy(mut self, policy: MountPolicy) -> Self {
        self.policy = Some(policy);
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

    /// What our mount forbids, in the words of mount(8).
    fn forbidden(&self) -> Vec<&'static str> {
        let policy = match (&self.policy, self.mounted) {
            (Some(policy), _) => policy.clone(),
            (None, Mounted::ReadWrite | Mounted::ReadOnly) => MountPolicy::default(),
            (None, Mounted::No | Mounted::Symlink) => return Vec::new(),
        };
        let rules =
            [("nosuid", Some(policy.set_id)), ("nodev", Some(policy.devices)), ("noexec", policy.execute)];
        rules.iter().filter(|(_, rule)| *rule == Some(Permission::Denied)).map(|(word, _)| *word).collect()
    }

    /// For targets whose flag for a reader ends what our mount forbids. Set-id bits and devices are the container's
    /// own matter (`no_new_privs`, its device rules); that nothing is executed is not.
    fn check_forbidden_survives(&self, target: &'static str, options: &RenderOptions) -> Result<()> {
        if self.writes(options) == Writes::Allowed || !self.forbidden().contains(&"noexec") {
            return Ok(());
        }
        let why = "its read-only flag would end noexec, and it has no word for that";
        Err(refused(target, "policy", why).advise("attach without it, or use a runtime's own configuration"))
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
