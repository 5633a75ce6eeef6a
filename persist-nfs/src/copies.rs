//! Copies of what this node has attached, in its state directory: what can be said, with its age, while the server
//! is silent, and what a detach could not confirm.
//!
//! ```text
//! STATE/attached/<store id>/<attachment id>     one JSON file each; may be lost
//! ```
//!
//! The truth is at the server. Nothing is decided from a copy but what to take away on this node.

use crate::{
    helper::{Device, Helpers, Task},
    server::{PATIENCE, c_path},
};
use persist_core::{
    AttachmentId, AttachmentRecord, Error, ErrorKind, Result, StoreId,
    attachment::Mounted,
    care::{Health, HealthStatus, View},
    clock::{Clock, Timestamp},
    directory::durable::Durable,
    linux::{cause::cause, mountinfo::MountTable},
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The copies of one store on this node.
#[derive(Debug, Clone)]
pub(crate) struct Copies {
    directory: PathBuf,
    clock: Arc<dyn Clock>,
}

/// What was last seen of an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copied {
    pub(crate) record: AttachmentRecord,
    /// When it was as the record says, by the clock of this node.
    pub(crate) as_of: Timestamp,
    pub(crate) target: Target,
    pub(crate) standing: Standing,
}

/// What shows the attachment on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Target {
    /// The store's own path.
    None,
    Link,
    Mount,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    Attached,
    /// Taken off this node while the server was silent: its record there is still to be ended.
    Left,
}

impl Copies {
    /// The copies of `store` below the state directory.
    ///
    /// # Errors
    /// As the filesystem of this node reports them.
    pub(crate) fn open(state: &Path, store: &StoreId, clock: Arc<dyn Clock>) -> Result<Self> {
        let directory = state.join("attached").join(store.to_string());
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|e| cause(e, "mkdir", directory.display()))?;
        Ok(Self { directory, clock })
    }

    /// Notes an attachment as it is now.
    pub(crate) fn note(&self, record: &AttachmentRecord, mounted: Mounted) -> Result<()> {
        let target = match mounted {
            _ if record.target.is_none() => Target::None,
            Mounted::Symlink => Target::Link,
            Mounted::No => Target::None,
            _ => Target::Mount,
        };
        let as_of = self.clock.now();
        self.write(&Copied { record: record.clone(), as_of, target, standing: Standing::Attached })
    }

    /// Forgets an attachment that is ended.
    pub(crate) fn forget(&self, id: &AttachmentId) -> Result<()> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(e, "unlink", path.display())),
            _ => Ok(()),
        }
    }

    /// Every copy, in no order. One that cannot be read is not believed: it is left out.
    pub(crate) fn all(&self) -> Result<Vec<Copied>> {
        let named = |e| cause(e, "list", self.directory.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(named)? {
            let Ok(bytes) = fs::read(entry.map_err(named)?.path()) else { continue };
            found.extend(serde_json::from_slice::<Copied>(&bytes));
        }
        Ok(found)
    }

    /// Takes an attachment off this node without asking the server of `device`: its target goes, and what could not be
    /// confirmed is on record here. Says what is left.
    ///
    /// # Errors
    /// `NotFound` without a copy; as the system reports them for the target.
    pub(crate) fn leave(&self, id: &AttachmentId, device: Device) -> Result<Vec<String>> {
        let bytes = fs::read(self.path(id)).map_err(|e| cause(e, "read", self.path(id).display()))?;
        let mut copied: Copied = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "the copy of an attachment cannot be read").with_source(e)
        })?;
        copied.standing = Standing::Left;
        self.write(&copied)?;
        let mut left = vec![
            "the file server does not answer: the attachment's record stays there, and is ended by the next call of \
             this node that finds the server again"
                .to_owned(),
        ];
        if copied.record.access.writes() {
            left.push(format!("what was written since {} is not confirmed by the server", copied.as_of));
        }
        if let Some(target) = &copied.record.target {
            take_away(target, copied.target, device)?;
        }
        Ok(left)
    }

    fn write(&self, copied: &Copied) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(copied)
            .map_err(|e| Error::new(ErrorKind::Internal, "a copy cannot be written").with_source(e))?;
        Durable::default().replace(&self.path(&copied.record.id), &bytes)
    }

    fn path(&self, id: &AttachmentId) -> PathBuf {
        self.directory.join(id.to_string())
    }
}

