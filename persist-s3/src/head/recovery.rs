//! What becomes of a workspace that a crash has left: its tree may hold work that was never committed.

use super::record::{CommitName, Head};
use persist_core::VolumeId;

/// What a workspace remembers; written before the first change of its tree is allowed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Workspace {
    /// The volume.
    pub volume: VolumeId,
    /// The commit that its tree was hydrated from or last committed as.
    pub base: Option<CommitName>,
    /// Whether its tree may differ from that commit.
    pub tree: Tree,
}

/// Whether the tree of a workspace may differ from its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Tree {
    /// It does not.
    Clean,
    /// It may.
    Dirty,
}

/// What is done with a workspace before the volume is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The tree is kept as it is, and committed under the new epoch if it is dirty.
    Keep,
    /// The tree is only a start for hydration: what differs from the head is fetched.
    Hydrate,
    /// The tree holds work on a commit that the volume has left: it is made a salvage *before* anything
    /// of it is replaced.
    SalvageThenHydrate,
    /// It is another volume's.
    Foreign,
}

/// What is done with `workspace` once `head` was taken.
pub fn recovery(workspace: &Workspace, head: &Head) -> Recovery {
    match (workspace.base == head.commit, workspace.tree) {
        _ if workspace.volume != head.volume => Recovery::Foreign,
        (true, _) => Recovery::Keep,
        (false, Tree::Clean) => Recovery::Hydrate,
        (false, Tree::Dirty) => Recovery::SalvageThenHydrate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::{names::UniqueName, record::Digest};
    use persist_core::{Epoch, VolumeName};

    #[test]
    fn work_on_a_commit_that_the_volume_has_left_is_a_salvage_first() {
        let id =
            |last: u8| VolumeId::parse(&format!("00000000-0000-7000-8000-0000000000{last:02x}")).unwrap();
        let commit = |seq| CommitName { seq, epoch: Epoch::new(1), hash: Digest([0; 16]) };
        let mut head =
            Head::new(id(1), VolumeName::new("v").unwrap(), UniqueName::of(Epoch::ZERO, 0, b""), 1).unwrap();
        head.commit = Some(commit(2));
        for (volume, base, tree, expected) in [
            (1, 2, Tree::Dirty, Recovery::Keep),
            (1, 2, Tree::Clean, Recovery::Keep),
            (1, 1, Tree::Clean, Recovery::Hydrate),
            (1, 1, Tree::Dirty, Recovery::SalvageThenHydrate),
            (2, 2, Tree::Dirty, Recovery::Foreign),
        ] {
            let workspace = Workspace { volume: id(volume), base: Some(commit(base)), tree };
            assert_eq!(recovery(&workspace, &head), expected, "{workspace:?}");
        }
    }
}
