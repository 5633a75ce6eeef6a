//! Volumes on a shared NFS server: the same directory, live on many hosts, with names, snapshots and honest
//! fencing.
//!
//! ```text
//! nfs://server/export?directory=volumes     mounted by us, with the kernel's client; needs CAP_SYS_ADMIN
//! nfs://server/export?profile=efs           with what Amazon EFS asks for (not run against EFS itself)
//! nfs+mounted:///mnt/files/volumes          on what somebody else has mounted; verified
//! ```
//!
//! | Key of `nfs://` | Values | Without it |
//! |---|---|---|
//! | `version` | `4.2`, `4.1` | 4.2; 4.1 with `profile=efs` |
//! | `profile` | `efs`: 1 MiB requests, `timeo=600`, `retrans=2`, `noresvport` | the kernel's own |
//! | `directory` | the store's directory below the export | the export itself |
//! | `patience`, also of `nfs+mounted://` | seconds that the server has for one small answer | 5 |
//! | `lease`, also of `nfs+mounted://` | seconds after which a silent holder may be taken over | 60 |
//! | `sec` | `sys`, `krb5`, `krb5i`, `krb5p` | what client and server agree on |
//! | `xprtsec` | `none`, `tls`, `mtls` | none |
//! | `context` | an SELinux label for everything in the mount | the labels of the server |
//! | `rsize`, `wsize`, `timeo`, `retrans`, `nconnect` | as nfs(5) | 60 s and 2 repetitions; else as nfs(5) |
//!
//! Mounts are hard, with the server's locks. `soft`, `nolock` and `local_lock` are refused, also where somebody
//! else mounted with them, unless the store is opened read-only. After mounting, every option is looked for
//! in the mount table: a mount that dropped one is taken away again and is an error. `krb5*`, `tls` and `mtls`
//! were tested by their refusal alone: no such server was at hand.
//!
//! **Fencing is [`Advisory`](persist_core::Fencing::Advisory)**: nothing takes open files away from a writer on
//! another host. A holder on another host loses a volume by a vouch, or to an attach that asks for
//! [`Takeover::WhenExpired`](persist_core::Takeover::WhenExpired) and waits for longer than 1.25 leases: every
//! process that serves an attachment gives a sign of life each quarter of a lease, and the challenger counts, by its
//! own clock, how long there was none, while the server answered. Nobody else takes anything: the default is
//! `Never`. A process that was paused for longer than its lease learns that it is fenced at its next look, within 2
//! seconds, and at its next `sync`, which is then no success; until it stops by itself, what it writes goes into the
//! same files as what its successor writes. Also a closed store gives no sign of life: what was left attached without
//! a process that serves it can be taken a lease later, though its workload may still write.
//!
//! Locks between hosts (`flock`) are the server's: they end when their host has been silent for longer than
//! the server's lease, so work that was interrupted on one host is finished or undone by another. A host that
//! was cut off for longer must not go on believing that it holds one; the records decide, and they are made
//! by link(2) under the next number, so of two writers one wins.
//!
//! On a mount that is there already an attach of a writer takes 37 round trips (Linux 6.1), a listing four a volume whose
//! directories were seen before and 22 else, and a snapshot on 4.2 moves no bytes of files.
//!
//! **A server that is gone** makes every call `Unavailable` within seconds, `close` too. So does `detach`, unless it
//! is told [`BusyFiles::Lazy`](persist_core::attachment::BusyFiles): then the target leaves this node within
//! seconds, the report says what the server did not confirm, and the next call of this node that finds the server
//! again ends the record there. `health` says that the server is silent, names a helper process that cannot
//! be killed, and shows copies of what is attached here with their age; no other answer comes from a copy.
//! The server is asked before each call, so no thread waits for one that is gone. One that was inside a call
//! when the server went waits in the kernel until it is back; end a runtime with `shutdown_background` or
//! `shutdown_timeout` then.
//!
//! **Databases belong on local storage**, with snapshots shipped elsewhere: every durable write of theirs
//! would go through the network here.

mod address;
mod copies;
mod helper;
mod mounts;
mod place;
mod profile;
mod server;
mod store;
mod times;

pub use store::NfsStore;

use address::{Address, Way};
use copies::Copies;
use mounts::Mounted;
use persist_core::{
    Error, OpenMode, OpenOptions, Result, StoreUrl, VolumeStore,
    directory::{DirectoryStore, PeriodicSyncs, StoreAt},
    linux::{cause::cause, mountinfo::MountTable},
    tree::Trust,
};
use place::{NfsPlace, On};
use profile::{Use, Version};
use server::{Server, blocking};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use store::Opened;
use times::Times;

/// The schemes of the URLs of this store.
pub const SCHEMES: [&str; 2] = [address::SCHEME, address::MOUNTED_SCHEME];

