//! Directories with links planted at every level: they are kept as links, and never followed.

use crate::sentinel::{Ground, SECRET};
use futures::TryStreamExt;
use persist_core::{
    ErrorKind,
    progress::Meter,
    tree::{
        ApplyOptions, Aspects, DirectoryTree, Entry, EntryKind, TreePath, TreeSource, apply,
        compare_directories,
        sample::{describe, differences},
    },
};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where links are planted, and to what: absolute, relative, chained, circular, and through /proc.
fn plant(ground: &Ground) -> Vec<TreePath> {
    let (root, outside) = (ground.source(), ground.outside());
    let targets: Vec<PathBuf> = vec![
        outside.clone(),
        outside.join("passwd"),
        "../outside".into(),
        "../../outside/victim".into(),
        "/".into(),
        "..".into(),
        ".".into(),
        "link 0".into(),
        "link 8".into(),
        "/proc/self/root".into(),
        "/proc/self/cwd".into(),
        "/proc/self/fd".into(),
        "/dev/stdin".into(),
    ];
    let mut planted = Vec::new();
    for level in ["", "a", "a/b", "a/b/c"] {
        fs::create_dir_all(root.join(level)).unwrap();
        fs::write(root.join(level).join("file"), "inside").unwrap();
        for (index, target) in targets.iter().enumerate() {
            let path = Path::new(level).join(format!("link {index}"));
            symlink(target, root.join(&path)).unwrap();
            planted.push(TreePath::new(path.into_os_string().into_encoded_bytes()).unwrap());
        }
    }
    planted
}

#[tokio::test]
async fn planted_links_are_read_as_links_and_nothing_is_reached_through_them() {
    let ground = Ground::new();
    let planted = plant(&ground);
    let tree = DirectoryTree::open(&ground.source()).unwrap();
    let entries: Vec<Entry> = tree.entries(None).try_collect().await.unwrap();
    assert_eq!(entries.len(), 4 + 4 + planted.len());
    let is_link = |entry: &&Entry| matches!(entry.kind, EntryKind::Symlink { .. });
    assert_eq!(entries.iter().filter(is_link).count(), planted.len());
    for path in &planted {
        assert_eq!(tree.read(path, 0..100).await.unwrap_err().kind(), ErrorKind::Denied, "{path}");
        for name in ["passwd", "victim/f0", "etc/passwd", "source/file", "0"] {
            let through = TreePath::new(format!("{path}/{name}")).unwrap();
            if let Ok(bytes) = tree.read(&through, 0..100).await {
                assert_ne!(bytes, SECRET, "{through}");
                panic!("{through} was read through a link");
            }
            assert!(!matches!(tree.entry(&through).await, Ok(Some(_))), "{through} was seen through a link");
        }
    }
    ground.check("read as a source");
}

#[tokio::test]
async fn planted_links_are_kept_as_links() {
    let ground = Ground::new();
    plant(&ground);
    let source = Arc::new(DirectoryTree::open(&ground.source()).unwrap());
    apply(source, &ground.target(), ApplyOptions::default()).await.unwrap();
    let (from, to) = (describe(&ground.source()).unwrap(), describe(&ground.target()).unwrap());
    assert_eq!(differences(&from, &to, &[]), [""; 0]);
    let changes =
        compare_directories(&ground.source(), &ground.target(), Aspects::STAT, &Meter::default()).unwrap();
    assert_eq!(changes, []);
    ground.check("applied");
}

#[tokio::test]
async fn a_fifo_in_the_place_of_a_file_does_not_block() {
    let ground = Ground::new();
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, ground.source().join("p"), rustix::fs::FileType::Fifo, mode, 0)
        .unwrap();
    let tree = DirectoryTree::open(&ground.source()).unwrap();
    let error = tree.read(&TreePath::new("p").unwrap(), 0..1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
