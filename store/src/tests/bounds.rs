//! An upload holds a few segments in memory and a download less, however large the blob and however slow the other side.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use protocol::node::Mark;

use super::{EPOCH, SEGMENT, copies, noise, read_range};
use crate::engine::{Disk, EngineError};
use crate::{BLOB_SIZE_MAX, Engine, Listed, SegmentName, Space, Store};

const SEGMENTS: usize = 12;
const PIECE: usize = 400_000;
/// Segments on a way in, and parts on a way out, that may be in memory.
const HELD_MAX: usize = 4;
const PART: usize = 1 << 20;

/// A real disk that takes its time and counts.
struct Slow {
    disk: Disk,
    put_bytes: AtomicUsize,
    puts_now: AtomicUsize,
    puts_most: AtomicUsize,
    reads: AtomicUsize,
    read_bytes: AtomicUsize,
}

impl Engine for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn domain(&self) -> &str {
        "slow"
    }

    fn put(&self, name: SegmentName, segment: Bytes) -> BoxFuture<'_, Result<(), EngineError>> {
        async move {
            let now = self.puts_now.fetch_add(1, Ordering::SeqCst) + 1;
            self.puts_most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
            let length = segment.len();
            self.disk.put(name, segment).await?;
            self.put_bytes.fetch_add(length, Ordering::SeqCst);
            self.puts_now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
        .boxed()
    }

    fn read(&self, name: SegmentName, range: Option<Range<u64>>) -> BoxFuture<'_, Result<Option<Bytes>, EngineError>> {
        async move {
            self.reads.fetch_add(1, Ordering::SeqCst);
            let read = self.disk.read(name, range).await?;
            self.read_bytes.fetch_add(read.as_ref().map_or(0, Bytes::len), Ordering::SeqCst);
            Ok(read)
        }
        .boxed()
    }

    fn has(&self, name: SegmentName) -> BoxFuture<'_, Result<Option<u64>, EngineError>> {
        self.disk.has(name)
    }

    fn delete(&self, name: SegmentName) -> BoxFuture<'_, Result<(), EngineError>> {
        self.disk.delete(name)
    }

    fn list(&self, after: Option<SegmentName>, most: usize) -> BoxFuture<'_, Result<Vec<Listed>, EngineError>> {
        self.disk.list(after, most)
    }

    fn mark(&self) -> BoxFuture<'_, Result<Option<Mark>, EngineError>> {
        self.disk.mark()
    }

    fn set_mark(&self, mark: Mark) -> BoxFuture<'_, Result<Mark, EngineError>> {
        self.disk.set_mark(mark)
    }

    fn space(&self) -> BoxFuture<'_, Result<Space, EngineError>> {
        self.disk.space()
    }
}

fn ground() -> (tempfile::TempDir, Arc<Slow>, Store) {
    let folder = tempfile::tempdir().unwrap();
    let slow = Arc::new(Slow {
        disk: Disk::open(folder.path()).unwrap(),
        put_bytes: AtomicUsize::new(0),
        puts_now: AtomicUsize::new(0),
        puts_most: AtomicUsize::new(0),
        reads: AtomicUsize::new(0),
        read_bytes: AtomicUsize::new(0),
    });
    let store = Store::on(vec![Arc::clone(&slow) as Arc<dyn Engine>], copies(1));
    (folder, slow, store)
}

#[tokio::test]
async fn memory_is_bounded_both_ways() {
    let (_folder, slow, store) = ground();
    let all = noise(SEGMENTS * SEGMENT, 1);
    let engine = Arc::clone(&slow);
    let (mut given, mut held_most) = (0, 0_usize);
    let source = futures::stream::iter(all.chunks(PIECE).map(Bytes::copy_from_slice).collect::<Vec<_>>());
    let source = source.map(|piece| {
        held_most = held_most.max(usize::saturating_sub(given, engine.put_bytes.load(Ordering::SeqCst)));
        given += piece.len();
        Ok::<_, std::convert::Infallible>(piece)
    });
    let blob = store.put_stream(EPOCH, source, BLOB_SIZE_MAX).await.unwrap();
    assert!(held_most <= HELD_MAX * SEGMENT, "{held_most} bytes were held");
    assert_eq!(slow.puts_most.load(Ordering::SeqCst), 2, "segments were on their way at once");

    // All at once makes no difference to what is on its way.
    store.put_bytes(EPOCH, all.clone()).await.unwrap();
    assert_eq!(slow.puts_most.load(Ordering::SeqCst), 2);

    let mut object = store.get(&blob).await.unwrap();
    let mut taken = 0;
    while let Some(piece) = object.try_next().await.unwrap() {
        taken += piece.len();
        let ahead = slow.reads.load(Ordering::SeqCst).saturating_sub(taken / PART);
        assert!(ahead <= HELD_MAX, "{ahead} parts were read ahead");
    }
    assert_eq!((taken, slow.reads.load(Ordering::SeqCst)), (all.len(), 4 * SEGMENTS));
}

#[tokio::test]
async fn a_range_reads_the_chunks_that_it_is_in() {
    let (_folder, slow, store) = ground();
    let all = noise(3 * SEGMENT, 1);
    let blob = store.put_bytes(EPOCH, all.clone()).await.unwrap();
    let chunk = (64 << 10) + 16;
    let segment = SEGMENT as u64;
    for (range, reads, bytes) in [
        (0..0, 0, 0),
        (10..20, 1, 8 + chunk),
        (65_535..65_537, 1, 8 + 2 * chunk),
        (200_000..200_001, 1, chunk),
        (segment - 1..segment + 1, 2, chunk + 8 + chunk),
        (segment..2 * segment, 4, 8 + 64 * chunk),
    ] {
        slow.reads.store(0, Ordering::SeqCst);
        slow.read_bytes.store(0, Ordering::SeqCst);
        let read = read_range(&store, &blob, range.clone()).await.unwrap();
        let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
        assert!(read == all.slice(start..end), "{range:?}");
        assert_eq!(slow.reads.load(Ordering::SeqCst), reads, "{range:?}");
        assert_eq!(slow.read_bytes.load(Ordering::SeqCst), bytes, "{range:?}");
    }
}
