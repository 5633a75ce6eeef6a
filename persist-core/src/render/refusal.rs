//! How a rendering is refused.

use crate::error::{Detail, Error, ErrorKind};

/// The target cannot express `option`, for this reason.
pub(super) fn refused(target: &'static str, option: &'static str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, why.into()).with_detail(Detail::Field(option)).during("render", target)
}
