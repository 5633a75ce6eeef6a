//! What can happen next, and what it does. Every decision is the crate's own.

use super::world::{Client, Commit, Heard, Protocol, Scope, Variant, World, content, digest, lease, pack};
use persist_core::Epoch;
use persist_s3::head::{
    change::FoundBy,
    names::Condemned,
    prune::{condemnable, sentence, to_upload_again},
    record::{CommitName, Digest, Head, SessionId},
    recovery::{Recovery, Tree, Workspace, recovery},
    writer::{Found, Put, Resolution, Standing, Writer},
};
use std::collections::BTreeSet;

/// Epochs that are minted at most.
const EPOCHS: u64 = 3;

/// Pieces of work that are written at most.
const WORKS: u8 = 2;

/// Requests that are under way at most: each client's own, and one that is late.
const PUTS: usize = 3;

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Ask(usize),
    Write(usize),
    Commit(usize, Shape),
    Release(usize),
    /// A request arrives; its answer too, or not; a copy of it stays under way, or not.
    Deliver(usize, Reply, Copies),
    DropRequest(usize),
    TimeOut(usize),
    Hear(usize),
    Crash(usize),
    Clone,
    Salvage(usize),
    CheckSalvage(usize),
    Condemn(usize),
    Sentence(usize),
    DeliverDelete(Condemned, Copies),
    Absolve(usize),
}

/// Whether a commit builds on what its base holds, or replaces all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Adds,
    Replaces,
}

/// Whether an answer arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Arrives,
    IsLost,
}

/// Whether a request that arrived will arrive once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    Once,
    Again,
}

pub(crate) fn possible(protocol: Protocol, world: &World, actions: &mut Vec<Action>) {
    let scope = protocol.scope;
    for (k, (i, _)) in world.puts.iter().enumerate() {
        actions.push(Action::Deliver(k, Reply::Arrives, Copies::Once));
        if scope.has(Scope::Network) {
            actions.push(Action::Deliver(k, Reply::IsLost, Copies::Once));
            actions.push(Action::Deliver(k, Reply::IsLost, Copies::Again));
        }
        if world.clients[*i].writer.as_ref().is_none_or(|writer| !writer.waits()) {
            actions.push(Action::DropRequest(k));
        }
    }
    for pack in &world.deletes {
        actions.push(Action::DeliverDelete(pack.clone(), Copies::Once));
        actions.push(Action::DeliverDelete(pack.clone(), Copies::Again));
    }
    for (i, client) in world.clients.iter().enumerate().filter(|(_, client)| client.runs) {
        of_client(protocol, world, i, client, actions);
    }
    if scope.has(Scope::Clone) && !world.clients[2].runs && world.clients[0].writer.is_some() {
        actions.push(Action::Clone);
    }
}

fn of_client(protocol: Protocol, world: &World, i: usize, client: &Client, actions: &mut Vec<Action>) {
    let Some(writer) = &client.writer else {
        if world.newest_epoch.get() < EPOCHS && world.puts.len() < PUTS {
            actions.push(Action::Ask(i));
        }
        return;
    };
    if protocol.scope.has(Scope::Crash) && world.crashes < 1 {
        actions.push(Action::Crash(i));
    }
    if client.heard.is_some() {
        actions.push(Action::Hear(i));
    } else if writer.waits() && protocol.scope.has(Scope::Network) {
        actions.push(Action::TimeOut(i));
    }
    if client.salvaging.is_some() {
        actions.push(Action::CheckSalvage(i));
        return;
    }
    match writer.standing() {
        Standing::Holding if !writer.waits() => holding(protocol, world, i, client, writer, actions),
        Standing::Lost(_) if client.work.is_some() => actions.push(Action::Salvage(i)),
        _ => {}
    }
}

