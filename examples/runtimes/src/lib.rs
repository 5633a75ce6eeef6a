//! Container runtimes that a test starts for itself, and stops.
//!
//! Nothing is installed and nothing is pulled: the image is made from the host's static busybox. A daemon has
//! a data root and a socket of its own, so that it meets neither the host's daemon nor another test's.

mod busybox;
mod dockerd;
mod nspawn;
mod output;
mod planned;
mod podman;
mod runc;

pub use busybox::{RootFilesystem, SHELL};
pub use dockerd::{Dockerd, IMAGE};
pub use nspawn::nspawn;
pub use output::{Said, run};
pub use planned::Planned;
pub use podman::Podman;
pub use runc::{Bundle, runc_features};
