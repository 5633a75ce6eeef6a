//! What is held of a workspace while this process serves it, and the steps by which its records change.

use super::{
    Opened, Workspaces,
    flush::Failures,
    layout, make_directories,
    record::{DRAFT, Of},
    state::State,
};
use crate::head::record::CommitName;
use persist_core::{
    Error, ErrorKind, Result, VolumeId, VolumeName,
    directory::{
        durable::Claimed,
        exclusion::{Exclusion, Hold},
        records::{self, Numbered},
    },
    linux::cause::cause,
};
use std::{
    fs,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

/// A workspace that this process serves: held until this is dropped.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) spaces: Workspaces,
    pub(super) volume: VolumeId,
    pub(super) near: VolumeName,
    pub(super) place: layout::Place,
    pub(super) failures: Failures,
    state: Mutex<Newest>,
    /// Held for the whole of a change, on threads that may block.
    changing: Mutex<()>,
    _held: Exclusion,
}

/// The newest state, and its number if it was ever recorded.
#[derive(Debug)]
struct Newest {
    number: Option<u64>,
    state: State,
}

impl Served {
    /// What is remembered.
    pub(super) fn state(&self) -> State {
        self.lock().state.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Newest> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn opened(&self) -> &Opened {
        &self.spaces.0
    }

    pub(super) fn now(&self) -> persist_core::clock::Timestamp {
        self.opened().environment.clock.now()
    }

    pub(super) fn of(&self) -> Of {
        Of { volume: self.volume.clone(), base: self.lock().state.base.clone() }
    }

    /// Changes what is remembered, durably.
    pub(super) fn change(&self, change: impl FnOnce(&Self, State) -> Result<State>) -> Result<()> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, before) = {
            let newest = self.lock();
            (newest.number, newest.state.clone())
        };
        let state = change(self, before.clone())?;
        if state == before && number.is_some() {
            return Ok(());
        }
        match records::publish(&self.opened().durable, &self.place.state(), number, &state)? {
            Claimed::Won => {
                *self.lock() = Newest { number: Some(number.map_or(1, |n| n + 1)), state };
                Ok(())
            }
            Claimed::Lost => Err(Error::internal("another process changed a workspace that this one serves")
                .context("workspace", self.place.root().display())),
        }
    }

    /// Makes the stat record of `commit` that of the base; done already if it is not there any more.
    pub(super) fn promote(&self, commit: &CommitName) -> Result<()> {
        let next = self.place.next(commit);
        match fs::rename(&next, self.place.stat()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(cause(e, "rename", next.display())),
            Ok(()) => self.opened().durable.directory(self.place.root()),
        }
    }

    /// Removes drafts, and the stat records of commits that are offered no more.
    pub(super) fn drop_offers(&self, offered: Option<&CommitName>) -> Result<()> {
        sweep(&self.place, offered)
    }
}

/// Takes the workspace of `volume` for this process, and clears what a killed one left unfinished.
pub(super) fn serve(spaces: Workspaces, volume: VolumeId) -> Result<Served> {
    let place = spaces.0.layout.of(&volume);
    let held = hold(&spaces, &place)?;
    // Under the exclusion nobody removes them any more.
    for directory in [place.state(), place.attachments()] {
        make_directories(&directory, &spaces.0.durable)?;
    }
    sign(&held)?;
    let newest = match records::newest::<State>(&place.state())? {
        Some(Numbered { number, record }) => Newest { number: Some(number), state: record },
        None => Newest { number: None, state: State::new(volume.clone(), spaces.0.environment.clock.now()) },
    };
    newest.state.check(&volume)?;
    sweep(&place, newest.state.offered.as_ref())?;
    let near = layout::near_name(&volume)?;
    Ok(Served {
        spaces,
        volume,
        near,
        place,
        state: Mutex::new(newest),
        failures: Failures::default(),
        changing: Mutex::new(()),
        _held: held,
    })
}

/// Holds the workspace alone. Another process may remove it until then: it is made again.
fn hold(spaces: &Workspaces, place: &layout::Place) -> Result<Exclusion> {
    for _ in 0..HOLDS_MAX {
        make_directories(place.root(), &spaces.0.durable)?;
        match Exclusion::attempt(&place.served(), Hold::Alone) {
            Ok(Some(held)) => return Ok(held),
            Ok(None) => break,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(in_use(place))
}

/// Evictions in other processes that may come between making a workspace and holding it.
const HOLDS_MAX: usize = 16;

/// Writes who serves it, for those who are refused.
fn sign(held: &Exclusion) -> Result<()> {
    let mut file = held.file();
    let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(|e| cause(e, "write", "served"))
}

fn in_use(place: &layout::Place) -> Error {
    let process = fs::read_to_string(place.served()).unwrap_or_default();
    let process = process.trim().parse::<u32>().map_or_else(|_| "unknown".into(), |pid| pid.to_string());
    Error::in_use("another process serves this workspace", Vec::new())
        .context("workspace", place.root().display())
        .context("process", process)
        .advise("let that process do it, or stop it")
}

/// Removes what a killed process left unfinished.
fn sweep(place: &layout::Place, offered: Option<&CommitName>) -> Result<()> {
    let root = place.root();
    let keep = offered.map(|commit| place.next(commit));
    for entry in fs::read_dir(root).map_err(|e| cause(e, "list", root.display()))? {
        let entry = entry.map_err(|e| cause(e, "list", root.display()))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let unfinished = name.starts_with(DRAFT) || name.starts_with(layout::NEXT);
        if unfinished && keep.as_ref() != Some(&entry.path()) {
            match fs::remove_file(entry.path()) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(cause(e, "unlink", entry.path().display()));
                }
                _ => {}
            }
        }
    }
    Ok(())
}
