//! An S3 server for tests: the protocol by the crate `s3s`, over a store of our own whose conditional
//! writes are atomic.
//!
//! A [`Server`] is reached in process, through [`Server::connector`] and without a socket, so that tests
//! run with tokio's paused time; or over HTTP, through [`Server::serve`], as the program
//! `persist-s3-server` does. Signatures are checked either way.
//!
//! - [`Conditions`] makes it one of the stores that only look compatible.
//! - [`Faults`] decides for each request what goes wrong with it, and remembers what did.
//! - [`RequestLog`] counts requests and bytes by verb and kind of object.
//!
//! What it does not have: multipart uploads, copies, versions, checksums of its own (their headers are
//! accepted and not looked at). Those answer `NotImplemented`.

mod access;
mod conditions;
mod exchange;
mod faults;
mod in_process;
mod log;
mod protocol;
mod seen;
mod server;
mod sockets;
mod store;

pub use access::KeyPair;
pub use conditions::Conditions;
pub use faults::{Answer, Broken, Fault, Faults, Fired, Rule};
pub use in_process::InProcess;
pub use log::{Count, Entry, Outcome, RequestLog};
pub use seen::{Condition, ObjectKind, Seen, Verb};
pub use server::{Server, ServerOptions};
