//! The head protocol, searched: two writers and a clone of one of them, messages lost, repeated and late,
//! crashes and take-overs at any moment. The decisions are those of the crate; the world is this test's.
//!
//! The broken variants must fail: they show that the search can find what it looks for.
//! `PERSIST_MODEL_STATES` sets how many states a search visits at most (600,000 in `.ci/run model`: more than 10^6
//! unique ones in all).

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test")]

mod actions;
mod disk;
mod effects;
mod names;
mod pins;
mod prune;
mod world;

use actions::Action;
use pins::Reader;
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeSet;
use world::{Protocol, Scope, Variant, World};

/// States of a search in the plain test.
const STATES: usize = 150_000;

/// A search that has met the state it must never meet, or has run out of states.
fn search(variant: Variant, scope: Scope) -> impl Checker<Protocol> {
    let states: usize = std::env::var("PERSIST_MODEL_STATES").map_or(STATES, |text| text.parse().unwrap());
    // What is broken is found at the first path that shows it: that it is found is not to hang on the bound.
    let states = if variant == Variant::AsDesigned { states } else { 3 * states };
    let checker = Protocol { variant, scope }.checker().threads(2).target_state_count(states);
    checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join()
}

fn violations(checker: &impl Checker<Protocol>) -> Vec<&'static str> {
    let promises = checker.model().properties();
    let broken = |name: &&str| {
        promises.iter().any(|p| p.name == *name && p.expectation == stateright::Expectation::Always)
    };
    checker.discoveries().into_keys().filter(broken).collect()
}

#[test]
fn the_protocol_keeps_its_promises() {
    let (mut met, mut all) = (BTreeSet::new(), 0);
    for scope in Scope::ALL {
        let checker = search(Variant::AsDesigned, scope);
        let broken = violations(&checker);
        if let Some((name, path)) = checker.discoveries().into_iter().find(|(name, _)| broken.contains(name))
        {
            let steps: String = path.into_actions().iter().map(|action| format!("{action:?}\n")).collect();
            panic!("{name} is broken in {scope:?} by\n{steps}");
        }
        met.extend(checker.discoveries().into_keys());
        all += checker.unique_state_count();
        println!("{scope:?}: {} unique states, depth {}", checker.unique_state_count(), checker.max_depth());
    }
    println!("{all} unique states in all");
    for name in SOMETIMES {
        assert!(met.contains(name), "{name} never happened");
    }
}

/// A broken variant is found out, by a promise that names what it breaks.
macro_rules! must_fail {
    ($($test:ident: $variant:ident in $scope:ident;)*) => {
        $(#[test]
        fn $test() {
            let checker = search(Variant::$variant, Scope::$scope);
            let broken = violations(&checker);
            println!("{:?}: {broken:?} at depth {}", Variant::$variant, checker.max_depth());
            assert!(!broken.is_empty(), "the search did not see that {:?} is broken", Variant::$variant);
        })*
    };
}

must_fail! {
    pack_names_that_are_used_again_lose_a_salvage: NamesReused in Prune;
    a_salvage_that_does_not_read_the_head_again_is_lost: SalvageNotReread in Prune;
    packs_deleted_before_their_tombstones_lose_a_salvage: DeleteBeforeTombstone in Prune;
    write_ids_from_cloned_state_lose_a_commit: WriteIdFromClonedState in Clone;
    a_head_written_without_a_condition_loses_a_commit: NoIfMatch in Network;
    what_deletes_were_sent_for_and_is_spared_loses_a_reader: SparedAfterDeletes in Pins;
    a_pin_without_a_second_look_at_the_head_loses_a_reader: PinNotReread in Pins;
    pins_listed_before_the_tombstones_lose_a_reader: PinsListedBeforeTombstones in Pins;
    work_committed_although_the_head_has_moved_undoes_a_commit: CommittedAlthoughTheHeadMoved in Disk;
    a_tree_replaced_before_its_salvage_loses_work: HydratedBeforeSalvage in Disk;
    a_write_before_the_workspace_says_so_loses_work: WrittenBeforeItSaysSo in Disk;
}

/// What a search must have met, so that it is known to have looked there.
const SOMETIMES: [&str; 6] = [
    "a salvage is finished",
    "a take-over commits",
    "a pack is removed",
    "a clone runs",
    "a reader reads what the head has left",
    "a reader is refused",
];

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.scope)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions::possible(*self, world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        effects::act(*self, &mut next, &action).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never is an acknowledged commit lost", |_, w: &World| {
                w.keeps_what_it_acknowledged()
            }),
            Property::always("never does the head's commit lack a pack", |_, w: &World| w.head_is_whole()),
            Property::always("never does a finished salvage lack a pack", |_, w: &World| {
                w.salvages_are_whole()
            }),
            Property::always("never does an epoch go back", |_, w: &World| w.head.epoch >= w.newest_epoch),
            Property::always("never is work lost", |_, w: &World| w.keeps_work()),
            Property::always("never does a commit undo another's work", |_, w: &World| w.undoes_nothing()),
            Property::always("never does a reader miss what it has pinned", |_, w: &World| {
                w.pinned_is_whole()
            }),
            Property::always("never does a workspace refuse what the protocol asks", |_, w: &World| {
                !w.refused
            }),
            Property::sometimes(SOMETIMES[0], |_, w: &World| !w.finished.is_empty()),
            Property::sometimes(SOMETIMES[1], |_, w: &World| {
                w.acknowledged.iter().any(|c| c.epoch.get() > 1)
            }),
            Property::sometimes(SOMETIMES[2], |_, w: &World| w.removed > 0),
            Property::sometimes(SOMETIMES[3], |_, w: &World| w.clients[2].runs),
            Property::sometimes(
                SOMETIMES[4],
                |_, w: &World| matches!(&w.reader, Reader::Reads(commit) if w.head.commit.as_ref() != Some(commit)),
            ),
            Property::sometimes(SOMETIMES[5], |_, w: &World| w.reader == Reader::Refused),
        ]
    }
}
