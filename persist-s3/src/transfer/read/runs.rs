//! Which frames are fetched together: pure decisions.

use crate::format::location::{Location, PackIndex};
use std::collections::BTreeMap;

/// The most that one request fetches. S3's guide asks for ranges of 8 or 16 MiB where much is read
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-guidelines.html>); the
/// smaller one keeps more requests in flight in the same memory.
pub(super) const RUN_BYTES: u64 = 8 << 20;

/// The most between two frames that is fetched with them: at 100 MB/s it costs 2.6 ms, a request ten times that.
const GAP_BYTES: u64 = 256 << 10;

/// A frame, as a request sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameSpan {
    pub(super) pack: PackIndex,
    pub(super) offset: u32,
    pub(super) bytes: u32,
    /// Raw bytes in it that somebody will want, at least.
    pub(super) raw: u32,
}

/// What tells a frame from others.
pub(super) type FrameKey = (PackIndex, u32);

impl FrameSpan {
    pub(super) fn of(at: &Location) -> Self {
        let raw = at.offset.saturating_add(at.bytes);
        Self { pack: at.pack, offset: at.frame_offset, bytes: at.frame_bytes, raw }
    }

    pub(super) fn key(&self) -> FrameKey {
        (self.pack, self.offset)
    }

    pub(super) fn location(&self) -> Location {
        let Self { pack, offset, bytes, raw } = *self;
        Location { pack, frame_offset: offset, frame_bytes: bytes, offset: 0, bytes: raw }
    }

    fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.bytes)
    }
}

/// Frames that one request fetches, in the order of the pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) spans: Vec<FrameSpan>,
    /// The frame that is needed first.
    pub(super) first: FrameKey,
}

impl Run {
    pub(super) fn single(span: FrameSpan) -> Self {
        Self { first: span.key(), spans: vec![span] }
    }

    /// How much memory its opened frames take, and no less than what they came in.
    pub(super) fn memory(&self) -> u64 {
        let raw: u64 = self.spans.iter().map(|span| u64::from(span.raw)).sum();
        raw.max(self.fetched())
    }

    /// What the request fetches, gaps included.
    pub(super) fn fetched(&self) -> u64 {
        let begin = self.spans.first().map_or(0, |span| u64::from(span.offset));
        self.spans.last().map_or(0, |span| span.end() - begin)
    }
}

/// The runs of `spans`, which come in the order in which they will be needed; so do the runs.
pub(super) fn coalesce(spans: impl IntoIterator<Item = FrameSpan>) -> Vec<Run> {
    let mut frames: BTreeMap<FrameKey, (usize, FrameSpan)> = BTreeMap::new();
    for (need, span) in spans.into_iter().enumerate() {
        let known = frames.entry(span.key()).or_insert((need, span));
        known.1.raw = known.1.raw.max(span.raw);
    }
    let mut runs: Vec<(usize, Run)> = Vec::new();
    for (need, span) in frames.into_values() {
        match runs.last_mut().filter(|(_, run)| takes(run, &span)) {
            None => runs.push((need, Run::single(span))),
            Some((first, run)) => {
                run.spans.push(span);
                if need < *first {
                    (*first, run.first) = (need, span.key());
                }
            }
        }
    }
    runs.sort_by_key(|(need, _)| *need);
    runs.into_iter().map(|(_, run)| run).collect()
}

fn takes(run: &Run, span: &FrameSpan) -> bool {
    let (Some(first), Some(last)) = (run.spans.first(), run.spans.last()) else { return true };
    let raw: u64 = run.spans.iter().map(|span| u64::from(span.raw)).sum();
    first.pack == span.pack
        && (last.end()..=last.end() + GAP_BYTES).contains(&u64::from(span.offset))
        && span.end() - u64::from(first.offset) <= RUN_BYTES
        && raw + u64::from(span.raw) <= RUN_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(pack: u32, offset: u32, bytes: u32) -> FrameSpan {
        FrameSpan { pack: PackIndex(pack), offset, bytes, raw: bytes }
    }

    fn shape(spans: Vec<FrameSpan>) -> Vec<Vec<(u32, u32)>> {
        let offsets = |run: Run| run.spans.iter().map(|span| (span.pack.0, span.offset)).collect();
        coalesce(spans).into_iter().map(offsets).collect()
    }

    #[test]
    fn neighbours_share_a_request_and_what_is_far_apart_does_not() {
        let near = vec![span(1, 0, 100), span(1, 100, 100), span(1, 200_000, 100)];
        assert_eq!(shape(near), [[(1, 0), (1, 100), (1, 200_000)]]);
        assert_eq!(shape(vec![span(1, 0, 100), span(1, 300_000, 100)]), [[(1, 0)], [(1, 300_000)]]);
        assert_eq!(shape(vec![span(1, 0, 100), span(2, 100, 100)]), [[(1, 0)], [(2, 100)]]);
    }

    #[test]
    fn a_request_is_bounded_by_what_it_fetches_and_by_what_that_unpacks_to() {
        let four = 4 << 20;
        let spans = (0..3).map(|n| span(1, n * four, four)).collect();
        assert_eq!(shape(spans), [vec![(1, 0), (1, four)], vec![(1, 2 * four)]]);
        let packed = (0..3).map(|n| FrameSpan { raw: four, ..span(1, n * 10, 10) }).collect();
        assert_eq!(shape(packed), [vec![(1, 0), (1, 10)], vec![(1, 20)]]);
    }

    #[test]
    fn runs_come_in_the_order_of_need_whatever_their_order_in_the_packs() {
        let spans = vec![span(9, 50, 10), span(1, 0, 10), span(9, 40, 10), span(1, 0, 10)];
        assert_eq!(shape(spans.clone()), [vec![(9, 40), (9, 50)], vec![(1, 0)]]);
        assert_eq!(coalesce(spans)[0].first, (PackIndex(9), 50));
    }

    #[test]
    fn frames_that_overlap_are_not_fetched_as_one() {
        assert_eq!(shape(vec![span(1, 0, 100), span(1, 50, 100)]), [[(1, 0)], [(1, 50)]]);
    }
}
