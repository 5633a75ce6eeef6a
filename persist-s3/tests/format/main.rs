//! The objects of version 1, as bytes that are kept: they stay readable for ever, and the same input gives
//! the same bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod golden;

use golden::{Golden, TEXTS};
use persist_core::{Result, VolumeId};
use persist_s3::format::{
    commit::OpenedCommit,
    crypt::CallerKey,
    fmt::{self, Keyring},
    frame::{Compression, Opener, chunk_of},
    pack::Directory,
    table::{PackEntry, PackTable},
};
use persist_s3::head::record::{CommitName, PackName};

/// What zstd writes may change with zstd, so only what is stored is written again.
const WRITTEN_AGAIN: [&str; 2] = ["clear", "sealed"];
const ALL: [&str; 3] = ["clear", "sealed", "zstd"];

#[test]
fn the_objects_of_version_1_read_as_they_were_written() {
    for case in ALL {
        let kept = Golden::kept(case);
        let keyring = fmt::open(&kept.fmt, &golden::volume(), caller(case).as_ref()).unwrap();
        let pack: PackName = serde_json::from_slice(&kept.pack_name).unwrap();
        let commit: CommitName = serde_json::from_slice(&kept.commit_name).unwrap();
        let mut opener = Opener::new().unwrap();
        let directory = Directory::open(&kept.pack, &golden::volume(), &pack, &keyring, &mut opener).unwrap();
        let opened =
            OpenedCommit::open(&kept.commit, &golden::volume(), &commit, &keyring, &mut opener).unwrap();
        assert_eq!(opened.commit, golden::commit());
        let table = opened.table(None).unwrap();
        assert_eq!(read_all(&kept, &directory, &table, &keyring).unwrap(), TEXTS, "{case}");
        assert_eq!(table.get(golden::LARGE).unwrap(), &golden::large(&golden::volume()));
    }
}

#[test]
fn the_same_input_gives_the_bytes_of_version_1() {
    for case in WRITTEN_AGAIN {
        assert_eq!(Golden::made(caller(case).as_ref(), Compression::Stored), Golden::kept(case), "{case}");
    }
}

/// Run by hand for a new version, into a new folder; never for one that was released.
#[test]
#[ignore = "writes the fixtures"]
fn the_fixtures_are_written() {
    for case in ALL {
        let compression = if case == "zstd" { Compression::default() } else { Compression::Stored };
        Golden::made(caller(case).as_ref(), compression).keep(case);
    }
}

fn caller(case: &str) -> Option<CallerKey> {
    (case != "clear").then(|| CallerKey::new([0xc0; 32]))
}

/// Every chunk that the pack's directory knows, read out of the commit object.
fn read_all(
    kept: &Golden,
    directory: &Directory,
    table: &PackTable,
    keyring: &Keyring,
) -> Result<Vec<Vec<u8>>> {
    let mut opener = Opener::new()?;
    let mut texts = Vec::new();
    for (_, reference) in directory.references() {
        let entry: &PackEntry = table.get(reference.at.pack)?;
        let range = entry.frame_range(&reference.at)?;
        let sealed = kept.commit.slice(range.start as usize..range.end as usize);
        let sealing = keyring.sealing(&entry.volume, entry.key)?;
        let frame = opener.open_frame(sealed, &sealing, &entry.frame_binding(&reference.at))?;
        texts.push(chunk_of(&frame, &reference, &keyring.secret().ids())?.to_vec());
    }
    Ok(texts)
}

#[test]
fn another_volumes_id_opens_nothing() {
    let kept = Golden::kept("sealed");
    let other = VolumeId::parse("00000000-0000-7000-8000-0000000000ff").unwrap();
    assert!(fmt::open(&kept.fmt, &other, caller("sealed").as_ref()).is_err());
}
