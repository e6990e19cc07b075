//! A stream of JetStream that has one message for each subject, read by direct get.

use std::time::{Duration, Instant};

use async_nats::jetstream::context::{GetStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DirectGetErrorKind, LastRawMessageErrorKind, Stream};
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use futures::TryStreamExt as _;

use super::{EngineError, Space, Trouble};

/// How long JetStream may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// After a server's death the others choose a leader first: replicas are asked again for so long.
const ELECTION_MAX: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_millis(150);

/// What JetStream says where an account, a server or a stream has no room.
const FULL: [ErrorCode; 4] = [
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::INSUFFICIENT_RESOURCES,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    ErrorCode::STREAM_STORE_FAILED,
];

/// Messages by their subjects.
pub(crate) struct Bucket {
    /// In errors and logs.
    name: String,
    context: jetstream::Context,
    stream: Stream,
    replicas: usize,
}

impl Bucket {
    /// The stream of this name; none where JetStream says that there is none.
    pub(crate) async fn find(client: async_nats::Client, stream: &str) -> Result<Option<Self>, EngineError> {
        let name = format!("jetstream {stream}");
        let context = context(client);
        match context.get_stream(stream).await {
            Ok(stream) => Ok(Some(Self::of(name, context, stream))),
            Err(error) if is_missing(error.kind()) => Ok(None),
            Err(error) => Err(failed(&name, "open", error)),
        }
    }

    /// Makes the stream.
    pub(crate) async fn make(client: async_nats::Client, config: Config) -> Result<Self, EngineError> {
        let name = format!("jetstream {}", config.name);
        let context = context(client);
        let stream = context.create_stream(config).await.map_err(|error| failed(&name, "open", error))?;
        Ok(Self::of(name, context, stream))
    }

    fn of(name: String, context: jetstream::Context, stream: Stream) -> Self {
        let replicas = stream.cached_info().config.num_replicas;
        Self { name, context, stream, replicas }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How the stream was when it was opened.
    pub(crate) fn config(&self) -> &Config {
        &self.stream.cached_info().config
    }

    /// How many messages there are now; none where somebody has removed the stream.
    pub(crate) async fn messages(&self) -> Result<u64, EngineError> {
        match self.stream.get_info().await {
            Ok(info) => Ok(info.state.messages),
            Err(error) if said(&error).is_some_and(|said| said.error_code() == ErrorCode::STREAM_NOT_FOUND) => Ok(0),
            Err(error) => Err(self.failed("count", error)),
        }
    }

    /// Asks again while a cluster has no leader. What is asked must be harmless to do twice.
    pub(crate) async fn patiently<T, F>(&self, ask: impl Fn() -> F) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let until = Instant::now() + ELECTION_MAX;
        loop {
            match ask().await {
                Err(error) if self.replicas > 1 && error.trouble != Trouble::Full && Instant::now() < until => {
                    tracing::debug!(%error, "asking again");
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    pub(crate) async fn put(&self, subject: String, payload: Bytes) -> Result<(), EngineError> {
        let ack = self.context.publish(subject, payload).await.map_err(|error| self.failed("put", error))?;
        ack.await.map_err(|error| self.failed("put", error))?;
        Ok(())
    }

    /// Puts a message, unless there is one under its subject.
    pub(crate) async fn put_first(&self, subject: String, payload: Bytes) -> Result<(), EngineError> {
        let message = PublishMessage::build().payload(payload).expected_last_subject_sequence(0);
        let put = async { self.context.send_publish(subject, message).await?.await };
        match put.await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(()),
            Err(error) => Err(self.failed("put", error)),
        }
    }

    pub(crate) async fn read(&self, subject: String) -> Result<Option<Bytes>, EngineError> {
        match self.stream.direct_get_last_for_subject(subject.clone()).await {
            Ok(message) => return Ok(Some(message.payload)),
            Err(error) if error.kind() != DirectGetErrorKind::NotFound => return Err(self.failed("read", error)),
            Err(_) => {}
        }
        if self.replicas == 1 {
            return Ok(None);
        }
        // A replica that lags has answered; the leader knows.
        match self.stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => Ok(Some(message.payload)),
            Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => Ok(None),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    pub(crate) async fn delete(&self, subjects: String) -> Result<(), EngineError> {
        self.stream.purge().filter(subjects).await.map_err(|error| self.failed("delete", error))?;
        Ok(())
    }

    /// Shows each subject that matches, in no order.
    pub(crate) async fn subjects(&self, matching: String, mut see: impl FnMut(&str)) -> Result<(), EngineError> {
        let subjects = self.stream.info_with_subjects(matching).await;
        let mut subjects = subjects.map_err(|error| self.failed("list", error))?;
        while let Some((subject, _)) = subjects.try_next().await.map_err(|error| self.failed("list", error))? {
            see(&subject);
        }
        Ok(())
    }

    /// Of the account; without end where it has no limit.
    pub(crate) async fn space(&self) -> Result<Space, EngineError> {
        let account = self.context.query_account().await.map_err(|error| self.failed("measure", error))?;
        let total = account.limits.max_storage.and_then(|most| u64::try_from(most).ok()).unwrap_or(u64::MAX);
        Ok(Space { free: total.saturating_sub(account.storage), total })
    }

    /// Deletes the stream with all that is in it, unless somebody has already done so.
    pub(crate) async fn remove(&self) -> Result<(), EngineError> {
        match self.context.delete_stream(&self.stream.cached_info().config.name).await {
            Ok(_) => Ok(()),
            Err(error) if is_missing(error.kind()) => Ok(()),
            Err(error) => Err(self.failed("delete", error)),
        }
    }

    fn failed(&self, verb: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> EngineError {
        failed(&self.name, verb, error)
    }
}

fn context(client: async_nats::Client) -> jetstream::Context {
    let mut context = jetstream::new(client);
    context.set_timeout(ANSWER_WITHIN);
    context
}

fn is_missing(kind: GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// What JetStream has said, where it was asked.
fn said<E: std::error::Error>(error: &E) -> Option<&jetstream::Error> {
    error.source().and_then(|source| source.downcast_ref())
}

fn failed<E>(engine: &str, verb: &'static str, error: E) -> EngineError
where
    E: std::error::Error + Send + Sync + 'static,
{
    let full = said(&error).is_some_and(|said| FULL.contains(&said.error_code()));
    let trouble = if full { Trouble::Full } else { Trouble::Failed };
    EngineError { engine: engine.to_owned(), verb, trouble, source: error.into() }
}
