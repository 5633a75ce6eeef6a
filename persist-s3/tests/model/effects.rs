//! What an action does. Every decision is the crate's own.

use super::{
    actions::{Action, Copies, Reply, Shape},
    disk::{self, Stage},
    pins, prune,
    world::{Client, Commit, Heard, Protocol, Scope, Variant, World, content, digest, lease, pack},
};
use persist_core::Epoch;
use persist_s3::head::{
    change::FoundBy,
    names::Condemned,
    prune::to_upload_again,
    record::{CommitName, Digest, Head, Removal, SessionId},
    recovery::Tree,
    writer::{Found, Put, Resolution, Standing, Writer},
};
use std::collections::BTreeSet;

/// Does `action`; false if it changes nothing worth a state.
pub(crate) fn act(protocol: Protocol, world: &mut World, action: &Action) -> bool {
    let variant = protocol.variant;
    match action {
        Action::Ask(i) => ask(world, *i),
        Action::Prepare(i) => disk::prepare(protocol, world, *i),
        Action::Write(i) => {
            world.written += 1;
            world.clients[*i].disk.work = Some(world.written);
            true
        }
        Action::Commit(i, shape) => commit(protocol, world, *i, *shape),
        Action::Release(i) => {
            // It was compared with its base once more.
            world.clients[*i].disk.state.tree = Tree::Clean;
            change(variant, world, *i, |head, session, nonce| head.released(session, nonce))
        }
        Action::Deliver(k, reply, copies) => {
            let i = world.puts[*k].0;
            deliver(variant, world, *k, *reply, *copies);
            if protocol.scope.hears_at_once() {
                hear(protocol, world, i);
            }
            true
        }
        Action::DropRequest(k) => {
            world.puts.remove(*k);
            true
        }
        Action::TimeOut(i) => {
            world.clients[*i].heard = Some(Heard::AnythingElse);
            true
        }
        Action::Hear(i) => hear(protocol, world, *i),
        Action::Crash(i) => crash(world, *i),
        Action::Clone => {
            world.clients[2] = world.clients[0].clone();
            true
        }
        Action::CloneDisk => {
            let (disk, nonce) = (world.clients[0].disk.clone(), world.clients[0].nonce);
            let clone = &mut world.clients[2];
            (clone.runs, clone.disk, clone.nonce) = (true, disk, nonce);
            true
        }
        Action::Salvage(i) => salvage(variant, world, *i),
        Action::CheckSalvage(i) => check_salvage(variant, world, *i),
        Action::Condemn(i) => prune::condemn(protocol, world, *i),
        Action::Sentence(i) => prune::pronounce(protocol, world, *i),
        Action::Delete(i) => prune::delete(world, *i),
        Action::DeliverDelete(pack, copies) => {
            world.removed |= u8::from(world.packs.remove(pack));
            *copies == Copies::Again || world.deletes.remove(pack)
        }
        Action::Absolve(i) => prune::absolve(variant, world, *i),
        Action::Read => pins::read(variant, world),
    }
}

fn ask(world: &mut World, i: usize) -> bool {
    let (nonce, etag) = (fresh(&mut world.clients[i], i), world.etag());
    let Ok((writer, put)) = Writer::ask(&world.head, (&etag, FoundBy::Name), lease(nonce), nonce) else {
        return false;
    };
    let client = &mut world.clients[i];
    let held = world.head.lease.as_ref().map(|lease| lease.session);
    client.disk.state = client.disk.state.clone().asking(writer.session(), held);
    (client.writer, client.stage, client.uploads) = (Some(writer), Stage::Settles, 0);
    world.puts.push((i, put));
    true
}

/// Begins a change of the head by its holder, with randomness that is the world's or, in the broken
/// variant, the client's own, which a clone copies.
pub(crate) fn change(
    variant: Variant,
    world: &mut World,
    i: usize,
    next: impl FnOnce(&Head, SessionId, u128) -> persist_core::Result<Head>,
) -> bool {
    let cloned = variant == Variant::WriteIdFromClonedState;
    let client = &mut world.clients[i];
    let fresh = fresh(client, i);
    let nonce = if cloned { client.nonce } else { fresh };
    let Some(writer) = &mut client.writer else { return false };
    let body = |head: &Head, session| {
        let mut body = next(head, session, nonce)?;
        if cloned {
            body.write.body = Digest([0; 16]);
        }
        Ok(body)
    };
    let Ok(put) = writer.change(body) else { return false };
    world.puts.push((i, put));
    true
}

