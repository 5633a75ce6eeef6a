//! Subvolumes and quota groups on a real btrfs, made on a loop device. Without root or without mkfs.btrfs the
//! tests say that they were skipped.
#![cfg(feature = "tree")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by a panic and says what it skips"
)]

use persist_core::{
    ErrorKind,
    linux::{
        Writes,
        btrfs::{self, Quota},
        filesystem::{self, Abilities, Class},
    },
};
use std::{fs, path::PathBuf, process::Command};
use tempfile::TempDir;

/// A fresh btrfs of 256 MiB, the least that mkfs.btrfs does not shrink its metadata for.
struct Btrfs {
    dir: TempDir,
}

impl Btrfs {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounting needs root");
            return None;
        }
        let btrfs = Self { dir: tempfile::tempdir().unwrap() };
        let image = btrfs.dir.path().join("image");
        fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
        if !Command::new("mkfs.btrfs").arg("-q").arg(&image).output().is_ok_and(|made| made.status.success())
        {
            eprintln!("skipped: no mkfs.btrfs here");
            return None;
        }
        fs::create_dir(btrfs.at()).unwrap();
        assert!(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(&image)
                .arg(btrfs.at())
                .status()
                .unwrap()
                .success()
        );
        Some(btrfs)
    }

    fn at(&self) -> PathBuf {
        self.dir.path().join("at")
    }

    fn enable_quota(&self) {
        let done = Command::new("btrfs").args(["quota", "enable"]).arg(self.at()).status().unwrap();
        assert!(done.success());
        let _ = Command::new("btrfs").args(["quota", "rescan", "-w"]).arg(self.at()).output();
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at()).stderr(std::process::Stdio::null()).status();
    }
}

