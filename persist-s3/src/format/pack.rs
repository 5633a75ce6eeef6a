//! Packs: frames that are uploaded by one PUT, with a directory and a trailer behind them.

mod build;
mod directory;
mod trailer;

pub(super) use build::seal;
pub use build::{Pack, PackBuilder, PackSlot};
pub use directory::{Directory, DirectoryFrame};
pub use trailer::{ObjectKind, TRAILER_BYTES, Trailer};

/// A pack takes no more frames once it has this much: one PUT that a slow link still finishes within its
/// timeout, and never more than 32 of them for a GiB.
pub const PACK_TARGET_BYTES: usize = 32 << 20;

/// The most chunks in a pack, so that its directory stays below [`DIRECTORY_MAX_BYTES`].
pub const PACK_MAX_CHUNKS: usize = 64 << 10;

/// The most raw bytes of a directory: 64 Ki chunks of 37 bytes, each in a frame of its own of 12.
pub const DIRECTORY_MAX_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests;