/// Randomness that nobody else draws: here, a client's own count. A clone has copied the count.
fn fresh(client: &mut Client, i: usize) -> u128 {
    client.nonce += 1;
    client.nonce * 3 + i as u128
}

fn commit(protocol: Protocol, world: &mut World, i: usize, shape: Shape) -> bool {
    let client = &world.clients[i];
    let (Some(writer), Some(work)) = (&client.writer, client.disk.work) else { return false };
    let (epoch, seq, parent) = (writer.head().epoch, writer.head().seq + 1, writer.head().commit.clone());
    let written_on = client.disk.tree.clone();
    let mut needs = match shape {
        Shape::Adds => packs(world.needs(written_on.as_ref())),
        Shape::Replaces => BTreeSet::new(),
    };
    needs.insert(upload(protocol.variant, world, i, epoch, work));
    let hash = digest(work.wrapping_mul(2) + u8::from(shape == Shape::Adds));
    let name = CommitName { seq, epoch, hash };
    if protocol.scope.has(Scope::Pins) {
        needs.insert(Condemned::Commit(name.clone()));
        world.packs.insert(Condemned::Commit(name.clone()));
    }
    world.commits.insert(name.clone(), Commit { parent, written_on, needs });
    let client = &mut world.clients[i];
    client.disk.state.offered = Some(name.clone());
    client.committing = Some(name.clone());
    change(protocol.variant, world, i, |head, session, nonce| head.committed(session, name, nonce))
}

/// What a commit shares with those that are made of it.
fn packs(mut needs: BTreeSet<Condemned>) -> BTreeSet<Condemned> {
    needs.retain(|name| matches!(name, Condemned::Pack(_)));
    needs
}

/// Uploads a pack that `holds` something under a name that was never used, or, in the broken variant, by content.
fn upload(variant: Variant, world: &mut World, i: usize, epoch: Epoch, holds: u8) -> Condemned {
    let client = &mut world.clients[i];
    client.uploads += 1;
    // A clone has copied the counter: in the store, 128 bits of the session's name keep the two apart.
    let seq = client.uploads * 3 + i as u64;
    let name =
        if variant == Variant::NamesReused { pack(Epoch::ZERO, 0, holds) } else { pack(epoch, seq, holds) };
    world.packs.insert(name.clone());
    name
}

fn deliver(variant: Variant, world: &mut World, k: usize, reply: Reply, copies: Copies) {
    let (i, put) = world.puts[k].clone();
    let applied = put.if_match == world.etag() || variant == Variant::NoIfMatch;
    if applied {
        world.newest_epoch = world.newest_epoch.max(put.body.epoch);
        world.head = put.body.clone();
    }
    if copies == Copies::Once {
        world.puts.remove(k);
    }
    let heard =
        if applied && reply == Reply::Arrives { Heard::Success(world.etag()) } else { Heard::AnythingElse };
    let client = &mut world.clients[i];
    if client.heard.is_none() && client.writer.as_ref().is_some_and(Writer::waits) {
        client.heard = Some(heard);
    }
}

fn hear(protocol: Protocol, world: &mut World, i: usize) -> bool {
    let found = Found::Head(world.head.clone(), world.etag());
    let history = world.clone();
    let client = &mut world.clients[i];
    let (Some(writer), Some(heard)) = (&mut client.writer, client.heard.take()) else { return false };
    let was = writer.standing();
    let resolution = match heard {
        Heard::Success(etag) => {
            writer.applied(etag);
            Resolution::Applied
        }
        Heard::AnythingElse => writer.resolve(&found, |commit| history.in_history(commit)),
    };
    match resolution {
        Resolution::Applied => applied(protocol, world, i, was),
        Resolution::SendAgain(put) => return send_again(world, i, put),
        Resolution::AppliedThenLost(_) => lost(&mut world.clients[i], Work::Committed),
        Resolution::Lost(_) | Resolution::Removed => lost(&mut world.clients[i], Work::Pending),
    }
    true
}

