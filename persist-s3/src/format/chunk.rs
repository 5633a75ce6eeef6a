//! Where a file's data is cut into chunks, the unit of deduplication.

use super::crypt::{ChunkSecret, KEY_BYTES};
use fastcdc::v2020::{Normalization, cut_gear, select_masks};
use persist_core::{Result, linux::cause::cause, tree::DataRange};
use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
};
use zeroize::{Zeroize, Zeroizing};

/// A file with at most this much data is one chunk: most files are, and one GET reads them.
pub const WHOLE_MAX_BYTES: usize = 1 << 20;

/// The smallest chunk that content decides, the last of a file apart: a quarter of the average, as the
/// FastCDC paper recommends (Xia et al., IEEE TPDS 2020, section 4).
pub const CHUNK_MIN_BYTES: usize = 256 << 10;

/// The average that content is asked for: 30 chunks a pack, and a million chunks a TiB.
pub const CHUNK_AVERAGE_BYTES: usize = 1 << 20;

/// The largest chunk of any kind: what a reader must take into memory for one byte.
pub const CHUNK_MAX_BYTES: usize = 4 << 20;

/// A block of a file that is rewritten in place: a changed page of a database or an image costs one of these. A frame
/// of its own; decision 13 has the figures of other sizes. Less than any chunk that content ends.
pub const BLOCK_BYTES: usize = super::frame::GROUP_BYTES;

/// The gear table is format for deduplication, not for reading: it never changes.
const GEAR: &str = "persist-s3 2026-11-22 v1 gear table";

/// How a file was cut. Readers need not know; writers must cut an unchanged part the same way again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChunkerId {
    /// One chunk.
    Whole,
    /// Where its content says: FastCDC of 2020 with the lineage's gear table.
    FastCdc,
    /// At every 128 KiB of the file.
    Blocks128K,
}

/// How a large file is written, which decides how it is cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Written {
    /// As a whole, or by appending and inserting: what follows an insertion is found again.
    #[default]
    Anew,
    /// In blocks, in place: databases, images of disks. With where its data lies, in order, so that a hole that is
    /// filled changes only the block that it is in.
    InPlace(Vec<DataRange>),
}

/// How much data lies in each block of a file that has any, in order.
#[derive(Debug)]
struct Blocks {
    ranges: std::vec::IntoIter<DataRange>,
    /// What is left of the range that the last block ended in.
    rest: Option<DataRange>,
}

/// Decides where chunks end; cheap to clone, used from many threads.
#[derive(Clone)]
pub struct Chunker(Arc<Gear>);

struct Gear {
    table: Zeroizing<Vec<u64>>,
    /// The table shifted left by one, for the two-bytes-at-a-time scan of FastCDC 2020.
    shifted: Zeroizing<Vec<u64>>,
    masks: (u64, u64),
}

/// The memory that a file is read through, used for one file after the other; 8 MiB at most.
#[derive(Debug, Default)]
pub struct ChunkBuffer(Vec<u8>);

/// The chunks of one file's data, in order, with bounded memory whatever its size.
pub struct Chunks<'a, R> {
    reader: R,
    chunker: &'a Chunker,
    id: ChunkerId,
    blocks: Blocks,
    buffer: &'a mut Vec<u8>,
    begin: usize,
    end: usize,
    more: More,
}

#[derive(PartialEq, Eq)]
enum More {
    Perhaps,
    Nothing,
}

impl ChunkerId {
    /// How to cut a file with `bytes` of data.
    pub fn choose(bytes: u64, written: &Written) -> Self {
        match written {
            _ if bytes <= WHOLE_MAX_BYTES as u64 => Self::Whole,
            Written::Anew => Self::FastCdc,
            Written::InPlace(_) => Self::Blocks128K,
        }
    }

    /// As it is stored.
    pub const fn code(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::FastCdc => 1,
            Self::Blocks128K => 2,
        }
    }

    /// What is stored as `code`; `None` for what this version does not know.
    pub const fn of_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Whole),
            1 => Some(Self::FastCdc),
            2 => Some(Self::Blocks128K),
            _ => None,
        }
    }

    /// The largest chunk that it cuts: with as many bytes at hand, its decision is final.
    pub const fn longest(self) -> usize {
        match self {
            Self::Whole => WHOLE_MAX_BYTES,
            Self::FastCdc => CHUNK_MAX_BYTES,
            Self::Blocks128K => BLOCK_BYTES,
        }
    }
}

