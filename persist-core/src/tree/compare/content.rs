//! Two files compared byte by byte through their sources.

use crate::{
    error::{Error, ErrorKind, Result},
    progress::Meter,
    tree::{
        entry::{DataRange, Entry, EntryKind},
        source::TreeSource,
    },
};
use futures::future::try_join;
use std::ops::Range;

/// How much of each file is read at a time: large enough that the round trip to a store does not
/// dominate, small enough that eight pairs stay far below the memory limit.
pub(super) const CHUNK_BYTES: u64 = 1 << 20;

/// Whether two files of the same `size` differ in any byte.
pub(super) async fn differs(
    before: &dyn TreeSource,
    after: &dyn TreeSource,
    (a, b): (&Entry, &Entry),
    size: u64,
    meter: &Meter,
) -> Result<bool> {
    for range in to_read(data(a), data(b), size) {
        meter.check()?;
        let (left, right) = try_join(read(before, a, range.clone()), read(after, b, range.clone())).await?;
        if left != right {
            return Ok(true);
        }
        meter.add(0, range.end - range.start);
    }
    Ok(false)
}

async fn read(source: &dyn TreeSource, entry: &Entry, range: Range<u64>) -> Result<bytes::Bytes> {
    let wanted = range.end - range.start;
    let bytes = source.read(&entry.path, range).await?;
    if u64::try_from(bytes.len()).ok() != Some(wanted) {
        return Err(Error::new(ErrorKind::Corrupt, "the source gives other bytes than it announced")
            .during("compare", &entry.path)
            .context("wanted", wanted)
            .context("got", bytes.len()));
    }
    Ok(bytes)
}

fn data(entry: &Entry) -> Option<&[DataRange]> {
    match &entry.kind {
        EntryKind::File { data, .. } => data.as_deref(),
        _ => None,
    }
}

/// The chunks in which at least one of two files may hold data: what is a hole in both reads as zeros in
/// both, and is skipped.
fn to_read<'a>(
    a: Option<&'a [DataRange]>,
    b: Option<&'a [DataRange]>,
    size: u64,
) -> impl Iterator<Item = Range<u64>> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = next_data(a, at, size).min(next_data(b, at, size));
        let stop = start.saturating_add(CHUNK_BYTES).min(size);
        at = stop;
        (start < stop).then_some(start..stop)
    })
}

/// The first byte at or after `at` that is not in a hole, or `size`.
fn next_data(ranges: Option<&[DataRange]>, at: u64, size: u64) -> u64 {
    let Some(ranges) = ranges else { return at.min(size) };
    let ends_before = |r: &DataRange| r.offset.saturating_add(r.length) <= at;
    let next = ranges.partition_point(ends_before);
    ranges.get(next).map_or(size, |r| r.offset.max(at)).min(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_hole_on_both_sides_is_skipped() {
        let at = |offset, length| DataRange { offset, length };
        let far = 1 << 40;
        let (a, b) = ([at(0, 10), at(far, 10)], [at(5 << 20, 10)]);
        let ranges: Vec<_> = to_read(Some(&a), Some(&b), far + 10).collect();
        assert_eq!(
            ranges,
            [0..CHUNK_BYTES, 5 << 20..(5 << 20) + CHUNK_BYTES, far..far + 10],
            "three chunks of a file of a tebibyte"
        );
        let all: Vec<_> = to_read(Some(&[]), None, CHUNK_BYTES + 1).collect();
        assert_eq!(all, [0..CHUNK_BYTES, CHUNK_BYTES..CHUNK_BYTES + 1]);
        assert_eq!(to_read(Some(&[]), Some(&[]), far).count(), 0);
    }
}
