//! An upload and a download hold a few chunks in memory, however large the object and however slow the other side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use protocol::Digest;

use super::noise;
use crate::engine::{Disk, EngineError};
use crate::{CHUNK_SIZE_MAX, Engine, OBJECT_SIZE_MAX, Store};

const CHUNKS: usize = 64;
const PIECE: usize = 40_000;
/// Chunks that may be in memory on a way in or out.
const HELD_MAX: usize = 6;

/// A real disk that takes its time and counts.
struct Slow {
    disk: Disk,
    put_bytes: AtomicUsize,
    reads: AtomicUsize,
}

impl Engine for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn put(&self, digest: Digest, chunk: Bytes) -> BoxFuture<'_, Result<(), EngineError>> {
        async move {
            tokio::time::sleep(Duration::from_millis(3)).await;
            let length = chunk.len();
            self.disk.put(digest, chunk).await?;
            self.put_bytes.fetch_add(length, Ordering::SeqCst);
            Ok(())
        }
        .boxed()
    }

    fn read(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Bytes>, EngineError>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.disk.read(digest)
    }

    fn has(&self, digest: Digest) -> BoxFuture<'_, Result<bool, EngineError>> {
        self.disk.has(digest)
    }

    fn delete(&self, digest: Digest) -> BoxFuture<'_, Result<(), EngineError>> {
        self.disk.delete(digest)
    }
}

#[tokio::test]
async fn memory_is_bounded_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path()).unwrap();
    let slow = Arc::new(Slow { disk, put_bytes: AtomicUsize::new(0), reads: AtomicUsize::new(0) });
    let store = Store::on(vec![Arc::clone(&slow) as Arc<dyn Engine>]);

    let all = noise(CHUNKS * CHUNK_SIZE_MAX, 1);
    let engine = Arc::clone(&slow);
    let (mut given, mut held_most) = (0, 0);
    let source = futures::stream::iter(all.chunks(PIECE).map(Bytes::copy_from_slice).collect::<Vec<_>>());
    let source = source.map(|piece| {
        held_most = held_most.max(given - engine.put_bytes.load(Ordering::SeqCst));
        given += piece.len();
        Ok::<_, std::convert::Infallible>(piece)
    });
    let stored = store.put_stream(source, OBJECT_SIZE_MAX).await.unwrap();
    assert!(held_most <= HELD_MAX * CHUNK_SIZE_MAX, "{held_most} bytes were held");
    assert!(held_most > CHUNK_SIZE_MAX, "several chunks are on their way at once");

    let mut object = store.get(stored.root).await.unwrap();
    slow.reads.store(0, Ordering::SeqCst);
    for taken in 1..=CHUNKS {
        assert!(object.try_next().await.unwrap().is_some());
        tokio::time::sleep(Duration::from_millis(1)).await;
        let ahead = slow.reads.load(Ordering::SeqCst) - taken;
        assert!(ahead <= HELD_MAX, "{ahead} chunks were read ahead");
    }
    assert!(object.try_next().await.unwrap().is_none());
}
