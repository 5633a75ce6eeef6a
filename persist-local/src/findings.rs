//! What a local store promises for what was found under it, and what it refuses: a pure decision.

use persist_core::{
    Capabilities, Characteristics, Consistency, Error, ErrorKind, Fencing, OpenMode, Result, Survives,
    capability::Evidence,
    directory::host::{Ability, Findings, Selinux, Tried},
    linux::{
        Writes,
        btrfs::Quota,
        filesystem::{Abilities, Class, Foreign, Look},
    },
};
use std::path::Path;

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

/// What a local store promises for what was found under it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promises<'a>(pub(crate) &'a Findings);

impl Promises<'_> {
    /// What has degrees.
    pub(crate) fn characteristics(&self) -> Characteristics {
        let mut found = Characteristics::default();
        (found.survives, found.survives_evidence) = match self.0.look.class {
            // What the device keeps when its power is cut cannot be seen from here.
            Class::Durable => (Survives::HostCrash, Evidence::Assumed),
            _ => (Survives::Process, Evidence::Probed),
        };
        found.fencing = Fencing::Advisory;
        found.filesystem = self.filesystem();
        found.file_name_max_bytes = Some(self.0.look.file_name_max_bytes);
        if self.0.capabilities().contains(Capabilities::INSTANT_SNAPSHOTS) {
            found.cut_consistency = Consistency::Atomic;
        }
        if let Tried::Done(probed) = &self.0.tried {
            found.fsync_latency = Some(probed.fsync_latency);
        }
        found.remarks = self.remarks();
        found
    }

    fn filesystem(&self) -> String {
        let reflink = self.0.has(Abilities::REFLINK) && !self.0.has(Abilities::SUBVOLUMES);
        if reflink { format!("{} with reflink", self.0.look.name) } else { self.0.look.name.clone() }
    }

    /// Why a flag is missing and what is assumed, one sentence each.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = vec![self.survival(), HERE_ALONE.into()];
        match &self.0.tried {
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
        if !self.0.has(Abilities::SUBVOLUMES) {
            let how = if self.0.has(Abilities::REFLINK) { "clones" } else { "copies" };
            remarks.push(format!("no INSTANT_SNAPSHOTS: a snapshot on {} {how} each file", self.0.look.name));
        }
        if !self.0.capabilities().contains(Capabilities::CLONES) {
            remarks.push(format!("no CLONES: {} does not share blocks between files", self.0.look.name));
        }
        remarks.extend(self.size_remark());
        for (flags, ability) in
            [("MOUNTS and no LIVE_READERS", &self.0.mounts), ("ID_MAP", self.id_map_ability())]
        {
            if let Ability::Lacks(why) = ability {
                remarks.push(format!("no {flags}: {why}"));
            }
        }
        remarks.extend(self.label_remark());
        remarks
    }

    fn survival(&self) -> String {
        let name = &self.0.look.name;
        match &self.0.look.class {
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
        let why = match self.0.quota {
            _ if self.0.has(Abilities::SUBVOLUME_LIMITS) => return None,
            _ if !self.0.has(Abilities::SUBVOLUMES) => {
                format!("{} has no sizes of volumes", self.0.look.name)
            }
            Quota::Enabled => "a limit could not be set, or did not hold; it needs CAP_SYS_ADMIN".into(),
            Quota::Inconsistent => "the quota of this btrfs is inconsistent; run btrfs quota rescan".into(),
            _ => "quota is not enabled on this btrfs (btrfs quota enable), and is not enabled by us".into(),
        };
        Some(format!("no ENFORCED_SIZE: {why}"))
    }

    /// Owners are mapped by a mount: without mounts there is nothing to say about them.
    fn id_map_ability(&self) -> &Ability {
        if self.0.mounts == Ability::Has { &self.0.id_map } else { &Ability::Has }
    }

    fn label_remark(&self) -> Option<String> {
        match (self.0.has(Abilities::LABELS), self.0.selinux) {
            (true, Selinux::Active) => None,
            (true, Selinux::Absent) => {
                Some("no LABEL: SELinux is not active here, so new files would not inherit one".into())
            }
            (false, _) => Some("no LABEL: security.selinux cannot be set here by this process".into()),
        }
    }
}

#[cfg(test)]
mod tests;
