//! The store, the network and the clients, as small as they can be.

use super::{
    disk::{Disk, Stage},
    pins::Reader,
};
use persist_core::{
    Access, AttachmentId, Epoch, Holder, Liveness, Node, NodeId, VolumeId, VolumeName, Workload,
    clock::Timestamp, holder::BootId,
};
use persist_s3::head::{
    names::{Condemned, UniqueName},
    record::{Beats, CommitName, Digest, Head, Lease, PackName, SessionId},
    writer::{ETag, Put, Writer},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The model of one variant, in one scope.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol {
    pub(crate) variant: Variant,
    pub(crate) scope: Scope,
}

/// What may happen beside attach, commit, take-over and salvage: a small scope is searched to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Answers are lost, requests come late and twice.
    Network,
    /// Packs are removed, by deletes that come late and twice.
    Prune,
    /// A running machine is cloned, or another one is started from its disk.
    Clone,
    /// A process dies, its workspace stays.
    Crash,
    /// It dies between any two steps with its workspace, and a second time, and another takes over. No prune.
    Disk,
    /// A reader pins a commit while pruners remove it, also such as have lost the head.
    Pins,
    /// All of it.
    Everything,
}

impl Scope {
    pub(crate) const ALL: [Self; 7] =
        [Self::Network, Self::Prune, Self::Clone, Self::Crash, Self::Disk, Self::Pins, Self::Everything];

    pub(crate) fn has(self, part: Self) -> bool {
        self == part || self == Self::Everything
    }

    /// Whether a client hears at once what became of its request: where answers are not lost, a crash before it was
    /// heard is one before the request arrived, which then is late.
    pub(crate) fn hears_at_once(self) -> bool {
        matches!(self, Self::Disk | Self::Pins)
    }

    /// Pieces of work that are written at most.
    pub(crate) fn works(self) -> u8 {
        if self == Self::Pins { 0 } else { 2 }
    }

    /// Processes that die at most.
    pub(crate) fn crashes(self) -> u8 {
        match self {
            Self::Crash | Self::Pins | Self::Everything => 1,
            Self::Disk => 2,
            _ => 0,
        }
    }
}

/// The protocol as it is designed, or broken in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    AsDesigned,
    NamesReused,
    SalvageNotReread,
    DeleteBeforeTombstone,
    WriteIdFromClonedState,
    NoIfMatch,
    /// A removal begins without a word in the head, and what a tombstone is left of is spared by the next pruner.
    SparedAfterDeletes,
    PinNotReread,
    PinsListedBeforeTombstones,
    CommittedAlthoughTheHeadMoved,
    HydratedBeforeSalvage,
    WrittenBeforeItSaysSo,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub head: Head,
    pub commits: BTreeMap<CommitName, Commit>,
    pub packs: BTreeSet<Condemned>,
    /// By epoch and by the client that wrote it.
    pub salvages: BTreeMap<(Epoch, usize), BTreeSet<Condemned>>,
    pub puts: Vec<(usize, Put)>,
    pub deletes: BTreeSet<Condemned>,
    pub clients: [Client; 3],
    pub reader: Reader,
    pub pins: BTreeSet<CommitName>,
    /// What history remembers, for the promises.
    pub acknowledged: BTreeSet<CommitName>,
    pub finished: BTreeSet<(Epoch, usize)>,
    pub newest_epoch: Epoch,
    pub written: u8,
    pub removed: u8,
    pub crashes: u8,
    /// A workspace refused what the protocol asked of it.
    pub refused: bool,
}

/// An immutable commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Commit {
    pub parent: Option<CommitName>,
    /// The commit on whose tree it was written.
    pub written_on: Option<CommitName>,
    pub needs: BTreeSet<Condemned>,
}

/// A machine that attaches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub runs: bool,
    pub writer: Option<Writer>,
    /// What it heard about the change that is under way.
    pub heard: Option<Heard>,
    /// Survives a crash.
    pub disk: Disk,
    /// How far it is with its workspace since it took the head.
    pub stage: Stage,
    /// The commit that is under way.
    pub committing: Option<CommitName>,
    /// The salvage that is being written.
    pub salvaging: Option<Epoch>,
    /// What its prune has sent deletes for, in this life.
    pub removing: Option<BTreeSet<Condemned>>,
    pub uploads: u64,
    pub nonce: u128,
}

/// What a client heard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Heard {
    Success(ETag),
    AnythingElse,
}

impl World {
    /// A volume at a first commit that needs one pack; nobody writes. Where a scope is about what comes later, the
    /// world is so far: a reader has seen a commit that the head has left, disks have been filled.
    pub(crate) fn new(scope: Scope) -> Self {
        let mut world = Self::at(World::chain(scope));
        match scope {
            Scope::Pins => world.reader = Reader::Saw(first()),
            Scope::Disk => world.clients.iter_mut().for_each(|client| client.disk.fill(first())),
            _ => {}
        }
        world
    }

    /// The commits that are there, the last one the head's.
    fn chain(scope: Scope) -> Vec<(CommitName, Commit)> {
        let commit = |name: &CommitName, parent: Option<CommitName>| {
            let mut needs = BTreeSet::from([pack(Epoch::ZERO, name.seq, name.hash.0[0])]);
            // Elsewhere a commit object is never missed: states are dear.
            needs.extend(scope.has(Scope::Pins).then(|| Condemned::Commit(name.clone())));
            (name.clone(), Commit { written_on: parent.clone(), parent, needs })
        };
        let second = CommitName { seq: 1, hash: digest(9), ..first() };
        let mut chain = vec![commit(&first(), None)];
        chain.extend((scope == Scope::Pins).then(|| commit(&second, Some(first()))));
        chain
    }

