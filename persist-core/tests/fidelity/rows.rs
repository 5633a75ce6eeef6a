//! One row of the table: planted, brought over, and described on both sides by an independent reading.

use futures::TryStreamExt;
use persist_core::{
    progress::Meter,
    tree::{
        ApplyOptions, CompareOptions, CopyOptions, DirectoryTree, Loss, Losses, OnLoss, RemoveOptions, Root,
        TreePath, Trust, Unreadable, apply, compare, copy, remove,
        sample::{Planted, Row, describe, differences, plant},
    },
};
use std::{fs, path::Path, sync::Arc};

/// How a tree is brought over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    Copied,
    Applied,
    Untrusted,
}

impl Means {
    pub const ALL: [Self; 3] = [Self::Copied, Self::Applied, Self::Untrusted];
}

/// What became of a row between two places. `None` where this user cannot plant it in the first.
pub fn outcome(places: [&Path; 2], row: Row, means: Means) -> Option<String> {
    let [source, target] = places.map(|place| tempfile::tempdir_in(place).unwrap());
    let (from, to) = (source.path().join("from"), target.path().join("to"));
    [&from, &to].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
    let planted = plant(&from, &[row]).unwrap();
    if let Planted::NotHere(why) = &planted[0].1 {
        println!("{}: not here: {why}", row.name());
        return None;
    }
    let before = describe(&from).unwrap();
    let losses = bring(&from, &to, means);
    let lines = differences(&before, &describe(&to).unwrap(), &[]);
    // A file that nobody may read cannot be compared by its bytes.
    let readable = !before.values().any(|facets| facets.values().any(|facet| facet == "unreadable"));
    if readable {
        assert_eq!(engine_sees_a_difference(&from, &to), !lines.is_empty(), "{row:?} {means:?}: {lines:?}");
    }
    for dir in [&source, &target] {
        let root = Root::open(dir.path()).unwrap();
        remove(&root, &TreePath::root(), &RemoveOptions::default(), &Meter::default()).unwrap();
    }
    for line in &lines {
        assert!(is_reported(line, &losses), "{row:?} {means:?}: lost and not reported: {line}, {losses:?}");
    }
    assert_eq!(lines.is_empty(), losses.is_empty(), "{row:?} {means:?}: reported and not lost: {losses:?}");
    let kinds: Vec<String> = losses.iter().map(|(loss, _)| loss.to_string()).collect();
    Some(if kinds.is_empty() { "kept".into() } else { format!("reported: {}", kinds.join(", ")) })
}

fn bring(from: &Path, to: &Path, means: Means) -> Losses {
    let trust = if means == Means::Untrusted { Trust::Untrusted } else { Trust::Faithful };
    if means == Means::Copied {
        let options = CopyOptions::default().with_trust(trust).with_unreadable(Unreadable::Report);
        let (from, to) = (Root::open(from).unwrap(), Root::open(to).unwrap());
        return copy(&from, &to, &options, &Meter::default()).unwrap().losses;
    }
    let source = DirectoryTree::open(from).unwrap().with_losses(OnLoss::Report);
    let options = ApplyOptions::default().with_trust(trust).with_unreadable(Unreadable::Report);
    let report = block_on(apply(Arc::new(source.clone()), to, options)).unwrap();
    let mut losses = report.losses;
    losses.merge(source.losses());
    losses
}

/// The engine's own comparison, attribute by attribute and byte by byte.
fn engine_sees_a_difference(from: &Path, to: &Path) -> bool {
    let open = |path| Arc::new(DirectoryTree::open(path).unwrap());
    let changes: Vec<_> =
        block_on(compare(open(from), open(to), CompareOptions::exact()).try_collect()).unwrap();
    !changes.is_empty()
}

/// Whether a line of difference is of a kind that was reported.
fn is_reported(line: &str, losses: &Losses) -> bool {
    let kinds: &[Loss] = match () {
        () if line.ends_with(": gone") => &[Loss::Device, Loss::Special, Loss::Unreadable, Loss::HardLink],
        () if line.contains(": mode: ") => &[Loss::Mode, Loss::SetId, Loss::Acl],
        () if line.contains(": uid: ") || line.contains(": gid: ") => &[Loss::Owner],
        () if line.contains(": mtime: ") => &[Loss::Time],
        () if line.contains(": flags: ") => &[Loss::Flags],
        () if line.contains(": first name: ") => &[Loss::HardLink, Loss::Unreadable],
        () if line.contains(": attributes: ") => &[Loss::Attribute, Loss::Acl, Loss::Security, Loss::Trusted],
        () => &[],
    };
    kinds.iter().any(|kind| losses.count(*kind) > 0)
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(future)
}
