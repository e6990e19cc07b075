//! The `s3` engine: an object for each segment, `[<prefix>/]blobs/<name>`, in a bucket of any service that speaks S3.
//!
//! A put is all of an object or nothing, and is seen by the next read: S3 promises both. Its lists are in the order of keys.

mod client;
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
use object_store::{GetOptions, GetResult, ObjectStore, PutMode, PutOptions, RetryConfig};
use protocol::node::Mark;

use super::{Engine, EngineError, Listed, Space, Trouble};
use crate::SegmentName;
use client::{Connector, Refused};
use place::Place;

/// The folder of segments in a bucket, or below its prefix.
const FOLDER: &str = "blobs";
/// The object that says whose the segments are.
const MARK: &str = "store.id";

/// A bucket whose URL says nothing usable: somebody may have written a secret into it, so that it is not shown.
const UNNAMED: &str = "s3";

/// What a bucket is said to have room for: S3 says nothing of it, and what is added up must not overflow.
const UNBOUNDED: u64 = 1 << 60;

/// A request is sent again so often, for so long: the store asks another engine soon.
const RETRIES_MAX: usize = 3;
const RETRY_WITHIN: Duration = Duration::from_secs(10);

/// What says in the environment who we are. Without any of them the machine's own role would be asked for, over its network.
const CREDENTIALS: [AmazonS3ConfigKey; 4] = [
    AmazonS3ConfigKey::AccessKeyId,
    AmazonS3ConfigKey::WebIdentityTokenFile,
    AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    AmazonS3ConfigKey::ContainerCredentialsFullUri,
];

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
    /// When the URL names no bucket, or the environment has no credentials.
    pub fn at(url: &str) -> Result<Self, EngineError> {
        let builder = AmazonS3Builder::from_env();
        if CREDENTIALS.iter().all(|key| builder.get_config_value(key).is_none()) {
            let why = "the environment has no credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)";
            return Err(failed(UNNAMED, "open", why.into()));
        }
        Self::with(builder, url)
    }

    /// The same, with these settings beside the URL's.
    pub(crate) fn with(builder: AmazonS3Builder, url: &str) -> Result<Self, EngineError> {
        let place = Place::parse(url).map_err(|why| failed(UNNAMED, "open", why.into()))?;
        Ok(Self::on(Arc::new(place.build(builder)?), &place))
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
        let text = found.bytes().await.map_err(|error| self.failed(verb, error))?;
        let text = String::from_utf8_lossy(&text);
        text.parse().map(Some).map_err(|error: protocol::ParseIdError| self.failed(verb, error))
    }

    async fn put_mark(&self, mark: Mark) -> Result<Mark, EngineError> {
        let verb = "be marked";
        let made = self.bucket.put_opts(&self.mark, mark.to_string().into(), PutMode::Create.into()).await;
        // There is one, or the service cannot refuse to replace an object: then the last one of several has it.
        if made.is_err() && self.marked(verb).await?.is_none() {
            let put = self.bucket.put_opts(&self.mark, mark.to_string().into(), PutOptions::default()).await;
            put.map_err(|error| self.failed(verb, error))?;
        }
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
        found.bytes().await.map(Some).map_err(|error| self.failed("read", error))
    }

    async fn list_segments(&self, after: Option<SegmentName>, most: usize) -> Result<Vec<Listed>, EngineError> {
        let objects = match after {
            Some(after) => self.bucket.list_with_offset(Some(&self.folder), &self.key(after)),
            None => self.bucket.list(Some(&self.folder)),
        };
        // What has another name is somebody else's.
        let segments = objects.try_filter_map(|object| {
            let name = object.location.filename().and_then(|name| name.parse::<SegmentName>().ok());
            std::future::ready(Ok(name.map(|name| Listed { name, bytes: object.size })))
        });
        let listed: Vec<Listed> =
            segments.take(most).try_collect().await.map_err(|error| self.failed("list", error))?;
        if !listed.is_sorted_by(|one, next| one.name < next.name) {
            return Err(self.failed("list", "the bucket does not list in the order of its keys"));
        }
        Ok(listed)
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
        let mut builder = builder.with_bucket_name(&self.bucket).with_http_connector(connector).with_retry(retries());
        if let Some(endpoint) = &self.endpoint {
            // It takes precedence over all that the environment may say of endpoints.
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
            builder = builder.with_virtual_hosted_style_request(false).with_allow_http(true);
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
