//! Snapshots: trees beside the live one, each named by a record that is written once.

mod delete;
mod holders;
mod list;
pub(crate) mod read;
pub(crate) mod record;
mod replaced;
mod restore;
mod sources;
mod take;
#[cfg(test)]
mod tests;

pub(crate) use sources::Sources;
