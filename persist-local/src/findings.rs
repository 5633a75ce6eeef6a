//! What was found under a store, and what the store promises for it: a pure decision.

use persist_core::{
    Capabilities, Characteristics, Consistency, Error, ErrorKind, Fencing, OpenMode, Result, Survives,
    capability::Evidence,
    linux::{
        Writes,
        btrfs::Quota,
        filesystem::{Abilities, Class, Foreign, Look, Probed},
    },
};
use std::path::Path;

/// What was found under a store.
#[derive(Debug, Clone)]
pub(crate) struct Findings {
    /// What the kernel says.
    pub(crate) look: Look,
    /// What was tried.
    pub(crate) tried: Tried,
    /// Whether this process may mount, and why not.
    pub(crate) mounts: Ability,
    /// Whether owners can be mapped, and why not.
    pub(crate) id_map: Ability,
    /// Whether the filesystem counts by subvolume.
    pub(crate) quota: Quota,
    /// Whether SELinux decides on this host.
    pub(crate) selinux: Selinux,
}

/// What came of trying the filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tried {
    Done(Probed),
    /// Not tried: the store is opened read-only.
    ReadOnly,
    /// There was no room for it. The store opens nevertheless: it must be possible to make room.
    Full(String),
}

/// Whether something can be done here, or why it cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ability {
    Has,
    Lacks(String),
}

/// Whether SELinux decides on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selinux {
    Active,
    Absent,
}

/// The refusal of a filesystem that is not this host's own, of type `name`.
pub(crate) fn refusal(foreign: Foreign, name: &str, at: &Path) -> Error {
    Error::unsupported(Capabilities::FAST, "a local store is on a filesystem of this host")
        .context("path", at.display())
        .context("found", format_args!("{foreign} ({name})"))
        .advise(foreign.instead(at))
}

/// What no local store has, wherever it is.
const HERE_ALONE: &str = "no PORTABLE, SHARED_ACROSS_NODES and ENCRYPTION: this host alone reaches a local \
                          store, and nothing leaves it";

/// Refuses what is no place for a local store.
pub(crate) fn check(look: &Look, mode: OpenMode, at: &Path) -> Result<()> {
    if let Class::Foreign(foreign) = look.class {
        return Err(refusal(foreign, &look.name, at));
    }
    if look.writes == Writes::Refused && mode != OpenMode::ReadOnly {
        return Err(Error::new(ErrorKind::Denied, "the filesystem is mounted read-only")
            .context("path", at.display())
            .advise("mount it writable, or open the store with OpenMode::ReadOnly"));
    }
    Ok(())
}

