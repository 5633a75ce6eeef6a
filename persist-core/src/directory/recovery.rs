//! What a dead owner left of a volume that was being built or removed: finished or undone.
//!
//! Everything here may be killed at any point and done again: it looks at the records, never at what an
//! earlier recovery may have noted.

use super::{
    care::measure,
    durable::Claimed,
    engine::Engine,
    fresh,
    intents::{self, Intent, Work},
    names::Named,
    records::{self, Numbered},
    stored::{FIRST_RECORD, Located, NameRecord},
    volumes,
};
use crate::{
    care::{PruneItem, PruneMode, PruneReason},
    error::{ErrorKind, Result},
    id::VolumeId,
    linux::cause::cause,
    name::VolumeName,
    progress::Meter,
    volume::{TRASH_WINDOW, VolumeState},
    wait::until_found,
};
use std::{io, ops::ControlFlow, path::Path};

/// What was found of a dead owner's work.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) item: PruneItem,
    pub(crate) rest: Rest,
}

/// What is left to look after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// A volume like any other.
    Volume,
    /// Nothing.
    Nothing,
}

/// What an intent without an owner means.
#[derive(Debug)]
enum Left {
    /// Its work was done; only the intent is left, and a ready volume's name may not be durable yet.
    Done(Option<Box<Located>>),
    /// A volume that was being removed.
    Removal,
    /// A volume that nothing names, and nothing ever did.
    Garbage,
    /// A directory was moved in, and the volume has no name yet.
    Moved(Box<Located>),
    /// What cannot be read is not touched.
    Unclear,
}

impl Engine {
    /// Finishes or undoes what the owner of the intent of `id` left; `None` while it lives, or if there is
    /// none.
    ///
    /// # Errors
    /// As the filesystem reports them; a repeat goes on.
    pub(crate) fn recover(&self, id: &VolumeId, mode: PruneMode, meter: &Meter) -> Result<Option<Recovered>> {
        let Some(intent) = Intent::take_over(&self.layout.intent(id))? else { return Ok(None) };
        let left = self.judge(id, &intent)?;
        let (reason, what, place) = match &left {
            Left::Unclear => return Ok(None),
            Left::Done(_) => (PruneReason::Finish, "the mark of work that is done", None),
            Left::Removal => {
                let remains = self.layout.removed().join(id.to_string());
                (PruneReason::Finish, "a removal that was interrupted", Some(remains))
            }
            Left::Garbage => {
                let root = self.layout.volume(id).root().to_owned();
                (PruneReason::Undo, "a creation that was interrupted", Some(root))
            }
            Left::Moved(_) => (PruneReason::Finish, "a directory that was moved in", None),
        };
        let bytes = match &place {
            Some(place) => measure::measure(place, meter)?.bytes,
            None => 0,
        };
        if mode == PruneMode::Apply {
            self.finish(id, left, meter)?;
            intent.end()?;
        }
        let rest = if place.is_some() { Rest::Nothing } else { Rest::Volume };
        Ok(Some(Recovered { item: PruneItem::new(reason, Some(id.clone()), what, bytes), rest }))
    }

    /// Finishes the creation of the volume `name` whose owner died after it had moved `from` away, or waits for
    /// an owner that lives; false if there is none.
    ///
    /// # Errors
    /// As the filesystem reports them; a repeat goes on. `Unavailable` once stopped.
    pub(crate) fn finish_move_of(&self, from: &Path, name: &VolumeName, meter: &Meter) -> Result<bool> {
        for id in volumes::names(&self.layout.intents())?.iter().filter_map(|text| VolumeId::parse(text)) {
            let intent = self.layout.intent(&id);
            let Some(Work::Move { from: moved, volume, .. }) = intents::declared_at(&intent)? else {
                continue;
            };
            if moved != from || volume.volume.name != *name {
                continue;
            }
            let ended = || match self.recover(&id, PruneMode::Apply, meter)? {
                Some(_) => Ok(Some(true)),
                None if intents::is_live(&intent)? => Ok(None),
                // Ended by its owner, or of a volume that cannot be read.
                None => Ok(Some(!is_there(&intent)?)),
            };
            return until_found(meter, ended);
        }
        Ok(false)
    }

