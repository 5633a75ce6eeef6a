//! What is brought into the bucket again although it has not changed, so that packs of which little is left can go.
//!
//! A pack goes as a whole, once no chunk in it is referred to. What changes here and there, a database above all,
//! would leave many packs with a little in each. So a prune by the writer looks for such packs, and the writer's next
//! commit reads the files that are left in them once more, and stores what lay there in packs of its own. Nothing is
//! moved in the bucket: the tree refers to new packs once that commit is made, and the old ones go as any others do.

use crate::{
    format::{
        location::PackIndex,
        table::{Home, PackTable},
        tree::PacksUsed,
    },
    workspace::record::{Freshness, Row},
};
use persist_core::{VolumeId, tree::TreePath};
use std::collections::BTreeSet;

/// A pack is left of which less than a half is referred to: storing that again costs less than it gives back.
const LEFT_BELOW: u64 = 2;

/// The most that one commit stores again: some seconds on a link of a Gbit/s. The next prune finds the rest.
const REWRITE_MAX_BYTES: u64 = 256 << 20;

/// What the next commit of a session stores again.
#[derive(Debug, Default)]
pub(super) struct Rewrite {
    /// These packs are left.
    pub(super) packs: BTreeSet<PackIndex>,
    /// The files with something in them.
    pub(super) files: BTreeSet<TreePath>,
}

impl Rewrite {
    /// A row of the stat record; one of a file that is read again says so.
    pub(super) fn judged(&self, row: Row) -> Row {
        if self.files.contains(&row.path) { Row { freshness: Freshness::Racy, ..row } } else { row }
    }
}

/// The packs of `volume` that are left, those with the least in them first, up to a limit. Of packs within commit
/// objects none: the pages beside them stay.
pub(super) fn sparse(volume: &VolumeId, table: &PackTable, used: &PacksUsed) -> BTreeSet<PackIndex> {
    let own = table.packs().filter(|(_, entry)| entry.volume == *volume && entry.home == Home::Own);
    let left = own.filter_map(|(index, entry)| {
        let used = used.of(index)?;
        (used * LEFT_BELOW < u64::from(entry.bytes)).then_some((used, index))
    });
    let mut left: Vec<_> = left.collect();
    left.sort_unstable();
    let mut total = 0;
    let within = left.into_iter().take_while(|(used, _)| {
        total += used;
        total <= REWRITE_MAX_BYTES
    });
    within.map(|(_, index)| index).collect()
}