impl Copied {
    /// What an operator is told of it while the server is silent.
    pub(crate) fn health(&self) -> Health {
        let (status, reason, state) = match self.standing {
            Standing::Attached => (HealthStatus::Degraded, "attachment-copy", "is attached"),
            Standing::Left => (HealthStatus::Bad, "detach-unconfirmed", "was detached without the server"),
        };
        let record = &self.record;
        let at = record.target.as_ref().map(|target| format!(" at {}", target.display()));
        let message = format!(
            "volume {} {state}{} by {} under epoch {}, as of {}",
            record.volume_name,
            at.unwrap_or_default(),
            record.holder.workload,
            record.epoch,
            self.as_of
        );
        Health::new(View::Node { as_of: Some(self.as_of) }, status, reason, message)
    }
}

/// Takes a target away without touching what it shows.
fn take_away(target: &Path, kind: Target, device: Device) -> Result<()> {
    let taken = match kind {
        Target::None => Ok(()),
        Target::Link => match fs::remove_file(target) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(e, "unlink", target.display())),
            _ => Ok(()),
        },
        Target::Mount => {
            let table = MountTable::read()?;
            let there = table.at(target).and_then(|mount| Device::parse(&mount.device));
            // Nothing is there any more, or what somebody else has mounted over it.
            if there != Some(device) {
                return Ok(());
            }
            let detached = Helpers::default().run(Task::Detach(c_path(target)?), PATIENCE)?;
            match detached {
                Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
                Err(e) => Err(cause(e, "unmount", target.display())),
            }
        }
    };
    taken.map_err(|error| error.context("target", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use persist_core::{
        Access, Epoch, Node, VolumeId, Workload,
        clock::{Entropy, ManualClock, SystemEnvironment},
        holder::{BootId, Holder, Liveness, NodeId},
    };

    fn record(target: Option<&Path>) -> AttachmentRecord {
        let (clock, entropy): (&dyn Clock, &dyn Entropy) = (&SystemEnvironment, &SystemEnvironment);
        let node = Node::new(NodeId::new("n").unwrap(), BootId::new("b").unwrap());
        let holder = Holder::new(node, Workload::new("w").unwrap(), Liveness::External);
        let volume = (VolumeId::mint(clock, entropy), "v".parse().unwrap());
        let id = AttachmentId::mint(clock, entropy);
        let mut record =
            AttachmentRecord::new(id, volume, holder, Access::ReadWrite, Epoch::ZERO, clock.now());
        record.target = target.map(Path::to_owned);
        record
    }

    #[test]
    fn what_is_left_without_the_server_is_on_record_with_its_age_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(SystemEnvironment.now());
        let store = StoreId::mint(&SystemEnvironment, &SystemEnvironment);
        let copies = Copies::open(dir.path(), &store, Arc::new(clock.clone())).unwrap();
        let target = dir.path().join("target");
        std::os::unix::fs::symlink("/nowhere", &target).unwrap();
        let record = record(Some(&target));
        copies.note(&record, Mounted::Symlink).unwrap();
        let noted = clock.now();
        clock.advance(std::time::Duration::from_secs(60));
        let device = Device::parse("0:1").unwrap();
        let left = copies.leave(&record.id, device).unwrap();
        assert!(left[1].contains(&noted.to_string()), "{left:?}");
        assert!(fs::symlink_metadata(&target).is_err());
        let [copied] = &copies.all().unwrap()[..] else { panic!() };
        assert_eq!((copied.standing, copied.as_of), (Standing::Left, noted));
        let health = copied.health();
        assert_eq!((health.view, &*health.reason), (View::Node { as_of: Some(noted) }, "detach-unconfirmed"));
        copies.forget(&record.id).unwrap();
        copies.forget(&record.id).unwrap();
        assert_eq!(copies.all().unwrap(), []);
        assert_eq!(copies.leave(&record.id, device).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
