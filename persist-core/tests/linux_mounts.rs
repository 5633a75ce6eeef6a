//! Mounts of ours, in the kernel: what they forbid, what they refuse, and that nothing is left.
//! As an ordinary user the tests say that they were skipped.
#![cfg(feature = "tree")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by a panic and says what it skips"
)]

use persist_core::{
    ErrorKind,
    attachment::{BusyFiles, IdMapping, MountPolicy, Permission, Propagation},
    linux::{
        Writes,
        mount::{self, Bind, Unbound},
        mountinfo::{Mount, MountTable},
    },
};
use rustix::{
    io::Errno,
    mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A store with one tree, and a target beside it; whatever is mounted below goes with it.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounting needs root");
            return None;
        }
        let place = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.source().join("inner")).unwrap();
        fs::create_dir(place.target()).unwrap();
        fs::write(place.source().join("file"), "content").unwrap();
        Some(place)
    }

    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    fn store(&self) -> PathBuf {
        self.root().join("store")
    }

    fn source(&self) -> PathBuf {
        self.store().join("tree")
    }

    fn target(&self) -> PathBuf {
        self.root().join("target")
    }

    fn bind(&self, writes: Writes, policy: &MountPolicy) -> persist_core::Result<()> {
        self.bind_at(&self.target(), writes, policy)
    }

    fn bind_at(&self, target: &Path, writes: Writes, policy: &MountPolicy) -> persist_core::Result<()> {
        mount::bind(&Bind { source: &self.source(), target, writes, policy, store: Some(&self.store()) })
    }

    fn unbind(&self, busy: BusyFiles) -> persist_core::Result<Unbound> {
        mount::unbind(&self.source(), &self.target(), busy)
    }

    fn mounts(&self) -> Vec<Mount> {
        let table = MountTable::read().unwrap();
        table.mounts().iter().filter(|mount| mount.at.starts_with(self.root())).cloned().collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for mount in self.mounts().iter().rev() {
            let _ = unmount(&mount.at, UnmountFlags::DETACH);
        }
    }
}

#[test]
fn nothing_can_write_through_a_read_only_mount_nor_through_a_mount_inside_it() {
    let Some(place) = Place::new() else { return };
    mount_bind(place.source(), place.source().join("inner")).unwrap();
    place.bind(Writes::Refused, &MountPolicy::default()).unwrap();
    let at = place.target();
    assert_eq!(fs::read_to_string(at.join("file")).unwrap(), "content");
    let refused = |result: std::io::Result<()>| {
        assert_eq!(Errno::from_io_error(&result.unwrap_err()), Some(Errno::ROFS));
    };
    for file in ["file", "new", "inner/file", "inner/new"] {
        refused(fs::write(at.join(file), "x"));
    }
    refused(fs::remove_file(at.join("file")));
    refused(fs::remove_file(at.join("inner/file")));
    refused(fs::set_permissions(at.join("file"), fs::Permissions::from_mode(0o777)));
    refused(chown(at.join("inner/file"), Some(1), None));
    fs::write(place.source().join("file"), "the writer goes on").unwrap();
    assert_eq!(fs::read_to_string(at.join("file")).unwrap(), "the writer goes on");
    assert_eq!(place.unbind(BusyFiles::Refuse).unwrap(), Unbound::Gone);
    assert_eq!(fs::read_dir(at).unwrap().count(), 0);
}

#[test]
fn a_mount_forbids_what_the_policy_says_and_the_mount_table_shows_it() {
    let Some(place) = Place::new() else { return };
    let program = place.source().join("true");
    fs::copy("/bin/true", &program).unwrap();
    for (policy, words, runs) in [
        (MountPolicy::default(), &["nosuid", "nodev"][..], true),
        (MountPolicy::default().with_execute(Permission::Denied), &["nosuid", "nodev", "noexec"], false),
        (MountPolicy::default().with_set_id(Permission::Allowed), &["nodev"], true),
    ] {
        place.bind(Writes::Allowed, &policy).unwrap();
        let mount = place.mounts().pop().unwrap();
        for word in ["ro", "nosuid", "nodev", "noexec", "idmapped"] {
            assert_eq!(mount.has(word), words.contains(&word), "{word} of {policy:?}");
        }
        assert_eq!((mount.shared, mount.master), (None, None));
        let ran = std::process::Command::new(place.target().join("true")).status();
        assert_eq!(ran.is_ok(), runs, "{ran:?}");
        place.unbind(BusyFiles::Refuse).unwrap();
    }
    assert_eq!(place.mounts(), []);
}