/// Opens the store at `nfs://server[:port]/export` or `nfs+mounted:///path`.
///
/// `nfs://` needs [`OpenOptions::state_directory`]: a directory of this node, not of a file server, where the
/// mounts are. One mount serves all stores of this node with the same server, export and options; the last one
/// to be closed takes it away, unless something of this node is still attached. Also the copies of what is attached
/// are there, which `health` shows with their age while the server is silent; for them alone,
/// `nfs+mounted://` takes a state directory as well.
///
/// # Promise
/// A path without a store is [`NotFound`](persist_core::ErrorKind::NotFound) unless the mode says
/// [`CreateIfMissing`](OpenMode::CreateIfMissing). A server that does not answer is `Unavailable` within
/// half a minute. After a refusal no mount is left that was not there.
///
/// # Errors
/// `Invalid` for a URL of another kind, an unknown option or a wrong value, and without a state directory;
/// `Unavailable` for a server that is not there; `Denied` without privilege, for an export that is read-only or
/// squashes root; `Unsupported` for an option that the kernel or the server does not take, and for a path that
/// is not on NFS 4.1 or 4.2; else as the directory engine's open.
pub async fn open(url: &StoreUrl, options: OpenOptions) -> Result<Arc<dyn VolumeStore>> {
    open_nfs(url, options).await.map(|store| Arc::new(store) as Arc<dyn VolumeStore>)
}

/// As [`open`], for those who want the type.
///
/// # Errors
/// As [`open`].
pub async fn open_nfs(url: &StoreUrl, options: OpenOptions) -> Result<NfsStore> {
    let opened = async {
        match Way::parse(url)? {
            Way::Export(address) => open_export(url, *address, options).await,
            Way::Mounted(path, times) => open_mounted(url, path, times, options).await,
        }
    };
    opened.await.map_err(|error| if error.operation().is_some() { error } else { error.during("open", url) })
}

async fn open_export(url: &StoreUrl, address: Address, options: OpenOptions) -> Result<NfsStore> {
    let Some(state) = options.state_directory.clone() else {
        return Err(Error::invalid(
            "state_directory",
            "what is mounted by us needs a directory of this node",
        )
        .advise("set OpenOptions::state_directory, for instance to /run/NAME of your service"));
    };
    let Address { export, profile, directory, times } = address;
    let (version, source) = (profile.version, export.source());
    let (mounted, state) = blocking(move || {
        let state = local(state)?;
        Mounted::take(&state, &export, &profile).map(|mounted| (mounted, state))
    })
    .await?;
    let mounted_at = mounted.at();
    let on = Place { at: &mounted_at, directory: &directory, version, source, times, state: Some(state) };
    match on_mount(url, on, options).await {
        Ok(opened) => Ok(NfsStore::new(opened, Some(mounted)).settled().await),
        Err(error) => {
            // Best effort: the refusal is what the caller must see.
            let _ = blocking(move || mounted.release()).await;
            Err(error)
        }
    }
}

async fn open_mounted(url: &StoreUrl, path: PathBuf, times: Times, options: OpenOptions) -> Result<NfsStore> {
    let used = if options.mode == OpenMode::ReadOnly { Use::Reading } else { Use::Writing };
    let looked = path.clone();
    let (at, version, source) = blocking(move || covering(&looked, used)).await?;
    let directory = path.strip_prefix(&at).map(Path::to_owned).unwrap_or_default();
    let state = match options.state_directory.clone() {
        Some(state) => Some(blocking(move || local(state)).await?),
        None => None,
    };
    let on = Place { at: &at, directory: &directory, version, source, times, state };
    Ok(NfsStore::new(on_mount(url, on, options).await?, None).settled().await)
}

/// The state directory, made if it is missing, without links.
fn local(state: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&state).map_err(|e| cause(e, "mkdir", state.display()))?;
    fs::canonicalize(&state).map_err(|e| cause(e, "look at", state.display()))
}

/// Where a store is.
struct Place<'a> {
    /// The mount.
    at: &'a Path,
    /// Below it.
    directory: &'a Path,
    version: Version,
    source: String,
    times: Times,
    state: Option<PathBuf>,
}

/// The mount that the text of `path` is on: nothing is touched, so a dead server cannot hang this.
fn covering(path: &Path, used: Use) -> Result<(PathBuf, Version, String)> {
    let table = MountTable::read()?;
    let mount = table
        .covering(path)
        .ok_or_else(|| Error::invalid("url", "the path is on no mount").context("path", path.display()))?;
    let version = profile::check_mounted(mount, used).map_err(|e| e.context("path", path.display()))?;
    Ok((mount.at.clone(), version, mount.source.to_string_lossy().into_owned()))
}

async fn on_mount(url: &StoreUrl, on: Place<'_>, options: OpenOptions) -> Result<Opened> {
    let server = Server::behind(on.at, on.times.patience)?;
    let mode = options.mode;
    let node = options.node.as_ref().map(|node| node.id.clone());
    let clock = Arc::clone(&options.environment.clock);
    let place = StoreAt {
        root: on.at.join(on.directory),
        kind: address::SCHEME.into(),
        location: url.to_string(),
        trust: Trust::Untrusted,
        periodic: PeriodicSyncs::ByStore,
    };
    let mount = On { server: server.clone(), version: on.version, source: on.source, lease: on.times.lease };
    let opened = DirectoryStore::open(place, options, move |root| NfsPlace::probe(root, &mount, mode));
    let inner = server.watch(opened).await?;
    let id = inner.info().id.clone();
    let open = |state: PathBuf| blocking(move || Copies::open(&state, &id, clock));
    let copies = match on.state {
        Some(state) => Some(open(state).await?),
        None => None,
    };
    Ok(Opened { inner, server, node, copies })
}
