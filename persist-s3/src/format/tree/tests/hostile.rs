use super::store::{Store, all, any_model, build, file, many, model, path, run, small, standard};
use crate::format::{
    location::TreeRoot,
    tree::{
        PageSink, Tree, TreeFormat,
        entry::PageRef,
        list,
        page::{Child, LEVEL_MAX, Page, PageWriter},
        spill::{read_ranges, read_xattrs},
    },
};
use persist_core::{ErrorKind, tree::TreePath};
use proptest::prelude::*;

/// A tree whose root holds `children` as a hostile writer says, with valid ids.
fn crowned(format: &TreeFormat, store: &Store, level: u8, children: &[Child]) -> TreeRoot {
    let mut page = PageWriter::new(level);
    children.iter().for_each(|child| page.put_child(child).unwrap());
    let filled = page.take();
    let at = store.clone().put(&filled.bytes).unwrap();
    TreeRoot { at, id: format.id(&filled.bytes), totals: filled.totals, height: level }
}

fn child(root: &TreeRoot, first: &str) -> Child {
    Child { first: path(first), page: PageRef { id: root.id, at: root.at }, totals: root.totals }
}

#[track_caller]
fn is_corrupt(format: &TreeFormat, store: &Store, root: &TreeRoot) {
    let error = run(all(&Tree::new(format, store.shared(), root))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("read tree page"), "{error}");
}

#[test]
fn pages_that_are_not_where_the_page_above_says_are_corrupt() {
    let (format, store) = (small(), Store::default());
    let leaf = |names: &[&str]| build(&format, &store, &model(names.iter().map(|name| file(name, 1, 1))));
    let (ab, bc, d) = (leaf(&["a", "b"]), leaf(&["b", "c"]), leaf(&["d"]));
    assert_eq!((ab.height, bc.height), (0, 0));
    is_corrupt(&format, &store, &crowned(&format, &store, 1, &[child(&ab, "a"), child(&bc, "b")]));
    is_corrupt(&format, &store, &crowned(&format, &store, 1, &[child(&ab, "a"), child(&ab, "c")]));
    is_corrupt(&format, &store, &crowned(&format, &store, 1, &[child(&d, "d"), child(&ab, "a")]));
    is_corrupt(&format, &store, &crowned(&format, &store, 2, &[child(&ab, "a"), child(&d, "d")]));
    let lies = Child { totals: persist_core::tree::TreeTotals { files: 1, bytes: 1 }, ..child(&ab, "a") };
    is_corrupt(&format, &store, &crowned(&format, &store, 1, &[lies, child(&d, "d")]));
    let honest = crowned(&format, &store, 1, &[child(&ab, "a"), child(&d, "d")]);
    assert_eq!(run(all(&Tree::new(&format, store.shared(), &honest))).unwrap().len(), 3);
}

#[test]
fn a_tree_that_says_it_is_deeper_than_any_is_not_walked() {
    let (format, store) = (small(), Store::default());
    let root = build(&format, &store, &many(3));
    for height in [1, LEVEL_MAX, LEVEL_MAX + 1, u8::MAX] {
        is_corrupt(&format, &store, &TreeRoot { height, ..root });
    }
}

#[test]
fn a_flipped_bit_of_any_page_is_corrupt() {
    let (format, store) = (small(), Store::default());
    let root = build(&format, &store, &many(60));
    for (at, page) in store.pages() {
        let mut bytes = page.to_vec();
        bytes[page.len() / 2] ^= 1;
        store.plant(at, bytes);
        is_corrupt(&format, &store, &root);
        store.plant(at, page.to_vec());
    }
    assert!(run(all(&Tree::new(&format, store.shared(), &root))).is_ok());
}

#[test]
fn a_page_of_another_volume_is_corrupt() {
    let store = Store::default();
    let root = build(&small(), &store, &many(3));
    is_corrupt(&standard(8), &store, &root);
}

#[test]
fn what_does_not_fit_is_refused_before_memory_is_taken() {
    // A count, a path and a list that claim exabytes.
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let count = [&[1, 0][..], &huge].concat();
    let suffix = [&[1, 0, 1, 0, 0][..], &huge, &[0; 64]].concat();
    let ranges = [&[1, 0, 1, 0b10_0001, 0, 1, b'a', 0, 0, 0, 0, 0, 1, 0, 0, 9][..], &huge].concat();
    for bytes in [count, suffix, ranges, vec![0; 1 << 20]] {
        assert_eq!(Page::decode(&bytes, 0).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(Page::decode(&bytes, 1).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

fn try_everything(bytes: &[u8]) {
    for level in 0..4 {
        let _ = Page::decode(bytes, level);
        let _ = list::decode(bytes, 0, level);
    }
    let (_, _) = (read_xattrs(bytes), read_ranges(bytes));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..300), kind in 0..3_u8) {
        try_everything(&body);
        try_everything(&[&[1, kind][..], &body].concat());
        try_everything(&[&[1, 0xc0 | kind][..], &body].concat());
    }

    #[test]
    fn a_mutated_page_is_refused_or_is_a_page(
        entries in any_model(1..12),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let store = Store::default();
        build(&small(), &store, &entries);
        for (_, page) in store.pages() {
            let mut bytes = page.to_vec();
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            try_everything(&bytes);
            if let Ok(Page::Leaf(records)) = Page::decode(&bytes, 0) {
                prop_assert!(records.is_sorted_by(|a, b| a.path < b.path));
                prop_assert!(records.iter().all(|r| TreePath::new(r.path.as_bytes()).is_ok()));
            }
        }
    }
}