impl Findings {
    /// The flags that hold here.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let class = &self.look.class;
        let mut flags = Capabilities::empty();
        flags.set(Capabilities::FAST | Capabilities::LOCAL_IO, *class != Class::Unknown);
        flags.set(Capabilities::RELIABLE, *class == Class::Durable);
        if self.tried == Tried::ReadOnly {
            return flags;
        }
        let can = |ability| self.has(ability);
        flags |= Capabilities::SNAPSHOTS | Capabilities::SHARED_ON_NODE | Capabilities::MANY_READERS;
        flags.set(Capabilities::INSTANT_SNAPSHOTS, can(Abilities::SUBVOLUMES));
        flags.set(Capabilities::CLONES, can(Abilities::SUBVOLUMES) || can(Abilities::REFLINK));
        flags.set(Capabilities::ENFORCED_SIZE, can(Abilities::SUBVOLUME_LIMITS));
        flags.set(Capabilities::LABEL, can(Abilities::LABELS));
        flags.set(Capabilities::MOUNTS | Capabilities::LIVE_READERS, self.mounts == Ability::Has);
        flags.set(Capabilities::ID_MAP, self.mounts == Ability::Has && self.id_map == Ability::Has);
        flags
    }

    /// What has degrees.
    pub(crate) fn characteristics(&self) -> Characteristics {
        let mut found = Characteristics::default();
        (found.survives, found.survives_evidence) = match self.look.class {
            // What the device keeps when its power is cut cannot be seen from here.
            Class::Durable => (Survives::HostCrash, Evidence::Assumed),
            _ => (Survives::Process, Evidence::Probed),
        };
        found.fencing = Fencing::Advisory;
        found.filesystem = self.filesystem();
        found.file_name_max_bytes = Some(self.look.file_name_max_bytes);
        if self.capabilities().contains(Capabilities::INSTANT_SNAPSHOTS) {
            found.cut_consistency = Consistency::Atomic;
        }
        if let Tried::Done(probed) = &self.tried {
            found.fsync_latency = Some(probed.fsync_latency);
        }
        found.remarks = self.remarks();
        found
    }

    fn filesystem(&self) -> String {
        let reflink = self.has(Abilities::REFLINK) && !self.has(Abilities::SUBVOLUMES);
        if reflink { format!("{} with reflink", self.look.name) } else { self.look.name.clone() }
    }

    fn has(&self, ability: Abilities) -> bool {
        matches!(&self.tried, Tried::Done(probed) if probed.abilities.contains(ability))
    }

    /// Why a flag is missing and what is assumed, one sentence each.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = vec![self.survival(), HERE_ALONE.into()];
        match &self.tried {
            Tried::Done(_) => {}
            Tried::ReadOnly => {
                remarks.push("opened read-only: what is probed by writing is not claimed".into());
                return remarks;
            }
            Tried::Full(why) => remarks.push(format!(
                "what is probed by writing is not claimed, for want of room ({why}): make room and open again"
            )),
        }
        remarks.push(
            "fencing is Advisory: a process that lost its attachment keeps the files that it has open".into(),
        );
        if !self.has(Abilities::SUBVOLUMES) {
            let how = if self.has(Abilities::REFLINK) { "clones" } else { "copies" };
            remarks.push(format!("no INSTANT_SNAPSHOTS: a snapshot on {} {how} each file", self.look.name));
        }
        if !self.capabilities().contains(Capabilities::CLONES) {
            remarks.push(format!("no CLONES: {} does not share blocks between files", self.look.name));
        }
        remarks.extend(self.size_remark());
        for (flags, ability) in
            [("MOUNTS and no LIVE_READERS", &self.mounts), ("ID_MAP", self.id_map_ability())]
        {
            if let Ability::Lacks(why) = ability {
                remarks.push(format!("no {flags}: {why}"));
            }
        }
        remarks.extend(self.label_remark());
        remarks
    }

    fn survival(&self) -> String {
        let name = &self.look.name;
        match &self.look.class {
            Class::Durable => "that the device keeps what it says it has flushed is assumed".into(),
            Class::Fragile(why) => format!("not RELIABLE: {name}: {why}"),
            Class::Memory => format!("not RELIABLE: {name} is memory, gone with the host's next boot"),
            Class::Overlay => format!(
                "not RELIABLE: {name} is a container's own layer, gone with the container; \
                 put the store on a volume that is mounted into it"
            ),
            _ => format!("neither FAST nor RELIABLE: {name} is not known to be a filesystem of this host"),
        }
    }

    fn size_remark(&self) -> Option<String> {
        let why = match self.quota {
            _ if self.has(Abilities::SUBVOLUME_LIMITS) => return None,
            _ if !self.has(Abilities::SUBVOLUMES) => format!("{} has no sizes of volumes", self.look.name),
            Quota::Enabled => "a limit could not be set, or did not hold; it needs CAP_SYS_ADMIN".into(),
            Quota::Inconsistent => "the quota of this btrfs is inconsistent; run btrfs quota rescan".into(),
            _ => "quota is not enabled on this btrfs (btrfs quota enable), and is not enabled by us".into(),
        };
        Some(format!("no ENFORCED_SIZE: {why}"))
    }

    /// Owners are mapped by a mount: without mounts there is nothing to say about them.
    fn id_map_ability(&self) -> &Ability {
        if self.mounts == Ability::Has { &self.id_map } else { &Ability::Has }
    }

    fn label_remark(&self) -> Option<String> {
        match (self.has(Abilities::LABELS), self.selinux) {
            (true, Selinux::Active) => None,
            (true, Selinux::Absent) => {
                Some("LABEL: SELinux is not active here, so new files do not inherit a label yet".into())
            }
            (false, _) => Some("no LABEL: security.selinux cannot be set here by this process".into()),
        }
    }
}

#[cfg(test)]
mod tests;
