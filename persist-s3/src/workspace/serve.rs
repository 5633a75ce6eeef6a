//! A workspace that this process serves: its records, and how they change.

use super::{
    Opened, Workspaces, layout, make_directories,
    record::{DRAFT, Finished, Of, RowWriter, Rows},
    state::{Shown, State},
    threads::blocking,
};
use crate::head::{
    record::{CommitName, Head, SessionId},
    recovery::{Recovery, Tree},
};
use persist_core::{
    AttachmentId, Epoch, Error, ErrorKind, Result, VolumeId, VolumeName,
    directory::{
        HeldTree,
        durable::Claimed,
        exclusion::{Exclusion, Hold},
        records::{self, Numbered},
    },
    linux::cause::cause,
    progress::CallOptions,
    tree::TreeTotals,
};
use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// A workspace that this process serves; others are refused it until this is dropped.
#[derive(Debug, Clone)]
pub struct Workspace(Arc<Served>);

#[derive(Debug)]
pub(super) struct Served {
    pub(super) spaces: Workspaces,
    pub(super) volume: VolumeId,
    pub(super) near: VolumeName,
    pub(super) place: layout::Place,
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

impl Workspaces {
    /// Serves the workspace of `volume`, which need not be there yet.
    ///
    /// # Errors
    /// `InUse` while another process serves it, with its number; `Corrupt` for records that cannot be read,
    /// which are left as they are: the tree may hold work.
    pub async fn serve(&self, volume: &VolumeId) -> Result<Workspace> {
        let (spaces, volume) = (self.clone(), volume.clone());
        let served = blocking(move |_| serve(spaces, volume)).await?;
        let workspace = Workspace(Arc::new(served));
        workspace.sweep_cuts().await?;
        Ok(workspace)
    }
}

impl Workspace {
    /// The volume.
    pub fn volume(&self) -> &VolumeId {
        &self.0.volume
    }

    /// What its tree is called in the near store.
    pub fn near_name(&self) -> &VolumeName {
        &self.0.near
    }

    /// What the workspace remembers.
    pub fn state(&self) -> State {
        self.0.lock().state.clone()
    }

    pub(super) fn served(&self) -> &Arc<Served> {
        &self.0
    }

    /// Says what is done with the tree now that `head` was taken, once a commit that was offered to it is known to
    /// be accepted or not.
    ///
    /// # Idempotence
    /// A repeat after a kill comes to the same.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn settle(&self, head: &Head) -> Result<Recovery> {
        let decided = self.state().recovery(head);
        let commit = head.commit.clone();
        self.change(move |served, state| {
            let settled = state.resolved(commit.as_ref());
            if let Some(base) = settled.base.as_ref().filter(|base| Some(*base) == commit.as_ref()) {
                served.promote(base)?;
            }
            served.drop_offers(None)?;
            Ok(settled)
        })
        .await?;
        Ok(decided)
    }

