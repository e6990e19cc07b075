//! What only JetStream promises: one message for each chunk, replicas, and that no bucket is made by mistake.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream;

use super::nats::{NatsServer, connect};
use super::noise;
use crate::engine::JetStream;
use crate::{CHUNK_SIZE_MAX, Error, Store};

#[tokio::test]
async fn a_chunk_is_one_message_however_often_it_is_put() {
    let server = NatsServer::start();
    let client = server.client().await;
    let store = Store::jetstream(client.clone(), "chunks", 1).await.unwrap();
    let bytes = noise(2 * CHUNK_SIZE_MAX + 1, 1);
    for _ in 0..3 {
        store.put_bytes(bytes.clone()).await.unwrap();
    }
    let stream = jetstream::new(client).get_stream("chunks").await.unwrap();
    let info = stream.get_info().await.unwrap();
    assert_eq!((info.state.messages, info.state.last_sequence), (4, 4), "three chunks and the manifest, put once");
    assert!(info.config.allow_direct);
    assert_eq!((info.config.num_replicas, info.config.max_message_size), (1, 256 * 1024));
}

#[tokio::test]
async fn a_bucket_that_is_there_is_opened_as_it_is() {
    let server = NatsServer::start();
    let first = Store::jetstream(server.client().await, "chunks", 1).await.unwrap();
    let digest = first.put(noise(10, 1)).await.unwrap();
    let second = Store::jetstream(server.client().await, "chunks", 1).await.unwrap();
    assert_eq!(second.get_chunk(digest).await.unwrap(), noise(10, 1));
    let other = Store::jetstream(server.client().await, "other", 1).await.unwrap();
    assert!(!other.has(digest).await.unwrap(), "buckets are apart");
}

#[tokio::test]
async fn no_jetstream_is_an_error() {
    let server = NatsServer::without_jetstream();
    let error = Store::jetstream(server.client().await, "chunks", 1).await.err().unwrap();
    assert!(matches!(error, Error::Engine(_)), "{error}");
}

/// Three servers, and a bucket on them. A port that was free may be somebody else's by the time its server starts: then
/// such a cluster never forms, and another one is tried.
async fn cluster() -> ([NatsServer; 3], JetStream) {
    for _ in 0..3 {
        let servers = NatsServer::cluster();
        let client = connect(&[&servers[1], &servers[2]]).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            match JetStream::open(client.clone(), "chunks", 3).await {
                Ok(engine) => return (servers, engine),
                // The cluster chooses its leader first.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
    panic!("no cluster of three forms");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_survive_the_death_of_one_server() {
    let ([mut a, _b, _c], engine) = cluster().await;
    let store = Store::on(vec![Arc::new(engine)]);
    let bytes = noise(1_000_000, 1);
    let stored = store.put_bytes(bytes.clone()).await.unwrap();

    a.kill();
    // The others choose a leader first, which on a busy machine may take longer than a read waits.
    let mut read = None;
    for _ in 0..5 {
        if let Ok(object) = store.get(stored.root).await {
            read = object.collect(stored.size).await.ok();
        }
        if read.is_some() {
            break;
        }
    }
    assert!(read.is_some_and(|read| read == bytes));
    let mut again = Err(Error::Missing { digest: stored.root });
    for _ in 0..30 {
        again = store.put_bytes(noise(300_000, 2)).await;
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(again.is_ok(), "two of three still take writes: {again:?}");
}
