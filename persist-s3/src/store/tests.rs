//! Promises of the store that need a look, or a step, inside it.

use super::*;
use crate::{
    Credentials, S3Config, S3Options,
    config::Transport,
    head::{change::Change, recovery::Tree},
    workspace::testing::{FlushFault, open_failing},
};
use futures::TryStreamExt;
use persist_core::{
    Access, CreateOptions, Error, ErrorKind, LeaseState, Liveness, Node, NodeId, OpenMode, OpenOptions,
    Retry, Source, Takeover, Vouch, Workload, holder::BootId, quiesce::SyncPolicy, snapshot::SnapshotKind,
    tree::TreePath, volume::Import,
};
use persist_s3_server::{KeyPair, Server, ServerOptions};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

/// A bucket, and the directories of its nodes.
struct Bench {
    server: Server,
    dir: TempDir,
    name: VolumeName,
}

impl Bench {
    fn new() -> Self {
        Self {
            server: Server::in_memory(ServerOptions::new("bucket", KeyPair::new("access", "secret"))),
            // Not on tmpfs, which is refused; the target directory of the build is not.
            dir: tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/../target").unwrap(),
            name: VolumeName::new("volume").unwrap(),
        }
    }

    fn workspace(&self, node: &str) -> PathBuf {
        self.dir.path().join(node)
    }

    async fn open(&self, node: &str) -> S3Store {
        let mut config = S3Config::new("bucket");
        (config.endpoint, config.transport) = (Some("http://in.process".into()), Transport::PlainAllowed);
        config.workspace = Some(self.workspace(node));
        let s3 = S3Options::default()
            .with_credentials(Credentials::keys("access", "secret"))
            .with_connector(self.server.connector());
        let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing).with_node(self::node(node));
        S3Store::open(config, options.with_extension(s3)).await.unwrap()
    }

    /// The store of a node that has made the volume and attached it.
    async fn attached(&self, node: &str) -> (S3Store, Attachment) {
        let store = self.open(node).await;
        store.create(&self.name, CreateOptions::default()).await.unwrap();
        let attachment = store.attach(&self.name, AttachOptions::default()).await.unwrap();
        (store, attachment)
    }

    /// Another node takes the volume over and commits.
    async fn taken_over(&self, from: &AttachmentRecord) -> (S3Store, Attachment) {
        let store = self.open("other").await;
        let vouch = Vouch::new(from.id.clone(), from.epoch, "it is cut off");
        let options = AttachOptions::default().with_takeover(Takeover::Vouched(vouch));
        let attachment = store.attach(&self.name, options).await.unwrap();
        write(&attachment, "theirs");
        sync(&store, &attachment).await.unwrap();
        (store, attachment)
    }

    /// The files of the one salvage.
    async fn salvaged(&self, store: &S3Store) -> Vec<String> {
        let all: Vec<_> = store.snapshots(&self.name, ListOptions::default()).try_collect().await.unwrap();
        let salvages: Vec<_> = all.iter().filter(|record| record.kind == SnapshotKind::Salvage).collect();
        let [salvage] = salvages.as_slice() else { panic!("{} salvages", salvages.len()) };
        let tree = store.open_snapshot(&self.name, &salvage.name).await.unwrap();
        let entries: Vec<_> = tree.entries(None).try_collect().await.unwrap();
        let files: Vec<_> = entries.iter().filter(|entry| entry.path != TreePath::root()).collect();
        for file in &files {
            let bytes = tree.read(&file.path, 0..u64::MAX).await.unwrap();
            assert_eq!(bytes, content(&file.path.to_string()), "{}", file.path);
        }
        files.iter().map(|file| file.path.to_string()).collect()
    }
}

fn node(name: &str) -> Node {
    Node::new(NodeId::new(name).unwrap(), BootId::new("boot").unwrap())
}

/// What a file of this name holds: some frames, unlike those of any other.
fn content(name: &str) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(name.bytes().fold(7, |seed, b| seed * 31 + u64::from(b)));
    (0..300_000).map(|_| random.u8(..)).collect()
}

fn write(attachment: &Attachment, name: &str) {
    fs::write(attachment.path().join(name), content(name)).unwrap();
}

async fn sync(store: &S3Store, attachment: &Attachment) -> Result<SyncReport> {
    store.sync(&attachment.id, SyncOptions::default()).await
}

async fn detach(store: &S3Store, attachment: &Attachment) -> Result<DetachReport> {
    store.detach(&attachment.id, DetachOptions::default()).await
}

/// What the life of a process runs on: dropped, it is killed.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn says_lost(error: &Error) -> bool {
    (error.kind(), error.retry()) == (ErrorKind::Unavailable, Retry::Verify)
}

