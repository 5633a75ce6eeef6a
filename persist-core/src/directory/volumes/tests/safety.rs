//! Races that must not cost anybody his volume.

use super::super::delete;
use crate::{
    ErrorKind, VolumeStore,
    directory::fixture::{Fixture, name},
    progress::Meter,
    volume::{CreateOptions, DeleteOptions},
};

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
