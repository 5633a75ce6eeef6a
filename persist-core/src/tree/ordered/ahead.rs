//! Looking at entries before they are asked for: jobs in path order, and what came of them.

use crate::{
    error::{Error, ErrorKind, Result},
    linux::cause::cause,
    progress::Meter,
    tree::{
        beneath::Root,
        entry::TreePath,
        losses::{Loss, Losses},
        names::Names,
        stat::{Handle, MountRoot, Stat},
        walk::{MOUNTED, Unreadable, WalkOptions, lost},
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    ffi::{CStr, CString},
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// What was asked for, and can be taken when it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ticket(u64);

/// One entry that was looked at.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) name: CString,
    pub(super) stat: Stat,
    /// The listing of a directory that is entered.
    pub(super) list: Option<Ticket>,
}

/// What a directory holds.
#[derive(Debug)]
pub(super) enum Listed {
    /// Its entries, in parts.
    Parts { parts: Vec<Ticket>, names: usize },
    /// It went away, may not be listed, or is another filesystem's.
    Lost(Losses),
}

/// Jobs, results, and who works on them.
pub(super) struct Ahead {
    root: Root,
    options: WalkOptions,
    meter: Meter,
    state: Mutex<State>,
    /// There may be something to do, or it is over.
    work: Condvar,
    /// There may be a result, or an error.
    done: Condvar,
}

#[derive(Default)]
struct State {
    jobs: BTreeMap<(TreePath, Stage), Job>,
    answers: HashMap<Ticket, Answer>,
    tickets: u64,
    /// Entries that were looked at, and listings, that nobody has taken.
    untaken: usize,
    /// Names of directories that are listed and not left.
    names: usize,
    error: Option<Error>,
    stage: Running,
}

#[derive(Default, PartialEq)]
enum Running {
    #[default]
    On,
    Over,
}

/// An entry is needed before what is in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Look,
    List,
}

struct Job {
    ticket: Ticket,
    what: What,
}

enum What {
    List(TreePath),
    Look { dir: TreePath, names: Arc<Names>, range: Range<usize> },
}

enum Answer {
    Listed(Listed),
    Looked(Vec<Looked>, Losses),
}

/// Names that one job looks at: enough that the switch and the opening of the directory cost little beside it.
const PART: usize = 256;

/// Entries that are looked at ahead of the visits: some 15 MB, and a tenth of a second of statx(2).
const AHEAD_MAX: usize = 1 << 16;

/// Names that are listed ahead of the visits: some 40 MB at 20 bytes a name.
const NAMES_MAX: usize = 1 << 20;

impl Ahead {
    pub(super) fn new(root: Root, options: WalkOptions, meter: Meter) -> Self {
        let (work, done) = (Condvar::new(), Condvar::new());
        Self { root, options, meter, state: Mutex::default(), work, done }
    }

