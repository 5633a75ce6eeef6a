//! A store in a temporary directory, for the engine's own tests.

use super::{plain_place::PlainPlace, store::DirectoryStore};
use crate::{OpenMode, OpenOptions, VolumeName, VolumeStore, volume::ListOptions};
use futures::StreamExt;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(super) struct Fixture {
    pub(super) dir: tempfile::TempDir,
    pub(super) place: Arc<PlainPlace>,
    pub(super) store: DirectoryStore,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Arc::new(PlainPlace::default());
        let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing);
        let store = place.open(&dir.path().join("store"), options).await.unwrap();
        Self { dir, place, store }
    }

    /// A second, independent opening of the same store.
    pub(super) async fn other(&self) -> DirectoryStore {
        let place = Arc::new(PlainPlace::default());
        place.open(&self.dir.path().join("store"), OpenOptions::default()).await.unwrap()
    }

    pub(super) fn tree(&self, volume: &VolumeName) -> PathBuf {
        let found = self.store.engine.locate(volume).unwrap();
        found.layout.generation(&found.stored.generation)
    }

    /// Everything below the store, for "nothing is left".
    pub(super) fn everything(&self) -> Vec<PathBuf> {
        let root = self.dir.path().join("store");
        let mut found = below(&root);
        found.retain(|path| path.file_name().unwrap() != ".exclusion");
        found
    }

    pub(super) async fn names(&self, options: ListOptions) -> Vec<String> {
        let listed: Vec<_> = self.store.list(options).collect().await;
        listed.into_iter().map(|volume| volume.unwrap().name.to_string()).collect()
    }
}

pub(super) fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

pub(super) fn name(text: &str) -> VolumeName {
    VolumeName::new(text).unwrap()
}

/// A directory with a file in it.
pub(super) fn directory(path: PathBuf) -> PathBuf {
    fs::create_dir(&path).unwrap();
    fs::write(path.join("file"), b"content").unwrap();
    path
}
