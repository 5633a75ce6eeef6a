//! Mounts of ours: a tree shown at a target, with a policy that the kernel enforces.
//!
//! A mount is prepared where nobody sees it (open_tree(2), mount_setattr(2)), put on its target in one step
//! (move_mount(2)), and checked in the mount table. One that is not as asked is undone.

mod id_map;
mod policy;
mod target;

use super::{
    Writes,
    cause::cause,
    mountinfo::{Mount, MountTable, is_nfs},
    raw::mount::{Attributes, set_attributes},
};
use crate::{
    attachment::{BusyFiles, IdMapping, MountPolicy},
    capability::Capabilities,
    error::{Error, ErrorKind, Result},
    progress::Meter,
    wait::{Pauses, until},
};
use policy::Wanted;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, StatxFlags},
    io::Errno,
    mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};
use target::Target;

/// A mount to be made.
#[derive(Debug, Clone, Copy)]
pub struct Bind<'a> {
    /// The tree, with whatever is mounted inside it.
    pub source: &'a Path,
    /// Where it shall appear: an existing empty directory outside the store.
    pub target: &'a Path,
    /// Whether it, and everything mounted inside it, may be written.
    pub writes: Writes,
    /// What it forbids and maps.
    pub policy: &'a MountPolicy,
    /// The directory that a caller's target must not be in: the store. `None` for a target of the store's own.
    pub store: Option<&'a Path>,
}

/// How a mount went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbound {
    /// At once, or it was not there.
    Gone,
    /// With the last open file.
    WhenIdle,
}

/// Puts a mount of ours on the target, or finds the very same one there.
///
/// # Errors
/// `Invalid` or `Denied` for a target that may not be used, `Conflict` where something else is, or a mount
/// of ours with another policy; `Unsupported` for what the kernel does not enforce here. Nothing is mounted
/// then.
pub fn bind(request: &Bind<'_>) -> Result<()> {
    let named = |error: Error| error.during("mount", request.target.display());
    bind_now(request).map_err(named)
}

/// Takes a mount of `source` away from `target`, with what is mounted inside it. A mount of anything else
/// is left alone.
///
/// # Errors
/// `InUse` while files are open, or where somebody mounted over it; what was mounted inside it may be gone.
pub fn unbind(source: &Path, target: &Path, busy: BusyFiles) -> Result<Unbound> {
    let Some(at) = target::place_of(target)? else { return Ok(Unbound::Gone) };
    let table = MountTable::read()?;
    let Some(origin) = origin_of_maybe_gone(&table, source)? else { return Ok(Unbound::Gone) };
    let is_ours = |mount: &&Mount| mount.at == at && origin.is_shown_by(mount);
    let Some(ours) = table.mounts().iter().rfind(is_ours) else { return Ok(Unbound::Gone) };
    if table.at(&at).is_some_and(|top| top.id != ours.id) {
        let refusal = Error::in_use("somebody mounted over the attachment", Vec::new());
        return Err(refusal.during("unmount", target.display()).advise("unmount what is on top first"));
    }
    match busy {
        BusyFiles::Refuse => unmount_all(&table, ours).map(|()| Unbound::Gone),
        BusyFiles::Lazy => unmount_lazily(&table, ours),
    }
}

/// Whether this process may mount the directory `at`: tried with a mount that nobody sees.
///
/// # Errors
/// `Denied` without the privilege (`CAP_SYS_ADMIN` in the owner of the mount namespace), `Unsupported` by a
/// kernel before 5.12.
pub fn probe(at: &Path) -> Result<()> {
    let tree = cloned(at)?;
    let policy = MountPolicy::default();
    let wanted = Wanted::of(&policy, Writes::Refused);
    set(&tree, &wanted, None).map_err(|error| cause(error, "probe mounts", at.display()))
}

/// Whether owners can be mapped on the filesystem of the directory `at`: tried with a mount that nobody sees.
///
/// # Errors
/// As [`probe`]; `Unsupported` by filesystems that cannot (overlay, FUSE).
pub fn probe_id_map(at: &Path) -> Result<()> {
    let mapping = IdMapping { on_volume: 0, on_mount: 1, count: 1 };
    let policy = MountPolicy { id_map: vec![mapping], ..MountPolicy::default() };
    prepared(at, Writes::Allowed, &policy).map(drop)
}

