//! An attachment, or a volume that a runtime attaches itself, as each runtime wants it.
//!
//! | Module | Takes | Fencing |
//! |---|---|---|
//! | [`attached`] | an attachment of ours: a record and a lease exist | that of the attachment |
//! | [`delegated`] | a source that the *runtime* attaches: no lease of ours exists | none, and the output says so |
//!
//! Each renderer is a pure function: nothing is read, started or mounted. Each refuses what its target cannot
//! express with [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), where
//! [`Error::field`](crate::Error::field) names the option: none is dropped. Paths are escaped by the rules of
//! the target's syntax, or refused.
//!
//! Read-only means that nothing below the target can be written, also not through a mount inside the volume.
//! Where a runtime cannot say that, it is refused unless the attachment is a mount of ours that is read-only
//! with everything below it ([`Mounted::ReadOnly`](crate::attachment::Mounted::ReadOnly)).
//!
//! No flag of a mount holds against a workload with `CAP_SYS_ADMIN` over the mount: it can lift the flag (mount(2),
//! `MS_REMOUNT`). That of our own read-only mount holds against root of any user namespace but the host's
//! (mount_namespaces(7), Restrictions); the runtime's holds against root of the container's user namespace only
//! where the runtime mounts from outside of it, which runc does not. Where a runtime gives that capability over
//! the host's mounts by default, the rendering of a reader takes it; where the caller gives it (`--privileged`),
//! nothing here holds.

mod arguments;
pub mod attached;
pub mod delegated;
mod flag;
pub mod kubernetes;
pub mod mesos;
mod options;
mod path;
mod refusal;
mod text;
mod unit;

pub use arguments::Arguments;
pub use flag::{No, Yes};
pub use options::{Ids, Label, Mode, RenderOptions};
pub use path::WorkloadPath;
pub use unit::UnitFile;
