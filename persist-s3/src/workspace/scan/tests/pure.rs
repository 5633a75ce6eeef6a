//! The merge against a full comparison, on trees that were never on a filesystem.

use super::super::{
    merge::{Judged, Known, Merge, Passed, judge},
    open::Privilege,
};
use crate::workspace::record::{Applied, Freshness, Row};
use persist_core::tree::{Found, Handle, Inside, Kind, Stat, TreePath};
use proptest::prelude::*;
use std::{collections::BTreeMap, os::fd::AsFd};

/// What a tree has at a path: an inode, and its state.
type Tree = BTreeMap<TreePath, (u64, u8)>;

fn trees() -> impl Strategy<Value = Tree> {
    let path = prop::collection::vec("[ab.]{1,2}", 1..4)
        .prop_filter_map("no path", |parts| TreePath::new(parts.join("/")).ok());
    prop::collection::btree_map(path, (0..3_u64, 0..3_u8), 0..20)
}

fn stat(inode: u64, state: u8) -> Stat {
    let null = std::fs::File::open("/dev/null").unwrap();
    let stat = Stat::of(Handle::Open(null.as_fd())).unwrap();
    Stat { kind: Kind::File, ino: inode, ctime: (i64::from(state), 0), links: 1, ..stat }
}

fn row(path: &TreePath, inode: u64, state: u8, freshness: Freshness) -> Row {
    let applied = Applied::new(&stat(inode, state), &[], None, None);
    Row { path: path.clone(), applied, freshness, reference: Vec::new() }
}

/// Runs the merge as a scan does; what it says of each path.
fn merged(
    before: &Tree,
    after: &Tree,
    racy: u8,
    covered: Option<&TreePath>,
) -> BTreeMap<TreePath, &'static str> {
    let freshness = |state: u8| if state == racy { Freshness::Racy } else { Freshness::Settled };
    let known = |(path, (ino, state)): (&TreePath, &(u64, u8))| {
        Ok(Known::Row(row(path, *ino, *state, freshness(*state))))
    };
    let (mut merge, mut said) = (Merge::new(before.iter().map(known)), BTreeMap::new());
    for (path, (ino, state)) in after {
        while let Some(passed) = merge.pass(Some(path)).unwrap() {
            say(&mut said, passed);
        }
        let known = merge.at(path).unwrap();
        if covered == Some(path) {
            merge.carry_below(path.clone());
        }
        let found = Found::new(path.clone(), stat(*ino, *state), Inside::Nothing);
        let what = match judge(known, &found, None, Privilege::Full) {
            Judged::Same(_) => "same",
            Judged::Read(None) => "added",
            Judged::Read(Some(_)) => "read",
        };
        assert!(said.insert(path.clone(), what).is_none());
    }
    while let Some(passed) = merge.pass(None).unwrap() {
        say(&mut said, passed);
    }
    said
}

fn say(said: &mut BTreeMap<TreePath, &'static str>, passed: Passed) {
    let (row, what) = match passed {
        Passed::Covered(row) => (row, "same"),
        Passed::Removed(row) => (row, "removed"),
    };
    assert!(said.insert(row.path, what).is_none());
}

proptest! {
    #[test]
    fn a_merge_says_of_each_path_what_a_full_comparison_says(
        before in trees(), after in trees(), racy in 0..4_u8,
    ) {
        let said = merged(&before, &after, racy, None);
        for path in before.keys().chain(after.keys()) {
            let wanted = match (before.get(path), after.get(path)) {
                (Some(_), None) => "removed",
                (None, _) => "added",
                (Some(a), Some(b)) if a == b && a.1 != racy => "same",
                _ => "read",
            };
            prop_assert_eq!(said.get(path), Some(&wanted), "{}", path);
        }
        prop_assert!(said.keys().all(|path| before.contains_key(path) || after.contains_key(path)));
    }

    #[test]
    fn what_lies_below_a_place_that_cannot_be_looked_into_is_never_removed(
        before in trees(), n in any::<prop::sample::Index>(),
    ) {
        prop_assume!(!before.is_empty());
        let covered = before.keys().nth(n.index(before.len())).unwrap().clone();
        let seen = |path: &TreePath| !path.as_path().starts_with(covered.as_path()) || *path == covered;
        let after = before.iter().filter(|(path, _)| seen(path)).map(|(path, at)| (path.clone(), *at)).collect();
        let said = merged(&before, &after, 9, Some(&covered));
        prop_assert!(said.values().all(|what| *what == "same"), "{:?} below {}", said, covered);
    }
}
