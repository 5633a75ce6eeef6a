//! Whether a tree is believed.

/// Whether what a tree says about privilege is believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// It may come from anybody: set-id bits of files, devices, `security.*` (capabilities and labels)
    /// and `trusted.*` are left out and reported.
    #[default]
    Untrusted,
    /// It is our own, as its caller states: everything is kept that this process may keep.
    Faithful,
}
