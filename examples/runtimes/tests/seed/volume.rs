//! A volume of a local store, as an orchestrator holds it.

use persist::{
    Access, AttachOptions, Attachment, BindOptions, DetachOptions, Error, OpenMode, OpenOptions, VolumeName,
    VolumeSpec, VolumeStore, VolumeStoreExt, Workload,
    attachment::{AttachmentFilter, Mounted},
    holder::Liveness,
    render::attached::Source,
    volume::CreateOptions,
};
use std::{path::Path, process::Command, sync::Arc};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A store with one volume. Claims that were not given back are, when this is dropped.
pub struct Volume {
    runtime: Runtime,
    store: Arc<dyn VolumeStore>,
    name: VolumeName,
    place: TempDir,
    held: std::sync::Mutex<Vec<Attachment>>,
}

impl Volume {
    pub fn new() -> Self {
        Self::with("persist-runtimes-", VolumeSpec::default())
    }

    /// Of this specification, in a directory whose name begins so.
    pub fn with(prefix: &str, spec: VolumeSpec) -> Self {
        let place = tempfile::Builder::new().prefix(prefix).tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let name = VolumeName::new("shop").unwrap();
        let node = persist::this_host().unwrap();
        let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing).with_node(node);
        let store = runtime.block_on(persist::open_with(&url(&place), options)).unwrap();
        let create = CreateOptions::default().with_spec(spec);
        runtime.block_on(store.create(&name, create)).unwrap();
        Self { runtime, store, name, place, held: std::sync::Mutex::default() }
    }

    /// What is attached for `workload`, which no process of ours is.
    pub fn attach(&self, workload: &str, options: AttachOptions) -> Attachment {
        let options =
            options.with_workload(Workload::new(workload).unwrap()).with_liveness(Liveness::External);
        let bind = BindOptions::default().with_attach(options);
        let bound = self.runtime.block_on(self.store.bind(&self.name, bind)).unwrap();
        let attachment = bound.attachment().clone();
        self.held.lock().unwrap().push(attachment.clone());
        attachment
    }

    /// One claim of many on this host.
    pub fn claim(&self, workload: &str) -> Attachment {
        self.attach(workload, AttachOptions::default().with_access(Access::SharedOnNode))
    }

    /// A reader's, at a mount of ours.
    pub fn reader(&self, workload: &str) -> Attachment {
        let attachment = self.attach(workload, AttachOptions::default().with_access(Access::ReadOnly));
        assert_eq!(attachment.report().mounted, Mounted::ReadOnly, "{attachment:?}");
        attachment
    }

    pub fn detach(&self, attachment: &Attachment) {
        self.try_detach(attachment).unwrap();
    }

    fn try_detach(&self, attachment: &Attachment) -> Result<(), Error> {
        self.runtime.block_on(self.store.detach(&attachment.id, DetachOptions::default())).map(drop)
    }

    /// The store's URL.
    pub fn url(&self) -> String {
        url(&self.place)
    }

    /// How many attachments the volume has.
    pub fn holders(&self) -> usize {
        use futures::StreamExt;
        self.runtime.block_on(self.store.attachments(AttachmentFilter::default()).count())
    }

    /// A directory beside the store, for a mount of ours.
    pub fn target(&self, name: &str) -> std::path::PathBuf {
        let target = self.place.path().join(name);
        std::fs::create_dir(&target).unwrap();
        target
    }
}

fn url(place: &TempDir) -> String {
    persist::StoreUrl::local(&place.path().join("store")).unwrap().to_string()
}

impl Drop for Volume {
    fn drop(&mut self) {
        for attachment in self.held.lock().unwrap().iter() {
            let _ = self.try_detach(attachment);
        }
        let _ = self.runtime.block_on(self.store.close());
    }
}

/// A filesystem mounted inside a volume, until this is dropped.
pub struct Nested(std::path::PathBuf);

impl Nested {
    pub fn new(volume: &Path) -> Self {
        let at = volume.join("nested");
        std::fs::create_dir(&at).unwrap();
        let made = runtimes::run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&at)).unwrap();
        made.well().unwrap();
        Self(at)
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        let _ = runtimes::run(Command::new("umount").arg(&self.0));
    }
}

pub fn source(attachment: &Attachment) -> Source {
    Source::from(attachment)
}

/// A script for a reader's shell, which sees the volume at `/data`: everything that would write to it. Prints
/// each attempt that is successful.
pub const ATTEMPTS: &str = "
try() { sh -c \"$1\" 2>/dev/null && echo \"WRITTEN by: $1\"; }
try 'echo x > /data/by-name'
try 'echo x >> /data/log'
try 'rm /data/log'
try 'chmod 777 /data/log'
try 'touch /data'
try 'echo x > /data/nested/by-name'
try 'mkdir /data/directory'
try 'echo x > /proc/self/root/data/by-proc'
try 'echo x > /proc/1/root/data/by-proc'
try 'exec 3< /data; echo x > /proc/self/fd/3/by-descriptor'
try 'exec 3< /data/log; echo x >> /proc/self/fd/3'
try 'cd /data; echo x > /proc/self/cwd/by-directory'
try 'mount -o remount,rw /data'
try 'mount -o remount,rw,bind /data'
try 'mount -o remount,rw,bind /data/nested'
try 'mkdir /tmp/again; mount --bind /data /tmp/again && echo x > /tmp/again/by-bind'
try 'mount --bind /data /tmp/again; mount -o remount,rw,bind /tmp/again && echo x > /tmp/again/by-bind'
try 'umount /data/nested && echo x > /data/nested/below'
try 'ln /data/log /tmp/linked && echo x >> /tmp/linked'
try 'mv /data/log /tmp/log'
echo tried
";

/// What [`ATTEMPTS`] must say and leave, beside a writer that goes on.
pub fn check_attempts(said: &str, volume: &Path) {
    assert_eq!(said, "tried", "a reader wrote");
    assert_eq!(std::fs::read_to_string(volume.join("log")).unwrap(), "by production\n");
    let mut names: Vec<_> = std::fs::read_dir(volume).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["log", "nested"]);
    assert_eq!(std::fs::read_dir(volume.join("nested")).unwrap().count(), 0);
}

/// What a user of the host who is nobody special gets to see of `path`.
pub fn check_denied_to_others(path: &Path) {
    use std::os::unix::process::CommandExt;
    /// `nobody` of Debian.
    const NOBODY: u32 = 65_534;
    for words in [["cat", "secret"], ["ls", "."], ["touch", "by-nobody"]] {
        let mut command = Command::new(words[0]);
        let said = runtimes::run(command.arg(path.join(words[1])).uid(NOBODY).gid(NOBODY)).unwrap();
        assert!(!said.status.success() && said.err.contains("Permission denied"), "{words:?}: {said:?}");
    }
}

/// The line of the mount table has what a mount of ours forbids.
#[track_caller]
pub fn check_strict(line: &str) {
    let options = line.split(' ').nth(5).unwrap();
    for forbidden in ["nosuid", "nodev"] {
        assert!(options.split(',').any(|option| option == forbidden), "{line}");
    }
}
