//! An NFS mount as the place of a directory store: what was found there, and what it can promise.

use crate::{profile::Version, server::Server};
use persist_core::{
    Capabilities, Characteristics, Consistency, Error, ErrorKind, Fencing, Holder, Liveness, Node, OpenMode,
    Result, Survives,
    attachment::BusyFiles,
    capability::{Evidence, LockScope},
    directory::{
        Cut, CutMode, MountRequest, Place, Unmounted, Verdict,
        host::{Ability, Findings, HostPlace, Tried},
    },
    linux::{
        Writes,
        filesystem::{self, Abilities, Class, Foreign, Look},
        process::{Life, life},
    },
    progress::Meter,
    volume::Import,
};
use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::Arc, time::Duration};

/// A directory on an NFS mount: as one of this host, but for who may be declared dead.
#[derive(Debug)]
pub(crate) struct NfsPlace {
    host: HostPlace,
    server: Server,
    lease: Duration,
}

/// The mount that a store is on.
#[derive(Debug, Clone)]
pub(crate) struct On {
    pub(crate) server: Server,
    pub(crate) version: Version,
    pub(crate) source: String,
    pub(crate) lease: Duration,
}

impl NfsPlace {
    /// Tries what can be done in the store's directory `at`.
    ///
    /// # Errors
    /// `Denied` for an export that may not be written, or a directory of another user; as the server
    /// answers.
    pub(crate) fn probe(at: &Path, mount: &On, mode: OpenMode) -> Result<Arc<dyn Place>> {
        let look = filesystem::look(at)?;
        check_nfs(at, &look)?;
        if look.writes == Writes::Refused && mode != OpenMode::ReadOnly {
            return Err(Error::new(ErrorKind::Denied, "the export is mounted read-only")
                .context("path", at.display())
                .advise("mount it writable, or open the store with OpenMode::ReadOnly"));
        }
        check_squash(at)?;
        let found = Findings::probe(at, look, mode).map_err(explain)?;
        let characteristics = characteristics(&found, mount.version, &mount.source, mount.lease);
        let host = HostPlace::new(at.to_owned(), capabilities(&found), characteristics)?;
        Ok(Arc::new(Self { host, server: mount.server.clone(), lease: mount.lease }))
    }
}

impl Place for NfsPlace {
    fn capabilities(&self) -> Capabilities {
        self.host.capabilities()
    }

    fn characteristics(&self) -> Characteristics {
        self.host.characteristics()
    }

    fn make_tree(&self, at: &Path) -> Result<()> {
        self.host.make_tree(at)
    }

    fn cut(&self, from: &Path, to: &Path, mode: CutMode, meter: &Meter) -> Result<Cut> {
        self.host.cut(from, to, mode, meter)
    }

    fn seal(&self, at: &Path) -> Result<()> {
        self.host.seal(at)
    }

    fn import(&self, from: &Path, to: &Path, import: Import, meter: &Meter) -> Result<Cut> {
        self.host.import(from, to, import, meter)
    }

    fn remove_tree(&self, at: &Path, meter: &Meter) -> Result<()> {
        self.host.remove_tree(at, meter)
    }

    fn flush(&self, at: &Path, meter: &Meter) -> Result<()> {
        self.host.flush(at, meter)
    }

    fn limit_size(&self, at: &Path, size_bytes: Option<u64>) -> Result<()> {
        self.host.limit_size(at, size_bytes)
    }

    fn reach(&self) -> Result<()> {
        self.server.ask()
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.lease)
    }

    fn free_bytes(&self, at: &Path) -> Result<u64> {
        self.host.free_bytes(at)
    }

    fn verdict(&self, holder: &Holder, here: &Node) -> Verdict {
        verdict(holder, here)
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<()> {
        self.host.mount(request)
    }

    fn unmount(&self, source: &Path, target: &Path, busy: BusyFiles) -> Result<Unmounted> {
        self.host.unmount(source, target, busy)
    }
}

