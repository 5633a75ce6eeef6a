//! Making and unmaking the path of an attachment: mounts, links, private copies.

use super::{
    plan::{At, Shows},
    stored::{Shown, StoredAttachment},
};
use crate::{
    attachment::{Access, BusyFiles, Mounted},
    capability::Capabilities,
    directory::{
        durable::DRAFT_PREFIX,
        engine::Engine,
        fresh,
        layout::VolumeLayout,
        place::{CutMode, MountMode, MountRequest, MountSite, Unmounted},
    },
    error::{Error, ErrorKind, Result},
    linux::cause::cause,
    progress::{Meter, Phase},
};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
};

impl Engine {
    /// Makes the path of an attachment as its record says, or finds it made, and returns it.
    ///
    /// # Errors
    /// `Denied` or `Invalid` for a target that may not be used; nothing is at the target then.
    pub(super) fn raise(
        &self,
        layout: &VolumeLayout,
        stored: &StoredAttachment,
        meter: &Meter,
    ) -> Result<PathBuf> {
        let own = self.raise_in_store(layout, stored, meter)?;
        match (stored.plan.at, &stored.record.target) {
            (At::Mount, Some(target)) => {
                let first = stored.shown.first().unwrap_or(stored.newest()?);
                let tree = layout.generation(&first.generation);
                self.mount(stored, &tree, target, MountSite::Callers)?;
                Ok(if stored.shown.len() > 1 { own } else { target.clone() })
            }
            (At::Symlink, Some(target)) => {
                let older =
                    stored.shown.iter().map(|shown| own_path(layout, stored, shown)).collect::<Vec<_>>();
                link(&own, &older, target).map(|()| target.clone())
            }
            _ => Ok(own),
        }
    }

    /// The part of [`raise`](Self::raise) below the store's root.
    fn raise_in_store(
        &self,
        layout: &VolumeLayout,
        stored: &StoredAttachment,
        meter: &Meter,
    ) -> Result<PathBuf> {
        let shown = stored.newest()?;
        let tree = layout.generation(&shown.generation);
        let Some(view) = view(layout, stored, shown) else { return Ok(tree) };
        match stored.plan.shows {
            Shows::Copy if view.exists() => {}
            Shows::Copy => {
                let copy = self.copy(layout, &stored.record.id, &tree, meter)?;
                self.put_copy(&copy, &view, meter)?;
            }
            _ => {
                make_directory(&view)?;
                self.mount(stored, &tree, &view, MountSite::Engines)?;
            }
        }
        Ok(view)
    }

    /// Takes away what shows an attachment outside the store and what is mounted inside. Returns what had to
    /// be left.
    ///
    /// # Errors
    /// `InUse` while files are open and `busy` says so; what was taken away is made again by a repeat of
    /// [`raise`](Self::raise).
    pub(super) fn lower(
        &self,
        layout: &VolumeLayout,
        stored: &StoredAttachment,
        busy: BusyFiles,
    ) -> Result<Vec<String>> {
        let mut left = Vec::new();
        if let (At::Symlink, Some(target)) = (stored.plan.at, &stored.record.target) {
            stored
                .shown
                .iter()
                .try_for_each(|shown| unlink_ours(&own_path(layout, stored, shown), target))?;
        }
        if let (At::Mount, Some(target), Some(first)) =
            (stored.plan.at, &stored.record.target, stored.shown.first())
        {
            self.unmount(&layout.generation(&first.generation), target, busy, &mut left)?;
        }
        for shown in &stored.shown {
            self.lower_view(layout, stored, shown, busy, &mut left)?;
        }
        Ok(left)
    }

