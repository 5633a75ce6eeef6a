//! Workspaces: what a machine has on its disk, and what a process does with it between taking the head and the
//! first write. Each step is durable, and a crash comes between any two.

use super::world::{Client, Protocol, Scope, Variant, World};
use persist_core::{Epoch, VolumeId, clock::Timestamp};
use persist_s3::{
    head::{
        record::{CommitName, Head},
        recovery::{Recovery, Tree},
    },
    workspace::state::{Hydrated, State},
};
use std::hash::{Hash, Hasher};

/// What survives a crash, and is copied with the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// What the workspace remembers.
    pub state: State,
    /// The commit whose tree is there, and the work on top of it.
    pub tree: Option<CommitName>,
    pub work: Option<u8>,
}

/// What a process that has taken the head does next with its workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// It compares the workspace with the head.
    Settles,
    /// It keeps the work that the head has left behind.
    Salvages,
    /// It is about to replace the tree.
    Replaces,
    /// It has replaced a part of it.
    Fills,
    /// It is about to allow writes.
    Allows,
    /// Its tree is written.
    Ready,
}

impl Disk {
    pub(crate) fn new(volume: VolumeId) -> Self {
        Self { state: State::new(volume, now()), tree: None, work: None }
    }

    /// The tree of `commit` is there, and nobody writes it.
    pub(crate) fn fill(&mut self, commit: CommitName) {
        self.state = self.state.clone().whole(Some(commit.clone()), Default::default(), now());
        self.tree = Some(commit);
    }

    /// The commit that was offered is the head's.
    pub(crate) fn accepted(&mut self, commit: &CommitName) {
        self.state = self.state.clone().resolved(Some(commit));
        self.state.tree = Tree::Dirty;
        (self.tree, self.work) = (Some(commit.clone()), None);
    }

    /// What is there is kept as a salvage.
    pub(crate) fn salvaged(&mut self) {
        self.state = self.state.clone().salvaged();
        self.work = None;
    }
}

impl Hash for Disk {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let State { base, offered, epoch, sessions, tree, hydrated, .. } = &self.state;
        (base, offered, epoch, sessions).hash(hasher);
        (*tree == Tree::Dirty, *hydrated == Hydrated::Whole, &self.tree, self.work).hash(hasher);
    }
}

/// Whether a client may stop between the steps with its workspace: one is enough, the others are those that come
/// between.
pub(crate) fn stops(scope: Scope, i: usize) -> bool {
    scope == Scope::Disk && i == 0
}

/// Does the next step of a client that has taken the head; all of them, if it never stops in between.
pub(crate) fn prepare(protocol: Protocol, world: &mut World, i: usize) -> bool {
    loop {
        let client = &mut world.clients[i];
        let Some(head) = client.writer.as_ref().map(|writer| writer.head().clone()) else { return false };
        if !step(protocol.variant, client, &head) {
            world.refused = true;
            return true;
        }
        let ends = matches!(client.stage, Stage::Salvages | Stage::Ready);
        if ends || stops(protocol.scope, i) {
            return true;
        }
    }
}

/// One durable step; false if the workspace refuses it.
fn step(variant: Variant, client: &mut Client, head: &Head) -> bool {
    let state = client.disk.state.clone();
    (client.stage, client.disk.state) = match client.stage {
        Stage::Settles => {
            let next = match (state.recovery(head), variant) {
                (Recovery::Keep, _)
                | (Recovery::SalvageThenHydrate, Variant::CommittedAlthoughTheHeadMoved) => Stage::Allows,
                (Recovery::SalvageThenHydrate, Variant::HydratedBeforeSalvage) => Stage::Replaces,
                (Recovery::SalvageThenHydrate, _) => Stage::Salvages,
                (Recovery::Hydrate, _) => Stage::Replaces,
                (Recovery::Foreign, _) => return false,
            };
            if state.offered.is_some() && state.offered == head.commit {
                (client.disk.tree, client.disk.work) = (head.commit.clone(), None);
            }
            client.salvaging = (next == Stage::Salvages).then_some(state.epoch);
            (next, state.resolved(head.commit.as_ref()))
        }
        Stage::Replaces => {
            let state = match variant {
                Variant::HydratedBeforeSalvage => State { tree: Tree::Clean, ..state },
                _ => state,
            };
            let Ok(state) = state.hydrating(now()) else { return false };
            (client.disk.tree, client.disk.work) = (None, None);
            (Stage::Fills, state)
        }
        Stage::Fills => {
            client.disk.tree = head.commit.clone();
            (Stage::Allows, state.whole(head.commit.clone(), Default::default(), now()))
        }
        Stage::Allows if variant == Variant::WrittenBeforeItSaysSo => (Stage::Ready, state),
        Stage::Allows => {
            let Ok(state) = state.writable(head.epoch, now()) else { return false };
            (Stage::Ready, state)
        }
        stage => (stage, state),
    };
    true
}

/// Under which epoch the work of a client is kept: that of its session, or that in which the disk was left.
pub(crate) fn salvage_epoch(client: &Client) -> Option<Epoch> {
    match client.stage {
        Stage::Ready => client.writer.as_ref().map(|writer| writer.head().epoch),
        _ => Some(client.disk.state.epoch),
    }
}

/// The model knows no time.
fn now() -> Timestamp {
    Timestamp::from_millisecond(0)
}
