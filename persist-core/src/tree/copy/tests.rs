use super::*;
use crate::{error::ErrorKind, tree::losses::Loss};
use std::{
    cell::RefCell,
    fs,
    num::NonZeroUsize,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
};

fn faithful() -> CopyOptions {
    CopyOptions::default().with_trust(Trust::Faithful)
}

fn copied(from: &Path, options: &CopyOptions) -> (tempfile::TempDir, CopyReport) {
    let dir = tempfile::tempdir().unwrap();
    let report = copy_tree(from, &dir.path().join("copy"), options, &Meter::default()).unwrap();
    (dir, report)
}

fn threads(n: usize) -> CopyOptions {
    faithful().with_threads(Threads::Exactly(NonZeroUsize::new(n).unwrap()))
}

#[cfg(feature = "conformance")]
mod rows {
    use super::*;
    use crate::tree::sample::{Planted, Row, describe, differences, plant, unlock};

    #[test]
    fn every_row_of_fidelity_is_kept_or_reported() {
        let source = tempfile::tempdir().unwrap();
        let planted = plant(source.path(), Row::ALL).unwrap();
        let here = planted.iter().filter(|(_, p)| *p == Planted::Here).count();
        println!(
            "{here} of {} rows; not here: {:?}",
            planted.len(),
            planted.iter().filter(|(_, p)| *p != Planted::Here).collect::<Vec<_>>()
        );
        for options in [threads(1), threads(3), faithful().with_clone(CloneMode::Never)] {
            let (dir, report) = copied(source.path(), &options);
            let copy = dir.path().join("copy");
            let seen = differences(&describe(source.path()).unwrap(), &describe(&copy).unwrap(), &[]);
            unlock(&copy).unwrap();
            assert_eq!(seen, Vec::<String>::new(), "{:?}", report.losses);
            assert!(report.losses.is_empty(), "{:?}", report.losses);
        }
        unlock(source.path()).unwrap();
    }

    #[test]
    fn an_untrusted_tree_arrives_without_privilege_and_the_rest_is_kept() {
        let source = tempfile::tempdir().unwrap();
        plant(source.path(), Row::ALL).unwrap();
        let (dir, report) = copied(source.path(), &CopyOptions::default());
        let copy = dir.path().join("copy");
        let seen = differences(&describe(source.path()).unwrap(), &describe(&copy).unwrap(), &[]);
        unlock(&copy).unwrap();
        unlock(source.path()).unwrap();
        let expected =
            [Row::SetId, Row::Devices, Row::FileCapabilities, Row::SymlinkXattr, Row::SelinuxLabel];
        for line in &seen {
            assert!(expected.iter().any(|row| line.contains(row.name())), "{line}");
        }
        if rustix::process::geteuid().is_root() {
            for loss in [Loss::SetId, Loss::Device, Loss::Security, Loss::Trusted] {
                assert!(report.losses.count(loss) > 0, "{loss}: {:?}", report.losses);
            }
        }
    }
}

#[test]
fn names_of_one_file_stay_one_file_across_directories() {
    let source = tempfile::tempdir().unwrap();
    for d in 0..40 {
        fs::create_dir(source.path().join(d.to_string())).unwrap();
        for f in 0..25 {
            let at = source.path().join(format!("{d}/{f}"));
            match d {
                0 => fs::write(&at, f.to_string()).unwrap(),
                _ => fs::hard_link(source.path().join(format!("0/{f}")), &at).unwrap(),
            }
        }
    }
    for n in [1, 4] {
        let (dir, report) = copied(source.path(), &threads(n));
        for f in 0..25 {
            let first = fs::metadata(dir.path().join(format!("copy/0/{f}"))).unwrap();
            assert_eq!(first.nlink(), 40);
            let other = dir.path().join(format!("copy/39/{f}"));
            assert_eq!(fs::metadata(&other).unwrap().ino(), first.ino());
            assert_eq!(fs::read_to_string(other).unwrap(), f.to_string());
        }
        assert_eq!((report.copied + report.cloned, report.linked), (25, 25 * 39));
        assert_eq!(report.totals.files, 1 + 40 + 25 * 40);
    }
}

