// The links that the README defines for readers of the file are defined here first, for rustdoc: the
// first definition of a link counts (CommonMark, section 4.7).
//! [architecture]: docs::architecture
//! [semantics]: docs::semantics
//! [fidelity]: docs::fidelity
//! [errors]: docs::errors
//! [new-backend]: docs::new_backend
//! [decisions]: docs::decisions
#![cfg_attr(feature = "s3", doc = "[operations]: s3::operations\n[format]: mod@s3::format")]
#![doc = include_str!("../README.md")]
//! # The crate
//!
//! Five verbs are enough for an application: [`bind`], then [`sync`](Bound::sync),
//! [`snapshot`](Bound::snapshot), [`restore`](Bound::restore) and [`detach`](Bound::detach) of what it gives.
//! The rest is for orchestrators and operators: [`open()`] gives the [`VolumeStore`].
//!
//! | Scheme | Store | Feature |
//! |---|---|---|
//! | `local:///path` | a filesystem of this server | `local` (default) |
//! | `nfs://server/export` | an NFS server, mounted by the store; needs a state directory and privilege | `nfs` |
//! | `nfs+mounted:///path` | an NFS mount that is there already | `nfs` |
//! | `s3://bucket/prefix` | an S3-compatible object store, copied to where it is used | `s3` |
//!
//! Every other crate of this workspace takes time, randomness, identity and settings as arguments;
//! [`from_env`] is the one place that reads the environment.

pub use persist_core::*;
#[cfg(feature = "local")]
pub use persist_local as local;
#[cfg(feature = "nfs")]
pub use persist_nfs as nfs;
#[cfg(feature = "s3")]
pub use persist_s3 as s3;

use std::{ffi::OsString, sync::Arc};

/// The environment variable of [`from_env`] that holds the volume's URL.
pub const URL_VARIABLE: &str = "PERSIST_URL";

/// The environment variable of [`from_env`] that says whether a missing store is made.
pub const OPEN_MODE_VARIABLE: &str = "PERSIST_OPEN_MODE";

/// Opens the store at `url` for this host. It must be there.
///
/// # Errors
/// As [`open_with`]; `NotFound` where no store is.
pub async fn open(url: &str) -> Result<Arc<dyn VolumeStore>> {
    open_with(url, OpenOptions::default().with_node(this_host()?)).await
}

/// Opens the store at `url`, or makes it where `options` say so. Without a node in `options` it can be
/// looked at and looked after, but `attach` and `adopt` are refused.
///
/// An `s3://` store takes its credentials, and an encryption key if there is one, from an `S3Options` of the
/// module `s3`, by [`OpenOptions::with_extension`]; its copies on this host are in the directory that
/// `workspace=` of its URL names, else in [`OpenOptions::with_state_directory`].
///
/// # Errors
/// `Invalid` for a URL that cannot be read, of an unknown scheme, or with unknown options; `Unsupported`
/// where this build or version has no such store; `Denied` for an object store without credentials; else as
/// the store's own `open`.
pub async fn open_with(url: &str, options: OpenOptions) -> Result<Arc<dyn VolumeStore>> {
    open_store(&url.parse()?, options).await
}

/// Binds the volume at `url`, `STORE-URL#NAME`, to this process: creates the volume if it is missing, and
/// attaches it.
///
/// The *store* must be there: a path that is mistyped, or whose device is not mounted, would look like an
/// empty store, and the program would begin anew. Make it once, by [`bind_with`] or [`open_with`] and
/// [`OpenMode::CreateIfMissing`].
///
/// # Errors
/// As [`open()`], [`create`](VolumeStore::create) and [`attach`](VolumeStore::attach); `Unsupported`, before
/// anything is asked of it, for an object store without a directory for the copy on this host.
pub async fn bind(url: &str) -> Result<Bound> {
    bind_with(url, OpenOptions::default(), BindOptions::default()).await
}

/// As [`bind`], with options. Without a node in `open` it is [`this_host`].
///
/// # Errors
/// As [`bind`].
pub async fn bind_with(url: &str, open: OpenOptions, bind: BindOptions) -> Result<Bound> {
    bind_volume(&url.parse()?, open, bind).await
}

/// Binds the volume that the environment names.
///
/// | Variable | Meaning |
/// |---|---|
/// | `PERSIST_URL` | `STORE-URL#NAME`; required |
/// | `PERSIST_OPEN_MODE` | `existing` (default), or `create-if-missing` to make a missing store |
///
/// For an `s3://` URL also those of Amazon's tools, by `s3::open_by_variables`. The URL names the workspace, as
/// in `s3://bucket/prefix?workspace=/var/lib/shop#shop`, and its own `region` and `endpoint` count first:
///
/// | Variable | Meaning |
/// |---|---|
/// | `AWS_REGION`, else `AWS_DEFAULT_REGION` | the region |
/// | `AWS_ENDPOINT_URL_S3`, else `AWS_ENDPOINT_URL` | the service, where it is not Amazon's |
/// | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` | a pair of keys |
/// | `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`, `AWS_ROLE_SESSION_NAME` | a role by a web identity |
/// | `AWS_CONTAINER_...` | a container's role; without any of these, the role of the machine |
///
/// # Errors
/// `Invalid`, naming the variable, if one is missing or cannot be read; else as [`bind`].
pub async fn from_env() -> Result<Bound> {
    let (url, open) = settings(read_variable)?;
    let open = open.with_node(this_host()?);
    check_place(&url.store, &open)?;
    open_by_variables(&url.store, open).await?.bind(&url.volume, BindOptions::default()).await
}

