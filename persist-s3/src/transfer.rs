//! Moving bytes between a node and the bucket: bounded pipelines.

pub(crate) mod upload;
