//! Bind a named filesystem volume to whatever machine a program happens to run on.
pub use persist_core::*;
