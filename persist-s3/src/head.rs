//! The head protocol: decisions only, no I/O. The store acts on them, and a model checker searches them.
//!
//! A fencing token protects only if the resource refuses the old one, and the only thing that an object
//! store can refuse is a conditional write. So the object that carries the epoch is the object whose
//! change is the commit.

pub mod change;
pub mod free;
pub mod lease;
pub mod names;
pub mod pin;
pub mod prune;
pub mod record;
pub mod recovery;
pub mod writer;
