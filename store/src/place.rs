//! A place in an object store, from its URL and the environment.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};
use std::sync::Arc;
use std::time::Duration;
use url::{Host, Url};

/// Beginnings of the URLs of places.
const SCHEMES: [&str; 10] =
    ["s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "as", "https", "http"];

/// Extensions of objects that are a model by themselves.
const MODEL_EXTENSIONS: [&str; 2] = [".onnx", ".sky"];

/// Limits of time: a request as a whole, and a time without a byte. A download that is cut goes on
/// where it was.
const LIMITS: [(ClientConfigKey, &str); 2] =
    [(ClientConfigKey::Timeout, "1 hour"), (ClientConfigKey::ReadTimeout, "30 seconds")];

/// Repetitions of a request, and the time within which they are made. The next look is one too.
const RETRIES_MAX: usize = 2;
const RETRY_WITHIN: Duration = Duration::from_secs(10);

/// A store and the path in it.
type Opened = (Arc<dyn ObjectStore>, String);

/// Objects below a prefix, or one object.
pub struct Place {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) prefix: Path,
    label: String,
}

impl Place {
    /// True if a text is the URL of a place rather than a path of this machine.
    pub fn is_url(text: &str) -> bool {
        text.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
    }

    /// Opens a place by its URL, with the credentials in the environment. It sends no request.
    ///
    /// # Errors
    /// The URL is none of a place, or the environment is not sufficient.
    pub fn open(url: &str) -> Result<Self, String> {
        // Another provider may be installed, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let (scheme, rest) = url.split_once("://").ok_or("it is no URL")?;
        let (store, path) = match scheme {
            "s3" | "s3a" => s3(rest)?,
            "gs" => google(rest)?,
            "az" | "azure" | "abfs" | "abfss" => {
                let builder = MicrosoftAzureBuilder::from_env().with_url(url);
                (azure(builder)?, split(rest).1.to_owned())
            }
            "as" => {
                let (account, rest) = split(rest);
                let (container, path) = split(rest);
                let builder = MicrosoftAzureBuilder::from_env();
                let builder = builder.with_account(account).with_container_name(container);
                (azure(builder)?, path.to_owned())
            }
            "https" | "http" => web(url)?,
            other => return Err(format!("'{other}://' is none of {}", SCHEMES.join(", "))),
        };
        let prefix = Path::from_url_path(path).map_err(|error| error.to_string())?;
        Ok(Self::new(store, prefix, url))
    }

    /// A place in a store that is open.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: Path, label: &str) -> Self {
        Self { store, prefix, label: label.trim_end_matches('/').to_owned() }
    }

    /// The URL as it was given.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// True if the name is one of an object that is a model by itself.
    pub(crate) fn may_be_object(&self) -> bool {
        MODEL_EXTENSIONS.iter().any(|extension| self.prefix.as_ref().ends_with(extension))
    }
}

/// Opens `BUCKET/PATH`, or Triton's `http://HOST:PORT/BUCKET/PATH`.
fn s3(rest: &str) -> Result<Opened, String> {
    let mut builder = AmazonS3Builder::from_env().with_retry(retry());
    let (bucket, path) = match rest.split_once("://") {
        Some((scheme, rest)) => {
            let (host, rest) = split(rest);
            builder = builder.with_endpoint(format!("{scheme}://{host}"));
            split(rest)
        }
        None => split(rest),
    };
    if bucket.is_empty() {
        return Err("there is no bucket in it".into());
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    for (key, value) in LIMITS {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    Ok((shared(builder.with_bucket_name(bucket).build())?, path.to_owned()))
}

fn google(rest: &str) -> Result<Opened, String> {
    let (bucket, path) = split(rest);
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
    for (key, value) in LIMITS {
        builder = builder.with_config(GoogleConfigKey::Client(key), value);
    }
    Ok((shared(builder.with_retry(retry()).build())?, path.to_owned()))
}

fn azure(mut builder: MicrosoftAzureBuilder) -> Result<Arc<dyn ObjectStore>, String> {
    for (key, value) in LIMITS {
        builder = builder.with_config(AzureConfigKey::Client(key), value);
    }
    shared(builder.with_retry(retry()).build())
}

/// Opens a web server. Without encryption, it must be on this machine.
fn web(url: &str) -> Result<Opened, String> {
    let parsed = Url::parse(url).map_err(|error| error.to_string())?;
    let is_local = match parsed.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("there is no host in it".into()),
    };
    if parsed.scheme() == "http" && !is_local {
        return Err("anybody between could change what http:// brings: take https://".into());
    }
    let mut builder = HttpBuilder::new().with_url(parsed.origin().ascii_serialization());
    for (key, value) in LIMITS {
        builder = builder.with_config(key, value);
    }
    if is_local {
        builder = builder.with_config(ClientConfigKey::AllowHttp, "true");
    }
    Ok((shared(builder.with_retry(retry()).build())?, parsed.path().to_owned()))
}

fn split(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or((text, ""))
}

fn retry() -> RetryConfig {
    RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_WITHIN, ..Default::default() }
}

fn shared<S: ObjectStore>(built: object_store::Result<S>) -> Result<Arc<dyn ObjectStore>, String> {
    built.map(|store| Arc::new(store) as _).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for url in ["s3://b", "gs://b/p", "az://c/p", "as://a/c/p", "https://h/m.onnx"] {
            assert!(Place::is_url(url), "{url}");
        }
        for path in ["models", "/mnt/models", "./s3", "c://x", "file:///x"] {
            assert!(!Place::is_url(path), "{path}");
        }
    }

    #[test]
    fn places_have_their_prefix() {
        for (url, prefix, object) in [
            ("s3://bucket", "", false),
            ("s3://bucket/a/b/", "a/b", false),
            ("s3://bucket/a/m.onnx", "a/m.onnx", true),
            ("s3://http://127.0.0.1:9000/bucket/a", "a", false),
            ("https://host/a/m.sky", "a/m.sky", true),
            ("http://127.0.0.1:1/a", "a", false),
        ] {
            let place = Place::open(url).unwrap();
            assert_eq!((place.prefix.as_ref(), place.may_be_object()), (prefix, object), "{url}");
        }
        for (url, words) in [("http://host/a", "https://"), ("s3:///a", "no bucket")] {
            let error = Place::open(url).err().unwrap();
            assert!(error.contains(words), "{url}: {error}");
        }
    }
}
