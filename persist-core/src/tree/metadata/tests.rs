use super::*;
use bytes::Bytes;
use rustix::fs::mkfifoat;
use std::{
    ffi::CString,
    fs,
    os::fd::AsFd,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
};

/// Whether this test may change owners; says so where it may not.
fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}

struct Spot(fs::File, CString);

impl Spot {
    fn new(path: &Path) -> Self {
        let dir = fs::File::open(path.parent().unwrap()).unwrap();
        Self(dir, CString::new(path.file_name().unwrap().as_bytes()).unwrap())
    }

    fn handle(&self) -> Handle<'_> {
        Handle::Name { dir: self.0.as_fd(), name: &self.1 }
    }

    fn read(&self) -> Metadata {
        read_metadata(self.handle(), &Stat::of(self.handle()).unwrap()).unwrap()
    }

    fn write(&self, wanted: &Metadata, trust: Trust) -> Losses {
        let mut losses = Losses::default();
        let kind = Stat::of(self.handle()).unwrap().kind;
        let path = TreePath::new(self.1.to_bytes()).unwrap();
        let target = Target { handle: self.handle(), kind, present: Present::Unknown, path: &path };
        MetadataWriter::new(trust, &mut losses).write(target, wanted, FlagsWhen::Now).unwrap();
        losses
    }
}

fn xattr(name: &str, value: &[u8]) -> Xattr {
    Xattr { name: name.into(), value: Bytes::copy_from_slice(value) }
}

/// A POSIX ACL of the kernel's format (acl(5), linux/posix_acl_xattr.h): version 2, then tag, permissions
/// and id of each entry.
fn acl() -> Vec<u8> {
    let entries =
        [(0x01, 7, u32::MAX), (0x02, 5, 1234), (0x04, 5, u32::MAX), (0x10, 5, u32::MAX), (0x20, 0, u32::MAX)];
    let mut raw = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        raw.extend_from_slice(&u16::to_le_bytes(tag));
        raw.extend_from_slice(&u16::to_le_bytes(permissions));
        raw.extend_from_slice(&u32::to_le_bytes(id));
    }
    raw
}

/// `cap_net_raw+ep`: version 2, effective (linux/capability.h).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn everything() -> Metadata {
    let mut xattrs = vec![
        xattr("security.capability", &CAPABILITY),
        xattr("system.posix_acl_access", &acl()),
        xattr("trusted.persist", b"t"),
        xattr("user.empty", b""),
        xattr("user.long", &[7; 2000]),
    ];
    xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    Metadata {
        mode: 0o6750,
        uid: 3_000_000_000,
        gid: 4_000_000_000,
        mtime_s: -5,
        mtime_ns: 123_456_789,
        flags: 0x40,
        xattrs,
    }
}

#[test]
fn a_file_keeps_everything_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    if !root() {
        return;
    }
    fs::write(dir.path().join("f"), "x").unwrap();
    let file = Spot::new(&dir.path().join("f"));
    let losses = file.write(&everything(), Trust::Faithful);
    assert!(losses.is_empty(), "{losses:?}");
    assert_eq!(file.read(), everything());
}

#[test]
fn immutable_comes_last_and_can_be_cleared() {
    let dir = tempfile::tempdir().unwrap();
    if !root() {
        return;
    }
    fs::write(dir.path().join("f"), "x").unwrap();
    let file = Spot::new(&dir.path().join("f"));
    let wanted = Metadata { flags: 0x10 | 0x20 | 0x40, ..everything() };
    let losses = file.write(&wanted, Trust::Faithful);
    let read = file.read();
    clear_flags(file.handle(), Kind::File).unwrap();
    assert!(losses.is_empty(), "{losses:?}");
    assert_eq!(read, wanted);
    fs::remove_file(dir.path().join("f")).unwrap();
}

#[test]
fn a_link_is_changed_itself_and_never_its_target() {
    let dir = tempfile::tempdir().unwrap();
    if !root() {
        return;
    }
    fs::write(dir.path().join("target"), "x").unwrap();
    let before = Spot::new(&dir.path().join("target")).read();
    for target in ["target", "dangling"] {
        let at = dir.path().join(format!("to-{target}"));
        symlink(target, &at).unwrap();
        let link = Spot::new(&at);
        let wanted =
            Metadata { mode: 0o777, flags: 0, xattrs: vec![xattr("trusted.on-link", b"l")], ..everything() };
        let losses = link.write(&wanted, Trust::Faithful);
        assert!(losses.is_empty(), "{losses:?}");
        assert_eq!(link.read(), wanted);
    }
    assert_eq!(Spot::new(&dir.path().join("target")).read(), before);
}

#[test]
fn a_fifo_gets_its_mode_without_being_opened() {
    let dir = tempfile::tempdir().unwrap();
    let handle = fs::File::open(dir.path()).unwrap();
    mkfifoat(&handle, "p", Mode::from_raw_mode(0o600)).unwrap();
    let fifo = Spot::new(&dir.path().join("p"));
    let wanted = Metadata { mode: 0o641, mtime_s: 9, ..fifo.read() };
    assert!(fifo.write(&wanted, Trust::Faithful).is_empty());
    assert_eq!(fifo.read(), wanted);
}

#[test]
fn an_untrusted_tree_gives_no_privilege_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    if !root() {
        return;
    }
    fs::write(dir.path().join("f"), "x").unwrap();
    let file = Spot::new(&dir.path().join("f"));
    let losses = file.write(&everything(), Trust::Untrusted);
    let read = file.read();
    assert_eq!(read.mode, 0o750);
    let names: Vec<String> =
        read.xattrs.iter().map(|x| String::from_utf8_lossy(&x.name).into_owned()).collect();
    assert_eq!(names, ["system.posix_acl_access", "user.empty", "user.long"]);
    for loss in [Loss::SetId, Loss::Security, Loss::Trusted] {
        assert_eq!(losses.count(loss), 1, "{loss}: {losses:?}");
    }
}

#[test]
fn attributes_that_are_not_wanted_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    let file = Spot::new(&dir.path().join("f"));
    let bare = file.read();
    let dressed = Metadata { xattrs: vec![xattr("user.a", b"1"), xattr("user.b", b"2")], ..bare.clone() };
    assert!(file.write(&dressed, Trust::Faithful).is_empty());
    assert_eq!(file.read(), dressed);
    assert!(file.write(&bare, Trust::Faithful).is_empty());
    assert_eq!(file.read(), bare);
}

#[test]
fn times_before_1970_and_after_2106_are_kept_or_reported() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    let file = Spot::new(&dir.path().join("f"));
    for mtime_s in [-1, -2_000_000_000, 1 << 31, (1 << 32) + 7, 1 << 40] {
        let wanted = Metadata { mtime_s, mtime_ns: 1, ..file.read() };
        let losses = file.write(&wanted, Trust::Faithful);
        let kept = file.read().mtime_s == mtime_s;
        assert_eq!(losses.count(Loss::Time), u64::from(!kept), "{mtime_s}");
    }
}
