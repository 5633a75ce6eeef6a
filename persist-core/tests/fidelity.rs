//! Fidelity: a tree in, a tree out, attribute by attribute. Every row is kept, or its loss is reported.
//!
//! The table in `docs/fidelity.md` is written by these tests: run them with `PERSIST_WRITE_DOCS=1` to
//! replace the sections of the filesystems and users of this run; without it, a row that differs from the
//! table fails. The filesystem is that of `TMPDIR`, and tmpfs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, unreachable_pub)]

#[path = "fidelity/live.rs"]
mod live;
#[path = "fidelity/rows.rs"]
mod rows;
#[path = "fidelity/table.rs"]
mod table;

use persist_core::tree::sample::Row;
use rows::{Means, outcome};
use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};
use table::Section;

/// Set for the child of [`as_another_user`]: where to run, and where to leave the section.
const CHILD: &str = "PERSIST_FIDELITY_CHILD";

/// Who nobody is, on Debian and elsewhere.
const NOBODY: u32 = 65_534;

/// Directories on the filesystems of this run.
fn places() -> Vec<PathBuf> {
    let mut places = vec![env::temp_dir()];
    let shm = Path::new("/dev/shm");
    if table::filesystem(shm) == Some("tmpfs") && table::filesystem(&env::temp_dir()) != Some("tmpfs") {
        places.push(shm.into());
    }
    places
}

#[test]
fn every_row_is_kept_or_reported_as_this_user() {
    if let Some(place) = env::var_os(CHILD) {
        let place = Path::new(&place);
        fs::write(place.join("section"), Section::measure(place).lines().join("\n")).unwrap();
        return;
    }
    for place in places() {
        Section::measure(&place).check();
    }
}

#[test]
fn every_row_is_kept_or_reported_as_another_user() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    for place in places() {
        let dir = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o777))
            .tempdir_in(place)
            .unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        // The test binary may lie where another user cannot go.
        let binary = dir.path().join("fidelity");
        fs::copy(env::current_exe().unwrap(), &binary).unwrap();
        let output = Command::new(binary)
            .args(["--exact", "every_row_is_kept_or_reported_as_this_user", "--nocapture"])
            .env(CHILD, dir.path())
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
        let lines = fs::read_to_string(dir.path().join("section")).unwrap();
        Section::parse(&lines.lines().collect::<Vec<_>>()).unwrap().check();
    }
}

#[test]
fn what_the_other_filesystem_cannot_hold_is_reported() {
    let places = places();
    let [disk, memory] = &places[..] else {
        println!("skipped: there is only one filesystem here");
        return;
    };
    let mut told = Vec::new();
    for means in Means::ALL {
        for row in Row::ALL {
            told.extend(outcome([memory, disk], *row, means).filter(|told| told != "kept"));
        }
    }
    println!("from {} to {}: {told:?}", memory.display(), disk.display());
}
