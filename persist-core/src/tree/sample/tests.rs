use super::*;

#[test]
fn what_is_planted_is_described_and_a_change_of_any_facet_is_seen() {
    let root = tempfile::tempdir().unwrap();
    let planted = plant(root.path(), Row::ALL).unwrap();
    assert_eq!(planted.len(), Row::ALL.len());
    let before = describe(root.path()).unwrap();
    for (row, outcome) in &planted {
        let path = crate::tree::TreePath::new(row.name()).unwrap();
        assert_eq!(before.contains_key(&path), *outcome == Planted::Here, "{row:?} {outcome:?}");
    }
    assert!(planted.iter().filter(|(_, outcome)| *outcome == Planted::Here).count() > 15, "{planted:?}");
    unlock(root.path()).unwrap();
    std::fs::write(root.path().join("hard links/first"), b"two file, three names").unwrap();
    let after = describe(root.path()).unwrap();
    let seen = differences(&before, &after, &["mtime", "mode"]);
    let content = seen.iter().filter(|line| line.contains(": content:")).count();
    assert_eq!(content, 3, "one file of three names was written: {seen:?}");
}
