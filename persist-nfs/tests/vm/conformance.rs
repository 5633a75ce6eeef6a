//! The conformance suite: every promise of the contract on NFS 4.2 and on NFS 4.1.

use async_trait::async_trait;
use libtest_mimic::Trial;
use persist_core::{
    Node, OpenMode, OpenOptions, Result, VolumeStore,
    clock::{Clock, Environment, ManualClock, SystemEnvironment},
    conformance::{Promise, Subject, promises},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

/// A store on a mount that is there already.
struct Mounted {
    /// Seen through the mount.
    directory: PathBuf,
    /// The same directory at the server, which removes it without the network.
    _at_server: TempDir,
    clock: ManualClock,
}

impl Mounted {
    fn fresh(mount: &str) -> Self {
        let at_server = tempfile::tempdir_in("/srv/c").unwrap();
        let directory = Path::new(mount).join(at_server.path().strip_prefix("/srv").unwrap());
        Self { directory, _at_server: at_server, clock: ManualClock::at(SystemEnvironment.now()) }
    }
}

#[async_trait]
impl Subject for Mounted {
    async fn open(&self, node: Node) -> Result<Arc<dyn VolumeStore>> {
        let url = format!("nfs+mounted://{}/store?patience=600", self.directory.display()).parse()?;
        let environment = Environment { clock: Arc::new(self.clock.clone()), ..Environment::default() };
        let options = OpenOptions::default()
            .with_mode(OpenMode::CreateIfMissing)
            .with_node(node)
            .with_environment(environment);
        persist_nfs::open(&url, options).await
    }

    fn scratch(&self) -> &Path {
        &self.directory
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = table.lines().rev().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| Path::new(point).starts_with(&self.directory)) {
            let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// What a call leaves that is dropped at any of its steps is the same on every filesystem, and takes an emulated machine as
/// long as all the rest.
const LEFT_TO_THE_PLAIN_TESTS: &str = "cancellation";

/// The promises of a version, as `4_2`, with `+` of these groups alone, with `-` of all the others.
pub fn trials(chosen: &str) -> Vec<Trial> {
    let (version, groups) = chosen.split_at(chosen.find(['+', '-']).unwrap_or(chosen.len()));
    let named = |group: &str| groups.get(1..).is_some_and(|names| names.split('.').any(|name| name == group));
    let wanted = |group: &str| group != LEFT_TO_THE_PLAIN_TESTS && named(group) == groups.starts_with('+');
    let mount = format!("/m{}", version.replace('_', ""));
    let plan = |promise: &'static Promise| {
        let mount = mount.clone();
        Trial::test(format!("nfs_{version}::{}::{}", promise.group, promise.name), move || {
            promise.check(Arc::new(Mounted::fresh(&mount)));
            Ok(())
        })
    };
    let found: Vec<_> = promises().iter().filter(|promise| wanted(promise.group)).map(plan).collect();
    assert!(!found.is_empty(), "nothing is chosen by {chosen:?}");
    found
}
