//! Writing a stat record: in path order, in checked blocks, beside its later name.
//!
//! ```text
//! MAGIC  { length u32 LE, digest of the body 16 bytes, body }...
//! ```
//! Each block holds rows, their paths front-coded; the last but one has the count of rows. The last one says what the
//! record is of: a commit has its name only once its rows are written. Bodies are postcard (the serde encoding of
//! the crate of that name), version 1.

use super::{Applied, Freshness, Of, Row, Rows};
use crate::head::record::Digest;
use persist_core::{Error, ErrorKind, Result, linux::cause::cause, tree::TreePath};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};
use tempfile::NamedTempFile;

/// What a record begins with; the last byte is the version.
pub(super) const MAGIC: &[u8; 8] = b"pstat\0\0\x02";

/// A row as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    /// Bytes of the path that are those of the row before it in the block.
    pub(super) shared: u32,
    /// The rest of the path.
    pub(super) rest: Vec<u8>,
    pub(super) applied: Applied,
    pub(super) freshness: Freshness,
    pub(super) reference: Vec<u8>,
}

/// One block.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Block {
    Rows(Vec<Stored>),
    End { rows: u64 },
    Of(Of),
}

/// Rows of a block: enough that the digest costs little, few enough that a block is small in memory.
const BLOCK_ROWS: usize = 256;

/// Bytes of references after which a block ends although it has fewer rows.
const BLOCK_BYTES: usize = 1 << 20;

/// The longest block that is read: sixteen times what one is meant to be. A row that needs more loses its
/// reference and is racy, so that its file is read again at each commit.
pub(super) const BLOCK_MAX_BYTES: usize = 16 << 20;

/// What a row may take beside its reference: a path and the attributes of one entry (`XATTR_LIST_MAX` names).
const ROW_MAX_BYTES: usize = BLOCK_MAX_BYTES - BLOCK_BYTES - (1 << 20);

/// Writes rows in path order.
#[derive(Debug)]
pub struct RowWriter {
    of: Of,
    file: BufWriter<NamedTempFile>,
    block: Vec<Stored>,
    bytes: usize,
    last: Option<TreePath>,
    rows: u64,
}

impl RowWriter {
    /// Begins a record of `of` in `directory`, which is hidden until it is finished.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub fn new(directory: &Path, of: Of) -> Result<Self> {
        let file = tempfile::Builder::new().prefix(DRAFT).tempfile_in(directory);
        let file = file.map_err(|e| cause(e, "create", directory.display()))?;
        let mut writer =
            Self { of, file: BufWriter::new(file), block: Vec::new(), bytes: 0, last: None, rows: 0 };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    /// A record of `of` with these rows.
    ///
    /// # Errors
    /// As the filesystem reports them; those of `rows`.
    pub fn copied(directory: &Path, of: Of, mut rows: Rows) -> Result<Finished> {
        let mut writer = Self::new(directory, of)?;
        rows.try_for_each(|row| writer.push(row?))?;
        writer.finish()
    }

    /// Adds a row, which comes after all that were added.
    ///
    /// # Errors
    /// `Internal` for a row that is not in path order; as the filesystem reports them.
    pub fn push(&mut self, row: Row) -> Result<()> {
        if self.last.as_ref().is_some_and(|last| *last >= row.path) {
            return Err(
                Error::internal("the rows of a stat record came out of order").context("path", &row.path)
            );
        }
        let mut row = row;
        if row.reference.len() > ROW_MAX_BYTES {
            // The path stays known, so that its removal is seen.
            (row.reference, row.freshness) = (Vec::new(), Freshness::Racy);
        }
        let path = row.path.as_bytes();
        let before =
            self.last.as_ref().filter(|_| !self.block.is_empty()).map_or(&b""[..], |last| last.as_bytes());
        let shared = path.iter().zip(before).take_while(|(a, b)| a == b).count();
        self.bytes += path.len() - shared + row.reference.len();
        self.block.push(Stored {
            shared: u32::try_from(shared).unwrap_or(0),
            rest: path[shared..].to_vec(),
            applied: row.applied,
            freshness: row.freshness,
            reference: row.reference,
        });
        self.last = Some(row.path);
        self.rows += 1;
        if self.block.len() >= BLOCK_ROWS || self.bytes >= BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    /// Ends the record. It has no name yet.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub fn finish(mut self) -> Result<Finished> {
        self.end_block()?;
        let rows = self.rows;
        self.block(&Block::End { rows })?;
        let Self { of, file, .. } = self;
        let file = file.into_inner().map_err(|e| cause(e.into_error(), "write", "a stat record"))?;
        Ok(Finished { of, file })
    }

