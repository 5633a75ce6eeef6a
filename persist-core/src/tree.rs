//! Trees of files: their entries and their source, and (feature `tree`) the engine that moves them.

#[cfg(feature = "tree")]
pub mod compare;
mod entry;
#[cfg(feature = "conformance")]
pub mod sample;
mod source;

pub use entry::{COMPONENT_MAX_BYTES, ContentHash, DataRange, Entry, EntryKind, Metadata, TreePath, Xattr};
pub use source::{TreeSource, TreeTotals};
