//! Stores for tests: of this project, and of programs that embed it.
//!
//! A [`TestStore`] is a real store in a temporary directory, with as many nodes as a test wants, a clock
//! that the test moves, and volumes that it takes away. A [`FaultStore`] makes any store fail where a test
//! wants it to.

mod faults;
mod place;
mod random;
mod store;

pub use faults::{Fault, FaultStore, Moment};
pub use place::PlainPlace;
pub use random::SeededEntropy;
pub use store::TestStore;
