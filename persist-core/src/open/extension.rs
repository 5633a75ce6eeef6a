//! What only one kind of store understands, carried by the options that all stores share.

use super::OpenOptions;
use crate::error::{Error, Result};
use std::{
    any::{Any, type_name},
    fmt,
    sync::Arc,
};

/// A value of a backend's own type: clients, credentials, whatever this crate must not know.
///
/// A store that does not understand it refuses to open. It is never printed.
#[derive(Clone)]
pub struct Extension {
    value: Arc<dyn Any + Send + Sync>,
    kind: &'static str,
}

impl Extension {
    /// Wraps `value`. Backends convert from their own types, so that a caller need not.
    pub fn new<T: Any + Send + Sync>(value: T) -> Self {
        Self { value: Arc::new(value), kind: type_name::<T>() }
    }
}

impl OpenOptions {
    /// The extension, for the backend whose type it is.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for an extension of another type.
    pub fn extension_of<T: Any + Send + Sync>(&self) -> Result<Option<Arc<T>>> {
        let Some(Extension { value, kind }) = &self.extension else { return Ok(None) };
        let value = Arc::clone(value).downcast().map_err(|_| {
            refused(kind).advise(format!("this kind of store takes {}, or none", type_name::<T>()))
        })?;
        Ok(Some(value))
    }

    /// Refuses any extension, for a backend that has none.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if there is one.
    pub fn refuse_extension(&self) -> Result<()> {
        let refused = |extension: &Extension| Err(refused(extension.kind).advise("leave it out"));
        self.extension.as_ref().map_or(Ok(()), refused)
    }
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extension({})", self.kind)
    }
}

fn refused(kind: &str) -> Error {
    Error::invalid("extension", "this kind of store does not take this").context("type", kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_reaches_its_own_backend_and_no_other() {
        let options = OpenOptions::default().with_extension(Extension::new(7_u32));
        assert_eq!(options.extension_of::<u32>().unwrap().as_deref(), Some(&7));
        assert!(options.extension_of::<u64>().unwrap_err().to_string().contains("u64"));
        assert!(options.refuse_extension().is_err());
        assert!(OpenOptions::default().refuse_extension().is_ok());
        assert!(OpenOptions::default().extension_of::<u32>().unwrap().is_none());
    }

    #[test]
    fn an_extension_is_never_printed() {
        let options = OpenOptions::default().with_extension(Extension::new("hunter2".to_owned()));
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
