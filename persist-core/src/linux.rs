//! What Linux alone has (feature `tree`): errors of the kernel in our words, and raw system calls.

pub mod cause;
pub(crate) mod raw;
