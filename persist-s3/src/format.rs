//! The bytes of a volume in a bucket: chunks, frames, packs, commits, and the keys that seal them.
//!
//! Pure: bytes in, bytes out; no I/O, no clock, no randomness of its own. `docs/format.md` is normative to
//! the byte. Everything that comes from a bucket is checked against hard limits before memory is taken for
//! it, and whatever is not what was written is `Corrupt`.
//!
#![doc = include_str!("../docs/format.md")]

pub mod chunk;
pub mod commit;
pub mod crypt;
pub mod fmt;
pub mod frame;
pub mod location;
pub mod pack;
pub mod table;
pub mod tree;
mod wire;
