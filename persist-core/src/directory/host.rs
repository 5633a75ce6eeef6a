//! A filesystem of this host under a store: what was found there, and how the directory engine uses it.

mod cut;
mod findings;
mod flush;
mod probe;
mod verdict;

pub use findings::{Ability, Findings, Selinux, Tried};
pub use probe::check_owner;

use super::place::{Cut, CutMode, MountMode, MountRequest, MountSite, Place, Unmounted, Verdict};
use crate::{
    attachment::BusyFiles,
    capability::{Capabilities, Characteristics},
    error::{Detail, Error, ErrorKind, Result},
    holder::{Holder, Node},
    linux::{
        Writes, btrfs,
        cause::cause,
        mount::{self, Bind, Unbound},
    },
    progress::Meter,
    volume::Import,
};
use flush::Flusher;
use std::path::{Path, PathBuf};
use verdict::verdict;

/// A directory on a filesystem of this host. For authors of stores: what it promises is theirs to decide from
/// the [`Findings`].
#[derive(Debug)]
pub struct HostPlace {
    /// Without links.
    root: PathBuf,
    capabilities: Capabilities,
    characteristics: Characteristics,
    trees: Trees,
    flusher: Flusher,
}

/// What a new tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trees {
    /// A subvolume of btrfs, cut in one moment.
    Subvolumes,
    /// A directory, copied or cloned file by file.
    Directories,
}

impl HostPlace {
    /// The directory `root`, which was probed, as a place with these promises. Its trees are subvolumes where
    /// [`INSTANT_SNAPSHOTS`](Capabilities::INSTANT_SNAPSHOTS) is claimed.
    ///
    /// # Errors
    /// As the filesystem reports them: the directory is opened, to flush through.
    pub fn new(root: PathBuf, capabilities: Capabilities, characteristics: Characteristics) -> Result<Self> {
        let cuts = capabilities.contains(Capabilities::INSTANT_SNAPSHOTS);
        Ok(Self {
            capabilities,
            characteristics,
            trees: if cuts { Trees::Subvolumes } else { Trees::Directories },
            flusher: Flusher::new(&root)?,
            root,
        })
    }
}

impl Place for HostPlace {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn characteristics(&self) -> Characteristics {
        self.characteristics.clone()
    }

    fn make_tree(&self, at: &Path) -> Result<()> {
        let before = self.flusher.failures();
        cut::make(self.trees, at)?;
        self.flusher.born(at, before);
        Ok(())
    }

    fn cut(&self, from: &Path, to: &Path, mode: CutMode, meter: &Meter) -> Result<Cut> {
        let before = self.flusher.failures();
        let cut = cut::cut(self.trees, from, to, mode, meter);
        self.flusher.born(to, before);
        cut
    }

    fn seal(&self, at: &Path) -> Result<()> {
        if btrfs::is_subvolume(at)? { btrfs::set_writes(at, Writes::Refused) } else { Ok(()) }
    }

    fn import(&self, from: &Path, to: &Path, import: Import, meter: &Meter) -> Result<Cut> {
        let before = self.flusher.failures();
        let cut = match import {
            Import::Move => cut::take(self.trees, from, to),
            _ => cut::copy(self.trees, from, to, meter),
        };
        self.flusher.born(to, before);
        cut
    }

    fn remove_tree(&self, at: &Path, meter: &Meter) -> Result<()> {
        cut::remove(at, meter)?;
        self.flusher.gone(at);
        Ok(())
    }

    fn flush(&self, at: &Path, meter: &Meter) -> Result<()> {
        self.flusher.flush(at, meter)
    }

    fn limit_size(&self, at: &Path, size_bytes: Option<u64>) -> Result<()> {
        if !btrfs::is_subvolume(at)? {
            let refusal = Error::unsupported(
                Capabilities::ENFORCED_SIZE,
                "this tree is a plain directory, for which btrfs does not count",
            );
            return Err(refusal
                .during("limit the size of", at.display())
                .advise("clone the volume: a clone is a subvolume"));
        }
        if let Some(limit) = size_bytes {
            // The count is that of the last commit of the filesystem.
            self.flusher.flush(at, &Meter::default())?;
            let used = btrfs::referenced_bytes(at)?.unwrap_or(0);
            if used > limit {
                return Err(Error::new(ErrorKind::Exhausted, "more is used already, in bytes")
                    .with_detail(Detail::Limit { used, limit })
                    .during("limit the size of", at.display())
                    .advise("free space in the volume, or ask for a larger size"));
            }
        }
        btrfs::limit_bytes(at, size_bytes)
    }

    fn reach(&self) -> Result<()> {
        Ok(())
    }

    fn lease(&self) -> Option<std::time::Duration> {
        None
    }

    fn free_bytes(&self, at: &Path) -> Result<u64> {
        let found = rustix::fs::statvfs(at).map_err(|error| cause(error, "look at", at.display()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn verdict(&self, holder: &Holder, here: &Node) -> Verdict {
        verdict(holder, here)
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<()> {
        mount::bind(&Bind {
            source: request.source,
            target: request.target,
            writes: match request.mode {
                MountMode::ReadWrite => Writes::Allowed,
                MountMode::ReadOnly => Writes::Refused,
            },
            policy: request.policy,
            store: match request.site {
                MountSite::Callers => Some(&self.root),
                MountSite::Engines => None,
            },
        })
    }

    fn unmount(&self, source: &Path, target: &Path, busy: BusyFiles) -> Result<Unmounted> {
        mount::unbind(source, target, busy).map(|unbound| match unbound {
            Unbound::Gone => Unmounted::Gone,
            Unbound::WhenIdle => Unmounted::WhenIdle,
        })
    }
}

#[cfg(test)]
mod tests;