    fn at(chain: Vec<(CommitName, Commit)>) -> Self {
        let mut head =
            Head::new(volume(), VolumeName::new("v").unwrap(), UniqueName::of(Epoch::ZERO, 0, b""), 0)
                .unwrap();
        let (newest, _) = chain.last().unwrap();
        (head.seq, head.commit) = (newest.seq, Some(newest.clone()));
        let head = head.sealed(0).unwrap();
        let client = Client {
            runs: true,
            writer: None,
            heard: None,
            disk: Disk::new(volume()),
            stage: Stage::Settles,
            committing: None,
            salvaging: None,
            removing: None,
            uploads: 0,
            nonce: 0,
        };
        Self {
            head,
            packs: chain.iter().flat_map(|(_, commit)| commit.needs.clone()).collect(),
            commits: chain.into_iter().collect(),
            salvages: BTreeMap::new(),
            puts: Vec::new(),
            deletes: BTreeSet::new(),
            clients: [client.clone(), client.clone(), Client { runs: false, ..client }],
            reader: Reader::Idle,
            pins: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            finished: BTreeSet::new(),
            newest_epoch: Epoch::ZERO,
            written: 0,
            removed: 0,
            crashes: 0,
            refused: false,
        }
    }

    /// A content-derived ETag, as most stores have it: the same body gives the same one.
    pub(crate) fn etag(&self) -> ETag {
        ETag(format!("{:x}-{}-{:?}", self.head.write.nonce, self.head.write.body, self.head.commit))
    }

    /// Whether `commit` is the head's or an ancestor of it.
    pub(crate) fn in_history(&self, commit: &CommitName) -> bool {
        let mut at = self.head.commit.as_ref();
        while let Some(name) = at {
            if name == commit {
                return true;
            }
            at = self.commits.get(name).and_then(|c| c.parent.as_ref());
        }
        false
    }

    /// The packs of a commit.
    pub(crate) fn needs(&self, commit: Option<&CommitName>) -> BTreeSet<Condemned> {
        commit.and_then(|name| self.commits.get(name)).map(|c| c.needs.clone()).unwrap_or_default()
    }

    pub(crate) fn keeps_what_it_acknowledged(&self) -> bool {
        self.acknowledged.iter().all(|commit| self.in_history(commit))
    }

    pub(crate) fn head_is_whole(&self) -> bool {
        self.needs(self.head.commit.as_ref()).is_subset(&self.packs)
    }

    pub(crate) fn salvages_are_whole(&self) -> bool {
        self.finished.iter().all(|key| self.salvages[key].is_subset(&self.packs))
    }

    /// Each commit of the history was written on the tree of the one before it: nobody's work is undone by another's.
    pub(crate) fn undoes_nothing(&self) -> bool {
        let right = |(name, commit): (&CommitName, &Commit)| {
            !self.in_history(name) || commit.parent == commit.written_on
        };
        self.commits.iter().all(right)
    }

    /// What a reader reads by its pin is there.
    pub(crate) fn pinned_is_whole(&self) -> bool {
        match &self.reader {
            Reader::Reads(commit) => self.needs(Some(commit)).is_subset(&self.packs),
            _ => true,
        }
    }

    /// Every piece of work that was written is in a workspace, in the history, or in a finished salvage.
    pub(crate) fn keeps_work(&self) -> bool {
        let holds =
            |packs: &BTreeSet<Condemned>, work| packs.iter().any(|pack| content(pack) == digest(work));
        let in_history = |work| {
            let made =
                |(name, commit): (&CommitName, &Commit)| self.in_history(name) && holds(&commit.needs, work);
            self.commits.iter().any(made)
        };
        (1..=self.written).all(|work| {
            self.clients.iter().any(|c| c.runs && c.disk.work == Some(work))
                || in_history(work)
                || self.finished.iter().any(|key| holds(&self.salvages[key], work))
        })
    }
}

/// A lease of a client; the times are for people, and the model takes over at any moment.
pub(crate) fn lease(session: u128) -> Lease {
    let node = Node::new(NodeId::new("n").unwrap(), BootId::new("b").unwrap());
    Lease {
        attachment: AttachmentId::parse("00000000-0000-7000-8000-000000000001").unwrap(),
        session: SessionId(session),
        holder: Holder::new(node, Workload::new("w").unwrap(), Liveness::External),
        access: Access::ReadWrite,
        since: Timestamp::from_millisecond(0),
        ttl: Duration::from_secs(60),
        beats: Beats::Renewed,
    }
}

/// The name of a pack that holds `content`.
pub(crate) fn pack(epoch: Epoch, seq: u64, content: u8) -> Condemned {
    Condemned::Pack(PackName { epoch, seq, hash: digest(content) })
}

/// What a pack holds.
pub(crate) fn content(pack: &Condemned) -> Digest {
    match pack {
        Condemned::Pack(name) => name.hash,
        Condemned::Commit(name) => name.hash,
    }
}

/// Stands for the hash of a content.
pub(crate) fn digest(content: u8) -> Digest {
    Digest([content; 16])
}

/// The first commit of every world.
fn first() -> CommitName {
    CommitName { seq: 0, epoch: Epoch::ZERO, hash: digest(0) }
}

fn volume() -> VolumeId {
    VolumeId::parse("00000000-0000-7000-8000-000000000000").unwrap()
}

/// The head of a volume that was just begun under the one name that a search is about.
pub(crate) fn volume_named(number: usize) -> Head {
    let id = VolumeId::parse(&format!("00000000-0000-7000-8000-{number:012}")).unwrap();
    let record = UniqueName::of(Epoch::ZERO, 0, b"");
    Head::new(id, VolumeName::new("v").unwrap(), record, 0).unwrap()
}
