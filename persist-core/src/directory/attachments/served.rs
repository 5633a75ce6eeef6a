//! What this opened store serves: its sessions, each with the flock that says so to other processes.

use super::{
    beats::{Beat, Pulse},
    stored::StoredAttachment,
};
use crate::{
    attachment::{AttachReport, Attachment},
    capability::Consistency,
    clock::Timestamp,
    directory::{
        engine::Engine,
        exclusion::{Exclusion, Hold},
        layout::VolumeLayout,
    },
    error::{Error, ErrorKind, HolderSeen, Result, Retry},
    id::{AttachmentId, Epoch, Generation},
    lease::{LeaseSignal, LeaseState},
    linux::cause::cause,
    progress::Meter,
    quiesce::{Quiesce, SyncReport},
    wait::{Pauses, until},
};
use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// What this opened store serves.
#[derive(Debug, Default)]
pub(crate) struct Served {
    sessions: Mutex<HashMap<AttachmentId, Arc<Session>>>,
    /// Told when an attachment of this store ends: whoever waits for a volume looks again.
    pub(super) departed: Notify,
    pub(super) renewal: super::renew::Renewal,
}

/// An attachment that this opened store serves.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: AttachmentId,
    pub(super) layout: VolumeLayout,
    pub(super) signal: LeaseSignal,
    /// A detach of ours removes the record just now: it may be gone, and nobody has taken the volume.
    pub(super) leaving: AtomicBool,
    /// Held for as long as the session lives; signs of life are written into its file.
    pub(super) held: Exclusion,
    /// Tells the signs of life of this session from those of another one for the same attachment.
    pub(super) serving: Generation,
    pulse: Mutex<Pulse>,
    state: Mutex<State>,
}

/// What of a session changes.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) stored: StoredAttachment,
    pub(super) path: PathBuf,
    pub(super) report: AttachReport,
    pub(super) cuts: Cuts,
    pub(super) synced: Instant,
    /// When a flush failed that nobody had asked for: whoever asks for the next one is told.
    pub(super) unheard: Option<Timestamp>,
    /// When it was last looked at whether it is still ours.
    pub(super) looked: Instant,
}

impl State {
    /// Synced and looked at just now.
    pub(super) fn new(stored: StoredAttachment, path: PathBuf, report: AttachReport, cuts: Cuts) -> Self {
        let now = Instant::now();
        Self { stored, path, report, cuts, synced: now, unheard: None, looked: now }
    }
}

/// How the cuts are made that the store makes by itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Cuts {
    pub(super) quiesce: Option<Arc<dyn Quiesce>>,
    pub(super) consistency: Consistency,
}

/// Whether an attachment is ours to serve.
#[derive(Debug)]
pub(super) enum Serving {
    Ours(Exclusion),
    /// Another opened store has it, in this process or in another.
    Another(Option<u32>),
}

impl Served {
    /// Gives every attachment free to be adopted by another process. They stay attached.
    pub(crate) fn release(&self) {
        self.lock().clear();
    }

