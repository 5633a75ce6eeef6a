//! A real tree: committed, committed again after ten files have changed, and hydrated on a node that has nothing.

use super::{
    node, server, shell,
    spent::Spent,
    tools::{Ground, Tool},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The name of our line.
const OURS: &str = "persist";

/// How many files change between two commits.
const CHANGED: usize = 10;

const FIRST: &str = "first commit";
const UNCHANGED: &str = "commit of no change";
const AGAIN: &str = "commit of ten changed files";
const HYDRATE: &str = "hydrate";

/// What each tool has spent, by phase and name.
type Figures = BTreeMap<(usize, &'static str, &'static str), (Vec<Spent>, String)>;

pub fn measure(source: &Path, work: &Path, rounds: usize) {
    let peers: Vec<Tool> = Tool::ALL.into_iter().filter(|tool| there(*tool)).collect();
    let near = work.join("source");
    shell("cp -a \"$0\" \"$1\"", source, &near);
    println!("{}: {} files, {rounds} rounds", source.display(), files(&near).len());
    let mut figures = Figures::new();
    for round in 0..rounds {
        Round::begin(&near, work, &peers, round).run(&mut figures);
    }
    print(&figures);
    fs::remove_dir_all(near).unwrap();
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

    fn run(mut self, figures: &mut Figures) {
        self.phase(figures, (0, FIRST), |round, tool| Some(round.save(tool)));
        self.phase(figures, (1, UNCHANGED), Self::save_again);
        change(self.near);
        change(&self.volume);
        self.phase(figures, (2, AGAIN), Self::save_again);
        self.writer.does(node::DETACH);
        self.phase(figures, (3, HYDRATE), |round, tool| Some(round.restore(tool)));
        drop(self.server);
        fs::remove_dir_all(&self.scratch).unwrap();
    }

    /// Has every tool do its part, in turn; `None` is ours.
    fn phase(
        &mut self,
        figures: &mut Figures,
        (number, what): (usize, &'static str),
        act: impl Fn(&mut Self, Option<Tool>) -> Option<Spent>,
    ) {
        let mut tools: Vec<Option<Tool>> = self.peers.iter().copied().map(Some).collect();
        tools.insert(if self.ours_first { 0 } else { tools.len() }, None);
        for tool in tools {
            self.server.asked();
            let Some(spent) = act(self, tool) else { continue };
            let name = tool.map_or(OURS, Tool::name);
            let figures = figures.entry((number, what, name)).or_default();
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

    /// Not by a tool that would only do the same again.
    fn save_again(&mut self, tool: Option<Tool>) -> Option<Spent> {
        tool.is_none_or(Tool::sees_changes).then(|| self.save(tool))
    }

    fn restore(&mut self, tool: Option<Tool>) -> Spent {
        let (spent, tree) = match tool {
            None => {
                let mut reader = node::Running::start(&self.server.url, &self.scratch.join("reader"));
                reader.does(node::ATTACH)
            }
            Some(tool) => {
                let to = self.scratch.join("restored");
                (tool.restore(&self.ground(), &to), to)
            }
        };
        assert_eq!(files(&tree).len(), files(self.near).len(), "{tool:?} gave other files");
        fs::remove_dir_all(tree).unwrap();
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
    for ((number, what, name), (all, asked)) in figures {
        let (spent, ours) = (Spent::median(all), Spent::median(&figures[&(*number, *what, OURS)].0));
        let ratio = |theirs: std::time::Duration, ours: std::time::Duration| {
            theirs.as_secs_f64() / ours.as_secs_f64().max(0.001)
        };
        println!(
            "{what}: {name:<17} {:>7.2}s {:>6.2}x  processor {:>7.2}s {:>6.2}x  peak {:>4} MiB  {asked}",
            spent.passed.as_secs_f64(),
            ratio(spent.passed, ours.passed),
            spent.processor.as_secs_f64(),
            ratio(spent.processor, ours.processor),
            spent.peak_kib >> 10,
        );
    }
}
