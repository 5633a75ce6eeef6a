use super::*;
use crate::error::ErrorKind;
use std::{collections::BTreeMap, fs, num::NonZeroUsize, os::unix::fs::symlink, path::Path, sync::Mutex};

fn threads(n: usize) -> WalkOptions {
    WalkOptions { threads: Threads::Exactly(NonZeroUsize::new(n).unwrap()), ..WalkOptions::default() }
}

fn seen(root: &Root, options: &WalkOptions) -> (BTreeMap<String, Kind>, WalkReport) {
    let seen = Mutex::new(BTreeMap::new());
    let report = walk(root, options, &Meter::default(), &|visit| {
        let twice = seen.lock().unwrap().insert(visit.path().to_string(), visit.stat.kind);
        assert!(twice.is_none(), "{} twice", visit.path());
        Ok(Step::Enter)
    })
    .unwrap();
    (seen.into_inner().unwrap(), report)
}

fn wide(at: &Path) -> BTreeMap<String, Kind> {
    let mut wanted = BTreeMap::from([(".".to_owned(), Kind::Directory)]);
    for d in 0..60 {
        fs::create_dir_all(at.join(format!("{d}/sub"))).unwrap();
        wanted.insert(format!("{d}"), Kind::Directory);
        wanted.insert(format!("{d}/sub"), Kind::Directory);
        for f in 0..7 {
            fs::write(at.join(format!("{d}/sub/{f}")), "x").unwrap();
            wanted.insert(format!("{d}/sub/{f}"), Kind::File);
        }
    }
    for f in 0..600 {
        fs::write(at.join(format!("file-{f}")), "x").unwrap();
        wanted.insert(format!("file-{f}"), Kind::File);
    }
    wanted
}

#[test]
fn every_entry_is_visited_once_whatever_the_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = wide(dir.path());
    for n in [1, 2, 8] {
        let (found, report) = seen(&Root::open(dir.path()).unwrap(), &threads(n));
        assert_eq!(found, wanted);
        assert_eq!((report.entries, report.bytes), (wanted.len() as u64, 60 * 7 + 600));
        assert!(report.losses.is_empty(), "{:?}", report.losses);
    }
}

#[test]
fn a_chain_of_directories_longer_than_a_path_is_walked() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let mut at = rustix::io::dup(&root).unwrap();
    for _ in 0..1200 {
        rustix::fs::mkdirat(&at, "deeper", rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "deeper", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    }
    let deepest = AtomicUsize::new(0);
    let report = walk(&root, &threads(2), &Meter::default(), &|visit| {
        deepest.fetch_max(visit.path().as_bytes().len(), Relaxed);
        Ok(Step::Enter)
    })
    .unwrap();
    assert_eq!((report.entries, deepest.into_inner()), (1201, 1200 * 7 - 1));
}

#[test]
fn no_link_is_followed_and_a_skipped_directory_stays_closed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("no/inside")).unwrap();
    symlink("/", dir.path().join("out")).unwrap();
    let report = walk(&Root::open(dir.path()).unwrap(), &threads(2), &Meter::default(), &|visit| {
        Ok(if visit.path().to_string() == "no" { Step::Skip } else { Step::Enter })
    })
    .unwrap();
    assert_eq!(report.entries, 3);
}

#[test]
fn an_entry_that_vanishes_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..50 {
        fs::create_dir(dir.path().join(n.to_string())).unwrap();
    }
    let report = walk(&Root::open(dir.path()).unwrap(), &threads(1), &Meter::default(), &|visit| {
        if !visit.path().is_root() && visit.stat.is_directory() {
            let _ = fs::remove_dir(dir.path().join(visit.path().as_path()));
        }
        Ok(Step::Enter)
    })
    .unwrap();
    assert_eq!((report.entries, report.losses.count(Loss::Vanished)), (51, 50));
}

#[test]
fn the_first_error_and_a_stopped_meter_end_the_walk() {
    let dir = tempfile::tempdir().unwrap();
    wide(dir.path());
    let root = Root::open(dir.path()).unwrap();
    let error = walk(&root, &threads(2), &Meter::default(), &|visit| match visit.stat.kind {
        Kind::File => Err(crate::Error::invalid("visit", "no")),
        _ => Ok(Step::Enter),
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    let meter = Meter::default();
    meter.stop();
    let error = walk(&root, &threads(2), &meter, &|_| Ok(Step::Enter)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn a_mount_point_is_reported_and_not_entered() {
    if !Path::new("/proc/self").exists() {
        println!("skipped: /proc is not mounted");
        return;
    }
    let root = Root::open(Path::new("/")).unwrap();
    let report = walk(&root, &threads(1), &Meter::default(), &|visit| {
        let path = visit.path().to_string();
        Ok(if path == "." || path == "proc" { Step::Enter } else { Step::Skip })
    })
    .unwrap();
    let lost = report.losses.get(Loss::MountPoint).unwrap();
    assert_eq!((lost.count, lost.examples[0].to_string().as_str()), (1, "proc"));
}
