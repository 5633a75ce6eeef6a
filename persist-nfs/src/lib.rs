//! persist volumes: nfs.
