//! A tree: committed, committed again after some of it has changed, and hydrated on a node that has nothing. Either
//! a real one of which ten files change, or one file that is written as databases write theirs.
//!
//! Nothing is removed before the end: ext4 searches for every new inode past those that were removed in the last
//! minutes, which makes whoever comes next several times slower.

use super::{
    node, server, shell,
    spent::Spent,
    tools::{Ground, Phase, Tool},
};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The name of our line.
const OURS: &str = "persist";

/// How many files of a tree change between two commits.
const CHANGED: usize = 10;

/// A database-like file: of 2 GiB, in pages of 8 KiB (PostgreSQL's default), one of a hundred of which changes.
const PAGES: u64 = (2 << 30) / PAGE as u64;
const PAGE: usize = 8 << 10;
const CHANGED_PAGES: u64 = PAGES / 100;

/// What each tool has spent, by phase and name.
type Figures = BTreeMap<(Phase, &'static str), (Vec<Spent>, String)>;

pub fn measure(source: &Path, work: &Path, rounds: usize) {
    // A link would be copied as one, and what changes in the copy would change in the source.
    let (source, near) = (fs::canonicalize(source).unwrap(), work.join("source"));
    shell("cp -a \"$0\" \"$1\"", &source, &near);
    println!("{}: {} files, {rounds} rounds; ten change", source.display(), files(&near).len());
    compare(&near, &work.join("tree"), &Tool::ALL, rounds, change);
}

pub fn database(work: &Path, rounds: usize) {
    let near = work.join("database");
    fs::create_dir(&near).unwrap();
    let file = File::create(near.join("pages")).unwrap();
    (0..PAGES).for_each(|number| write_page(&file, number, 0));
    println!("one file of {PAGES} pages, {rounds} rounds; {CHANGED_PAGES} pages change");
    // The server takes no object of 2 GiB, which rclone would send.
    let tools = [Tool::Restic, Tool::Borg, Tool::Tar, Tool::TarSynced, Tool::Find];
    compare(&near, &work.join("pages"), &tools, rounds, |tree| {
        let file = OpenOptions::new().write(true).open(tree.join("pages")).unwrap();
        let mut random = fastrand::Rng::with_seed(3);
        (0..CHANGED_PAGES).for_each(|_| write_page(&file, random.u64(..PAGES), 1));
    });
}

/// Letters that are unlike those of any other page or version, and compress to half.
fn write_page(file: &File, number: u64, version: u64) {
    let mut random = fastrand::Rng::with_seed(number << 1 | version);
    let letters = |bits: u64| (0..16).map(move |at| b'a' + (bits >> (at * 4) & 15) as u8);
    let page: Vec<u8> = (0..PAGE / 16).flat_map(|_| letters(random.u64(..))).collect();
    file.write_all_at(&page, number * PAGE as u64).unwrap();
}

fn compare(near: &Path, work: &Path, tools: &[Tool], rounds: usize, change: fn(&Path)) {
    let peers: Vec<Tool> = tools.iter().copied().filter(|tool| there(*tool)).collect();
    let mut figures = Figures::new();
    fs::create_dir(work).unwrap();
    for round in 0..rounds {
        Round::begin(near, work, &peers, round).run(&mut figures, change);
    }
    print(&figures);
}

fn there(tool: Tool) -> bool {
    let missing = tool.missing();
    if let Some(program) = missing {
        println!("LEFT OUT: {}: {program} is not installed", tool.name());
    }
    missing.is_none()
}

/// One round on a server of its own.
struct Round<'a> {
    near: &'a Path,
    scratch: PathBuf,
    server: server::Running,
    writer: node::Running,
    volume: PathBuf,
    /// In the order of this round.
    peers: Vec<Tool>,
    ours_first: bool,
}

