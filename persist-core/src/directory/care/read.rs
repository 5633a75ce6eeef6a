//! Reading every byte of a tree.

use crate::{
    care::Fault,
    error::{Error, ErrorKind, Result},
    progress::Meter,
    tree::{Kind, Root, Step, TreePath, Unreadable, Visit, WalkOptions, walk},
};
use rustix::fs::{Mode, OFlags};
use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// What reading a tree gave.
#[derive(Debug, Default)]
pub(super) struct ReadThrough {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) faults: Vec<(TreePath, String)>,
    /// Entries that this user may not read, or that were passed over.
    pub(super) remarks: Vec<String>,
}

/// How much is read at a time: large enough for the fastest storage, small enough for any number of threads.
const CHUNK_BYTES: usize = 256 << 10;

/// The most faults of one tree that are kept one by one: each is for a person to look at.
const FAULTS_MAX: usize = 1000;

/// Reads the tree at `path` from its first byte to its last.
///
/// # Errors
/// `NotFound` if it is not there; `Unavailable` once stopped. What is wrong in it is no error.
pub(super) fn read_through(path: &Path, meter: &Meter) -> Result<ReadThrough> {
    let root = Root::open(path)?;
    let (bytes, faults) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let options = WalkOptions { unreadable: Unreadable::Report, ..WalkOptions::default() };
    let visit = |visit: &Visit<'_>| {
        let read = visit.metadata().and_then(|_| match visit.stat.kind {
            Kind::File => read_file(&root, &visit.path(), meter),
            _ => Ok(0),
        });
        match read {
            Ok(read) => drop(bytes.fetch_add(read, Relaxed)),
            // It went away while we read, or was written to: no fault.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) if meter.is_stopped() => return Err(e),
            Err(e) => note(&faults, visit.path(), &e),
        }
        meter.add(1, 0);
        Ok(Step::Enter)
    };
    let walked = walk(&root, &options, meter, &visit)?;
    let mut faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    faults.sort();
    let remarks = walked.losses.remarks();
    Ok(ReadThrough { files: walked.entries, bytes: bytes.into_inner(), faults, remarks })
}

/// A fault in a tree of a volume.
pub(super) fn fault(volume: crate::VolumeId, path: TreePath, what: String) -> Fault {
    let mut fault = Fault::new(Some(volume), what);
    fault.path = Some(path);
    fault
}

fn note(faults: &Mutex<Vec<(TreePath, String)>>, path: TreePath, error: &Error) {
    let mut faults = faults.lock().unwrap_or_else(PoisonError::into_inner);
    if faults.len() < FAULTS_MAX {
        faults.push((path, error.to_string()));
    }
}

fn read_file(root: &Root, path: &TreePath, meter: &Meter) -> Result<u64> {
    // Neither waits nor becomes a controlling terminal, should it have turned into something else.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = File::from(root.open_at(path, flags, Mode::empty())?);
    let (mut buffer, mut total) = (vec![0; CHUNK_BYTES], 0);
    loop {
        meter.check()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => {
                total += read as u64;
                meter.add(0, read as u64);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(crate::linux::cause::cause(e, "read", path)),
        }
    }
}
