//! The `jetstream` engine: one stream with a message for each segment's end, and messages for what comes before it.
//!
//! A segment is cut into pieces of 256 KiB, which are put first. The rest follows, behind the segment's size: only then the
//! segment is there. A small segment is one message. Putting a segment again replaces its messages and never adds.

use std::ops::Range;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use fabric::subjects;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use protocol::node::Mark;

use super::pages::{Pages, Smallest};
use super::{Bucket, Engine, EngineError, Listed, Space, Trouble};
use crate::SegmentName;

/// The most bytes of a piece: one message of NATS, far below its largest payload.
const PIECE_SIZE: usize = 256 * 1024;

/// What stands before a segment's rest: its size, big endian.
const SIZE_SIZE: usize = 8;

/// Pieces, or ends of listed segments, that are fetched at once.
const READS_MAX: usize = 4;

/// Segments in a stream.
pub struct JetStream {
    bucket: Bucket,
    /// As subjects have it.
    stream: String,
    domain: String,
    pages: Pages,
}

/// A segment's last message.
struct End {
    /// Bytes of the whole segment.
    size: u64,
    /// What is left of it behind its pieces.
    rest: Bytes,
}

impl JetStream {
    /// Opens the stream, or makes it with so many replicas. One that cannot be opened is never made anew: only one that
    /// JetStream says is not there.
    ///
    /// # Errors
    /// When JetStream does not answer or refuses, or the stream keeps something else.
    pub async fn open(client: async_nats::Client, stream: &str, replicas: usize) -> Result<Self, EngineError> {
        let bucket = match Bucket::find(client.clone(), stream).await? {
            Some(bucket) => bucket,
            None => Bucket::make(client, config(stream, replicas)).await?,
        };
        if bucket.config().subjects != [subjects::segments(stream)] {
            return Err(EngineError {
                engine: bucket.name().to_owned(),
                verb: "open",
                trouble: Trouble::Failed,
                source: "the stream keeps something else than segments".into(),
            });
        }
        let domain = format!("jetstream/{stream}");
        Ok(Self { bucket, stream: stream.to_owned(), domain, pages: Pages::default() })
    }

    fn end_subject(&self, name: SegmentName) -> String {
        subjects::segment(&self.stream, name.blob, name.number)
    }

    fn piece_subject(&self, name: SegmentName, piece: u64) -> String {
        subjects::segment_piece(&self.stream, name.blob, name.number, piece)
    }

    async fn put_segment(&self, name: SegmentName, mut rest: Bytes) -> Result<(), EngineError> {
        let size = rest.len() as u64;
        let mut pieces = Vec::new();
        while rest.len() > PIECE_SIZE {
            let subject = self.piece_subject(name, pieces.len() as u64);
            pieces.push(self.bucket.put(subject, rest.split_to(PIECE_SIZE)));
        }
        futures::future::try_join_all(pieces).await?;
        let mut end = BytesMut::with_capacity(SIZE_SIZE + rest.len());
        end.put_u64(size);
        end.extend_from_slice(&rest);
        self.bucket.put(self.end_subject(name), end.freeze()).await
    }

    async fn end(&self, name: SegmentName) -> Result<Option<End>, EngineError> {
        let Some(mut rest) = self.bucket.read(self.end_subject(name)).await? else { return Ok(None) };
        if rest.len() < SIZE_SIZE {
            return Ok(None);
        }
        let size = rest.get_u64();
        Ok(Some(End { size, rest }))
    }

    async fn read_segment(&self, name: SegmentName, range: Option<Range<u64>>) -> Result<Option<Bytes>, EngineError> {
        let Some(End { size, rest }) = self.end(name).await? else { return Ok(None) };
        let range = range.unwrap_or(0..size);
        let (start, end) = (range.start.min(size), range.end.min(size));
        if start >= end {
            return Ok(Some(Bytes::new()));
        }
        let whole_pieces = size.saturating_sub(rest.len() as u64) / PIECE_SIZE as u64;
        let wanted = start / PIECE_SIZE as u64..end.div_ceil(PIECE_SIZE as u64).min(whole_pieces);
        let mut pieces = futures::stream::iter(wanted.clone())
            .map(|piece| self.bucket.read(self.piece_subject(name, piece)))
            .buffered(READS_MAX);
        let mut bytes = BytesMut::new();
        while let Some(piece) = pieces.try_next().await? {
            // Without one of its pieces the segment is not there.
            let Some(piece) = piece else { return Ok(None) };
            bytes.extend_from_slice(&piece);
        }
        if end > whole_pieces * PIECE_SIZE as u64 {
            bytes.extend_from_slice(&rest);
        }
        // What was read begins with a piece, or with the rest where no piece is wanted.
        let begins = wanted.start.min(whole_pieces) * PIECE_SIZE as u64;
        let within = |at: u64| usize::try_from(at - begins).unwrap_or(usize::MAX).min(bytes.len());
        let (start, end) = (within(start), within(end));
        Ok(Some(bytes.freeze().slice(start..end)))
    }

