//! From what a scan saw to what is uploaded and written into the tree: one job for each changed entry.

use super::{
    cutting::{self, CutBefore},
    reference,
};
use crate::{
    format::{
        location::ChunkRef,
        tree::{Change as TreeChange, Content, StoredEntry, is_later_name},
    },
    transfer::upload::{Intake, Job, Uploaded},
    workspace::{
        record::{Applied, AppliedKind, Row},
        scan::{Change, Now, OpenFile, Read as FileRead, Stability, Tree, What},
    },
};
use persist_core::{
    Result,
    tree::{DataRange, Entry, EntryKind, Metadata, Stat, TreePath},
};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
};

/// An entry that was read, and not yet where its data is.
#[derive(Debug)]
pub(super) enum Fresh {
    /// It goes, with everything below it.
    Removed(TreePath),
    /// It is this; its data follows.
    Entry {
        entry: Box<StoredEntry>,
        row: Box<Row>,
        /// What stood here before, if it was of another type.
        replaces: Replaces,
        stability: Stability,
    },
}

/// Whether something of another type stood at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaces {
    Nothing,
    /// What was below it goes as well.
    Another,
}

/// What becomes of an uploaded entry: changes of the tree, and the row of its record.
#[derive(Debug)]
pub(super) struct InTree {
    pub(super) changes: Vec<TreeChange>,
    pub(super) row: Option<Row>,
    pub(super) moved: Option<TreePath>,
}

/// The job of one change. `before` are the chunks of the file as the base has it.
pub(super) fn job(tree: &Tree, change: Change, before: Vec<ChunkRef>) -> Job<Fresh> {
    let tree = tree.clone();
    let Change { path, what } = change;
    let (was, now, replaces) = match what {
        What::Removed { .. } => return ready(Fresh::Removed(path)),
        What::Added { now } => (None, now, Replaces::Nothing),
        What::Content { before, now } | What::Metadata { before, now, .. } => {
            (Some(before), now, Replaces::Nothing)
        }
        What::Replaced { before, now } => {
            let another = before.applied.kind == AppliedKind::Directory;
            (None, now, if another { Replaces::Another } else { Replaces::Nothing })
        }
    };
    match now {
        Now::Other { entry, stat } => {
            let mut entry = StoredEntry::new(*entry);
            let row = row_of(&entry.entry, &stat, &tree);
            merge(&mut entry.entry.metadata, was.as_ref());
            let (entry, row) = (Box::new(entry), Box::new(row));
            ready(Fresh::Entry { entry, row, replaces, stability: Stability::Still })
        }
        Now::File { stat, link } => {
            let cut = CutBefore::of(&before);
            let read =
                move |intake: &mut _| read_file(&tree, (&path, link), (was.as_ref(), cut), replaces, intake);
            Job { bytes: stat.size, before, read: Box::new(read) }
        }
    }
}

/// What an uploaded entry is in the tree and in the stat record.
///
/// # Errors
/// That of the job.
pub(super) fn written(uploaded: Uploaded<Fresh>) -> Result<InTree> {
    let (mut entry, mut row, replaces, stability) = match uploaded.value? {
        Fresh::Removed(path) => {
            let changes = vec![TreeChange::RemoveSubtree(path)];
            return Ok(InTree { changes, row: None, moved: None });
        }
        Fresh::Entry { entry, row, replaces, stability } => (entry, row, replaces, stability),
    };
    if matches!(entry.entry.kind, EntryKind::File { .. }) && !is_later_name(&entry.entry) {
        entry.content = Content::Chunks(uploaded.chunks);
    }
    row.reference = reference::encode(&entry)?;
    let path = entry.entry.path.clone();
    let moved = (stability == Stability::Moving).then(|| path.clone());
    let mut changes = Vec::with_capacity(2);
    if replaces == Replaces::Another {
        changes.push(TreeChange::RemoveSubtree(path));
    }
    changes.push(TreeChange::Put(entry));
    Ok(InTree { changes, row: Some(*row), moved })
}

fn row_of(entry: &Entry, stat: &Stat, tree: &Tree) -> Row {
    let target = match &entry.kind {
        EntryKind::Symlink { target } => Some(target.as_slice()),
        _ => None,
    };
    let applied = Applied::new(stat, &entry.metadata.xattrs, target, entry.link.clone());
    Row::new(entry.path.clone(), applied, tree.stamp(), Vec::new())
}

fn ready(fresh: Fresh) -> Job<Fresh> {
    Job { bytes: 0, before: Vec::new(), read: Box::new(move |_| Ok(fresh)) }
}

fn read_file(
    tree: &Tree,
    (path, link): (&TreePath, Option<TreePath>),
    (was, cut): (Option<&Row>, CutBefore),
    replaces: Replaces,
    intake: &mut Intake<Fresh>,
) -> Result<Fresh> {
    let read = tree.read_file(path, link, |open| {
        if is_later_name(&open.entry) {
            return Ok(());
        }
        let (ranges, bytes) = data_of(open);
        let written = cutting::written(&open.file, &ranges, cut)?;
        intake.read(Data::new(&open.file, ranges), bytes, written)
    })?;
    let FileRead::Done { file, stability, .. } = read else { return Ok(Fresh::Removed(path.clone())) };
    let row = Box::new(file.row(tree, stability, Vec::new()));
    let mut entry = Box::new(StoredEntry::new(file.entry));
    merge(&mut entry.entry.metadata, was);
    Ok(Fresh::Entry { entry, row, replaces, stability })
}

/// What could not be applied on this node stays as it was meant.
fn merge(now: &mut Metadata, was: Option<&Row>) {
    let Some(was) = was else { return };
    if let Some(intended) = reference::decode(&was.reference) {
        *now = was.applied.merged(&intended.entry.metadata, now);
    }
}

fn data_of(open: &OpenFile) -> (Vec<DataRange>, u64) {
    match &open.entry.kind {
        EntryKind::File { data: Some(ranges), .. } => {
            (ranges.clone(), ranges.iter().map(|range| range.length).sum())
        }
        EntryKind::File { size, data: None } => (vec![DataRange { offset: 0, length: *size }], *size),
        _ => (Vec::new(), 0),
    }
}

/// The data of a file, one range after the other. A file that became shorter meanwhile reads as zeros where
/// it was: its length is what the entry says, and it is read again because it moved.
struct Data<'a> {
    file: &'a File,
    ranges: std::vec::IntoIter<DataRange>,
    now: DataRange,
}

impl<'a> Data<'a> {
    fn new(file: &'a File, ranges: Vec<DataRange>) -> Self {
        Self { file, ranges: ranges.into_iter(), now: DataRange { offset: 0, length: 0 } }
    }
}

impl Read for Data<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.now.length == 0 {
            match self.ranges.next() {
                Some(next) => self.now = next,
                None => return Ok(0),
            }
        }
        let most = usize::try_from(self.now.length).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = match self.file.read_at(&mut buffer[..most], self.now.offset)? {
            0 => {
                buffer[..most].fill(0);
                most
            }
            read => read,
        };
        (self.now.offset, self.now.length) = (self.now.offset + read as u64, self.now.length - read as u64);
        Ok(read)
    }
}
