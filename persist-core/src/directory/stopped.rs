//! Every call, stopped at each of its safe points: what a dropped future and a passed deadline do to the work
//! that is under way. On the files of this host, copied one by one.

use super::{
    host::HostPlace,
    open::{PeriodicSyncs, StoreAt},
    place::Place,
    store::DirectoryStore,
};
use crate::{
    Access, AttachOptions, Attachment, AttachmentRecord, Capabilities, Characteristics, CreateOptions,
    DetachOptions, ErrorKind, Node, NodeId, OpenMode, OpenOptions, Result, SnapshotName, SnapshotOptions,
    Source, SyncOptions, VolumeName, VolumeStore, Workload,
    attachment::{AdoptOptions, AttachmentFilter, RefreshOptions},
    care::{PruneMode, PruneOptions, UsageOptions, VerifyOptions},
    holder::BootId,
    snapshot::{DeleteSnapshotOptions, Replaced, RestoreOptions},
    tree::Trust,
    volume::{DeleteOptions, Import, SnapshotsAlong, Trash},
};
use futures::TryStreamExt;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// More safe points than a call of this size has; a call that is never done hangs.
const POINTS_MAX: u64 = 1_000;

struct Scene {
    dir: tempfile::TempDir,
    store: DirectoryStore,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir).await;
        Self { dir, store }
    }

    /// How many safe points a call has, at each of which it was stopped. Calls with `number` zero, one, two, ... until the call needs no more safe points; each time with a
    /// volume of its own, whose tree, snapshot `s` and imported directory hold the same.
    async fn at_every_point<T>(
        &self,
        call: impl AsyncFn(&Self, &str) -> Result<T>,
        check: impl AsyncFn(&Self, &str),
    ) -> u64 {
        self.at_every_point_of(|number| format!("v{number}"), call, check).await
    }

    /// As [`at_every_point`](Self::at_every_point), with the volumes that `tag` names.
    async fn at_every_point_of<T>(
        &self,
        tag: impl Fn(u64) -> String,
        call: impl AsyncFn(&Self, &str) -> Result<T>,
        check: impl AsyncFn(&Self, &str),
    ) -> u64 {
        for number in 0..POINTS_MAX {
            let tag = tag(number);
            self.prepare(&tag).await;
            *self.store.engine.calls.stop_at.lock().unwrap() = Some(number);
            let stopped = call(self, &tag).await;
            *self.store.engine.calls.stop_at.lock().unwrap() = None;
            if let Err(error) = &stopped {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "at point {number}: {error}");
            }
            call(self, &tag).await.unwrap_or_else(|e| panic!("repeated after point {number}: {e}"));
            check(self, &tag).await;
            if stopped.is_ok() {
                self.assert_tidy().await;
                return number;
            }
        }
        panic!("not done after {POINTS_MAX} safe points");
    }

    async fn prepare(&self, tag: &str) {
        let from = self.directory(tag);
        fs::create_dir_all(from.join("below")).unwrap();
        fs::write(from.join("below/file"), tag).unwrap();
        let source = Source::Directory { path: from, import: Import::Copy };
        self.store.create(&name(tag), CreateOptions::default().with_source(source)).await.unwrap();
        self.store.snapshot(&name(tag), &snap("s"), SnapshotOptions::default()).await.unwrap();
    }

    fn directory(&self, tag: &str) -> PathBuf {
        self.dir.path().join(format!("from-{tag}"))
    }

    /// The volume `volume` holds what was prepared under `tag`.
    async fn assert_whole(&self, volume: &str, tag: &str) {
        let attachment = self.store.attach(&name(volume), holder("looks")).await.unwrap();
        assert_eq!(fs::read_to_string(attachment.path().join("below/file")).unwrap(), tag);
        self.store.detach(&attachment.id, DetachOptions::default()).await.unwrap();
    }

    async fn attached(&self, tag: &str, by: &str) -> Attachment {
        self.unstopped(async || self.store.attach(&name(tag), holder(by)).await.unwrap()).await
    }

    async fn reader(&self, tag: &str) -> Option<AttachmentRecord> {
        let all: Vec<_> = self.store.attachments(AttachmentFilter::default()).try_collect().await.unwrap();
        all.into_iter().find(|record| record.volume_name == name(tag) && !record.access.writes())
    }

    /// Does what is only preparation.
    async fn unstopped<T>(&self, prepare: impl AsyncFnOnce() -> T) -> T {
        let stop_at = self.store.engine.calls.stop_at.lock().unwrap().take();
        let prepared = prepare().await;
        *self.store.engine.calls.stop_at.lock().unwrap() = stop_at;
        prepared
    }

    async fn assert_tidy(&self) {
        self.store.prune(apply()).await.unwrap();
        let left = self.store.prune(PruneOptions::default()).await.unwrap();
        assert!(left.items.is_empty() && left.failures.is_empty(), "{left:?}");
        assert_eq!(self.store.verify(VerifyOptions::default()).await.unwrap().faults, []);
    }
}

