//! Capabilities: kept where claimed; where not, refused without a trace.

use super::{bench::*, tree::*};
use crate::{
    Access, Capabilities, CreateOptions, ErrorKind, Needs, Source, Survives, VolumeSpec,
    attachment::{IdMapping, MountPolicy, RefreshOptions},
    needs::require,
    progress::{Phase, Progress},
    snapshot::{RestoreOptions, SnapshotOptions},
    volume::{RootSpec, UpdateOptions},
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex},
};

pub(super) async fn fast_means_that_no_network_is_in_the_way(bench: Bench) {
    for flag in [Capabilities::FAST, Capabilities::LOCAL_IO] {
        let Some(store) = claiming(&bench, flag).await else { continue };
        let name = format!("v-{}", flag.bits());
        made(&store, &name).await;
        let attachment = attached(&store, &name, "w").await;
        assert!(!is_remote(attachment.path()), "attached on a network filesystem");
    }
}

pub(super) async fn reliable_says_what_it_survives(bench: Bench) {
    let store = bench.store().await;
    let survives = store.info().characteristics.survives;
    let flag = claims(&store, Capabilities::RELIABLE);
    assert_eq!(flag, survives >= Survives::HostCrash, "{survives:?}");
    let needs = Needs::default().with_survives(Survives::HostCrash);
    assert_eq!(require(&store.info(), &needs).is_ok(), flag);
    if !flag {
        assert!(!store.info().characteristics.remarks.is_empty(), "it is not said why not");
    }
}

pub(super) async fn portable_volumes_are_attached_elsewhere_with_their_content(bench: Bench) {
    let Some(store) = claiming(&bench, Capabilities::PORTABLE).await else { return };
    made(&store, "v").await;
    for (n, node) in ["b", "c", "a"].into_iter().enumerate() {
        let other = bench.open(node).await;
        let attachment = attached(&other, "v", "w").await;
        if n > 0 {
            Tree::sample(&format!("tree-{}", n - 1)).assert_at(attachment.path());
        }
        Tree::sample(&format!("tree-{n}")).replace(attachment.path());
        detached(&other, &attachment).await;
        other.close().await.unwrap();
    }
}

pub(super) async fn without_snapshots_every_call_about_them_is_unsupported(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let (v, s, kind) = (volume("v"), named("s"), ErrorKind::Unsupported);
    if claims(&store, Capabilities::SNAPSHOTS) {
        store.snapshot(&v, &s, SnapshotOptions::default()).await.unwrap();
        assert_eq!(snapshots_of(&store, &v).await.len(), 1);
        return;
    }
    refused_without_a_trace(&store, kind, store.snapshot(&v, &s, SnapshotOptions::default())).await;
    refused_without_a_trace(&store, kind, store.restore(&v, &s, RestoreOptions::default())).await;
    refused_without_a_trace(&store, kind, async { store.open_snapshot(&v, &s).await.map(drop) }).await;
    refused_without_a_trace(&store, kind, store.delete_snapshot(&v, &s, Default::default())).await;
    let source = Source::Snapshot { volume: v.clone(), snapshot: s.clone() };
    let options = CreateOptions::default().with_source(source);
    let new = volume("new");
    refused_without_a_trace(&store, kind, store.create(&new, options)).await;
    assert!(snapshots_of(&store, &v).await.is_empty());
}

pub(super) async fn an_instant_snapshot_moves_no_bytes(bench: Bench) {
    let Some(store) = claiming(&bench, Capabilities::INSTANT_SNAPSHOTS).await else { return };
    assert!(claims(&store, Capabilities::SNAPSHOTS));
    made(&store, "v").await;
    Tree::sample("one").write(attached(&store, "v", "w").await.path());
    let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let sink = Arc::clone(&seen);
    let options = SnapshotOptions::default().with_progress(move |p| sink.lock().unwrap().push(*p));
    store.snapshot(&volume("v"), &named("s"), options).await.unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|p| p.phase != Phase::Transfer || p.bytes == 0), "{seen:?}");
}

