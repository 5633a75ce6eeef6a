//! What is under a workspace directory: probed, and refused where a copy of a volume does not belong.

use persist_core::{
    Capabilities, Characteristics, Consistency, Error, ErrorKind, Fencing, OpenMode, Result, Survives,
    capability::Evidence,
    directory::{
        Place,
        host::{Findings, HostPlace, Tried},
    },
    linux::{
        Writes,
        cause::cause,
        filesystem::{self, Class, Look},
    },
};
use std::{fs, path::Path, sync::Arc};

/// Refuses a path on a file server before it is touched: a dead one would not answer.
///
/// # Errors
/// `Unsupported`.
pub(super) fn refuse_foreign(at: &Path) -> Result<()> {
    match filesystem::foreign(at)? {
        Some((foreign, name)) => Err(refusal(at, &format!("{foreign} ({name})"))),
        None => Ok(()),
    }
}

/// Refuses a directory in memory before anything is made in it.
///
/// # Errors
/// As [`probe`].
pub(super) fn refuse_memory(at: &Path) -> Result<()> {
    check(&filesystem::look(at)?, at)
}

/// Probes the near store's directory, or refuses it.
///
/// # Errors
/// `Unsupported` for memory, a file server, or a filesystem that a program serves; `Denied` for one that is mounted read-only, and as
/// [`Findings::probe`].
pub(super) fn probe(at: &Path) -> Result<Arc<dyn Place>> {
    let at = fs::canonicalize(at).map_err(|error| cause(error, "probe", at.display()))?;
    let look = filesystem::look(&at)?;
    check(&look, &at)?;
    let found = Findings::probe(&at, look, OpenMode::CreateIfMissing)?;
    Ok(Arc::new(HostPlace::new(at, found.capabilities(), characteristics(&found))?))
}

/// Refuses what is no place for a workspace.
fn check(look: &Look, at: &Path) -> Result<()> {
    match &look.class {
        Class::Memory => Err(refusal(at, &format!("memory ({})", look.name))),
        Class::Foreign(foreign) => Err(refusal(at, &format!("{foreign} ({})", look.name))),
        _ if look.writes == Writes::Refused => Err(Error::new(
            ErrorKind::Denied,
            "the filesystem of the workspace directory is mounted read-only",
        )
        .context("path", at.display())
        .advise("mount it writable, or choose another directory")),
        _ => Ok(()),
    }
}

/// A workspace on tmpfs would fill the memory with what is in the bucket anyway, and its stat(2) does not
/// show every write (a store through mmap(2) moves no time there).
fn refusal(at: &Path, found: &str) -> Error {
    Error::unsupported(
        Capabilities::LOCAL_IO,
        "a workspace is on a filesystem of this host that is kept on a device",
    )
    .context("path", at.display())
    .context("found", found)
    .advise("give a directory on ext4, xfs or btrfs, such as /var/lib or /var/tmp")
}

fn characteristics(found: &Findings) -> Characteristics {
    let mut near = Characteristics::default();
    (near.survives, near.survives_evidence) = match found.look.class {
        Class::Durable => (Survives::HostCrash, Evidence::Assumed),
        _ => (Survives::Process, Evidence::Probed),
    };
    near.fencing = Fencing::Advisory;
    near.filesystem.clone_from(&found.look.name);
    near.file_name_max_bytes = Some(found.look.file_name_max_bytes);
    if found.capabilities().contains(Capabilities::INSTANT_SNAPSHOTS) {
        near.cut_consistency = Consistency::Atomic;
    }
    if let Tried::Done(probed) = &found.tried {
        near.fsync_latency = Some(probed.fsync_latency);
    }
    near.remarks = remarks(&found.look);
    near
}

fn remarks(look: &Look) -> Vec<String> {
    let name = &look.name;
    match &look.class {
        Class::Overlay => vec![format!(
            "the workspace is on {name}, a container's own layer: what is not committed goes with the container"
        )],
        Class::Fragile(why) => vec![format!("the workspace is on {name}: {why}")],
        Class::Unknown => {
            vec![format!("the workspace is on {name}, which is not known to keep what was flushed")]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use persist_core::linux::filesystem::{Kind, classify};

    fn look(name: &str) -> Look {
        Look::new(classify(Kind { magic: 0, name, options: &[] }), name, Writes::Allowed, 255)
    }

    #[test]
    fn memory_and_what_others_serve_is_no_place_for_a_workspace() {
        for name in ["tmpfs", "ramfs", "nfs4", "cifs", "fuse.s3fs", "virtiofs", "ceph"] {
            let error = check(&look(name), Path::new("/x")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}");
            let line = error.to_string();
            assert!(line.contains(name) && line.contains("/x") && line.contains("ext4"), "{line}");
        }
        for name in ["ext4", "xfs", "btrfs", "overlay", "ext2"] {
            check(&look(name), Path::new("/x")).unwrap();
        }
    }

    #[test]
    fn a_workspace_in_a_containers_layer_says_what_goes_with_it() {
        assert!(remarks(&look("overlay"))[0].contains("goes with the container"));
        assert_eq!(remarks(&look("ext4")), [""; 0]);
    }
}