async fn open(dir: &tempfile::TempDir) -> DirectoryStore {
    let root = dir.path().join("store");
    let at = StoreAt {
        root,
        kind: "host".into(),
        location: "host:".into(),
        trust: Trust::Untrusted,
        periodic: PeriodicSyncs::ByStore,
    };
    let node = Node::new(NodeId::new("node").unwrap(), BootId::new("boot").unwrap());
    let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing).with_node(node);
    let probe = |root: &Path| {
        let claimed = Capabilities::SNAPSHOTS | Capabilities::MANY_READERS;
        let place = HostPlace::new(root.into(), claimed, Characteristics::default())?;
        Ok(Arc::new(place) as Arc<dyn Place>)
    };
    DirectoryStore::open(at, options, probe).await.unwrap()
}

fn name(text: &str) -> VolumeName {
    VolumeName::new(text).unwrap()
}

fn snap(text: &str) -> SnapshotName {
    SnapshotName::new(text).unwrap()
}

fn holder(workload: &str) -> AttachOptions {
    AttachOptions::default().with_workload(Workload::new(workload).unwrap())
}

fn apply() -> PruneOptions {
    PruneOptions::default().with_mode(PruneMode::Apply)
}

#[tokio::test]
async fn a_create_from_anything_is_whole_or_not_there() {
    type Give = fn(&Scene, &str) -> Source;
    let sources: [(&str, Give); 4] = [
        ("copy", |scene, tag| Source::Directory { path: scene.directory(tag), import: Import::Copy }),
        ("move", |scene, tag| Source::Directory { path: scene.directory(tag), import: Import::Move }),
        ("volume", |_, tag| Source::Volume(name(tag))),
        ("snapshot", |_, tag| Source::Snapshot { volume: name(tag), snapshot: snap("s") }),
    ];
    for (kind, source) in sources {
        let made = |tag: &str| format!("{kind}-{tag}");
        let create = async |scene: &Scene, tag: &str| {
            let options = CreateOptions::default().with_source(source(scene, tag));
            scene.store.create(&name(&made(tag)), options).await
        };
        let check = async |scene: &Scene, tag: &str| scene.assert_whole(&made(tag), tag).await;
        assert!(Scene::new().await.at_every_point(create, check).await > 0);
    }
}

#[tokio::test]
async fn a_snapshot_and_its_deletion_happen_or_not() {
    let take = async |scene: &Scene, tag: &str| {
        scene.store.snapshot(&name(tag), &snap("t"), SnapshotOptions::default()).await
    };
    let check = async |scene: &Scene, tag: &str| {
        let source = Source::Snapshot { volume: name(tag), snapshot: snap("t") };
        let made = format!("of-{tag}");
        let options = CreateOptions::default().with_source(source);
        scene.store.create(&name(&made), options).await.unwrap();
        scene.assert_whole(&made, tag).await;
    };
    Scene::new().await.at_every_point(take, check).await;
    let delete = async |scene: &Scene, tag: &str| {
        scene.store.delete_snapshot(&name(tag), &snap("s"), DeleteSnapshotOptions::default()).await
    };
    let check = async |scene: &Scene, tag: &str| {
        let gone = scene.store.open_snapshot(&name(tag), &snap("s")).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        scene.assert_whole(tag, tag).await;
    };
    Scene::new().await.at_every_point(delete, check).await;
}

