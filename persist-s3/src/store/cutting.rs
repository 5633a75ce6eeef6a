//! How a file is written, as far as it can be seen: what is rewritten in place is cut in blocks.
//!
//! A change of one page costs a block of a file that is cut in blocks, and eight times as much of one that is cut by
//! its content. An insertion costs what it is of a file that is cut by its content, and all that follows it of one
//! that is cut in blocks. So the two are told apart, and who was cut by content stays so: another cut would be
//! uploaded whole.

use crate::format::{
    chunk::{BLOCK_BYTES, Written},
    location::ChunkRef,
};
use persist_core::{Result, linux::cause::cause, tree::DataRange};
use std::{fs::File, io, os::unix::fs::FileExt};

/// What databases and images of disks are a multiple of: pages are of 4 KiB (SQLite), 8 KiB (PostgreSQL) or 16 KiB
/// (InnoDB), and images of whole blocks. One in 4,096 of other files is so by chance.
const PAGE_BYTES: u64 = 4 << 10;

/// An archive is padded to blocks as well, and what it holds moves: `ustar` where tar(5) has it.
const TAR_MARK: &[u8] = b"ustar";
const TAR_MARK_AT: usize = 257;

/// As much of a file as the mark needs.
const FRONT_BYTES: usize = TAR_MARK_AT + TAR_MARK.len();

/// How a file was cut at the last commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CutBefore {
    /// It is new, or was one chunk.
    Unknown,
    ByContent,
    InBlocks,
}

impl CutBefore {
    /// As its chunks tell: no content ends a chunk as early as a block, but for the last.
    pub(super) fn of(chunks: &[ChunkRef]) -> Self {
        match chunks {
            [first, _, ..] if first.at.bytes as usize <= BLOCK_BYTES => Self::InBlocks,
            [_, _, ..] => Self::ByContent,
            _ => Self::Unknown,
        }
    }
}

/// How a file is written whose data lies in `ranges`. Reads its front, and only where that decides.
///
/// # Errors
/// What read(2) answers.
pub(super) fn written(file: &File, ranges: &[DataRange], before: CutBefore) -> Result<Written> {
    if !is_in_pages(ranges) || before == CutBefore::ByContent {
        return Ok(Written::Anew);
    }
    let mut front = [0; FRONT_BYTES];
    read_front(file, &mut front).map_err(|e| cause(e, "read", "the front of a file"))?;
    let archive = &front[TAR_MARK_AT..] == TAR_MARK;
    Ok(if archive { Written::Anew } else { Written::InPlace(ranges.to_vec()) })
}

/// Whether the data ends with a page, and there is more than a block.
fn is_in_pages(ranges: &[DataRange]) -> bool {
    let end = ranges.last().map_or(0, |range| range.offset + range.length);
    end > BLOCK_BYTES as u64 && end.is_multiple_of(PAGE_BYTES)
}

fn read_front(file: &File, front: &mut [u8]) -> io::Result<()> {
    match file.read_exact_at(front, 0) {
        // It became shorter: it is read again.
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::location::{ChunkId, Location, PackIndex};
    use std::io::Write;

    fn file(bytes: usize, front: &[u8]) -> (File, Vec<DataRange>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(front).unwrap();
        file.set_len(bytes as u64).unwrap();
        (file, vec![DataRange { offset: 0, length: bytes as u64 }])
    }

    fn chunks(bytes: &[u32]) -> Vec<ChunkRef> {
        let at = |bytes: &u32| Location {
            pack: PackIndex(0),
            frame_offset: 0,
            frame_bytes: 1,
            offset: 0,
            bytes: *bytes,
        };
        bytes.iter().map(|bytes| ChunkRef { id: ChunkId([0; 32]), at: at(bytes) }).collect()
    }

    #[test]
    fn a_file_of_whole_pages_is_cut_in_blocks_and_an_archive_is_not() {
        let (pages, ranges) = file(3 << 20, b"SQLite format 3\0");
        assert_eq!(written(&pages, &ranges, CutBefore::Unknown).unwrap(), Written::InPlace(ranges.clone()));
        let (odd, ranges) = file((3 << 20) + 1, b"");
        assert_eq!(written(&odd, &ranges, CutBefore::Unknown).unwrap(), Written::Anew);
        let mut header = [0; 512];
        header[257..262].copy_from_slice(b"ustar");
        let (archive, ranges) = file(20480 * 60, &header);
        assert_eq!(written(&archive, &ranges, CutBefore::Unknown).unwrap(), Written::Anew);
    }

    #[test]
    fn what_was_cut_by_its_content_stays_so() {
        let (pages, ranges) = file(3 << 20, b"");
        assert_eq!(written(&pages, &ranges, CutBefore::ByContent).unwrap(), Written::Anew);
        assert!(matches!(written(&pages, &ranges, CutBefore::InBlocks).unwrap(), Written::InPlace(_)));
        assert_eq!(CutBefore::of(&chunks(&[300 << 10, 5])), CutBefore::ByContent);
        assert_eq!(CutBefore::of(&chunks(&[128 << 10, 5])), CutBefore::InBlocks);
        assert_eq!(CutBefore::of(&chunks(&[1 << 20])), CutBefore::Unknown);
        assert_eq!(CutBefore::of(&[]), CutBefore::Unknown);
    }
}
