//! Trees of files: their entries and their source, and (feature `tree`) the engine that moves them.

#[cfg(feature = "tree")]
pub mod apply;
#[cfg(feature = "tree")]
pub mod beneath;
#[cfg(feature = "tree")]
mod blocking;
#[cfg(feature = "tree")]
pub mod compare;
#[cfg(feature = "tree")]
pub mod copy;
#[cfg(feature = "tree")]
mod crew;
#[cfg(feature = "tree")]
pub mod directory_tree;
mod entry;
#[cfg(feature = "tree")]
pub mod listing;
#[cfg(feature = "tree")]
pub mod losses;
#[cfg(feature = "tree")]
pub mod metadata;
#[cfg(feature = "tree")]
mod names;
#[cfg(feature = "tree")]
mod node;
#[cfg(feature = "tree")]
pub mod ordered;
#[cfg(feature = "tree")]
pub mod remove;
#[cfg(feature = "conformance")]
pub mod sample;
mod source;
#[cfg(feature = "tree")]
pub mod stat;
#[cfg(feature = "tree")]
pub mod transfer;
mod trust;
#[cfg(feature = "tree")]
pub mod walk;

pub use entry::{COMPONENT_MAX_BYTES, ContentHash, DataRange, Entry, EntryKind, Metadata, TreePath, Xattr};
pub use source::{TreeSource, TreeTotals};
pub use trust::Trust;

#[cfg(feature = "tree")]
pub use apply::{ApplyLimits, ApplyOptions, ApplyReport, Attributes, apply};
#[cfg(feature = "tree")]
pub use beneath::{Mounts, Root};
#[cfg(feature = "tree")]
pub use compare::{
    Aspects, ChangeKind, CompareContent, CompareOptions, TreeChange, compare, compare_directories,
};
#[cfg(feature = "tree")]
pub use copy::{CloneMode, CopyOptions, CopyReport, copy, copy_tree};
#[cfg(feature = "tree")]
pub use crew::Threads;
#[cfg(feature = "tree")]
pub use directory_tree::{DirectoryTree, data_ranges};
#[cfg(feature = "tree")]
pub use listing::Batch;
#[cfg(feature = "tree")]
pub use losses::{Loss, Losses, OnLoss};
#[cfg(feature = "tree")]
pub use metadata::{FlagsWhen, MetadataWriter, Present, Target, read_metadata};
#[cfg(feature = "tree")]
pub use ordered::{Found, Inside, walk_in_order};
#[cfg(feature = "tree")]
pub use remove::{RemoveOptions, RemoveReport, remove, remove_tree};
#[cfg(feature = "tree")]
pub use stat::{Handle, Inode, Kind, Stat};
#[cfg(feature = "tree")]
pub use transfer::{TransferOptions, TransferReport, Way, transfer};
#[cfg(feature = "tree")]
pub use walk::{Step, Unreadable, Visit, WalkOptions, WalkReport, walk};
