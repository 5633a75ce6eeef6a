//! Opening a local store: what is refused without a trace, and what each filesystem is found to promise.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by a panic and says what it skips"
)]

use persist_core::{
    Capabilities, Consistency, Error, ErrorKind, Fencing, Needs, OpenMode, OpenOptions, StoreInfo, StoreUrl,
    Survives, capability::Evidence, linux::filesystem,
};
use persist_local::open;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

fn options(mode: OpenMode) -> OpenOptions {
    OpenOptions::default().with_mode(mode)
}

async fn open_at(path: &Path, mode: OpenMode) -> Result<Arc<StoreInfo>, Error> {
    open(&StoreUrl::local(path).unwrap(), options(mode)).await.map(|store| store.info())
}

async fn refused(path: &Path, mode: OpenMode) -> Error {
    open_at(path, mode).await.unwrap_err()
}

fn entries(path: &Path) -> usize {
    fs::read_dir(path).unwrap().count()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: mounting needs root");
    }
    root
}

/// A directory with a filesystem on it, which is taken away when dropped.
struct Mounted {
    dir: TempDir,
}

impl Mounted {
    /// `None`, and said, where this host cannot.
    fn new(mkfs: &[&str], options: &str) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let mounted = Self { dir: tempfile::tempdir().unwrap() };
        let image = mounted.dir.path().join("image");
        // The least that mkfs.xfs takes.
        fs::File::create(&image).unwrap().set_len(300 << 20).unwrap();
        let made = Command::new(mkfs[0]).args(&mkfs[1..]).arg(&image).output();
        if !made.is_ok_and(|made| made.status.success()) {
            eprintln!("skipped: no {} here", mkfs[0]);
            return None;
        }
        fs::create_dir(mounted.at()).unwrap();
        let how = ["-o", &format!("loop,{options}")];
        let done = Command::new("mount").args(how).arg(&image).arg(mounted.at()).output().unwrap();
        if !done.status.success() {
            eprintln!("skipped: {}", String::from_utf8_lossy(&done.stderr).trim_end());
            return None;
        }
        Some(mounted)
    }

    fn overlay() -> Option<Self> {
        if !is_root() {
            return None;
        }
        let mounted = Self { dir: tempfile::tempdir().unwrap() };
        let dir = mounted.dir.path().display().to_string();
        for name in ["at", "lower", "upper", "work"] {
            fs::create_dir(mounted.dir.path().join(name)).unwrap();
        }
        let layers = format!("lowerdir={dir}/lower,upperdir={dir}/upper,workdir={dir}/work");
        let how = ["-t", "overlay", "overlay", "-o", &layers];
        let done = Command::new("mount").args(how).arg(mounted.at()).status();
        done.is_ok_and(|status| status.success()).then_some(mounted)
    }

    fn at(&self) -> PathBuf {
        self.dir.path().join("at")
    }

    fn store(&self) -> PathBuf {
        self.at().join("store")
    }

    fn remount(&self, options: &str) {
        let how = ["-o", &format!("remount,{options}")];
        assert!(Command::new("mount").args(how).arg(self.at()).status().unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at()).stderr(Stdio::null()).status();
    }
}

#[tokio::test]
async fn a_mistyped_path_never_looks_like_an_empty_store() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("missing"), dir.path().join("deep/missing"), dir.path().to_owned()] {
        for mode in [OpenMode::Existing, OpenMode::ReadOnly] {
            let error = refused(&path, mode).await;
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert!(error.to_string().contains("CreateIfMissing"), "no advice: {error}");
        }
    }
    assert_eq!(entries(dir.path()), 0);
}

#[tokio::test]
async fn a_store_is_made_once_closed_to_others_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/store");
    let made = open_at(&path, OpenMode::CreateIfMissing).await.unwrap();
    for closed in [&path, &path.join("volumes"), &path.join("names")] {
        assert_eq!(mode(closed), 0o700, "{closed:?}");
    }
    for mode in [OpenMode::Existing, OpenMode::CreateIfMissing, OpenMode::ReadOnly] {
        let found = open_at(&path, mode).await.unwrap();
        assert_eq!((&found.id, &found.location, &found.kind), (&made.id, &made.location, &made.kind));
    }
    let again: StoreUrl = made.location.parse().unwrap();
    assert_eq!(open(&again, OpenOptions::default()).await.unwrap().info().id, made.id);
}

