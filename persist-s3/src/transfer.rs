//! Moving content between a node and the bucket: bounded pipelines both ways.

mod processors;
pub(crate) mod read;
pub(crate) mod tree;
pub(crate) mod upload;

#[cfg(test)]
mod tests;
