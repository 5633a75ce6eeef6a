//! The documents of this project, as they are in `persist-core/docs/`; their examples are compiled.

// The links that a document defines for readers of the file are defined here first, for rustdoc: the
// first definition of a link counts (CommonMark, section 4.7).

/// The map of crates and modules, and the invariants.
#[doc = include_str!("../docs/architecture.md")]
pub mod architecture {}

/// Kinds of errors: when, and what the caller does.
///
/// [`Error`]: crate::Error
/// [`Retry`]: crate::Retry
/// [`Error::detail`]: crate::Error::detail
#[doc = include_str!("../docs/errors.md")]
pub mod errors {}

/// How a store is written; with the feature `conformance`.
///
/// [semantics]: semantics
/// [`VolumeStore`]: crate::VolumeStore
/// [`StoreInfo::require`]: crate::StoreInfo::require
/// [`Capabilities`]: crate::Capabilities
/// [`Evidence::Assumed`]: crate::capability::Evidence::Assumed
/// [`Meter`]: crate::progress::Meter
/// [`Meter::check`]: crate::progress::Meter::check
/// [`Retry::Verify`]: crate::Retry::Verify
/// [`Attachment::new`]: crate::Attachment::new
#[cfg_attr(feature = "conformance", doc = "[`Subject`]: crate::conformance::Subject\n\n")]
#[cfg_attr(feature = "conformance", doc = include_str!("../docs/new-backend.md"))]
pub mod new_backend {}

/// What every store promises, by number.
#[doc = include_str!("../docs/semantics.md")]
pub mod semantics {}

/// What of a tree is kept on which filesystem, attribute by attribute; generated.
#[doc = include_str!("../docs/fidelity.md")]
pub mod fidelity {}

/// What was decided, and what was rejected.
pub mod decisions {
    #[doc = include_str!("../docs/decisions/0001-numbered-records-by-link.md")]
    pub mod numbered_records_by_link {}

    #[doc = include_str!("../docs/decisions/0002-names-and-ids.md")]
    pub mod names_and_ids {}

    #[doc = include_str!("../docs/decisions/0003-one-epoch-file-per-number.md")]
    pub mod one_epoch_file_per_number {}

    #[doc = include_str!("../docs/decisions/0004-tree-path-order.md")]
    pub mod tree_path_order {}

    #[doc = include_str!("../docs/decisions/0005-async-trait.md")]
    pub mod async_trait {}

    #[doc = include_str!("../docs/decisions/0006-facade-match-not-registration.md")]
    pub mod facade_match_not_registration {}

    #[doc = include_str!("../docs/decisions/0007-trees-held-by-their-intent.md")]
    pub mod trees_held_by_their_intent {}

    #[doc = include_str!("../docs/decisions/0008-bind-does-not-make-a-store.md")]
    pub mod bind_does_not_make_a_store {}

    #[doc = include_str!("../docs/decisions/0010-packs-and-commits-in-a-bucket.md")]
    pub mod packs_and_commits_in_a_bucket {}

    #[doc = include_str!("../docs/decisions/0011-nfs-locks-are-the-servers.md")]
    pub mod nfs_locks_are_the_servers {}

    #[doc = include_str!("../docs/decisions/0012-a-workspace-is-a-volume-of-a-directory-store.md")]
    pub mod a_workspace_is_a_volume_of_a_directory_store {}

    #[doc = include_str!("../docs/decisions/0013-files-in-pages-are-cut-in-blocks.md")]
    pub mod files_in_pages_are_cut_in_blocks {}

    #[doc = include_str!("../docs/decisions/0014-leases-on-directories.md")]
    pub mod leases_on_directories {}

    #[doc = include_str!("../docs/decisions/0015-what-is-removed-is-said-before-the-first-delete.md")]
    pub mod what_is_removed_is_said_before_the_first_delete {}

    #[doc = include_str!("../docs/decisions/0016-a-hydrate-is-applied-in-place.md")]
    pub mod a_hydrate_is_applied_in_place {}

    #[doc = include_str!("../docs/decisions/0017-an-attach-on-a-file-server-is-37-round-trips.md")]
    pub mod an_attach_on_a_file_server_is_37_round_trips {}
}
