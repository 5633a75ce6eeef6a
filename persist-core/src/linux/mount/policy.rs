//! What a policy asks of the kernel, and whether a line of the mount table shows it: pure decisions.

use super::super::{Writes, mountinfo::Mount};
use crate::{
    attachment::{MountPolicy, Permission, Propagation},
    capability::Capabilities,
    error::{Difference, Error, Result},
};

/// A policy in the kernel's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    forbidden: [(Forbid, &'static str, u64); 4],
    maps_owners: Permission,
    propagation: Propagation,
}

/// Whether an option is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forbid {
    Yes,
    No,
}

impl Wanted {
    /// mount_setattr(2) for the attributes, proc_pid_mountinfo(5) for the words.
    pub(super) fn of(policy: &MountPolicy, writes: Writes) -> Self {
        let forbid = |denied| if denied { Forbid::Yes } else { Forbid::No };
        let denied = |permission| forbid(permission == Permission::Denied);
        Self {
            forbidden: [
                (forbid(writes == Writes::Refused), "ro", libc::MOUNT_ATTR_RDONLY),
                (denied(policy.set_id), "nosuid", libc::MOUNT_ATTR_NOSUID),
                (denied(policy.devices), "nodev", libc::MOUNT_ATTR_NODEV),
                (forbid(policy.execute == Some(Permission::Denied)), "noexec", libc::MOUNT_ATTR_NOEXEC),
            ],
            maps_owners: if policy.id_map.is_empty() { Permission::Denied } else { Permission::Allowed },
            propagation: policy.propagation,
        }
    }

    /// The attributes to set.
    pub(super) fn attributes(&self) -> u64 {
        let owners = if self.maps_owners == Permission::Allowed { libc::MOUNT_ATTR_IDMAP } else { 0 };
        let asked = self.forbidden.iter().filter(|(forbid, ..)| *forbid == Forbid::Yes);
        asked.fold(owners, |set, (_, _, attribute)| set | attribute)
    }

    /// The propagation to set before the mount is put on its target.
    pub(super) fn propagation(&self) -> u64 {
        match self.propagation {
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Shared => libc::MS_SHARED,
        }
    }

    /// What has to be set once more after that: a mount that is put on a shared one becomes shared.
    pub(super) fn after_move(&self) -> Option<u64> {
        (self.propagation == Propagation::Private).then_some(libc::MS_PRIVATE)
    }

    /// Whether a mount forbids all that is asked to be forbidden. It may forbid more: what its origin
    /// forbids stays so.
    pub(super) fn forbids_on(&self, mount: &Mount) -> bool {
        self.forbidden.iter().all(|(forbid, word, _)| *forbid == Forbid::No || mount.has(word))
    }

    /// How a line of the mount table differs from what is wanted.
    pub(super) fn differences(&self, mount: &Mount) -> Vec<Difference> {
        let missing =
            self.forbidden.iter().filter(|(forbid, word, _)| *forbid == Forbid::Yes && !mount.has(word));
        let mut found: Vec<_> =
            missing.map(|(_, word, _)| Difference::new("policy", word, "not set")).collect();
        let writable = self.forbidden.iter().any(|(forbid, word, _)| *forbid == Forbid::No && *word == "ro");
        if writable && mount.has("ro") {
            found.push(Difference::new("policy", "rw", "ro"));
        }
        let mapped = if mount.has("idmapped") { Permission::Allowed } else { Permission::Denied };
        if mapped != self.maps_owners {
            found.push(Difference::new("id_map", format!("{:?}", self.maps_owners), format!("{mapped:?}")));
        }
        if !self.spreads_as(mount) {
            let actual = format!("shared {:?}, master {:?}", mount.shared, mount.master);
            found.push(Difference::new("propagation", format!("{:?}", self.propagation), actual));
        }
        found
    }