#[test]
fn a_private_mount_stays_private_on_a_shared_parent() {
    let Some(place) = Place::new() else { return };
    mount_bind(place.root(), place.root()).unwrap();
    mount_change(place.root(), MountPropagationFlags::SHARED).unwrap();
    place.bind(Writes::Allowed, &MountPolicy::default()).unwrap();
    let mount = place.mounts().pop().unwrap();
    assert_eq!((mount.at, mount.shared, mount.master), (place.target(), None, None));
    place.unbind(BusyFiles::Refuse).unwrap();
    let slave = MountPolicy::default().with_propagation(Propagation::Slave);
    place.bind(Writes::Allowed, &slave).unwrap();
    assert!(place.mounts().pop().unwrap().master.is_some());
}

#[test]
fn a_propagation_that_would_do_nothing_is_refused() {
    let Some(place) = Place::new() else { return };
    mount_bind(place.store(), place.store()).unwrap();
    mount_change(place.store(), MountPropagationFlags::PRIVATE).unwrap();
    let before = place.mounts();
    for propagation in [Propagation::Slave, Propagation::Shared] {
        let policy = MountPolicy::default().with_propagation(propagation);
        let error = place.bind(Writes::Allowed, &policy).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    assert_eq!(place.mounts(), before);
}

#[test]
fn owners_are_shown_mapped_and_new_files_are_mapped_back() {
    let Some(place) = Place::new() else { return };
    let file = place.source().join("file");
    chown(&file, Some(1000), Some(1001)).unwrap();
    let ranges = [(0, 0, 1), (1000, 5000, 10)];
    let map = ranges.map(|(on_volume, on_mount, count)| IdMapping { on_volume, on_mount, count });
    place.bind(Writes::Allowed, &MountPolicy::default().with_id_map(map.to_vec())).unwrap();
    let shown = fs::metadata(place.target().join("file")).unwrap();
    assert_eq!((shown.uid(), shown.gid()), (5000, 5001));
    let new = place.target().join("new");
    fs::write(&new, "x").unwrap();
    chown(&new, Some(5003), Some(5004)).unwrap();
    let kept = fs::metadata(place.source().join("new")).unwrap();
    assert_eq!((kept.uid(), kept.gid()), (1003, 1004));
    assert!(place.mounts().pop().unwrap().has("idmapped"));
}

#[test]
fn the_process_that_makes_a_mapping_leaves_no_child() {
    let Some(place) = Place::new() else { return };
    mount::probe_id_map(&place.source()).unwrap();
    let children = format!("/proc/self/task/{}/children", rustix::thread::gettid().as_raw_nonzero());
    assert_eq!(fs::read_to_string(children).unwrap(), "");
}

#[test]
fn the_same_again_is_found_and_anything_else_refused() {
    let Some(place) = Place::new() else { return };
    let strict = MountPolicy::default();
    place.bind(Writes::Allowed, &strict).unwrap();
    let before = place.mounts();
    place.bind(Writes::Allowed, &strict).unwrap();
    let noexec = strict.clone().with_execute(Permission::Denied);
    for (writes, policy) in [(Writes::Refused, &strict), (Writes::Allowed, &noexec)] {
        let error = place.bind(writes, policy).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert_eq!(error.differences().len(), 1, "{error}");
    }
    assert_eq!(place.mounts(), before);
    place.unbind(BusyFiles::Refuse).unwrap();
    mount_bind(place.store(), place.target()).unwrap();
    let theirs = place.mounts();
    assert_eq!(place.bind(Writes::Allowed, &strict).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(place.unbind(BusyFiles::Refuse).unwrap(), Unbound::Gone);
    assert_eq!(place.mounts(), theirs, "a mount of somebody else is left alone");
}

#[test]
fn a_target_that_hides_or_redirects_is_refused_and_nothing_is_mounted() {
    let Some(place) = Place::new() else { return };
    let root = place.root();
    fs::write(root.join("file"), "x").unwrap();
    fs::create_dir_all(root.join("full/x")).unwrap();
    fs::create_dir(place.store().join("empty")).unwrap();
    symlink(place.target(), root.join("link")).unwrap();
    symlink(root.join("nowhere"), root.join("dangling")).unwrap();
    symlink(place.store(), root.join("way-in")).unwrap();
    let cases = [
        ("link".into(), ErrorKind::Denied),
        ("dangling".into(), ErrorKind::Denied),
        ("missing".into(), ErrorKind::NotFound),
        ("file".into(), ErrorKind::Invalid),
        ("full".into(), ErrorKind::Conflict),
        ("store/empty".into(), ErrorKind::Denied),
        ("store/tree/inner".into(), ErrorKind::Denied),
        ("way-in/empty".into(), ErrorKind::Denied),
        (PathBuf::from("/"), ErrorKind::Invalid),
        ("/proc/self/root/tmp".into(), ErrorKind::Invalid),
        ("file/below".into(), ErrorKind::Invalid),
    ];
    for (target, kind) in cases {
        let error = place.bind_at(&root.join(&target), Writes::Allowed, &MountPolicy::default()).unwrap_err();
        assert_eq!(error.kind(), kind, "{target:?}: {error}");
        assert!(error.to_string().contains("; ") || kind == ErrorKind::Invalid, "no advice: {error}");
    }
    let relative = place.bind_at(Path::new("target"), Writes::Allowed, &MountPolicy::default()).unwrap_err();
    assert_eq!((relative.kind(), relative.field()), (ErrorKind::Invalid, Some("target")));
    assert_eq!(place.mounts(), []);
}

#[test]
fn the_store_is_found_through_another_mount_of_it() {
    let Some(place) = Place::new() else { return };
    let view = place.root().join("view");
    fs::create_dir(&view).unwrap();
    fs::create_dir(place.store().join("empty")).unwrap();
    mount_bind(place.store(), &view).unwrap();
    let error = place.bind_at(&view.join("empty"), Writes::Allowed, &MountPolicy::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

#[test]
fn a_busy_mount_stays_unless_it_may_go_later() {
    let Some(place) = Place::new() else { return };
    place.bind(Writes::Allowed, &MountPolicy::default()).unwrap();
    let open = fs::File::open(place.target().join("file")).unwrap();
    assert_eq!(place.unbind(BusyFiles::Refuse).unwrap_err().kind(), ErrorKind::InUse);
    assert_eq!(place.mounts().len(), 1);
    assert_eq!(place.unbind(BusyFiles::Lazy).unwrap(), Unbound::WhenIdle);
    assert_eq!(place.mounts(), []);
    drop(open);
    assert_eq!(place.unbind(BusyFiles::Refuse).unwrap(), Unbound::Gone);
}

#[test]
fn a_mount_that_somebody_covered_is_in_use() {
    let Some(place) = Place::new() else { return };
    place.bind(Writes::Allowed, &MountPolicy::default()).unwrap();
    mount_bind(place.store(), place.target()).unwrap();
    for busy in [BusyFiles::Refuse, BusyFiles::Lazy] {
        assert_eq!(place.unbind(busy).unwrap_err().kind(), ErrorKind::InUse);
    }
    unmount(place.target(), UnmountFlags::empty()).unwrap();
    assert_eq!(place.unbind(BusyFiles::Refuse).unwrap(), Unbound::Gone);
}

#[test]
fn a_tree_that_was_removed_is_unmounted_as_well() {
    let Some(place) = Place::new() else { return };
    place.bind(Writes::Allowed, &MountPolicy::default()).unwrap();
    fs::remove_dir_all(place.source()).unwrap();
    assert_eq!(place.mounts().len(), 1);
    assert_eq!(place.unbind(BusyFiles::Refuse).unwrap(), Unbound::Gone);
    assert_eq!(place.mounts(), []);
    for gone in [place.store(), place.target()] {
        fs::remove_dir(gone).unwrap();
        assert_eq!(place.unbind(BusyFiles::Refuse).unwrap(), Unbound::Gone);
    }
}

#[test]
fn a_target_of_the_stores_own_is_inside_the_store_but_never_inside_the_tree() {
    let Some(place) = Place::new() else { return };
    let (own, policy) = (place.store().join("own"), MountPolicy::default());
    fs::create_dir(&own).unwrap();
    let bind = |target: &Path| {
        let source = place.source();
        mount::bind(&Bind { source: &source, target, writes: Writes::Refused, policy: &policy, store: None })
    };
    assert_eq!(bind(&place.source().join("inner")).unwrap_err().kind(), ErrorKind::Denied);
    bind(&own).unwrap();
    assert_eq!(fs::read_to_string(own.join("file")).unwrap(), "content");
    assert_eq!(mount::unbind(&place.source(), &own, BusyFiles::Refuse).unwrap(), Unbound::Gone);
}
