//! Reading a stat record: checked from the first byte to the last before the first row is believed.

use super::{
    Of, Row,
    write::{BLOCK_MAX_BYTES, Block, MAGIC, Stored},
};
use crate::head::record::Digest;
use persist_core::{Error, ErrorKind, Result, linux::cause::cause, tree::TreePath};
use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

/// The rows of a whole record, in path order.
#[derive(Debug)]
pub struct Rows {
    file: BufReader<File>,
    block: std::vec::IntoIter<Stored>,
    path: Vec<u8>,
    last: Option<TreePath>,
    left: Left,
}

#[derive(Debug, PartialEq, Eq)]
enum Left {
    Blocks,
    /// The end was met, and said that there were so many rows.
    Nothing {
        rows: u64,
    },
}

impl Rows {
    /// Opens the record of `of` at `path`; `None` if it is not there, not whole, or of another base. Reads it
    /// once to its end.
    ///
    /// # Errors
    /// As the filesystem reports them; what the bytes say is never an error.
    pub fn open(path: &Path, of: &Of) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(cause(e, "open", path.display())),
        };
        let mut rows = Self::new(file);
        match rows.check(|block| matches!(block, Block::Of(found) if found == *of)) {
            Ok(true) => Ok(Some(rows)),
            Ok(false) => Ok(None),
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                tracing::warn!(record = %path.display(), error = %e, "a stat record is not whole: every file is read again");
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Opens a record that has no name yet, and does not say what it is of.
    pub(super) fn draft(path: &Path) -> Result<Self> {
        let mut rows = Self::new(File::open(path).map_err(|e| cause(e, "open", path.display()))?);
        rows.begin()?;
        Ok(rows)
    }

    fn new(file: File) -> Self {
        Self {
            file: BufReader::with_capacity(1 << 16, file),
            block: Vec::new().into_iter(),
            path: Vec::new(),
            last: None,
            left: Left::Blocks,
        }
    }

    /// Reads to the end and goes back to the first row; whether the last block is the one that is wanted.
    fn check(&mut self, wanted: impl FnOnce(Block) -> bool) -> Result<bool> {
        self.begin()?;
        let mut count = 0_u64;
        while self.next_row()?.is_some() {
            count += 1;
        }
        if self.left != (Left::Nothing { rows: count }) {
            return Err(corrupt("it has lost rows"));
        }
        let is_wanted = wanted(self.next_block()?);
        self.begin()?;
        Ok(is_wanted)
    }

    /// Goes to the first row.
    fn begin(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(0)).map_err(|e| cause(e, "read", "a stat record"))?;
        (self.last, self.left) = (None, Left::Blocks);
        let mut magic = [0; MAGIC.len()];
        self.fill(&mut magic)?;
        if magic == *MAGIC { Ok(()) } else { Err(corrupt("it does not begin like one of this version")) }
    }

    fn next_row(&mut self) -> Result<Option<Row>> {
        loop {
            if let Some(stored) = self.block.next() {
                return self.row(stored).map(Some);
            }
            if self.left != Left::Blocks {
                return Ok(None);
            }
            match self.next_block()? {
                Block::Rows(rows) => {
                    self.path.clear();
                    self.block = rows.into_iter();
                }
                Block::End { rows } => self.left = Left::Nothing { rows },
                Block::Of(_) => return Err(corrupt("it ends before its rows do")),
            }
        }
    }

    fn row(&mut self, stored: Stored) -> Result<Row> {
        let shared = usize::try_from(stored.shared).unwrap_or(usize::MAX);
        if shared > self.path.len() {
            return Err(corrupt("a path goes on from more than there was"));
        }
        self.path.truncate(shared);
        self.path.extend_from_slice(&stored.rest);
        let path = TreePath::new(self.path.clone()).map_err(|_| corrupt("a path is none"))?;
        if self.last.as_ref().is_some_and(|last| *last >= path) {
            return Err(corrupt("its paths are not in order"));
        }
        self.last = Some(path.clone());
        let Stored { applied, freshness, reference, .. } = stored;
        Ok(Row { path, applied, freshness, reference })
    }

    fn next_block(&mut self) -> Result<Block> {
        let (mut length, mut digest) = ([0; 4], [0; 16]);
        self.fill(&mut length)?;
        self.fill(&mut digest)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > BLOCK_MAX_BYTES {
            return Err(corrupt("a block is larger than any block"));
        }
        let mut body = vec![0; length];
        self.fill(&mut body)?;
        if Digest::of(&body).0 != digest {
            return Err(corrupt("a block does not match its digest"));
        }
        match postcard::take_from_bytes(&body) {
            Ok((block, [])) => Ok(block),
            Ok(_) => Err(corrupt("a block has more than a block")),
            Err(_) => Err(corrupt("a block is none of this version")),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact(bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => corrupt("it ends too early"),
            _ => cause(e, "read", "a stat record"),
        })
    }
}

impl Iterator for Rows {
    type Item = Result<Row>;

    /// The next row. What was whole when it was opened and is not any more is `Corrupt`, once.
    fn next(&mut self) -> Option<Result<Row>> {
        let row = self.next_row();
        if row.is_err() {
            self.left = Left::Nothing { rows: 0 };
            self.block = Vec::new().into_iter();
        }
        row.transpose()
    }
}

fn corrupt(why: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, why).during("read", "a stat record")
}