/// This host in its present boot, as the node that attaches. Its id is derived from the boot id: a rebooted
/// host and a copy of its image are other nodes.
///
/// # Errors
/// As the system reports them for `/proc/sys/kernel/random/boot_id`.
pub fn this_host() -> Result<Node> {
    linux::process::this_host()
}

async fn bind_volume(url: &VolumeUrl, open: OpenOptions, bind: BindOptions) -> Result<Bound> {
    let open = if open.node.is_some() { open } else { open.with_node(this_host()?) };
    check_place(&url.store, &open)?;
    open_store(&url.store, open).await?.bind(&url.volume, bind).await
}

/// Refuses what could be opened and not attached, before `bind` creates anything.
#[cfg_attr(
    not(feature = "s3"),
    expect(clippy::unnecessary_wraps, unused_variables, reason = "only s3 checks")
)]
fn check_place(url: &StoreUrl, open: &OpenOptions) -> Result<()> {
    #[cfg(feature = "s3")]
    if url.scheme() == persist_s3::SCHEME {
        return persist_s3::require_workspace(url, open);
    }
    Ok(())
}

/// As [`open_store`], with what the environment says about credentials.
async fn open_by_variables(url: &StoreUrl, options: OpenOptions) -> Result<Arc<dyn VolumeStore>> {
    #[cfg(feature = "s3")]
    if url.scheme() == persist_s3::SCHEME {
        return persist_s3::open_by_variables(url, options, read_variable).await;
    }
    open_store(url, options).await
}

/// The explicit list of stores: no registry, no code before `main`.
#[cfg_attr(
    not(any(feature = "local", feature = "nfs", feature = "s3")),
    expect(unused_variables, reason = "no store of this build takes options")
)]
async fn open_store(url: &StoreUrl, options: OpenOptions) -> Result<Arc<dyn VolumeStore>> {
    match url.scheme() {
        #[cfg(feature = "local")]
        "local" => persist_local::open(url, options).await,
        #[cfg(not(feature = "local"))]
        "local" => Err(unsupported(url, "this build has no local stores", "build with the feature `local`")),
        #[cfg(feature = "nfs")]
        "nfs" | "nfs+mounted" => persist_nfs::open(url, options).await,
        #[cfg(not(feature = "nfs"))]
        "nfs" | "nfs+mounted" => {
            Err(unsupported(url, "this build has no NFS stores", "build with the feature `nfs`"))
        }
        #[cfg(feature = "s3")]
        "s3" => persist_s3::open(url, options).await,
        #[cfg(not(feature = "s3"))]
        "s3" => Err(unsupported(url, "this build has no object stores", "build with the feature `s3`")),
        scheme => Err(Error::invalid("url", "unknown scheme")
            .during("open", url)
            .context("scheme", format_args!("{scheme:?}"))
            .advise("known are local, nfs, nfs+mounted and s3")),
    }
}

#[cfg(not(all(feature = "local", feature = "nfs", feature = "s3")))]
fn unsupported(url: &StoreUrl, message: &'static str, advice: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, message).during("open", url).advise(advice)
}

