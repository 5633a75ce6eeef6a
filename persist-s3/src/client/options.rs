//! What a store is opened with that is no plain field.

use super::Credentials;
use crate::{config::S3Config, format::crypt::CallerKey};
use object_store::{aws::AwsCredentialProvider, client::HttpConnector};
use persist_core::{Error, ErrorKind, Extension, Result};
use std::sync::Arc;

/// Credentials, and what makes connections.
///
/// Goes into [`OpenOptions`](persist_core::OpenOptions) by
/// [`with_extension`](persist_core::OpenOptions::with_extension). Has no `Debug`.
#[derive(Clone, Default)]
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct S3Options {
    credentials: Option<Credentials>,
    pub(super) connector: Option<Arc<dyn HttpConnector>>,
    key: Option<CallerKey>,
}

impl S3Options {
    /// With these credentials. Without any a store does not open.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// With connections made by `connector`; without one, by `reqwest` with the certificates of the system.
    #[must_use]
    pub fn with_connector(mut self, connector: impl HttpConnector) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    /// With a key: the volumes that are created are encrypted, and those that are encrypted can be read. The
    /// store keeps it nowhere; who loses it loses the volumes. It is 32 random bytes: a password is not a key.
    #[must_use]
    pub fn with_encryption_key(mut self, key: [u8; 32]) -> Self {
        self.key = Some(CallerKey::new(key));
        self
    }

    pub(crate) fn key(&self) -> Option<CallerKey> {
        self.key.clone()
    }

    pub(super) fn credentials(&self, config: &S3Config) -> Result<AwsCredentialProvider> {
        let missing = || {
            Error::new(ErrorKind::Denied, "no credentials were given")
                .during("open", config.location())
                .advise("pass S3Options::with_credentials, or open by from_env")
        };
        self.credentials.as_ref().ok_or_else(missing)?.provider_for(config, self.connector.clone())
    }
}

impl From<S3Options> for Extension {
    fn from(options: S3Options) -> Self {
        Self::new(options)
    }
}