#[test]
fn a_large_directory_and_a_deep_one_arrive_whole() {
    let source = tempfile::tempdir().unwrap();
    for n in 0..3000 {
        fs::write(source.path().join(format!("file-{n}")), n.to_string()).unwrap();
        if n % 10 == 0 {
            fs::create_dir_all(source.path().join(format!("dir-{n}/sub"))).unwrap();
            fs::write(source.path().join(format!("dir-{n}/sub/f")), n.to_string()).unwrap();
        }
    }
    let root = Root::open(source.path()).unwrap();
    let mut at = root.directory(&TreePath::root()).unwrap();
    for _ in 0..700 {
        mkdirat(&at, "deeper", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "deeper", rustix::fs::OFlags::PATH, Mode::empty()).unwrap();
    }
    let (dir, report) = copied(source.path(), &faithful());
    assert_eq!(report.totals.files, 1 + 3000 + 3 * 300 + 700);
    for n in 0..3000 {
        let at = dir.path().join(format!("copy/file-{n}"));
        assert_eq!(fs::read_to_string(at).unwrap(), n.to_string());
    }
    assert_eq!(fs::read_to_string(dir.path().join("copy/dir-2990/sub/f")).unwrap(), "2990");
    let deepest = TreePath::new(vec!["deeper"; 700].join("/")).unwrap();
    assert!(Root::open(&dir.path().join("copy")).unwrap().directory(&deepest).is_ok());
}

#[test]
fn sixty_four_descriptors_are_enough() {
    let me = std::env::current_exe().unwrap();
    let test = "tree::copy::tests::a_large_directory_and_a_deep_one_arrive_whole";
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\""])
        .arg(me)
        .arg(test)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_target_that_is_not_empty_or_lies_inside_the_source_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "mine").unwrap();
    let inside = copy_tree(dir.path(), &dir.path().join("copy"), &faithful(), &Meter::default());
    assert_eq!(inside.unwrap_err().kind(), ErrorKind::Invalid);
    let full = tempfile::tempdir().unwrap();
    fs::write(full.path().join("f"), "theirs").unwrap();
    let error = copy(
        &Root::open(dir.path()).unwrap(),
        &Root::open(full.path()).unwrap(),
        &faithful(),
        &Meter::default(),
    );
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(fs::read_to_string(full.path().join("f")).unwrap(), "theirs");
}

#[test]
fn links_of_the_source_are_copied_and_never_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    let source = tempfile::tempdir().unwrap();
    symlink(outside.path(), source.path().join("out")).unwrap();
    symlink("nowhere", source.path().join("dangling")).unwrap();
    let (dir, report) = copied(source.path(), &faithful());
    assert_eq!(fs::read_link(dir.path().join("copy/out")).unwrap(), outside.path());
    assert_eq!(fs::read_link(dir.path().join("copy/dangling")).unwrap(), Path::new("nowhere"));
    assert_eq!((report.totals.files, report.totals.bytes), (3, 0));
}

#[test]
fn a_stopped_meter_ends_the_copy() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("f"), "x").unwrap();
    let (dir, meter) = (tempfile::tempdir().unwrap(), Meter::default());
    meter.stop();
    let error = copy_tree(source.path(), &dir.path().join("copy"), &faithful(), &meter).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

