//! A Docker volume plugin over any store of persist, small enough to read and to copy.
//!
//! ```text
//! dockerd -- unix socket --> server -> routes -> plugin -> stores -> VolumeStore
//!                                                  |
//!                                               volumes known here: name -> store URL
//! ```
//!
//! What a container holds is a claim: an attachment on record in the store, whose workload is the ID that
//! Docker sends with Mount. Nothing is counted in memory, so the plugin and the daemon may be killed at any
//! point; the next plugin takes up what is on record.
//!
//! | Module | What it is |
//! |---|---|
//! | [`server`] | the socket: who may connect, for how long, how much, and how it ends |
//! | [`client`] | one request to such a socket |
//! | `routes` | HTTP and JSON to calls, errors to the protocol's form |
//! | [`plugin`] | the calls of the protocol |
//! | [`protocol`] | its requests and answers |
//! | [`options`] | what `docker volume create -o` takes |
//! | [`known`] | the volumes of this host's Docker, kept in the state directory |
//! | [`stores`] | the opened stores: one that is slow or dead keeps no other waiting |
//! | `status` | what `docker volume inspect` shows |
//! | `turns` | one change of a volume at a time |

pub mod client;
pub mod known;
pub mod options;
pub mod plugin;
pub mod protocol;
mod routes;
pub mod server;
mod status;
pub mod stores;
mod turns;

pub use plugin::{Plugin, Settings};
pub use server::Server;