#[tokio::test]
async fn a_url_that_is_not_of_a_local_store_is_invalid() {
    for url in ["local://server/srv/x", "local://", "local:///", "local:///tmp/x?size=1", "nfs:///tmp/x"] {
        let opened = open(&url.parse().unwrap(), options(OpenMode::CreateIfMissing)).await;
        let error = opened.map(|store| store.info()).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("url")), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_directory_that_others_may_change_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("open");
    fs::create_dir(&path).unwrap();
    for mode in [0o777, 0o775, 0o1777] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = refused(&path, OpenMode::CreateIfMissing).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(error.to_string().contains("chmod go-w"), "{error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    if is_root() {
        chown(&path, Some(1000), Some(1000)).unwrap();
        let error = refused(&path, OpenMode::CreateIfMissing).await;
        assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("1000"), "{error}");
        chown(&path, Some(0), Some(0)).unwrap();
    }
    assert_eq!((entries(&path), mode(&path)), (0, 0o755), "refused without a trace");
    open_at(&path, OpenMode::CreateIfMissing).await.unwrap();
}

#[tokio::test]
async fn something_else_is_not_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let (file, full, link) = (dir.path().join("file"), dir.path().join("full"), dir.path().join("link"));
    fs::write(&file, "x").unwrap();
    fs::create_dir(&full).unwrap();
    fs::write(full.join("theirs"), "x").unwrap();
    symlink(dir.path().join("nowhere"), &link).unwrap();
    assert_eq!(refused(&file, OpenMode::CreateIfMissing).await.kind(), ErrorKind::Invalid);
    assert_eq!(refused(&full, OpenMode::CreateIfMissing).await.kind(), ErrorKind::Conflict);
    assert!(open_at(&link, OpenMode::CreateIfMissing).await.is_err());
    assert_eq!((entries(&full), entries(dir.path())), (1, 3));
}

#[tokio::test]
async fn memory_is_fast_alone_and_whoever_needs_more_is_refused_without_a_trace() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = dir.path().join("store");
    let url = StoreUrl::local(&path).unwrap();
    let needs = Needs::default().with_survives(Survives::HostCrash);
    let demanding = options(OpenMode::CreateIfMissing).require(needs);
    let error = open(&url, demanding).await.map(|store| store.info()).unwrap_err();
    assert_eq!((error.kind(), entries(dir.path())), (ErrorKind::Unsupported, 0), "{error}");
    let info = open_at(&path, OpenMode::CreateIfMissing).await.unwrap();
    let triangle = Capabilities::FAST | Capabilities::RELIABLE | Capabilities::PORTABLE;
    assert_eq!(info.capabilities & triangle, Capabilities::FAST);
    let found = &info.characteristics;
    assert_eq!(found.survives, Survives::Process);
    assert!(found.remarks.iter().any(|remark| remark.contains("tmpfs is memory")), "{found:?}");
}

#[tokio::test]
async fn the_filesystems_of_a_server_are_found_to_be_what_they_are() {
    use Capabilities as C;
    let plain = C::FAST | C::RELIABLE | C::LOCAL_IO | C::SNAPSHOTS | C::SHARED_ON_NODE | C::MANY_READERS;
    let label = if filesystem::selinux_is_active() { C::LABEL } else { C::empty() };
    let root = C::MOUNTS | C::LIVE_READERS | C::ID_MAP | label;
    let cuts = C::CLONES | C::INSTANT_SNAPSHOTS;
    for (mkfs, name, flags) in [
        (&["mkfs.ext4", "-q"][..], "ext4", plain | root),
        (&["mkfs.xfs", "-q"], "xfs with reflink", plain | root | C::CLONES),
        (&["mkfs.btrfs", "-q"], "btrfs", plain | root | cuts),
        (&["mkfs.ext2", "-q"], "ext2", (plain | root).difference(C::RELIABLE | C::ID_MAP)),
    ] {
        let Some(mounted) = Mounted::new(mkfs, "rw") else { continue };
        let info = open_at(&mounted.store(), OpenMode::CreateIfMissing).await.unwrap();
        let found = &info.characteristics;
        // Whether a kernel maps the owners of ext2 depends on which of its drivers serves it.
        let seen = if name == "ext2" { info.capabilities.difference(C::ID_MAP) } else { info.capabilities };
        assert_eq!((found.filesystem.as_str(), seen), (name, flags));
        let atomic = if name == "btrfs" { Consistency::Atomic } else { Consistency::PerFile };
        assert_eq!((found.cut_consistency, found.fencing), (atomic, Fencing::Advisory));
        assert_eq!(found.file_name_max_bytes, Some(255));
        assert!(found.fsync_latency.is_some());
        let reliable = (Survives::HostCrash, Evidence::Assumed);
        assert_eq!((found.survives, found.survives_evidence) == reliable, flags.contains(C::RELIABLE));
        let left: Vec<_> = fs::read_dir(mounted.store()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.as_encoded_bytes().starts_with(b".")), "{left:?}");
    }
}

