//! A supervised copy of a KV bucket: read whole, then followed; read whole again when the watch ends or errs, when
//! somebody says that it is behind, and from time to time.
//!
//! ```text
//! open --> snapshot --complete--> follow --ended, error, behind, old--> open
//! ```

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, kv};
use futures::StreamExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A snapshot that pauses for so long is begun anew.
const SNAPSHOT_PAUSE_MAX: Duration = Duration::from_secs(3);
/// Watches have hung after server restarts: each is replaced after so long.
const WATCH_AGE_MAX: Duration = Duration::from_secs(60);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(1);
const JETSTREAM_TIMEOUT: Duration = Duration::from_secs(2);

/// What takes a bucket's content.
pub(crate) trait Sink: Send + Sync + 'static {
    /// A snapshot begins.
    fn begin(&self);
    /// A key has this value.
    fn put(&self, key: &str, value: &[u8]);
    /// A key is gone.
    fn remove(&self, key: &str);
    /// The snapshot is whole: what it did not name is gone.
    fn complete(&self);
}

/// Keeps `sink` like the bucket until `stop`; `behind` begins anew at once.
pub(crate) async fn mirror<S: Sink>(
    nats: async_nats::Client,
    bucket: &'static str,
    sink: Arc<S>,
    behind: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut jetstream = jetstream::new(nats);
    jetstream.set_timeout(JETSTREAM_TIMEOUT);
    let mut pause = RETRY_MIN;
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = follow(&jetstream, bucket, &*sink, &behind) => ended,
        };
        match ended {
            Ok(why) => {
                tracing::debug!(bucket, why, "reading the bucket anew");
                pause = RETRY_MIN;
            }
            Err(error) => {
                tracing::debug!(bucket, %error, "the bucket cannot be read");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

/// One watch, from its snapshot to its end; says why it ended.
async fn follow<S: Sink>(
    jetstream: &jetstream::Context,
    bucket: &str,
    sink: &S,
    behind: &Notify,
) -> anyhow::Result<&'static str> {
    let store: kv::Store = jetstream.get_key_value(bucket).await?;
    let replaced = tokio::time::Instant::now() + WATCH_AGE_MAX;
    sink.begin();
    // The count comes after the watch: what is written in between is followed, not missed.
    let mut watch = store.watch_with_history(">").await?;
    let mut whole = store.status().await?.values() == 0;
    if whole {
        sink.complete();
    }
    loop {
        let next = tokio::select! {
            next = watch.next() => next,
            () = behind.notified() => return Ok("behind"),
            () = tokio::time::sleep_until(replaced), if whole => return Ok("old"),
            () = tokio::time::sleep(SNAPSHOT_PAUSE_MAX), if !whole => anyhow::bail!("the snapshot does not come"),
        };
        let Some(entry) = next.transpose()? else { return Ok("ended") };
        match entry.operation {
            kv::Operation::Put => sink.put(&entry.key, &entry.value),
            kv::Operation::Delete | kv::Operation::Purge => sink.remove(&entry.key),
        }
        if !whole && entry.delta == 0 {
            whole = true;
            sink.complete();
        }
    }
}
