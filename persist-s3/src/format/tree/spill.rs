//! What is too large for a page: attributes and ranges of data, in parts that are pages of their own.

use super::{
    PageSink, Pages, TreeFormat,
    codec::{Reader, corrupt, put_bytes, put_number, wide},
    entry::{PageRef, Spilled, check_ranges},
    page::{Kind, VERSION},
};
use crate::format::location::{Location, PackIndex};
use bytes::Bytes;
use persist_core::{
    Error, ErrorKind, Result,
    tree::{DataRange, Xattr},
};

/// A list of at most this many bytes stays beside its entry: labels and ACLs do, and a page still holds
/// dozens of entries that have no two alike.
const HERE_MAX_BYTES: usize = 1 << 10;

/// Bytes of a part: as large as a page.
const PART_BYTES: usize = 64 << 10;

/// Parts at most: 32 MiB, twice what core takes as the attributes of one entry.
const PARTS_MAX: usize = 512;

/// Ranges of data of one file at most: 16 MiB of memory.
pub const RANGES_MAX: usize = 1 << 20;

/// Bytes in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    parts: Vec<PageRef>,
}

impl Blob {
    /// Writes `bytes` as parts.
    fn put(bytes: &[u8], format: &TreeFormat, sink: &mut dyn PageSink) -> Result<Self> {
        if bytes.len() > PARTS_MAX * PART_BYTES {
            return Err(too_large("bytes of attributes", bytes.len(), PARTS_MAX * PART_BYTES));
        }
        let part = |part: &[u8]| {
            let page = [&[VERSION, Kind::Part.byte()], part].concat();
            Ok(PageRef { id: format.id(&page), at: sink.put(&page)? })
        };
        Ok(Self { parts: bytes.chunks(PART_BYTES).map(part).collect::<Result<_>>()? })
    }

    /// Where the parts are.
    pub(super) fn parts(&self) -> &[PageRef] {
        &self.parts
    }

    /// Whether both are the same bytes, wherever they lie.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.parts.iter().map(|part| part.id).eq(other.parts.iter().map(|part| part.id))
    }

    /// Reads the parts back.
    async fn read(&self, format: &TreeFormat, pages: &dyn Pages) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for part in &self.parts {
            let page = format.fetch(pages, part).await?;
            bytes.extend_from_slice(part_of(&page).map_err(|e| named(e, part))?);
        }
        Ok(bytes)
    }
}

/// Appends a list that may be elsewhere.
pub(super) fn put_spilled<T>(out: &mut Vec<u8>, list: &Spilled<T>, put: impl Fn(&mut Vec<u8>, &[T])) {
    match list {
        Spilled::Here(list) => {
            let mut bytes = Vec::new();
            put(&mut bytes, list);
            put_number(out, wide(bytes.len()) + 1);
            out.extend_from_slice(&bytes);
        }
        Spilled::Elsewhere(blob) => {
            put_number(out, 0);
            put_number(out, wide(blob.parts.len()));
            blob.parts.iter().for_each(|part| put_page_ref(out, part));
        }
    }
}

/// Reads what [`put_spilled`] wrote.
pub(super) fn read_spilled<T>(
    reader: &mut Reader<'_>,
    read: impl Fn(&[u8]) -> Result<Vec<T>>,
) -> Result<Spilled<T>> {
    match usize::try_from(reader.number()?).unwrap_or(usize::MAX) {
        0 => {
            let count = reader.count(32)?;
            if count > PARTS_MAX {
                return Err(corrupt("a list has more parts than any list"));
            }
            let parts = (0..count).map(|_| read_page_ref(reader)).collect::<Result<_>>()?;
            Ok(Spilled::Elsewhere(Blob { parts }))
        }
        length if length > HERE_MAX_BYTES + 1 => Err(corrupt("a list is too long to be beside its entry")),
        length => Ok(Spilled::Here(read(reader.exactly(length - 1)?)?)),
    }
}

/// Keeps `list` beside its entry if it is short, else writes it elsewhere.
pub(super) fn spill<T>(
    list: Vec<T>,
    put: impl Fn(&mut Vec<u8>, &[T]),
    format: &TreeFormat,
    sink: &mut dyn PageSink,
) -> Result<Spilled<T>> {
    let mut bytes = Vec::new();
    put(&mut bytes, &list);
    if bytes.len() <= HERE_MAX_BYTES {
        return Ok(Spilled::Here(list));
    }
    Ok(Spilled::Elsewhere(Blob::put(&bytes, format, sink)?))
}

