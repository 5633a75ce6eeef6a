//! The names in one directory, sorted, in little memory.

use rustix::{
    fs::{RawDir, SeekFrom, seek},
    io::Errno,
};
use std::{ffi::CStr, os::fd::AsFd};

/// The names of a directory in byte order, without `.` and `..`.
///
/// Packed one after the other: a million names of 20 bytes take 37 MB, the sorting nothing more.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Each name with its NUL.
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    /// With its NUL; a name has at most 255 bytes (`NAME_MAX`).
    length: u16,
}

/// What one getdents64(2) may fill: larger gains nothing measurable, smaller costs calls.
const BUFFER_BYTES: usize = 64 << 10;

impl Names {
    /// Reads the opened directory `dir` from its beginning.
    ///
    /// # Errors
    /// The kernel's number.
    pub(crate) fn read(dir: impl AsFd) -> Result<Self, Errno> {
        let mut names = Self::default();
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        seek(&dir, SeekFrom::Start(0))?;
        let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            names.push(entry?.file_name());
        }
        names.sort();
        Ok(names)
    }

    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The name at `index` in byte order.
    pub(crate) fn get(&self, index: usize) -> Option<&CStr> {
        let span = self.spans.get(index)?;
        CStr::from_bytes_with_nul(of(&self.bytes, *span)).ok()
    }

    /// The index of the first name above `name`.
    pub(crate) fn after(&self, name: &[u8]) -> usize {
        self.spans.partition_point(|span| without_nul(of(&self.bytes, *span)) <= name)
    }

    fn push(&mut self, name: &CStr) {
        if matches!(name.to_bytes(), b"." | b"..") {
            return;
        }
        let bytes = name.to_bytes_with_nul();
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.spans.push(Span { start: self.bytes.len(), length });
        self.bytes.extend_from_slice(bytes);
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.spans.sort_unstable_by(|a, b| of(bytes, *a).cmp(of(bytes, *b)));
    }
}

fn of(bytes: &[u8], span: Span) -> &[u8] {
    &bytes[span.start..span.start + usize::from(span.length)]
}

fn without_nul(name: &[u8]) -> &[u8] {
    &name[..name.len().saturating_sub(1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

    #[test]
    fn names_come_in_byte_order_and_only_once_however_often_they_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let wanted: [&[u8]; 6] = [b"-", b"a", b"a b", b"a.b", b"b", b"\xff"];
        for name in wanted.iter().rev() {
            fs::write(dir.path().join(OsStr::from_bytes(name)), "").unwrap();
        }
        let opened = fs::File::open(dir.path()).unwrap();
        for _ in 0..2 {
            let names = Names::read(&opened).unwrap();
            let got: Vec<_> = (0..names.len()).map(|n| names.get(n).unwrap().to_bytes()).collect();
            assert_eq!(got, wanted);
            assert_eq!(names.after(b"a"), 2);
            assert_eq!(names.after(b"a.a"), 3);
        }
    }
}
