//! Hostile trees: whatever a source says and whatever is planted, nothing outside of the root is read or
//! written, and the answer is a typed error or an honest report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, reason = "a test crate")]

#[path = "hostile/contradictions.rs"]
mod contradictions;
#[path = "hostile/planted.rs"]
mod planted;
#[path = "hostile/races.rs"]
mod races;
#[path = "hostile/sentinel.rs"]
mod sentinel;
