//! How an attachment's path is made: decided from capabilities and wishes alone, without I/O.

use crate::{
    attachment::{Access, MountPolicy, TargetKind},
    capability::{Capabilities, StoreInfo},
    error::{Error, Result},
    snapshot::SnapshotName,
};
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};

/// How an attachment's path is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(super) shows: Shows,
    pub(super) at: At,
    /// What its mounts forbid and map.
    pub(super) policy: MountPolicy,
}

/// What an attachment is shown of its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Shows {
    /// The tree itself.
    Tree,
    /// A read-only mount of it.
    ReadOnlyMount,
    /// A private copy.
    Copy,
}

/// Where an attachment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum At {
    /// At a path of the store.
    Store,
    /// A mount at the target.
    Mount,
    /// A symbolic link at the target.
    Symlink,
}

/// What an attach wishes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'a> {
    pub(super) access: Access,
    pub(super) snapshot: Option<&'a SnapshotName>,
    pub(super) target: Option<&'a Path>,
    pub(super) kind: TargetKind,
    pub(super) policy: Option<&'a MountPolicy>,
}

impl Plan {
    /// Plans the path of an attachment, or refuses what this opened store cannot do.
    ///
    /// # Errors
    /// `Unsupported`, naming the capability; `Invalid` for a wish that contradicts itself.
    pub(super) fn of(wish: &Wish<'_>, store: &StoreInfo) -> Result<Self> {
        store.require(wish.access.capability(), "this store does not have this access mode")?;
        let at = at(wish, store)?;
        let shows = match wish.access {
            Access::ReadOnly => shown_to_reader(wish, store)?,
            _ if wish.snapshot.is_some() => {
                return Err(Error::invalid("snapshot", "only a reader is pinned to a snapshot"));
            }
            _ => Shows::Tree,
        };
        let plan = Self { shows, at, policy: wish.policy.cloned().unwrap_or_default() };
        plan.check_policy(wish, store)?;
        Ok(plan)
    }

    /// Whether a mount of ours shows the tree.
    pub(super) fn is_mounted(&self) -> bool {
        self.at == At::Mount || self.shows == Shows::ReadOnlyMount
    }

    fn check_policy(&self, wish: &Wish<'_>, store: &StoreInfo) -> Result<()> {
        if wish.policy.is_some() && !self.is_mounted() {
            let message = "a mount policy needs a mount of ours, and this attachment has none";
            return Err(Error::unsupported(Capabilities::MOUNTS, message)
                .advise("give a target of kind mount where the store has mounts, or leave out the policy"));
        }
        if self.policy.id_map.is_empty() {
            return Ok(());
        }
        store.require(Capabilities::ID_MAP, "owners cannot be mapped here")
    }
}

/// Refuses a target by its text: what is wrong with it whatever the filesystem holds.
///
/// # Errors
/// `Invalid`; `Denied` for the root directory.
pub(super) fn check_target(target: &Path) -> Result<()> {
    let invalid = |rule| Err(Error::invalid("target", rule).context("path", target.display()));
    if !target.is_absolute() {
        return invalid("a target is an absolute path");
    }
    if target.to_str().is_none_or(|text| text.contains('\0')) {
        return invalid("a target is UTF-8 without NUL");
    }
    if target.components().any(|part| part == Component::ParentDir) {
        return invalid("a target has no `..`");
    }
    match target.file_name() {
        Some(_) => Ok(()),
        None => Err(Error::new(crate::ErrorKind::Denied, "the root directory is no target")
            .advise("give an empty directory of your own")),
    }
}

fn at(wish: &Wish<'_>, store: &StoreInfo) -> Result<At> {
    match (wish.target, wish.kind) {
        (None, TargetKind::Symlink) => {
            Err(Error::invalid("target_kind", "a symbolic link needs a target path"))
        }
        (None, TargetKind::Mount) => Ok(At::Store),
        (Some(target), kind) => {
            check_target(target)?;
            match kind {
                TargetKind::Symlink => Ok(At::Symlink),
                TargetKind::Mount => store
                    .require(Capabilities::MOUNTS, "this store cannot mount at a target")
                    .map(|()| At::Mount)
                    .map_err(|e| {
                        e.advise("run with CAP_SYS_ADMIN, ask for a symbolic link, or give no target")
                    }),
            }
        }
    }
}

