//! The `s3` engine: an object for each segment, `[<prefix>/]blobs/<name>`, in a bucket of any service that speaks S3.
//!
//! A put is all of an object or nothing, and is seen by the next read: S3 promises both. Its lists are in the order of keys.

mod client;
mod credentials;
mod place;

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectStore, PutOptions, RetryConfig};
use protocol::node::Mark;

use super::{Engine, EngineError, Listed, Space, Trouble};
use crate::SegmentName;
use crate::sealing::SEALED_SIZE_MAX;
use client::{Connector, Refused};
use place::Place;

/// The folder of segments in a bucket, or below its prefix.
const FOLDER: &str = "blobs";
/// The object that says whose the segments are.
const MARK: &str = "store.id";
/// Of that object.
const MARK_BYTES_MAX: u64 = 256;

/// A bucket whose URL says nothing usable: somebody may have written a secret into it, so that it is not shown.
const UNNAMED: &str = "s3";

/// What a bucket is said to have room for: S3 says nothing of it, and what is added up must not overflow.
const UNBOUNDED: u64 = 1 << 60;

/// A request is sent again so often, for so long: the store asks another engine soon.
const RETRIES_MAX: usize = 3;
const RETRY_WITHIN: Duration = Duration::from_secs(10);

/// Segments in a bucket.
pub struct S3 {
    name: String,
    domain: String,
    folder: Path,
    mark: Path,
    bucket: Arc<dyn ObjectStore>,
}

impl S3 {
    /// The bucket of this URL, which is asked for nothing yet: `https://HOST/BUCKET[/PREFIX]`, or `s3://BUCKET[/PREFIX]` where the environment
    /// says the rest (`AWS_ENDPOINT_URL`, `AWS_REGION`). Credentials come from the environment alone
    /// (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, and what else SDKs read).
    ///
    /// # Errors
    /// When the URL names no bucket, or the environment has no credentials, or half of them.
    pub fn at(url: &str) -> Result<Self, EngineError> {
        Self::with(AmazonS3Builder::from_env(), url)
    }

    /// The same, with these settings beside the URL's.
    pub(crate) fn with(builder: AmazonS3Builder, url: &str) -> Result<Self, EngineError> {
        let unusable = |why: &'static str| failed(UNNAMED, "open", why.into());
        let place = Place::parse(url).map_err(unusable)?;
        credentials::require(&builder).map_err(unusable)?;
        let bucket = place.build(builder)?;
        if place.is_exposed() {
            // Segments are sealed; lists and marks are not.
            tracing::warn!(bucket = %place.name(), "a bucket without TLS: others may read and replay its lists");
        }
        Ok(Self::on(Arc::new(bucket), &place))
    }

    fn on(bucket: Arc<dyn ObjectStore>, place: &Place) -> Self {
        let (folder, mark) = (place.prefix.clone().join(FOLDER), place.prefix.clone().join(MARK));
        Self { name: place.name(), domain: place.domain(), folder, mark, bucket }
    }

    /// Segments in memory: what S3 is, without its HTTP.
    #[cfg(test)]
    pub(crate) fn in_memory(url: &str) -> Self {
        Self::on(Arc::new(object_store::memory::InMemory::new()), &Place::parse(url).unwrap())
    }

    fn key(&self, name: SegmentName) -> Path {
        self.folder.clone().join(name.to_string())
    }

    /// Whether the bucket answers: without this, a bucket that is gone would look like one that has lost all of its blobs.
    async fn is_there(&self, verb: &'static str) -> Result<(), EngineError> {
        let first = self.bucket.list(Some(&self.folder)).try_next().await;
        first.map(drop).map_err(|error| self.failed(verb, error))
    }

    async fn marked(&self, verb: &'static str) -> Result<Option<Mark>, EngineError> {
        let found = self.bucket.get_opts(&self.mark, GetOptions::new()).await;
        let found = unless_missing(found).map_err(|error| self.failed(verb, error))?;
        let Some(found) = found else {
            self.is_there(verb).await?;
            return Ok(None);
        };
        self.require_size(&found, MARK_BYTES_MAX, verb)?;
        let text = found.bytes().await.map_err(|error| self.failed(verb, error))?;
        let text = String::from_utf8_lossy(&text);
        text.parse().map(Some).map_err(|error: protocol::ParseIdError| self.failed(verb, error))
    }

