use super::store::{Store, all, any_model, build, chunk, file, path, run, small, standard};
use crate::format::tree::{Content, ListBuilder, StoredEntry, Tree, TreeBuilder};
use futures::TryStreamExt;
use persist_core::{
    ErrorKind,
    tree::{DataRange, Entry, EntryKind, Metadata, TreePath},
};
use proptest::prelude::*;
use std::sync::atomic::Ordering::Relaxed;

/// With lists of chunks read back.
async fn whole(tree: &Tree) -> Vec<StoredEntry> {
    let mut entries = all(tree).await.unwrap();
    for stored in &mut entries {
        let chunks = tree.chunks(&stored.content, 0..u64::MAX).map_ok(|placed| placed.chunk);
        stored.content = Content::Chunks(chunks.try_collect().await.unwrap());
    }
    entries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn everything_that_an_entry_says_comes_back(entries in any_model(0..60)) {
        let store = Store::default();
        let root = build(&small(), &store, &entries);
        let tree = Tree::new(&small(), store.shared(), &root);
        let wanted: Vec<_> = entries.into_values().collect();
        prop_assert_eq!(run(whole(&tree)), wanted);
    }
}

#[test]
fn sizes_are_counted_and_a_further_name_counts_once() {
    let store = Store::default();
    let mut second = file("b", 1, 100);
    second.entry.link = Some(path("a"));
    let entries = super::store::model([file("a", 1, 100), second, file("c", 2, 7)]);
    let root = build(&small(), &store, &entries);
    assert_eq!((root.totals.files, root.totals.bytes), (3, 107));
    let tree = Tree::new(&small(), store.shared(), &root);
    let later = run(tree.lookup(&path("b"))).unwrap().unwrap();
    assert_eq!(later.content, Content::NONE, "a further name is read by the first one");
}

#[test]
fn a_file_of_256_gibibytes_is_written_and_read_with_a_page_in_hand() {
    let (format, store) = (standard(1), Store::default());
    let count = 1 << 18;
    let mut list = ListBuilder::new(&format);
    for n in 0..count {
        list.push(chunk(n, 1 << 20), &mut store.clone()).unwrap();
    }
    let content = list.finish(&mut store.clone()).unwrap();
    let size = u64::from(count) << 20;
    assert_eq!(content.bytes(), size);
    let pages = store.pages();
    assert!(pages.iter().all(|(_, page)| page.len() < 200 << 10), "no page grows");
    let mut sink = store.clone();
    let mut builder = TreeBuilder::new(&format, &mut sink);
    let kind = EntryKind::File { size, data: None };
    let entry = Entry::new(path("large"), kind, Metadata::default());
    builder.push(StoredEntry::new(entry).with_content(content)).unwrap();
    let root = builder.finish().unwrap();
    let tree = Tree::new(&format, store.shared(), &root);
    let stored = run(tree.lookup(&path("large"))).unwrap().unwrap();
    store.reset();
    let from = 200_000_u64 << 20;
    let chunks: Vec<_> = run(tree.chunks(&stored.content, from + 5..from + (2 << 20)).try_collect()).unwrap();
    let wanted: Vec<_> = (200_000..200_002).map(|n| (u64::from(n) << 20, chunk(n, 1 << 20))).collect();
    assert_eq!(chunks.iter().map(|placed| (placed.start, placed.chunk)).collect::<Vec<_>>(), wanted);
    assert!(store.reads.load(Relaxed) <= 3, "{:?}", store.reads);
}

#[test]
fn many_ranges_and_large_attributes_leave_the_page() {
    let store = Store::default();
    let data: Vec<_> = (0..50_000).map(|n| DataRange { offset: n * 8192, length: 4096 }).collect();
    let kind = EntryKind::File { size: 50_000 * 8192, data: Some(data) };
    let mut entry = Entry::new(path("sparse"), kind, Metadata::default());
    let value = vec![b'v'; 65_536].into();
    entry.metadata.xattrs = vec![persist_core::tree::Xattr { name: b"user.large".to_vec(), value }];
    let chunks = (0..50).map(|n| chunk(n, 4096 * 1000)).collect();
    let stored = StoredEntry::new(entry).with_content(Content::Chunks(chunks));
    let root = build(&small(), &store, &super::store::model([stored.clone()]));
    assert!(root.at.bytes < 1000, "the leaf holds references only");
    let tree = Tree::new(&small(), store.shared(), &root);
    assert_eq!(run(whole(&tree)), [stored]);
}

#[test]
fn what_a_reader_would_refuse_is_never_written() {
    let with = |change: fn(&mut Entry)| {
        let mut stored = file("f", 1, 10);
        change(&mut stored.entry);
        stored
    };
    let short = file("f", 1, 10).with_content(Content::Chunks(vec![chunk(1, 9)]));
    for (bad, kind) in [
        (with(|e| e.metadata.mode = 0o10000), ErrorKind::Invalid),
        (with(|e| e.metadata.mtime_ns = 1_000_000_000), ErrorKind::Invalid),
        (with(|e| e.link = Some(path("g"))), ErrorKind::Invalid),
        (with(|e| e.kind = EntryKind::Symlink { target: Vec::new() }), ErrorKind::Invalid),
        (
            with(|e| e.path = TreePath::new(vec![b"x".as_slice(); 16_385].join(&b'/')).unwrap()),
            ErrorKind::Exhausted,
        ),
        (short, ErrorKind::Invalid),
    ] {
        let mut sink = Store::default();
        let error = TreeBuilder::new(&small(), &mut sink).push(bad).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let mut sink = Store::default();
    let mut builder = TreeBuilder::new(&small(), &mut sink);
    builder.push(file("b", 1, 1)).unwrap();
    assert_eq!(builder.push(file("a", 1, 1)).unwrap_err().kind(), ErrorKind::Invalid);
}
