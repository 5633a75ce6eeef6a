//! Who works on a tree: built alone, removed alone, read by any number.
//!
//! The file `intents/<generation>` says so by flock(2). It is there before its tree and goes after it, by
//! whoever holds it alone and never by a reader, so a tree that no record names and whose intent nobody
//! holds is garbage: its builder died. No long copy therefore needs the volume's exclusion, and a tree
//! stays while it is read.

use super::{
    engine::Engine,
    exclusion::{Exclusion, Hold},
    layout::VolumeLayout,
};
use crate::{
    error::{ErrorKind, Result},
    id::Generation,
    linux::cause::cause,
    open::OpenMode,
    progress::Meter,
    wait::until_found,
};
use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, open},
    io::Errno,
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// A tree that is being built. Dropped, it is garbage unless a record names it by then.
#[derive(Debug)]
pub(crate) struct NewTree {
    pub(crate) generation: Generation,
    /// Where it is to be made; nothing is there yet.
    pub(crate) path: PathBuf,
    _held: Exclusion,
}

/// A tree that is being read and stays meanwhile.
#[derive(Debug)]
pub(crate) struct TreeRead {
    pub(crate) generation: Generation,
    pub(crate) path: PathBuf,
    /// None where this host cannot write and has no file to hold: nobody here can remove either.
    _held: Option<File>,
}

/// What became of a tree that nothing names any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discarded {
    /// It is gone.
    Gone,
    /// Somebody reads or builds it: left to `prune`.
    Left,
}

impl Engine {
    /// Mints a generation and holds it alone.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub(crate) fn begin_tree(&self, layout: &VolumeLayout) -> Result<NewTree> {
        self.check_writable()?;
        loop {
            let generation = self.mint_generation();
            match Exclusion::attempt(&layout.intent(&generation), Hold::Alone) {
                Ok(Some(held)) => {
                    let path = layout.generation(&generation);
                    return Ok(NewTree { generation, path, _held: held });
                }
                // Prune looked at the new intent before it was held, and may have removed it: the next one.
                Ok(None) => {}
                Err(e) if e.kind() == ErrorKind::NotFound && layout.intents().exists() => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Holds the tree that `current` names for reading: asked again once it is held, because the tree may
    /// have lost its name meanwhile.
    ///
    /// # Errors
    /// As `current`; `Unavailable` once stopped.
    pub(crate) fn read_tree(
        &self,
        layout: &VolumeLayout,
        meter: &Meter,
        current: impl Fn() -> Result<Generation>,
    ) -> Result<TreeRead> {
        // Whoever removes the tree has it for a moment, until it has lost its name.
        until_found(meter, || {
            let generation = current()?;
            let Some(Shared(_held)) = self.share(&layout.intent(&generation))? else { return Ok(None) };
            let path = layout.generation(&generation);
            Ok((current()? == generation).then_some(TreeRead { generation, path, _held }))
        })
    }

    /// Holds a tree that nothing names any more alone, to remove it; `None` while somebody reads it.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub(crate) fn claim_tree(
        &self,
        layout: &VolumeLayout,
        generation: &Generation,
    ) -> Result<Option<Exclusion>> {
        match Exclusion::attempt(&layout.intent(generation), Hold::Alone) {
            // Another remover was faster; what it left, if anything, prune finds.
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            held => held,
        }
    }

    /// Removes a tree that nothing names any more, unless somebody reads or builds it.
    ///
    /// # Errors
    /// As the filesystem reports them; `Unavailable` once stopped. A repeat goes on.
    pub(crate) fn discard_tree(
        &self,
        layout: &VolumeLayout,
        generation: &Generation,
        meter: &Meter,
    ) -> Result<Discarded> {
        let Some(held) = self.claim_tree(layout, generation)? else { return Ok(Discarded::Left) };
        self.remove_claimed(layout, generation, &held, meter)?;
        Ok(Discarded::Gone)
    }

    /// Removes a tree that is held alone, its file last.
    ///
    /// # Errors
    /// As [`discard_tree`](Self::discard_tree).
    pub(crate) fn remove_claimed(
        &self,
        layout: &VolumeLayout,
        generation: &Generation,
        _held: &Exclusion,
        meter: &Meter,
    ) -> Result<()> {
        self.place.remove_tree(&layout.generation(generation), meter)?;
        let file = layout.intent(generation);
        match fs::remove_file(&file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(e, "unlink", file.display())),
            _ => Ok(()),
        }
    }

    /// Gives up a tree that was being built: removed, or left to `prune` where the call was told to stop.
    pub(crate) fn abandon_tree(&self, layout: &VolumeLayout, tree: NewTree, meter: &Meter) {
        if meter.is_stopped() {
            return;
        }
        if let Err(error) = self.remove_claimed(layout, &tree.generation, &tree._held, meter) {
            tracing::warn!(generation = %tree.generation, %error, "a tree was left to prune");
        }
    }

    /// Shares the file at `path`; `None` while somebody holds it alone.
    fn share(&self, path: &Path) -> Result<Option<Shared>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file: File = match open(path, flags, Mode::empty()) {
            Ok(file) => file.into(),
            Err(Errno::NOENT) if self.mode == OpenMode::ReadOnly => return Ok(Some(Shared(None))),
            Err(Errno::NOENT) => return Self::share_new(path),
            Err(e) => return Err(cause(e, "open", path.display())),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Some(Shared(Some(file)))),
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
            Err(e) => Err(cause(e, "flock", path.display())),
        }
    }

    /// A file that went missing is made again, so that whoever removes the tree sees its readers.
    fn share_new(path: &Path) -> Result<Option<Shared>> {
        Exclusion::attempt(path, Hold::Shared).map(|_made| None)
    }
}

/// What is held for reading.
struct Shared(Option<File>);