    /// Not every service can refuse to replace an object: the last one of several who mark it at once has it.
    async fn put_mark(&self, mark: Mark) -> Result<Mark, EngineError> {
        let verb = "be marked";
        if let Some(marked) = self.marked(verb).await? {
            return Ok(marked);
        }
        let put = self.bucket.put_opts(&self.mark, mark.to_string().into(), PutOptions::default()).await;
        put.map_err(|error| self.failed(verb, error))?;
        self.marked(verb).await?.ok_or_else(|| self.failed(verb, "it has no mark still"))
    }

    async fn get(&self, name: SegmentName, options: GetOptions) -> object_store::Result<Option<GetResult>> {
        unless_missing(self.bucket.get_opts(&self.key(name), options).await)
    }

    async fn size(&self, name: SegmentName, verb: &'static str) -> Result<Option<u64>, EngineError> {
        let head = self.get(name, GetOptions::new().with_head(true)).await;
        let found = head.map_err(|error| self.failed(verb, error))?;
        if found.is_none() {
            self.is_there(verb).await?;
        }
        Ok(found.map(|found| found.meta.size))
    }

    async fn read_range(&self, name: SegmentName, range: Range<u64>) -> Result<Option<Bytes>, EngineError> {
        if range.start >= range.end {
            return Ok(self.size(name, "read").await?.map(|_| Bytes::new()));
        }
        let start = range.start;
        match self.get(name, GetOptions::new().with_range(Some(range))).await {
            Ok(found) => self.bytes(found).await,
            // S3 refuses a range behind the end.
            Err(error) => match self.size(name, "read").await? {
                Some(size) if size <= start => Ok(Some(Bytes::new())),
                _ => Err(self.failed("read", error)),
            },
        }
    }

    async fn bytes(&self, found: Option<GetResult>) -> Result<Option<Bytes>, EngineError> {
        let Some(found) = found else { return Ok(None) };
        self.require_size(&found, SEALED_SIZE_MAX as u64, "read")?;
        found.bytes().await.map(Some).map_err(|error| self.failed("read", error))
    }

    /// Nothing is larger that the store has put.
    fn require_size(&self, found: &GetResult, most: u64, verb: &'static str) -> Result<(), EngineError> {
        let size = found.meta.size;
        if size > most {
            return Err(self.failed(verb, format!("{} has {size} bytes, of {most} at most", found.meta.location)));
        }
        Ok(())
    }

    async fn list_segments(&self, after: Option<SegmentName>, most: usize) -> Result<Vec<Listed>, EngineError> {
        let mut objects = match after {
            Some(after) => self.bucket.list_with_offset(Some(&self.folder), &self.key(after)),
            None => self.bucket.list(Some(&self.folder)),
        };
        let (mut listed, mut last) = (Vec::new(), after);
        while listed.len() < most {
            let object = objects.try_next().await.map_err(|error| self.failed("list", error))?;
            let Some(object) = object else { break };
            // What has another name, or is in a folder below, is somebody else's.
            let Some(name) = self.segment(&object.location) else { continue };
            // Whoever goes from page to page would do so for ever.
            if last.is_some_and(|last| name <= last) {
                return Err(self.failed("list", "the bucket does not list what comes next in the order of its keys"));
            }
            last = Some(name);
            listed.push(Listed { name, bytes: object.size });
        }
        Ok(listed)
    }

    /// The segment that is kept under this key.
    fn segment(&self, key: &Path) -> Option<SegmentName> {
        let mut below = key.prefix_match(&self.folder)?;
        let name = below.next()?.as_ref().parse().ok()?;
        below.next().is_none().then_some(name)
    }

    fn failed(&self, verb: &'static str, error: impl Into<Box<dyn Error + Send + Sync>>) -> EngineError {
        failed(&self.name, verb, error.into())
    }
}

impl Engine for S3 {
    fn name(&self) -> &str {
        &self.name
    }

    fn domain(&self) -> &str {
        &self.domain
    }

