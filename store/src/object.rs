//! Reading: a blob's parts of 1 MiB in order, opened, a few ahead; at the end of a whole the digest of all.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _};
use protocol::{Blob, ByteSize, Digest};

use crate::sealing::{self, Opener, Part};
use crate::{Error, Piece, Store};

/// Parts fetched ahead of the reader: with the one being read, the memory of a download.
const AHEAD_MAX: usize = 3;

/// The bytes of a blob, or a range of them, as a stream. It is right only when the stream has ended without an error.
pub struct Object {
    digest: Digest,
    size: ByteSize,
    /// What the whole is called, and its digest so far; none for a range.
    whole: Option<(Piece, Box<blake3::Hasher>)>,
    pieces: BoxStream<'static, Result<Bytes, Error>>,
    over: bool,
}

impl Object {
    /// One whose digest is checked at its end.
    pub(crate) fn whole(
        name: Piece,
        digest: Digest,
        size: ByteSize,
        pieces: BoxStream<'static, Result<Bytes, Error>>,
    ) -> Self {
        Self { digest, size, whole: Some((name, Box::default())), pieces, over: false }
    }

    /// BLAKE3 of the whole, as its owner says.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes of the stream.
    #[must_use]
    pub fn size(&self) -> ByteSize {
        self.size
    }

    /// All bytes at once, at most `max`.
    ///
    /// # Errors
    /// When there is more, or a piece is missing or damaged.
    pub async fn collect(self, max: ByteSize) -> Result<Bytes, Error> {
        if self.size > max {
            return Err(Error::TooLarge { max });
        }
        let mut all = BytesMut::with_capacity(self.size.as_usize());
        let mut pieces = self;
        while let Some(piece) = pieces.try_next().await? {
            all.extend_from_slice(&piece);
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
        let next = std::task::ready!(self.pieces.poll_next_unpin(cx));
        match &next {
            Some(Ok(piece)) => {
                if let Some((_, whole)) = &mut self.whole {
                    whole.update(piece);
                }
            }
            Some(Err(_)) => self.over = true,
            None => {
                self.over = true;
                if let Some((piece, whole)) = &self.whole
                    && whole.finalize().as_bytes() != &self.digest.0
                {
                    return Poll::Ready(Some(Err(Error::CorruptObject { piece: *piece })));
                }
            }
        }
        Poll::Ready(next)
    }
}

impl Store {
    /// The blob's bytes. Each is checked before it is handed out. The first of them have been read when this returns.
    ///
    /// # Errors
    /// When the beginning is missing or damaged; the stream itself fails where something later is.
    pub async fn get(&self, blob: &Blob) -> Result<Object, Error> {
        let all = 0..blob.size.0;
        // An empty blob is opened too: it may not be there.
        let numbers = 0..sealing::parts(&all).end.max(1);
        let pieces = self.pieces(blob, numbers, all).await?;
        Ok(Object::whole(Piece::Blob(blob.id), blob.digest, blob.size, pieces))
    }

    /// Some of the blob's bytes, of which only the chunks that they are in are read. Each byte is checked, but not the
    /// digest of the whole.
    ///
    /// # Errors
    /// When the range is not within the blob; otherwise as `get`.
    pub async fn range(&self, blob: &Blob, range: Range<u64>) -> Result<Object, Error> {
        if range.start > range.end || range.end > blob.size.0 {
            return Err(Error::OutOfRange { range, size: blob.size });
        }
        let size = ByteSize(range.end - range.start);
        let pieces = self.pieces(blob, sealing::parts(&range), range).await?;
        Ok(Object { digest: blob.digest, size, whole: None, pieces, over: false })
    }

    /// The wanted bytes, in the parts of these numbers.
    async fn pieces(
        &self,
        blob: &Blob,
        mut numbers: Range<u64>,
        wanted: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let opener = Arc::new(Opener::new(blob)?);
        let first = match numbers.next() {
            Some(number) => self.open(&opener, &opener.part(number, &wanted)).await?,
            None => Vec::new(),
        };
        let store = self.clone();
        let rest = futures::stream::iter(numbers)
            .map(move |number| {
                let (store, opener, part) = (store.clone(), Arc::clone(&opener), opener.part(number, &wanted));
                async move { store.open(&opener, &part).await }.boxed()
            })
            .buffered(AHEAD_MAX);
        let in_order = |pieces: Vec<Bytes>| futures::stream::iter(pieces.into_iter().map(Ok::<_, Error>));
        Ok(futures::stream::iter([Ok(first)]).chain(rest).map_ok(in_order).try_flatten().boxed())
    }

    async fn open(&self, opener: &Opener, part: &Part) -> Result<Vec<Bytes>, Error> {
        self.copies.read(part.name, part.kept.clone(), |kept| opener.open(part, kept)).await
    }
}
