//! The verdict on one pair of entries.

use super::{Aspects, ChangeKind, CompareContent, CompareOptions, TreeChange, content, merge::Pair};
use crate::{
    error::Result,
    tree::{
        entry::{DataRange, Entry, EntryKind, Metadata, TreePath},
        source::TreeSource,
    },
};
use std::sync::Arc;

/// Judges `pair`; reads content only where nothing cheaper decides.
pub(super) async fn judge(
    pair: Pair,
    before: Arc<dyn TreeSource>,
    after: Arc<dyn TreeSource>,
    options: CompareOptions,
) -> Result<Option<TreeChange>> {
    options.meter.check()?;
    options.meter.add(1, 0);
    let (a, b) = match pair {
        Pair::Before(entry) => return Ok(Some(TreeChange { path: entry.path, kind: ChangeKind::Removed })),
        Pair::After(entry) => return Ok(Some(TreeChange { path: entry.path, kind: ChangeKind::Added })),
        Pair::Both(a, b) => (a, b),
    };
    let mut differ = metadata(&a.metadata, &b.metadata) | structure(&a, &b);
    let differs = match verdict(&a, &b, options.content) {
        Verdict::Same => false,
        Verdict::Differs => true,
        Verdict::Read(_) if !options.aspects.contains(Aspects::CONTENT) => false,
        Verdict::Read(size) => content::differs(&*before, &*after, (&a, &b), size, &options.meter).await?,
    };
    differ.set(Aspects::CONTENT, differs);
    Ok(kind(differ & options.aspects).map(|kind| TreeChange { path: a.path, kind }))
}

/// What a set of differing aspects makes of an entry; nothing if the set is empty.
pub(super) fn kind(differ: Aspects) -> Option<ChangeKind> {
    match differ {
        differ if differ.is_empty() => None,
        differ if differ.intersects(Aspects::SUBSTANCE) => Some(ChangeKind::Changed(differ)),
        differ => Some(ChangeKind::MetadataOnly(differ)),
    }
}

/// Whether two contents are the same, or how many bytes must be read to know.
#[derive(Debug, PartialEq)]
enum Verdict {
    Same,
    Differs,
    Read(u64),
}

fn verdict(a: &Entry, b: &Entry, mode: CompareContent) -> Verdict {
    let decided = |same| if same { Verdict::Same } else { Verdict::Differs };
    match (&a.kind, &b.kind) {
        (EntryKind::File { size, .. }, EntryKind::File { size: other, .. }) => match () {
            () if size != other => Verdict::Differs,
            () if *size == 0 => Verdict::Same,
            () if mode != CompareContent::Bytes && same_hash(a, b).is_some() => {
                decided(same_hash(a, b) == Some(true))
            }
            () if mode == CompareContent::Stat => decided(mtime(&a.metadata) == mtime(&b.metadata)),
            () => Verdict::Read(*size),
        },
        // Targets and device numbers are part of the kind; two kinds have no content in common.
        (a, b) => decided(a == b),
    }
}

fn same_hash(a: &Entry, b: &Entry) -> Option<bool> {
    let (a, b) = (a.hash.as_ref()?, b.hash.as_ref()?);
    (a.algorithm == b.algorithm).then(|| a.digest == b.digest)
}

fn mtime(metadata: &Metadata) -> (i64, u32) {
    (metadata.mtime_s, metadata.mtime_ns)
}

fn metadata(a: &Metadata, b: &Metadata) -> Aspects {
    let mut differ = Aspects::empty();
    differ.set(Aspects::MODE, a.mode != b.mode);
    differ.set(Aspects::UID, a.uid != b.uid);
    differ.set(Aspects::GID, a.gid != b.gid);
    differ.set(Aspects::MTIME, mtime(a) != mtime(b));
    differ.set(Aspects::FLAGS, a.flags != b.flags);
    differ.set(Aspects::XATTRS, a.xattrs != b.xattrs);
    differ
}

fn structure(a: &Entry, b: &Entry) -> Aspects {
    let mut differ = Aspects::empty();
    let kinds = (std::mem::discriminant(&a.kind), std::mem::discriminant(&b.kind));
    differ.set(Aspects::KIND, kinds.0 != kinds.1);
    differ.set(Aspects::LINKS, earlier_name(a) != earlier_name(b));
    if let (EntryKind::File { data: Some(a), .. }, EntryKind::File { data: Some(b), .. }) = (&a.kind, &b.kind)
    {
        differ.set(Aspects::HOLES, !same_ranges(a, b));
    }
    differ
}

/// The first name of the file where `entry` is another one. A file whose other names lie outside of the
/// tree has only one here, so a link to itself says no more than no link.
fn earlier_name(entry: &Entry) -> Option<&TreePath> {
    entry.link.as_ref().filter(|first| **first != entry.path)
}

