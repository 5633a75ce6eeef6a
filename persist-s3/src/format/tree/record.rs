//! The bytes of an entry in a leaf: what resembles the entry before, or an earlier one, is said by reference.

use super::{
    codec::{
        Length, Neighbour, Reader, corrupt, path, put_bytes, put_difference, put_number, put_path, wide,
    },
    entry::{Attributes, Body, ChunkList, Content, Data, Record, Spilled, check_ranges, data_bytes},
    list::LIST_LEVEL_MAX,
    spill::{
        put_page_ref, put_ranges, put_spilled, put_xattrs, read_page_ref, read_ranges, read_spilled,
        read_xattrs,
    },
};
use crate::format::location::{ChunkId, ChunkRef, Location};
use persist_core::{Result, tree::TreePath};
use std::{collections::HashMap, sync::Arc};

/// Chunks that stay beside their entry: those of a file of some 16 MiB.
pub const CHUNKS_HERE_MAX: usize = 16;

/// The longest target of a symbolic link: `PATH_MAX` with its NUL (symlink(7), limits.h).
pub(super) const TARGET_MAX_BYTES: usize = 4095;

// The lowest three bits of an entry's first byte: what it is.
const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const SYMLINK: u8 = 2;
const FIFO: u8 = 3;
const SOCKET: u8 = 4;
const CHARACTER_DEVICE: u8 = 5;
const BLOCK_DEVICE: u8 = 6;
const KIND_MASK: u8 = 0b111;
/// It is a name of a file that has several.
const LINKED: u8 = 1 << 3;
// Bits 4 and 5 of a file: which parts of it are data.
const DATA_UNKNOWN: u8 = 0;
const DATA_WHOLE: u8 = 1 << 4;
const DATA_RANGES: u8 = 2 << 4;
const DATA_MASK: u8 = 3 << 4;
// Bits 6 and 7 of a file: its chunks.
const NO_CHUNK: u8 = 0;
const ONE_CHUNK: u8 = 1 << 6;
const CHUNKS: u8 = 2 << 6;
const CHUNK_LIST: u8 = 3 << 6;
const CONTENT_MASK: u8 = 3 << 6;

/// Writes the entries of one page.
#[derive(Debug, Default)]
pub(super) struct RecordWriter {
    path: Vec<u8>,
    attributes: HashMap<Vec<u8>, u64>,
    mtime_s: i64,
    neighbour: Neighbour,
}

impl RecordWriter {
    pub(super) fn put(&mut self, out: &mut Vec<u8>, record: &Record) {
        out.push(first_byte(record));
        put_path(out, &self.path, record.path.as_bytes());
        self.path.clear();
        self.path.extend_from_slice(record.path.as_bytes());
        match &record.link {
            None => {}
            Some(first) if *first == record.path => put_number(out, 0),
            Some(first) => put_bytes(out, first.as_bytes()),
        }
        self.put_attributes(out, &record.attributes);
        put_difference(out, self.mtime_s, record.mtime_s);
        self.mtime_s = record.mtime_s;
        put_number(out, record.mtime_ns.into());
        self.put_body(out, &record.body);
    }

    fn put_attributes(&mut self, out: &mut Vec<u8>, attributes: &Attributes) {
        let mut bytes = Vec::new();
        let Attributes { mode, uid, gid, flags, xattrs } = attributes;
        [mode, uid, gid, flags].iter().for_each(|n| put_number(&mut bytes, (**n).into()));
        put_spilled(&mut bytes, xattrs, put_xattrs);
        if let Some(index) = self.attributes.get(&bytes) {
            return put_number(out, *index);
        }
        put_number(out, 0);
        out.extend_from_slice(&bytes);
        self.attributes.insert(bytes, wide(self.attributes.len()) + 1);
    }

    fn put_body(&mut self, out: &mut Vec<u8>, body: &Body) {
        match body {
            Body::Directory | Body::Fifo | Body::Socket => {}
            Body::Symlink(target) => put_bytes(out, target),
            Body::CharacterDevice(device) | Body::BlockDevice(device) => put_number(out, *device),
            Body::File { size, data, content } => {
                put_number(out, *size);
                if let Data::Ranges(ranges) = data {
                    put_spilled(out, ranges, put_ranges);
                }
                self.put_content(out, content, data);
            }
        }
    }