pub(super) async fn clones_stay_apart_although_they_share(bench: Bench) {
    let Some(store) = claiming(&bench, Capabilities::CLONES).await else { return };
    let (one, two) = (Tree::sample("one"), Tree::sample("two"));
    let tree = Source::Tree(MemorySource::new(&one));
    store.create(&volume("origin"), CreateOptions::default().with_source(tree)).await.unwrap();
    let from = CreateOptions::default().with_source(Source::Volume(volume("origin")));
    store.create(&volume("clone"), from).await.unwrap();
    let clone = attached(&store, "clone", "w").await;
    fs::write(clone.path().join("dir/data"), "overwritten in place").unwrap();
    let origin = attached(&store, "origin", "w").await;
    one.assert_at(origin.path());
    two.replace(origin.path());
    assert_eq!(fs::read(clone.path().join("dir/data")).unwrap(), b"overwritten in place");
}

pub(super) async fn live_readers_see_the_writer_and_cannot_write(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let writer = attached(&store, "v", "w").await;
    let (name, options) = (volume("v"), holder("r").with_access(Access::ReadOnly));
    let call = store.attach(&name, options);
    if !claims(&store, Capabilities::LIVE_READERS) && !claims(&store, Capabilities::MANY_READERS) {
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        return;
    }
    let reader = match call.await {
        Ok(reader) => reader,
        error => {
            assert!(!claims(&store, Capabilities::LIVE_READERS), "{error:?}");
            refused(ErrorKind::Unsupported, error);
            return;
        }
    };
    if !claims(&store, Capabilities::LIVE_READERS) {
        // Pinned to what the store has: it says how old that is, and what is written into it changes nothing.
        assert!(reader.report().lag.is_some(), "{:?}", reader.report());
        fs::write(writer.path().join("live"), "content").unwrap();
        assert!(!reader.path().join("live").exists());
        drop(fs::write(reader.path().join("mine"), "x"));
        assert!(!writer.path().join("mine").exists());
        return;
    }
    assert_eq!((reader.report().lag, &reader.snapshot), (None, &None));
    fs::write(writer.path().join("live"), "content").unwrap();
    assert_eq!(fs::read(reader.path().join("live")).unwrap(), b"content");
    let error = fs::write(reader.path().join("live"), "x").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let refreshed = store.refresh(&reader.id, RefreshOptions::default()).await.unwrap();
    assert_eq!(fs::read(refreshed.path.join("live")).unwrap(), b"content");
}

pub(super) async fn a_pinned_reader_moves_on_when_it_asks(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let name = volume("v");
    let options = || holder("r").with_access(Access::ReadOnly).with_snapshot(named("s1"));
    if !claims(&store, Capabilities::MANY_READERS | Capabilities::SNAPSHOTS) {
        let call = store.attach(&name, options());
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        return;
    }
    let (one, two) = (Tree::sample("one"), Tree::sample("two"));
    let writer = attached(&store, "v", "w").await;
    one.write(writer.path());
    store.snapshot(&name, &named("s1"), SnapshotOptions::default()).await.unwrap();
    let reader = store.attach(&name, options()).await.unwrap();
    two.replace(writer.path());
    store.snapshot(&name, &named("s2"), SnapshotOptions::default()).await.unwrap();
    let to = RefreshOptions::default().with_snapshot(named("s2"));
    let moved = store.refresh(&reader.id, to.clone()).await.unwrap();
    assert_ne!(moved.path, reader.path());
    two.assert_at(&moved.path);
    one.assert_at(reader.path());
    let again = store.refresh(&reader.id, to).await.unwrap();
    assert_eq!((again.outcome, again.path), (crate::Outcome::Already, moved.path));
    detached(&store, &reader).await;
}

