//! Taking the steps of a plan, in path order: what was made aside takes its place by rename(2).

use super::plan::{Plan, Step};
use persist_core::{
    Error, ErrorKind, Result,
    linux::cause::cause,
    progress::Meter,
    tree::{
        Entry, EntryKind, FlagsWhen, Handle, Kind, Losses, Metadata, MetadataWriter, Present, RemoveOptions,
        Root, Target, TreePath, Trust, remove,
    },
};
use rustix::fs::{AtFlags, linkat, renameat};
use std::os::fd::AsFd;

/// Takes the steps of `plan`, whose new entries are in the directory `aside`. Blocks.
///
/// # Errors
/// As the filesystem reports them: the tree is neither what it was nor what it shall be then.
pub(super) fn install(root: &Root, aside: &TreePath, plan: &Plan, meter: &Meter) -> Result<Losses> {
    let mut installing = Installing { root, aside, meter, moved: None, losses: Losses::default() };
    plan.steps.iter().try_for_each(|step| installing.step(step))?;
    Ok(installing.losses)
}

/// Gives the directories in which something was done the metadata that they shall have, the deepest first.
pub(super) fn finish(root: &Root, plan: &Plan, mut losses: Losses) -> Result<Losses> {
    let mut dressed: Vec<(&TreePath, &Metadata, How)> =
        plan.touched.iter().map(|(path, metadata)| (path, metadata, How::Time)).collect();
    dressed.extend(plan.steps.iter().filter_map(|step| match step {
        Step::Dress(entry) | Step::Put(entry) if entry.kind == EntryKind::Directory => {
            Some((&entry.path, &entry.metadata, How::All))
        }
        _ => None,
    }));
    dressed.sort_by(|a, b| (b.0, b.2).cmp(&(a.0, a.2)));
    dressed.dedup_by(|later, earlier| later.0 == earlier.0);
    for (path, metadata, how) in dressed {
        dress(root, path, Kind::Directory, metadata, how, &mut losses)?;
    }
    Ok(losses)
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    Time,
    All,
}

struct Installing<'a> {
    root: &'a Root,
    aside: &'a TreePath,
    meter: &'a Meter,
    /// A directory that was taken from aside with all that is in it.
    moved: Option<TreePath>,
    losses: Losses,
}

impl Installing<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        self.meter.check()?;
        match step {
            Step::Remove(path) => self.remove(path),
            Step::Put(entry) => self.put(entry),
            Step::Link { path, first } => self.link(path, first),
            Step::Dress(entry) if entry.kind == EntryKind::Directory => Ok(()),
            Step::Dress(entry) => dress(
                self.root,
                &entry.path,
                Kind::from(&entry.kind),
                &entry.metadata,
                How::All,
                &mut self.losses,
            ),
        }
    }

    fn put(&mut self, entry: &Entry) -> Result<()> {
        let path = &entry.path;
        if self.moved.as_ref().is_some_and(|above| path.as_path().starts_with(above.as_path())) {
            return Ok(());
        }
        let directory = entry.kind == EntryKind::Directory;
        match self.kind_at(path)? {
            Some(Kind::Directory) if directory => return Ok(()),
            Some(kind) if directory || kind == Kind::Directory => self.remove(path)?,
            _ => {}
        }
        self.rename(&below(self.aside, path)?, path)?;
        if directory {
            self.moved = Some(path.clone());
        }
        Ok(())
    }

    fn rename(&self, from: &TreePath, to: &TreePath) -> Result<()> {
        let ((from_dir, from_name), (to_dir, to_name)) =
            (self.root.parent_of(from)?, self.root.parent_of(to)?);
        match renameat(&from_dir, from_name.as_c_str(), &to_dir, to_name.as_c_str()) {
            Ok(()) => Ok(()),
            // What could not be made on this filesystem, such as a device, is not aside: the bucket keeps it.
            Err(rustix::io::Errno::NOENT) if self.kind_at(from)?.is_none() => self.remove(to),
            Err(error) => Err(cause(error, "rename", to)),
        }
    }

    fn link(&self, path: &TreePath, first: &TreePath) -> Result<()> {
        self.remove(path)?;
        let ((from_dir, from_name), (to_dir, to_name)) =
            (self.root.parent_of(first)?, self.root.parent_of(path)?);
        linkat(&from_dir, from_name.as_c_str(), &to_dir, to_name.as_c_str(), AtFlags::empty())
            .map_err(|error| cause(error, "link", path))
    }

    fn remove(&self, path: &TreePath) -> Result<()> {
        remove(self.root, path, &RemoveOptions::default(), self.meter).map(drop)
    }

    fn kind_at(&self, path: &TreePath) -> Result<Option<Kind>> {
        match self.root.stat(path) {
            Ok(stat) => Ok(Some(stat.kind)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn dress(
    root: &Root,
    path: &TreePath,
    kind: Kind,
    metadata: &Metadata,
    how: How,
    losses: &mut Losses,
) -> Result<()> {
    let (dir, name) = root.parent_of(path)?;
    let handle = if path.is_root() {
        Handle::Open(root.as_fd())
    } else {
        Handle::Name { dir: dir.as_fd(), name: &name }
    };
    let target = Target { handle, kind, present: Present::Unknown, path };
    let mut writer = MetadataWriter::new(Trust::Faithful, losses);
    match how {
        How::All => writer.write(target, metadata, FlagsWhen::Now),
        How::Time => writer.write_time(target, metadata),
    }
}

fn below(aside: &TreePath, path: &TreePath) -> Result<TreePath> {
    if path.is_root() {
        return Err(Error::internal("the root of a tree was about to be replaced"));
    }
    TreePath::new([aside.as_bytes(), b"/", path.as_bytes()].concat())
}
