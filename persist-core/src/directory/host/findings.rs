//! What was found under a store on this host, and the flags that hold for it: a pure decision.

use crate::{
    capability::Capabilities,
    linux::{
        btrfs::Quota,
        filesystem::{Abilities, Class, Look, Probed},
    },
};

/// What was found under a store.
#[derive(Debug, Clone)]
pub struct Findings {
    /// What the kernel says.
    pub look: Look,
    /// What was tried.
    pub tried: Tried,
    /// Whether this process may mount, and why not.
    pub mounts: Ability,
    /// Whether owners can be mapped, and why not.
    pub id_map: Ability,
    /// Whether the filesystem counts by subvolume.
    pub quota: Quota,
    /// Whether SELinux decides on this host.
    pub selinux: Selinux,
}

/// What came of trying the filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// It was tried.
    Done(Probed),
    /// Not tried: the store is opened read-only.
    ReadOnly,
    /// There was no room for it. The store opens nevertheless: it must be possible to make room.
    Full(String),
}

/// Whether something can be done here, or why it cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ability {
    /// It can.
    Has,
    /// It cannot, and this is why.
    Lacks(String),
}

/// Whether SELinux decides on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selinux {
    /// New files inherit the label of their directory.
    Active,
    /// It does not.
    Absent,
}

impl Findings {
    /// The flags that hold here.
    pub fn capabilities(&self) -> Capabilities {
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
        flags.set(Capabilities::LABEL, can(Abilities::LABELS) && self.selinux == Selinux::Active);
        flags.set(Capabilities::MOUNTS | Capabilities::LIVE_READERS, self.mounts == Ability::Has);
        flags.set(Capabilities::ID_MAP, self.mounts == Ability::Has && self.id_map == Ability::Has);
        flags
    }

    /// Whether trying showed this.
    pub fn has(&self, ability: Abilities) -> bool {
        matches!(&self.tried, Tried::Done(probed) if probed.abilities.contains(ability))
    }
}
