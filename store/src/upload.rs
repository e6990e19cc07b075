//! Storing a stream: cut into chunks as it arrives, a few of them on their way at once, the manifest last.

use bytes::{Bytes, BytesMut};
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use protocol::{ByteSize, Digest};

use crate::{CHUNK_SIZE_MAX, ChunkRef, Error, Manifest, OBJECT_SIZE_MAX, Store, Stored};

/// Chunks on their way to the engines at once: with the one being filled, the memory of an upload.
const PUTS_MAX: usize = 4;

impl Store {
    /// Stores a stream of bytes, at most `max` of them. It is there, durably and whole, when this returns; before
    /// that no manifest exists. Chunks of an upload that broke off stay behind, unreferenced.
    ///
    /// # Errors
    /// When there is more than `max`, the stream fails, or an engine fails.
    pub async fn put_stream<S, E>(&self, stream: S, max: ByteSize) -> Result<Stored, Error>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let max = max.min(OBJECT_SIZE_MAX);
        let mut stream = std::pin::pin!(stream);
        let mut upload = Upload::new(self);
        let mut size = 0_u64;
        while let Some(piece) = stream.next().await {
            let mut piece = piece.map_err(|error| Error::Source(error.into()))?;
            size = size.saturating_add(piece.len() as u64);
            if size > max.0 {
                return Err(Error::TooLarge { max });
            }
            upload.whole.update(&piece);
            while !piece.is_empty() {
                let taken = piece.split_to(piece.len().min(CHUNK_SIZE_MAX - upload.filling.len()));
                upload.filling.extend_from_slice(&taken);
                if upload.filling.len() == CHUNK_SIZE_MAX {
                    upload.cut().await?;
                }
            }
        }
        upload.finish(ByteSize(size)).await
    }

    /// Stores bytes that are in memory already.
    ///
    /// # Errors
    /// As `put_stream`.
    pub async fn put_bytes(&self, bytes: Bytes) -> Result<Stored, Error> {
        let once = futures::stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
        self.put_stream(once, OBJECT_SIZE_MAX).await
    }
}

type Put<'a> = futures::future::BoxFuture<'a, Result<Digest, Error>>;

struct Upload<'a> {
    store: &'a Store,
    whole: blake3::Hasher,
    filling: BytesMut,
    chunks: Vec<ChunkRef>,
    puts: FuturesUnordered<Put<'a>>,
}

impl<'a> Upload<'a> {
    fn new(store: &'a Store) -> Self {
        Self {
            store,
            whole: blake3::Hasher::new(),
            filling: BytesMut::new(),
            chunks: Vec::new(),
            puts: FuturesUnordered::new(),
        }
    }

    /// Sends the filled chunk off; waits for an earlier one where too many are on their way.
    async fn cut(&mut self) -> Result<(), Error> {
        let chunk = self.filling.split().freeze();
        let length = u32::try_from(chunk.len()).map_err(|_| Error::ChunkTooLarge { size: chunk.len() })?;
        self.chunks.push(ChunkRef { digest: Digest::of(&chunk), length });
        if self.puts.len() == PUTS_MAX {
            self.puts.try_next().await?;
        }
        let store = self.store;
        self.puts.push(Box::pin(store.put(chunk)));
        Ok(())
    }

    async fn finish(mut self, size: ByteSize) -> Result<Stored, Error> {
        if !self.filling.is_empty() {
            self.cut().await?;
        }
        while self.puts.try_next().await?.is_some() {}
        let digest = Digest(*self.whole.finalize().as_bytes());
        let manifest = Manifest { digest, size, chunks: self.chunks };
        let root = self.store.put(manifest.to_bytes()).await?;
        Ok(Stored { digest, size, root })
    }
}