pub(super) async fn an_enforced_size_is_a_limit_and_never_a_label(bench: Bench) {
    let store = bench.store().await;
    let (name, size) = (volume("v"), 16 << 20_u64);
    let options = CreateOptions::default().with_spec(VolumeSpec::default().with_size_bytes(size));
    if !claims(&store, Capabilities::ENFORCED_SIZE) {
        refused_without_a_trace(&store, ErrorKind::Unsupported, store.create(&name, options)).await;
        made(&store, "v").await;
        let change = UpdateOptions::default().with_size_bytes(Some(size));
        refused_without_a_trace(&store, ErrorKind::Unsupported, store.update(&name, change)).await;
        return;
    }
    store.create(&name, options).await.unwrap();
    let attachment = attached(&store, "v", "w").await;
    let error = fs::write(attachment.path().join("large"), vec![1; 2 * size as usize])
        .and_then(|()| fs::File::open(attachment.path().join("large"))?.sync_all())
        .unwrap_err();
    let full = [std::io::ErrorKind::QuotaExceeded, std::io::ErrorKind::StorageFull];
    assert!(full.contains(&error.kind()), "{error}");
    fs::remove_file(attachment.path().join("large")).unwrap();
    let change = UpdateOptions::default().with_size_bytes(None);
    assert_eq!(store.update(&name, change).await.unwrap().volume.spec.size_bytes, None);
    fs::write(attachment.path().join("large"), vec![1; 2 * size as usize]).unwrap();
}

pub(super) async fn owners_are_mapped_or_the_map_is_refused(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let target = bench.directory("target");
    let map = vec![IdMapping { on_volume: 0, on_mount: 100_000, count: 65_536 }];
    let policy = MountPolicy::default().with_id_map(map);
    let (name, options) = (volume("v"), holder("w").with_target(&*target).with_policy(policy));
    let call = store.attach(&name, options);
    if !claims(&store, Capabilities::ID_MAP) {
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        assert!(names(&target).is_empty());
        return;
    }
    let attachment = call.await.unwrap();
    let owner = fs::metadata(attachment.path()).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (100_000, 100_000));
}

pub(super) async fn a_label_is_on_the_root_or_refused(bench: Bench) {
    let store = bench.store().await;
    let label = "system_u:object_r:container_file_t:s0";
    let root = RootSpec::default().with_selinux_label(label);
    let options = CreateOptions::default().with_spec(VolumeSpec::default().with_root(root));
    let name = volume("v");
    if !claims(&store, Capabilities::LABEL) {
        refused_without_a_trace(&store, ErrorKind::Unsupported, store.create(&name, options)).await;
        return;
    }
    store.create(&name, options).await.unwrap();
    let mut value = vec![0; 256];
    let path = attached(&store, "v", "w").await.path().to_owned();
    let length = rustix::fs::getxattr(&path, c"security.selinux", &mut value).unwrap();
    assert_eq!(std::str::from_utf8(&value[..length]).unwrap().trim_end_matches('\0'), label);
}

/// The store if it claims `flag`; where it does not, who needs the flag is refused.
async fn claiming(bench: &Bench, flag: Capabilities) -> Option<Store> {
    let store = bench.store().await;
    let needed = require(&store.info(), &Needs::default().with_capabilities(flag));
    if claims(&store, flag) {
        needed.unwrap();
        return Some(store);
    }
    refused(ErrorKind::Unsupported, needed);
    None
}

/// Whether `path` is on a filesystem that needs a network (statfs(2), `f_type`).
fn is_remote(path: &Path) -> bool {
    const NFS: i64 = 0x6969;
    const CIFS: i64 = 0xff53_4d42;
    const SMB2: i64 = 0xfe53_4d42;
    const CEPH: i64 = 0x00c3_6400;
    let kind = rustix::fs::statfs(path).unwrap().f_type;
    [NFS, CIFS, SMB2, CEPH].contains(&kind)
}
