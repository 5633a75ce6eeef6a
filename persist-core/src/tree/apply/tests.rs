use super::*;
use crate::{
    error::ErrorKind,
    tree::{
        DirectoryTree, Loss,
        entry::{Entry, EntryKind, Metadata, TreePath, Xattr},
        sample::{self, MemoryTree, Planted, Row},
    },
};
use std::fs;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn of(text: &str, kind: EntryKind) -> Entry {
    Entry::new(path(text), kind, Metadata { mode: 0o755, ..Metadata::default() })
}

fn dir(text: &str) -> Entry {
    of(text, EntryKind::Directory)
}

fn file(text: &str, size: u64) -> Entry {
    of(text, EntryKind::File { size, data: None })
}

async fn applied(entries: Vec<Entry>, options: ApplyOptions) -> (tempfile::TempDir, Result<ApplyReport>) {
    let target = tempfile::tempdir().unwrap();
    let report = apply(Arc::new(MemoryTree::new(entries)), target.path(), options).await;
    (target, report)
}

#[tokio::test]
async fn what_goes_in_through_a_source_comes_out_the_same() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rows = sample::plant(from.path(), Row::ALL).unwrap();
    let before = sample::describe(from.path()).unwrap();
    let source = Arc::new(DirectoryTree::open(from.path()).unwrap());
    let report = apply(source, to.path(), ApplyOptions::faithful()).await.unwrap();
    let after = sample::describe(to.path()).unwrap();
    sample::unlock(from.path()).unwrap();
    sample::unlock(to.path()).unwrap();
    let planted = rows.iter().filter(|(_, planted)| *planted == Planted::Here).count();
    println!("{planted} rows, lost {:?}", report.losses.remarks());
    assert_eq!(report.totals.files, u64::try_from(before.len()).unwrap());
    if rustix::process::geteuid().is_root() {
        assert_eq!(sample::differences(&before, &after, &[]), [""; 0]);
        assert!(report.losses.is_empty(), "{:?}", report.losses);
    }
}