fn bind_now(request: &Bind<'_>) -> Result<()> {
    id_map::check(&request.policy.id_map)?;
    let target = Target::open(request.target)?;
    let table = MountTable::read()?;
    let origin = origin(&table, request.source)?;
    policy::check_propagation(request.policy, &origin.mount)?;
    let wanted = Wanted::of(request.policy, request.writes);
    if let Some(mount) = target.mounted(&table) {
        return found(mount, &origin, &wanted);
    }
    target.check(&table, &origin, request.store)?;
    let tree = prepared(request.source, request.writes, request.policy)?;
    put(&tree, &target, &wanted)
}

/// Whether the mount that is there already is the one that was asked for.
fn found(mount: &Mount, origin: &Origin, wanted: &Wanted) -> Result<()> {
    if !origin.is_shown_by(mount) {
        let refusal = Error::conflict("something else is mounted at the target", Vec::new());
        return Err(refusal.advise("unmount it, or choose another target"));
    }
    let differences = wanted.differences(mount);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::conflict("the volume is mounted there with another policy", differences)
        .advise("detach it first"))
}

/// A mount of `source` that nobody sees yet, with its policy.
fn prepared(source: &Path, writes: Writes, policy: &MountPolicy) -> Result<OwnedFd> {
    let tree = cloned(source)?;
    let owners = id_map::namespace(&policy.id_map)?;
    let set = set(&tree, &Wanted::of(policy, writes), owners.as_ref());
    set.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::INVAL) if owners.is_some() => {
            Error::unsupported(Capabilities::ID_MAP, "this filesystem cannot map owners").with_source(error)
        }
        _ => cause(error, "prepare the mount of", source.display()),
    })?;
    Ok(tree)
}

/// Puts the prepared mount on its target, checks it in the mount table, and undoes it if it is not as asked.
fn put(tree: &OwnedFd, target: &Target, wanted: &Wanted) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", &target.handle, c"", flags).map_err(|e| cause(e, "mount", target.at.display()))?;
    let checked = settle(tree, wanted).and_then(|()| verify(tree, target, wanted));
    checked.inspect_err(|_| {
        // The refusal is what the caller must see; a mount that cannot be undone either is in the table.
        let _ = rustix::mount::unmount(&target.at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    })
}

/// On a shared parent the new mount became shared: a private one is made private again.
fn settle(tree: &OwnedFd, wanted: &Wanted) -> Result<()> {
    let Some(propagation) = wanted.after_move() else { return Ok(()) };
    let what = Attributes { propagation, ..Attributes::default() };
    set_attributes(tree, what).map_err(|error| cause(error, "mount", "the target"))
}

fn verify(tree: &OwnedFd, target: &Target, wanted: &Wanted) -> Result<()> {
    let table = MountTable::read()?;
    let id = mount_id(tree, "the new mount")?;
    let refusal = |what| Err(Error::new(ErrorKind::Unsupported, what).advise("see the mount table"));
    let Some(mount) = table.by_id(id).filter(|mount| mount.at == target.at) else {
        return refusal("the mount is not in the mount table at its target");
    };
    let differences = wanted.differences(mount);
    if !differences.is_empty() {
        let dropped = Error::unsupported(Capabilities::MOUNTS, "the kernel dropped a part of the policy");
        return Err(differences.iter().fold(dropped, |error, d| error.context(d.field, &d.wanted)));
    }
    if table.below(id).iter().any(|inner| !wanted.forbids_on(inner)) {
        return refusal("a mount inside the volume did not take the policy");
    }
    Ok(())
}

/// A copy of the mount of `at` that nobody sees, with everything that is mounted inside.
fn cloned(at: &Path) -> Result<OwnedFd> {
    let named = |error: Errno| match error {
        // The kernel says the same for every refusal of privilege; this one is common enough to name.
        Errno::PERM => {
            cause(error, "mount", at.display()).advise("run with CAP_SYS_ADMIN, or attach without a mount")
        }
        _ => cause(error, "mount", at.display()),
    };
    let handle = handle(at).map_err(named)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(&handle, c"", flags).map_err(named)
}

