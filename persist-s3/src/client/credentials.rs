//! Who asks. No type here has a `Debug` that shows anything.

use crate::config::S3Config;
use async_trait::async_trait;
use object_store::{
    CredentialProvider,
    aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider},
    client::HttpConnector,
};
use persist_core::{Error, Result};
use std::{ffi::OsString, fmt, str::FromStr, sync::Arc};
use zeroize::Zeroizing;

/// The environment variables that [`Credentials::from_variables`] asks for, as Amazon's own tools name them
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html>).
pub const VARIABLES: [&str; 9] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Who asks, and how that is proven.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Credentials(Source);

#[derive(Clone)]
enum Source {
    Keys {
        access_key: Arc<Zeroizing<String>>,
        secret_key: Arc<Zeroizing<String>>,
        token: Option<Arc<Zeroizing<String>>>,
    },
    Provider(AwsCredentialProvider),
    Ambient(Arc<Vec<(&'static str, Zeroizing<String>)>>),
}

impl Credentials {
    /// A pair of keys that does not change.
    pub fn keys(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        let held = |text: String| Arc::new(Zeroizing::new(text));
        Self(Source::Keys {
            access_key: held(access_key.into()),
            secret_key: held(secret_key.into()),
            token: None,
        })
    }

    /// The same pair with the token of a session; has no effect on what is not a pair of keys.
    #[must_use]
    pub fn with_session_token(self, session_token: impl Into<String>) -> Self {
        match self.0 {
            Source::Keys { access_key, secret_key, .. } => {
                let token = Some(Arc::new(Zeroizing::new(session_token.into())));
                Self(Source::Keys { access_key, secret_key, token })
            }
            other => Self(other),
        }
    }

    /// Credentials that change: `provider` is asked before each request.
    pub fn provider(provider: AwsCredentialProvider) -> Self {
        Self(Source::Provider(provider))
    }

    /// Whatever the variables of [`VARIABLES`] say, read by `read`: keys, a web identity, a container's
    /// role; and where they say nothing, the role of the machine, which its metadata service gives
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/iam-roles-for-amazon-ec2.html>).
    ///
    /// This crate reads no environment: `from_env` of the facade passes its own.
    ///
    /// # Errors
    /// `Invalid` for a variable that is not UTF-8, and for one half of a pair of keys.
    pub fn from_variables(read: impl Fn(&'static str) -> Option<OsString>) -> Result<Self> {
        let mut found = Vec::new();
        for name in VARIABLES {
            let Some(value) = read(name).filter(|value| !value.is_empty()) else { continue };
            let value = value.into_string().map_err(|_| Error::invalid(name, "the variable is not UTF-8"))?;
            found.push((name, Zeroizing::new(value)));
        }
        let has = |wanted: &str| found.iter().any(|(name, _)| *name == wanted);
        if has("AWS_ACCESS_KEY_ID") != has("AWS_SECRET_ACCESS_KEY") {
            let message = "one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set without the other";
            return Err(Error::invalid("AWS_ACCESS_KEY_ID", message));
        }
        Ok(Self(Source::Ambient(Arc::new(found))))
    }

    pub(super) fn provider_for(
        &self,
        config: &S3Config,
        connector: Option<Arc<dyn HttpConnector>>,
    ) -> Result<AwsCredentialProvider> {
        let provider = match &self.0 {
            Source::Keys { access_key, secret_key, token } => Arc::new(Fixed(Arc::new(AwsCredential {
                key_id: access_key.to_string(),
                secret_key: secret_key.to_string(),
                token: token.as_ref().map(|token| token.to_string()),
            }))) as AwsCredentialProvider,
            Source::Provider(provider) => Arc::clone(provider),
            Source::Ambient(variables) => ambient(variables, config, connector)?,
        };
        Ok(Arc::new(Unprinted(provider)))
    }
}

/// What object_store makes of the variables. It gives no other way to a provider than through a client,
/// which is made, asked for it, and dropped.
fn ambient(
    variables: &[(&'static str, Zeroizing<String>)],
    config: &S3Config,
    connector: Option<Arc<dyn HttpConnector>>,
) -> Result<AwsCredentialProvider> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(config.region.as_deref().unwrap_or("us-east-1"));
    if let Some(connector) = connector {
        builder = builder.with_http_connector(super::transport::shared(connector));
    }
    for (name, value) in variables {
        let key = AmazonS3ConfigKey::from_str(&name.to_ascii_lowercase());
        let key = key.map_err(|_| {
            Error::internal("a variable that object_store does not know").context("variable", name)
        })?;
        builder = builder.with_config(key, value.as_str());
    }
    let client = builder.build();
    // Its error is not a source of ours: it may hold what a variable held.
    let client = client.map_err(|_| Error::invalid("credentials", "the AWS variables do not go together"))?;
    Ok(Arc::clone(client.credentials()))
}

/// Keys that do not change.
struct Fixed(Arc<AwsCredential>);

/// A provider that is not printed with its client.
struct Unprinted(AwsCredentialProvider);

#[async_trait]
impl CredentialProvider for Fixed {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Ok(Arc::clone(&self.0))
    }
}

#[async_trait]
impl CredentialProvider for Unprinted {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.0.get_credential().await
    }
}

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("credentials")
    }
}

impl fmt::Debug for Unprinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("credentials")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(set: &'static [(&'static str, &'static str)]) -> Result<Credentials> {
        Credentials::from_variables(|name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[tokio::test]
    async fn the_variables_of_amazons_tools_give_their_keys() {
        let set =
            &[("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "SK"), ("AWS_SESSION_TOKEN", "ST")];
        let provider = variables(set).unwrap().provider_for(&S3Config::new("bucket"), None).unwrap();
        let credential = provider.get_credential().await.unwrap();
        assert_eq!((credential.key_id.as_str(), credential.secret_key.as_str()), ("AK", "SK"));
        assert_eq!(credential.token.as_deref(), Some("ST"));
        assert_eq!(format!("{provider:?}"), "credentials");
    }

    #[test]
    fn half_a_pair_of_keys_is_refused() {
        let error = variables(&[("AWS_ACCESS_KEY_ID", "hunter2")]).err().unwrap();
        assert!(error.to_string().contains("AWS_SECRET_ACCESS_KEY"));
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn every_variable_is_known_to_the_client() {
        for name in VARIABLES {
            assert!(AmazonS3ConfigKey::from_str(&name.to_ascii_lowercase()).is_ok(), "{name}");
        }
    }
}