#[tokio::test]
async fn a_restore_leaves_the_old_tree_or_the_new_one() {
    let restore = async |scene: &Scene, tag: &str| {
        let discard = RestoreOptions::default().with_replaced(Replaced::Discard);
        scene.store.restore(&name(tag), &snap("s"), discard).await
    };
    let check = async |scene: &Scene, tag: &str| scene.assert_whole(tag, tag).await;
    assert!(Scene::new().await.at_every_point(restore, check).await > 0);
}

#[tokio::test]
async fn an_attachment_is_taken_kept_and_ended() {
    let attach = async |scene: &Scene, tag: &str| scene.store.attach(&name(tag), holder("w")).await;
    let ended = async |scene: &Scene, tag: &str| {
        let attachment = scene.store.attach(&name(tag), holder("w")).await.unwrap();
        scene.store.detach(&attachment.id, DetachOptions::default()).await.unwrap();
        scene.assert_whole(tag, tag).await;
    };
    Scene::new().await.at_every_point(attach, ended).await;
    let adopt = async |scene: &Scene, tag: &str| {
        let attachment = scene.attached(tag, "w").await;
        scene.store.adopt(attachment.record(), AdoptOptions::default()).await
    };
    Scene::new().await.at_every_point(adopt, ended).await;
    let sync = async |scene: &Scene, tag: &str| {
        let attachment = scene.attached(tag, "w").await;
        scene.store.sync(&attachment.id, SyncOptions::default()).await
    };
    Scene::new().await.at_every_point(sync, ended).await;
    let detach = async |scene: &Scene, tag: &str| {
        let attachment = scene.attached(tag, "w").await;
        scene.store.detach(&attachment.id, DetachOptions::default()).await
    };
    Scene::new().await.at_every_point(detach, ended).await;
}

#[tokio::test]
async fn a_pinned_reader_comes_and_moves_on() {
    let refresh = async |scene: &Scene, tag: &str| {
        let t = scene.unstopped(async || {
            scene.store.snapshot(&name(tag), &snap("t"), SnapshotOptions::default()).await.unwrap();
        });
        t.await;
        let reader = holder("r").with_access(Access::ReadOnly).with_snapshot(snap("s"));
        let reader = match scene.reader(tag).await {
            Some(record) => scene.store.adopt(&record, AdoptOptions::default()).await?,
            None => scene.store.attach(&name(tag), reader).await?,
        };
        scene.store.refresh(&reader.id, RefreshOptions::default().with_snapshot(snap("t"))).await
    };
    let ended = async |scene: &Scene, tag: &str| {
        let record = scene.reader(tag).await.unwrap();
        assert_eq!(record.snapshot, Some(snap("t")));
        scene.store.detach(&record.id, DetachOptions::default()).await.unwrap();
        scene.assert_whole(tag, tag).await;
    };
    Scene::new().await.at_every_point(refresh, ended).await;
}

#[tokio::test]
async fn a_deletion_leaves_a_whole_volume_or_none() {
    for trash in [Trash::Bypass, Trash::KeepFor(Duration::ZERO)] {
        let delete = async |scene: &Scene, tag: &str| {
            let options = DeleteOptions::default().with_snapshots(SnapshotsAlong::Delete).with_trash(trash);
            scene.store.delete(&name(tag), options).await
        };
        let gone = async |scene: &Scene, tag: &str| {
            assert_eq!(scene.store.get(&name(tag)).await.unwrap_err().kind(), ErrorKind::NotFound);
        };
        assert!(Scene::new().await.at_every_point(delete, gone).await > 0);
    }
}

#[tokio::test]
async fn care_is_taken_up_where_it_was_left() {
    let look = async |scene: &Scene, _: &str| {
        scene.store.usage(UsageOptions::default()).await?;
        scene.store.verify(VerifyOptions::default()).await
    };
    let whole = async |scene: &Scene, tag: &str| scene.assert_whole(tag, tag).await;
    // More volumes would have more safe points.
    let one = |_| String::from("v");
    Scene::new().await.at_every_point_of(one, look, whole).await;
    let prune = async |scene: &Scene, _: &str| scene.store.prune(apply()).await;
    assert!(Scene::new().await.at_every_point_of(one, prune, whole).await > 0);
}