fn set(tree: &OwnedFd, wanted: &Wanted, owners: Option<&OwnedFd>) -> std::io::Result<()> {
    let user_namespace = owners.map(AsFd::as_fd);
    set_attributes(
        tree,
        Attributes { set: wanted.attributes(), propagation: wanted.propagation(), user_namespace },
    )
}

/// Where a tree lies: what makes two mounts show the same thing.
#[derive(Debug)]
struct Origin {
    mount: Mount,
    within: PathBuf,
}

impl Origin {
    fn is_shown_by(&self, mount: &Mount) -> bool {
        mount.device == self.mount.device && mount.root == self.within
    }
}

fn origin(table: &MountTable, source: &Path) -> Result<Origin> {
    let named = |error| cause(error, "look at", source.display());
    let handle = handle(source).map_err(named)?;
    let at = target::path_of(&handle).map_err(|error| cause(error, "look at", source.display()))?;
    let id = mount_id(&handle, source.display())?;
    let mount =
        table.by_id(id).ok_or_else(|| Error::internal("the mount table lacks the mount of the volume"))?;
    let within = mount.within(&at).ok_or_else(|| Error::internal("the volume is not below its own mount"))?;
    Ok(Origin { mount: mount.clone(), within })
}

/// As [`origin`], also for a tree that was removed while it was mounted: the mount table goes on showing
/// where it was. `None` if its parent is gone as well.
fn origin_of_maybe_gone(table: &MountTable, source: &Path) -> Result<Option<Origin>> {
    let is_gone = |error: &Error| error.kind() == ErrorKind::NotFound;
    match origin(table, source) {
        Err(error) if is_gone(&error) => {}
        found => return found.map(Some),
    }
    let (Some(parent), Some(name)) = (source.parent(), source.file_name()) else { return Ok(None) };
    match origin(table, parent) {
        Ok(Origin { mount, within }) => {
            let mut within = within.join(name).into_os_string();
            if !is_nfs(&mount.filesystem) {
                within.push(REMOVED);
            }
            Ok(Some(Origin { mount, within: within.into() }))
        }
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the kernel shows behind the path of a directory that was removed (`seq_dentry` of `fs/seq_file.c`).
const REMOVED: &str = "//deleted";

fn handle(at: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, at, flags, Mode::empty())
}

fn mount_id(of: &OwnedFd, name: impl std::fmt::Display) -> Result<u64> {
    let stat = rustix::fs::statx(of, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    stat.map(|stat| stat.stx_mnt_id).map_err(|error| cause(error, "look at", name))
}

/// The deepest first, so that each is free when its turn comes.
fn unmount_all(table: &MountTable, ours: &Mount) -> Result<()> {
    table.below(ours.id).into_iter().rev().chain([ours]).try_for_each(|mount| {
        unmount_idle(&mount.at).map_err(|error| cause(error, "unmount", mount.at.display()))
    })
}

/// Unmounts what nobody uses. A process that was just forked holds copies of our descriptors until its
/// execve(2) closes them: it gets as long as that takes.
fn unmount_idle(at: &Path) -> rustix::io::Result<()> {
    let unmounted = || match rustix::mount::unmount(at, UnmountFlags::NOFOLLOW) {
        Err(Errno::BUSY) => Ok(None),
        answer => Ok(Some(answer)),
    };
    // Short enough to need no stop.
    let answer = until(Pauses::SHORT.within(UNTIL_EXEC), &Meter::default(), unmounted);
    answer.ok().flatten().unwrap_or(Err(Errno::BUSY))
}

/// Many times what lies between fork(2) and execve(2), and short for an answer.
const UNTIL_EXEC: Duration = Duration::from_millis(200);

/// Tries the plain way first, to be able to say that it is gone.
fn unmount_lazily(table: &MountTable, ours: &Mount) -> Result<Unbound> {
    if unmount_all(table, ours).is_ok() {
        return Ok(Unbound::Gone);
    }
    rustix::mount::unmount(&ours.at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .map(|()| Unbound::WhenIdle)
        .map_err(|error| cause(error, "unmount", ours.at.display()))
}
