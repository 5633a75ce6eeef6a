use super::*;
use crate::tree::{CompareContent, CompareOptions, DirectoryTree, compare};
use futures::TryStreamExt;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    sync::Arc,
};

/// Every entry gets the same time, so that only what a test changes differs.
fn plant(root: &Path) {
    for dir in ["same/deep/er", "gone/inner", "kind", "links"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for file in ["same/deep/er/f", "gone/inner/f", "content", "mode", "kind/f", "links/a", "links/z"] {
        fs::write(root.join(file), file).unwrap();
    }
    symlink("nowhere", root.join("same/link")).unwrap();
    fs::hard_link(root.join("links/a"), root.join("links/b")).unwrap();
    fs::hard_link(root.join("links/z"), root.join("same/z")).unwrap();
}

fn change(root: &Path) {
    fs::remove_dir_all(root.join("gone")).unwrap();
    fs::create_dir_all(root.join("new/inner")).unwrap();
    fs::write(root.join("content"), "another length").unwrap();
    fs::set_permissions(root.join("mode"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_dir_all(root.join("kind")).unwrap();
    symlink("same", root.join("kind")).unwrap();
    fs::remove_file(root.join("links/b")).unwrap();
    fs::hard_link(root.join("links/z"), root.join("links/b")).unwrap();
}

fn date(root: &Path) {
    let age = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let mut left = vec![root.to_path_buf()];
    while let Some(path) = left.pop() {
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        if kind.is_symlink() {
            let time = rustix::fs::Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(rustix::fs::CWD, &path, &times, flags).unwrap();
        } else {
            fs::File::open(&path).unwrap().set_modified(age).unwrap();
        }
    }
}

fn two_trees() -> (tempfile::TempDir, tempfile::TempDir) {
    let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&before, &after] {
        plant(dir.path());
    }
    (before, after)
}

#[tokio::test]
async fn what_stat_shows_is_what_the_entries_show() {
    let (before, after) = two_trees();
    change(after.path());
    date(before.path());
    date(after.path());
    let fast = compare_directories(before.path(), after.path(), Aspects::STAT, &Meter::default()).unwrap();
    let shown: Vec<_> = fast.iter().map(|c| format!("{}: {:?}", c.path, c.kind)).collect();
    let open = |dir: &tempfile::TempDir| Arc::new(DirectoryTree::open(dir.path()).unwrap());
    let options = CompareOptions::default().with_content(CompareContent::Stat).with_aspects(Aspects::STAT);
    let slow: Vec<_> = compare(open(&before), open(&after), options).try_collect().await.unwrap();
    assert_eq!(fast, slow);
    let changed = |path: &str, aspects: &str| format!("{path}: Changed(Aspects({aspects}))");
    let gone = ["gone", "gone/inner", "gone/inner/f"].map(|path| format!("{path}: Removed"));
    let mut wanted = vec![changed("content", "CONTENT")];
    wanted.extend(gone);
    wanted.push(changed("kind", "KIND | CONTENT | MODE"));
    wanted.push("kind/f: Removed".into());
    wanted.push("links/b: MetadataOnly(Aspects(LINKS))".into());
    wanted.push("links/z: MetadataOnly(Aspects(LINKS))".into());
    wanted.push("mode: MetadataOnly(Aspects(MODE))".into());
    wanted.extend(["new: Added".into(), "new/inner: Added".into()]);
    wanted.push("same/z: MetadataOnly(Aspects(LINKS))".into());
    assert_eq!(shown, wanted);
}

#[test]
fn a_tree_does_not_differ_from_its_twin_and_every_path_is_counted_once() {
    let (before, after) = two_trees();
    date(before.path());
    date(after.path());
    let meter = Meter::default();
    assert_eq!(compare_directories(before.path(), after.path(), Aspects::STAT, &meter).unwrap(), []);
    assert_eq!(meter.read().files, 17);
}

#[test]
fn what_stat_cannot_show_is_refused_and_a_stopped_meter_ends_it() {
    let (before, after) = two_trees();
    let compare = |aspects, meter: &Meter| {
        compare_directories(before.path(), after.path(), aspects, meter).unwrap_err().kind()
    };
    assert_eq!(compare(Aspects::all(), &Meter::default()), crate::ErrorKind::Invalid);
    let stopped = Meter::default();
    stopped.stop();
    assert_eq!(compare(Aspects::STAT, &stopped), crate::ErrorKind::Unavailable);
}
