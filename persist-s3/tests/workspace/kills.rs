//! Killed at each call by which anything changes: a workspace is whole, or known not to be; work is never lost.

use super::child::{MARK, Scene, commit};
use libtest_mimic::{Failed, Trial};
use persist_core::{Epoch, progress::CallOptions};
use persist_s3::{
    head::recovery::{Recovery, Tree},
    workspace::state::Hydrated,
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

/// Calls that change something that others, or the next process, can see. Those that this machine does not have
/// (strace: `?`) are passed over.
const CHANGES: [&str; 14] = [
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "symlinkat",
    "fsync",
    "syncfs",
    "ftruncate",
];

/// How far apart the kills of one call are once there were as many as this: its first calls are all tried.
const DENSE: usize = 8;
const SPARSE: usize = 5;

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test(
            "a_hydration_by_the_difference_that_is_killed_anywhere_is_finished_by_the_next",
            hydration,
        ),
        Trial::test("a_commit_that_is_killed_anywhere_loses_no_work", commits),
    ]
}

fn hydration() -> Result<(), Failed> {
    killed_everywhere("hydrate", async |scene| {
        let workspace = scene.serve().await;
        // Whole and another commit's, or known to be neither.
        match scene.settle(&workspace, 2).await {
            Recovery::Keep => scene.assert_is(&workspace, 2).await,
            Recovery::Hydrate if workspace.state().hydrated == Hydrated::Whole => {
                scene.assert_is(&workspace, 1).await;
            }
            Recovery::Hydrate => assert_eq!(workspace.state().tree, Tree::Clean),
            other => panic!("{other:?}"),
        }
        scene.hydrate(&workspace, 2).await;
        scene.assert_is(&workspace, 2).await;
    })
}

fn commits() -> Result<(), Failed> {
    killed_everywhere("commit", async |scene| {
        let workspace = scene.serve().await;
        let state = workspace.state();
        let live = workspace.live(&CallOptions::default()).await.unwrap();
        let written = live.path().join("work").exists();
        assert!(!written || state.tree == Tree::Dirty, "work in a tree that counts as clean");
        let offered = state.offered.is_some() || state.base == Some(commit(2));
        // The head may have it as soon as it was offered; and if it was not, never.
        for seq in if offered { vec![1, 2] } else { vec![1] } {
            if state.base == Some(commit(2)) && seq == 1 {
                continue;
            }
            assert_eq!(state.recovery(&scene.head(seq)), Recovery::Keep, "commit {seq}, {state:?}");
        }
        let at = if offered { 2 } else { 1 };
        scene.settle(&workspace, at).await;
        workspace.allow_writes(Epoch::new(3)).await.unwrap();
        fs::write(live.path().join("more"), "x").unwrap();
        let read = scene.commit(&workspace, 1, 3).await;
        assert!(read.contains(&"more".to_owned()), "{read:?}");
        assert!(offered || !written || read.contains(&"work".to_owned()), "uncommitted work was passed over");
        assert!(read.len() < 6, "the record was lost: {read:?}");
    })
}

fn killed_everywhere(script: &str, look: impl AsyncFn(&Scene)) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut kills = 0;
    for call in CHANGES {
        let mut when = 1;
        loop {
            // Not in /tmp, which may be memory, where a workspace is refused.
            let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
            let scene = Scene { root: directory.path().to_owned() };
            plant(&scene.tree(1));
            // With the times of what stays.
            copy(&scene.tree(1), &scene.tree(2))?;
            change(&scene.tree(2));
            runtime.block_on(async { scene.hydrate(&scene.serve().await, 1).await });
            let lived = run(script, &scene.root, call, when)?;
            runtime.block_on(look(&scene));
            if lived {
                break;
            }
            kills += 1;
            when += if when < DENSE { 1 } else { SPARSE };
        }
    }
    println!("{script}: {kills} kills");
    if kills > 10 { Ok(()) } else { Err("hardly anything was killed".into()) }
}

/// Runs a child that is killed at its `when`-th `call`; whether it lived.
fn run(script: &str, root: &Path, call: &str, when: usize) -> Result<bool, Failed> {
    let (trace, inject) = (format!("trace=?{call}"), format!("inject=?{call}:signal=KILL:when={when}"));
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
    command.arg(std::env::current_exe()?).args([MARK, script]).arg(root);
    let done = command.stdout(Stdio::null()).output()?;
    let killed = std::os::unix::process::ExitStatusExt::signal(&done.status) == Some(9)
        || done.status.code() == Some(137);
    if done.status.success() || killed {
        return Ok(done.status.success());
    }
    Err(format!("the child failed: {}", String::from_utf8_lossy(&done.stderr)).into())
}

fn plant(at: &Path) {
    for dir in ["a/b", "gone/in", "turns"] {
        fs::create_dir_all(at.join(dir)).unwrap();
    }
    (0..20).for_each(|n| fs::write(at.join(format!("a/{n}")), n.to_string()).unwrap());
    fs::write(at.join("a/b/changes"), "old").unwrap();
    fs::write(at.join("gone/in/file"), "x").unwrap();
    fs::write(at.join("turns/file"), "x").unwrap();
    fs::hard_link(at.join("a/7"), at.join("z-second-name")).unwrap();
}

fn copy(from: &Path, to: &Path) -> Result<(), Failed> {
    let done = Command::new("cp").arg("-a").args([from, to]).status()?;
    if done.success() { Ok(()) } else { Err("cp failed".into()) }
}

fn change(at: &Path) {
    fs::write(at.join("a/b/changes"), "new").unwrap();
    fs::set_permissions(at.join("a/3"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::remove_dir_all(at.join("gone")).unwrap();
    fs::remove_dir_all(at.join("turns")).unwrap();
    fs::write(at.join("turns"), "a file").unwrap();
    fs::create_dir_all(at.join("new/dir")).unwrap();
    fs::write(at.join("new/dir/file"), "made").unwrap();
    fs::hard_link(at.join("a/7"), at.join("new/dir/third-name")).unwrap();
    symlink("new", at.join("link")).unwrap();
}
