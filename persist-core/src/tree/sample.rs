//! A tree that has everything a filesystem can hold, for tests of whatever keeps trees.
//!
//! [`plant`] makes it, row by row of the fidelity table, and says which rows this host, user and
//! filesystem allow. [`describe`] reads a tree in a way of its own, without the engine under test.

mod describe;
mod memory;
mod plant;

pub use describe::{Description, describe, differences};
pub use memory::MemoryTree;

use crate::error::Result;
use std::path::Path;

/// One row of the fidelity table: something that a copy of a tree may lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Row {
    /// Files with several names, also across directories.
    HardLinks,
    /// Files that are all hole, or begin, go on or end with one.
    Holes,
    /// Extended attributes: an empty value, a binary one, several, and on a directory.
    Xattrs,
    /// An extended attribute of 64 KiB, the most that Linux allows (xattr(7)).
    LargeXattr,
    /// An extended attribute on a symbolic link.
    SymlinkXattr,
    /// An access ACL on a file.
    AccessAcl,
    /// A default ACL on a directory.
    DefaultAcl,
    /// File capabilities (`security.capability`).
    FileCapabilities,
    /// A SELinux label (`security.selinux`).
    SelinuxLabel,
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character and a block device.
    Devices,
    /// Symbolic links: relative, absolute, dangling, to a directory, out of the tree, and long.
    Symlinks,
    /// Modification times in nanoseconds.
    Nanoseconds,
    /// Modification times before 1970.
    NegativeTimes,
    /// Modification times after 2038.
    TimesAfter2038,
    /// Modification times after 2106.
    TimesAfter2106,
    /// Times of directories that have content.
    DirectoryTimes,
    /// Owners and groups of 2^31 and above.
    LargeOwners,
    /// Set-user-id and set-group-id files, set-group-id directories.
    SetId,
    /// Directories with the sticky bit.
    Sticky,
    /// Files and directories that nobody may read.
    NoPermissions,
    /// The flag `nodump`.
    NodumpFlag,
    /// The flags `immutable` and `append`.
    ImmutableFlags,
    /// Names that are no UTF-8.
    NonUtf8Names,
    /// Names with a newline, a backslash, a leading dash, a leading dot, spaces.
    OddNames,
    /// Names of 255 bytes.
    LongNames,
    /// Names that differ by case or by Unicode normalisation only.
    SimilarNames,
    /// Paths above 4,096 bytes.
    LongPaths,
    /// Files of no bytes.
    EmptyFiles,
    /// A file with data beyond 4 GiB.
    LargeFile,
    /// A file of a tebibyte, nearly all of it hole.
    HugeSparseFile,
    /// Many files in one directory.
    ManyFiles,
}

impl Row {
    /// All rows, in the order of the table.
    pub const ALL: &[Self] = &[
        Self::HardLinks,
        Self::Holes,
        Self::Xattrs,
        Self::LargeXattr,
        Self::SymlinkXattr,
        Self::AccessAcl,
        Self::DefaultAcl,
        Self::FileCapabilities,
        Self::SelinuxLabel,
        Self::Fifo,
        Self::Socket,
        Self::Devices,
        Self::Symlinks,
        Self::Nanoseconds,
        Self::NegativeTimes,
        Self::TimesAfter2038,
        Self::TimesAfter2106,
        Self::DirectoryTimes,
        Self::LargeOwners,
        Self::SetId,
        Self::Sticky,
        Self::NoPermissions,
        Self::NodumpFlag,
        Self::ImmutableFlags,
        Self::NonUtf8Names,
        Self::OddNames,
        Self::LongNames,
        Self::SimilarNames,
        Self::LongPaths,
        Self::EmptyFiles,
        Self::LargeFile,
        Self::HugeSparseFile,
        Self::ManyFiles,
    ];

    /// The name of the row's directory in the sample, and its word in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::HardLinks => "hard links",
            Self::Holes => "holes",
            Self::Xattrs => "extended attributes",
            Self::LargeXattr => "extended attribute of 64 KiB",
            Self::SymlinkXattr => "extended attribute on a symbolic link",
            Self::AccessAcl => "access ACL",
            Self::DefaultAcl => "default ACL",
            Self::FileCapabilities => "file capabilities",
            Self::SelinuxLabel => "SELinux label",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Devices => "devices",
            Self::Symlinks => "symbolic links",
            Self::Nanoseconds => "times in nanoseconds",
            Self::NegativeTimes => "times before 1970",
            Self::TimesAfter2038 => "times after 2038",
            Self::TimesAfter2106 => "times after 2106",
            Self::DirectoryTimes => "times of directories",
            Self::LargeOwners => "owners of 2^31 and above",
            Self::SetId => "set-id bits",
            Self::Sticky => "sticky bit",
            Self::NoPermissions => "mode 0000",
            Self::NodumpFlag => "flag nodump",
            Self::ImmutableFlags => "flags immutable and append",
            Self::NonUtf8Names => "names that are no UTF-8",
            Self::OddNames => "odd names",
            Self::LongNames => "names of 255 bytes",
            Self::SimilarNames => "names alike but for case or normalisation",
            Self::LongPaths => "paths above 4096 bytes",
            Self::EmptyFiles => "empty files",
            Self::LargeFile => "file above 4 GiB",
            Self::HugeSparseFile => "huge sparse file",
            Self::ManyFiles => "many files in one directory",
        }
    }
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Planted {
    /// It is there, below `<root>/<name of the row>`.
    Here,
    /// This user or this filesystem cannot hold it; nothing of the row is there. In the kernel's words.
    NotHere(String),
}

/// Plants `rows` below the existing directory `root`, each in its own directory.
///
/// # Promise
/// A row is planted in full, read back, or not at all: then its directory is gone and the reason is
/// returned. Writes nothing outside of `root`. Blocks.
///
/// # Errors
/// As the kernel reports what is no matter of privilege or of the filesystem's abilities.
pub fn plant(root: &Path, rows: &[Row]) -> Result<Vec<(Row, Planted)>> {
    rows.iter().map(|row| Ok((*row, plant::plant_row(root, *row)?))).collect()
}

/// Takes the flags `immutable` and `append` off everything below `root` and gives its owner access, so
/// that the tree can be removed. Blocks.
///
/// # Errors
/// As the kernel reports.
pub fn unlock(root: &Path) -> Result<()> {
    plant::unlock(root)
}

#[cfg(test)]
mod tests;