/// Who may be declared dead where many hosts reach the store: only a process of this very boot of this very
/// node. Nothing that a host can see proves anything about another one, not even a new boot id.
fn verdict(holder: &Holder, here: &Node) -> Verdict {
    if holder.node != *here {
        return Verdict::CannotTell;
    }
    match &holder.liveness {
        Liveness::Boot => Verdict::Alive,
        Liveness::Process(Some(of)) => match life(of) {
            Life::Alive => Verdict::Alive,
            Life::Dead => Verdict::Dead(format!("its process {} is gone", of.pid)),
            Life::CannotTell => Verdict::CannotTell,
        },
        _ => Verdict::CannotTell,
    }
}

fn capabilities(found: &Findings) -> Capabilities {
    let mut flags = Capabilities::PORTABLE | Capabilities::RELIABLE;
    if found.tried == Tried::ReadOnly {
        return flags;
    }
    flags |= Capabilities::SNAPSHOTS
        | Capabilities::SHARED_ON_NODE
        | Capabilities::SHARED_ACROSS_NODES
        | Capabilities::MANY_READERS;
    flags.set(Capabilities::CLONES, found.has(Abilities::REFLINK));
    flags.set(Capabilities::LABEL, found.has(Abilities::LABELS));
    flags.set(Capabilities::MOUNTS | Capabilities::LIVE_READERS, found.mounts == Ability::Has);
    flags
}

fn characteristics(found: &Findings, version: Version, source: &str, lease: Duration) -> Characteristics {
    let mut known = Characteristics::default();
    known.survives = Survives::HostLoss;
    known.survives_evidence = Evidence::Assumed;
    known.fencing = Fencing::Advisory;
    known.locks = LockScope::AllNodes;
    known.cut_consistency = Consistency::PerFile;
    known.filesystem = format!("NFS {} from {source}", version.text());
    known.file_name_max_bytes = Some(found.look.file_name_max_bytes);
    if let Tried::Done(probed) = &found.tried {
        known.fsync_latency = Some(probed.fsync_latency);
    }
    known.remarks = remarks(found, version, lease);
    known
}

/// Why a flag is missing and what is assumed, one sentence each.
fn remarks(found: &Findings, version: Version, lease: Duration) -> Vec<String> {
    let mut remarks = vec![
        "that the server keeps what it acknowledged is assumed: an export with `async` looks the same from here"
            .to_owned(),
        "no FAST and no LOCAL_IO: every durable write goes through the network; databases belong on local storage"
            .to_owned(),
        "fencing is Advisory: a process that lost its attachment keeps the files that it has open".to_owned(),
        format!(
            "leases of {} s: who is silent for longer loses a volume to an attach with Takeover::WhenExpired, and to \
             nobody else",
            lease.as_secs()
        ),
        "no INSTANT_SNAPSHOTS: a snapshot goes through every file".to_owned(),
        "no ENFORCED_SIZE and no ID_MAP: NFS has neither".to_owned(),
    ];
    match &found.tried {
        Tried::Done(_) => {}
        Tried::ReadOnly => {
            remarks.push("opened read-only: what is probed by writing is not claimed".into());
            return remarks;
        }
        Tried::Full(why) => remarks.push(format!(
            "what is probed by writing is not claimed, for want of room ({why}): make room and open again"
        )),
    }
    if !found.has(Abilities::REFLINK) {
        let why = match version {
            Version::V41 => "NFS 4.1 cannot clone",
            Version::V42 => "the server's filesystem does not clone",
        };
        remarks.push(format!("no CLONES: {why}, so the bytes of a snapshot are copied"));
    }
    if !found.has(Abilities::HOLES) {
        remarks.push("holes are not told from data here: a copy may take more room than its origin".into());
    }
    if let Ability::Lacks(why) = &found.mounts {
        remarks.push(format!("no MOUNTS and no LIVE_READERS: {why}"));
    }
    remarks
}

/// Refuses a directory that is not on the server: a symbolic link led away from the mount, or something else is
/// mounted over it. What is written there would be lost to every other host.
fn check_nfs(at: &Path, look: &Look) -> Result<()> {
    if look.class == Class::Foreign(Foreign::Nfs) {
        return Ok(());
    }
    Err(Error::unsupported(Capabilities::PORTABLE, "the store's directory is not on the file server")
        .context("path", at.display())
        .context("found", &look.name)
        .advise("look for a symbolic link, or for another mount over it"))
}

