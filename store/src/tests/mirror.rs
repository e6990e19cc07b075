//! Several engines: what one lost or damaged comes from the other, and is put right.

use std::sync::Arc;

use protocol::Digest;

use super::nats::NatsServer;
use super::noise;
use crate::engine::{Disk, JetStream};
use crate::{Engine, Error, Store};

#[tokio::test(flavor = "multi_thread")]
async fn a_read_falls_over_to_the_other_engine_and_repairs_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let server = NatsServer::start();
    let disk = Arc::new(Disk::open(folder.path()).unwrap());
    let jetstream = Arc::new(JetStream::open(server.client().await, "chunks", 1).await.unwrap());
    let store = Store::on(vec![Arc::clone(&disk) as Arc<dyn Engine>, Arc::clone(&jetstream) as Arc<dyn Engine>]);

    let bytes = noise(1_000_000, 1);
    let stored = store.put_bytes(bytes.clone()).await.unwrap();
    let chunks = store.manifest(stored.root).await.unwrap().chunks;
    disk.put(chunks[0].digest, noise(5, 5)).await.unwrap();
    disk.delete(chunks[1].digest).await.unwrap();
    disk.delete(stored.root).await.unwrap();
    jetstream.delete(chunks[2].digest).await.unwrap();

    let read = store.get(stored.root).await.unwrap().collect(stored.size).await.unwrap();
    assert!(read == bytes);
    let alone = Store::on(vec![disk as Arc<dyn Engine>]);
    assert!(
        alone.get(stored.root).await.unwrap().collect(stored.size).await.unwrap() == bytes,
        "the disk is whole again"
    );

    // Nowhere is nowhere.
    store.delete(chunks[3].digest).await.unwrap();
    assert!(!store.has(chunks[3].digest).await.unwrap());
    assert!(matches!(store.get_chunk(chunks[3].digest).await, Err(Error::Missing { .. })));
    assert!(matches!(store.get_chunk(Digest::of(b"else")).await, Err(Error::Missing { .. })));
}
