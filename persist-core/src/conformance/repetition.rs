//! Every call again, by two processes in turn, and a whole life again and again.

use super::{bench::*, tree::*};
use crate::{
    Capabilities, CreateOptions, ErrorKind, Outcome, VolumeStore,
    name::LabelKey,
    volume::{DeleteOptions, SnapshotsAlong, UpdateOptions},
};

pub(super) async fn every_call_repeated_by_two_processes_gives_the_same_answer(bench: Bench) {
    let stores = [bench.store().await, bench.store().await];
    let (v, s) = (volume("v"), named("s"));
    let label = || UpdateOptions::default().with_label(LabelKey::new("a").unwrap(), "1");
    for n in 0..10 {
        let (store, wanted) = (&stores[n % 2], if n == 0 { Outcome::Done } else { Outcome::Already });
        assert_eq!(store.create(&v, CreateOptions::default()).await.unwrap().outcome, wanted);
        assert_eq!(store.update(&v, label()).await.unwrap().outcome, wanted);
        if claims(store, Capabilities::SNAPSHOTS) {
            assert_eq!(store.snapshot(&v, &s, Default::default()).await.unwrap().outcome, wanted);
        }
        assert_eq!(store.get(&v).await.unwrap(), stores[0].get(&v).await.unwrap());
        assert_eq!(Picture::of(store).await, Picture::of(&stores[1 - n % 2]).await);
    }
    let attachment = attached(&stores[0], "v", "w").await;
    for _ in 0..5 {
        assert_eq!(attached(&stores[0], "v", "w").await.record(), attachment.record());
        refused(ErrorKind::InUse, stores[1].attach(&v, holder("w")).await);
        stores[0].sync(&attachment.id, Default::default()).await.unwrap();
    }
    detached(&stores[0], &attachment).await;
    for n in 0..10 {
        let (store, wanted) = (&stores[n % 2], if n == 0 { Outcome::Done } else { Outcome::Already });
        let along = DeleteOptions::default().with_snapshots(SnapshotsAlong::Delete);
        assert_eq!(store.detach(&attachment.id, Default::default()).await.unwrap().outcome, Outcome::Already);
        assert_eq!(store.delete(&v, along).await.unwrap().outcome, wanted);
        assert_eq!(Picture::of(&stores[0]).await, Picture::of(&stores[1]).await);
    }
}

pub(super) async fn a_whole_life_can_be_lived_again_and_again(bench: Bench) {
    for round in 0..10 {
        let store = bench.open(if round % 2 == 0 { "a" } else { "b" }).await;
        let (v, s) = (volume("v"), named("s"));
        let (one, two) = (Tree::sample(&format!("one-{round}")), Tree::sample(&format!("two-{round}")));
        made(&store, "v").await;
        let attachment = attached(&store, "v", "w").await;
        one.write(attachment.path());
        store.sync(&attachment.id, Default::default()).await.unwrap();
        let snapshots = claims(&store, Capabilities::SNAPSHOTS);
        if snapshots {
            store.snapshot(&v, &s, Default::default()).await.unwrap();
        }
        two.replace(attachment.path());
        detached(&store, &attachment).await;
        if snapshots {
            store.restore(&v, &s, Default::default()).await.unwrap();
        }
        let again = attached(&store, "v", "w").await;
        if snapshots {
            one.assert_at(again.path())
        } else {
            two.assert_at(again.path())
        }
        detached(&store, &again).await;
        let along = DeleteOptions::default().with_snapshots(SnapshotsAlong::Delete);
        VolumeStore::delete(&*store, &v, along).await.unwrap();
        assert_eq!((volumes(&store).await.len(), attachments(&store).await.len()), (0, 0));
        store.close().await.unwrap();
    }
    assert_eq!(trashed(&bench.store().await).await.len(), 10);
}