impl<'a> Round<'a> {
    fn begin(near: &'a Path, work: &Path, peers: &[Tool], round: usize) -> Self {
        let scratch = work.join(format!("round-{round}"));
        fs::create_dir(&scratch).unwrap();
        let server = server::Running::start(&scratch.join("objects"));
        let mut writer = node::Running::start(&server.url, &scratch.join("writer"));
        let volume = writer.does(node::ATTACH).1;
        // On disk before the clock starts, as the peers' tree is.
        shell("cp -a \"$0/.\" \"$1\" && sync", near, &volume);
        let mut peers = peers.to_vec();
        let turn = round % peers.len().max(1);
        peers.rotate_left(turn);
        for tool in &peers {
            tool.prepare(&Ground { url: &server.url, scratch: &scratch });
        }
        Self { near, scratch, server, writer, volume, peers, ours_first: round.is_multiple_of(2) }
    }

    fn run(mut self, figures: &mut Figures, change: fn(&Path)) {
        self.phase(figures, Phase::First, Self::save);
        self.phase(figures, Phase::Unchanged, Self::save);
        change(self.near);
        change(&self.volume);
        self.phase(figures, Phase::Changed, Self::save);
        self.writer.does(node::DETACH);
        self.phase(figures, Phase::Hydrate, Self::restore);
    }

    /// Has every tool do its part, in turn; `None` is ours.
    fn phase(&mut self, figures: &mut Figures, phase: Phase, act: fn(&mut Self, Option<Tool>) -> Spent) {
        let peers = self.peers.iter().copied().filter(|tool| tool.takes_part(phase));
        let mut tools: Vec<Option<Tool>> = peers.map(Some).collect();
        tools.insert(if self.ours_first { 0 } else { tools.len() }, None);
        for tool in tools {
            self.server.asked();
            // What the one before has left to the kernel is not for this one to wait for.
            shell("sync", self.near, self.near);
            let spent = act(self, tool);
            let figures = figures.entry((phase, tool.map_or(OURS, Tool::name))).or_default();
            figures.0.push(spent);
            figures.1 = self.server.asked();
        }
    }

    fn save(&mut self, tool: Option<Tool>) -> Spent {
        match tool {
            None => self.writer.does(node::SYNC).0,
            Some(tool) => tool.save(&self.ground(), self.near),
        }
    }

    fn restore(&mut self, tool: Option<Tool>) -> Spent {
        let (spent, tree) = match tool {
            None => {
                let mut reader = node::Running::start(&self.server.url, &self.scratch.join("reader"));
                reader.does(node::ATTACH)
            }
            Some(tool) => {
                let to = self.scratch.join(format!("restored-{}", tool.name()));
                (tool.restore(&self.ground(), &to), to)
            }
        };
        assert_eq!(files(&tree).len(), files(self.near).len(), "{tool:?} gave other files");
        spent
    }

    fn ground(&self) -> Ground<'_> {
        Ground { url: &self.server.url, scratch: &self.scratch }
    }
}

/// Appends to some files, which are spread over the tree.
fn change(tree: &Path) {
    let files = files(tree);
    for path in files.iter().step_by((files.len() / CHANGED).max(1)).take(CHANGED) {
        let mut content = fs::read(path).unwrap();
        content.extend_from_slice(b"\nchanged\n");
        shell("chmod u+w \"$0\"", path, path);
        fs::write(path, content).unwrap();
    }
}

/// The regular files of a tree, in the order of their paths.
fn files(tree: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![tree.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => left.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort_unstable();
    found
}

fn print(figures: &Figures) {
    for ((phase, name), (all, asked)) in figures {
        let (spent, ours) = (Spent::median(all), Spent::median(&figures[&(*phase, OURS)].0));
        let ratio = |theirs: std::time::Duration, ours: std::time::Duration| {
            theirs.as_secs_f64() / ours.as_secs_f64().max(0.001)
        };
        println!(
            "{:<10} {name:<17} {:>7.2}s {:>6.2}x  processor {:>7.2}s {:>6.2}x  peak {:>4} MiB  {asked}",
            format!("{phase:?}"),
            spent.passed.as_secs_f64(),
            ratio(spent.passed, ours.passed),
            spent.processor.as_secs_f64(),
            ratio(spent.processor, ours.processor),
            spent.peak_kib >> 10,
        );
    }
}
