//! An S3 service that is up.

use super::{ceph::Cluster, program::Running};
use bytes::Bytes;
use object_store::{
    ClientOptions,
    aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential},
    client::{HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector},
    path::Path,
    signer::Signer,
};
use persist_s3::{Clients, Credentials, S3Config, S3Options, client::IfMatch, config::Transport};
use std::time::Duration;
use tokio::sync::OnceCell;

/// The bucket of a service.
pub const BUCKET: &str = "persist";

/// A service, and what is known of it.
pub struct Service {
    pub endpoint: String,
    pub access_key: String,
    pub secret_key: String,
    /// What the probe must find.
    pub if_match: IfMatch,
    /// The marker of a store that has passed the probe here.
    pub marker: OnceCell<Bytes>,
    /// Its processes, in the order of their ends.
    #[expect(dead_code, reason = "held until the service is dropped")]
    pub alive: Vec<Running>,
    /// Where it is one of several gateways to the same objects.
    pub cluster: Option<Cluster>,
}

/// Gives `service` its bucket.
pub fn ready(service: Service) -> Service {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(service.make_bucket());
    service
}

impl Service {
    /// A store of this service; `prefix` keeps tests apart.
    pub fn config(&self, prefix: &str) -> S3Config {
        let mut config = S3Config::new(BUCKET);
        config.prefix = prefix.into();
        config.endpoint = Some(self.endpoint.clone());
        config.transport = Transport::PlainAllowed;
        config
    }

    /// Who may use it.
    pub fn options(&self) -> S3Options {
        S3Options::default().with_credentials(Credentials::keys(&self.access_key, &self.secret_key))
    }

    /// Clients of the store at `prefix`.
    pub fn clients(&self, prefix: &str) -> Clients {
        Clients::connect(&self.config(prefix), &self.options()).unwrap()
    }

    /// Makes the bucket, which persist never does, by a signed request of our own.
    pub async fn make_bucket(&self) {
        let signer = AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_bucket_name(BUCKET)
            .with_access_key_id(&self.access_key)
            .with_secret_access_key(&self.secret_key)
            .build()
            .unwrap();
        let url =
            signer.signed_url(http::Method::PUT, &Path::default(), Duration::from_secs(60)).await.unwrap();
        let put = http::Request::put(url.as_str()).header(http::header::CONTENT_LENGTH, 0);
        done(put.body(HttpRequestBody::empty()).unwrap()).await;
    }

    /// Gives the bucket an access policy, as its owner.
    pub async fn set_policy(&self, policy: &str) {
        let key = AwsCredential {
            key_id: self.access_key.clone(),
            secret_key: self.secret_key.clone(),
            token: None,
        };
        let url = format!("{}/{BUCKET}?policy=", self.endpoint);
        let mut put = http::Request::put(url).body(HttpRequestBody::from(policy.to_owned())).unwrap();
        AwsAuthorizer::new(&key, "s3", "us-east-1").try_authorize(&mut put, None).unwrap();
        done(put).await;
    }
}

async fn done(request: HttpRequest) {
    let http = ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true)).unwrap();
    let answer = http.execute(request).await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}
