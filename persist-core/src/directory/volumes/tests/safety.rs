//! Races that must not cost anybody his volume.

use super::super::delete;
use crate::{
    ErrorKind, VolumeStore,
    care::{PruneMode, PruneOptions},
    directory::fixture::{Fixture, name},
    progress::Meter,
    snapshot::Outcome,
    volume::{CreateOptions, DeleteOptions},
};
use std::fs;

/// The end of a detach deletes a volume that lives as long as its attachments: by then its name may be
/// another's.
#[tokio::test]
async fn the_end_of_a_lifetime_never_deletes_a_later_volume_of_the_same_name() {
    let fixture = Fixture::new().await;
    let first = fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap().volume;
    fixture.store.delete(&name("a"), DeleteOptions::default()).await.unwrap();
    let second = fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap().volume;
    let ended = delete::end(&fixture.store.engine, &name("a"), &first.id, &Meter::default());
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fixture.store.get(&name("a")).await.unwrap().id, second.id);
}

/// Killed between the link of its name and the flush, a creator leaves its intent: who finds the volume
/// flushes before he says that it is there, and whoever takes the intent away has flushed before.
#[tokio::test]
async fn a_volume_whose_creator_died_before_the_last_flush_is_flushed_before_anybody_relies_on_it() {
    let fixture = Fixture::new().await;
    let (store, a) = (&fixture.store, name("a"));
    let made = store.create(&a, CreateOptions::default()).await.unwrap().volume;
    let fsyncs_of_a_repeat = async || {
        let before = store.fsyncs();
        assert_eq!(store.create(&a, CreateOptions::default()).await.unwrap().outcome, Outcome::Already);
        store.fsyncs() - before
    };
    assert_eq!(fsyncs_of_a_repeat().await, 0, "its creator has flushed it");
    let intent = store.engine.layout.intent(&made.id);
    fs::write(&intent, b"").unwrap();
    assert_eq!(fsyncs_of_a_repeat().await, 1);
    let before = store.fsyncs();
    store.engine.locate_alone(&a, &Meter::default()).unwrap();
    assert_eq!(store.fsyncs() - before, 1, "whatever is built on the volume");
    let before = store.fsyncs();
    store.prune(PruneOptions::default().with_mode(PruneMode::Apply)).await.unwrap();
    assert!(!intent.exists() && store.fsyncs() - before == 1);
    assert_eq!(fsyncs_of_a_repeat().await, 0);
}
