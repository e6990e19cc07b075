//! Reading an object: its chunks in order, each checked, a few ahead; at the end the digest of the whole.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use protocol::{ByteSize, Digest};

use crate::{ChunkRef, Error, Manifest, Store};

/// Chunks fetched ahead of the reader: the memory of a download.
const AHEAD_MAX: usize = 3;

/// An object's bytes, as a stream. It is right only when the stream has ended without an error.
pub struct Object {
    digest: Digest,
    size: ByteSize,
    root: Digest,
    whole: blake3::Hasher,
    chunks: BoxStream<'static, Result<Bytes, Error>>,
    over: bool,
}

impl Object {
    /// BLAKE3 of the whole, as its manifest says.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes of the whole.
    #[must_use]
    pub fn size(&self) -> ByteSize {
        self.size
    }

    /// All bytes at once, at most `max`.
    ///
    /// # Errors
    /// When there is more, or a chunk is missing or damaged.
    pub async fn collect(self, max: ByteSize) -> Result<Bytes, Error> {
        if self.size > max {
            return Err(Error::TooLarge { max });
        }
        let mut all = BytesMut::with_capacity(self.size.as_usize());
        let mut chunks = self;
        while let Some(chunk) = chunks.try_next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

impl Stream for Object {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let next = std::task::ready!(self.chunks.poll_next_unpin(cx));
        match &next {
            Some(Ok(chunk)) => {
                self.whole.update(chunk);
            }
            Some(Err(_)) => self.over = true,
            None => {
                self.over = true;
                if self.whole.finalize().as_bytes() != &self.digest.0 {
                    return Poll::Ready(Some(Err(Error::CorruptObject { root: self.root })));
                }
            }
        }
        Poll::Ready(next)
    }
}

impl Store {
    /// The manifest at this address.
    ///
    /// # Errors
    /// When there is none, or the chunk is not a manifest.
    pub async fn manifest(&self, root: Digest) -> Result<Manifest, Error> {
        let bytes = self.get_chunk(root).await?;
        Manifest::parse(&bytes).map_err(|why| Error::NotAManifest { root, why })
    }

    /// The object at this address. Every chunk is checked before it is handed out.
    ///
    /// # Errors
    /// When there is no manifest; the stream itself fails where a chunk is missing or damaged.
    pub async fn get(&self, root: Digest) -> Result<Object, Error> {
        let Manifest { digest, size, chunks } = self.manifest(root).await?;
        let store = self.clone();
        let chunks = futures::stream::iter(chunks)
            .map(move |chunk| fetch(store.clone(), root, chunk))
            .buffered(AHEAD_MAX)
            .boxed();
        Ok(Object { digest, size, root, whole: blake3::Hasher::new(), chunks, over: false })
    }
}

async fn fetch(store: Store, root: Digest, wanted: ChunkRef) -> Result<Bytes, Error> {
    let chunk = store.get_chunk(wanted.digest).await?;
    if u32::try_from(chunk.len()) != Ok(wanted.length) {
        return Err(Error::CorruptObject { root });
    }
    Ok(chunk)
}
