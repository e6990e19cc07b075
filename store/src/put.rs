//! Storing a stream: sealed as it arrives, a few segments on their way at once. Also deleting, listing and checking.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _};
use protocol::{Blob, BlobId, BlobKey, ByteSize, Digest, Epoch};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::engine::{Engine, EngineError};
use crate::sealing::{self, Sealer};
use crate::{BLOB_SIZE_MAX, Error, Listed, SegmentName, Store};

/// Segments on their way to the engines at once: with the one being filled, the memory of an upload.
const PUTS_MAX: usize = 2;

/// Segments that are being deleted at once, on each engine.
const DELETES_MAX: usize = 8;

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
        self.copies.check_enough()?;
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

    /// Deletes a blob of this size: each of its segments on every engine. No error where there is none.
    ///
    /// # Errors
    /// When an engine fails: it may still have some of it, the others have nothing.
    pub async fn delete(&self, id: BlobId, size: ByteSize) -> Result<(), Error> {
        self.delete_segments(id, sealing::segments(size)?).await
    }

    /// Deletes one segment on every engine. No error where there is none.
    ///
    /// # Errors
    /// When an engine fails: it may still have it.
    pub async fn delete_segment(&self, name: SegmentName) -> Result<(), Error> {
        self.delete_segments(name.blob, name.number..name.number.saturating_add(1)).await
    }

    async fn delete_segments(&self, blob: BlobId, numbers: Range<u32>) -> Result<(), Error> {
        let deletes = self.engines().map(|engine| delete_on(&**engine, self.copies.patience, blob, numbers.clone()));
        for deleted in futures::future::join_all(deletes).await {
            deleted?;
        }
        Ok(())
    }

    /// Segments that engines have, in the order of their names, after this one: each once, with the bytes of all its
    /// copies. Fewer than `most`: there are no more. What is put meanwhile may be missing. An engine that fails is passed
    /// over.
    ///
    /// # Errors
    /// When every engine fails.
    pub async fn list(&self, after: Option<SegmentName>, most: usize) -> Result<Vec<Listed>, Error> {
        let mut merged = BTreeMap::<SegmentName, u64>::new();
        let (mut any, mut failed) = (false, None);
        for listed in self.copies.list(after, most).await {
            match listed {
                Ok(listed) => {
                    any = true;
                    for Listed { name, bytes } in listed {
                        *merged.entry(name).or_default() += bytes;
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if !any => Err(error.into()),
            _ => Ok(merged.into_iter().take(most).map(|(name, bytes)| Listed { name, bytes }).collect()),
        }
    }
}

/// A new blob's name and key.
fn fresh(epoch: Epoch) -> Result<(BlobId, BlobKey), Error> {
    let random = SystemRandom::new();
    let (mut id, mut key) = ([0_u8; 12], BlobKey([0; 32]));
    random.fill(&mut id)?;
    random.fill(&mut key.0)?;
    Ok((BlobId::new(epoch, id), key))
}

/// An engine that fails at one segment is not asked about the others.
async fn delete_on(
    engine: &dyn Engine,
    patience: std::time::Duration,
    blob: BlobId,
    numbers: Range<u32>,
) -> Result<(), EngineError> {
    futures::stream::iter(numbers)
        .map(|number| async move {
            let deleted = tokio::time::timeout(patience, engine.delete(SegmentName { blob, number })).await;
            deleted.unwrap_or_else(|late| Err(EngineError::slow(engine.name(), "delete", late)))
        })
        .buffer_unordered(DELETES_MAX)
        .try_collect()
        .await
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
            if let Err(error) = store.delete_segments(id, 0..begun).await {
                tracing::debug!(blob = %id, %error, "what an upload left behind waits for the sweep");
            }
        });
    }
}