#[tokio::test]
async fn what_the_node_lost_in_a_sync_by_itself_is_told_once_to_whoever_asks_for_the_next() {
    let (bench, fault) = (Bench::new(), FlushFault::default());
    let mut store = bench.open("a").await;
    let spaces = open_failing(&bench.workspace("failing"), node("a"), fault.clone()).await.unwrap();
    Arc::get_mut(&mut store.engine).unwrap().spaces = Some(spaces);
    store.create(&bench.name, CreateOptions::default()).await.unwrap();
    let often = AttachOptions::default().with_sync(SyncPolicy::Every(Duration::from_millis(5)));
    let one = store.attach(&bench.name, often).await.unwrap();
    write(&one, "hello");
    fault.fire().await;
    let told = sync(&store, &one).await.unwrap_err();
    assert!(says_lost(&told), "{told}");
    sync(&store, &one).await.unwrap();
    fault.fire().await;
    let told = detach(&store, &one).await.unwrap_err();
    assert!(says_lost(&told), "{told}");
    detach(&store, &one).await.unwrap();
}

/// As far as a last detach comes that is dropped before its lease was given back.
async fn detach_up_to_the_release(store: &S3Store, attachment: &Attachment) -> Arc<serving::Session> {
    let session = store.engine.serving.session_of(&attachment.id).unwrap();
    let near = store.engine.spaces.as_ref().unwrap().near();
    near.detach(&attachment.id, DetachOptions::default()).await.unwrap();
    session.lowered(&attachment.id);
    session.workspace.clean().await.unwrap();
    session
}

#[tokio::test]
async fn what_is_written_after_an_attach_that_follows_an_interrupted_detach_is_work() {
    let bench = Bench::new();
    let (store, one) = bench.attached("a").await;
    let session = detach_up_to_the_release(&store, &one).await;
    let two = store.attach(&bench.name, AttachOptions::default()).await.unwrap();
    assert_eq!(session.workspace.state().tree, Tree::Dirty, "the next attach may write");
    write(&two, "mine");
    let (other, _) = bench.taken_over(one.record()).await;
    assert_eq!(sync(&store, &two).await.unwrap_err().kind(), ErrorKind::Fenced);
    detach(&store, &two).await.unwrap();
    assert_eq!(bench.salvaged(&other).await, ["mine"]);
}

#[tokio::test]
async fn an_attach_that_follows_a_release_whose_caller_has_gone_takes_the_lease_again() {
    let bench = Bench::new();
    let (store, one) = bench.attached("a").await;
    let session = detach_up_to_the_release(&store, &one).await;
    session.actor.change(Change::Release).await.unwrap();
    drop(session);
    let two = store.attach(&bench.name, AttachOptions::default()).await.unwrap();
    assert!(two.epoch > one.epoch);
    write(&two, "mine");
    sync(&store, &two).await.unwrap();
    detach(&store, &two).await.unwrap();
}

#[tokio::test]
async fn a_salvage_is_made_on_the_commit_that_the_tree_was_last_compared_with() {
    let bench = Bench::new();
    let (store, one) = bench.attached("a").await;
    let session = store.engine.serving.session_of(&one.id).unwrap();
    write(&one, "first");
    sync(&store, &one).await.unwrap();
    let before = session.base().unwrap();
    write(&one, "second");
    sync(&store, &one).await.unwrap();
    // As after a sync whose caller went when the workspace had noted its commit, and the session had not.
    session.rebase(before);
    write(&one, "third");
    let (other, _) = bench.taken_over(one.record()).await;
    let fenced = sync(&store, &one).await.unwrap_err();
    assert_eq!(fenced.kind(), ErrorKind::Fenced);
    detach(&store, &one).await.unwrap();
    assert_eq!(bench.salvaged(&other).await, ["first", "second", "third"]);
}

#[tokio::test]
async fn a_salvage_whose_base_has_lost_its_pages_is_uploaded_whole_and_named_to_every_handle() {
    let bench = Bench::new();
    let (store, one) = bench.attached("a").await;
    write(&one, "first");
    sync(&store, &one).await.unwrap();
    let before: Vec<_> =
        bench.server.keys("bucket", "v/").into_iter().filter(|key| !key.ends_with("/head")).collect();
    write(&one, "second");
    let (other, _) = bench.taken_over(one.record()).await;
    // What prunes of the successor would remove in time.
    for key in before.iter().filter(|key| key.contains("/c/") || key.contains("/p/")) {
        bench.server.remove("bucket", key).unwrap();
    }
    let session = store.engine.serving.session_of(&one.id).unwrap();
    session.actor.change(Change::Renew).await.unwrap_err();
    while !matches!(one.lease(), LeaseState::Fenced { salvage: Some(_), .. }) {
        tokio::task::yield_now().await;
    }
    detach(&store, &one).await.unwrap();
    assert_eq!(bench.salvaged(&other).await, ["first", "second"]);
}

#[tokio::test]
async fn a_snapshot_that_goes_while_it_is_restored_is_not_restored() {
    let bench = Bench::new();
    let (store, one) = bench.attached("a").await;
    write(&one, "first");
    let snapshot = SnapshotName::new("s").unwrap();
    store.snapshot(&bench.name, &snapshot, SnapshotOptions::default()).await.unwrap();
    write(&one, "second");
    detach(&store, &one).await.unwrap();
    let engine = &store.engine;
    let (commit, _) = engine.snapshot_there(&one.volume, &snapshot).await.unwrap();
    let source = engine.commits.read(&one.volume, &commit).await.unwrap();
    store.delete_snapshot(&bench.name, &snapshot, DeleteSnapshotOptions::default()).await.unwrap();
    let actor = engine.hold(&bench.name, &one.volume, "restore").await.unwrap();
    let moved = engine.move_head(&bench.name, (&snapshot, &source), None, &actor).await;
    assert_eq!(moved.unwrap_err().kind(), ErrorKind::NotFound);
    engine.let_go(actor).await.unwrap();
    let two = store.attach(&bench.name, AttachOptions::default()).await.unwrap();
    assert!(two.path().join("second").exists(), "the volume is as it was");
}