/// Whether the work of a lost session is in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Committed,
    Pending,
}

fn lost(client: &mut Client, work: Work) {
    (client.committing, client.removing) = (None, None);
    if work == Work::Committed {
        client.disk.work = None;
    }
}

fn send_again(world: &mut World, i: usize, put: Put) -> bool {
    // The same bytes twice under way are one state more and nothing new.
    if !world.puts.contains(&(i, put.clone())) {
        world.puts.push((i, put));
    }
    true
}

/// What the client does once a change was applied: acknowledges a commit, or takes up its workspace.
fn applied(protocol: Protocol, world: &mut World, i: usize, was: Standing) {
    let client = &mut world.clients[i];
    let Some(writer) = &client.writer else { return };
    let (head, standing) = (writer.head().clone(), writer.standing());
    if let Some(commit) = client.committing.take() {
        client.disk.accepted(&commit);
        world.acknowledged.insert(commit);
        return;
    }
    match (was, standing) {
        (Standing::Asking, Standing::Holding) if !disk::stops(protocol.scope, i) => {
            disk::prepare(protocol, world, i);
        }
        (_, Standing::Ended) => client.writer = None,
        _ if client.removing.is_none() && head.removal == Removal::Begun => {
            prune::delete(world, i);
        }
        _ => client.removing = client.removing.take().filter(|packs| !packs.is_disjoint(&head.tombstones)),
    }
}

/// A crash forgets everything but the workspace; a process is back at once.
fn crash(world: &mut World, i: usize) -> bool {
    world.crashes += 1;
    let client = &mut world.clients[i];
    (client.writer, client.heard, client.committing, client.salvaging, client.removing) =
        (None, None, None, None, None);
    client.stage = Stage::Settles;
    true
}

/// Uploads the work of a lost session, and writes the salvage that names every pack it needs.
fn salvage(variant: Variant, world: &mut World, i: usize) -> bool {
    let client = &world.clients[i];
    let (Some(epoch), Some(work)) = (disk::salvage_epoch(client), client.disk.work) else { return false };
    let mut needs = packs(world.needs(client.disk.tree.as_ref()));
    needs.insert(upload(variant, world, i, epoch, work));
    world.salvages.insert((epoch, i), needs);
    if variant == Variant::SalvageNotReread {
        finish_salvage(world, i, epoch);
    } else {
        world.clients[i].salvaging = Some(epoch);
    }
    true
}

/// Reads the head after the salvage was written, and uploads again what is condemned or gone; until
/// nothing is.
fn check_salvage(variant: Variant, world: &mut World, i: usize) -> bool {
    let Some(epoch) = world.clients[i].salvaging else { return false };
    if world.clients[i].disk.work.is_none() {
        // What the tree was offered as is in the history, or there was nothing on top of its base.
        end_salvage(world, i);
        return true;
    }
    let Some(mut needs) = world.salvages.get(&(epoch, i)).cloned() else { return salvage(variant, world, i) };
    let again = to_upload_again(&needs, &world.head.tombstones, |pack| world.packs.contains(pack));
    if again.is_empty() {
        finish_salvage(world, i, epoch);
        return true;
    }
    for lost in again {
        needs.remove(&lost);
        needs.insert(upload(variant, world, i, epoch, content(&lost).0[0]));
    }
    world.salvages.insert((epoch, i), needs);
    true
}

fn finish_salvage(world: &mut World, i: usize, epoch: Epoch) {
    world.finished.insert((epoch, i));
    end_salvage(world, i);
}

fn end_salvage(world: &mut World, i: usize) {
    let client = &mut world.clients[i];
    client.disk.salvaged();
    client.salvaging = None;
    match client.writer.as_ref().map(Writer::standing) {
        Some(Standing::Holding) => client.stage = Stage::Replaces,
        _ => client.writer = None,
    }
}