    /// Ends the work when it is dropped.
    pub(super) fn ends(&self) -> impl Drop + '_ {
        Ends(self)
    }

    /// A worker's life.
    pub(super) fn work(&self) {
        let mut state = self.lock();
        loop {
            if state.stage == Running::Over {
                return;
            }
            if let Some(job) = state.next_ahead() {
                drop(state);
                self.run(job);
                state = self.lock();
            } else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Asks for the listing of the root.
    pub(super) fn list_root(&self) -> Ticket {
        let ticket = self.lock().list(TreePath::root());
        self.work.notify_one();
        ticket
    }

    /// Waits for a listing.
    pub(super) fn listed(&self, ticket: Ticket) -> Result<Listed> {
        match self.take(ticket, 1)? {
            Answer::Listed(listed) => Ok(listed),
            Answer::Looked(..) => Err(Error::internal("a listing was asked for, and entries came")),
        }
    }

    /// Waits for the entries of a part.
    pub(super) fn looked(&self, ticket: Ticket) -> Result<(Vec<Looked>, Losses)> {
        match self.take(ticket, 0)? {
            Answer::Looked(entries, losses) => {
                self.meter.add(u64::try_from(entries.len()).unwrap_or(u64::MAX), 0);
                self.freed(entries.len(), 0);
                Ok((entries, losses))
            }
            Answer::Listed(_) => Err(Error::internal("entries were asked for, and a listing came")),
        }
    }

    /// Says that a directory of so many names was visited to its end.
    pub(super) fn left(&self, names: usize) {
        self.freed(0, names);
    }

    /// The answer, which this thread works for as long as it is not there.
    fn take(&self, ticket: Ticket, weight: usize) -> Result<Answer> {
        let mut state = self.lock();
        loop {
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            if let Some(answer) = state.answers.remove(&ticket) {
                drop(state);
                self.freed(weight, 0);
                return Ok(answer);
            }
            state = match state.jobs.pop_first() {
                Some((_, job)) => {
                    drop(state);
                    self.run(job);
                    self.lock()
                }
                None => self.done.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn freed(&self, untaken: usize, names: usize) {
        let mut state = self.lock();
        state.untaken = state.untaken.saturating_sub(untaken);
        state.names = state.names.saturating_sub(names);
        drop(state);
        self.work.notify_all();
    }

    fn run(&self, job: Job) {
        let done = self.meter.check().and_then(|()| match job.what {
            What::List(path) => self.list(job.ticket, path),
            What::Look { dir, names, range } => self.look_again(job.ticket, &dir, &names, range),
        });
        if let Err(error) = done {
            self.lock().error.get_or_insert(error);
        }
        self.done.notify_all();
    }

    fn list(&self, ticket: Ticket, path: TreePath) -> Result<()> {
        let dir = match self.root.directory(&path) {
            Ok(dir) => dir,
            Err(error) => return self.not_listed(ticket, &path, error),
        };
        let names = Names::read(&dir).map_err(|e| cause(e, "list", self.root.place(&path)))?;
        let count = names.len();
        let names = Arc::new(names);
        let first = 0..count.min(PART);
        let seen = self.look(dir.as_fd(), &path, &names, first.clone())?;
        let mut state = self.lock();
        let mut parts = vec![state.answer_looked(None, &path, seen)?];
        for start in (first.end..count).step_by(PART) {
            let range = start..count.min(start + PART);
            parts.push(state.look_later(&path, &names, range)?);
        }
        state.names += count;
        state.untaken += 1;
        state.answers.insert(ticket, Answer::Listed(Listed::Parts { parts, names: count }));
        drop(state);
        self.work.notify_all();
        Ok(())
    }

    fn look_again(&self, ticket: Ticket, dir: &TreePath, names: &Names, range: Range<usize>) -> Result<()> {
        let seen = match self.root.directory(dir) {
            Ok(fd) => self.look(fd.as_fd(), dir, names, range)?,
            Err(error) => (Vec::new(), self.unlisted(dir, error)?),
        };
        self.lock().answer_looked(Some(ticket), dir, seen)?;
        self.work.notify_all();
        Ok(())
    }

    fn look(&self, fd: BorrowedFd<'_>, dir: &TreePath, names: &Names, range: Range<usize>) -> Result<Seen> {
        let (mut seen, mut losses) = (Vec::with_capacity(range.len()), Losses::default());
        for name in range.filter_map(|index| names.get(index)) {
            self.meter.check()?;
            match Stat::of(Handle::Name { dir: fd, name }) {
                Ok(stat) => seen.push((name.to_owned(), stat)),
                Err(error) => {
                    let path = || dir.join(name.to_bytes()).unwrap_or_default();
                    lost(error, self.options.unreadable, &mut losses, path)?;
                }
            }
        }
        Ok((seen, losses))
    }

    fn not_listed(&self, ticket: Ticket, path: &TreePath, error: Error) -> Result<()> {
        let losses = self.unlisted(path, error)?;
        let mut state = self.lock();
        state.untaken += 1;
        state.answers.insert(ticket, Answer::Listed(Listed::Lost(losses)));
        Ok(())
    }

    /// What a directory that cannot be opened means.
    fn unlisted(&self, path: &TreePath, error: Error) -> Result<Losses> {
        let mut losses = Losses::default();
        // It is another mount (statx(2) did not say so, before Linux 5.8), or became something else.
        let elsewhere =
            || self.root.stat(path).is_ok_and(|stat| stat.is_directory() && self.is_mounted(&stat));
        let loss = match error.kind() {
            ErrorKind::NotFound | ErrorKind::Invalid => Loss::Vanished,
            ErrorKind::Denied if elsewhere() => Loss::MountPoint,
            ErrorKind::Denied if self.options.unreadable == Unreadable::Report => Loss::Unreadable,
            _ => return Err(error),
        };
        let why = if loss == Loss::MountPoint { MOUNTED.to_owned() } else { error.to_string() };
        losses.add(loss, || path.clone(), why);
        Ok(losses)
    }

    fn is_mounted(&self, stat: &Stat) -> bool {
        let root = Stat::of(Handle::Open(self.root.as_fd()));
        root.is_ok_and(|root| root.mount != stat.mount || root.dev != stat.dev)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What may be done ahead of the visits: what is needed first.
    fn next_ahead(&mut self) -> Option<Job> {
        let ((_, stage), _) = self.jobs.first_key_value()?;
        let room = self.untaken < AHEAD_MAX && (*stage == Stage::Look || self.names < NAMES_MAX);
        if !room || self.error.is_some() {
            return None;
        }
        self.jobs.pop_first().map(|(_, job)| job)
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn list(&mut self, path: TreePath) -> Ticket {
        let ticket = self.ticket();
        let what = What::List(path.clone());
        self.jobs.insert((path, Stage::List), Job { ticket, what });
        ticket
    }

    fn look_later(&mut self, dir: &TreePath, names: &Arc<Names>, range: Range<usize>) -> Result<Ticket> {
        let ticket = self.ticket();
        let first = names.get(range.start).map_or(&b""[..], CStr::to_bytes);
        let what = What::Look { dir: dir.clone(), names: Arc::clone(names), range };
        self.jobs.insert((dir.join(first)?, Stage::Look), Job { ticket, what });
        Ok(ticket)
    }

    fn answer_looked(&mut self, ticket: Option<Ticket>, dir: &TreePath, seen: Seen) -> Result<Ticket> {
        let (seen, losses) = seen;
        let ticket = ticket.unwrap_or_else(|| self.ticket());
        self.untaken += seen.len();
        let mut looked = Vec::with_capacity(seen.len());
        for (name, stat) in seen {
            let enters = stat.is_directory() && stat.mount_root == MountRoot::No;
            let list = if enters { Some(self.list(dir.join(name.to_bytes())?)) } else { None };
            looked.push(Looked { name, stat, list });
        }
        self.answers.insert(ticket, Answer::Looked(looked, losses));
        Ok(ticket)
    }
}

/// What a part of a directory holds, before its directories are to be listed.
type Seen = (Vec<(CString, Stat)>, Losses);

struct Ends<'a>(&'a Ahead);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.lock().stage = Running::Over;
        self.0.work.notify_all();
    }
}
