//! Opening by a URL, and by what the variables of Amazon's tools add to it.

use crate::{Credentials, S3Config, S3Options, S3Store};
use persist_core::{Capabilities, Error, OpenOptions, Result, StoreUrl, VolumeStore};
use std::{ffi::OsString, sync::Arc};

/// The variables that may name a region, the first one that is set counts
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-region.html>; the second is the one of the AWS
/// command line).
pub const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// The variables that may name an endpoint, the first one that is set counts
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>).
pub const ENDPOINT_VARIABLES: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

/// Opens the store at `s3://bucket/prefix?...`; its options are [`KEYS`](crate::url::KEYS). Credentials are in
/// the [`S3Options`] of `options`.
///
/// # Errors
/// `Invalid` for a URL of another kind or with an unknown option; `Denied` without credentials; else as
/// [`S3Store::open`].
pub async fn open(url: &StoreUrl, options: OpenOptions) -> Result<Arc<dyn VolumeStore>> {
    Ok(Arc::new(S3Store::open(S3Config::from_url(url)?, options).await?))
}

/// As [`open`], with credentials, region and endpoint by the variables of Amazon's tools, which `read` reads:
/// [`VARIABLES`](crate::client::VARIABLES), [`REGION_VARIABLES`] and [`ENDPOINT_VARIABLES`]. What the URL says
/// counts before them. No file and no profile is read.
///
/// # Errors
/// `Invalid`, naming the variable, for one that cannot be used; else as [`open`].
pub async fn open_by_variables(
    url: &StoreUrl,
    options: OpenOptions,
    read: impl Fn(&'static str) -> Option<OsString> + Send + Sync,
) -> Result<Arc<dyn VolumeStore>> {
    let config = S3Config::from_url(url)?.with_variables(&read).map_err(|e| e.during("open", url))?;
    let credentials = Credentials::from_variables(&read).map_err(|e| e.during("open", url))?;
    drop(read);
    let s3 = options.extension_of::<S3Options>()?.as_deref().cloned().unwrap_or_default();
    let options = options.with_extension(s3.with_credentials(credentials));
    Ok(Arc::new(S3Store::open(config, options).await?))
}

/// Refuses, before anything is asked of the bucket, what could not be attached after it was opened.
///
/// # Errors
/// `Unsupported` where neither `url` nor `options` give a directory for workspaces; `Invalid` as [`open`].
pub fn require_workspace(url: &StoreUrl, options: &OpenOptions) -> Result<()> {
    let config = S3Config::from_url(url)?;
    if config.workspace.is_some() || options.state_directory.is_some() {
        return Ok(());
    }
    let message =
        "a volume of an object store is attached as a copy on this node, and no directory was given for it";
    let advice = "add ?workspace=/var/lib/NAME to the URL, or use OpenOptions::with_state_directory";
    Err(Error::unsupported(Capabilities::LOCAL_IO, message).during("open", config.location()).advise(advice))
}

impl S3Config {
    /// With the region and the endpoint that [`REGION_VARIABLES`] and [`ENDPOINT_VARIABLES`] say, where none is
    /// set yet.
    ///
    /// # Errors
    /// `Invalid` for a value that is not UTF-8, and as [`check`](Self::check).
    pub fn with_variables(mut self, read: impl Fn(&'static str) -> Option<OsString>) -> Result<Self> {
        if self.region.is_none() {
            self.region = first_of(&REGION_VARIABLES, &read)?;
        }
        if self.endpoint.is_none() {
            self.endpoint = first_of(&ENDPOINT_VARIABLES, &read)?;
        }
        self.check()?;
        Ok(self)
    }
}

fn first_of(
    names: &[&'static str],
    read: impl Fn(&'static str) -> Option<OsString>,
) -> Result<Option<String>> {
    let set = names.iter().find_map(|name| Some((name, read(name).filter(|value| !value.is_empty())?)));
    let text = set.map(|(name, value)| {
        value.into_string().map_err(|_| Error::invalid(name, "the variable is not UTF-8"))
    });
    text.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use persist_core::ErrorKind;

    fn filled(url: &str, set: &[(&'static str, &str)]) -> Result<S3Config> {
        S3Config::from_url(&url.parse()?)?.with_variables(|name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_variables_fill_in_what_the_url_leaves_open() {
        let set = [
            ("AWS_REGION", "eu-1"),
            ("AWS_DEFAULT_REGION", "us-1"),
            ("AWS_ENDPOINT_URL", "https://all"),
            ("AWS_ENDPOINT_URL_S3", "https://s3"),
        ];
        let config = filled("s3://bucket", &set).unwrap();
        assert_eq!(
            (config.region.as_deref(), config.endpoint.as_deref()),
            (Some("eu-1"), Some("https://s3"))
        );
        let config = filled("s3://bucket", &set[1..3]).unwrap();
        assert_eq!(
            (config.region.as_deref(), config.endpoint.as_deref()),
            (Some("us-1"), Some("https://all"))
        );
        let config = filled("s3://bucket?region=x&endpoint=https://y", &set).unwrap();
        assert_eq!((config.region.as_deref(), config.endpoint.as_deref()), (Some("x"), Some("https://y")));
        let config = filled("s3://bucket", &[("AWS_REGION", "")]).unwrap();
        assert_eq!(config, S3Config::new("bucket"));
    }

    #[test]
    fn an_endpoint_in_the_clear_is_refused_also_from_a_variable() {
        let set = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")];
        let error = filled("s3://bucket", &set).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("allow_http=true"), "{error}");
        assert!(filled("s3://bucket?allow_http=true", &set).is_ok());
    }

    #[test]
    fn a_workspace_is_named_by_the_url_or_by_the_options() {
        let ask = |url: &str, options: &OpenOptions| require_workspace(&url.parse().unwrap(), options);
        let none = OpenOptions::default();
        let error = ask("s3://bucket", &none).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("workspace="), "{error}");
        ask("s3://bucket?workspace=/var/lib/shop", &none).unwrap();
        ask("s3://bucket", &none.with_state_directory("/var/lib/shop")).unwrap();
    }
}
