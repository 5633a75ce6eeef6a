//! What cannot be planted: a tree that changes while it is read, and mount points inside it.

use crate::rows::block_on;
use persist_core::{
    progress::Meter,
    tree::{
        ApplyOptions, CopyOptions, DirectoryTree, Loss, Losses, OnLoss, Root, Unreadable, apply, copy,
        sample::{describe, differences},
    },
};
use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
};

/// How often a tree is brought over while it changes.
const RUNS: u32 = 4;

fn by_copy(from: &Path, to: &Path) -> Losses {
    let (from, to) = (Root::open(from).unwrap(), Root::open(to).unwrap());
    let options = CopyOptions::default().with_unreadable(Unreadable::Report);
    copy(&from, &to, &options, &Meter::default()).unwrap().losses
}

fn by_apply(from: &Path, to: &Path) -> Losses {
    let source = DirectoryTree::open(from).unwrap().with_losses(OnLoss::Report);
    let report = block_on(apply(Arc::new(source.clone()), to, ApplyOptions::default())).unwrap();
    let mut losses = report.losses;
    losses.merge(source.losses());
    losses
}

/// Each name is in turn a file, nothing, a link, a directory with a file, another file.
fn churn(root: &Path, turn: u32) -> io::Result<()> {
    for n in 0..40 {
        let path = root.join(format!("moving/{n}"));
        match (turn + n) % 5 {
            0 => fs::write(&path, vec![b'x'; 3000])?,
            1 => fs::remove_file(&path)?,
            2 => symlink("../stable", &path)?,
            3 => {
                fs::remove_file(&path)?;
                fs::create_dir(&path)?;
                fs::write(path.join("inner"), "inner")?;
            }
            _ => fs::remove_dir_all(&path)?,
        }
    }
    Ok(())
}

#[test]
fn a_tree_that_changes_under_a_copy_is_copied_and_what_was_missed_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir_all(from.join("moving")).unwrap();
    fs::create_dir(from.join("stable")).unwrap();
    (0..50).for_each(|n| fs::write(from.join(format!("stable/{n}")), "stable").unwrap());
    let stable = describe(&from.join("stable")).unwrap();
    let (end, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let churning = {
        let (end, turns, from) = (Arc::clone(&end), Arc::clone(&turns), from.clone());
        std::thread::spawn(move || {
            while !end.load(SeqCst) {
                // A name that is not what the turn expects is left for a later turn.
                let _ = churn(&from, turns.fetch_add(1, SeqCst));
            }
        })
    };
    while turns.load(SeqCst) < 5 {
        std::thread::yield_now();
    }
    for run in 0..RUNS {
        let to = dir.path().join(format!("to {run}"));
        fs::create_dir(&to).unwrap();
        by_copy(&from, &to);
        assert_eq!(differences(&stable, &describe(&to.join("stable")).unwrap(), &[]), [""; 0]);
        for entry in fs::read_dir(to.join("moving")).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_file() {
                let content = fs::read(&path).unwrap();
                assert!(content.iter().all(|b| *b == b'x') && content.len() <= 3000, "{path:?}");
            }
        }
    }
    end.store(true, SeqCst);
    churning.join().unwrap();
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_mount_point_becomes_an_empty_directory_and_is_counted() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    let inside = from.join("a/mounted");
    fs::create_dir_all(&inside).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    if let Err(error) = rustix::mount::mount("tmpfs", &inside, "tmpfs", flags, c"size=1m") {
        println!("skipped: {error}");
        return;
    }
    let _mounted = Mounted(inside.clone());
    fs::write(inside.join("foreign"), "another filesystem's").unwrap();
    fs::write(from.join("a/own"), "own").unwrap();
    for (name, bring) in [("copy", by_copy as fn(&Path, &Path) -> Losses), ("apply", by_apply)] {
        let to = dir.path().join(name);
        fs::create_dir(&to).unwrap();
        let losses = bring(&from, &to);
        assert_eq!(losses.count(Loss::MountPoint), 1, "{name}: {losses:?}");
        assert_eq!(fs::read_dir(to.join("a/mounted")).unwrap().count(), 0, "{name}");
        assert_eq!(fs::read(to.join("a/own")).unwrap(), b"own", "{name}");
    }
}