    /// What is left of the volume `id`, whose intent is held.
    fn judge(&self, id: &VolumeId, intent: &Intent) -> Result<Left> {
        if is_there(&self.layout.removed().join(id.to_string()))? {
            return Ok(Left::Removal);
        }
        let layout = self.layout.volume(id);
        if !is_there(layout.root())? {
            return Ok(Left::Done(None));
        }
        let found = match self.locate_id(id) {
            Ok(found) => found,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Ok(if self.is_named(id)? { Left::Unclear } else { Left::Garbage });
            }
            Err(e) if e.kind() == ErrorKind::Corrupt => return Ok(Left::Unclear),
            Err(e) => return Err(e),
        };
        let volume = &found.stored.volume;
        if volume.state != VolumeState::Ready {
            return Ok(Left::Done(None));
        }
        if self.names(&volume.name, id)? {
            return Ok(Left::Done(Some(Box::new(found))));
        }
        let has_tree = is_there(&layout.generation(&found.stored.generation))?;
        match intent.declared()? {
            Some(Work::Move { .. }) if has_tree => Ok(Left::Moved(Box::new(found))),
            // Only its builder has ever written to it: a volume that was named has later records.
            _ if found.number == FIRST_RECORD => Ok(Left::Garbage),
            _ => Ok(Left::Unclear),
        }
    }

    fn finish(&self, id: &VolumeId, left: Left, meter: &Meter) -> Result<()> {
        match left {
            Left::Unclear => Ok(()),
            Left::Done(named) => named.iter().try_for_each(|found| self.confirm_name(found)),
            Left::Removal => self.remove_remains(id, meter),
            Left::Garbage => self.remove_volume(id, &self.layout.volume(id), meter),
            Left::Moved(found) => self.finish_move(&found, meter),
        }
    }

    /// Gives a volume, into which a directory was moved, its name; or puts it into the trash if another
    /// volume has the name by now.
    fn finish_move(&self, found: &Located, meter: &Meter) -> Result<()> {
        let stored = &found.stored;
        let (name, id) = (&stored.volume.name, &stored.volume.id);
        volumes::dress(self, &found.layout.generation(&stored.generation), stored)?;
        loop {
            meter.check()?;
            let previous = match self.resolve(name)? {
                Named::Free(previous) => previous,
                Named::Stale(stale) => {
                    self.free_stale(name, &stale, meter)?;
                    continue;
                }
                Named::Ready(_) => return self.keep_moved(found, meter),
            };
            let claim = self.begin_claim(name, meter)?;
            self.place.flush(found.layout.root(), meter)?;
            if self.claim(&claim, previous, &NameRecord::Names(id.clone()))? == Claimed::Won {
                return Ok(());
            }
        }
    }

    fn keep_moved(&self, found: &Located, meter: &Meter) -> Result<()> {
        let mut stored = found.stored.clone();
        let since = self.now();
        stored.volume.state = VolumeState::Trashed { since, until: since.saturating_add(TRASH_WINDOW) };
        self.place.flush(found.layout.root(), meter)?;
        self.publish(found, &stored)
    }

    /// Whether any name stands for the volume `id`: for a volume that cannot say its own name.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub(crate) fn is_named(&self, id: &VolumeId) -> Result<bool> {
        let names = self.layout.names();
        let mut named = Ok(false);
        volumes::each_name(&names, None, |name| match records::newest::<NameRecord>(&names.join(name)) {
            Ok(Some(Numbered { record: NameRecord::Names(other), .. })) if other == *id => {
                named = Ok(true);
                ControlFlow::Break(())
            }
            Ok(_) => ControlFlow::Continue(()),
            // It may be this one.
            Err(error) => {
                named = Err(error);
                ControlFlow::Break(())
            }
        })?;
        named
    }
}

/// Whether something is at `path`. What cannot be looked at is an error, never absent.
///
/// # Errors
/// As the filesystem reports them.
pub(crate) fn is_there(path: &Path) -> Result<bool> {
    match fresh::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(cause(e, "stat", path.display())),
    }
}
