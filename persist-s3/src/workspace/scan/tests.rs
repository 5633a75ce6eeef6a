use super::*;
use crate::workspace::record::{Freshness, Rows, merge};
use persist_core::{ErrorKind, VolumeId, tree::Aspects};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};
use tempfile::TempDir;

mod pure;

fn of() -> Of {
    Of { volume: VolumeId::parse("00000000-0000-7000-8000-000000000001").unwrap(), base: None }
}

/// A tree, and what was recorded of it.
struct Bench {
    dir: TempDir,
    drafts: TempDir,
    rows: Vec<Row>,
}

impl Bench {
    fn new() -> Self {
        let [dir, drafts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        Self { dir, drafts, rows: Vec::new() }
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    /// A cut of the tree as it is: later than all that was written by more than the clock's coarseness.
    fn tree(&self) -> Tree {
        let wanted = Stamp::settles(Stamp::now(self.drafts.path()).unwrap().time);
        let stamp = loop {
            let now = Stamp::now(self.drafts.path()).unwrap();
            if now.time > wanted.time {
                break now;
            }
            std::thread::yield_now();
        };
        Tree::open(self.dir.path(), stamp).unwrap()
    }

    fn scan(&self, tree: &Tree, options: &ScanOptions) -> (Vec<Change>, Scanned) {
        let mut changes = Vec::new();
        let previous = self.rows.clone().into_iter().map(|row| Ok(Known::Row(row)));
        let scanned = tree.scan(previous, (self.drafts.path(), of()), options, &mut |change| {
            changes.push(change);
            Ok(())
        });
        assert!(changes.is_sorted_by(|a, b| a.path < b.path), "{changes:?}");
        (changes, scanned.unwrap())
    }

    /// Reads what changed, and makes the tree as it is the base.
    fn commit(&mut self) -> Vec<(String, &'static str)> {
        self.commit_as(&ScanOptions::default())
    }

    fn commit_as(&mut self, options: &ScanOptions) -> Vec<(String, &'static str)> {
        let tree = self.tree();
        let (changes, scanned) = self.scan(&tree, options);
        let shown = changes.iter().map(shown).collect();
        let mut read = RowWriter::new(self.drafts.path(), of()).unwrap();
        changes.into_iter().filter_map(|change| row(&tree, change)).for_each(|row| read.push(row).unwrap());
        let merged = merge(self.drafts.path(), of(), &scanned.carried, &read.finish().unwrap()).unwrap();
        let at = self.drafts.path().join("stat");
        merged.name(&at).unwrap();
        self.rows = Rows::open(&at, &of()).unwrap().unwrap().map(Result::unwrap).collect();
        assert_eq!(self.rows.len() as u64, scanned.totals.files);
        shown
    }
}

fn shown(change: &Change) -> (String, &'static str) {
    let what = match &change.what {
        What::Added { .. } => "added",
        What::Content { .. } => "content",
        What::Metadata { .. } => "metadata",
        What::Replaced { .. } => "replaced",
        What::Removed { .. } => "removed",
    };
    (change.path.to_string(), what)
}

fn row(tree: &Tree, change: Change) -> Option<Row> {
    let now = match change.what {
        What::Added { now }
        | What::Content { now, .. }
        | What::Metadata { now, .. }
        | What::Replaced { now, .. } => now,
        What::Removed { .. } => return None,
    };
    match now {
        Now::Other { .. } => {
            Some(Row::new(change.path.clone(), now.applied().unwrap(), tree.stamp(), b"reference".to_vec()))
        }
        Now::File { link, .. } => match tree.read_file(&change.path, link, |_| Ok(())).unwrap() {
            Read::Done { file, stability, .. } => Some(file.row(tree, stability, b"reference".to_vec())),
            Read::Gone => None,
        },
    }
}

fn list(changes: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    changes.iter().map(|(path, what)| ((*path).to_owned(), *what)).collect()
}

#[test]
fn each_kind_of_change_is_seen_and_nothing_else() {
    let mut bench = Bench::new();
    for n in 0..600 {
        bench.write(&format!("d/{n}"), "same");
    }
    bench.write("content", "old");
    bench.write("same-size-and-time", "old");
    bench.write("becomes-directory", "x");
    bench.write("gone/inside/deep", "x");
    symlink("old", bench.at("link")).unwrap();
    fs::create_dir(bench.at("mode")).unwrap();
    assert_eq!(bench.commit().len(), 1 + 1 + 600 + 3 + 3 + 2);
    assert_eq!(bench.commit(), list(&[]));
    assert_eq!(bench.rows.iter().filter(|row| row.freshness == Freshness::Racy).count(), 0);

    fs::write(bench.at("content"), "new").unwrap();
    let times = fs::metadata(bench.at("same-size-and-time")).unwrap().modified().unwrap();
    fs::write(bench.at("same-size-and-time"), "new").unwrap();
    fs::File::options()
        .write(true)
        .open(bench.at("same-size-and-time"))
        .unwrap()
        .set_modified(times)
        .unwrap();
    fs::remove_file(bench.at("becomes-directory")).unwrap();
    bench.write("becomes-directory/new", "x");
    fs::remove_dir_all(bench.at("gone")).unwrap();
    fs::remove_file(bench.at("link")).unwrap();
    symlink("new", bench.at("link")).unwrap();
    fs::set_permissions(bench.at("mode"), fs::Permissions::from_mode(0o711)).unwrap();
    let wanted = list(&[
        (".", "metadata"),
        ("becomes-directory", "replaced"),
        ("becomes-directory/new", "added"),
        ("content", "content"),
        ("gone", "removed"),
        ("gone/inside", "removed"),
        ("gone/inside/deep", "removed"),
        ("link", "content"),
        ("mode", "metadata"),
        ("same-size-and-time", "content"),
    ]);
    assert_eq!(bench.commit(), wanted);
    assert_eq!(bench.commit(), list(&[]));
}

#[test]
fn a_file_of_several_names_is_one_file_and_a_name_more_or_less_is_seen() {
    let mut bench = Bench::new();
    bench.write("m/one", "x");
    fs::hard_link(bench.at("m/one"), bench.at("z")).unwrap();
    bench.commit();
    let link = |bench: &Bench, at: &str| {
        let row = bench.rows.iter().find(|row| row.path.to_string() == at).unwrap();
        row.applied.link.as_ref().map(ToString::to_string)
    };
    assert_eq!((link(&bench, "m/one"), link(&bench, "z")), (Some("m/one".into()), Some("m/one".into())));
    fs::hard_link(bench.at("z"), bench.at("a")).unwrap();
    let wanted = list(&[(".", "metadata"), ("a", "added"), ("m/one", "content"), ("z", "content")]);
    assert_eq!(bench.commit(), wanted);
    assert_eq!((link(&bench, "a"), link(&bench, "z")), (Some("a".into()), Some("a".into())));
    assert_eq!(bench.commit(), list(&[]));
}

#[test]
fn what_is_not_clearly_older_than_the_cut_is_read_again() {
    let mut bench = Bench::new();
    bench.write("f", "x");
    bench.commit();
    let early = Tree::open(bench.dir.path(), Stamp { time: bench.rows[1].applied.ctime }).unwrap();
    bench.rows.iter_mut().for_each(|row| row.freshness = early.stamp().judges(row.applied.ctime));
    // The directory is looked at again too, and nothing about it differs.
    assert_eq!(bench.commit(), list(&[("f", "content")]));
    assert_eq!(bench.commit(), list(&[]));
}

#[test]
fn a_file_that_moves_under_each_reading_is_read_three_times_and_said_to_move() {
    let mut bench = Bench::new();
    bench.write("f", "x");
    bench.commit();
    let (tree, path) = (bench.tree(), TreePath::new("f").unwrap());
    let mut reads = 0;
    let read = tree.read_file(&path, None, |_| {
        reads += 1;
        fs::write(bench.at("f"), "x".repeat(reads + 1)).unwrap();
        Ok(reads)
    });
    let Read::Done { value: 3, file, stability: Stability::Moving } = read.unwrap() else {
        panic!("it stood still")
    };
    assert_eq!(file.row(&tree, Stability::Moving, Vec::new()).freshness, Freshness::Racy);
    let once = tree.read_file(&path, None, |_| Ok(())).unwrap();
    assert!(matches!(once, Read::Done { stability: Stability::Still, .. }));
}

#[test]
fn a_file_that_went_away_or_became_something_else_before_it_is_read_is_gone() {
    let bench = Bench::new();
    let (tree, path) = (bench.tree(), TreePath::new("f").unwrap());
    let gone = || matches!(tree.read_file(&path, None, |_| Ok(())).unwrap(), Read::Gone);
    assert!(gone());
    symlink("elsewhere", bench.at("f")).unwrap();
    assert!(gone());
    fs::remove_file(bench.at("f")).unwrap();
    fs::create_dir(bench.at("f")).unwrap();
    assert!(gone());
    fs::remove_dir(bench.at("f")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.at("f")).unwrap();
    assert!(gone());
}

#[test]
fn what_cannot_be_looked_into_is_refused_or_carried_as_the_base_has_it() {
    let mut bench = Bench::new();
    bench.write("closed/in/file", "x");
    bench.write("open/file", "x");
    bench.commit();
    let (before, closed) = (bench.rows.len(), bench.at("closed"));
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();
    if fs::read_dir(&closed).is_ok() {
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
        return; // root lists everything
    }
    let tree = bench.tree();
    let previous = bench.rows.clone().into_iter().map(|row| Ok(Known::Row(row)));
    let refused = tree.scan(previous, (bench.drafts.path(), of()), &ScanOptions::default(), &mut |_| Ok(()));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Denied);
    let options = ScanOptions { unreadable: Unreadable::Report, ..ScanOptions::default() };
    let (changes, scanned) = bench.scan(&tree, &options);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(changes.iter().map(shown).collect::<Vec<_>>(), list(&[("closed", "metadata")]));
    assert_eq!((scanned.unchanged, scanned.losses.count(Loss::Unreadable)), (before as u64 - 1, 1));
}

#[test]
fn without_a_record_everything_is_read_and_what_is_gone_is_removed() {
    let mut bench = Bench::new();
    bench.write("kept", "x");
    bench.write("gone", "x");
    bench.commit();
    let tree = bench.tree();
    let known: BTreeMap<_, _> = ["", "gone", "kept"]
        .iter()
        .map(|path| {
            let path = TreePath::new(*path).unwrap();
            let entry = if path.is_root() {
                tree.other(&path, None).unwrap().unwrap().0
            } else {
                tree.open_file(&path, None).unwrap().unwrap().entry
            };
            (path, entry)
        })
        .collect();
    fs::remove_file(bench.at("gone")).unwrap();
    let previous =
        known.into_values().map(|entry| Ok(Known::Intended { entry: Box::new(entry), reference: vec![1] }));
    let mut changes = Vec::new();
    let scanned = tree.scan(previous, (bench.drafts.path(), of()), &ScanOptions::default(), &mut |change| {
        changes.push(change);
        Ok(())
    });
    assert_eq!(scanned.unwrap().totals.files, 2);
    let seen: Vec<_> = changes.iter().map(shown).collect();
    assert_eq!(seen, list(&[(".", "metadata"), ("gone", "removed"), ("kept", "content")]));
    let What::Metadata { differs, .. } = &changes[0].what else { panic!("{changes:?}") };
    assert_eq!(*differs, Aspects::MTIME);
}
