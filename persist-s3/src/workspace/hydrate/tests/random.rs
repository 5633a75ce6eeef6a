//! Any tree becomes any other by the difference.

use super::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Node {
    File(u8, u32),
    Link(u8),
    Name(usize),
    Directory(u32),
}

type Planted = BTreeMap<String, Node>;

fn trees() -> impl Strategy<Value = Planted> {
    let mode = prop::sample::select(vec![0o600_u32, 0o755, 0o4755]);
    let node = prop_oneof![
        4 => (0..3_u8, mode.clone()).prop_map(|(content, mode)| Node::File(content, mode)),
        1 => (0..3_u8).prop_map(Node::Link),
        2 => (0..9_usize).prop_map(Node::Name),
        2 => mode.prop_map(Node::Directory),
    ];
    let path = prop::collection::vec("[abc]", 1..4).prop_map(|parts| parts.join("/"));
    prop::collection::btree_map(path, node, 0..14)
}

/// Plants what fits: a path below what is no directory is left out. All times are one of two.
fn plant(at: &Path, tree: &Planted) {
    let mut files = Vec::new();
    for (path, node) in tree {
        let path = at.join(path);
        if fs::create_dir_all(path.parent().unwrap()).is_err() || fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        let mode = match node {
            Node::File(content, mode) => {
                fs::write(&path, vec![*content; usize::from(*content) * 5]).unwrap();
                files.push(path.clone());
                Some(*mode)
            }
            Node::Link(to) => {
                symlink(to.to_string(), &path).unwrap();
                None
            }
            Node::Name(n) if !files.is_empty() => {
                fs::hard_link(&files[n % files.len()], &path).unwrap();
                None
            }
            Node::Name(_) => None,
            Node::Directory(mode) => {
                fs::create_dir(&path).unwrap();
                Some(mode | 0o700)
            }
        };
        mode.into_iter()
            .for_each(|mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_tree_becomes_any_other(commits in prop::collection::vec(trees(), 2..4)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::plain();
            let workspace = bench.open().await.serve(&volume()).await.unwrap();
            for (seq, tree) in commits.iter().enumerate() {
                let source = bench.dir.path().join(seq.to_string());
                fs::create_dir(&source).unwrap();
                plant(&source, tree);
                let next = Commit::of(&source);
                let name = Some(commit(seq as u64));
                let report = workspace.hydrate(name, next.clone(), &Meter::default()).await.unwrap();
                assert_eq!(report.way == HydratedBy::Whole, seq == 0, "{report:?}");
                assert_same(&source, &workspace).await;
                assert_eq!(changes(&workspace, &next).await.len(), 0);
            }
        });
    }
}
