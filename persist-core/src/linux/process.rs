//! Which process and which boot this is, and whether another process still lives.

use super::cause::cause;
use crate::{
    error::{Error, Result},
    holder::{BootId, Node, NodeId, ProcessId},
};
use rustix::{io::Errno, process::Pid};
use std::{os::unix::fs::MetadataExt, path::Path};

/// What can be said about another process of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It lives.
    Alive,
    /// It is gone, or its number belongs to another process now.
    Dead,
    /// It is in another pid namespace, or hidden from us.
    CannotTell,
}

/// This host in its present boot, named after the boot: a rebooted host and a copy of its image are other
/// nodes, although machine id and host name are the same.
///
/// # Errors
/// As the system reports them for `/proc/sys/kernel/random/boot_id` (random(4)).
pub fn this_host() -> Result<Node> {
    let boot = boot_id()?;
    Ok(Node::new(host_of(&boot)?, boot))
}

/// Whether the kernel's boot id proves that the boot `of` is over, given that only one host can reach the
/// store and that its kernel is in the boot `here`. Nodes with names of the caller's own are comparable
/// only with themselves.
pub fn boot_is_over(of: &Node, here: &Node) -> bool {
    let named_after_boot = |node: &Node| host_of(&node.boot).is_ok_and(|id| id == node.id);
    let comparable = of.id == here.id || named_after_boot(of) && named_after_boot(here);
    comparable && of.boot != here.boot
}

/// The calling process.
///
/// # Errors
/// As the system reports them for `/proc/self`; `Internal` if it cannot be understood.
pub fn this_process() -> Result<ProcessId> {
    let stat = read("/proc/self/stat").and_then(|text| {
        Stat::parse(&text).ok_or_else(|| Error::internal("/proc/self/stat cannot be understood"))
    })?;
    Ok(ProcessId::new(stat.pid, absolute(stat.start_ticks), namespace()?))
}

/// Whether the process `of`, of this boot, still lives. Where in doubt, it is not dead.
pub fn life(of: &ProcessId) -> Life {
    if namespace().ok() != Some(of.namespace) || !proc_is_ours() {
        return Life::CannotTell;
    }
    let Some(pid) = i32::try_from(of.pid).ok().and_then(Pid::from_raw) else { return Life::CannotTell };
    if is_gone(pid) {
        return Life::Dead;
    }
    match read(format!("/proc/{}/stat", of.pid)).ok().and_then(|text| Stat::parse(&text)) {
        Some(stat) => stat.life(of),
        // It may have ended between the two looks, or be hidden (`hidepid=` of proc(5)).
        None if is_gone(pid) => Life::Dead,
        None => Life::CannotTell,
    }
}

/// The present boot of this host's kernel.
fn boot_id() -> Result<BootId> {
    BootId::new(read("/proc/sys/kernel/random/boot_id")?.trim_ascii_end())
}

fn host_of(boot: &BootId) -> Result<NodeId> {
    NodeId::new(format!("host-{boot}"))
}

fn is_gone(pid: Pid) -> bool {
    rustix::process::test_kill_process(pid) == Err(Errno::SRCH)
}

/// The inode of the pid namespace that our own number is of.
fn namespace() -> Result<u64> {
    let path = Path::new("/proc/self/ns/pid");
    std::fs::metadata(path).map(|meta| meta.ino()).map_err(|error| cause(error, "read", path.display()))
}

/// Whether the numbers in `/proc` are those of our pid namespace: a container may be given its host's.
fn proc_is_ours() -> bool {
    let own = std::process::id().to_string();
    std::fs::read_link("/proc/self").is_ok_and(|link| link == Path::new(&own))
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let text = std::fs::read(path).map_err(|error| cause(error, "read", path.display()))?;
    // A process may call itself anything; the numbers are ASCII.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Start times are shown shifted in a time namespace (time_namespaces(7)); this takes the shift off.
fn absolute(ticks: u64) -> u64 {
    let shift = read("/proc/self/timens_offsets").ok().and_then(|text| boot_shift_ticks(&text));
    ticks.saturating_add_signed(shift.unwrap_or(0).saturating_neg())
}

/// The shift of the boot clock, from the lines `CLOCK SECONDS NANOSECONDS`.
fn boot_shift_ticks(text: &str) -> Option<i64> {
    let line = text.lines().find(|line| line.trim_start().starts_with("boottime"))?;
    let mut fields = line.split_whitespace().skip(1).map(str::parse::<i64>);
    let (seconds, nanos) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(seconds.saturating_mul(TICKS_PER_SECOND).saturating_add(nanos / (1_000_000_000 / TICKS_PER_SECOND)))
}

/// `USER_HZ`, fixed for user space on every architecture that Linux shares its interface with (time(7)).
const TICKS_PER_SECOND: i64 = 100;

/// What we read of proc_pid_stat(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    pid: u32,
    state: char,
    threads: u64,
    start_ticks: u64,
}

