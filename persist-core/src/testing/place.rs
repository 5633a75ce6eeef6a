//! A plain directory as the place of a testing store.

use crate::{
    attachment::BusyFiles,
    capability::{Capabilities, Characteristics, Consistency, Evidence, Fencing, LockScope, Survives},
    directory::{Cut, CutMode, MountRequest, Place, Unmounted, Verdict},
    error::{Error, Result},
    holder::{Holder, Liveness, Node},
    linux::{
        cause::cause,
        process::{Life, boot_is_over, life},
    },
    progress::Meter,
    tree::{CloneMode, CopyOptions, RemoveOptions, Trust, copy_tree, remove_tree},
    volume::Import,
};
use std::{fs, io, path::Path};

/// What every filesystem can do, and nothing else: cuts are copies, nothing is mounted, no size holds.
///
/// Nothing is flushed to the disk: data survives the death of a process, as a test needs it, and the
/// capabilities say so.
#[derive(Debug, Clone, Copy)]
pub struct PlainPlace {
    claimed: Capabilities,
}

impl PlainPlace {
    /// A place that claims only `capabilities`, of those that it has.
    pub fn new(capabilities: Capabilities) -> Self {
        Self { claimed: capabilities & Self::capabilities() }
    }

    /// What it has.
    pub fn capabilities() -> Capabilities {
        Capabilities::FAST
            | Capabilities::PORTABLE
            | Capabilities::LOCAL_IO
            | Capabilities::SNAPSHOTS
            | Capabilities::SHARED_ON_NODE
            | Capabilities::SHARED_ACROSS_NODES
            | Capabilities::MANY_READERS
    }
}

impl Place for PlainPlace {
    fn capabilities(&self) -> Capabilities {
        self.claimed
    }

    fn characteristics(&self) -> Characteristics {
        Characteristics {
            survives: Survives::Process,
            survives_evidence: Evidence::Probed,
            fencing: Fencing::Advisory,
            locks: LockScope::Node,
            cut_consistency: Consistency::PerFile,
            filesystem: "a temporary directory".into(),
            remarks: vec!["made for tests: nothing is flushed, and all of it goes with the store".into()],
            ..Characteristics::default()
        }
    }

    fn make_tree(&self, at: &Path) -> Result<()> {
        fs::create_dir(at).map_err(|e| failed("make", at, &e))
    }

    fn cut(&self, from: &Path, to: &Path, _: CutMode, meter: &Meter) -> Result<Cut> {
        copied(from, to, meter)
    }

    fn seal(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn import(&self, from: &Path, to: &Path, import: Import, meter: &Meter) -> Result<Cut> {
        if import == Import::Copy {
            return copied(from, to, meter);
        }
        fs::rename(from, to).map_err(|e| match e.kind() {
            io::ErrorKind::CrossesDevices => {
                Error::unsupported(Capabilities::empty(), "the directory is on another filesystem")
                    .during("move", from.display())
                    .advise("import it by copy")
            }
            _ => failed("move", from, &e),
        })?;
        Ok(Cut::default())
    }

    fn remove_tree(&self, at: &Path, meter: &Meter) -> Result<()> {
        remove_tree(at, &RemoveOptions::default(), meter).map(drop)
    }

    fn flush(&self, _: &Path, _: &Meter) -> Result<()> {
        Ok(())
    }

    fn limit_size(&self, at: &Path, _: Option<u64>) -> Result<()> {
        Err(Error::unsupported(Capabilities::ENFORCED_SIZE, "a plain directory has no size")
            .during("limit", at.display()))
    }

    fn reach(&self) -> Result<()> {
        Ok(())
    }

    fn lease(&self) -> Option<std::time::Duration> {
        None
    }

    fn free_bytes(&self, at: &Path) -> Result<u64> {
        let found = rustix::fs::statvfs(at).map_err(|e| cause(e, "look at", at.display()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn verdict(&self, holder: &Holder, here: &Node) -> Verdict {
        let reached_by_one_host = !self.claimed.contains(Capabilities::PORTABLE);
        match &holder.liveness {
            Liveness::Boot | Liveness::Process(_)
                if reached_by_one_host && boot_is_over(&holder.node, here) =>
            {
                Verdict::Dead("its host has booted again since".into())
            }
            Liveness::Boot if holder.node == *here => Verdict::Alive,
            Liveness::Process(Some(of)) if holder.node == *here => match life(of) {
                Life::Alive => Verdict::Alive,
                Life::Dead => Verdict::Dead(format!("its process {} is gone", of.pid)),
                Life::CannotTell => Verdict::CannotTell,
            },
            _ => Verdict::CannotTell,
        }
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<()> {
        Err(Error::unsupported(Capabilities::MOUNTS, "a testing store mounts nothing")
            .during("mount", request.target.display()))
    }

    fn unmount(&self, _: &Path, _: &Path, _: BusyFiles) -> Result<Unmounted> {
        Ok(Unmounted::Gone)
    }
}

fn copied(from: &Path, to: &Path, meter: &Meter) -> Result<Cut> {
    let options = CopyOptions::default().with_trust(Trust::Faithful).with_clone(CloneMode::Never);
    let report = copy_tree(from, to, &options, meter)?;
    let remarks = report.losses.remarks();
    Ok(Cut { consistency: Consistency::PerFile, totals: Some(report.totals), remarks })
}

fn failed(what: &'static str, at: &Path, error: &io::Error) -> Error {
    let number = rustix::io::Errno::from_io_error(error).unwrap_or(rustix::io::Errno::IO);
    cause(number, what, at.display())
}
