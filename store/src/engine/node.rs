//! The `node` engine: a disk of another machine, which a node serves over the fabric (`disk_service.rs`). Segments go whole,
//! in the fabric's frames and by its credit, with their digest.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use fabric::{CallError, CallOptions, Fabric, NodeEndpoint, Target};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use protocol::node::{DiskMark, DiskSegment, DiskSpace, Mark, StoreDisk};
use protocol::{Digest, DiskId, NodeId, headers};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Engine, EngineError, Listed, Space, Trouble};
use crate::SegmentName;
use crate::disk_service::{BODY_BYTES_MAX, BUSY, LIST_MAX};

/// Calls of one disk at once, of this process: far fewer than there are runs, so that these come through.
const CALLS_MAX: usize = 8;
/// A node or disk that is busy with others' segments is asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// A node that is there accepts within this, however busy its machine is.
const ACCEPT_WITHIN: Duration = Duration::from_secs(2);
/// For one segment; the store's own patience is shorter.
const WITHIN: Duration = Duration::from_secs(60);
/// For a page of names, for which the disk is scanned.
const LIST_WITHIN: Duration = Duration::from_secs(300);

/// A disk of a node.
pub struct NodeDisk {
    name: String,
    node: NodeId,
    disk: StoreDisk,
    fabric: Fabric,
    calls: Semaphore,
}

/// What a node has responded, where it did what it was asked to.
struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// What a node is asked for.
struct Asked {
    verb: &'static str,
    method: Method,
    path: String,
    segment: Option<Bytes>,
    within: Duration,
}

impl NodeDisk {
    /// The disk of this node. Its name is that of the disk, wherever it is: so the order of engines stays.
    #[must_use]
    pub fn new(fabric: Fabric, node: NodeId, disk: StoreDisk) -> Self {
        let name = disk.id.to_string();
        Self { name, node, disk, fabric, calls: Semaphore::new(CALLS_MAX) }
    }

    /// Whether it is this disk of this node.
    #[must_use]
    pub fn is(&self, node: NodeId, disk: &StoreDisk) -> bool {
        self.node == node && self.disk == *disk
    }

    /// Which disk.
    #[must_use]
    pub fn id(&self) -> DiskId {
        self.disk.id
    }

    fn failed(&self, verb: &'static str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EngineError {
        self.troubled(Trouble::Failed, verb, why)
    }

    fn troubled(
        &self,
        trouble: Trouble,
        verb: &'static str,
        why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> EngineError {
        let engine = format!("{} of {}", self.name, self.node);
        EngineError { engine, verb, trouble, source: why.into() }
    }

    /// Asks about a segment.
    async fn ask_of(
        &self,
        verb: &'static str,
        method: Method,
        name: SegmentName,
        query: &str,
        segment: Option<Bytes>,
    ) -> Result<Response, EngineError> {
        let path = format!("segments/{name}{query}");
        self.ask(Asked { verb, method, path, segment, within: WITHIN }).await
    }

    /// Asks for something of the disk itself.
    async fn ask_json<T: DeserializeOwned>(
        &self,
        verb: &'static str,
        method: Method,
        path: String,
    ) -> Result<T, EngineError> {
        let asked = Asked { verb, method, path, segment: None, within: WITHIN };
        serde_json::from_slice(&self.ask(asked).await?.body).map_err(|error| self.failed(verb, error))
    }

    /// Asks until the node has a place for it.
    async fn ask(&self, asked: Asked) -> Result<Response, EngineError> {
        let Asked { verb, method, path, segment, within } = asked;
        let _call = self.calls.acquire().await.map_err(|closed| self.failed(verb, closed))?;
        let uri = format!("/disks/{}/{path}", self.disk.id);
        let digest = segment.as_deref().map(|segment| Digest::of(segment).to_string());
        let deadline = Instant::now() + within;
        let target = Target::Node(self.node, NodeEndpoint::Store);
        loop {
            let mut request = http::Request::builder().method(method.clone()).uri(&uri);
            if let Some(digest) = &digest {
                request = request.header(headers::SEGMENT_DIGEST, digest);
            }
            let body = segment.clone().map_or_else(fabric::empty, fabric::full);
            let request = request.body(body).map_err(|error| self.failed(verb, error))?;
            let left = deadline.saturating_duration_since(Instant::now());
            let options = CallOptions { deadline: left, accept_within: ACCEPT_WITHIN };
            match self.fabric.call(target, request, options).await {
                Ok(reply) if is_busy(&reply.response) && left > ASK_AGAIN => tokio::time::sleep(ASK_AGAIN).await,
                Ok(reply) => return self.response(verb, reply.response).await,
                Err(CallError::Busy(_)) if left > ASK_AGAIN => tokio::time::sleep(ASK_AGAIN).await,
                Err(error) => {
                    let slow =
                        matches!(error, CallError::Deadline | CallError::Busy(_) | CallError::NotAccepted { .. });
                    let trouble = if slow { Trouble::Slow } else { Trouble::Failed };
                    return Err(self.troubled(trouble, verb, error));
                }
            }
        }
    }

    async fn response(
        &self,
        verb: &'static str,
        response: http::Response<fabric::Body>,
    ) -> Result<Response, EngineError> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| self.failed(verb, error))?;
        let body = body.to_bytes();
        if !head.status.is_success() {
            let trouble = match head.headers.get(headers::DISK_TROUBLE).map(http::HeaderValue::as_bytes) {
                Some(b"full") => Trouble::Full,
                Some(b"slow" | b"busy") => Trouble::Slow,
                _ => Trouble::Failed,
            };
            let why = serde_json::from_slice::<protocol::Problem>(&body).map(|problem| problem.detail);
            return Err(self.troubled(trouble, verb, why.unwrap_or_else(|_| head.status.to_string())));
        }
        Ok(Response { status: head.status, headers: head.headers, body })
    }
}

