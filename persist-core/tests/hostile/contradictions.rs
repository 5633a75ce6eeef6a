//! Sources that contradict themselves, one by one: each is `Corrupt`, and nothing outside was touched.

use crate::sentinel::Ground;
use persist_core::{
    ErrorKind,
    tree::{ApplyOptions, DataRange, Entry, EntryKind, Metadata, TreePath, Xattr, apply, sample::MemoryTree},
};
use std::sync::Arc;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn of(text: &str, kind: EntryKind) -> Entry {
    Entry::new(path(text), kind, Metadata { mode: 0o755, ..Metadata::default() })
}

fn dir(text: &str) -> Entry {
    of(text, EntryKind::Directory)
}

fn file(text: &str, size: u64) -> Entry {
    of(text, EntryKind::File { size, data: None })
}

fn symlink(text: &str, target: &[u8]) -> Entry {
    of(text, EntryKind::Symlink { target: target.to_vec() })
}

fn linked(at: &str, first: &str) -> Entry {
    let mut entry = file(at, 0);
    entry.link = Some(path(first));
    entry
}

fn with(change: impl FnOnce(&mut Metadata)) -> Entry {
    let mut entry = file("f", 0);
    change(&mut entry.metadata);
    entry
}

/// Applies each list, the root before it, and wants `Corrupt`.
async fn all_corrupt(cases: Vec<(&str, Vec<Entry>)>) {
    for (what, mut entries) in cases {
        entries.insert(0, dir(""));
        corrupt(what, entries).await;
    }
}

async fn corrupt(what: &str, entries: Vec<Entry>) {
    let ground = Ground::new();
    let source = Arc::new(MemoryTree::new(entries));
    let error = apply(source, &ground.target(), ApplyOptions::faithful()).await.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error}");
    ground.check(what);
}

#[tokio::test]
async fn a_source_without_a_proper_root() {
    corrupt("nothing at all", vec![]).await;
    corrupt("no root", vec![file("f", 0)]).await;
    corrupt("a root that is a file", vec![file("", 0)]).await;
    corrupt("a root that is a link", vec![symlink("", b"../outside")]).await;
    corrupt("a root twice", vec![dir(""), dir("")]).await;
}

#[tokio::test]
async fn entries_out_of_order_or_out_of_place() {
    all_corrupt(vec![
        ("out of order", vec![file("b", 0), file("a", 0)]),
        ("ordered by bytes, not by components", vec![dir("a"), file("a.b", 0), file("a/b", 0)]),
        ("a path twice", vec![file("a", 0), file("a", 0)]),
        ("a path as two kinds", vec![symlink("a", b"../outside"), dir("a")]),
        ("a child before its directory", vec![file("a/b", 0)]),
        ("a child of a file", vec![file("a", 0), file("a/b", 0)]),
        ("a child of a link", vec![symlink("a", b"../outside"), file("a/passwd", 9)]),
        ("a child of a link, deep", vec![dir("d"), symlink("d/a", b"../../outside"), file("d/a/file", 9)]),
        ("a child of a fifo", vec![of("a", EntryKind::Fifo), file("a/b", 0)]),
        ("a child of a closed directory", vec![dir("a"), file("b", 0), file("a/c", 0)]),
        ("a grandchild without its parent", vec![dir("a"), file("a/b/c", 0)]),
        ("a directory that is only a prefix", vec![dir("a"), file("ab/c", 0)]),
    ])
    .await;
}

#[tokio::test]
async fn links_to_what_is_not_an_earlier_file() {
    let mut directory = dir("b");
    directory.link = Some(path("a"));
    all_corrupt(vec![
        ("a link to nothing", vec![linked("b", "a")]),
        ("a link to what comes later", vec![linked("a", "b"), file("b", 0)]),
        ("a link to a directory", vec![dir("a"), linked("b", "a")]),
        ("a link to the root", vec![linked("b", "")]),
        ("a link to a symbolic link", vec![symlink("a", b"../outside/file"), linked("b", "a")]),
        ("a link through a symbolic link", vec![symlink("a", b"../outside"), linked("b", "a/passwd")]),
        ("a link below a file", vec![file("a", 0), linked("b", "a/b")]),
        ("a directory with two names", vec![dir("a"), directory]),
    ])
    .await;
}

#[tokio::test]
async fn sizes_and_ranges_that_no_file_has() {
    let data = |size, ranges: &[(u64, u64)]| {
        let ranges = ranges.iter().map(|(offset, length)| DataRange { offset: *offset, length: *length });
        vec![of("f", EntryKind::File { size, data: Some(ranges.collect()) })]
    };
    all_corrupt(vec![
        ("a size above off_t", vec![file("f", u64::MAX)]),
        ("data beyond the size", data(9, &[(0, 10)])),
        ("data after the end", data(9, &[(9, 1)])),
        ("overlapping ranges", data(10, &[(0, 5), (4, 5)])),
        ("ranges out of order", data(10, &[(5, 2), (0, 2)])),
        ("an empty range", data(10, &[(5, 0)])),
        ("a range that wraps", data(10, &[(u64::MAX, 2)])),
    ])
    .await;
}

#[tokio::test]
async fn metadata_that_no_entry_has() {
    let xattr = |name: &str, size| Xattr { name: name.into(), value: vec![0; size].into() };
    let dressed = |xattrs: Vec<Xattr>| vec![with(move |m| m.xattrs = xattrs)];
    all_corrupt(vec![
        ("mode bits of a kind", vec![with(|m| m.mode = 0o100_644)]),
        ("more than a second of nanoseconds", vec![with(|m| m.mtime_ns = 1_000_000_000)]),
        ("owner -1", vec![with(|m| m.uid = u32::MAX)]),
        ("group -1", vec![with(|m| m.gid = u32::MAX)]),
        ("flags that are not kept", vec![with(|m| m.flags = 0x8_0000)]),
        ("an empty target", vec![symlink("f", b"")]),
        ("a target with a NUL byte", vec![symlink("f", b"a\0b")]),
        ("a target above PATH_MAX", vec![symlink("f", &[b'a'; 4096])]),
        ("an attribute without a namespace", dressed(vec![xattr("plain", 1)])),
        ("an attribute with a NUL byte", dressed(vec![xattr("user.a\0b", 1)])),
        ("an attribute with a long name", dressed(vec![xattr(&format!("user.{}", "x".repeat(251)), 1)])),
        ("an attribute above 64 KiB", dressed(vec![xattr("user.a", 65_537)])),
        ("an attribute twice", dressed(vec![xattr("user.a", 1), xattr("user.a", 1)])),
        ("attributes out of order", dressed(vec![xattr("user.b", 1), xattr("user.a", 1)])),
    ])
    .await;
}

/// What an entry's path may be is settled where bytes become a path.
#[test]
fn paths_of_a_stored_tree_are_checked_when_they_are_read() {
    let honest = serde_json::to_value(dir("a")).unwrap();
    let long = "x".repeat(256);
    for bad in ["/etc/passwd", "../outside", "a/../../outside", ".", "..", "a//b", "a/", "a\0b", &long] {
        let mut entry = honest.clone();
        entry["path"] = serde_json::to_value(bad.as_bytes()).unwrap();
        assert!(serde_json::from_value::<Entry>(entry).is_err(), "{bad:?}");
        let mut entry = honest.clone();
        entry["link"] = serde_json::to_value(bad.as_bytes()).unwrap();
        assert!(serde_json::from_value::<Entry>(entry).is_err(), "{bad:?} as a link");
    }
    assert_eq!(serde_json::from_value::<Entry>(honest).unwrap(), dir("a"));
}
