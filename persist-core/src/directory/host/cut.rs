//! Making, cutting and removing trees, by the cheapest way that is there.

use super::Trees;
use crate::{
    capability::{Capabilities, Consistency},
    directory::place::{Cut, CutMode},
    error::{Error, ErrorKind, Result},
    linux::{Writes, btrfs, cause::cause},
    progress::Meter,
    tree::{
        RemoveOptions, Root, Step, Trust, Visit, WalkOptions,
        copy::{CopyOptions, copy as copy_tree},
        remove_tree, walk,
    },
};
use std::{
    fs::{self, DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

/// What the root of a new tree is given; the engine sets what was asked for.
const ROOT_MODE: u32 = 0o755;

/// Makes an empty tree.
pub(super) fn make(trees: Trees, at: &Path) -> Result<()> {
    make_bare(trees, at)?;
    // The mode that was asked for is cut by the process's umask.
    let given = fs::set_permissions(at, Permissions::from_mode(ROOT_MODE));
    given.map_err(|error| cause(error, "make the tree", at.display())).inspect_err(|_| {
        // Removing an empty subvolume as a directory works as well; a failure leaves it to `prune`.
        let _ = fs::remove_dir(at);
    })
}

/// Cuts `from` in one moment where it is a subvolume without others inside, else copies it file by file.
pub(super) fn cut(trees: Trees, from: &Path, to: &Path, mode: CutMode, meter: &Meter) -> Result<Cut> {
    let whole = trees == Trees::Subvolumes && btrfs::is_subvolume(from)?;
    if whole && !btrfs::holds_subvolumes(from)? {
        meter.check()?;
        let writes = if mode == CutMode::Immutable { Writes::Refused } else { Writes::Allowed };
        btrfs::snapshot(from, to, writes)?;
        return Ok(Cut { consistency: Consistency::Atomic, ..Cut::default() });
    }
    let mut cut = copy(trees, from, to, meter)?;
    if whole {
        cut.remarks.push("a subvolume inside the volume kept this cut from being atomic".into());
    }
    if trees == Trees::Subvolumes && mode == CutMode::Immutable {
        btrfs::set_writes(to, Writes::Refused)?;
    }
    Ok(cut)
}

/// Copies a directory file by file; files share their blocks where the filesystem can.
pub(super) fn copy(trees: Trees, from: &Path, to: &Path, meter: &Meter) -> Result<Cut> {
    let source = Root::open(from)?;
    make_bare(trees, to)?;
    let options = CopyOptions::default().with_trust(Trust::Faithful);
    let report = copy_tree(&source, &Root::open(to)?, &options, meter)?;
    Ok(Cut {
        consistency: Consistency::PerFile,
        totals: Some(report.totals),
        remarks: report.losses.remarks(),
    })
}

/// Takes the directory `from` away and makes it the tree `to`.
pub(super) fn take(trees: Trees, from: &Path, to: &Path) -> Result<Cut> {
    match fs::rename(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            let refusal = Error::unsupported(Capabilities::CLONES, "a directory moves within its filesystem");
            return Err(refusal
                .with_source(error)
                .during("move", from.display())
                .advise("import it by copy; blocks are shared where the filesystem can"));
        }
        Err(error) => return Err(cause(error, "move", from.display())),
    }
    let mut cut = Cut { consistency: Consistency::Atomic, ..Cut::default() };
    if trees == Trees::Subvolumes && !btrfs::is_subvolume(to)? {
        cut.remarks.push(
            "the directory stays a plain one, so its snapshots clone each file; a clone of the volume \
             is a subvolume"
                .into(),
        );
    }
    Ok(cut)
}

/// Removes a tree with everything in it; a repeat goes on.
pub(super) fn remove(at: &Path, meter: &Meter) -> Result<()> {
    meter.check()?;
    match btrfs::is_subvolume(at) {
        Ok(false) => {}
        // Refused without privilege, or with a subvolume inside: then entry by entry.
        Ok(true) if btrfs::destroy_subvolume(at).is_ok() => return Ok(()),
        Ok(true) => unseal(at, meter)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    remove_tree(at, &RemoveOptions::default(), meter).map(drop)
}

/// Lets the subvolume `at` be emptied, and those that its user made inside it.
fn unseal(at: &Path, meter: &Meter) -> Result<()> {
    btrfs::set_writes(at, Writes::Allowed)?;
    if !btrfs::holds_subvolumes(at)? {
        return Ok(());
    }
    let root = Root::open(at)?;
    let visit = |found: &Visit<'_>| {
        if found.stat.is_directory() && found.stat.inode().number == btrfs::ROOT_INODE {
            // Opened beneath the tree: nothing planted in it leads to another volume's subvolume.
            let inner = root.directory(&found.path())?;
            btrfs::set_writes_of(inner, root.shown(), Writes::Allowed)?;
        }
        Ok(Step::Enter)
    };
    walk(&root, &WalkOptions::default(), meter, &visit).map(drop)
}

fn make_bare(trees: Trees, at: &Path) -> Result<()> {
    match trees {
        Trees::Subvolumes => btrfs::create_subvolume(at),
        Trees::Directories => DirBuilder::new()
            .mode(ROOT_MODE)
            .create(at)
            .map_err(|error| cause(error, "make the tree", at.display())),
    }
}
