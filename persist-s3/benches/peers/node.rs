//! A node of ours, as a process of its own, so that its memory and its processor time are nobody else's.

use super::{
    server::{ACCESS_KEY, BUCKET, SECRET_KEY},
    spent::{Spent, Whose, forget_peak, peak_kib, processor},
};
use persist_core::{
    AttachOptions, Attachment, CreateOptions, DetachOptions, Node, NodeId, OpenMode, OpenOptions, Result,
    VolumeName, VolumeStore, attachment::LocalCopy, holder::BootId,
};
use persist_s3::{Credentials, S3Config, S3Options, S3Store, config::Transport};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

/// The first argument of a node.
pub const MARK: &str = "--as-node";

/// What a node is told to do.
pub const ATTACH: &str = "attach";
pub const SYNC: &str = "sync";
pub const DETACH: &str = "detach";

/// A node's process; it ends with this.
pub struct Running {
    process: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a node whose workspace is `workspace`.
    pub fn start(url: &str, workspace: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([MARK, url])
            .arg(workspace)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        Self { process, out }
    }

    /// Has it do something: what that has cost, and where the volume is.
    pub fn does(&mut self, what: &str) -> (Spent, PathBuf) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{what}").unwrap();
        let mut line = String::new();
        assert_ne!(self.out.read_line(&mut line).unwrap(), 0, "the node ended");
        let mut words = line.trim_end().splitn(4, ' ');
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let passed = Duration::from_micros(number());
        let processor = Duration::from_micros(number());
        let spent = Spent { passed, processor, peak_kib: number() };
        (spent, PathBuf::from(words.next().unwrap()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The node itself: one line in, one line out.
pub fn main(words: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut held = None;
    for what in std::io::stdin().lines().map_while(std::result::Result::ok) {
        forget_peak();
        let (start, before) = (Instant::now(), processor(Whose::Own));
        runtime.block_on(act(&mut held, &what, words)).unwrap();
        let passed = start.elapsed().as_micros();
        let processor = processor(Whose::Own).saturating_sub(before).as_micros();
        let peak = peak_kib("self").unwrap();
        let path = held.as_ref().map_or(Path::new(""), |(_, attachment)| attachment.path());
        println!("{passed} {processor} {peak} {}", path.display());
    }
    ExitCode::SUCCESS
}

async fn act(held: &mut Option<(S3Store, Attachment)>, what: &str, words: &[String]) -> Result<()> {
    if what == ATTACH {
        let store = open(&words[0], Path::new(&words[1])).await?;
        let volume = VolumeName::new("volume")?;
        store.create(&volume, CreateOptions::default()).await?;
        let attachment = store.attach(&volume, AttachOptions::default()).await?;
        *held = Some((store, attachment));
        return Ok(());
    }
    let (store, attachment) = held.as_ref().expect("attached before");
    if what == SYNC {
        return store.sync(&attachment.id, Default::default()).await.map(drop);
    }
    assert_eq!(what, DETACH);
    let options = DetachOptions::default().with_local_copy(LocalCopy::Keep);
    store.detach(&attachment.id, options).await.map(drop)
}

async fn open(url: &str, workspace: &Path) -> Result<S3Store> {
    let mut config = S3Config::new(BUCKET);
    (config.endpoint, config.prefix) = (Some(url.to_owned()), "persist".into());
    config.transport = Transport::PlainAllowed;
    config.workspace = Some(workspace.to_owned());
    let name = workspace.file_name().unwrap().to_str().unwrap();
    let s3 = S3Options::default().with_credentials(Credentials::keys(ACCESS_KEY, SECRET_KEY));
    let options = OpenOptions::default()
        .with_mode(OpenMode::CreateIfMissing)
        .with_node(Node::new(NodeId::new(name)?, BootId::new("boot")?))
        .with_extension(s3.with_encryption_key([7; 32]));
    S3Store::open(config, options).await
}
