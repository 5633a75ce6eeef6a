use super::store::{
    Model, Store, any_entry, any_model, any_path, build, changed, chunk, file, many, path, run, small,
    standard,
};
use crate::format::tree::{Change, Content, StoredEntry, Tree};
use persist_core::{
    ErrorKind,
    tree::{Entry, EntryKind, Metadata, TreePath},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

fn any_change() -> impl Strategy<Value = Change> {
    any_path().prop_flat_map(|at| {
        prop_oneof![
            3 => any_entry(at.clone()).prop_map(|stored| Change::Put(Box::new(stored))),
            2 => Just(Change::Remove(at.clone())),
            1 => Just(Change::RemoveSubtree(at)),
        ]
    })
}

/// At most one change a path, in order.
fn any_changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(any_change(), 0..12).prop_map(|changes| {
        let by_path: BTreeMap<TreePath, Change> =
            changes.into_iter().map(|change| (change.path().clone(), change)).collect();
        by_path.into_values().collect()
    })
}

fn apply(model: &mut Model, change: &Change) {
    match change {
        Change::Put(stored) => {
            model.insert(stored.entry.path.clone(), (**stored).clone());
        }
        Change::Remove(at) => {
            model.remove(at);
        }
        Change::RemoveSubtree(at) => model.retain(|path, _| !within(at, path)),
    }
}

fn within(top: &TreePath, path: &TreePath) -> bool {
    top.components().zip(path.components()).all(|(a, b)| a == b)
        && path.components().count() >= top.components().count()
}

/// What is put below a removed directory afterwards stays.
fn applied(base: &Model, changes: &[Change]) -> Model {
    let mut model = base.clone();
    changes.iter().for_each(|change| apply(&mut model, change));
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_changed_tree_is_the_tree_built_anew(base in any_model(0..120), changes in any_changes()) {
        let store = Store::default();
        let old = build(&small(), &store, &base);
        let wanted = build(&small(), &Store::default(), &applied(&base, &changes));
        let new = run(changed(&small(), &store, &old, changes)).unwrap();
        prop_assert_eq!(new, wanted);
    }
}

#[test]
fn every_single_change_of_a_deep_tree_gives_the_tree_built_anew() {
    let (store, base) = (Store::default(), many(300));
    let old = build(&small(), &store, &base);
    assert!(old.height >= 2, "{old:?}");
    let mut at: Vec<TreePath> = base.keys().cloned().collect();
    at.extend([TreePath::root(), path("d0001"), path("d0002"), path("zz")]);
    for at in at {
        let put = file(&String::from_utf8_lossy(at.as_bytes()), 9999, 7);
        for change in
            [Change::Remove(at.clone()), Change::RemoveSubtree(at.clone()), Change::Put(Box::new(put))]
        {
            let wanted = build(&small(), &Store::default(), &applied(&base, std::slice::from_ref(&change)));
            assert_eq!(
                run(changed(&small(), &store, &old, vec![change.clone()])).unwrap(),
                wanted,
                "{change:?}"
            );
        }
    }
}

#[test]
fn no_change_writes_nothing_and_gives_the_same_tree() {
    let store = Store::default();
    let old = build(&small(), &store, &many(300));
    store.reset();
    assert_eq!(run(changed(&small(), &store, &old, Vec::new())).unwrap(), old);
    let same = Change::Put(Box::new(file("d0001/some file 07", 107, 1107)));
    assert_eq!(run(changed(&small(), &store, &old, vec![same])).unwrap(), old);
    assert_eq!(store.puts.load(Relaxed), 0);
}

#[test]
fn a_few_changes_of_many_entries_touch_a_few_pages() {
    let (format, store) = (standard(3), Store::default());
    let base = many(50_000);
    let old = build(&format, &store, &base);
    assert_eq!(old.height, 1);
    store.reset();
    let changes: Vec<_> = (0..10_u32)
        .map(|n| Change::Put(Box::new(file(&format!("d{:04}/some file 50", n * 50), 1 << 20, 1))))
        .collect();
    let new = run(changed(&format, &store, &old, changes.clone())).unwrap();
    // A leaf for each, now and then the one after it, and the root.
    assert!(store.puts.load(Relaxed) <= 15, "{:?}", store.puts);
    assert!(store.reads.load(Relaxed) <= 15, "{:?}", store.reads);
    assert_eq!(new, build(&format, &Store::default(), &applied(&base, &changes)));
    store.reset();
    let gone = vec![Change::RemoveSubtree(path("d0100")), Change::RemoveSubtree(path("d0300"))];
    run(changed(&format, &store, &old, gone)).unwrap();
    assert!(store.reads.load(Relaxed) <= 9, "a removed directory is not read: {:?}", store.reads);
}

#[test]
fn a_changed_chunk_of_a_large_file_writes_one_page_of_its_list() {
    let (format, store) = (standard(3), Store::default());
    let large = |changed: Option<u32>| {
        let chunks: Vec<_> =
            (0..20_000).map(|n| chunk(if Some(n) == changed { 1 << 30 } else { n }, 1 << 20)).collect();
        let kind = EntryKind::File { size: 20_000 << 20, data: None };
        let entry = Entry::new(path("large"), kind, Metadata::default());
        StoredEntry::new(entry).with_content(Content::Chunks(chunks))
    };
    let old = build(&format, &store, &super::store::model([large(None)]));
    store.reset();
    let change = Change::Put(Box::new(large(Some(7000))));
    let new = run(changed(&format, &store, &old, vec![change])).unwrap();
    assert!(store.puts.load(Relaxed) <= 4, "one of its chunks, one above, and the leaf: {:?}", store.puts);
    assert!(store.reads.load(Relaxed) <= 2, "the leaf and the page above the chunks: {:?}", store.reads);
    assert_eq!(new, build(&format, &Store::default(), &super::store::model([large(Some(7000))])));
}

#[test]
fn removing_most_of_a_tree_reads_only_its_edges() {
    let store = Store::default();
    let base = many(2000);
    let old = build(&small(), &store, &base);
    store.reset();
    let changes: Vec<_> = (1..19).map(|n| Change::RemoveSubtree(path(&format!("d{n:04}")))).collect();
    let new = run(changed(&small(), &store, &old, changes.clone())).unwrap();
    assert_eq!(new, build(&small(), &Store::default(), &applied(&base, &changes)));
    assert!(store.reads.load(Relaxed) < 250, "{:?}", store.reads);
}

#[test]
fn changes_out_of_order_are_refused() {
    let store = Store::default();
    let old = build(&small(), &store, &many(10));
    let put = || Change::Put(Box::new(file("a", 1, 1)));
    let gone = || Change::RemoveSubtree(path("a"));
    for bad in [vec![put(), put()], vec![put(), gone()], vec![Change::Remove(path("b")), put()]] {
        let error = run(changed(&small(), &store, &old, bad)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let good = run(changed(&small(), &store, &old, vec![gone(), put()])).unwrap();
    let tree = Tree::new(&small(), store.shared(), &good);
    assert!(run(tree.lookup(&path("a"))).unwrap().is_some(), "put after its subtree was removed");
}
