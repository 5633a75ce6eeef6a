//! All I/O on a bucket's small objects: heads, names, records, pins, salvages, the store's marker.
//!
//! What may change is changed by compare-and-swap, and every answer that says less than "done" is resolved
//! by a look: the same bytes are sent again while their base is still there, and never other bytes.
//! Decisions are those of [`head`](crate::head); here they meet requests, clocks and randomness.

pub(crate) mod actor;
mod cause;
pub(crate) mod commits;
pub(crate) mod head;
pub(crate) mod names;
pub(crate) mod object;
pub(crate) mod pins;
pub(crate) mod prune;
pub(crate) mod record;
pub(crate) mod salvage;
pub(crate) mod store;
pub(crate) mod take;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod time;
pub(crate) mod volumes;

pub(crate) use actor::{Done, HeadActor};
pub(crate) use commits::{Commits, Facts};
pub(crate) use head::History;
pub(crate) use names::Named;
pub(crate) use record::Record;
pub(crate) use take::{Ask, Taken, in_use};
pub(crate) use time::SystemBootClock;
pub(crate) use volumes::{Leftover, Published};

use crate::{client::Clients, keys::Keys};
use object_store::{ObjectStore, path::Path};
use persist_core::clock::Environment;
use std::{sync::Arc, time::Duration};
use time::BootClock;

/// The small objects of one store.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// Makes one request a call and repeats nothing: resolving is ours.
    pub(crate) head: Arc<dyn ObjectStore>,
    /// Repeats by itself: for reads, lists and deletes, and for objects whose names are used once.
    pub(crate) data: Arc<dyn ObjectStore>,
    /// The names of the store's objects.
    pub(crate) keys: Keys,
    /// The wall clock, for people, and the randomness.
    pub(crate) environment: Environment,
    /// The clock that leases are measured by.
    pub(crate) boot: Arc<dyn BootClock>,
    /// How long things may take.
    pub(crate) limits: Limits,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// One request of a small object.
    pub(crate) request: Duration,
    /// A call until it gives up an endpoint that does not answer.
    pub(crate) patience: Duration,
    /// Between two looks at a head that another holds.
    pub(crate) poll: Duration,
}

impl Default for Limits {
    /// A request of 4 KiB takes milliseconds: 5 s leave room for a lost packet and its retransmissions, and
    /// three of them fit between a beat (20 s) and doubt (48 s of a lease of 60 s). The patience covers a
    /// throttled endpoint and a DNS failover; a poll costs one GET.
    fn default() -> Self {
        Self {
            request: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            poll: Duration::from_secs(5),
        }
    }
}

impl Remote {
    /// The small objects behind `clients`, whose keys are relative to the store's prefix.
    pub(crate) fn new(clients: &Clients, environment: Environment, boot: Arc<dyn BootClock>) -> Self {
        Self {
            head: Arc::clone(&clients.head),
            data: Arc::clone(&clients.data),
            keys: Keys::new(Path::default()),
            environment,
            boot,
            limits: Limits::default(),
        }
    }

    /// 128 fresh random bits.
    pub(crate) fn nonce(&self) -> u128 {
        let mut bytes = [0; 16];
        self.environment.entropy.fill(&mut bytes);
        u128::from_be_bytes(bytes)
    }
}
