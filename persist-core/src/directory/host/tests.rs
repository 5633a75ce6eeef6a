use super::*;
use crate::{capability::Consistency, linux::filesystem, open::OpenMode};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
    sync::Arc,
};
use tempfile::TempDir;

fn probe(at: &Path) -> Arc<dyn Place> {
    let look = filesystem::look(at).unwrap();
    let capabilities = Findings::probe(at, look, OpenMode::Existing).unwrap().capabilities();
    Arc::new(HostPlace::new(at.into(), capabilities, Characteristics::default()).unwrap())
}

/// A directory on some filesystem, opened as a place; unmounted when dropped.
struct Bench {
    dir: TempDir,
    place: Arc<dyn Place>,
}

impl Bench {
    fn plain() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("at")).unwrap();
        let place = probe(&dir.path().join("at"));
        Self { dir, place }
    }

    /// A fresh btrfs, with quota or without; `None`, and said, where none can be made.
    fn btrfs(quota: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounting needs root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let (image, at) = (dir.path().join("image"), dir.path().join("at"));
        fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
        if !Command::new("mkfs.btrfs").arg("-q").arg(&image).output().is_ok_and(|made| made.status.success())
        {
            eprintln!("skipped: no mkfs.btrfs here");
            return None;
        }
        fs::create_dir(&at).unwrap();
        let run = |program: &str, args: &[&str]| {
            let done = Command::new(program).args(args).arg(&at).output().unwrap();
            assert!(done.status.success(), "{program} {args:?}: {done:?}");
        };
        run("mount", &["-o", "loop", image.to_str().unwrap()]);
        if !quota.is_empty() {
            run("btrfs", quota);
        }
        let place = probe(&at);
        Some(Self { dir, place })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join("at").join(name)
    }

    /// A tree with a file and a link in it.
    fn tree(&self, name: &str) -> PathBuf {
        let at = self.at(name);
        self.place.make_tree(&at).unwrap();
        fs::write(at.join("file"), "content").unwrap();
        symlink("file", at.join("link")).unwrap();
        at
    }

    fn remove(&self, at: &Path) {
        self.place.remove_tree(at, &Meter::default()).unwrap();
        assert!(!at.exists());
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let at = self.dir.path().join("at");
        let _ = Command::new("umount").arg("-l").arg(at).stderr(std::process::Stdio::null()).status();
    }
}

fn content(at: &Path) -> String {
    fs::read_to_string(at.join("file")).unwrap()
}

fn a_cut_keeps_its_moment(bench: &Bench, consistency: Consistency) {
    let tree = bench.tree("tree");
    let meter = Meter::default();
    for (name, mode) in [("cut", CutMode::Immutable), ("copy", CutMode::Writable)] {
        let cut = bench.place.cut(&tree, &bench.at(name), mode, &meter).unwrap();
        assert_eq!((cut.consistency, cut.remarks), (consistency, vec![]), "{name}");
    }
    fs::write(tree.join("file"), "changed").unwrap();
    for name in ["cut", "copy"] {
        assert_eq!(content(&bench.at(name)), "content");
        assert_eq!(fs::read_link(bench.at(name).join("link")).unwrap(), Path::new("file"));
    }
    fs::write(bench.at("copy").join("file"), "mine").unwrap();
    assert_eq!(content(&tree), "changed");
    for name in ["cut", "copy", "tree", "tree"] {
        bench.remove(&bench.at(name));
    }
}

#[test]
fn on_the_filesystem_of_temporary_files_a_cut_is_as_consistent_as_was_said() {
    let bench = Bench::plain();
    let atomic = bench.place.capabilities().contains(Capabilities::INSTANT_SNAPSHOTS);
    a_cut_keeps_its_moment(&bench, if atomic { Consistency::Atomic } else { Consistency::PerFile });
}

#[test]
fn on_btrfs_a_cut_is_of_one_moment_and_cannot_be_written() {
    let Some(bench) = Bench::btrfs(&[]) else { return };
    a_cut_keeps_its_moment(&bench, Consistency::Atomic);
    let tree = bench.tree("tree");
    bench.place.cut(&tree, &bench.at("cut"), CutMode::Immutable, &Meter::default()).unwrap();
    let sealed = bench.at("sealed");
    bench.place.cut(&tree, &sealed, CutMode::Writable, &Meter::default()).unwrap();
    bench.place.seal(&sealed).unwrap();
    bench.place.seal(&sealed).unwrap();
    for at in [bench.at("cut"), sealed] {
        let refused = fs::write(at.join("file"), "x").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        bench.remove(&at);
    }
}

