//! Mounts of ours: one for each export and profile on this node, shared by stores and processes.
//!
//! ```text
//! STATE/mounts/<key>/what     the export and the options, for people
//! STATE/mounts/<key>/lock     held (flock) alone by who mounts or unmounts
//! STATE/mounts/<key>/users    held (flock) shared by every store that is open on it
//! STATE/mounts/<key>/at       where it is mounted
//! ```

use crate::{
    address::Export,
    helper::{Helpers, Task},
    profile::{Profile, differences},
    server::c_path,
};
use persist_core::{
    Error, ErrorKind, Result,
    directory::exclusion::{Exclusion, Hold},
    linux::{cause::cause, mountinfo::MountTable},
    progress::Meter,
};
use rustix::{
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_set_flag, fsconfig_set_string,
        fsmount, fsopen, move_mount,
    },
};
use std::{
    fs::{self, DirBuilder},
    io,
    net::{SocketAddr, ToSocketAddrs},
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a server has to let itself be mounted: several round trips and a lost connection (nfs(5): a
/// connection is tried again after seconds), and less than a caller's patience.
const MOUNT_PATIENCE: Duration = Duration::from_secs(30);

/// How long taking a mount away may take: what is left to write is written.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(20);

/// A mount that this store uses.
#[derive(Debug)]
pub(crate) struct Mounted {
    directory: PathBuf,
    users: Exclusion,
}

impl Mounted {
    /// Mounts `export`, or finds it mounted by another store of this node.
    ///
    /// # Errors
    /// `Denied` without privilege; `Unavailable` for a server that does not answer or cannot be found;
    /// `Unsupported` for what the kernel or the server did not take; nothing is mounted then.
    pub(crate) fn take(state: &Path, export: &Export, profile: &Profile) -> Result<Self> {
        let directory = state.join("mounts").join(key(export, profile));
        let at = directory.join("at");
        make_private(&directory)?;
        make_mount_point(&at)?;
        let lock = Exclusion::take(&directory.join("lock"), Hold::Alone, &Meter::default())?;
        let what = directory.join("what");
        let line = format!("{export} {}\n", profile.line());
        fs::write(&what, line).map_err(|e| cause(e, "write", what.display()))?;
        mount_or_find(&at, export, profile)?;
        let path = directory.join("users");
        let users = Exclusion::take(&path, Hold::Shared, &Meter::default())?;
        drop(lock);
        Ok(Self { directory, users })
    }

    /// Where it is mounted.
    pub(crate) fn at(&self) -> PathBuf {
        self.directory.join("at")
    }

    /// Takes the mount away if no other store uses it. Files that are open on it, as some of a closed store are
    /// until it is dropped, stay open; the last one takes the connection along.
    ///
    /// # Errors
    /// `Unavailable` if the server does not take what is left to write; as the system reports them.
    pub(crate) fn release(self) -> Result<()> {
        let Self { directory, users } = self;
        let _lock = Exclusion::take(&directory.join("lock"), Hold::Alone, &Meter::default())?;
        drop(users);
        let Some(_last) = Exclusion::attempt(&directory.join("users"), Hold::Alone)? else { return Ok(()) };
        let at = directory.join("at");
        let (helpers, path) = (Helpers::default(), c_path(&at)?);
        let mut unmounted = helpers.run(Task::Unmount(path.clone()), UNMOUNT_PATIENCE)?;
        if unmounted == Err(Errno::BUSY) {
            unmounted = helpers.run(Task::Detach(path), UNMOUNT_PATIENCE)?;
        }
        match unmounted {
            // Somebody has unmounted it by hand.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(e) => Err(cause(e, "unmount", at.display())),
        }
    }
}

/// What tells two mounts apart: the export and everything that it is mounted with.
fn key(export: &Export, profile: &Profile) -> String {
    let text = format!("{}\n{}\n{}", export.source(), export.port, profile.line());
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}

fn mount_or_find(at: &Path, export: &Export, profile: &Profile) -> Result<()> {
    if let Some(mount) = MountTable::read()?.at(at) {
        let differences = differences(export, profile, mount);
        if differences.is_empty() {
            return Ok(());
        }
        return Err(Error::conflict("something else is mounted where the export belongs", differences)
            .context("path", at.display())
            .advise("unmount it"));
    }
    mount(at, export, profile)?;
    let table = MountTable::read()?;
    let differences = table.at(at).map(|mount| differences(export, profile, mount));
    match differences.as_deref() {
        Some([]) => Ok(()),
        found => {
            let detached = Helpers::default().run(Task::Detach(c_path(at)?), UNMOUNT_PATIENCE);
            let refusal =
                Error::new(ErrorKind::Unsupported, "the mount is not as asked, and was taken away again")
                    .advise("leave the option out, use a kernel and a server that know it, or, for `nconnect`, ask for the \
                         same with every mount of this server");
            let refusal = found.unwrap_or_default().iter().fold(refusal, |error, d| {
                error.context(d.field, format_args!("wanted {:?}, is {:?}", d.wanted, d.actual))
            });
            match detached {
                Ok(Ok(())) => Err(refusal),
                _ => Err(refusal.context("still mounted", at.display())),
            }
        }
    }
}

/// Mounts by fsopen(2), fsconfig(2), fsmount(2) and move_mount(2).
fn mount(at: &Path, export: &Export, profile: &Profile) -> Result<()> {
    let address = resolve(export)?;
    let opened = fsopen("nfs4", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| match e {
        Errno::NODEV => Error::new(ErrorKind::Unsupported, "this kernel has no NFS client")
            .with_source(e)
            .advise("load the module nfsv4, or mount nothing: use nfs+mounted:///path"),
        Errno::PERM => cause(e, "mount", export)
            .advise("run with CAP_SYS_ADMIN, or have it mounted and use nfs+mounted:///path"),
        e => cause(e, "mount", export),
    })?;
    for (key, value) in words(export, profile, address) {
        fsconfig_set_string(&opened, key, value.as_str()).map_err(|e| refused(&opened, e, key))?;
    }
    for flag in ["hard"].iter().chain(&profile.flags) {
        fsconfig_set_flag(&opened, *flag).map_err(|e| refused(&opened, e, flag))?;
    }
    let context = opened.try_clone().map_err(|e| cause(e, "mount", export))?;
    let created = Helpers::default().run(Task::Create(context), MOUNT_PATIENCE);
    created
        .and_then(|answer| answer.map_err(|e| not_mounted(&opened, e)))
        .map_err(|e| e.context("export", export))?;
    let made = fsmount(&opened, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty());
    let made = made.map_err(|e| cause(e, "mount", export))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&made, c"", rustix::fs::CWD, at, flags).map_err(|e| cause(e, "mount", at.display()))
}

/// What the kernel is told, as key and value.
fn words(export: &Export, profile: &Profile, address: SocketAddr) -> Vec<(&'static str, String)> {
    let mut words = vec![
        ("source", export.source()),
        ("addr", address.ip().to_string()),
        ("port", address.port().to_string()),
        ("proto", if address.is_ipv6() { "tcp6" } else { "tcp" }.to_owned()),
        ("vers", profile.version.text().to_owned()),
    ];
    words.extend(profile.values.iter().cloned());
    words
}

fn resolve(export: &Export) -> Result<SocketAddr> {
    let found = (export.host.as_str(), export.port).to_socket_addrs();
    let unknown = || {
        Error::new(ErrorKind::Unavailable, "the server's name is not known")
            .context("server", &export.host)
            .advise("check the name and the resolver, or write the server's address")
    };
    found.map_err(|e| unknown().with_source(e))?.next().ok_or_else(unknown)
}

/// An option that the kernel did not take.
fn refused(context: &OwnedFd, error: Errno, option: &str) -> Error {
    let refusal = Error::new(ErrorKind::Unsupported, "the kernel does not take this option");
    said(context, refusal.with_source(error).context("option", option))
        .advise("leave it out, or use a newer kernel")
}

/// What became of a mount that was not made: table-tested.
fn not_mounted(context: &OwnedFd, error: Errno) -> Error {
    said(context, why(error).with_source(error))
}

fn why(error: Errno) -> Error {
    let (kind, what, advice) = match error {
        Errno::CONNREFUSED => {
            (ErrorKind::Unavailable, "nothing listens there", "check the port, and that the server runs")
        }
        Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::TIMEDOUT | Errno::HOSTDOWN => {
            (ErrorKind::Unavailable, "the server cannot be reached", "check the address and the network")
        }
        Errno::NOENT => {
            (ErrorKind::NotFound, "the server has no such export", "check the path of the export")
        }
        Errno::ACCESS | Errno::PERM => (
            ErrorKind::Denied,
            "the server, or this host, refuses the mount",
            "check the export's list of clients, and CAP_SYS_ADMIN",
        ),
        Errno::PROTONOSUPPORT | Errno::PROTO | Errno::OPNOTSUPP => (
            ErrorKind::Unsupported,
            "the server does not speak this version",
            "ask for version=4.1, or use another server",
        ),
        Errno::INVAL => {
            (ErrorKind::Unsupported, "the kernel does not take these options", "leave options out")
        }
        Errno::STALE => (ErrorKind::Unavailable, "the server has lost the export", "export it again"),
        other => return cause(other, "mount", "the export"),
    };
    Error::new(kind, what).advise(advice)
}

/// What the kernel wrote about it into the context (fsopen(2)).
fn said(context: &OwnedFd, mut error: Error) -> Error {
    let mut line = [0; 512];
    for _ in 0..4 {
        let Ok(length @ 1..) = rustix::io::read(context, &mut line) else { break };
        let text = String::from_utf8_lossy(&line[..length]).trim_end().replace('\n', " ");
        error = error.context("kernel", format_args!("{text:?}"));
    }
    error
}

fn make_private(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| cause(e, "mkdir", path.display()))
}