    fn spreads_as(&self, mount: &Mount) -> bool {
        match self.propagation {
            Propagation::Private => mount.shared.is_none() && mount.master.is_none(),
            Propagation::Slave => mount.master.is_some(),
            Propagation::Shared => mount.shared.is_some(),
        }
    }
}

/// Refuses a propagation that would do nothing: from a private mount nothing spreads (mount_namespaces(7)).
pub(super) fn check_propagation(policy: &MountPolicy, origin: &Mount) -> Result<()> {
    let spreads = match policy.propagation {
        Propagation::Private => true,
        Propagation::Slave => origin.shared.is_some() || origin.master.is_some(),
        Propagation::Shared => origin.shared.is_some(),
    };
    if spreads {
        return Ok(());
    }
    Err(Error::unsupported(
        Capabilities::MOUNTS,
        "the store is on a private mount, from which nothing spreads",
    )
    .context("propagation", format_args!("{:?}", policy.propagation))
    .context("mount", origin.at.display())
    .advise("make that mount shared (mount --make-rshared), or leave the propagation private"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{attachment::IdMapping, linux::mountinfo::MountTable};

    fn mount(options: &str, peers: &str) -> Mount {
        let line = format!("5 1 8:0 / /t {options} {peers}- ext4 /dev/x rw");
        MountTable::parse(line.as_bytes()).unwrap().mounts()[0].clone()
    }

    #[test]
    fn strict_is_the_default_and_each_option_asks_for_one_attribute() {
        let strict = Wanted::of(&MountPolicy::default(), Writes::Allowed);
        assert_eq!(strict.attributes(), libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV);
        let loose = MountPolicy::default().with_set_id(Permission::Allowed).with_devices(Permission::Allowed);
        assert_eq!(Wanted::of(&loose, Writes::Allowed).attributes(), 0);
        assert_eq!(Wanted::of(&loose, Writes::Refused).attributes(), libc::MOUNT_ATTR_RDONLY);
        let mapping = IdMapping { on_volume: 0, on_mount: 1000, count: 1 };
        let all = loose.with_execute(Permission::Denied).with_id_map(vec![mapping]);
        let attributes = Wanted::of(&all, Writes::Allowed).attributes();
        assert_eq!(attributes, libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_IDMAP);
    }

    #[test]
    fn every_dropped_option_is_noticed() {
        let mapping = IdMapping { on_volume: 0, on_mount: 1000, count: 1 };
        let policy = MountPolicy::default().with_execute(Permission::Denied).with_id_map(vec![mapping]);
        let wanted = Wanted::of(&policy, Writes::Refused);
        let full = ["ro", "nosuid", "nodev", "noexec", "idmapped"];
        assert_eq!(wanted.differences(&mount(&full.join(","), "")), []);
        for dropped in full {
            let rest: Vec<_> = full.into_iter().filter(|word| *word != dropped).collect();
            assert_eq!(wanted.differences(&mount(&rest.join(","), "")).len(), 1, "{dropped}");
        }
        assert_eq!(wanted.differences(&mount(&full.join(","), "shared:3 ")).len(), 1);
    }

    #[test]
    fn a_writable_mount_that_is_read_only_is_not_as_asked() {
        let wanted = Wanted::of(&MountPolicy::default(), Writes::Allowed);
        assert_eq!(wanted.differences(&mount("ro,nosuid,nodev", "")).len(), 1);
        assert_eq!(wanted.differences(&mount("rw,nosuid,nodev,relatime,noexec", "")), []);
    }

    #[test]
    fn a_propagation_that_would_do_nothing_is_refused() {
        let policy = |propagation| MountPolicy::default().with_propagation(propagation);
        let checked =
            |propagation, peers| check_propagation(&policy(propagation), &mount("rw", peers)).is_ok();
        assert!(checked(Propagation::Private, ""));
        assert!(!checked(Propagation::Slave, "") && checked(Propagation::Slave, "shared:1 "));
        assert!(!checked(Propagation::Shared, "master:1 ") && checked(Propagation::Shared, "shared:1 "));
    }
}
