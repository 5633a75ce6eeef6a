//! What a workspace remembers across a crash: pure records and their transitions.

use crate::head::{
    record::{CommitName, Head, SessionId},
    recovery::{self, Recovery, Tree},
};
use persist_core::{
    AttachmentId, AttachmentRecord, Epoch, Error, ErrorKind, Result, VolumeId, clock::Timestamp,
    tree::TreeTotals,
};
use serde::{Deserialize, Serialize};

/// The format that this version reads and writes.
pub const FORMAT: u16 = 1;

/// Sessions that are remembered although the head was not seen to have them: the request of a killed process may
/// still be under way.
const SESSIONS_MAX: usize = 8;

/// What a workspace remembers; durable before what it allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The format.
    pub format: u16,
    /// The volume.
    pub volume: VolumeId,
    /// The commit that the tree was hydrated from or last committed as; `None` for an empty volume.
    pub base: Option<CommitName>,
    /// A commit of this tree that is offered to the head, and not known to be accepted.
    pub offered: Option<CommitName>,
    /// The epoch that may write here.
    pub epoch: Epoch,
    /// The sessions that asked for the head, the newest last: a lease of any is this workspace's.
    #[serde(default)]
    pub sessions: Vec<SessionId>,
    /// Whether the tree may differ from the base.
    pub tree: Tree,
    /// Whether the tree is all there.
    pub hydrated: Hydrated,
    /// When it was last used, by this node's clock: what is evicted first.
    pub used: Timestamp,
    /// How large the base is.
    pub totals: TreeTotals,
}

/// Whether the tree of a workspace is all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hydrated {
    /// It is.
    Whole,
    /// A hydration was begun and is not known to have ended.
    Partly,
}

/// An attachment of the store, and what shows it on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// The attachment of the store.
    pub record: AttachmentRecord,
    /// The attachment of the near store.
    pub near: AttachmentId,
}

impl State {
    /// A workspace in which nothing is yet.
    pub fn new(volume: VolumeId, now: Timestamp) -> Self {
        Self {
            format: FORMAT,
            volume,
            base: None,
            offered: None,
            epoch: Epoch::ZERO,
            sessions: Vec::new(),
            tree: Tree::Clean,
            hydrated: Hydrated::Partly,
            used: now,
            totals: TreeTotals::default(),
        }
    }

    /// This state before `session` asks for the head, in which `held` has the lease.
    #[must_use]
    pub fn asking(mut self, session: SessionId, held: Option<SessionId>) -> Self {
        if self.sessions.last() == Some(&session) {
            return self;
        }
        let newest = self.sessions.len().saturating_sub(SESSIONS_MAX);
        let kept = |(n, known): (usize, SessionId)| (n >= newest || Some(known) == held).then_some(known);
        self.sessions = self.sessions.into_iter().enumerate().filter_map(kept).collect();
        self.sessions.push(session);
        self
    }

