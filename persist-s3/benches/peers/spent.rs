//! What a phase has cost.

use std::{
    fs,
    process::{Child, Command},
    time::{Duration, Instant},
};

/// How often a peer's memory is looked at: its peak is kept by the kernel, so the last look before its end counts.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Time, processor time, and the peak of memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    pub passed: Duration,
    pub processor: Duration,
    pub peak_kib: u64,
}

impl Spent {
    /// The median of each figure.
    pub fn median(all: &[Self]) -> Self {
        fn middle<T: Ord + Copy>(all: &[Spent], pick: fn(&Spent) -> T) -> T {
            let mut figures: Vec<T> = all.iter().map(pick).collect();
            figures.sort_unstable();
            figures[figures.len() / 2]
        }
        Self {
            passed: middle(all, |spent| spent.passed),
            processor: middle(all, |spent| spent.processor),
            peak_kib: middle(all, |spent| spent.peak_kib),
        }
    }

    /// Runs a program to its end, which is a success.
    pub fn of(command: &mut Command) -> Self {
        let (start, before) = (Instant::now(), processor(Whose::Children));
        let mut child = command.spawn().unwrap();
        let peak_kib = wait(&mut child, command);
        let processor = processor(Whose::Children).saturating_sub(before);
        Self { passed: start.elapsed(), processor, peak_kib }
    }
}

fn wait(child: &mut Child, command: &Command) -> u64 {
    let mut peak = 0;
    loop {
        peak = peak_kib(&child.id().to_string()).unwrap_or(peak);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{command:?}: {status}");
            return peak;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The largest resident set of a process, since it began or [`forget_peak`] was called (proc_pid_status(5)).
pub fn peak_kib(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Begins a new peak of this process (proc_pid_clear_refs(5)).
pub fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Whose processor time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Own,
    /// Of the children that were waited for.
    Children,
}

/// Processor time, in hundredths of a second: fields 14 to 17 of proc_pid_stat(5).
pub fn processor(whose: Whose) -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let skipped = if whose == Whose::Own { 11 } else { 13 };
    let ticks: u64 = fields.skip(skipped).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