/// The user that exports(5) turns root into, unless the export or the host says otherwise.
const NOBODY: u32 = 65534;

fn check_squash(at: &Path) -> Result<()> {
    let owner = fs::metadata(at).map(|metadata| metadata.uid()).ok();
    if owner != Some(NOBODY) || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Denied,
        "the server turns root into nobody (root_squash), so owners cannot be kept",
    )
    .context("path", at.display())
    .advise("export it with no_root_squash to this host, or run as the user that owns the directory"))
}

fn explain(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Denied => {
            error.context("hint", "the export may be read-only, or squash this user (exports(5))")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use persist_core::{
        Workload,
        holder::{BootId, ProcessId},
        linux::{
            btrfs::Quota,
            filesystem::{Class, Look, Probed},
            process::{this_host, this_process},
        },
    };
    fn found(abilities: Abilities, tried: Option<Tried>) -> Findings {
        let probed = Probed::new(abilities, Duration::from_millis(1));
        Findings {
            look: Look::new(Class::Unknown, "nfs4", Writes::Allowed, 255),
            tried: tried.unwrap_or(Tried::Done(probed)),
            mounts: Ability::Lacks("no privilege".into()),
            id_map: Ability::Lacks("no privilege".into()),
            quota: Quota::Disabled,
            selinux: persist_core::directory::host::Selinux::Absent,
        }
    }

    #[test]
    fn only_what_was_probed_is_claimed_and_nfs_is_never_fast_or_local() {
        let never = Capabilities::FAST | Capabilities::LOCAL_IO | Capabilities::INSTANT_SNAPSHOTS;
        let shared =
            Capabilities::SHARED_ACROSS_NODES | Capabilities::SHARED_ON_NODE | Capabilities::SNAPSHOTS;
        for (findings, clones, writes) in [
            (found(Abilities::REFLINK, None), true, true),
            (found(Abilities::empty(), None), false, true),
            (found(Abilities::empty(), Some(Tried::ReadOnly)), false, false),
        ] {
            let flags = capabilities(&findings);
            assert!(!flags.intersects(never | Capabilities::MOUNTS), "{flags}");
            assert!(flags.contains(Capabilities::PORTABLE | Capabilities::RELIABLE));
            assert_eq!(flags.contains(Capabilities::CLONES), clones);
            assert_eq!(flags.contains(shared), writes);
        }
        const LEASE: Duration = Duration::from_secs(60);
        let known = characteristics(&found(Abilities::empty(), None), Version::V41, "files:/srv", LEASE);
        assert_eq!((known.fencing, known.survives_evidence), (Fencing::Advisory, Evidence::Assumed));
        for said in ["4.1 cannot clone", "leases of 60 s"] {
            assert!(known.remarks.iter().any(|remark| remark.contains(said)), "{said}");
        }
    }

    #[test]
    fn nothing_proves_another_host_dead_and_a_process_of_ours_is_judged() {
        let here = this_host().unwrap();
        let me = this_process().unwrap();
        let gone = ProcessId::new(me.pid, me.start_ticks + 1000, me.namespace);
        let judge = |node: &Node, liveness| {
            verdict(&Holder::new(node.clone(), Workload::new("w").unwrap(), liveness), &here)
        };
        let process = |id: &ProcessId| Liveness::Process(Some(id.clone()));
        assert_eq!(judge(&here, process(&me)), Verdict::Alive);
        assert!(matches!(judge(&here, process(&gone)), Verdict::Dead(_)));
        let boot = "00000000-0000-0000-0000-000000000000";
        let other = Node::new(format!("host-{boot}").try_into().unwrap(), BootId::new(boot).unwrap());
        for liveness in [process(&gone), Liveness::Boot, Liveness::External] {
            assert_eq!(judge(&other, liveness), Verdict::CannotTell);
        }
    }
}