#[test]
fn a_snapshot_keeps_its_moment_and_refuses_writes() {
    let Some(btrfs) = Btrfs::new() else { return };
    let (tree, cut, copy) = (btrfs.at().join("tree"), btrfs.at().join("cut"), btrfs.at().join("copy"));
    btrfs::create_subvolume(&tree).unwrap();
    fs::write(tree.join("file"), "before").unwrap();
    btrfs::snapshot(&tree, &cut, Writes::Refused).unwrap();
    btrfs::snapshot(&cut, &copy, Writes::Allowed).unwrap();
    fs::write(tree.join("file"), "after").unwrap();
    assert_eq!(fs::read_to_string(cut.join("file")).unwrap(), "before");
    let refused = fs::write(cut.join("file"), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    fs::write(copy.join("file"), "mine").unwrap();
    assert_eq!(btrfs::writes(&cut).unwrap(), Writes::Refused);
    btrfs::set_writes(&copy, Writes::Refused).unwrap();
    assert!(fs::write(copy.join("file"), "x").is_err());
    btrfs::set_writes(&cut, Writes::Allowed).unwrap();
    fs::write(cut.join("file"), "x").unwrap();
    for at in [&tree, &cut, &copy] {
        assert!(btrfs::is_subvolume(at).unwrap());
        btrfs::destroy_subvolume(at).unwrap();
        assert!(!at.exists());
    }
}

#[test]
fn what_is_no_subvolume_is_told_apart() {
    let Some(btrfs) = Btrfs::new() else { return };
    let plain = btrfs.at().join("plain");
    fs::create_dir(&plain).unwrap();
    assert!(!btrfs::is_subvolume(&plain).unwrap());
    assert!(btrfs::is_subvolume(&btrfs.at()).unwrap());
    let elsewhere = btrfs.dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    assert!(!btrfs::is_subvolume(&elsewhere).unwrap());
    assert_eq!(btrfs::create_subvolume(&elsewhere.join("x")).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(btrfs::create_subvolume(&plain).unwrap_err().kind(), ErrorKind::Conflict);
    let missing = btrfs.at().join("missing");
    assert_eq!(btrfs::destroy_subvolume(&missing).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_probe_sees_what_there_is_and_leaves_nothing() {
    let Some(btrfs) = Btrfs::new() else { return };
    let look = filesystem::look(&btrfs.at()).unwrap();
    assert_eq!((look.class, look.name.as_str()), (Class::Durable, "btrfs"));
    assert_eq!(btrfs::quota(&btrfs.at()).unwrap(), Quota::Disabled);
    let without = filesystem::probe(&btrfs.at()).unwrap().abilities;
    let all = Abilities::REFLINK | Abilities::SUBVOLUMES | Abilities::HOLES | Abilities::USER_XATTRS;
    assert!(without.contains(all), "{without:?}");
    assert!(!without.contains(Abilities::SUBVOLUME_LIMITS));
    btrfs.enable_quota();
    assert_eq!(btrfs::quota(&btrfs.at()).unwrap(), Quota::Enabled);
    let with = filesystem::probe(&btrfs.at()).unwrap().abilities;
    assert_eq!(with, without | Abilities::SUBVOLUME_LIMITS);
    assert_eq!(fs::read_dir(btrfs.at()).unwrap().count(), 0);
}

#[test]
fn a_probe_removes_what_a_killed_one_left_and_nothing_else() {
    let Some(btrfs) = Btrfs::new() else { return };
    let left = btrfs.at().join(".draft-probe-killed");
    fs::create_dir(&left).unwrap();
    btrfs::create_subvolume(&left.join("tree")).unwrap();
    fs::write(left.join("tree/file"), "content").unwrap();
    btrfs::snapshot(&left.join("tree"), &left.join("cut"), Writes::Refused).unwrap();
    let working = btrfs.at().join(".draft-probe-working");
    fs::create_dir(&working).unwrap();
    let lock = fs::File::open(&working).unwrap();
    lock.lock().unwrap();
    fs::create_dir(btrfs.at().join("data")).unwrap();
    filesystem::probe(&btrfs.at()).unwrap();
    assert!(!left.exists() && working.exists() && btrfs.at().join("data").exists());
}

#[test]
fn a_limit_stops_the_writer_of_its_subvolume_alone() {
    let Some(btrfs) = Btrfs::new() else { return };
    btrfs.enable_quota();
    let (small, free) = (btrfs.at().join("small"), btrfs.at().join("free"));
    for at in [&small, &free] {
        btrfs::create_subvolume(at).unwrap();
    }
    btrfs::limit_bytes(&small, Some(4 << 20)).unwrap();
    let content = vec![7; 8 << 20];
    let refused = fs::write(small.join("file"), &content).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::QuotaExceeded);
    fs::write(free.join("file"), &content).unwrap();
    rustix::fs::syncfs(fs::File::open(btrfs.at()).unwrap()).unwrap();
    assert!(btrfs::referenced_bytes(&free).unwrap().unwrap() >= 8 << 20);
    fs::remove_file(small.join("file")).unwrap();
    btrfs::limit_bytes(&small, None).unwrap();
    rustix::fs::syncfs(fs::File::open(btrfs.at()).unwrap()).unwrap();
    fs::write(small.join("file"), &content).unwrap();
}

#[test]
fn subvolumes_inside_one_are_seen() {
    let Some(btrfs) = Btrfs::new() else { return };
    let tree = btrfs.at().join("tree");
    btrfs::create_subvolume(&tree).unwrap();
    assert!(!btrfs::holds_subvolumes(&tree).unwrap());
    fs::create_dir(tree.join("deep")).unwrap();
    btrfs::create_subvolume(&tree.join("deep/inner")).unwrap();
    assert!(btrfs::holds_subvolumes(&tree).unwrap());
    assert!(!btrfs::holds_subvolumes(&tree.join("deep/inner")).unwrap());
    assert!(btrfs::destroy_subvolume(&tree).is_err());
    assert!(tree.join("deep/inner").exists());
}
