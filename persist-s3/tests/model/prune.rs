//! Pruners: what each does with the head that it holds, and the deletes that it has sent.

use super::{
    actions::Action,
    effects::change,
    world::{Client, Protocol, Scope, Variant, World},
};
use persist_s3::head::{
    names::Condemned,
    prune::{condemnable, sentence},
    record::Removal,
    writer::Writer,
};
use std::collections::BTreeSet;

/// What the holder may do next of a prune.
pub(crate) fn possible(
    protocol: Protocol,
    world: &World,
    (i, client, writer): (usize, &Client, &Writer),
    actions: &mut Vec<Action>,
) {
    let head = writer.head();
    let idle = || !condemnable(head, &world.packs, &world.needs(head.commit.as_ref())).is_empty();
    let condemned = !head.tombstones.is_empty();
    match (&client.removing, head.removal) {
        (None, _) if protocol.variant == Variant::DeleteBeforeTombstone && idle() => {
            actions.push(Action::Sentence(i));
        }
        (None, _) if !condemned && idle() => actions.push(Action::Condemn(i)),
        (None, Removal::Announced) if condemned => actions.push(Action::Sentence(i)),
        (None, Removal::Begun) => actions.push(Action::Delete(i)),
        (Some(removing), _) if removing.is_disjoint(&world.packs) => actions.push(Action::Absolve(i)),
        _ => {}
    }
}

pub(crate) fn condemn(protocol: Protocol, world: &mut World, i: usize) -> bool {
    let Some(writer) = &world.clients[i].writer else { return false };
    let mut packs = condemnable(writer.head(), &world.packs, &world.needs(writer.head().commit.as_ref()));
    if protocol.variant == Variant::PinsListedBeforeTombstones {
        packs.retain(|pack| !pinned(world).contains(pack));
    }
    change(protocol.variant, world, i, |head, session, nonce| head.condemned(session, packs, nonce))
}

/// Lists who speaks for what is condemned, after the tombstones were written, and writes into the head what goes.
pub(crate) fn pronounce(protocol: Protocol, world: &mut World, i: usize) -> bool {
    let Some(writer) = &world.clients[i].writer else { return false };
    let mut spoken_for: BTreeSet<_> = world.salvages.values().flatten().cloned().collect();
    if protocol.variant != Variant::PinsListedBeforeTombstones {
        spoken_for.extend(pinned(world));
    }
    let mut head = writer.head().clone();
    if protocol.variant == Variant::DeleteBeforeTombstone {
        head.tombstones = condemnable(&head, &world.packs, &world.needs(head.commit.as_ref()));
    }
    let remove = sentence(&head.tombstones, &spoken_for).remove;
    if matches!(protocol.variant, Variant::DeleteBeforeTombstone | Variant::SparedAfterDeletes) {
        world.deletes.extend(remove.iter().cloned());
        world.clients[i].removing = Some(remove);
        return true;
    }
    if remove.is_empty() {
        return absolve(protocol.variant, world, i);
    }
    change(protocol.variant, world, i, |head, session, nonce| head.removing(session, (remove, None), nonce))
}

/// Sends the deletes of a removal that has begun, whoever began it.
pub(crate) fn delete(world: &mut World, i: usize) -> bool {
    let Some(writer) = &world.clients[i].writer else { return false };
    let remove = writer.head().tombstones.clone();
    world.deletes.extend(remove.iter().cloned());
    world.clients[i].removing = Some(remove);
    true
}

/// Drops the tombstones of what is gone for certain, and of what somebody has spoken for.
pub(crate) fn absolve(variant: Variant, world: &mut World, i: usize) -> bool {
    world.clients[i].removing = None;
    let Some(writer) = &world.clients[i].writer else { return false };
    if writer.head().tombstones.is_empty() {
        return true;
    }
    change(variant, world, i, |head, session, nonce| head.absolved(session, nonce))
}

/// Whether a prune is looked at in `scope`.
pub(crate) fn is_in(scope: Scope) -> bool {
    scope != Scope::Disk
}

/// What readers speak for: of a commit that is gone, nothing.
fn pinned(world: &World) -> BTreeSet<Condemned> {
    let there = world.pins.iter().filter(|name| world.packs.contains(&Condemned::Commit((*name).clone())));
    there.flat_map(|name| world.needs(Some(name))).collect()
}