#[tokio::test]
async fn a_containers_own_layer_is_not_reliable_and_says_so() {
    let Some(mounted) = Mounted::overlay() else { return };
    let info = open_at(&mounted.store(), OpenMode::CreateIfMissing).await.unwrap();
    assert!(!info.capabilities.intersects(Capabilities::RELIABLE | Capabilities::ID_MAP));
    let remarks = info.characteristics.remarks.join("\n");
    assert!(remarks.contains("gone with the container") && remarks.contains("no ID_MAP"), "{remarks}");
}

#[tokio::test]
async fn quota_is_used_where_it_is_enabled_and_never_enabled() {
    let Some(mounted) = Mounted::new(&["mkfs.btrfs", "-q"], "rw") else { return };
    let info = open_at(&mounted.store(), OpenMode::CreateIfMissing).await.unwrap();
    assert!(!info.capabilities.contains(Capabilities::ENFORCED_SIZE));
    assert!(info.characteristics.remarks.join("\n").contains("no ENFORCED_SIZE: quota is not enabled"));
    let quota = |verb: &str| Command::new("btrfs").args(["quota", verb]).arg(mounted.at()).output().unwrap();
    assert!(quota("enable").status.success());
    let info = open_at(&mounted.store(), OpenMode::Existing).await.unwrap();
    assert!(info.capabilities.contains(Capabilities::ENFORCED_SIZE), "{:?}", info.characteristics.remarks);
}

#[tokio::test]
async fn without_barriers_nothing_is_reliable() {
    let Some(mounted) = Mounted::new(&["mkfs.ext4", "-q"], "barrier=0") else { return };
    let info = open_at(&mounted.store(), OpenMode::CreateIfMissing).await.unwrap();
    assert!(!info.capabilities.contains(Capabilities::RELIABLE));
    assert!(info.characteristics.remarks.join("\n").contains("barriers"));
}

#[tokio::test]
async fn a_read_only_filesystem_is_read_and_not_written() {
    let Some(mounted) = Mounted::new(&["mkfs.ext4", "-q"], "rw") else { return };
    let made = open_at(&mounted.store(), OpenMode::CreateIfMissing).await.unwrap();
    mounted.remount("ro");
    let error = refused(&mounted.store(), OpenMode::Existing).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let found = open_at(&mounted.store(), OpenMode::ReadOnly).await.unwrap();
    assert_eq!(found.id, made.id);
    assert!(!found.capabilities.contains(Capabilities::SNAPSHOTS), "not probed, so not claimed");
    assert_eq!(found.characteristics.fsync_latency, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_make_a_store_at_once_all_open_the_same_one() {
    for mounted in [None, Mounted::new(&["mkfs.btrfs", "-q"], "rw")] {
        let dir = tempfile::tempdir().unwrap();
        let path = mounted.as_ref().map_or(dir.path().join("store"), Mounted::store);
        let make = |path: PathBuf| async move { open_at(&path, OpenMode::CreateIfMissing).await.unwrap() };
        let makers: Vec<_> = (0..8).map(|_| tokio::spawn(make(path.clone()))).collect();
        let mut ids = Vec::new();
        for maker in makers {
            ids.push(maker.await.unwrap().id.clone());
        }
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}

#[tokio::test]
async fn a_store_on_a_full_filesystem_opens_so_that_room_can_be_made() {
    if !is_root() {
        return;
    }
    let mounted = Mounted { dir: tempfile::tempdir().unwrap() };
    fs::create_dir(mounted.at()).unwrap();
    let how = ["-t", "tmpfs", "-o", "size=1m", "tmpfs"];
    assert!(Command::new("mount").args(how).arg(mounted.at()).status().unwrap().success());
    let made = open_at(&mounted.store(), OpenMode::CreateIfMissing).await.unwrap();
    let filler = mounted.at().join("filler");
    fs::write(&filler, vec![7; 2 << 20]).unwrap_err();
    let full = open_at(&mounted.store(), OpenMode::Existing).await.unwrap();
    assert_eq!((&full.id, full.characteristics.fsync_latency), (&made.id, None));
    assert!(full.capabilities.contains(Capabilities::SNAPSHOTS), "copies need no probe");
    assert!(full.characteristics.remarks.join("\n").contains("make room"), "{:?}", full.characteristics);
    fs::remove_file(filler).unwrap();
    assert_eq!(open_at(&mounted.store(), OpenMode::Existing).await.unwrap().capabilities, made.capabilities);
}