    pub(super) fn get(&self, id: &AttachmentId) -> Option<Arc<Session>> {
        self.lock().get(id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().values().cloned().collect()
    }

    /// Serves `session` from now on. The tasks that look after it are told: its call may be dropped before its end, or refused.
    pub(super) fn insert(&self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        self.lock().insert(session.id.clone(), Arc::clone(&session));
        self.renewal.wake();
        session
    }

    pub(super) fn remove(&self, id: &AttachmentId) -> Option<Arc<Session>> {
        let session = self.lock().remove(id);
        self.departed.notify_waiters();
        session
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AttachmentId, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    pub(super) fn new(layout: VolumeLayout, held: Exclusion, serving: Generation, state: State) -> Self {
        let id = state.stored.record.id.clone();
        let (signal, leaving) = (LeaseSignal::held(), AtomicBool::new(false));
        let (pulse, state) = (Mutex::default(), Mutex::new(state));
        Self { id, layout, signal, leaving, held, serving, pulse, state }
    }

    /// The report of a sync that somebody asked for.
    ///
    /// # Errors
    /// Once, `Unavailable` with `Verify` if a flush has failed that nobody had asked for: the kernel forgets what it
    /// could not write, and the next flush knows nothing of it (syncfs(2)).
    pub(super) fn told(&self, report: SyncReport) -> Result<SyncReport> {
        let Some(since) = self.state().unheard.take() else { return Ok(report) };
        Err(Error::new(
            ErrorKind::Unavailable,
            "a sync that the store made by itself has failed since the last one",
        )
        .with_retry(Retry::Verify)
        .during("sync", &self.id)
        .context("at", since)
        .advise("read the kernel log, check what was written before, then sync again"))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.state().stored.record.epoch
    }

    /// The handle of a caller, with the report of the call that it made.
    pub(super) fn handle(&self, engine: &Arc<Engine>, report: AttachReport) -> Attachment {
        let state = self.state();
        let keep = Arc::clone(engine);
        Attachment::new(state.stored.record.clone(), state.path.clone(), report, self.signal.watch(), keep)
    }

    /// Whether it goes, or has gone, by our own hand.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(SeqCst) || self.signal.watch().state() == LeaseState::Released
    }

    /// Ends the session for good: another epoch writes.
    pub(super) fn fence(&self, by: Epoch) {
        self.signal.set(LeaseState::Fenced { by, salvage: None });
    }
}

/// For how long it is waited for who has an attachment's file for a moment: to see whether anybody serves it.
const LOOKED_AT: Pauses = Pauses::SHORT.within(Duration::from_millis(200));

/// Takes the right to serve the attachment `id`, if nobody has it. The caller holds the volume's exclusion.
///
/// # Errors
/// As the filesystem reports them; `Unavailable` once stopped.
pub(super) fn serve(layout: &VolumeLayout, id: &AttachmentId, meter: &Meter) -> Result<Serving> {
    let path = layout.served(id);
    let Some(held) = until(LOOKED_AT, meter, || Exclusion::attempt(&path, Hold::Alone))? else {
        return Ok(Serving::Another(pid_in(&path)));
    };
    let named = |e| cause(e, "write", path.display());
    let mut file = held.file();
    // A new one is empty: nothing is asked of the server for it.
    if file.metadata().map_err(named)?.len() > 0 {
        file.set_len(0).map_err(named)?;
    }
    file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(named)?;
    Ok(Serving::Ours(held))
}

/// The refusal of what another process serves.
pub(super) fn served_by_another(stored: &StoredAttachment, pid: Option<u32>) -> Error {
    let seen = HolderSeen::of(&stored.record);
    let seen = pid.map_or(seen.clone(), |pid| seen.with_pid(pid));
    Error::in_use("another process, or another opened store of this one, serves the attachment", vec![seen])
        .advise("let it detach or close, or vouch that it is dead")
}

/// What a refused caller is told of a holder: with the process that serves it, if one does.
pub(super) fn seen(layout: &VolumeLayout, stored: &StoredAttachment) -> HolderSeen {
    let path = layout.served(&stored.record.id);
    let holder = HolderSeen::of(&stored.record);
    let beat = fs::read(&path).ok().and_then(|bytes| Beat::parse(&bytes));
    let holder = beat.map_or(holder.clone(), |beat| holder.with_renewed(beat.at));
    match Exclusion::attempt_existing(&path, Hold::Shared) {
        Ok(None) => pid_in(&path).map_or(holder.clone(), |pid| holder.with_pid(pid)),
        _ => holder,
    }
}

/// Forgets who served `id`; its flock, if somebody has it, ends with that process.
pub(super) fn forget(layout: &VolumeLayout, id: &AttachmentId) -> Result<()> {
    let path = layout.served(id);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(e, "unlink", path.display())),
        _ => Ok(()),
    }
}

fn pid_in(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}