fn shown_to_reader(wish: &Wish<'_>, store: &StoreInfo) -> Result<Shows> {
    if wish.snapshot.is_none() {
        let live = Capabilities::LIVE_READERS | Capabilities::MOUNTS;
        store
            .require(live, "a live reader cannot be kept from writing here")
            .map_err(|e| e.advise("name a snapshot to read"))?;
        return Ok(Shows::ReadOnlyMount);
    }
    store.require(Capabilities::SNAPSHOTS, "this store has no snapshots")?;
    let mounts = store.capabilities.contains(Capabilities::MOUNTS);
    Ok(if mounts { Shows::ReadOnlyMount } else { Shows::Copy })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ErrorKind::{Denied, Invalid, Unsupported},
        capability::Characteristics,
        clock::SystemEnvironment,
        id::StoreId,
    };
    use Access::{ReadOnly, ReadWrite, SharedAcrossNodes, SharedOnNode};

    const PLAIN: Capabilities =
        Capabilities::SNAPSHOTS.union(Capabilities::MANY_READERS).union(Capabilities::SHARED_ON_NODE);
    const ROOT: Capabilities = PLAIN.union(Capabilities::MOUNTS).union(Capabilities::LIVE_READERS);

    fn plan(
        capabilities: Capabilities,
        access: Access,
        target: Option<(&str, TargetKind)>,
        snapshot: Option<&str>,
        policy: Option<&MountPolicy>,
    ) -> Result<(Shows, At), crate::ErrorKind> {
        let id = StoreId::mint(&SystemEnvironment, &SystemEnvironment);
        let store = StoreInfo::new("test", "x", id, capabilities, Characteristics::default());
        let snapshot = snapshot.map(|name| SnapshotName::new(name).unwrap());
        let (target, kind) =
            target.map_or((None, TargetKind::Mount), |(path, kind)| (Some(Path::new(path)), kind));
        let wish = Wish { access, snapshot: snapshot.as_ref(), target, kind, policy };
        Plan::of(&wish, &store).map(|plan| (plan.shows, plan.at)).map_err(|e| e.kind())
    }

    #[test]
    fn what_cannot_be_enforced_is_refused_and_the_rest_is_planned() {
        let mount = Some(("/srv/a", TargetKind::Mount));
        let link = Some(("/srv/a", TargetKind::Symlink));
        let (strict, mapped) = (
            MountPolicy::default(),
            MountPolicy::default().with_id_map(vec![crate::attachment::IdMapping {
                on_volume: 0,
                on_mount: 1,
                count: 1,
            }]),
        );
        let s = Some("s");
        let table = [
            // Writers see the tree itself.
            (PLAIN, ReadWrite, None, None, None, Ok((Shows::Tree, At::Store))),
            (PLAIN, SharedOnNode, link, None, None, Ok((Shows::Tree, At::Symlink))),
            (PLAIN, ReadWrite, mount, None, None, Err(Unsupported)),
            (ROOT, ReadWrite, mount, None, None, Ok((Shows::Tree, At::Mount))),
            (ROOT, ReadWrite, mount, None, Some(&strict), Ok((Shows::Tree, At::Mount))),
            (ROOT, ReadWrite, mount, None, Some(&mapped), Err(Unsupported)),
            (
                ROOT | Capabilities::ID_MAP,
                ReadWrite,
                mount,
                None,
                Some(&mapped),
                Ok((Shows::Tree, At::Mount)),
            ),
            // A policy without a mount is refused.
            (ROOT, ReadWrite, None, None, Some(&strict), Err(Unsupported)),
            (ROOT, ReadWrite, link, None, Some(&strict), Err(Unsupported)),
            (PLAIN, ReadOnly, None, s, Some(&strict), Err(Unsupported)),
            // Modes that the store does not have, wishes that contradict themselves.
            (ROOT, SharedAcrossNodes, None, None, None, Err(Unsupported)),
            (Capabilities::empty(), SharedOnNode, None, None, None, Err(Unsupported)),
            (Capabilities::empty(), ReadOnly, None, s, None, Err(Unsupported)),
            (ROOT, ReadWrite, None, s, None, Err(Invalid)),
            (ROOT, ReadWrite, Some(("srv/a", TargetKind::Mount)), None, None, Err(Invalid)),
            (ROOT, ReadWrite, Some(("/srv/../a", TargetKind::Symlink)), None, None, Err(Invalid)),
            (ROOT, ReadWrite, Some(("/", TargetKind::Mount)), None, None, Err(Denied)),
            // A pinned reader never sees the snapshot's own files unprotected.
            (PLAIN, ReadOnly, None, s, None, Ok((Shows::Copy, At::Store))),
            (PLAIN, ReadOnly, link, s, None, Ok((Shows::Copy, At::Symlink))),
            (PLAIN, ReadOnly, mount, s, None, Err(Unsupported)),
            (ROOT, ReadOnly, None, s, Some(&strict), Ok((Shows::ReadOnlyMount, At::Store))),
            (ROOT, ReadOnly, mount, s, None, Ok((Shows::ReadOnlyMount, At::Mount))),
            // A live one is enforced by a mount, or refused.
            (PLAIN, ReadOnly, None, None, None, Err(Unsupported)),
            (ROOT, ReadOnly, None, None, None, Ok((Shows::ReadOnlyMount, At::Store))),
            (ROOT, ReadOnly, link, None, None, Ok((Shows::ReadOnlyMount, At::Symlink))),
            (ROOT.difference(Capabilities::LIVE_READERS), ReadOnly, mount, None, None, Err(Unsupported)),
        ];
        for (i, (capabilities, access, target, snapshot, policy, expected)) in table.into_iter().enumerate() {
            assert_eq!(plan(capabilities, access, target, snapshot, policy), expected, "row {i}");
        }
    }

    #[test]
    fn a_link_without_a_path_is_refused() {
        let id = StoreId::mint(&SystemEnvironment, &SystemEnvironment);
        let store = StoreInfo::new("test", "x", id, ROOT, Characteristics::default());
        let wish =
            Wish { access: ReadWrite, snapshot: None, target: None, kind: TargetKind::Symlink, policy: None };
        assert_eq!(Plan::of(&wish, &store).unwrap_err().field(), Some("target_kind"));
    }
}
