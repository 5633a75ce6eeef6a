use super::*;
use crate::workspace::{
    hydrate::known,
    record::{RowWriter, merge},
    scan::{Change, Now, Read, ScanOptions, What},
    tests::{Bench, Commit, commit, volume},
};
use async_trait::async_trait;
use persist_core::{Epoch, Quiesce, progress::Meter};
use std::{fs, sync::Mutex, time::Duration};

#[derive(Debug, Default)]
struct Hook(Mutex<Vec<&'static str>>);

#[async_trait]
impl Quiesce for Hook {
    fn name(&self) -> &str {
        "hook"
    }

    fn reaches(&self) -> Consistency {
        Consistency::Application
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(600)
    }

    async fn freeze(&self) -> Result<()> {
        self.0.lock().unwrap().push("freeze");
        Ok(())
    }

    async fn thaw(&self) -> Result<()> {
        self.0.lock().unwrap().push("thaw");
        Ok(())
    }
}

async fn writable(bench: &Bench) -> (Workspace, Arc<Commit>) {
    let source = bench.dir.path().join("commit");
    fs::create_dir(&source).unwrap();
    (0..50).for_each(|n| fs::write(source.join(n.to_string()), n.to_string()).unwrap());
    let workspace = bench.open().await.serve(&volume()).await.unwrap();
    let tree = Commit::of(&source);
    workspace.hydrate(Some(commit(1)), tree.clone(), &Meter::default()).await.unwrap();
    workspace.allow_writes(Epoch::new(1)).await.unwrap();
    (workspace, tree)
}

/// Commits what changed as `seq`; the paths that changed.
async fn committed(workspace: &Workspace, base: &Arc<Commit>, seq: u64) -> (Vec<String>, Consistency) {
    let (rows, drafts, of, base) =
        (workspace.rows().await.unwrap(), workspace.drafts().to_owned(), workspace.of(), Arc::clone(base));
    let read = move |tree: Tree| async move {
        blocking(move |_| {
            let mut changed = Vec::new();
            let mut own = RowWriter::new(&drafts, of.clone())?;
            let scanned = tree.scan(
                known(rows, &*base),
                (&drafts, of.clone()),
                &ScanOptions::default(),
                &mut |change| {
                    changed.push(change.path.to_string());
                    row(&tree, change).into_iter().try_for_each(|row| own.push(row))
                },
            )?;
            let of = crate::workspace::record::Of { base: Some(commit(seq)), ..of };
            Ok((changed, merge(&drafts, of, &scanned.carried, &own.finish()?)?, scanned.totals))
        })
        .await
    };
    let report = workspace.cut(SyncOptions::default(), read).await.unwrap();
    let (changed, record, totals) = report.value;
    workspace.offer(commit(seq), record, totals).await.unwrap();
    workspace.accepted(crate::head::recovery::Tree::Dirty).await.unwrap();
    (changed, report.consistency)
}

fn row(tree: &Tree, change: Change) -> Option<crate::workspace::record::Row> {
    let now = match change.what {
        What::Removed { .. } => return None,
        What::Added { now }
        | What::Content { now, .. }
        | What::Metadata { now, .. }
        | What::Replaced { now, .. } => now,
    };
    match now {
        Now::Other { .. } => Some(crate::workspace::record::Row::new(
            change.path.clone(),
            now.applied()?,
            tree.stamp(),
            vec![1],
        )),
        Now::File { link, .. } => match tree.read_file(&change.path, link, |_| Ok(())).unwrap() {
            Read::Done { file, stability, .. } => Some(file.row(tree, stability, vec![1])),
            Read::Gone => None,
        },
    }
}

#[tokio::test]
async fn commits_of_a_live_tree_see_what_changed_once_and_a_snapshot_is_atomic() {
    for (bench, consistency) in
        [(Some(Bench::plain()), Consistency::PerFile), (Bench::btrfs(), Consistency::Atomic)]
    {
        let Some(bench) = bench else { continue };
        let (workspace, base) = writable(&bench).await;
        assert_eq!(committed(&workspace, &base, 2).await, (vec![], consistency));
        let live = workspace.live(&CallOptions::default()).await.unwrap();
        fs::write(live.path().join("7"), "changed").unwrap();
        fs::write(live.path().join("new"), "new").unwrap();
        let (changed, _) = committed(&workspace, &base, 3).await;
        assert_eq!(changed, [".", "7", "new"]);
        // What was written right before a cut is read again until it is clearly older, and then no more.
        let mut seq = 4;
        loop {
            let (again, _) = committed(&workspace, &base, seq).await;
            assert!(again.iter().all(|path| ["7", "new"].contains(&path.as_str())), "{again:?}");
            if again.is_empty() {
                break;
            }
            seq += 1;
            assert!(seq < 1000, "it is read for ever: {again:?}");
        }
        assert_eq!(workspace.state().base, Some(commit(seq)));
        let near = workspace.served().spaces.near();
        let left: Vec<_> =
            near.snapshots(workspace.near_name(), ListOptions::default()).try_collect().await.unwrap();
        assert_eq!(left.len(), 0, "a cut is left");
    }
}

#[tokio::test]
async fn the_writers_are_held_while_the_tree_itself_is_read_and_thawed_when_that_fails() {
    let bench = Bench::plain();
    let (workspace, _) = writable(&bench).await;
    let hook = Arc::new(Hook::default());
    let mut options = SyncOptions::default().with_consistency(Consistency::Application);
    let refused = workspace.cut(options.clone(), |_| async { Ok(()) }).await.unwrap_err();
    assert_eq!(
        refused.kind(),
        ErrorKind::Unsupported,
        "without a hook a fuzzy cut is never called consistent"
    );
    options.quiesce = Some(hook.clone());
    let seen = Arc::clone(&hook);
    let report =
        workspace.cut(options.clone(), |_| async move { Ok(seen.0.lock().unwrap().clone()) }).await.unwrap();
    assert_eq!((report.value, report.consistency), (vec!["freeze"], Consistency::Application));
    assert_eq!(report.hooks.len(), 1);
    let failing = workspace.cut(options, |_| async { Err::<(), _>(Error::internal("no")) }).await;
    assert_eq!(failing.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(*hook.0.lock().unwrap(), ["freeze", "thaw", "freeze", "thaw"]);
}

#[tokio::test]
async fn on_btrfs_what_is_written_after_the_cut_is_not_in_it_and_a_killed_cut_is_swept() {
    let Some(bench) = Bench::btrfs() else { return };
    let (workspace, _) = writable(&bench).await;
    let live = workspace.live(&CallOptions::default()).await.unwrap();
    let at = live.path().join("7");
    let read = move |tree: Tree| async move {
        fs::write(&at, "after the cut").unwrap();
        blocking(move |_| {
            let path = persist_core::tree::TreePath::new("7")?;
            let read =
                tree.read_file(&path, None, |file| Ok(std::io::read_to_string(&file.file).unwrap()))?;
            let Read::Done { value, .. } = read else { panic!("gone") };
            Ok(value)
        })
        .await
    };
    let report = workspace.cut(SyncOptions::default(), read).await.unwrap();
    assert_eq!(report.value, "7");
    let (near, name) = (workspace.served().spaces.near(), SnapshotName::new("cut-killed").unwrap());
    near.snapshot(workspace.near_name(), &name, Default::default()).await.unwrap();
    let theirs = SnapshotName::new("other").unwrap();
    near.snapshot(workspace.near_name(), &theirs, Default::default()).await.unwrap();
    workspace.sweep_cuts().await.unwrap();
    let left: Vec<_> =
        near.snapshots(workspace.near_name(), ListOptions::default()).try_collect().await.unwrap();
    assert_eq!(left.iter().map(|left| &left.name).collect::<Vec<_>>(), [&theirs]);
}
