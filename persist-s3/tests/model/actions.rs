//! What can happen next.

use super::{
    disk::{self, Stage},
    pins::Reader,
    prune,
    world::{Client, Protocol, Scope, World},
};
use persist_s3::head::{
    names::Condemned,
    writer::{Standing, Writer},
};

/// Epochs that are minted at most.
const EPOCHS: u64 = 3;

/// Requests that are under way at most: each client's own, and one that is late.
const PUTS: usize = 3;

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Ask(usize),
    /// The next step with its workspace.
    Prepare(usize),
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
    /// A machine starts from the disk of another, which goes on.
    CloneDisk,
    Salvage(usize),
    CheckSalvage(usize),
    Condemn(usize),
    Sentence(usize),
    Delete(usize),
    DeliverDelete(Condemned, Copies),
    Absolve(usize),
    Read,
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
        let abandoned = world.clients[*i].writer.as_ref().is_none_or(|writer| !writer.waits());
        if abandoned && !scope.hears_at_once() {
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
    if scope.has(Scope::Clone) && !world.clients[2].runs && world.clients[0].disk.work.is_some() {
        actions.push(Action::CloneDisk);
    }
    if scope.has(Scope::Pins) && !matches!(world.reader, Reader::Refused | Reader::Done) {
        actions.push(Action::Read);
    }
}

fn of_client(protocol: Protocol, world: &World, i: usize, client: &Client, actions: &mut Vec<Action>) {
    let Some(writer) = &client.writer else {
        if world.newest_epoch.get() < EPOCHS && world.puts.len() < PUTS {
            actions.push(Action::Ask(i));
        }
        return;
    };
    if world.crashes < protocol.scope.crashes()
        && (protocol.scope != Scope::Disk || disk::stops(protocol.scope, i))
    {
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
        Standing::Lost(_) if client.disk.work.is_some() => actions.push(Action::Salvage(i)),
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
    if client.stage != Stage::Ready {
        actions.push(Action::Prepare(i));
        return;
    }
    if world.puts.len() >= PUTS {
        return;
    }
    match client.disk.work {
        None if world.written < protocol.scope.works() => actions.push(Action::Write(i)),
        None => {}
        Some(_) => {
            actions.push(Action::Commit(i, Shape::Adds));
            // What it shares with another matters to who removes packs.
            actions.extend(prune::is_in(protocol.scope).then_some(Action::Commit(i, Shape::Replaces)));
        }
    }
    let leaves =
        protocol.scope != Scope::Pins && (protocol.scope != Scope::Disk || disk::stops(protocol.scope, i));
    if client.disk.work.is_none() && leaves {
        actions.push(Action::Release(i));
    }
    if prune::is_in(protocol.scope) {
        prune::possible(protocol, world, (i, client, writer), actions);
    }
}
