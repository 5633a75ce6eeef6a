//! The bytes of one file: shared, copied by the filesystem, or read and written; holes stay holes.

use super::CloneMode;
use crate::{progress::Meter, tree::stat::Stat};
use rustix::{
    fs::{SeekFrom, copy_file_range, fstatfs, ftruncate, ioctl_ficlone, seek},
    io::{Errno, pread, pwrite},
};
use std::{
    os::fd::BorrowedFd,
    sync::{Mutex, PoisonError},
};

/// How the bytes of a file arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// They are shared with the origin.
    Cloned,
    /// They were copied.
    Copied,
}

/// What works between two filesystems, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Clone,
    Range,
    Buffer,
}

/// Why a file's bytes did not arrive.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Reading failed.
    Read(Errno),
    /// Writing failed.
    Write(Errno),
    /// The file is shorter than it was.
    Shrunk,
    /// The call was cancelled.
    Stopped(crate::Error),
    /// The two filesystems cannot share bytes, and nothing else will do.
    CannotClone(Errno),
}

/// The way that works from each device to the target, found by trying and remembered.
#[derive(Debug)]
pub(super) struct Ways {
    mode: CloneMode,
    known: Mutex<Vec<(u64, Way)>>,
}

/// Bytes that are read and written at once: large enough that the calls do not show beside the copying,
/// small enough for a processor's own cache (64 MiB on ext4 and tmpfs: from 64 KiB to 1 MiB no size was clearly
/// the fastest).
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// Bytes that are given to copy_file_range(2) at once: a server that copies needs few calls, and the
/// meter is still looked at.
const RANGE_BYTES: usize = 64 << 20;

/// A file up to this length with all its blocks has no hole that would show in its number of blocks:
/// one block of the usual filesystems.
const BLOCK_BYTES: u64 = 4096;

/// Filesystems whose copy_file_range(2) moves no bytes through this host (linux/magic.h: NFS, SMB2, Ceph,
/// FUSE). Elsewhere the call is a loop through a pipe in the kernel (splice(2)): with 64 MiB on ext4 and tmpfs it
/// was not faster than reading and writing, which looks at the meter more often.
const COPIES_REMOTELY: [u32; 4] = [0x6969, 0xfe53_4d42, 0x00c3_6400, 0x6573_5546];

impl Ways {
    pub(super) fn new(mode: CloneMode) -> Self {
        Self { mode, known: Mutex::default() }
    }

    /// Brings the bytes of `source`, as `stat` describes it, into `target`, which is new and empty.
    pub(super) fn bring(
        &self,
        source: BorrowedFd<'_>,
        stat: &Stat,
        target: BorrowedFd<'_>,
        buffer: &mut Vec<u8>,
        meter: &Meter,
    ) -> Result<How, Trouble> {
        if stat.size == 0 {
            return Ok(How::Copied);
        }
        let mut way = self.way(stat.dev);
        if way == Way::Clone {
            match ioctl_ficlone(target, source) {
                Ok(()) => return Ok(How::Cloned),
                Err(error) if self.mode == CloneMode::Require => return Err(Trouble::CannotClone(error)),
                Err(error) => way = self.next_best(stat.dev, target, error)?,
            }
        }
        let mut content = Content { source, target, way, buffer, meter };
        content.copy(stat)?;
        Ok(How::Copied)
    }

    fn way(&self, device: u64) -> Way {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.iter().find(|(known, _)| *known == device) {
            Some((_, way)) => *way,
            None if self.mode == CloneMode::Never => Way::Buffer,
            None => Way::Clone,
        }
    }

    /// What is tried after a clone was refused: for this file, or for all of its filesystem.
    fn next_best(&self, device: u64, target: BorrowedFd<'_>, error: Errno) -> Result<Way, Trouble> {
        let way =
            if fstatfs(target).is_ok_and(|fs| copies_remotely(fs.f_type)) { Way::Range } else { Way::Buffer };
        match error {
            Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS => self.remember(device, way),
            // Files that cannot be cloned on a filesystem that can: other flags, swap files, sealed ones.
            Errno::INVAL | Errno::TXTBSY | Errno::PERM | Errno::ISDIR | Errno::BADF => {}
            error => return Err(Trouble::Write(error)),
        }
        Ok(way)
    }

