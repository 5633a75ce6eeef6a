use super::*;
use crate::workspace::{
    hydrate::known,
    scan::{Change, ScanOptions, Tree, What},
    tests::{Bench, Commit, commit, volume},
};
use futures::TryStreamExt;
use persist_core::tree::{Aspects, CompareOptions, DirectoryTree, compare};
use proptest::prelude::*;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::atomic::Ordering::Relaxed,
};

mod random;

async fn assert_same(wanted: &Path, workspace: &Workspace) {
    let live = workspace.live(&CallOptions::default()).await.unwrap();
    let [wanted, found] = [wanted, live.path()].map(|at| Arc::new(DirectoryTree::open(at).unwrap()));
    let options = CompareOptions::exact().with_aspects(Aspects::all().difference(Aspects::HOLES));
    let differ: Vec<_> = compare(wanted, found, options).try_collect().await.unwrap();
    assert_eq!(differ, []);
}

/// What a scan of the live tree says, with the record that is there or without one.
async fn changes(workspace: &Workspace, tree: &Arc<Commit>) -> Vec<Change> {
    let (live, rows) =
        (workspace.live(&CallOptions::default()).await.unwrap(), workspace.rows().await.unwrap());
    assert!(rows.is_some(), "no record");
    let (stamp, drafts, of) =
        (workspace.stamp().await.unwrap(), workspace.drafts().to_owned(), workspace.of());
    let tree = Arc::clone(tree);
    metered(Meter::default(), move |_| {
        let mut changes = Vec::new();
        let live = Tree::open(live.path(), stamp)?;
        live.scan(known(rows, &*tree), (&drafts, of), &ScanOptions::default(), &mut |change| {
            changes.push(change);
            Ok(())
        })?;
        Ok(changes)
    })
    .await
    .unwrap()
}

fn plant(at: &Path) {
    for dir in ["a/b", "kept/deep", "gone/in", "turns"] {
        fs::create_dir_all(at.join(dir)).unwrap();
    }
    for n in 0..300 {
        fs::write(at.join(format!("kept/{n}")), format!("content {n}")).unwrap();
    }
    fs::write(at.join("a/b/changes"), "old").unwrap();
    fs::write(at.join("gone/in/file"), "x").unwrap();
    fs::write(at.join("turns/file"), "x").unwrap();
    fs::write(at.join("kept/deep/one"), "x").unwrap();
    fs::hard_link(at.join("kept/deep/one"), at.join("z-second-name")).unwrap();
    symlink("kept", at.join("link")).unwrap();
}