    /// Takes away the mount of one tree that an attachment is shown inside the store.
    pub(super) fn lower_view(
        &self,
        layout: &VolumeLayout,
        stored: &StoredAttachment,
        shown: &Shown,
        busy: BusyFiles,
        left: &mut Vec<String>,
    ) -> Result<()> {
        let view = view(layout, stored, shown).filter(|_| stored.plan.shows == Shows::ReadOnlyMount);
        let Some(view) = view.filter(|view| view.exists()) else { return Ok(()) };
        self.unmount(&layout.generation(&shown.generation), &view, busy, left)?;
        match fs::remove_dir(&view) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(e, "rmdir", view.display())),
            _ => Ok(()),
        }
    }

    /// Makes a private copy of a tree for the attachment `id`, under a name of its own: two calls at once must
    /// not write into one copy.
    pub(super) fn copy(
        &self,
        layout: &VolumeLayout,
        id: &crate::AttachmentId,
        tree: &Path,
        meter: &Meter,
    ) -> Result<PathBuf> {
        let parent = layout.views_of(id);
        make_directory(&parent)?;
        let copy = parent.join(format!("{DRAFT_PREFIX}{}", self.mint_generation()));
        meter.enter(Phase::Transfer);
        match self.place.cut(tree, &copy, CutMode::Immutable, meter) {
            Ok(_) => Ok(copy),
            Err(error) => {
                self.drop_copy(&copy, meter);
                Err(error)
            }
        }
    }

    /// Shows a copy at `view`, whole, instead of what a killed or refused call left there. Nobody else may do
    /// the same meanwhile, and no record may name `view` yet.
    pub(super) fn put_copy(&self, copy: &Path, view: &Path, meter: &Meter) -> Result<()> {
        self.place.remove_tree(view, meter)?;
        fs::rename(copy, view).map_err(|e| cause(e, "rename", view.display()))
    }

    /// Removes a copy that is not shown; one that stays goes at detach.
    pub(super) fn drop_copy(&self, copy: &Path, meter: &Meter) {
        if meter.is_stopped() {
            return;
        }
        if let Err(error) = self.place.remove_tree(copy, meter) {
            tracing::warn!(copy = %copy.display(), %error, "a copy was left until detach");
        }
    }

    /// Removes what a reader was shown inside the store, once no record names it any more.
    pub(super) fn clear_views(
        &self,
        layout: &VolumeLayout,
        id: &crate::AttachmentId,
        meter: &Meter,
    ) -> Result<()> {
        let directory = layout.views_of(id);
        let entries = match fresh::read_dir(&directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|e| cause(e, "list", directory.display()))?,
        };
        for entry in entries {
            let path = entry.map_err(|e| cause(e, "list", directory.display()))?.path();
            match fs::remove_dir(&path) {
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    self.place.remove_tree(&path, meter)?
                }
                // Busy: something is still mounted there, and is never walked into.
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(cause(e, "rmdir", path.display()));
                }
                _ => {}
            }
        }
        fs::remove_dir(&directory).map_err(|e| cause(e, "rmdir", directory.display()))
    }

    fn mount(&self, stored: &StoredAttachment, source: &Path, target: &Path, site: MountSite) -> Result<()> {
        let mode = match stored.record.access {
            Access::ReadOnly => MountMode::ReadOnly,
            _ => MountMode::ReadWrite,
        };
        self.place.mount(&MountRequest { source, target, site, mode, policy: &stored.plan.policy })
    }

    fn unmount(&self, source: &Path, target: &Path, busy: BusyFiles, left: &mut Vec<String>) -> Result<()> {
        if !self.info.capabilities.contains(Capabilities::MOUNTS) {
            left.push(format!("this process may not unmount: look whether {} is mounted", target.display()));
            return Ok(());
        }
        if self.place.unmount(source, target, busy)? == Unmounted::WhenIdle {
            left.push(format!("the mount at {} goes with its last open file", target.display()));
        }
        Ok(())
    }
}

/// Whether a mount of ours enforces the policy of an attachment.
pub(super) fn mounted(stored: &StoredAttachment) -> Mounted {
    match (stored.plan.shows, stored.plan.at) {
        (Shows::ReadOnlyMount, _) => Mounted::ReadOnly,
        (_, At::Mount) => Mounted::ReadWrite,
        (_, At::Symlink) => Mounted::Symlink,
        (_, At::Store) => Mounted::No,
    }
}

