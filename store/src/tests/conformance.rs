//! What every engine must do: the suite runs on each of them, the real ones.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use proptest::prelude::*;
use protocol::{ByteSize, Digest};

use super::nats::NatsServer;
use super::{noise, pieces};
use crate::engine::{Disk, JetStream};
use crate::{CHUNK_SIZE_MAX, ChunkRef, Engine, Error, Manifest, OBJECT_SIZE_MAX, Store};

#[tokio::test(flavor = "multi_thread")]
async fn disk_conforms() {
    let folder = tempfile::tempdir().unwrap();
    suite(Arc::new(Disk::open(folder.path()).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_conforms() {
    let server = NatsServer::start();
    suite(Arc::new(JetStream::open(server.client().await, "chunks", 1).await.unwrap())).await;
}

async fn suite(engine: Arc<dyn Engine>) {
    let store = Store::on(vec![Arc::clone(&engine)]);
    chunks_come_back(&store).await;
    equal_chunks_are_one(&store).await;
    what_is_gone_is_missing(&store).await;
    damage_is_seen_and_healed(&store, &*engine).await;
    a_wrong_object_is_seen(&store).await;
    uploads_that_fail_leave_no_object(&store).await;
    tokio::task::spawn_blocking(move || any_chunking_comes_back(&store)).await.unwrap();
}

async fn chunks_come_back(store: &Store) {
    for length in [0, 1, 1000, CHUNK_SIZE_MAX] {
        let chunk = noise(length, 1);
        let digest = store.put(chunk.clone()).await.unwrap();
        assert_eq!(digest, Digest::of(&chunk));
        assert!(store.has(digest).await.unwrap());
        assert_eq!(store.get_chunk(digest).await.unwrap(), chunk);
    }
    let too_large = store.put(noise(CHUNK_SIZE_MAX + 1, 1)).await;
    assert!(matches!(too_large, Err(Error::ChunkTooLarge { .. })));
}

async fn equal_chunks_are_one(store: &Store) {
    let chunk = noise(50_000, 2);
    let puts = (0..32).map(|_| store.put(chunk.clone()));
    let digests = futures::future::try_join_all(puts).await.unwrap();
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    store.delete(digests[0]).await.unwrap();
    assert!(!store.has(digests[0]).await.unwrap());
}

async fn what_is_gone_is_missing(store: &Store) {
    let digest = Digest::of(b"never stored");
    assert!(!store.has(digest).await.unwrap());
    assert!(matches!(store.get_chunk(digest).await, Err(Error::Missing { .. })));
    assert!(matches!(store.get(digest).await, Err(Error::Missing { .. })));
    store.delete(digest).await.unwrap();

    // An object that lost a chunk fails in its stream, and hands nothing wrong out.
    let bytes = noise(3 * CHUNK_SIZE_MAX, 3);
    let stored = store.put_bytes(bytes.clone()).await.unwrap();
    store.delete(store.manifest(stored.root).await.unwrap().chunks[1].digest).await.unwrap();
    let mut object = store.get(stored.root).await.unwrap();
    assert_eq!(object.try_next().await.unwrap().unwrap(), bytes.slice(..CHUNK_SIZE_MAX));
    assert!(matches!(object.try_next().await, Err(Error::Missing { .. })));
    assert!(object.try_next().await.unwrap().is_none(), "it has ended");
}

/// A flipped bit, a cut and a foreign chunk: all are noticed by the next read, and putting the chunk again heals it.
async fn damage_is_seen_and_healed(store: &Store, engine: &dyn Engine) {
    let chunk = noise(10_000, 4);
    let digest = store.put(chunk.clone()).await.unwrap();
    let mut flipped = chunk.to_vec();
    flipped[5_000] ^= 1;
    for damaged in [Bytes::from(flipped), chunk.slice(..9_999), noise(10_000, 5), Bytes::new()] {
        engine.put(digest, damaged).await.unwrap();
        let read = store.get_chunk(digest).await;
        assert!(matches!(read, Err(Error::Corrupt { engine: name, .. }) if name == engine.name()), "{read:?}");
        store.put(chunk.clone()).await.unwrap();
        assert_eq!(store.get_chunk(digest).await.unwrap(), chunk);
    }
}

/// Right chunks in a wrong order, a wrong length, or no manifest at all.
async fn a_wrong_object_is_seen(store: &Store) {
    let (a, b) = (noise(1_000, 6), noise(1_000, 7));
    let refs = [store.put(a.clone()).await.unwrap(), store.put(b.clone()).await.unwrap()]
        .map(|digest| ChunkRef { digest, length: 1_000 });
    let digest = Digest::of(&[a, b].concat());
    let put = async |chunks: Vec<ChunkRef>, size| {
        let manifest = Manifest { digest, size: ByteSize(size), chunks };
        store.put(manifest.to_bytes()).await.unwrap()
    };
    let read = async |root| store.get(root).await?.collect(OBJECT_SIZE_MAX).await;

    let right = put(refs.to_vec(), 2_000).await;
    assert_eq!(Digest::of(&read(right).await.unwrap()), digest);
    let swapped = put(vec![refs[1], refs[0]], 2_000).await;
    assert!(matches!(read(swapped).await, Err(Error::CorruptObject { root }) if root == swapped));
    let short = put(vec![refs[0], ChunkRef { length: 999, ..refs[1] }], 1_999).await;
    assert!(matches!(read(short).await, Err(Error::CorruptObject { .. })));
    let cut = put(vec![refs[0]], 1_000).await;
    assert!(matches!(read(cut).await, Err(Error::CorruptObject { .. })));
    assert!(matches!(read(refs[0].digest).await, Err(Error::NotAManifest { .. })));
    assert!(matches!(store.get(right).await.unwrap().collect(ByteSize(1_999)).await, Err(Error::TooLarge { .. })));
}

async fn uploads_that_fail_leave_no_object(store: &Store) {
    let bytes = noise(2 * CHUNK_SIZE_MAX + 10, 8);
    let root_of_all = {
        let stored = store.put_bytes(bytes.clone()).await.unwrap();
        store.delete(stored.root).await.unwrap();
        stored.root
    };
    let limit = ByteSize(bytes.len() as u64);
    let below = ByteSize(limit.0 - 1);
    let refused = store.put_stream(pieces(bytes.clone(), vec![100_000; 3]), below).await;
    assert!(matches!(refused, Err(Error::TooLarge { max }) if max == below));
    let breaks = pieces(bytes.clone(), vec![100_000; 3]).map_err(|never| match never {});
    let breaks = futures::StreamExt::chain(breaks, futures::stream::iter([Err("the caller went away")]));
    assert!(matches!(store.put_stream(breaks, OBJECT_SIZE_MAX).await, Err(Error::Source(_))));
    assert!(!store.has(root_of_all).await.unwrap(), "no manifest without the whole upload");
    let fits = store.put_stream(pieces(bytes, vec![]), limit).await.unwrap();
    assert_eq!((fits.root, fits.size), (root_of_all, limit));
}

/// However the bytes arrive, the same bytes come back, under the same address.
fn any_chunking_comes_back(store: &Store) {
    let handle = tokio::runtime::Handle::current();
    let sizes = prop::collection::vec(prop_oneof![0..10_usize, 0..300_000_usize], 0..8);
    let lengths = prop_oneof![0..3_usize, Just(CHUNK_SIZE_MAX), Just(2 * CHUNK_SIZE_MAX), 0..900_000_usize];
    proptest!(ProptestConfig::with_cases(24), |(length in lengths, seed: u8, sizes in sizes)| {
        let bytes = noise(length, seed);
        handle.block_on(async {
            let stored = store.put_stream(pieces(bytes.clone(), sizes), OBJECT_SIZE_MAX).await.unwrap();
            assert_eq!(stored.digest, Digest::of(&bytes));
            assert_eq!(stored.size, ByteSize(length as u64));
            assert_eq!(store.put_bytes(bytes.clone()).await.unwrap(), stored);
            let object = store.get(stored.root).await.unwrap();
            assert_eq!((object.digest(), object.size()), (stored.digest, stored.size));
            assert!(object.collect(OBJECT_SIZE_MAX).await.unwrap() == bytes);
        });
    });
}
