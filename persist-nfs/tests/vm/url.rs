//! The ways in: what is mounted, verified, shared, taken down and refused.

use super::{block, shell};
use libtest_mimic::Trial;
use persist_core::{
    AttachOptions, Capabilities, Error, ErrorKind, Fencing, OpenMode, OpenOptions, VolumeStore,
    VolumeStoreExt, Workload,
    linux::process::this_host,
    volume::{DeleteOptions, Trash},
};
use std::{path::Path, sync::Arc};

const STATE: &str = "/tmp/state";

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 12] = [
        ("an_export_is_mounted_as_asked_and_taken_down_with_the_last_store", mounted_and_taken_down),
        ("what_is_attached_keeps_its_mount", attached_keeps_its_mount),
        ("stores_with_other_options_have_mounts_of_their_own", other_options),
        ("capabilities_are_those_of_the_version", capabilities),
        ("a_server_that_is_not_there_is_unavailable_and_leaves_no_mount", not_there),
        ("an_option_that_cannot_be_kept_is_refused_and_leaves_no_mount", not_kept),
        ("a_mount_that_breaks_promises_serves_readers_alone", soft),
        ("a_read_only_export_and_a_squashed_root_are_explained", denied),
        ("a_path_that_is_not_on_nfs_is_refused", not_nfs),
        ("a_mount_that_another_one_hides_is_refused_and_nothing_is_written_over_it", hidden),
        ("a_store_that_the_server_has_lost_is_refused_by_its_kind", stale),
        ("the_five_verbs_leave_what_they_say_on_the_server", quickstart),
    ];
    super::planned(&tests)
}

async fn open(url: &str) -> Result<Arc<dyn VolumeStore>, Error> {
    let url: persist_core::StoreUrl = url.parse()?;
    let mut options =
        OpenOptions::default().with_mode(OpenMode::CreateIfMissing).with_node(this_host().unwrap());
    if url.scheme() == "nfs" {
        options = options.with_state_directory(STATE);
    }
    persist_nfs::open(&url, options).await
}

fn refused(url: &str, kind: ErrorKind, word: &str) {
    let error = block(open(url)).map(drop).unwrap_err();
    assert_eq!(error.kind(), kind, "{url}: {error}");
    assert!(error.to_string().contains(word), "{url}: {error}");
    assert_eq!(mounts(), 0, "{url}: {error}");
    let children = shell(&format!("cat /proc/{}/task/*/children", std::process::id()));
    // This shell alone.
    assert_eq!(children.split_whitespace().count(), 1, "{url}: {error}: processes are left: {children}");
}

/// How many mounts of ours there are.
fn mounts() -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(&format!(" {STATE}/mounts/"))).count()
}

fn mounted_and_taken_down() {
    block(async {
        let one = open("nfs://127.0.0.1/?directory=u/a&timeo=300&rsize=65536").await.unwrap();
        let two = open("nfs://127.0.0.1/?directory=u/b&rsize=65536&timeo=300").await.unwrap();
        assert_ne!(one.info().id, two.info().id);
        assert_eq!(mounts(), 1, "two stores of one export share the mount");
        one.close().await.unwrap();
        assert_eq!(mounts(), 1, "the other store needs it");
        two.close().await.unwrap();
        assert_eq!(mounts(), 0);
        let again = open("nfs://localhost/?directory=u/a").await.unwrap();
        assert_eq!(again.info().id, one.info().id);
        again.close().await.unwrap();
    });
    assert_eq!(mounts(), 0);
}

fn attached_keeps_its_mount() {
    block(async {
        let store = open("nfs://127.0.0.1/?directory=u/kept").await.unwrap();
        let bound = store.bind(&"v".parse().unwrap(), Default::default()).await.unwrap();
        let file = bound.path().join("f");
        std::fs::write(&file, "x").unwrap();
        store.close().await.unwrap();
        assert_eq!(mounts(), 1);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "x");
        let store = open("nfs://127.0.0.1/?directory=u/kept").await.unwrap();
        store.detach(&bound.attachment().id, Default::default()).await.unwrap();
        store.close().await.unwrap();
    });
    assert_eq!(mounts(), 0);
}

fn other_options() {
    block(async {
        let one = open("nfs://127.0.0.1/?directory=u/o").await.unwrap();
        let two = open("nfs://127.0.0.1/?directory=u/o&version=4.1").await.unwrap();
        let efs = open("nfs://127.0.0.1/?directory=u/o&profile=efs").await.unwrap();
        assert_eq!(mounts(), 3);
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(table.contains("noresvport"), "{table}");
        for store in [one, two, efs] {
            store.close().await.unwrap();
        }
    });
    assert_eq!(mounts(), 0);
}

fn capabilities() {
    block(async {
        for (url, clones) in [("nfs://127.0.0.1/?directory=u/c", true), ("nfs+mounted:///m41/u/c", false)] {
            let store = open(url).await.unwrap();
            let info = store.info();
            let always = Capabilities::PORTABLE | Capabilities::RELIABLE | Capabilities::SHARED_ACROSS_NODES;
            assert!(info.capabilities.contains(always | Capabilities::LIVE_READERS), "{info:?}");
            assert!(!info.capabilities.intersects(Capabilities::FAST | Capabilities::LOCAL_IO));
            assert_eq!(info.capabilities.contains(Capabilities::CLONES), clones, "{info:?}");
            assert_eq!(info.characteristics.fencing, Fencing::Advisory);
            store.close().await.unwrap();
        }
    });
}