    fn remember(&self, device: u64, way: Way) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.iter_mut().find(|(known, _)| *known == device) {
            Some((_, known)) => *known = way.max(*known),
            None => known.push((device, way)),
        }
    }
}

fn copies_remotely(magic: impl TryInto<u64>) -> bool {
    let magic = magic.try_into().unwrap_or_default();
    COPIES_REMOTELY.iter().any(|remote| u64::from(*remote) == magic & 0xffff_ffff)
}

struct Content<'a> {
    source: BorrowedFd<'a>,
    target: BorrowedFd<'a>,
    way: Way,
    buffer: &'a mut Vec<u8>,
    meter: &'a Meter,
}

impl Content<'_> {
    fn copy(&mut self, stat: &Stat) -> Result<(), Trouble> {
        let size = stat.size;
        let mut at = 0;
        while at < size {
            let (start, end) = if at == 0 { self.first_data(stat)? } else { self.next_data(at, size)? };
            self.range(start, end)?;
            at = end;
            if start == end {
                // Nothing but a hole is left.
                return ftruncate(self.target, size).map_err(Trouble::Write);
            }
        }
        Ok(())
    }

    /// The first range of data; of a file that has all its blocks with one call, or none.
    fn first_data(&self, stat: &Stat) -> Result<(u64, u64), Trouble> {
        if stat.blocks.saturating_mul(512) < stat.size {
            return self.next_data(0, stat.size);
        }
        if stat.size <= BLOCK_BYTES {
            return Ok((0, stat.size));
        }
        // Blocks that are allocated and never written can make up for a hole.
        match seek(self.source, SeekFrom::Hole(0)) {
            Ok(end) if end > 0 => Ok((0, end.min(stat.size))),
            _ => self.next_data(0, stat.size),
        }
    }

    /// The next range of data from `at` on; empty, at `size`, if only a hole is left.
    fn next_data(&self, at: u64, size: u64) -> Result<(u64, u64), Trouble> {
        let start = match seek(self.source, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            Err(Errno::NXIO) => return Ok((size, size)),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok((at, size)),
            Err(error) => return Err(Trouble::Read(error)),
        };
        if start == size {
            return Ok((size, size));
        }
        match seek(self.source, SeekFrom::Hole(start)) {
            Ok(end) => Ok((start, end.clamp(start, size))),
            Err(Errno::NXIO) => Err(Trouble::Shrunk),
            Err(error) => Err(Trouble::Read(error)),
        }
    }

    fn range(&mut self, start: u64, end: u64) -> Result<(), Trouble> {
        let mut at = start;
        while at < end {
            let done =
                if self.way == Way::Range { self.by_kernel(at, end)? } else { self.by_buffer(at, end)? };
            at += done;
            if at < end || start > 0 {
                self.meter.check().map_err(Trouble::Stopped)?;
            }
            self.meter.add(0, done);
        }
        Ok(())
    }

    fn by_kernel(&mut self, at: u64, end: u64) -> Result<u64, Trouble> {
        let (mut from, mut to) = (at, at);
        let length = usize::try_from(end - at).unwrap_or(RANGE_BYTES).min(RANGE_BYTES);
        match copy_file_range(self.source, Some(&mut from), self.target, Some(&mut to), length) {
            Ok(0) | Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
                self.way = Way::Buffer;
                self.by_buffer(at, end)
            }
            Ok(done) => Ok(done as u64),
            // Reading or writing: the kernel does not say which, and no space is the usual reason.
            Err(error) => Err(Trouble::Write(error)),
        }
    }

    fn by_buffer(&mut self, at: u64, end: u64) -> Result<u64, Trouble> {
        self.buffer.resize(BUFFER_BYTES, 0);
        let length = usize::try_from(end - at).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        let read = loop {
            match pread(self.source, &mut self.buffer[..length], at) {
                Ok(0) => return Err(Trouble::Shrunk),
                Ok(read) => break read,
                Err(Errno::INTR) => {}
                Err(error) => return Err(Trouble::Read(error)),
            }
        };
        let mut written = 0;
        while written < read {
            match pwrite(self.target, &self.buffer[written..read], at + written as u64) {
                Ok(0) => return Err(Trouble::Write(Errno::NOSPC)),
                Ok(more) => written += more,
                Err(Errno::INTR) => {}
                Err(error) => return Err(Trouble::Write(error)),
            }
        }
        Ok(read as u64)
    }
}
