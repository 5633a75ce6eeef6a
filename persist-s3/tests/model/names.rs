//! Names of volumes, searched: two that create and one that deletes a name, a snapshot of it, and a prune that
//! undoes what looks abandoned, with requests of all in any order and processes that stop anywhere.
//!
//! Decisions are the crate's ([`FreeChange`]); what is modelled is their order. Three broken orders must fail.

use super::world::volume_named;
use persist_core::{ErrorKind, VolumeName};
use persist_s3::head::{
    free::FreeChange,
    record::{Head, Stage},
};
use stateright::{Checker, HasDiscoveries, Model, Property};

/// The order as it is designed, or broken in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    AsDesigned,
    /// A creation is acknowledged once the name is written, without a change of the head.
    AcknowledgedByTheName,
    /// A deletion looks for snapshots before it announces itself.
    LooksBeforeItAnnounces,
    /// A snapshot is acknowledged without a look at the head.
    SnapshotNotReread,
}

/// A version of something: its content, and how often it was written.
type Version<T> = (T, u8);

/// The store: two volumes that may be, one name, and one snapshot of the first volume.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    heads: [Option<Version<Head>>; 2],
    name: Version<Option<usize>>,
    pin: bool,
    creators: [Creator; 2],
    pruner: Pruner,
    deleter: Deleter,
    taker: Taker,
    writes: u8,
    deleted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Creator {
    Begins,
    ReadsTheName,
    Claims(Version<Option<usize>>),
    Confirms,
    Acknowledged,
    Gave,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Pruner {
    Idle,
    SawHead(usize, Version<Head>),
    Undoes(usize, Version<Head>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Deleter {
    Idle,
    Looks(Version<Head>),
    Deletes(Version<Head>),
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Taker {
    Idle,
    Writes,
    Looks,
    Acknowledged,
    Gave,
}

/// Whose next request arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Create(usize),
    Prune(usize),
    Delete,
    Snapshot,
}

fn name() -> VolumeName {
    VolumeName::new("v").unwrap()
}

impl World {
    fn new() -> Self {
        Self {
            heads: [None, None],
            name: (None, 0),
            pin: false,
            creators: [Creator::Begins, Creator::Begins],
            pruner: Pruner::Idle,
            deleter: Deleter::Idle,
            taker: Taker::Idle,
            writes: 0,
            deleted: false,
        }
    }

    /// Writes the head of a volume if it is still the version that was read.
    fn swap(&mut self, i: usize, base: &Version<Head>, change: &FreeChange) -> Option<Version<Head>> {
        if self.heads[i].as_ref() != Some(base) {
            return None;
        }
        let next = change.of(&base.0, u128::from(base.1) + 1).ok()?;
        self.heads[i] = Some((next, base.1 + 1));
        self.writes += 1;
        self.heads[i].clone()
    }

    /// The same of whatever version is there.
    fn change(&mut self, i: usize, change: &FreeChange) -> Result<(), ErrorKind> {
        let Some(base) = self.heads[i].clone() else { return Err(ErrorKind::NotFound) };
        if change.is_done(&base.0) {
            return Ok(());
        }
        change.of(&base.0, 0).map_err(|e| e.kind())?;
        self.swap(i, &base, change);
        Ok(())
    }

    fn is_free(&self, volume: Option<usize>) -> bool {
        let stage = volume.and_then(|i| self.heads[i].as_ref()).map(|(head, _)| head.stage);
        !matches!(stage, Some(Stage::Naming | Stage::Live | Stage::Deleting | Stage::Returning(_)))
    }

    fn create(&mut self, order: Order, i: usize) {
        self.creators[i] = match self.creators[i].clone() {
            Creator::Begins => {
                self.heads[i] = Some((volume_named(i), 0));
                Creator::ReadsTheName
            }
            Creator::ReadsTheName if !self.is_free(self.name.0) => match self.name.0 {
                Some(other) if other == i => Creator::Confirms,
                _ => {
                    let _ = self.change(i, &FreeChange::Undo);
                    Creator::Gave
                }
            },
            Creator::ReadsTheName => Creator::Claims(self.name),
            Creator::Claims(base) if base == self.name => {
                self.name = (Some(i), self.name.1 + 1);
                if order == Order::AcknowledgedByTheName { Creator::Acknowledged } else { Creator::Confirms }
            }
            Creator::Claims(_) => Creator::ReadsTheName,
            Creator::Confirms => match self.change(i, &FreeChange::Named(name())) {
                Ok(()) => Creator::Acknowledged,
                Err(_) => Creator::Gave,
            },
            end => end,
        };
    }

    fn prune(&mut self, i: usize) {
        let abandoned = |world: &Self| {
            let head = world.heads[i].clone();
            head.filter(|(head, _)| matches!(head.stage, Stage::Naming | Stage::Deleting))
        };
        self.pruner = match self.pruner.clone() {
            Pruner::Idle => abandoned(self).map_or(Pruner::Idle, |head| Pruner::SawHead(i, head)),
            Pruner::SawHead(i, head) if head.0.stage == Stage::Naming && self.name.0 == Some(i) => {
                let _ = self.change(i, &FreeChange::Named(name()));
                Pruner::Idle
            }
            Pruner::SawHead(i, head) => Pruner::Undoes(i, head),
            Pruner::Undoes(i, head) => {
                self.swap(i, &head, &FreeChange::Undo);
                Pruner::Idle
            }
        };
    }

    fn delete(&mut self, order: Order) {
        self.deleter = match self.deleter.clone() {
            Deleter::Idle if self.name.0 == Some(0) => {
                if order == Order::LooksBeforeItAnnounces {
                    match (self.pin, self.heads[0].clone()) {
                        (false, Some(head)) => Deleter::Deletes(head),
                        _ => Deleter::Done,
                    }
                } else {
                    let head = self.heads[0].clone();
                    let announced = head.and_then(|head| self.swap(0, &head, &FreeChange::Announce));
                    announced.map_or(Deleter::Done, Deleter::Looks)
                }
            }
            Deleter::Idle => Deleter::Idle,
            Deleter::Looks(head) if self.pin => {
                self.swap(0, &head, &FreeChange::Undo);
                Deleter::Done
            }
            Deleter::Looks(head) => Deleter::Deletes(head),
            Deleter::Deletes(mut head) => {
                if order == Order::LooksBeforeItAnnounces
                    && let Some(announced) = self.swap(0, &head, &FreeChange::Announce)
                {
                    head = announced;
                }
                self.deleted |= self.swap(0, &head, &FreeChange::Delete(None)).is_some();
                Deleter::Done
            }
            Deleter::Done => Deleter::Done,
        };
    }

    fn snapshot(&mut self, order: Order) {
        let stage = self.heads[0].as_ref().map(|(head, _)| head.stage);
        self.taker = match self.taker {
            Taker::Idle if stage == Some(Stage::Live) => Taker::Writes,
            Taker::Writes => {
                self.pin = true;
                if order == Order::SnapshotNotReread { Taker::Acknowledged } else { Taker::Looks }
            }
            Taker::Looks if stage == Some(Stage::Live) => Taker::Acknowledged,
            Taker::Looks => Taker::Gave,
            ref other => other.clone(),
        };
    }

    /// Every creation that was acknowledged is live under its name, unless it was deleted since.
    fn keeps_what_it_acknowledged(&self) -> bool {
        let is_there = |i: usize| {
            let live = self.heads[i].as_ref().is_some_and(|(head, _)| head.check_there().is_ok());
            (live && self.name.0 == Some(i)) || (i == 0 && self.deleted)
        };
        (0..2).all(|i| self.creators[i] != Creator::Acknowledged || is_there(i))
    }

    /// At most one volume is live under the name.
    fn has_one_volume(&self) -> bool {
        let live = |head: &&Version<Head>| head.0.stage == Stage::Live;
        self.heads.iter().flatten().filter(live).count() <= 1
    }

    /// No snapshot was acknowledged of a volume that was deleted without regard to it.
    fn keeps_snapshots(&self) -> bool {
        self.taker != Taker::Acknowledged || !self.deleted
    }
}

impl Model for Order {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, _: &World, actions: &mut Vec<Step>) {
        let steps = [Step::Create(0), Step::Create(1), Step::Prune(0), Step::Prune(1)];
        actions.extend(steps.into_iter().chain([Step::Delete, Step::Snapshot]));
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        match step {
            Step::Create(i) => next.create(*self, i),
            Step::Prune(i) => next.prune(i),
            Step::Delete => next.delete(*self),
            Step::Snapshot => next.snapshot(*self),
        }
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never is an acknowledged volume lost", |_, w: &World| {
                w.keeps_what_it_acknowledged()
            }),
            Property::always("never has a name two volumes", |_, w: &World| w.has_one_volume()),
            Property::always("never is a snapshot of a deleted volume acknowledged", |_, w: &World| {
                w.keeps_snapshots()
            }),
            Property::sometimes("a volume is deleted", |_, w: &World| w.deleted),
            Property::sometimes("a snapshot is taken", |_, w: &World| w.taker == Taker::Acknowledged),
            Property::sometimes("the second creation wins", |_, w: &World| {
                w.creators[1] == Creator::Acknowledged && w.creators[0] == Creator::Gave
            }),
            Property::sometimes("a creation is undone", |_, w: &World| {
                w.creators == [Creator::Gave, Creator::Gave]
            }),
        ]
    }
}

fn search(order: Order) -> impl Checker<Order> {
    order.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join()
}

fn broken(checker: &impl Checker<Order>) -> Vec<&'static str> {
    checker.discoveries().into_keys().filter(|name| name.starts_with("never")).collect()
}

#[test]
fn names_and_snapshots_keep_their_promises() {
    let checker = search(Order::AsDesigned);
    for (name, path) in checker.discoveries() {
        let steps: String = path.into_actions().iter().map(|step| format!("{step:?}\n")).collect();
        assert!(!name.starts_with("never"), "{name} is broken by\n{steps}");
    }
    println!("{} unique states, depth {}", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

#[test]
fn every_broken_order_is_found_out() {
    for order in [Order::AcknowledgedByTheName, Order::LooksBeforeItAnnounces, Order::SnapshotNotReread] {
        let checker = search(order);
        println!("{order:?}: {:?} at depth {}", broken(&checker), checker.max_depth());
        assert!(!broken(&checker).is_empty(), "the search did not see that {order:?} is broken");
    }
}