impl Stat {
    /// The command name, in parentheses, may hold spaces, parentheses and newlines: the last `)` ends it.
    fn parse(text: &str) -> Option<Self> {
        let (pid, rest) = text.split_once(" (")?;
        let fields: Vec<_> = rest.get(rest.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        // The first of these is field 3 of the man page.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            pid: pid.parse().ok()?,
            state: field(3)?.chars().next()?,
            threads: field(20)?.parse().ok()?,
            start_ticks: field(22)?.parse().ok()?,
        })
    }

    fn life(&self, of: &ProcessId) -> Life {
        // One tick apart may be the same moment, rounded differently in two time namespaces.
        let same = absolute(self.start_ticks).abs_diff(of.start_ticks) <= 1;
        // A zombie has closed its files; one with living threads has not (its first thread ended alone).
        let ended = matches!(self.state, 'Z' | 'X' | 'x') && self.threads <= 1;
        if same && !ended { Life::Alive } else { Life::Dead }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    const TAIL: &str = "1 5 5 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 4 0 987654 1000 10 18446744073709551615";

    #[test]
    fn a_hostile_command_name_moves_no_field() {
        for comm in ["cat", "a b", ") R 1 1 (", "))((", "x\n) Z 9", ""] {
            let stat = Stat::parse(&format!("77 ({comm}) S {TAIL}\n")).unwrap();
            assert_eq!(stat, Stat { pid: 77, state: 'S', threads: 4, start_ticks: 987_654 }, "{comm:?}");
        }
        assert_eq!(Stat::parse("77 (cat) S 1 2"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn a_recycled_number_and_a_lone_zombie_are_dead_and_a_zombie_with_threads_is_not() {
        let stat = |state, threads| Stat { pid: 7, state, threads, start_ticks: 100 };
        assert_eq!(stat('S', 1).life(&ProcessId::new(7, 100, 1)), Life::Alive);
        assert_eq!(stat('S', 1).life(&ProcessId::new(7, 90, 1)), Life::Dead);
        assert_eq!(stat('Z', 1).life(&ProcessId::new(7, 100, 1)), Life::Dead);
        assert_eq!(stat('Z', 2).life(&ProcessId::new(7, 100, 1)), Life::Alive);
    }

    #[test]
    fn the_shift_of_a_time_namespace_is_read() {
        let text = "monotonic           0         0\nboottime      86400 250000000\n";
        assert_eq!(boot_shift_ticks(text), Some(8_640_025));
        assert_eq!(boot_shift_ticks("monotonic 0 0\n"), None);
    }

    #[test]
    fn this_process_lives_and_a_child_dies() {
        let me = this_process().unwrap();
        assert_eq!((me.pid, life(&me)), (std::process::id(), Life::Alive));
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stat = Stat::parse(&read(format!("/proc/{}/stat", child.id())).unwrap()).unwrap();
        let its = ProcessId::new(child.id(), absolute(stat.start_ticks), me.namespace);
        assert_eq!(life(&its), Life::Alive);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(life(&its), Life::Dead);
    }

    #[test]
    fn numbers_of_another_namespace_prove_nothing() {
        let me = this_process().unwrap();
        assert_eq!(life(&ProcessId::new(me.pid, 0, me.namespace + 1)), Life::CannotTell);
        assert_eq!(life(&ProcessId::new(0, 0, me.namespace)), Life::CannotTell);
        assert_eq!(life(&ProcessId::new(u32::MAX, 0, me.namespace)), Life::CannotTell);
    }

    #[test]
    fn only_a_comparable_node_is_over_with_its_boot() {
        let boot = |b: &str| BootId::new(b).unwrap();
        let host = |b: &str| Node::new(host_of(&boot(b)).unwrap(), boot(b));
        let own = |id: &str, b: &str| Node::new(NodeId::new(id).unwrap(), boot(b));
        assert!(boot_is_over(&host("b1"), &host("b2")), "rebooted");
        assert!(!boot_is_over(&host("b1"), &host("b1")));
        assert!(boot_is_over(&own("n", "b1"), &own("n", "b2")));
        assert!(!boot_is_over(&own("n", "b1"), &own("m", "b2")), "names of the caller's own");
        assert!(!boot_is_over(&own("n", "b1"), &host("b2")));
        assert!(!boot_is_over(&host("b1"), &own("n", "b2")));
    }

    #[test]
    fn this_host_is_named_after_its_boot_and_stays_the_same() {
        let here = this_host().unwrap();
        assert!(here.id.as_str().ends_with(here.boot.as_str()));
        assert_eq!(here, this_host().unwrap());
    }
}
