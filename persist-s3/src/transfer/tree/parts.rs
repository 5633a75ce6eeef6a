//! Where the bytes of a file are: ranges of data, and chunks that are the data.

use crate::format::tree::Content;
use persist_core::tree::{DataRange, Entry, EntryKind, TreePath};
use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::Arc,
};

/// What is needed to read a file.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) size: u64,
    /// Nothing if all of it is data.
    data: Option<Vec<DataRange>>,
    pub(super) content: Content,
}

/// A stretch of data that a read wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Which bytes of data.
    pub(super) data: Range<u64>,
    /// Where they go in what is read.
    pub(super) to: usize,
}

impl Parts {
    /// The parts of `entry`; nothing unless it is a file, and this its first name.
    pub(super) fn of(entry: &Entry, content: Content) -> Option<Self> {
        let EntryKind::File { size, data } = &entry.kind else { return None };
        if crate::format::tree::is_later_name(entry) {
            return None;
        }
        let data = data.clone().filter(|data| *data != [DataRange { offset: 0, length: *size }]);
        Some(Self { size: *size, data, content })
    }

    /// The stretches of data within `range`; what lies between them is a hole.
    pub(super) fn segments(&self, range: &Range<u64>) -> Vec<Segment> {
        let all = [DataRange { offset: 0, length: self.size }];
        let ranges = self.data.as_deref().unwrap_or(&all);
        let mut before = 0;
        let mut segments = Vec::new();
        for DataRange { offset, length } in ranges {
            let (from, to) = (range.start.max(*offset), range.end.min(offset.saturating_add(*length)));
            if from < to {
                let data = before + (from - offset)..before + (to - offset);
                segments
                    .push(Segment { data, to: usize::try_from(from - range.start).unwrap_or(usize::MAX) });
            }
            before += length;
        }
        segments
    }
}

/// The files that were listed lately: whoever reads what it was just told needs no page again.
#[derive(Debug, Default)]
pub(super) struct Recent {
    files: HashMap<TreePath, Arc<Parts>>,
    order: VecDeque<TreePath>,
}

/// More than an engine lists ahead of what it reads: core's `apply` has some 1,200 entries in hand.
const RECENT_MAX: usize = 8192;

impl Recent {
    pub(super) fn add(&mut self, path: TreePath, parts: Arc<Parts>) {
        if self.files.insert(path.clone(), parts).is_none() {
            self.order.push_back(path);
        }
        while self.order.len() > RECENT_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.files.remove(&oldest);
            }
        }
    }

    pub(super) fn get(&self, path: &TreePath) -> Option<Arc<Parts>> {
        self.files.get(path).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_across_holes_takes_the_data_that_lies_in_it() {
        let at = |offset, length| DataRange { offset, length };
        let data = Some(vec![at(10, 10), at(30, 10)]);
        let parts = Parts { size: 100, data, content: Content::NONE };
        let segments = |range: Range<u64>| -> Vec<_> {
            parts.segments(&range).into_iter().map(|segment| (segment.data, segment.to)).collect()
        };
        assert_eq!(segments(0..100), [(0..10, 10), (10..20, 30)]);
        assert_eq!(segments(15..35), [(5..10, 0), (10..15, 15)]);
        assert_eq!(segments(20..30), []);
        assert_eq!(segments(0..0), []);
    }

    #[test]
    fn only_so_many_files_are_remembered() {
        let mut recent = Recent::default();
        let path = |n: usize| TreePath::new(n.to_string()).unwrap();
        let parts = Arc::new(Parts { size: 0, data: None, content: Content::NONE });
        (0..RECENT_MAX + 10).for_each(|n| recent.add(path(n), Arc::clone(&parts)));
        assert_eq!((recent.files.len(), recent.order.len()), (RECENT_MAX, RECENT_MAX));
        assert!(recent.get(&path(9)).is_none() && recent.get(&path(10)).is_some());
    }
}
