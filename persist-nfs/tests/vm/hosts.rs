//! Two hosts, each with a network and a name of its own, on one export with the default caching of nfs(5).

use super::{client, shell};
use libtest_mimic::Trial;
use std::{
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Seconds: the shortest there is, because challengers wait.
pub const LEASE: u64 = 10;

/// Seconds: many times what an emulated server takes, and what each call waits for that finds it gone.
const PATIENCE: u64 = 3;

/// A client process on one of the hosts.
pub struct Host {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// The store's identity.
    pub store: String,
}

impl Host {
    /// Opens the store in `directory` of the export as host 1 or 2.
    pub fn start(number: u8, directory: &str) -> Self {
        let host = std::fs::read_to_string(format!("/run/client{number}")).unwrap();
        let url = format!("nfs://10.0.{number}.1/?lease={LEASE}&patience={PATIENCE}&directory={directory}");
        let mut child = Command::new("/sbin/nsenter")
            .args(["-t", host.trim(), "-n", "-u", "/guest", client::MARK, &url, &format!("host-{number}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut host = Self { child, commands, answers, store: String::new() };
        host.store = host.done();
        host
    }

    /// Gives a command, and does not wait.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.commands, "{line}").unwrap();
    }

    /// The next answer.
    pub fn answer(&mut self) -> String {
        self.answers.next().expect("the host is gone").unwrap()
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.answer()
    }

    /// What a command gives that must succeed.
    pub fn must(&mut self, line: &str) -> String {
        self.tell(line);
        self.done()
    }

    /// Asserts that a command is refused with this kind.
    pub fn refused(&mut self, kind: &str, line: &str) -> String {
        let answer = self.ask(line);
        assert!(answer.starts_with(&format!("err {kind} ")), "{line}: {answer}");
        answer
    }

    /// An attachment's id, epoch and path.
    pub fn attach(&mut self, line: &str) -> [String; 3] {
        split(&self.must(line))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn done(&mut self) -> String {
        let answer = self.answer();
        answer.strip_prefix("ok ").unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn split(attached: &str) -> [String; 3] {
    let words: Vec<String> = attached.split(' ').map(str::to_owned).collect();
    words.try_into().unwrap()
}

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 6] = [
        ("both_hosts_open_the_same_store_when_they_race_to_make_it", race_to_open),
        ("what_one_host_has_made_the_other_sees_at_once_although_it_had_looked_before", seen_at_once),
        ("of_two_hosts_that_race_one_creates_one_attaches_and_one_snapshots", races),
        ("two_hosts_write_into_one_directory_and_a_reader_follows_and_cannot_write", shared_live),
        ("a_vouch_takes_a_volume_from_another_host_which_is_told", vouched),
        ("what_a_killed_host_left_is_finished_or_undone_by_the_other", killed),
    ];
    super::planned(&tests)
}

fn race_to_open() {
    let [mut one, mut two] = std::thread::scope(|scope| {
        [1, 2].map(|n| scope.spawn(move || Host::start(n, "h/open"))).map(|host| host.join().unwrap())
    });
    assert_eq!(one.store, two.store);
    for host in [&mut one, &mut two] {
        host.must("close");
    }
}

fn seen_at_once() {
    let (mut one, mut two) = (Host::start(1, "h/seen"), Host::start(2, "h/seen"));
    for round in 0..3 {
        let name = format!("v{round}");
        two.refused("NotFound", &format!("get {name}"));
        let id = one.must(&format!("create {name}"));
        assert_eq!(two.must(&format!("get {name}")), id);
        assert_eq!(one.must(&format!("delete {name}")), "Done");
        two.refused("NotFound", &format!("get {name}"));
        // The name is another volume's now.
        let next = two.must(&format!("create {name}"));
        assert_ne!(next, id);
        assert_eq!(one.must(&format!("get {name}")), next);
        assert_eq!(one.must("list"), two.must("list"));
    }
}

fn races() {
    let (mut one, mut two) = (Host::start(1, "h/races"), Host::start(2, "h/races"));
    for round in 0..4 {
        let name = format!("v{round}");
        let both = |one: &mut Host, two: &mut Host, first: &str, second: &str| {
            one.tell(first);
            two.tell(second);
            [one.answer(), two.answer()]
        };
        let create = format!("create {name}");
        let [a, b] = both(&mut one, &mut two, &create, &create);
        assert_eq!(a, b, "both have the same volume");
        assert!(a.starts_with("ok "), "{a}");
        let attach = |workload| format!("attach {name} {workload} write");
        let answers = both(&mut one, &mut two, &attach("w1"), &attach("w2"));
        let won: Vec<_> = answers.iter().filter(|answer| answer.starts_with("ok ")).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert!(answers.iter().any(|answer| answer.starts_with("err InUse ")), "{answers:?}");
        let snapshot = format!("snapshot {name} s");
        let answers = both(&mut one, &mut two, &snapshot, &snapshot);
        assert!(answers.iter().all(|answer| answer.starts_with("ok ")), "{answers:?}");
        for host in [&mut one, &mut two] {
            assert_eq!(host.must(&format!("snapshots {name}")), "1");
        }
    }
    assert_eq!(one.must("list").split(' ').count(), 4);
}

fn shared_live() {
    let (mut one, mut two) = (Host::start(1, "h/shared"), Host::start(2, "h/shared"));
    one.must("create v");
    let [_, epoch, here] = one.attach("attach v front1 shared");
    let [_, same, there] = two.attach("attach v front2 shared");
    assert_eq!(epoch, same, "claims of one volume share its epoch");
    let [_, _, reader] = two.attach("attach v reader read");
    for round in 0..5 {
        let text = format!("text-{round}");
        assert_eq!(one.must(&format!("put {here}/f{round} {text}")), "put");
        assert_eq!(two.must(&format!("cat {there}/f{round}")), text);
        assert_eq!(two.must(&format!("put {there}/g{round} {text}")), "put");
        assert_eq!(one.must(&format!("cat {here}/g{round}")), text);
        assert_eq!(two.must(&format!("cat {reader}/f{round}")), text);
    }
    let refused = two.must(&format!("put {reader}/x y"));
    assert!(refused.contains("Read-only"), "{refused}");
    two.refused("InUse", "attach v single write");
}

fn vouched() {
    let (mut one, mut two) = (Host::start(1, "h/vouch"), Host::start(2, "h/vouch"));
    one.must("create v");
    let [id, epoch, _] = one.attach("attach v w1 write");
    two.refused("InUse", "attach v w2 write");
    let [_, next, _] = split(&two.must(&format!("vouch v w2 {id} {epoch}")));
    assert!(next.parse::<u64>().unwrap() > epoch.parse().unwrap());
    one.refused("Fenced", &format!("sync {id}"));
}

/// A host's processes die while it creates, again and again; the other finds nothing half made.
fn killed() {
    let mut two = Host::start(2, "h/killed");
    for round in 0..3 {
        let mut one = Host::start(1, "h/killed");
        for n in 0..=round {
            one.tell(&format!("create v{round}-{n}"));
        }
        let _ = one.answer();
        drop(one);
        let listed = two.must("list");
        for name in listed.split(' ').filter(|name| !name.is_empty()) {
            two.must(&format!("attach {name} w write"));
        }
        let health = two.must("health");
        assert!(!health.contains("unreadable"), "{health}");
        for n in 0..=round {
            two.must(&format!("create v{round}-{n}"));
        }
    }
    assert_eq!(shell("find /srv/h/killed/names -mindepth 1 -maxdepth 1 -type d | wc -l").trim(), "6");
}