    fn end_block(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let rows = std::mem::take(&mut self.block);
        self.block(&Block::Rows(rows))
    }

    fn block(&mut self, block: &Block) -> Result<()> {
        put(&mut self.file, &encoded(block)?)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        put(&mut self.file, bytes)
    }
}

fn put(file: &mut impl Write, bytes: &[u8]) -> Result<()> {
    file.write_all(bytes).map_err(|e| cause(e, "write", "a stat record"))
}

/// A block with its length and its digest.
fn encoded(block: &Block) -> Result<Vec<u8>> {
    let body = postcard::to_allocvec(block)
        .map_err(|e| Error::internal("a stat record cannot be encoded").with_source(e))?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= BLOCK_MAX_BYTES);
    let length = length.ok_or_else(|| {
        Error::new(ErrorKind::Exhausted, "a block of the stat record is too large")
            .context("bytes", body.len())
    })?;
    Ok([&length.to_le_bytes()[..], &Digest::of(&body).0, &body].concat())
}

/// How the names of unfinished records begin: removed when the workspace is served again.
pub(in crate::workspace) const DRAFT: &str = ".draft-";

/// A record that is whole, and has no name yet: dropped, it is gone.
#[derive(Debug)]
pub struct Finished {
    of: Of,
    file: NamedTempFile,
}

impl Finished {
    /// The same rows as the record of `of`.
    #[must_use]
    pub fn of(self, of: Of) -> Self {
        Self { of, ..self }
    }

    /// Gives it the name `path`, in its own directory, in place of what has it, durably.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub fn name(mut self, path: &Path) -> Result<()> {
        put(self.file.as_file_mut(), &encoded(&Block::Of(self.of))?)?;
        self.file.as_file().sync_all().map_err(|e| cause(e, "fsync", self.file.path().display()))?;
        self.file.persist(path).map_err(|e| cause(e.error, "rename", path.display()))?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        let parent = File::open(parent).map_err(|e| cause(e, "open", parent.display()))?;
        parent.sync_all().map_err(|e| cause(e, "fsync", path.display()))
    }

    /// Reads its rows from the beginning.
    ///
    /// # Errors
    /// `Corrupt` if it is not whole any more; as the filesystem reports them.
    pub fn rows(&self) -> Result<Rows> {
        Rows::draft(self.file.path())
    }
}

/// One record of `of` with the rows of two, which have no path in common.
///
/// # Errors
/// `Internal` if they have; as the filesystem reports them.
pub fn merge(directory: &Path, of: Of, one: &Finished, other: &Finished) -> Result<Finished> {
    let (mut one, mut other) = (one.rows()?.peekable(), other.rows()?.peekable());
    let mut writer = RowWriter::new(directory, of)?;
    loop {
        let next = match (one.peek(), other.peek()) {
            (None, None) => return writer.finish(),
            (Some(Ok(a)), Some(Ok(b))) if a.path < b.path => one.next(),
            (Some(Ok(_)), None) | (Some(Err(_)), _) => one.next(),
            _ => other.next(),
        };
        next.into_iter().try_for_each(|row| writer.push(row?))?;
    }
}
