//! What only JetStream promises: a few messages for each segment, replicas, and that no stream is made by mistake.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use fabric::subjects;

use super::nats::{NatsServer, connect};
use super::{EPOCH, SEGMENT, copies, noise, read, segment};
use crate::engine::JetStream;
use crate::{Engine, Error, Listed, Store};

#[tokio::test]
async fn a_segment_is_some_messages_and_a_small_one_is_one() {
    let server = NatsServer::start();
    let client = server.client().await;
    let store = Store::jetstream(client.clone(), "blobs", 1).await.unwrap();
    let stream = jetstream::new(client).get_stream("blobs").await.unwrap();
    let messages = async || stream.get_info().await.unwrap().state.messages;
    let small = store.put_bytes(EPOCH, noise(200_000, 1)).await.unwrap();
    assert_eq!(messages().await, 1);
    let large = store.put_bytes(EPOCH, noise(SEGMENT, 1)).await.unwrap();
    assert_eq!(messages().await, 1 + 17);
    store.delete(small.id, small.size).await.unwrap();
    store.delete(large.id, large.size).await.unwrap();
    let info = stream.get_info().await.unwrap();
    assert_eq!(info.state.messages, 0);
    assert!(info.config.allow_direct);
    assert_eq!((info.config.num_replicas, info.config.max_message_size), (1, 256 * 1024 + 8));
}

/// A put that broke off before its end is no segment, but it is listed, so that it can be deleted.
#[tokio::test]
async fn half_a_segment_is_none() {
    let server = NatsServer::start();
    let client = server.client().await;
    let engine = JetStream::open(client.clone(), "blobs", 1).await.unwrap();
    let (half, torn) = (segment(1, 1, 0), segment(1, 2, 0));
    let context = jetstream::new(client);
    let piece = subjects::segment_piece("blobs", half.blob, half.number, 0);
    context.publish(piece, noise(256 * 1024, 1)).await.unwrap().await.unwrap();
    engine.put(torn, noise(600_000, 1)).await.unwrap();
    let lost = subjects::segment_piece("blobs", torn.blob, torn.number, 1);
    context.get_stream("blobs").await.unwrap().purge().filter(lost).await.unwrap();

    assert_eq!(engine.read(half, None).await.unwrap(), None);
    assert_eq!(engine.has(half).await.unwrap(), None);
    assert_eq!(engine.read(torn, None).await.unwrap(), None);
    let listed = [Listed { name: half, bytes: 0 }, Listed { name: torn, bytes: 600_000 }];
    assert_eq!(engine.list(None, 10).await.unwrap(), listed);
    engine.delete(half).await.unwrap();
    engine.delete(torn).await.unwrap();
    assert!(engine.list(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_stream_that_is_there_is_opened_as_it_is() {
    let server = NatsServer::start();
    let first = Store::jetstream(server.client().await, "blobs", 1).await.unwrap();
    let blob = first.put_bytes(EPOCH, noise(10, 1)).await.unwrap();
    let second = Store::jetstream(server.client().await, "blobs", 1).await.unwrap();
    assert_eq!(read(&second, &blob).await.unwrap(), noise(10, 1));
    let other = Store::jetstream(server.client().await, "other", 1).await.unwrap();
    assert!(matches!(other.get(&blob).await, Err(Error::Missing { .. })), "streams are apart");
}

#[tokio::test]
async fn no_jetstream_is_an_error() {
    let server = NatsServer::without_jetstream();
    let error = Store::jetstream(server.client().await, "blobs", 1).await.err().unwrap();
    assert!(matches!(error, Error::Engine(_)), "{error}");
}

/// Three servers, and a stream on them. A port that was free may be somebody else's by the time its server starts: then
/// such a cluster never forms, and another one is tried.
async fn cluster() -> ([NatsServer; 3], JetStream) {
    for _ in 0..3 {
        let servers = NatsServer::cluster();
        let client = connect(&[&servers[1], &servers[2]]).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            match JetStream::open(client.clone(), "blobs", 3).await {
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
    let store = Store::on(vec![Arc::new(engine)], copies(1));
    let bytes = noise(1_000_000, 1);
    let blob = store.put_bytes(EPOCH, bytes.clone()).await.unwrap();

    a.kill();
    // The others choose a leader first, which on a busy machine may take longer than a read waits.
    let mut got = None;
    for _ in 0..5 {
        got = read(&store, &blob).await.ok();
        if got.is_some() {
            break;
        }
    }
    assert!(got.is_some_and(|got| got == bytes));
    let mut again = Err(Error::Cipher);
    for _ in 0..30 {
        again = store.put_bytes(EPOCH, noise(300_000, 2)).await;
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(again.is_ok(), "two of three still take writes: {again:?}");
}