/// Another commit on what [`plant`] made, in place: the times of what stays are the same.
fn change(at: &Path) {
    fs::write(at.join("a/b/changes"), "new").unwrap();
    fs::set_permissions(at.join("kept/7"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::remove_dir_all(at.join("gone")).unwrap();
    fs::remove_dir_all(at.join("turns")).unwrap();
    fs::write(at.join("turns"), "a file").unwrap();
    fs::create_dir_all(at.join("new/dir")).unwrap();
    fs::write(at.join("new/dir/file"), "made").unwrap();
    fs::hard_link(at.join("kept/deep/one"), at.join("new/dir/third-name")).unwrap();
    fs::remove_file(at.join("link")).unwrap();
    symlink("new", at.join("link")).unwrap();
    fs::set_permissions(at.join("a"), fs::Permissions::from_mode(0o1770)).unwrap();
}

/// A workspace that has nothing yet, and what is to come.
async fn planted(bench: &Bench) -> (Workspace, std::path::PathBuf) {
    let source = bench.dir.path().join("commit");
    fs::create_dir(&source).unwrap();
    plant(&source);
    (bench.open().await.serve(&volume()).await.unwrap(), source)
}

async fn hydrated(bench: &Bench) -> (Workspace, std::path::PathBuf) {
    let (workspace, source) = planted(bench).await;
    let report = workspace.hydrate(Some(commit(1)), Commit::of(&source), &Meter::default()).await.unwrap();
    assert_eq!((report.way, report.remarks), (HydratedBy::Whole, vec![]));
    (workspace, source)
}

#[tokio::test]
async fn a_hydrated_tree_is_that_of_the_commit_and_nothing_of_it_needs_to_be_read_again() {
    for bench in [Some(Bench::plain()), Bench::btrfs()].into_iter().flatten() {
        let (workspace, source) = hydrated(&bench).await;
        assert_same(&source, &workspace).await;
        assert_eq!(changes(&workspace, &Commit::of(&source)).await.len(), 0);
        assert_eq!(workspace.state().hydrated, crate::workspace::state::Hydrated::Whole);
    }
}

#[tokio::test]
async fn an_attribute_is_recorded_so_that_it_is_missed_when_it_goes() {
    let bench = Bench::plain();
    let (workspace, source) = planted(&bench).await;
    let none = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(source.join("kept/3"), "user.mark", b"meant", none).unwrap();
    let tree = Commit::of(&source);
    workspace.hydrate(Some(commit(1)), tree.clone(), &Meter::default()).await.unwrap();
    assert_same(&source, &workspace).await;
    let live = workspace.live(&CallOptions::default()).await.unwrap();
    rustix::fs::removexattr(live.path().join("kept/3"), "user.mark").unwrap();
    drop(live);
    let found = changes(&workspace, &tree).await;
    let [Change { what: What::Content { before, .. }, .. }] = found.as_slice() else { panic!("{found:?}") };
    let names: Vec<_> = before.applied.xattrs.iter().map(|mark| mark.name.as_slice()).collect();
    assert_eq!((before.path.to_string(), names), ("kept/3".into(), vec![b"user.mark".as_slice()]));
}

#[tokio::test]
async fn a_warm_workspace_is_brought_to_another_commit_by_the_difference_alone() {
    for bench in [Some(Bench::plain()), Bench::btrfs()].into_iter().flatten() {
        let (workspace, source) = hydrated(&bench).await;
        change(&source);
        let next = Commit::of(&source);
        let report = workspace.hydrate(Some(commit(2)), next.clone(), &Meter::default()).await.unwrap();
        assert!(matches!(report.way, HydratedBy::Difference { entries } if entries < 20), "{report:?}");
        assert_same(&source, &workspace).await;
        assert_eq!(next.reads.load(Relaxed), 3, "changes, turns, new/dir/file");
        assert_eq!(changes(&workspace, &next).await.len(), 0);
        // Once more: nothing differs.
        let same = workspace.hydrate(Some(commit(3)), next.clone(), &Meter::default()).await.unwrap();
        assert_eq!((same.way, next.reads.load(Relaxed)), (HydratedBy::Difference { entries: 0 }, 3));
    }
}

#[tokio::test]
async fn what_a_killed_hydration_left_is_taken_for_nothing_and_finished_by_the_next() {
    let bench = Bench::plain();
    let (workspace, source) = hydrated(&bench).await;
    change(&source);
    for reads in 0..3 {
        let failing = Commit::of(&source);
        failing.fails_at.store(reads, Relaxed);
        let error = workspace.hydrate(Some(commit(2)), failing, &Meter::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(workspace.state().hydrated, crate::workspace::state::Hydrated::Partly);
    }
    let next = Commit::of(&source);
    workspace.hydrate(Some(commit(2)), next.clone(), &Meter::default()).await.unwrap();
    assert_same(&source, &workspace).await;
    assert_eq!(changes(&workspace, &next).await.len(), 0);
}

#[tokio::test]
async fn a_hydration_that_fails_leaves_nothing_that_takes_space() {
    let bench = Bench::plain();
    let (workspace, source) = planted(&bench).await;
    let failing = Commit::of(&source);
    failing.fails_at.store(250, Relaxed);
    workspace.hydrate(Some(commit(1)), failing, &Meter::default()).await.unwrap_err();
    let files = || bench.path().join("near/volumes").read_dir().unwrap().count();
    let left = workspace.live(&CallOptions::default()).await.unwrap_err();
    assert_eq!((left.kind(), files()), (ErrorKind::NotFound, 0));
    workspace.hydrate(Some(commit(1)), Commit::of(&source), &Meter::default()).await.unwrap();
    assert_same(&source, &workspace).await;
}

#[tokio::test]
async fn work_in_a_tree_is_never_replaced() {
    let bench = Bench::plain();
    let (workspace, source) = hydrated(&bench).await;
    workspace.allow_writes(persist_core::Epoch::new(1)).await.unwrap();
    let refused = workspace.hydrate(Some(commit(2)), Commit::of(&source), &Meter::default()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(workspace.state().base, Some(commit(1)));
}

#[tokio::test]
async fn a_tree_whose_record_is_lost_is_brought_again_and_what_was_planted_in_it_goes() {
    let bench = Bench::plain();
    let (workspace, source) = hydrated(&bench).await;
    let live = workspace.live(&CallOptions::default()).await.unwrap();
    fs::write(live.path().join("stray"), "x").unwrap();
    fs::create_dir_all(live.path().join(".persist-aside-1/kept")).unwrap();
    drop(live);
    let next = Commit::of(&source);
    workspace.hydrate(Some(commit(1)), next.clone(), &Meter::default()).await.unwrap();
    assert_same(&source, &workspace).await;
    assert_eq!(next.reads.load(Relaxed), 0, "strays are removed, and nothing is brought");
    fs::write(workspace.drafts().join("stat"), "torn").unwrap();
    let report = workspace.hydrate(Some(commit(1)), next.clone(), &Meter::default()).await.unwrap();
    assert_eq!(report.way, HydratedBy::Whole);
    assert_same(&source, &workspace).await;
}
