//! The decisions of a scan, without I/O: which rows are passed, what an entry is against its row.

use super::open::Privilege;
use crate::workspace::record::{Applied, AppliedKind, Freshness, Row, Stamp};
use persist_core::{
    Result,
    tree::{Aspects, Entry, EntryKind, Found, Stat, TreePath},
};
use std::cmp::Ordering;

/// What is known of one path of the base.
#[derive(Debug, Clone)]
pub enum Known {
    /// What the record says.
    Row(Row),
    /// Only what the tree in the bucket says, because the record was lost: it is read again.
    Intended {
        /// What it was meant to be.
        entry: Box<Entry>,
        /// What the tree in the bucket holds for it.
        reference: Vec<u8>,
    },
}

/// One difference between a tree and its base.
#[derive(Debug, Clone)]
pub struct Change {
    /// Where.
    pub path: TreePath,
    /// What.
    pub what: What,
}

/// How an entry differs from its base.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum What {
    /// It is not in the base.
    Added {
        /// What it is.
        now: Now,
    },
    /// Its content differs, or may: it is read.
    Content {
        /// What it was.
        before: Row,
        /// What it is.
        now: Now,
    },
    /// Its content is as it was.
    Metadata {
        /// What it was.
        before: Row,
        /// What it is; never a file, whose times prove nothing about its content once they moved.
        now: Now,
        /// What differs from what was applied.
        differs: Aspects,
    },
    /// It is another type of entry.
    Replaced {
        /// What it was.
        before: Row,
        /// What it is.
        now: Now,
    },
    /// It is not there any more. What was in it follows.
    Removed {
        /// What it was.
        before: Row,
    },
}

/// An entry as it is now.
#[derive(Debug, Clone)]
pub enum Now {
    /// A file, which is still to be [opened](super::Tree::read_file).
    File {
        /// What statx(2) said.
        stat: Stat,
        /// Under which path it appears first, if it has several names.
        link: Option<TreePath>,
    },
    /// Anything else, read whole.
    Other {
        /// What it is.
        entry: Box<Entry>,
        /// What statx(2) said.
        stat: Stat,
    },
}

/// The rows of the base on their way past the tree.
#[derive(Debug)]
pub(super) struct Merge<I: Iterator<Item = Result<Known>>> {
    previous: std::iter::Peekable<I>,
    /// What is below it is not known: it is carried.
    covered: Option<TreePath>,
}

/// What becomes of a row of whose path nothing was found.
#[derive(Debug)]
pub(super) enum Passed {
    /// It is below what cannot be looked into.
    Covered(Row),
    /// It is gone.
    Removed(Row),
}

/// What is done about an entry.
#[derive(Debug)]
pub(super) enum Judged {
    /// It is in the very state of its row.
    Same(Row),
    /// It is looked at closer.
    Read(Option<Row>),
}

impl<I: Iterator<Item = Result<Known>>> Merge<I> {
    pub(super) fn new(previous: I) -> Self {
        Self { previous: previous.peekable(), covered: None }
    }

    /// What is below `path` cannot be looked into.
    pub(super) fn carry_below(&mut self, path: TreePath) {
        self.covered = Some(path);
    }

    /// The next row before `path`, or of all that are left.
    pub(super) fn pass(&mut self, path: Option<&TreePath>) -> Result<Option<Passed>> {
        let before = |known: &Known| path.is_none_or(|path| known.path() < path);
        let Some(known) = self.next_if(before)? else { return Ok(None) };
        let covered = self.covered.as_ref().is_some_and(|above| is_below(known.path(), above));
        let row = known.into_row();
        Ok(Some(if covered { Passed::Covered(row) } else { Passed::Removed(row) }))
    }

    /// What is known of `path`, once everything before it has passed.
    pub(super) fn at(&mut self, path: &TreePath) -> Result<Option<Known>> {
        self.next_if(|known| known.path() == path)
    }

    fn next_if(&mut self, wanted: impl Fn(&Known) -> bool) -> Result<Option<Known>> {
        self.previous.next_if(|next| next.as_ref().map_or(true, &wanted)).transpose()
    }
}

/// Judges what was found at the path of `known`.
pub(super) fn judge(
    known: Option<Known>,
    found: &Found,
    link: Option<&TreePath>,
    privilege: Privilege,
) -> Judged {
    match known {
        None => Judged::Read(None),
        Some(Known::Row(row)) if row.freshness == Freshness::Settled && row.applied.is(&found.stat, link) => {
            Judged::Same(row)
        }
        Some(Known::Row(row)) => Judged::Read(Some(row)),
        Some(Known::Intended { entry, reference }) => {
            let applied = assumed(&entry, &found.stat, privilege);
            let (path, freshness) = (entry.path, Freshness::Racy);
            Judged::Read(Some(Row { path, applied, freshness, reference }))
        }
    }
}

impl Known {
    /// The path.
    pub fn path(&self) -> &TreePath {
        match self {
            Self::Row(row) => &row.path,
            Self::Intended { entry, .. } => &entry.path,
        }
    }

