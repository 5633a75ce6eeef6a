//! persist volumes: s3.
