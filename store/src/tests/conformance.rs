//! What every engine must do: the suite runs on each of them, the real ones.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use proptest::prelude::*;
use protocol::node::Mark;
use protocol::{ByteSize, Digest, Epoch, StoreId};

use super::nats::NatsServer;
use super::nodes;
use super::{EPOCH, SEGMENT, copies, noise, pieces, read, read_range, segment};
use crate::engine::{Disk, JetStream, S3};
use crate::{BLOB_SIZE_MAX, Engine, Error, Listed, Piece, SegmentName, Store};

/// The largest segment, as it is kept.
const SEALED: usize = 4_195_336;

#[tokio::test(flavor = "multi_thread")]
async fn disk_conforms() {
    let folder = tempfile::tempdir().unwrap();
    suite(Arc::new(Disk::open(folder.path()).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_conforms() {
    let server = NatsServer::start();
    suite(Arc::new(JetStream::open(server.client().await, "blobs", 1).await.unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_conforms() {
    let ground = nodes::Ground::start().await;
    let node = ground.node("a").await;
    suite(Arc::new(ground.disk(&node).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms() {
    suite(Arc::new(S3::in_memory("s3://blobs/below"))).await;
}

/// The bucket that `CROWDCLOUD_TEST_S3` names (`https://HOST/BUCKET`), with credentials in the environment.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_bucket_conforms() {
    let Ok(url) = std::env::var("CROWDCLOUD_TEST_S3") else {
        eprintln!("SKIPPED: CROWDCLOUD_TEST_S3 names no bucket");
        return;
    };
    let begun = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let below = format!("{}/conformance-{begun}-{}", url.trim_end_matches('/'), std::process::id());
    suite(Arc::new(S3::at(&below).unwrap())).await;
}

async fn suite(engine: Arc<dyn Engine>) {
    segments_come_back(&*engine).await;
    ranges_come_back(&*engine).await;
    another_put_replaces(&*engine).await;
    names_are_listed_in_order(&*engine).await;
    the_first_mark_stays(&*engine).await;
    let space = engine.space().await.unwrap();
    assert!(space.free > 0 && space.free <= space.total);
    assert!(!engine.name().is_empty() && !engine.domain().is_empty());

    let store = Store::on(vec![Arc::clone(&engine)], copies(1));
    what_is_gone_is_missing(&store).await;
    uploads_that_fail_leave_no_blob(&store).await;
    equal_bytes_are_different_segments(&store, &*engine).await;
    tokio::task::spawn_blocking(move || any_chunking_comes_back(&store)).await.unwrap();
}

async fn segments_come_back(engine: &dyn Engine) {
    for (random, length) in
        [(1, 0), (2, 1), (3, 1000), (4, 256 << 10), (5, (256 << 10) + 1), (6, 512 << 10), (7, SEALED)]
    {
        let (name, bytes) = (segment(1, random, 0), noise(length, random));
        assert_eq!(engine.read(name, None).await.unwrap(), None);
        assert_eq!(engine.has(name).await.unwrap(), None);
        engine.delete(name).await.unwrap();
        engine.put(name, bytes.clone()).await.unwrap();
        assert!(engine.read(name, None).await.unwrap().unwrap() == bytes);
        assert_eq!(engine.has(name).await.unwrap(), Some(length as u64));
        assert_eq!(engine.has(segment(1, random, 1)).await.unwrap(), None, "another number is another segment");
        engine.delete(name).await.unwrap();
        assert_eq!(engine.read(name, None).await.unwrap(), None);
        assert_eq!(engine.has(name).await.unwrap(), None);
    }
}

async fn ranges_come_back(engine: &dyn Engine) {
    let name = segment(1, 8, 3);
    let bytes = noise(SEALED, 8);
    engine.put(name, bytes.clone()).await.unwrap();
    let piece = 256 << 10;
    for (start, end) in [
        (0, 0),
        (0, 1),
        (8, 65_560),
        (piece - 1, piece + 1),
        (piece, 2 * piece),
        (3 * piece + 7, 9 * piece + 1),
        (16 * piece - 5, SEALED),
        (16 * piece, 16 * piece + 9),
        (SEALED - 1, SEALED),
        (SEALED, SEALED),
        (0, SEALED),
    ] {
        let read = engine.read(name, Some(start as u64..end as u64)).await.unwrap().unwrap();
        assert!(read == bytes.slice(start..end), "{start}..{end}");
    }
    let cut = engine.read(name, Some(SEALED as u64 - 5..SEALED as u64 + 5)).await.unwrap().unwrap();
    assert_eq!(cut, bytes.slice(SEALED - 5..));
    assert_eq!(engine.read(name, Some(1 << 40..1 << 41)).await.unwrap().unwrap(), Bytes::new());
    engine.delete(name).await.unwrap();
    assert_eq!(engine.read(name, Some(0..1)).await.unwrap(), None);
}

async fn another_put_replaces(engine: &dyn Engine) {
    let name = segment(1, 9, 0);
    for (length, seed) in [(700_000, 1), (10, 2), (700_001, 3)] {
        engine.put(name, noise(length, seed)).await.unwrap();
        assert!(engine.read(name, None).await.unwrap().unwrap() == noise(length, seed));
        assert_eq!(engine.has(name).await.unwrap(), Some(length as u64));
    }
    let puts = (0..8).map(|_| engine.put(name, noise(300_000, 4)));
    futures::future::try_join_all(puts).await.unwrap();
    assert!(engine.read(name, None).await.unwrap().unwrap() == noise(300_000, 4));
    engine.delete(name).await.unwrap();
    assert!(engine.list(None, 10).await.unwrap().is_empty(), "nothing of what was there is left");
}

async fn names_are_listed_in_order(engine: &dyn Engine) {
    let mut names = Vec::new();
    for (epoch, random) in [(2, 0xff), (1, 0x20), (0x0100_0000, 0), (1, 0x10), (2, 0)] {
        for number in [1, 0, 0x10] {
            let name = segment(epoch, random, number);
            engine.put(name, noise(10 + number as usize, random)).await.unwrap();
            names.push(name);
        }
    }
    names.sort_unstable();
    for most in [1, 4, 15, 100] {
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = engine.list(after, most).await.unwrap();
            assert!(page.iter().all(|listed| listed.bytes == 10 + u64::from(listed.name.number)));
            seen.extend(page.iter().map(|listed| listed.name));
            if page.len() < most {
                break;
            }
            after = seen.last().copied();
        }
        assert_eq!(seen, names, "{most} at once");
    }
    let first = SegmentName { number: 0, ..names[0] };
    let between = SegmentName { number: 5, ..first };
    let of_number = |number| Listed { name: SegmentName { number, ..first }, bytes: 10 + u64::from(number) };
    assert_eq!(engine.list(Some(between), 1).await.unwrap(), [of_number(0x10)], "after what is not there");
    engine.delete(names[0]).await.unwrap();
    assert_eq!(engine.list(None, 1).await.unwrap(), [of_number(1)]);
    for name in &names {
        engine.delete(*name).await.unwrap();
    }
    assert!(engine.list(None, 10).await.unwrap().is_empty());
}

async fn the_first_mark_stays(engine: &dyn Engine) {
    assert_eq!(engine.mark().await.unwrap(), None);
    // In a bucket the last of several has it.
    let at_once = if engine.name().starts_with("s3 ") { 1 } else { 4 };
    let ids: Vec<_> = (0..at_once).map(|_| Mark::new(StoreId::new())).collect();
    let marks = futures::future::try_join_all(ids.iter().map(|id| engine.set_mark(*id))).await.unwrap();
    assert!(ids.contains(&marks[0]) && marks.iter().all(|mark| *mark == marks[0]), "{marks:?}");
    assert_eq!(engine.set_mark(Mark::new(StoreId::new())).await.unwrap(), marks[0]);
    assert_eq!(engine.mark().await.unwrap(), Some(marks[0]));
    assert!(engine.list(None, 10).await.unwrap().is_empty(), "it is no segment");
}

async fn what_is_gone_is_missing(store: &Store) {
    let bytes = noise(2 * SEGMENT + 1, 3);
    let blob = store.put_bytes(EPOCH, bytes.clone()).await.unwrap();
    assert_eq!((blob.id.epoch(), blob.size, blob.digest), (EPOCH, ByteSize(bytes.len() as u64), Digest::of(&bytes)));

    // A blob that lost a segment fails in its stream, and hands nothing wrong out.
    store.delete_segment(SegmentName { blob: blob.id, number: 1 }).await.unwrap();
    let mut object = store.get(&blob).await.unwrap();
    let mut read_so_far = Vec::new();
    let error = loop {
        match object.try_next().await {
            Ok(piece) => read_so_far.extend_from_slice(&piece.unwrap()),
            Err(error) => break error,
        }
    };
    assert!(read_so_far == bytes[..SEGMENT]);
    assert!(matches!(error, Error::Missing { piece: Piece::Segment(name) } if name.number == 1), "{error}");
    assert!(object.try_next().await.unwrap().is_none(), "it has ended");

    store.delete(blob.id, blob.size).await.unwrap();
    store.delete(blob.id, blob.size).await.unwrap();
    assert!(matches!(store.get(&blob).await, Err(Error::Missing { .. })));
    assert!(matches!(store.range(&blob, 1..2).await, Err(Error::Missing { .. })));
    assert!(store.list(None, 10).await.unwrap().is_empty());
}

async fn uploads_that_fail_leave_no_blob(store: &Store) {
    let bytes = noise(300_000, 8);
    let limit = ByteSize(bytes.len() as u64);
    let below = ByteSize(limit.0 - 1);
    let refused = store.put_stream(EPOCH, pieces(bytes.clone(), vec![100_000; 2]), below).await;
    assert!(matches!(refused, Err(Error::TooLarge { max }) if max == below));
    let breaks = pieces(bytes.clone(), vec![100_000; 2]).map_err(|never| match never {});
    let breaks = futures::StreamExt::chain(breaks, futures::stream::iter([Err("the caller went away")]));
    assert!(matches!(store.put_stream(EPOCH, breaks, BLOB_SIZE_MAX).await, Err(Error::Source(_))));
    assert!(store.list(None, 10).await.unwrap().is_empty());
    let fits = store.put_stream(EPOCH, pieces(bytes, vec![]), limit).await.unwrap();
    assert_eq!(fits.size, limit);
    assert!(matches!(store.get(&fits).await.unwrap().collect(below).await, Err(Error::TooLarge { .. })));
    store.delete(fits.id, fits.size).await.unwrap();
}

async fn equal_bytes_are_different_segments(store: &Store, engine: &dyn Engine) {
    let bytes = noise(50_000, 2);
    let puts = (0..8).map(|epoch| store.put_bytes(Epoch(epoch), bytes.clone()));
    let blobs = futures::future::try_join_all(puts).await.unwrap();
    let mut kept = Vec::new();
    for blob in &blobs {
        let segment = engine.read(SegmentName { blob: blob.id, number: 0 }, None).await.unwrap().unwrap();
        assert!(!kept.contains(&segment));
        kept.push(segment);
    }
    let listed = store.list(None, 10).await.unwrap();
    assert!(listed.iter().map(|listed| listed.name.blob).eq(blobs.iter().map(|blob| blob.id)), "by their epochs");

    // One that is deleted takes nothing of another with it.
    store.delete(blobs[0].id, blobs[0].size).await.unwrap();
    assert!(matches!(read(store, &blobs[0]).await, Err(Error::Missing { .. })));
    for blob in &blobs[1..] {
        assert!(read(store, blob).await.unwrap() == bytes);
        assert!(store.check(blob).await.iter().all(crate::CopyState::is_whole));
    }
}

/// However the bytes arrive, the same bytes come back, whole and in ranges.
fn any_chunking_comes_back(store: &Store) {
    let handle = tokio::runtime::Handle::current();
    let sizes = prop::collection::vec(prop_oneof![0..10_usize, 0..300_000_usize], 0..8);
    let lengths = prop_oneof![0..3_usize, Just(64 << 10), Just(SEGMENT), Just(SEGMENT + 1), 0..900_000_usize];
    let config = ProptestConfig::with_cases(24);
    proptest!(config, |(length in lengths, seed: u8, sizes in sizes, ends: (prop::sample::Index, prop::sample::Index))| {
        let bytes = noise(length, seed);
        let (a, b) = (ends.0.index(length + 1), ends.1.index(length + 1));
        let (start, end) = (a.min(b), a.max(b));
        handle.block_on(async {
            let blob = store.put_stream(EPOCH, pieces(bytes.clone(), sizes), BLOB_SIZE_MAX).await.unwrap();
            assert_eq!((blob.digest, blob.size), (Digest::of(&bytes), ByteSize(length as u64)));
            let object = store.get(&blob).await.unwrap();
            assert_eq!((object.digest(), object.size()), (blob.digest, blob.size));
            assert!(object.collect(BLOB_SIZE_MAX).await.unwrap() == bytes);
            let range = read_range(store, &blob, start as u64..end as u64).await.unwrap();
            assert!(range == bytes.slice(start..end));
            store.delete(blob.id, blob.size).await.unwrap();
        });
    });
}
