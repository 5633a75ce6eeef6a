//! This boot of the machine.

use std::time::Duration;

/// The clock that leases are measured by, as the time since a fixed moment of this boot: it never goes back, and it
/// counts while the machine is suspended (CLOCK_BOOTTIME of clock_gettime(2)).
pub fn time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