#[tokio::test]
async fn a_create_from_what_is_not_there_is_begun_once_and_leaves_no_copy() {
    let bench = Bench::new();
    let store = bench.open("a").await;
    let path = Path::new("/nowhere/at/all").to_owned();
    let source = Source::Directory { path, import: Import::Copy };
    let refused = store.create(&bench.name, CreateOptions::default().with_source(source)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound, "{refused}");
    let heads = bench.server.keys("bucket", "v/").into_iter().filter(|key| key.ends_with("/head")).count();
    assert_eq!(heads, 1);
    assert_eq!(store.engine.spaces.as_ref().unwrap().list().await.unwrap(), []);
}

#[tokio::test]
async fn who_waits_without_an_end_waits() {
    let bench = Bench::new();
    let (store, one) = bench.attached("a").await;
    let options = AttachOptions::default().with_workload(Workload::new("another").unwrap());
    let (waiter, name) = (store.clone(), bench.name.clone());
    let waiting = tokio::spawn(async move { waiter.attach(&name, options.with_wait(Duration::MAX)).await });
    tokio::task::yield_now().await;
    detach(&store, &one).await.unwrap();
    assert!(waiting.await.unwrap().unwrap().epoch > one.epoch);
}

#[test]
fn nobody_is_shown_a_tree_that_is_replaced_after_a_restart() {
    let bench = Bench::new();
    let claim = |name: &str| {
        AttachOptions::default()
            .with_access(Access::SharedOnNode)
            .with_workload(Workload::new(name).unwrap())
            .with_liveness(Liveness::External)
    };
    let life = runtime();
    let one = life.block_on(async {
        let store = bench.open("a").await;
        store.create(&bench.name, CreateOptions::default()).await.unwrap();
        let one = store.attach(&bench.name, claim("one")).await.unwrap();
        let two = store.attach(&bench.name, claim("two")).await.unwrap();
        sync(&store, &one).await.unwrap();
        write(&two, "unsynced");
        one.record().clone()
    });
    drop(life);
    runtime().block_on(async {
        let (other, theirs) = bench.taken_over(&one).await;
        detach(&other, &theirs).await.unwrap();
        let store = bench.open("a").await;
        let again = store.attach(&bench.name, claim("one")).await.unwrap();
        assert!(again.path().join("theirs").exists());
        assert_eq!(bench.salvaged(&store).await, ["unsynced"]);
        let all: Vec<_> = store.attachments(Default::default()).try_collect().await.unwrap();
        let ids: Vec<_> = all.iter().map(|record| &record.id).collect();
        assert_eq!(ids, [&again.id], "the other claim went with the tree that it was shown");
    });
}

#[tokio::test]
async fn who_follows_a_volume_keeps_no_more_than_it_is_shown_and_was_shown_before() {
    let bench = Bench::new();
    let (writer, one) = bench.attached("a").await;
    let store = bench.open("b").await;
    sync(&writer, &one).await.unwrap();
    let reader =
        store.attach(&bench.name, AttachOptions::default().with_access(Access::ReadOnly)).await.unwrap();
    for name in ["first", "second", "third", "fourth"] {
        write(&one, name);
        sync(&writer, &one).await.unwrap();
        let shown = store.refresh(&reader.id, RefreshOptions::default()).await.unwrap();
        assert_eq!(fs::read(shown.path.join(name)).unwrap(), content(name));
        let near = store.engine.readers.as_ref().unwrap().near();
        let of = attach::near_name(&one.volume).unwrap();
        let kept: Vec<_> = near.snapshots(&of, ListOptions::default()).try_collect().await.unwrap();
        assert!(kept.len() <= 2, "{kept:?}");
    }
    detach(&store, &reader).await.unwrap();
}

#[test]
fn a_reader_is_detached_by_a_process_that_does_not_serve_it() {
    let bench = Bench::new();
    let life = runtime();
    let (reader, path) = life.block_on(async {
        let (store, one) = bench.attached("a").await;
        write(&one, "first");
        detach(&store, &one).await.unwrap();
        let options =
            AttachOptions::default().with_access(Access::ReadOnly).with_liveness(Liveness::External);
        let reader = store.attach(&bench.name, options).await.unwrap();
        (reader.record().clone(), reader.path().to_owned())
    });
    drop(life);
    runtime().block_on(async {
        let store = bench.open("a").await;
        let report = store.detach(&reader.id, DetachOptions::default()).await.unwrap();
        assert_eq!(report.outcome, Outcome::Done);
        assert!(!path.join("first").exists());
        let left: Vec<_> = store.attachments(Default::default()).try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    });
}