fn holding(
    protocol: Protocol,
    world: &World,
    i: usize,
    client: &Client,
    writer: &Writer,
    actions: &mut Vec<Action>,
) {
    if world.puts.len() >= PUTS {
        return;
    }
    match client.work {
        None if world.written < WORKS => actions.push(Action::Write(i)),
        None => {}
        Some(_) => actions.extend([Action::Commit(i, Shape::Adds), Action::Commit(i, Shape::Replaces)]),
    }
    if client.work.is_none() {
        actions.push(Action::Release(i));
    }
    let idle =
        !condemnable(writer.head(), &world.packs, &world.needs(writer.head().commit.as_ref())).is_empty();
    match (&client.removing, protocol.variant) {
        (None, Variant::DeleteBeforeTombstone) if idle => actions.push(Action::Sentence(i)),
        (None, _) if idle => actions.push(Action::Condemn(i)),
        (None, _) if !writer.head().tombstones.is_empty() => actions.push(Action::Sentence(i)),
        (Some(removing), _) if removing.is_disjoint(&world.packs) => actions.push(Action::Absolve(i)),
        _ => {}
    }
}

/// Does `action`; false if it changes nothing worth a state.
pub(crate) fn act(variant: Variant, world: &mut World, action: &Action) -> bool {
    match action {
        Action::Ask(i) => ask(world, *i),
        Action::Write(i) => {
            world.written += 1;
            world.clients[*i].work = Some(world.written);
            true
        }
        Action::Commit(i, shape) => commit(variant, world, *i, *shape),
        Action::Release(i) => {
            change(variant, world, *i, |head, session, nonce| head.released(session, nonce))
        }
        Action::Deliver(k, reply, copies) => deliver(variant, world, *k, *reply, *copies),
        Action::DropRequest(k) => {
            world.puts.remove(*k);
            true
        }
        Action::TimeOut(i) => {
            world.clients[*i].heard = Some(Heard::AnythingElse);
            true
        }
        Action::Hear(i) => hear(world, *i),
        Action::Crash(i) => crash(world, *i),
        Action::Clone => {
            world.clients[2] = world.clients[0].clone();
            true
        }
        Action::Salvage(i) => salvage(variant, world, *i),
        Action::CheckSalvage(i) => check_salvage(variant, world, *i),
        Action::Condemn(i) => condemn(variant, world, *i),
        Action::Sentence(i) => pronounce(variant, world, *i),
        Action::DeliverDelete(pack, copies) => {
            world.removed |= u8::from(world.packs.remove(pack));
            *copies == Copies::Again || world.deletes.remove(pack)
        }
        Action::Absolve(i) => absolve(variant, world, *i),
    }
}

fn ask(world: &mut World, i: usize) -> bool {
    let (nonce, etag) = (fresh(&mut world.clients[i], i), world.etag());
    let Ok((writer, put)) = Writer::ask(&world.head, (&etag, FoundBy::Name), lease(nonce), nonce) else {
        return false;
    };
    world.clients[i].writer = Some(writer);
    world.clients[i].uploads = 0;
    world.puts.push((i, put));
    true
}

