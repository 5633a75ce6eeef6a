use super::*;
use persist_core::{Epoch, tree::Stat};
use proptest::prelude::*;
use std::fs;

fn of(seq: u64) -> Of {
    let volume = VolumeId::parse("00000000-0000-7000-8000-000000000001").unwrap();
    Of { volume, base: Some(CommitName { seq, epoch: Epoch::new(1), hash: Digest([7; 16]) }) }
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn row(at: &str, reference: &[u8]) -> Row {
    let applied = Applied {
        kind: AppliedKind::File,
        inode: (5, 1, 2),
        size: 3,
        mtime: (-4, 5),
        ctime: (6, 7),
        mode: 0o4640,
        uid: 8,
        gid: 9,
        flags: 0x10,
        device: 0,
        link: Some(path("a/b")),
        target: None,
        xattrs: vec![XattrMark { name: b"user.x".to_vec(), digest: Digest([1; 16]) }],
    };
    Row { path: path(at), applied, freshness: Freshness::Settled, reference: reference.to_vec() }
}

fn written(directory: &Path, rows: &[Row]) -> Finished {
    let mut writer = RowWriter::new(directory, of(1)).unwrap();
    rows.iter().for_each(|row| writer.push(row.clone()).unwrap());
    writer.finish().unwrap()
}

fn read(at: &Path, of: &Of) -> Option<Vec<Row>> {
    Rows::open(at, of).unwrap().map(|rows| rows.map(|row| row.unwrap()).collect())
}

fn many(count: usize) -> Vec<Row> {
    let mut rows: Vec<_> = (0..count).map(|n| row(&format!("d/{n:05}"), &n.to_le_bytes())).collect();
    rows.insert(0, row("", b""));
    rows
}

#[test]
fn rows_read_back_whatever_their_number() {
    let dir = tempfile::tempdir().unwrap();
    for count in [0, 1, 255, 256, 1000] {
        let rows = many(count);
        let record = written(dir.path(), &rows);
        record.name(&dir.path().join("stat")).unwrap();
        assert_eq!(read(&dir.path().join("stat"), &of(1)), Some(rows));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a draft is left");
    }
    assert!(Rows::open(&dir.path().join("none"), &of(1)).unwrap().is_none());
}

#[test]
fn a_record_of_another_base_is_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("stat");
    written(dir.path(), &many(3)).name(&at).unwrap();
    assert!(read(&at, &of(1)).is_some());
    assert!(read(&at, &of(2)).is_none());
    assert!(read(&at, &Of { base: None, ..of(1) }).is_none());
}

#[test]
fn a_torn_or_changed_record_is_as_none_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("stat");
    written(dir.path(), &many(600)).name(&at).unwrap();
    let whole = fs::read(&at).unwrap();
    for end in (0..whole.len()).step_by(97).chain(whole.len() - 40..whole.len()) {
        fs::write(&at, &whole[..end]).unwrap();
        assert!(read(&at, &of(1)).is_none(), "cut at {end}");
    }
    for byte in (0..whole.len()).step_by(101) {
        let mut bad = whole.clone();
        bad[byte] ^= 0x20;
        fs::write(&at, &bad).unwrap();
        assert!(read(&at, &of(1)).is_none(), "changed at {byte}");
    }
}

#[test]
fn a_record_without_one_of_its_blocks_is_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("stat");
    written(dir.path(), &many(600)).name(&at).unwrap();
    let whole = fs::read(&at).unwrap();
    let length = |at: usize| u32::from_le_bytes(whole[at..at + 4].try_into().unwrap()) as usize + 20;
    let head = write::MAGIC.len() + length(write::MAGIC.len());
    let mut without = whole[..head].to_vec();
    without.extend_from_slice(&whole[head + length(head)..]);
    fs::write(&at, &without).unwrap();
    assert!(read(&at, &of(1)).is_none());
}

#[test]
fn a_row_with_too_large_a_reference_is_read_again_and_its_removal_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let rows = [row("a", b"1"), row("b", &vec![7; 15 << 20]), row("c", &vec![9; 3 << 20])];
    let record = written(dir.path(), &rows);
    let kept: Vec<Row> = record.rows().unwrap().map(Result::unwrap).collect();
    assert_eq!([&kept[0], &kept[2]], [&rows[0], &rows[2]]);
    assert_eq!((&kept[1].path, kept[1].freshness, kept[1].reference.len()), (&path("b"), Freshness::Racy, 0));
}

#[test]
fn two_records_become_one_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let rows = many(700);
    let (even, odd): (Vec<_>, Vec<_>) = rows.iter().cloned().enumerate().partition(|(n, _)| n % 2 == 0);
    let take = |rows: Vec<(usize, Row)>| rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>();
    let (even, odd) = (written(dir.path(), &take(even)), written(dir.path(), &take(odd)));
    let merged = merge(dir.path(), of(1), &even, &odd).unwrap();
    assert_eq!(merged.rows().unwrap().map(Result::unwrap).collect::<Vec<_>>(), rows);
}

