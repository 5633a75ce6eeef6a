//! What is common to everything that is stored: a version, postcard, and a name that is a hash.

use super::pack::{TRAILER_BYTES, Trailer};
use crate::head::record::Digest;
use bytes::Bytes;
use persist_core::{Error, ErrorKind, Result};
use serde::{Serialize, de::DeserializeOwned};

/// Before every directory and record. Fields are only added behind the last; a change that an old reader
/// must not overlook is a new number.
const VERSION: u8 = 1;

/// The version, and `value` in postcard's wire format (postcard.jamesmunns.com, version 1).
pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_extend(value, vec![VERSION])
        .map_err(|e| Error::internal("a record cannot be written").with_source(e))
}

/// Reads what [`encode`] wrote. Takes memory in proportion to `bytes`, whatever they claim.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T> {
    let corrupt = |why: &'static str| Error::new(ErrorKind::Corrupt, why).context("part", what);
    let (version, rest) = bytes.split_first().ok_or_else(|| corrupt("a part is empty"))?;
    if *version != VERSION {
        return Err(Error::new(ErrorKind::Unsupported, "a part has a version that is not known here")
            .context("part", what)
            .context("version", version)
            .advise("use a newer version"));
    }
    let (value, _) =
        postcard::take_from_bytes(rest).map_err(|e| corrupt("a part cannot be read").with_source(e))?;
    Ok(value)
}

/// The hash that names an object: of its sealed index and its trailer. The index in turn holds the ids of
/// everything before it, or of the tree's root, so the name vouches for every byte.
pub(super) fn tail_digest(index: &[u8], trailer: &[u8; TRAILER_BYTES]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(index).update(trailer);
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Digest(digest)
}

/// The sealed index of the object that ends with `tail` and whose name says `hash`.
pub(super) fn indexed(tail: &Bytes, trailer: &Trailer, hash: &Digest) -> Result<Bytes> {
    let corrupt = |what: &'static str| Error::new(ErrorKind::Corrupt, what);
    let bytes = usize::try_from(trailer.tail_bytes()).ok().filter(|bytes| *bytes <= tail.len());
    let bytes = bytes.ok_or_else(|| corrupt("an object is shorter than it says"))?;
    let index = tail.slice(tail.len() - bytes..tail.len() - TRAILER_BYTES);
    if tail_digest(&index, &trailer.encode()) == *hash {
        return Ok(index);
    }
    Err(corrupt("an object is not what its name says")
        .advise("keep the object; restore the volume from a snapshot that is whole"))
}
