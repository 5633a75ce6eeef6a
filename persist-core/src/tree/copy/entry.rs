//! One entry that is not a directory: made once, linked for its other names.

use super::{
    CloneMode,
    content::{How, Trouble},
    copier::{Copier, Spot, Worker},
    links::{Claim, Named},
};
use crate::{
    error::{Error, ErrorKind, Result},
    linux::raw,
    tree::{
        entry::Metadata,
        losses::Loss,
        metadata::{FlagsWhen, MetadataWriter, Target, read_metadata},
        node::{In, Side},
        stat::{Handle, Kind, Stat, link_target},
        trust::Trust,
        walk::{MOUNTED, lost},
    },
};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ftruncate, linkat, mknodat, openat, symlinkat},
    io::Errno,
};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// How often a file that changes is read: often enough for one that is written now and then, and a file
/// that is written all the time ends.
const READS_MAX: u32 = 3;

/// Whether an entry may become a link to another name of its inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Linking {
    Allowed,
    /// A link was refused: this name becomes a file of its own.
    Refused,
}

impl Copier<'_> {
    /// Copies the entry at `at`, of which the listing said `kind`; a directory is only recognised.
    pub(super) fn entry(
        &self,
        at: &Spot<'_>,
        kind: Option<Kind>,
        worker: &mut Worker,
    ) -> Result<Option<Kind>> {
        self.entry_as(at, kind, Linking::Allowed, worker)
    }

    fn entry_as(
        &self,
        at: &Spot<'_>,
        listed: Option<Kind>,
        linking: Linking,
        worker: &mut Worker,
    ) -> Result<Option<Kind>> {
        let mut kind = listed;
        // What was something else when it was listed is looked at once more.
        for _ in 0..2 {
            let done = match kind {
                Some(Kind::Directory) => return Ok(kind),
                Some(Kind::File) => self.file(at, linking, worker),
                _ => self.other(at, linking, worker),
            };
            match done {
                Ok(Met::Done) => return Ok(kind),
                Ok(Met::Is(other)) => kind = Some(other),
                Err(Stop::Lost(error)) => {
                    let losses = &mut worker.report.losses;
                    return lost(error, self.options.unreadable, losses, || at.dir.path(Some(at.name)))
                        .map(|()| None);
                }
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
        let path = || at.dir.path(Some(at.name));
        worker.report.losses.add(Loss::Vanished, path, "it became something else each time");
        Ok(None)
    }

    fn file(&self, at: &Spot<'_>, linking: Linking, worker: &mut Worker) -> Result<Met, Stop> {
        let source = match self.open_file(at) {
            Ok(source) => source,
            // A link, or a socket: not the file that was listed.
            Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Ok(Met::Is(self.stat(at)?.kind)),
            Err(error) => return Err(Stop::Lost(error)),
        };
        let stat = Stat::of(Handle::Open(source.as_fd())).map_err(Stop::Lost)?;
        if stat.kind != Kind::File {
            return Ok(Met::Is(stat.kind));
        }
        if self.is_mounted_over(&stat) {
            worker.report.losses.add(Loss::MountPoint, || at.dir.path(Some(at.name)), MOUNTED);
            return Ok(Met::Done);
        }
        self.once(at, &stat, linking, worker, |worker| self.make_file(at, &source, stat, worker))
    }

    fn open_file(&self, at: &Spot<'_>) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if self.noatime.load(Relaxed) {
            match openat(at.source, at.name, flags | OFlags::NOATIME, Mode::empty()) {
                // Only the owner may (open(2)).
                Err(Errno::PERM) => self.noatime.store(false, Relaxed),
                result => return result,
            }
        }
        openat(at.source, at.name, flags, Mode::empty())
    }

    fn stat(&self, at: &Spot<'_>) -> Result<Stat, Stop> {
        Stat::of(Handle::Name { dir: at.source, name: at.name }).map_err(Stop::Lost)
    }

    /// Makes what `stat` describes by `make`, unless another name of it is made: then this one is linked.
    fn once(
        &self,
        at: &Spot<'_>,
        stat: &Stat,
        linking: Linking,
        worker: &mut Worker,
        make: impl FnOnce(&mut Worker) -> Result<Made, Stop>,
    ) -> Result<Met, Stop> {
        if !stat.has_other_names() || linking == Linking::Refused {
            return make(worker).map(|_| Met::Done);
        }
        // Who makes the file may link this name, and end it, before `claim` returns.
        at.dir.begin();
        match self.links.claim(stat, at.dir, at.name) {
            Claim::Leave => Ok(Met::Done),
            Claim::LinkTo(made) => {
                self.link(&made, at, worker)?;
                Ok(self.end(at.dir, worker).map(|()| Met::Done)?)
            }
            Claim::Make => {
                let made = make(worker);
                let waiting = match made {
                    Ok(Made::Yes) => self.links.made(stat, at.dir, at.name),
                    _ => self.links.lost(stat),
                };
                self.link_waiting(at, made.as_ref().is_ok_and(|m| *m == Made::Yes), waiting, worker)?;
                self.end(at.dir, worker)?;
                made.map(|_| Met::Done)
            }
        }
    }

    fn link_waiting(
        &self,
        made: &Spot<'_>,
        there: bool,
        waiting: Vec<Named>,
        worker: &mut Worker,
    ) -> Result<()> {
        for Named { dir, name } in waiting {
            let open = |side| self.descent.open(&dir, side);
            let source = open(Side::Source).map_err(|e| self.read_error(e, &dir, Some(&name)))?;
            let target = open(Side::Target).map_err(|e| self.write_error(e, &dir, Some(&name)))?;
            let at = Spot { dir: &dir, name: &name, source: source.as_fd(), target: target.as_fd() };
            if there {
                let first = Named { dir: Arc::clone(made.dir), name: made.name.to_owned() };
                self.link(&first, &at, worker)?;
            } else {
                self.entry(&at, None, worker)?;
            }
            self.end(&dir, worker)?;
        }
        Ok(())
    }

    /// Makes `at` a further name of the file `made`; a file of its own where that is refused.
    fn link(&self, made: &Named, at: &Spot<'_>, worker: &mut Worker) -> Result<()> {
        let linked = self
            .descent
            .open(&made.dir, Side::Target)
            .and_then(|dir| linkat(dir.as_fd(), &*made.name, at.target, at.name, AtFlags::empty()));
        match linked {
            Ok(()) => {
                worker.report.linked += 1;
                worker.report.totals.files += 1;
                self.meter.add(1, 0);
                Ok(())
            }
            Err(Errno::EXIST) => self.listed_twice(at.dir, at.name),
            Err(
                error @ (Errno::MLINK
                | Errno::PERM
                | Errno::ACCESS
                | Errno::OPNOTSUPP
                | Errno::XDEV
                | Errno::NOSYS),
            ) => {
                let why = std::io::Error::from(error);
                worker.report.losses.add(Loss::HardLink, || at.dir.path(Some(at.name)), why);
                self.entry_as(at, None, Linking::Refused, worker).map(drop)
            }
            Err(error) => Err(self.write_error(error, at.dir, Some(at.name))),
        }
    }

    fn make_file(
        &self,
        at: &Spot<'_>,
        source: &OwnedFd,
        stat: Stat,
        worker: &mut Worker,
    ) -> Result<Made, Stop> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = |error| Stop::Failed(self.write_error(error, at.dir, Some(at.name)));
        let target = match openat(at.target, at.name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(target) => target,
            Err(Errno::EXIST) => {
                self.listed_twice(at.dir, at.name)?;
                return Ok(Made::Yes);
            }
            Err(error) => return Err(written(error)),
        };
        let (how, stat, metadata) = self.bring(at, source.as_fd(), target.as_fd(), stat, worker)?;
        let present = self.present(Handle::Open(target.as_fd())).map_err(written)?;
        let handle = Handle::Open(target.as_fd());
        let wanted = Target { handle, kind: Kind::File, present, path: &In(at.dir, at.name) };
        let when = if stat.has_other_names() { FlagsWhen::Later } else { FlagsWhen::Now };
        MetadataWriter::new(self.options.trust, &mut worker.report.losses).write(wanted, &metadata, when)?;
        raw::close(target).map_err(|e| written(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        if when == FlagsWhen::Later {
            self.set_flags_later(at.dir, at.name, metadata);
        }
        worker.report.count_file(how, stat.size);
        self.meter.add(1, 0);
        Ok(Made::Yes)
    }

    /// Brings content and metadata of one moment, as far as that can be had.
    fn bring(
        &self,
        at: &Spot<'_>,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        mut stat: Stat,
        worker: &mut Worker,
    ) -> Result<(How, Stat, Metadata), Stop> {
        let written = |error| Stop::Failed(self.write_error(error, at.dir, Some(at.name)));
        let unread = |error| Stop::Failed(self.read_error(error, at.dir, Some(at.name)));
        for reads in 1.. {
            let metadata = read_metadata(Handle::Open(source), &stat).map_err(unread)?;
            #[cfg(test)]
            super::tests::between_stat_and_reading();
            let how = match self.ways.bring(source, &stat, target, &mut worker.buffer, self.meter) {
                Ok(how) => Some(how),
                Err(Trouble::Shrunk) => None,
                Err(Trouble::Read(error)) => return Err(unread(error)),
                Err(Trouble::Write(error)) => return Err(written(error)),
                Err(Trouble::CannotClone(error)) => return Err(Stop::Failed(self.cannot_clone(at, error))),
                Err(Trouble::Stopped(error)) => return Err(Stop::Failed(error)),
            };
            let after = Stat::of(Handle::Open(source)).map_err(unread)?;
            if how.is_some() && !stat.differs(&after) {
                return Ok((how.unwrap_or(How::Copied), stat, metadata));
            }
            if reads >= READS_MAX {
                let why = "it was written meanwhile";
                worker.report.losses.add(Loss::Changed, || at.dir.path(Some(at.name)), why);
                if after.size < stat.size {
                    // What is missing at the end was taken for a hole.
                    ftruncate(target, after.size).map_err(written)?;
                }
                return Ok((how.unwrap_or(How::Copied), stat, metadata));
            }
            ftruncate(target, 0).map_err(written)?;
            stat = after;
        }
        Err(written(Errno::IO))
    }

    fn cannot_clone(&self, at: &Spot<'_>, error: Errno) -> Error {
        debug_assert_eq!(self.options.clone, CloneMode::Require);
        Error::new(ErrorKind::Unsupported, "the bytes cannot be shared with the origin")
            .with_source(std::io::Error::from(error))
            .during("copy", at.dir.path(Some(at.name)))
            .advise("copy within one filesystem that has reflinks, or allow the bytes to be copied")
    }

    fn other(&self, at: &Spot<'_>, linking: Linking, worker: &mut Worker) -> Result<Met, Stop> {
        let stat = self.stat(at)?;
        if matches!(stat.kind, Kind::Directory | Kind::File) {
            return Ok(Met::Is(stat.kind));
        }
        if self.is_mounted_over(&stat) {
            worker.report.losses.add(Loss::MountPoint, || at.dir.path(Some(at.name)), MOUNTED);
            return Ok(Met::Done);
        }
        self.once(at, &stat, linking, worker, |worker| self.make_other(at, &stat, worker))
    }

    fn make_other(&self, at: &Spot<'_>, stat: &Stat, worker: &mut Worker) -> Result<Made, Stop> {
        let source = Handle::Name { dir: at.source, name: at.name };
        let metadata = read_metadata(source, stat).map_err(Stop::Lost)?;
        if stat.kind.is_device() && self.options.trust == Trust::Untrusted {
            let why = "left out of an untrusted tree";
            worker.report.losses.add(Loss::Device, || at.dir.path(Some(at.name)), why);
            return Ok(Made::No);
        }
        let made = match stat.kind {
            Kind::Symlink => match link_target(at.source, at.name) {
                Ok(to) => symlinkat(to, at.target, at.name),
                Err(error) => return Err(Stop::Lost(error)),
            },
            kind => mknodat(at.target, at.name, node_type(kind), Mode::RUSR | Mode::WUSR, stat.rdev),
        };
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                self.listed_twice(at.dir, at.name)?;
                return Ok(Made::Yes);
            }
            Err(error @ (Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS)) => {
                let loss = if stat.kind.is_device() { Loss::Device } else { Loss::Special };
                let why = std::io::Error::from(error);
                worker.report.losses.add(loss, || at.dir.path(Some(at.name)), why);
                return Ok(Made::No);
            }
            Err(error) => return Err(Stop::Failed(self.write_error(error, at.dir, Some(at.name)))),
        }
        let handle = Handle::Name { dir: at.target, name: at.name };
        let present =
            self.present(handle).map_err(|e| Stop::Failed(self.write_error(e, at.dir, Some(at.name))))?;
        let wanted = Target { handle, kind: stat.kind, present, path: &In(at.dir, at.name) };
        MetadataWriter::new(self.options.trust, &mut worker.report.losses).write(
            wanted,
            &metadata,
            FlagsWhen::Now,
        )?;
        worker.report.totals.files += 1;
        self.meter.add(1, 0);
        Ok(Made::Yes)
    }
}

/// What became of a name.
enum Met {
    Done,
    /// It is not what was expected, but this.
    Is(Kind),
}

/// Whether there is a file now that other names can be linked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Yes,
    No,
}

/// Why an entry was not copied.
enum Stop {
    /// The source could not be read; policy says what that means.
    Lost(Errno),
    /// The copy ends.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn node_type(kind: Kind) -> FileType {
    match kind {
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::CharacterDevice => FileType::CharacterDevice,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::Directory | Kind::File | Kind::Symlink => FileType::RegularFile,
    }
}
