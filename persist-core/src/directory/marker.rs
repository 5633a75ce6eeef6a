//! The store's marker, `persist.json`: what makes a directory a store.
//!
//! It is linked last, when everything else of an empty store is there and durable; so a directory with a
//! marker is a whole store, and one that was being made when its maker died is made again from where it
//! was. Of two makers one links the marker, and both open the same store.

pub(crate) mod root;

use super::{durable::Durable, layout::Layout, records};
use crate::{
    capability::Capabilities,
    error::{Error, ErrorKind, Result},
    id::StoreId,
    open::OpenMode,
};
use serde::{Deserialize, Serialize};

/// The format that this version writes, and the newest one that it reads.
const FORMAT: u32 = 1;

/// The features of the format that this version knows. None yet.
const KNOWN_FEATURES: [&str; 0] = [];

/// What a store says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    /// The version of the format; a higher one is refused.
    pub(crate) format: u32,
    /// The store's identity.
    pub(crate) store: StoreId,
    /// What is in use beyond the format.
    #[serde(default)]
    pub(crate) features: Features,
}

/// Features of the format by what a version must do that does not know one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Features {
    /// It may go on.
    #[serde(default)]
    pub(crate) ignorable: Vec<String>,
    /// It may read.
    #[serde(default)]
    pub(crate) read_only: Vec<String>,
    /// It must not open the store.
    #[serde(default)]
    pub(crate) refuse: Vec<String>,
}

impl Marker {
    /// Opens the store at `layout` as `mode` says, or makes it with the identity `fresh`.
    ///
    /// # Errors
    /// `NotFound` where no store is and `mode` does not make one; `Conflict` for a directory with other
    /// things in it; `Unsupported` for a format or a feature that this version does not know, by name;
    /// `Corrupt` for a marker that cannot be read, or a store without its directories.
    pub(crate) fn open(layout: &Layout, mode: OpenMode, durable: &Durable, fresh: StoreId) -> Result<Self> {
        let found = Self::read(layout)?;
        let marker = match (found, mode) {
            (Some(marker), _) => marker,
            (None, OpenMode::CreateIfMissing) => Self::create(layout, durable, fresh)?,
            (None, _) => return Err(root::no_store(layout)),
        };
        marker.check(mode).map_err(|e| e.context("store", layout.root().display()))?;
        root::check(layout)?;
        Ok(marker)
    }

    /// Refuses a place where no store is.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt`.
    pub(crate) fn require(layout: &Layout) -> Result<()> {
        Self::read(layout)?.map(drop).ok_or_else(|| root::no_store(layout))
    }

    /// The identity of the store that is at `layout` now.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt`.
    pub(crate) fn identity(layout: &Layout) -> Result<StoreId> {
        Self::read(layout)?.map(|marker| marker.store).ok_or_else(|| root::no_store(layout))
    }

    fn read(layout: &Layout) -> Result<Option<Self>> {
        match records::read(&layout.marker()) {
            Ok(marker) => Ok(Some(marker)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn create(layout: &Layout, durable: &Durable, store: StoreId) -> Result<Self> {
        root::make(layout, durable)?;
        let marker = Self { format: FORMAT, store, features: Features::default() };
        durable.create(&layout.marker(), &records::encode(&marker)?)?;
        // Ours, or the one of who was faster.
        Self::read(layout)?.ok_or_else(|| root::no_store(layout))
    }

    fn check(&self, mode: OpenMode) -> Result<()> {
        if self.format > FORMAT {
            return Err(too_new("the store has a newer format").context("format", self.format));
        }
        if let Some(unknown) = unknown(&self.features.refuse) {
            return Err(too_new("the store uses a feature that this version does not know")
                .context("feature", format_args!("{unknown:?}")));
        }
        match unknown(&self.features.read_only) {
            Some(unknown) if mode != OpenMode::ReadOnly => {
                Err(too_new("the store uses a feature that this version can only read")
                    .context("feature", format_args!("{unknown:?}"))
                    .advise("open it read-only, or with a newer version"))
            }
            _ => Ok(()),
        }
    }
}

fn unknown(features: &[String]) -> Option<&String> {
    features.iter().find(|feature| !KNOWN_FEATURES.contains(&feature.as_str()))
}

fn too_new(message: &'static str) -> Error {
    Error::unsupported(Capabilities::empty(), message).advise("open it with a newer version")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    fn open(root: &Path, mode: OpenMode) -> Result<Marker> {
        let system = crate::clock::SystemEnvironment;
        Marker::open(&Layout::new(root), mode, &Durable::default(), StoreId::mint(&system, &system))
    }

    #[test]
    fn a_mistyped_path_is_not_an_empty_store_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [OpenMode::Existing, OpenMode::ReadOnly] {
            assert_eq!(open(&dir.path().join("x"), mode).unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(open(dir.path(), mode).unwrap_err().kind(), ErrorKind::NotFound);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn of_eight_makers_all_open_the_same_store() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/store");
        let stores: Vec<_> = std::thread::scope(|scope| {
            let makers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| open(&root, OpenMode::CreateIfMissing).unwrap())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap().store).collect()
        });
        assert!(stores.iter().all(|store| *store == stores[0]), "{stores:?}");
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(open(&root, OpenMode::Existing).unwrap().store, stores[0]);
    }

    #[test]
    fn a_half_made_store_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("names")).unwrap();
        fs::write(dir.path().join(".draft-abc"), b"{").unwrap();
        assert_eq!(open(dir.path(), OpenMode::Existing).unwrap_err().kind(), ErrorKind::NotFound);
        open(dir.path(), OpenMode::CreateIfMissing).unwrap();
    }

    #[test]
    fn a_directory_with_other_things_in_it_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), b"x").unwrap();
        let error = open(dir.path(), OpenMode::CreateIfMissing).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("thesis.tex"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let file = dir.path().join("thesis.tex");
        assert_eq!(open(&file, OpenMode::CreateIfMissing).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn unknown_features_are_refused_by_name_unless_they_may_be_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let mut marker = open(dir.path(), OpenMode::CreateIfMissing).unwrap();
        let put = |marker: &Marker| {
            fs::write(dir.path().join("persist.json"), records::encode(marker).unwrap()).unwrap();
        };
        marker.features.ignorable = vec!["colour".into()];
        put(&marker);
        open(dir.path(), OpenMode::Existing).unwrap();
        marker.features.read_only = vec!["packed-names".into()];
        put(&marker);
        let error = open(dir.path(), OpenMode::Existing).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("packed-names"));
        open(dir.path(), OpenMode::ReadOnly).unwrap();
        marker.features.refuse = vec!["sealed".into()];
        put(&marker);
        let error = open(dir.path(), OpenMode::ReadOnly).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("sealed"));
    }

    #[test]
    fn a_torn_marker_and_a_lost_directory_are_corrupt_and_never_an_empty_store() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), OpenMode::CreateIfMissing).unwrap();
        fs::remove_dir(dir.path().join("names")).unwrap();
        assert_eq!(open(dir.path(), OpenMode::CreateIfMissing).unwrap_err().kind(), ErrorKind::Corrupt);
        fs::create_dir(dir.path().join("names")).unwrap();
        fs::write(dir.path().join("persist.json"), b"").unwrap();
        assert_eq!(open(dir.path(), OpenMode::CreateIfMissing).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
