use super::store::{
    Model, Store, all, any_model, any_path, build, changed, file, many, path, run, small, standard,
};
use crate::format::tree::{Change, EntryChange, Tree, diff};
use futures::TryStreamExt;
use proptest::prelude::*;
use std::{collections::BTreeSet, sync::atomic::Ordering::Relaxed};

fn differences(before: &Model, after: &Model) -> Vec<EntryChange> {
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    paths
        .into_iter()
        .map(|path| EntryChange { before: before.get(path).cloned(), after: after.get(path).cloned() })
        .filter(|change| change.before != change.after)
        .collect()
}

/// Where only the paths matter: a long list of chunks comes back as a list.
fn paths(changes: &[EntryChange]) -> Vec<String> {
    let shown = |change: &EntryChange| {
        let path =
            change.before.as_ref().or(change.after.as_ref()).map(|stored| stored.entry.path.to_string());
        format!("{}{}{}", change.before.is_some(), change.after.is_some(), path.unwrap_or_default())
    };
    changes.iter().map(shown).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn a_walk_may_begin_anywhere_and_a_lookup_finds_what_is_there(
        entries in any_model(0..80),
        at in any_path(),
    ) {
        let store = Store::default();
        let tree = Tree::new(&small(), store.shared(), &build(&small(), &store, &entries));
        let after: Vec<_> = run(tree.entries(Some(at.clone())).try_collect()).unwrap();
        let got: Vec<_> = after.iter().map(|stored| &stored.entry).collect();
        let wanted: Vec<_> =
            entries.values().map(|stored| &stored.entry).filter(|entry| entry.path > at).collect();
        prop_assert_eq!(got, wanted);
        for path in entries.keys().chain([&at]) {
            let found = run(tree.lookup(path)).unwrap().map(|stored| stored.entry);
            prop_assert_eq!(found, entries.get(path).map(|stored| stored.entry.clone()));
        }
    }

    #[test]
    fn a_difference_is_what_differs(before in any_model(0..80), after in any_model(0..40)) {
        let mut mixed = before.clone();
        mixed.extend(after);
        let store = Store::default();
        let open = |model| Tree::new(&small(), store.shared(), &build(&small(), &store, model));
        let (a, b) = (open(&before), open(&mixed));
        for (a, b, models) in [(&a, &b, (&before, &mixed)), (&b, &a, (&mixed, &before))] {
            let got: Vec<_> = run(diff(a, b).try_collect()).unwrap();
            prop_assert_eq!(paths(&got), paths(&differences(models.0, models.1)));
        }
    }
}

#[test]
fn a_difference_reads_no_page_that_both_trees_share() {
    let (format, store) = (standard(3), Store::default());
    let old = build(&format, &store, &many(50_000));
    let change = Change::Put(Box::new(file("d0100/some file 50", 1, 1)));
    let new = run(changed(&format, &store, &old, vec![change])).unwrap();
    let open = |root| Tree::new(&format, store.shared(), root);
    store.reset();
    let changes: Vec<_> = run(diff(&open(&old), &open(&new)).try_collect()).unwrap();
    assert_eq!(paths(&changes), ["truetrued0100/some file 50"]);
    assert!(store.reads.load(Relaxed) <= 6, "{:?}", store.reads);
    store.reset();
    assert!(run(diff(&open(&old), &open(&old)).try_collect::<Vec<_>>()).unwrap().is_empty());
    assert_eq!(store.reads.load(Relaxed), 0);
}

#[test]
fn one_entry_of_many_costs_a_page_of_each_level() {
    let (format, store) = (standard(3), Store::default());
    let root = build(&format, &store, &many(50_000));
    store.reset();
    let tree = Tree::new(&format, store.shared(), &root);
    assert!(run(tree.lookup(&path("d0321/some file 21"))).unwrap().is_some());
    assert_eq!(store.reads.load(Relaxed), 2);
    store.reset();
    assert_eq!(run(all(&tree)).unwrap().len(), 50_000);
    assert_eq!(store.reads.load(Relaxed), store.pages().len() - 1, "each page once, the root is at hand");
}