thread_local! {
    /// What another process does to a file at the worst moment; the copy calls it on its own thread.
    static MEDDLER: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

pub(super) fn between_stat_and_reading() {
    MEDDLER.with_borrow_mut(|meddler| meddler.iter_mut().for_each(|meddle| meddle()));
}

/// Copies a file of 100,000 `x` while `meddle` is called at each reading, with the number of the reading.
fn meddled(clone: CloneMode, meddle: impl Fn(&Path, u32) + 'static) -> (Vec<u8>, CopyReport) {
    let source = tempfile::tempdir().unwrap();
    let path = source.path().join("log");
    fs::write(&path, vec![b'x'; 100_000]).unwrap();
    let mut reading = 0;
    MEDDLER.set(Some(Box::new(move || {
        reading += 1;
        meddle(&path, reading);
    })));
    let (dir, report) = copied(source.path(), &threads(1).with_clone(clone));
    MEDDLER.set(None);
    (fs::read(dir.path().join("copy/log")).unwrap(), report)
}

fn append(path: &Path) {
    let file = fs::OpenOptions::new().append(true).open(path).unwrap();
    std::io::Write::write_all(&mut &file, b"more").unwrap();
}

#[test]
fn a_file_that_is_written_all_the_time_is_reported() {
    let (content, report) = meddled(CloneMode::Never, |path, _| append(path));
    assert_eq!(report.losses.count(Loss::Changed), 1, "{:?}", report.losses);
    let refused = report.losses.check(OnLoss::Refuse).unwrap_err();
    assert!(refused.to_string().contains("log"), "{refused}");
    assert_eq!(&content[..100_008], [&[b'x'; 100_000][..], b"moremore"].concat());
}

#[test]
fn a_file_that_changes_once_is_read_again() {
    for clone in [CloneMode::Never, CloneMode::Auto] {
        let (content, report) = meddled(clone, |path, reading| {
            if reading == 1 {
                fs::write(path, "short and new").unwrap();
            }
        });
        assert_eq!(content, b"short and new");
        assert!(report.losses.is_empty(), "{:?}", report.losses);
        let (content, report) = meddled(clone, |path, reading| {
            if reading == 1 {
                append(path);
            }
        });
        assert_eq!(content, [&[b'x'; 100_000][..], b"more"].concat());
        assert!(report.losses.is_empty(), "{:?}", report.losses);
    }
}

#[test]
fn a_file_that_shrinks_all_the_time_is_reported() {
    let (content, report) = meddled(CloneMode::Never, |path, reading| {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(90_000 / u64::from(reading)).unwrap();
    });
    assert_eq!(report.losses.count(Loss::Changed), 1, "{:?}", report.losses);
    assert_eq!(content, vec![b'x'; 30_000]);
}

#[test]
fn what_may_not_be_read_is_an_error_or_reported() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("open"), "x").unwrap();
    fs::create_dir(source.path().join("closed")).unwrap();
    if rustix::process::geteuid().is_root() {
        println!("skipped: root may read everything");
        return;
    }
    fs::set_permissions(source.path().join("closed"), fs::Permissions::from_mode(0o0)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let error = copy_tree(source.path(), &dir.path().join("a"), &faithful(), &Meter::default());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Denied);
    let (_dir, report) = copied(source.path(), &faithful().with_unreadable(Unreadable::Report));
    assert_eq!((report.losses.count(Loss::Unreadable), report.totals.files), (1, 2));
    fs::set_permissions(source.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_clone_is_required_or_refused_and_the_report_says_how() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("f"), vec![7; 100_000]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = faithful().with_clone(CloneMode::Require);
    match copy_tree(source.path(), &dir.path().join("a"), &options, &Meter::default()) {
        Ok(report) => assert_eq!((report.cloned, report.copied), (1, 0)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
    }
    let (never, report) = copied(source.path(), &faithful().with_clone(CloneMode::Never));
    assert_eq!((report.cloned, report.copied, report.totals.bytes), (0, 1, 100_000));
    assert_eq!(fs::read(never.path().join("copy/f")).unwrap(), vec![7; 100_000]);
}

#[test]
fn the_copy_inherits_nothing_from_where_it_is_made() {
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o2755)).unwrap();
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("d")).unwrap();
    fs::set_permissions(source.path().join("d"), fs::Permissions::from_mode(0o751)).unwrap();
    fs::write(source.path().join("d/f"), "x").unwrap();
    fs::set_permissions(source.path().join("d/f"), fs::Permissions::from_mode(0o604)).unwrap();
    fs::set_permissions(source.path(), fs::Permissions::from_mode(0o711)).unwrap();
    copy_tree(source.path(), &parent.path().join("copy"), &faithful(), &Meter::default()).unwrap();
    for (path, mode) in [("copy", 0o711), ("copy/d", 0o751), ("copy/d/f", 0o604)] {
        assert_eq!(fs::metadata(parent.path().join(path)).unwrap().mode() & 0o7777, mode, "{path}");
    }
}