impl Chunker {
    /// The chunker of a lineage: where it cuts says nothing about the content without the secret.
    pub fn new(secret: &ChunkSecret) -> Self {
        let table = gear(secret.expose());
        let shifted = Zeroizing::new(table.iter().map(|value| value << 1).collect());
        let masks = select_masks(CHUNK_AVERAGE_BYTES, Normalization::Level1);
        Self(Arc::new(Gear { table, shifted, masks }))
    }

    /// How long the first chunk of `window` is. The window is the rest of the data, or at least
    /// [`longest`](ChunkerId::longest) of it; zero only if it is empty.
    pub fn cut(&self, id: ChunkerId, window: &[u8]) -> usize {
        if id != ChunkerId::FastCdc {
            return window.len().min(id.longest());
        }
        let gear = &*self.0;
        let (strict, relaxed) = gear.masks;
        // The hash that it returns differs between versions of the library: it is never stored.
        let (_, length) = cut_gear(
            window,
            CHUNK_MIN_BYTES,
            CHUNK_AVERAGE_BYTES,
            CHUNK_MAX_BYTES,
            strict,
            relaxed,
            strict << 1,
            relaxed << 1,
            &gear.table,
            &gear.shifted,
        );
        length
    }

    /// Reads the data of one file and cuts it.
    pub fn chunks<'a, R: Read>(
        &'a self,
        id: ChunkerId,
        reader: R,
        buffer: &'a mut ChunkBuffer,
    ) -> Chunks<'a, R> {
        let (buffer, blocks) = (&mut buffer.0, Blocks::new(Vec::new()));
        Chunks { reader, chunker: self, id, blocks, buffer, begin: 0, end: 0, more: More::Perhaps }
    }
}

impl<R: Read> Chunks<'_, R> {
    /// For a file that is cut in blocks: its data lies there.
    #[must_use]
    pub fn at(mut self, ranges: Vec<DataRange>) -> Self {
        self.blocks = Blocks::new(ranges);
        self
    }

    /// The next chunk, in the buffer until the next call; `None` after the last.
    ///
    /// # Errors
    /// What the reader answers.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>> {
        if self.end - self.begin < self.id.longest() {
            self.fill().map_err(|e| cause(e, "read", "the data of a file"))?;
        }
        if self.begin == self.end {
            return Ok(None);
        }
        let begin = self.begin;
        let window = &self.buffer[begin..self.end];
        self.begin += match self.id {
            ChunkerId::Blocks128K => self.blocks.next().unwrap_or(BLOCK_BYTES).min(window.len()),
            _ => self.chunker.cut(self.id, window),
        };
        Ok(Some(&self.buffer[begin..self.begin]))
    }

    /// Reads until the buffer is full or the data ends. Twice the longest chunk, so that what is left of a
    /// window is moved once in several chunks.
    fn fill(&mut self) -> io::Result<()> {
        if self.more == More::Nothing {
            return Ok(());
        }
        self.buffer.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        let room = self.id.longest() * 2;
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        while self.end < room {
            match self.reader.read(&mut self.buffer[self.end..room]) {
                Ok(0) => {
                    self.more = More::Nothing;
                    break;
                }
                Ok(count) => self.end += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl Blocks {
    fn new(ranges: Vec<DataRange>) -> Self {
        Self { ranges: ranges.into_iter(), rest: None }
    }
}

impl Iterator for Blocks {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        const BLOCK: u64 = BLOCK_BYTES as u64;
        let (mut bytes, mut block) = (0, None);
        while let Some(range) = self.rest.take().or_else(|| self.ranges.next()) {
            let number = range.offset / BLOCK;
            if block.is_some_and(|block| block != number) {
                self.rest = Some(range);
                break;
            }
            let taken = range.length.min(BLOCK - range.offset % BLOCK);
            (bytes, block) = (bytes + taken, (taken > 0).then_some(number).or(block));
            let rest = DataRange { offset: range.offset + taken, length: range.length - taken };
            self.rest = (rest.length > 0).then_some(rest);
        }
        // At most a block.
        (bytes > 0).then_some(bytes as usize)
    }
}

impl fmt::Debug for Chunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunker").finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for Chunks<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("id", &self.id).finish_non_exhaustive()
    }
}

/// 256 pseudo-random words, all of them keyed: one seed xor-ed into a public table would be one unknown word.
fn gear(secret: &[u8; KEY_BYTES]) -> Zeroizing<Vec<u64>> {
    let mut bytes = Zeroizing::new([0; 256 * 8]);
    let mut hasher = blake3::Hasher::new_derive_key(GEAR);
    hasher.update(secret).finalize_xof().fill(&mut *bytes);
    hasher.zeroize();
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    Zeroizing::new(bytes.chunks(8).map(word).collect())
}

#[cfg(test)]
mod tests;
