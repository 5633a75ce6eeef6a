//! Volumes on a shared NFS server: **designed, not in this version yet**. This crate is empty.
//!
//! It will hold what only an NFS store has; the engine that keeps volumes on a directory is shared with
//! the local store and lives in [`persist_core`]:
//!
//! - three ways in: `nfs://server/export` mounted by us (kernel client, NFSv4.1 and 4.2),
//!   `nfs+mounted:///path` for what is mounted already, and the options that Amazon EFS asks for;
//! - [`SharedAcrossNodes`](persist_core::Access::SharedAcrossNodes): writers on many hosts see each
//!   other's files, which is what a shared server is for;
//! - a dead server that never wedges the embedding process;
//! - leases between hosts of strength [`Advisory`](persist_core::Fencing::Advisory), and said so.
//!
//! Until then the facade refuses an `nfs://` URL. It does not fall back to anything.
