use super::*;
use rustix::fs::{IFlags, ioctl_setflags, mkdirat};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

fn gone(path: &Path) -> RemoveReport {
    let report = remove_tree(path, &RemoveOptions::default(), &Meter::default()).unwrap();
    assert!(fs::symlink_metadata(path).is_err(), "{path:?} is still there");
    report
}

#[test]
fn a_tree_goes_and_what_its_links_point_to_stays() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("keep"), "k").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    for d in 0..20 {
        fs::create_dir_all(tree.join(format!("{d}/sub"))).unwrap();
        symlink(outside.path(), tree.join(format!("{d}/sub/out"))).unwrap();
        for f in 0..50 {
            fs::write(tree.join(format!("{d}/sub/{f}")), "x").unwrap();
        }
    }
    assert_eq!(gone(&tree).entries, 1 + 20 * (2 + 51));
    assert_eq!(fs::read_to_string(outside.path().join("keep")).unwrap(), "k");
    assert_eq!(gone(&tree).entries, 0, "a repeat finds nothing");
}

#[test]
fn a_link_in_place_of_the_tree_is_removed_itself() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("keep"), "k").unwrap();
    let dir = tempfile::tempdir().unwrap();
    symlink(outside.path(), dir.path().join("tree")).unwrap();
    assert_eq!(gone(&dir.path().join("tree")).entries, 1);
    assert!(outside.path().join("keep").exists());
    symlink(outside.path(), dir.path().join("way")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    let path = TreePath::new(&b"way/keep"[..]).unwrap();
    let error = remove(&root, &path, &RemoveOptions::default(), &Meter::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(outside.path().join("keep").exists());
}

#[test]
fn closed_and_immutable_directories_go() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("closed/inner")).unwrap();
    fs::create_dir_all(tree.join("fixed")).unwrap();
    fs::write(tree.join("fixed/file"), "x").unwrap();
    fs::set_permissions(tree.join("closed/inner"), fs::Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(0o0)).unwrap();
    if rustix::process::geteuid().is_root() {
        for path in ["fixed/file", "fixed"] {
            let file = fs::File::open(tree.join(path)).unwrap();
            match ioctl_setflags(&file, IFlags::IMMUTABLE) {
                Ok(()) => assert!(fs::remove_file(tree.join("fixed/file")).is_err()),
                Err(error) => println!("skipped: no immutable flag here: {error}"),
            }
        }
    }
    assert_eq!(gone(&tree).entries, 5);
}

#[test]
fn a_chain_longer_than_a_path_goes() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let mut at = OwnedFd::from(fs::File::open(&tree).unwrap());
    for _ in 0..1200 {
        mkdirat(&at, "deeper", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "deeper", OFlags::PATH, Mode::empty()).unwrap();
    }
    assert_eq!(gone(&tree).entries, 1201);
}

#[test]
fn the_root_itself_is_emptied_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    let report = remove(&root, &TreePath::root(), &RemoveOptions::default(), &Meter::default()).unwrap();
    assert_eq!((report.entries, fs::read_dir(dir.path()).unwrap().count()), (2, 0));
}

#[test]
fn two_removals_of_one_tree_both_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    for n in 0..300 {
        fs::create_dir_all(tree.join(format!("{n}/a/b"))).unwrap();
    }
    let entries: u64 = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| {
            scope.spawn(|| remove_tree(&tree, &RemoveOptions::default(), &Meter::default()).unwrap().entries)
        });
        both.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!((entries, tree.exists()), (901, false));
}

#[test]
fn a_mount_point_stops_the_removal_and_what_is_behind_it_stays() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("tree/mounted")).unwrap();
    let at = dir.path().join("tree/mounted");
    let mounted = rustix::mount::mount("none", &at, "tmpfs", rustix::mount::MountFlags::empty(), None);
    if let Err(error) = mounted {
        println!("skipped: cannot mount: {error}");
        return;
    }
    fs::write(at.join("keep"), "k").unwrap();
    let error =
        remove_tree(&dir.path().join("tree"), &RemoveOptions::default(), &Meter::default()).unwrap_err();
    let kept = fs::read_to_string(at.join("keep")).unwrap();
    rustix::mount::unmount(&at, rustix::mount::UnmountFlags::empty()).unwrap();
    assert_eq!((error.kind(), kept.as_str()), (ErrorKind::InUse, "k"));
    gone(&dir.path().join("tree"));
}

#[test]
fn a_path_without_a_name_is_refused() {
    for path in ["/", "..", "a/.."] {
        let error = remove_tree(Path::new(path), &RemoveOptions::default(), &Meter::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{path}");
    }
}