#[tokio::test]
async fn a_target_that_is_not_empty_is_refused_and_left_alone() {
    let target = tempfile::tempdir().unwrap();
    fs::write(target.path().join("mine"), "mine").unwrap();
    let source = Arc::new(MemoryTree::new([dir(""), file("mine", 3)]));
    let error = apply(source, target.path(), ApplyOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(fs::read(target.path().join("mine")).unwrap(), b"mine");
}

#[tokio::test]
async fn a_limit_ends_the_call_before_more_is_written() {
    let many: Vec<_> =
        std::iter::once(dir("")).chain((0..500).map(|n| file(&format!("{n:03}"), 10))).collect();
    let limits = ApplyLimits::default();
    let deep: Vec<_> = (0..20).map(|n| dir(&vec!["d"; n].join("/"))).collect();
    let mut dressed = file("f", 0);
    dressed.metadata.xattrs = vec![Xattr { name: b"user.a".to_vec(), value: vec![0; 100].into() }];
    for (entries, limits) in [
        (many.clone(), limits.with_entries(300)),
        (many, limits.with_bytes(999)),
        (deep, limits.with_depth(10)),
        (vec![dir(""), dressed], limits.with_xattr_bytes(50)),
        (vec![dir(""), file("f", 1 << 62)], limits),
    ] {
        let (target, report) = applied(entries, ApplyOptions::faithful().with_limits(limits)).await;
        assert_eq!(report.unwrap_err().kind(), ErrorKind::Exhausted);
        let found = fs::read_dir(target.path()).unwrap().count();
        assert!(found <= 300, "{found}");
    }
}

#[tokio::test]
async fn fewer_bytes_than_announced_are_corrupt_and_never_zeros() {
    for size in [5, 3 << 20] {
        let source = MemoryTree::new([dir(""), file("f", size)]).with_content(path("f"), b"four".as_slice());
        let target = tempfile::tempdir().unwrap();
        let error = apply(Arc::new(source), target.path(), ApplyOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn an_untrusted_tree_gets_no_privilege_and_the_report_says_so() {
    let mut set_id = file("a", 0);
    set_id.metadata.mode = 0o4755;
    let device = of("b", EntryKind::CharacterDevice { device: 0x0103 });
    let again = Entry { link: Some(path("b")), ..of("c", EntryKind::CharacterDevice { device: 0x0103 }) };
    let device = Entry { link: Some(path("b")), ..device };
    let (target, report) = applied(vec![dir(""), set_id, device, again], ApplyOptions::default()).await;
    let report = report.unwrap();
    let names: Vec<_> = fs::read_dir(target.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["a"]);
    for loss in [Loss::SetId, Loss::Device, Loss::HardLink] {
        assert_eq!(report.losses.count(loss), 1, "{loss}");
    }
}

#[tokio::test]
async fn losses_can_be_refused_and_a_stopped_meter_ends_the_call() {
    let device = of("b", EntryKind::CharacterDevice { device: 0x0103 });
    let (_target, report) =
        applied(vec![dir(""), device], ApplyOptions::default().with_on_loss(OnLoss::Refuse)).await;
    assert_eq!(report.unwrap_err().kind(), ErrorKind::Unsupported);
    let meter = Meter::default();
    meter.stop();
    let (target, report) =
        applied(vec![dir(""), file("f", 1)], ApplyOptions::default().with_meter(meter)).await;
    assert_eq!(report.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

/// A tree with a file of which nobody ever gives the content; says when it is asked for.
#[derive(Debug)]
struct Silent {
    tree: MemoryTree,
    asked: Arc<tokio::sync::Notify>,
}

#[async_trait::async_trait]
impl TreeSource for Silent {
    fn entries(&self, after: Option<TreePath>) -> futures::stream::BoxStream<'static, Result<Entry>> {
        self.tree.entries(after)
    }

    async fn entry(&self, path: &TreePath) -> Result<Option<Entry>> {
        self.tree.entry(path).await
    }

    async fn read(&self, _: &TreePath, _: std::ops::Range<u64>) -> Result<bytes::Bytes> {
        self.asked.notify_one();
        std::future::pending().await
    }

    fn totals(&self) -> Option<TreeTotals> {
        None
    }

    fn directory(&self) -> Option<&Path> {
        None
    }
}

#[tokio::test]
async fn a_stop_ends_the_call_also_while_the_source_does_not_answer() {
    let (target, asked) = (tempfile::tempdir().unwrap(), Arc::new(tokio::sync::Notify::new()));
    let source = Silent { tree: MemoryTree::new([dir(""), file("f", 1)]), asked: Arc::clone(&asked) };
    let meter = Meter::default();
    let options = ApplyOptions::default().with_meter(meter.clone());
    let stop = async {
        asked.notified().await;
        meter.stop();
    };
    let (report, ()) = tokio::join!(apply(Arc::new(source), target.path(), options), stop);
    assert_eq!(report.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
    // One that came before is not missed either.
    meter.stopped().await;
}

#[tokio::test]
async fn the_report_says_whether_anything_has_attributes() {
    let link = of("s", EntryKind::Symlink { target: b"f".to_vec() });
    let bare = || vec![dir(""), file("f", 1), link.clone()];
    let (_target, report) = applied(bare(), ApplyOptions::faithful()).await;
    assert_eq!(report.unwrap().attributes, Attributes::Nowhere);
    for dressed in [1, 0] {
        let mut entries = bare();
        entries[dressed].metadata.xattrs = vec![Xattr { name: b"user.a".to_vec(), value: "b".into() }];
        let (_target, report) = applied(entries, ApplyOptions::faithful()).await;
        let report = report.unwrap();
        let kept = report.losses.is_empty();
        let wanted = if kept { Attributes::Somewhere } else { Attributes::Nowhere };
        assert_eq!(report.attributes, wanted, "{dressed} {:?}", report.losses.remarks());
    }
}

#[tokio::test]
async fn what_a_directory_would_have_its_content_inherit_is_not_kept() {
    let target = tempfile::tempdir().unwrap();
    // acl(5): rights for the user 1234, in the kernel's form (linux/posix_acl_xattr.h).
    let entries =
        [(1_u16, 7_u16, u32::MAX), (2, 7, 1234), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)];
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, who) in entries {
        acl.extend([&tag.to_le_bytes()[..], &rights.to_le_bytes(), &who.to_le_bytes()].concat());
    }
    let set = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(target.path(), "system.posix_acl_default", &acl, set).is_err() {
        return println!("skipped: the filesystem of {} keeps no ACL", target.path().display());
    }
    let source = Arc::new(MemoryTree::new([dir(""), dir("d"), file("d/f", 1), file("f", 1)]));
    apply(source, target.path(), ApplyOptions::faithful()).await.unwrap();
    for made in ["", "d", "d/f", "f"] {
        let listed = rustix::fs::listxattr_query(target.path().join(made)).unwrap();
        assert_eq!(listed, 0, "{made:?} has attributes");
    }
}
