//! Where an attachment appears: targets, links and mount policies.

use super::{bench::*, tree::*};
use crate::{
    AttachOptions, Capabilities, ErrorKind, Outcome, SnapshotName,
    attachment::{MountPolicy, Mounted, Permission, TargetKind},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
};

pub(super) async fn a_link_at_the_target_leads_to_the_volume_and_goes_with_it(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let target = bench.free_path("target");
    for _ in 0..10 {
        let attachment = store.attach(&volume("v"), link(&target)).await.unwrap();
        assert_eq!((attachment.path(), attachment.report().mounted), (&*target, Mounted::Symlink));
        assert_eq!(attachment.target.as_deref(), Some(&*target));
        fs::write(target.join("through"), "the link").unwrap();
        let again = store.attach(&volume("v"), link(&target)).await.unwrap();
        assert_eq!((again.id.clone(), again.report().outcome), (attachment.id.clone(), Outcome::Already));
        detached(&store, &attachment).await;
        assert!(fs::symlink_metadata(&target).is_err(), "the link is still there");
    }
    let attachment = attached(&store, "v", "w").await;
    assert_eq!(fs::read(attachment.path().join("through")).unwrap(), b"the link");
}

pub(super) async fn what_is_at_a_target_is_never_replaced(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    fs::write(bench.free_path("file"), "mine").unwrap();
    fs::write(bench.directory("full").join("inside"), "mine").unwrap();
    symlink("nowhere", bench.free_path("link")).unwrap();
    for name in ["file", "full", "link"] {
        let before = Picture::of(&store).await;
        let error = store.attach(&volume("v"), link(&bench.free_path(name))).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Denied | ErrorKind::Invalid), "{name}: {error}");
        assert_eq!(Picture::of(&store).await, before);
    }
    assert_eq!(fs::read(bench.free_path("file")).unwrap(), b"mine");
    assert_eq!(fs::read(bench.free_path("full/inside")).unwrap(), b"mine");
    assert_eq!(fs::read_link(bench.free_path("link")).unwrap(), Path::new("nowhere"));
}

pub(super) async fn a_target_that_cannot_be_is_refused(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    made(&store, "outer").await;
    let relative = async { store.attach(&volume("v"), link(Path::new("relative/path"))).await };
    let error = refused_without_a_trace(&store, ErrorKind::Invalid, relative).await;
    assert_eq!(error.field(), Some("target"));
    let dots = bench.scratch().join("x/../y");
    refused_without_a_trace(&store, ErrorKind::Invalid, store.attach(&volume("v"), link(&dots))).await;
    let outer = attached(&store, "outer", "w").await;
    for target in [Path::new("/"), &bench.free_path("no/parent"), &outer.path().join("inside")] {
        let before = Picture::of(&store).await;
        let error = store.attach(&volume("v"), link(target)).await.unwrap_err();
        let kinds = [ErrorKind::Denied, ErrorKind::Invalid, ErrorKind::NotFound];
        assert!(kinds.contains(&error.kind()), "{target:?}: {error}");
        assert_eq!(Picture::of(&store).await, before);
    }
    assert_eq!(names(outer.path()), Vec::<String>::new());
}

pub(super) async fn one_target_is_never_given_to_two_attachments(bench: Bench) {
    let store = bench.store().await;
    let target = bench.free_path("target");
    made(&store, "v1").await;
    made(&store, "v2").await;
    let first = store.attach(&volume("v1"), link(&target)).await.unwrap();
    fs::write(target.join("one"), "1").unwrap();
    let before = Picture::of(&store).await;
    let error = store.attach(&volume("v2"), link(&target)).await.unwrap_err();
    let kinds = [ErrorKind::Denied, ErrorKind::Invalid, ErrorKind::InUse];
    assert!(kinds.contains(&error.kind()), "{error}");
    assert_eq!(Picture::of(&store).await, before);
    assert_eq!(names(first.path()), ["one"]);
}

pub(super) async fn a_mount_policy_without_a_mount_is_unsupported(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let policy = MountPolicy::default().with_execute(Permission::Denied);
    let call = async { store.attach(&volume("v"), holder("w").with_policy(policy.clone())).await };
    refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
    let target = bench.free_path("target");
    let call = async { store.attach(&volume("v"), link(&target).with_policy(policy)).await };
    refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
    assert!(fs::symlink_metadata(&target).is_err());
}

pub(super) async fn a_mount_at_the_target_is_the_volume_itself(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let target = bench.directory("target");
    let options = holder("w").with_target(&*target);
    if !claims(&store, Capabilities::MOUNTS) {
        let call = async { store.attach(&volume("v"), options).await };
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        assert!(names(&target).is_empty());
        return;
    }
    let own_path = attached(&store, "v", "w").await;
    fs::write(own_path.path().join("file"), "content").unwrap();
    let inode = fs::metadata(own_path.path().join("file")).unwrap().ino();
    detached(&store, &own_path).await;
    for _ in 0..10 {
        let attachment = store.attach(&volume("v"), options.clone()).await.unwrap();
        assert_eq!((attachment.path(), attachment.report().mounted), (&*target, Mounted::ReadWrite));
        assert!(mounts_at(&target) == 1, "not one mount in mountinfo");
        assert_eq!(fs::read(target.join("file")).unwrap(), b"content");
        // A copy that was brought here anew has other inodes.
        if claims(&store, Capabilities::FAST) {
            assert_eq!(fs::metadata(target.join("file")).unwrap().ino(), inode);
        }
        detached(&store, &attachment).await;
        assert!(mounts_at(&target) == 0 && names(&target).is_empty());
    }
}

pub(super) async fn a_snapshot_is_read_by_readers_only(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let options = holder("w").with_snapshot(SnapshotName::new("s").unwrap());
    let error =
        refused_without_a_trace(&store, ErrorKind::Invalid, store.attach(&volume("v"), options)).await;
    assert_eq!(error.field(), Some("snapshot"));
}

/// A link at `target`, which needs no privilege.
fn link(target: &Path) -> AttachOptions {
    holder("w").with_target(target).with_target_kind(TargetKind::Symlink)
}

/// How many mounts are at `path` (proc_pid_mountinfo(5), field 5).
fn mounts_at(path: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.split(' ').nth(4) == path.to_str()).count()
}