#[test]
fn a_change_that_is_not_clearly_older_than_the_cut_is_racy() {
    use Freshness::{Racy, Settled};
    let cut = Stamp { time: (100, 50_000_000) };
    for (ctime, freshness) in [
        ((100, 29_999_999), Settled),
        ((100, 30_000_000), Racy),
        ((100, 60_000_000), Racy),
        ((99, 999_000_000), Settled),
        ((200, 1), Racy),
        // Whole seconds: the filesystem may not know better.
        ((99, 0), Racy),
        ((98, 0), Settled),
    ] {
        assert_eq!(cut.judges(ctime), freshness, "{ctime:?}");
        assert_eq!(Stamp::settles(ctime).judges(ctime), Settled, "{ctime:?}");
    }
    assert_eq!(Stamp { time: (100, 0) }.judges((98, 500)), Racy);
}

fn metadata(uid: u32, mode: u32, xattrs: &[(&str, &'static str)]) -> Metadata {
    let xattr = |(name, value): &(&str, &'static str)| Xattr { name: (*name).into(), value: (*value).into() };
    Metadata { uid, mode, mtime_s: 10, xattrs: xattrs.iter().map(xattr).collect(), ..Metadata::default() }
}

fn applied(metadata: &Metadata) -> Applied {
    let mut applied = row("a", b"").applied;
    (applied.uid, applied.gid, applied.mode, applied.flags) =
        (metadata.uid, metadata.gid, metadata.mode, metadata.flags);
    applied.mtime = (metadata.mtime_s, metadata.mtime_ns);
    applied.xattrs = metadata.xattrs.iter().map(XattrMark::of).collect();
    applied
}

#[test]
fn what_an_ordinary_user_could_not_apply_stays_as_it_was_meant() {
    let intended = metadata(0, 0o4755, &[("security.capability", "c"), ("user.a", "1"), ("user.b", "2")]);
    // Another owner, no set-id bit, no capability; and the host added a label.
    let shown = metadata(1000, 0o755, &[("security.selinux", "l"), ("user.a", "1"), ("user.b", "2")]);
    let applied = applied(&shown);
    assert_eq!(applied.merged(&intended, &shown), intended, "nothing was changed");
    let mut now = metadata(1000, 0o700, &[("security.selinux", "l"), ("user.a", "3"), ("user.c", "4")]);
    now.mtime_ns = 9;
    let merged = applied.merged(&intended, &now);
    let mut wanted = metadata(0, 0o700, &[("security.capability", "c"), ("user.a", "3"), ("user.c", "4")]);
    wanted.mtime_ns = 9;
    assert_eq!(merged, wanted);
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_none(bytes in prop::collection::vec(any::<u8>(), 0..400), whole in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("stat");
        let mut all = write::MAGIC.to_vec();
        all.extend((bytes.len() as u32).to_le_bytes());
        all.extend(Digest::of(&bytes).0);
        all.extend(&bytes);
        fs::write(&at, if whole { &all } else { &bytes }).unwrap();
        prop_assert!(Rows::open(&at, &of(1)).unwrap().is_none());
    }

    #[test]
    fn a_change_of_every_aspect_is_recorded_and_nothing_else(
        uid in 0..3_u32, mode in 0..3_u32, intended_uid in 0..3_u32, now_uid in 0..3_u32, now_mode in 0..3_u32,
    ) {
        let intended = metadata(intended_uid, 0o644, &[]);
        let (shown, now) = (metadata(uid, mode, &[]), metadata(now_uid, now_mode, &[]));
        let merged = applied(&shown).merged(&intended, &now);
        prop_assert_eq!(merged.uid, if now_uid == uid { intended_uid } else { now_uid });
        prop_assert_eq!(merged.mode, if now_mode == mode { 0o644 } else { now_mode });
    }
}

#[test]
fn the_same_inode_in_the_same_state_is_known_again_on_another_device() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    let stat = |at: &Path| {
        let file = fs::File::open(at).unwrap();
        Stat::of(Handle::Open(file.as_fd())).unwrap()
    };
    let first = stat(&dir.path().join("f"));
    let applied = Applied::new(&first, &[], None, None);
    assert!(applied.is(&Stat { dev: first.dev + 1, ..first }, None));
    assert!(!applied.is(&first, Some(&path("other"))));
    fs::write(dir.path().join("f"), "y").unwrap();
    assert!(!applied.is(&Stat { ctime: (first.ctime.0, first.ctime.1 ^ 1), ..first }, None));
    fs::hard_link(dir.path().join("f"), dir.path().join("g")).unwrap();
    assert!(!applied.is(&Stat { ino: first.ino + 1, ..first }, None));
}
