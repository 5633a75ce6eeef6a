//! Files with several names: the first one met is made, the others become links to it.

use super::copier::Dir;
use crate::tree::stat::{Inode, Stat};
use std::{
    collections::{HashMap, hash_map::Entry},
    ffi::{CStr, CString},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// One name in one directory.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) dir: Arc<Dir>,
    pub(super) name: CString,
}

/// What a worker does that meets one of several names.
#[derive(Debug)]
pub(super) enum Claim {
    /// Make the file, then say so with [`Links::made`].
    Make,
    /// Link to this name.
    LinkTo(Named),
    /// Nothing: who makes the file makes this name too.
    Leave,
}

/// The files with several names that were met; forgets each when its last name was.
#[derive(Debug, Default)]
pub(super) struct Links(Mutex<HashMap<Inode, File>>);

#[derive(Debug)]
struct File {
    names_left: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Making(Vec<Named>),
    Made(Named),
}

impl Links {
    /// Claims `name` in `dir`, which is a name of the inode of `stat`.
    pub(super) fn claim(&self, stat: &Stat, dir: &Arc<Dir>, name: &CStr) -> Claim {
        let mut files = self.lock();
        let file = match files.entry(stat.inode()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                new.insert(File {
                    names_left: stat.links.saturating_sub(1),
                    state: State::Making(Vec::new()),
                });
                return Claim::Make;
            }
        };
        file.names_left = file.names_left.saturating_sub(1);
        let claim = match &mut file.state {
            State::Making(waiting) => {
                waiting.push(Named { dir: Arc::clone(dir), name: name.to_owned() });
                Claim::Leave
            }
            State::Made(made) => Claim::LinkTo(made.clone()),
        };
        if file.names_left == 0 && matches!(file.state, State::Made(_)) {
            files.remove(&stat.inode());
        }
        claim
    }

    /// The file of `stat` is complete under `name`: the names that waited for it.
    pub(super) fn made(&self, stat: &Stat, dir: &Arc<Dir>, name: &CStr) -> Vec<Named> {
        let made = State::Made(Named { dir: Arc::clone(dir), name: name.to_owned() });
        self.settle(stat, Some(made))
    }

    /// The file of `stat` could not be made: the names that waited for it; the next name tries again.
    pub(super) fn lost(&self, stat: &Stat) -> Vec<Named> {
        self.settle(stat, None)
    }

    fn settle(&self, stat: &Stat, next: Option<State>) -> Vec<Named> {
        let mut files = self.lock();
        let Some(file) = files.get_mut(&stat.inode()) else { return Vec::new() };
        let last = file.names_left == 0;
        let before = match next {
            Some(next) if !last => std::mem::replace(&mut file.state, next),
            _ => match files.remove(&stat.inode()) {
                Some(file) => file.state,
                None => return Vec::new(),
            },
        };
        match before {
            State::Making(waiting) => waiting,
            State::Made(_) => Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Inode, File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
