//! Storing a stream: sealed as it arrives, a few segments on their way at once.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _};
use protocol::{Blob, BlobId, BlobKey, ByteSize, Digest, Epoch};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::Semaphore;

use crate::sealing::Sealer;
use crate::{BLOB_SIZE_MAX, Error, SegmentName, Store};

/// Uploads that broke off and are cleaned up after at once, in this process. Further ones wait, without their segments.
pub(crate) const CLEANUPS_MAX: usize = 4;

static CLEANUPS: Semaphore = Semaphore::const_new(CLEANUPS_MAX);

/// Segments on their way to the engines at once: with the one being filled, the memory of an upload.
const PUTS_MAX: usize = 2;

impl Store {
    /// Stores a stream of bytes, at most `max` of them, as a new blob of this epoch. All of it is durable on as many
    /// engines as are wanted when this returns. What an upload that breaks off has stored is deleted in the background.
    ///
    /// # Errors
    /// When there is more than `max`, the stream fails, or too few engines work or have room.
    pub async fn put_stream<S, E>(&self, epoch: Epoch, stream: S, max: ByteSize) -> Result<Blob, Error>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.copies.check_enough().await?;
        let max = max.min(BLOB_SIZE_MAX);
        let (id, key) = fresh(epoch)?;
        let mut stream = std::pin::pin!(stream);
        let mut sealer = Sealer::new(id, &key)?;
        let mut upload = Upload { store: self.clone(), id, puts: FuturesUnordered::new(), begun: 0 };
        let mut whole = blake3::Hasher::new();
        let mut size = 0_u64;
        loop {
            let piece = tokio::select! {
                biased;
                Some(put) = upload.puts.next() => {
                    put?;
                    continue;
                }
                piece = stream.next() => piece,
            };
            let Some(piece) = piece else { break };
            let mut piece = piece.map_err(|error| Error::Source(error.into()))?;
            size = size.saturating_add(piece.len() as u64);
            if size > max.0 {
                return Err(Error::TooLarge { max });
            }
            whole.update(&piece);
            while let Some((name, segment)) = sealer.fill(&mut piece)? {
                upload.put(name, segment).await?;
            }
        }
        let (name, segment) = sealer.finish()?;
        upload.put(name, segment).await?;
        upload.finish().await?;
        Ok(Blob { id, key, size: ByteSize(size), digest: Digest(*whole.finalize().as_bytes()) })
    }

    /// Stores bytes that are in memory already, as a new blob of this epoch.
    ///
    /// # Errors
    /// As `put_stream`.
    pub async fn put_bytes(&self, epoch: Epoch, bytes: Bytes) -> Result<Blob, Error> {
        let once = futures::stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
        self.put_stream(epoch, once, BLOB_SIZE_MAX).await
    }
}

/// A new blob's name and key.
pub(crate) fn fresh(epoch: Epoch) -> Result<(BlobId, BlobKey), Error> {
    let random = SystemRandom::new();
    let (mut id, mut key) = ([0_u8; 12], BlobKey([0; 32]));
    random.fill(&mut id)?;
    random.fill(&mut key.0)?;
    Ok((BlobId::new(epoch, id), key))
}

type Put = BoxFuture<'static, Result<(), Error>>;

/// Segments of one blob on their way. Dropped before its end, it has deleted what was stored.
struct Upload {
    store: Store,
    id: BlobId,
    puts: FuturesUnordered<Put>,
    begun: u32,
}

impl Upload {
    /// Sends a segment off; waits for an earlier one where too many are on their way.
    async fn put(&mut self, name: SegmentName, segment: Bytes) -> Result<(), Error> {
        if self.puts.len() == PUTS_MAX {
            self.puts.try_next().await?;
        }
        self.begun += 1;
        self.puts.push(self.store.copies.clone().put(name, segment).boxed());
        Ok(())
    }

    async fn finish(mut self) -> Result<(), Error> {
        while self.puts.try_next().await?.is_some() {}
        self.begun = 0;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.begun == 0 {
            return;
        }
        let (store, id, begun) = (self.store.clone(), self.id, self.begun);
        let mut puts = std::mem::take(&mut self.puts);
        runtime.spawn(async move {
            // What is on its way would come after its deletion.
            while puts.next().await.is_some() {}
            let Ok(_cleanup) = CLEANUPS.acquire().await else { return };
            if let Err(error) = store.delete_segments(id, 0..begun).await {
                tracing::debug!(blob = %id, %error, "what an upload left behind waits for the sweep");
            }
        });
    }
}
