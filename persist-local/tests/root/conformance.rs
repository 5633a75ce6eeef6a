//! The conformance suite on filesystems of its own: every promise on each of them.

use super::{
    Planned,
    filesystem::{Filesystem, Kind, run, text},
    subject::Local,
};
use persist_core::conformance::promises;
use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, OnceLock},
};

/// A filesystem, and whether its quota groups are enabled, which makes sizes hold on btrfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Under {
    Plain(Kind),
    BtrfsWithQuota,
}

/// Room for what the tests write, and the least that mkfs.xfs makes.
const SIZE: &str = "1G";

pub fn trials() -> Vec<Planned> {
    let all = Kind::ALL.map(Under::Plain).into_iter().chain([Under::BtrfsWithQuota]);
    all.flat_map(on).collect()
}

/// One test a promise. The filesystem is made by the first that runs, and goes with the last.
fn on(under: Under) -> Vec<Planned> {
    let shared: Arc<OnceLock<Filesystem>> = Arc::default();
    let plan = |promise: &persist_core::conformance::Promise| {
        let (promise, shared) = (*promise, Arc::clone(&shared));
        Planned::new(
            "conformance",
            format!("{}::{}", under.word(), promise.name),
            &under.tools(),
            move || {
                let filesystem = shared.get_or_init(|| under.make());
                promise.check(Local::fresh(tempfile::tempdir_in(filesystem.path()).unwrap()));
                // Whoever unmounts it from outside would have the rest tried on what is below, and found good.
                assert!(is_mount(filesystem.path()), "{} is not mounted any more", under.word());
                Ok(())
            },
        )
    };
    promises().iter().map(plan).collect()
}

fn is_mount(path: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
    device(path) != device(path.parent().unwrap())
}

impl Under {
    fn word(self) -> &'static str {
        match self {
            Self::Plain(kind) => kind.word(),
            Self::BtrfsWithQuota => "btrfs_with_quota",
        }
    }

    fn tools(self) -> Vec<&'static str> {
        match self {
            Self::Plain(kind) => kind.tools().to_vec(),
            Self::BtrfsWithQuota => [Kind::Btrfs.tools(), &["btrfs"]].concat(),
        }
    }

    fn make(self) -> Filesystem {
        match self {
            Self::Plain(kind) => Filesystem::new(kind, SIZE),
            Self::BtrfsWithQuota => {
                let filesystem = Filesystem::new(Kind::Btrfs, SIZE);
                run("btrfs", &["quota", "enable", text(filesystem.path())]);
                filesystem
            }
        }
    }
}