/// The list, read from elsewhere if it is there.
pub(super) async fn gather<T: Clone>(
    list: &Spilled<T>,
    read: impl Fn(&[u8]) -> Result<Vec<T>>,
    format: &TreeFormat,
    pages: &dyn Pages,
) -> Result<Vec<T>> {
    match list {
        Spilled::Here(list) => Ok(list.clone()),
        Spilled::Elsewhere(blob) => {
            let name = |e| blob.parts.first().map_or_else(|| corrupt("a list has no parts"), |p| named(e, p));
            read(&blob.read(format, pages).await?).map_err(name)
        }
    }
}

pub(super) fn put_xattrs(out: &mut Vec<u8>, xattrs: &[Xattr]) {
    for xattr in xattrs {
        put_bytes(out, &xattr.name);
        put_bytes(out, &xattr.value);
    }
}

pub(super) fn read_xattrs(bytes: &[u8]) -> Result<Vec<Xattr>> {
    let (mut reader, mut xattrs) = (Reader::new(bytes), Vec::new());
    while reader.left() > 0 {
        let name = reader.bytes()?.to_vec();
        xattrs.push(Xattr { name, value: Bytes::copy_from_slice(reader.bytes()?) });
    }
    if !xattrs.is_sorted_by(|a, b| a.name < b.name) {
        return Err(corrupt("attributes are not sorted, or one comes twice"));
    }
    Ok(xattrs)
}

/// Each range as its distance from the end of the one before, and its length.
pub(super) fn put_ranges(out: &mut Vec<u8>, ranges: &[DataRange]) {
    let mut end = 0;
    for range in ranges {
        put_number(out, range.offset.wrapping_sub(end));
        put_number(out, range.length);
        end = range.offset.wrapping_add(range.length);
    }
}

pub(super) fn read_ranges(bytes: &[u8]) -> Result<Vec<DataRange>> {
    let (mut reader, mut ranges) = (Reader::new(bytes), Vec::new());
    let mut end = 0_u64;
    while reader.left() > 0 {
        if ranges.len() == RANGES_MAX {
            return Err(corrupt("a file has more ranges of data than any file"));
        }
        let outside = || corrupt("a range of data lies beyond any file");
        let offset = end.checked_add(reader.number()?).ok_or_else(outside)?;
        let length = reader.number()?;
        end = offset.checked_add(length).ok_or_else(outside)?;
        ranges.push(DataRange { offset, length });
    }
    check_ranges(u64::MAX, &ranges).map_err(corrupt)?;
    Ok(ranges)
}

/// A reference that depends on no neighbour.
pub(super) fn put_page_ref(out: &mut Vec<u8>, page: &PageRef) {
    out.extend_from_slice(&page.id.0);
    let Location { pack, frame_offset, frame_bytes, offset, bytes } = page.at;
    [pack.0, frame_offset, frame_bytes, offset, bytes].iter().for_each(|n| put_number(out, (*n).into()));
}

pub(super) fn read_page_ref(reader: &mut Reader<'_>) -> Result<PageRef> {
    let id = reader.id()?;
    let pack = PackIndex(reader.number_u32()?);
    let (frame_offset, frame_bytes) = (reader.number_u32()?, reader.number_u32()?);
    let (offset, bytes) = (reader.number_u32()?, reader.number_u32()?);
    Ok(PageRef { id, at: Location { pack, frame_offset, frame_bytes, offset, bytes } })
}

fn part_of(page: &[u8]) -> Result<&[u8]> {
    match page {
        [VERSION, kind, part @ ..] if *kind == Kind::Part.byte() && part.len() <= PART_BYTES => Ok(part),
        _ => Err(corrupt("it is no part of a list")),
    }
}

/// Says which page an error is about.
pub(super) fn named(error: Error, page: &PageRef) -> Error {
    error.during("read tree page", page.id).context("at", page.at)
}

pub(super) fn too_large(what: &'static str, used: usize, limit: usize) -> Error {
    Error::new(ErrorKind::Exhausted, "an entry has more of something than the format keeps")
        .with_retry(persist_core::Retry::Never)
        .context("of", what)
        .context("there are", used)
        .context("limit", limit)
}