/// Refuses a target that may not be used, before anything moves. Races are for the mount itself to refuse.
///
/// # Errors
/// `Denied`, with the reason.
pub(super) fn check_free(at: At, target: &Path, store: &Path) -> Result<()> {
    let refused = |why: &'static str, advice: &'static str| {
        Err(Error::new(ErrorKind::Denied, why).context("target", target.display()).advise(advice))
    };
    let parent = target.parent().unwrap_or(Path::new("/"));
    let resolved = fs::canonicalize(parent).map(|parent| parent.join(target.file_name().unwrap_or_default()));
    let store = fs::canonicalize(store).map_err(|e| cause(e, "resolve", store.display()))?;
    let Ok(resolved) = resolved else {
        return refused("the directory of the target cannot be reached", "make it first");
    };
    if resolved.starts_with(&store) || store.starts_with(&resolved) {
        return refused(
            "the target is inside the store, or the store inside the target",
            "choose another place",
        );
    }
    match (at, fs::symlink_metadata(&resolved)) {
        (At::Mount, Ok(there)) if there.is_dir() => match is_empty(&resolved) {
            true => Ok(()),
            false => refused("the target is not empty", "a mount would hide what is in it; empty it first"),
        },
        (At::Mount, Ok(_)) => refused("the target is not a directory", "give an empty directory"),
        (At::Mount, Err(_)) => refused("the target is not there", "make the directory first"),
        (_, Err(e)) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        (_, Err(e)) => Err(cause(e, "stat", target.display())),
        (_, Ok(_)) => refused("something is at the target", "a link needs a path that is not there"),
    }
}

/// The path of one tree of an attachment inside the store.
pub(super) fn own_path(layout: &VolumeLayout, stored: &StoredAttachment, shown: &Shown) -> PathBuf {
    view(layout, stored, shown).unwrap_or_else(|| layout.generation(&shown.generation))
}

/// Where a tree is shown under `views/`; none for a writer, and for what a mount at the target shows.
fn view(layout: &VolumeLayout, stored: &StoredAttachment, shown: &Shown) -> Option<PathBuf> {
    let at_target = stored.plan.at == At::Mount && stored.shown.first() == Some(shown);
    let has_view = stored.plan.shows != Shows::Tree && !at_target;
    has_view.then(|| layout.views_of(&stored.record.id).join(shown.number.to_string()))
}

/// Makes the link at `target`, by one step, or turns one that leads to one of `older` by one rename(2).
fn link(own: &Path, older: &[PathBuf], target: &Path) -> Result<()> {
    match symlink(own, target) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(cause(e, "symlink", target.display())),
    }
    match fs::read_link(target) {
        Ok(there) if there == own => Ok(()),
        Ok(there) if older.contains(&there) => turn_link(own, target),
        _ => Err(Error::new(ErrorKind::Denied, "something else is at the target")
            .context("target", target.display())
            .advise("remove it, or choose another target")),
    }
}

fn turn_link(own: &Path, target: &Path) -> Result<()> {
    let mut name = std::ffi::OsString::from(DRAFT_PREFIX);
    name.push(target.file_name().unwrap_or_default());
    let draft = target.with_file_name(name);
    // A draft that a crash left is a link of ours, and nobody's data.
    if fs::read_link(&draft).is_ok() {
        fs::remove_file(&draft).map_err(|e| cause(e, "unlink", draft.display()))?;
    }
    symlink(own, &draft).map_err(|e| cause(e, "symlink", draft.display()))?;
    fs::rename(&draft, target).map_err(|e| cause(e, "rename", target.display()))
}

fn unlink_ours(own: &Path, target: &Path) -> Result<()> {
    if !fs::read_link(target).is_ok_and(|there| there == own) {
        return Ok(());
    }
    fs::remove_file(target).map_err(|e| cause(e, "unlink", target.display()))
}

fn make_directory(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| cause(e, "mkdir", path.display()))
}

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}