    fn put(&self, name: SegmentName, segment: Bytes) -> BoxFuture<'_, Result<(), EngineError>> {
        async move {
            let put = self.bucket.put_opts(&self.key(name), segment.into(), PutOptions::default()).await;
            put.map(drop).map_err(|error| self.failed("put", error))
        }
        .boxed()
    }

    fn read(&self, name: SegmentName, range: Option<Range<u64>>) -> BoxFuture<'_, Result<Option<Bytes>, EngineError>> {
        async move {
            match range {
                Some(range) => self.read_range(name, range).await,
                None => {
                    let found = self.get(name, GetOptions::new()).await;
                    self.bytes(found.map_err(|error| self.failed("read", error))?).await
                }
            }
        }
        .boxed()
    }

    fn has(&self, name: SegmentName) -> BoxFuture<'_, Result<Option<u64>, EngineError>> {
        self.size(name, "find").boxed()
    }

    fn delete(&self, name: SegmentName) -> BoxFuture<'_, Result<(), EngineError>> {
        async move {
            let one = futures::stream::iter([Ok(self.key(name))]).boxed();
            let deleted = self.bucket.delete_stream(one).try_collect::<Vec<Path>>().await;
            unless_missing(deleted).map(drop).map_err(|error| self.failed("delete", error))
        }
        .boxed()
    }

    fn list(&self, after: Option<SegmentName>, most: usize) -> BoxFuture<'_, Result<Vec<Listed>, EngineError>> {
        self.list_segments(after, most).boxed()
    }

    fn mark(&self) -> BoxFuture<'_, Result<Option<Mark>, EngineError>> {
        self.marked("say whose it is").boxed()
    }

    fn set_mark(&self, mark: Mark) -> BoxFuture<'_, Result<Mark, EngineError>> {
        self.put_mark(mark).boxed()
    }

    fn space(&self) -> BoxFuture<'_, Result<Space, EngineError>> {
        std::future::ready(Ok(Space { free: UNBOUNDED, total: UNBOUNDED })).boxed()
    }
}

/// How requests are sent again.
fn retries() -> RetryConfig {
    RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_WITHIN, ..RetryConfig::default() }
}

fn unless_missing<T>(result: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn failed(engine: &str, verb: &'static str, error: Box<dyn Error + Send + Sync>) -> EngineError {
    EngineError { engine: engine.to_owned(), verb, trouble: trouble(&*error), source: error }
}

/// What is wrong, by what S3 or its connection has said, however deep that is wrapped.
fn trouble(error: &(dyn Error + 'static)) -> Trouble {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return refused.trouble();
        }
        if error.downcast_ref::<HttpError>().is_some_and(|error| error.kind() == HttpErrorKind::Timeout) {
            return Trouble::Slow;
        }
        next = error.source();
    }
    Trouble::Failed
}

impl Place {
    /// The bucket at this place.
    fn build(&self, builder: AmazonS3Builder) -> Result<object_store::aws::AmazonS3, EngineError> {
        let connector = Connector { is_near: self.is_near() };
        let said = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
        let mut said = said.iter().filter_map(|key| builder.get_config_value(key));
        if self.endpoint.is_none() && said.any(|endpoint| !endpoint.to_ascii_lowercase().starts_with("https://")) {
            let why = "the environment's endpoint is not https://: only a URL http://HOST/BUCKET is without TLS";
            return Err(failed(&self.name(), "open", why.into()));
        }
        let mut builder = builder.with_bucket_name(&self.bucket).with_http_connector(connector).with_retry(retries());
        builder = builder.with_allow_http(self.is_plain());
        if let Some(endpoint) = &self.endpoint {
            // It takes precedence over all that the environment may say of endpoints.
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
            builder = builder.with_virtual_hosted_style_request(false);
        }
        // Not every service has the other form of deletion.
        let built = builder.with_disable_bulk_delete(true).build();
        built.map_err(|error| failed(&self.name(), "open", error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_takes_too_long_is_slow() {
        let broken = |kind| {
            let error = HttpError::new(kind, std::io::Error::other("wrong"));
            trouble(&object_store::Error::Generic { store: "S3", source: error.into() })
        };
        assert_eq!(broken(HttpErrorKind::Timeout), Trouble::Slow);
        assert_eq!(broken(HttpErrorKind::Connect), Trouble::Failed);
    }
}
