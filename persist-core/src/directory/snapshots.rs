//! Snapshots: trees beside the live one, each named by a record that is written once.

mod delete;
mod holders;
mod list;
mod read;
pub(crate) mod record;
mod replaced;
mod restore;
mod take;
#[cfg(test)]
mod tests;

use super::{engine::Engine, exclusion::Exclusion, stored::Located};
use crate::{error::Result, name::VolumeName, progress::Meter};

impl Engine {
    /// Finds a ready volume and waits for the right to change it.
    ///
    /// # Errors
    /// `NotFound`; `Denied` in a store that was opened read-only; `Unavailable` once stopped.
    pub(crate) fn locate_alone(&self, name: &VolumeName, meter: &Meter) -> Result<(Exclusion, Located)> {
        loop {
            let before = self.locate(name)?;
            let alone = self.exclude(&before.layout, meter)?;
            let located = self.locate(name)?;
            // Another volume of that name may have come meanwhile.
            if located.layout == before.layout {
                return Ok((alone, located));
            }
        }
    }
}