    fn put_content(&mut self, out: &mut Vec<u8>, content: &Content, data: &Data) {
        match content {
            Content::Chunks(chunks) if chunks.is_empty() => {}
            Content::Chunks(chunks) => {
                // A single chunk of a file without holes is as long as the file.
                let length = if is_one(chunks, data) { Length::Known } else { Length::Written };
                if length == Length::Written {
                    put_number(out, wide(chunks.len()));
                }
                for chunk in chunks {
                    out.extend_from_slice(&chunk.id.0);
                    self.neighbour.put(out, chunk.at, length);
                }
            }
            Content::List(list) => {
                out.push(list.level);
                put_number(out, list.chunks);
                put_number(out, list.bytes);
                put_page_ref(out, &list.top);
            }
        }
    }
}

fn first_byte(record: &Record) -> u8 {
    let kind = match &record.body {
        Body::Directory => DIRECTORY,
        Body::File { data, content, .. } => FILE | data_form(data) | content_form(content, data),
        Body::Symlink(_) => SYMLINK,
        Body::Fifo => FIFO,
        Body::Socket => SOCKET,
        Body::CharacterDevice(_) => CHARACTER_DEVICE,
        Body::BlockDevice(_) => BLOCK_DEVICE,
    };
    if record.link.is_some() { kind | LINKED } else { kind }
}

fn data_form(data: &Data) -> u8 {
    match data {
        Data::Unknown => DATA_UNKNOWN,
        Data::Whole => DATA_WHOLE,
        Data::Ranges(_) => DATA_RANGES,
    }
}

fn content_form(content: &Content, data: &Data) -> u8 {
    match content {
        Content::Chunks(chunks) if chunks.is_empty() => NO_CHUNK,
        Content::Chunks(chunks) if is_one(chunks, data) => ONE_CHUNK,
        Content::Chunks(_) => CHUNKS,
        Content::List(_) => CHUNK_LIST,
    }
}

fn is_one(chunks: &[ChunkRef], data: &Data) -> bool {
    chunks.len() == 1 && !matches!(data, Data::Ranges(_))
}

/// Reads the entries of one page.
#[derive(Debug, Default)]
pub(super) struct RecordReader {
    path: Vec<u8>,
    attributes: Vec<Arc<Attributes>>,
    mtime_s: i64,
    neighbour: Neighbour,
}

impl RecordReader {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<Record> {
        let first = reader.byte()?;
        let path = reader.path(&self.path)?;
        self.path = path.as_bytes().to_vec();
        let link = if first & LINKED != 0 { Some(read_link(reader, &path)?) } else { None };
        let attributes = self.attributes(reader)?;
        self.mtime_s = reader.difference(self.mtime_s)?;
        let mtime_ns = reader.number_u32()?;
        if mtime_ns > 999_999_999 {
            return Err(corrupt("a time has more than a second of nanoseconds"));
        }
        let later = link.as_ref().is_some_and(|link| *link != path);
        let body = self.body(reader, first & !LINKED, if later { Names::Later } else { Names::First })?;
        if link.is_some() && body == Body::Directory {
            return Err(corrupt("a directory has several names"));
        }
        Ok(Record { path, link, attributes, mtime_s: self.mtime_s, mtime_ns, body })
    }

    fn attributes(&mut self, reader: &mut Reader<'_>) -> Result<Arc<Attributes>> {
        let index = usize::try_from(reader.number()?).unwrap_or(usize::MAX);
        if let Some(index) = index.checked_sub(1) {
            let known = self.attributes.get(index);
            return known.cloned().ok_or_else(|| corrupt("attributes refer to what did not come"));
        }
        let (mode, uid) = (reader.number_u32()?, reader.number_u32()?);
        let (gid, flags) = (reader.number_u32()?, reader.number_u32()?);
        let xattrs = read_spilled(reader, read_xattrs)?;
        if mode > 0o7777 {
            return Err(corrupt("a mode has bits that no mode has"));
        }
        let attributes = Arc::new(Attributes { mode, uid, gid, flags, xattrs });
        self.attributes.push(Arc::clone(&attributes));
        Ok(attributes)
    }