/// Whether the disk does as much as it may, and nothing of this.
fn is_busy(response: &http::Response<fabric::Body>) -> bool {
    response.headers().get(headers::DISK_TROUBLE).is_some_and(|trouble| trouble == BUSY)
}

impl Response {
    /// Whether there is what was asked about.
    fn found(self) -> Option<Self> {
        (self.status != StatusCode::NO_CONTENT).then_some(self)
    }

    fn header<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.headers.get(name)?.to_str().ok()?.parse().ok()
    }
}

impl fmt::Debug for NodeDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.name, self.node)
    }
}

impl Engine for NodeDisk {
    fn name(&self) -> &str {
        &self.name
    }

    fn domain(&self) -> &str {
        &self.disk.domain
    }

    fn put(&self, name: SegmentName, segment: Bytes) -> BoxFuture<'_, Result<(), EngineError>> {
        self.ask_of("put", Method::PUT, name, "", Some(segment)).map(|put| put.map(drop)).boxed()
    }

    fn read(&self, name: SegmentName, range: Option<Range<u64>>) -> BoxFuture<'_, Result<Option<Bytes>, EngineError>> {
        let query = range.map(|range| format!("?from={}&to={}", range.start, range.end)).unwrap_or_default();
        async move {
            let read = self.ask_of("read", Method::GET, name, &query, None).await?.found();
            let Some(read) = read else { return Ok(None) };
            if read.header(headers::SEGMENT_DIGEST) != Some(Digest::of(&read.body)) {
                return Err(self.failed("read", "the bytes are not those that were sent"));
            }
            Ok(Some(read.body))
        }
        .boxed()
    }

    fn has(&self, name: SegmentName) -> BoxFuture<'_, Result<Option<u64>, EngineError>> {
        async move {
            let found = self.ask_of("find", Method::HEAD, name, "", None).await?.found();
            let size = |found: Response| found.header(headers::SEGMENT_SIZE);
            found.map(|found| size(found).ok_or_else(|| self.failed("find", "it does not say its size"))).transpose()
        }
        .boxed()
    }

    fn delete(&self, name: SegmentName) -> BoxFuture<'_, Result<(), EngineError>> {
        async move { self.ask_of("delete", Method::DELETE, name, "", None).await.map(drop) }.boxed()
    }

    fn list(&self, mut after: Option<SegmentName>, most: usize) -> BoxFuture<'_, Result<Vec<Listed>, EngineError>> {
        async move {
            let mut listed = Vec::new();
            while listed.len() < most {
                let wanted = LIST_MAX.min(most - listed.len());
                let after_this = after.map(|after| format!("&after={after}")).unwrap_or_default();
                let path = format!("segments?most={wanted}{after_this}");
                let asked = Asked { verb: "list", method: Method::GET, path, segment: None, within: LIST_WITHIN };
                let page: Vec<DiskSegment> =
                    serde_json::from_slice(&self.ask(asked).await?.body).map_err(|error| self.failed("list", error))?;
                let is_last = page.len() < wanted;
                listed.extend(page.into_iter().map(|DiskSegment { blob, number, size }| Listed {
                    name: SegmentName { blob, number },
                    bytes: size.0,
                }));
                after = listed.last().map(|last| last.name);
                if is_last {
                    break;
                }
            }
            Ok(listed)
        }
        .boxed()
    }

    fn mark(&self) -> BoxFuture<'_, Result<Option<Mark>, EngineError>> {
        async move {
            let mark: DiskMark = self.ask_json("say whose it is", Method::GET, "mark".to_owned()).await?;
            Ok(mark.mark)
        }
        .boxed()
    }

    fn set_mark(&self, mark: Mark) -> BoxFuture<'_, Result<Mark, EngineError>> {
        async move {
            let place = mark.disk.map(|disk| format!("&disk={disk}")).unwrap_or_default();
            let path = format!("mark?store={}{place}", mark.store);
            let mark: DiskMark = self.ask_json("be marked", Method::PUT, path).await?;
            mark.mark.ok_or_else(|| self.failed("be marked", "it has no mark still"))
        }
        .boxed()
    }

    fn space(&self) -> BoxFuture<'_, Result<Space, EngineError>> {
        async move {
            let space: DiskSpace = self.ask_json("measure", Method::GET, "space".to_owned()).await?;
            Ok(Space { free: space.free.0, total: space.total.0 })
        }
        .boxed()
    }
}