/// Makes the directory `at`. What is there already is not looked at: a mount whose server is gone would never say what
/// it is.
fn make_mount_point(at: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(at) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(|e| cause(e, "mkdir", at.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link to nowhere stands for a mount that does not answer: whoever looks at it fails.
    #[test]
    fn a_mount_point_that_is_there_is_taken_without_a_look() {
        let dir = tempfile::tempdir().unwrap();
        let [new, there] = ["new", "there"].map(|name| dir.path().join(name));
        make_mount_point(&new).unwrap();
        assert!(new.is_dir());
        std::os::unix::fs::symlink("nowhere", &there).unwrap();
        make_mount_point(&there).unwrap();
        assert_eq!(fs::read_link(&there).unwrap(), Path::new("nowhere"));
    }
    use crate::address::Way;

    fn parsed(url: &str) -> (Export, Profile) {
        let Way::Export(address) = Way::parse(&url.parse().unwrap()).unwrap() else { panic!("{url}") };
        (address.export, address.profile)
    }

    #[test]
    fn stores_of_one_export_and_profile_share_a_mount_and_others_do_not() {
        let key = |url| {
            let (export, profile) = parsed(url);
            key(&export, &profile)
        };
        let one = key("nfs://files/srv");
        assert_eq!(one, key("nfs://files:2049/srv/?directory=a&version=4.2"));
        for other in
            ["nfs://files/srv2", "nfs://files:20/srv", "nfs://files2/srv", "nfs://files/srv?version=4.1"]
        {
            assert_ne!(one, key(other), "{other}");
        }
    }

    #[test]
    fn the_kernel_is_told_the_address_and_every_option() {
        let (export, profile) = parsed("nfs://files:77/srv?profile=efs");
        let told = words(&export, &profile, "[::1]:77".parse().unwrap());
        let told: Vec<_> = told.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            told.join(" "),
            "source=files:/srv addr=::1 port=77 proto=tcp6 vers=4.1 rsize=1048576 wsize=1048576 timeo=600 retrans=2"
        );
    }

    #[test]
    fn every_way_that_a_mount_fails_says_what_to_do() {
        for (number, kind) in [
            (Errno::CONNREFUSED, ErrorKind::Unavailable),
            (Errno::HOSTUNREACH, ErrorKind::Unavailable),
            (Errno::NOENT, ErrorKind::NotFound),
            (Errno::ACCESS, ErrorKind::Denied),
            (Errno::PROTONOSUPPORT, ErrorKind::Unsupported),
            (Errno::INVAL, ErrorKind::Unsupported),
            (Errno::STALE, ErrorKind::Unavailable),
            (Errno::IO, ErrorKind::Unavailable),
        ] {
            assert_eq!(why(number).kind(), kind, "{number}");
        }
    }
}