    /// Refuses what this version cannot read, or another volume's.
    ///
    /// # Errors
    /// `Unsupported`, `Corrupt`.
    pub fn check(&self, volume: &VolumeId) -> Result<()> {
        if self.format != FORMAT {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the workspace has a format that this version does not know",
            )
            .context("format", self.format)
            .advise("use a newer version, or another workspace directory"));
        }
        if self.volume != *volume {
            return Err(Error::new(ErrorKind::Corrupt, "the workspace is another volume's")
                .context("volume", volume)
                .context("found", &self.volume));
        }
        Ok(())
    }

    /// What is done with the tree once `head` was taken. A commit of ours that the head has was accepted,
    /// whether or not we saw the answer.
    pub fn recovery(&self, head: &Head) -> Recovery {
        let seen = self.clone().resolved(head.commit.as_ref());
        let workspace = recovery::Workspace { volume: seen.volume, base: seen.base, tree: seen.tree };
        match recovery::recovery(&workspace, head) {
            Recovery::Keep if self.hydrated == Hydrated::Partly => Recovery::Hydrate,
            decided => decided,
        }
    }

    /// This state once it is known at which commit the head is: an offer is accepted, or was not.
    #[must_use]
    pub fn resolved(mut self, head: Option<&CommitName>) -> Self {
        let accepted = self.offered.take().filter(|offered| Some(offered) == head);
        if accepted.is_some() {
            self.base = accepted;
        }
        self
    }

    /// Whether `commit` is the base, or was offered and may be by now.
    pub fn may_be(&self, commit: &CommitName) -> bool {
        [&self.base, &self.offered].into_iter().any(|known| known.as_ref() == Some(commit))
    }

    /// This state once the head has `commit`, which has the tree of the one `before` it: that was accepted.
    #[must_use]
    pub fn following(self, before: &CommitName, commit: CommitName) -> Self {
        let mut followed = self.resolved(Some(before));
        if followed.base.as_ref() == Some(before) {
            followed.base = Some(commit);
        }
        followed
    }

    /// This state before anything of the tree is replaced.
    ///
    /// # Errors
    /// `Internal` for a tree that may hold work: it is committed or made a salvage first.
    pub fn hydrating(mut self, now: Timestamp) -> Result<Self> {
        if self.tree == Tree::Dirty {
            return Err(Error::internal("a tree that may hold work was about to be replaced"));
        }
        (self.hydrated, self.offered, self.used) = (Hydrated::Partly, None, now);
        Ok(self)
    }

    /// This state with a whole tree of `base`.
    #[must_use]
    pub fn whole(mut self, base: Option<CommitName>, totals: TreeTotals, now: Timestamp) -> Self {
        (self.base, self.totals, self.hydrated, self.tree) = (base, totals, Hydrated::Whole, Tree::Clean);
        (self.offered, self.used) = (None, now);
        self
    }

    /// This state before the first write under `epoch` is allowed.
    ///
    /// # Errors
    /// `Internal` for a tree that is not whole.
    pub fn writable(mut self, epoch: Epoch, now: Timestamp) -> Result<Self> {
        if self.hydrated == Hydrated::Partly {
            return Err(Error::internal("a tree that is not whole was about to be written"));
        }
        (self.tree, self.epoch, self.used) = (Tree::Dirty, epoch, now);
        Ok(self)
    }

    /// This state once the work of its tree is kept elsewhere: it may be replaced.
    #[must_use]
    pub fn salvaged(mut self) -> Self {
        (self.tree, self.hydrated, self.offered) = (Tree::Clean, Hydrated::Partly, None);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::{names::UniqueName, record::Digest};

    fn volume() -> VolumeId {
        VolumeId::parse("00000000-0000-7000-8000-000000000001").unwrap()
    }

    fn commit(seq: u64) -> CommitName {
        CommitName { seq, epoch: Epoch::new(1), hash: Digest([0; 16]) }
    }

    fn now() -> Timestamp {
        Timestamp::from_millisecond(7)
    }

    fn head_at(seq: u64) -> Head {
        let mut head = Head::new(
            volume(),
            persist_core::VolumeName::new("v").unwrap(),
            UniqueName::of(Epoch::ZERO, 0, b""),
            1,
        )
        .unwrap();
        head.commit = Some(commit(seq));
        head
    }

    fn whole(seq: u64) -> State {
        State::new(volume(), now()).whole(Some(commit(seq)), TreeTotals::default(), now())
    }

    #[test]
    fn a_partly_hydrated_tree_is_never_taken_for_a_whole_one() {
        let partly = whole(2).hydrating(now()).unwrap();
        assert_eq!(partly.recovery(&head_at(2)), Recovery::Hydrate);
        assert!(partly.clone().writable(Epoch::new(1), now()).is_err());
        assert_eq!(whole(2).recovery(&head_at(2)), Recovery::Keep);
        assert_eq!(State::new(volume(), now()).recovery(&head_at(2)), Recovery::Hydrate);
    }

    #[test]
    fn work_is_never_replaced_before_it_is_kept_elsewhere() {
        let dirty = whole(1).writable(Epoch::new(3), now()).unwrap();
        assert!(dirty.clone().hydrating(now()).is_err());
        assert_eq!(dirty.recovery(&head_at(2)), Recovery::SalvageThenHydrate);
        assert_eq!(dirty.salvaged().recovery(&head_at(2)), Recovery::Hydrate);
    }

    #[test]
    fn a_commit_of_the_same_tree_is_followed_and_work_on_it_is_kept() {
        let mut dirty = whole(1).writable(Epoch::new(3), now()).unwrap();
        assert_eq!(dirty.clone().following(&commit(1), commit(2)).recovery(&head_at(2)), Recovery::Keep);
        let other = dirty.clone().following(&commit(2), commit(3));
        assert_eq!(other.recovery(&head_at(3)), Recovery::SalvageThenHydrate);
        dirty.offered = Some(commit(2));
        assert!(dirty.may_be(&commit(2)));
        assert_eq!(dirty.following(&commit(2), commit(3)).recovery(&head_at(3)), Recovery::Keep);
    }

    #[test]
    fn a_commit_that_was_offered_counts_once_the_head_has_it() {
        let mut dirty = whole(1).writable(Epoch::new(3), now()).unwrap();
        dirty.offered = Some(commit(2));
        assert_eq!(dirty.recovery(&head_at(2)), Recovery::Keep);
        assert_eq!(dirty.recovery(&head_at(1)), Recovery::Keep);
        assert_eq!(dirty.recovery(&head_at(3)), Recovery::SalvageThenHydrate);
        let resolved = dirty.clone().resolved(Some(&commit(2)));
        assert_eq!((resolved.base, resolved.offered, resolved.tree), (Some(commit(2)), None, Tree::Dirty));
        assert_eq!(dirty.resolved(Some(&commit(3))).base, Some(commit(1)));
    }
}