    fn body(&mut self, reader: &mut Reader<'_>, first: u8, names: Names) -> Result<Body> {
        if first & KIND_MASK == FILE {
            return self.file(reader, first, names);
        }
        match first {
            DIRECTORY => Ok(Body::Directory),
            SYMLINK => {
                let target = reader.bytes()?;
                if target.is_empty() || target.len() > TARGET_MAX_BYTES || target.contains(&0) {
                    return Err(corrupt("a symbolic link has a target that none has"));
                }
                Ok(Body::Symlink(target.to_vec()))
            }
            FIFO => Ok(Body::Fifo),
            SOCKET => Ok(Body::Socket),
            CHARACTER_DEVICE => Ok(Body::CharacterDevice(reader.number()?)),
            BLOCK_DEVICE => Ok(Body::BlockDevice(reader.number()?)),
            _ => Err(corrupt("an entry is of no known kind")),
        }
    }

    fn file(&mut self, reader: &mut Reader<'_>, first: u8, names: Names) -> Result<Body> {
        let size = reader.number()?;
        if i64::try_from(size).is_err() {
            return Err(corrupt("a file is larger than a file can be"));
        }
        let data = match first & DATA_MASK {
            DATA_UNKNOWN => Data::Unknown,
            DATA_WHOLE => Data::Whole,
            DATA_RANGES => Data::Ranges(read_spilled(reader, read_ranges)?),
            _ => return Err(corrupt("the data of a file is of no known form")),
        };
        let content = self.content(reader, first, size, &data)?;
        check_content(size, &data, &content, names)?;
        Ok(Body::File { size, data, content })
    }

    fn content(&mut self, reader: &mut Reader<'_>, first: u8, size: u64, data: &Data) -> Result<Content> {
        match first & CONTENT_MASK {
            NO_CHUNK => Ok(Content::NONE),
            ONE_CHUNK if matches!(data, Data::Ranges(_)) => Err(corrupt("a chunk's length is not said")),
            ONE_CHUNK => {
                let bytes = u32::try_from(size).map_err(|_| corrupt("a chunk is larger than any chunk"))?;
                Ok(Content::Chunks(vec![self.chunk(reader, Some(bytes))?]))
            }
            CHUNKS => {
                let count = reader.count(32)?;
                if count == 0 || count > CHUNKS_HERE_MAX {
                    return Err(corrupt("an entry has none or too many chunks beside it"));
                }
                let chunks = (0..count).map(|_| self.chunk(reader, None)).collect::<Result<_>>()?;
                Ok(Content::Chunks(chunks))
            }
            _ => {
                let level = reader.byte()?;
                let (chunks, bytes) = (reader.number()?, reader.number()?);
                if level > LIST_LEVEL_MAX {
                    return Err(corrupt("a list of chunks is deeper than any list"));
                }
                Ok(Content::List(ChunkList { top: read_page_ref(reader)?, level, chunks, bytes }))
            }
        }
    }

    fn chunk(&mut self, reader: &mut Reader<'_>, known: Option<u32>) -> Result<ChunkRef> {
        let id: ChunkId = reader.id()?;
        let at: Location = self.neighbour.read(reader, known)?;
        Ok(ChunkRef { id, at })
    }
}

/// Which name of a file an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    First,
    Later,
}

/// Checks that the chunks are the data, as far as the ranges are here.
pub(super) fn check_content(size: u64, data: &Data, content: &Content, names: Names) -> Result<()> {
    let bytes = match data {
        Data::Unknown | Data::Whole => Some(size),
        Data::Ranges(Spilled::Here(ranges)) => {
            check_ranges(size, ranges).map_err(corrupt)?;
            Some(data_bytes(size, Some(ranges)))
        }
        Data::Ranges(Spilled::Elsewhere(_)) => None,
    };
    match (names, bytes) {
        (Names::Later, _) if *content != Content::NONE => Err(corrupt("a further name of a file has chunks")),
        (Names::First, Some(bytes)) if bytes != content.bytes() => {
            Err(corrupt("a file has other chunks than data"))
        }
        _ => Ok(()),
    }
}

fn read_link(reader: &mut Reader<'_>, own: &TreePath) -> Result<TreePath> {
    let bytes = reader.bytes()?;
    if bytes.is_empty() {
        return Ok(own.clone());
    }
    let first = path(bytes.to_vec())?;
    if first >= *own {
        return Err(corrupt("an entry is a link to what comes later"));
    }
    Ok(first)
}