/// What the variables say, decided without reading them.
fn settings(read: impl Fn(&'static str) -> Option<OsString>) -> Result<(VolumeUrl, OpenOptions)> {
    let text = |name| {
        let value = read(name).map(OsString::into_string).transpose();
        value.map_err(|_| Error::invalid(name, "the variable is not UTF-8"))
    };
    let url = text(URL_VARIABLE)?.ok_or_else(|| {
        Error::invalid(URL_VARIABLE, "the variable is not set").advise("set it to STORE-URL#VOLUME-NAME")
    })?;
    let mode = match text(OPEN_MODE_VARIABLE)?.as_deref() {
        None | Some("existing") => OpenMode::Existing,
        Some("create-if-missing") => OpenMode::CreateIfMissing,
        Some(other) => {
            return Err(Error::invalid(OPEN_MODE_VARIABLE, "unknown mode")
                .context("value", format_args!("{other:?}"))
                .advise("set it to `existing` or `create-if-missing`"));
        }
    };
    let url = url.parse().map_err(|error: Error| error.context("variable", URL_VARIABLE))?;
    Ok((url, OpenOptions::default().with_mode(mode)))
}

fn read_variable(name: &'static str) -> Option<OsString> {
    std::env::var_os(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(url: Option<&str>, mode: Option<&str>) -> Result<(VolumeUrl, OpenOptions)> {
        settings(|name| match name {
            URL_VARIABLE => url.map(OsString::from),
            OPEN_MODE_VARIABLE => mode.map(OsString::from),
            _ => None,
        })
    }

    #[test]
    fn the_environment_names_a_volume_and_how_its_store_is_opened() {
        let (url, open) = set(Some("local:///srv/x#shop"), None).unwrap();
        assert_eq!((url.to_string().as_str(), open.mode), ("local:///srv/x#shop", OpenMode::Existing));
        let (_, open) = set(Some("local:///srv/x#shop"), Some("create-if-missing")).unwrap();
        assert_eq!(open.mode, OpenMode::CreateIfMissing);
    }

    #[test]
    fn what_the_environment_lacks_or_misspells_is_named() {
        for (url, mode, variable) in [
            (None, None, URL_VARIABLE),
            (Some("local:///srv/x"), None, URL_VARIABLE),
            (Some("local:///srv/x#shop"), Some("create"), OPEN_MODE_VARIABLE),
        ] {
            let error = set(url, mode).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(variable), "{error}");
        }
    }

    #[tokio::test]
    async fn a_scheme_that_is_not_here_is_refused_by_name() {
        for (url, kind, word) in [
            #[cfg(not(feature = "nfs"))]
            ("nfs://server/export", ErrorKind::Unsupported, "feature `nfs`"),
            #[cfg(feature = "nfs")]
            ("nfs://server/export", ErrorKind::Invalid, "state_directory"),
            #[cfg(feature = "nfs")]
            ("nfs+mounted:///proc/x", ErrorKind::Unsupported, "not on NFSv4"),
            #[cfg(not(feature = "s3"))]
            ("s3://bucket/prefix", ErrorKind::Unsupported, "feature `s3`"),
            ("ftp://server/x", ErrorKind::Invalid, "known are local"),
            ("/srv/x", ErrorKind::Invalid, "local:///path"),
            ("local:///srv/x#shop", ErrorKind::Invalid, "#name"),
        ] {
            let error = open(url).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[cfg(feature = "local")]
    #[tokio::test]
    async fn bind_creates_a_volume_but_never_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("local://{}/store#shop", dir.path().display());
        let error = bind(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("CreateIfMissing"), "no advice: {error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let create = OpenOptions::default().with_mode(OpenMode::CreateIfMissing);
        let first = bind_with(&url, create, BindOptions::default()).await.unwrap();
        assert_eq!(first.created(), Outcome::Done);
        std::fs::write(first.path().join("hello"), "world").unwrap();
        first.detach().await.unwrap();
        let second = bind(&url).await.unwrap();
        assert_eq!(second.created(), Outcome::Already);
        assert_eq!(std::fs::read_to_string(second.path().join("hello")).unwrap(), "world");
        assert_eq!(second.attachment().holder.node, this_host().unwrap());
    }

    #[cfg(feature = "s3")]
    #[tokio::test]
    async fn an_object_store_wants_credentials_and_to_be_attached_a_directory() {
        let error = open("s3://bucket/prefix").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(error.to_string().contains("with_credentials"), "{error}");
        let error = bind("s3://bucket/prefix#shop").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("workspace="), "{error}");
    }

    #[cfg(feature = "s3")]
    #[tokio::test]
    async fn a_volume_of_an_object_store_is_bound_by_its_url() {
        use persist_s3_server::{KeyPair, Server, ServerOptions};
        let server = Server::in_memory(ServerOptions::new("bucket", KeyPair::new("key", "secret")));
        let options = |mode| {
            let keys = s3::Credentials::keys("key", "secret");
            let s3 = s3::S3Options::default().with_credentials(keys).with_connector(server.connector());
            OpenOptions::default().with_mode(mode).with_extension(s3)
        };
        // A workspace may not be in memory, which the usual directory often is.
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let url = |host: &str| {
            let place = dir.path().join(host);
            format!("s3://bucket/x?endpoint=http://here&allow_http=true&workspace={}#shop", place.display())
        };
        let bind = async |host, mode| bind_with(&url(host), options(mode), BindOptions::default()).await;
        let error = bind("a", OpenMode::Existing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        let first = bind("a", OpenMode::CreateIfMissing).await.unwrap();
        assert_eq!(first.created(), Outcome::Done);
        std::fs::write(first.path().join("hello"), "world").unwrap();
        first.detach().await.unwrap();
        let second = bind("b", OpenMode::Existing).await.unwrap();
        assert_eq!(second.created(), Outcome::Already);
        assert!(second.path().starts_with(dir.path().join("b")));
        assert_eq!(std::fs::read_to_string(second.path().join("hello")).unwrap(), "world");
        second.detach().await.unwrap();
    }

    #[test]
    fn this_host_is_the_same_node_until_it_boots_again() {
        assert_eq!(this_host().unwrap(), this_host().unwrap());
    }
}
