//! What must be done to a tree to make it another one: decided from references alone, without I/O.

use super::{Contents, Referenced};
use crate::workspace::record::{AppliedKind, Row};
use persist_core::tree::{Entry, EntryKind, Metadata, TreePath};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What is done, in path order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// What is made aside: the entries of [`Step::Put`], and the directories above them.
    pub(super) aside: Vec<Entry>,
    /// The directories in which something is done, as they shall be.
    pub(super) touched: BTreeMap<TreePath, Metadata>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// It goes, with what is in it.
    Remove(TreePath),
    /// It is made aside, and takes the place of what is there.
    Put(Entry),
    /// It becomes a further name of a file that stays.
    Link { path: TreePath, first: TreePath },
    /// It stays, and gets this metadata.
    Dress(Entry),
}

/// More steps than this are not worth it, and would take too much memory: the whole tree is brought then.
pub(super) const STEPS_MAX: usize = 1 << 16;

/// Decides path by path, in path order.
pub(super) struct Planner<'a> {
    tree: &'a dyn Referenced,
    /// Paths of the live tree that are not what their rows say.
    stale: BTreeSet<TreePath>,
    plan: Plan,
    /// The directories of the tree on the way to the last entry, and whether they are aside already.
    open: Vec<(Entry, Scaffold)>,
    /// Files that are made anew: their further names are, too.
    put: HashSet<TreePath>,
    /// What goes, or is replaced by what is no directory: nothing is left to be done below it.
    removed: Option<TreePath>,
}

#[derive(Clone, Copy, PartialEq)]
enum Scaffold {
    There,
    Missing,
}

impl<'a> Planner<'a> {
    pub(super) fn new(tree: &'a dyn Referenced, stale: BTreeSet<TreePath>) -> Self {
        let plan = Plan::default();
        Self { tree, stale, plan, open: Vec::new(), put: HashSet::new(), removed: None }
    }

    /// What is the plan; `None` if it is too long.
    pub(super) fn plan(mut self) -> Option<Plan> {
        let left: Vec<TreePath> = self.stale.iter().cloned().collect();
        left.into_iter().for_each(|path| self.remove(path));
        self.is_short().then_some(self.plan)
    }

    /// Whether it is worth going on.
    pub(super) fn is_short(&self) -> bool {
        self.plan.steps.len() <= STEPS_MAX
    }

    /// The base has a path that the tree has not.
    pub(super) fn gone(&mut self, row: &Row) {
        self.strays_before(&row.path);
        self.stale.remove(&row.path);
        self.remove(row.path.clone());
    }

    /// The tree has `entry`, and the base has `row` at its path.
    pub(super) fn wanted(&mut self, entry: Entry, reference: &[u8], row: Option<&Row>) {
        self.strays_before(&entry.path);
        self.enter(&entry);
        let is_stale = self.stale.remove(&entry.path);
        let renewed = entry.link.as_ref().is_some_and(|first| self.put.contains(first));
        match row {
            Some(row) if row.reference == reference && !is_stale && !renewed => {}
            Some(row) if self.keeps(&entry, reference, row, is_stale) && !renewed => {
                self.touch();
                self.step(Step::Dress(entry));
            }
            _ => self.make(entry),
        }
    }

    /// Whether what is there stays, and only its metadata changes.
    fn keeps(&self, entry: &Entry, reference: &[u8], row: &Row, is_stale: bool) -> bool {
        match (row.applied.kind, &entry.kind) {
            // Looked at when it is done: a directory that is not there any more is made.
            (AppliedKind::Directory, EntryKind::Directory) => !is_stale || entry.path.is_root(),
            (AppliedKind::File, EntryKind::File { .. }) => {
                let same_names = entry.link == row.applied.link;
                !is_stale && same_names && self.tree.contents(&row.reference, reference) == Contents::Same
            }
            _ => false,
        }
    }

    fn make(&mut self, entry: Entry) {
        self.touch();
        if entry.kind != EntryKind::Directory {
            // What is there goes with all that is in it.
            self.removed = Some(entry.path.clone());
        }
        let first = entry.link.clone().filter(|first| *first != entry.path);
        match first {
            Some(first) if !self.put.contains(&first) => {
                self.step(Step::Link { path: entry.path, first });
            }
            _ => {
                self.scaffold(&entry);
                if matches!(entry.kind, EntryKind::File { .. }) {
                    self.put.insert(entry.path.clone());
                }
                self.plan.aside.push(entry.clone());
                self.step(Step::Put(entry));
            }
        }
    }

    fn remove(&mut self, path: TreePath) {
        if self.removed.as_ref().is_some_and(|above| path.as_path().starts_with(above.as_path())) {
            return;
        }
        self.leave(&path);
        self.touch();
        self.removed = Some(path.clone());
        self.step(Step::Remove(path));
    }

    fn step(&mut self, step: Step) {
        if self.is_short() {
            self.plan.steps.push(step);
        }
    }

    /// What is in the live tree before `path` and neither in the base nor in the tree goes.
    fn strays_before(&mut self, path: &TreePath) {
        while let Some(stray) = self.stale.first().filter(|stray| *stray < path).cloned() {
            self.stale.remove(&stray);
            self.remove(stray);
        }
    }

    /// Closes the directories that `path` is not in.
    fn leave(&mut self, path: &TreePath) {
        while self.open.last().is_some_and(|(dir, _)| !is_in(path, &dir.path)) {
            self.open.pop();
        }
    }

    fn enter(&mut self, entry: &Entry) {
        self.leave(&entry.path);
        if entry.kind == EntryKind::Directory {
            self.open.push((entry.clone(), Scaffold::Missing));
        }
    }

    /// The directory of what is done changes its time, and shall have the one that was meant.
    fn touch(&mut self) {
        for (dir, _) in &self.open {
            self.plan.touched.entry(dir.path.clone()).or_insert_with(|| dir.metadata.clone());
        }
    }

    /// The directories above `entry` are made aside, open to their owner.
    fn scaffold(&mut self, entry: &Entry) {
        for (dir, scaffold) in &mut self.open {
            if *scaffold == Scaffold::Missing && dir.path != entry.path {
                let metadata = Metadata { mode: 0o700, ..dir.metadata.clone() };
                let bare = Metadata { flags: 0, xattrs: Vec::new(), ..metadata };
                self.plan.aside.push(Entry::new(dir.path.clone(), EntryKind::Directory, bare));
            }
            *scaffold = Scaffold::There;
        }
    }
}

fn is_in(path: &TreePath, dir: &TreePath) -> bool {
    path != dir && path.as_path().starts_with(dir.as_path())
}
