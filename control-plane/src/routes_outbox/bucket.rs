//! KV buckets: opened, made where they are surely missing, written without ever going back.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::context::{ContextBuilder, KeyValueErrorKind};
use async_nats::jetstream::kv::{Config, Operation, Store, UpdateErrorKind};
use async_nats::jetstream::stream::{DeleteMessageErrorKind, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use bytes::Bytes;
use futures::StreamExt as _;
use protocol::route::Route;

/// JetStream answers within this or the call is tried again.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why a bucket could not be used; all of it passes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BucketError(String);

impl BucketError {
    pub(crate) fn of(error: impl std::error::Error) -> Self {
        Self(error.to_string())
    }

    pub(super) fn lost() -> Self {
        Self("a bucket lost what was in it".to_owned())
    }
}

/// JetStream with our time-out.
pub(crate) fn context(client: &async_nats::Client) -> Context {
    ContextBuilder::new().timeout(TIMEOUT).build(client.clone())
}

/// Opens a bucket. Only where the server says that there is none it is made.
pub(crate) async fn open(context: &Context, name: &str, replicas: usize) -> Result<Store, BucketError> {
    match context.get_key_value(name).await {
        Ok(store) => Ok(store),
        Err(error) if error.kind() == KeyValueErrorKind::GetBucket && is_missing(&error) => {
            tracing::info!(bucket = name, "making the bucket");
            let config = Config {
                bucket: name.to_owned(),
                history: 1,
                num_replicas: replicas,
                storage: StorageType::File,
                ..Config::default()
            };
            context.create_key_value(config).await.map_err(BucketError::of)
        }
        Err(error) => Err(BucketError::of(error)),
    }
}

fn is_missing(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(cause) = cause.downcast_ref::<async_nats::jetstream::context::GetStreamError>() {
            let missing = |error: &async_nats::jetstream::Error| error.error_code() == ErrorCode::STREAM_NOT_FOUND;
            return matches!(
                cause.kind(),
                async_nats::jetstream::context::GetStreamErrorKind::JetStream(ref error) if missing(error)
            );
        }
        next = cause.source();
    }
    false
}

/// Puts a route, unless the bucket has this one or a newer one. Another publisher may do so at the same time.
pub(super) async fn put_route(store: &Store, key: &str, revision: u64, payload: Bytes) -> Result<(), BucketError> {
    loop {
        let entry = store.entry(key).await.map_err(BucketError::of)?;
        let there = entry.as_ref().and_then(|entry| serde_json::from_slice::<Route>(&entry.value).ok());
        if there.is_some_and(|route| route.revision >= revision) {
            return Ok(());
        }
        let last = entry.map_or(0, |entry| entry.revision);
        match store.update(key, payload.clone(), last).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
            Err(error) => return Err(BucketError::of(error)),
        }
    }
}

/// Puts a value, where it is not there already.
pub(super) async fn put_same(store: &Store, key: &str, payload: Bytes) -> Result<(), BucketError> {
    let there = store.get(key).await.map_err(BucketError::of)?;
    if there.as_ref() != Some(&payload) {
        store.put(key, payload).await.map_err(BucketError::of)?;
    }
    Ok(())
}

/// What tells one life of a bucket from the next, and how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    created: i128,
    last_sequence: u64,
}

impl Life {
    /// Whether the bucket now still has all that it had then.
    pub(super) fn goes_on(self, now: Self) -> bool {
        self.created == now.created && self.last_sequence <= now.last_sequence
    }
}

/// The bucket's life, from the server.
pub(super) async fn life(store: &Store) -> Result<Life, BucketError> {
    let info = store.stream.get_info().await.map_err(BucketError::of)?;
    Ok(Life { created: info.created.unix_timestamp_nanos(), last_sequence: info.state.last_sequence })
}

/// All keys.
pub(super) async fn keys(store: &Store) -> Result<Vec<String>, BucketError> {
    let mut found = Vec::new();
    let mut keys = store.keys().await.map_err(BucketError::of)?;
    while let Some(key) = keys.next().await {
        found.push(key.map_err(BucketError::of)?);
    }
    Ok(found)
}

/// Takes a key away.
pub(super) async fn delete(store: &Store, key: &str) -> Result<(), BucketError> {
    store.delete(key).await.map_err(BucketError::of)
}

/// A route in the bucket.
pub(super) struct There {
    /// The route's revision.
    pub(super) revision: u64,
    /// Where the bucket has it.
    sequence: u64,
    /// It is the end of a route.
    ended: bool,
}

/// All keys, and the route at each.
pub(super) async fn routes(store: &Store) -> Result<HashMap<String, There>, BucketError> {
    let mut found = HashMap::new();
    for key in keys(store).await? {
        let entry = store.entry(&key).await.map_err(BucketError::of)?;
        if let Some(entry) = entry.filter(|entry| entry.operation == Operation::Put) {
            let (revision, ended) = serde_json::from_slice::<Route>(&entry.value)
                .map_or((0, false), |route| (route.revision, route.deleted));
            found.insert(key, There { revision, sequence: entry.revision, ended });
        }
    }
    Ok(found)
}

impl There {
    /// Forgets it, where it is an end.
    pub(super) async fn forget_end(&self, store: &Store) -> Result<(), BucketError> {
        if self.ended { forget(store, self.sequence).await } else { Ok(()) }
    }
}

/// Forgets the end of a route that stands at this key.
pub(super) async fn forget_end(store: &Store, key: &str) -> Result<(), BucketError> {
    let Some(entry) = store.entry(key).await.map_err(BucketError::of)? else { return Ok(()) };
    let ended = serde_json::from_slice::<Route>(&entry.value).is_ok_and(|route| route.deleted);
    if ended { forget(store, entry.revision).await } else { Ok(()) }
}

/// Leaves nothing of it, unlike a deletion, which would leave a mark at the key. What was put there since stays.
async fn forget(store: &Store, sequence: u64) -> Result<(), BucketError> {
    match store.stream.delete_message(sequence).await {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            DeleteMessageErrorKind::JetStream(gone) if gone.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(()),
            _ => Err(BucketError::of(error)),
        },
    }
}
