//! persist volumes: local.
