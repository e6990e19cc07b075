//! The `jetstream` engine: one stream, one message for each chunk, on a subject of its own, read by direct get.
//!
//! The stream keeps one message for each subject, so putting a chunk again replaces it and never adds.

use std::time::{Duration, Instant};

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{
    Config, DirectGetErrorKind, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use fabric::subjects;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryStreamExt as _};
use protocol::Digest;

use super::{Engine, EngineError};
use crate::CHUNK_SIZE_MAX;

const NAME: &str = "jetstream";

/// How long JetStream may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// After a server's death the others choose a leader first: replicas are asked again for so long.
const ELECTION_MAX: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_millis(150);

/// Chunks in a stream.
pub struct JetStream {
    context: jetstream::Context,
    stream: Stream,
    bucket: String,
    replicas: usize,
}

impl JetStream {
    /// Opens the bucket, or makes it with so many replicas. A bucket that cannot be opened is never made anew: only
    /// one that JetStream says is not there.
    ///
    /// # Errors
    /// When JetStream does not answer or refuses.
    pub async fn open(client: async_nats::Client, bucket: &str, replicas: usize) -> Result<Self, EngineError> {
        let mut context = jetstream::new(client);
        context.set_timeout(ANSWER_WITHIN);
        let stream = match context.get_stream(bucket).await {
            Ok(stream) => stream,
            Err(error) if is_missing(error.kind()) => {
                context.create_stream(config(bucket, replicas)).await.map_err(failed("open"))?
            }
            Err(error) => return Err(failed("open")(error)),
        };
        Ok(Self { context, stream, bucket: bucket.to_owned(), replicas })
    }

    fn subject(&self, digest: Digest) -> String {
        subjects::chunk(&self.bucket, digest)
    }

    /// Asks again while a cluster has no leader. What is asked must be harmless to do twice.
    async fn patiently<T, F>(&self, ask: impl Fn() -> F) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let until = Instant::now() + ELECTION_MAX;
        loop {
            match ask().await {
                Err(error) if self.replicas > 1 && Instant::now() < until => {
                    tracing::debug!(%error, "asking again");
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    async fn put_chunk(&self, digest: Digest, chunk: Bytes) -> Result<(), EngineError> {
        let ack = self.context.publish(self.subject(digest), chunk).await.map_err(failed("put"))?;
        ack.await.map_err(failed("put"))?;
        Ok(())
    }

    async fn read_chunk(&self, digest: Digest) -> Result<Option<Bytes>, EngineError> {
        match self.stream.direct_get_last_for_subject(self.subject(digest)).await {
            Ok(message) => return Ok(Some(message.payload)),
            Err(error) if error.kind() != DirectGetErrorKind::NotFound => return Err(failed("read")(error)),
            Err(_) => {}
        }
        if self.replicas == 1 {
            return Ok(None);
        }
        // A replica that lags has answered; the leader knows.
        match self.stream.get_last_raw_message_by_subject(&self.subject(digest)).await {
            Ok(message) => Ok(Some(message.payload)),
            Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => Ok(None),
            Err(error) => Err(failed("read")(error)),
        }
    }

    async fn has_chunk(&self, digest: Digest) -> Result<bool, EngineError> {
        let mut subjects = self.stream.info_with_subjects(self.subject(digest)).await.map_err(failed("find"))?;
        Ok(subjects.try_next().await.map_err(failed("find"))?.is_some())
    }
}

impl Engine for JetStream {
    fn name(&self) -> &'static str {
        NAME
    }

    fn put(&self, digest: Digest, chunk: Bytes) -> BoxFuture<'_, Result<(), EngineError>> {
        async move { self.patiently(|| self.put_chunk(digest, chunk.clone())).await }.boxed()
    }

    fn read(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Bytes>, EngineError>> {
        self.patiently(move || self.read_chunk(digest)).boxed()
    }

    fn has(&self, digest: Digest) -> BoxFuture<'_, Result<bool, EngineError>> {
        self.patiently(move || self.has_chunk(digest)).boxed()
    }

    fn delete(&self, digest: Digest) -> BoxFuture<'_, Result<(), EngineError>> {
        async move {
            self.stream.purge().filter(self.subject(digest)).await.map_err(failed("delete"))?;
            Ok(())
        }
        .boxed()
    }
}

fn config(bucket: &str, replicas: usize) -> Config {
    Config {
        name: bucket.to_owned(),
        description: Some("content-addressed chunks".to_owned()),
        subjects: vec![subjects::chunks(bucket)],
        storage: StorageType::File,
        num_replicas: replicas,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_messages_per_subject: 1,
        max_message_size: i32::try_from(CHUNK_SIZE_MAX).unwrap_or(i32::MAX),
        allow_direct: true,
        ..Config::default()
    }
}

fn is_missing(kind: GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(verb: &'static str) -> impl FnOnce(E) -> EngineError {
    move |error| EngineError { engine: NAME, verb, source: error.into() }
}