#[test]
fn a_subvolume_inside_a_volume_is_neither_lost_nor_hidden() {
    let Some(bench) = Bench::btrfs(&[]) else { return };
    let tree = bench.tree("tree");
    btrfs::create_subvolume(&tree.join("inner")).unwrap();
    fs::write(tree.join("inner/file"), "inner content").unwrap();
    let cut = bench.at("cut");
    let made = bench.place.cut(&tree, &cut, CutMode::Immutable, &Meter::default()).unwrap();
    assert_eq!(made.consistency, Consistency::PerFile);
    assert!(made.remarks.iter().any(|remark| remark.contains("subvolume")), "{:?}", made.remarks);
    assert_eq!(content(&cut.join("inner")), "inner content");
    assert!(fs::write(cut.join("file"), "x").is_err(), "a snapshot on btrfs is sealed, however it was made");
    bench.remove(&cut);
    btrfs::set_writes(&tree.join("inner"), Writes::Refused).unwrap();
    bench.remove(&tree);
}

#[test]
fn a_limit_holds_and_one_that_is_exceeded_already_is_refused() {
    let Some(bench) = Bench::btrfs(&["quota", "enable"]) else { return };
    assert!(bench.place.capabilities().contains(Capabilities::ENFORCED_SIZE));
    let tree = bench.tree("tree");
    bench.place.limit_size(&tree, Some(4 << 20)).unwrap();
    let too_much = vec![7; 8 << 20];
    assert!(fs::write(tree.join("large"), &too_much).is_err());
    fs::remove_file(tree.join("large")).unwrap();
    bench.place.limit_size(&tree, None).unwrap();
    bench.place.flush(&tree, &Meter::default()).unwrap();
    fs::write(tree.join("large"), &too_much).unwrap();
    let error = bench.place.limit_size(&tree, Some(4 << 20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    assert!(matches!(error.detail(), Detail::Limit { used, limit } if used > limit && *limit == 4 << 20));
    let plain = bench.at("plain");
    fs::create_dir(&plain).unwrap();
    assert_eq!(bench.place.limit_size(&plain, Some(1)).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_directory_is_imported_whole_and_stays_or_goes_as_asked() {
    for bench in [Some(Bench::plain()), Bench::btrfs(&[])].into_iter().flatten() {
        let from = bench.at("from");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("file"), "content").unwrap();
        fs::set_permissions(from.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
        let (copied, moved) = (bench.at("copied"), bench.at("moved"));
        let meter = Meter::default();
        let cut = bench.place.import(&from, &copied, Import::Copy, &meter).unwrap();
        assert_eq!((cut.totals.unwrap().files, content(&from).as_str()), (2, "content"));
        bench.place.import(&from, &moved, Import::Move, &meter).unwrap();
        assert!(!from.exists());
        for at in [copied, moved] {
            assert_eq!(content(&at), "content");
            assert_eq!(fs::metadata(at.join("file")).unwrap().permissions().mode() & 0o7777, 0o640);
        }
    }
}

#[test]
fn a_move_from_another_filesystem_is_refused_before_anything_moves() {
    let bench = Bench::plain();
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    if other.path().metadata().unwrap().dev() == bench.at("").metadata().unwrap().dev() {
        eprintln!("skipped: /dev/shm is the same filesystem");
        return;
    }
    fs::write(other.path().join("file"), "content").unwrap();
    let to = bench.at("to");
    let error = bench.place.import(other.path(), &to, Import::Move, &Meter::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(!to.exists() && content(other.path()) == "content");
}

#[test]
fn a_new_tree_has_its_mode_whatever_the_umask_and_is_made_once() {
    let bench = Bench::plain();
    let at = bench.tree("tree");
    assert_eq!(fs::metadata(&at).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(bench.place.make_tree(&at).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(content(&at), "content");
}

#[test]
fn removing_stops_when_told_and_goes_on_when_repeated() {
    let bench = Bench::plain();
    let at = bench.tree("tree");
    let meter = Meter::default();
    meter.stop();
    assert_eq!(bench.place.remove_tree(&at, &meter).unwrap_err().kind(), ErrorKind::Unavailable);
    bench.remove(&at);
}

#[test]
fn a_sealed_subvolume_is_shown_by_a_mount_and_taken_away_again() {
    let Some(bench) = Bench::btrfs(&[]) else { return };
    let tree = bench.tree("tree");
    bench.place.cut(&tree, &bench.at("cut"), CutMode::Immutable, &Meter::default()).unwrap();
    let target = tempfile::tempdir().unwrap();
    let policy = crate::attachment::MountPolicy::default();
    for (source, mode) in [(tree, MountMode::ReadWrite), (bench.at("cut"), MountMode::ReadOnly)] {
        let site = MountSite::Callers;
        let request = MountRequest { source: &source, target: target.path(), site, mode, policy: &policy };
        bench.place.mount(&request).unwrap();
        bench.place.mount(&request).unwrap();
        assert_eq!(content(target.path()), "content");
        assert_eq!(fs::write(target.path().join("new"), "x").is_ok(), mode == MountMode::ReadWrite);
        let gone = bench.place.unmount(&source, target.path(), BusyFiles::Refuse).unwrap();
        assert_eq!((gone, target.path().read_dir().unwrap().count()), (Unmounted::Gone, 0));
    }
}
