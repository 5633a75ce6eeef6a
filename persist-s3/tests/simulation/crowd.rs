//! Work that several threads share, in worlds that each of them makes.

use std::{
    panic::resume_unwind,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Worlds at once for each processor: most of a life waits for the disk.
const AT_ONCE: usize = 4;

/// Has threads take from `work`, until nothing is left or one of them has panicked, which goes on here. `world` does
/// up to `most` pieces of it, at least one; the results of all worlds.
pub fn shared<I: Send, T: Send>(
    work: impl Iterator<Item = I> + Send,
    most: usize,
    world: impl Fn(&mut dyn Iterator<Item = I>) -> T + Sync,
) -> Vec<T> {
    let (work, over) = (Mutex::new(work), AtomicBool::new(false));
    let one = || {
        let guard = Stop(&over);
        let mut left = std::iter::from_fn(|| {
            let more = !over.load(Ordering::Relaxed);
            more.then(|| work.lock().unwrap().next()).flatten()
        });
        let mut done = Vec::new();
        while let Some(first) = left.next() {
            done.push(world(&mut std::iter::once(first).chain(&mut left).take(most)));
        }
        std::mem::forget(guard);
        done
    };
    let threads = AT_ONCE * thread::available_parallelism().map_or(1, Into::into);
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let joined: Vec<_> = all.into_iter().map(|thread| thread.join()).collect();
        joined.into_iter().flat_map(|done| done.unwrap_or_else(|broken| resume_unwind(broken))).collect()
    })
}

/// Ends the work of the others where a thread panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
