//! What the children do: one operation again and again, a line after each that was acknowledged.

use super::scene::*;
use persist_core::{
    Access, AttachOptions, CreateOptions, ErrorKind, Source,
    care::{PruneMode, PruneOptions},
    name::LabelKey,
    snapshot::{Replaced, RestoreOptions},
    volume::{DeleteOptions, Import, SnapshotsAlong, Trash, UpdateOptions},
};
use std::{fs, path::Path, time::Duration};

/// More rounds than a parent lets happen: a child that nobody kills ends nevertheless.
const ROUNDS: usize = 10_000;

/// Runs `script` on the store at `root`.
pub fn run(script: &str, root: &Path) {
    block_on(async {
        let store = open(root).await;
        match script {
            "create" => create(&store, root).await,
            "update" => update(&store).await,
            "attach" => attach(&store).await,
            "adopt" => adopt(root).await,
            "sync" => sync(&store).await,
            "snapshot" => snapshot(&store).await,
            "restore" => restore(&store).await,
            "delete" => delete(&store).await,
            "prune" => prune(&store).await,
            "hold" => hold(&store, AttachOptions::default()).await,
            "hold-external" => hold(&store, holder("w")).await,
            "share-hello" => share(&store, "hello").await,
            "share-world" => share(&store, "world").await,
            "race" => race(&store).await,
            other => panic!("no such script: {other}"),
        }
    });
}

async fn create(store: &Store, root: &Path) {
    let path = root.with_file_name("source");
    for n in 0..ROUNDS {
        let source = Source::Directory { path: path.clone(), import: Import::Copy };
        let name = volume(&format!("v{n}"));
        store.create(&name, CreateOptions::default().with_source(source)).await.unwrap();
        say(n);
    }
}

async fn update(store: &Store) {
    for n in 0..ROUNDS {
        let [a, b] = ["a", "b"].map(|key| LabelKey::new(key).unwrap());
        let change = UpdateOptions::default().with_label(a, n.to_string()).with_label(b, n.to_string());
        store.update(&volume("v"), change).await.unwrap();
        say(n);
    }
}

/// Attach and detach in turn.
async fn attach(store: &Store) {
    for n in 0..ROUNDS {
        let attachment = attached(store, "v").await;
        fs::write(attachment.path().join("round"), n.to_string()).unwrap();
        say(format_args!("{n} {}", attachment.epoch));
        store.detach(&attachment.id, Default::default()).await.unwrap();
        say(format_args!("{n} {}", attachment.epoch));
    }
}

async fn adopt(root: &Path) {
    let store = open(root).await;
    let record = attached(&store, "v").await.record().clone();
    store.close().await.unwrap();
    for _ in 0..ROUNDS {
        let store = open(root).await;
        let adopted = store.adopt(&record, Default::default()).await.unwrap();
        say(adopted.epoch);
        store.close().await.unwrap();
    }
}

async fn sync(store: &Store) {
    let attachment = attached(store, "v").await;
    for n in 0..ROUNDS {
        fs::write(attachment.path().join(format!("synced-{n}")), n.to_string()).unwrap();
        store.sync(&attachment.id, Default::default()).await.unwrap();
        say(n);
    }
}

async fn snapshot(store: &Store) {
    let attachment = attached(store, "v").await;
    for n in 0..ROUNDS {
        write_tree(attachment.path(), n);
        store.snapshot(&volume("v"), &named(&format!("s{n}")), Default::default()).await.unwrap();
        say(n);
        if n % 3 == 2 {
            let old = named(&format!("s{}", n - 1));
            store.delete_snapshot(&volume("v"), &old, Default::default()).await.unwrap();
        }
    }
}

/// Restores the snapshots `s0` and `s1` in turn.
async fn restore(store: &Store) {
    for n in 0..ROUNDS {
        let options = RestoreOptions::default().with_replaced(Replaced::Discard);
        store.restore(&volume("v"), &named(&format!("s{}", n % 2)), options).await.unwrap();
        say(n % 2);
    }
}

async fn delete(store: &Store) {
    for n in 0..ROUNDS {
        let name = volume(&format!("v{n}"));
        store.create(&name, CreateOptions::default()).await.unwrap();
        store.delete(&name, DeleteOptions::default().with_snapshots(SnapshotsAlong::Delete)).await.unwrap();
        say(n);
    }
}

async fn prune(store: &Store) {
    for n in 0..ROUNDS {
        let name = volume(&format!("v{n}"));
        let from = CreateOptions::default().with_source(Source::Volume(volume("v")));
        store.create(&name, from).await.unwrap();
        let at_once = Trash::KeepFor(Duration::ZERO);
        store.delete(&name, DeleteOptions::default().with_trash(at_once)).await.unwrap();
        store.prune(PruneOptions::default().with_mode(PruneMode::Apply)).await.unwrap();
        say(n);
    }
}

/// Attaches and says its epoch; syncs when told, and says how that went.
async fn hold(store: &Store, options: AttachOptions) {
    let attachment = match store.attach(&volume("v"), options.with_wait(Duration::from_secs(60))).await {
        Ok(attachment) => attachment,
        Err(error) => return say(format_args!("{:?}", error.kind())),
    };
    fs::write(attachment.path().join("held-by"), std::process::id().to_string()).unwrap();
    say(format_args!("{} {}", attachment.id, attachment.epoch));
    loop {
        wait_for_word();
        match store.sync(&attachment.id, Default::default()).await {
            Ok(_) => say("synced"),
            Err(error) => say(format_args!("{:?}", error.kind())),
        }
    }
}

/// Writes its word into the shared directory; when told, says all the words that it finds.
async fn share(store: &Store, word: &str) {
    let attachment =
        store.attach(&volume("v"), holder(word).with_access(Access::SharedOnNode)).await.unwrap();
    fs::write(attachment.path().join(word), word).unwrap();
    say(attachment.epoch);
    loop {
        wait_for_word();
        let mut words: Vec<_> = fs::read_dir(attachment.path())
            .unwrap()
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        words.sort();
        say(words.join(" "));
    }
}

/// When told, creates the next volume and tries to attach it; says its id, and whether it holds it.
async fn race(store: &Store) {
    for n in 0.. {
        say("ready");
        wait_for_word();
        let name = volume(&format!("v{n}"));
        let record = store.create(&name, CreateOptions::default()).await.unwrap().volume;
        let held = match store.attach(&name, AttachOptions::default()).await {
            Ok(_) => "holds",
            Err(error) if error.kind() == ErrorKind::InUse => "does not",
            Err(error) => panic!("{error}"),
        };
        say(format_args!("{} {held}", record.id));
    }
}
