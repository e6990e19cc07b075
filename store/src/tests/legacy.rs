//! What stores had before there were blobs is read as it was, and can be removed.

use std::path::Path;

use async_nats::jetstream;
use bytes::Bytes;
use fabric::subjects;
use protocol::{ByteSize, Digest};

use super::nats::NatsServer;
use super::{EPOCH, files_below, noise, read};
use crate::legacy::{CHUNK_SIZE_MAX, ChunkRef, Manifest};
use crate::{BLOB_SIZE_MAX, Error, Legacy, Piece, Store};

/// The chunks that an object was stored as, the manifest last.
fn chunks_of(bytes: &Bytes) -> Vec<(Digest, Bytes)> {
    let mut chunks: Vec<_> =
        bytes.chunks(CHUNK_SIZE_MAX).map(|chunk| (Digest::of(chunk), Bytes::copy_from_slice(chunk))).collect();
    let manifest = Manifest {
        digest: Digest::of(bytes),
        size: ByteSize(bytes.len() as u64),
        chunks: chunks
            .iter()
            .map(|(digest, chunk)| ChunkRef { digest: *digest, length: u32::try_from(chunk.len()).unwrap() })
            .collect(),
    };
    let manifest = Bytes::from(manifest.to_bytes());
    chunks.push((Digest::of(&manifest), manifest));
    chunks
}

fn write(folder: &Path, chunks: &[(Digest, Bytes)]) {
    for (digest, chunk) in chunks {
        let name = digest.to_string();
        let shard = folder.join("chunks").join(&name[..2]);
        std::fs::create_dir_all(&shard).unwrap();
        std::fs::write(shard.join(name), chunk).unwrap();
    }
}

async fn read_all(legacy: &Legacy, root: Digest) -> Result<Bytes, Error> {
    legacy.get(root).await?.collect(BLOB_SIZE_MAX).await
}

#[tokio::test]
async fn a_folder_is_read_beside_its_blobs_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let legacy = Legacy::disk(folder.path());
    assert!(legacy.is_empty().await.unwrap());
    let bytes = noise(3 * CHUNK_SIZE_MAX + 5, 1);
    let chunks = chunks_of(&bytes);
    let root = chunks.last().unwrap().0;
    assert!(matches!(legacy.get(root).await, Err(Error::Missing { piece: Piece::Chunk(of) }) if of == root));
    write(folder.path(), &chunks);
    assert!(!legacy.is_empty().await.unwrap());
    assert!(read_all(&legacy, root).await.unwrap() == bytes);

    let store = Store::disk(folder.path()).unwrap();
    let object = legacy.get(root).await.unwrap();
    assert_eq!((object.size(), object.digest()), (ByteSize(bytes.len() as u64), Digest::of(&bytes)));
    let blob = store.put_stream(EPOCH, object, BLOB_SIZE_MAX).await.unwrap();
    assert_eq!(blob.digest, Digest::of(&bytes));
    legacy.remove().await.unwrap();
    legacy.remove().await.unwrap();
    assert!(legacy.is_empty().await.unwrap());
    assert!(!folder.path().join("chunks").exists());
    assert!(read(&store, &blob).await.unwrap() == bytes);
}

#[tokio::test]
async fn damage_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let legacy = Legacy::disk(folder.path());
    let chunks = chunks_of(&noise(2 * CHUNK_SIZE_MAX, 1));
    let root = chunks[2].0;
    let path = |of: usize| {
        let name = chunks[of].0.to_string();
        files_below(folder.path()).into_iter().find(|path| path.ends_with(&name)).unwrap()
    };
    write(folder.path(), &chunks);
    std::fs::write(path(1), "rubbish").unwrap();
    let damaged = read_all(&legacy, root).await;
    assert!(matches!(damaged, Err(Error::Corrupt { piece: Piece::Chunk(of), .. }) if of == chunks[1].0), "{damaged:?}");
    std::fs::remove_file(path(1)).unwrap();
    assert!(matches!(read_all(&legacy, root).await, Err(Error::Missing { .. })));
    assert!(matches!(read_all(&legacy, chunks[0].0).await, Err(Error::NotAManifest { .. })));

    // Right chunks in a wrong order, and of a wrong length.
    write(folder.path(), &chunks);
    let manifest = Manifest::parse(&chunks[2].1).unwrap();
    let [one, other] = [manifest.chunks[0], manifest.chunks[1]];
    let short = ChunkRef { length: other.length - 1, ..other };
    for (size, wrong) in [(manifest.size, [other, one]), (ByteSize(manifest.size.0 - 1), [one, short])] {
        let wrong = Manifest { size, chunks: wrong.to_vec(), ..manifest.clone() };
        let wrong = Bytes::from(wrong.to_bytes());
        let root = Digest::of(&wrong);
        write(folder.path(), &[(root, wrong)]);
        let read = read_all(&legacy, root).await;
        assert!(matches!(read, Err(Error::CorruptObject { piece: Piece::Object(of) }) if of == root), "{read:?}");
    }
}

#[tokio::test]
async fn a_stream_is_read_beside_its_blobs_and_removed() {
    let server = NatsServer::start();
    let client = server.client().await;
    assert!(Legacy::jetstream(client.clone(), "chunks").await.unwrap().is_empty().await.unwrap());
    let context = jetstream::new(client.clone());
    let config = jetstream::stream::Config {
        name: "chunks".to_owned(),
        subjects: vec!["cc.chunk.chunks.*".to_owned()],
        max_messages_per_subject: 1,
        allow_direct: true,
        ..Default::default()
    };
    context.create_stream(config).await.unwrap();
    let legacy = Legacy::jetstream(client.clone(), "chunks").await.unwrap();
    assert!(legacy.is_empty().await.unwrap());

    let bytes = noise(2 * CHUNK_SIZE_MAX + 5, 1);
    let chunks = chunks_of(&bytes);
    for (digest, chunk) in &chunks {
        context.publish(subjects::chunk("chunks", *digest), chunk.clone()).await.unwrap().await.unwrap();
    }
    assert!(!legacy.is_empty().await.unwrap());
    assert!(read_all(&legacy, chunks.last().unwrap().0).await.unwrap() == bytes);

    // Nobody puts blobs into it by mistake.
    let refused = Store::jetstream(client.clone(), "chunks", 1).await.err().unwrap();
    assert!(matches!(&refused, Error::Engine(_)), "{refused}");
    let store = Store::jetstream(client.clone(), "blobs", 1).await.unwrap();
    let blob = store.put_bytes(EPOCH, bytes.clone()).await.unwrap();
    // Another control plane has opened it as well.
    let other = Legacy::jetstream(client.clone(), "chunks").await.unwrap();
    assert!(!other.is_empty().await.unwrap());
    legacy.remove().await.unwrap();
    assert!(other.is_empty().await.unwrap());
    other.remove().await.unwrap();
    assert!(Legacy::jetstream(client, "chunks").await.unwrap().is_empty().await.unwrap());
    assert!(read(&store, &blob).await.unwrap() == bytes);
}
