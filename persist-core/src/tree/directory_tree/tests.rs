use super::*;
use std::{collections::BTreeSet, fs, os::unix::fs::symlink};

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("a/b/c")).unwrap();
    fs::create_dir_all(at("a.b")).unwrap();
    for file in ["a/b/c/x", "a/z", "a.b/y", "n"] {
        fs::write(at(file), file).unwrap();
    }
    fs::hard_link(at("a/z"), at("m")).unwrap();
    symlink("/", at("a/root")).unwrap();
    dir
}

async fn all(tree: &DirectoryTree, after: Option<TreePath>) -> Vec<Entry> {
    tree.entries(after).try_collect().await.unwrap()
}

#[tokio::test]
async fn entries_come_in_path_order_and_the_stream_can_begin_after_any() {
    let dir = tree();
    let tree = DirectoryTree::open(dir.path()).unwrap();
    let entries = all(&tree, None).await;
    let paths: Vec<_> = entries.iter().map(|e| e.path.clone()).collect();
    assert!(paths.is_sorted());
    let shown: Vec<_> = paths.iter().map(ToString::to_string).collect();
    assert_eq!(shown, [".", "a", "a/b", "a/b/c", "a/b/c/x", "a/root", "a/z", "a.b", "a.b/y", "m", "n"]);
    for (index, path) in paths.iter().enumerate() {
        assert_eq!(all(&tree, Some(path.clone())).await, entries[index + 1..], "after {path}");
        assert_eq!(tree.entry(path).await.unwrap().as_ref(), Some(&entries[index]));
    }
    let between = TreePath::new("a/b/cc").unwrap();
    assert_eq!(all(&tree, Some(between.clone())).await, entries[5..], "after a path that is not there");
    assert_eq!(tree.entry(&between).await.unwrap(), None);
}

#[tokio::test]
async fn a_file_of_two_names_says_which_comes_first() {
    let dir = tree();
    let entries = all(&DirectoryTree::open(dir.path()).unwrap(), None).await;
    let link = |path: &str| entries.iter().find(|e| e.path.to_string() == path).unwrap().link.clone();
    let first = Some(TreePath::new("a/z").unwrap());
    assert_eq!((link("a/z"), link("m"), link("n")), (first.clone(), first, None));
}

#[tokio::test]
async fn a_read_is_cut_at_the_end_and_never_follows_a_link() {
    let dir = tree();
    let tree = DirectoryTree::open(dir.path()).unwrap();
    let path = |text: &str| TreePath::new(text).unwrap();
    assert_eq!(tree.read(&path("a/b/c/x"), 2..100).await.unwrap(), "b/c/x");
    assert_eq!(tree.read(&path("a/b/c/x"), 50..100).await.unwrap(), "");
    assert_eq!(tree.read(&path("a"), 0..1).await.unwrap_err().kind(), ErrorKind::Invalid);
    for outside in ["a/root", "a/root/etc/passwd"] {
        assert_eq!(tree.read(&path(outside), 0..1).await.unwrap_err().kind(), ErrorKind::Denied);
    }
}

#[tokio::test]
async fn a_deep_tree_keeps_few_descriptors_open() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join(["d"; 100].join("/"));
    fs::create_dir_all(&deep).unwrap();
    (0..3).for_each(|n| fs::write(deep.join(n.to_string()), "").unwrap());
    fs::write(dir.path().join("z"), "").unwrap();
    let mut walker = Walker::new(Arc::clone(&DirectoryTree::open(dir.path()).unwrap().0), None).unwrap();
    let mut seen = 0;
    while let (next, batch) = walker.batch(1).unwrap()
        && !batch.is_empty()
    {
        (walker, seen) = (next, seen + 1);
        assert!(walker.open() <= 16, "{}", walker.open());
    }
    assert_eq!(seen, 1 + 100 + 3 + 1);
}

#[tokio::test]
async fn what_vanishes_is_refused_or_counted_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let names: BTreeSet<_> = (0..BATCH * 3).map(|n| format!("{n:04}")).collect();
    names.iter().for_each(|name| fs::write(dir.path().join(name), "").unwrap());
    for on_loss in [OnLoss::Refuse, OnLoss::Report] {
        let tree = DirectoryTree::open(dir.path()).unwrap().with_losses(on_loss);
        let mut entries = tree.entries(None);
        entries.next().await.unwrap().unwrap();
        fs::remove_file(dir.path().join(names.last().unwrap())).unwrap();
        let rest: Result<Vec<Entry>> = entries.try_collect().await;
        fs::write(dir.path().join(names.last().unwrap()), "").unwrap();
        match on_loss {
            OnLoss::Refuse => assert!(rest.is_err()),
            OnLoss::Report => {
                assert_eq!(rest.unwrap().len(), names.len() - 1);
                assert_eq!(tree.losses().count(Loss::Vanished), 1);
            }
        }
    }
}