fn not_there() {
    refused("nfs://127.0.0.1/nowhere", ErrorKind::NotFound, "no such export");
    refused("nfs://127.0.0.1:4444/", ErrorKind::Unavailable, "nothing listens");
    refused("nfs://no.such.host/", ErrorKind::Unavailable, "name is not known");
    refused("nfs://10.99.0.1/", ErrorKind::Unavailable, "");
}

fn not_kept() {
    // Another mount of this server has one connection already: the kernel takes the option and drops it.
    refused("nfs://127.0.0.1/?nconnect=2", ErrorKind::Unsupported, "nconnect");
    refused("nfs://127.0.0.1/?xprtsec=mtls", ErrorKind::Unsupported, "xprtsec");
    refused("nfs://127.0.0.1/?context=a:b:c:s0", ErrorKind::Unsupported, "context");
    let error = block(open("nfs://127.0.0.1/?sec=krb5p")).map(drop).unwrap_err();
    println!("krb5p: {error}");
    assert_eq!(mounts(), 0);
}

fn soft() {
    block(async {
        let error = open("nfs+mounted:///soft/u/a").await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        let made = open("nfs+mounted:///m42/u/a").await.unwrap();
        made.close().await.unwrap();
        let options = OpenOptions::default().with_mode(OpenMode::ReadOnly);
        let store = persist_nfs::open(&"nfs+mounted:///soft/u/a".parse().unwrap(), options).await.unwrap();
        assert_eq!(store.info().id, made.info().id);
    });
}

fn denied() {
    refused("nfs://127.0.0.1/ro?directory=x", ErrorKind::Denied, "");
    refused("nfs://127.0.0.1/squash", ErrorKind::Denied, "root_squash");
}

fn not_nfs() {
    refused("nfs+mounted:///srv/x", ErrorKind::Unsupported, "not on NFS");
    assert!(!Path::new("/srv/x").exists());
}

fn hidden() {
    block(async {
        let store = open("nfs://127.0.0.1/?directory=u/hidden").await.unwrap();
        store.create(&"v".parse().unwrap(), Default::default()).await.unwrap();
        // Over the directory that the mount is in, as when somebody mounts a tmpfs on /run.
        shell("mount -t tmpfs over /tmp/state");
        let error = store.create(&"w".parse().unwrap(), Default::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let again = open("nfs://127.0.0.1/?directory=u/hidden").await.map(drop).unwrap_err();
        println!("hidden: {error}; opened again: {again}");
        assert_eq!(
            shell("find /tmp/state -type f -name 1"),
            "",
            "a store was made where nobody looks for it"
        );
        shell("umount /tmp/state");
        assert_eq!(store.get(&"v".parse().unwrap()).await.unwrap().name.to_string(), "v");
        store.close().await.unwrap();
    });
    assert_eq!(mounts(), 0);
}

fn stale() {
    block(async {
        let store = open("nfs://127.0.0.1/?directory=u/stale").await.unwrap();
        let name = "v".parse().unwrap();
        store.create(&name, Default::default()).await.unwrap();
        shell("rm -r /srv/u/stale");
        for error in [
            store.get(&name).await.map(drop).unwrap_err(),
            store.create(&"w".parse().unwrap(), Default::default()).await.map(drop).unwrap_err(),
            store.attach(&name, AttachOptions::default()).await.map(drop).unwrap_err(),
        ] {
            println!("lost: {error}");
            assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NotFound), "{error}");
        }
        let _ = store.close().await;
    });
    assert!(!Path::new("/srv/u/stale").exists(), "nothing was made anew");
}

fn quickstart() {
    block(async {
        let store = open("nfs://127.0.0.1/?directory=u/q").await.unwrap();
        let name = "v".parse().unwrap();
        let bound = store.bind(&name, Default::default()).await.unwrap();
        std::fs::write(bound.path().join("f"), vec![7; 1 << 20]).unwrap();
        store.sync(&bound.attachment().id, Default::default()).await.unwrap();
        store.snapshot(&name, &"s".parse().unwrap(), Default::default()).await.unwrap();
        let other = AttachOptions::default().with_workload(Workload::new("other").unwrap());
        assert_eq!(store.attach(&name, other).await.unwrap_err().kind(), ErrorKind::InUse);
        store.detach(&bound.attachment().id, Default::default()).await.unwrap();
        let health = store.health().await.unwrap();
        assert!(health.iter().any(|h| h.reason == "server-answers"), "{health:?}");
        let bypass = DeleteOptions::default().with_trash(Trash::Bypass);
        store.create(&"gone".parse().unwrap(), Default::default()).await.unwrap();
        store.delete(&"gone".parse().unwrap(), bypass).await.unwrap();
        let left = shell("find /srv/u/q/removed /srv/u/q/intents -mindepth 1");
        assert_eq!(left, "", "a removed volume leaves nothing");
        store.close().await.unwrap();
    });
    let found = shell("find /srv/u/q -type f -size 1024k | wc -l");
    assert_eq!(found.trim(), "2", "the volume's file and the snapshot's");
    assert_eq!(mounts(), 0);
}