    async fn list_segments(&self, after: Option<SegmentName>, most: usize) -> Result<Vec<Listed>, EngineError> {
        let page = match self.pages.next(after, most) {
            Some(page) => page,
            None => {
                let mut smallest = Smallest::after(after, most);
                let see = |subject: &str| {
                    if let Some((blob, number)) = subjects::segment_of(&self.stream, subject) {
                        smallest.see(SegmentName { blob, number });
                    }
                };
                self.bucket.subjects(subjects::segments(&self.stream), see).await?;
                self.pages.begin(smallest, most)
            }
        };
        futures::stream::iter(page).map(|name| self.listed(name)).buffered(READS_MAX).try_collect().await
    }

    async fn listed(&self, name: SegmentName) -> Result<Listed, EngineError> {
        let bytes = self.end(name).await?.map_or(0, |end| end.size);
        Ok(Listed { name, bytes })
    }

    async fn marked(&self) -> Result<Option<Mark>, EngineError> {
        let Some(text) = self.bucket.read(subjects::segments_mark(&self.stream)).await? else { return Ok(None) };
        match std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()) {
            Some(mark) => Ok(Some(mark)),
            None => Err(self.unmarked("its mark cannot be read")),
        }
    }

    async fn put_mark(&self, mark: Mark) -> Result<Mark, EngineError> {
        self.bucket.put_first(subjects::segments_mark(&self.stream), mark.to_string().into()).await?;
        self.marked().await?.ok_or_else(|| self.unmarked("its mark has gone"))
    }

    fn unmarked(&self, why: &'static str) -> EngineError {
        let engine = self.bucket.name().to_owned();
        EngineError { engine, verb: "say whose it is", trouble: Trouble::Failed, source: why.into() }
    }

    /// The end first: without it there is no segment.
    async fn delete_segment(&self, name: SegmentName) -> Result<(), EngineError> {
        self.bucket.delete(self.end_subject(name)).await?;
        self.bucket.delete(subjects::segment_pieces(&self.stream, name.blob, name.number)).await
    }
}

impl Engine for JetStream {
    fn name(&self) -> &str {
        self.bucket.name()
    }

    fn domain(&self) -> &str {
        &self.domain
    }

    fn replicas(&self) -> usize {
        self.bucket.config().num_replicas
    }

    fn put(&self, name: SegmentName, segment: Bytes) -> BoxFuture<'_, Result<(), EngineError>> {
        async move { self.bucket.patiently(|| self.put_segment(name, segment.clone())).await }.boxed()
    }

    fn read(&self, name: SegmentName, range: Option<Range<u64>>) -> BoxFuture<'_, Result<Option<Bytes>, EngineError>> {
        async move { self.bucket.patiently(|| self.read_segment(name, range.clone())).await }.boxed()
    }

    fn has(&self, name: SegmentName) -> BoxFuture<'_, Result<Option<u64>, EngineError>> {
        async move {
            let end = self.bucket.patiently(|| self.end(name)).await?;
            Ok(end.map(|end| end.size))
        }
        .boxed()
    }

    fn delete(&self, name: SegmentName) -> BoxFuture<'_, Result<(), EngineError>> {
        async move { self.bucket.patiently(|| self.delete_segment(name)).await }.boxed()
    }

    fn list(&self, after: Option<SegmentName>, most: usize) -> BoxFuture<'_, Result<Vec<Listed>, EngineError>> {
        async move { self.bucket.patiently(|| self.list_segments(after, most)).await }.boxed()
    }

    fn mark(&self) -> BoxFuture<'_, Result<Option<Mark>, EngineError>> {
        async move { self.bucket.patiently(|| self.marked()).await }.boxed()
    }

    fn set_mark(&self, mark: Mark) -> BoxFuture<'_, Result<Mark, EngineError>> {
        async move { self.bucket.patiently(|| self.put_mark(mark)).await }.boxed()
    }

    fn space(&self) -> BoxFuture<'_, Result<Space, EngineError>> {
        self.bucket.space().boxed()
    }
}

fn config(stream: &str, replicas: usize) -> Config {
    Config {
        name: stream.to_owned(),
        description: Some("segments of encrypted blobs".to_owned()),
        subjects: vec![subjects::segments(stream)],
        storage: StorageType::File,
        num_replicas: replicas,
        retention: RetentionPolicy::Limits,
        // Where there is a limit, what came first is not thrown away.
        discard: DiscardPolicy::New,
        max_messages_per_subject: 1,
        max_message_size: i32::try_from(SIZE_SIZE + PIECE_SIZE).unwrap_or(i32::MAX),
        allow_direct: true,
        ..Config::default()
    }
}
