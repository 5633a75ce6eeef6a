use super::*;
use crate::{
    error::{Error, ErrorKind},
    tree::{Threads, Unreadable},
};
use std::{fs, num::NonZeroUsize, os::unix::fs::symlink, path::Path};

fn exactly(threads: usize) -> WalkOptions {
    WalkOptions { threads: Threads::Exactly(NonZeroUsize::new(threads).unwrap()), ..WalkOptions::default() }
}

fn visited(at: &Path, options: &WalkOptions) -> (Vec<Found>, WalkReport) {
    let mut found = Vec::new();
    let root = Root::open(at).unwrap();
    let report = walk_in_order(&root, options, &Meter::default(), &mut |entry| {
        found.push(entry.clone());
        Ok(())
    });
    (found, report.unwrap())
}

fn plant(at: &Path) {
    for dir in ["a", "a/b", "a.b", "z/empty"] {
        fs::create_dir_all(at.join(dir)).unwrap();
    }
    for n in 0..700 {
        fs::write(at.join(format!("a/b/{n}")), n.to_string()).unwrap();
        fs::create_dir(at.join(format!("z/{n}"))).unwrap();
        fs::write(at.join(format!("z/{n}/f")), "").unwrap();
    }
    symlink("a", at.join("link")).unwrap();
}

#[test]
fn every_entry_comes_once_in_path_order_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    let (one, report) = visited(dir.path(), &exactly(1));
    assert!(one.is_sorted_by(|a, b| a.path < b.path));
    assert_eq!(one.len(), 1 + 4 + 1 + 700 + 2 * 700 + 1);
    assert_eq!((report.entries, report.losses.is_empty()), (one.len() as u64, true));
    for threads in [2, 7] {
        let (found, same) = visited(dir.path(), &exactly(threads));
        assert_eq!((found == one, same == report), (true, true), "{threads}");
    }
}

#[test]
fn more_than_may_be_looked_at_ahead_is_visited_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..3 {
        fs::create_dir(dir.path().join(n.to_string())).unwrap();
        (0..40_000).for_each(|f| {
            fs::hard_link(plain(dir.path(), f), dir.path().join(format!("{n}/{f}"))).unwrap();
        });
    }
    let (found, _) = visited(dir.path(), &exactly(3));
    assert_eq!(found.len(), 1 + 3 + 3 * 40_000 + 40_000 / 10_000);
}

/// One file in ten thousand links: filesystems limit how many names a file may have.
fn plain(at: &Path, f: usize) -> std::path::PathBuf {
    let path = at.join(format!("x{}", f / 10_000));
    if !path.exists() {
        fs::write(&path, "").unwrap();
    }
    path
}

#[test]
fn an_error_of_a_visit_or_a_stop_ends_the_walk() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    let root = Root::open(dir.path()).unwrap();
    let mut left = 5;
    let error = walk_in_order(&root, &exactly(3), &Meter::default(), &mut |_| {
        left -= 1;
        if left > 0 { Ok(()) } else { Err(Error::new(ErrorKind::Exhausted, "enough")) }
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Exhausted);
    let meter = Meter::default();
    meter.stop();
    let error = walk_in_order(&root, &exactly(3), &meter, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn what_vanishes_behind_its_listing_is_counted_and_not_visited() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    let root = Root::open(dir.path()).unwrap();
    let mut seen = 0;
    let report = walk_in_order(&root, &exactly(1), &Meter::default(), &mut |found| {
        // On one thread nothing is looked at ahead but the first part of what is entered.
        if found.path.as_bytes() == b"a/b" {
            fs::remove_file(dir.path().join("a/b/99")).unwrap();
            fs::remove_dir_all(dir.path().join("z")).unwrap();
        }
        seen += u64::from(found.path.as_bytes().starts_with(b"z/"));
        Ok(())
    })
    .unwrap();
    assert_eq!((report.losses.count(Loss::Vanished), seen), (2, 0), "{report:?}");
}

#[test]
fn a_directory_that_may_not_be_listed_is_refused_or_visited_as_such() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    let closed = dir.path().join("a");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();
    if fs::read_dir(&closed).is_ok() {
        return; // root lists everything
    }
    let root = Root::open(dir.path()).unwrap();
    let refused = walk_in_order(&root, &exactly(2), &Meter::default(), &mut |_| Ok(())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    let (found, report) = visited(dir.path(), &WalkOptions { unreadable: Unreadable::Report, ..exactly(2) });
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(report.losses.count(Loss::Unreadable), 1);
    assert!(found.iter().any(|f| f.path.as_bytes() == b"a" && f.inside == Inside::Unreadable));
    assert!(!found.iter().any(|f| f.path.as_bytes().starts_with(b"a/")));
}