/// Begins a change of the head by its holder, with randomness that is the world's or, in the broken
/// variant, the client's own, which a clone copies.
fn change(
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

fn commit(variant: Variant, world: &mut World, i: usize, shape: Shape) -> bool {
    let client = &world.clients[i];
    let (Some(writer), Some(work)) = (&client.writer, client.work) else { return false };
    let (epoch, seq) = (writer.head().epoch, writer.head().seq + 1);
    let mut needs = match shape {
        Shape::Adds => world.needs(client.base.as_ref()),
        Shape::Replaces => BTreeSet::new(),
    };
    needs.insert(upload(variant, world, i, epoch, work));
    let hash = digest(work.wrapping_mul(2) + u8::from(shape == Shape::Adds));
    let name = CommitName { seq, epoch, hash };
    let parent = world.clients[i].writer.as_ref().and_then(|writer| writer.head().commit.clone());
    world.commits.insert(name.clone(), Commit { parent, needs });
    world.clients[i].committing = Some(name.clone());
    change(variant, world, i, |head, session, nonce| head.committed(session, name, nonce))
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

fn deliver(variant: Variant, world: &mut World, k: usize, reply: Reply, copies: Copies) -> bool {
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
    true
}

fn hear(world: &mut World, i: usize) -> bool {
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
        Resolution::Applied => applied(world, i, was),
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
        client.work = None;
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
fn applied(world: &mut World, i: usize, was: Standing) {
    let client = &mut world.clients[i];
    let Some(writer) = &client.writer else { return };
    let (head, standing) = (writer.head().clone(), writer.standing());
    if let Some(commit) = client.committing.take() {
        (client.base, client.work) = (Some(commit.clone()), None);
        world.acknowledged.insert(commit);
        return;
    }
    match (was, standing) {
        (Standing::Asking, Standing::Holding) => take_up(client, &head),
        (_, Standing::Ended) => client.writer = None,
        _ => client.removing = client.removing.take().filter(|packs| !packs.is_disjoint(&head.tombstones)),
    }
}

fn take_up(client: &mut Client, head: &Head) {
    let tree = if client.work.is_some() { Tree::Dirty } else { Tree::Clean };
    let workspace = Workspace { volume: head.volume.clone(), base: client.base.clone(), tree };
    match recovery(&workspace, head) {
        Recovery::SalvageThenHydrate => client.salvaging = Some(head.epoch),
        _ => client.base = head.commit.clone(),
    }
}

/// A crash forgets everything but the workspace; a process is back at once.
fn crash(world: &mut World, i: usize) -> bool {
    world.crashes += 1;
    let client = &mut world.clients[i];
    (client.writer, client.heard, client.committing, client.salvaging, client.removing) =
        (None, None, None, None, None);
    true
}

/// Uploads the work of a lost session, and writes the salvage that names every pack it needs.
fn salvage(variant: Variant, world: &mut World, i: usize) -> bool {
    let client = &world.clients[i];
    let (Some(writer), Some(work)) = (&client.writer, client.work) else { return false };
    let epoch = writer.head().epoch;
    let mut needs = world.needs(client.base.as_ref());
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
    let client = &mut world.clients[i];
    (client.salvaging, client.work) = (None, None);
    match client.writer.as_ref().map(Writer::standing) {
        Some(Standing::Holding) => client.base = client.writer.as_ref().and_then(|w| w.head().commit.clone()),
        _ => (client.writer, client.base) = (None, None),
    }
}

fn condemn(variant: Variant, world: &mut World, i: usize) -> bool {
    let Some(writer) = &world.clients[i].writer else { return false };
    let packs = condemnable(writer.head(), &world.packs, &world.needs(writer.head().commit.as_ref()));
    change(variant, world, i, |head, session, nonce| head.condemned(session, packs, nonce))
}

/// Lists who speaks for a pack, after the tombstones were written, and sends the deletes.
fn pronounce(variant: Variant, world: &mut World, i: usize) -> bool {
    let Some(writer) = &world.clients[i].writer else { return false };
    let spoken_for = world.salvages.values().flatten().cloned().collect();
    let mut head = writer.head().clone();
    if variant == Variant::DeleteBeforeTombstone {
        head.tombstones = condemnable(&head, &world.packs, &world.needs(head.commit.as_ref()));
    }
    let sentence = sentence(&head.tombstones, &spoken_for);
    world.deletes.extend(sentence.remove.iter().cloned());
    world.clients[i].removing = Some(sentence.remove);
    true
}

/// Drops the tombstones of what is gone for certain, and of what somebody has spoken for.
fn absolve(variant: Variant, world: &mut World, i: usize) -> bool {
    world.clients[i].removing = None;
    let Some(writer) = &world.clients[i].writer else { return false };
    if writer.head().tombstones.is_empty() {
        return true;
    }
    change(variant, world, i, |head, session, nonce| head.absolved(session, nonce))
}