    fn into_row(self) -> Row {
        match self {
            Self::Row(row) => row,
            Self::Intended { entry, reference } => {
                let applied = intended(&entry);
                Row { path: entry.path, applied, freshness: Freshness::Racy, reference }
            }
        }
    }
}

impl What {
    /// How `now` differs from `before`; or, where nothing does, the row that takes the place of `before`.
    pub(super) fn of(before: Option<Row>, now: Now, stamp: Stamp) -> Result<Self, Box<Row>> {
        let Some(before) = before else { return Ok(Self::Added { now }) };
        if before.applied.kind != now.stat().kind.into() {
            return Ok(Self::Replaced { before, now });
        }
        let Some(applied) = now.applied() else { return Ok(Self::Content { before, now }) };
        let differs = differs(&before.applied, &applied);
        if differs.contains(Aspects::CONTENT) {
            return Ok(Self::Content { before, now });
        }
        if differs.is_empty() {
            return Err(Box::new(Row::new(before.path, applied, stamp, before.reference)));
        }
        Ok(Self::Metadata { before, now, differs })
    }
}

impl Now {
    /// What statx(2) said.
    pub fn stat(&self) -> &Stat {
        match self {
            Self::File { stat, .. } | Self::Other { stat, .. } => stat,
        }
    }

    /// What its row says of it; `None` for a file, which is not read yet.
    pub fn applied(&self) -> Option<Applied> {
        match self {
            Self::File { .. } => None,
            Self::Other { entry, stat } => Some(of_entry(entry, stat)),
        }
    }
}

/// What the row of an entry says that was read together with `stat`.
pub(super) fn of_entry(entry: &Entry, stat: &Stat) -> Applied {
    let target = match &entry.kind {
        EntryKind::Symlink { target } => Some(target.as_slice()),
        _ => None,
    };
    Applied::new(stat, &entry.metadata.xattrs, target, entry.link.clone())
}

/// What differs between two states of an entry that is no file.
fn differs(before: &Applied, now: &Applied) -> Aspects {
    let mut differs = Aspects::empty();
    differs.set(Aspects::CONTENT, (&before.target, before.device) != (&now.target, now.device));
    differs.set(Aspects::MODE, before.mode != now.mode);
    differs.set(Aspects::UID, before.uid != now.uid);
    differs.set(Aspects::GID, before.gid != now.gid);
    differs.set(Aspects::MTIME, before.mtime != now.mtime);
    differs.set(Aspects::FLAGS, before.flags != now.flags);
    differs.set(Aspects::XATTRS, before.xattrs != now.xattrs);
    differs.set(Aspects::LINKS, before.link != now.link);
    differs
}

/// What was meant, as if all of it had been applied.
fn intended(entry: &Entry) -> Applied {
    let (metadata, target) = (
        &entry.metadata,
        match &entry.kind {
            EntryKind::Symlink { target } => Some(target.as_slice()),
            _ => None,
        },
    );
    let device = match entry.kind {
        EntryKind::CharacterDevice { device } | EntryKind::BlockDevice { device } => device,
        _ => 0,
    };
    Applied {
        kind: AppliedKind::from(persist_core::tree::Kind::from(&entry.kind)),
        inode: (0, 0, 0),
        size: entry.size(),
        mtime: (metadata.mtime_s, metadata.mtime_ns),
        ctime: (0, 0),
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        flags: metadata.flags,
        device,
        link: entry.link.clone(),
        target: target.map(crate::head::record::Digest::of),
        xattrs: crate::workspace::record::marks(&metadata.xattrs),
    }
}

/// What was probably applied of an entry whose row is lost: what this process may apply, as it was meant, and of the
/// rest whatever is there now. So nobody's owners and attributes are rewritten for want of a record.
fn assumed(entry: &Entry, stat: &Stat, privilege: Privilege) -> Applied {
    let mut applied = intended(entry);
    if privilege == Privilege::Ordinary {
        let owner_kept = (applied.uid, applied.gid) == (stat.uid, stat.gid);
        (applied.uid, applied.gid, applied.flags) = (stat.uid, stat.gid, stat.flags);
        if !owner_kept {
            // A file that lost its owner lost its set-id bits with it.
            applied.mode = (applied.mode & !SET_ID) | (stat.mode & SET_ID);
        }
        applied
            .xattrs
            .retain(|mark| !mark.name.starts_with(b"security.") && !mark.name.starts_with(b"trusted."));
    }
    applied
}

/// `S_ISUID | S_ISGID` (inode(7)).
const SET_ID: u32 = 0o6000;

fn is_below(path: &TreePath, above: &TreePath) -> bool {
    let (path, above) = (path.as_bytes(), above.as_bytes());
    match above.len().cmp(&path.len()) {
        Ordering::Less => above.is_empty() || (path.starts_with(above) && path[above.len()] == b'/'),
        _ => false,
    }
}