    /// Records that the head has `commit`, whose tree is that of the commit `before` it. A base that is another stays.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn follow(&self, before: CommitName, commit: CommitName) -> Result<()> {
        self.change(move |served, state| {
            if state.may_be(&before) {
                served.promote(&before)?;
            }
            let of = |base: &CommitName| Of { volume: served.volume.clone(), base: Some(base.clone()) };
            // Without it every file is read once more.
            if let Some(rows) = Rows::open(&served.place.stat(), &of(&before))? {
                RowWriter::copied(served.place.root(), of(&commit), rows)?.name(&served.place.stat())?;
            }
            Ok(state.following(&before, commit))
        })
        .await
    }

    /// Records, durably, that `session` is about to ask for the head, of which `held` has the lease: whoever serves this workspace after a kill
    /// knows that a lease of it is nobody else's.
    ///
    /// # Errors
    /// As the filesystem reports them: then the head is not asked for.
    pub async fn asking(&self, session: SessionId, held: Option<SessionId>) -> Result<()> {
        self.change(move |_, state| Ok(state.asking(session, held))).await
    }

    /// Records, durably, that the tree may differ from its base from now on: before the first write under `epoch`
    /// is allowed.
    ///
    /// # Errors
    /// `Internal` for a tree that is not whole; as the filesystem reports them: then no write is allowed.
    pub async fn allow_writes(&self, epoch: Epoch) -> Result<()> {
        self.change(move |served, state| state.writable(epoch, served.now())).await
    }

    /// Records that `commit`, a commit of this tree that `record` describes, is about to be offered to the head.
    ///
    /// # Errors
    /// As the filesystem reports them: then it is not offered.
    pub async fn offer(&self, commit: CommitName, record: Finished, totals: TreeTotals) -> Result<()> {
        self.change(move |served, mut state| {
            let of = Of { volume: served.volume.clone(), base: Some(commit.clone()) };
            record.of(of).name(&served.place.next(&commit))?;
            (state.offered, state.totals) = (Some(commit), totals);
            Ok(state)
        })
        .await
    }

    /// Records that the head has the commit that was offered, and whether the tree may differ from it already.
    ///
    /// # Errors
    /// `Internal` if nothing was offered; as the filesystem reports them: a repeat, or
    /// [`settle`](Self::settle), comes to the same.
    pub async fn accepted(&self, tree: Tree) -> Result<()> {
        self.change(move |served, state| {
            let Some(offered) = state.offered.clone() else {
                return Err(Error::internal("a commit was accepted that was not offered"));
            };
            served.promote(&offered)?;
            let mut accepted = state.resolved(Some(&offered));
            (accepted.tree, accepted.used) = (tree, served.now());
            Ok(accepted)
        })
        .await
    }

    /// Records that the tree is its base and nobody may write to it any more: it was compared after the last commit.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn clean(&self) -> Result<()> {
        self.change(|served, mut state| {
            (state.tree, state.used) = (Tree::Clean, served.now());
            Ok(state)
        })
        .await
    }

    /// Records that the work in the tree is kept as a salvage, and that nobody is shown the tree any more: from now on
    /// it may be replaced.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn salvaged(&self) -> Result<()> {
        self.change(|served, state| {
            served.drop_offers(None)?;
            Ok(state.salvaged())
        })
        .await
    }

    /// The stat record of the base; `None` if it was lost or is of another one.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn rows(&self) -> Result<Option<Rows>> {
        let served = Arc::clone(&self.0);
        blocking(move |_| Rows::open(&served.place.stat(), &served.of())).await
    }

    /// Which tree the stat record is of.
    pub fn of(&self) -> Of {
        self.0.of()
    }

    /// Where records of this workspace are drafted: a directory on the filesystem of its tree.
    pub fn drafts(&self) -> &Path {
        self.0.place.root()
    }

    /// The tree, which stays while it is held.
    ///
    /// # Errors
    /// `NotFound` before the first hydration.
    pub async fn live(&self, call: &CallOptions) -> Result<HeldTree> {
        self.0.spaces.near().hold_tree(&self.0.near, call).await
    }

    /// Records what shows an attachment on this node; replaces what was recorded of it.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn show(&self, shown: Shown) -> Result<()> {
        let served = Arc::clone(&self.0);
        blocking(move |_| {
            let mut bytes = serde_json::to_vec_pretty(&shown)
                .map_err(|e| Error::internal("a record cannot be written as JSON").with_source(e))?;
            bytes.push(b'\n');
            served.spaces.0.durable.replace(&served.place.attachment(&shown.record.id), &bytes)
        })
        .await
    }

    /// Forgets an attachment; one that is not there is forgotten.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn forget(&self, attachment: &AttachmentId) -> Result<()> {
        let (served, id) = (Arc::clone(&self.0), attachment.clone());
        blocking(move |_| served.spaces.0.durable.remove(&served.place.attachment(&id))).await
    }

    /// What is recorded to show attachments on this node, in the order of their ids.
    ///
    /// # Errors
    /// `Corrupt` for a record that cannot be read; as the filesystem reports them.
    pub async fn shown(&self) -> Result<Vec<Shown>> {
        let served = Arc::clone(&self.0);
        blocking(move |_| read_shown(&served.place.attachments())).await
    }

    /// Changes the state, durably.
    pub(super) async fn change(
        &self,
        change: impl FnOnce(&Served, State) -> Result<State> + Send + 'static,
    ) -> Result<()> {
        let served = Arc::clone(&self.0);
        blocking(move |_| served.change(change)).await
    }
}

impl Served {
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

    fn change(&self, change: impl FnOnce(&Self, State) -> Result<State>) -> Result<()> {
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
    fn promote(&self, commit: &CommitName) -> Result<()> {
        let next = self.place.next(commit);
        match fs::rename(&next, self.place.stat()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(cause(e, "rename", next.display())),
            Ok(()) => self.opened().durable.directory(self.place.root()),
        }
    }

    /// Removes drafts, and the stat records of commits that are offered no more.
    fn drop_offers(&self, offered: Option<&CommitName>) -> Result<()> {
        sweep(&self.place, offered)
    }
}

fn serve(spaces: Workspaces, volume: VolumeId) -> Result<Served> {
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

pub(super) fn read_shown(directory: &Path) -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    for entry in fs::read_dir(directory).map_err(|e| cause(e, "list", directory.display()))? {
        let path = entry.map_err(|e| cause(e, "list", directory.display()))?.path();
        let named = path.file_name().and_then(|name| name.to_str()).and_then(AttachmentId::parse);
        if named.is_none() {
            continue; // A draft.
        }
        let bytes = fs::read(&path).map_err(|e| cause(e, "read", path.display()))?;
        let read: Shown = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "the record of an attachment is not what was written")
                .during("read", path.display())
                .with_source(e)
        })?;
        shown.push(read);
    }
    shown.sort_unstable_by(|a, b| a.record.id.cmp(&b.record.id));
    Ok(shown)
}
