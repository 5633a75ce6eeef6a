//! What a stat record keeps for an entry: what the tree in the bucket holds for it.

use crate::format::tree::{Content, StoredEntry};
use persist_core::{Error, Result};

/// The version that this file writes.
const VERSION: u8 = 1;

/// An entry for a stat record: equal for equal entries with equal content.
///
/// # Errors
/// `Internal`: everything of an entry can be written.
pub(super) fn encode(entry: &StoredEntry) -> Result<Vec<u8>> {
    postcard::to_extend(entry, vec![VERSION])
        .map_err(|e| Error::internal("an entry cannot be written for a stat record").with_source(e))
}

/// The entry that was encoded; `None` for anything else, which is read again as if it were new.
pub(super) fn decode(bytes: &[u8]) -> Option<StoredEntry> {
    match bytes.split_first()? {
        (&VERSION, rest) => postcard::from_bytes(rest).ok(),
        _ => None,
    }
}

/// The content that was encoded.
pub(super) fn content(bytes: &[u8]) -> Option<Content> {
    decode(bytes).map(|entry| entry.content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use persist_core::tree::{Entry, EntryKind, Metadata, TreePath};

    #[test]
    fn an_entry_reads_back_and_anything_else_is_read_again() {
        let path = TreePath::new("a/b").unwrap();
        let kind = EntryKind::File { size: 7, data: None };
        let entry = StoredEntry::new(Entry::new(path, kind, Metadata::default()));
        let bytes = encode(&entry).unwrap();
        assert_eq!(decode(&bytes), Some(entry));
        for torn in 0..bytes.len() {
            assert_eq!(decode(&bytes[..torn]), None, "{torn}");
        }
        assert_eq!(decode(&[2, 0]), None);
    }
}
