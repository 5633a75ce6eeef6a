//! Two processes at once, and what is left when they are killed.

use super::scene::*;
use persist_core::{
    Access, AttachOptions, CreateOptions, ErrorKind, Takeover, Vouch, id::AttachmentId, id::Epoch,
};
use std::{collections::BTreeSet, fs};

pub const TESTS: &[(&str, fn())] = &[
    ("two_processes_share_a_volume_and_a_third_reads_it_after_both_are_killed", share),
    ("of_two_processes_one_gets_the_volume", race),
    ("a_killed_holder_makes_room_at_once", killed_holder),
    ("a_killed_process_does_not_free_what_an_external_workload_holds", killed_agent),
    ("a_waiting_process_gets_the_volume_when_the_holder_is_killed", waiting),
    ("a_second_process_is_told_who_serves_an_attachment", served),
    ("a_process_that_is_vouched_dead_while_it_lives_is_fenced", fenced),
];

fn share() {
    let scene = prepared();
    let (mut hello, mut world) = (scene.child("share-hello"), scene.child("share-world"));
    assert_eq!(hello.hears(), world.hears(), "two claims, one epoch");
    for child in [&mut hello, &mut world] {
        child.tell();
        assert_eq!(child.hears().unwrap(), "hello world");
    }
    hello.kill();
    world.tell();
    assert_eq!(world.hears().unwrap(), "hello world");
    world.kill();
    block_on(async {
        let store = open(&scene.root()).await;
        let options = holder("hello").with_access(Access::SharedOnNode);
        let third = store.attach(&volume("v"), options).await.unwrap();
        for word in ["hello", "world"] {
            assert_eq!(fs::read_to_string(third.path().join(word)).unwrap(), word);
        }
    });
}

fn race() {
    let scene = prepared();
    let mut children = [scene.child("race"), scene.child("race"), scene.child("race")];
    for _ in 0..15 {
        children.iter_mut().for_each(|child| assert_eq!(child.hears().unwrap(), "ready"));
        children.iter_mut().for_each(Running::tell);
        let said: Vec<_> = children.iter_mut().map(|child| child.hears().unwrap()).collect();
        let ids: BTreeSet<_> = said.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(ids.len(), 1, "one name, several volumes: {said:?}");
        assert_eq!(said.iter().filter(|line| line.ends_with("holds")).count(), 1, "{said:?}");
    }
}

fn killed_holder() {
    let scene = prepared();
    for _ in 0..5 {
        let mut child = scene.child("hold");
        let (id, epoch) = held(&child.hears().unwrap());
        let pid = child.pid();
        child.kill();
        block_on(async {
            let store = open(&scene.root()).await;
            let next = store.attach(&volume("v"), holder("next")).await.unwrap();
            assert_eq!(next.report().replaced, [(id, epoch)]);
            assert_eq!(fs::read_to_string(next.path().join("held-by")).unwrap(), pid.to_string());
            store.detach(&next.id, Default::default()).await.unwrap();
            store.close().await.unwrap();
        });
    }
}

fn killed_agent() {
    let scene = prepared();
    let mut child = scene.child("hold-external");
    let (id, epoch) = held(&child.hears().unwrap());
    child.kill();
    block_on(async {
        let store = open(&scene.root()).await;
        let error = store.attach(&volume("v"), AttachOptions::default()).await.unwrap_err();
        assert_eq!((error.kind(), &error.holders()[0].attachment), (ErrorKind::InUse, &id));
        let again = store.attach(&volume("v"), holder("w")).await.unwrap();
        assert_eq!((&again.id, again.epoch > epoch), (&id, true));
    });
}

fn waiting() {
    let scene = prepared();
    let mut first = scene.child("hold");
    let (_, epoch) = held(&first.hears().unwrap());
    let mut second = scene.child("hold");
    first.kill();
    assert!(held(&second.hears().unwrap()).1 > epoch);
    second.tell();
    assert_eq!(second.hears().unwrap(), "synced");
}

fn served() {
    let scene = prepared();
    let mut child = scene.child("hold-external");
    let (id, _) = held(&child.hears().unwrap());
    block_on(async {
        let store = open(&scene.root()).await;
        for error in [
            store.attach(&volume("v"), holder("w")).await.map(drop).unwrap_err(),
            store.sync(&id, Default::default()).await.map(drop).unwrap_err(),
            store.detach(&id, Default::default()).await.map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
            assert_eq!(error.holders()[0].pid, Some(child.pid()), "{error}");
        }
    });
    child.tell();
    assert_eq!(child.hears().unwrap(), "synced");
}

fn fenced() {
    let scene = prepared();
    let mut child = scene.child("hold-external");
    let (id, epoch) = held(&child.hears().unwrap());
    block_on(async {
        let store = open(&scene.root()).await;
        let vouch = Vouch::new(id, epoch, "the test says so");
        let options = holder("next").with_takeover(Takeover::Vouched(vouch));
        let next = store.attach(&volume("v"), options).await.unwrap();
        child.tell();
        assert_eq!(child.hears().unwrap(), "Fenced");
        store.sync(&next.id, Default::default()).await.unwrap();
    });
}

/// A store with the empty volume `v`.
fn prepared() -> Scene {
    let scene = Scene::new();
    block_on(async {
        let store = open(&scene.root()).await;
        store.create(&volume("v"), CreateOptions::default()).await.unwrap();
        store.close().await.unwrap();
    });
    scene
}

/// What a child says that holds the volume: its attachment and its epoch.
fn held(line: &str) -> (AttachmentId, Epoch) {
    let (id, epoch) = line.split_once(' ').unwrap();
    (AttachmentId::parse(id).unwrap(), Epoch::new(epoch.parse().unwrap()))
}