/// Whether two lists cover the same bytes, however they are cut.
fn same_ranges(a: &[DataRange], b: &[DataRange]) -> bool {
    joined(a).eq(joined(b))
}

fn joined(ranges: &[DataRange]) -> impl Iterator<Item = (u64, u64)> {
    let mut ranges = ranges.iter().map(|r| (r.offset, r.offset.saturating_add(r.length))).peekable();
    std::iter::from_fn(move || {
        let (start, mut end) = ranges.next()?;
        while let Some(next) = ranges.next_if(|next| next.0 == end) {
            end = next.1;
        }
        Some((start, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::entry::{ContentHash, Xattr};

    fn file(size: u64) -> Entry {
        Entry::new(
            TreePath::new("f").unwrap(),
            EntryKind::File { size, data: None },
            Metadata { mode: 0o644, mtime_s: 7, ..Metadata::default() },
        )
    }

    fn hashed(size: u64, algorithm: &str, digest: u8) -> Entry {
        let hash = ContentHash { algorithm: algorithm.into(), digest: vec![digest] };
        Entry { hash: Some(hash), ..file(size) }
    }

    #[test]
    fn each_mode_reads_only_what_it_must() {
        use CompareContent::{Bytes, Known, Stat};
        let touched = {
            let mut entry = file(5);
            entry.metadata.mtime_ns = 1;
            entry
        };
        for (a, b, mode, want) in [
            (file(5), file(6), Bytes, Verdict::Differs),
            (file(0), file(0), Bytes, Verdict::Same),
            (file(5), file(5), Stat, Verdict::Same),
            (file(5), touched.clone(), Stat, Verdict::Differs),
            (file(5), touched, Known, Verdict::Read(5)),
            (hashed(5, "x", 1), hashed(5, "x", 1), Known, Verdict::Same),
            (hashed(5, "x", 1), hashed(5, "x", 2), Stat, Verdict::Differs),
            (hashed(5, "x", 1), hashed(5, "y", 1), Known, Verdict::Read(5)),
            (hashed(5, "x", 1), hashed(5, "x", 1), Bytes, Verdict::Read(5)),
        ] {
            assert_eq!(verdict(&a, &b, mode), want, "{a:?} {b:?} {mode:?}");
        }
    }

    #[test]
    fn every_field_of_the_metadata_is_an_aspect() {
        let plain = file(1).metadata;
        let xattr = Xattr { name: b"user.a".to_vec(), value: b"1".as_slice().into() };
        for (other, want) in [
            (Metadata { mode: 0o600, ..plain.clone() }, Aspects::MODE),
            (Metadata { uid: 1, ..plain.clone() }, Aspects::UID),
            (Metadata { gid: 1, ..plain.clone() }, Aspects::GID),
            (Metadata { mtime_s: 8, ..plain.clone() }, Aspects::MTIME),
            (Metadata { mtime_ns: 1, ..plain.clone() }, Aspects::MTIME),
            (Metadata { flags: 64, ..plain.clone() }, Aspects::FLAGS),
            (Metadata { xattrs: vec![xattr], ..plain.clone() }, Aspects::XATTRS),
        ] {
            assert_eq!(metadata(&plain, &other), want);
        }
    }

    #[test]
    fn a_target_or_a_device_number_is_content_and_a_kind_is_a_kind() {
        let of = |kind| Entry::new(TreePath::new("f").unwrap(), kind, Metadata::default());
        let link = |target: &[u8]| of(EntryKind::Symlink { target: target.to_vec() });
        let device = |device| of(EntryKind::CharacterDevice { device });
        let stat = CompareContent::Stat;
        assert_eq!(verdict(&link(b"a"), &link(b"b"), stat), Verdict::Differs);
        assert_eq!(structure(&link(b"a"), &link(b"b")), Aspects::empty());
        assert_eq!(verdict(&device(1), &device(2), stat), Verdict::Differs);
        assert_eq!(structure(&link(b"a"), &device(1)), Aspects::KIND);
        assert_eq!(verdict(&of(EntryKind::Fifo), &of(EntryKind::Fifo), stat), Verdict::Same);
    }

    #[test]
    fn holes_are_compared_by_what_they_cover_and_links_by_the_first_name() {
        let at = |offset, length| DataRange { offset, length };
        assert!(same_ranges(&[at(0, 4), at(4, 4)], &[at(0, 8)]));
        assert!(!same_ranges(&[at(0, 4), at(5, 4)], &[at(0, 8)]));
        let alone = file(1);
        let first = Entry { link: Some(alone.path.clone()), ..file(1) };
        let later = Entry { link: Some(TreePath::new("a").unwrap()), ..file(1) };
        assert_eq!(structure(&alone, &first), Aspects::empty());
        assert_eq!(structure(&alone, &later), Aspects::LINKS);
    }
}
