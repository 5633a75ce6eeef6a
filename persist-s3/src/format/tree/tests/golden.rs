//! A small tree, byte by byte: what `docs/format.md` says, and what every later version must read.

use super::store::{chunk, file, model, path, run, small};
use crate::format::{
    location::{Location, PackIndex, TreeRoot},
    tree::{Content, PageSink, Pages, StoredEntry, Tree, TreeBuilder},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use persist_core::{
    Error, Result,
    tree::{DataRange, Entry, EntryKind, Metadata, TreePath, Xattr},
};
use std::sync::Arc;

/// The pages in the order in which they are written, one line of hexadecimal digits each.
const PAGES: &str = include_str!("../../../../tests/format/v1/tree.hex");

/// Pages one after the other in pack 7.
#[derive(Debug, Default)]
struct Shelf(Vec<Bytes>);

impl Shelf {
    fn at(&self, index: usize) -> Location {
        let before: usize = self.0[..index].iter().map(Bytes::len).sum();
        let number = |n: usize| u32::try_from(n).unwrap();
        let bytes = number(self.0[index].len());
        Location { pack: PackIndex(7), frame_offset: number(before), frame_bytes: bytes, offset: 0, bytes }
    }
}

impl PageSink for Shelf {
    fn put(&mut self, page: &[u8]) -> Result<Location> {
        self.0.push(Bytes::copy_from_slice(page));
        Ok(self.at(self.0.len() - 1))
    }
}

#[async_trait]
impl Pages for Shelf {
    async fn page(&self, at: &Location) -> Result<Bytes> {
        let found = (0..self.0.len()).find(|index| self.at(*index) == *at);
        found.map(|index| self.0[index].clone()).ok_or_else(|| Error::not_found("no page here"))
    }

    fn plan(&self, _: &[Location]) {}
}

/// One entry of each form.
fn entries() -> Vec<StoredEntry> {
    let plain = Metadata { mode: 0o755, uid: 1000, gid: 1000, mtime_s: 1_700_000_000, ..Metadata::default() };
    let of = |at: &str, kind| StoredEntry::new(Entry::new(path(at), kind, plain.clone()));
    let data = |ranges: &[(u64, u64)]| {
        Some(ranges.iter().map(|(offset, length)| DataRange { offset: *offset, length: *length }).collect())
    };
    let mut labelled = of("d/labelled", EntryKind::File { size: 5, data: data(&[(0, 5)]) });
    labelled.entry.metadata.xattrs =
        vec![Xattr { name: b"user.a".to_vec(), value: Bytes::from_static(b"1") }];
    labelled.entry.metadata.mtime_s = -1;
    labelled.entry.metadata.mtime_ns = 999_999_999;
    labelled.content = Content::Chunks(vec![chunk(1, 5)]);
    let mut attributes = of("d/large attribute", EntryKind::Fifo);
    let value = Bytes::from(vec![0x5a; 1100]);
    attributes.entry.metadata.xattrs = vec![Xattr { name: b"user.b".to_vec(), value }];
    let mut first = file("d/linked", 2, 9);
    first.entry.link = Some(path("d/linked"));
    let mut later = file("e", 2, 9).with_content(Content::NONE);
    later.entry.link = Some(path("d/linked"));
    let long = Content::Chunks((0..20).map(|n| chunk(100 + n, 1000)).collect());
    let mut entries = vec![
        StoredEntry::new(Entry::new(TreePath::root(), EntryKind::Directory, plain.clone())),
        of("d", EntryKind::Directory),
        labelled,
        attributes,
        first,
        of("d/list", EntryKind::File { size: 20_000, data: None }).with_content(long),
        of("d/sparse", EntryKind::File { size: 9000, data: data(&[(10, 20), (4096, 4)]) })
            .with_content(Content::Chunks(vec![chunk(3, 24)])),
        of("d/two", EntryKind::File { size: 30, data: None })
            .with_content(Content::Chunks(vec![chunk(4, 20), chunk(5, 10)])),
        later,
        of("f/symlink", EntryKind::Symlink { target: b"../e".to_vec() }),
        of("f/tty", EntryKind::CharacterDevice { device: 0x0405 }),
        of("g", EntryKind::BlockDevice { device: 0x0801 }),
        of("s", EntryKind::Socket),
    ];
    entries.extend((0..8).map(|n| file(&format!("z{n}"), 50 + n, 3)));
    entries
}

fn written() -> (Shelf, TreeRoot) {
    let mut shelf = Shelf::default();
    let format = small();
    let mut builder = TreeBuilder::new(&format, &mut shelf);
    model(entries()).into_values().for_each(|stored| builder.push(stored).unwrap());
    let root = builder.finish().unwrap();
    (shelf, root)
}

fn checked_in() -> Shelf {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    Shelf(PAGES.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect())
}

fn hex(page: &Bytes) -> String {
    page.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_pages_of_version_1_are_written_as_they_were() {
    let (shelf, root) = written();
    let pages: Vec<String> = shelf.0.iter().map(hex).collect();
    assert_eq!(pages, PAGES.lines().collect::<Vec<_>>(), "\n{}\n", pages.join("\n"));
    assert_eq!(root.height, 1);
}

#[test]
fn the_pages_of_version_1_stay_readable() {
    let (_, root) = written();
    let shelf = checked_in();
    let root = TreeRoot { at: shelf.at(shelf.0.len() - 1), ..root };
    let tree = Tree::new(&small(), Arc::new(shelf), &root);
    let mut read: Vec<StoredEntry> = run(tree.entries(None).try_collect()).unwrap();
    for stored in &mut read {
        let chunks = tree.chunks(&stored.content, 0..u64::MAX).map_ok(|placed| placed.chunk);
        stored.content = Content::Chunks(run(chunks.try_collect()).unwrap());
    }
    assert_eq!(read, model(entries()).into_values().collect::<Vec<_>>());
}
